//! What can end a call of a [`Client`](crate::Client): one variant for each thing
//! the caller would do differently.

use std::time::Duration;

use crate::error::{CURVE_MISSING, Violation};
use majordomo_protocol::{
    Body, HandshakeFailure, InvalidEndpoint, InvalidServiceName, ServiceName,
};

/// Why a call of a [`Client`](crate::Client), or the making of one, failed.
///
/// After any error the client can be used again, except after [`CallError::Closed`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
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

    /// As many calls are outstanding, or as many bytes, as may be, and the client was told
    /// not to wait (or has waited until the deadline). Nothing was sent. Try later, or
    /// raise the limit.
    #[error("the calls outstanding have reached {setting} = {limit}")]
    Full {
        /// The setting that says how many may be.
        setting: &'static str,
        /// Its value.
        limit: usize,
    },

    /// No worker serves this name (404): none at all with `fail_fast`, else none
    /// came while the broker kept the request. Start a worker, or look at the name.
    #[error("no worker for service {service}")]
    NoWorker {
        /// The service that was asked.
        service: ServiceName,
        /// Whether an earlier try, at another broker, may have run.
        may_have_run: bool,
    },

    /// No worker took it in time (408). To ask again is safe, but may come to the
    /// same.
    #[error("service {service} did not start in time")]
    NotStarted {
        /// The service that was asked.
        service: ServiceName,
        /// Whether an earlier try, at another broker, may have run.
        may_have_run: bool,
    },

    /// The service's queue is full (429), in every try. Ask less often, or later.
    #[error("service {service} is busy: {text}")]
    Busy {
        /// The service that was asked.
        service: ServiceName,
        /// The broker's words.
        text: String,
        /// Whether an earlier try, at another broker, may have run.
        may_have_run: bool,
    },

    /// Every broker tried is shutting down (503). Ask again later, or give the
    /// client further brokers.
    #[error("the broker at {endpoint} is shutting down")]
    Stopping {
        /// The last broker that said so.
        endpoint: String,
        /// Whether an earlier try, at another broker, may have run.
        may_have_run: bool,
    },

    /// There was no reply in time (504, or the client's own clock). It may still be
    /// running; the broker was told to cancel it.
    #[error("no reply from service {service} in time (tries: {tries})")]
    Deadline {
        /// The service that was asked.
        service: ServiceName,
        /// Tries begun.
        tries: u32,
        /// Whether it was ever sent.
        may_have_run: bool,
    },

    /// The call was cancelled (499), here or at the broker.
    #[error("call of service {service} cancelled")]
    Cancelled {
        /// The service that was asked.
        service: ServiceName,
        /// Whether it was ever sent.
        may_have_run: bool,
    },

    /// Its worker was lost, and the request may not, or no longer, be given to
    /// another (502). It has begun to run.
    #[error("the worker of service {service} was lost: {text}")]
    WorkerLost {
        /// The service that was asked.
        service: ServiceName,
        /// The broker's words.
        text: String,
    },

    /// The worker answered with an error: 500 when its handler failed, or a code of
    /// its own; 400 from it or from the broker when the request is malformed.
    #[error("service {service} failed with {code}: {text}")]
    Remote {
        /// The service that was asked.
        service: ServiceName,
        /// The worker's code.
        code: u16,
        /// The worker's words.
        text: String,
        /// What else the worker said; often one empty frame.
        details: Body,
    },

    /// A broker does not let this client in: it refused the key, the password or the
    /// mechanism, and no other broker did better. Correct the credentials, or have them
    /// entered in the broker's rights file.
    #[error("the broker at {endpoint} does not let this client in: {reason}")]
    Unauthorized {
        /// The endpoint of the last that did not.
        endpoint: String,
        /// How it went.
        reason: HandshakeFailure,
        /// Whether an earlier try, at another broker or before the key was withdrawn, may
        /// have run.
        may_have_run: bool,
    },

    /// This client may not call this service (403).
    #[error("not allowed to call service {service}: {text}")]
    Refused {
        /// The service that was asked.
        service: ServiceName,
        /// The broker's words.
        text: String,
        /// Whether an earlier try, at another broker, may have run.
        may_have_run: bool,
    },

    /// The request is larger than the broker accepts (413). Split it, or raise the
    /// limit there.
    #[error("the request for service {service} is too large for the broker: {text}")]
    TooLarge {
        /// The service that was asked.
        service: ServiceName,
        /// The broker's words.
        text: String,
        /// Whether an earlier try, at another broker, may have run.
        may_have_run: bool,
    },

    /// The reply, or its parts that nobody has read yet, are larger than this client
    /// takes. Raise the limit, or read parts as they come.
    #[error("reply of service {service} is larger than reply_bytes_max = {limit}")]
    ReplyOverLimit {
        /// The service that was asked.
        service: ServiceName,
        /// How many bytes may wait.
        limit: usize,
    },

    /// No broker was reached, or the connection broke and no later try did better.
    #[error("no broker at {} (tries: {tries})", .endpoints.join(", "))]
    Disconnected {
        /// The brokers of the client.
        endpoints: Vec<String>,
        /// Tries begun.
        tries: u32,
        /// Whether it was ever sent.
        may_have_run: bool,
    },

    /// One of the broker's own services gave an answer that it does not have.
    #[error("protocol violation by the broker")]
    Violation(#[from] Violation),

    /// The client was closed, or its ZeroMQ context terminated. It is of no more use.
    #[error("the client is closed")]
    Closed {
        /// Whether it may have been sent.
        may_have_run: bool,
    },

    /// A setting has a value it cannot have. Nothing was made or sent.
    #[error("{setting} is {found}, but must be {rule}")]
    Setting {
        /// The name of the setting, which is the name of the method that sets it.
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

    /// The system gave no thread or no socket pair for the client's I/O.
    #[error("cannot start the I/O thread")]
    Start(#[source] std::io::Error),
}

impl CallError {
    /// Whether the request may have run, or may still be running or waiting.
    ///
    /// Where this is false, to send it again cannot make it run twice. It is true
    /// wherever that is not certain.
    pub fn may_have_run(&self) -> bool {
        match self {
            CallError::ServiceName(_)
            | CallError::BodyOverLimit { .. }
            | CallError::Full { .. }
            | CallError::Setting { .. }
            | CallError::Endpoint(_)
            | CallError::CurveMissing
            | CallError::Start(_) => false,
            CallError::WorkerLost { .. }
            | CallError::Violation(_)
            | CallError::Remote { .. }
            | CallError::ReplyOverLimit { .. } => true,
            CallError::NoWorker { may_have_run, .. }
            | CallError::NotStarted { may_have_run, .. }
            | CallError::Busy { may_have_run, .. }
            | CallError::Stopping { may_have_run, .. }
            | CallError::Deadline { may_have_run, .. }
            | CallError::Cancelled { may_have_run, .. }
            | CallError::Unauthorized { may_have_run, .. }
            | CallError::Refused { may_have_run, .. }
            | CallError::TooLarge { may_have_run, .. }
            | CallError::Disconnected { may_have_run, .. }
            | CallError::Closed { may_have_run } => *may_have_run,
        }
    }
}

/// Checks a duration that a setting of this name has.
pub(crate) fn check_duration(setting: &'static str, value: Duration) -> Result<(), CallError> {
    const MAX: Duration = Duration::from_secs(24 * 60 * 60);
    if (Duration::from_millis(1)..=MAX).contains(&value) {
        return Ok(());
    }
    Err(CallError::Setting { setting, found: format!("{value:?}"), rule: "1 ms to 24 h" })
}

/// Checks a number that a setting of this name has.
pub(crate) fn check_number(
    setting: &'static str,
    value: usize,
    range: std::ops::RangeInclusive<usize>,
    rule: &'static str,
) -> Result<(), CallError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(CallError::Setting { setting, found: value.to_string(), rule })
}
