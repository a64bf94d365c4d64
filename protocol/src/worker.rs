//! MDP/Worker: what workers and brokers say to each other.
//!
//! In MDP/0.1 and MDP/0.2 a message begins with an empty frame and `MDPW01`, or with
//! `MDPW02`. In MDP/1.0 it is a [`Batch`] of records that begins `MDPW10`.
//!
//! | command | from | frames in 0.1 and 0.2 | 0.1 | 0.2 | 1.0 | fields in 1.0 | body |
//! |---|---|---|---|---|---|---|---|
//! | READY | worker | service | `01` | `01` | `01` | capacity u16, heartbeat ms u32, liveness u8, service length u8, service | – |
//! | WELCOME | broker | – | – | – | `02` | heartbeat ms u32, liveness u8, instance id 8 | – |
//! | REQUEST | broker | client address, empty, body… | `02` | `02` | `03` | task id 8, timeout ms left u32, attempt u8 | yes |
//! | PARTIAL | worker | client address, empty, body… | – | `03` | `04` | task id 8 | yes |
//! | FINAL | worker | client address, empty, body… | `03` (REPLY) | `04` | `05` | task id 8 | yes |
//! | ERROR | worker | – | – | – | `06` | task id 8, code u16, text length u16, text | details |
//! | CANCEL | broker | – | – | – | `07` | task id 8 | – |
//! | HEARTBEAT | either | | `04` | `05` | `08` | – | – |
//! | DRAIN | worker | – | – | – | `09` | – | – |
//! | DISCONNECT | either | | `05` | `06` | `0A` | code u16, text length u16, text | – |

use std::time::Duration;

use crate::batch::{Batch, Fields, Source};
use crate::body::Body;
use crate::error::{DecodeError, Expected, Inexpressible};
use crate::frames::{Frame, Frames};
use crate::header::{self, SubProtocol};
use crate::metadata::Metadata;
use crate::names::{ClientAddress, InstanceId, ServiceName, Version};
use crate::record::{Record, Records};
use crate::terms::{Agreement, Offer, Reason, Task};

/// What a worker says to a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToBroker<B> {
    /// I serve this; said once, first.
    Ready {
        /// The one service this worker serves on this connection.
        service: ServiceName,
        /// On what terms; the default in MDP/0.1 and MDP/0.2.
        offer: Offer,
    },
    /// A part of a reply; more will come. Not in MDP/0.1.
    Partial {
        /// Whose request this answers, as the REQUEST had it.
        client: ClientAddress,
        /// The part.
        body: B,
    },
    /// A reply, or its last part. The worker is free for another.
    Final {
        /// Whose request this answers, as the REQUEST had it.
        client: ClientAddress,
        /// The reply.
        body: B,
    },
    /// The request failed. The worker is free for another. MDP/1.0 only.
    Error {
        /// Whose request this answers, as the REQUEST had it.
        client: ClientAddress,
        /// Why.
        reason: Reason,
        /// More about it, often one empty frame.
        details: B,
    },
    /// I am alive.
    Heartbeat,
    /// Send me no more requests; those I have will be finished. MDP/1.0 only.
    Drain,
    /// Send me nothing more.
    Disconnect {
        /// Why; travels in MDP/1.0 only.
        reason: Reason,
    },
}

/// What a broker says to a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromBroker<B> {
    /// You are registered. MDP/1.0 only.
    Welcome(Agreement),
    /// Do this.
    Request {
        /// To be put into every part of the reply, unchanged.
        client: ClientAddress,
        /// What there is to know beside the body; the default in MDP/0.1 and MDP/0.2.
        task: Task,
        /// What should be done.
        body: B,
    },
    /// Nobody wants this any more. MDP/1.0 only.
    Cancel {
        /// As the REQUEST had it.
        client: ClientAddress,
    },
    /// I am alive.
    Heartbeat,
    /// You are not, or no longer, registered here: close this socket, and come
    /// back on a new one.
    Disconnect {
        /// Why; travels in MDP/1.0 only.
        reason: Reason,
    },
}

