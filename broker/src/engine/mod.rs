//! The engine decides everything a Majordomo broker decides: who gets a request,
//! who is alive, what is dropped. It moves no bytes: it has no socket, clock,
//! thread, randomness, log or file. Two equal histories give equal actions.
//!
//! Drive it so: give it what happened ([`Engine::handle`]), let it look at the time
//! when its deadline comes ([`Engine::handle_timeout`], [`Engine::poll_timeout`]),
//! and do what it wants done ([`Engine::poll_action`]) until there is nothing left.
//!
//! Two rules hold after every event: no request waits while a worker of its service
//! is idle, and every request that was accepted waits, runs or has ended with an
//! answer or a counted reason. [`Engine::check_invariants`] looks at both, and more.
//!
//! Work per event is constant or logarithmic in services, workers and requests,
//! but for `mmi.broker`, which reports at most ten times a second, and shutdown.

mod check;
mod deadline;
mod event;
mod list;
mod mmi;
mod request;
mod service;
mod settings;
mod waiting;
mod worker;

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use majordomo_protocol::{
    ClientAddress, PeerId, ServiceName, Version, client, worker as mdp_worker,
};
use slotmap::SlotMap;

use self::deadline::{Deadlines, Due};
pub use self::event::{
    Action, Caller, Dropped, Event, Fault, Gone, Note, Payload, Question, RefusedWorker,
};
use self::list::Links;
use self::request::{Reply, Request, RequestKey, RequestState};
use self::service::{ServiceKey, Services};
pub use self::settings::Settings;
use self::waiting::Turns;
use self::worker::{Attention, Worker, WorkerKey, WorkerState};
use crate::stats::Counters;

/// The state of a broker, and its rules. See the [module](self).
#[derive(Debug)]
pub struct Engine<B> {
    settings: Settings,
    started: Instant,
    /// The latest time it was told.
    now: Instant,
    /// Set after a time in which nobody drove the engine: until then, nobody's
    /// silence counts.
    grace: Option<Instant>,
    shutdown: Shutdown,
    services: Services,
    workers: SlotMap<WorkerKey, Worker>,
    worker_keys: HashMap<PeerId, WorkerKey>,
    requests: SlotMap<RequestKey, Request<B>>,
    /// How many requests of each client wait or run; never 0.
    clients: HashMap<PeerId, usize>,
    turns: Turns,
    /// Bytes that all requests hold.
    bytes: usize,
    deadlines: Deadlines,
    counters: Counters,
    report: mmi::CachedReport,
    actions: VecDeque<Action<B>>,
}

/// How far the engine is in shutting down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shutdown {
    /// It is not.
    No,
    /// Running requests may end until then.
    Until(Instant),
    /// It has shut down.
    Done,
}

impl<B: Payload> Engine<B> {
    /// An engine that knows nobody yet.
    pub fn new(settings: Settings, now: Instant) -> Self {
        Engine {
            settings,
            started: now,
            now,
            grace: None,
            shutdown: Shutdown::No,
            services: Services::default(),
            workers: SlotMap::with_key(),
            worker_keys: HashMap::new(),
            requests: SlotMap::with_key(),
            clients: HashMap::new(),
            turns: Turns::default(),
            bytes: 0,
            deadlines: Deadlines::default(),
            counters: Counters::default(),
            report: mmi::CachedReport::default(),
            actions: VecDeque::new(),
        }
    }

    /// Takes in what happened at `now`, which never lies before an earlier `now`.
    pub fn handle(&mut self, event: Event<B>, now: Instant) {
        self.advance(now);
        match event {
            Event::FromClient { caller, command } => match command {
                client::ToBroker::Request { service, body } => self.request(caller, service, body),
            },
            Event::Question { caller, service, question } => {
                self.question(caller, service, question);
            }
            Event::FromWorker { worker, version, command } => {
                self.from_worker(worker, version, command);
            }
            Event::Invalid { peer, fault } => self.invalid(&peer, fault),
            Event::WorkerUnreachable { worker } => {
                if let Some(key) = self.worker_keys.get(&worker) {
                    self.lose(*key, Gone::Unreachable);
                }
            }
            Event::ClientUnreachable { client } => {
                self.counters.replies_unsent += 1;
                self.note(Note::ReplyUnsent { client });
            }
            Event::Stop => self.stop(),
            Event::StopNow => self.finish_stopping(),
        }
        self.check_when_small();
    }

