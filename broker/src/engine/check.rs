//! What must hold of the engine's own state after every event: the full sweep, for
//! debug builds and simulations. It asserts nothing about what peers sent.

use foldhash::HashMap;

use super::deadline::Due;
use super::request::{Reply, RequestState};
use super::rights::Identity;
use super::worker::Intake;
use super::{Engine, Outlet, Payload, Shutdown};

impl<B: Payload, O: Outlet<B>> Engine<B, O> {
    /// In debug builds, checks everything while there is little to check.
    pub(super) fn check_when_small(&mut self) {
        let is_small =
            || self.requests.len() + self.workers.len() < 64 && self.ids.answers() < 4 * 64;
        if cfg!(debug_assertions) && is_small() {
            self.check_invariants();
        }
    }

    /// Checks everything that must hold after every event.
    ///
    /// # Panics
    ///
    /// When something does not hold: a fault of the engine, whatever it was told.
    pub fn check_invariants(&mut self) {
        self.check_services();
        self.check_workers();
        self.check_requests();
        self.connections.check();
        let asked = self.requests.iter();
        let asked = asked.filter(|(_, request)| request.caller.id.is_some());
        let asked = asked.map(|(key, request)| (key, request.answered));
        self.ids.check(asked, &self.requests);
        assert!(self.ids.answers() <= self.settings.answers_max);
        assert!(self.ids.bytes() <= self.settings.answers_bytes_max);
        assert!(self.dead.len() <= self.settings.dead_max);
        assert!(self.bytes <= self.settings.bytes_max, "more bytes than bytes_max");
        assert!(self.requests.len() <= self.settings.requests_max);
        assert!(self.workers.len() <= self.settings.workers_max);
        assert!(self.services.len() <= self.settings.services_max);
        if self.shutdown == Shutdown::Done {
            assert!(self.workers.is_empty() && self.requests.is_empty(), "stopped too early");
        }
    }

    fn check_services(&mut self) {
        let keys: Vec<_> = self.services.iter().map(|(key, _)| key).collect();
        let mut idle_services = 0;
        for key in keys {
            let waiting = self.turns.count(&self.services[key].waiting, &mut self.requests);
            let service = &self.services[key];
            assert_eq!(waiting, service.waiting.len(), "waiting requests of {}", service.name);
            assert!(
                service.free.is_empty() || service.waiting.is_empty(),
                "{}: a request waits beside a free worker",
                service.name
            );
            let registered = self.workers.values().filter(|worker| worker.service == key);
            let (mut workers, mut draining, mut running) = (0, 0, 0);
            for worker in registered {
                match worker.intake {
                    Intake::Open => workers += 1,
                    Intake::Draining | Intake::Unreachable => draining += 1,
                }
                running += worker.tasks.len();
            }
            let counted = (service.workers, service.draining, service.running);
            assert_eq!(counted, (workers, draining, running), "{}", service.name);
            assert!(workers + draining > 0 || waiting > 0, "{} is unused", service.name);
            let listed = service.free.keys(&mut self.workers);
            for (worker, before) in &listed {
                assert_eq!(self.workers[*worker].before_next(), Some(*before));
                assert_eq!(self.workers[*worker].service, key);
            }
            let free = self.workers.values().filter(|w| w.service == key && w.is_free()).count();
            assert_eq!(free, listed.len(), "free workers of {}", service.name);
            assert_eq!(self.services.key(&service.name), Some(key));
            idle_services += usize::from(service.workers == 0);
        }
        assert_eq!(idle_services, self.services.idle());
    }

    fn check_workers(&mut self) {
        assert_eq!(self.workers.len(), self.worker_keys.len());
        for (key, worker) in self.workers.iter() {
            assert_eq!(self.worker_key(&worker.peer), Some(key));
            let entry = self.deadlines.get(worker.deadline);
            assert!(entry.is_some_and(|(_, due)| due == Due::Worker(key)));
            assert!(worker.tasks.len() <= worker.capacity, "more tasks than capacity");
            worker.tasks.check(&self.requests);
            for task in worker.tasks.in_order(&self.requests) {
                let request = &self.requests[task];
                assert_eq!(request.state.worker(), Some(key));
                assert_eq!(request.service, worker.service);
            }
            if worker.tasks.is_empty() {
                assert_eq!(self.shutdown, Shutdown::No, "an idle worker while shutting down");
            }
        }
    }

    fn check_requests(&self) {
        let (mut due, mut waiting) = (self.workers.len(), 0);
        let mut bytes: usize =
            self.workers.values().map(|worker| worker.registration.metadata.as_bytes().len()).sum();
        let mut by_client = HashMap::default();
        let mut by_identity = HashMap::default();
        for (key, request) in self.requests.iter() {
            bytes += request.bytes;
            *by_client.entry(request.caller.peer.clone()).or_insert(0) += 1;
            if request.identity != Identity::OPEN {
                by_identity.entry(request.identity).or_insert((0, 0)).0 += 1;
            }
            match request.state {
                RequestState::Waiting { .. } => {
                    (waiting, due) = (waiting + 1, due + 1);
                    let entry = self.deadlines.get(request.deadline);
                    assert!(entry.is_some_and(|(_, due)| due == Due::Request(key)));
                    assert!(matches!(request.reply, Reply::None), "a waiting request has a reply");
                    assert_eq!(self.shutdown, Shutdown::No, "a request waits while shutting down");
                }
                RequestState::Abandoned { .. } => {
                    let holds = request.body.is_some() || !request.metadata.is_empty();
                    assert!(request.bytes == 0 && !holds, "an abandoned request holds bytes");
                    assert_eq!(self.deadlines.get(request.deadline), None);
                }
                RequestState::Running { .. } => {
                    assert!(request.losses.reasons().len() < self.settings.attempts_max as usize);
                    if let Some(end) = request.end_by {
                        due += 1;
                        assert_eq!(
                            self.deadlines.get(request.deadline),
                            Some((end, Due::Request(key)))
                        );
                    }
                }
            }
        }
        assert_eq!(bytes, self.bytes, "bytes held");
        let clients = self.clients.iter().map(|(peer, client)| (peer.clone(), client.requests));
        assert_eq!(by_client, clients.collect(), "requests by client");
        let clients = self.clients.iter().map(|(_, client)| client.identity);
        let workers = self.workers.values().map(|worker| worker.identity);
        for identity in clients.chain(workers).filter(|identity| *identity != Identity::OPEN) {
            by_identity.entry(identity).or_insert((0, 0)).1 += 1;
        }
        self.identities.check(&by_identity);
        assert!(self.displaced.iter().all(|peer| self.clients.get(peer).is_some()));
        assert_eq!(self.deadlines.len(), due, "deadlines");
        assert!(self.turns.len() <= waiting);
    }
}
