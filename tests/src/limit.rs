//! How long to wait for what must happen. The only place here that reads the clock
//! (but for the moments that a ledger of chaos has) or sleeps; no test asserts how long something took.

use std::thread;
use std::time::{Duration, Instant};

/// The longest wait for something that must happen. It only runs out when something
/// is broken, so it is generous: a busy machine is no failure.
pub const LIMIT: Duration = Duration::from_secs(30);

/// The end of a wait.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// [`LIMIT`] from now.
    pub fn generous() -> Self {
        Deadline::after(LIMIT)
    }

    /// `wait` from now.
    pub fn after(wait: Duration) -> Self {
        Deadline(now() + wait)
    }

    /// What is left of the wait; zero when it is over.
    pub fn left(&self) -> Duration {
        self.0.saturating_duration_since(now())
    }

    /// As [`Deadline::left`], in whole milliseconds, as zmq wants it.
    pub fn left_ms(&self) -> i64 {
        i64::try_from(self.left().as_millis()).unwrap_or(i64::MAX)
    }

    /// Whether the wait is over.
    pub fn is_over(&self) -> bool {
        self.left().is_zero()
    }
}

/// Looks again and again until there is something to see.
///
/// # Panics
///
/// When there is nothing after [`LIMIT`]; `what` says what was waited for.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Deadline::generous();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(!deadline.is_over(), "waited {LIMIT:?} in vain until {what}");
        pause();
    }
}

/// Lets so much time pass. For programs whose load goes by time; a test waits for an
/// event instead.
#[expect(clippy::disallowed_methods, reason = "time itself is what is waited for")]
pub fn let_pass(time: Duration) {
    thread::sleep(time);
}

/// What `work` gives, and how long it took.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = now();
    let result = work();
    (result, now().saturating_duration_since(start))
}

#[expect(clippy::disallowed_methods, reason = "the harness owns the sockets that it waits for")]
fn now() -> Instant {
    Instant::now()
}

/// A few milliseconds, between two looks at something that cannot wake us.
#[expect(clippy::disallowed_methods, reason = "between two looks at what cannot wake us")]
pub fn pause() {
    thread::sleep(Duration::from_millis(5));
}
