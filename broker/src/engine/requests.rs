//! The way of a request through the engine: arrive, wait, run, end.

use majordomo_protocol::{PeerId, ServiceName, worker};

use super::deadline::Due;
use super::list::Links;
use super::request::{Reply, Request, RequestKey, RequestState};
use super::service::ServiceKey;
use super::shutdown::Shutdown;
use super::worker::{WorkerKey, WorkerState};
use super::{Action, Caller, Dropped, Engine, Note, Payload};

/// Where in the queue a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Behind its client's others.
    Back,
    /// Before all turns: it was running.
    Front,
}

/// Whether the expiry of a waiting request is still among the deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    Ahead,
    Passed,
}

impl<B: Payload> Engine<B> {
    pub(super) fn accept(&mut self, caller: Caller<B>, service: ServiceName, body: B) {
        self.counters.requests_received += 1;
        let bytes = body.size() + caller.envelope.as_ref().map_or(0, B::size);
        let service_key = match self.admit(&caller.peer, &service, bytes) {
            Ok(key) => key,
            Err(reason) => {
                *self.counters.dropped(reason) += 1;
                let client = caller.peer;
                return self.note(Note::RequestDropped { client, service, request: None, reason });
            }
        };
        *self.clients.entry(caller.peer.clone()).or_insert(0) += 1;
        self.bytes += bytes;
        let key = self.requests.insert(Request {
            caller,
            service: service_key,
            body,
            bytes,
            attempt: 0,
            // Overwritten at once by `dispatch` or `wait`.
            state: RequestState::Waiting { expires: self.now, turn: None },
            reply: Reply::None,
            links: Links::default(),
        });
        match self.services[service_key].idle.front() {
            Some(worker) => self.dispatch(key, worker),
            None => self.wait(key, Place::Back),
        }
    }

    /// Whether there is room for one more request, and the service it is for.
    pub(super) fn admit(
        &mut self,
        client: &PeerId,
        service: &ServiceName,
        bytes: usize,
    ) -> Result<ServiceKey, Dropped> {
        let settings = &self.settings;
        if self.shutdown != Shutdown::No {
            return Err(Dropped::Stopping);
        }
        if self.requests.len() >= settings.requests_max {
            return Err(Dropped::RequestsMax);
        }
        match self.clients.get(client) {
            Some(requests) if *requests >= settings.requests_per_client_max => {
                return Err(Dropped::RequestsPerClientMax);
            }
            None if self.clients.len() >= settings.clients_max => return Err(Dropped::ClientsMax),
            _ => {}
        }
        if self.bytes.saturating_add(bytes) > settings.bytes_max {
            return Err(Dropped::BytesMax);
        }
        if let Some(key) = self.services.key(service) {
            let line = &self.services[key].waiting;
            return if line.len() >= settings.requests_per_service_max {
                Err(Dropped::RequestsPerServiceMax)
            } else {
                Ok(key)
            };
        }
        if self.services.len() >= settings.services_max {
            return Err(Dropped::ServicesMax);
        }
        if self.services.idle() >= settings.services_idle_max {
            return Err(Dropped::ServicesIdleMax);
        }
        Ok(self.services.insert(service.clone()))
    }

    /// Puts a request into the queue of its service.
    pub(super) fn wait(&mut self, key: RequestKey, place: Place) {
        let line = &mut self.services[self.requests[key].service].waiting;
        let turn = match place {
            Place::Back => Some(self.turns.push(line, &mut self.requests, key)),
            Place::Front => {
                self.turns.push_returned(line, &mut self.requests, key);
                None
            }
        };
        let expires = self.now + self.settings.request_expiry;
        self.deadlines.insert(expires, Due::Request(key));
        let request = &mut self.requests[key];
        request.state = RequestState::Waiting { expires, turn };
        request.body.detach();
        request.caller.envelope.iter_mut().for_each(B::detach);
    }

