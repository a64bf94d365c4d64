//! What the engine alone costs: no socket, no codec, no clock.
//!
//! `cargo bench -p majordomo-broker --bench engine`. Times are per request (or per
//! heartbeat) where the `Kitem/s` line counts requests; a request's cost should not
//! depend on how many workers, services and waiting requests the engine knows. Beside
//! each time stand the allocations; once warm, a request that does not wait needs none.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use divan::Bencher;
use divan::counter::ItemsCount;
use majordomo_broker::engine::{Action, Caller, Engine, Event, Payload, Settings};
use majordomo_broker::per_service::PerService;
use majordomo_protocol::{
    ClientAddress, Offer, PeerId, ServiceName, Terms, Version, client, worker,
};

const CLIENTS: usize = 1_000;
const INTERVAL: Duration = Duration::from_secs(1);
const EXPIRY: Duration = Duration::from_secs(60);

#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

/// Who is there while requests come and go.
#[derive(Clone, Copy)]
struct Shape {
    workers: usize,
    /// The workers are spread over them; each without a worker has a waiting request.
    services: usize,
    /// Requests that wait for one of the services, whose one worker is busy. All services
    /// are asked in turn, this one among them.
    waiting: usize,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shape { workers, services, waiting } = self;
        write!(f, "{workers} workers, {services} services, {waiting} waiting")
    }
}

/// A request comes, is dispatched, answered, and ends. With requests waiting, another
/// one is dispatched and answered meanwhile.
#[divan::bench(sample_size = 1_000, args = [
    Shape { workers: 1, services: 1, waiting: 0 },
    Shape { workers: 10, services: 10, waiting: 0 },
    Shape { workers: 1_000, services: 10_000, waiting: 0 },
    Shape { workers: 10_000, services: 10_000, waiting: 0 },
    Shape { workers: 1, services: 1, waiting: 100_000 },
    Shape { workers: 10_000, services: 10_000, waiting: 100_000 },
])]
fn request_life(bencher: Bencher<'_, '_>, shape: Shape) {
    let mut broker = Broker::new(shape.services);
    for worker in 0..shape.workers {
        broker.register(worker, worker % shape.services);
    }
    for unserved in shape.workers..shape.services {
        broker.request(unserved % CLIENTS, unserved);
    }
    if shape.waiting > 0 {
        // Takes the one worker of this service.
        broker.request(0, 0);
    }
    for n in 0..shape.waiting {
        broker.request(n % CLIENTS, 0);
    }
    let served = shape.workers.min(shape.services);
    // Coprime to all counts above: every client and service in turn, none twice in a row.
    let mut n: usize = 0;
    bencher.counter(ItemsCount::new(1_u64)).bench_local(|| {
        n = n.wrapping_add(7_919);
        broker.request(n % CLIENTS, n % served);
        broker.answer_one();
    });
    assert_eq!(broker.waiting, shape.waiting + shape.services.saturating_sub(shape.workers));
}

/// 10,000 requests come for a service without a worker, from 1,000 clients.
#[divan::bench]
fn queue_10_000(bencher: Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(10_000_u64)).with_inputs(|| Broker::new(1)).bench_local_refs(
        |broker| {
            for n in 0..10_000 {
                broker.request(n % CLIENTS, 0);
            }
        },
    );
}

/// 10,000 waiting requests expire, beside 100,000 that do not yet.
#[divan::bench]
fn expire_10_000(bencher: Bencher<'_, '_>) {
    let filled = || {
        let mut broker = Broker::new(1);
        for n in 0..110_000 {
            if n == 10_000 {
                broker.now += Duration::from_millis(1);
            }
            broker.request(n % CLIENTS, 0);
        }
        broker
    };
    bencher.counter(ItemsCount::new(10_000_u64)).with_inputs(filled).bench_local_refs(|broker| {
        broker.now = broker.started + EXPIRY;
        broker.look_at_the_time();
        assert_eq!(broker.engine.counters().requests_dropped_expired, 10_000);
    });
}

/// An interval passes: every worker beats, and is sent a heartbeat.
#[divan::bench(args = [1, 100, 10_000])]
fn heartbeats(bencher: Bencher<'_, '_>, workers: usize) {
    let mut broker = Broker::new(1);
    for worker in 0..workers {
        broker.register(worker, 0);
    }
    bencher.counter(ItemsCount::new(workers as u64)).bench_local(|| {
        broker.now += INTERVAL;
        for worker in 0..workers {
            let worker = broker.workers[worker].clone();
            broker.say(worker, worker::ToBroker::Heartbeat);
        }
        broker.look_at_the_time();
    });
    assert_eq!(broker.engine.counters().workers_silent, 0);
}

