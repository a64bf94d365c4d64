//! The way of a worker through the engine: register, answer, beat, go.

use std::time::{Duration, Instant};

use majordomo_protocol::{ClientAddress, PeerId, ServiceName, Version, client, worker};

use super::deadline::Due;
use super::list::Links;
use super::request::{Reply, RequestKey, RequestState};
use super::shutdown::Shutdown;
use super::worker::{Attention, Worker, WorkerKey, WorkerState};
use super::{Action, Dropped, Engine, Fault, Gone, Note, Payload, RefusedWorker};

impl<B: Payload> Engine<B> {
    pub(super) fn worker_command(
        &mut self,
        peer: PeerId,
        version: Version,
        command: worker::ToBroker<B>,
    ) {
        let Some(key) = self.worker_keys.get(&peer).copied() else {
            return self.stranger_command(peer, version, command);
        };
        let worker = &mut self.workers[key];
        worker.heard_at = self.now;
        if worker.version != version {
            return self.lose(key, Gone::Unexpected);
        }
        match command {
            worker::ToBroker::Ready { .. } => self.lose(key, Gone::Unexpected),
            worker::ToBroker::Partial { client, body } => self.partial(key, &client, body),
            worker::ToBroker::Final { client, body } => self.final_reply(key, &client, body),
            worker::ToBroker::Heartbeat => {}
            worker::ToBroker::Disconnect => self.lose(key, Gone::Disconnected),
        }
    }

    /// Whoever is not registered may register; anything else leaves no trace here.
    pub(super) fn stranger_command(
        &mut self,
        peer: PeerId,
        version: Version,
        command: worker::ToBroker<B>,
    ) {
        match command {
            worker::ToBroker::Ready { service } => {
                if let Err(reason) = self.register(&peer, version, service) {
                    self.refuse(peer, version, reason);
                }
            }
            worker::ToBroker::Partial { .. } | worker::ToBroker::Final { .. } => {
                self.counters.replies_unexpected += 1;
                self.refuse(peer, version, RefusedWorker::Unregistered);
            }
            worker::ToBroker::Heartbeat => {
                self.refuse(peer, version, RefusedWorker::Unregistered);
            }
            worker::ToBroker::Disconnect => {}
        }
    }

    pub(super) fn register(
        &mut self,
        peer: &PeerId,
        version: Version,
        service: ServiceName,
    ) -> Result<(), RefusedWorker> {
        if self.shutdown != Shutdown::No {
            return Err(RefusedWorker::Stopping);
        }
        if service.is_reserved() {
            return Err(RefusedWorker::ReservedService);
        }
        if self.workers.len() >= self.settings.workers_max {
            return Err(RefusedWorker::WorkersMax);
        }
        let service_key = match self.services.key(&service) {
            Some(key) => key,
            None if self.services.len() >= self.settings.services_max => {
                return Err(RefusedWorker::ServicesMax);
            }
            None => self.services.insert(service.clone()),
        };
        let due = self.now + self.settings.heartbeat_interval;
        let key = self.workers.insert(Worker {
            peer: peer.clone(),
            version,
            service: service_key,
            state: WorkerState::Idle,
            registered_at: self.now,
            heard_at: self.now,
            told_at: self.now,
            due,
            answered: 0,
            links: Links::default(),
        });
        self.worker_keys.insert(peer.clone(), key);
        self.deadlines.insert(due, Due::Worker(key));
        self.services.worker_came(service_key);
        self.services[service_key].idle.push_back(&mut self.workers, key);
        self.counters.workers_registered += 1;
        self.note(Note::WorkerRegistered { worker: peer.clone(), version, service });
        self.pair(service_key);
        Ok(())
    }

    pub(super) fn refuse(&mut self, worker: PeerId, version: Version, reason: RefusedWorker) {
        *self.counters.refused(reason) += 1;
        self.note(Note::WorkerRefused { worker: worker.clone(), reason });
        let command = worker::FromBroker::Disconnect;
        self.actions.push_back(Action::ToWorker { worker, version, command });
    }

    /// The request that this worker has, if that is the one it answers.
    pub(super) fn running(&self, worker: WorkerKey, client: &ClientAddress) -> Option<RequestKey> {
        match self.workers[worker].state {
            WorkerState::Busy(key) if key.is(client, self.settings.instance) => Some(key),
            _ => None,
        }
    }

