//! Every row that is measured by one window of load: a shape, a subject, and the peers of
//! that subject in that shape.

use majordomo_client::Client;

use super::args::Args;
use super::broker::{Broker, Running};
use super::crowd::Crowd;
use super::drive::{Pace, Peers};
use super::peer::{ClientLink, WorkerLink};
use super::{gearman, mdp02, mdp10, nats, plain, sdk};

/// The one service of most shapes.
pub const SERVICE: &str = "load";

/// Who speaks with the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// Bare sockets of MDP/0.2, one request at a time.
    V02,
    /// Bare sockets of MDP/1.0 that batch.
    V10,
    /// Bare sockets without a protocol.
    Plain,
    /// NATS.
    Nats,
    /// Gearman.
    Gearman,
    /// One [`Client`] that submits, and our SDK's workers.
    Submit,
    /// Threads that share one [`Client`], and our SDK's workers.
    Threads,
    /// A blocking client, and our SDK's workers.
    Blocking,
    /// A [`Client`] that submits, and a bare worker of MDP/1.0.
    SubmitToBare,
    /// A thread that calls by a [`Client`], and a bare worker of MDP/1.0.
    CallToBare,
    /// A blocking client, and a bare worker of MDP/0.2.
    BlockingToBare,
    /// A bare client of MDP/0.2 and a crowd of workers, each of its own service.
    Crowd,
}

/// How many peers, and what each has under way.
#[derive(Clone, Copy, Debug)]
struct Shape {
    name: &'static str,
    clients: usize,
    in_flight: usize,
    workers: usize,
    capacity: u16,
    body_bytes: usize,
}

/// One subject in one shape.
pub struct Row {
    /// The shape, in words.
    pub shape: &'static str,
    /// The subject.
    pub subject: &'static str,
    /// The broker.
    pub broker: Broker,
    speech: Speech,
    sizes: Shape,
}

/// One in flight.
pub const ONE: &str = "1 client, 1 in flight, 1 worker";
/// Sixteen clients.
pub const SIXTEEN: &str = "16 clients, 1 in flight each, 16 workers";
/// Sixty-four clients.
pub const SIXTY_FOUR: &str = "64 clients, 1 in flight each, 64 workers";
/// A pipelining client.
pub const DEEP_64: &str = "1 client, 64 in flight, 16 workers that take one";
/// One that pipelines more.
pub const DEEP_1000: &str = "1 client, 1,000 in flight, 16 workers that take one";
/// With a prefetch of 4.
pub const DEEP_64_BY_4: &str = "1 client, 64 in flight, 16 workers given 4 ahead";
/// With a prefetch of 16.
pub const DEEP_64_BY_16: &str = "1 client, 64 in flight, 16 workers given 16 ahead";
/// With a prefetch of 4.
pub const DEEP_1000_BY_4: &str = "1 client, 1,000 in flight, 16 workers given 4 ahead";
/// With a prefetch of 16.
pub const DEEP_1000_BY_16: &str = "1 client, 1,000 in flight, 16 workers given 16 ahead";
/// Batches.
pub const BATCH_64: &str = "1 client, 64 in flight, 4 workers that take 256";
/// Larger batches.
pub const BATCH_1000: &str = "1 client, 1,000 in flight, 4 workers that take 256";
/// One worker for all.
pub const ALL_TO_ONE: &str = "1 client, 1,000 in flight, 1 worker that takes 1,000";
/// Large bodies.
pub const BODY_64_KIB: &str = "64 KiB bodies, 1 client, 4 in flight, 4 workers";
/// Larger bodies.
pub const BODY_1_MIB: &str = "1 MiB bodies, 1 client, 4 in flight, 4 workers";
/// Few services.
pub const CROWD_10: &str = "10 workers on as many services, 1 client, 16 in flight";
/// Many services.
pub const CROWD_1000: &str = "1,000 workers on as many services, 1 client, 16 in flight";
/// Very many services.
pub const CROWD_10000: &str = "10,000 workers on as many services, 1 client, 16 in flight";

/// Our broker.
pub const MAJORDOMO: &str = "majordomo";
/// Our broker, with MDP/1.0.
pub const MAJORDOMO_V10: &str = "majordomo, MDP/1.0";
/// Our broker and a client and workers of our SDKs.
pub const SDK: &str = "majordomo, SDKs";
/// The same with many threads.
pub const SDK_THREADS: &str = "majordomo, SDKs, 64 threads";
/// The same with a blocking client.
pub const SDK_BLOCKING: &str = "majordomo, SDKs, BlockingClient";
/// Our `Client`, and a bare worker.
pub const CLIENT_BARE: &str = "majordomo, Client, bare worker";
/// Our `BlockingClient`, and a bare worker.
pub const BLOCKING_BARE: &str = "majordomo, BlockingClient, bare worker";
/// The bare loops.
pub const BARE: &str = "bare loop";
/// The same, which gives a worker nothing ahead while another one has less to do.
pub const BARE_IDLE_FIRST: &str = "bare loop, idle first";
/// libzmq's proxy.
pub const PROXY: &str = "zmq_proxy";
/// NATS.
pub const NATS: &str = "NATS";
/// Gearman.
pub const GEARMAND: &str = "gearmand";
/// Our broker, which looks for messages a while before it sleeps.
pub const SPINNING: &str = "majordomo, spin 100 us";
/// Our broker, with a thread of libzmq that moves bytes.
pub const THREADED: &str = "majordomo, 1 I/O thread";
/// The same, with MDP/1.0.
pub const THREADED_V10: &str = "majordomo, 1 I/O thread, MDP/1.0";
/// Another build of ours.
pub const PREVIOUS: &str = "majordomo, previous";
/// Another build of ours, with MDP/1.0.
pub const PREVIOUS_V10: &str = "majordomo, previous, MDP/1.0";

