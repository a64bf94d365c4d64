//! The connections that the engine was told of, and what follows from their ends.
//!
//! A worker is lost by the end of its connection at once, and for that reason by nothing
//! else; nothing more is told to it, until a worker speaks by its name again. The engine
//! closes a connection that its key has no place for, before anything else happens, and no
//! other.

use std::collections::HashSet;

use majordomo_broker::engine::{Event, Gone, Identity};
use majordomo_protocol::PeerId;

/// How many connections the key may have; more peers than that have it.
pub(crate) const PER_KEY_MAX: usize = 2;

/// Whose connections those of a peer are. Half of the peers have a key, the same; the
/// others are on an open endpoint.
pub(crate) fn identity(peer: &PeerId) -> Identity {
    let has_key = peer.as_bytes().first().is_some_and(|number| *number >= 3);
    if has_key { Identity::new(1) } else { Identity::OPEN }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: HashSet<PeerId>,
    /// One that has begun and is to be closed.
    surplus: Option<PeerId>,
    /// One whose end is being handled.
    ending: Option<PeerId>,
    /// Those that have ended, and by whose name no worker has spoken since.
    ended: HashSet<PeerId>,
}

impl Connections {
    pub(crate) fn is_open(&self, peer: &PeerId) -> bool {
        self.open.contains(peer)
    }

    /// Takes in what the engine is about to be told.
    pub(crate) fn hear<B>(&mut self, event: &Event<B>) {
        match event {
            Event::Connected { peer } => {
                let theirs =
                    self.open.iter().filter(|open| identity(open) == identity(peer)).count();
                if identity(peer) != Identity::OPEN && theirs == PER_KEY_MAX {
                    self.surplus = Some(peer.clone());
                }
                self.open.insert(peer.clone());
            }
            Event::Disconnected { peer } => {
                self.open.remove(peer);
                self.ending = Some(peer.clone());
                self.ended.insert(peer.clone());
            }
            Event::FromWorker { worker, .. } => {
                self.ended.remove(worker);
            }
            _ => {}
        }
    }

    pub(crate) fn close(&mut self, peer: &PeerId) {
        assert_eq!(self.surplus.take().as_ref(), Some(peer), "closed without a reason");
        self.open.remove(peer);
    }

    /// A worker is lost.
    pub(crate) fn check_gone(&self, worker: &PeerId, reason: Gone) {
        let has_ended = self.ending.as_ref() == Some(worker);
        assert_eq!(reason == Gone::ConnectionEnded, has_ended, "{worker} is gone: {reason:?}");
    }

    /// Something is to be sent to a worker.
    pub(crate) fn check_told(&self, worker: &PeerId) {
        assert!(!self.ended.contains(worker), "{worker} is told something after its end");
    }

    /// All that the engine wanted done is done.
    pub(crate) fn end_event(&mut self, is_registered: impl Fn(&PeerId) -> bool) {
        assert_eq!(self.surplus, None, "more connections than a key may have");
        self.ending = None;
        for worker in &self.ended {
            assert!(!is_registered(worker), "{worker} outlives its connection");
        }
    }
}
