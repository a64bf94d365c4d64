//! When a call or a broker is due.
//!
//! What begins together and waits equally long is due at the same moment: the moments are
//! few, and so mostly are those who wait for one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// Who is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    Broker(usize),
    Call(u64),
}

/// Each timer stands here at most once, at the moment that its owner remembers.
#[derive(Debug, Default)]
pub(super) struct Timers {
    /// None of the sets is empty.
    moments: BTreeMap<Instant, BTreeSet<Timer>>,
}

impl Timers {
    pub(super) fn insert(&mut self, due: Instant, timer: Timer) {
        self.moments.entry(due).or_default().insert(timer);
    }

    /// Takes a timer out, if it is there.
    pub(super) fn remove(&mut self, due: Instant, timer: Timer) {
        let Some(timers) = self.moments.get_mut(&due) else { return };
        timers.remove(&timer);
        if timers.is_empty() {
            self.moments.remove(&due);
        }
    }

    /// The first timer and its moment.
    pub(super) fn first(&self) -> Option<(Instant, Timer)> {
        let (due, timers) = self.moments.first_key_value()?;
        Some((*due, *timers.first()?))
    }

    pub(super) fn len(&self) -> usize {
        self.moments.values().map(BTreeSet::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::io::now;

    #[test]
    fn the_first_is_first_and_nothing_is_left_of_what_was_taken_out() {
        let (start, second) = (now(), Duration::from_secs(1));
        let mut timers = Timers::default();
        timers.insert(start + second, Timer::Call(1));
        timers.insert(start + second, Timer::Call(2));
        timers.insert(start, Timer::Broker(0));
        assert_eq!((timers.first(), timers.len()), (Some((start, Timer::Broker(0))), 3));
        timers.remove(start, Timer::Broker(0));
        timers.remove(start + second, Timer::Call(1));
        // Neither is there.
        timers.remove(start, Timer::Call(2));
        timers.remove(start + second, Timer::Broker(0));
        assert_eq!((timers.first(), timers.len()), (Some((start + second, Timer::Call(2))), 1));
        timers.remove(start + second, Timer::Call(2));
        assert!(timers.moments.is_empty());
    }
}
