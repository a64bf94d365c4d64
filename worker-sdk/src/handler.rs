//! What a worker's author writes: a service, its handler, and what a handler that
//! fails says to the client.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use majordomo_protocol::{Body, Version, code};

use crate::request::{Finished, Request, Responder};

/// The first frame of a [`failure`] that has no code of its own.
///
/// MDP/0.1 and MDP/0.2 have no error reply, so a failure is a FINAL of exactly two
/// frames: a code and a text. A client that wants to tell failures from replies
/// looks for just that; a service whose own replies may look so should put
/// something in front. MDP/1.0 has ERROR instead.
pub const FAILURE_CODE: &str = "500";

/// The most bytes of the text of a failure; a longer one is cut.
pub const FAILURE_TEXT_BYTES_MAX: usize = 1024;

/// The reply that says that a request failed, in MDP/0.1 and MDP/0.2:
/// [`FAILURE_CODE`] and `text`.
///
/// ```
/// let body = majordomo_worker::failure("disk full");
/// assert_eq!(body.frames(), [b"500".to_vec(), b"disk full".to_vec()]);
/// ```
pub fn failure(text: &str) -> Body {
    failure_of(code::FAILED, text)
}

/// The same with another code.
pub(crate) fn failure_of(code: u16, text: &str) -> Body {
    let end = text.floor_char_boundary(FAILURE_TEXT_BYTES_MAX);
    Body::from_frames(vec![code.to_string().into_bytes(), text.as_bytes()[..end].to_vec()])
}

/// Serves requests, several at once: a handler is shared by the threads of its
/// service.
///
/// Every closure of this shape is one. For a reply of one message,
/// [`Service::new`] takes a simpler shape.
///
/// ```
/// use majordomo_worker::{Finished, Handler, HandlerError, Request, Responder};
///
/// /// Answers a number with all numbers up to it, one PARTIAL each.
/// struct CountUp;
///
/// impl Handler for CountUp {
///     fn handle(
///         &self,
///         request: Request,
///         mut responder: Responder,
///     ) -> Result<Finished, HandlerError> {
///         let text = String::from_utf8(request.into_body().into_bytes())?;
///         for number in 1..=text.parse()? {
///             let number: u32 = number;
///             responder.partial(number.to_string())?;
///         }
///         Ok(responder.finish(""))
///     }
/// }
/// ```
pub trait Handler: Send + Sync + 'static {
    /// Serves one request, on a thread that has nothing else to do: it may block,
    /// and heartbeats go on meanwhile. Not so in an [inline](Service::inline) service.
    ///
    /// A `Finished` comes from [`Responder::finish`] and [`Responder::error`] alone,
    /// so a handler that succeeds has answered.
    ///
    /// # Errors
    ///
    /// Whatever went wrong; `?` converts everything that can be displayed. The
    /// client gets an ERROR (before MDP/1.0 a [`failure`]), and so it does when this panics
    /// (unless the program is built with `panic = "abort"`). A worker outlives
    /// both; a handler with interior state must be fit to be called again after a
    /// panic.
    fn handle(&self, request: Request, responder: Responder) -> Result<Finished, HandlerError>;
}

impl<F> Handler for F
where
    F: Fn(Request, Responder) -> Result<Finished, HandlerError> + Send + Sync + 'static,
{
    fn handle(&self, request: Request, responder: Responder) -> Result<Finished, HandlerError> {
        self(request, responder)
    }
}

/// Why a handler failed: a text for the client, and where the version has them
/// (MDP/1.0) a code and details.
///
/// Made by `?` from every error and from everything else that can be displayed. The
/// alternate form (`{:#}`) is taken, in which some error types tell their causes.
///
/// ```
/// # use majordomo_worker::HandlerError;
/// fn parse(text: &str) -> Result<u32, HandlerError> {
///     if text.is_empty() {
///         return Err(HandlerError::new(422, "nothing to parse"));
///     }
///     Ok(text.parse()?)
/// }
/// let error = parse("x").unwrap_err();
/// assert_eq!((error.code(), error.text()), (500, "invalid digit found in string"));
/// assert_eq!(parse("").unwrap_err().code(), 422);
/// ```
// Neither Error nor Display: they would forbid the conversion from everything.
pub struct HandlerError {
    /// None: 500, or 499 when the request was cancelled.
    pub(crate) code: Option<u16>,
    pub(crate) text: String,
    pub(crate) details: Option<Body>,
}

impl HandlerError {
    /// An error with a code of the service's own. [`code`] has those that brokers
    /// give; clients may act on them, so others are better.
    pub fn new(code: u16, text: impl Into<String>) -> Self {
        HandlerError { code: Some(code), text: text.into(), details: None }
    }

    /// Adds a body for the client's program. It travels in MDP/1.0 only.
    pub fn details(mut self, details: impl Into<Body>) -> Self {
        self.details = Some(details.into());
        self
    }

    /// What the client's program is told: 500 unless it was given. An error without
    /// a code of its own is told as 499 when the request was cancelled.
    pub fn code(&self) -> u16 {
        self.code.unwrap_or(code::FAILED)
    }

