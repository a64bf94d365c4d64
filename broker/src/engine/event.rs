//! What the engine and whoever drives it say to each other: [`Event`]s go in, [`Action`]s come
//! out.
//!
//! Commands of peers, REQUESTs and answers are most of it, and a server hands these over as
//! they are ([`Engine::handle_client`](super::Engine::handle_client),
//! [`Engine::handle_worker`](super::Engine::handle_worker), [`Outlet`](super::Outlet)). Each
//! is the same as one variant here.
//!
//! What peers say anew begins as a command in `majordomo-protocol`; all else begins here, with
//! a new variant. The compiler then lists what is left to do.

use std::sync::Arc;

use majordomo_protocol::{
    Answered, Body, ClientAddress, PeerId, RequestId, ServiceName, Version, client, code, worker,
};

use super::rights::Rights;

/// What a request or a reply carries, as far as the engine is concerned: it can be
/// counted, kept and passed on, and never read.
pub trait Payload: Clone {
    /// Bytes in memory that keeping it costs, apart from bookkeeping.
    fn size(&self) -> usize;

    /// Puts the frames of `more` behind these.
    fn append(&mut self, more: Self);

    /// A frame for each of these texts, one or more.
    fn of_texts(texts: &[&str]) -> Self;

    /// Takes memory of its own, if it is a small part of a larger piece that it keeps
    /// alive. Called before it is kept for an unknown time, so that it then costs what
    /// [`Payload::size`] says. Does nothing by default.
    fn detach(&mut self) {}
}

/// Frames in plain memory, for an engine that no socket drives.
impl Payload for Body {
    fn size(&self) -> usize {
        Body::size(self) + size_of_val(self.frames())
    }

    fn append(&mut self, more: Self) {
        Body::append(self, more);
    }

    fn of_texts(texts: &[&str]) -> Self {
        Body::from_frames(texts.iter().map(|text| text.as_bytes().to_vec()))
    }
}

/// Who asked, and how an answer finds the way back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller<B> {
    /// The connection the request came on.
    pub peer: PeerId,
    /// The version it was asked in, and is answered in.
    pub version: Version,
    /// The envelope stack (RFC 7): frames that go back in front of every answer. Rare, and
    /// so not in place.
    pub envelope: Option<Box<B>>,
    /// What the client calls the request; MDP/1.0 only, and always there.
    pub id: Option<RequestId>,
}

impl<B> Caller<B> {
    /// How an answer says which request it belongs to.
    pub(super) fn answered(&self, service: &ServiceName) -> Answered {
        match self.id {
            Some(id) => Answered::Id(id),
            None => Answered::Service(service.clone()),
        }
    }
}

/// Something happened outside.
#[derive(Clone, Debug)]
pub enum Event<B> {
    /// A client spoke. The service is not one of the broker's own.
    FromClient {
        /// Who, and the way back.
        caller: Caller<B>,
        /// What it wants.
        command: client::ToBroker<B>,
    },
    /// A client asked one of the broker's own services.
    Question {
        /// Who, and the way back.
        caller: Caller<B>,
        /// The service it asked.
        service: ServiceName,
        /// What it wants to know.
        question: Question,
        /// Its client said *no reply wanted*: it is counted, and not answered.
        no_reply: bool,
    },
    /// A worker spoke.
    FromWorker {
        /// Its connection.
        worker: PeerId,
        /// The version it spoke in.
        version: Version,
        /// What it said.
        command: worker::ToBroker<B>,
    },
    /// A message came that is no command of the protocol, and was dropped.
    Invalid {
        /// The connection it came on.
        peer: PeerId,
        /// What is wrong with it.
        fault: Fault,
    },
    /// Commands could not be sent to a worker: it is gone, or does not read. It is lost once
    /// all has been read that came until then.
    WorkerUnreachable {
        /// Its connection.
        worker: PeerId,
        /// The task ids of the REQUESTs among them; these were not handed out.
        requests: Vec<ClientAddress>,
    },
    /// Answers could not be sent to a client: it is gone, or does not read.
    ClientUnreachable {
        /// Its connection.
        client: PeerId,
        /// How many; a HEARTBEAT is none.
        answers: u64,
        /// The task ids of the PARTIALs among them: replies that have a gap now.
        parts: Vec<ClientAddress>,
    },
    /// A connection has passed its handshake. Told once for each, before anything it says,
    /// or never.
    Connected {
        /// Its name.
        peer: PeerId,
    },
    /// A connection has ended, which was told of when it began. All that it said has been
    /// handled, and whoever comes by its name later is on another connection. A worker on
    /// it is lost. Not told of one that was [closed](Action::Close).
    Disconnected {
        /// Its name.
        peer: PeerId,
    },
    /// Who may do what has changed, or is said for the first time.
    Rights(Arc<Rights>),
    /// Peers were refused before they could say anything.
    Unauthenticated {
        /// How many times, since this was told last.
        handshakes: u64,
    },
    /// Shut down: take nothing new, let running requests end within the time set.
    Stop,
    /// Shut down without waiting for anything.
    StopNow,
}

