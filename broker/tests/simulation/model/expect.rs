//! What must follow from an event.

use std::collections::HashSet;
use std::time::Instant;

use majordomo_broker::engine::{Caller, Dropped, Event, Gone, Payload, Question, RefusedWorker};
use majordomo_protocol::{
    Agreement, ClientAddress, InstanceId, Offer, PeerId, ServiceName, Terms, Version, client,
    worker,
};

use super::answers::Outcome;
use super::follow::Lost;
use super::{Model, Number, Reply, Request, State, Task, Worker, answered};
use crate::Parts;

impl Model {
    pub(crate) fn expect_after_timeout(&mut self, now: Instant, heard_until: Instant) {
        self.advance(now);
        self.heard_until = Some(heard_until);
    }

    pub(crate) fn expect_after(&mut self, event: &Event<Parts>, now: Instant) {
        self.advance(now);
        self.heard_until = None;
        match event {
            Event::FromClient { caller, command } => self.client(caller, command),
            Event::Question { no_reply: true, .. } => self.counters.mmi_requests += 1,
            Event::Question { caller, service, question, .. } => {
                self.counters.mmi_requests += 1;
                let serves = |name: &ServiceName| {
                    let mut workers = self.workers.values();
                    workers.any(|worker| worker.service == *name && worker.is_open())
                };
                let text = match question {
                    Question::Service(Some(name)) if serves(name) => "200",
                    Question::Service(_) => "404",
                    Question::Unknown => "501",
                    Question::Broker => {
                        let report = (caller.clone(), answered(caller, service));
                        self.expected.report = Some(report);
                        return;
                    }
                };
                let outcome = Outcome::Final(Parts::of_texts(&[text]));
                self.expect_answer(caller, service, true, outcome);
            }
            Event::FromWorker { worker, version, command } => {
                self.parted.remove(worker);
                if self.workers.contains_key(worker) {
                    self.registered_worker(worker, *version, command);
                } else {
                    self.stranger(worker, *version, command);
                }
                let left = matches!(command, worker::ToBroker::Disconnect { .. });
                if left && self.expected.gone.is_none() {
                    self.parted.insert(worker.clone());
                }
            }
            Event::Invalid { peer, fault } => {
                *self.counters.invalid(*fault) += 1;
                self.expect_gone(peer, Gone::Invalid);
            }
            Event::WorkerUnreachable { worker, requests } => {
                self.unreachable(worker, requests);
            }
            Event::ClientUnreachable { client, answers, parts } => {
                self.counters.replies_unsent += answers;
                self.expected.unsent = (*answers > 0).then(|| client.clone());
                for (number, request) in &mut self.requests {
                    let lost = request.id.as_ref().is_some_and(|id| parts.contains(id));
                    let is_asked_for = request.caller.peer == *client && request.wanted;
                    if lost && is_asked_for && request.reply == Reply::Sent {
                        request.wanted = request.caller.version >= Version::V1_0;
                        self.expected.dropped.push((*number, Dropped::PartialUnsent));
                    }
                }
            }
            Event::Disconnected { peer } => self.expect_gone(peer, Gone::ConnectionEnded),
            Event::Connected { .. } | Event::Rights(_) | Event::Unauthenticated { .. } => {
                unreachable!("not in histories")
            }
            Event::Stop => self.stop(now + self.settings.shutdown),
            Event::StopNow => {
                self.stop(now);
                self.stop_at = Some(now);
            }
        }
    }

    fn advance(&mut self, now: Instant) {
        self.clock += 1;
        let interval = self.settings.heartbeat_interval;
        self.may_be_late = now - self.now > 2 * interval && !self.workers.is_empty();
        // The engine may have asked for an earlier time than this.
        self.expected.late = self.may_be_late && self.due().is_some_and(|due| now > due + interval);
        self.now = now;
    }

    fn client(&mut self, caller: &Caller<Parts>, command: &client::ToBroker<Parts>) {
        match command {
            client::ToBroker::Request { id, service, terms, body } => {
                let caller = Caller { id: *id, ..caller.clone() };
                self.request(caller, service, terms, body);
            }
            client::ToBroker::Cancel { id } => {
                let mut requests = self.requests.iter();
                let found = requests.find(|(_, request)| request.caller.id == Some(*id));
                if let Some((number, _)) = found {
                    self.expected.dropped.push((*number, Dropped::Cancelled));
                }
            }
            client::ToBroker::Heartbeat => {
                let instance = InstanceId::new(self.settings.instance.to_be_bytes());
                let command = client::FromBroker::Heartbeat { instance };
                self.expected.to_clients.push((caller.clone(), command));
            }
        }
    }

