//! What can go wrong on this side of the connection, told apart by what the author
//! of a worker would do about it.
//!
//! A broker that is absent, silent or invalid, or that does not let the worker in, is no
//! error: the worker comes back to it by itself, and counts and logs why.

use std::io;

use majordomo_protocol::InvalidEndpoint;

/// Why a worker did not start, or could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting cannot be used. Nothing was started. Correct the setting.
    #[error("{setting} is {value}: {rule}")]
    Setting {
        /// The method of [`WorkerBuilder`](crate::WorkerBuilder) or
        /// [`Service`](crate::Service) that set it.
        setting: &'static str,
        /// What it was set to.
        value: String,
        /// What it must be.
        rule: &'static str,
    },
    /// A broker's endpoint cannot be connected to. Nothing was started. Correct it.
    #[error(transparent)]
    Endpoint(#[from] InvalidEndpoint),
    /// CURVE is wanted, and libzmq was built without it. Nothing was started. Build against
    /// the `zmq-sys` of Majordomo's repository.
    #[error(
        "this libzmq was built without CURVE: put [patch.crates-io] zmq-sys = {{ git = \"URL of \
         Majordomo's repository\" }} into the Cargo.toml at the root of your workspace (see its \
         docs/guide.md)"
    )]
    CurveMissing,
    /// The system refused a thread or a socket. Nothing is left running.
    /// Raise the process's limits, or ask for fewer places.
    #[error("the system refused {what}")]
    System {
        /// What was wanted of it.
        what: &'static str,
        /// Why it refused.
        source: io::Error,
    },
    /// The I/O thread could not wait for its sockets any more and has closed them.
    /// The brokers will hand its requests to other workers. Start a new worker.
    #[error("waiting for the brokers' sockets failed")]
    Poll(#[source] zmq::Error),
    /// The I/O thread panicked: a fault of this library. Its sockets are closed.
    #[error("the worker's I/O thread panicked, which is a fault of majordomo-worker: {0}")]
    Internal(String),
}

/// Why a part of a reply was not taken. The request is still to be finished.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PartialError {
    /// It is too large; nothing of it was sent. Send less at a time, or raise the
    /// limit.
    #[error(
        "a part of {bytes} bytes does not fit: {bytes_max} may be sent at once or kept for one reply (reply_bytes_max)"
    )]
    TooLarge {
        /// The size of the part, and of those kept before it (MDP/0.1).
        bytes: usize,
        /// The most that is allowed.
        bytes_max: usize,
    },
    /// Nobody waits for this reply any more: its broker is lost, it has been
    /// answered, or the worker has stopped. Stop working on it.
    #[error("nobody waits for this reply any more")]
    Unwanted,
}

/// An [`Inbox`](crate::Inbox) whose worker has stopped: no request will come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the worker has stopped")]
pub struct Closed;
