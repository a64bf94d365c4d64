//! Workers: what they say, what they are told, which requests they have, and whose turn
//! it was.

use std::time::Duration;

use majordomo_broker::engine::Gone;
use majordomo_protocol::{Body, ClientAddress, PeerId, ServiceName, Version, worker};

use super::{Ask, Ledger};
use crate::must;
use crate::words::Word;

impl Ledger {
    /// All that workers were told so far is sent.
    pub fn sent(&mut self) {
        self.workers.values_mut().for_each(|worker| worker.unsent.clear());
    }

    /// All that this worker was told so far is sent.
    pub fn sent_to(&mut self, peer: &PeerId) {
        if let Some(worker) = self.workers.get_mut(peer) {
            worker.unsent.clear();
        }
    }

    /// A worker never got a task.
    pub(super) fn not_handed_out(&mut self, worker: &PeerId, task: &ClientAddress) {
        if let Some(ask) = self.tasks.get(task).and_then(|key| self.asks.get_mut(key))
            && ask.live.as_ref().is_some_and(|(holder, of)| holder == worker && of == task)
        {
            ask.attempts -= 1;
            ask.unsent = true;
        }
    }

    /// It is given nothing more; what did not get there waits again at once.
    pub(super) fn worker_unreachable(&mut self, peer: &PeerId, requests: &[ClientAddress]) {
        let Some(worker) = self.workers.get_mut(peer) else { return };
        worker.unreachable.get_or_insert(self.now);
        worker.tasks.retain(|task| !requests.contains(task));
        for task in requests {
            self.not_handed_out(peer, task);
            self.given_back(peer, task);
        }
    }

    /// A request has lost its worker.
    fn given_back(&mut self, worker: &PeerId, task: &ClientAddress) {
        if let Some(ask) = self.tasks.get(task).and_then(|key| self.asks.get_mut(key))
            && ask.live.as_ref().is_some_and(|(holder, of)| holder == worker && of == task)
        {
            ask.live = None;
            ask.returned = true;
            ask.waits_since = self.now;
        }
    }

    pub(super) fn worker_said(
        &mut self,
        peer: &PeerId,
        version: Version,
        command: &worker::ToBroker<Body>,
    ) {
        self.parted.remove(peer);
        let now = self.now;
        if let worker::ToBroker::Ready { offer, .. } = command {
            self.offer = Some(offer.clone());
        }
        let known = self.workers.get_mut(peer);
        // In a version that is not its own a worker can say nothing right.
        let right = known.as_ref().is_none_or(|worker| worker.version == version);
        if let worker::ToBroker::Disconnect { .. } = command
            && right
        {
            self.parted.insert(peer.clone());
        }
        let Some(worker) = known else { return };
        worker.heard = now;
        if !right {
            return;
        }
        match command {
            worker::ToBroker::Partial { client, .. } if worker.tasks.contains(client) => {
                self.answering = Some((peer.clone(), client.clone()));
                if let Some(ask) = self.tasks.get(client).and_then(|key| self.asks.get_mut(key)) {
                    ask.has_parts = true;
                }
            }
            worker::ToBroker::Final { client, .. } | worker::ToBroker::Error { client, .. }
                if worker.tasks.contains(client) =>
            {
                self.answering = Some((peer.clone(), client.clone()));
                worker.tasks.retain(|task| task != client);
            }
            worker::ToBroker::Drain => worker.draining = true,
            _ => {}
        }
    }

