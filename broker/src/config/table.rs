//! The table of all keys: defaults, ranges, meanings and reasons.
//!
//! Validation, flags, environment variables, the commented file that
//! `--print-config` prints and the reference in docs/operating.md all come from it,
//! so none of them can say something else than another.

use super::keys::{Key, Kind};
use crate::engine::PREFETCH_MAX;
use crate::logging;

const ENDPOINTS: &str = "Endpoints";
const SECURITY: &str = "Security";
const HEARTBEATS: &str = "Heartbeats";
const REQUESTS: &str = "Requests";
const PEERS: &str = "Services and peers";
const MESSAGES: &str = "Messages";
const SOCKETS: &str = "Sockets";
const LOGGING: &str = "Logging";

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// Every key, in the order in which files and help texts have them.
pub static KEYS: &[Key] = &[
    Key {
        name: "bind",
        heading: ENDPOINTS,
        kind: Kind::Endpoints {
            default: &["tcp://127.0.0.1:5555"],
            field: |config| &mut config.bind,
        },
        about: "Endpoints to listen on: tcp://HOST:PORT, ipc://PATH or inproc://NAME.",
        reason: "Clients and workers share them. Port 0 or * lets the system choose; \
                 Who connects here is not authenticated and may do everything, so a tcp \
                 endpoint that other machines reach needs allow_insecure. Empty if bind_curve or \
                 bind_plain is given and this is not.",
    },
    Key {
        name: "bind_curve",
        heading: ENDPOINTS,
        kind: Kind::Endpoints { default: &[], field: |config| &mut config.bind_curve },
        about: "Endpoints to listen on with CURVE: encrypted, and only for keys in rights_file.",
        reason: "tcp or ipc. Needs curve_secret_key_file and rights_file.",
    },
    Key {
        name: "bind_plain",
        heading: ENDPOINTS,
        kind: Kind::Endpoints { default: &[], field: |config| &mut config.bind_plain },
        about: "Endpoints to listen on with PLAIN: only for users in rights_file.",
        reason: "tcp or ipc. Nothing is encrypted, passwords neither: for closed networks. Needs \
                 rights_file.",
    },
    Key {
        name: "backlog",
        heading: ENDPOINTS,
        kind: Kind::Number {
            unit: "connections",
            default: 1_024,
            range: 1..=65_535,
            at_most: None,
            field: |config| &mut config.backlog,
        },
        about: "Connections that may wait to be accepted, for each endpoint.",
        reason: "Beyond it connecting peers have to try again. The system may set a lower bound \
                 (net.core.somaxconn).",
    },
    Key {
        name: "ipc_mode",
        heading: ENDPOINTS,
        kind: Kind::Text {
            default: "",
            rule: "an octal file mode such as 0660, or nothing",
            accepts: |text| text.is_empty() || file_mode(text).is_some(),
            field: |config| &mut config.ipc_mode,
        },
        about: "Mode of the files of ipc endpoints: who may connect there.",
        reason: "Set right after binding; a directory closed to others protects it before, too. \
                 Nothing leaves it to the umask.",
    },
    Key {
        name: "curve_secret_key_file",
        heading: SECURITY,
        kind: Kind::Text {
            default: "",
            rule: "the path of a key file, or nothing",
            accepts: |_| true,
            field: |config| &mut config.curve_secret_key_file,
        },
        about: "The file with the broker's secret key, for bind_curve.",
        reason: "Nobody but its owner and their group may read it. See docs/security.md.",
    },
    Key {
        name: "rights_file",
        heading: SECURITY,
        kind: Kind::Text {
            default: "",
            rule: "the path of a TOML file, or nothing",
            accepts: |_| true,
            field: |config| &mut config.rights_file,
        },
        about: "The file that says which keys and users may connect, and what each may do.",
        reason: "Read again when it has changed, and on SIGHUP; one with a fault leaves the old \
                 rights in force. See docs/security.md.",
    },
    Key {
        name: "allow_insecure",
        heading: SECURITY,
        kind: Kind::Switch { field: |config| &mut config.allow_insecure },
        about: "Listen on tcp endpoints of bind that other machines reach, too.",
        reason: "Whoever reaches them may do everything, and everybody on the way reads along. The \
                 broker warns at the start.",
    },
    Key {
        name: "handshake_ms",
        heading: SECURITY,
        kind: Kind::Number {
            unit: "ms",
            default: 10_000,
            range: 100..=3_600_000,
            at_most: None,
            field: |config| &mut config.handshake_ms,
        },
        about: "Time in which a new connection must have shown who it is and what it speaks.",
        reason: "After it the connection is closed, so that slow ones do not pile up.",
    },
    Key {
        name: "connections_per_identity_max",
        heading: SECURITY,
        kind: Kind::Number {
            unit: "connections",
            default: 10_000,
            range: 1..=10_000_000,
            at_most: None,
            field: |config| &mut config.connections_per_identity_max,
        },
        about: "Connections that one key or user may have, also those that say nothing.",
        reason: "A further one is closed and counted. Not for open endpoints, and not with a \
                 libzmq of the system, which does not tell of connections.",
    },
    Key {
        name: "peers_per_identity_max",
        heading: SECURITY,
        kind: Kind::Number {
            unit: "peers",
            default: 10_000,
            range: 1..=10_000_000,
            at_most: None,
            field: |config| &mut config.peers_per_identity_max,
        },
        about: "Workers, and clients with a request under way, that one key or user may have.",
        reason: "A request of a further one is dropped and counted, a further worker told to \
                 DISCONNECT. Not for open endpoints.",
    },
    Key {
        name: "requests_per_identity_max",
        heading: SECURITY,
        kind: Kind::Number {
            unit: "requests",
            default: 100_000,
            range: 1..=100_000_000,
            at_most: Some("requests_max"),
            field: |config| &mut config.requests_per_identity_max,
        },
        about: "Requests that may wait or run for one key or user, whatever its connections.",
        reason: "Further ones are dropped and counted. Not for open endpoints.",
    },
    Key {
        name: "invalid_max",
        heading: SECURITY,
        kind: Kind::Number {
            unit: "messages",
            default: 100,
            range: 1..=1_000_000,
            at_most: None,
            field: |config| &mut config.invalid_max,
        },
        about: "Invalid messages that one key or user may send in a row.",
        reason: "With one more it is cut off: its workers are told to DISCONNECT, and nothing it \
                 sends is read until half of them are forgiven. Not for open endpoints.",
    },
    Key {
        name: "invalid_recovery_ms",
        heading: SECURITY,
        kind: Kind::Number {
            unit: "ms",
            default: 1_000,
            range: 1..=3_600_000,
            at_most: None,
            field: |config| &mut config.invalid_recovery_ms,
        },
        about: "Time after which one invalid message is forgiven.",
        reason: "One that comes more often than that, and goes on, is cut off in the end.",
    },
    Key {
        name: "heartbeat_interval_ms",
        heading: HEARTBEATS,
        kind: Kind::Number {
            unit: "ms",
            default: 2_500,
            range: 10..=3_600_000,
            at_most: None,
            field: |config| &mut config.heartbeat_interval_ms,
        },
        about: "Time between two heartbeats to a worker.",
        reason: "Set the workers to the same. Shorter finds a worker sooner that hangs or whose \
                 host is dead, and costs a message per worker and interval.",
    },
    Key {
        name: "heartbeat_liveness",
        heading: HEARTBEATS,
        kind: Kind::Number {
            unit: "intervals",
            default: 3,
            range: 2..=100,
            at_most: None,
            field: |config| &mut config.heartbeat_liveness,
        },
        about: "Intervals of silence after which a worker counts as lost.",
        reason: "Its request then goes to another worker. More forgives a slow network; the RFCs \
                 advise 3 to 5.",
    },
    Key {
        name: "heartbeat_interval_min_ms",
        heading: HEARTBEATS,
        kind: Kind::Number {
            unit: "ms",
            default: 100,
            range: 10..=3_600_000,
            at_most: Some("heartbeat_interval_max_ms"),
            field: |config| &mut config.heartbeat_interval_min_ms,
        },
        about: "The shortest heartbeat interval that a worker of MDP/1.0 may ask for.",
        reason: "A shorter one is raised to it, and the worker is told. One that asks for none gets heartbeat_interval_ms.",
    },
    Key {
        name: "heartbeat_interval_max_ms",
        heading: HEARTBEATS,
        kind: Kind::Number {
            unit: "ms",
            default: 60_000,
            range: 10..=3_600_000,
            at_most: None,
            field: |config| &mut config.heartbeat_interval_max_ms,
        },
        about: "The longest heartbeat interval that a worker of MDP/1.0 may ask for.",
        reason: "A longer one is lowered to it, and the worker is told.",
    },
    Key {
        name: "request_expiry_ms",
        heading: REQUESTS,
        kind: Kind::Number {
            unit: "ms",
            default: 60_000,
            range: 1..=604_800_000,
            at_most: None,
            field: |config| &mut config.request_expiry_ms,
        },
        about: "How long a request waits for a worker.",
        reason: "After that it is dropped and its client's timeout runs out. Longer than your \
                 clients wait is of no use.",
    },
    Key {
        name: "attempts_max",
        heading: REQUESTS,
        kind: Kind::Number {
            unit: "attempts",
            default: 3,
            range: 1..=1_000,
            at_most: None,
            field: |config| &mut config.attempts_max,
        },
        about: "How often a request is handed to a worker, when its workers are lost.",
        reason: "After that it is dropped, so that a request that kills workers ends. 1 hands it \
                 out once only; what only waited in a lost worker's socket (prefetch) is not counted.",
    },
    Key {
        name: "prefetch",
        heading: REQUESTS,
        kind: Kind::PerService {
            unit: "requests",
            default: 1,
            range: 1..=PREFETCH_MAX as u64,
            field: |config| &mut config.prefetch,
        },
        about: "How many requests a worker of MDP/0.1 or MDP/0.2 is given at once.",
        reason: "It works on the oldest, and the others wait in its socket, so that it need not \
                 wait for the broker between two. More than 1 is beyond the RFCs: for short jobs, \
                 and for workers that read a request only when they have answered the one before. \
                 A worker of MDP/1.0 says itself how many it takes. Can be another for some \
                 services: [service.\"NAME\"] in the file.",
    },
    Key {
        name: "shutdown_ms",
        heading: REQUESTS,
        kind: Kind::Number {
            unit: "ms",
            default: 5_000,
            range: 0..=3_600_000,
            at_most: None,
            field: |config| &mut config.shutdown_ms,
        },
        about: "Time that running requests get to end when the broker is told to stop.",
        reason: "What still runs after that is dropped. 0 stops at once.",
    },
    Key {
        name: "requests_max",
        heading: REQUESTS,
        kind: Kind::Number {
            unit: "requests",
            default: 1_000_000,
            range: 1..=100_000_000,
            at_most: None,
            field: |config| &mut config.requests_max,
        },
        about: "Requests that may wait or run, in all.",
        reason: "Further ones are dropped and counted.",
    },
    Key {
        name: "requests_per_service_max",
        heading: REQUESTS,
        kind: Kind::Number {
            unit: "requests",
            default: 100_000,
            range: 1..=100_000_000,
            at_most: Some("requests_max"),
            field: |config| &mut config.requests_per_service_max,
        },
        about: "Requests that may wait for one service.",
        reason: "Further ones are dropped and counted, so that a service whose workers hang \
                 cannot take all places.",
    },
    Key {
        name: "requests_per_client_max",
        heading: REQUESTS,
        kind: Kind::Number {
            unit: "requests",
            default: 100_000,
            range: 1..=100_000_000,
            at_most: Some("requests_max"),
            field: |config| &mut config.requests_per_client_max,
        },
        about: "Requests of one client that may wait or run.",
        reason: "Further ones are dropped and counted, so that one client cannot take all places.",
    },
    Key {
        name: "bytes_max",
        heading: REQUESTS,
        kind: Kind::Number {
            unit: "bytes",
            default: GIB,
            range: KIB..=TIB,
            at_most: None,
            field: |config| &mut config.bytes_max,
        },
        about: "Bytes that all requests, kept reply parts and the metadata of workers may hold.",
        reason: "A request beyond it is dropped and counted, a worker told to DISCONNECT. It \
                 bounds the broker's memory; bookkeeping and what is being sent come on top.",
    },
    Key {
        name: "partial_bytes_max",
        heading: REQUESTS,
        kind: Kind::Number {
            unit: "bytes",
            default: 16 * MIB,
            range: 0..=TIB,
            at_most: Some("bytes_max"),
            field: |config| &mut config.partial_bytes_max,
        },
        about: "Bytes of PARTIAL replies kept for one request of a client whose version has none.",
        reason: "Such a client gets all parts with the final one. A request whose parts are more \
                 is dropped and counted.",
    },
    Key {
        name: "answers_max",
        heading: REQUESTS,
        kind: Kind::Number {
            unit: "answers",
            default: 100_000,
            range: 0..=100_000_000,
            at_most: None,
            field: |config| &mut config.answers_max,
        },
        about: "Answers of MDP/1.0 that are remembered, in case their request comes again.",
        reason: "The oldest is forgotten for a further one; its request would then run again. 0 remembers none.",
    },
    Key {
        name: "answers_bytes_max",
        heading: REQUESTS,
        kind: Kind::Number {
            unit: "bytes",
            default: 64 * MIB,
            range: 0..=TIB,
            at_most: Some("bytes_max"),
            field: |config| &mut config.answers_bytes_max,
        },
        about: "Bytes of the answers that are remembered.",
        reason: "The oldest are forgotten for a further one. Of a larger answer only that it was given is remembered.",
    },
    Key {
        name: "answers_kept_ms",
        heading: REQUESTS,
        kind: Kind::Number {
            unit: "ms",
            default: 60_000,
            range: 0..=86_400_000,
            at_most: None,
            field: |config| &mut config.answers_kept_ms,
        },
        about: "How long an answer is remembered.",
        reason: "A request that comes again later runs again. A little more than your clients' tries take is best.",
    },
    Key {
        name: "dead_max",
        heading: REQUESTS,
        kind: Kind::Number {
            unit: "requests",
            default: 1_000,
            range: 0..=1_000_000,
            at_most: None,
            field: |config| &mut config.dead_max,
        },
        about: "Requests that lost their workers attempts_max times and are listed in mmi.broker.",
        reason: "The oldest is forgotten for a further one.",
    },
    Key {
        name: "error_replies",
        heading: REQUESTS,
        kind: Kind::Switch { field: |config| &mut config.error_replies },
        about: "Whether a client of MDP/0.1 or MDP/0.2 is told why it gets no reply.",
        reason: "It then gets a final reply of two frames, code and text, which it must know; by \
                 default its timeout tells it, as the RFCs have it.",
    },
    Key {
        name: "services_max",
        heading: PEERS,
        kind: Kind::Number {
            unit: "services",
            default: 100_000,
            range: 1..=10_000_000,
            at_most: None,
            field: |config| &mut config.services_max,
        },
        about: "Services that may be known: those with a worker or a waiting request.",
        reason: "A request for a further one is dropped and counted; its worker is told to \
                 DISCONNECT.",
    },
    Key {
        name: "services_idle_max",
        heading: PEERS,
        kind: Kind::Number {
            unit: "services",
            default: 10_000,
            range: 0..=10_000_000,
            at_most: Some("services_max"),
            field: |config| &mut config.services_idle_max,
        },
        about: "Services that may have waiting requests but no worker.",
        reason: "A request for a further one is dropped and counted, so that made-up names fill \
                 no memory. 0 keeps no request for a name without a worker; services that lose \
                 their workers may exceed it.",
    },
    Key {
        name: "workers_max",
        heading: PEERS,
        kind: Kind::Number {
            unit: "workers",
            default: 100_000,
            range: 1..=10_000_000,
            at_most: None,
            field: |config| &mut config.workers_max,
        },
        about: "Workers that may be registered.",
        reason: "A further one is told to DISCONNECT and may try again.",
    },
    Key {
        name: "worker_metadata_bytes_max",
        heading: PEERS,
        kind: Kind::Number {
            unit: "bytes",
            default: 16 * KIB,
            range: 0..=65_535,
            at_most: None,
            field: |config| &mut config.worker_metadata_bytes_max,
        },
        about: "Bytes that a worker of MDP/1.0 may say of itself in READY: name, version, \
                description, methods.",
        reason: "One that says more is told to DISCONNECT, with the code 413. They are kept while \
                 it is registered, and count for bytes_max.",
    },
    Key {
        name: "clients_max",
        heading: PEERS,
        kind: Kind::Number {
            unit: "clients",
            default: 100_000,
            range: 1..=10_000_000,
            at_most: None,
            field: |config| &mut config.clients_max,
        },
        about: "Clients that may have a request waiting or running.",
        reason: "A request of a further one is dropped and counted.",
    },
    Key {
        name: "message_bytes_max",
        heading: MESSAGES,
        kind: Kind::Number {
            unit: "bytes",
            default: 128 * MIB,
            range: KIB..=4 * GIB,
            at_most: Some("bytes_max"),
            field: |config| &mut config.message_bytes_max,
        },
        about: "Bytes that one message may have, all its frames together.",
        reason: "A larger one is dropped as invalid. At one more than twice as large, or without \
                 an end, its connection is closed.",
    },
    Key {
        name: "frames_max",
        heading: MESSAGES,
        kind: Kind::Number {
            unit: "frames",
            default: 1_024,
            range: 8..=65_536,
            at_most: None,
            field: |config| &mut config.frames_max,
        },
        about: "Frames that one message may have.",
        reason: "One with more is dropped as invalid.",
    },
    Key {
        name: "io_threads",
        heading: SOCKETS,
        kind: Kind::Number {
            unit: "threads",
            default: 0,
            range: 0..=64,
            at_most: None,
            field: |config| &mut config.io_threads,
        },
        about: "Threads that move bytes between the network and the broker.",
        reason: "With 0 the broker does it itself: a message takes the least CPU and the shortest \
                 time. With more, moving bytes, and encryption above all, uses further cores, if \
                 there are any. With a libzmq that this repository did not build, 0 is as 1.",
    },
    Key {
        name: "drain_max",
        heading: SOCKETS,
        kind: Kind::Number {
            unit: "messages",
            default: 1_000,
            range: 1..=1_000_000,
            at_most: None,
            field: |config| &mut config.drain_max,
        },
        about: "Messages read in a row before answers are sent and the time is looked at.",
        reason: "Fewer shorten the wait of the first under load; more take less work in all.",
    },
    Key {
        name: "spin_us",
        heading: SOCKETS,
        kind: Kind::Number {
            unit: "us",
            default: 0,
            range: 0..=10_000,
            at_most: None,
            field: |config| &mut config.spin_us,
        },
        about: "Time in which the broker looks for the next message again and again before it sleeps.",
        reason: "To be woken takes longer than to look. It costs a processor core as long as \
                 messages are no further apart than this; of no use where cores are scarce.",
    },
    Key {
        name: "receive_queue_max",
        heading: SOCKETS,
        kind: Kind::Number {
            unit: "messages",
            default: 1_000,
            range: 1..=10_000_000,
            at_most: None,
            field: |config| &mut config.receive_queue_max,
        },
        about: "Messages of one peer that may be unread.",
        reason: "Beyond it the peer's connection is held back until the broker has caught up; \
                 nothing is lost.",
    },
    Key {
        name: "send_queue_max",
        heading: SOCKETS,
        kind: Kind::Number {
            unit: "messages",
            default: 100_000,
            range: 1..=10_000_000,
            at_most: None,
            field: |config| &mut config.send_queue_max,
        },
        about: "Messages that may be queued towards one peer that does not read them.",
        reason: "Beyond it a reply is dropped and counted, and a worker is lost and its request \
                 goes to another.",
    },
    Key {
        name: "log",
        heading: LOGGING,
        kind: Kind::Text {
            default: "info",
            rule: "LEVEL or TARGET=LEVEL, separated by commas; LEVEL is off, error, warn, info, \
                   debug or trace",
            accepts: |text| logging::parse_filter(text).is_some(),
            field: |config| &mut config.log,
        },
        about: "What is logged to standard error.",
        reason: "debug shows what happens to workers and requests, such as \
                 info,majordomo_broker=debug. RUST_LOG is not read.",
    },
    Key {
        name: "log_format",
        heading: LOGGING,
        kind: Kind::Text {
            default: "text",
            rule: "text or json",
            accepts: |text| matches!(text, "text" | "json"),
            field: |config| &mut config.log_format,
        },
        about: "What a log line looks like.",
        reason: "json is one object a line, for programs that collect logs.",
    },
    Key {
        name: "trace",
        heading: LOGGING,
        kind: Kind::Switch { field: |config| &mut config.trace },
        about: "Print every message frame by frame, whatever the log filter says.",
        reason: "For finding out what a peer sends. Slow, and it shows what is in the bodies.",
    },
];

/// The file mode that a text stands for.
pub(super) fn file_mode(text: &str) -> Option<u32> {
    let digits = (3..=4).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_digit());
    u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= 0o777)
}
