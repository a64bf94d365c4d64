//! A second, plain account of what a broker does: ordinary maps, searched from end to
//! end, and no code in common with the engine. It is told each event before the engine
//! is, then every action, and says what is wrong with it.

mod expect;
mod follow;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use majordomo_broker::engine::{Caller, Dropped, Engine, Gone, Payload, RefusedWorker, Settings};
use majordomo_broker::stats::Counters;
use majordomo_protocol::mmi::{ServiceReport, WorkerState};
use majordomo_protocol::{ClientAddress, PeerId, ServiceName, Version, client};

use crate::Parts;

/// Requests are numbered as they come; their bodies carry the number.
type Number = u64;

pub(crate) struct Model {
    settings: Settings,
    now: Instant,
    /// Only while the engine looks at the time.
    heard_until: Option<Instant>,
    grace: Option<Instant>,
    stop_at: Option<Instant>,
    stopped: bool,
    /// Counts everything that happens, to say what was before what.
    clock: u64,
    workers: BTreeMap<PeerId, Worker>,
    /// Requests that wait or run.
    requests: BTreeMap<Number, Request>,
    /// Whose task id it is, or was.
    ids: HashMap<ClientAddress, Option<Number>>,
    /// When a client had its last turn in a service.
    turns: HashMap<(ServiceName, PeerId), u64>,
    /// Peers that said DISCONNECT, or were told to, and have said nothing since.
    parted: HashSet<PeerId>,
    counters: Counters,
    expected: Expected,
}

struct Worker {
    version: Version,
    service: ServiceName,
    request: Option<Number>,
    heard: Instant,
    told: Instant,
    idle_since: u64,
    answered: u64,
}

struct Request {
    caller: Caller<Parts>,
    service: ServiceName,
    body: Parts,
    arrived: u64,
    attempts: u32,
    id: Option<ClientAddress>,
    state: State,
    reply: Reply,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting { since: Instant, returned: Option<u64> },
    Running { since: Instant },
}

#[derive(Debug, PartialEq, Eq)]
enum Reply {
    None,
    Sent,
    Kept(Parts),
    Overflowed,
}

impl Request {
    fn bytes(&self) -> usize {
        let kept = if let Reply::Kept(parts) = &self.reply { parts.size() } else { 0 };
        self.body.size() + self.caller.envelope.as_ref().map_or(0, Payload::size) + kept
    }

    fn waits(&self) -> bool {
        matches!(self.state, State::Waiting { .. })
    }
}

/// What the engine must do before it is told the next thing.
#[derive(Debug, Default, PartialEq, Eq)]
struct Expected {
    late: bool,
    registered: Option<PeerId>,
    refused: Option<(PeerId, RefusedWorker)>,
    gone: Option<(PeerId, Gone)>,
    disconnect: Vec<(PeerId, Version)>,
    /// A request that is turned away as it comes.
    turned_away: Option<(PeerId, Dropped)>,
    dropped: Vec<(Number, Dropped)>,
    to_client: Option<(Caller<Parts>, client::FromBroker<Parts>)>,
    answer: Option<(Caller<Parts>, ServiceName, Option<String>)>,
    unsent: Option<PeerId>,
    /// What was said to be dispatched, or answered, where requests are followed.
    dispatch: Option<(ClientAddress, PeerId, u32)>,
    answered: Option<ClientAddress>,
}

impl Model {
    pub(crate) fn new(settings: Settings, now: Instant) -> Self {
        Model {
            settings,
            now,
            heard_until: None,
            grace: None,
            stop_at: None,
            stopped: false,
            clock: 0,
            workers: BTreeMap::new(),
            requests: BTreeMap::new(),
            ids: HashMap::new(),
            turns: HashMap::new(),
            parted: HashSet::new(),
            counters: Counters::default(),
            expected: Expected::default(),
        }
    }

    // What the peers know: it steers the honest among them.

    /// Workers with a request, that request, and its task id.
    pub(crate) fn running(&self) -> Vec<(PeerId, Number, ClientAddress)> {
        let running = self.workers.iter().filter_map(|(peer, worker)| {
            let number = worker.request?;
            Some((peer.clone(), number, self.requests[&number].id.clone()?))
        });
        running.collect()
    }

    pub(crate) fn registered(&self) -> Vec<(PeerId, Version)> {
        self.workers.iter().map(|(peer, worker)| (peer.clone(), worker.version)).collect()
    }

    /// The version a peer speaks as a worker: the one it registered in.
    pub(crate) fn version(&self, peer: &PeerId) -> Version {
        let own = if peer.as_bytes()[1].is_multiple_of(2) { Version::V0_1 } else { Version::V0_2 };
        self.workers.get(peer).map_or(own, |worker| worker.version)
    }

    // What must hold when all actions are known.

