//! A second, plain account of what a broker does: ordinary maps, searched from end to
//! end, and no code in common with the engine. It is told each event before the engine
//! is, then every action, and says what is wrong with it.

mod answers;
mod expect;
mod follow;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use majordomo_broker::engine::{Caller, Dropped, Engine, Gone, Payload, RefusedWorker, Settings};
use majordomo_broker::stats::Counters;
use majordomo_protocol::mmi::{ServiceReport, WorkerState};
use majordomo_protocol::{
    Agreement, Answered, ClientAddress, PeerId, ServiceName, Terms, Version, client,
};

use crate::Parts;
use answers::{Answers, Outcome};

/// Requests are numbered as they come; their bodies carry the number, and in MDP/1.0
/// their ids. One that comes again has the number it had.
type Number = u64;

pub(crate) struct Model {
    settings: Settings,
    now: Instant,
    /// Only while the engine looks at the time.
    heard_until: Option<Instant>,
    /// When the engine said that it was late.
    resumed: Option<Instant>,
    may_be_late: bool,
    stop_at: Option<Instant>,
    stopped: bool,
    /// Counts everything that happens, to say what was before what.
    clock: u64,
    workers: BTreeMap<PeerId, Worker>,
    /// Requests that wait or run.
    requests: BTreeMap<Number, Request>,
    answers: Answers,
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
    capacity: usize,
    draining: bool,
    /// Since when it is unreachable.
    unreachable: Option<Instant>,
    /// Oldest first.
    tasks: Vec<Task>,
    heartbeat: Duration,
    silence_max: Duration,
    heard: Instant,
    told: Instant,
    /// Bytes that it says of itself.
    metadata_bytes: usize,
    /// When it was given a request, or became free, for the last time.
    used: u64,
    answered: u64,
}

impl Worker {
    fn is_open(&self) -> bool {
        !self.draining && self.unreachable.is_none()
    }

    fn is_free(&self) -> bool {
        self.is_open() && self.tasks.len() < self.capacity
    }

    /// Requests it does before the next one: it does all at once, or one at a time.
    fn ahead(&self) -> usize {
        if self.version == Version::V1_0 { 0 } else { self.tasks.len() }
    }
}

#[derive(Clone, Debug)]
struct Task {
    id: ClientAddress,
    number: Number,
    /// Where it ended for its client: whose it was, and how.
    ended: Option<(PeerId, Outcome)>,
    /// Whether it was sent to its worker, as far as anybody knows.
    sent: bool,
}

struct Request {
    caller: Caller<Parts>,
    wanted: bool,
    /// In whose turn it waits: who asked first.
    asked_first: PeerId,
    service: ServiceName,
    terms: Terms,
    body: Parts,
    arrived: u64,
    since: Instant,
    attempts: u32,
    /// Workers it lost that worked on it.
    losses: u32,
    id: Option<ClientAddress>,
    state: State,
    reply: Reply,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting { expires: Instant, returned: Option<u64> },
    Running,
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
        let envelope = self.caller.envelope.as_ref().map_or(0, |envelope| envelope.size());
        self.body.size() + envelope + self.terms.metadata.as_bytes().len() + kept
    }

    fn answered(&self) -> Answered {
        answered(&self.caller, &self.service)
    }

    fn waits(&self) -> bool {
        matches!(self.state, State::Waiting { .. })
    }

    fn start_by(&self) -> Option<Instant> {
        self.terms.start_within.map(|within| self.since + within)
    }

    fn end_by(&self) -> Option<Instant> {
        self.terms.timeout.map(|timeout| self.since + timeout)
    }

    fn expires(&self, now: Instant, expiry: Duration) -> Instant {
        let limits = [Some(now + expiry), self.start_by(), self.end_by()];
        limits.into_iter().flatten().min().expect("three")
    }

    /// What is dropped when its time to wait is over.
    fn expiry_reason(&self, now: Instant) -> Dropped {
        let limits = [self.start_by(), self.end_by()];
        match limits.into_iter().flatten().any(|limit| limit <= now) {
            true => Dropped::NotStarted,
            false => Dropped::Expired,
        }
    }
}

fn answered(caller: &Caller<Parts>, service: &ServiceName) -> Answered {
    caller.id.map_or_else(|| Answered::Service(service.clone()), Answered::Id)
}

