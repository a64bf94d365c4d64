//! The next moment anything is due.
//!
//! Who waits for a moment is entered once, and taken out when it no longer does;
//! so the table is never larger than what it serves, and costs nothing while
//! nothing is due.

use std::collections::BTreeSet;
use std::time::Instant;

use super::request::RequestKey;
use super::worker::WorkerKey;

/// What becomes due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// A worker is to be sent a heartbeat, or has been silent for too long. Looked
    /// at not before this moment: hearing from a worker does not move its entry.
    Worker(WorkerKey),
    /// A waiting request has waited for too long.
    Request(RequestKey),
}

/// Moments and what is due then, in order.
#[derive(Debug, Default)]
pub(super) struct Deadlines(BTreeSet<(Instant, Due)>);

impl Deadlines {
    pub(super) fn insert(&mut self, at: Instant, due: Due) {
        self.0.insert((at, due));
    }

    pub(super) fn remove(&mut self, at: Instant, due: Due) {
        let present = self.0.remove(&(at, due));
        debug_assert!(present, "{due:?} was not entered for this moment");
    }

    pub(super) fn first(&self) -> Option<Instant> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Takes out the first entry that is due at `now`.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Due> {
        if self.first()? > now {
            return None;
        }
        self.0.pop_first().map(|(_, due)| due)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn contains(&self, at: Instant, due: Due) -> bool {
        self.0.contains(&(at, due))
    }
}
