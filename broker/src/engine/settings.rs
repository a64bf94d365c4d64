//! The numbers the engine's rules go by.

use std::time::Duration;

use crate::per_service::PerService;

/// The most requests that a worker of MDP/0.1 or MDP/0.2 can be given at once.
pub const PREFETCH_MAX: usize = 64;

/// The engine's settings; docs/operating.md says what each does at its bound.
#[derive(Clone, Debug)]
pub struct Settings {
    /// After how long without a message a HEARTBEAT is sent.
    pub heartbeat_interval: Duration,
    /// After how many silent intervals a worker counts as lost.
    pub heartbeat_liveness: u32,
    /// How long a request may wait for a worker, each time it waits.
    pub request_expiry: Duration,
    /// How often a request may have lost the worker that worked on it when it is handed
    /// out for the last time, this one included.
    pub attempts_max: u32,
    /// How many requests a worker of MDP/0.1 or MDP/0.2 is given at once: it works on the
    /// oldest, and the others wait in its socket. 1 to [`PREFETCH_MAX`]; what is outside
    /// counts as the nearest of these. MDP/1.0 has its own word for it.
    pub prefetch: PerService<usize>,
    /// How long running requests may go on after [`Event::Stop`](super::Event).
    pub shutdown: Duration,
    /// Requests waiting or running, in all.
    pub requests_max: usize,
    /// Requests waiting for one service. Those returned by a lost worker may exceed it.
    pub requests_per_service_max: usize,
    /// Requests of one client waiting or running. Those it joins may exceed it.
    pub requests_per_client_max: usize,
    /// Bytes that waiting and running requests and the metadata of workers hold, in all.
    pub bytes_max: usize,
    /// Bytes of the parts of one reply, kept for a client without PARTIAL.
    pub partial_bytes_max: usize,
    /// Services known: with a worker or a request.
    pub services_max: usize,
    /// Services known that have no worker.
    pub services_idle_max: usize,
    /// Workers registered.
    pub workers_max: usize,
    /// Bytes of the metadata of one READY.
    pub worker_metadata_bytes_max: usize,
    /// Clients with a request waiting or running. Those who join one may exceed it.
    pub clients_max: usize,
    /// The shortest heartbeat interval a worker of MDP/1.0 may ask for.
    pub heartbeat_interval_min: Duration,
    /// The longest heartbeat interval a worker of MDP/1.0 may ask for.
    pub heartbeat_interval_max: Duration,
    /// Answers that are remembered, in case their request comes again.
    pub answers_max: usize,
    /// Bytes of the answers that are remembered.
    pub answers_bytes_max: usize,
    /// How long an answer is remembered.
    pub answers_kept: Duration,
    /// Requests that lost their workers `attempts_max` times and are listed.
    pub dead_max: usize,
    /// Whether a client of MDP/0.1 or MDP/0.2 is told why its request was dropped, by
    /// a final reply of two frames, code and text.
    pub error_replies: bool,
    /// Makes this broker's task ids unlike those of any other: a random number.
    pub instance: u64,
    /// Whether to note every request's dispatch and end.
    pub follow_requests: bool,
}
