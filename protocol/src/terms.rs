//! What MDP/1.0 says beside the commands that all versions have. The default of each
//! type is what a peer of MDP/0.1 or MDP/0.2 says: nothing.

use std::time::Duration;

use crate::metadata::Metadata;
use crate::names::InstanceId;

/// How a request may be handled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// How long the client waits, from the arrival at the broker to the end; travels
    /// in whole milliseconds, at most 49 days. `None`: the broker's default.
    pub timeout: Option<Duration>,
    /// How long it may wait for a worker; as `timeout`. `None`: no limit of its own.
    pub start_within: Option<Duration>,
    /// Never to be handed to a second worker.
    pub once: bool,
    /// Not to be answered, not even with an error.
    pub no_reply: bool,
    /// Not to be queued while no worker is registered for its service.
    pub fail_fast: bool,
    /// For the worker; the broker passes it on unread.
    pub metadata: Metadata,
}

/// What a worker offers when it registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// How many requests it takes at once, 1 or more.
    pub capacity: u16,
    /// The heartbeat interval it asks for. `None`: the broker's.
    pub heartbeat: Option<Duration>,
    /// The liveness it asks for: how many silent intervals make a peer lost. 0: the
    /// broker's.
    pub liveness: u8,
    /// `name`, `version` and `description` of the worker, and what else it likes to
    /// say of itself.
    pub metadata: Metadata,
}

impl Default for Offer {
    /// One request at a time, at the broker's heartbeat.
    fn default() -> Self {
        Offer { capacity: 1, heartbeat: None, liveness: 0, metadata: Metadata::default() }
    }
}

/// What broker and worker agreed on: the broker's answer to READY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// After how long without a message either side sends a HEARTBEAT.
    pub heartbeat: Duration,
    /// How many silent intervals make a peer lost.
    pub liveness: u8,
    /// Which broker this is.
    pub instance: InstanceId,
}

/// What a worker learns of a request beside its body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Task {
    /// What is left of the client's timeout; `None` where there is none, or the version
    /// does not say.
    pub timeout: Option<Duration>,
    /// 1 when it is handed out for the first time; 0 where the version does not say.
    pub attempt: u8,
    /// What the client sent along.
    pub metadata: Metadata,
}

/// Why something failed, or a connection ends: a code for programs, a text for people.
///
/// MDP/0.1 and MDP/0.2 have none; there it is all zero and empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reason {
    /// One of [`code`](crate::code), or a worker's own.
    pub code: u16,
    /// In UTF-8; at most 65,535 bytes travel.
    pub text: String,
}

/// The codes of ERROR that the broker itself gives.
pub mod code {
    /// The request is malformed, or its service name cannot be.
    pub const MALFORMED: u16 = 400;
    /// This client may not call this service.
    pub const FORBIDDEN: u16 = 403;
    /// No worker is registered for the service, or none came in time.
    pub const NO_WORKER: u16 = 404;
    /// It was not started in time: it did not run.
    pub const NOT_STARTED: u16 = 408;
    /// It is larger than the broker accepts.
    pub const TOO_LARGE: u16 = 413;
    /// The service's queue is full.
    pub const BUSY: u16 = 429;
    /// Its client cancelled it.
    pub const CANCELLED: u16 = 499;
    /// The handler failed.
    pub const FAILED: u16 = 500;
    /// Its worker was lost, and it may not, or no longer, be handed to another.
    pub const WORKER_LOST: u16 = 502;
    /// The broker is shutting down: it did not run.
    pub const STOPPING: u16 = 503;
    /// The timeout passed while it ran: it may still finish.
    pub const TIMED_OUT: u16 = 504;
    /// The codes by which a broker says what became of a request. A worker's error with
    /// one of them reaches its client as [`FAILED`].
    pub const BROKERS_OWN: [u16; 9] = [
        FORBIDDEN,
        NO_WORKER,
        NOT_STARTED,
        TOO_LARGE,
        BUSY,
        CANCELLED,
        WORKER_LOST,
        STOPPING,
        TIMED_OUT,
    ];
}