    /// What the client's people are told.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl<E: fmt::Display> From<E> for HandlerError {
    fn from(error: E) -> Self {
        HandlerError { code: None, text: format!("{error:#}"), details: None }
    }
}

impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerError")
            .field("code", &self.code())
            .field("text", &self.text)
            .finish_non_exhaustive()
    }
}

/// One service that a worker offers: its name, its handler, and how many requests
/// it takes at once.
///
/// Values are checked when the worker is built.
///
/// ```
/// use std::time::Duration;
/// use majordomo_worker::{Request, Service, Worker};
///
/// let shout = Service::new("shout", |request: Request| {
///     let text = String::from_utf8(request.into_body().into_bytes())?;
///     Ok(text.to_uppercase())
/// });
/// let worker = Worker::builder()
///     .serve(shout.concurrency(4).time_limit(Duration::from_secs(30)))
///     .build()?;
/// # Ok::<(), majordomo_worker::Error>(())
/// ```
#[derive(Clone)]
pub struct Service {
    pub(crate) name: String,
    pub(crate) concurrency: usize,
    pub(crate) time_limit: Option<Duration>,
    pub(crate) inline: bool,
    /// What READY says of it, after what it says of the worker.
    pub(crate) metadata: Vec<(&'static str, String)>,
    /// None when requests go to an inbox instead.
    pub(crate) handler: Option<Arc<dyn Handler>>,
}

impl Service {
    /// A service with one reply to a request, which is what the closure returns.
    ///
    /// A service's name has 1 to 255 bytes of UTF-8 without control characters and
    /// does not begin with `mmi.` (RFC 8 keeps those for the broker).
    pub fn new<F, B>(name: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Request) -> Result<B, HandlerError> + Send + Sync + 'static,
        B: Into<Body> + 'static,
    {
        Self::streaming(name, move |request: Request, responder: Responder| {
            Ok(responder.finish(handler(request)?))
        })
    }

    /// A service whose handler sends its replies itself, in parts if it likes.
    pub fn streaming(name: impl Into<String>, handler: impl Handler) -> Self {
        Service {
            name: name.into(),
            concurrency: 1,
            time_limit: None,
            inline: false,
            metadata: Vec::new(),
            handler: Some(Arc::new(handler)),
        }
    }

    /// With every broker.
    pub(crate) fn connections(&self, version: Version) -> usize {
        match version {
            Version::V0_1 | Version::V0_2 => self.concurrency,
            Version::V1_0 => 1,
        }
    }

    pub(crate) fn without_handler(name: String, concurrency: usize) -> Self {
        let metadata = Vec::new();
        Service { name, concurrency, time_limit: None, inline: false, metadata, handler: None }
    }

    /// How many requests are handled at once: 1 to 4096, default 1.
    ///
    /// Each place costs a thread, unless the service is [inline](Service::inline).
    /// In MDP/1.0 all places share one connection to each broker; in MDP/0.1 and
    /// MDP/0.2, where a connection holds one request, each has its own (two file
    /// descriptors). With several brokers, and while handlers go on whose broker was
    /// lost, more requests than this may have come; the others wait in the process, at
    /// most this many from each broker.
    pub fn concurrency(mut self, requests: usize) -> Self {
        self.concurrency = requests;
        self
    }

    /// Runs the handler on the thread that owns the sockets, between reading the
    /// requests and sending the answers: for handlers of microseconds that never
    /// block, which then cost no change of threads.
    ///
    /// Everything else of this worker waits meanwhile: heartbeats, other services, answers
    /// of the requests before, cancellation, [`StopHandle`](crate::StopHandle). A handler that takes longer
    /// than heartbeat interval times liveness loses its broker. Parts of a reply are
    /// kept until the handler returns, and sent then. [`Service::concurrency`] says
    /// how many requests a broker may have on their way here.
    pub fn inline(mut self) -> Self {
        self.inline = true;
        self
    }

    /// How long a request may take, 1 ms to 7 days, counted from its arrival;
    /// default: no limit.
    ///
    /// It is for the handler to know, see [`Request::remaining`]: nothing is cut
    /// off. MDP/1.0 carries the client's own timeout beside it.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = Some(limit);
        self
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("name", &self.name)
            .field("concurrency", &self.concurrency)
            .field("time_limit", &self.time_limit)
            .field("inline", &self.inline)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_failure_text_is_cut_between_characters() {
        let body = failure(&"ä".repeat(FAILURE_TEXT_BYTES_MAX));
        let text = String::from_utf8(body.frames()[1].clone()).unwrap();
        assert_eq!(text.len(), FAILURE_TEXT_BYTES_MAX);
        let odd = failure(&format!("x{}", "ä".repeat(FAILURE_TEXT_BYTES_MAX)));
        let text = String::from_utf8(odd.frames()[1].clone()).unwrap();
        assert_eq!(text.len(), FAILURE_TEXT_BYTES_MAX - 1);
    }
}