/// The commands of both directions, before a version gives them numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Ready,
    Welcome,
    Request,
    Partial,
    Final,
    Error,
    Cancel,
    Heartbeat,
    Drain,
    Disconnect,
}

use Command::{
    Cancel, Disconnect, Drain, Error, Final, Heartbeat, Partial, Ready, Request, Welcome,
};

const FROM_WORKER: [Command; 7] = [Ready, Partial, Final, Error, Heartbeat, Drain, Disconnect];
const FROM_BROKER: [Command; 5] = [Welcome, Request, Cancel, Heartbeat, Disconnect];

impl Command {
    /// As the documents write it, and its number in each version.
    fn row(self) -> (&'static str, Option<u8>, Option<u8>, u8) {
        match self {
            Ready => ("READY", Some(0x01), Some(0x01), 0x01),
            Welcome => ("WELCOME", None, None, 0x02),
            Request => ("REQUEST", Some(0x02), Some(0x02), 0x03),
            Partial => ("PARTIAL", None, Some(0x03), 0x04),
            Final => ("FINAL", Some(0x03), Some(0x04), 0x05),
            Error => ("ERROR", None, None, 0x06),
            Cancel => ("CANCEL", None, None, 0x07),
            Heartbeat => ("HEARTBEAT", Some(0x04), Some(0x05), 0x08),
            Drain => ("DRAIN", None, None, 0x09),
            Disconnect => ("DISCONNECT", Some(0x05), Some(0x06), 0x0A),
        }
    }

    fn number(self, version: Version) -> Option<u8> {
        let (_, in_0_1, in_0_2, in_1_0) = self.row();
        match version {
            Version::V0_1 => in_0_1,
            Version::V0_2 => in_0_2,
            Version::V1_0 => Some(in_1_0),
        }
    }

    fn inexpressible(self, version: Version) -> Inexpressible {
        Inexpressible { command: self.row().0, version }
    }

    /// Reads a command frame that is one of `allowed`.
    fn read<F: Frame>(
        frames: &mut Frames<F>,
        version: Version,
        expected: &'static str,
        allowed: &[Command],
    ) -> Result<Command, DecodeError> {
        frames.read(Expected::Command(expected), |frame| match frame {
            [byte] => Command::of(*byte, version, allowed),
            _ => None,
        })
    }

    fn of(number: u8, version: Version, allowed: &[Command]) -> Option<Command> {
        allowed.iter().copied().find(|command| command.number(version) == Some(number))
    }

    /// Starts a message of MDP/0.1 or MDP/0.2: header and command.
    fn start<F: Frame>(self, version: Version) -> Result<Vec<F>, Inexpressible> {
        match self.number(version) {
            Some(number) if version != Version::V1_0 => {
                let mut frames = header::write(SubProtocol::Worker, version);
                frames.push(F::from(&[number]));
                Ok(frames)
            }
            _ => Err(self.inexpressible(version)),
        }
    }
}

impl<B> ToBroker<B> {
    fn command(&self) -> Command {
        match self {
            ToBroker::Ready { .. } => Ready,
            ToBroker::Partial { .. } => Partial,
            ToBroker::Final { .. } => Final,
            ToBroker::Error { .. } => Error,
            ToBroker::Heartbeat => Heartbeat,
            ToBroker::Drain => Drain,
            ToBroker::Disconnect { .. } => Disconnect,
        }
    }
}

impl<B> FromBroker<B> {
    fn command(&self) -> Command {
        match self {
            FromBroker::Welcome(_) => Welcome,
            FromBroker::Request { .. } => Request,
            FromBroker::Cancel { .. } => Cancel,
            FromBroker::Heartbeat => Heartbeat,
            FromBroker::Disconnect { .. } => Disconnect,
        }
    }
}

impl<F: Frame> ToBroker<Body<F>> {
    /// The frames of this command in MDP/0.1 or MDP/0.2, as a DEALER socket sends
    /// them. What only MDP/1.0 has of it does not travel.
    ///
    /// # Errors
    ///
    /// [`Inexpressible`] for a PARTIAL in MDP/0.1, for ERROR and DRAIN, and for
    /// MDP/1.0, whose messages are made by [`ToBroker::write`].
    pub fn encode(self, version: Version) -> Result<Vec<F>, Inexpressible> {
        let mut frames = self.command().start(version)?;
        match self {
            ToBroker::Ready { service, .. } => frames.push(F::from(service.as_str().as_bytes())),
            ToBroker::Partial { client, body } | ToBroker::Final { client, body } => {
                write_addressed(&mut frames, &client, body);
            }
            _ => {}
        }
        Ok(frames)
    }

