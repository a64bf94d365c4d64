//! A service: a name, the workers registered for it, the requests that wait for it.

use majordomo_protocol::ServiceName;

use super::free::Free;
use super::index::{Index, Named};
use super::table::Table;
use super::waiting::Line;
use super::worker::Intake;

slotmap::new_key_type! {
    /// A service that has a worker or a request.
    pub(super) struct ServiceKey;
}

/// A service that has a worker or a request.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) name: ServiceName,
    /// Workers that can be given a request, in their order.
    pub(super) free: Free,
    /// Requests without a worker.
    pub(super) waiting: Line,
    /// Workers registered that take requests.
    pub(super) workers: usize,
    /// Workers registered that take no more: they drain, or are unreachable.
    pub(super) draining: usize,
    /// Requests that a worker has.
    pub(super) running: usize,
}

impl Named for Service {
    type Name = ServiceName;

    #[inline]
    fn name(&self) -> &ServiceName {
        &self.name
    }
}

/// All services, by key and by name.
#[derive(Debug, Default)]
pub(super) struct Services {
    services: Table<ServiceKey, Service>,
    by_name: Index<ServiceKey>,
    /// The one looked up last, if it is still there: often the next one.
    last: ServiceKey,
    /// Services without a worker.
    idle: usize,
}

impl Services {
    pub(super) fn len(&self) -> usize {
        self.services.len()
    }

    /// How many have no worker.
    pub(super) fn idle(&self) -> usize {
        self.idle
    }

    pub(super) fn key(&self, name: &ServiceName) -> Option<ServiceKey> {
        self.by_name.find(name, &self.services)
    }

    /// As [`Services::key`], for one that is likely to be asked for several times in a row.
    #[inline]
    pub(super) fn find(&mut self, name: &ServiceName) -> Option<ServiceKey> {
        if self.services.get(self.last).is_none_or(|service| service.name != *name) {
            self.last = self.by_name.find(name, &self.services)?;
        }
        Some(self.last)
    }

    /// Enters a service, without worker and request so far.
    pub(super) fn insert(&mut self, name: ServiceName) -> ServiceKey {
        let key = self.services.insert(Service {
            name,
            free: Free::default(),
            waiting: Line::default(),
            workers: 0,
            draining: 0,
            running: 0,
        });
        self.by_name.insert(key, &self.services);
        self.idle += 1;
        key
    }

    /// Counts one worker more.
    pub(super) fn worker_came(&mut self, key: ServiceKey) {
        let service = &mut self.services[key];
        service.workers += 1;
        if service.workers == 1 {
            self.idle -= 1;
        }
    }

    /// Counts one worker less.
    pub(super) fn worker_went(&mut self, key: ServiceKey, intake: Intake) {
        let service = &mut self.services[key];
        match intake {
            Intake::Draining | Intake::Unreachable => service.draining -= 1,
            Intake::Open => {
                service.workers -= 1;
                if service.workers == 0 {
                    self.idle += 1;
                }
            }
        }
    }

    /// Counts one worker as one that takes no more.
    pub(super) fn worker_drains(&mut self, key: ServiceKey) {
        self.worker_went(key, Intake::Open);
        self.services[key].draining += 1;
    }

    /// Forgets the service if it has neither worker nor request.
    pub(super) fn forget_if_unused(&mut self, key: ServiceKey) {
        let unused = |service: &Service| {
            // Something runs without a worker only while a lost one gives back what it had.
            service.workers + service.draining + service.running == 0 && service.waiting.is_empty()
        };
        if self.services.get(key).is_some_and(unused)
            && let Some(service) = self.services.remove(key)
        {
            self.by_name.remove(key, &service, &self.services);
            self.idle -= 1;
        }
    }

    pub(super) fn contains(&self, key: ServiceKey) -> bool {
        self.services.contains_key(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ServiceKey, &Service)> {
        self.services.iter()
    }
}

impl std::ops::Index<ServiceKey> for Services {
    type Output = Service;

    fn index(&self, key: ServiceKey) -> &Service {
        &self.services[key]
    }
}

impl std::ops::IndexMut<ServiceKey> for Services {
    fn index_mut(&mut self, key: ServiceKey) -> &mut Service {
        &mut self.services[key]
    }
}
