//! What a request and its answer have in common, and the way of the answer to the
//! I/O thread.
//!
//! Every connection has a [`Lane`]: one channel for the parts of all its answers, so
//! that a handler faster than its connection waits. Which lanes have parts goes
//! through one channel shared by all. The answer of an inline handler takes no way: it
//! stays in its [`Task`], where the I/O thread finds it once the handler has returned.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender};
use majordomo_protocol::{Body, ClientAddress, Reason, ServiceName, Version, code};

use crate::cancellation::Raised;
use crate::counters::Counters;
use crate::dialog::Event;
use crate::error::PartialError;
use crate::handler::{FAILURE_TEXT_BYTES_MAX, HandlerError, failure_of};
use crate::stop::{Asked, Control};

/// Parts beside one for every request that may wait on a lane for the I/O thread; a
/// handler that is further ahead blocks.
const PARTS_WAITING_MAX: usize = 8;

/// Frames of a body that a record of MDP/1.0 can carry.
pub(crate) const FRAMES_MAX: usize = u16::MAX as usize;

/// One step of an answer, on its way to the I/O thread.
pub(crate) enum Part {
    Partial(Body),
    Final(Body),
    /// MDP/1.0 only.
    Error(Reason, Body),
    /// The request was dropped before anybody looked at it.
    Unstarted,
}

impl Part {
    /// Whether no part follows this one.
    pub(crate) fn is_last(&self) -> bool {
        !matches!(self, Part::Partial(_))
    }

    /// What the dialog is told.
    pub(crate) fn into_event(self, client: ClientAddress) -> Event {
        match self {
            Part::Partial(body) => Event::Partial { client, body },
            Part::Final(body) => Event::Final { client, body },
            Part::Error(reason, details) => Event::Error { client, reason, details },
            Part::Unstarted => Event::Unstarted { client },
        }
    }
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

/// The way of all answers of one connection to the I/O thread.
pub(crate) struct Lane {
    service: ServiceName,
    connection: usize,
    parts: Sender<(Arc<Task>, Part)>,
    outbox: Arc<Outbox>,
    /// The connection stands in [`Outbox::ready`], or needs not.
    signalled: AtomicBool,
}

impl Lane {
    /// A lane for `requests` at once, those of inline handlers not counted.
    pub(crate) fn new(
        service: ServiceName,
        connection: usize,
        requests: usize,
        outbox: Arc<Outbox>,
    ) -> (Arc<Self>, Receiver<(Arc<Task>, Part)>) {
        let (parts, receiver) = crossbeam_channel::bounded(requests + PARTS_WAITING_MAX);
        let signalled = AtomicBool::new(false);
        (Arc::new(Lane { service, connection, parts, outbox, signalled }), receiver)
    }

    /// Before the I/O thread takes parts: one that comes after is signalled anew.
    pub(crate) fn take_signal(&self) {
        self.signalled.swap(false, Ordering::SeqCst);
    }

    /// Blocks while too many parts wait.
    fn send(&self, task: Arc<Task>, part: Part) -> Result<(), PartialError> {
        self.parts.send((task, part)).map_err(|_| PartialError::Unwanted)?;
        if !self.signalled.swap(true, Ordering::SeqCst) {
            // It fails when the I/O thread has ended since: nobody is to be told.
            let _ = self.outbox.ready.send(self.connection);
            self.outbox.control.wake();
        }
        Ok(())
    }

    /// Counts and logs an answer that is dropped.
    pub(crate) fn late(&self, client: &ClientAddress) {
        self.outbox.counters.answer_late();
        log::warn!(
            service = self.service.as_str(), client:% = client;
            "answer dropped: its broker is lost, or it came after another"
        );
    }
}

/// How the parts of an answer reach the I/O thread.
enum Way {
    /// By the lane of their connection.
    Lane,
    /// They are kept until the handler returns, which the I/O thread runs: it must not
    /// wait for itself. `None` from then on.
    Kept(Mutex<Option<Vec<Part>>>),
}

/// One request that came by one connection, from its arrival to its answer.
pub(crate) struct Task {
    pub(crate) client: ClientAddress,
    lane: Arc<Lane>,
    way: Way,
    /// The one answer has been given.
    finished: AtomicBool,
    /// The connection is lost or closed: an answer has nowhere to go.
    abandoned: AtomicBool,
    /// Nobody wants the answer.
    pub(crate) cancelled: Raised,
}

impl Task {
    pub(crate) fn new(client: ClientAddress, lane: Arc<Lane>) -> Arc<Self> {
        Self::by(Way::Lane, client, lane)
    }

    /// One for an inline handler. `spare`: one whose memory it may take.
    pub(crate) fn inline(
        client: ClientAddress,
        lane: &Arc<Lane>,
        spare: Option<Arc<Self>>,
    ) -> Arc<Self> {
        if let Some(mut task) = spare
            && let Some(own) = Arc::get_mut(&mut task)
        {
            // Only tasks of other threads are ever abandoned or cancelled.
            own.client = client;
            *own.finished.get_mut() = false;
            return task;
        }
        Self::by(Way::Kept(Mutex::new(Some(Vec::new()))), client, lane.clone())
    }

