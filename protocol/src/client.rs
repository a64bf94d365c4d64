//! MDP/Client: what clients and brokers say to each other.
//!
//! | version | REQUEST | PARTIAL | FINAL |
//! |---|---|---|---|
//! | 0.1 | empty, `MDPC01`, service, body… | – | empty, `MDPC01`, service, body… |
//! | 0.2 | `MDPC02`, `01`, service, body… | `MDPC02`, `02`, service, body… | `MDPC02`, `03`, service, body… |
//!
//! MDP/0.1 has one reply, called REPLY; it is [`FromBroker::Final`] here. In MDP/1.0
//! a message is a [`Batch`] of records that begins `MDPC10`:
//!
//! | number | command | from | fields | body |
//! |---|---|---|---|---|
//! | `01` | REQUEST | client | request id 16, timeout ms u32, start-within ms u32, service length u8, service | yes |
//! | `02` | CANCEL | client | request id 16 | – |
//! | `03` | HEARTBEAT | either | from the broker: instance id 8 | – |
//! | `04` | PARTIAL | broker | request id 16 | yes |
//! | `05` | FINAL | broker | request id 16 | yes |
//! | `06` | ERROR | broker | request id 16, code u16, text length u16, text | details |
//!
//! The numbers are those of MDP/Client and differ from MDP/Worker's.

use crate::batch::{Batch, Fields};
use crate::body::Body;
use crate::error::{DecodeError, Expected, Inexpressible};
use crate::frames::{Frame, Frames};
use crate::header::{self, SubProtocol};
use crate::metadata::Metadata;
use crate::names::{InstanceId, RequestId, ServiceName, Version};
use crate::record::{Record, Records};
use crate::terms::{Reason, Terms};

/// The numbers of MDP/0.2.
mod v0_2 {
    pub(super) const REQUEST: u8 = 0x01;
    pub(super) const PARTIAL: u8 = 0x02;
    pub(super) const FINAL: u8 = 0x03;
}

/// The numbers of MDP/1.0.
mod v1_0 {
    pub(super) const REQUEST: u8 = 0x01;
    pub(super) const CANCEL: u8 = 0x02;
    pub(super) const HEARTBEAT: u8 = 0x03;
    pub(super) const PARTIAL: u8 = 0x04;
    pub(super) const FINAL: u8 = 0x05;
    pub(super) const ERROR: u8 = 0x06;

    /// Flags of REQUEST.
    pub(super) const ONCE: u8 = 0x01;
    pub(super) const NO_REPLY: u8 = 0x02;
    pub(super) const FAIL_FAST: u8 = 0x04;
}

/// What a client says to a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToBroker<B> {
    /// Do this for me.
    Request {
        /// What the client calls it; MDP/1.0 always has one, the others never.
        id: Option<RequestId>,
        /// Who should do it.
        service: ServiceName,
        /// How it may be handled; the default in MDP/0.1 and MDP/0.2.
        terms: Terms,
        /// What should be done.
        body: B,
    },
    /// I no longer want this. MDP/1.0 only.
    Cancel {
        /// What the client called it.
        id: RequestId,
    },
    /// Are you there? MDP/1.0 only.
    Heartbeat,
}

/// Which request an answer belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// The one the client called so: MDP/1.0.
    Id(RequestId),
    /// The one that asked this service: MDP/0.1 and MDP/0.2.
    Service(ServiceName),
}

/// What a broker says to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromBroker<B> {
    /// A part of the reply; more will come. Not in MDP/0.1.
    Partial {
        /// Whose it is.
        request: Answered,
        /// The part.
        body: B,
    },
    /// The reply, or its last part. Nothing follows for this request.
    Final {
        /// Whose it is.
        request: Answered,
        /// The reply.
        body: B,
    },
    /// There is no reply. Nothing follows for this request. MDP/1.0 only.
    Error {
        /// What the client called it.
        id: RequestId,
        /// Why.
        reason: Reason,
        /// More about it, often one empty frame.
        details: B,
    },
    /// I am here. MDP/1.0 only.
    Heartbeat {
        /// Which broker this is.
        instance: InstanceId,
    },
}

impl<F: Frame> ToBroker<Body<F>> {
    /// The frames of this command in MDP/0.1 or MDP/0.2, as a DEALER socket sends
    /// them. Id and terms do not travel.
    ///
    /// A REQ socket adds the empty frame of MDP/0.1 itself: leave the first frame
    /// out there.
    ///
    /// # Errors
    ///
    /// [`Inexpressible`] for all but REQUEST, and for MDP/1.0, whose messages are
    /// made by [`ToBroker::write`].
    pub fn encode(self, version: Version) -> Result<Vec<F>, Inexpressible> {
        let (command, service, body) = match self {
            ToBroker::Request { service, body, .. } => ("REQUEST", service, body),
            ToBroker::Cancel { .. } => return Err(Inexpressible { command: "CANCEL", version }),
            ToBroker::Heartbeat => return Err(Inexpressible { command: "HEARTBEAT", version }),
        };
        let mut frames = header::write(SubProtocol::Client, version);
        match version {
            Version::V0_1 => {}
            Version::V0_2 => frames.push(F::from(&[v0_2::REQUEST])),
            Version::V1_0 => return Err(Inexpressible { command, version }),
        }
        frames.push(F::from(service.as_str().as_bytes()));
        frames.extend(body);
        Ok(frames)
    }

