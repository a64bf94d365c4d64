//! Requests, from the side of clients: what they ask, what they are told, and how
//! requests end of which nobody is told.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use majordomo_broker::engine::{Caller, Dropped, Engine};
use majordomo_protocol::{
    Answered, Body, ClientAddress, PeerId, RequestId, ServiceName, Terms, client, code,
};

use super::{Ask, Drop, Key, Ledger};
use crate::must;
use crate::words::Word;

impl Ledger {
    pub(super) fn asked(
        &mut self,
        caller: &Caller<Body>,
        service: &ServiceName,
        terms: &Terms,
        body: &Body,
    ) {
        let Some(call) = Word::asked(body) else {
            return self.lose_track_of(&caller.peer);
        };
        let key = match caller.id {
            Some(id) => Key::Id(id),
            None => Key::Plain(caller.peer.clone(), call),
        };
        if caller.id.is_none() {
            // An answer to an old client tells its service alone: of one that asks for
            // more than one thing at a time nobody can tell what it is answered.
            let peer = &caller.peer;
            if self.asks.keys().any(|key| matches!(key, Key::Plain(of, _) if of == peer)) {
                self.lose_track_of(peer);
            }
            if self.odd.contains(peer) {
                return;
            }
        }
        self.arriving = Some(key.clone());
        let loose = self.asks.get(&key).is_some_and(|ask| ask.loose);
        if loose {
            self.asks.remove(&key);
        }
        if let Some(ask) = self.asks.get_mut(&key) {
            // It joins, and the answer goes to who asks last.
            if ask.caller != caller.peer {
                ask.parts_sent = false;
            }
            (ask.caller, ask.wanted) = (caller.peer.clone(), !terms.no_reply);
            return;
        }
        self.arrivals += 1;
        let again = matches!(&key, Key::Id(id) if self.ran.contains_key(id));
        let taken = self.taken(&key);
        let after = |time: Option<Duration>| time.map(|time| self.now + time);
        let ask = Ask {
            caller: caller.peer.clone(),
            turn: caller.peer.clone(),
            call,
            wanted: !terms.no_reply,
            // Of one that may be there already, the first terms hold.
            once: terms.once && !loose,
            service: service.clone(),
            arrived: self.arrivals,
            waits_since: self.now,
            start_by: after(terms.start_within),
            end_by: after(terms.timeout),
            attempts: 0,
            losses: 0,
            losses_unseen: 0,
            unsent: false,
            has_parts: false,
            live: None,
            returned: false,
            parts_sent: false,
            again,
            taken,
            loose,
            overtaken: BTreeMap::new(),
        };
        self.asks.insert(key, ask);
    }

    /// A stranger asks what nobody can tell apart.
    pub(super) fn lose_track_of(&mut self, peer: &PeerId) {
        self.odd.insert(peer.clone());
        self.asks.retain(|key, _| !matches!(key, Key::Plain(of, _) if of == peer));
    }

    /// Parts of replies did not get to a client: it is told no more of these, in old
    /// versions nothing at all.
    pub(super) fn parts_lost(&mut self, client: &PeerId, parts: &[ClientAddress]) {
        for task in parts {
            let Some(key @ Key::Plain(..)) = self.tasks.get(task) else { continue };
            let Some(ask) = self.asks.get_mut(key) else { continue };
            let runs = ask.live.as_ref().is_some_and(|(_, of)| of == task);
            if runs && ask.parts_sent && ask.caller == *client {
                ask.wanted = false;
            }
        }
    }

    /// How a request ended that a worker still has.
    pub(super) fn taken(&self, key: &Key) -> Option<Option<u16>> {
        let Key::Id(id) = key else { return None };
        let mut tasks = self.workers.values().flat_map(|worker| &worker.tasks);
        let is_held = tasks.any(|task| self.tasks.get(task) == Some(key));
        self.ran.get(id).copied().filter(|_| is_held)
    }

