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
//!   if it likes. [`HandlerError`]: why there is none; [`Cancellation`]: whether
//!   anybody still waits.
//! - [`Inbox`]: receive and reply in a loop of one's own, without handlers.
//! - [`StopHandle`], [`StopSignal`], [`StopReason`]: how a worker ends.
//! - [`Counters`]: what it has done.
//! - [`dialog`]: the pure half of a connection, for tests and for other event loops.
//!
//! # Versions
//!
//! A worker speaks MDP/1.0 unless [`WorkerBuilder::version`] says otherwise. Brokers
//! other than Majordomo's know MDP/0.2 (RFC 18) or MDP/0.1 (RFC 7); handlers are the
//! same, but there:
//!
//! - a failure is a reply of two frames, see [`failure`], and its details are lost;
//! - nobody says CANCEL: only a lost broker raises a [`Cancellation`];
//! - [`Request::attempt`] is 0, [`Request::metadata`] empty, and the client's timeout
//!   unknown;
//! - a stop is not announced: what came before it is answered, and what is on its way
//!   then goes back to the broker by DISCONNECT, which hands it to another worker.
//!
//! # Replies of many parts
//!
//! A reply is any number of PARTIAL and then one FINAL or ERROR. The types hold that:
//! [`Responder::finish`] and [`Responder::error`] consume the responder, and only they
//! give the [`Finished`] that a handler must return.
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
//! A service with [`concurrency`](Service::concurrency) N has N threads for its
//! handlers. In MDP/1.0 it has one connection to each broker, which carries N requests
//! at once; everything that is ready leaves in one message. A connection of MDP/0.1 or
//! MDP/0.2 runs one request, so there it registers N times with every broker:
//! hundreds of places are cheap, thousands are for slow requests. All sockets are one
//! [thread](#threads)'s, which runs no handler.
//!
//! A broker may send such a connection requests ahead of its reply, as Majordomo's does
//! with `prefetch`: up to 63 wait, in order, for the one that runs. They take no place,
//! and the time limit of each begins with its turn.
//!
//! For handlers of microseconds the change of threads costs more than the handler.
//! [`Service::inline`] runs them on the thread of the sockets.
//!
//! # Threads
//!
//! One thread has all sockets, and with up to 500 connections it moves their bytes
//! itself, so that a request wakes one thread and no more. While it runs an inline handler
//! nothing is sent or received; nor while the system looks up the host name of a broker,
//! when a connection is made. With more connections, in a
//! [context](WorkerBuilder::context) of the program's, and with another libzmq than the
//! one of Majordomo's repository, libzmq's threads move the bytes.
//!
//! # Cancellation
//!
//! ```
//! use majordomo_worker::{Request, Service};
//!
//! let count = Service::new("count", |request: Request| {
//!     let mut counted = 0u64;
//!     while counted < 1_000_000 {
//!         if request.is_cancelled() {
//!             return Err("nobody waits any more".into());
//!         }
//!         counted += 1;
//!     }
//!     Ok(counted.to_string())
//! });
//! ```
//!
//! When a broker is lost, [`Request::is_cancelled`] tells the handlers of its requests,
//! and their answers are dropped and counted. They keep their places until they end.
//! The connection registers again at once, for all places, as soon as one of them is
//! free: a handler that hangs takes its own place and not the service. Requests for
//! the others wait in the process for the next place.
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

mod cancellation;
mod connection;
mod context;
mod counters;
pub mod dialog;
mod error;
mod frame;
mod handler;
mod inbox;
mod io;
mod pool;
mod request;
#[cfg(any(feature = "json", feature = "msgpack"))]
mod service_error;
mod settings;
mod stop;
mod task;
#[cfg(any(feature = "json", feature = "msgpack"))]
mod typed;
mod wire;
mod worker;

pub use cancellation::Cancellation;
pub use counters::{Counters, Counts};
pub use error::{Closed, Error, PartialError};
pub use handler::{FAILURE_CODE, FAILURE_TEXT_BYTES_MAX, Handler, HandlerError, Service, failure};
pub use inbox::Inbox;
#[cfg(any(feature = "json", feature = "msgpack"))]
pub use majordomo_protocol::payload::{Codec, Decode, Encode, Encoded, PayloadError};
pub use request::{Finished, Request, Responder};
#[cfg(any(feature = "json", feature = "msgpack"))]
pub use service_error::{Details, Failure, ServiceError};
pub use stop::{StopHandle, StopReason, StopSignal};
#[cfg(any(feature = "json", feature = "msgpack"))]
pub use typed::{SendError, TypedResponder, TypedService};
pub use worker::{RunningWorker, Worker, WorkerBuilder};

#[doc(no_inline)]
pub use majordomo_protocol::{
    Body, ClientAddress, ENDPOINT_DEFAULT, InvalidEndpoint, KeyPair, Metadata, PublicKey,
    SecretKey, Security, ServiceName, Version, code,
};
