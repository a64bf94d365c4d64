//! Requests that wait for a worker, and whose turn it is.
//!
//! Within a service, waiting clients take turns; within a client, first come is
//! first served. So a client with many requests delays another's single request
//! by one turn. A request whose worker was lost has waited already: it stands
//! before all turns.

use super::table::Table;
use foldhash::HashMap;
use majordomo_protocol::PeerId;

use super::list::{Linked, Links, List};
use super::request::{Request, RequestKey};
use super::service::ServiceKey;
use super::shrink::Shrink;

slotmap::new_key_type! {
    /// One client's place in the line of one service.
    pub(super) struct TurnKey;
}

/// The requests that wait for one service.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Requests returned by a lost worker, first in, first out.
    returned: List<RequestKey>,
    /// Clients with a waiting request, whose turn it is first.
    turns: List<TurnKey>,
    len: usize,
}

impl Line {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// The waiting requests of one client for one service, oldest first; never empty.
#[derive(Debug)]
struct Turn {
    service: ServiceKey,
    client: PeerId,
    requests: List<RequestKey>,
    links: Links<TurnKey>,
}

impl Linked<TurnKey> for Turn {
    fn links(&mut self) -> &mut Links<TurnKey> {
        &mut self.links
    }
}

/// The turns of all services.
#[derive(Debug, Default)]
pub(super) struct Turns {
    turns: Table<TurnKey, Turn>,
    by_client: HashMap<(ServiceKey, PeerId), TurnKey>,
}

impl Turns {
    /// Puts a request behind all others of its client.
    pub(super) fn push<B>(
        &mut self,
        line: &mut Line,
        requests: &mut Table<RequestKey, Request<B>>,
        key: RequestKey,
    ) -> TurnKey {
        let Request { service, caller, .. } = &requests[key];
        let turn = match self.by_client.entry((*service, caller.peer.clone())) {
            std::collections::hash_map::Entry::Occupied(entry) => *entry.get(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                let (service, client) = entry.key().clone();
                let (requests, links) = (List::default(), Links::default());
                let turn = self.turns.insert(Turn { service, client, requests, links });
                line.turns.push_back(&mut self.turns, turn);
                *entry.insert(turn)
            }
        };
        self.turns[turn].requests.push_back(requests, key);
        line.len += 1;
        turn
    }

    /// Puts a request that its worker did not answer before all turns.
    pub(super) fn push_returned<B>(
        &mut self,
        line: &mut Line,
        requests: &mut Table<RequestKey, Request<B>>,
        key: RequestKey,
    ) {
        line.returned.push_back(requests, key);
        line.len += 1;
    }

    /// The request whose turn it is.
    pub(super) fn first(&self, line: &Line) -> Option<RequestKey> {
        let in_turn = || self.turns[line.turns.front()?].requests.front();
        line.returned.front().or_else(in_turn)
    }

    /// Takes out the request whose turn it is.
    pub(super) fn pop<B>(
        &mut self,
        line: &mut Line,
        requests: &mut Table<RequestKey, Request<B>>,
    ) -> Option<RequestKey> {
        if let Some(key) = line.returned.pop_front(requests) {
            line.len -= 1;
            return Some(key);
        }
        let turn = line.turns.pop_front(&mut self.turns)?;
        let key = self.turns[turn].requests.pop_front(requests)?;
        line.len -= 1;
        if self.turns[turn].requests.is_empty() {
            self.forget(turn);
        } else {
            line.turns.push_back(&mut self.turns, turn);
        }
        Some(key)
    }

    /// Takes out a request from wherever it waits: `turn`, or before all turns.
    pub(super) fn remove<B>(
        &mut self,
        line: &mut Line,
        requests: &mut Table<RequestKey, Request<B>>,
        key: RequestKey,
        turn: Option<TurnKey>,
    ) {
        line.len -= 1;
        let Some(turn) = turn else {
            line.returned.remove(requests, key);
            return;
        };
        self.turns[turn].requests.remove(requests, key);
        if self.turns[turn].requests.is_empty() {
            line.turns.remove(&mut self.turns, turn);
            self.forget(turn);
        }
    }

    fn forget(&mut self, turn: TurnKey) {
        if let Some(Turn { service, client, .. }) = self.turns.remove(turn) {
            self.by_client.remove(&(service, client));
            self.by_client.shrink_when_sparse();
        }
    }

    /// How many requests wait in turns and before them, counted one by one.
    pub(super) fn count<B>(
        &mut self,
        line: &Line,
        requests: &mut Table<RequestKey, Request<B>>,
    ) -> usize {
        let turns = line.turns.keys(&mut self.turns);
        let in_turns = turns.into_iter().map(|turn| {
            let waiting = self.turns[turn].requests.keys(requests).len();
            assert!(waiting > 0, "a turn without a request");
            waiting
        });
        let in_turns: usize = in_turns.sum();
        in_turns + line.returned.keys(requests).len()
    }

    pub(super) fn len(&self) -> usize {
        self.turns.len()
    }

    /// For how many turns it holds memory.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.turns.capacity().max(self.by_client.capacity())
    }
}