    /// Writes this command as a record of MDP/1.0.
    ///
    /// # Errors
    ///
    /// [`Inexpressible`], and nothing was written, for an address that is no task id of
    /// 8 bytes, and for a body of more than 65,535 frames.
    pub fn write(self, batch: &mut Batch<F>) -> Result<(), Inexpressible> {
        let number = self.command().row().3;
        let none = Metadata::default();
        match self {
            ToBroker::Ready { service, offer } => {
                let fields = |fields: &mut Fields<'_>| {
                    fields.put(&offer.capacity.to_be_bytes());
                    fields.milliseconds(offer.heartbeat);
                    fields.put(&[offer.liveness]);
                    fields.service(&service);
                };
                batch.record_without_body(number, fields, &offer.metadata)
            }
            ToBroker::Partial { client, body } | ToBroker::Final { client, body } => {
                let task = task_id(&client)?;
                batch.record(number, 0, |fields| fields.put(&task), &none, body)
            }
            ToBroker::Error { client, reason, details } => {
                let task = task_id(&client)?;
                let fields = |fields: &mut Fields<'_>| {
                    fields.put(&task);
                    write_reason(fields, &reason);
                };
                batch.record(number, 0, fields, &none, details)
            }
            ToBroker::Heartbeat | ToBroker::Drain => {
                batch.record_without_body(number, |_| {}, &none)
            }
            ToBroker::Disconnect { reason } => {
                batch.record_without_body(number, |fields| write_reason(fields, &reason), &none)
            }
        }
    }

    pub(crate) fn decode_after_header(
        version: Version,
        mut frames: Frames<F>,
    ) -> Result<Self, DecodeError> {
        let expected = match version {
            Version::V0_1 => "01 READY, 03 REPLY, 04 HEARTBEAT or 05 DISCONNECT",
            _ => "01 READY, 03 PARTIAL, 04 FINAL, 05 HEARTBEAT or 06 DISCONNECT",
        };
        match Command::read(&mut frames, version, expected, &FROM_WORKER)? {
            Ready => {
                let service = frames
                    .read(Expected::ServiceName, |frame| ServiceName::from_bytes(frame).ok())?;
                frames.end()?;
                Ok(ToBroker::Ready { service, offer: Offer::default() })
            }
            Partial => {
                let (client, body) = read_addressed(frames)?;
                Ok(ToBroker::Partial { client, body })
            }
            Final => {
                let (client, body) = read_addressed(frames)?;
                Ok(ToBroker::Final { client, body })
            }
            Heartbeat => frames.end().map(|()| ToBroker::Heartbeat),
            // The others have no number in these versions.
            _ => frames.end().map(|()| ToBroker::Disconnect { reason: Reason::default() }),
        }
    }

    pub(crate) fn read(record: &mut Record<'_, F>) -> Result<Self, DecodeError> {
        let command =
            Command::of(record.command, Version::V1_0, &FROM_WORKER).ok_or_else(|| {
                record.unknown(
                "01 READY, 04 PARTIAL, 05 FINAL, 06 ERROR, 08 HEARTBEAT, 09 DRAIN or 0A DISCONNECT",
            )
            })?;
        Ok(match command {
            Ready => {
                let capacity = record.u16("the capacity u16")?;
                let heartbeat = record.milliseconds("the heartbeat interval u32")?;
                let liveness = record.u8("the liveness u8")?;
                let service = record.service()?;
                let metadata = record.end()?;
                let offer = Offer { capacity, heartbeat, liveness, metadata };
                ToBroker::Ready { service, offer }
            }
            Partial => {
                let client = read_task_id(record)?;
                ToBroker::Partial { client, body: record.body()?.1 }
            }
            Final => {
                let client = read_task_id(record)?;
                ToBroker::Final { client, body: record.body()?.1 }
            }
            Error => {
                let client = read_task_id(record)?;
                let reason = read_reason(record)?;
                ToBroker::Error { client, reason, details: record.body()?.1 }
            }
            Heartbeat => {
                record.end()?;
                ToBroker::Heartbeat
            }
            Drain => {
                record.end()?;
                ToBroker::Drain
            }
            _ => {
                let reason = read_reason(record)?;
                record.end()?;
                ToBroker::Disconnect { reason }
            }
        })
    }
}

