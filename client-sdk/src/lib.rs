//! Call the services of a Majordomo broker.
//!
//! A client asks a broker for a service by name; the broker hands the request to
//! one of the workers registered for that name and brings back the reply.
//!
//! ```
//! use majordomo_client::{BlockingClient, Error};
//!
//! fn shout(broker: &str, text: &str) -> Result<String, Error> {
//!     let mut client = BlockingClient::connect(broker)?;
//!     let reply = client.request("upcase", text)?;
//!     Ok(String::from_utf8_lossy(&reply.into_bytes()).into_owned())
//! }
//! # // A broker with one worker that answers in capitals.
//! # let context = zmq::Context::new();
//! # let socket = context.socket(zmq::ROUTER).unwrap();
//! # socket.bind("tcp://127.0.0.1:*").unwrap();
//! # let broker = socket.get_last_endpoint().unwrap().unwrap();
//! # let answering = std::thread::spawn(move || {
//! #     let mut frames = socket.recv_multipart(0).unwrap();
//! #     assert_eq!(frames[1..], [&b"MDPC02"[..], &[1], b"upcase", b"hello"]);
//! #     frames[2] = vec![3];
//! #     frames[4].make_ascii_uppercase();
//! #     socket.send_multipart(frames, 0).unwrap();
//! # });
//!
//! assert_eq!(shout(&broker, "hello")?, "HELLO");
//! # answering.join().unwrap();
//! # Ok::<(), Error>(())
//! ```
//!
//! # Calls and their failures
//!
//! [`BlockingClient`] speaks MDP/0.2 (ZeroMQ RFC 18) or MDP/0.1 (RFC 7). It keeps
//! its socket on the thread that calls, and one request under way at a time. Every
//! call is bounded in time: it makes a number of tries, each with a timeout, at
//! each of its endpoints in turn.
//!
//! These versions give a reply no request id. So a try that failed closes its
//! socket, and the next opens a new one: a late reply cannot be taken for a later
//! request's. They have no way to take a request back, either: after a timeout the
//! request may still run, and **a retry may run it a second time**. Services are
//! idempotent by contract, or are called with [one
//! try](BlockingClientBuilder::tries). [`Error::may_have_run`] says for each error
//! whether that matters.
//!
//! The versions have no error replies. Workers made with the worker SDK say that a
//! handler failed by a convention, which [`failure`] recognises.
//!
//! # Modules
//!
//! - this page: [`BlockingClient`] and its [builder](BlockingClientBuilder),
//!   [`Replies`], [`Error`];
//! - [`dialog`]: the same without a socket, for simulations and for other loops.

mod blocking;
mod connection;
pub mod dialog;
mod error;
mod event;
mod io;
mod settings;

pub use blocking::{BlockingClient, BlockingClientBuilder, Replies, failure};
pub use dialog::Reply;
pub use error::{Error, Violation};

pub use majordomo_protocol::mmi::BrokerReport;
pub use majordomo_protocol::{Body, ENDPOINT_DEFAULT, ServiceName, Version};