    fn request(
        &mut self,
        caller: Caller<Parts>,
        service: &ServiceName,
        terms: &Terms,
        body: &Parts,
    ) {
        self.counters.requests_received += 1;
        let (number, wanted) = (body.0[0].request, !terms.no_reply);
        if self.requests.contains_key(&number) {
            return self.join(number, caller, wanted);
        }
        let ended = self.ended().find(|(ended, ..)| *ended == number);
        let ended = ended.map(|(.., outcome)| outcome.clone());
        if let Some(outcome) = ended {
            self.counters.answers_repeated += 1;
            return self.expect_answer(&caller, service, wanted, outcome);
        }
        if let Some(outcome) = self.remembered(number) {
            self.counters.answers_repeated += 1;
            return self.expect_answer(&caller, service, wanted, outcome);
        }
        let mut request = Request {
            wanted,
            asked_first: caller.peer.clone(),
            caller,
            service: service.clone(),
            terms: terms.clone(),
            body: body.clone(),
            arrived: self.clock,
            since: self.now,
            attempts: 0,
            losses: 0,
            id: None,
            state: State::Running,
            reply: Reply::None,
        };
        let expires = request.expires(self.now, self.settings.request_expiry);
        request.state = State::Waiting { expires, returned: None };
        match self.no_room_for(&request) {
            Some(reason) => {
                let outcome = Outcome::dropped(reason, false);
                self.expect_answer(&request.caller, service, wanted, outcome);
                self.expected.turned_away = Some((request.caller.peer, reason));
            }
            None => {
                self.requests.insert(number, request);
            }
        }
    }

    fn join(&mut self, number: Number, caller: Caller<Parts>, wanted: bool) {
        self.counters.requests_joined += 1;
        let request = self.requests.get_mut(&number).expect("live");
        let has_parts = request.wanted && request.caller.peer == caller.peer;
        (request.caller, request.wanted) = (caller, wanted);
        if request.reply == Reply::Sent && wanted && !has_parts {
            self.expected.dropped.push((number, Dropped::PartialSent));
        }
    }

    fn no_room_for(&self, request: &Request) -> Option<Dropped> {
        let settings = &self.settings;
        let live = || self.requests.values();
        let clients: HashSet<_> = self.clients().collect();
        let of_client = self.clients().filter(|client| **client == request.caller.peer).count();
        let same = |other: &&Request| other.service == request.service;
        let services = self.services();
        let new_client = !clients.contains(&request.caller.peer);
        let new_service = !services.contains_key(request.service.as_str());
        let held = self.requests.len() + self.ended().count();
        let served =
            services.get(request.service.as_str()).is_some_and(|service| service.workers > 0);
        let idle = services.values().filter(|service| service.workers == 0).count();
        let over = [
            (self.stop_at.is_some(), Dropped::Stopping),
            (held >= settings.requests_max, Dropped::RequestsMax),
            (of_client >= settings.requests_per_client_max, Dropped::RequestsPerClientMax),
            (new_client && clients.len() >= settings.clients_max, Dropped::ClientsMax),
            (self.bytes() + request.bytes() > settings.bytes_max, Dropped::BytesMax),
            (request.terms.fail_fast && !served, Dropped::NoWorker),
            (
                live().filter(same).filter(|other| other.waits()).count()
                    >= settings.requests_per_service_max,
                Dropped::RequestsPerServiceMax,
            ),
            (new_service && services.len() >= settings.services_max, Dropped::ServicesMax),
            (new_service && idle >= settings.services_idle_max, Dropped::ServicesIdleMax),
        ];
        over.into_iter().find(|(over, _)| *over).map(|(_, reason)| reason)
    }

