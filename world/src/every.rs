//! Every short history of two clients, two workers and a broker: not a sample, but each
//! order in which messages are read, handlers end and one thing goes wrong.
//!
//! Histories are walked depth first. Nothing here can be copied in the middle of a
//! history, so each is run from its beginning, along the choices of the one before up to
//! the last that has another way to go.

use std::time::{Duration, Instant};

use fastrand::Rng;
use majordomo_broker::engine::Settings;
use majordomo_broker::per_service::PerService;
use majordomo_protocol::{ServiceName, Version};
use majordomo_worker::dialog::{Registration, Timing};

use crate::book::Book;
use crate::broker::Broker;
use crate::client::{Client, Order};
use crate::must;
use crate::nature::{Nature, any_instant};
use crate::net::{LinkId, Net, Weather};
use crate::worker::{Manner, Worker};

/// Which histories.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// What the clients speak. Each makes one call.
    pub clients: [Version; 2],
    /// What the workers speak. Both serve the same service.
    pub workers: [Version; 2],
    /// Requests that a worker of MDP/1.0 takes at once.
    pub capacity: u16,
    /// Parts of each reply before the last.
    pub parts: u32,
    /// Whether calls may run once only.
    pub once: bool,
    /// Whether the broker is told of the end of a connection.
    pub tells_of_ends: bool,
    /// Things that go wrong in each history.
    pub faults: u32,
    /// Whether clients and workers read at once what came, unless that is when something
    /// goes wrong. Such a turn touches its own connection alone, so these are all the
    /// histories that differ in more than the order of what has nothing to do with each
    /// other; but for messages that are read together instead of one by one.
    pub prompt: bool,
}

/// What may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// The broker reads one message of a connection.
    Read(LinkId),
    /// The broker looks at the time.
    Broker,
    /// A worker takes its turn.
    Worker(usize),
    /// The oldest handler of a worker does its next step.
    Handler(usize),
    /// A client takes its turn.
    Client(usize),
    /// It becomes the next moment at which something is due.
    Time,
    /// A connection is cut; what is under way arrives or not.
    Cut(LinkId, bool),
    /// A worker is killed.
    Kill(usize),
    /// A client takes its call back.
    Cancel(usize),
}

/// How often time may pass in a history before it is left to itself.
const TIMES_MAX: u32 = 2;

struct History {
    bounds: Bounds,
    nature: Nature,
    broker: Broker,
    workers: Vec<Worker>,
    clients: Vec<Client>,
    faults: u32,
    times: u32,
}

const UP: [bool; 1] = [true];

impl History {
    /// Both workers are registered, and both requests are on their way.
    fn new(bounds: Bounds, began: Instant, trace: bool) -> Self {
        let ms = Duration::from_millis;
        let weather =
            Weather { delay_max: Duration::ZERO, notice_max: Duration::ZERO, queue_max: 100 };
        let mut nature = Nature {
            began,
            now: began,
            rng: Rng::with_seed(1),
            net: Net::new(weather, bounds.tells_of_ends),
            book: Book::new(true, false),
            trace,
            step: 0,
        };
        let broker = Broker::new(0, settings(), 4_096, 1_000, began);
        let timing = Timing {
            heartbeat_interval: ms(1_000),
            heartbeat_liveness: 3,
            reconnect_min: ms(50),
            reconnect_max: ms(400),
        };
        let manner = Manner {
            pause_max: ms(1),
            parts_max: bounds.parts,
            fails_one_in: 0,
            padding_max: 0,
            by_hand: true,
        };
        let service = ServiceName::new("echo").expect("a name");
        let workers = bounds.workers.iter().enumerate().map(|(index, version)| {
            let mut registration = Registration::new(service.clone(), *version);
            if *version == Version::V1_0 {
                registration.capacity = bounds.capacity;
            }
            Worker::new(index, 0, registration, timing, manner, began)
        });
        let workers = workers.collect();
        let clients = bounds.clients.iter().enumerate().map(|(index, version)| {
            Client::new(index, *version, 1, 2, ms(5_000), ms(1_000), &mut nature)
        });
        let clients = clients.collect();
        let mut history = History { bounds, nature, broker, workers, clients, faults: 0, times: 0 };
        history.settle();
        let order = Order {
            service,
            once: bounds.once,
            no_reply: false,
            fail_fast: false,
            start_within: None,
            timeout: ms(5_000),
            deadline: ms(10_000),
            tries: 2,
            in_parts: false,
            padding: 0,
        };
        for client in &mut history.clients {
            client.ask(order.clone(), &mut history.nature, &UP);
            client.turn(&mut history.nature, &UP);
        }
        history
    }

