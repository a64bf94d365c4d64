//! How many calls may be outstanding at once: a place for each.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Free places. A call takes one before it is handed over, and it is free again when
/// the call has ended, so the channel between never holds more calls than places.
pub(crate) struct Places {
    state: Mutex<State>,
    freed: Condvar,
}

struct State {
    free: usize,
    /// Threads that wait for a place.
    waiting: usize,
}

impl Places {
    pub(crate) fn new(count: usize) -> Self {
        Places { state: Mutex::new(State { free: count, waiting: 0 }), freed: Condvar::new() }
    }

    /// Takes a place; waits for one at most so long. Whether there was one.
    pub(crate) fn take(&self, wait: Duration) -> bool {
        let mut state = self.lock();
        if state.free == 0 && !wait.is_zero() {
            state.waiting += 1;
            (state, _) = self
                .freed
                .wait_timeout_while(state, wait, |state| state.free == 0)
                .unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
        let taken = state.free > 0;
        if taken {
            state.free -= 1;
        }
        taken
    }

    pub(crate) fn give_back(&self) {
        let mut state = self.lock();
        state.free += 1;
        if state.waiting > 0 {
            self.freed.notify_one();
        }
    }

    pub(crate) fn free(&self) -> usize {
        self.lock().free
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