    pub(super) fn client_told(
        &mut self,
        caller: &Caller<Body>,
        command: &client::FromBroker<Body>,
    ) {
        let (answered, body, is_last, code) = match command {
            client::FromBroker::Heartbeat { .. } => return,
            client::FromBroker::Partial { request, body } => (request.clone(), body, false, None),
            client::FromBroker::Final { request, body } => (request.clone(), body, true, None),
            client::FromBroker::Error { id, reason, details } => {
                self.error(*id, reason.code);
                (Answered::Id(*id), details, true, Some(reason.code))
            }
        };
        let word = body.frames().first().and_then(|frame| Word::read(frame));
        let key = match (&answered, word) {
            (Answered::Id(id), _) => Some(Key::Id(*id)),
            (Answered::Service(_), Some(Word::Reply { call, .. })) => {
                Some(Key::Plain(caller.peer.clone(), call))
            }
            (Answered::Service(_), _) if self.odd.contains(&caller.peer) => None,
            (Answered::Service(service), _) => self.plain(&caller.peer, service),
        };
        let Some(key) = key.filter(|key| self.asks.contains_key(key)) else {
            let asked = self.questions > 0 || self.odd.contains(&caller.peer);
            must!(asked, "answers only what was asked", "{caller:?} {command:?}");
            self.questions = self.questions.saturating_sub(1);
            return;
        };
        let Some(ask) = self.asks.get_mut(&key) else { return };
        let told = self.drop.as_ref();
        if is_last && told.is_some_and(|of| of.client == ask.caller && of.service == ask.service) {
            self.drop = None;
        }
        must!(ask.wanted, "answers only who wants it", "c{} {command:?}", ask.call);
        must!(ask.caller == caller.peer, "answers who asked last", "c{} {command:?}", ask.call);
        if let Some(Word::Reply { call, .. }) = word {
            must!(call == ask.call, "a reply goes to who asked", "c{} gets c{call}", ask.call);
        }
        let of_worker = match command {
            client::FromBroker::Error { reason, .. } => !code::BROKERS_OWN.contains(&reason.code),
            _ => matches!(word, Some(Word::Reply { .. })),
        };
        if of_worker {
            // It comes from whoever has the task; or it came before, and is repeated.
            let answers = ask.live.is_some() && self.answering == ask.live;
            let repeated = ask.again && self.arriving.as_ref() == Some(&key);
            must!(
                answers || repeated,
                "answers only what its worker answers",
                "c{} {command:?}",
                ask.call
            );
        }
        if let Some(ended) = ask.taken {
            let same = is_last && code.is_some() && (ended.is_none() || ended == code);
            must!(same, "what still runs ends in the same way again", "{ended:?} {command:?}");
        }
        must!(word != Some(Word::Forged), "answers only what its worker answers", "{command:?}");
        if is_last {
            self.ended(&key, code);
        } else {
            ask.parts_sent = true;
        }
    }

    /// A request ends.
    pub(super) fn ended(&mut self, key: &Key, code: Option<u16>) {
        let Some(ask) = self.asks.remove(key) else { return };
        if let Key::Id(id) = key
            && ask.attempts > 0
        {
            self.ran.insert(*id, code);
        }
    }

    /// The request of an old client that its service tells.
    pub(super) fn plain(&self, peer: &PeerId, service: &ServiceName) -> Option<Key> {
        let mut asks = self.asks.iter();
        let of = |key: &Key| matches!(key, Key::Plain(of, _) if of == peer);
        asks.find(|(key, ask)| of(key) && ask.service == *service).map(|(key, _)| key.clone())
    }

