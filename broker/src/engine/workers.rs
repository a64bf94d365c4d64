//! The way of a worker through the engine: register, answer, beat, go.

use std::time::Instant;

use majordomo_protocol::{
    Agreement, ClientAddress, InstanceId, Offer, PeerId, Reason, ServiceName, Version, client,
    code, worker,
};

use super::answers::Outcome;
use super::deadline::{DeadlineKey, Due};
use super::list::Links;
use super::request::{Parts, Reply, RequestKey, RequestState, UNSENT};
use super::shutdown::Shutdown;
use super::tasks::Tasks;
use super::worker::{Attention, Intake, JUST_AFTER, Registration, Worker, WorkerKey};
use super::{
    Act, Action, Dropped, Engine, Fault, Gone, Note, Outlet, PREFETCH_MAX, Payload, RefusedWorker,
};

impl<B: Payload, O: Outlet<B>> Engine<B, O> {
    #[inline]
    pub(super) fn worker_command(
        &mut self,
        peer: &PeerId,
        version: Version,
        command: worker::ToBroker<B>,
    ) {
        let Some(key) = self.speaker(peer) else {
            return self.stranger_command(peer, version, command);
        };
        if self.workers[key].identity != self.sender {
            // The worker has gone, and its connection's name is another's now.
            self.counters.peers_displaced += 1;
            self.note_forbidden(peer, Act::Displace);
            self.lose(key, Gone::Unreachable);
            return self.stranger_command(peer, version, command);
        }
        if matches!(command, worker::ToBroker::Ready { .. }) && !self.workers[key].is_reachable() {
            // A new connection of that name: all that came on the old one has been read.
            self.lose(key, Gone::Unreachable);
            return self.stranger_command(peer, version, command);
        }
        let worker = &mut self.workers[key];
        worker.heard_at = self.now;
        if worker.version != version {
            return self.lose(key, Gone::Unexpected);
        }
        match command {
            worker::ToBroker::Ready { .. } => self.lose(key, Gone::Unexpected),
            worker::ToBroker::Partial { client, body } => self.partial(key, &client, body),
            worker::ToBroker::Final { client, body } => {
                self.end_of_reply(key, &client, Outcome::Final(body));
            }
            worker::ToBroker::Error { client, mut reason, details } => {
                // Its client must not take it for the broker's word.
                if code::BROKERS_OWN.contains(&reason.code) {
                    reason.code = code::FAILED;
                }
                let details = Some(details);
                self.end_of_reply(key, &client, Outcome::failure(reason, details));
            }
            worker::ToBroker::Heartbeat => {}
            worker::ToBroker::Drain => self.drain(key),
            worker::ToBroker::Disconnect { .. } => self.lose(key, Gone::Disconnected),
        }
    }

    /// The worker that speaks on this connection.
    #[inline]
    fn speaker(&mut self, peer: &PeerId) -> Option<WorkerKey> {
        if self.workers.get(self.last_worker).is_none_or(|worker| worker.peer != *peer) {
            self.last_worker = self.worker_key(peer)?;
        }
        Some(self.last_worker)
    }

    /// Whoever is not registered may register; anything else leaves no trace here.
    fn stranger_command(&mut self, peer: &PeerId, version: Version, command: worker::ToBroker<B>) {
        match command {
            worker::ToBroker::Ready { service, offer } => {
                if let Err(reason) = self.register(peer, version, service, offer) {
                    self.refuse(peer, version, reason);
                }
            }
            worker::ToBroker::Partial { .. }
            | worker::ToBroker::Final { .. }
            | worker::ToBroker::Error { .. } => {
                self.counters.replies_unexpected += 1;
                self.refuse(peer, version, RefusedWorker::Unregistered);
            }
            worker::ToBroker::Heartbeat | worker::ToBroker::Drain => {
                self.refuse(peer, version, RefusedWorker::Unregistered);
            }
            worker::ToBroker::Disconnect { .. } => {}
        }
    }

