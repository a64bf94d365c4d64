//! The end of a wait. The only place of this program that reads the clock.

use std::time::{Duration, Instant};

/// A moment until which somebody waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// `wait` from now.
    pub(crate) fn after(wait: Duration) -> Self {
        Deadline(now() + wait)
    }

    /// What is left of the wait; zero when it is over.
    pub(crate) fn left(self) -> Duration {
        self.0.saturating_duration_since(now())
    }

    /// Whether the wait is over.
    pub(crate) fn is_over(self) -> bool {
        self.left().is_zero()
    }
}

#[expect(clippy::disallowed_methods, reason = "bare peers own the sockets that they wait for")]
fn now() -> Instant {
    Instant::now()
}
