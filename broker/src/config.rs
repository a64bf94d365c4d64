//! The broker's configuration: every knob, and a value that cannot be impossible.
//!
//! The table [`KEYS`] says what keys there are. A [`ConfigBuilder`] takes values from
//! a file, the environment, flags or a program, each over the ones before; it refuses
//! what no key takes and what contradicts itself. Only it makes a [`Config`], so
//! whoever has one need not check anything. Some keys can be another for some services:
//! the kind of the key says which, and [`PerService`] what holds for whom.

mod builder;
mod error;
mod keys;
mod render;
mod security;
mod table;

use std::time::Duration;

pub use builder::ConfigBuilder;
pub use error::{ConfigError, Origin};
pub use keys::{Key, VARIABLE_PREFIX};
pub use render::reference;
pub use table::KEYS;

use crate::logging::LogFormat;
use crate::per_service::PerService;
use majordomo_protocol::Endpoint;

/// A valid configuration. Every key of [`KEYS`] has a method of its name, without
/// the unit: `heartbeat_interval_ms` is [`Config::heartbeat_interval`].
///
/// ```
/// use majordomo_broker::config::Config;
///
/// let config = Config::builder()
///     .bind("inproc://broker")
///     .set("heartbeat_interval_ms", 50)
///     .build()?;
/// assert_eq!(config.heartbeat_interval().as_millis(), 50);
/// assert_eq!(config.heartbeat_liveness(), 3);
/// # Ok::<(), majordomo_broker::config::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    bind: Vec<Endpoint>,
    bind_curve: Vec<Endpoint>,
    bind_plain: Vec<Endpoint>,
    ipc_mode: String,
    curve_secret_key_file: String,
    rights_file: String,
    allow_insecure: bool,
    handshake_ms: u64,
    connections_per_identity_max: u64,
    peers_per_identity_max: u64,
    requests_per_identity_max: u64,
    invalid_max: u64,
    invalid_recovery_ms: u64,
    backlog: u64,
    heartbeat_interval_ms: u64,
    heartbeat_liveness: u64,
    heartbeat_interval_min_ms: u64,
    heartbeat_interval_max_ms: u64,
    request_expiry_ms: u64,
    attempts_max: u64,
    prefetch: PerService<u64>,
    shutdown_ms: u64,
    requests_max: u64,
    requests_per_service_max: u64,
    requests_per_client_max: u64,
    bytes_max: u64,
    partial_bytes_max: u64,
    answers_max: u64,
    answers_bytes_max: u64,
    answers_kept_ms: u64,
    dead_max: u64,
    error_replies: bool,
    services_max: u64,
    services_idle_max: u64,
    workers_max: u64,
    worker_metadata_bytes_max: u64,
    clients_max: u64,
    message_bytes_max: u64,
    frames_max: u64,
    io_threads: u64,
    drain_max: u64,
    spin_us: u64,
    receive_queue_max: u64,
    send_queue_max: u64,
    log: String,
    log_format: String,
    trace: bool,
}

/// A number within its range, which fits the type that its users need. On a machine
/// whose `usize` is too small for it, the largest there is means the same.
fn fit<N: TryFrom<u64>>(number: u64, largest: N) -> N {
    N::try_from(number).unwrap_or(largest)
}

impl Config {
    /// Starts from the defaults.
    pub fn builder() -> ConfigBuilder {
        ConfigBuilder::default()
    }

    /// Endpoints to listen on without authentication: none twice.
    pub fn bind(&self) -> &[Endpoint] {
        &self.bind
    }

    /// Connections that may wait to be accepted, for each endpoint.
    pub fn backlog(&self) -> i32 {
        fit(self.backlog, i32::MAX)
    }

    /// Time between two heartbeats to a worker.
    pub fn heartbeat_interval(&self) -> Duration {
        Duration::from_millis(self.heartbeat_interval_ms)
    }

    /// Intervals of silence after which a worker counts as lost.
    pub fn heartbeat_liveness(&self) -> u32 {
        fit(self.heartbeat_liveness, u32::MAX)
    }

    /// How long a request waits for a worker.
    pub fn request_expiry(&self) -> Duration {
        Duration::from_millis(self.request_expiry_ms)
    }

    /// How often a request is handed to a worker that works on it, when its workers are lost.
    pub fn attempts_max(&self) -> u32 {
        fit(self.attempts_max, u32::MAX)
    }

    /// How many requests a worker of MDP/0.1 or MDP/0.2 is given at once, by its service.
    pub fn prefetch(&self) -> PerService<usize> {
        self.prefetch.map(|prefetch| fit(*prefetch, usize::MAX))
    }

    /// Time that running requests get to end at shutdown; may be zero.
    pub fn shutdown(&self) -> Duration {
        Duration::from_millis(self.shutdown_ms)
    }

    /// Requests that may wait or run, in all.
    pub fn requests_max(&self) -> usize {
        fit(self.requests_max, usize::MAX)
    }

    /// Requests that may wait for one service.
    pub fn requests_per_service_max(&self) -> usize {
        fit(self.requests_per_service_max, usize::MAX)
    }

    /// Requests of one client that may wait or run.
    pub fn requests_per_client_max(&self) -> usize {
        fit(self.requests_per_client_max, usize::MAX)
    }

    /// Bytes that all requests, kept reply parts and the metadata of workers may hold.
    pub fn bytes_max(&self) -> usize {
        fit(self.bytes_max, usize::MAX)
    }

