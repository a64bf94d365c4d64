//! The Majordomo protocols as data: what a message means, and which frames say it.
//!
//! Majordomo (MDP) joins clients to workers through a broker. It is two
//! sub-protocols on one ROUTER socket: MDP/Client between client and broker, and
//! MDP/Worker between worker and broker. Two published versions differ in their
//! frames and hardly in their meaning: MDP/0.1 is ZeroMQ RFC 7, MDP/0.2 is RFC 18.
//! MDP/1.0 is Majordomo's own; docs/protocol.md is its norm.
//! Here a message of either version decodes to the same command, and a command
//! encodes to either version.
//!
//! | sub-protocol | direction | commands | type |
//! |---|---|---|---|
//! | MDP/Client | client to broker | REQUEST | [`client::ToBroker`] |
//! | MDP/Client | broker to client | PARTIAL, FINAL | [`client::FromBroker`] |
//! | MDP/Worker | worker to broker | READY, PARTIAL, FINAL, HEARTBEAT, DISCONNECT | [`worker::ToBroker`] |
//! | MDP/Worker | broker to worker | REQUEST, HEARTBEAT, DISCONNECT | [`worker::FromBroker`] |
//!
//! The REPLY of MDP/0.1 is a FINAL here: a reply of exactly one message.
//!
//! This crate opens no socket, reads no clock, starts no thread and logs nothing. It reads
//! no file but [those with secrets](TextFile).
//! Decoding is total: any list of frames gives a command or a [`DecodeError`] that
//! names the frame, what was expected there and what was found.
//!
//! # Example
//!
//! ```
//! use majordomo_protocol::{client, Body, Frames, Message, ServiceName, Terms, Version};
//!
//! // What a client puts on its DEALER socket:
//! let request = client::ToBroker::Request {
//!     id: None,
//!     service: ServiceName::new("echo")?,
//!     terms: Terms::default(),
//!     body: Body::from("hello"),
//! };
//! let frames = request.encode(Version::V0_2)?;
//! assert_eq!(frames, [&b"MDPC02"[..], b"\x01", b"echo", b"hello"]);
//!
//! // What a broker reads from it, after the identity frame:
//! for message in Message::decode(Frames::new(frames)) {
//!     let Message::Client { version, command, .. } = message? else { continue };
//!     let client::ToBroker::Request { service, body, .. } = command else { continue };
//!     assert_eq!(version, Version::V0_2);
//!     assert_eq!(service.as_str(), "echo");
//!     assert_eq!(body.frames(), ["hello".as_bytes()]);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Modules
//!
//! - [`client`], [`worker`]: the two sub-protocols.
//! - [`mmi`]: the names and codes of the broker's own services (RFC 8), and the
//!   JSON report that `mmi.broker` answers.
//! - `payload`, with the feature `json` or `msgpack`: values as bodies.

mod batch;
mod body;
pub mod client;
mod endpoint;
mod error;
mod frames;
mod header;
mod key;
mod message;
mod metadata;
pub mod mmi;
mod names;
mod opaque;
#[cfg(any(feature = "json", feature = "msgpack"))]
pub mod payload;
mod record;
mod security;
mod terms;
mod text_file;
pub mod worker;

pub use batch::Batch;
pub use body::{Body, BodyFrames};
pub use client::Answered;
pub use endpoint::{
    ENDPOINT_DEFAULT, Endpoint, INPROC_NAME_BYTES_MAX, IPC_PATH_BYTES_MAX, InvalidEndpoint,
};
pub use error::{DecodeError, Excerpt, Expected, Found, Inexpressible};
pub use frames::{Frame, Frames, dump};
pub use key::{InvalidKey, InvalidKeyFile, KEY_BYTES, KEY_CHARS, KeyFile, PublicKey, SecretKey};
pub use message::{Listener, Message, Messages};
pub use metadata::{Metadata, MetadataTooLarge};
pub use names::{
    ClientAddress, InstanceId, InvalidServiceName, PeerId, RequestId, SERVICE_NAME_BYTES_MAX,
    ServiceName, Version,
};
pub use security::{
    Credentials, HandshakeFailure, InvalidLogin, KeyFileError, KeyPair, Login, Security,
};
pub use terms::{Agreement, Offer, Reason, Task, Terms, code};
pub use text_file::TextFile;