    /// Writes this command as a record of MDP/1.0.
    ///
    /// # Errors
    ///
    /// [`Inexpressible`], and nothing was written, for a REQUEST without id, and for a
    /// body of more than 65,535 frames.
    pub fn write(self, batch: &mut Batch<F>) -> Result<(), Inexpressible> {
        let none = Metadata::default();
        match self {
            ToBroker::Request { id, service, terms, body } => {
                let version = Version::V1_0;
                let id = id.ok_or(Inexpressible { command: "REQUEST without id", version })?;
                let flag = |set: bool, bit| if set { bit } else { 0 };
                let flags = flag(terms.once, v1_0::ONCE)
                    | flag(terms.no_reply, v1_0::NO_REPLY)
                    | flag(terms.fail_fast, v1_0::FAIL_FAST);
                let fields = |fields: &mut Fields<'_>| {
                    fields.put(id.as_bytes());
                    fields.milliseconds(terms.timeout);
                    fields.milliseconds(terms.start_within);
                    fields.service(&service);
                };
                batch.record(v1_0::REQUEST, flags, fields, &terms.metadata, body)
            }
            ToBroker::Cancel { id } => {
                batch.record_without_body(v1_0::CANCEL, |fields| fields.put(id.as_bytes()), &none)
            }
            ToBroker::Heartbeat => batch.record_without_body(v1_0::HEARTBEAT, |_| {}, &none),
        }
    }

    pub(crate) fn decode_after_header(
        version: Version,
        mut frames: Frames<F>,
    ) -> Result<Self, DecodeError> {
        if version == Version::V0_2 {
            frames.read_exact(Expected::Command("01 REQUEST"), &[v0_2::REQUEST])?;
        }
        let (service, body) = service_and_body(frames)?;
        Ok(ToBroker::Request { id: None, service, terms: Terms::default(), body })
    }

    pub(crate) fn read(record: &mut Record<'_, F>) -> Result<Self, DecodeError> {
        match record.command {
            v1_0::REQUEST => {
                let id = Some(request_id(record)?);
                let timeout = record.milliseconds("the timeout u32")?;
                let start_within = record.milliseconds("start-within u32")?;
                let service = record.service()?;
                let flags = record.flags;
                let (metadata, body) = record.body()?;
                let terms = Terms {
                    timeout,
                    start_within,
                    once: flags & v1_0::ONCE != 0,
                    no_reply: flags & v1_0::NO_REPLY != 0,
                    fail_fast: flags & v1_0::FAIL_FAST != 0,
                    metadata,
                };
                Ok(ToBroker::Request { id, service, terms, body })
            }
            v1_0::CANCEL => {
                let id = request_id(record)?;
                record.end().map(|_| ToBroker::Cancel { id })
            }
            v1_0::HEARTBEAT => record.end().map(|_| ToBroker::Heartbeat),
            _ => Err(record.unknown("01 REQUEST, 02 CANCEL or 03 HEARTBEAT")),
        }
    }
}

impl<F: Frame> FromBroker<Body<F>> {
    /// The frames of this command in MDP/0.1 or MDP/0.2. `envelope` is what the client
    /// put before its empty frame (see [`Message::Client`](crate::Message::Client));
    /// only MDP/0.1 has one.
    ///
    /// # Errors
    ///
    /// [`Inexpressible`] for a PARTIAL in MDP/0.1, for ERROR and HEARTBEAT, for an
    /// answer without service, and for MDP/1.0, whose messages are made by
    /// [`FromBroker::write`].
    pub fn encode(self, version: Version, envelope: Vec<F>) -> Result<Vec<F>, Inexpressible> {
        let (command, number, request, body) = match self {
            FromBroker::Partial { request, body } => ("PARTIAL", v0_2::PARTIAL, request, body),
            FromBroker::Final { request, body } => ("FINAL", v0_2::FINAL, request, body),
            FromBroker::Error { .. } => return Err(Inexpressible { command: "ERROR", version }),
            FromBroker::Heartbeat { .. } => {
                return Err(Inexpressible { command: "HEARTBEAT", version });
            }
        };
        let Answered::Service(service) = request else {
            return Err(Inexpressible { command: "an answer without service", version });
        };
        if version == Version::V1_0 || (version == Version::V0_1 && number == v0_2::PARTIAL) {
            return Err(Inexpressible { command, version });
        }
        let mut frames = envelope;
        frames.extend(header::write(SubProtocol::Client, version));
        if version == Version::V0_2 {
            frames.push(F::from(&[number]));
        }
        frames.push(F::from(service.as_str().as_bytes()));
        frames.extend(body);
        Ok(frames)
    }