    pub(super) fn worker_told(&mut self, peer: &PeerId, command: &worker::FromBroker<Body>) {
        self.settle_drop();
        let now = self.now;
        must!(!self.parted.contains(peer), "nothing follows DISCONNECT", "{peer} gets {command:?}");
        if let worker::FromBroker::Disconnect { .. } = command {
            self.parted.insert(peer.clone());
            let known = self.workers.contains_key(peer);
            must!(!known, "DISCONNECT ends a registration", "{peer} is still registered");
            return;
        }
        let worker = self.workers.get_mut(peer);
        let Some(worker) = worker else {
            must!(false, "commands go to workers", "{peer} gets {command:?}");
            return;
        };
        worker.told = now;
        let reachable = worker.unreachable.is_none();
        must!(reachable, "who is unreachable is told nothing", "{peer} gets {command:?}");
        match command {
            worker::FromBroker::Request { client, task, body } => {
                worker.unsent.push(client.clone());
                self.dispatched(peer, client, task.timeout, task.attempt, body);
            }
            worker::FromBroker::Welcome(agreement) => {
                worker.interval = agreement.heartbeat;
                worker.silence = agreement.heartbeat * agreement.liveness.into();
            }
            worker::FromBroker::Cancel { client } => {
                let holds = worker.tasks.contains(client);
                must!(holds, "CANCEL goes to who has the task", "{peer} {client}");
            }
            worker::FromBroker::Heartbeat | worker::FromBroker::Disconnect { .. } => {}
        }
    }

    pub(super) fn dispatched(
        &mut self,
        peer: &PeerId,
        task: &ClientAddress,
        timeout: Option<Duration>,
        attempt: u8,
        body: &Body,
    ) {
        must!(!self.stopping, "stopping hands nothing out", "{peer} gets {task}");
        let Some(noted) = self.dispatch.take() else {
            must!(false, "every dispatch is noted", "{task}");
            return;
        };
        must!(noted.0 == *task && noted.1 == *peer, "every dispatch is noted", "{noted:?} {task}");
        let Some(worker) = self.workers.get_mut(peer) else { return };
        must!(
            worker.is_free(),
            "a worker has at most its capacity",
            "{peer} gets {task}: {worker:?}"
        );
        let (service, before) = (worker.service.clone(), worker.before_next());
        worker.tasks.push(task.clone());
        let same = |other: &&super::Worker| other.service == service && other.is_free();
        let fewest = self.workers.iter().filter(|(of, _)| *of != peer).map(|(_, other)| other);
        let fewest = fewest.filter(same).map(super::Worker::before_next).min();
        must!(
            fewest.is_none_or(|fewest| before <= fewest),
            "who has fewer before it goes first",
            "{peer} with {before} gets {task}, another has {fewest:?}"
        );
        let Some(call) = Word::asked(body) else { return };
        let now = self.now;
        let known = self.tasks.get(task).cloned();
        let by_call = || {
            let mut asks = self.asks.iter();
            let fits = |ask: &Ask| ask.call == call && ask.live.is_none() && ask.caller == noted.3;
            asks.find(|(_, ask)| fits(ask)).map(|(key, _)| key.clone())
        };
        let Some(key) = known.or_else(by_call).filter(|key| self.asks.contains_key(key)) else {
            if self.odd.contains(&noted.3) {
                return;
            }
            let once = self.tasks.contains_key(task);
            must!(!once, "nothing is answered and then dispatched", "c{call} as {task}");
            must!(false, "dispatches only what was asked", "c{call} as {task}");
            return;
        };
        let waits = |ask: &Ask| ask.live.is_none() && !ask.returned;
        let arriving = self.arriving.as_ref() == Some(&key);
        let Some(ask) = self.asks.get_mut(&key) else { return };
        must!(ask.call == call, "a task id is one request's", "{task} is c{}, c{call}", ask.call);
        must!(ask.live.is_none(), "a request has one worker", "c{call}: {:?}, {peer}", ask.live);
        must!(!(ask.once && ask.attempts > 0), "once is dispatched once", "c{call}");
        must!(!(ask.parts_sent && ask.wanted), "no second run after a part", "c{call}");
        must!(ask.taken.is_none(), "an id is with one worker", "c{call} as {task}");
        must!(
            !(ask.again && self.remembers),
            "nothing is answered and then dispatched",
            "c{call} as {task}"
        );
        if ask.loose {
            // It may have come before, with other terms.
            (ask.attempts, ask.end_by) = (noted.2 - 1, timeout.map(|timeout| now + timeout));
            (ask.losses, ask.losses_unseen) = (0, ask.attempts);
        }
        ask.attempts += 1;
        let attempts = (ask.attempts, noted.2, u32::from(attempt));
        must!(
            attempts.0 == noted.2 && attempts.1 == attempts.2,
            "attempts count",
            "c{call} {attempts:?}"
        );
        must!(
            ask.losses < self.settings.attempts_max,
            "attempts_max holds",
            "c{call} {attempts:?}, {} losses",
            ask.losses
        );
        let passed = ask.start_by.filter(|_| ask.attempts == 1).into_iter().chain(ask.end_by);
        let late = passed.min().is_some_and(|limit| limit <= now);
        must!(!late || ask.loose, "nothing starts after its deadline", "c{call}");
        let left = ask.end_by.map(|end| end - now);
        must!(
            timeout == left || ask.loose,
            "a worker learns what time is left",
            "c{call} {timeout:?} {left:?}"
        );
        let (service, turn, arrived, in_turn) = (
            ask.service.clone(),
            ask.turn.clone(),
            // One that may have come before may have come first.
            if ask.loose { 0 } else { ask.arrived },
            waits(ask) && !arriving,
        );
        ask.live = Some((peer.clone(), task.clone()));
        (ask.returned, ask.loose) = (false, false);
        (ask.unsent, ask.has_parts) = (false, false);
        self.tasks.insert(task.clone(), key.clone());
        if in_turn {
            self.take_turn(&service, &turn, arrived);
        }
    }

