//! The way of a request through the engine: arrive, wait, run.

use std::time::{Duration, Instant};

use majordomo_protocol::{ClientAddress, PeerId, RequestId, ServiceName, Task, Terms, client};

use super::deadline::{DeadlineKey, Due};
use super::ending::dropped_outcome;
use super::ids::Known;
use super::list::Links;
use super::request::{Answer, Losses, Redelivery, Reply, Request, RequestKey, RequestState};
use super::service::ServiceKey;
use super::shutdown::Shutdown;
use super::worker::WorkerKey;
use super::{Action, Caller, Dropped, Engine, Note, Outlet, Payload};

/// Where in the queue a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Behind its client's others.
    Back,
    /// Before all turns: it was running.
    Front,
}

impl<B: Payload, O: Outlet<B>> Engine<B, O> {
    #[inline]
    pub(super) fn client_command(&mut self, caller: Caller<B>, command: client::ToBroker<B>) {
        match command {
            client::ToBroker::Request { id, service, terms, body } => {
                let caller = Caller { id, ..caller };
                self.accept(caller, service, terms, body);
            }
            client::ToBroker::Cancel { id } => self.cancel(id),
            client::ToBroker::Heartbeat => {
                if !self.knows(self.sender) {
                    // The client finds that nobody answers, and connects anew.
                    self.counters.messages_forbidden += 1;
                    return;
                }
                let command = client::FromBroker::Heartbeat { instance: self.instance() };
                self.outlet.tell(&caller, command, None);
            }
        }
    }

    fn accept(&mut self, caller: Caller<B>, service: ServiceName, terms: Terms, body: B) {
        self.counters.requests_received += 1;
        let answer = Answer::of(terms.no_reply);
        if let Err(reason) = self.may_call(&caller.peer, &service) {
            return self.forbid(caller, service, answer, reason);
        }
        if let Some(id) = caller.id {
            match self.ids.get(&(self.sender, id), &self.requests) {
                Some(Known::UnderWay(key)) => {
                    return self.come_again(key, caller, &service, answer);
                }
                Some(Known::Answered(number)) => {
                    return self.repeat_answer(number, caller, &service, answer);
                }
                None => {}
            }
        }
        let metadata_bytes = terms.metadata.as_bytes().len();
        let bytes = body.size()
            + caller.envelope.as_ref().map_or(0, |envelope| envelope.size())
            + metadata_bytes;
        let service_key = match self.admit(&caller.peer, &service, bytes, &terms) {
            Ok(key) => key,
            Err(reason) => return self.turn_away(caller, service, answer, reason),
        };
        self.count_client_up(&caller.peer);
        self.bytes += bytes;
        let after = |duration: Option<Duration>| duration.map(|duration| self.now + duration);
        let key = self.requests.insert(Request {
            caller,
            identity: self.sender,
            service: service_key,
            answer,
            redelivery: if terms.once { Redelivery::Forbidden } else { Redelivery::Allowed },
            start_by: after(terms.start_within),
            end_by: after(terms.timeout),
            metadata: terms.metadata,
            body: Some(body),
            bytes,
            attempt: 0,
            handed_out: 0,
            place: 0,
            losses: Losses::default(),
            answered: None,
            deadline: DeadlineKey::default(),
            // Overwritten at once by `dispatch` or `wait`.
            state: RequestState::Waiting { turn: None },
            reply: Reply::None,
            links: Links::default(),
        });
        self.identities.request_came(self.sender);
        self.ids.begin(key, &self.requests);
        match self.services[service_key].free.front() {
            Some(worker) => self.dispatch(key, worker),
            None => self.wait(key, Place::Back),
        }
    }

    /// The same request came again while it waits or runs: the answer goes to whoever
    /// asked last, if it wants one. If it ended for its client and still runs, it ends
    /// in the same way for this one.
    fn come_again(
        &mut self,
        key: RequestKey,
        caller: Caller<B>,
        service: &ServiceName,
        answer: Answer,
    ) {
        let request = &mut self.requests[key];
        if let RequestState::Abandoned { reason, .. } = request.state {
            self.counters.answers_repeated += 1;
            return self.answer(&caller, service, answer, dropped_outcome(reason, true));
        }
        self.counters.requests_joined += 1;
        let has_parts = request.caller.peer == caller.peer && request.answer == Answer::Wanted;
        request.answer = answer;
        let before = std::mem::replace(&mut request.caller, caller);
        let now = request.caller.peer.clone();
        let cut = matches!(request.reply, Reply::Sent) && answer == Answer::Wanted && !has_parts;
        self.count_client_up(&now);
        self.count_client_down(&before.peer);
        if cut {
            // This connection would get the rest of a reply without its beginning.
            self.end_running(key, Dropped::PartialSent);
        }
    }

    /// Its client no longer wants it.
    fn cancel(&mut self, id: RequestId) {
        let Some(Known::UnderWay(key)) = self.ids.get(&(self.sender, id), &self.requests) else {
            return;
        };
        match self.requests[key].state {
            RequestState::Waiting { .. } => {
                self.take_waiting(key);
                self.drop_request(key, Dropped::Cancelled);
            }
            _ => self.end_running(key, Dropped::Cancelled),
        }
    }