    fn register(
        &mut self,
        peer: &PeerId,
        version: Version,
        service: ServiceName,
        offer: Offer,
    ) -> Result<(), RefusedWorker> {
        if self.shutdown != Shutdown::No {
            return Err(RefusedWorker::Stopping);
        }
        if service.is_reserved() {
            return Err(RefusedWorker::ReservedService);
        }
        if !self.may_serve(&service) {
            self.note_forbidden(peer, Act::Serve(service));
            return Err(RefusedWorker::Forbidden);
        }
        if offer.capacity == 0 || offer.liveness == 1 {
            return Err(RefusedWorker::Offer);
        }
        let bytes = offer.metadata.as_bytes().len();
        let bytes_max = self.settings.worker_metadata_bytes_max;
        if bytes > bytes_max {
            return Err(RefusedWorker::Metadata { bytes, bytes_max });
        }
        if self.workers.len() >= self.settings.workers_max {
            return Err(RefusedWorker::WorkersMax);
        }
        if self.identities.peers(self.sender) >= self.limits.peers_max {
            return Err(RefusedWorker::PeersPerIdentityMax);
        }
        if self.bytes.saturating_add(bytes) > self.settings.bytes_max {
            return Err(RefusedWorker::BytesMax);
        }
        let service_key = match self.services.key(&service) {
            Some(key) => key,
            None if self.services.len() >= self.settings.services_max => {
                return Err(RefusedWorker::ServicesMax);
            }
            None => self.services.insert(service.clone()),
        };
        let agreement = self.agree(&offer);
        let due = self.now + agreement.heartbeat;
        let capacity = if version >= Version::V1_0 {
            offer.capacity.into()
        } else {
            (*self.settings.prefetch.of(&service)).clamp(1, PREFETCH_MAX)
        };
        let key = self.workers.insert(Worker {
            peer: peer.clone(),
            identity: self.sender,
            version,
            service: service_key,
            capacity,
            tasks: Tasks::default(),
            intake: Intake::Open,
            registration: Box::new(Registration {
                at: self.now,
                heartbeat_interval: agreement.heartbeat,
                silence_max: agreement.heartbeat * agreement.liveness.into(),
                metadata: offer.metadata,
            }),
            heard_at: self.now,
            told_at: self.now,
            sent: 0,
            deadline: DeadlineKey::default(),
            answered: 0,
            links: Links::default(),
        });
        self.bytes += bytes;
        self.worker_keys.insert(key, &self.workers);
        self.identities.peer_came(self.sender);
        self.workers[key].deadline = self.deadlines.insert(due, Due::Worker(key));
        self.services.worker_came(service_key);
        self.services[service_key].free.enter(&mut self.workers, key, 0);
        self.counters.workers_registered += 1;
        self.note(Note::WorkerRegistered { worker: peer.clone(), version, service });
        if version >= Version::V1_0 {
            let command = worker::FromBroker::Welcome(agreement);
            self.outlet.act(Action::ToWorker { worker: peer.clone(), version, command });
        }
        self.pair(service_key);
        Ok(())
    }

    /// What holds between the broker and a worker: what it asks for, within limits; or
    /// the broker's own.
    fn agree(&self, offer: &Offer) -> Agreement {
        let settings = &self.settings;
        let own = settings.heartbeat_interval;
        let heartbeat = offer.heartbeat.map_or(own, |asked| {
            asked.max(settings.heartbeat_interval_min).min(settings.heartbeat_interval_max)
        });
        let liveness = match offer.liveness {
            0 => u8::try_from(settings.heartbeat_liveness).unwrap_or(u8::MAX),
            asked => asked,
        };
        Agreement { heartbeat, liveness, instance: self.instance() }
    }

    /// Which broker this is, for its peers.
    pub(super) fn instance(&self) -> InstanceId {
        InstanceId::new(self.settings.instance.to_be_bytes())
    }

    fn refuse(&mut self, worker: &PeerId, version: Version, reason: RefusedWorker) {
        *self.counters.refused(reason) += 1;
        self.note(Note::WorkerRefused { worker: worker.clone(), reason });
        let reason = Reason { code: reason.code(), text: reason.text() };
        let command = worker::FromBroker::Disconnect { reason };
        self.outlet.act(Action::ToWorker { worker: worker.clone(), version, command });
    }

    /// A worker answered what it does not have. In MDP/1.0 that may be a task that was
    /// cancelled when its answer was on its way.
    fn unexpected_reply(&mut self, worker: WorkerKey) {
        self.counters.replies_unexpected += 1;
        if self.workers[worker].version < Version::V1_0 {
            self.lose(worker, Gone::Unexpected);
        }
    }