    /// A waiting request of `turn` was handed out.
    pub(super) fn take_turn(&mut self, service: &ServiceName, turn: &PeerId, arrived: u64) {
        for ask in self.asks.values_mut() {
            // Only strangers have an identity of their own; what they ask again, and with
            // other terms, has no order that can be told from here.
            let named = ask.turn.as_bytes().len() != 5;
            let unknown = ask.loose || named || self.odd.contains(&ask.turn);
            if ask.live.is_some() || unknown || ask.service != *service {
                continue;
            }
            let call = ask.call;
            must!(!ask.returned, "what was returned is before all turns", "c{call} is passed over");
            if ask.turn == *turn {
                must!(ask.arrived > arrived, "within a client, first come first served", "c{call}");
                // Its client had a turn: counting begins anew.
                ask.overtaken.clear();
            } else {
                let turns = ask.overtaken.entry(turn.clone()).or_insert(0);
                *turns += 1;
                must!(*turns <= 1, "clients take turns", "c{call} is overtaken twice by {turn}");
            }
        }
    }

    pub(super) fn worker_gone(&mut self, peer: &PeerId, reason: Gone, requests: usize) {
        let Some(worker) = self.workers.remove(peer) else {
            must!(false, "only who is registered goes", "{peer} {reason:?}");
            return;
        };
        let (held, now) = (worker.tasks.len(), self.now);
        must!(held == requests, "a lost worker gives back all it had", "{held}, noted {requests}");
        if reason == Gone::Silent {
            let since = self.resumed.map_or(worker.heard, |resumed| resumed.max(worker.heard));
            let silent = since + worker.silence <= now;
            must!(silent, "who is heard is not silent", "{peer} was heard {:?} ago", now - since);
        }
        if reason == Gone::ConnectionEnded {
            let ended = self.ended.as_ref() == Some(peer);
            must!(ended, "whose connection is there stays", "{peer}");
        }
        if reason == Gone::Unreachable {
            must!(worker.unreachable.is_some(), "who is reachable stays", "{peer}");
        }
        for task in &worker.unsent {
            self.not_handed_out(peer, task);
        }
        for (position, task) in worker.tasks.iter().enumerate() {
            if let Some(ask) = self.tasks.get(task).and_then(|key| self.asks.get_mut(key))
                && ask.live.as_ref().is_some_and(|(_, live)| live == task)
            {
                // One that only waited in the socket of an old worker costs no attempt.
                let had_begun = worker.version >= Version::V1_0 || position == 0 || ask.has_parts;
                ask.losses += u32::from(had_begun && !ask.unsent);
            }
            self.given_back(peer, task);
        }
    }
}