/// A body of 100 bytes that is cloned without a copy, as the server's large ones are.
#[derive(Clone)]
struct Shared(Arc<[u8]>);

impl Payload for Shared {
    fn size(&self) -> usize {
        self.0.len()
    }

    fn append(&mut self, more: Self) {
        self.0 = self.0.iter().chain(more.0.iter()).copied().collect();
    }

    fn of_texts(texts: &[&str]) -> Self {
        Shared(Arc::from(texts.concat().as_bytes()))
    }
}

/// An engine, and the peers around it.
struct Broker {
    engine: Engine<Shared>,
    started: Instant,
    now: Instant,
    services: Vec<ServiceName>,
    clients: Vec<PeerId>,
    workers: Vec<PeerId>,
    body: Shared,
    /// Who has which request.
    running: Vec<(PeerId, ClientAddress)>,
    waiting: usize,
}

impl Broker {
    fn new(services: usize) -> Self {
        let started = any_instant();
        let peer = |kind: u8, n: usize| PeerId::new(&[&[kind], &n.to_be_bytes()[4..]].concat());
        let name = |n| ServiceName::new(format!("service.{n}")).expect("a name");
        Broker {
            engine: Engine::new(settings(), started),
            started,
            now: started,
            services: (0..services).map(name).collect(),
            clients: (0..CLIENTS).map(|n| peer(b'c', n)).collect(),
            workers: (0..10_000).map(|n| peer(b'w', n)).collect(),
            body: Shared(Arc::from([7; 100])),
            running: Vec::new(),
            waiting: 0,
        }
    }

    fn register(&mut self, worker: usize, service: usize) {
        let (service, offer) = (self.services[service].clone(), Offer::default());
        self.say(self.workers[worker].clone(), worker::ToBroker::Ready { service, offer });
    }

    fn request(&mut self, client: usize, service: usize) {
        let peer = self.clients[client].clone();
        let caller = Caller { peer, version: Version::V0_2, envelope: None, id: None };
        let (service, body) = (self.services[service].clone(), self.body.clone());
        let command =
            client::ToBroker::Request { id: None, service, terms: Terms::default(), body };
        self.waiting += 1;
        self.engine.handle(Event::FromClient { caller, command }, self.now);
        self.act();
    }

    /// One of the requests that workers have is answered.
    fn answer_one(&mut self) {
        let (worker, client) = self.running.pop().expect("a request runs");
        let body = self.body.clone();
        self.say(worker, worker::ToBroker::Final { client, body });
    }

    fn say(&mut self, worker: PeerId, command: worker::ToBroker<Shared>) {
        let event = Event::FromWorker { worker, version: Version::V0_2, command };
        self.engine.handle(event, self.now);
        self.act();
    }

    fn look_at_the_time(&mut self) {
        self.engine.handle_timeout(self.now, self.now);
        self.act();
    }

    fn act(&mut self) {
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::ToWorker {
                    worker,
                    command: worker::FromBroker::Request { client, body, .. },
                    ..
                } => {
                    divan::black_box(body);
                    self.waiting -= 1;
                    self.running.push((worker, client));
                }
                other => drop(divan::black_box(other)),
            }
        }
    }
}

fn settings() -> Settings {
    Settings {
        heartbeat_interval: INTERVAL,
        heartbeat_liveness: 3,
        request_expiry: EXPIRY,
        attempts_max: 3,
        prefetch: PerService::new(1),
        shutdown: Duration::from_secs(5),
        requests_max: 1_000_000,
        requests_per_service_max: 1_000_000,
        requests_per_client_max: 1_000_000,
        bytes_max: 1 << 30,
        partial_bytes_max: 1 << 20,
        services_max: 100_000,
        services_idle_max: 100_000,
        workers_max: 100_000,
        worker_metadata_bytes_max: 8 << 10,
        clients_max: 100_000,
        heartbeat_interval_min: INTERVAL,
        heartbeat_interval_max: INTERVAL,
        answers_max: 100_000,
        answers_bytes_max: 64 << 20,
        answers_kept: EXPIRY,
        dead_max: 100,
        error_replies: false,
        instance: 0x5eed_5eed_5eed_5eed,
        follow_requests: false,
    }
}

/// Some instant: there is no other way to come by one, and no figure depends on which.
#[expect(clippy::disallowed_methods, reason = "an Instant cannot be made from a number")]
fn any_instant() -> Instant {
    Instant::now()
}