/// What the engine must do before it is told the next thing.
#[derive(Debug, Default, PartialEq, Eq)]
struct Expected {
    late: bool,
    registered: Option<PeerId>,
    welcome: Option<(PeerId, Agreement)>,
    refused: Option<(PeerId, RefusedWorker)>,
    gone: Option<(PeerId, Gone)>,
    disconnect: Vec<(PeerId, Version)>,
    /// A request that is turned away as it comes.
    turned_away: Option<(PeerId, Dropped)>,
    dropped: Vec<(Number, Dropped)>,
    /// The task that a worker was told to cancel.
    cancelled: Option<ClientAddress>,
    /// What is said to clients, in any order, and what was said.
    to_clients: Vec<(Caller<Parts>, client::FromBroker<Parts>)>,
    said: Vec<(Caller<Parts>, client::FromBroker<Parts>)>,
    /// A report that is asked for, which no model knows.
    report: Option<(Caller<Parts>, Answered)>,
    unsent: Option<PeerId>,
    /// What was said to be dispatched, or answered, where requests are followed.
    dispatch: Option<(ClientAddress, PeerId, u32)>,
    answered: Option<ClientAddress>,
}

impl Expected {
    /// Takes out what was both expected and said.
    fn settle(&mut self) {
        let expected = &mut self.to_clients;
        self.said.retain(|said| match expected.iter().position(|it| it == said) {
            Some(position) => {
                expected.remove(position);
                false
            }
            None => true,
        });
    }
}

impl Model {
    pub(crate) fn new(settings: Settings, now: Instant) -> Self {
        Model {
            settings,
            now,
            heard_until: None,
            resumed: None,
            may_be_late: false,
            stop_at: None,
            stopped: false,
            clock: 0,
            workers: BTreeMap::new(),
            requests: BTreeMap::new(),
            answers: Answers::default(),
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
        let of_worker = |(peer, worker): (&PeerId, &Worker)| {
            let peer = peer.clone();
            let tasks = worker.tasks.clone().into_iter();
            tasks.map(move |task| (peer.clone(), task.number, task.id)).collect::<Vec<_>>()
        };
        self.workers.iter().flat_map(of_worker).collect()
    }

    pub(crate) fn registered(&self) -> Vec<(PeerId, Version)> {
        self.workers.iter().map(|(peer, worker)| (peer.clone(), worker.version)).collect()
    }

    pub(crate) fn is_unreachable(&self, peer: &PeerId) -> bool {
        self.workers.get(peer).is_some_and(|worker| worker.unreachable.is_some())
    }

    /// The version a peer speaks as a worker: the one it registered in.
    pub(crate) fn version(&self, peer: &PeerId) -> Version {
        let own = match peer.as_bytes()[1] % 3 {
            0 => Version::V1_0,
            1 => Version::V0_1,
            _ => Version::V0_2,
        };
        self.workers.get(peer).map_or(own, |worker| worker.version)
    }

    // What must hold when all actions are known.

    pub(crate) fn check(&mut self, engine: &Engine<Parts>) {
        self.expected.settle();
        assert_eq!(self.expected, Expected::default(), "did not happen");
        assert_eq!(self.counters, *engine.counters());
        let report = engine.report();
        let services: Vec<_> = self.services().into_values().collect();
        assert_eq!(report.services, services);
        assert_eq!(report.bytes, self.requests.values().map(Request::bytes).sum::<usize>() as u64);
        assert_eq!(report.stopping, self.stop_at.is_some());
        assert_eq!(report.clients, self.clients().collect::<BTreeSet<_>>().len() as u64);
        let workers = self.workers.iter().map(|(peer, worker)| {
            let state = match (worker.is_open(), worker.tasks.len()) {
                (false, _) => WorkerState::Draining,
                (true, 0) => WorkerState::Idle,
                (true, _) => WorkerState::Busy,
            };
            let tasks = (worker.tasks.len() as u64, worker.capacity as u64, worker.answered);
            (peer.to_string(), (worker.service.to_string(), state, tasks))
        });
        let reported = report.workers.into_iter();
        let reported = reported.map(|worker| {
            let tasks = (worker.running, worker.capacity, worker.answered);
            (worker.id, (worker.service, worker.state, tasks))
        });
        assert_eq!(reported.collect::<BTreeMap<_, _>>(), workers.collect());
        let dead = self.counters.requests_dropped_attempts_max;
        assert_eq!(report.dead.len() as u64, dead.min(self.settings.dead_max as u64));

        for request in self.requests.values().filter(|request| request.waits()) {
            let mut workers = self.workers.values();
            let free = workers.any(|w| w.service == request.service && w.is_free());
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
                self.workers.values().all(|worker| !worker.tasks.is_empty()),
                "idle for nothing"
            );
            assert_eq!(self.stopped, self.workers.is_empty());
        }
    }