    fn by(way: Way, client: ClientAddress, lane: Arc<Lane>) -> Arc<Self> {
        Arc::new(Task {
            client,
            lane,
            way,
            finished: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            cancelled: Raised::default(),
        })
    }

    pub(crate) fn service(&self) -> &str {
        self.lane.service.as_str()
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.lane.outbox
    }

    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::SeqCst);
        self.cancelled.raise();
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::SeqCst)
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished.load(Ordering::SeqCst)
    }

    /// Takes the right to answer: true for one caller.
    pub(crate) fn claim(&self) -> bool {
        !self.finished.swap(true, Ordering::SeqCst)
    }

    /// Answers with a failure, unless the request has its answer.
    pub(crate) fn fail(self: &Arc<Self>, error: HandlerError) {
        if self.claim() {
            let part = self.failure(error);
            self.send_last(part);
        }
    }

    /// Counts and logs a failure, and says how it is told.
    pub(crate) fn failure(&self, error: HandlerError) -> Part {
        let gave_up = self.cancelled.is_raised();
        let given = if gave_up { code::CANCELLED } else { code::FAILED };
        let code = error.code.unwrap_or(given);
        let text = error.text.as_str();
        let (service, client) = (self.service(), &self.client);
        if gave_up {
            log::debug!(service, client:% = client, code; "given up: {text}");
        } else {
            self.outbox().counters.failure();
            log::warn!(service, client:% = client, code; "request failed: {text}");
        }
        match self.outbox().version {
            Version::V0_1 | Version::V0_2 => Part::Final(failure_of(code, text)),
            Version::V1_0 => {
                let end = text.floor_char_boundary(FAILURE_TEXT_BYTES_MAX);
                let reason = Reason { code, text: text[..end].to_owned() };
                let details = error.details.filter(|details| {
                    let fits = details.size() <= self.outbox().reply_bytes_max
                        && details.frames().len() <= FRAMES_MAX;
                    if !fits {
                        let (bytes, frames) = (details.size(), details.frames().len());
                        log::warn!(
                            service, client:% = client, bytes, frames;
                            "the details of an error are too large, and left out"
                        );
                    }
                    fits
                });
                Part::Error(reason, details.unwrap_or_else(|| Body::from("")))
            }
        }
    }

    /// See [`Lane::late`].
    pub(crate) fn late(&self) {
        self.lane.late(&self.client);
    }

    pub(crate) fn panicked(&self) {
        self.outbox().counters.panic();
    }

    pub(crate) fn warn(&self, what: &str) {
        log::warn!(service = self.service(), client:% = self.client; "{what}");
    }

    pub(crate) fn partial(self: &Arc<Self>, body: Body) -> Result<(), PartialError> {
        self.send(Part::Partial(body))
    }

    pub(crate) fn finish(self: &Arc<Self>, body: Body) {
        if self.claim() {
            self.send_last(Part::Final(body));
        } else {
            self.late();
        }
    }

    pub(crate) fn unstarted(self: &Arc<Self>) {
        if self.claim() {
            // A refused send means that the worker has stopped: the same end.
            let _ = self.send(Part::Unstarted);
        }
    }

    fn send_last(self: &Arc<Self>, part: Part) {
        if self.send(part).is_err() {
            self.late();
        }
    }

    fn send(self: &Arc<Self>, part: Part) -> Result<(), PartialError> {
        match &self.way {
            Way::Lane => self.lane.send(self.clone(), part),
            Way::Kept(parts) => {
                let mut parts = parts.lock().unwrap_or_else(PoisonError::into_inner);
                parts.as_mut().ok_or(PartialError::Unwanted)?.push(part);
                Ok(())
            }
        }
    }

    /// Gives the answer of an inline handler that has returned. What other threads still
    /// send is late. Whether there are none of those, so that the memory is free.
    pub(crate) fn take_kept(
        task: &mut Arc<Self>,
        mut each: impl FnMut(&ClientAddress, Part),
    ) -> bool {
        if let Some(Task { client, way: Way::Kept(parts), finished, .. }) = Arc::get_mut(task)
            && *finished.get_mut()
            && let Some(parts) = parts.get_mut().unwrap_or_else(PoisonError::into_inner)
        {
            parts.drain(..).for_each(|part| each(client, part));
            return true;
        }
        let Way::Kept(parts) = &task.way else { return false };
        let parts = parts.lock().unwrap_or_else(PoisonError::into_inner).take();
        let parts = parts.unwrap_or_default();
        let is_answered = parts.iter().any(Part::is_last);
        parts.into_iter().for_each(|part| each(&task.client, part));
        if !is_answered {
            // Another thread has taken the right to answer, and not yet used it.
            let error = HandlerError::from("the handler returned before it answered");
            each(&task.client, task.failure(error));
        }
        false
    }
}
