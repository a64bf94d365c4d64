//! One request and the right to answer it, on whichever thread they are.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use majordomo_protocol::{Body, ClientAddress, Metadata, Version};

use crate::cancellation::Cancellation;
use crate::error::PartialError;
use crate::handler::HandlerError;
use crate::stop::StopSignal;
use crate::task::{FRAMES_MAX, OpenRequest, Task};

/// A client's request, as a handler gets it.
pub struct Request {
    pub(crate) body: Body,
    pub(crate) deadline: Option<Instant>,
    pub(crate) attempt: u8,
    pub(crate) metadata: Metadata,
    pub(crate) task: Arc<Task>,
}

impl Request {
    /// The service that was asked.
    pub fn service(&self) -> &str {
        self.task.service()
    }

    /// Who asked, as the broker puts it: opaque, but good to find a request again
    /// in logs. Prints in hexadecimal.
    pub fn client(&self) -> &ClientAddress {
        &self.task.client
    }

    /// What is asked.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// What is asked, to keep.
    pub fn into_body(self) -> Body {
        self.body
    }

    /// How often this request was handed out, this time included: 1 at first, more
    /// when a worker was lost over it. 0 where the version does not say (MDP/0.1,
    /// MDP/0.2).
    pub fn attempt(&self) -> u8 {
        self.attempt
    }

    /// What the client sent beside the body, unread by the broker. Empty in MDP/0.1
    /// and MDP/0.2.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// What is left of the client's timeout (MDP/1.0) or of the service's [time
    /// limit](crate::Service::time_limit), whichever is less; zero when it has
    /// passed, `None` without either.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(crate::io::now()))
    }

    /// Whether nobody waits for the answer any more: the client cancelled, its time
    /// is up, or the broker is lost. Never blocks.
    ///
    /// A handler may then give up by returning any error; in MDP/1.0 that is told as
    /// code 499. It must end in any case: until then its place stays taken.
    pub fn is_cancelled(&self) -> bool {
        self.task.cancelled.is_raised()
    }

    /// The same to wait for, and to take along when the request is consumed.
    pub fn cancellation(&self) -> Cancellation {
        Cancellation(self.task.clone())
    }

    /// Whether the worker was asked to stop. With
    /// [`StopHandle::stop`](crate::StopHandle::stop) the answer is still wanted,
    /// within the drain limit; a handler that can end early may do so.
    pub fn stopping(&self) -> bool {
        self.stop_signal().is_raised()
    }

    /// The same to wait for, instead of sleeping.
    pub fn stop_signal(&self) -> &StopSignal {
        self.task.outbox().control.signal()
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("service", &self.task.service())
            .field("client", &self.task.client)
            .field("frames", &self.body.frames().len())
            .field("bytes", &self.body.size())
            .finish()
    }
}

/// Who has a [`Responder`], and so what dropping it unfinished means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    /// It waits for a thread: the request was not begun.
    Queue,
    /// A handler, whose thread sees to an answer once it has returned.
    Handler,
    /// The owner of an inbox, and nobody else.
    Owner,
}

/// The right to answer one request: any number of parts, then exactly one end.
///
/// May go to another thread. Dropped unfinished, it answers with a failure: in
/// MDP/1.0 an ERROR with code 500, before that a [`failure`](crate::failure).
#[must_use = "dropped unfinished, a responder answers with a failure"]
pub struct Responder {
    task: Arc<Task>,
    /// Parts of a reply in MDP/0.1, which has one message for all of them.
    kept: Vec<Vec<u8>>,
    kept_bytes: usize,
    holder: Holder,
    /// Set while [`Holder::Owner`] holds it: there is no other sign of the end.
    open: Option<OpenRequest>,
}

impl Responder {
    pub(crate) fn new(task: Arc<Task>) -> Self {
        Responder { task, kept: Vec::new(), kept_bytes: 0, holder: Holder::Queue, open: None }
    }

    pub(crate) fn task(&self) -> &Arc<Task> {
        &self.task
    }

    pub(crate) fn for_handler(mut self) -> Self {
        self.holder = Holder::Handler;
        self
    }

    pub(crate) fn for_owner(mut self, open: OpenRequest) -> Self {
        self.holder = Holder::Owner;
        self.open = Some(open);
        self
    }

