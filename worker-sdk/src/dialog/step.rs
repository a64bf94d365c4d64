//! What goes into a dialog and what comes out of it.

use std::time::Duration;

use majordomo_protocol::worker::{FromBroker, ToBroker};
use majordomo_protocol::{
    Body, ClientAddress, Metadata, Offer, Reason, ServiceName, Task, Version,
};

/// What a connection registers for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The one service of the connection.
    pub service: ServiceName,
    /// What is spoken. Beside the frames it decides whether DRAIN can be said, and
    /// whether anything beside the service is offered.
    pub version: Version,
    /// Requests that run at once, 1 or more; MDP/0.1 and MDP/0.2 allow 1.
    pub capacity: u16,
    /// What the worker says of itself; MDP/1.0 only.
    pub metadata: Metadata,
}

impl Registration {
    /// One request at a time, nothing said beside.
    pub fn new(service: ServiceName, version: Version) -> Self {
        Registration { service, version, capacity: 1, metadata: Metadata::default() }
    }

    /// What READY says.
    pub(super) fn ready(&self, timing: &Timing) -> ToBroker<Body> {
        let offer = match self.version {
            Version::V0_1 | Version::V0_2 => Offer::default(),
            Version::V1_0 => Offer {
                capacity: self.capacity,
                heartbeat: Some(timing.heartbeat_interval),
                // A liveness of 1 is refused by brokers: one late beat would be a loss.
                liveness: u8::try_from(timing.heartbeat_liveness).unwrap_or(u8::MAX).max(2),
                metadata: self.metadata.clone(),
            },
        };
        ToBroker::Ready { service: self.service.clone(), offer }
    }
}

/// How often a connection beats, how long it waits, how fast it comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A HEARTBEAT leaves after this long without any other command. In MDP/1.0 it
    /// is asked for in READY, and WELCOME says what holds; in MDP/0.1 and MDP/0.2
    /// the broker must be set to the same. Default: 2.5 s.
    pub heartbeat_interval: Duration,
    /// The broker is taken for lost after this many intervals of silence; asked for
    /// and agreed on as the interval is. The RFCs ask for 3 to 5. Default: 3.
    pub heartbeat_liveness: u32,
    /// The longest wait before the first attempt to come back. Default: 100 ms.
    pub reconnect_min: Duration,
    /// The longest wait before any attempt: every one that fails doubles the wait
    /// up to here. Default: 32 s.
    pub reconnect_max: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            heartbeat_interval: Duration::from_millis(2500),
            heartbeat_liveness: 3,
            reconnect_min: Duration::from_millis(100),
            reconnect_max: Duration::from_secs(32),
        }
    }
}

impl Timing {
    /// The silence after which a broker is taken for lost.
    pub fn expiry(&self) -> Duration {
        self.heartbeat_interval.saturating_mul(self.heartbeat_liveness)
    }
}

/// What happens to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The broker said something.
    Message(FromBroker<Body>),
    /// The broker sent what no broker may send.
    Invalid,
    /// The socket could not be opened, or failed.
    Refused,
    /// A handler has a part of the reply.
    Partial {
        /// To which request.
        client: ClientAddress,
        /// The part.
        body: Body,
    },
    /// A handler has the reply, or its last part.
    Final {
        /// To which request.
        client: ClientAddress,
        /// The reply.
        body: Body,
    },
    /// A request failed. MDP/1.0 only.
    Error {
        /// Which request.
        client: ClientAddress,
        /// Why.
        reason: Reason,
        /// More about it.
        details: Body,
    },
    /// A request that came was never begun and never will be.
    Unstarted {
        /// Which request.
        client: ClientAddress,
    },
    /// The handler of a request that came by a socket closed since has ended, or never
    /// begins: its place is free. Its answer is dropped, and none of the events above
    /// is given for it: the same address may mean another request by now.
    Freed,
    /// The process was not running for a while: a silence proves nothing.
    Suspended,
    /// Finish what runs, and in MDP/0.1 and MDP/0.2 what came ahead, then leave.
    Drain,
    /// Leave now.
    Stop,
}

/// What the I/O half must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Open a new socket and connect it. There is none at this moment.
    Open,
    /// Send this on the open socket.
    Send(ToBroker<Body>),
    /// Give this request to the service's handler.
    Run {
        /// Who asked: goes back with the reply, unchanged.
        client: ClientAddress,
        /// What there is to know beside the body.
        task: Task,
        /// What is asked.
        body: Body,
    },
    /// Tell this request's handler that nobody wants its answer. It is to end the
    /// request all the same, which frees the place.
    Cancel {
        /// Who asked.
        client: ClientAddress,
    },
    /// Take note that so many requests were not begun: they came ahead of a reply
    /// (MDP/0.1 and MDP/0.2), and go back to the broker with the socket that is closed
    /// next.
    GiveBack {
        /// How many; 1 or more.
        requests: usize,
    },
    /// Close the socket, if there is one. Nobody wants the answers of what came by it
    /// any more: drop them, and say [`Event::Freed`] for each.
    Close(CloseReason),
}

/// Why a socket is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// Nothing was heard for interval times liveness.
    Silent,
    /// The broker sent DISCONNECT.
    Disconnected,
    /// The broker sent a message that is no command.
    Invalid,
    /// The broker sent a request while all places were taken, or one that runs. In
    /// MDP/0.1 and MDP/0.2 up to 63 may wait behind the one that runs.
    Unexpected,
    /// The socket could not be opened, or failed.
    Refused,
    /// The worker leaves: what was sent before, DISCONNECT included, must still
    /// go out.
    Stopped,
}

impl CloseReason {
    /// The reason in words, for a log line.
    pub fn as_str(self) -> &'static str {
        match self {
            CloseReason::Silent => "broker silent",
            CloseReason::Disconnected => "broker sent DISCONNECT",
            CloseReason::Invalid => "broker sent an invalid message",
            CloseReason::Unexpected => "broker sent more requests than the worker takes",
            CloseReason::Refused => "socket failed",
            CloseReason::Stopped => "worker stops",
        }
    }

    /// Whether what was sent on the socket should still go out.
    pub fn flushes(self) -> bool {
        matches!(self, CloseReason::Stopped | CloseReason::Invalid | CloseReason::Unexpected)
    }
}