/// Writes a REQUEST of MDP/1.0, as [`FromBroker::write`] does, from a broker that keeps the
/// body: what does not stand in the batch frame is cloned.
///
/// # Errors
///
/// As [`FromBroker::write`].
pub fn write_kept_request<F: Frame + Clone>(
    batch: &mut Batch<F>,
    client: &ClientAddress,
    task: &Task,
    body: &Body<F>,
) -> Result<(), Inexpressible> {
    write_request(batch, client, task, body)
}

#[inline]
fn write_request<F: Frame>(
    batch: &mut Batch<F>,
    client: &ClientAddress,
    task: &Task,
    body: impl Source<F>,
) -> Result<(), Inexpressible> {
    let id = task_id(client)?;
    let fields = |fields: &mut Fields<'_>| {
        fields.put(&id);
        fields.milliseconds(task.timeout);
        fields.put(&[task.attempt]);
    };
    batch.record(Request.row().3, 0, fields, &task.metadata, body)
}

impl<F: Frame> FromBroker<Body<F>> {
    /// The frames of this command in MDP/0.1 or MDP/0.2. What only MDP/1.0 has of it
    /// does not travel.
    ///
    /// # Errors
    ///
    /// [`Inexpressible`] for WELCOME and CANCEL, and for MDP/1.0, whose messages are
    /// made by [`FromBroker::write`].
    pub fn encode(self, version: Version) -> Result<Vec<F>, Inexpressible> {
        let mut frames = self.command().start(version)?;
        if let FromBroker::Request { client, body, .. } = self {
            write_addressed(&mut frames, &client, body);
        }
        Ok(frames)
    }