    /// Bytes of PARTIAL replies kept for one request of a client whose version has
    /// none; may be zero.
    pub fn partial_bytes_max(&self) -> usize {
        fit(self.partial_bytes_max, usize::MAX)
    }

    /// The shortest heartbeat interval that a worker of MDP/1.0 may ask for.
    pub fn heartbeat_interval_min(&self) -> Duration {
        Duration::from_millis(self.heartbeat_interval_min_ms)
    }

    /// The longest heartbeat interval that a worker of MDP/1.0 may ask for.
    pub fn heartbeat_interval_max(&self) -> Duration {
        Duration::from_millis(self.heartbeat_interval_max_ms)
    }

    /// Answers of MDP/1.0 that are remembered; may be zero.
    pub fn answers_max(&self) -> usize {
        fit(self.answers_max, usize::MAX)
    }

    /// Bytes of the answers that are remembered; may be zero.
    pub fn answers_bytes_max(&self) -> usize {
        fit(self.answers_bytes_max, usize::MAX)
    }

    /// How long an answer is remembered; may be zero.
    pub fn answers_kept(&self) -> Duration {
        Duration::from_millis(self.answers_kept_ms)
    }

    /// Requests that lost their workers too often and are listed; may be zero.
    pub fn dead_max(&self) -> usize {
        fit(self.dead_max, usize::MAX)
    }

    /// Whether a client of MDP/0.1 or MDP/0.2 is told why it gets no reply.
    pub fn error_replies(&self) -> bool {
        self.error_replies
    }

    /// Services that may be known.
    pub fn services_max(&self) -> usize {
        fit(self.services_max, usize::MAX)
    }

    /// Services that may have waiting requests but no worker; may be zero.
    pub fn services_idle_max(&self) -> usize {
        fit(self.services_idle_max, usize::MAX)
    }

    /// Workers that may be registered.
    pub fn workers_max(&self) -> usize {
        fit(self.workers_max, usize::MAX)
    }

    /// Bytes that a worker may say of itself when it registers; may be zero.
    pub fn worker_metadata_bytes_max(&self) -> usize {
        fit(self.worker_metadata_bytes_max, usize::MAX)
    }

    /// Clients that may have a request waiting or running.
    pub fn clients_max(&self) -> usize {
        fit(self.clients_max, usize::MAX)
    }

    /// Bytes that one message may have, all its frames together.
    pub fn message_bytes_max(&self) -> usize {
        fit(self.message_bytes_max, usize::MAX)
    }

    /// Frames that one message may have, the peer's identity not counted.
    pub fn frames_max(&self) -> usize {
        fit(self.frames_max, usize::MAX)
    }

    /// Threads that move bytes between the network and the broker.
    pub fn io_threads(&self) -> i32 {
        fit(self.io_threads, i32::MAX)
    }

    /// Messages read in a row before what they caused is sent.
    pub fn drain_max(&self) -> usize {
        fit(self.drain_max, usize::MAX)
    }

    /// How long to look for the next message before sleeping; zero for not at all.
    pub fn spin(&self) -> Duration {
        Duration::from_micros(self.spin_us)
    }

    /// Messages of one peer that may be unread: the socket's receive high-water mark.
    pub fn receive_queue_max(&self) -> i32 {
        fit(self.receive_queue_max, i32::MAX)
    }

    /// Messages that may be queued towards one peer: the socket's send high-water
    /// mark.
    pub fn send_queue_max(&self) -> i32 {
        fit(self.send_queue_max, i32::MAX)
    }

    /// What is logged: LEVEL or TARGET=LEVEL, separated by commas.
    pub fn log(&self) -> &str {
        &self.log
    }

    /// What a log line looks like.
    pub fn log_format(&self) -> LogFormat {
        if self.log_format == "json" { LogFormat::Json } else { LogFormat::Text }
    }

    /// Whether every message is printed frame by frame.
    pub fn trace(&self) -> bool {
        self.trace
    }
}

impl Default for Config {
    /// The default of every key, from [`KEYS`].
    fn default() -> Self {
        let mut config = Config {
            bind: Vec::new(),
            bind_curve: Vec::new(),
            bind_plain: Vec::new(),
            ipc_mode: String::new(),
            curve_secret_key_file: String::new(),
            rights_file: String::new(),
            allow_insecure: false,
            handshake_ms: 0,
            connections_per_identity_max: 0,
            peers_per_identity_max: 0,
            requests_per_identity_max: 0,
            invalid_max: 0,
            invalid_recovery_ms: 0,
            backlog: 0,
            heartbeat_interval_ms: 0,
            heartbeat_liveness: 0,
            heartbeat_interval_min_ms: 0,
            heartbeat_interval_max_ms: 0,
            request_expiry_ms: 0,
            attempts_max: 0,
            prefetch: PerService::new(0),
            shutdown_ms: 0,
            requests_max: 0,
            requests_per_service_max: 0,
            requests_per_client_max: 0,
            bytes_max: 0,
            partial_bytes_max: 0,
            answers_max: 0,
            answers_bytes_max: 0,
            answers_kept_ms: 0,
            dead_max: 0,
            error_replies: false,
            services_max: 0,
            services_idle_max: 0,
            workers_max: 0,
            worker_metadata_bytes_max: 0,
            clients_max: 0,
            message_bytes_max: 0,
            frames_max: 0,
            io_threads: 0,
            drain_max: 0,
            spin_us: 0,
            receive_queue_max: 0,
            send_queue_max: 0,
            log: String::new(),
            log_format: String::new(),
            trace: false,
        };
        KEYS.iter().for_each(|key| key.reset(&mut config));
        config
    }
}