    /// Sends a part of the reply (PARTIAL).
    ///
    /// Blocks while eight parts more than the service has places wait to be sent,
    /// until the broker takes some or is lost; never in an inline handler. MDP/0.1 knows
    /// no PARTIAL: there the frames of all parts are kept and stand, in order, in front of
    /// those of the final reply.
    ///
    /// # Errors
    ///
    /// [`PartialError`] when the part is too large, or nobody waits for it any
    /// more. This responder is to be finished in either case.
    pub fn partial(&mut self, part: impl Into<Body>) -> Result<(), PartialError> {
        if self.task.cancelled.is_raised() || self.task.is_finished() {
            return Err(PartialError::Unwanted);
        }
        let body = part.into();
        let bytes_max = self.task.outbox().reply_bytes_max;
        let bytes = self.kept_bytes.saturating_add(body.size());
        let version = self.task.outbox().version;
        if bytes > bytes_max || has_too_many_frames(&body, version) {
            return Err(PartialError::TooLarge { bytes, bytes_max });
        }
        match version {
            Version::V0_1 => {
                self.kept_bytes = bytes;
                self.kept.extend(body.into_frames());
                Ok(())
            }
            Version::V0_2 | Version::V1_0 => self.task.partial(body),
        }
    }

    /// Sends the reply, or its last part (FINAL; in MDP/0.1 REPLY).
    ///
    /// Blocks as [`Responder::partial`] does. When the broker is lost meanwhile,
    /// the answer is dropped, counted and logged: the broker hands the request to
    /// another worker. A reply over
    /// [`reply_bytes_max`](crate::WorkerBuilder::reply_bytes_max) becomes a
    /// [`failure`](crate::failure) that says so.
    pub fn finish(mut self, body: impl Into<Body>) -> Finished {
        let body = body.into();
        let (bytes_max, version) = (self.task.outbox().reply_bytes_max, self.task.outbox().version);
        let bytes = self.kept_bytes.saturating_add(body.size());
        if bytes > bytes_max {
            self.task.fail(HandlerError::from(format!(
                "the reply has {bytes} bytes; this worker sends at most {bytes_max}"
            )));
        } else if has_too_many_frames(&body, version) {
            let frames = body.frames().len();
            self.task.fail(HandlerError::from(format!(
                "the reply has {frames} frames; MDP/1.0 carries at most {FRAMES_MAX}"
            )));
        } else if self.kept.is_empty() {
            self.task.finish(body);
        } else {
            let mut frames = std::mem::take(&mut self.kept);
            frames.extend(body.into_frames());
            self.task.finish(Body::from_frames(frames));
        }
        Finished(())
    }

    /// Ends the request by a failure: in MDP/1.0 an ERROR with `code`, `text` and
    /// `details` (often `""`), before that a [`failure`](crate::failure) with code
    /// and text.
    ///
    /// A handler that returns a [`HandlerError`] does the same. Blocks as
    /// [`Responder::finish`] does. Details over
    /// [`reply_bytes_max`](crate::WorkerBuilder::reply_bytes_max) do not go along.
    pub fn error(self, code: u16, text: impl Into<String>, details: impl Into<Body>) -> Finished {
        let error = HandlerError::new(code, text).details(details);
        if self.task.is_finished() {
            self.task.late();
        } else {
            self.task.fail(error);
        }
        Finished(())
    }
}

fn has_too_many_frames(body: &Body, version: Version) -> bool {
    version == Version::V1_0 && body.frames().len() > FRAMES_MAX
}

impl Drop for Responder {
    fn drop(&mut self) {
        match self.holder {
            Holder::Queue => self.task.unstarted(),
            Holder::Handler => {}
            Holder::Owner => {
                self.task.fail(HandlerError::from("the worker dropped the request unanswered"));
            }
        }
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder")
            .field("service", &self.task.service())
            .field("client", &self.task.client)
            .field("kept_bytes", &self.kept_bytes)
            .finish_non_exhaustive()
    }
}

/// The proof that a request was answered; comes from [`Responder::finish`] and
/// [`Responder::error`] alone.
#[derive(Debug, PartialEq, Eq)]
pub struct Finished(());
