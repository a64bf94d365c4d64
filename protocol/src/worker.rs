//! MDP/Worker: what workers and brokers say to each other.
//!
//! Every message begins with `MDPW02` (MDP/0.2), or with an empty frame and
//! `MDPW01` (MDP/0.1). What follows:
//!
//! | command | from | frames | number in 0.1 | in 0.2 |
//! |---|---|---|---|---|
//! | READY | worker | service | `01` | `01` |
//! | REQUEST | broker | client address, empty, body… | `02` | `02` |
//! | PARTIAL | worker | client address, empty, body… | – | `03` |
//! | FINAL | worker | client address, empty, body… | `03` (REPLY) | `04` |
//! | HEARTBEAT | either | | `04` | `05` |
//! | DISCONNECT | either | | `05` | `06` |

use crate::body::Body;
use crate::error::{DecodeError, Expected, Inexpressible};
use crate::frames::{Frame, Frames};
use crate::header::{self, SubProtocol};
use crate::names::{ClientAddress, ServiceName, Version};

/// What a worker says to a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToBroker<B> {
    /// I serve this; said once, first.
    Ready {
        /// The one service this worker serves on this connection.
        service: ServiceName,
    },
    /// A part of a reply; more will come. MDP/0.2 only.
    Partial {
        /// Whose request this answers, as the REQUEST had it.
        client: ClientAddress,
        /// The part.
        body: B,
    },
    /// A reply, or its last part. The worker is free again.
    Final {
        /// Whose request this answers, as the REQUEST had it.
        client: ClientAddress,
        /// The reply.
        body: B,
    },
    /// I am alive.
    Heartbeat,
    /// Send me nothing more.
    Disconnect,
}

/// What a broker says to a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromBroker<B> {
    /// Do this.
    Request {
        /// To be put into every part of the reply, unchanged.
        client: ClientAddress,
        /// What should be done.
        body: B,
    },
    /// I am alive.
    Heartbeat,
    /// You are not, or no longer, registered here: close this socket, and come
    /// back on a new one.
    Disconnect,
}

/// The commands of both directions, before a version gives them numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Ready,
    Request,
    Partial,
    Final,
    Heartbeat,
    Disconnect,
}

impl Command {
    fn number(self, version: Version) -> Option<u8> {
        let (in_0_1, in_0_2) = match self {
            Command::Ready => (Some(0x01), 0x01),
            Command::Request => (Some(0x02), 0x02),
            Command::Partial => (None, 0x03),
            Command::Final => (Some(0x03), 0x04),
            Command::Heartbeat => (Some(0x04), 0x05),
            Command::Disconnect => (Some(0x05), 0x06),
        };
        match version {
            Version::V0_1 => in_0_1,
            Version::V0_2 => Some(in_0_2),
        }
    }

    /// Reads a command frame that is one of `allowed`.
    fn read<F: Frame>(
        frames: &mut Frames<F>,
        version: Version,
        expected: &'static str,
        allowed: &[Command],
    ) -> Result<Command, DecodeError> {
        frames.read(Expected::Command(expected), |frame| match frame {
            [byte] => {
                allowed.iter().copied().find(|command| command.number(version) == Some(*byte))
            }
            _ => None,
        })
    }

    /// Starts a message: header and command.
    fn write<F: Frame>(self, version: Version) -> Option<Vec<F>> {
        let number = self.number(version)?;
        let mut frames = header::write(SubProtocol::Worker, version);
        frames.push(F::from(&[number]));
        Some(frames)
    }
}

impl<F: Frame> ToBroker<Body<F>> {
    /// The frames of this command, as a DEALER socket sends them.
    ///
    /// # Errors
    ///
    /// [`Inexpressible`] for a PARTIAL in MDP/0.1.
    pub fn encode(self, version: Version) -> Result<Vec<F>, Inexpressible> {
        let command = match self {
            ToBroker::Ready { .. } => Command::Ready,
            ToBroker::Partial { .. } => Command::Partial,
            ToBroker::Final { .. } => Command::Final,
            ToBroker::Heartbeat => Command::Heartbeat,
            ToBroker::Disconnect => Command::Disconnect,
        };
        let Some(mut frames) = command.write(version) else {
            return Err(Inexpressible { command: "PARTIAL", version });
        };
        match self {
            ToBroker::Ready { service } => frames.push(F::from(service.as_str().as_bytes())),
            ToBroker::Partial { client, body } | ToBroker::Final { client, body } => {
                write_addressed(&mut frames, &client, body);
            }
            ToBroker::Heartbeat | ToBroker::Disconnect => {}
        }
        Ok(frames)
    }

