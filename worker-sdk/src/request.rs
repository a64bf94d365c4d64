//! One request and the right to answer it, on whichever thread they are.
//!
//! [`Task`] is what a request and its answer have in common. It reaches the I/O
//! thread through two channels: the parts of one reply go through one of their own,
//! so that a handler faster than its connection waits and a late part can never be
//! taken for one of the next reply; which connections have parts goes through one
//! shared by all.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use majordomo_protocol::{Body, ClientAddress, ServiceName, Version};

use crate::counters::Counters;
use crate::error::PartialError;
use crate::handler::failure;
use crate::stop::{Asked, Control, StopSignal};

/// Parts of one reply that may wait for the I/O thread; a handler that is further
/// ahead blocks.
pub(crate) const PARTS_WAITING_MAX: usize = 8;

/// One step of an answer, on its way to the I/O thread.
pub(crate) enum Part {
    Partial(Body),
    Final(Body),
    /// The request was dropped before anybody looked at it.
    Unstarted,
}

/// What all tasks of a worker have in common.
pub(crate) struct Outbox {
    /// Connections that have parts, each once or little more: there is room for
    /// more than that, so sending does not block.
    pub(crate) ready: Sender<usize>,
    pub(crate) control: Arc<Control>,
    pub(crate) counters: Counters,
    pub(crate) version: Version,
    pub(crate) reply_bytes_max: usize,
    /// Requests given out whose handler has not ended.
    pub(crate) open: AtomicUsize,
}

/// Counts one request as open while it lives.
pub(crate) struct OpenRequest(Arc<Outbox>);

impl OpenRequest {
    pub(crate) fn new(outbox: Arc<Outbox>) -> Self {
        outbox.open.fetch_add(1, Ordering::SeqCst);
        OpenRequest(outbox)
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
        // Who stops waits for the last one. Who is asked later will look anyway.
        if self.0.control.asked() != Asked::Run {
            self.0.control.wake();
        }
    }
}

/// One request that came by one connection, from its arrival to its answer.
pub(crate) struct Task {
    service: ServiceName,
    client: ClientAddress,
    connection: usize,
    parts: Sender<Part>,
    outbox: Arc<Outbox>,
    /// The one answer has been given.
    finished: AtomicBool,
    /// The connection is lost or closed: an answer has nowhere to go.
    abandoned: AtomicBool,
    /// The connection stands in [`Outbox::ready`] on account of this task.
    signalled: AtomicBool,
}

impl Task {
    pub(crate) fn new(
        service: ServiceName,
        client: ClientAddress,
        connection: usize,
        outbox: Arc<Outbox>,
    ) -> (Arc<Self>, Receiver<Part>) {
        let (parts, receiver) = crossbeam_channel::bounded(PARTS_WAITING_MAX);
        let task = Task {
            service,
            client,
            connection,
            parts,
            outbox,
            finished: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            signalled: AtomicBool::new(false),
        };
        (Arc::new(task), receiver)
    }

    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::SeqCst)
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished.load(Ordering::SeqCst)
    }

    /// Answers with a failure, unless the request has its answer.
    pub(crate) fn fail(&self, text: &str) {
        if !self.finished.swap(true, Ordering::SeqCst) {
            self.outbox.counters.failure();
            log::warn!(service = self.service.as_str(), client:% = self.client; "request failed: {text}");
            self.send_last(Part::Final(failure(text)));
        }
    }

    /// Counts and logs an answer that is dropped.
    pub(crate) fn late(&self) {
        self.outbox.counters.answer_late();
        log::warn!(
            service = self.service.as_str(), client:% = self.client;
            "answer dropped: its broker is lost, or it came after another"
        );
    }

    pub(crate) fn panicked(&self) {
        self.outbox.counters.panic();
    }

    pub(crate) fn warn(&self, what: &str) {
        log::warn!(service = self.service.as_str(), client:% = self.client; "{what}");
    }

    fn finish(&self, body: Body) {
        if self.finished.swap(true, Ordering::SeqCst) {
            self.late();
        } else {
            self.send_last(Part::Final(body));
        }
    }

    fn unstarted(&self) {
        if !self.finished.swap(true, Ordering::SeqCst) {
            // A refused send means that the worker has stopped: the same end.
            let _ = self.send(Part::Unstarted);
        }
    }

    fn send_last(&self, part: Part) {
        if self.send(part).is_err() {
            self.late();
        }
    }

    /// Blocks while too many parts wait.
    fn send(&self, part: Part) -> Result<(), PartialError> {
        self.parts.send(part).map_err(|_| PartialError::Unwanted)?;
        if !self.signalled.swap(true, Ordering::SeqCst) {
            // It fails when the I/O thread has ended since: nobody is to be told.
            let _ = self.outbox.ready.send(self.connection);
            self.outbox.control.wake();
        }
        Ok(())
    }

    /// Before the I/O thread takes parts: one that comes after is signalled anew.
    pub(crate) fn take_signal(&self) {
        self.signalled.swap(false, Ordering::SeqCst);
    }
}

