//! The next moment anything is due.
//!
//! Who waits for a moment is entered once, and taken out when it no longer does; so
//! the table is never larger than what it serves, and costs nothing while nothing is
//! due. What arrives together and waits equally long is due at the same moment: the
//! moments in the table are few, and those who wait for one stand in a list.

use std::collections::BTreeMap;
use std::time::Instant;

use super::table::Table;

use super::list::{Linked, Links, List};
use super::request::RequestKey;
use super::worker::WorkerKey;

slotmap::new_key_type! {
    /// An entry among the deadlines; the default is none. It is of no use once its
    /// moment has come.
    pub(super) struct DeadlineKey;
}

/// What becomes due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// A worker is to be sent a heartbeat, or has been silent for too long. Looked
    /// at not before this moment: hearing from a worker does not move its entry.
    Worker(WorkerKey),
    /// A request has waited, or run, for too long.
    Request(RequestKey),
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    due: Due,
    links: Links<DeadlineKey>,
}

impl Linked<DeadlineKey> for Entry {
    fn links(&mut self) -> &mut Links<DeadlineKey> {
        &mut self.links
    }
}

/// Moments and what is due then, in order.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    entries: Table<DeadlineKey, Entry>,
    /// None of the lists is empty.
    moments: BTreeMap<Instant, List<DeadlineKey>>,
}

impl Deadlines {
    pub(super) fn insert(&mut self, at: Instant, due: Due) -> DeadlineKey {
        let key = self.entries.insert(Entry { at, due, links: Links::default() });
        // What is due last mostly came last, with others.
        match self.moments.last_entry().filter(|last| *last.key() == at) {
            Some(last) => last.into_mut().push_back(&mut self.entries, key),
            None => self.moments.entry(at).or_default().push_back(&mut self.entries, key),
        }
        key
    }

    /// Takes an entry out, if it is there.
    pub(super) fn remove(&mut self, key: DeadlineKey) {
        let Some(at) = self.entries.get(key).map(|entry| entry.at) else { return };
        if let Some(moment) = self.moments.get_mut(&at) {
            moment.remove(&mut self.entries, key);
            if moment.is_empty() {
                self.moments.remove(&at);
            }
        }
        self.entries.remove(key);
    }

    pub(super) fn first(&self) -> Option<Instant> {
        self.moments.first_key_value().map(|(at, _)| *at)
    }

    /// Takes out the first entry that is due at `now`.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Due> {
        let (at, moment) = self.moments.first_key_value()?;
        let key = moment.front().filter(|_| *at <= now)?;
        let due = self.entries[key].due;
        self.remove(key);
        Some(due)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// For how many entries it holds memory.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.entries.capacity()
    }

    /// The moment and the owner of an entry.
    pub(super) fn get(&self, key: DeadlineKey) -> Option<(Instant, Due)> {
        self.entries.get(key).map(|entry| (entry.at, entry.due))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use slotmap::Key;

    use super::*;

    #[test]
    fn entries_come_in_the_order_of_their_moments_and_leave_nothing_behind() {
        #[expect(clippy::disallowed_methods, reason = "an Instant cannot be made from a number")]
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut owners = Table::<RequestKey, ()>::default();
        let dues: Vec<Due> = (0..6).map(|_| Due::Request(owners.insert(()))).collect();
        let mut deadlines = Deadlines::default();
        let keys: Vec<_> = [3, 1, 3, 2, 3, 1]
            .into_iter()
            .zip(&dues)
            .map(|(ms, due)| deadlines.insert(at(ms), *due))
            .collect();
        for gone in [keys[2], keys[3], keys[3], DeadlineKey::null()] {
            deadlines.remove(gone);
        }
        assert_eq!((deadlines.len(), deadlines.first()), (4, Some(at(1))));
        assert_eq!(deadlines.get(keys[0]), Some((at(3), dues[0])));
        assert_eq!(deadlines.pop(at(0)), None);
        let popped: Vec<_> = std::iter::from_fn(|| deadlines.pop(at(3))).collect();
        assert_eq!(popped, [dues[1], dues[5], dues[0], dues[4]]);
        deadlines.remove(keys[0]);
        assert!(
            deadlines.len() == 0 && deadlines.first().is_none() && deadlines.moments.is_empty()
        );
    }
}
