//! What one call may ask for beside the client's own settings.

use std::time::Duration;

use majordomo_protocol::Metadata;

use crate::call_error::{CallError, check_duration, check_number};

/// How one call is made; what is not set here is as the client has it.
///
/// ```
/// use std::time::Duration;
/// use majordomo_client::Options;
///
/// let options = Options::new().deadline(Duration::from_secs(5)).once().fail_fast();
/// # let _ = options;
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "options hold for the call they are given to"]
pub struct Options {
    pub(crate) timeout: Option<Duration>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) tries: Option<u32>,
    pub(crate) start_within: Option<Duration>,
    pub(crate) once: bool,
    pub(crate) fail_fast: bool,
    pub(crate) metadata: Metadata,
}

impl Options {
    /// Nothing but what the client has.
    pub fn new() -> Self {
        Self::default()
    }

    /// The longest that one try waits before the request is sent again under the same
    /// id; between the parts of a reply, the longest silence. 1 ms to 24 h.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The longest that the whole call takes, all tries and pauses included. The
    /// broker and the worker learn what is left of it. 1 ms to 24 h. Default: the
    /// client's, or `tries × timeout` where that has none.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// How often the request is tried, 1 to 1,000.
    pub fn tries(mut self, tries: u32) -> Self {
        self.tries = Some(tries);
        self
    }

    /// A worker must have taken it within this time, or it fails as
    /// [`CallError::NotStarted`]. 1 ms to 24 h.
    pub fn start_within(mut self, time: Duration) -> Self {
        self.start_within = Some(time);
        self
    }

    /// It is never to be given to a second worker. So once a broker may have it, only a
    /// try that had no reply in time is followed by another, to the same broker, which
    /// joins it to the first. The call ends where its connection breaks or its broker is
    /// left, and where the broker refuses a later copy (as busy, stopping or without
    /// worker): it cannot be known whether the first has run. So it is with a single
    /// broker, too. [`CallError::may_have_run`] says true of such an end.
    pub fn once(mut self) -> Self {
        self.once = true;
        self
    }

    /// Fails as [`CallError::NoWorker`] at once when no worker is registered for the
    /// service, instead of waiting for one.
    pub fn fail_fast(mut self) -> Self {
        self.fail_fast = true;
        self
    }

    /// Keys and values for the worker, which the broker passes on unread.
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    pub(crate) fn check(&self) -> Result<(), CallError> {
        for (setting, value) in [
            ("timeout", self.timeout),
            ("deadline", self.deadline),
            ("start_within", self.start_within),
        ] {
            value.map_or(Ok(()), |value| check_duration(setting, value))?;
        }
        let tries = self.tries.map_or(1, |tries| tries as usize);
        check_number("tries", tries, 1..=1_000, "1 to 1000")
    }
}
