//! The client that callers hold: requests, streamed replies, the broker's own
//! services. What happens when is decided in [`dialog`](crate::dialog).

use std::time::Duration;

use majordomo_io::security;
use majordomo_protocol::mmi::{BROKER, BrokerReport, SERVICE};
use majordomo_protocol::{Body, Credentials, Security, ServiceName, Version};

use crate::context::Context;
use crate::dialog::{Delivery, Dialog, Reply, Settings};
use crate::error::{Error, Violation};
use crate::io::{self, Io};
use crate::mmi;

/// A client whose calls block until there is a reply or an error.
///
/// It has one request under way at a time, on one socket, on the thread that
/// calls. It can be moved to another thread between calls; threads that call at
/// the same time have a client each, and may share a ZeroMQ
/// [context](BlockingClientBuilder::context).
///
/// # Between calls
///
/// In a ZeroMQ context of its own, the default, no thread beside the caller's moves bytes:
/// calls do. Between them nothing is sent or received. A connection that ended meanwhile is
/// noticed by the next call, before it sends, and replaced; that is no try. Of a
/// [stream](BlockingClient::stream) that is not read, no more comes than the system's
/// buffers hold, and the broker keeps or drops the rest. libzmq's thread moves bytes where
/// the context was given, where an endpoint has a host's name instead of its address (to
/// look it up may take long), and where libzmq is not the one of this workspace.
///
/// # How long a call can block
///
/// A try lasts at most the [timeout](BlockingClientBuilder::timeout), connecting
/// included, and pauses between tries at most 1 s: `tries × timeout + (tries − 1) ×
/// 1 s` in all, 32 s by default. Where a service sends partial replies the timeout
/// begins anew with each part.
///
/// # Example
///
/// ```no_run
/// use std::time::Duration;
/// use majordomo_client::BlockingClient;
///
/// let mut client = BlockingClient::builder()
///     .broker("tcp://broker-1.example:5555")
///     .broker("tcp://broker-2.example:5555")
///     .timeout(Duration::from_secs(60))
///     .tries(2)
///     .build()?;
/// let reply = client.request("resize", vec![b"320x200".to_vec(), b"...".to_vec()])?;
/// # Ok::<(), majordomo_client::Error>(())
/// ```
pub struct BlockingClient {
    dialog: Dialog,
    io: Io,
}

impl BlockingClient {
    /// A client of the broker at `endpoint`, with the default settings.
    ///
    /// Does not block: the socket is opened by the first request, which is also
    /// where an endpoint shows itself as unreachable.
    ///
    /// # Errors
    ///
    /// [`Error::Endpoint`].
    pub fn connect(endpoint: impl Into<String>) -> Result<Self, Error> {
        Self::builder().broker(endpoint).build()
    }

    /// A client with other settings.
    pub fn builder() -> BlockingClientBuilder {
        BlockingClientBuilder {
            settings: Settings::default(),
            credentials: Credentials::default(),
            context: None,
        }
    }

    /// Asks a service and returns its reply.
    ///
    /// A reply that comes in parts (MDP/0.2) is joined: the frames of the parts, in
    /// order, before those of the final, as a broker does for a client of MDP/0.1.
    ///
    /// # Errors
    ///
    /// [`Error::ServiceName`] and [`Error::BodyOverLimit`] before anything is sent;
    /// [`Error::Unreachable`], [`Error::Unauthorized`], [`Error::TimedOut`], [`Error::Lost`] and
    /// [`Error::Violation`] after the last try; [`Error::ReplyOverLimit`],
    /// [`Error::Closed`] and [`Error::Socket`] at once.
    pub fn request(&mut self, service: &str, body: impl Into<Body>) -> Result<Body, Error> {
        self.start(service, body.into(), Delivery::Joined)?;
        loop {
            if let Reply::Final(body) = self.io.drive(&mut self.dialog)? {
                return Ok(body);
            }
        }
    }

