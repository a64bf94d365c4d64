//! Until when all that peers said has been read: nobody is silent who was not listened to.

use std::time::{Duration, Instant};

/// What is known of that, round after round of the loop.
pub(crate) struct Heard {
    interval: Duration,
    /// The latest moment at which nothing was left to read.
    caught_up_at: Instant,
    /// Since when it has been read without a break.
    reading_since: Instant,
    round_at: Instant,
}

impl Heard {
    /// For peers that beat once in an `interval`.
    pub(crate) fn new(interval: Duration, now: Instant) -> Self {
        Heard { interval, caught_up_at: now, reading_since: now, round_at: now }
    }

    /// The latest moment of which it is certain that all that had come has been read, after
    /// a round that began at `now`.
    ///
    /// Under load something is always left to read. But peers are read in turn: who has
    /// been reading for an interval has read all that had come before, unless this process
    /// stood still meanwhile.
    pub(crate) fn until(&mut self, now: Instant, caught_up: bool) -> Instant {
        let stood_still = now.saturating_duration_since(self.round_at) > self.interval;
        self.round_at = now;
        if caught_up {
            self.caught_up_at = now;
        }
        if caught_up || stood_still {
            self.reading_since = now;
        }
        match now.checked_sub(self.interval) {
            Some(surely) if surely >= self.reading_since => surely.max(self.caught_up_at),
            _ => self.caught_up_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a moment to count from")]
    fn start() -> Instant {
        Instant::now()
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn who_has_read_all_has_heard_until_now() {
        let start = start();
        let mut heard = Heard::new(2 * SECOND, start);
        for second in 0..10 {
            let now = start + second * SECOND;
            assert_eq!(heard.until(now, true), now);
        }
    }

    #[test]
    fn who_reads_without_end_is_an_interval_behind() {
        let start = start();
        let mut heard = Heard::new(2 * SECOND, start);
        let until = (1..6).map(|second| heard.until(start + second * SECOND, false) - start);
        let seconds = [0, 0, 1, 2, 3].map(|second| second * SECOND);
        assert_eq!(until.collect::<Vec<_>>(), seconds);
    }

    #[test]
    fn who_stood_still_has_not_heard_what_came_meanwhile() {
        let start = start();
        let mut heard = Heard::new(2 * SECOND, start);
        for second in 1..10 {
            heard.until(start + second * SECOND, second < 5);
        }
        // Until the fourth second all had been read; now it has slept for a minute.
        let woken = start + 70 * SECOND;
        let read_before = start + 4 * SECOND;
        assert_eq!(heard.until(woken, false), read_before);
        assert_eq!(heard.until(woken + SECOND, false), read_before);
        assert_eq!(heard.until(woken + 2 * SECOND, false), woken);
        assert_eq!(heard.until(woken + 3 * SECOND, true), woken + 3 * SECOND);
    }
}