    /// Does what is due now, until nothing is.
    fn settle(&mut self) {
        loop {
            let mut events = self.events();
            events.retain(|event| !matches!(event, Event::Handler(_)));
            match events.first() {
                Some(event) => self.happen(*event),
                None => return,
            }
        }
    }

    /// What can happen now, if nothing goes wrong and no time passes.
    fn events(&self) -> Vec<Event> {
        let now = self.nature.now;
        let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= now);
        let mut events: Vec<_> =
            self.nature.net.readable(0, now).into_iter().map(Event::Read).collect();
        if is_due(self.broker.timeout()) || is_due(self.broker.starts_at) {
            events.push(Event::Broker);
        }
        for worker in &self.workers {
            if is_due(worker.due(&self.nature)) {
                events.push(Event::Worker(worker.index));
            }
            if worker.runs() > 0 {
                events.push(Event::Handler(worker.index));
            }
        }
        let clients = self.clients.iter().filter(|client| is_due(client.due(&self.nature)));
        events.extend(clients.map(|client| Event::Client(client.index)));
        events
    }

    /// All ways to go on.
    fn choices(&self) -> Vec<Event> {
        let mut events = self.events();
        let turn = |event: &&Event| matches!(event, Event::Worker(_) | Event::Client(_));
        if self.bounds.prompt
            && let Some(turn) = events.iter().find(turn).copied()
        {
            events = vec![turn];
        }
        if events.is_empty() && self.times < TIMES_MAX && self.nature.book.open() > 0 {
            events.push(Event::Time);
        }
        if events.is_empty() || self.faults >= self.bounds.faults {
            return events;
        }
        for (link, _) in self.nature.net.whole() {
            events.extend([Event::Cut(link, true), Event::Cut(link, false)]);
        }
        let workers = self.workers.iter().filter(|worker| worker.is_up());
        events.extend(workers.map(|worker| Event::Kill(worker.index)));
        for client in &self.clients {
            if !self.nature.book.open_of(client.index).is_empty() {
                events.push(Event::Cancel(client.index));
            }
        }
        events
    }

    fn happen(&mut self, event: Event) {
        self.nature.step += 1;
        let nature = &mut self.nature;
        nature.tell(|| format!("{event:?}"));
        match event {
            Event::Read(link) => {
                nature.net.only = Some(link);
                self.broker.turn(nature);
                nature.net.only = None;
            }
            Event::Broker => {
                // No connection has this number.
                nature.net.only = Some(0);
                self.broker.turn(nature);
                nature.net.only = None;
            }
            Event::Worker(index) => self.workers[index].turn(nature, true),
            Event::Handler(index) => self.workers[index].advance(nature, true),
            Event::Client(index) => self.clients[index].turn(nature, &UP),
            Event::Time => {
                self.times += 1;
                self.pass();
            }
            Event::Cut(link, arrives) => {
                self.faults += 1;
                nature.net.snap(link, arrives, nature.now);
            }
            Event::Kill(index) => {
                self.faults += 1;
                self.workers[index].crash(nature);
            }
            Event::Cancel(index) => {
                self.faults += 1;
                for call in nature.book.open_of(index) {
                    self.clients[index].cancel(call, nature, &UP);
                }
            }
        }
        self.nature.net.sweep(self.nature.now);
    }

    /// Lets time pass until something is due.
    fn pass(&mut self) {
        let nature = &self.nature;
        let parts = self.workers.iter().map(|worker| worker.due(nature));
        let parts = parts.chain(self.clients.iter().map(|client| client.due(nature)));
        let due = parts.chain([self.broker.due(nature)]).flatten().min();
        let Some(due) = due else {
            must!(false, "a call ends", "nothing is due any more");
            return;
        };
        self.nature.now = self.nature.now.max(due);
    }

    /// Everything goes its way until all calls have ended.
    fn finish(&mut self) {
        let end = self.nature.now + Duration::from_secs(60);
        while self.nature.book.open() > 0 || self.workers.iter().any(|worker| worker.runs() > 0) {
            match self.events().first() {
                Some(event) => self.happen(*event),
                None => self.pass(),
            }
            must!(self.nature.now < end, "a call ends", "open: {}", self.nature.book.open());
            self.nature.book.check(self.nature.now, |client| {
                self.clients[client].due(&self.nature).is_some_and(|due| due <= self.nature.now)
            });
        }
        if self.faults == 0 {
            self.nature.book.check_calm();
        }
    }
}