    /// Does what is due at `now`. `heard_until` is the latest moment of which it is
    /// certain that all messages that had come have been handled; mostly `now`.
    /// Nobody is declared silent for a time after it.
    pub fn handle_timeout(&mut self, now: Instant, heard_until: Instant) {
        self.advance(now);
        while let Some(due) = self.deadlines.pop(now) {
            match due {
                Due::Request(key) => {
                    self.take_waiting(key, Expiry::Passed);
                    self.drop_request(key, Dropped::Expired);
                }
                Due::Worker(key) => self.attend(key, heard_until),
            }
        }
        if matches!(self.shutdown, Shutdown::Until(end) if end <= now) {
            self.finish_stopping();
        }
        self.check_when_small();
    }

    /// When to call [`Engine::handle_timeout`] next, if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let end = match self.shutdown {
            Shutdown::Until(end) => Some(end),
            Shutdown::No | Shutdown::Done => None,
        };
        self.deadlines.first().into_iter().chain(end).min()
    }

    /// The next thing to do, in order; `None` when all is done.
    pub fn poll_action(&mut self) -> Option<Action<B>> {
        self.actions.pop_front()
    }

    /// Whether it was told to stop.
    pub fn is_stopping(&self) -> bool {
        self.shutdown != Shutdown::No
    }

    /// What has happened so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn advance(&mut self, now: Instant) {
        let late = now.saturating_duration_since(self.now) > 2 * self.settings.heartbeat_interval;
        if late && !self.workers.is_empty() {
            self.grace = Some(now + self.silence_max());
            self.note(Note::Late);
        }
        self.now = self.now.max(now);
    }

    /// For how long a worker may be silent.
    fn silence_max(&self) -> Duration {
        self.settings.heartbeat_interval * self.settings.heartbeat_liveness
    }

    fn note(&mut self, note: Note) {
        self.actions.push_back(Action::Note(note));
    }

    // Requests: arrive, wait, run, end.

    fn request(&mut self, caller: Caller<B>, service: ServiceName, body: B) {
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
    fn admit(
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
    fn wait(&mut self, key: RequestKey, place: Place) {
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
        self.requests[key].state = RequestState::Waiting { expires, turn };
    }

    /// Takes a waiting request out of the queue of its service.
    fn take_waiting(&mut self, key: RequestKey, expiry: Expiry) {
        let request = &self.requests[key];
        let RequestState::Waiting { expires, turn } = request.state else { return };
        let line = &mut self.services[request.service].waiting;
        self.turns.remove(line, &mut self.requests, key, turn);
        if expiry == Expiry::Ahead {
            self.deadlines.remove(expires, Due::Request(key));
        }
    }

    /// Hands waiting requests to idle workers until one of them runs out.
    fn pair(&mut self, service_key: ServiceKey) {
        while let Some(worker) = self.services[service_key].idle.front() {
            let line = &mut self.services[service_key].waiting;
            let Some(key) = self.turns.pop(line, &mut self.requests) else { break };
            if let RequestState::Waiting { expires, .. } = self.requests[key].state {
                self.deadlines.remove(expires, Due::Request(key));
            }
            self.dispatch(key, worker);
        }
    }

    /// Hands a request, which is in no queue, to an idle worker.
    fn dispatch(&mut self, key: RequestKey, worker_key: WorkerKey) {
        let worker = &mut self.workers[worker_key];
        let request = &mut self.requests[key];
        let service = &mut self.services[request.service];
        worker.state = WorkerState::Busy(key);
        worker.told_at = self.now;
        request.state = RequestState::Running { worker: worker_key };
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
            command: mdp_worker::FromBroker::Request { client, body: request.body.clone() },
        });
        service.idle.remove(&mut self.workers, worker_key);
    }

    /// A request lost its worker: it waits again, before all others, or ends.
    fn give_back(&mut self, key: RequestKey) {
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
    fn drop_request(&mut self, key: RequestKey, reason: Dropped) {
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

    fn forget_request(&mut self, key: RequestKey) -> Option<Request<B>> {
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

    // Workers: register, answer, beat, go.

    fn from_worker(&mut self, peer: PeerId, version: Version, command: mdp_worker::ToBroker<B>) {
        let Some(key) = self.worker_keys.get(&peer).copied() else {
            return self.from_stranger(peer, version, command);
        };
        let worker = &mut self.workers[key];
        worker.heard_at = self.now;
        if worker.version != version {
            return self.lose(key, Gone::Unexpected);
        }
        match command {
            mdp_worker::ToBroker::Ready { .. } => self.lose(key, Gone::Unexpected),
            mdp_worker::ToBroker::Partial { client, body } => self.partial(key, &client, body),
            mdp_worker::ToBroker::Final { client, body } => self.final_reply(key, &client, body),
            mdp_worker::ToBroker::Heartbeat => {}
            mdp_worker::ToBroker::Disconnect => self.lose(key, Gone::Disconnected),
        }
    }

    /// Whoever is not registered may register; anything else leaves no trace here.
    fn from_stranger(&mut self, peer: PeerId, version: Version, command: mdp_worker::ToBroker<B>) {
        match command {
            mdp_worker::ToBroker::Ready { service } => {
                if let Err(reason) = self.register(&peer, version, service) {
                    self.refuse(peer, version, reason);
                }
            }
            mdp_worker::ToBroker::Partial { .. } | mdp_worker::ToBroker::Final { .. } => {
                self.counters.replies_unexpected += 1;
                self.refuse(peer, version, RefusedWorker::Unregistered);
            }
            mdp_worker::ToBroker::Heartbeat => {
                self.refuse(peer, version, RefusedWorker::Unregistered);
            }
            mdp_worker::ToBroker::Disconnect => {}
        }
    }

    fn register(
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

    fn refuse(&mut self, worker: PeerId, version: Version, reason: RefusedWorker) {
        *self.counters.refused(reason) += 1;
        self.note(Note::WorkerRefused { worker: worker.clone(), reason });
        let command = mdp_worker::FromBroker::Disconnect;
        self.actions.push_back(Action::ToWorker { worker, version, command });
    }

    /// The request that this worker has, if that is the one it answers.
    fn running(&self, worker: WorkerKey, client: &ClientAddress) -> Option<RequestKey> {
        match self.workers[worker].state {
            WorkerState::Busy(key) if key.is(client, self.settings.instance) => Some(key),
            _ => None,
        }
    }

    fn partial(&mut self, worker: WorkerKey, client: &ClientAddress, body: B) {
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

    fn final_reply(&mut self, worker_key: WorkerKey, client: &ClientAddress, body: B) {
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
    fn attend(&mut self, key: WorkerKey, heard_until: Instant) {
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
                    command: mdp_worker::FromBroker::Heartbeat,
                });
            }
            Attention::None => {}
        }
        // Later than now, or it would be due again within this call.
        let next = lost_at.min(worker.told_at + interval);
        worker.due = next.max(now + Duration::from_nanos(1));
        self.deadlines.insert(worker.due, Due::Worker(key));
    }

    fn invalid(&mut self, peer: &PeerId, fault: Fault) {
        *self.counters.invalid(fault) += 1;
        if let Some(key) = self.worker_keys.get(peer) {
            self.lose(*key, Gone::Invalid);
        }
    }

    /// Forgets a worker; the request it had waits again, or ends.
    fn lose(&mut self, key: WorkerKey, reason: Gone) {
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
            let command = mdp_worker::FromBroker::Disconnect;
            self.actions.push_back(Action::ToWorker { worker, version, command });
        }
        match request {
            Some(request) => {
                self.give_back(request);
                if self.services.contains(service_key) {
                    self.pair(service_key);
                }
                self.finish_stopping_when_nothing_runs();
            }
            None => self.services.forget_if_unused(service_key),
        }
    }

    // Shutdown.

    fn stop(&mut self) {
        if self.shutdown != Shutdown::No {
            return;
        }
        self.shutdown = Shutdown::Until(self.now + self.settings.shutdown);
        let waiting =
            |(_, request): &(_, &Request<B>)| matches!(request.state, RequestState::Waiting { .. });
        let waiting: Vec<_> = self.requests.iter().filter(waiting).map(|(key, _)| key).collect();
        for key in waiting {
            self.take_waiting(key, Expiry::Ahead);
            self.drop_request(key, Dropped::Stopping);
        }
        let idle = |(_, worker): &(_, &Worker)| worker.state == WorkerState::Idle;
        let idle: Vec<_> = self.workers.iter().filter(idle).map(|(key, _)| key).collect();
        for key in idle {
            self.lose(key, Gone::Stopping);
        }
        self.finish_stopping_when_nothing_runs();
    }

    fn finish_stopping_when_nothing_runs(&mut self) {
        if matches!(self.shutdown, Shutdown::Until(_)) && self.workers.is_empty() {
            self.shutdown = Shutdown::Done;
            self.actions.push_back(Action::Stopped);
        }
    }

    fn finish_stopping(&mut self) {
        self.stop();
        let workers: Vec<_> = self.workers.keys().collect();
        for key in workers {
            self.lose(key, Gone::Stopping);
        }
    }
}

/// Where in the queue a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Behind its client's others.
    Back,
    /// Before all turns: it was running.
    Front,
}

/// Whether the expiry of a waiting request is still among the deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expiry {
    Ahead,
    Passed,
}