    /// Asks a service and returns the parts of its reply as they come.
    ///
    /// The request is sent by the first [`BlockingReplies::next`]. There are retries only
    /// until the first part was handed out; after that a silence as long as the
    /// timeout, counted from the moment the next part is asked for, ends the
    /// iterator with an error. The size limit holds for each part. A service that
    /// sends no parts gives a single [`Reply::Final`].
    ///
    /// # Errors
    ///
    /// [`Error::ServiceName`] and [`Error::BodyOverLimit`]; the iterator gives the
    /// others that [`BlockingClient::request`] has, and [`Error::Interrupted`].
    ///
    /// # Example
    ///
    /// ```no_run
    /// use majordomo_client::{BlockingClient, Reply};
    ///
    /// let mut client = BlockingClient::connect("tcp://127.0.0.1:5555")?;
    /// for reply in client.stream("tail", "messages.log")? {
    ///     match reply? {
    ///         Reply::Partial(part) => println!("{} bytes", part.size()),
    ///         Reply::Final(last) => println!("{} bytes, and that was all", last.size()),
    ///     }
    /// }
    /// # Ok::<(), majordomo_client::Error>(())
    /// ```
    pub fn stream(
        &mut self,
        service: &str,
        body: impl Into<Body>,
    ) -> Result<BlockingReplies<'_>, Error> {
        self.start(service, body.into(), Delivery::Parts)?;
        Ok(BlockingReplies { client: self, ended: false })
    }

    /// Whether at least one worker is registered for `service` (RFC 8,
    /// `mmi.service`). It may have gone, or another come, before the next request.
    ///
    /// # Errors
    ///
    /// As [`BlockingClient::request`]; [`Error::Violation`] also for an answer other
    /// than 200 and 404.
    pub fn lookup(&mut self, service: &str) -> Result<bool, Error> {
        let service = ServiceName::new(service)?;
        let answer = self.request(SERVICE, service.as_str())?;
        mmi::found(answer).map_err(|source| self.violation(source))
    }

    /// The state of the broker, its services and workers (`mmi.broker`, which is
    /// Majordomo's own).
    ///
    /// # Errors
    ///
    /// As [`BlockingClient::request`]; [`Error::Violation`] also from a broker of
    /// another make, which does not know this service.
    pub fn broker_report(&mut self) -> Result<BrokerReport, Error> {
        let answer = self.request(BROKER, "")?;
        mmi::report(answer).map_err(|source| self.violation(source))
    }

    /// Closes the client. Dropping it does the same.
    ///
    /// Does not wait for anything to be sent or received: when no call is under way
    /// nothing is outstanding.
    pub fn close(self) {}

    fn start(&mut self, service: &str, body: Body, delivery: Delivery) -> Result<(), Error> {
        let service = ServiceName::new(service)?;
        self.dialog.start(service, body, delivery, io::now())
    }

    fn violation(&self, source: Violation) -> Error {
        Error::Violation { endpoint: self.dialog.endpoint().to_owned(), source }
    }
}

impl std::fmt::Debug for BlockingClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockingClient")
            .field("settings", self.dialog.settings())
            .finish_non_exhaustive()
    }
}

/// The reply of a service, part by part; see [`BlockingClient::stream`].
///
/// Each item blocks until it has come. The iterator ends after the
/// [`Reply::Final`] or after an error. Dropped before that, it discards the socket,
/// and parts still to come reach nobody; the service is not told and goes on.
#[derive(Debug)]
#[must_use = "the request is sent when the first part is asked for"]
pub struct BlockingReplies<'a> {
    client: &'a mut BlockingClient,
    ended: bool,
}

impl Iterator for BlockingReplies<'_> {
    type Item = Result<Reply, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let BlockingClient { dialog, io } = &mut *self.client;
        dialog.resume(io::now());
        let reply = io.drive(dialog);
        self.ended = !matches!(reply, Ok(Reply::Partial(_)));
        Some(reply)
    }
}

impl std::iter::FusedIterator for BlockingReplies<'_> {}

impl Drop for BlockingReplies<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.client.io.abandon(&mut self.client.dialog);
        }
    }
}

/// The settings of a [`BlockingClient`].
#[derive(Clone)]
#[must_use = "a client comes of it by build()"]
pub struct BlockingClientBuilder {
    settings: Settings,
    credentials: Credentials,
    context: Option<zmq::Context>,
}

impl BlockingClientBuilder {
    /// One more broker to ask. A try that fails moves on to the next, in the order
    /// given; the one that worked last is tried first.
    ///
    /// `tcp://host:port`, `ipc://path` or `inproc://name`; the last needs the
    /// broker's [context](Self::context), and one that nobody has bound is not
    /// unreachable but silent. Default: [`ENDPOINT_DEFAULT`](crate::ENDPOINT_DEFAULT).
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
    pub fn security(mut self, security: Security) -> Self {
        self.credentials.set_all(security);
        self
    }