    fn partial(&mut self, worker: WorkerKey, client: &ClientAddress, mut body: B) {
        let Some(key) = self.held(worker, client) else {
            return self.unexpected_reply(worker);
        };
        self.counters.replies_partial += 1;
        let request = &mut self.requests[key];
        if let RequestState::Abandoned { .. } = request.state {
            return;
        }
        if request.caller.version >= Version::V0_2 {
            request.reply = Reply::Sent;
            if request.answer == super::request::Answer::Unwanted {
                return;
            }
            let answered = request.caller.answered(&self.services[request.service].name);
            let command = client::FromBroker::Partial { request: answered, body };
            return self.outlet.tell(&request.caller, command, Some(client));
        }
        let size = body.size();
        let kept = match request.reply {
            Reply::Kept(ref kept) => kept.bytes,
            _ => 0,
        };
        let fits = kept.saturating_add(size) <= self.settings.partial_bytes_max
            && self.bytes.saturating_add(size) <= self.settings.bytes_max;
        if fits {
            body.detach();
        }
        match &mut request.reply {
            Reply::Overflowed => return,
            Reply::Kept(kept) if fits => {
                kept.body.append(body);
                kept.bytes += size;
            }
            reply if fits => *reply = Reply::Kept(Box::new(Parts { body, bytes: size })),
            reply => {
                *reply = Reply::Overflowed;
                request.bytes -= kept;
                self.bytes -= kept;
                return;
            }
        }
        request.bytes += size;
        self.bytes += size;
    }

    /// FINAL or ERROR: the worker has a place again, the request ends.
    fn end_of_reply(&mut self, worker_key: WorkerKey, client: &ClientAddress, outcome: Outcome<B>) {
        let Some(key) = self.held(worker_key, client) else {
            return self.unexpected_reply(worker_key);
        };
        let worker = &mut self.workers[worker_key];
        let before = worker.before_next();
        worker.tasks.remove(self.requests[key].place, &mut self.requests);
        worker.answered += 1;
        let after = worker.before_next();
        let service_key = worker.service;
        if self.settings.follow_requests {
            let note =
                Note::RequestAnswered { request: client.clone(), worker: worker.peer.clone() };
            self.outlet.act(Action::Note(note));
        }
        let service = &mut self.services[service_key];
        service.running -= 1;
        if before != after {
            if let Some(before) = before {
                service.free.leave(&mut self.workers, worker_key, before);
            }
            if let Some(after) = after {
                service.free.enter(&mut self.workers, worker_key, after);
            }
        }
        self.deliver(key, outcome);
        if self.shutdown == Shutdown::No {
            self.pair(service_key);
            self.let_go_when_drained(worker_key);
        } else if self.workers[worker_key].tasks.is_empty() {
            self.lose(worker_key, Gone::Stopping);
            self.finish_stopping_when_nothing_runs();
        }
    }

    /// Brings the end of a reply to its client.
    fn deliver(&mut self, key: RequestKey, outcome: Outcome<B>) {
        let request = &mut self.requests[key];
        if let RequestState::Abandoned { .. } = request.state {
            self.counters.replies_unwanted += 1;
            self.forget_request(key);
            return;
        }
        self.deadlines.remove(request.deadline);
        if matches!(request.reply, Reply::Overflowed) {
            return self.drop_request(key, Dropped::PartialBytesMax);
        }
        let (outcome, repeatable) =
            match (std::mem::replace(&mut request.reply, Reply::None), outcome) {
                (Reply::Kept(mut kept), Outcome::Final(body)) => {
                    kept.body.append(body);
                    (Outcome::Final(kept.body), true)
                }
                (Reply::Sent, outcome) => (outcome, false),
                (_, outcome) => (outcome, true),
            };
        if repeatable {
            self.remember(key, &outcome);
        } else {
            let text = "it ran, and the parts of its reply are not kept".to_owned();
            let reason = Reason { code: code::WORKER_LOST, text };
            self.remember(key, &Outcome::failure(reason, None));
        }
        self.counters.requests_answered += 1;
        self.answer_request(key, outcome);
        self.forget_request(key);
    }

    fn drain(&mut self, key: WorkerKey) {
        if self.workers[key].intake == Intake::Open {
            self.close_intake(key, Intake::Draining);
            self.let_go_when_drained(key);
        }
    }

    /// It takes no more requests.
    fn close_intake(&mut self, key: WorkerKey, why: Intake) {
        let worker = &mut self.workers[key];
        let before = worker.before_next();
        let was = std::mem::replace(&mut worker.intake, why);
        let service_key = worker.service;
        if let Some(before) = before {
            self.services[service_key].free.leave(&mut self.workers, key, before);
        }
        if was == Intake::Open {
            self.services.worker_drains(service_key);
        }
    }

    /// A worker that drains is told to leave once it has nothing left: then no request
    /// can be on its way to it.
    fn let_go_when_drained(&mut self, key: WorkerKey) {
        let worker = &self.workers[key];
        if worker.intake == Intake::Draining && worker.tasks.is_empty() {
            self.lose(key, Gone::Drained);
        }
    }

