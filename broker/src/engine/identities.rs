//! What the engine keeps of each identity, and what becomes of its peers when rights
//! change: a value of its own for each key or password that has something under way, so
//! the table is no larger than the rights file, but for keys removed whose last requests
//! still run. Nothing here is touched for peers of open endpoints.

use std::sync::Arc;
use std::time::Instant;

use foldhash::HashMap;
use majordomo_protocol::{PeerId, ServiceName};

use super::request::{Answer, Request, RequestState};
use super::rights::{Identity, Limits, Rights};
use super::worker::Worker;
use super::{Act, Dropped, Engine, Gone, Note, Outlet, Payload};

/// What is under way for one identity.
#[derive(Debug, Default)]
struct Account {
    /// Requests that wait or run.
    requests: usize,
    /// Workers registered, and clients that have a request.
    peers: usize,
    /// When all its invalid messages will be forgiven; each puts it off.
    forgiven: Option<Instant>,
    /// It sent too many: nothing it says is heard.
    cut_off: bool,
}

/// All identities that have something under way, or to be forgiven.
#[derive(Debug, Default)]
pub(super) struct Identities {
    accounts: HashMap<Identity, Account>,
}

impl Identities {
    /// Requests of this identity that wait or run.
    #[inline]
    pub(super) fn requests(&self, identity: Identity) -> usize {
        self.account(identity).map_or(0, |account| account.requests)
    }

    /// Workers and clients of this identity.
    #[inline]
    pub(super) fn peers(&self, identity: Identity) -> usize {
        self.account(identity).map_or(0, |account| account.peers)
    }

    #[inline]
    fn account(&self, identity: Identity) -> Option<&Account> {
        if identity == Identity::OPEN { None } else { self.accounts.get(&identity) }
    }

    #[inline]
    pub(super) fn request_came(&mut self, identity: Identity) {
        self.change(identity, |account| account.requests += 1);
    }

    #[inline]
    pub(super) fn request_went(&mut self, identity: Identity) {
        self.change(identity, |account| account.requests = account.requests.saturating_sub(1));
    }

    #[inline]
    pub(super) fn peer_came(&mut self, identity: Identity) {
        self.change(identity, |account| account.peers += 1);
    }

    #[inline]
    pub(super) fn peer_went(&mut self, identity: Identity) {
        self.change(identity, |account| account.peers = account.peers.saturating_sub(1));
    }

    #[inline]
    fn change(&mut self, identity: Identity, change: impl FnOnce(&mut Account)) {
        if identity == Identity::OPEN {
            return;
        }
        let account = self.accounts.entry(identity).or_default();
        change(account);
        if account.requests == 0 && account.peers == 0 && account.forgiven.is_none() {
            self.accounts.remove(&identity);
        }
    }

    /// It sent an invalid message. True when that was one too many: it is cut off.
    fn sinned(&mut self, identity: Identity, now: Instant, limits: &Limits) -> bool {
        let account = self.accounts.entry(identity).or_default();
        let forgiven = account.forgiven.map_or(now, |at| at.max(now)) + limits.invalid_recovery;
        account.forgiven = Some(forgiven);
        let too_many = !account.cut_off
            && forgiven > now + limits.invalid_recovery.saturating_mul(limits.invalid_max);
        account.cut_off |= too_many;
        too_many
    }

    /// Whether it is cut off. It is heard again when half of what it may do is forgiven.
    fn is_cut_off(&mut self, identity: Identity, now: Instant, limits: &Limits) -> bool {
        let Some(account) = self.accounts.get_mut(&identity) else { return false };
        account.cut_off &= account
            .forgiven
            .is_some_and(|at| at > now + limits.invalid_recovery * (limits.invalid_max / 2));
        account.cut_off
    }

    fn forget_forgiven(&mut self, now: Instant) {
        self.accounts.retain(|_, account| {
            account.forgiven = account.forgiven.filter(|at| *at > now);
            account.requests > 0 || account.peers > 0 || account.forgiven.is_some()
        });
    }

    /// Asserts that it counts what there is.
    pub(super) fn check(&self, counted: &HashMap<Identity, (usize, usize)>) {
        for (identity, account) in &self.accounts {
            let found = counted.get(identity).copied().unwrap_or_default();
            assert_eq!((account.requests, account.peers), found, "identity {identity}");
        }
        assert!(counted.keys().all(|identity| self.accounts.contains_key(identity)));
    }
}

impl<B: Payload, O: Outlet<B>> Engine<B, O> {
    /// Whether it has rights, or needs none. Whoever has not may have got them just now.
    pub fn knows(&self, identity: Identity) -> bool {
        self.rights.as_ref().is_none_or(|rights| rights.knows(identity))
    }