    /// Writes this command as a record of MDP/1.0.
    ///
    /// # Errors
    ///
    /// [`Inexpressible`], and nothing was written, for an address that is no task id of
    /// 8 bytes, and for a body of more than 65,535 frames.
    pub fn write(self, batch: &mut Batch<F>) -> Result<(), Inexpressible> {
        let number = self.command().row().3;
        let none = Metadata::default();
        match self {
            FromBroker::Welcome(agreement) => {
                let fields = |fields: &mut Fields<'_>| {
                    fields.milliseconds(Some(agreement.heartbeat));
                    fields.put(&[agreement.liveness]);
                    fields.put(agreement.instance.as_bytes());
                };
                batch.record_without_body(number, fields, &none)
            }
            FromBroker::Request { client, task, body } => {
                write_request(batch, &client, &task, body)
            }
            FromBroker::Cancel { client } => {
                let id = task_id(&client)?;
                batch.record_without_body(number, |fields| fields.put(&id), &none)
            }
            FromBroker::Heartbeat => batch.record_without_body(number, |_| {}, &none),
            FromBroker::Disconnect { reason } => {
                batch.record_without_body(number, |fields| write_reason(fields, &reason), &none)
            }
        }
    }

    /// Reads a message that came to a worker of MDP/0.1 or MDP/0.2, on a DEALER
    /// socket.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for everything that no broker may send to such a worker, and for
    /// every message when `version` is MDP/1.0, which [`Commands`] reads.
    pub fn decode(version: Version, mut frames: Frames<F>) -> Result<Self, DecodeError> {
        if version == Version::V1_0 {
            return Err(frames.error(Expected::Header("MDPW01 or MDPW02")));
        }
        header::read_exact(&mut frames, SubProtocol::Worker, version)?;
        let expected = match version {
            Version::V0_1 => "02 REQUEST, 04 HEARTBEAT or 05 DISCONNECT",
            _ => "02 REQUEST, 05 HEARTBEAT or 06 DISCONNECT",
        };
        match Command::read(&mut frames, version, expected, &FROM_BROKER)? {
            Heartbeat => frames.end().map(|()| FromBroker::Heartbeat),
            Disconnect => {
                frames.end().map(|()| FromBroker::Disconnect { reason: Reason::default() })
            }
            // The others have no number in these versions.
            _ => {
                let (client, body) = read_addressed(frames)?;
                Ok(FromBroker::Request { client, task: Task::default(), body })
            }
        }
    }

    fn read(record: &mut Record<'_, F>) -> Result<Self, DecodeError> {
        let command =
            Command::of(record.command, Version::V1_0, &FROM_BROKER).ok_or_else(|| {
                record.unknown("02 WELCOME, 03 REQUEST, 07 CANCEL, 08 HEARTBEAT or 0A DISCONNECT")
            })?;
        Ok(match command {
            Welcome => {
                let heartbeat = record.milliseconds("the heartbeat interval u32")?;
                let heartbeat = heartbeat.unwrap_or(Duration::from_millis(1));
                let liveness = record.u8("the liveness u8")?;
                let instance = InstanceId::new(record.array("the instance id, 8 bytes")?);
                record.end()?;
                FromBroker::Welcome(Agreement { heartbeat, liveness, instance })
            }
            Request => {
                let client = read_task_id(record)?;
                let timeout = record.milliseconds("the timeout left u32")?;
                let attempt = record.u8("the attempt u8")?;
                let (metadata, body) = record.body()?;
                FromBroker::Request { client, task: Task { timeout, attempt, metadata }, body }
            }
            Cancel => {
                let client = read_task_id(record)?;
                record.end()?;
                FromBroker::Cancel { client }
            }
            Heartbeat => {
                record.end()?;
                FromBroker::Heartbeat
            }
            _ => {
                let reason = read_reason(record)?;
                record.end()?;
                FromBroker::Disconnect { reason }
            }
        })
    }
}

/// The commands of one MDP/1.0 message that came to a worker.
///
/// After an error there is nothing more: what stood before it counts.
#[derive(Clone)]
pub struct Commands<F>(Records<F>);

impl<F: Frame> Commands<F> {
    /// Begins to read a message.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when it does not begin `MDPW10`.
    pub fn new(frames: Frames<F>) -> Result<Self, DecodeError> {
        Records::new(frames, SubProtocol::Worker).map(Commands)
    }
}

impl<F: Frame> Iterator for Commands<F> {
    type Item = Result<FromBroker<Body<F>>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next(FromBroker::read)
    }
}

fn task_id(client: &ClientAddress) -> Result<[u8; 8], Inexpressible> {
    let version = Version::V1_0;
    let command = "an address that is no task id of 8 bytes";
    client.as_bytes().try_into().map_err(|_| Inexpressible { command, version })
}

fn read_task_id<F: Frame>(record: &mut Record<'_, F>) -> Result<ClientAddress, DecodeError> {
    record.array::<8>("the task id, 8 bytes").map(|id| ClientAddress::new(&id))
}

fn write_reason(fields: &mut Fields<'_>, reason: &Reason) {
    fields.put(&reason.code.to_be_bytes());
    fields.text(&reason.text);
}

fn read_reason<F: Frame>(record: &mut Record<'_, F>) -> Result<Reason, DecodeError> {
    Ok(Reason { code: record.u16("the code u16")?, text: record.text()? })
}

fn write_addressed<F: Frame>(frames: &mut Vec<F>, client: &ClientAddress, body: Body<F>) {
    frames.push(F::from(client.as_bytes()));
    frames.push(F::from(&[]));
    frames.extend(body);
}

fn read_addressed<F: Frame>(
    mut frames: Frames<F>,
) -> Result<(ClientAddress, Body<F>), DecodeError> {
    let client = frames.read(Expected::ClientAddress, |frame| {
        (!frame.is_empty()).then(|| ClientAddress::new(frame))
    })?;
    frames.read_exact(Expected::Empty, b"")?;
    Ok((client, Body::from_frames(frames.rest()?)))
}
