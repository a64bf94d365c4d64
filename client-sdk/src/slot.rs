//! Where the I/O thread leaves what has come for a call, and its caller finds it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use majordomo_protocol::{Body, ServiceName};

use crate::call_error::CallError;
use crate::dialog::Reply;
use crate::places::Place;

/// What a frame weighs beside its bytes: about what it costs to hold, so that a limit
/// in bytes also bounds empty frames.
const FRAME_WEIGHT: usize = 64;

/// What has come for one call and was not read yet.
pub(crate) struct Slot {
    pub(crate) service: ServiceName,
    /// Nobody will look at how it ended.
    pub(crate) no_reply: bool,
    state: Mutex<State>,
    changed: Condvar,
    /// Whether there is or was an outcome; set with the state locked.
    ended: AtomicBool,
    /// Whether somebody waits or has waited for a change; set with the state locked.
    awaited: AtomicBool,
    /// Set when nobody wants the call any more, in case it is still on its way to the
    /// I/O thread.
    withdrawn: AtomicBool,
}

/// Small, since there is one for each call: what few calls have is boxed.
#[derive(Default)]
struct State {
    parts: Option<Box<Parts>>,
    outcome: Option<Outcome>,
    waker: Option<Waker>,
}

/// How a call has ended.
pub(crate) type Outcome = Result<Body, Box<CallError>>;

/// What has come of a reply in parts.
#[derive(Default)]
struct Parts {
    bodies: VecDeque<Body>,
    /// What they weigh together.
    weight: usize,
}

impl State {
    /// The whole reply, once it is there.
    fn take_whole(&mut self) -> Option<Result<Body, CallError>> {
        Some(match (self.outcome.take()?, self.parts.take()) {
            (Ok(last), Some(parts)) => {
                let parts = parts.bodies.into_iter().chain([last]);
                Ok(Body::from_frames(parts.flatten()))
            }
            (outcome, _) => outcome.map_err(|error| *error),
        })
    }

    fn next_part(&mut self) -> Option<Body> {
        let parts = self.parts.as_mut()?;
        let part = parts.bodies.pop_front()?;
        parts.weight = parts.weight.saturating_sub(weight(&part));
        Some(part)
    }

    /// What the parts weigh that wait.
    fn weight(&self) -> usize {
        self.parts.as_ref().map_or(0, |parts| parts.weight)
    }

    fn has_part(&self) -> bool {
        self.parts.as_ref().is_some_and(|parts| !parts.bodies.is_empty())
    }
}

