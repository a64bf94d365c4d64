//! When a call or a broker is due.
//!
//! What begins together and waits equally long is due at the same moment, so the moments
//! are few. Most calls end long before they are due: a timer that is taken back is not
//! looked for, only counted, and the last one of a moment takes all of it away.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// Who is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    Broker(usize),
    Call(u64),
}

/// What all of them wait for. Each owner has one timer at most, and keeps the moment.
#[derive(Debug, Default)]
pub(super) struct Timers {
    moments: BTreeMap<Instant, Moment>,
    /// The moment that a timer was last set for, which mostly is the one of the next. It
    /// stands here alone, and somebody waits for it.
    latest: Option<(Instant, Moment)>,
}

#[derive(Debug, Default)]
struct Moment {
    /// How many wait for it, one at least.
    waiting: usize,
    /// Those, in order, and others that did so before.
    timers: VecDeque<Timer>,
}

impl Timers {
    /// Sets the timer of an owner, who keeps in `kept` when it is due.
    pub(super) fn set(&mut self, timer: Timer, kept: &mut Option<Instant>, due: Option<Instant>) {
        let before = std::mem::replace(kept, due);
        if let Some(due) = due {
            let moment = self.moment(due);
            moment.waiting += 1;
            moment.timers.push_back(timer);
        }
        let Some(before) = before else { return };
        match &mut self.latest {
            Some((latest, moment)) if *latest == before => {
                moment.waiting -= 1;
                if moment.waiting == 0 {
                    self.latest = None;
                }
            }
            _ => {
                if let Some(moment) = self.moments.get_mut(&before) {
                    moment.waiting -= 1;
                    if moment.waiting == 0 {
                        self.moments.remove(&before);
                    }
                }
            }
        }
    }

    /// The latest moment from now on.
    fn moment(&mut self, due: Instant) -> &mut Moment {
        if self.latest.as_ref().is_none_or(|(latest, _)| *latest != due) {
            self.moments.extend(self.latest.take());
        }
        let moments = &mut self.moments;
        let latest = || (due, moments.remove(&due).unwrap_or_default());
        &mut self.latest.get_or_insert_with(latest).1
    }

    /// The first moment that somebody waits for.
    pub(super) fn first(&self) -> Option<Instant> {
        let latest = self.latest.as_ref().map(|(due, _)| *due);
        let first = self.moments.first_key_value().map(|(due, _)| *due);
        first.into_iter().chain(latest).min()
    }

    /// The next timer that is due by `now`, unless its owner keeps another moment by now.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(Instant, Timer)> {
        let due = self.first().filter(|due| *due <= now)?;
        self.moments.extend(self.latest.take());
        let timer = self.moments.get_mut(&due)?.timers.pop_front()?;
        Some((due, timer))
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        let latest = self.latest.iter().map(|(_, moment)| moment);
        self.moments.values().chain(latest).map(|moment| moment.waiting).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::io::now;

    #[test]
    fn the_first_is_first_and_nothing_is_left_of_what_was_taken_back() {
        let (start, second) = (now(), Duration::from_secs(1));
        let mut timers = Timers::default();
        let mut kept = [None; 3];
        let [broker, first, other] = &mut kept;
        timers.set(Timer::Call(1), first, Some(start + second));
        timers.set(Timer::Call(2), other, Some(start + second));
        timers.set(Timer::Broker(0), broker, Some(start));
        assert_eq!((timers.first(), timers.len()), (Some(start), 3));
        assert_eq!(timers.pop(start), Some((start, Timer::Broker(0))));
        timers.set(Timer::Broker(0), broker, None);
        assert_eq!((timers.pop(start), timers.first()), (None, Some(start + second)));
        // One is taken back, and the other set anew.
        timers.set(Timer::Call(1), first, None);
        timers.set(Timer::Call(2), other, Some(start + second));
        assert_eq!(timers.len(), 1);
        let left = std::iter::from_fn(|| timers.pop(start + second));
        assert!(left.eq([1, 2, 2].map(|key| (start + second, Timer::Call(key)))));
        timers.set(Timer::Call(2), other, None);
        assert!(timers.first().is_none() && kept == [None; 3]);
    }
}