/// A client's request, as a handler gets it.
pub struct Request {
    body: Body,
    deadline: Option<Instant>,
    stop: StopSignal,
    task: Arc<Task>,
}

impl Request {
    pub(crate) fn new(
        body: Body,
        deadline: Option<Instant>,
        stop: StopSignal,
        task: Arc<Task>,
    ) -> Self {
        Request { body, deadline, stop, task }
    }

    /// The service that was asked.
    pub fn service(&self) -> &str {
        self.task.service.as_str()
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

    /// What is left of the service's [time limit](crate::Service::time_limit), zero
    /// when it has passed; `None` without a limit.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(crate::io::now()))
    }

    /// Whether the worker was asked to stop. With
    /// [`StopHandle::stop`](crate::StopHandle::stop) the answer is still wanted,
    /// within the drain limit; a handler that can end early may do so.
    pub fn stopping(&self) -> bool {
        self.stop.is_raised()
    }

    /// The same to wait for, instead of sleeping.
    pub fn stop_signal(&self) -> &StopSignal {
        &self.stop
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("service", &self.task.service)
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
/// May go to another thread. Dropped unfinished, it answers with a
/// [`failure`](crate::failure).
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

    /// Sends a part of the reply (18/MDP, PARTIAL).
    ///
    /// Blocks while eight parts wait to be sent, until the broker takes some or is
    /// lost. MDP/0.1 knows no PARTIAL: there the frames of all parts are kept and
    /// stand, in order, in front of those of the final reply.
    ///
    /// # Errors
    ///
    /// [`PartialError`] when the part is too large, or nobody waits for it any
    /// more. This responder is to be finished in either case.
    pub fn partial(&mut self, part: impl Into<Body>) -> Result<(), PartialError> {
        if self.task.is_abandoned() || self.task.is_finished() {
            return Err(PartialError::Unwanted);
        }
        let body = part.into();
        let bytes_max = self.task.outbox.reply_bytes_max;
        let bytes = self.kept_bytes.saturating_add(body.size());
        if bytes > bytes_max {
            return Err(PartialError::TooLarge { bytes, bytes_max });
        }
        match self.task.outbox.version {
            Version::V0_1 => {
                self.kept_bytes = bytes;
                self.kept.extend(body.into_frames());
                Ok(())
            }
            Version::V0_2 => self.task.send(Part::Partial(body)),
        }
    }

    /// Sends the reply, or its last part (18/MDP, FINAL; 7/MDP, REPLY).
    ///
    /// Blocks as [`Responder::partial`] does. When the broker is lost meanwhile,
    /// the answer is dropped, counted and logged: the broker hands the request to
    /// another worker. A reply over
    /// [`reply_bytes_max`](crate::WorkerBuilder::reply_bytes_max) becomes a
    /// [`failure`](crate::failure) that says so.
    pub fn finish(mut self, body: impl Into<Body>) -> Finished {
        let body = body.into();
        let bytes_max = self.task.outbox.reply_bytes_max;
        let bytes = self.kept_bytes.saturating_add(body.size());
        if bytes > bytes_max {
            self.task.fail(&format!(
                "the reply has {bytes} bytes; this worker sends at most {bytes_max}"
            ));
        } else if self.kept.is_empty() {
            self.task.finish(body);
        } else {
            let mut frames = std::mem::take(&mut self.kept);
            frames.extend(body.into_frames());
            self.task.finish(Body::from_frames(frames));
        }
        Finished(())
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        match self.holder {
            Holder::Queue => self.task.unstarted(),
            Holder::Handler => {}
            Holder::Owner => self.task.fail("the worker dropped the request unanswered"),
        }
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder")
            .field("service", &self.task.service)
            .field("client", &self.task.client)
            .field("kept_bytes", &self.kept_bytes)
            .finish_non_exhaustive()
    }
}

/// The proof that a request was answered; comes from [`Responder::finish`] alone.
#[derive(Debug, PartialEq, Eq)]
pub struct Finished(());
