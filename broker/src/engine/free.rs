//! Workers that can be given a request, and which of them is next.
//!
//! Who would begin with it at once goes before who has others to do first, and fewer
//! before more; among equals, who was used longest ago is first. So what is given
//! ahead never waits behind one worker while another is idle.

use super::table::Table;

use super::list::List;
use super::settings::PREFETCH_MAX;
use super::worker::{Worker, WorkerKey};

/// One bit for each list of those who have something to do first.
const _: () = assert!(PREFETCH_MAX - 1 <= u64::BITS as usize);

/// The free workers of one service, by how many requests stand before the next one.
#[derive(Debug, Default)]
pub(super) struct Free {
    /// Those who would begin at once: all there are, unless workers are given requests
    /// ahead.
    at_once: List<WorkerKey>,
    /// The others, once there was one.
    ahead: Option<Box<Ahead>>,
}

/// Workers that have something to do first.
#[derive(Debug, Default)]
struct Ahead {
    /// Those with one request before the next, with two, and so on.
    lists: Vec<List<WorkerKey>>,
    /// Which lists are not empty.
    occupied: u64,
}

impl Free {
    /// The next one.
    #[inline]
    pub(super) fn front(&self) -> Option<WorkerKey> {
        match self.at_once.front() {
            None if self.ahead.is_some() => self.front_ahead(),
            front => front,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.front().is_none()
    }

    /// Puts a worker behind its equals, of which `before` requests stand before the next.
    #[inline]
    pub(super) fn enter(
        &mut self,
        workers: &mut Table<WorkerKey, Worker>,
        key: WorkerKey,
        before: usize,
    ) {
        match before.checked_sub(1) {
            None => self.at_once.push_back(workers, key),
            Some(at) => self.enter_ahead(workers, key, at),
        }
    }

    /// Takes out a worker that was entered with `before`.
    #[inline]
    pub(super) fn leave(
        &mut self,
        workers: &mut Table<WorkerKey, Worker>,
        key: WorkerKey,
        before: usize,
    ) {
        match before.checked_sub(1) {
            None => self.at_once.remove(workers, key),
            Some(at) => self.leave_ahead(workers, key, at),
        }
    }

    // What follows is called where workers are given requests ahead. It stays out of the
    // way of those who are not: inlined, it made all requests a tenth slower.

    #[inline(never)]
    fn front_ahead(&self) -> Option<WorkerKey> {
        let Ahead { lists, occupied } = self.ahead.as_deref()?;
        lists.get(occupied.trailing_zeros() as usize)?.front()
    }

    #[inline(never)]
    fn enter_ahead(&mut self, workers: &mut Table<WorkerKey, Worker>, key: WorkerKey, at: usize) {
        let Ahead { lists, occupied } = &mut **self.ahead.get_or_insert_default();
        if lists.len() <= at {
            lists.resize_with(at + 1, List::default);
        }
        lists[at].push_back(workers, key);
        *occupied |= 1 << at;
    }

    #[inline(never)]
    fn leave_ahead(&mut self, workers: &mut Table<WorkerKey, Worker>, key: WorkerKey, at: usize) {
        let Some(Ahead { lists, occupied }) = self.ahead.as_deref_mut() else { return };
        lists[at].remove(workers, key);
        if lists[at].is_empty() {
            *occupied &= !(1 << at);
        }
    }

    /// The workers and how many requests stand before the next one of each, first to last.
    pub(super) fn keys(&self, workers: &mut Table<WorkerKey, Worker>) -> Vec<(WorkerKey, usize)> {
        let (ahead, bits) = match self.ahead.as_deref() {
            Some(Ahead { lists, occupied }) => (lists.as_slice(), *occupied),
            None => (&[][..], 0),
        };
        let lists = std::iter::once(&self.at_once).chain(ahead).enumerate();
        let keys = lists.map(|(before, list)| {
            let occupied = before == 0 || bits & 1 << (before - 1) != 0;
            assert!(before == 0 || occupied != list.is_empty(), "a list and its bit");
            list.keys(workers).into_iter().map(move |key| (key, before)).collect::<Vec<_>>()
        });
        keys.collect::<Vec<_>>().concat()
    }
}
