//! Random lives of a broker: peers of both versions, honest and hostile, against an
//! engine with low limits, step by step compared with a shadow [`model`].
//!
//! A failure prints its seed. `SIMULATION_SEED=17 cargo test -p majordomo-broker --test
//! simulation` runs that life again and prints every event and action of it;
//! `SIMULATION_SEEDS=100000` runs that many lives.

mod model;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fastrand::Rng;
use majordomo_broker::engine::{Action, Caller, Engine, Event, Fault, Payload, Question, Settings};
use majordomo_protocol::{ClientAddress, PeerId, ServiceName, Version, client, worker};

use model::Model;

const SEEDS: u64 = 200;
const STEPS: u32 = 500;
const SERVICES: [&str; 5] = ["echo", "sum", "hash", "mail", "echo.2"];
const CLIENTS: u8 = 5;
const WORKERS: u8 = 9;

#[test]
fn random_lives_of_a_broker_agree_with_a_model_of_it() {
    let number = |name| {
        let text = std::env::var(name).ok()?;
        Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, found {text:?}")))
    };
    if let Some(seed) = number("SIMULATION_SEED") {
        Life::new(seed, true).run();
        return;
    }
    let mut counted = BTreeMap::new();
    let seeds = number("SIMULATION_SEEDS").unwrap_or(SEEDS);
    for seed in 0..seeds {
        for (name, count) in Life::new(seed, false).run() {
            *counted.entry(name).or_insert(0) += count;
        }
    }
    let never: Vec<_> = counted.iter().filter(|(_, count)| **count < 20).collect();
    assert!(seeds < SEEDS || never.is_empty(), "these lives are too uneventful: {never:?}");
}

/// One frame of a body: which request it belongs to, which one it is, and its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    request: u64,
    serial: u64,
    size: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Parts(Vec<Part>);

impl Payload for Parts {
    fn size(&self) -> usize {
        self.0.iter().map(|part| part.size).sum()
    }

    fn append(&mut self, more: Self) {
        self.0.extend(more.0);
    }
}

/// One broker, from its start until everybody has left it.
struct Life {
    seed: u64,
    trace: bool,
    step: u32,
    rng: Rng,
    now: Instant,
    engine: Engine<Parts>,
    model: Model,
    /// Every task id that was ever given out, to be used out of place.
    ids: Vec<ClientAddress>,
    requests: u64,
    parts: u64,
}

impl Life {
    fn new(seed: u64, trace: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let settings = Settings {
            heartbeat_interval: Duration::from_millis(rng.u64(50..200)),
            heartbeat_liveness: rng.u32(1..5),
            request_expiry: Duration::from_millis(rng.u64(100..2_000)),
            attempts_max: rng.u32(1..4),
            shutdown: Duration::from_millis(rng.u64(0..500)),
            requests_max: rng.usize(3..25),
            requests_per_service_max: rng.usize(1..8),
            requests_per_client_max: rng.usize(1..10),
            bytes_max: rng.usize(40..400),
            partial_bytes_max: rng.usize(5..60),
            services_max: rng.usize(1..8),
            services_idle_max: rng.usize(1..5),
            workers_max: rng.usize(1..9),
            clients_max: rng.usize(1..8),
            instance: rng.u64(..),
            follow_requests: rng.bool(),
        };
        let now = any_instant();
        Life {
            seed,
            trace,
            step: 0,
            rng,
            now,
            engine: Engine::new(settings.clone(), now),
            model: Model::new(settings, now),
            ids: Vec::new(),
            requests: 0,
            parts: 0,
        }
    }

    /// Lives, and says what was counted.
    fn run(mut self) -> BTreeMap<String, u64> {
        while self.step < STEPS {
            self.step += 1;
            let event = self.random_event();
            match event {
                Some(event) => self.handle(event),
                None => self.let_time_pass(),
            }
        }
        match self.rng.u8(..6) {
            0 => self.handle(Event::StopNow),
            1..=3 => {
                self.handle(Event::Stop);
                for _ in 0..30 {
                    self.step += 1;
                    let again = (self.rng.u8(..20) == 0).then_some(Event::Stop);
                    match again.or_else(|| self.random_event()) {
                        Some(event) => self.handle(event),
                        None => self.let_time_pass(),
                    }
                }
            }
            _ => {
                for worker in (0..WORKERS).filter(|worker| worker % 2 == 0) {
                    let (worker, version) = (PeerId::new(&[b'w', worker]), Version::V0_1);
                    let command = worker::ToBroker::Disconnect;
                    self.handle(Event::FromWorker { worker, version, command });
                }
            }
        }
        // Longer than any request waits, is handed out, and waits again.
        self.drive(Duration::from_secs(20));
        self.model.check_that_all_is_over(&self.engine);
        self.engine.counters().to_map()
    }