    /// Writes this command as a record of MDP/1.0.
    ///
    /// # Errors
    ///
    /// [`Inexpressible`], and nothing was written, for an answer without id, and for a
    /// body of more than 65,535 frames.
    pub fn write(self, batch: &mut Batch<F>) -> Result<(), Inexpressible> {
        let none = Metadata::default();
        let (number, request, body) = match self {
            FromBroker::Partial { request, body } => (v1_0::PARTIAL, request, body),
            FromBroker::Final { request, body } => (v1_0::FINAL, request, body),
            FromBroker::Error { id, reason, details } => {
                let fields = |fields: &mut Fields<'_>| {
                    fields.put(id.as_bytes());
                    fields.put(&reason.code.to_be_bytes());
                    fields.text(&reason.text);
                };
                return batch.record(v1_0::ERROR, 0, fields, &none, details);
            }
            FromBroker::Heartbeat { instance } => {
                let fields = |fields: &mut Fields<'_>| {
                    fields.put(instance.as_bytes());
                };
                return batch.record_without_body(v1_0::HEARTBEAT, fields, &none);
            }
        };
        let Answered::Id(id) = request else {
            let version = Version::V1_0;
            return Err(Inexpressible { command: "an answer without id", version });
        };
        batch.record(number, 0, |fields| fields.put(id.as_bytes()), &none, body)
    }

    /// Reads a message that came to a client of MDP/0.1 or MDP/0.2, on a DEALER
    /// socket.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for everything that no broker may send to such a client, and for
    /// every message when `version` is MDP/1.0, which [`Commands`] reads.
    pub fn decode(version: Version, mut frames: Frames<F>) -> Result<Self, DecodeError> {
        if version == Version::V1_0 {
            return Err(frames.error(Expected::Header("MDPC01 or MDPC02")));
        }
        header::read_exact(&mut frames, SubProtocol::Client, version)?;
        let command = match version {
            Version::V0_1 => v0_2::FINAL,
            _ => frames.read(Expected::Command("02 PARTIAL or 03 FINAL"), |frame| match frame {
                [command @ (v0_2::PARTIAL | v0_2::FINAL)] => Some(*command),
                _ => None,
            })?,
        };
        let (service, body) = service_and_body(frames)?;
        let request = Answered::Service(service);
        Ok(match command {
            v0_2::PARTIAL => FromBroker::Partial { request, body },
            _ => FromBroker::Final { request, body },
        })
    }

    fn read(record: &mut Record<'_, F>) -> Result<Self, DecodeError> {
        match record.command {
            command @ (v1_0::PARTIAL | v1_0::FINAL) => {
                let request = Answered::Id(request_id(record)?);
                let (_, body) = record.body()?;
                Ok(match command {
                    v1_0::PARTIAL => FromBroker::Partial { request, body },
                    _ => FromBroker::Final { request, body },
                })
            }
            v1_0::ERROR => {
                let id = request_id(record)?;
                let reason = Reason { code: record.u16("the code u16")?, text: record.text()? };
                let (_, details) = record.body()?;
                Ok(FromBroker::Error { id, reason, details })
            }
            v1_0::HEARTBEAT => {
                let instance = InstanceId::new(record.array("the instance id, 8 bytes")?);
                record.end().map(|_| FromBroker::Heartbeat { instance })
            }
            _ => Err(record.unknown("03 HEARTBEAT, 04 PARTIAL, 05 FINAL or 06 ERROR")),
        }
    }
}

/// The commands of one MDP/1.0 message that came to a client.
///
/// After an error there is nothing more: what stood before it counts.
#[derive(Clone)]
pub struct Commands<F>(Records<F>);

impl<F: Frame> Commands<F> {
    /// Begins to read a message.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when it does not begin `MDPC10`.
    pub fn new(frames: Frames<F>) -> Result<Self, DecodeError> {
        Records::new(frames, SubProtocol::Client).map(Commands)
    }
}

impl<F: Frame> Iterator for Commands<F> {
    type Item = Result<FromBroker<Body<F>>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next(FromBroker::read)
    }
}

fn request_id<F: Frame>(record: &mut Record<'_, F>) -> Result<RequestId, DecodeError> {
    record.array("the request id, 16 bytes").map(RequestId::new)
}

fn service_and_body<F: Frame>(
    mut frames: Frames<F>,
) -> Result<(ServiceName, Body<F>), DecodeError> {
    let service =
        frames.read(Expected::ServiceName, |frame| ServiceName::from_bytes(frame).ok())?;
    Ok((service, Body::from_frames(frames.rest()?)))
}
