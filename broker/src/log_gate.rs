//! Holds back log lines that a peer can cause at will.
//!
//! A flood of bad messages must not become a flood of log lines, nor hide that it
//! happens. Pure: time is passed in, and the caller writes the lines.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Lets at most so many log lines of a kind through in a second, and counts the rest.
///
/// A kind is a name from the program's text, so that no peer can add one. The second
/// of a kind begins with a line of that kind, not with the clock's second.
///
/// ```
/// use majordomo_broker::log_gate::LogGate;
/// # #[expect(clippy::disallowed_methods, reason = "a moment to start from")]
/// # let now = std::time::Instant::now();
/// let mut gate = LogGate::default();
/// for _ in 0..1000 {
///     if gate.admits("invalid message", now) {
///         // log::warn!(…) runs ten times
///     }
/// }
/// let later = gate.poll_timeout().expect("lines were left out");
/// assert_eq!(gate.poll_left_out(later), Some(("invalid message", 990)));
/// assert_eq!(gate.poll_left_out(later), None);
/// ```
#[derive(Clone, Debug)]
pub struct LogGate {
    lines_per_second_max: u32,
    kinds: BTreeMap<&'static str, Second>,
}

/// What happened to one kind in its running second.
#[derive(Clone, Copy, Debug)]
struct Second {
    began: Instant,
    admitted: u32,
    left_out: u64,
}

impl Second {
    fn end(&self) -> Instant {
        self.began + Duration::from_secs(1)
    }
}

impl Default for LogGate {
    /// Ten lines of a kind in a second.
    fn default() -> Self {
        LogGate::new(10)
    }
}

impl LogGate {
    /// At most `lines_per_second_max` lines of a kind in a second.
    pub fn new(lines_per_second_max: u32) -> Self {
        LogGate { lines_per_second_max, kinds: BTreeMap::new() }
    }

    /// Whether a line of this kind may be written now. If not, it is counted.
    pub fn admits(&mut self, kind: &'static str, now: Instant) -> bool {
        let fresh = Second { began: now, admitted: 0, left_out: 0 };
        let second = self.kinds.entry(kind).or_insert(fresh);
        // A second with lines left out lasts until they are reported, so that
        // their number is never lost.
        if now >= second.end() && second.left_out == 0 {
            *second = fresh;
        }
        let admitted = second.admitted < self.lines_per_second_max;
        if admitted {
            second.admitted += 1;
        } else {
            second.left_out += 1;
        }
        admitted
    }

    /// A kind whose second is over and how many of its lines were left out. Call it
    /// until it says `None`, and write a line for each.
    pub fn poll_left_out(&mut self, now: Instant) -> Option<(&'static str, u64)> {
        let over = |second: &Second| second.left_out > 0 && now >= second.end();
        let (kind, second) = self.kinds.iter_mut().find(|(_, second)| over(second))?;
        let left_out = second.left_out;
        *second = Second { began: now, admitted: 0, left_out: 0 };
        Some((kind, left_out))
    }

    /// When [`LogGate::poll_left_out`] will have something to say, if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.kinds.values().filter(|second| second.left_out > 0).map(Second::end).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a moment to start from; none is waited for")]
    fn start() -> Instant {
        Instant::now()
    }

    fn admitted(gate: &mut LogGate, kind: &'static str, lines: usize, now: Instant) -> usize {
        (0..lines).filter(|_| gate.admits(kind, now)).count()
    }

    #[test]
    fn what_is_over_the_rate_is_counted_and_reported_once() {
        let (mut gate, start) = (LogGate::default(), start());
        assert_eq!(admitted(&mut gate, "a", 25, start), 10);
        assert_eq!(gate.poll_timeout(), Some(start + Duration::from_secs(1)));
        assert_eq!(gate.poll_left_out(start + Duration::from_millis(999)), None);

        let later = start + Duration::from_secs(1);
        assert_eq!(gate.poll_left_out(later), Some(("a", 15)));
        assert_eq!(gate.poll_left_out(later), None);
        assert_eq!(gate.poll_timeout(), None);
        assert_eq!(admitted(&mut gate, "a", 25, later), 10);
    }

    #[test]
    fn kinds_do_not_share_a_rate() {
        let (mut gate, start) = (LogGate::new(1), start());
        assert_eq!(admitted(&mut gate, "a", 2, start), 1);
        assert_eq!(admitted(&mut gate, "b", 3, start), 1);
        let later = start + Duration::from_secs(1);
        assert_eq!(gate.poll_left_out(later), Some(("a", 1)));
        assert_eq!(gate.poll_left_out(later), Some(("b", 2)));
        assert_eq!(gate.poll_left_out(later), None);
    }

    #[test]
    fn lines_at_the_rate_all_pass_and_nothing_is_due() {
        let (mut gate, start) = (LogGate::default(), start());
        for second in 0..5 {
            let now = start + Duration::from_secs(second);
            assert_eq!(admitted(&mut gate, "a", 10, now), 10);
            assert_eq!(gate.poll_timeout(), None);
        }
    }

    #[test]
    fn lines_left_out_are_not_forgotten_when_the_report_is_late() {
        let (mut gate, start) = (LogGate::new(1), start());
        assert_eq!(admitted(&mut gate, "a", 3, start), 1);
        let late = start + Duration::from_secs(60);
        assert_eq!(admitted(&mut gate, "a", 1, late), 0);
        assert_eq!(gate.poll_left_out(late), Some(("a", 3)));
    }
}