/// What an MMI request asks (RFC 8), read from its service and body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Is there a worker for this service? `None` when the body cannot be a name,
    /// so that no worker can be there.
    Service(Option<ServiceName>),
    /// The state of the broker.
    Broker,
    /// Something this broker does not answer.
    Unknown,
}

/// Why a message is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It does not decode.
    Malformed,
    /// It has more frames than `frames_max`.
    FramesMax,
    /// It has more bytes than `message_bytes_max`.
    MessageBytesMax,
    /// Its peer is authenticated, and gave its connection a name of its own.
    RoutingId,
}

/// Something to do outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action<B> {
    /// Send this to a client; report [`Event::ClientUnreachable`] if that fails.
    ToClient {
        /// Whom to answer.
        caller: Caller<B>,
        /// What to say.
        command: client::FromBroker<B>,
        /// The task id of the request, where this is a PARTIAL.
        part_of: Option<ClientAddress>,
    },
    /// Send this to a worker; report [`Event::WorkerUnreachable`] if that fails. A
    /// REQUEST is not to be sent if its worker is no longer
    /// [reachable](super::Engine::is_reachable): that was decided later, and the request has
    /// been given back.
    ToWorker {
        /// Its connection.
        worker: PeerId,
        /// The version it speaks.
        version: Version,
        /// What to say.
        command: worker::FromBroker<B>,
    },
    /// Close this connection, if it is still there. What was for it before is sent first,
    /// unless it does not read.
    Close {
        /// Its name.
        peer: PeerId,
    },
    /// Tell the operator.
    Note(Note),
    /// The engine has shut down: nothing runs, nobody is registered.
    Stopped,
}

/// Something an operator may want to read about. What can be caused by a peer at
/// will must be held back by the reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A worker registered.
    WorkerRegistered {
        /// Its connection.
        worker: PeerId,
        /// The version it speaks.
        version: Version,
        /// What it serves.
        service: ServiceName,
    },
    /// A worker is registered no longer.
    WorkerGone {
        /// Its connection.
        worker: PeerId,
        /// What it served.
        service: ServiceName,
        /// Why.
        reason: Gone,
        /// How many requests it had; they wait again or are dropped.
        requests: usize,
    },
    /// A peer that is not registered said something only a registered worker may,
    /// or a worker was turned away; it was told to DISCONNECT.
    WorkerRefused {
        /// Its connection.
        worker: PeerId,
        /// Why.
        reason: RefusedWorker,
    },
    /// A request was handed to a worker. Only when requests are followed
    /// ([`Settings::follow_requests`](super::Settings)).
    RequestDispatched {
        /// Its id: what the worker sees as client address.
        request: ClientAddress,
        /// The client's connection.
        client: PeerId,
        /// What was asked.
        service: ServiceName,
        /// Who got it.
        worker: PeerId,
        /// 1 for the first time it is handed out.
        attempt: u32,
    },
    /// A request was answered. Only when requests are followed.
    RequestAnswered {
        /// Its id.
        request: ClientAddress,
        /// Who answered.
        worker: PeerId,
    },
    /// A request ends without a reply.
    RequestDropped {
        /// The client's connection.
        client: PeerId,
        /// What was asked.
        service: ServiceName,
        /// Its id, if it was accepted at all.
        request: Option<ClientAddress>,
        /// Why.
        reason: Dropped,
    },
    /// Answers could not be sent to their client.
    ReplyUnsent {
        /// The client's connection.
        client: PeerId,
    },
    /// Somebody wanted to do what it may not.
    Forbidden {
        /// Its connection.
        peer: PeerId,
        /// Whose connection it is.
        who: Arc<str>,
        /// What it wanted.
        act: Act,
    },
    /// Somebody sent too many invalid messages: nothing it says is heard for a time.
    CutOff {
        /// Who.
        who: Arc<str>,
    },
    /// A connection is closed.
    ConnectionClosed {
        /// Its name.
        peer: PeerId,
        /// Whose it is.
        who: Arc<str>,
        /// Why.
        reason: Closed,
    },
    /// The engine was not driven for longer than it asked for, so nobody's silence
    /// counts until the peers had time to be heard again.
    Late,
}

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Closed {
    /// Its key has `connections_per_identity_max` others.
    PerIdentityMax,
    /// Its key or password was removed.
    Forbidden,
}