impl Slot {
    pub(crate) fn new(service: ServiceName, no_reply: bool) -> Self {
        Slot {
            service,
            no_reply,
            state: Mutex::default(),
            changed: Condvar::new(),
            ended: AtomicBool::new(false),
            awaited: AtomicBool::new(false),
            withdrawn: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whoever waits that something has changed. Their waker runs outside the lock: it
    /// may be anybody's code.
    fn wake(&self) {
        if !self.awaited.load(Ordering::Acquire) {
            return;
        }
        let waker = self.lock().waker.take();
        self.changed.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The state once `nothing` is no longer true of it, or after so long; blocks.
    fn wait_while(
        &self,
        timeout: Option<Duration>,
        nothing: impl Fn(&State) -> bool,
    ) -> MutexGuard<'_, State> {
        let state = self.lock();
        if !nothing(&state) {
            return state;
        }
        self.awaited.store(true, Ordering::Release);
        let nothing = |state: &mut State| nothing(state);
        match timeout {
            None => {
                let waiting = self.changed.wait_while(state, nothing);
                waiting.unwrap_or_else(PoisonError::into_inner)
            }
            Some(timeout) => {
                let waiting = self.changed.wait_timeout_while(state, timeout, nothing);
                waiting.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    /// Leaves a part. Whether there was room: what waits weighs at most `limit`.
    pub(crate) fn part(&self, body: Body, limit: usize) -> bool {
        let weight = weight(&body);
        let mut state = self.lock();
        let fits = state.weight() + weight <= limit;
        if fits {
            let parts = state.parts.get_or_insert_default();
            parts.weight += weight;
            parts.bodies.push_back(body);
        }
        drop(state);
        self.wake();
        fits
    }

    /// Leaves the outcome, given what the parts weigh that wait; a second one changes nothing.
    /// Wakes nobody.
    fn end(&self, outcome: impl FnOnce(usize) -> Outcome) {
        let mut state = self.lock();
        if !self.has_ended() {
            state.outcome = Some(outcome(state.weight()));
            self.ended.store(true, Ordering::Release);
        }
    }

    pub(crate) fn withdraw(&self) {
        self.withdrawn.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_withdrawn(&self) -> bool {
        self.withdrawn.load(Ordering::SeqCst)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// The whole reply; blocks until it is there. None if it was taken before.
    pub(crate) fn wait(&self) -> Option<Result<Body, CallError>> {
        self.wait_while(None, |_| !self.has_ended()).take_whole()
    }

    /// As [`Slot::wait`], but at most so long.
    pub(crate) fn wait_timeout(&self, timeout: Duration) -> Option<Result<Body, CallError>> {
        self.wait_while(Some(timeout), |_| !self.has_ended()).take_whole()
    }

    /// The next part, or the end; blocks until it is there. None if the end was taken
    /// before.
    pub(crate) fn next(&self) -> Option<Result<Reply, CallError>> {
        let mut state = self.wait_while(None, |state| !state.has_part() && !self.has_ended());
        match state.next_part() {
            Some(part) => Some(Ok(Reply::Partial(part))),
            None => {
                let outcome = state.outcome.take()?;
                Some(outcome.map(Reply::Final).map_err(|error| *error))
            }
        }
    }

    /// The whole reply; until it is there `context` is woken.
    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<Option<Result<Body, CallError>>> {
        let mut state = self.lock();
        if self.has_ended() {
            return Poll::Ready(state.take_whole());
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        self.awaited.store(true, Ordering::Release);
        Poll::Pending
    }
}

/// The bytes of a body, and what its frames cost.
pub(crate) fn weight(body: &Body) -> usize {
    body.size() + body.frames().len().saturating_sub(1) * FRAME_WEIGHT
}

/// The I/O thread's end of a call, with the call's place. When it is dropped the call has
/// ended, at the worst as closed, whoever waits for it is woken, and the place is free: so it
/// is even if the thread ends early.
pub(crate) struct Pending {
    pub(crate) slot: Arc<Slot>,
    place: Option<Place>,
    /// Not one to leave parts by.
    ends: bool,
}

impl Pending {
    pub(crate) fn new(slot: Arc<Slot>, place: Place) -> Self {
        Pending { slot, place: Some(place), ends: true }
    }

    /// The call has ended so, unless the last part has no room beside those that wait.
    pub(crate) fn end(&self, outcome: Outcome, limit: usize) {
        self.slot.end(|waiting| match outcome {
            Ok(body) if waiting + weight(&body) > limit => {
                let service = self.slot.service.clone();
                Err(Box::new(CallError::ReplyOverLimit { service, limit }))
            }
            outcome => outcome,
        });
    }

    /// Drops those of one client, whose places are free all at once.
    pub(crate) fn drop_all(ended: &mut Vec<Pending>) {
        Place::free_all(ended.iter_mut().filter_map(|pending| pending.place.take()));
        ended.clear();
    }
}

impl Clone for Pending {
    /// One to leave parts by: it has no place, and its end means nothing.
    fn clone(&self) -> Self {
        Pending { slot: self.slot.clone(), place: None, ends: false }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.ends {
            if !self.slot.has_ended() {
                self.slot.end(|_| Err(Box::new(CallError::Closed { may_have_run: true })));
            }
            self.slot.wake();
        }
    }
}
