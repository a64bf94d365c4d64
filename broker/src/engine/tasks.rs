//! The requests that a worker has.
//!
//! Each knows its place, so it leaves from anywhere at the cost of looking at one other,
//! which gets that place. In which order they were handed out is seen from the numbers of
//! the REQUESTs among all that the engine has said.

use super::request::{Request, RequestKey, UNSENT};
use super::table::Table;

/// Room for so many is kept when the last one leaves.
const KEPT: usize = 64;

/// Requests that one worker has, each once.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    keys: Vec<RequestKey>,
}

impl Tasks {
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Puts in a request, which has this key and is handed out last.
    #[inline]
    pub(super) fn push<B>(&mut self, key: RequestKey, request: &mut Request<B>) {
        request.place = self.keys.len() as u32;
        self.keys.push(key);
    }

    /// Takes out a request that stands at this place.
    #[inline]
    pub(super) fn remove<B>(&mut self, place: u32, requests: &mut Table<RequestKey, Request<B>>) {
        self.keys.swap_remove(place as usize);
        match self.keys.get(place as usize) {
            Some(moved) => requests[*moved].place = place,
            None if self.keys.is_empty() && self.keys.capacity() > KEPT => {
                self.keys.shrink_to(KEPT);
            }
            None => {}
        }
    }

    /// All of them, in the order in which they were handed out.
    pub(super) fn in_order<B>(&self, requests: &Table<RequestKey, Request<B>>) -> Vec<RequestKey> {
        let mut keys = self.keys.clone();
        keys.sort_unstable_by_key(|key| requests[*key].handed_out & !UNSENT);
        keys
    }

    /// Asserts that each knows its place.
    pub(super) fn check<B>(&self, requests: &Table<RequestKey, Request<B>>) {
        for (place, key) in self.keys.iter().enumerate() {
            assert_eq!(requests[*key].place as usize, place);
        }
    }
}
