//! What can end a call: whose fault it was, and what the caller can do next.
//!
//! One variant for each thing a caller would do differently. The first question
//! after a failed call is whether the work may have been done all the same:
//! [`Error::may_have_run`] answers it.

use std::time::Duration;

use majordomo_protocol::{
    DecodeError, Excerpt, HandshakeFailure, InvalidEndpoint, InvalidServiceName, ServiceName,
};

/// What is to be done where libzmq lacks CURVE.
pub(crate) const CURVE_MISSING: &str = "this libzmq was built without CURVE: put \
    [patch.crates-io] zmq-sys = { git = \"URL of Majordomo's repository\" } into the Cargo.toml \
    at the root of your workspace (see its docs/guide.md)";

/// Why a call, or the making of a client, failed.
///
/// After any error the client can be used again, except after [`Error::Closed`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name given can be no service's. Nothing was sent. Correct the name.
    #[error(transparent)]
    ServiceName(#[from] InvalidServiceName),

    /// The body is larger than this client may send. Nothing was sent. Split the
    /// body, or raise the limit here and in the broker.
    #[error("the body has {found} {unit}, more than {setting} = {limit}")]
    BodyOverLimit {
        /// `bytes` or `frames`.
        unit: &'static str,
        /// How many the body has.
        found: usize,
        /// How many it may have.
        limit: usize,
        /// The setting that says so.
        setting: &'static str,
    },

    /// No try got a connection to a broker; the request was not sent. Look whether
    /// a broker runs there.
    #[error("no broker reached at {} (tries: {tries})", .endpoints.join(", "))]
    Unreachable {
        /// The endpoints tried, in the order of the first try of each.
        endpoints: Vec<String>,
        /// Tries made.
        tries: u32,
    },

    /// A broker does not let this client in: it refused the key, the password or the
    /// mechanism. The request was not sent. Correct the credentials, or have them entered
    /// in the broker's rights file.
    #[error("the broker at {endpoint} does not let this client in: {reason}")]
    Unauthorized {
        /// The endpoint of the last that did not.
        endpoint: String,
        /// How it went.
        reason: HandshakeFailure,
    },

    /// A broker was reached, but the reply did not come in time: no worker serves
    /// this name, the workers are slower than the timeout, or the broker hangs.
    /// The request may have run, up to once for each try.
    #[error(
        "no reply from service {service} in {timeout:?} (tries: {tries}, the last at {endpoint})"
    )]
    TimedOut {
        /// The service that was asked.
        service: ServiceName,
        /// Tries made, those that reached no broker included.
        tries: u32,
        /// The longest that each could last.
        timeout: Duration,
        /// The endpoint that took the request last.
        endpoint: String,
    },

    /// The connection broke after the request was sent, and no later try reached
    /// a broker or did better. The request may have run.
    #[error("connection to {endpoint} lost while waiting for service {service} (tries: {tries})")]
    Lost {
        /// The service that was asked.
        service: ServiceName,
        /// Tries made.
        tries: u32,
        /// The endpoint that took the request last.
        endpoint: String,
    },

    /// A streamed reply stopped between its parts: for the length of a try, or
    /// because the connection broke. There was no other try, since parts had been
    /// handed out. The request has run, at least in part.
    #[error("reply of service {service} from {endpoint} stopped after {parts} parts")]
    Interrupted {
        /// The service that was asked.
        service: ServiceName,
        /// The endpoint the parts came from.
        endpoint: String,
        /// Partial replies that were handed out.
        parts: u64,
    },

    /// The reply is larger than this client takes. The request has run; sending it
    /// again would do so again and fail again. Raise the limit, or
    /// [stream](crate::BlockingClient::stream) if the service sends parts.
    #[error("reply of service {service} is larger than reply_bytes_max = {limit}")]
    ReplyOverLimit {
        /// The service that was asked.
        service: ServiceName,
        /// How many bytes a reply may have.
        limit: usize,
    },

    /// The broker sent what the protocol does not allow. The fault is the peer's,
    /// or something else than a broker of this protocol version listens there.
    /// The request may have run.
    #[error("protocol violation by the broker at {endpoint}")]
    Violation {
        /// Where the message came from.
        endpoint: String,
        /// What was wrong with it.
        source: Violation,
    },

    /// The ZeroMQ context given to the builder was terminated. This client is of
    /// no more use.
    #[error("the ZeroMQ context was terminated")]
    Closed {
        /// Whether the request had been sent.
        sent: bool,
    },

    /// A setting has a value it cannot have. No client was made.
    #[error("{setting} is {found}, but must be {rule}")]
    Setting {
        /// The name of the setting, which is the name of the builder's method.
        setting: &'static str,
        /// The value given.
        found: String,
        /// What it must be.
        rule: &'static str,
    },

    /// An endpoint cannot be one of a broker. No client was made.
    #[error(transparent)]
    Endpoint(#[from] InvalidEndpoint),

    /// CURVE is wanted, and libzmq was built without it. No client was made. Build against
    /// the `zmq-sys` of Majordomo's repository.
    #[error("{CURVE_MISSING}")]
    CurveMissing,

    /// ZeroMQ refused a call, as when the process has no more file descriptors.
    #[error("ZeroMQ cannot {call} for {endpoint}")]
    Socket {
        /// What was tried.
        call: &'static str,
        /// The broker's endpoint.
        endpoint: String,
        /// Whether the request had been sent.
        sent: bool,
        /// The reason ZeroMQ gave.
        source: zmq::Error,
    },
}

impl Error {
    /// Whether the request may have run, or may still be running or waiting.
    ///
    /// Where this is false the request never left this process, and to send it
    /// again cannot make it run twice. It is true wherever that is not certain.
    pub fn may_have_run(&self) -> bool {
        match self {
            Error::ServiceName(_)
            | Error::BodyOverLimit { .. }
            | Error::Unreachable { .. }
            | Error::Unauthorized { .. }
            | Error::CurveMissing
            | Error::Setting { .. }
            | Error::Endpoint(_) => false,
            Error::TimedOut { .. }
            | Error::Lost { .. }
            | Error::Interrupted { .. }
            | Error::ReplyOverLimit { .. }
            | Error::Violation { .. } => true,
            Error::Closed { sent } | Error::Socket { sent, .. } => *sent,
        }
    }
}

/// What a broker did that the protocol does not allow.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// The message is no reply of this protocol version.
    #[error("the message is no reply")]
    Undecodable(#[from] DecodeError),

    /// The reply names another service than the one that was asked.
    #[error("a reply of service {found} to a request for {asked}")]
    OtherService {
        /// The service that was asked.
        asked: ServiceName,
        /// The service that the reply names.
        found: ServiceName,
    },

    /// A message came before the request was sent.
    #[error("a message before any request")]
    Unasked,

    /// One of the broker's own services gave an answer that it does not have.
    #[error("{service} must answer {expected}, found {found}")]
    Answer {
        /// The broker's service.
        service: &'static str,
        /// What it may answer.
        expected: &'static str,
        /// What it answered.
        found: Excerpt,
    },

    /// `mmi.broker` did not answer a report.
    #[error("mmi.broker answered no report")]
    Report(#[from] serde_json::Error),
}
