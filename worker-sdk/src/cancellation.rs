//! Knowing that nobody waits for an answer any more, and waiting for it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::task::Task;

/// Tells a handler that nobody waits for its answer any more: the client cancelled
/// the request, or its time is up (MDP/1.0, CANCEL), or the broker is lost. To clone
/// and to share.
///
/// It stays raised once it is.
#[derive(Clone)]
pub struct Cancellation(pub(crate) Arc<Task>);

impl Cancellation {
    /// Whether nobody waits any more. Never blocks.
    pub fn is_raised(&self) -> bool {
        self.0.cancelled.is_raised()
    }

    /// Blocks until nobody waits any more; for ever when that never comes.
    pub fn wait(&self) {
        self.0.cancelled.wait(None);
    }

    /// Blocks until nobody waits any more, or `timeout` has passed. Returns whether
    /// nobody waits.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.0.cancelled.wait(Some(timeout));
        self.is_raised()
    }
}

impl fmt::Debug for Cancellation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancellation").field(&self.is_raised()).finish()
    }
}

/// A flag to wait for. Costs nothing beside its place until somebody waits.
#[derive(Debug, Default)]
pub(crate) struct Raised {
    flag: AtomicBool,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Raised {
    pub(crate) fn raise(&self) {
        if !self.flag.swap(true, Ordering::SeqCst) {
            // Whoever saw it down under the lock waits already.
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.changed.notify_all();
        }
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.flag.load(Ordering::SeqCst)
    }

    fn wait(&self, timeout: Option<Duration>) {
        let is_down = |(): &mut ()| !self.is_raised();
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        match timeout {
            None => drop(self.changed.wait_while(guard, is_down)),
            Some(timeout) => drop(self.changed.wait_timeout_while(guard, timeout, is_down)),
        }
    }
}