    /// What the codes say is true.
    pub(super) fn error(&self, id: RequestId, code: u16) {
        let Some(ask) = self.asks.get(&Key::Id(id)) else { return };
        if ask.again || ask.loose {
            return;
        }
        let now = self.now;
        let passed = |limit: Option<Instant>| limit.is_some_and(|limit| limit <= now);
        let did_not_run = [code::NO_WORKER, code::NOT_STARTED, code::BUSY, code::STOPPING];
        let lied = did_not_run.contains(&code) && ask.attempts > 0;
        must!(!lied, "no code says of what ran that it did not", "c{} {code}", ask.call);
        let expired = ask.waits_since + self.settings.request_expiry <= now;
        let unserved = || {
            let mut workers = self.workers.values();
            !workers.any(|worker| worker.service == ask.service && worker.is_open())
        };
        let right = match code {
            code::NO_WORKER => expired || unserved(),
            code::NOT_STARTED => passed(ask.start_by) || passed(ask.end_by),
            code::TIMED_OUT => passed(ask.end_by),
            code::STOPPING => self.stopping,
            _ => true,
        };
        must!(right, "deadlines hold to the tick", "c{} is answered {code} too early", ask.call);
    }

    /// A request ended for the reason given. Whoever can be told is told next; the others
    /// are known by what else there is.
    pub(super) fn dropped(&mut self, drop: &Drop) {
        let named = drop.task.as_ref().and_then(|task| self.tasks.get(task)).cloned();
        if drop.task.is_none() && self.arriving.is_none() {
            // A stranger's, that cannot be read.
            return;
        }
        let new = || self.arriving.clone().filter(|_| drop.task.is_none());
        let cancelled = || self.cancelling.take().filter(|_| drop.reason == Dropped::Cancelled);
        if let Some(key) = named.or_else(new).or_else(cancelled) {
            if self.asks.get(&key).is_some_and(|ask| self.is_mute(&key, ask)) {
                self.ended(&key, None);
            }
            return;
        }
        let asks = self.asks.iter().filter(|(key, ask)| {
            let fits = ask.caller == drop.client && ask.service == drop.service;
            fits && ask.live.is_none() && self.is_mute(key, ask)
        });
        let keys: Vec<_> = asks.map(|(key, _)| key.clone()).collect();
        match &keys[..] {
            [key] if !self.odd.contains(&drop.client) => self.ended(key, None),
            // It is one of these, and from now on nothing is expected of any.
            keys => keys.iter().for_each(|key| {
                if let Some(ask) = self.asks.get_mut(key) {
                    ask.loose = true;
                }
            }),
        }
    }

    /// Whether nobody is told how this request ends.
    pub(super) fn is_mute(&self, key: &Key, ask: &Ask) -> bool {
        !ask.wanted || (matches!(key, Key::Plain(..)) && !self.settings.error_replies)
    }

    pub(super) fn settle_drop(&mut self) {
        if let Some(drop) = self.drop.take() {
            self.dropped(&drop);
        }
    }

    /// What is given up for the workers it lost has lost so many.
    pub(super) fn check_attempts(&self, reason: Dropped, task: Option<&ClientAddress>) {
        if reason == Dropped::AttemptsMax
            && let Some(ask) =
                task.and_then(|task| self.tasks.get(task)).and_then(|key| self.asks.get(key))
        {
            let (losses, max) = (ask.losses, self.settings.attempts_max);
            let reached = losses + ask.losses_unseen >= max || ask.loose;
            must!(reached, "attempts_max is reached", "c{}: {losses} of {max}", ask.call);
        }
    }

    /// A limit turns away only who would exceed it.
    pub(super) fn check_limit(
        &self,
        reason: Dropped,
        service: &ServiceName,
        engine: &Engine<Body>,
    ) {
        let report = engine.report();
        let of = |service: &ServiceName| {
            report.services.iter().find(|known| known.name == service.as_str())
        };
        let (found, max) = match reason {
            Dropped::RequestsMax => {
                let requests = report.services.iter().map(|of| of.waiting + of.running);
                (requests.sum::<u64>(), self.settings.requests_max)
            }
            Dropped::RequestsPerServiceMax => {
                (of(service).map_or(0, |of| of.waiting), self.settings.requests_per_service_max)
            }
            Dropped::ServicesMax => (report.services.len() as u64, self.settings.services_max),
            Dropped::ClientsMax => (report.clients, self.settings.clients_max),
            _ => return,
        };
        must!(
            found >= max as u64,
            "a limit turns away only above it",
            "{reason:?}: {found} of {max}"
        );
    }
}
