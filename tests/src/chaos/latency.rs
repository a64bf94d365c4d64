//! How much longer calls took than their handlers, by phases of a run.

use std::fmt;

use super::ledger::{Ending, Moment, Outcome};

/// Median, 99th percentile and the worst, in microseconds beyond the handler's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    /// Calls answered.
    pub calls: usize,
    /// Median.
    pub p50: u64,
    /// 99th percentile.
    pub p99: u64,
    /// Worst.
    pub max: u64,
}

/// Of the calls that were answered and began in this time.
pub fn delays(outcomes: &[Outcome], from: Moment, until: Moment) -> Delays {
    let within = outcomes.iter().filter(|outcome| {
        outcome.ending == Ending::Answered && (from..until).contains(&outcome.began)
    });
    let beyond =
        |outcome: &Outcome| (outcome.ended - outcome.began).saturating_sub(outcome.work_us.into());
    let mut times: Vec<u64> = within.map(beyond).collect();
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or(0);
    let max = times.last().copied().unwrap_or(0);
    Delays { calls: times.len(), p50: at(50), p99: at(99), max }
}

impl Delays {
    /// How many times the others' these are.
    pub fn ratios(&self, others: &Delays) -> [f64; 3] {
        let ratio = |a: u64, b: u64| a as f64 / b.max(1) as f64;
        [ratio(self.p50, others.p50), ratio(self.p99, others.p99), ratio(self.max, others.max)]
    }
}

impl fmt::Display for Delays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, max] = [self.p50, self.p99, self.max].map(|time| time as f64 / 1_000.0);
        write!(
            f,
            "{} calls, beyond the handler's time p50 {p50:.2} ms, p99 {p99:.2} ms, max {max:.2} ms",
            self.calls
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::ledger::CallId;

    #[test]
    fn only_what_was_answered_counts_and_without_the_handlers_time() {
        let outcome = |number, began, took, ending| {
            let call = CallId::new(0, number);
            Outcome { call, began, ended: began + took, work_us: 10, ending }
        };
        let mut outcomes: Vec<Outcome> =
            (0..100).map(|number| outcome(number, 5, 11 + number, Ending::Answered)).collect();
        outcomes.push(outcome(100, 5, 9_999, Ending::Silent));
        outcomes.push(outcome(101, 6, 9_999, Ending::Answered));
        let found = delays(&outcomes, 5, 6);
        assert_eq!(found, Delays { calls: 100, p50: 51, p99: 100, max: 100 });
        let half = Delays { calls: 1, p50: 51, p99: 50, max: 0 };
        assert_eq!(found.ratios(&half), [1.0, 2.0, 100.0]);
    }
}