    pub(crate) fn decode_after_header(
        version: Version,
        mut frames: Frames<F>,
    ) -> Result<Self, DecodeError> {
        let (expected, allowed): (_, &[Command]) = match version {
            Version::V0_1 => (
                "01 READY, 03 REPLY, 04 HEARTBEAT or 05 DISCONNECT",
                &[Command::Ready, Command::Final, Command::Heartbeat, Command::Disconnect],
            ),
            Version::V0_2 => (
                "01 READY, 03 PARTIAL, 04 FINAL, 05 HEARTBEAT or 06 DISCONNECT",
                &[
                    Command::Ready,
                    Command::Partial,
                    Command::Final,
                    Command::Heartbeat,
                    Command::Disconnect,
                ],
            ),
        };
        match Command::read(&mut frames, version, expected, allowed)? {
            Command::Ready => {
                let service = frames
                    .read(Expected::ServiceName, |frame| ServiceName::from_bytes(frame).ok())?;
                frames.end()?;
                Ok(ToBroker::Ready { service })
            }
            Command::Partial => {
                let (client, body) = read_addressed(frames)?;
                Ok(ToBroker::Partial { client, body })
            }
            Command::Final | Command::Request => {
                let (client, body) = read_addressed(frames)?;
                Ok(ToBroker::Final { client, body })
            }
            Command::Heartbeat => frames.end().map(|()| ToBroker::Heartbeat),
            Command::Disconnect => frames.end().map(|()| ToBroker::Disconnect),
        }
    }
}

impl<F: Frame> FromBroker<Body<F>> {
    /// The frames of this command.
    pub fn encode(self, version: Version) -> Vec<F> {
        let command = match self {
            FromBroker::Request { .. } => Command::Request,
            FromBroker::Heartbeat => Command::Heartbeat,
            FromBroker::Disconnect => Command::Disconnect,
        };
        let mut frames = command.write(version).unwrap_or_default();
        if let FromBroker::Request { client, body } = self {
            write_addressed(&mut frames, &client, body);
        }
        frames
    }

    /// Reads a message that came to a worker of this version, on a DEALER socket.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for everything that no broker may send to such a worker.
    pub fn decode(version: Version, mut frames: Frames<F>) -> Result<Self, DecodeError> {
        header::read_exact(&mut frames, SubProtocol::Worker, version)?;
        let expected = match version {
            Version::V0_1 => "02 REQUEST, 04 HEARTBEAT or 05 DISCONNECT",
            Version::V0_2 => "02 REQUEST, 05 HEARTBEAT or 06 DISCONNECT",
        };
        let allowed = [Command::Request, Command::Heartbeat, Command::Disconnect];
        match Command::read(&mut frames, version, expected, &allowed)? {
            Command::Heartbeat => frames.end().map(|()| FromBroker::Heartbeat),
            Command::Disconnect => frames.end().map(|()| FromBroker::Disconnect),
            _ => {
                let (client, body) = read_addressed(frames)?;
                Ok(FromBroker::Request { client, body })
            }
        }
    }
}

fn write_addressed<F: Frame>(frames: &mut Vec<F>, client: &ClientAddress, body: Body<F>) {
    frames.push(F::from(client.as_bytes()));
    frames.push(F::from(&[]));
    frames.extend(body.into_frames());
}

fn read_addressed<F: Frame>(
    mut frames: Frames<F>,
) -> Result<(ClientAddress, Body<F>), DecodeError> {
    let client = frames.read(Expected::ClientAddress, |frame| {
        (!frame.is_empty()).then(|| ClientAddress::new(frame))
    })?;
    frames.read_exact(Expected::Empty, b"")?;
    Ok((client, Body::from_frames(frames.take_rest()?)))
}