    pub(super) fn partial(&mut self, worker: WorkerKey, client: &ClientAddress, mut body: B) {
        let Some(key) = self.running(worker, client) else {
            self.counters.replies_unexpected += 1;
            return self.lose(worker, Gone::Unexpected);
        };
        self.counters.replies_partial += 1;
        let request = &mut self.requests[key];
        if request.caller.version >= Version::V0_2 {
            request.reply = Reply::Sent;
            let service = self.services[request.service].name.clone();
            let caller = request.caller.clone();
            let command = client::FromBroker::Partial { service, body };
            return self.actions.push_back(Action::ToClient { caller, command });
        }
        let size = body.size();
        let kept = match request.reply {
            Reply::Kept { bytes, .. } => bytes,
            _ => 0,
        };
        let fits = kept.saturating_add(size) <= self.settings.partial_bytes_max
            && self.bytes.saturating_add(size) <= self.settings.bytes_max;
        if fits {
            body.detach();
        }
        match &mut request.reply {
            Reply::Overflowed => return,
            Reply::Kept { parts, bytes } if fits => {
                parts.append(body);
                *bytes += size;
            }
            reply if fits => *reply = Reply::Kept { parts: body, bytes: size },
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

    pub(super) fn final_reply(&mut self, worker_key: WorkerKey, client: &ClientAddress, body: B) {
        let Some(key) = self.running(worker_key, client) else {
            self.counters.replies_unexpected += 1;
            return self.lose(worker_key, Gone::Unexpected);
        };
        let worker = &mut self.workers[worker_key];
        worker.state = WorkerState::Idle;
        worker.answered += 1;
        let service_key = worker.service;
        if self.settings.follow_requests {
            let note =
                Note::RequestAnswered { request: client.clone(), worker: worker.peer.clone() };
            self.actions.push_back(Action::Note(note));
        }
        let service = &mut self.services[service_key];
        service.running -= 1;
        service.idle.push_back(&mut self.workers, worker_key);
        if matches!(self.requests[key].reply, Reply::Overflowed) {
            self.drop_request(key, Dropped::PartialBytesMax);
        } else if let Some(request) = self.forget_request(key) {
            let body = match request.reply {
                Reply::Kept { mut parts, .. } => {
                    parts.append(body);
                    parts
                }
                _ => body,
            };
            let service = self.services[service_key].name.clone();
            let command = client::FromBroker::Final { service, body };
            self.counters.requests_answered += 1;
            self.actions.push_back(Action::ToClient { caller: request.caller, command });
        }
        if self.shutdown == Shutdown::No {
            self.pair(service_key);
        } else {
            self.lose(worker_key, Gone::Stopping);
            self.finish_stopping_when_nothing_runs();
        }
    }

    /// Looks after a worker whose deadline has come.
    pub(super) fn attend(&mut self, key: WorkerKey, heard_until: Instant) {
        let (now, interval) = (self.now, self.settings.heartbeat_interval);
        let lost_at = self.workers[key].lost_at(self.silence_max(), self.grace);
        let worker = &mut self.workers[key];
        match worker.attention(now, heard_until, interval, lost_at) {
            Attention::Lost => {
                // `lose` expects an entry among the deadlines.
                self.deadlines.insert(worker.due, Due::Worker(key));
                return self.lose(key, Gone::Silent);
            }
            Attention::Beat => {
                worker.told_at = now;
                self.actions.push_back(Action::ToWorker {
                    worker: worker.peer.clone(),
                    version: worker.version,
                    command: worker::FromBroker::Heartbeat,
                });
            }
            Attention::None => {}
        }
        // Later than now, or it would be due again within this call.
        let next = lost_at.min(worker.told_at + interval);
        worker.due = next.max(now + Duration::from_nanos(1));
        self.deadlines.insert(worker.due, Due::Worker(key));
    }

    pub(super) fn invalid(&mut self, peer: &PeerId, fault: Fault) {
        *self.counters.invalid(fault) += 1;
        if let Some(key) = self.worker_keys.get(peer) {
            self.lose(*key, Gone::Invalid);
        }
    }

    /// Forgets a worker; the request it had waits again, or ends.
    pub(super) fn lose(&mut self, key: WorkerKey, reason: Gone) {
        let service_key = self.workers[key].service;
        let request = match self.workers[key].state {
            WorkerState::Idle => {
                self.services[service_key].idle.remove(&mut self.workers, key);
                None
            }
            WorkerState::Busy(request) => {
                self.services[service_key].running -= 1;
                Some(request)
            }
        };
        let Some(worker) = self.workers.remove(key) else { return };
        self.worker_keys.remove(&worker.peer);
        self.deadlines.remove(worker.due, Due::Worker(key));
        self.services.worker_went(service_key);
        *self.counters.gone(reason) += 1;
        self.note(Note::WorkerGone {
            worker: worker.peer.clone(),
            service: self.services[service_key].name.clone(),
            reason,
            request: request.map(|request| request.address(self.settings.instance)),
        });
        if !matches!(reason, Gone::Disconnected | Gone::Unreachable) {
            let (worker, version) = (worker.peer, worker.version);
            let command = worker::FromBroker::Disconnect;
            self.actions.push_back(Action::ToWorker { worker, version, command });
        }
        match request {
            Some(request) => {
                let running = &mut self.requests[request];
                // What could not be sent is what it was told last. If that is the
                // request, the worker never had it.
                if reason == Gone::Unreachable
                    && let RequestState::Running { since, .. } = running.state
                    && since == worker.told_at
                {
                    running.attempt -= 1;
                }
                self.give_back(request);
                if self.services.contains(service_key) {
                    self.pair(service_key);
                }
                self.finish_stopping_when_nothing_runs();
            }
            None => self.services.forget_if_unused(service_key),
        }
    }
}
