//! Random lives of a broker: peers of all versions, honest and hostile, against an
//! engine with low limits, step by step compared with a shadow [`model`].
//!
//! A failure prints its seed. `SIMULATION_SEED=17 cargo test -p majordomo-broker --test
//! simulation` runs that life again and prints every event and action of it;
//! `SIMULATION_SEEDS=100000` runs that many lives.

mod chance;
mod model;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fastrand::Rng;
use majordomo_broker::engine::{Action, Engine, Event, Note, Payload, Settings};
use majordomo_broker::per_service::PerService;
use majordomo_protocol::{ClientAddress, PeerId, Reason, Version, client, worker};

use model::Model;

const SEEDS: u64 = 200;
const STEPS: u32 = 500;
const SERVICES: [&str; 5] = ["echo", "sum", "hash", "mail", "echo.2"];
const CLIENTS: u8 = 5;
const WORKERS: u8 = 9;
/// What the broker itself says: no request has this number.
const BROKER: u64 = u64::MAX;
/// What a worker says out of place.
const NOBODY: u64 = u64::MAX - 1;

/// What is counted only where peers have identities, which none has here: see rights.rs.
const OF_IDENTITIES: [&str; 16] = [
    "connections_closed_connections_per_identity_max",
    "connections_closed_forbidden",
    "handshakes_refused",
    "identities_cut_off",
    "messages_cut_off",
    "messages_forbidden",
    "messages_routing_id",
    "mmi_requests_forbidden",
    "peers_displaced",
    "requests_dropped_forbidden",
    "requests_dropped_other_identity",
    "requests_dropped_peers_per_identity_max",
    "requests_dropped_requests_per_identity_max",
    "workers_forbidden",
    "workers_refused_forbidden",
    "workers_refused_peers_per_identity_max",
];

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
    let missing =
        |(name, count): &(&String, &u64)| **count < 20 && !OF_IDENTITIES.contains(&name.as_str());
    let never: Vec<_> = counted.iter().filter(missing).collect();
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

    /// The broker's own words belong to no request; their length is their size.
    fn of_texts(texts: &[&str]) -> Self {
        let part = |text: &&str| Part { request: BROKER, serial: 0, size: text.len() };
        Parts(texts.iter().map(part).collect())
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
    /// The latest requests of MDP/1.0.
    named: Vec<u64>,
    parts: u64,
    /// What was sent to a peer since it was last certain to have got all.
    on_their_way: BTreeMap<PeerId, OnTheirWay>,
}

/// Commands for one peer that may yet turn out not to be sent.
#[derive(Default)]
struct OnTheirWay {
    requests: Vec<ClientAddress>,
    answers: u64,
    parts: Vec<ClientAddress>,
}

impl Life {
    fn new(seed: u64, trace: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let settings = Settings {
            heartbeat_interval: Duration::from_millis(rng.u64(50..200)),
            heartbeat_liveness: rng.u32(1..5),
            request_expiry: Duration::from_millis(rng.u64(100..2_000)),
            attempts_max: rng.u32(1..4),
            prefetch: prefetch(&mut rng),
            shutdown: Duration::from_millis(rng.u64(0..500)),
            requests_max: rng.usize(3..25),
            requests_per_service_max: rng.usize(1..8),
            requests_per_client_max: rng.usize(1..10),
            bytes_max: rng.usize(40..400),
            partial_bytes_max: rng.usize(5..60),
            services_max: rng.usize(1..8),
            services_idle_max: rng.usize(1..5),
            workers_max: rng.usize(1..9),
            worker_metadata_bytes_max: rng.usize(4..80),
            clients_max: rng.usize(1..8),
            heartbeat_interval_min: Duration::from_millis(rng.u64(10..50)),
            heartbeat_interval_max: Duration::from_millis(rng.u64(200..500)),
            answers_max: rng.usize(0..20),
            answers_bytes_max: rng.usize(0..400),
            answers_kept: Duration::from_millis(rng.u64(0..1_500)),
            dead_max: rng.usize(0..4),
            error_replies: rng.bool(),
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
            named: Vec::new(),
            parts: 0,
            on_their_way: BTreeMap::new(),
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
                    let command = worker::ToBroker::Disconnect { reason: Reason::default() };
                    self.handle(Event::FromWorker { worker, version, command });
                }
            }
        }
        // Longer than any request waits, is handed out, and waits again.
        self.drive(Duration::from_secs(20));
        self.model.check_that_all_is_over(&self.engine);
        self.engine.counters().to_map()
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
        let mut unsent = None;
        while let Some(action) = self.engine.poll_action() {
            if self.trace {
                eprintln!("    {action:?}");
            }
            self.model.follow(action.clone());
            unsent = self.send(&action).or(unsent);
        }
        self.model.check(&self.engine);
        if let Some(unsent) = unsent {
            self.handle(unsent);
        }
    }

    /// As a server would: what is ready for a peer goes out now and then, or does not.
    fn send(&mut self, action: &Action<Parts>) -> Option<Event<Parts>> {
        let (peer, is_worker) = match action {
            Action::ToWorker { worker, command, .. } => {
                let message = self.on_their_way.entry(worker.clone()).or_default();
                if let worker::FromBroker::Request { client, .. } = command {
                    self.ids.push(client.clone());
                    message.requests.push(client.clone());
                }
                (worker.clone(), true)
            }
            Action::ToClient { caller, command, part_of } => {
                let message = self.on_their_way.entry(caller.peer.clone()).or_default();
                let is_answer = !matches!(command, client::FromBroker::Heartbeat { .. });
                message.answers += u64::from(is_answer);
                message.parts.extend(part_of.clone());
                (caller.peer.clone(), false)
            }
            Action::Note(Note::WorkerGone { worker, .. }) => {
                if let Some(message) = self.on_their_way.get_mut(worker) {
                    message.requests.clear();
                }
                return None;
            }
            _ => return None,
        };
        let (is_sent, is_lost) = (self.rng.u8(..4) == 0, self.rng.u8(..50) == 0);
        if !is_sent && !is_lost {
            return None;
        }
        let OnTheirWay { requests, answers, parts } = self.on_their_way.remove(&peer)?;
        // What is for a worker that went later in the same event is not sent.
        if self.engine.is_reachable(&peer) {
            self.engine.sent_to(&peer);
            self.model.sent_to(&peer);
        }
        is_lost.then_some(match is_worker {
            true => Event::WorkerUnreachable { worker: peer, requests },
            false => Event::ClientUnreachable { client: peer, answers, parts },
        })
    }
}

/// One at a time in most lives, or some ahead, or another number for a service.
fn prefetch(rng: &mut Rng) -> PerService<usize> {
    let mut prefetch = PerService::new(if rng.bool() { 1 } else { rng.usize(1..5) });
    if rng.u8(..3) == 0 {
        prefetch.set("echo*".parse().expect("a pattern"), rng.usize(1..5));
    }
    prefetch
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
