//! What must follow from an event.

use std::collections::HashSet;
use std::time::Instant;

use majordomo_broker::engine::{Caller, Dropped, Event, Gone, Payload, Question, RefusedWorker};
use majordomo_protocol::{PeerId, ServiceName, Version, client, worker};

use super::{Model, Number, Reply, Request, State, Worker};
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
            Event::FromClient { caller, command } => self.request(caller, command),
            Event::Question { caller, service, question } => {
                self.counters.mmi_requests += 1;
                let serves = |name: &ServiceName| {
                    self.workers.values().any(|worker| worker.service == *name)
                };
                let text = match question {
                    Question::Service(Some(name)) if serves(name) => Some("200".to_owned()),
                    Question::Service(_) => Some("404".to_owned()),
                    Question::Unknown => Some("501".to_owned()),
                    Question::Broker => None,
                };
                self.expected.answer = Some((caller.clone(), service.clone(), text));
            }
            Event::FromWorker { worker, version, command } => {
                self.parted.remove(worker);
                if self.workers.contains_key(worker) {
                    self.registered_worker(worker, *version, command);
                } else {
                    self.stranger(worker, *version, command);
                }
                if *command == worker::ToBroker::Disconnect && self.expected.gone.is_none() {
                    self.parted.insert(worker.clone());
                }
            }
            Event::Invalid { peer, fault } => {
                *self.counters.invalid(*fault) += 1;
                self.expect_gone(peer, Gone::Invalid);
            }
            Event::WorkerUnreachable { worker } => self.expect_gone(worker, Gone::Unreachable),
            Event::ClientUnreachable { client } => {
                self.counters.replies_unsent += 1;
                self.expected.unsent = Some(client.clone());
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
        if now - self.now > 2 * self.settings.heartbeat_interval && !self.workers.is_empty() {
            self.grace =
                Some(now + self.settings.heartbeat_interval * self.settings.heartbeat_liveness);
            self.expected.late = true;
        }
        self.now = now;
    }

    fn request(&mut self, caller: &Caller<Parts>, command: &client::ToBroker<Parts>) {
        let client::ToBroker::Request { service, body } = command;
        self.counters.requests_received += 1;
        let request = Request {
            caller: caller.clone(),
            service: service.clone(),
            body: body.clone(),
            arrived: self.clock,
            attempts: 0,
            id: None,
            state: State::Waiting { since: self.now, returned: None },
            reply: Reply::None,
        };
        match self.no_room_for(&request) {
            Some(reason) => {
                self.expected.turned_away = Some((caller.peer.clone(), reason));
            }
            None => {
                self.requests.insert(body.0[0].request, request);
            }
        }
    }

    fn no_room_for(&self, request: &Request) -> Option<Dropped> {
        let settings = &self.settings;
        let live = || self.requests.values();
        let clients: HashSet<_> = live().map(|other| &other.caller.peer).collect();
        let of_client = live().filter(|other| other.caller.peer == request.caller.peer).count();
        let same = |other: &&Request| other.service == request.service;
        let services = self.services();
        let new_client = !clients.contains(&request.caller.peer);
        let new_service = !services.contains_key(request.service.as_str());
        let idle = services.values().filter(|service| service.workers == 0).count();
        let over = [
            (self.stop_at.is_some(), Dropped::Stopping),
            (self.requests.len() >= settings.requests_max, Dropped::RequestsMax),
            (of_client >= settings.requests_per_client_max, Dropped::RequestsPerClientMax),
            (new_client && clients.len() >= settings.clients_max, Dropped::ClientsMax),
            (self.bytes() + request.bytes() > settings.bytes_max, Dropped::BytesMax),
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
            worker::ToBroker::Disconnect => return,
            worker::ToBroker::Ready { service } => {
                let services = self.services();
                let new = !services.contains_key(service.as_str());
                let over = [
                    (self.stop_at.is_some(), RefusedWorker::Stopping),
                    (service.as_str().starts_with("mmi."), RefusedWorker::ReservedService),
                    (self.workers.len() >= self.settings.workers_max, RefusedWorker::WorkersMax),
                    (
                        new && services.len() >= self.settings.services_max,
                        RefusedWorker::ServicesMax,
                    ),
                ];
                let Some((_, reason)) = over.into_iter().find(|(over, _)| *over) else {
                    self.expected.registered = Some(peer.clone());
                    self.workers.insert(
                        peer.clone(),
                        Worker {
                            version,
                            service: service.clone(),
                            request: None,
                            heard: self.now,
                            told: self.now,
                            idle_since: self.clock,
                            answered: 0,
                        },
                    );
                    return;
                };
                reason
            }
            worker::ToBroker::Heartbeat => RefusedWorker::Unregistered,
            worker::ToBroker::Partial { .. } | worker::ToBroker::Final { .. } => {
                self.counters.replies_unexpected += 1;
                RefusedWorker::Unregistered
            }
        };
        self.expected.refused = Some((peer.clone(), reason));
        self.expected.disconnect.push((peer.clone(), version));
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
        let (client, body, last) = match command {
            worker::ToBroker::Heartbeat => return,
            worker::ToBroker::Disconnect => return self.expect_gone(peer, Gone::Disconnected),
            worker::ToBroker::Ready { .. } => return self.expect_gone(peer, Gone::Unexpected),
            worker::ToBroker::Partial { client, body } => (client, body, false),
            worker::ToBroker::Final { client, body } => (client, body, true),
        };
        let holds = |number: &Number| self.requests[number].id.as_ref() == Some(client);
        match worker.request.filter(holds) {
            None => {
                self.counters.replies_unexpected += 1;
                self.expect_gone(peer, Gone::Unexpected);
            }
            Some(number) if last => self.final_reply(peer, number, body),
            Some(number) => self.partial(number, body),
        }
    }

    fn partial(&mut self, number: Number, body: &Parts) {
        self.counters.replies_partial += 1;
        let bytes = self.bytes();
        let request = self.requests.get_mut(&number).expect("running");
        if request.caller.version == Version::V0_2 {
            request.reply = Reply::Sent;
            let (service, body) = (request.service.clone(), body.clone());
            let command = client::FromBroker::Partial { service, body };
            self.expected.to_client = Some((request.caller.clone(), command));
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

    fn final_reply(&mut self, peer: &PeerId, number: Number, body: &Parts) {
        let worker = self.workers.get_mut(peer).expect("registered");
        worker.request = None;
        worker.idle_since = self.clock;
        worker.answered += 1;
        if self.settings.follow_requests {
            self.expected.answered = self.requests[&number].id.clone();
        }
        if self.requests[&number].reply == Reply::Overflowed {
            self.expected.dropped.push((number, Dropped::PartialBytesMax));
            return;
        }
        let request = self.requests.remove(&number).expect("running");
        let mut reply = if let Reply::Kept(parts) = request.reply { parts } else { Parts(vec![]) };
        reply.append(body.clone());
        let command = client::FromBroker::Final { service: request.service, body: reply };
        self.expected.to_client = Some((request.caller, command));
        self.counters.requests_answered += 1;
    }

    fn expect_gone(&mut self, peer: &PeerId, reason: Gone) {
        if self.workers.contains_key(peer) {
            self.expected.gone = Some((peer.clone(), reason));
        } else if reason == Gone::Unreachable {
            self.parted.insert(peer.clone());
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
