//! Call the services of a Majordomo broker.
//!
//! A client asks a broker for a service by name; the broker hands the request to
//! one of the workers registered for that name and brings back the reply.
//!
//! ```
//! use majordomo_client::{CallError, Client};
//!
//! fn shout(broker: &str, text: &str) -> Result<String, CallError> {
//!     let client = Client::connect(broker)?;
//!     let reply = client.call("upcase", text)?;
//!     Ok(String::from_utf8_lossy(&reply.into_bytes()).into_owned())
//! }
//! # // A broker with one worker that answers in capitals.
//! # use majordomo_protocol::client::{Answered, FromBroker, ToBroker};
//! # use majordomo_protocol::{Batch, Frames, Message};
//! # let context = zmq::Context::new();
//! # let socket = context.socket(zmq::ROUTER).unwrap();
//! # socket.bind("tcp://127.0.0.1:*").unwrap();
//! # let broker = socket.get_last_endpoint().unwrap().unwrap();
//! # let answering = std::thread::spawn(move || {
//! #     let mut frames = socket.recv_multipart(0).unwrap();
//! #     let peer = frames.remove(0);
//! #     let message = Message::decode(Frames::new(frames)).next().unwrap().unwrap();
//! #     let Message::Client { command, .. } = message else { panic!() };
//! #     let ToBroker::Request { id, service, body, .. } = command else { panic!() };
//! #     assert_eq!(service.as_str(), "upcase");
//! #     let request = Answered::Id(id.unwrap());
//! #     let body = body.to_bytes().to_ascii_uppercase().into();
//! #     let mut batch = Batch::of_client(4096);
//! #     FromBroker::Final { request, body }.write(&mut batch).unwrap();
//! #     socket.send(peer, zmq::SNDMORE).unwrap();
//! #     socket.send_multipart(batch.into_frames(), 0).unwrap();
//! # });
//!
//! assert_eq!(shout(&broker, "hello")?, "HELLO");
//! # answering.join().unwrap();
//! # Ok::<(), CallError>(())
//! ```
//!
//! # Which client
//!
//! | | [`Client`] | [`BlockingClient`] |
//! |---|---|---|
//! | speaks | MDP/1.0 | MDP/0.2 (ZeroMQ RFC 18) or MDP/0.1 (RFC 7) |
//! | calls under way | any number, from any thread | one, on the thread that calls |
//! | errors of broker and worker | [`CallError`] has a variant for each | a timeout |
//! | a retry | is joined to the first by the broker | may run a second time |
//! | a call taken back | reaches broker and worker | goes on |
//!
//! [`Client::call`] blocks; [`Client::submit`] gives a [`Call`] that can be waited for,
//! read part by part, cancelled or awaited; [`Client::send`] wants no answer.
//!
//! # Calls of MDP/0.1 and MDP/0.2
//!
//! [`BlockingClient`] keeps its socket on the thread that calls, and one request under
//! way at a time. Every call is bounded in time: it makes a number of tries, each with a
//! timeout, at each of its endpoints in turn.
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
//! # Values instead of bytes
//!
//! With the feature `json` or `msgpack`, `Client::typed` calls the methods of a typed
//! service: requests and replies are what serde can write and read, replies may be
//! streams, and an error of the service has a code, a kind, a text and details.
//!
//! # Tests of your own code
//!
//! With the feature `testing`, a broker in your process answers from a script, so that
//! what you test uses the real client; see `testing`.
//!
//! # Features
//!
//! None is on by default. `json`, `msgpack`: typed calls in that format. `testing`: the
//! scripted broker, for dev-dependencies.
//!
//! # Modules
//!
//! - this page: [`Client`], its [builder](ClientBuilder), [`Options`], [`Call`],
//!   [`CallError`]; [`BlockingClient`], its [builder](BlockingClientBuilder), [`Error`];
//! - [`shared`]: a [`Client`] without a socket, for simulations and for other loops;
//! - [`dialog`]: the same of a [`BlockingClient`].

mod blocking;
mod builder;
mod call;
mod call_error;
mod client;
mod connection;
mod context;
pub mod dialog;
mod error;
mod event;
mod io;
mod mmi;
mod options;
mod places;
mod settings;
pub mod shared;
mod slot;
mod socket;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(any(feature = "json", feature = "msgpack"))]
mod typed;
#[cfg(any(feature = "json", feature = "msgpack"))]
mod typed_error;

pub use blocking::{BlockingClient, BlockingClientBuilder, BlockingReplies, failure};
pub use builder::{ClientBuilder, WhenFull};
pub use call::{Call, Replies};
pub use call_error::CallError;
pub use client::Client;
pub use dialog::Reply;
pub use error::{Error, Violation};
#[cfg(any(feature = "json", feature = "msgpack"))]
pub use majordomo_protocol::payload::{Codec, Decode, Encode, Encoded, PayloadError};
pub use options::Options;
#[cfg(any(feature = "json", feature = "msgpack"))]
pub use typed::{TypedClient, TypedReplies};
#[cfg(any(feature = "json", feature = "msgpack"))]
pub use typed_error::{Details, TypedError};

pub use majordomo_protocol::mmi::BrokerReport;
pub use majordomo_protocol::{
    Body, ENDPOINT_DEFAULT, HandshakeFailure, KeyPair, Metadata, PublicKey, SecretKey, Security,
    ServiceName, Version,
};
