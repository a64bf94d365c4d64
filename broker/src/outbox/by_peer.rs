//! What waits for peers to be sent, one thing for each.

use foldhash::HashMap;
use majordomo_protocol::PeerId;

use crate::engine::shrink::Shrink;

/// Whom something is for: one peer can be both, and is told different things then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Recipient {
    Client,
    Worker,
}

/// Something for a peer.
pub(crate) struct Parcel<T> {
    pub(crate) peer: PeerId,
    pub(crate) recipient: Recipient,
    pub(crate) contents: T,
}

/// What waits, in the order in which each began to wait.
pub(super) struct ByPeer<T> {
    waiting: Vec<Parcel<T>>,
    /// Where a peer's is.
    places: HashMap<(PeerId, Recipient), usize>,
    /// Where the last one for a client was, and the last one for a worker.
    last: [usize; 2],
}

impl<T> Default for ByPeer<T> {
    fn default() -> Self {
        ByPeer { waiting: Vec::new(), places: HashMap::default(), last: [0; 2] }
    }
}

impl<T> ByPeer<T> {
    /// Where what is for this peer stands; it is made now if there is nothing yet.
    #[inline]
    pub(super) fn place(
        &mut self,
        peer: &PeerId,
        recipient: Recipient,
        make: impl FnOnce() -> T,
    ) -> usize {
        let is_it = |at: usize| {
            let parcel = self.waiting.get(at);
            parcel.is_some_and(|parcel| parcel.recipient == recipient && parcel.peer == *peer)
        };
        // Mostly the last one again or, where workers take turns, the one behind it.
        let last = self.last[recipient as usize];
        let at = match last {
            _ if is_it(last) => last,
            _ if is_it(last + 1) => last + 1,
            _ if is_it(0) => 0,
            _ => self.look_up(peer, recipient, make),
        };
        self.last[recipient as usize] = at;
        at
    }

    #[inline(never)]
    fn look_up(&mut self, peer: &PeerId, recipient: Recipient, make: impl FnOnce() -> T) -> usize {
        let ByPeer { waiting, places, .. } = self;
        *places.entry((peer.clone(), recipient)).or_insert_with(|| {
            waiting.push(Parcel { peer: peer.clone(), recipient, contents: make() });
            waiting.len() - 1
        })
    }

    #[inline]
    pub(super) fn at(&mut self, place: usize) -> &mut T {
        &mut self.waiting[place].contents
    }

    /// Takes out what stands at this place. The last one gets its place.
    pub(super) fn take(&mut self, place: usize) -> Parcel<T> {
        let parcel = self.waiting.swap_remove(place);
        self.places.remove(&(parcel.peer.clone(), parcel.recipient));
        if let Some(Parcel { peer, recipient, .. }) = self.waiting.get(place) {
            self.places.insert((peer.clone(), *recipient), place);
        }
        parcel
    }

    /// Drops what is for this peer.
    pub(super) fn forget(&mut self, peer: &PeerId, recipient: Recipient) {
        if let Some(place) = self.places.get(&(peer.clone(), recipient)) {
            self.take(*place);
        }
    }

    /// Takes out all. Memory is given back that this time needed far less of than another: a
    /// time in which nothing waits says nothing of the next.
    pub(super) fn take_all(&mut self) -> Vec<Parcel<T>> {
        if !self.places.is_empty() {
            self.places.shrink_when_sparse();
            self.places.clear();
        }
        std::mem::take(&mut self.waiting)
    }

    /// For how many peers it holds memory.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.places.capacity().max(self.waiting.capacity())
    }
}