fn settings() -> Settings {
    let many = 1_000;
    Settings {
        heartbeat_interval: Duration::from_secs(1),
        heartbeat_liveness: 3,
        request_expiry: Duration::from_secs(4),
        attempts_max: 2,
        prefetch: PerService::new(1),
        shutdown: Duration::from_secs(1),
        requests_max: many,
        requests_per_service_max: many,
        requests_per_client_max: many,
        bytes_max: 1 << 20,
        partial_bytes_max: 1 << 20,
        services_max: many,
        services_idle_max: many,
        workers_max: many,
        worker_metadata_bytes_max: 1 << 20,
        clients_max: many,
        heartbeat_interval_min: Duration::from_millis(100),
        heartbeat_interval_max: Duration::from_secs(10),
        answers_max: many,
        answers_bytes_max: 1 << 20,
        answers_kept: Duration::from_secs(1_000),
        dead_max: 10,
        error_replies: false,
        instance: 0,
        follow_requests: true,
    }
}

/// The kinds of histories that are walked, each of them to its end: all versions on both
/// sides; every order while nothing goes wrong; one fault or two while all read promptly,
/// one while they do not where histories are shortest; one that the broker is not told of.
pub fn kinds() -> Vec<Bounds> {
    use Version::{V0_1, V0_2, V1_0};
    let kind = |clients, workers| Bounds {
        clients,
        workers,
        capacity: 1,
        parts: 0,
        once: false,
        tells_of_ends: true,
        faults: 1,
        prompt: true,
    };
    let calm = |clients, workers| Bounds { faults: 0, prompt: false, ..kind(clients, workers) };
    vec![
        calm([V1_0, V1_0], [V1_0, V1_0]),
        calm([V0_2, V0_1], [V0_1, V0_2]),
        calm([V1_0, V0_1], [V0_2, V1_0]),
        Bounds { parts: 1, capacity: 2, ..calm([V1_0, V0_1], [V1_0, V1_0]) },
        Bounds { parts: 1, prompt: true, ..calm([V1_0, V0_2], [V1_0, V0_2]) },
        kind([V1_0, V1_0], [V1_0, V1_0]),
        Bounds { once: true, ..kind([V1_0, V1_0], [V1_0, V1_0]) },
        Bounds { capacity: 2, ..kind([V1_0, V0_2], [V1_0, V0_2]) },
        kind([V0_2, V0_1], [V0_1, V0_2]),
        kind([V1_0, V0_1], [V0_2, V1_0]),
        Bounds { tells_of_ends: false, ..kind([V1_0, V0_1], [V0_2, V1_0]) },
        Bounds { parts: 1, ..kind([V1_0, V0_2], [V1_0, V0_2]) },
        Bounds { faults: 2, ..kind([V0_2, V0_1], [V0_1, V0_2]) },
        Bounds { faults: 2, ..kind([V1_0, V1_0], [V1_0, V1_0]) },
        Bounds { prompt: false, ..kind([V0_2, V0_1], [V0_1, V0_2]) },
    ]
}

/// How many histories were run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walked {
    /// Histories, each unlike all others.
    pub histories: u64,
    /// Steps of all of them.
    pub steps: u64,
    /// Whether these are all there are.
    pub all: bool,
}

/// Walks all histories within bounds, at most `histories_max`.
///
/// # Errors
///
/// The first violation, with the choices that lead to it; it has been run again with a
/// trace.
pub fn walk(bounds: Bounds, histories_max: u64) -> Result<Walked, String> {
    let began = any_instant();
    let mut walked = Walked { histories: 0, steps: 0, all: true };
    // The way taken at each fork, and how many there are.
    let mut path: Vec<(usize, usize)> = Vec::new();
    loop {
        let mut steps = 0;
        let before = path.clone();
        let result = crate::run::caught(|| steps = follow(bounds, &mut path, began, false));
        if let Err(what) = result {
            // A fork that was new is at its first way.
            let mut again = before;
            let _ = crate::run::caught(|| {
                follow(bounds, &mut again, began, true);
            });
            let ways: Vec<_> = path.iter().map(|(way, _)| way).collect();
            return Err(format!("{bounds:?}, ways {ways:?}: {what}"));
        }
        walked.histories += 1;
        walked.steps += u64::from(steps);
        loop {
            match path.pop() {
                None => return Ok(walked),
                Some((way, ways)) if way + 1 < ways => {
                    path.push((way + 1, ways));
                    break;
                }
                Some(_) => {}
            }
        }
        if walked.histories >= histories_max {
            walked.all = false;
            return Ok(walked);
        }
    }
}

/// Runs the history along a path, and onwards by the first way at each new fork.
fn follow(bounds: Bounds, path: &mut Vec<(usize, usize)>, began: Instant, trace: bool) -> u32 {
    let mut history = History::new(bounds, began, trace);
    let mut at = 0;
    loop {
        let choices = history.choices();
        if choices.is_empty() {
            break;
        }
        if at == path.len() {
            path.push((0, choices.len()));
        }
        let (way, ways) = path[at];
        assert_eq!(ways, choices.len(), "equal choices make equal histories");
        history.happen(choices[way]);
        at += 1;
    }
    history.finish();
    history.nature.step
}
