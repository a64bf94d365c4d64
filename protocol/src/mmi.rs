//! MMI (RFC 8): the services that a broker answers itself, and what it answers.
//!
//! Every service name that begins with [`PREFIX`] is the broker's; no worker can
//! register one. A reply is one frame: a status code of three digits, except for
//! [`BROKER`], our own, which answers a [`BrokerReport`] in JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How the broker's own services begin.
pub const PREFIX: &str = "mmi.";
/// Is there a worker for the service that the body names? [`FOUND`] or
/// [`NOT_FOUND`].
pub const SERVICE: &str = "mmi.service";
/// The state of the broker, as a [`BrokerReport`] in JSON. The body of the
/// request is not read.
pub const BROKER: &str = "mmi.broker";

/// At least one worker is registered for the service.
pub const FOUND: &str = "200";
/// No worker is registered for the service.
pub const NOT_FOUND: &str = "404";
/// This broker has no such service of its own.
pub const NOT_IMPLEMENTED: &str = "501";

/// What `mmi.broker` answers: the state of a broker at one moment.
///
/// Fields may be added in later versions; readers ignore those they do not know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerReport {
    /// The version of the broker's software.
    pub version: String,
    /// Milliseconds since the broker started.
    pub uptime_ms: u64,
    /// Whether the broker is shutting down and takes no more requests.
    pub stopping: bool,
    /// Clients that have a request waiting or running.
    pub clients: u64,
    /// Bytes of all requests that wait or run.
    pub bytes: u64,
    /// Every service with a worker or a request, by name.
    pub services: Vec<ServiceReport>,
    /// Every registered worker, by service and then by age, oldest first.
    pub workers: Vec<WorkerReport>,
    /// The latest requests that ended because their workers were lost too often,
    /// oldest first.
    #[serde(default)]
    pub dead: Vec<DeadReport>,
    /// What has happened since the broker started, by name.
    pub counters: BTreeMap<String, u64>,
}

/// One service of a [`BrokerReport`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceReport {
    /// The name of the service.
    pub name: String,
    /// Requests that wait for a worker.
    pub waiting: u64,
    /// Requests that a worker has.
    pub running: u64,
    /// Workers registered.
    pub workers: u64,
}

/// A request that lost its workers too often, of a [`BrokerReport`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadReport {
    /// The service that was asked.
    pub service: String,
    /// The task id that its workers saw, in hexadecimal.
    pub request: String,
    /// What its client called it, in hexadecimal; MDP/1.0 only.
    pub id: Option<String>,
    /// Bytes it held.
    pub bytes: u64,
    /// Why each of its workers was lost.
    pub reasons: Vec<String>,
}

/// One worker of a [`BrokerReport`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerReport {
    /// The identity of the worker's connection, in hexadecimal.
    pub id: String,
    /// The service it registered for.
    pub service: String,
    /// The protocol version it speaks, such as `0.2`.
    pub protocol: String,
    /// Whether it can be given a request.
    pub state: WorkerState,
    /// Requests it has.
    #[serde(default)]
    pub running: u64,
    /// Requests it takes at once.
    #[serde(default)]
    pub capacity: u64,
    /// What it said of itself: `name`, `version`, `description` and more, as far as it
    /// is text.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// Milliseconds since it registered.
    pub age_ms: u64,
    /// Milliseconds since it was last heard.
    pub silent_ms: u64,
    /// Requests it has answered.
    pub answered: u64,
}

/// Whether a worker can be given a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkerState {
    /// It has none.
    Idle,
    /// It has some, and takes no more or some more.
    Busy,
    /// It finishes what it has and takes no more.
    Draining,
}