    /// Whether what this identity says is not even to be read: it sent too many invalid
    /// messages. Counts a message that is not heard for that.
    pub fn is_deaf_to(&mut self, identity: Identity, now: Instant) -> bool {
        if identity == Identity::OPEN {
            return false;
        }
        let cut_off = self.identities.is_cut_off(identity, now, &self.limits);
        self.counters.messages_cut_off += u64::from(cut_off);
        cut_off
    }

    /// Whoever spoke last may call this service from this connection.
    #[inline]
    pub(super) fn may_call(&mut self, peer: &PeerId, service: &ServiceName) -> Result<(), Dropped> {
        if self.rights.is_some() { self.has_right_to_call(peer, service) } else { Ok(()) }
    }

    fn has_right_to_call(&mut self, peer: &PeerId, service: &ServiceName) -> Result<(), Dropped> {
        let Some(rights) = &self.rights else { return Ok(()) };
        if !rights.may_call(self.sender, service) {
            return Err(Dropped::Forbidden);
        }
        if self.clients.get(peer).is_some_and(|client| client.identity != self.sender) {
            self.displace(peer);
            return Err(Dropped::OtherIdentity);
        }
        Ok(())
    }

    /// The client of this connection has gone, and another has its name now: what comes of
    /// the requests under way is not for this one. Reads all requests, once for each name.
    fn displace(&mut self, peer: &PeerId) {
        if self.displaced.insert(peer.clone()) {
            let theirs = self.requests.values_mut().filter(|request| request.caller.peer == *peer);
            theirs.for_each(|request| request.answer = Answer::Unwanted);
        }
    }

    /// Whether whoever spoke last may serve this service.
    pub(super) fn may_serve(&self, service: &ServiceName) -> bool {
        self.rights.as_ref().is_none_or(|rights| rights.may_serve(self.sender, service))
    }

    /// Whether whoever spoke last may know of this service: it may call it, or asks for
    /// the state of everything.
    pub(super) fn may_know(&self, service: &ServiceName) -> bool {
        self.rights.as_ref().is_none_or(|rights| rights.may_call(self.sender, service))
            || self.may_operate()
    }

    /// Whether whoever spoke last may ask for the state of the broker.
    pub(super) fn may_operate(&self) -> bool {
        self.rights.as_ref().is_none_or(|rights| rights.may_operate(self.sender))
    }

    /// Notes what whoever spoke last may not do.
    pub(super) fn note_forbidden(&mut self, peer: &PeerId, act: Act) {
        let Some(rights) = &self.rights else { return };
        let who = rights.name(self.sender);
        self.note(Note::Forbidden { peer: peer.clone(), who, act });
    }

    /// From now on these rights hold. Workers that may no longer serve are told to go,
    /// requests of clients that may no longer call end, and connections of identities that
    /// are gone.
    pub(super) fn rights_changed(&mut self, rights: Arc<Rights>) {
        self.rights = Some(Arc::clone(&rights));
        self.limits = rights.limits();
        self.identities.forget_forgiven(self.now);
        self.close_forbidden();
        let may_serve = |worker: &Worker| {
            rights.may_serve(worker.identity, &self.services[worker.service].name)
        };
        let workers = self.workers.iter().filter(|(_, worker)| !may_serve(worker));
        let workers: Vec<_> = workers.map(|(key, _)| key).collect();
        for key in workers {
            self.lose(key, Gone::Forbidden);
        }
        let may_call = |request: &Request<B>| {
            rights.may_call(request.identity, &self.services[request.service].name)
        };
        let requests = self.requests.iter().filter(|(_, request)| !may_call(request));
        let requests: Vec<_> = requests.map(|(key, _)| key).collect();
        for key in requests {
            match self.requests[key].state {
                RequestState::Waiting { .. } => {
                    self.take_waiting(key);
                    self.drop_request(key, Dropped::Forbidden);
                }
                _ => self.end_running(key, Dropped::Forbidden),
            }
        }
    }

    /// Whoever spoke last said something invalid. With too much of that it is cut off,
    /// and its workers are.
    pub(super) fn count_invalid(&mut self) {
        if self.sender == Identity::OPEN {
            return;
        }
        if !self.identities.sinned(self.sender, self.now, &self.limits) {
            return;
        }
        self.counters.identities_cut_off += 1;
        if let Some(rights) = &self.rights {
            self.note(Note::CutOff { who: rights.name(self.sender) });
        }
        let workers = self.workers.iter().filter(|(_, worker)| worker.identity == self.sender);
        let workers: Vec<_> = workers.map(|(key, _)| key).collect();
        for key in workers {
            self.lose(key, Gone::Invalid);
        }
    }
}