/// What a right is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Call this service.
    Call(ServiceName),
    /// Serve this service.
    Serve(ServiceName),
    /// Ask for the state of the broker.
    Operate,
    /// Speak on a connection of this name, which is another's.
    Displace,
}

/// Why a worker is registered no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gone {
    /// It was silent for heartbeat interval × liveness.
    Silent,
    /// It said DISCONNECT.
    Disconnected,
    /// Its connection ended, and it had not said DISCONNECT.
    ConnectionEnded,
    /// A message could not be sent to it.
    Unreachable,
    /// It sent a valid command that it may not send now, such as a second READY
    /// or a reply to a request it does not have.
    Unexpected,
    /// It sent an invalid message.
    Invalid,
    /// It said DRAIN, and has finished what it had.
    Drained,
    /// It may not, or no longer, serve this service.
    Forbidden,
    /// The broker shuts down.
    Stopping,
}

impl Gone {
    /// What the worker is told: a code of MDP/1.0.
    pub(super) fn code(self) -> u16 {
        match self {
            Gone::Stopping => code::STOPPING,
            Gone::Drained => 0,
            Gone::Forbidden => code::FORBIDDEN,
            Gone::Silent => code::TIMED_OUT,
            _ => code::MALFORMED,
        }
    }

    /// In words, for logs and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Gone::Silent => "silent",
            Gone::Disconnected => "said DISCONNECT",
            Gone::ConnectionEnded => "connection ended",
            Gone::Unreachable => "unreachable",
            Gone::Unexpected => "unexpected command",
            Gone::Invalid => "invalid message",
            Gone::Drained => "drained",
            Gone::Forbidden => "it may no longer serve this service",
            Gone::Stopping => "the broker is stopping",
        }
    }
}

/// Why a worker, or a stranger that speaks like one, was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusedWorker {
    /// It spoke before READY: it is not, or no longer, registered.
    Unregistered,
    /// It asked for one of the broker's own services (RFC 8).
    ReservedService,
    /// It may not serve this service.
    Forbidden,
    /// Its key has `peers_per_identity_max` workers and clients.
    PeersPerIdentityMax,
    /// There are `workers_max` workers.
    WorkersMax,
    /// There are `services_max` services, and its own is not among them.
    ServicesMax,
    /// Its READY offers no place, or a liveness of 1.
    Offer,
    /// The metadata of its READY is longer than `worker_metadata_bytes_max`.
    Metadata {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        bytes_max: usize,
    },
    /// Its metadata does not fit into `bytes_max` beside all that is held.
    BytesMax,
    /// The broker shuts down.
    Stopping,
}

/// Why a request ends without a reply. A client of MDP/1.0 is told; one of MDP/0.1 or
/// MDP/0.2 only where the operator asked for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dropped {
    /// `requests_max` requests wait or run.
    RequestsMax,
    /// `requests_per_service_max` requests wait for its service.
    RequestsPerServiceMax,
    /// Its client has `requests_per_client_max` requests waiting or running.
    RequestsPerClientMax,
    /// Waiting and running requests hold `bytes_max` bytes.
    BytesMax,
    /// There are `services_max` services, and its own is not among them.
    ServicesMax,
    /// There are `services_idle_max` services without a worker, and its own is
    /// not among them.
    ServicesIdleMax,
    /// `clients_max` clients have a request waiting or running.
    ClientsMax,
    /// Its client's key has `requests_per_identity_max` requests waiting or running.
    RequestsPerIdentityMax,
    /// Its client's key has `peers_per_identity_max` workers and clients.
    PeersPerIdentityMax,
    /// Its client may not, or no longer, call this service.
    Forbidden,
    /// Requests of another's key are under way on a connection of the same name.
    OtherIdentity,
    /// No worker was free for it within `request_expiry_ms`.
    Expired,
    /// No worker is registered for its service, and it is not to wait for one.
    NoWorker,
    /// It did not start in the time that its client gave.
    NotStarted,
    /// It did not end in the time that its client gave.
    TimedOut,
    /// Its client cancelled it.
    Cancelled,
    /// It lost its worker and is not to be handed to a second one.
    Once,
    /// It lost its worker `attempts_max` times.
    AttemptsMax,
    /// It lost its worker after a part of the reply had gone to the client, which
    /// a second worker would have repeated.
    PartialSent,
    /// A part of its reply could not be sent to its client, which must not take the
    /// rest for the whole.
    PartialUnsent,
    /// The parts of its reply, kept for a client whose version has no PARTIAL,
    /// are more than `partial_bytes_max`, or than `bytes_max` allows.
    PartialBytesMax,
    /// The broker shuts down.
    Stopping,
}

