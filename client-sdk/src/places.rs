//! How many calls may be outstanding at once: a place for each.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Free places. A call takes one before it is handed over, and it is free again when
/// the call has ended, so the channel between never holds more calls than places.
pub(crate) struct Places {
    free: Mutex<usize>,
    freed: Condvar,
}

impl Places {
    pub(crate) fn new(count: usize) -> Self {
        Places { free: Mutex::new(count), freed: Condvar::new() }
    }

    /// Takes a place; waits for one at most so long. Whether there was one.
    pub(crate) fn take(&self, wait: Duration) -> bool {
        let free = self.lock();
        let (mut free, _) = self
            .freed
            .wait_timeout_while(free, wait, |free| *free == 0)
            .unwrap_or_else(PoisonError::into_inner);
        let taken = *free > 0;
        if taken {
            *free -= 1;
        }
        taken
    }

    pub(crate) fn give_back(&self) {
        *self.lock() += 1;
        self.freed.notify_one();
    }

    pub(crate) fn free(&self) -> usize {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