    fn stranger(&mut self, peer: &PeerId, version: Version, command: &worker::ToBroker<Parts>) {
        let reason = match command {
            worker::ToBroker::Disconnect { .. } => return,
            worker::ToBroker::Ready { service, offer } => {
                let services = self.services();
                let new = !services.contains_key(service.as_str());
                let bytes = offer.metadata.as_bytes().len();
                let bytes_max = self.settings.worker_metadata_bytes_max;
                let over = [
                    (self.stop_at.is_some(), RefusedWorker::Stopping),
                    (service.as_str().starts_with("mmi."), RefusedWorker::ReservedService),
                    (offer.capacity == 0 || offer.liveness == 1, RefusedWorker::Offer),
                    (bytes > bytes_max, RefusedWorker::Metadata { bytes, bytes_max }),
                    (self.workers.len() >= self.settings.workers_max, RefusedWorker::WorkersMax),
                    (self.bytes() + bytes > self.settings.bytes_max, RefusedWorker::BytesMax),
                    (
                        new && services.len() >= self.settings.services_max,
                        RefusedWorker::ServicesMax,
                    ),
                ];
                let Some((_, reason)) = over.into_iter().find(|(over, _)| *over) else {
                    return self.register(peer, version, service, offer);
                };
                reason
            }
            worker::ToBroker::Heartbeat | worker::ToBroker::Drain => RefusedWorker::Unregistered,
            worker::ToBroker::Partial { .. }
            | worker::ToBroker::Final { .. }
            | worker::ToBroker::Error { .. } => {
                self.counters.replies_unexpected += 1;
                RefusedWorker::Unregistered
            }
        };
        self.expected.refused = Some((peer.clone(), reason));
        self.expected.disconnect.push((peer.clone(), version));
    }

    fn register(&mut self, peer: &PeerId, version: Version, service: &ServiceName, offer: &Offer) {
        let settings = &self.settings;
        let (min, max) = (settings.heartbeat_interval_min, settings.heartbeat_interval_max);
        let heartbeat = match offer.heartbeat {
            Some(asked) => asked.clamp(min, max),
            None => settings.heartbeat_interval,
        };
        let own = u8::try_from(settings.heartbeat_liveness).expect("a small number");
        let liveness = if offer.liveness == 0 { own } else { offer.liveness };
        let worker = Worker {
            version,
            service: service.clone(),
            capacity: match version {
                Version::V1_0 => offer.capacity.into(),
                _ => *settings.prefetch.of(service),
            },
            draining: false,
            unreachable: None,
            tasks: Vec::new(),
            heartbeat,
            silence_max: heartbeat * u32::from(liveness),
            heard: self.now,
            told: self.now,
            metadata_bytes: offer.metadata.as_bytes().len(),
            used: self.clock,
            answered: 0,
        };
        if version >= Version::V1_0 {
            let instance = InstanceId::new(settings.instance.to_be_bytes());
            let agreement = Agreement { heartbeat, liveness, instance };
            self.expected.welcome = Some((peer.clone(), agreement));
        }
        self.expected.registered = Some(peer.clone());
        self.workers.insert(peer.clone(), worker);
    }

    fn registered_worker(
        &mut self,
        peer: &PeerId,
        version: Version,
        command: &worker::ToBroker<Parts>,
    ) {
        let worker = self.workers.get_mut(peer).expect("registered");
        worker.heard = self.now;
        if worker.version != version {
            return self.expect_gone(peer, Gone::Unexpected);
        }
        let (client, outcome) = match command {
            worker::ToBroker::Heartbeat => return,
            worker::ToBroker::Drain => {
                worker.draining |= worker.unreachable.is_none();
                return self.expect_drained(peer);
            }
            worker::ToBroker::Disconnect { .. } => {
                return self.expect_gone(peer, Gone::Disconnected);
            }
            worker::ToBroker::Ready { .. } => return self.expect_gone(peer, Gone::Unexpected),
            worker::ToBroker::Partial { client, .. } => (client, None),
            worker::ToBroker::Final { client, body } => {
                (client, Some(Outcome::Final(body.clone())))
            }
            worker::ToBroker::Error { client, reason, details } => {
                (client, Some(Outcome::Error(reason.clone(), details.clone())))
            }
        };
        let Some(position) = worker.tasks.iter().position(|task| task.id == *client) else {
            self.counters.replies_unexpected += 1;
            if version < Version::V1_0 {
                self.expect_gone(peer, Gone::Unexpected);
            }
            return;
        };
        match (outcome, command) {
            (None, worker::ToBroker::Partial { body, .. }) => {
                self.counters.replies_partial += 1;
                let task = worker.tasks[position].clone();
                if task.ended.is_none() {
                    self.partial(task.number, body);
                }
            }
            (Some(outcome), _) => {
                self.end_of_reply(peer, position, outcome);
                self.expect_drained(peer);
            }
            _ => unreachable!(),
        }
    }

