//! What a request of MDP/1.0 costs in the whole broker, without a network: one client
//! with 1,000 requests in flight, four workers of capacity 256, in one process.
//!
//! `cargo bench -p majordomo-broker --bench batches`. Where times are of no use, because
//! the machine has other things to do, count instead: see docs/developing.md. Client and
//! workers take turns with the broker, so that every run has the same messages.

use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use majordomo_broker::Broker;
use majordomo_broker::config::Config;
use majordomo_protocol::{
    Batch, Body, Frames, Offer, RequestId, ServiceName, Terms, client, worker,
};

const IN_FLIGHT: u64 = 1_000;
const WORKERS: usize = 4;
const CAPACITY: u16 = 256;
/// Records in a message, as the broker itself sends them.
const RECORDS: u64 = 125;
const BODY: [u8; 16] = [7; 16];

fn main() {
    divan::main();
}

/// 1,000 requests of 16 bytes come, and are answered.
#[divan::bench(sample_size = 1, sample_count = 400)]
fn request_life(bencher: Bencher<'_, '_>) {
    let mut peers = Peers::new();
    bencher.counter(ItemsCount::new(IN_FLIGHT)).bench_local(|| peers.round());
}

/// A broker, and the raw peers around it.
struct Peers {
    client: zmq::Socket,
    workers: Vec<zmq::Socket>,
    service: ServiceName,
    asked: u64,
    // Last: it ends when its peers are gone.
    _broker: Broker,
}

impl Peers {
    fn new() -> Self {
        let context = zmq::Context::new();
        let config = Config::builder().bind("inproc://broker").build().expect("a configuration");
        let broker = Broker::start_in(&context, &config).expect("a broker");
        let connect = || {
            let socket = context.socket(zmq::DEALER).expect("a socket");
            socket.connect("inproc://broker").expect("a broker that listens");
            socket.set_rcvtimeo(30_000).expect("a limit");
            socket
        };
        let service = ServiceName::new("echo").expect("a name");
        let workers = (0..WORKERS).map(|_| {
            let worker = connect();
            // A heartbeat would be one message more in some rounds.
            let heartbeat = Some(Duration::from_secs(60));
            let offer = Offer { capacity: CAPACITY, heartbeat, ..Offer::default() };
            let mut batch = Batch::of_worker(BODY.len());
            let ready = worker::ToBroker::<Body>::Ready { service: service.clone(), offer };
            ready.write(&mut batch).expect("a record");
            send(&worker, batch);
            // WELCOME.
            receive(&worker);
            worker
        });
        let workers = workers.collect();
        Peers { client: connect(), workers, service, asked: 0, _broker: broker }
    }

    /// All requests go out, are worked on, and come back.
    fn round(&mut self) {
        for _ in 0..IN_FLIGHT / RECORDS {
            let mut batch = Batch::of_client(BODY.len());
            for _ in 0..RECORDS {
                self.asked += 1;
                let mut id = [5; 16];
                id[8..].copy_from_slice(&self.asked.to_be_bytes());
                let request = client::ToBroker::Request {
                    id: Some(RequestId::new(id)),
                    service: self.service.clone(),
                    terms: Terms::default(),
                    body: Body::from(&BODY),
                };
                request.write(&mut batch).expect("a record");
            }
            send(&self.client, batch);
        }
        for worker in &self.workers {
            let mut left = IN_FLIGHT / WORKERS as u64;
            while left > 0 {
                let mut answers = Batch::of_worker(BODY.len());
                for command in worker::Commands::new(receive(worker)).expect("a batch") {
                    if let Ok(worker::FromBroker::Request { client, body, .. }) = command {
                        left -= 1;
                        let answer = worker::ToBroker::Final { client, body };
                        answer.write(&mut answers).expect("a record");
                    }
                }
                send(worker, answers);
            }
        }
        let mut left = IN_FLIGHT;
        while left > 0 {
            for command in client::Commands::new(receive(&self.client)).expect("a batch") {
                assert!(matches!(command, Ok(client::FromBroker::Final { .. })));
                left -= 1;
            }
        }
    }
}

fn send(socket: &zmq::Socket, batch: Batch<Vec<u8>>) {
    socket.send_multipart(batch.into_frames(), 0).expect("a broker that reads");
}

fn receive(socket: &zmq::Socket) -> Frames<Vec<u8>> {
    Frames::new(socket.recv_multipart(0).expect("an answer within 30 s"))
}