    /// Takes a waiting request out of the queue of its service.
    pub(super) fn take_waiting(&mut self, key: RequestKey, expiry: Expiry) {
        let request = &self.requests[key];
        let RequestState::Waiting { expires, turn } = request.state else { return };
        let line = &mut self.services[request.service].waiting;
        self.turns.remove(line, &mut self.requests, key, turn);
        if expiry == Expiry::Ahead {
            self.deadlines.remove(expires, Due::Request(key));
        }
    }

    /// Hands waiting requests to idle workers until one of them runs out.
    pub(super) fn pair(&mut self, service_key: ServiceKey) {
        while let Some(worker) = self.services[service_key].idle.front() {
            let Some(key) = self.turns.first(&self.services[service_key].waiting) else { break };
            if let RequestState::Waiting { expires, .. } = self.requests[key].state {
                if expires <= self.now {
                    // Nobody has looked at the time yet. It costs its client no turn.
                    self.take_waiting(key, Expiry::Ahead);
                    self.drop_request(key, Dropped::Expired);
                    continue;
                }
                self.deadlines.remove(expires, Due::Request(key));
            }
            let line = &mut self.services[service_key].waiting;
            self.turns.pop(line, &mut self.requests);
            self.dispatch(key, worker);
        }
    }

    /// Hands a request, which is in no queue, to an idle worker.
    pub(super) fn dispatch(&mut self, key: RequestKey, worker_key: WorkerKey) {
        let worker = &mut self.workers[worker_key];
        let request = &mut self.requests[key];
        let service = &mut self.services[request.service];
        worker.state = WorkerState::Busy(key);
        worker.told_at = self.now;
        request.state = RequestState::Running { worker: worker_key, since: self.now };
        request.attempt += 1;
        service.running += 1;
        self.counters.requests_dispatched += 1;
        let client = key.address(self.settings.instance);
        if self.settings.follow_requests {
            self.actions.push_back(Action::Note(Note::RequestDispatched {
                request: client.clone(),
                client: request.caller.peer.clone(),
                service: service.name.clone(),
                worker: worker.peer.clone(),
                attempt: request.attempt,
            }));
        }
        self.actions.push_back(Action::ToWorker {
            worker: worker.peer.clone(),
            version: worker.version,
            command: worker::FromBroker::Request { client, body: request.body.clone() },
        });
        service.idle.remove(&mut self.workers, worker_key);
    }

    /// A request lost its worker: it waits again, before all others, or ends.
    pub(super) fn give_back(&mut self, key: RequestKey) {
        self.counters.requests_returned += 1;
        let request = &mut self.requests[key];
        let dropped = match request.reply {
            _ if self.shutdown != Shutdown::No => Some(Dropped::Stopping),
            Reply::Sent => Some(Dropped::PartialSent),
            _ if request.attempt >= self.settings.attempts_max => Some(Dropped::AttemptsMax),
            _ => None,
        };
        if let Some(reason) = dropped {
            return self.drop_request(key, reason);
        }
        if let Reply::Kept { bytes, .. } = request.reply {
            request.bytes -= bytes;
            self.bytes -= bytes;
        }
        request.reply = Reply::None;
        self.wait(key, Place::Front);
    }

    /// Ends a request, which is in no queue and with no worker, without an answer.
    pub(super) fn drop_request(&mut self, key: RequestKey, reason: Dropped) {
        let Some(request) = self.forget_request(key) else { return };
        *self.counters.dropped(reason) += 1;
        self.note(Note::RequestDropped {
            client: request.caller.peer,
            service: self.services[request.service].name.clone(),
            request: Some(key.address(self.settings.instance)),
            reason,
        });
        self.services.forget_if_unused(request.service);
    }

    pub(super) fn forget_request(&mut self, key: RequestKey) -> Option<Request<B>> {
        let request = self.requests.remove(key)?;
        self.bytes -= request.bytes;
        if let Some(requests) = self.clients.get_mut(&request.caller.peer) {
            *requests -= 1;
            if *requests == 0 {
                self.clients.remove(&request.caller.peer);
            }
        }
        Some(request)
    }
}
