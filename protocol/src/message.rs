//! A message as it comes to a broker, from whichever kind of peer.

use crate::body::Body;
use crate::client;
use crate::error::DecodeError;
use crate::frames::{Frame, Frames};
use crate::header::{self, SubProtocol};
use crate::names::Version;
use crate::worker;

/// What one message to a broker says, in which version.
///
/// A ROUTER socket serves clients and workers of all versions; the header tells
/// them apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<F> {
    /// MDP/Client.
    Client {
        /// The version the client speaks, and is answered in.
        version: Version,
        /// The frames that stood before the empty frame (MDP/0.1; often none).
        /// They must come back, in order, in front of every reply.
        envelope: Vec<F>,
        /// What the client wants.
        command: client::ToBroker<Body<F>>,
    },
    /// MDP/Worker.
    Worker {
        /// The version the worker speaks, and is answered in.
        version: Version,
        /// What the worker says.
        command: worker::ToBroker<Body<F>>,
    },
}

impl<F: Frame> Message<F> {
    /// Reads a message that came to a broker, without its identity frame.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for everything that no client and no worker may send.
    pub fn decode(mut frames: Frames<F>) -> Result<Self, DecodeError> {
        let (envelope, sub_protocol, version) = header::read(&mut frames)?;
        match sub_protocol {
            SubProtocol::Client => {
                let command = client::ToBroker::decode_after_header(version, frames)?;
                Ok(Message::Client { version, envelope, command })
            }
            SubProtocol::Worker => {
                let command = worker::ToBroker::decode_after_header(version, frames)?;
                Ok(Message::Worker { version, command })
            }
        }
    }
}