const fn shape(name: &'static str, clients: usize, in_flight: usize, workers: usize) -> Shape {
    Shape { name, clients, in_flight, workers, capacity: 256, body_bytes: 16 }
}

/// All rows, in the order in which a round takes them.
pub fn rows(args: &Args) -> Vec<Row> {
    let mut rows = vec![];
    let ours = || Broker::Majordomo(vec![]);
    let threaded = || Broker::Majordomo(vec!["--io-threads=1".to_owned()]);
    let mut add = |sizes: Shape, subject, broker, speech| {
        rows.push(Row { shape: sizes.name, subject, broker, speech, sizes });
    };
    let previous = || args.previous.clone().map(|path| Broker::Previous(path, vec![]));

    let closed = [shape(ONE, 1, 1, 1), shape(SIXTEEN, 16, 1, 16), shape(SIXTY_FOUR, 64, 1, 64)];
    for sizes in closed {
        add(sizes, MAJORDOMO, ours(), Speech::V02);
        if let Some(previous) = previous() {
            add(sizes, PREVIOUS, previous, Speech::V02);
        }
        let spin = Broker::Majordomo(vec!["--spin-us=100".to_owned()]);
        add(sizes, SPINNING, spin, Speech::V02);
        add(sizes, THREADED, threaded(), Speech::V02);
        add(sizes, BARE, Broker::Bare(1), Speech::V02);
        if sizes.name == ONE {
            add(sizes, MAJORDOMO_V10, ours(), Speech::V10);
            add(sizes, SDK, ours(), Speech::Threads);
            add(sizes, SDK_BLOCKING, ours(), Speech::Blocking);
            add(sizes, CLIENT_BARE, ours(), Speech::CallToBare);
            add(sizes, BLOCKING_BARE, ours(), Speech::BlockingToBare);
        }
        add(sizes, PROXY, Broker::Proxy, Speech::Plain);
        add(sizes, NATS, Broker::Nats, Speech::Nats);
        add(sizes, GEARMAND, Broker::Gearmand, Speech::Gearman);
    }
    for sizes in [shape(DEEP_64, 1, 64, 16), shape(DEEP_1000, 1, 1_000, 16)] {
        add(sizes, MAJORDOMO, ours(), Speech::V02);
        if let Some(previous) = previous() {
            add(sizes, PREVIOUS, previous, Speech::V02);
        }
        add(sizes, BARE, Broker::Bare(1), Speech::V02);
        add(sizes, PROXY, Broker::Proxy, Speech::Plain);
    }
    for sizes in [shape(BATCH_64, 1, 64, 4), shape(BATCH_1000, 1, 1_000, 4)] {
        add(sizes, MAJORDOMO_V10, ours(), Speech::V10);
        if let Some(previous) = previous() {
            add(sizes, PREVIOUS_V10, previous, Speech::V10);
        }
        add(sizes, THREADED_V10, threaded(), Speech::V10);
        add(sizes, BARE, Broker::BareV1, Speech::V10);
        add(sizes, SDK, ours(), Speech::Submit);
        if sizes.in_flight == 64 {
            add(sizes, SDK_THREADS, ours(), Speech::Threads);
        }
        add(sizes, PROXY, Broker::Proxy, Speech::Plain);
        add(sizes, NATS, Broker::Nats, Speech::Nats);
    }
    let all_to_one = Shape { capacity: 1_000, ..shape(ALL_TO_ONE, 1, 1_000, 1) };
    add(all_to_one, MAJORDOMO_V10, ours(), Speech::V10);
    add(all_to_one, CLIENT_BARE, ours(), Speech::SubmitToBare);
    add(all_to_one, SDK, ours(), Speech::Submit);

    for (name, body_bytes) in [(BODY_64_KIB, 64 << 10), (BODY_1_MIB, 1 << 20)] {
        let sizes = Shape { body_bytes, ..shape(name, 1, 4, 4) };
        add(sizes, MAJORDOMO, ours(), Speech::V02);
        add(sizes, THREADED, threaded(), Speech::V02);
        add(sizes, BARE, Broker::Bare(1), Speech::V02);
    }
    for (name, workers) in [(CROWD_10, 10), (CROWD_1000, 1_000), (CROWD_10000, 10_000)] {
        let workers = if args.quick { workers / 10 } else { workers };
        let sizes = shape(name, 1, 16, workers);
        add(sizes, MAJORDOMO, ours(), Speech::Crowd);
        add(sizes, BARE, Broker::Bare(1), Speech::Crowd);
    }
    let ahead = [
        (shape(DEEP_64_BY_4, 1, 64, 16), 4),
        (shape(DEEP_64_BY_16, 1, 64, 16), 16),
        (shape(DEEP_1000_BY_4, 1, 1_000, 16), 4),
        (shape(DEEP_1000_BY_16, 1, 1_000, 16), 16),
    ];
    for (sizes, ahead) in ahead {
        let prefetch = vec![format!("--prefetch={ahead}")];
        if let Some(path) = args.previous.clone() {
            add(sizes, PREVIOUS, Broker::Previous(path, prefetch.clone()), Speech::V02);
        }
        add(sizes, MAJORDOMO, Broker::Majordomo(prefetch), Speech::V02);
        add(sizes, BARE, Broker::Bare(ahead), Speech::V02);
        add(sizes, BARE_IDLE_FIRST, Broker::BareIdleFirst(ahead), Speech::V02);
    }
    rows.retain(|row| row.shape.contains(&args.only));
    rows
}