    /// What happens next; `None` when only time passes.
    fn random_event(&mut self) -> Option<Event<Parts>> {
        let service = ServiceName::new(self.rng.choice(SERVICES)?).ok()?;
        Some(match self.rng.u8(..100) {
            0..30 => {
                let caller = self.caller();
                self.requests += 1;
                let body = self.body(self.requests, 40);
                Event::FromClient { caller, command: client::ToBroker::Request { service, body } }
            }
            30..34 => {
                let (service, question) = match self.rng.u8(..4) {
                    0 => ("mmi.broker", Question::Broker),
                    1 => ("mmi.other", Question::Unknown),
                    2 => ("mmi.service", Question::Service(None)),
                    _ => ("mmi.service", Question::Service(Some(service))),
                };
                let service = ServiceName::new(service).ok()?;
                Event::Question { caller: self.caller(), service, question }
            }
            34..46 => {
                let reserved = self.rng.u8(..20) == 0;
                let service =
                    if reserved { ServiceName::new("mmi.service").ok()? } else { service };
                self.said_by_worker(worker::ToBroker::Ready { service })
            }
            46..74 => {
                // The proper thing, if any worker has a request.
                let running = self.model.running();
                let (peer, request, client) = self.rng.choice(running)?;
                let body = self.body(request, 20);
                let command = match self.rng.u8(..3) {
                    0 => worker::ToBroker::Partial { client, body },
                    _ => worker::ToBroker::Final { client, body },
                };
                let version = self.model.version(&peer);
                Event::FromWorker { worker: peer, version, command }
            }
            74..78 => {
                let made_up = ClientAddress::new(&self.rng.u64(..).to_be_bytes());
                let stolen = self.rng.choice(&self.ids).cloned();
                let client = if self.rng.u8(..5) == 0 { made_up } else { stolen? };
                let body = self.body(u64::MAX, 20);
                let partial = self.rng.bool();
                self.said_by_worker(if partial {
                    worker::ToBroker::Partial { client, body }
                } else {
                    worker::ToBroker::Final { client, body }
                })
            }
            78..82 => self.said_by_worker(worker::ToBroker::Heartbeat),
            82 => self.said_by_worker(worker::ToBroker::Disconnect),
            83 => Event::Invalid {
                peer: self.peer(),
                fault: self.rng.choice([
                    Fault::Malformed,
                    Fault::FramesMax,
                    Fault::MessageBytesMax,
                ])?,
            },
            84 => Event::WorkerUnreachable { worker: self.peer() },
            85 => Event::ClientUnreachable { client: self.peer() },
            _ => return None,
        })
    }

    /// A client, seldom one that is a worker as well.
    fn caller(&mut self) -> Caller<Parts> {
        let peer = match self.rng.u8(..10) {
            0 => self.peer(),
            _ => PeerId::new(&[b'c', self.rng.u8(..CLIENTS)]),
        };
        let version = if self.rng.bool() { Version::V0_1 } else { Version::V0_2 };
        let envelope = (self.rng.u8(..4) == 0).then(|| self.body(0, 8));
        Caller { peer, version, envelope }
    }

    /// Something a worker says, mostly in its version; seldom said by a client.
    fn said_by_worker(&mut self, command: worker::ToBroker<Parts>) -> Event<Parts> {
        let worker = match self.rng.u8(..20) {
            0 => self.peer(),
            _ => PeerId::new(&[b'w', self.rng.u8(..WORKERS)]),
        };
        let known = self.model.version(&worker);
        let other = if known == Version::V0_1 { Version::V0_2 } else { Version::V0_1 };
        let version = if self.rng.u8(..20) == 0 { other } else { known };
        Event::FromWorker { worker, version, command }
    }

    fn peer(&mut self) -> PeerId {
        match self.rng.bool() {
            true => PeerId::new(&[b'c', self.rng.u8(..CLIENTS)]),
            false => PeerId::new(&[b'w', self.rng.u8(..WORKERS)]),
        }
    }

    fn body(&mut self, request: u64, size_max: usize) -> Parts {
        self.parts += 1;
        Parts(vec![Part { request, serial: self.parts, size: self.rng.usize(..size_max) }])
    }

    fn let_time_pass(&mut self) {
        // Most workers are alive, or none would be left.
        for (peer, version) in self.model.registered() {
            if self.rng.u8(..8) > 0 {
                let command = worker::ToBroker::Heartbeat;
                self.handle(Event::FromWorker { worker: peer, version, command });
            }
        }
        let span = Duration::from_millis(self.rng.u64(1..150));
        match self.rng.u8(..12) {
            // Nobody drives the engine for a while.
            0 => self.now += span * self.rng.u32(1..6),
            // It is driven, and not all that came has been read.
            1 => {
                let heard_until = self.now;
                self.now += span;
                self.handle_timeout(heard_until);
            }
            _ => self.drive(span),
        }
    }

    /// Lets time pass, calling the engine when it asks for it.
    fn drive(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(due) = self.engine.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.handle_timeout(self.now);
        }
        self.now = end;
        self.handle_timeout(end);
    }

    fn handle(&mut self, event: Event<Parts>) {
        if self.trace {
            eprintln!("{}: {event:?}", self.step);
        }
        self.model.expect_after(&event, self.now);
        self.engine.handle(event, self.now);
        self.compare();
    }

    fn handle_timeout(&mut self, heard_until: Instant) {
        if self.trace {
            let unread = self.now - heard_until;
            eprintln!("{}: {:?}, unread {unread:?}", self.step, self.now);
        }
        self.model.expect_after_timeout(self.now, heard_until);
        self.engine.handle_timeout(self.now, heard_until);
        self.compare();
    }

    /// Compares what the engine wants done and what it holds with the model.
    fn compare(&mut self) {
        self.engine.check_invariants();
        let mut unreachable = None;
        while let Some(action) = self.engine.poll_action() {
            if self.trace {
                eprintln!("    {action:?}");
            }
            if let Action::ToWorker { worker, command, .. } = &action {
                if let worker::FromBroker::Request { client, .. } = command {
                    self.ids.push(client.clone());
                }
                if self.rng.u8(..50) == 0 {
                    unreachable = Some(worker.clone());
                }
            }
            self.model.follow(action);
        }
        self.model.check(&self.engine);
        if let Some(worker) = unreachable {
            self.handle(Event::WorkerUnreachable { worker });
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed in step {}; replay: SIMULATION_SEED={}", self.step, self.seed);
        }
    }
}

/// Some instant: there is no other way to come by one, and no life depends on which.
#[expect(clippy::disallowed_methods, reason = "an Instant cannot be made from a number")]
fn any_instant() -> Instant {
    Instant::now()
}
