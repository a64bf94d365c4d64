//! Workers for a Majordomo broker: code that serves requests by name.
//!
//! A whole worker:
//!
//! ```no_run
//! use majordomo_worker::{Error, Request, Worker};
//!
//! fn main() -> Result<(), Error> {
//!     let reason = Worker::builder()
//!         .broker("tcp://127.0.0.1:5555")
//!         .service("echo", |request: Request| Ok(request.into_body()))
//!         .run()?;
//!     println!("stopped: {reason:?}");
//!     Ok(())
//! }
//! ```
//!
//! It registers with its brokers by itself, also after they were silent, restarted
//! or not there yet; it beats while handlers compute; an error or a panic of a
//! handler becomes an answer and not the end of the worker.
//!
//! # Map
//!
//! - [`Worker`], [`WorkerBuilder`], [`RunningWorker`]: settings, start, end. Every
//!   setting has a default.
//! - [`Service`]: a name, its handler, and how many requests at once.
//! - [`Handler`], [`Request`], [`Responder`]: one request and its answer, in parts
//!   if it likes. [`HandlerError`], [`failure`]: an answer that says it failed.
//! - [`Inbox`]: receive and reply in a loop of one's own, without handlers.
//! - [`StopHandle`], [`StopSignal`], [`StopReason`]: how a worker ends.
//! - [`Counters`]: what it has done.
//! - [`dialog`]: the pure half of a connection, for tests and for other event loops.
//!
//! # Replies of many parts
//!
//! In MDP/0.2 a reply is any number of PARTIAL and then one FINAL. The types hold
//! that: [`Responder::finish`] consumes the responder, and only it gives the
//! [`Finished`] that a handler must return.
//!
//! ```
//! use majordomo_worker::{Request, Responder, Service};
//!
//! let lines = Service::streaming("lines", |request: Request, mut responder: Responder| {
//!     let text = String::from_utf8(request.into_body().into_bytes())?;
//!     for line in text.lines() {
//!         responder.partial(line)?;
//!     }
//!     Ok(responder.finish("end"))
//! });
//! ```
//!
//! # Several requests at once
//!
//! A connection of MDP/0.1 or MDP/0.2 holds one request. So a service with
//! [`concurrency`](Service::concurrency) N registers N times with every broker, and
//! has N threads for its handlers. All sockets are one thread's, which runs no
//! handler. Whenever a message comes it polls all of them, for about half a
//! microsecond each: hundreds of places are cheap, thousands are for slow requests.
//!
//! # Stopping
//!
//! Signals are the program's own business. With the `signal-hook` crate:
//!
//! ```no_run
//! use majordomo_worker::{Request, Worker};
//! use signal_hook::consts::{SIGINT, SIGTERM};
//!
//! let worker = Worker::builder()
//!     .service("echo", |request: Request| Ok(request.into_body()))
//!     .build()?;
//! let stop = worker.stop_handle();
//! let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
//! std::thread::spawn(move || {
//!     let mut signals = signals.forever();
//!     signals.next();
//!     stop.stop(); // finish what runs
//!     signals.next();
//!     stop.stop_now(); // somebody is in a hurry
//! });
//! worker.run()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is not promised
//!
//! A request may be served twice: when a worker is lost, or slow to be heard, its
//! broker gives the request to another (18/MDP, Reliability). Handlers must be fit
//! for that.

mod connection;
mod counters;
pub mod dialog;
mod error;
mod handler;
mod inbox;
mod io;
mod pool;
mod request;
mod settings;
mod stop;
mod wake;
mod worker;

pub use counters::{Counters, Counts};
pub use error::{Closed, Error, PartialError};
pub use handler::{FAILURE_CODE, FAILURE_TEXT_BYTES_MAX, Handler, HandlerError, Service, failure};
pub use inbox::Inbox;
pub use request::{Finished, Request, Responder};
pub use stop::{StopHandle, StopSignal};
pub use worker::{RunningWorker, StopReason, Worker, WorkerBuilder};

#[doc(no_inline)]
pub use majordomo_protocol::{
    Body, ClientAddress, ENDPOINT_DEFAULT, InvalidEndpoint, ServiceName, Version,
};
