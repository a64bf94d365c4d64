//! What must hold of the engine's own state after every event: the full sweep, for
//! debug builds and simulations. It asserts nothing about what peers sent.

use std::collections::HashMap;

use super::deadline::Due;
use super::request::{Reply, RequestState};
use super::shutdown::Shutdown;
use super::worker::WorkerState;
use super::{Engine, Payload};

impl<B: Payload> Engine<B> {
    /// In debug builds, checks everything while there is little to check.
    pub(super) fn check_when_small(&mut self) {
        if cfg!(debug_assertions) && self.requests.len() + self.workers.len() < 64 {
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
        assert!(self.bytes <= self.settings.bytes_max, "more bytes than bytes_max");
        assert!(self.requests.len() <= self.settings.requests_max);
        assert!(self.workers.len() <= self.settings.workers_max);
        assert!(self.services.len() <= self.settings.services_max);
        assert!(self.clients.len() <= self.settings.clients_max);
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
                service.idle.is_empty() || service.waiting.is_empty(),
                "{}: a request waits beside an idle worker",
                service.name
            );
            assert!(service.workers > 0 || waiting > 0, "{} is unused", service.name);
            let idle = service.idle.keys(&mut self.workers);
            assert_eq!(idle.len(), service.idle.len());
            assert_eq!(idle.len() + service.running, service.workers, "{}", service.name);
            for worker in idle {
                assert_eq!(self.workers[worker].state, WorkerState::Idle);
                assert_eq!(self.workers[worker].service, key);
            }
            assert_eq!(self.services.key(&service.name), Some(key));
            idle_services += usize::from(service.workers == 0);
        }
        assert_eq!(idle_services, self.services.idle());
    }

    fn check_workers(&self) {
        assert_eq!(self.workers.len(), self.worker_keys.len());
        for (key, worker) in &self.workers {
            assert_eq!(self.worker_keys.get(&worker.peer), Some(&key));
            assert!(self.deadlines.contains(worker.due, Due::Worker(key)));
            if let WorkerState::Busy(request) = worker.state {
                let request = &self.requests[request];
                assert!(
                    matches!(request.state, RequestState::Running { worker, .. } if worker == key)
                );
                assert_eq!(request.service, worker.service);
            } else {
                assert_eq!(self.shutdown, Shutdown::No, "an idle worker while shutting down");
            }
        }
    }

    fn check_requests(&self) {
        let mut bytes = 0;
        let mut waiting = 0;
        let mut by_client = HashMap::new();
        for (key, request) in &self.requests {
            bytes += request.bytes;
            *by_client.entry(request.caller.peer.clone()).or_insert(0) += 1;
            match request.state {
                RequestState::Waiting { expires, .. } => {
                    waiting += 1;
                    assert!(self.deadlines.contains(expires, Due::Request(key)));
                    assert!(matches!(request.reply, Reply::None), "a waiting request has a reply");
                    assert_eq!(self.shutdown, Shutdown::No, "a request waits while shutting down");
                }
                RequestState::Running { worker, .. } => {
                    assert_eq!(self.workers[worker].state, WorkerState::Busy(key));
                    assert!(request.attempt <= self.settings.attempts_max);
                }
            }
        }
        assert_eq!(bytes, self.bytes, "bytes held");
        assert_eq!(by_client, self.clients, "requests by client");
        assert_eq!(self.deadlines.len(), waiting + self.workers.len(), "deadlines");
        assert!(self.turns.len() <= waiting);
    }
}