    /// The protocol version to speak. Default: MDP/0.2. MDP/0.1 is for brokers that
    /// know nothing else; it has no partial replies.
    pub fn version(mut self, version: Version) -> Self {
        self.settings.version = version;
        self
    }

    /// The longest one try lasts, connecting included; between the parts of a
    /// reply, the longest silence. 1 ms to 24 h. Default: 10 s.
    ///
    /// These versions of the protocol cannot take a request back, so one that is
    /// still running when the try ends is run again by the next. Choose it longer
    /// than the service needs at its slowest. The default is also longer than
    /// brokers commonly need to notice a lost worker (three heartbeats of 2.5 s):
    /// it lets the broker hand the request to another worker first.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// The longest that a try waits for a connection before it fails as
    /// unreachable; never longer than the timeout. 1 ms to 24 h. Default: 1 s.
    ///
    /// Until then it goes on connecting, so a broker just starting is found.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.connect_timeout = timeout;
        self
    }

    /// How often a request is tried, 1 to 1,000. Default: 3, or once at each
    /// endpoint if there are more.
    pub fn tries(mut self, tries: u32) -> Self {
        self.settings.tries = Some(tries);
        self
    }

    /// The largest body that is sent, in bytes; a larger one is
    /// [`Error::BodyOverLimit`]. 1 or more. Default: 64 MiB, which the default
    /// limits of the broker let pass.
    pub fn body_bytes_max(mut self, bytes: usize) -> Self {
        self.settings.body_bytes_max = bytes;
        self
    }

    /// The most frames in a body that is sent; more are [`Error::BodyOverLimit`].
    /// 1 or more. Default: 1,000, which the default limits of the broker let pass.
    pub fn body_frames_max(mut self, frames: usize) -> Self {
        self.settings.body_frames_max = frames;
        self
    }

    /// The largest reply that is taken, in bytes: of a joined reply all of it, of a
    /// streamed one each part. Each frame after the first counts 64 bytes more,
    /// about what it costs to hold. 1 or more. Default: 64 MiB.
    ///
    /// A larger reply is [`Error::ReplyOverLimit`]. A message of more than twice
    /// the limit and 1 MiB, each frame with 128 bytes more, ends the connection
    /// instead, before it is held in memory; the request is then tried again, and the error is
    /// [`Error::Lost`].
    pub fn reply_bytes_max(mut self, bytes: usize) -> Self {
        self.settings.reply_bytes_max = bytes;
        self
    }

    /// The ZeroMQ context to use, for `inproc` endpoints or to share its I/O thread
    /// among many clients. Default: one of its own, whose bytes are moved
    /// [by calls](BlockingClient#between-calls).
    pub fn context(mut self, context: zmq::Context) -> Self {
        self.context = Some(context);
        self
    }

    /// Makes the client; does not block.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`], [`Error::Endpoint`] and [`Error::CurveMissing`].
    pub fn build(self) -> Result<BlockingClient, Error> {
        if !security::is_possible(&self.credentials) {
            return Err(Error::CurveMissing);
        }
        let dialog = Dialog::new(self.settings, fastrand::u64(..))?;
        let context = Context::new(self.context, &dialog.settings().endpoints);
        let io = Io::new(context, self.credentials);
        Ok(BlockingClient { dialog, io })
    }
}

impl std::fmt::Debug for BlockingClientBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockingClientBuilder")
            .field("settings", &self.settings)
            .field("credentials", &self.credentials)
            .finish_non_exhaustive()
    }
}

/// The text of a failure, if that is what a worker answered.
///
/// MDP/0.1 and MDP/0.2 have no error replies. Workers made with the worker SDK
/// answer a request whose handler failed with a final reply of two frames: the code
/// `500` and a text. That is a convention, not part of the protocol: a service may
/// mean something else by such frames, so [`BlockingClient::request`] leaves it to
/// its caller to ask.
///
/// ```
/// use majordomo_client::{Body, failure};
///
/// let reply = Body::from(vec![b"500".to_vec(), b"no such file".to_vec()]);
/// assert_eq!(failure(&reply), Some("no such file"));
/// assert_eq!(failure(&Body::from("500")), None);
/// ```
pub fn failure(reply: &Body) -> Option<&str> {
    match reply.frames() {
        [code, text] if code == b"500" => std::str::from_utf8(text).ok(),
        _ => None,
    }
}