    /// Whether there is room for one more request, and the service it is for.
    fn admit(
        &mut self,
        client: &PeerId,
        service: &ServiceName,
        bytes: usize,
        terms: &Terms,
    ) -> Result<ServiceKey, Dropped> {
        let settings = &self.settings;
        if self.shutdown != Shutdown::No {
            return Err(Dropped::Stopping);
        }
        if self.requests.len() >= settings.requests_max {
            return Err(Dropped::RequestsMax);
        }
        match self.clients.get(client).map(|client| client.requests) {
            Some(requests) if requests >= settings.requests_per_client_max => {
                return Err(Dropped::RequestsPerClientMax);
            }
            None if self.clients.len() >= settings.clients_max => return Err(Dropped::ClientsMax),
            None if self.identities.peers(self.sender) >= self.limits.peers_max => {
                return Err(Dropped::PeersPerIdentityMax);
            }
            _ => {}
        }
        if self.identities.requests(self.sender) >= self.limits.requests_max {
            return Err(Dropped::RequestsPerIdentityMax);
        }
        if self.bytes.saturating_add(bytes) > settings.bytes_max {
            return Err(Dropped::BytesMax);
        }
        let known = self.services.find(service);
        if terms.fail_fast && known.is_none_or(|key| self.services[key].workers == 0) {
            return Err(Dropped::NoWorker);
        }
        if let Some(key) = known {
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
        let request = &mut self.requests[key];
        let expiry = self.now + self.settings.request_expiry;
        let expires =
            [request.start_by, request.end_by].into_iter().flatten().fold(expiry, Instant::min);
        request.deadline = self.deadlines.insert(expires, Due::Request(key));
        request.state = RequestState::Waiting { turn };
        request.body.iter_mut().for_each(B::detach);
        request.caller.envelope.iter_mut().for_each(|envelope| envelope.detach());
    }

    /// Takes a waiting request out of the queue of its service.
    pub(super) fn take_waiting(&mut self, key: RequestKey) {
        let request = &self.requests[key];
        let RequestState::Waiting { turn } = request.state else { return };
        self.deadlines.remove(request.deadline);
        let line = &mut self.services[request.service].waiting;
        self.turns.remove(line, &mut self.requests, key, turn);
    }

    /// Its time is up: waiting or running.
    pub(super) fn expire(&mut self, key: RequestKey) {
        match self.requests[key].state {
            RequestState::Waiting { .. } => {
                self.take_waiting(key);
                self.drop_request(key, self.expiry_reason(key));
            }
            _ => self.end_running(key, Dropped::TimedOut),
        }
    }

    /// Why a request that waits has waited for too long.
    fn expiry_reason(&self, key: RequestKey) -> Dropped {
        let request = &self.requests[key];
        let passed = |limit: Option<Instant>| limit.is_some_and(|limit| limit <= self.now);
        if passed(request.start_by) || passed(request.end_by) {
            Dropped::NotStarted
        } else {
            Dropped::Expired
        }
    }

    /// Hands waiting requests to free workers until one of them runs out.
    pub(super) fn pair(&mut self, service_key: ServiceKey) {
        while let Some(worker) = self.services[service_key].free.front() {
            let Some(key) = self.turns.first(&self.services[service_key].waiting) else { break };
            let deadline = self.requests[key].deadline;
            if self.deadlines.get(deadline).is_some_and(|(expires, _)| expires <= self.now) {
                // Nobody has looked at the time yet. It costs its client no turn.
                self.take_waiting(key);
                self.drop_request(key, self.expiry_reason(key));
                continue;
            }
            self.deadlines.remove(deadline);
            let line = &mut self.services[service_key].waiting;
            self.turns.pop(line, &mut self.requests);
            self.dispatch(key, worker);
        }
    }

    /// Hands a request, which is in no queue, to a free worker.
    fn dispatch(&mut self, key: RequestKey, worker_key: WorkerKey) {
        let request = &mut self.requests[key];
        let service = &mut self.services[request.service];
        if let Some(before) = self.workers[worker_key].before_next() {
            service.free.leave(&mut self.workers, worker_key, before);
        }
        let worker = &mut self.workers[worker_key];
        worker.told_at = self.now;
        request.state = RequestState::Running { worker: worker_key };
        request.attempt = request.attempt.saturating_add(1);
        service.running += 1;
        self.counters.requests_dispatched += 1;
        let client = key.address(self.settings.instance);
        if self.settings.follow_requests {
            self.outlet.act(Action::Note(Note::RequestDispatched {
                request: client.clone(),
                client: request.caller.peer.clone(),
                service: service.name.clone(),
                worker: worker.peer.clone(),
                attempt: request.attempt,
            }));
        }
        if let Some(end) = request.end_by {
            request.deadline = self.deadlines.insert(end, Due::Request(key));
        }
        let task = Task {
            timeout: request.end_by.map(|end| end.saturating_duration_since(self.now)),
            attempt: u8::try_from(request.attempt).unwrap_or(u8::MAX),
            metadata: request.metadata.clone(),
        };
        request.handed_out = self.outlet.told();
        if let Some(body) = &request.body {
            self.outlet.request(&worker.peer, worker.version, client, task, body);
        }
        worker.tasks.push(key, request);
        if let Some(before) = worker.before_next() {
            service.free.enter(&mut self.workers, worker_key, before);
        }
    }

    /// The request of this task id, if this worker has it.
    pub(super) fn held(&self, worker: WorkerKey, client: &ClientAddress) -> Option<RequestKey> {
        let key = RequestKey::of(client, self.settings.instance)?;
        (self.requests.get(key)?.state.worker() == Some(worker)).then_some(key)
    }
}