    /// Looks after a worker whose deadline has come.
    pub(super) fn attend(&mut self, key: WorkerKey, heard_until: Instant) {
        let now = self.now;
        let worker = &mut self.workers[key];
        let lost_at = worker.lost_at(self.resumed);
        match worker.attention(now, heard_until, lost_at) {
            Attention::Lost => {
                let reason = worker.reason();
                return self.lose(key, reason);
            }
            Attention::Beat => {
                worker.told_at = now;
                self.outlet.act(Action::ToWorker {
                    worker: worker.peer.clone(),
                    version: worker.version,
                    command: worker::FromBroker::Heartbeat,
                });
            }
            Attention::None => {}
        }
        // Later than now, or it would be due again within this call.
        let next = lost_at.min(worker.told_at + worker.registration.heartbeat_interval);
        let next = next.max(now + JUST_AFTER);
        worker.deadline = self.deadlines.insert(next, Due::Worker(key));
    }

    pub(super) fn invalid(&mut self, peer: &PeerId, fault: Fault) {
        *self.counters.invalid(fault) += 1;
        self.count_invalid();
        if let Some(key) = self.worker_key(peer) {
            self.lose(key, Gone::Invalid);
        }
    }

    /// A worker is gone or does not read, and these requests did not get there. They wait
    /// again. It is told nothing more, and lost once all is read that it may have said.
    pub(super) fn worker_unreachable(&mut self, peer: &PeerId, requests: &[ClientAddress]) {
        let Some(key) = self.worker_key(peer) else { return };
        for request in requests {
            if let Some(request) = self.held(key, request) {
                self.requests[request].handed_out |= UNSENT;
            }
        }
        if self.workers[key].is_reachable() {
            self.close_intake(key, Intake::Unreachable);
            let worker = &mut self.workers[key];
            worker.told_at = self.now;
            self.deadlines.remove(worker.deadline);
            worker.deadline = self.deadlines.insert(self.now + JUST_AFTER, Due::Worker(key));
        }
        let sent = self.workers[key].sent;
        for request in self.workers[key].tasks.in_order(&self.requests) {
            if self.take_back_unsent(request, sent) {
                let place = self.requests[request].place;
                self.workers[key].tasks.remove(place, &mut self.requests);
                self.give_back(request);
            }
        }
        self.pair(self.workers[key].service);
        if self.shutdown != Shutdown::No && self.workers[key].tasks.is_empty() {
            self.lose(key, Gone::Unreachable);
        }
    }

    /// Whether a request was not sent to the worker that has it, which was sent all actions
    /// before the number `sent`: that was no attempt.
    fn take_back_unsent(&mut self, key: RequestKey, sent: u64) -> bool {
        let request = &mut self.requests[key];
        let is_unsent = request.handed_out >= self.actions_sent.max(sent);
        request.attempt -= u32::from(is_unsent);
        is_unsent
    }

    /// Forgets a worker; the requests it had wait again, or end.
    pub(super) fn lose(&mut self, key: WorkerKey, reason: Gone) {
        let service_key = self.workers[key].service;
        if let Some(before) = self.workers[key].before_next() {
            self.services[service_key].free.leave(&mut self.workers, key, before);
        }
        let Some(worker) = self.workers.remove(key) else { return };
        self.bytes -= worker.registration.metadata.as_bytes().len();
        self.worker_keys.remove(key, &worker, &self.workers);
        self.identities.peer_went(worker.identity);
        self.deadlines.remove(worker.deadline);
        self.services.worker_went(service_key, worker.intake);
        *self.counters.gone(reason) += 1;
        self.note(Note::WorkerGone {
            worker: worker.peer.clone(),
            service: self.services[service_key].name.clone(),
            reason,
            requests: worker.tasks.len(),
        });
        if !matches!(reason, Gone::Disconnected | Gone::ConnectionEnded | Gone::Unreachable) {
            let (peer, version) = (worker.peer.clone(), worker.version);
            let reason = Reason { code: reason.code(), text: reason.as_str().to_owned() };
            let command = worker::FromBroker::Disconnect { reason };
            self.outlet.act(Action::ToWorker { worker: peer, version, command });
        }
        let mut is_oldest = true;
        for request in worker.tasks.in_order(&self.requests) {
            let is_unsent = self.take_back_unsent(request, worker.sent);
            let lost = &mut self.requests[request];
            let had_begun =
                is_oldest || worker.version >= Version::V1_0 || !matches!(lost.reply, Reply::None);
            if had_begun && !is_unsent {
                lost.losses.add(reason);
            }
            is_oldest = false;
            self.give_back(request);
        }
        if self.services.contains(service_key) {
            self.pair(service_key);
            self.services.forget_if_unused(service_key);
        }
        self.finish_stopping_when_nothing_runs();
    }
}
