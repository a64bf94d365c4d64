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
#[derive(Default)]
pub(crate) struct Slot {
    state: Mutex<State>,
    changed: Condvar,
    /// Set when nobody wants the call any more, in case it is still on its way to the
    /// I/O thread.
    withdrawn: AtomicBool,
}

#[derive(Default)]
struct State {
    parts: VecDeque<Body>,
    weight: usize,
    outcome: Option<Result<Body, CallError>>,
    /// Whether there is or was an outcome.
    ended: bool,
    waker: Option<Waker>,
    /// Whether a thread sleeps until something changes.
    waiting: bool,
}

impl State {
    /// The whole reply, once it is there.
    fn take_whole(&mut self) -> Option<Result<Body, CallError>> {
        let outcome = self.outcome.take()?;
        let mut parts = std::mem::take(&mut self.parts).into_iter();
        Some(outcome.map(|last| match parts.next() {
            None => last,
            Some(mut whole) => {
                parts.for_each(|part| whole.append(part));
                whole.append(last);
                whole
            }
        }))
    }
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and tells whoever waits. Their waker runs outside the lock:
    /// it may be anybody's code.
    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = change(&mut state);
        let (waker, waiting) = (state.waker.take(), state.waiting);
        drop(state);
        if waiting {
            self.changed.notify_all();
        }
        if let Some(waker) = waker {
            waker.wake();
        }
        result
    }

    /// The state once `nothing` is no longer true of it, or after so long; blocks.
    fn wait_while(
        &self,
        timeout: Option<Duration>,
        nothing: impl Fn(&State) -> bool,
    ) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        if !nothing(&state) {
            return state;
        }
        state.waiting = true;
        let nothing = |state: &mut State| nothing(state);
        let mut state = match timeout {
            None => {
                let waiting = self.changed.wait_while(state, nothing);
                waiting.unwrap_or_else(PoisonError::into_inner)
            }
            Some(timeout) => {
                let waiting = self.changed.wait_timeout_while(state, timeout, nothing);
                waiting.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        state.waiting = false;
        state
    }

    /// Leaves a part. Whether there was room: what waits weighs at most `limit`.
    pub(crate) fn part(&self, body: Body, limit: usize) -> bool {
        self.change(|state| {
            let weight = weight(&body);
            let fits = state.weight + weight <= limit;
            if fits {
                state.weight += weight;
                state.parts.push_back(body);
            }
            fits
        })
    }

    /// Whether a last part like this has room beside the parts that wait.
    pub(crate) fn has_room(&self, body: &Body, limit: usize) -> bool {
        self.lock().weight + weight(body) <= limit
    }

    /// Leaves the outcome; a second one changes nothing.
    pub(crate) fn end(&self, outcome: Result<Body, CallError>) {
        self.change(|state| {
            if !state.ended {
                (state.ended, state.outcome) = (true, Some(outcome));
            }
        });
    }

    pub(crate) fn withdraw(&self) {
        self.withdrawn.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_withdrawn(&self) -> bool {
        self.withdrawn.load(Ordering::SeqCst)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// The whole reply; blocks until it is there. None if it was taken before.
    pub(crate) fn wait(&self) -> Option<Result<Body, CallError>> {
        self.wait_while(None, |state| !state.ended).take_whole()
    }

    /// As [`Slot::wait`], but at most so long.
    pub(crate) fn wait_timeout(&self, timeout: Duration) -> Option<Result<Body, CallError>> {
        self.wait_while(Some(timeout), |state| !state.ended).take_whole()
    }

    /// The next part, or the end; blocks until it is there. None if the end was taken
    /// before.
    pub(crate) fn next(&self) -> Option<Result<Reply, CallError>> {
        let mut state = self.wait_while(None, |state| state.parts.is_empty() && !state.ended);
        match state.parts.pop_front() {
            Some(part) => {
                state.weight = state.weight.saturating_sub(weight(&part));
                Some(Ok(Reply::Partial(part)))
            }
            None => state.outcome.take().map(|outcome| outcome.map(Reply::Final)),
        }
    }

    /// The whole reply; until it is there `context` is woken.
    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<Option<Result<Body, CallError>>> {
        let mut state = self.lock();
        if state.ended {
            return Poll::Ready(state.take_whole());
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

/// The bytes of a body, and what its frames cost.
pub(crate) fn weight(body: &Body) -> usize {
    body.size() + body.frames().len().saturating_sub(1) * FRAME_WEIGHT
}

/// The I/O thread's end of a call. When the last is dropped the call has ended, at the
/// worst as closed, and its place is free: so it is even if the thread ends early.
pub(crate) struct Pending {
    pub(crate) slot: Arc<Slot>,
    pub(crate) _place: Place,
    pub(crate) service: ServiceName,
    /// Nobody will look at how it ended.
    pub(crate) no_reply: bool,
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.slot.end(Err(CallError::Closed { may_have_run: true }));
    }
}