    fn partial(&mut self, number: Number, body: &Parts) {
        let bytes = self.bytes();
        let request = self.requests.get_mut(&number).expect("running");
        if request.caller.version >= Version::V0_2 {
            request.reply = Reply::Sent;
            let body = body.clone();
            let command = client::FromBroker::Partial { request: request.answered(), body };
            if request.wanted {
                self.expected.to_clients.push((request.caller.clone(), command));
            }
            return;
        }
        let mut kept = match std::mem::replace(&mut request.reply, Reply::Overflowed) {
            Reply::Overflowed => return,
            Reply::Kept(parts) => parts,
            _ => Parts::default(),
        };
        kept.append(body.clone());
        if kept.size() <= self.settings.partial_bytes_max
            && bytes + body.size() <= self.settings.bytes_max
        {
            request.reply = Reply::Kept(kept);
        }
    }

    fn end_of_reply(&mut self, peer: &PeerId, position: usize, outcome: Outcome) {
        let worker = self.workers.get_mut(peer).expect("registered");
        let version = worker.version;
        if worker.is_open() && (!worker.is_free() || version < Version::V1_0) {
            worker.used = self.clock;
        }
        let Task { id, number, ended, .. } = worker.tasks.remove(position);
        worker.answered += 1;
        if self.settings.follow_requests {
            self.expected.answered = Some(id);
        }
        if ended.is_some() {
            self.counters.replies_unwanted += 1;
            return;
        }
        if self.requests[&number].reply == Reply::Overflowed {
            self.expected.dropped.push((number, Dropped::PartialBytesMax));
            return;
        }
        let request = self.requests.remove(&number).expect("running");
        self.counters.requests_answered += 1;
        let (outcome, remembered) = match (request.reply, outcome) {
            (Reply::Kept(mut parts), Outcome::Final(body)) => {
                parts.append(body);
                (Outcome::Final(parts.clone()), Outcome::Final(parts))
            }
            (Reply::Sent, outcome) => (outcome, Model::without_parts()),
            (_, outcome) => (outcome.clone(), outcome),
        };
        self.remember(&request.caller, number, request.wanted, &remembered);
        self.expect_answer(&request.caller, &request.service, request.wanted, outcome);
    }

    fn expect_drained(&mut self, peer: &PeerId) {
        let worker = &self.workers[peer];
        let drains = worker.draining && worker.unreachable.is_none();
        if drains && worker.tasks.is_empty() && self.stop_at.is_none() {
            self.expect_gone(peer, Gone::Drained);
        }
    }

    fn expect_gone(&mut self, peer: &PeerId, reason: Gone) {
        if self.workers.contains_key(peer) {
            self.expected.gone = Some((peer.clone(), reason));
        }
    }

    /// What did not get there is given back at once, and the rest when all is read.
    fn unreachable(&mut self, peer: &PeerId, requests: &[ClientAddress]) {
        let Some(worker) = self.workers.get_mut(peer) else {
            self.parted.insert(peer.clone());
            return;
        };
        worker.unreachable.get_or_insert(self.now);
        let is_unsent = |task: &mut Task| !task.sent || requests.contains(&task.id);
        let unsent = worker.tasks.extract_if(.., is_unsent);
        for task in unsent.collect::<Vec<_>>() {
            self.give_back(&task, Lost::Unsent);
        }
        if self.stop_at.is_some() && self.workers[peer].tasks.is_empty() {
            self.expect_gone(peer, Gone::Unreachable);
        }
    }

    fn stop(&mut self, at: Instant) {
        if self.stop_at.is_some() {
            return;
        }
        self.stop_at = Some(at);
        let waiting = self.requests.iter().filter(|(_, request)| request.waits());
        self.expected.dropped = waiting.map(|(number, _)| (*number, Dropped::Stopping)).collect();
    }
}