    fn check_that_nothing_is_due(&self, engine: &Engine<Parts>, heard_until: Instant) {
        assert!(engine.poll_timeout().is_none_or(|due| due > self.now), "something is due");
        for worker in self.workers.values() {
            assert!(self.lost_at(worker) > heard_until, "a dead worker is registered");
            let is_beaten_to = worker.told + worker.heartbeat > self.now;
            assert!(is_beaten_to || worker.unreachable.is_some(), "no heartbeat");
        }
        for request in self.requests.values() {
            match request.state {
                State::Waiting { expires, .. } => assert!(expires > self.now, "waits too long"),
                State::Running => {
                    assert!(request.end_by().is_none_or(|end| end > self.now), "runs too long");
                }
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
        let ended = |name: &str| {
            ["requests_answered", "requests_joined", "answers_repeated"].contains(&name)
                || name.starts_with("requests_dropped_")
        };
        let ended = engine.counters().iter().filter(|(name, ..)| ended(name));
        let ended: u64 = ended.map(|(_, count, _)| count).sum();
        assert_eq!(engine.counters().requests_received, ended, "every request ends exactly once");
    }

    /// When something will be due, if nothing happens before.
    fn due(&self) -> Option<Instant> {
        let workers = self.workers.values();
        let workers = workers.map(|worker| match worker.unreachable {
            Some(_) => self.lost_at(worker),
            None => self.lost_at(worker).min(worker.told + worker.heartbeat),
        });
        let requests = self.requests.values().filter_map(|request| match request.state {
            State::Waiting { expires, .. } => Some(expires),
            State::Running => request.end_by(),
        });
        let stop = self.stop_at.filter(|_| !self.stopped);
        workers.chain(requests).chain(stop).min()
    }

    fn lost_at(&self, worker: &Worker) -> Instant {
        let (since, limit) = match worker.unreachable {
            Some(since) => (since, Duration::from_nanos(1)),
            None => (worker.heard, worker.silence_max),
        };
        since.max(self.resumed.unwrap_or(since)) + limit
    }

    fn bytes(&self) -> usize {
        let described: usize = self.workers.values().map(|worker| worker.metadata_bytes).sum();
        described + self.requests.values().map(Request::bytes).sum::<usize>()
    }

    /// The client of every request that waits or runs, or ended for it and still runs.
    fn clients(&self) -> impl Iterator<Item = &PeerId> {
        let live = self.requests.values().map(|request| &request.caller.peer);
        live.chain(self.ended().map(|(_, client, _)| client))
    }

    /// What ended for its client and still runs.
    fn ended(&self) -> impl Iterator<Item = (Number, &PeerId, &Outcome)> {
        let tasks = self.workers.values().flat_map(|worker| &worker.tasks);
        tasks.filter_map(|task| {
            let (client, outcome) = task.ended.as_ref()?;
            Some((task.number, client, outcome))
        })
    }

    /// Every service with a worker or a request, by name.
    fn services(&self) -> BTreeMap<String, ServiceReport> {
        let mut services: BTreeMap<_, ServiceReport> = BTreeMap::new();
        let mut of = |name: &ServiceName, workers: usize, running: usize, waiting: u64| {
            let name = name.to_string();
            let new = ServiceReport { name: name.clone(), ..ServiceReport::default() };
            let service = services.entry(name).or_insert(new);
            service.workers += workers as u64;
            service.running += running as u64;
            service.waiting += waiting;
        };
        for worker in self.workers.values() {
            of(&worker.service, usize::from(worker.is_open()), worker.tasks.len(), 0);
        }
        for request in self.requests.values().filter(|request| request.waits()) {
            of(&request.service, 0, 0, 1);
        }
        services
    }
}