    pub(crate) fn check(&mut self, engine: &Engine<Parts>) {
        assert_eq!(self.expected, Expected::default(), "did not happen");
        assert_eq!(self.counters, *engine.counters());
        let report = engine.report();
        let services: Vec<_> = self.services().into_values().collect();
        assert_eq!(report.services, services);
        assert_eq!(report.bytes, self.bytes() as u64);
        assert_eq!(report.stopping, self.stop_at.is_some());
        let clients = self.requests.values().map(|request| &request.caller.peer);
        assert_eq!(report.clients, clients.collect::<BTreeSet<_>>().len() as u64);
        let workers = self.workers.iter().map(|(peer, worker)| {
            let state =
                if worker.request.is_some() { WorkerState::Busy } else { WorkerState::Idle };
            (peer.to_string(), (worker.service.to_string(), state, worker.answered))
        });
        let reported = report.workers.into_iter();
        let reported =
            reported.map(|worker| (worker.id, (worker.service, worker.state, worker.answered)));
        assert_eq!(reported.collect::<BTreeMap<_, _>>(), workers.collect());

        for request in self.requests.values().filter(|request| request.waits()) {
            let mut workers = self.workers.values();
            let free = workers.any(|w| w.service == request.service && w.request.is_none());
            assert!(!free, "a request waits beside an idle worker");
        }
        if let Some(heard_until) = self.heard_until {
            self.check_that_nothing_is_due(engine, heard_until);
        }
        if let Some(due) = self.due() {
            // Whoever is late already asks again at once.
            let due = due.max(self.now + Duration::from_nanos(1));
            assert!(engine.poll_timeout().is_some_and(|asked| asked <= due), "asks too late");
        }
        if self.stop_at.is_some() {
            assert!(self.requests.values().all(|request| !request.waits()), "waits for nobody");
            assert!(
                self.workers.values().all(|worker| worker.request.is_some()),
                "idle for nothing"
            );
            assert_eq!(self.stopped, self.workers.is_empty());
        }
    }

    fn check_that_nothing_is_due(&self, engine: &Engine<Parts>, heard_until: Instant) {
        assert!(engine.poll_timeout().is_none_or(|due| due > self.now), "something is due");
        for worker in self.workers.values() {
            assert!(self.lost_at(worker) > heard_until, "a dead worker is registered");
            assert!(worker.told + self.settings.heartbeat_interval > self.now, "no heartbeat");
        }
        for request in self.requests.values() {
            if let State::Waiting { since, .. } = request.state {
                assert!(since + self.settings.request_expiry > self.now, "waits for too long");
            }
        }
        if self.stop_at.is_some_and(|at| at <= self.now) {
            assert!(self.stopped, "not stopped in time");
        }
    }

    pub(crate) fn check_that_all_is_over(&self, engine: &Engine<Parts>) {
        assert!(self.requests.is_empty() && self.workers.is_empty());
        let report = engine.report();
        assert!(report.services.is_empty() && report.workers.is_empty());
        assert_eq!((report.clients, report.bytes), (0, 0));
        assert_eq!(engine.poll_timeout(), None);
        assert_eq!(self.stopped, self.stop_at.is_some());
        let ended =
            |name: &str| name == "requests_answered" || name.starts_with("requests_dropped_");
        let ended = engine.counters().iter().filter(|(name, ..)| ended(name));
        let ended: u64 = ended.map(|(_, count, _)| count).sum();
        assert_eq!(engine.counters().requests_received, ended, "every request ends exactly once");
    }

    /// When something will be due, if nothing happens before.
    fn due(&self) -> Option<Instant> {
        let workers = self.workers.values();
        let workers = workers
            .map(|worker| self.lost_at(worker).min(worker.told + self.settings.heartbeat_interval));
        let requests = self.requests.values().filter_map(|request| match request.state {
            State::Waiting { since, .. } => Some(since + self.settings.request_expiry),
            State::Running { .. } => None,
        });
        let stop = self.stop_at.filter(|_| !self.stopped);
        workers.chain(requests).chain(stop).min()
    }

    fn lost_at(&self, worker: &Worker) -> Instant {
        let silence = self.settings.heartbeat_interval * self.settings.heartbeat_liveness;
        (worker.heard + silence).max(self.grace.unwrap_or(worker.heard))
    }

    fn bytes(&self) -> usize {
        self.requests.values().map(Request::bytes).sum()
    }

    /// Every service with a worker or a request, by name.
    fn services(&self) -> BTreeMap<String, ServiceReport> {
        let mut services: BTreeMap<_, ServiceReport> = BTreeMap::new();
        let mut of = |name: &ServiceName, count: fn(&mut ServiceReport)| {
            let name = name.to_string();
            let new = ServiceReport { name: name.clone(), ..ServiceReport::default() };
            count(services.entry(name).or_insert(new));
        };
        for worker in self.workers.values() {
            of(&worker.service, |service| service.workers += 1);
        }
        for request in self.requests.values() {
            match request.state {
                State::Waiting { .. } => of(&request.service, |service| service.waiting += 1),
                State::Running { .. } => of(&request.service, |service| service.running += 1),
            }
        }
        services
    }
}
