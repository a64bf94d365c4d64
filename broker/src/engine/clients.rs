//! Clients that have requests under way, by connection. Often there is one that asks all
//! the time, or they come one after the other: so the one that came last stands beside the
//! table of all others, and is not looked up.

use foldhash::HashMap;
use majordomo_protocol::PeerId;

use super::rights::Identity;
use super::shrink::Shrink;

/// A client that has requests, waiting, running or abandoned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    /// How many; never 0.
    pub(super) requests: usize,
    /// Whose connection it is.
    pub(super) identity: Identity,
}

/// All clients that have a request.
#[derive(Debug, Default)]
pub(super) struct Clients {
    /// The one that came last, as long as it has a request.
    last: Option<(PeerId, Client)>,
    others: HashMap<PeerId, Client>,
}

impl Clients {
    pub(super) fn len(&self) -> usize {
        self.others.len() + usize::from(self.last.is_some())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&PeerId, &Client)> {
        let last = self.last.iter().map(|(peer, client)| (peer, client));
        last.chain(&self.others)
    }

    #[inline]
    pub(super) fn get(&self, peer: &PeerId) -> Option<&Client> {
        match &self.last {
            Some((last, client)) if last == peer => Some(client),
            _ => self.others.get(peer),
        }
    }

    /// One more request of this client. Whether it is the first one.
    #[inline]
    pub(super) fn request_came(&mut self, peer: &PeerId, identity: Identity) -> bool {
        if let Some((last, client)) = &mut self.last
            && last == peer
        {
            client.requests += 1;
            return false;
        }
        if let Some(client) = self.others.get_mut(peer) {
            client.requests += 1;
            return false;
        }
        let client = Client { requests: 1, identity };
        if let Some((peer, client)) = self.last.replace((peer.clone(), client)) {
            self.others.insert(peer, client);
        }
        true
    }

    /// One request less. Gives the client if it was the last one.
    #[inline]
    pub(super) fn request_went(&mut self, peer: &PeerId) -> Option<Client> {
        if let Some((last, client)) = &mut self.last
            && last == peer
        {
            client.requests -= 1;
            let is_over = client.requests == 0;
            return if is_over { self.last.take().map(|(_, client)| client) } else { None };
        }
        let client = self.others.get_mut(peer)?;
        client.requests -= 1;
        if client.requests > 0 {
            return None;
        }
        let client = self.others.remove(peer);
        self.others.shrink_when_sparse();
        client
    }

    /// For how many clients it holds memory.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.others.capacity()
    }
}
