//! The settings of a [`Client`], one method each.

use std::time::Duration;

use majordomo_io::security;
use majordomo_protocol::{Credentials, Security};

use crate::call_error::CallError;
use crate::client::Client;
use crate::shared::Settings;

/// What [`Client::submit`] does where as many calls, or bytes, are outstanding as may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// It waits until others have ended, at most for the call's deadline. Who waits longer
    /// goes first.
    #[default]
    Wait,
    /// It fails at once as [`CallError::Full`].
    Error,
}

/// The settings of a [`Client`].
#[derive(Clone)]
#[must_use = "a client comes of it by build()"]
pub struct ClientBuilder {
    settings: Settings,
    when_full: WhenFull,
    credentials: Credentials,
    context: Option<zmq::Context>,
}

impl ClientBuilder {
    pub(crate) fn new() -> Self {
        ClientBuilder {
            settings: Settings::default(),
            when_full: WhenFull::default(),
            credentials: Credentials::default(),
            context: None,
        }
    }

    /// One more broker. Calls go to the first until it is silent, lost or stopping, then
    /// to the next in the order given.
    ///
    /// `tcp://host:port`, `ipc://path` or `inproc://name`; the last needs the broker's
    /// [context](Self::context). Default: [`ENDPOINT_DEFAULT`](crate::ENDPOINT_DEFAULT).
    pub fn broker(mut self, endpoint: impl Into<String>) -> Self {
        self.settings.endpoints.push(endpoint.into());
        self
    }

    /// One more broker, which is shown something else than the [others](Self::security).
    pub fn broker_with(mut self, endpoint: impl Into<String>, security: Security) -> Self {
        let endpoint = endpoint.into();
        self.credentials.set(&endpoint, security);
        self.broker(endpoint)
    }

    /// What brokers are shown: a key of CURVE, a password of PLAIN, or, by default, nothing.
    ///
    /// ```no_run
    /// use majordomo_client::{Client, Security};
    ///
    /// let client = Client::builder()
    ///     .broker("tcp://broker.example:5555")
    ///     .security(Security::curve_files("broker.pub", "alice.key")?)
    ///     .build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn security(mut self, security: Security) -> Self {
        self.credentials.set_all(security);
        self
    }

    /// The longest that one try waits before the request is sent again under the same
    /// id, which a broker that has it joins to the first; between the parts of a reply,
    /// the longest silence. 1 ms to 24 h. Default: 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// The longest that a whole call takes. The broker and the worker learn what is left
    /// of it. 1 ms to 24 h. Default: tries × timeout.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.settings.deadline = Some(deadline);
        self
    }

    /// How often a call is tried, 1 to 1,000. Default: 3, or once at each broker if there
    /// are more.
    pub fn tries(mut self, tries: u32) -> Self {
        self.settings.tries = Some(tries);
        self
    }

    /// How long a broker that cannot be reached is connected to, before the try counts as
    /// failed. 1 ms to 24 h. Default: 1 s. With another broker left, a refusal counts at
    /// once.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.connect_timeout = timeout;
        self
    }

    /// How long a broker with something outstanding may be quiet before it is asked for a
    /// sign of life. 1 ms to 24 h. Default: 1 s.
    pub fn heartbeat(mut self, heartbeat: Duration) -> Self {
        self.settings.heartbeat = heartbeat;
        self
    }

    /// How many such questions may go unanswered, a heartbeat each, before the broker is
    /// left. 1 to 100. Default: 3.
    pub fn liveness(mut self, liveness: u32) -> Self {
        self.settings.liveness = liveness;
        self
    }

    /// The most calls outstanding, 1 to 1,048,576. Default: 10,000.
    pub fn outstanding_max(mut self, calls: usize) -> Self {
        self.settings.outstanding_max = calls;
        self
    }

    /// The most bytes that the calls outstanding hold: each its body and metadata until it
    /// ends, and 64 bytes more for each frame of the body after the first. 1 or more.
    /// Default: 256 MiB.
    ///
    /// A call larger than that goes alone: it waits until no other is outstanding. What
    /// wants no reply ends when its connection has taken it, and a connection holds at most
    /// 32 messages that were not sent yet.
    pub fn outstanding_bytes_max(mut self, bytes: usize) -> Self {
        self.settings.outstanding_bytes_max = bytes;
        self
    }

    /// What happens to one call more, or to one byte. Default: [`WhenFull::Wait`].
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// The most bytes of a message that carries several requests, 1 to 64 MiB. Default:
    /// 256 KiB.
    ///
    /// What is ready to leave together travels in one message up to this size and to 8
    /// frames, which every broker takes; a larger request travels alone. So only a broker
    /// with a `message_bytes_max` below it needs less here, lest it refuse a request for
    /// its company.
    pub fn batch_bytes_max(mut self, bytes: usize) -> Self {
        self.settings.batch_bytes_max = bytes;
        self
    }

    /// The largest body that is sent, in bytes, 1 to 1 GiB. Default: 64 MiB, which the
    /// default limits of the broker let pass.
    pub fn body_bytes_max(mut self, bytes: usize) -> Self {
        self.settings.body_bytes_max = bytes;
        self
    }

    /// The most frames in a body that is sent, 1 to 65,535. Default: 1,000, which the
    /// default limits of the broker let pass.
    pub fn body_frames_max(mut self, frames: usize) -> Self {
        self.settings.body_frames_max = frames;
        self
    }

    /// The most bytes of one reply that wait to be read, all parts together; each frame
    /// after the first of a part counts 64 bytes more. 1 or more. Default: 64 MiB.
    ///
    /// A larger reply is [`CallError::ReplyOverLimit`]. A message of more than twice the
    /// limit (at least 4 MiB) and 1 MiB, each frame with 128 bytes more, ends the
    /// connection instead.
    pub fn reply_bytes_max(mut self, bytes: usize) -> Self {
        self.settings.reply_bytes_max = bytes;
        self
    }

    /// The ZeroMQ context to use, for `inproc` endpoints or to share its I/O thread.
    /// Default: one of its own, which needs none: the client's thread, or a caller that
    /// waits, moves its bytes. Where an endpoint has a host's name instead of its address,
    /// libzmq's thread does, since to look it up may take long.
    pub fn context(mut self, context: zmq::Context) -> Self {
        self.context = Some(context);
        self
    }

    /// Makes the client and starts its thread; does not block.
    ///
    /// # Errors
    ///
    /// [`CallError::Setting`], [`CallError::Endpoint`], [`CallError::CurveMissing`] and
    /// [`CallError::Start`].
    pub fn build(self) -> Result<Client, CallError> {
        if !security::is_possible(&self.credentials) {
            return Err(CallError::CurveMissing);
        }
        Client::start(self.settings, self.when_full, self.credentials, self.context)
    }
}

impl std::fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("settings", &self.settings)
            .field("when_full", &self.when_full)
            .field("credentials", &self.credentials)
            .finish_non_exhaustive()
    }
}