/// So many names of services.
pub fn services(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("service-{number}")).collect()
}

impl Row {
    /// Its peers, connected to this broker.
    pub fn peers(&self, broker: &Running) -> Peers {
        let workers = self.workers(broker);
        Peers { clients: self.clients(broker), pace: Pace::InFlight(self.depth()), workers }
    }

    /// Threads share what one client has in flight.
    fn depth(&self) -> usize {
        if self.calls() { 1 } else { self.sizes.in_flight }
    }

    fn calls(&self) -> bool {
        matches!(self.speech, Speech::Threads | Speech::CallToBare)
    }

    fn workers(&self, broker: &Running) -> Vec<Box<dyn WorkerLink>> {
        let (to, capacity) = (broker.workers.as_str(), self.sizes.capacity);
        if self.speech == Speech::Crowd {
            return vec![Box::new(Crowd::register(to, &services(self.sizes.workers), None))];
        }
        let worker = |_| -> Box<dyn WorkerLink> {
            match self.speech {
                Speech::V02 | Speech::BlockingToBare => {
                    Box::new(mdp02::Worker::register(to, SERVICE))
                }
                Speech::V10 | Speech::SubmitToBare | Speech::CallToBare => {
                    Box::new(mdp10::Worker::register(to, SERVICE, capacity))
                }
                Speech::Plain => Box::new(plain::Worker::connect(to)),
                Speech::Nats => Box::new(nats::Worker::connect(to)),
                Speech::Gearman => Box::new(gearman::Worker::connect(to)),
                Speech::Submit | Speech::Threads | Speech::Blocking => {
                    Box::new(sdk::Serving::start(to, SERVICE, capacity))
                }
                Speech::Crowd => unreachable!("a crowd is one link"),
            }
        };
        (0..self.sizes.workers).map(worker).collect()
    }

    fn clients(&self, broker: &Running) -> Vec<Box<dyn ClientLink>> {
        let Shape { clients, in_flight, body_bytes, workers, .. } = self.sizes;
        let to = broker.clients.as_str();
        let connect = || {
            let client = Client::builder().broker(to).outstanding_max(2 * in_flight.max(1_000));
            client.build().expect("a client")
        };
        if self.calls() {
            let client = connect();
            let link = |_| Box::new(sdk::Calling::with(client.clone(), SERVICE)) as Box<_>;
            return (0..in_flight).map(link).collect();
        }
        let only = || vec![SERVICE.to_owned()];
        let client = |number| -> Box<dyn ClientLink> {
            match self.speech {
                Speech::V02 => Box::new(mdp02::Client::connect(to, only(), body_bytes)),
                Speech::Crowd => {
                    Box::new(mdp02::Client::connect(to, services(workers), body_bytes))
                }
                Speech::V10 => Box::new(mdp10::Client::connect(to, SERVICE, body_bytes)),
                Speech::Plain => Box::new(plain::Client::connect(to, body_bytes)),
                Speech::Nats => Box::new(nats::Client::connect(to, number, body_bytes)),
                Speech::Gearman => Box::new(gearman::Client::connect(to, body_bytes)),
                Speech::Blocking | Speech::BlockingToBare => {
                    Box::new(sdk::Blocking::connect(to, SERVICE))
                }
                Speech::Submit | Speech::SubmitToBare | Speech::Threads | Speech::CallToBare => {
                    Box::new(sdk::Submitting::with(connect(), SERVICE))
                }
            }
        };
        (0..clients).map(client).collect()
    }
}
