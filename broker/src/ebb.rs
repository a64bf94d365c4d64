//! Gives memory back to the system when much of it has become free.
//!
//! The C library keeps what was freed for whatever is needed next, which after a long
//! queue has drained may be never. It is asked to give it back when the broker has needed
//! far less than before for a while: a load that swings all the time keeps its memory.
#![expect(unsafe_code, reason = "only the C library can give back what it keeps")]

use std::time::{Duration, Instant};

/// Less than this is left alone.
const FALL_MIN: usize = 1 << 20;
/// How long the need must be low, without a break.
const LOW_FOR: Duration = Duration::from_millis(100);
/// So long after it was asked the library is asked again: libzmq's threads may have freed
/// more meanwhile.
const AGAIN: Duration = Duration::from_secs(2);

/// How much memory is needed, and was.
#[derive(Debug, Default)]
pub(crate) struct Ebb {
    /// The most that was needed since memory was given back last.
    high: usize,
    /// Since when far less is needed.
    low_since: Option<Instant>,
    /// When to ask once more.
    again: Option<Instant>,
}

impl Ebb {
    /// Takes in that so many bytes are needed now, and gives memory back if it is time.
    pub(crate) fn observe(&mut self, needed: usize, now: Instant) {
        if self.is_due(needed, now) {
            give_back();
        }
    }

    /// When to look again, if nothing happens before.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.low_since.map(|since| since + LOW_FOR).into_iter().chain(self.again).min()
    }

    fn is_due(&mut self, needed: usize, now: Instant) -> bool {
        let again = self.again.take_if(|again| *again <= now).is_some();
        let fell = self.has_fallen(needed, now);
        if fell {
            self.again = Some(now + AGAIN);
        }
        fell || again
    }

    fn has_fallen(&mut self, needed: usize, now: Instant) -> bool {
        self.high = self.high.max(needed);
        if needed > self.high / 2 || self.high - needed < FALL_MIN {
            self.low_since = None;
            return false;
        }
        let since = *self.low_since.get_or_insert(now);
        if now.saturating_duration_since(since) < LOW_FOR {
            return false;
        }
        (self.high, self.low_since) = (needed, None);
        true
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn give_back() {
    // SAFETY: takes no memory of ours and touches nothing that is in use; any thread may
    // call it at any time.
    let given = unsafe { libc::malloc_trim(0) };
    log::debug!(some = given != 0; "memory given back to the system");
}

/// Other C libraries have no such call; some give memory back on their own.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_back() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_when_little_was_needed_for_a_while_and_not_before() {
        #[expect(clippy::disallowed_methods, reason = "an Instant cannot be made from a number")]
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut ebb = Ebb::default();
        let mut due = |megabytes: usize, ms| {
            let due = ebb.is_due(megabytes << 20, at(ms));
            (due, ebb.poll_timeout())
        };
        assert_eq!(due(100, 0), (false, None));
        assert_eq!(due(60, 1), (false, None));
        assert_eq!(due(40, 2), (false, Some(at(102))));
        assert_eq!(due(30, 101), (false, Some(at(102))));
        // It rises once more: the time begins anew.
        assert_eq!(due(90, 101), (false, None));
        assert_eq!(due(10, 150), (false, Some(at(250))));
        assert_eq!(due(9, 250), (true, Some(at(2_250))));
        // What is left is measured by what was needed then.
        assert_eq!(due(8, 251), (false, Some(at(2_250))));
        assert_eq!(due(4, 252), (false, Some(at(352))));
        assert_eq!(due(4, 352), (true, Some(at(2_352))));
        assert_eq!(due(0, 353), (false, Some(at(453))));
        assert_eq!(due(0, 453), (true, Some(at(2_453))));
        assert_eq!(due(0, 1_000), (false, Some(at(2_453))));
        assert_eq!(due(0, 2_453), (true, None));
        assert_eq!(due(0, 10_000), (false, None));
    }
}
