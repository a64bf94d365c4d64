//! MDP/Client: what clients and brokers say to each other.
//!
//! | version | REQUEST | PARTIAL | FINAL |
//! |---|---|---|---|
//! | 0.1 | empty, `MDPC01`, service, body… | – | empty, `MDPC01`, service, body… |
//! | 0.2 | `MDPC02`, `01`, service, body… | `MDPC02`, `02`, service, body… | `MDPC02`, `03`, service, body… |
//!
//! MDP/0.1 has one reply, called REPLY; it is [`FromBroker::Final`] here. The
//! numbers are those of MDP/Client and differ from MDP/Worker's.

use crate::body::Body;
use crate::error::{DecodeError, Expected, Inexpressible};
use crate::frames::{Frame, Frames};
use crate::header::{self, SubProtocol};
use crate::names::{ServiceName, Version};

const REQUEST: u8 = 0x01;
const PARTIAL: u8 = 0x02;
const FINAL: u8 = 0x03;

/// What a client says to a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToBroker<B> {
    /// Do this for me.
    Request {
        /// Who should do it.
        service: ServiceName,
        /// What should be done.
        body: B,
    },
}

/// What a broker says to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromBroker<B> {
    /// A part of the reply; more will come. MDP/0.2 only.
    Partial {
        /// The service that was asked.
        service: ServiceName,
        /// The part.
        body: B,
    },
    /// The reply, or its last part. Nothing follows for this request.
    Final {
        /// The service that was asked.
        service: ServiceName,
        /// The reply.
        body: B,
    },
}

impl<F: Frame> ToBroker<Body<F>> {
    /// The frames of this command, as a DEALER socket sends them.
    ///
    /// A REQ socket adds the empty frame of MDP/0.1 itself: leave the first frame
    /// out there.
    pub fn encode(self, version: Version) -> Vec<F> {
        let ToBroker::Request { service, body } = self;
        let mut frames = header::write(SubProtocol::Client, version);
        if version == Version::V0_2 {
            frames.push(F::from(&[REQUEST]));
        }
        frames.push(F::from(service.as_str().as_bytes()));
        frames.extend(body.into_frames());
        frames
    }

    pub(crate) fn decode_after_header(
        version: Version,
        mut frames: Frames<F>,
    ) -> Result<Self, DecodeError> {
        if version == Version::V0_2 {
            frames.read_exact(Expected::Command("01 REQUEST"), &[REQUEST])?;
        }
        let (service, body) = service_and_body(frames)?;
        Ok(ToBroker::Request { service, body })
    }
}

impl<F: Frame> FromBroker<Body<F>> {
    /// The frames of this command. `envelope` is what the client put before its
    /// empty frame (see [`Message::Client`](crate::Message::Client)); only
    /// MDP/0.1 has one.
    ///
    /// # Errors
    ///
    /// [`Inexpressible`] for a PARTIAL in MDP/0.1.
    pub fn encode(self, version: Version, envelope: Vec<F>) -> Result<Vec<F>, Inexpressible> {
        let (command, service, body) = match self {
            FromBroker::Partial { service, body } => (PARTIAL, service, body),
            FromBroker::Final { service, body } => (FINAL, service, body),
        };
        if version == Version::V0_1 && command == PARTIAL {
            return Err(Inexpressible { command: "PARTIAL", version });
        }
        let mut frames = envelope;
        frames.extend(header::write(SubProtocol::Client, version));
        if version == Version::V0_2 {
            frames.push(F::from(&[command]));
        }
        frames.push(F::from(service.as_str().as_bytes()));
        frames.extend(body.into_frames());
        Ok(frames)
    }

    /// Reads a message that came to a client of this version, on a DEALER socket.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for everything that no broker may send to such a client.
    pub fn decode(version: Version, mut frames: Frames<F>) -> Result<Self, DecodeError> {
        header::read_exact(&mut frames, SubProtocol::Client, version)?;
        let command = match version {
            Version::V0_1 => FINAL,
            Version::V0_2 => {
                frames.read(Expected::Command("02 PARTIAL or 03 FINAL"), |frame| match frame {
                    [command @ (PARTIAL | FINAL)] => Some(*command),
                    _ => None,
                })?
            }
        };
        let (service, body) = service_and_body(frames)?;
        Ok(match command {
            PARTIAL => FromBroker::Partial { service, body },
            _ => FromBroker::Final { service, body },
        })
    }
}

fn service_and_body<F: Frame>(
    mut frames: Frames<F>,
) -> Result<(ServiceName, Body<F>), DecodeError> {
    let service =
        frames.read(Expected::ServiceName, |frame| ServiceName::from_bytes(frame).ok())?;
    Ok((service, Body::from_frames(frames.take_rest()?)))
}
