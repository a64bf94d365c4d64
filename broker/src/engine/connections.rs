//! Connections that have passed their handshake, by identity: how many each has, also
//! those that say nothing, and which are to be closed. And what the end of one means.
//!
//! Known where libzmq tells of connections; elsewhere this stays empty. A connection of
//! an open endpoint has no identity and is not kept here.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use foldhash::HashMap;
use majordomo_protocol::PeerId;

use super::rights::{Identity, Rights};
use super::shrink::Shrink;
use super::{Action, Closed, Engine, Gone, Note, Outlet, Payload};

/// How long a connection whose identity has gone stays, to read what it was told last.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// All connections that have an identity.
#[derive(Debug, Default)]
pub(super) struct Connections {
    open: HashMap<PeerId, Connection>,
    /// How many of them each identity has; none is 0.
    counts: HashMap<Identity, usize>,
    /// Those to be closed, in the order of their moments. One that has ended, or is to stay
    /// after all, is passed over.
    leaving: VecDeque<(Instant, PeerId)>,
}

#[derive(Clone, Copy, Debug)]
struct Connection {
    identity: Identity,
    leaves: bool,
}

impl Connections {
    fn of(&self, identity: Identity) -> usize {
        self.counts.get(&identity).copied().unwrap_or(0)
    }

    fn insert(&mut self, peer: PeerId, identity: Identity) {
        self.remove(&peer);
        self.open.insert(peer, Connection { identity, leaves: false });
        *self.counts.entry(identity).or_insert(0) += 1;
    }

    /// Gives whose it was.
    fn remove(&mut self, peer: &PeerId) -> Option<Identity> {
        let Connection { identity, .. } = self.open.remove(peer)?;
        self.open.shrink_when_sparse();
        if let Some(count) = self.counts.get_mut(&identity) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&identity);
            }
        }
        Some(identity)
    }

    /// Those of identities that have gone are to be closed, and those of identities that
    /// are back are not.
    fn rights_changed(&mut self, rights: &Rights, now: Instant) {
        for (peer, connection) in &mut self.open {
            let leaves = !rights.knows(connection.identity);
            if leaves && !connection.leaves {
                self.leaving.push_back((now + LAST_WORDS, peer.clone()));
            }
            connection.leaves = leaves;
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.leaving.front().map(|(at, _)| *at)
    }

    /// Takes out one that is to be closed by now.
    fn pop(&mut self, now: Instant) -> Option<(PeerId, Identity)> {
        while let Some((_, peer)) = self.leaving.pop_front_if(|(at, _)| *at <= now) {
            self.leaving.shrink_when_sparse();
            if self.open.get(&peer).is_some_and(|connection| connection.leaves)
                && let Some(identity) = self.remove(&peer)
            {
                return Some((peer, identity));
            }
        }
        None
    }

    /// Asserts that it counts what there is.
    pub(super) fn check(&self) {
        assert_eq!(self.counts.values().sum::<usize>(), self.open.len(), "connections");
        assert!(self.counts.values().all(|count| *count > 0));
    }
}

impl<B: Payload, O: Outlet<B>> Engine<B, O> {
    /// A connection of whoever is the sender has passed its handshake.
    pub(super) fn connected(&mut self, peer: PeerId) {
        let identity = self.sender;
        if identity == Identity::OPEN {
            return;
        }
        if !self.knows(identity) {
            self.close(peer, identity, Closed::Forbidden);
        } else if self.connections.of(identity) >= self.limits.connections_max {
            self.close(peer, identity, Closed::PerIdentityMax);
        } else {
            self.connections.insert(peer, identity);
        }
    }

    /// A connection has ended. A worker that is registered on it is lost: the next one
    /// that its socket makes is another's, or bears its name and lacks what was under way.
    pub(super) fn disconnected(&mut self, peer: &PeerId) {
        self.connections.remove(peer);
        if let Some(key) = self.worker_key(peer)
            && self.workers[key].identity == self.sender
        {
            self.lose(key, Gone::ConnectionEnded);
        }
    }

    /// Connections of identities that have gone have an end, once they had time to read why.
    pub(super) fn close_forbidden(&mut self) {
        if let Some(rights) = &self.rights {
            self.connections.rights_changed(rights, self.now);
        }
    }

    /// Closes what is to be closed by now.
    pub(super) fn close_leaving(&mut self) {
        while let Some((peer, identity)) = self.connections.pop(self.now) {
            self.close(peer, identity, Closed::Forbidden);
        }
    }

    fn close(&mut self, peer: PeerId, identity: Identity, reason: Closed) {
        *self.counters.closed(reason) += 1;
        if let Some(rights) = &self.rights {
            let who = rights.name(identity);
            self.note(Note::ConnectionClosed { peer: peer.clone(), who, reason });
        }
        self.outlet.act(Action::Close { peer });
    }
}