impl Dropped {
    /// What a client is told: a code of MDP/1.0 and a text. `ran`: a worker had the
    /// request, so no code may say that it did not run.
    pub(super) fn reason(self, ran: bool) -> (u16, &'static str) {
        match self {
            Dropped::Expired | Dropped::NotStarted if ran => {
                (code::WORKER_LOST, "its worker was lost, and no other was free in time")
            }
            Dropped::Stopping if ran => {
                (code::WORKER_LOST, "its worker was lost, and the broker is shutting down")
            }
            Dropped::Forbidden if ran => (code::CANCELLED, "the right was withdrawn while it ran"),
            Dropped::RequestsMax => (code::BUSY, "the broker's queues are full"),
            Dropped::RequestsPerServiceMax => (code::BUSY, "the service's queue is full"),
            Dropped::RequestsPerClientMax => (code::BUSY, "too many requests of this client"),
            Dropped::BytesMax => (code::BUSY, "the broker's memory for requests is full"),
            Dropped::ServicesMax => (code::BUSY, "the broker knows too many services"),
            Dropped::ServicesIdleMax => (code::BUSY, "too many services wait for a worker"),
            Dropped::ClientsMax => (code::BUSY, "the broker serves too many clients"),
            Dropped::RequestsPerIdentityMax => (code::BUSY, "too many requests of this key"),
            Dropped::PeersPerIdentityMax => (code::BUSY, "too many connections of this key"),
            Dropped::Forbidden => (code::FORBIDDEN, "this client may not call this service"),
            Dropped::OtherIdentity => {
                (code::FORBIDDEN, "requests of another are under way on this connection")
            }
            Dropped::Expired => (code::NO_WORKER, "no worker was free in time"),
            Dropped::NoWorker => (code::NO_WORKER, "no worker is registered for the service"),
            Dropped::NotStarted => (code::NOT_STARTED, "no worker was free in the time given"),
            Dropped::TimedOut => (code::TIMED_OUT, "the time given passed while it ran"),
            Dropped::Cancelled => (code::CANCELLED, "cancelled"),
            Dropped::Once => (code::WORKER_LOST, "its worker was lost"),
            Dropped::AttemptsMax => (code::WORKER_LOST, "its workers were lost"),
            Dropped::PartialSent => {
                (code::WORKER_LOST, "a part of the reply was sent, and it cannot be repeated")
            }
            Dropped::PartialUnsent => (code::WORKER_LOST, "a part of the reply could not be sent"),
            Dropped::PartialBytesMax => (code::TOO_LARGE, "the parts of the reply are too large"),
            Dropped::Stopping => (code::STOPPING, "the broker is shutting down"),
        }
    }
}

impl RefusedWorker {
    /// What the worker is told: a code of MDP/1.0.
    pub(super) fn code(self) -> u16 {
        match self {
            RefusedWorker::Unregistered | RefusedWorker::Offer => code::MALFORMED,
            RefusedWorker::ReservedService | RefusedWorker::Forbidden => code::FORBIDDEN,
            RefusedWorker::Metadata { .. } => code::TOO_LARGE,
            RefusedWorker::WorkersMax
            | RefusedWorker::ServicesMax
            | RefusedWorker::BytesMax
            | RefusedWorker::PeersPerIdentityMax => code::BUSY,
            RefusedWorker::Stopping => code::STOPPING,
        }
    }

    /// What the worker is told, for people.
    pub(super) fn text(self) -> String {
        match self {
            RefusedWorker::Metadata { bytes, bytes_max } => format!(
                "the metadata of READY has {bytes} bytes, \
                 worker_metadata_bytes_max allows {bytes_max}"
            ),
            reason => reason.as_str().to_owned(),
        }
    }

    /// In words, for logs.
    pub fn as_str(self) -> &'static str {
        match self {
            RefusedWorker::Metadata { .. } => "worker_metadata_bytes_max",
            RefusedWorker::BytesMax => "bytes_max",
            RefusedWorker::Unregistered => "it spoke before READY",
            RefusedWorker::ReservedService => "mmi.* is the broker's own",
            RefusedWorker::Forbidden => "it may not serve this service",
            RefusedWorker::PeersPerIdentityMax => "peers_per_identity_max",
            RefusedWorker::WorkersMax => "workers_max",
            RefusedWorker::ServicesMax => "services_max",
            RefusedWorker::Offer => {
                "a READY offers one place or more, and a liveness of 0, 2 or more"
            }
            RefusedWorker::Stopping => "the broker is stopping",
        }
    }
}
