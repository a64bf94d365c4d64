//! What a request costs a worker whose handler is inline: 1,000 requests come in eight
//! messages, and are answered. The broker is a bare socket.
//!
//! `cargo bench -p majordomo-worker --bench inline`. Where times are of no use, because the
//! machine has other things to do, count instead: see docs/developing.md.

use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use majordomo_protocol::worker::{FromBroker, ToBroker};
use majordomo_protocol::{
    Agreement, Batch, Body, ClientAddress, Frames, InstanceId, Message, Task, Version,
};
use majordomo_worker::{Request, RunningWorker, Service, Worker};

const REQUESTS: u64 = 1_000;
/// Records in a message.
const RECORDS: u64 = 125;
const BODY: [u8; 16] = [7; 16];

fn main() {
    divan::main();
}

/// 1,000 requests of 16 bytes come, and are answered.
#[divan::bench(sample_size = 1, sample_count = 400)]
fn request_life(bencher: Bencher<'_, '_>) {
    let mut broker = Broker::new();
    bencher.counter(ItemsCount::new(REQUESTS)).bench_local(|| broker.round());
}

/// A broker with one worker.
struct Broker {
    socket: zmq::Socket,
    /// The identity of its worker.
    worker: Vec<u8>,
    asked: u64,
    _worker: RunningWorker,
}

impl Broker {
    fn new() -> Self {
        let socket = zmq::Context::new().socket(zmq::ROUTER).expect("a socket");
        socket.bind("tcp://127.0.0.1:*").expect("a port");
        socket.set_rcvtimeo(30_000).expect("a limit");
        socket.set_linger(0).expect("no wait");
        let endpoint = socket.get_last_endpoint().expect("an endpoint").expect("text");
        let echo = |request: Request| Ok(request.into_body());
        let service = Service::new("echo", echo).concurrency(REQUESTS as usize).inline();
        let worker = Worker::builder().broker(endpoint).version(Version::V1_0).serve(service);
        let _worker = worker.drain_limit(Duration::ZERO).start().expect("a worker");
        let worker = socket.recv_multipart(0).expect("READY").swap_remove(0);
        let broker = Broker { socket, worker, asked: 0, _worker };
        // A heartbeat would be one message more in some rounds.
        let heartbeat = Duration::from_secs(60);
        let instance = InstanceId::new([1; 8]);
        let mut batch = Batch::of_worker(BODY.len());
        let welcome = FromBroker::<Body>::Welcome(Agreement { heartbeat, liveness: 3, instance });
        welcome.write(&mut batch).expect("a record");
        broker.send(batch);
        broker
    }

    /// All requests go out, and all answers come.
    fn round(&mut self) {
        for _ in 0..REQUESTS / RECORDS {
            let mut batch = Batch::of_worker(BODY.len());
            for _ in 0..RECORDS {
                self.asked += 1;
                let client = ClientAddress::new(&self.asked.to_be_bytes());
                let task = Task { timeout: None, attempt: 1, ..Task::default() };
                let request = FromBroker::Request { client, task, body: Body::from(&BODY) };
                request.write(&mut batch).expect("a record");
            }
            self.send(batch);
        }
        let mut left = REQUESTS;
        while left > 0 {
            let frames = self.socket.recv_multipart(0).expect("answers").split_off(1);
            for record in Message::decode(Frames::new(frames)) {
                let command = record.expect("a record");
                if let Message::Worker { command: ToBroker::Final { .. }, .. } = command {
                    left -= 1;
                }
            }
        }
    }

    fn send(&self, batch: Batch<Vec<u8>>) {
        let frames = [self.worker.clone()].into_iter().chain(batch.into_frames());
        self.socket.send_multipart(frames, 0).expect("a worker that reads");
    }
}
