//! What a call costs its client: 1,000 calls are submitted, and waited for, one after the
//! other. The broker is a bare socket on a thread of its own that answers each message by
//! one.
//!
//! `cargo bench -p majordomo-client --bench submitted`. Where times are of no use, because
//! the machine has other things to do, count instead: see docs/developing.md.

use std::thread;

use divan::Bencher;
use divan::counter::ItemsCount;
use majordomo_client::{Body, Call, Client};
use majordomo_protocol::client::{Answered, FromBroker, ToBroker};
use majordomo_protocol::{Batch, Frames, Message};

const IN_FLIGHT: usize = 1_000;
const BODY: [u8; 16] = [7; 16];

fn main() {
    divan::main();
}

/// 1,000 calls of 16 bytes are made, and answered.
#[divan::bench(sample_size = 1, sample_count = 400)]
fn call_life(bencher: Bencher<'_, '_>) {
    let client = Client::connect(broker()).expect("a client");
    let mut calls: Vec<Call> = Vec::with_capacity(IN_FLIGHT);
    bencher.counter(ItemsCount::new(IN_FLIGHT)).bench_local(|| {
        let submit = |_| client.submit("echo", BODY.to_vec()).expect("room for a call");
        calls.extend((0..IN_FLIGHT).map(submit));
        for call in calls.drain(..) {
            assert_eq!(call.wait().expect("a reply").size(), BODY.len());
        }
    });
}

/// Starts the broker, and gives its endpoint.
fn broker() -> String {
    let socket = zmq::Context::new().socket(zmq::ROUTER).expect("a socket");
    socket.bind("tcp://127.0.0.1:*").expect("a port");
    let endpoint = socket.get_last_endpoint().expect("an endpoint").expect("text");
    thread::spawn(move || {
        loop {
            let mut frames = socket.recv_multipart(0).expect("a message");
            let records = Message::decode(Frames::new(frames.split_off(1)));
            let mut answers = Batch::of_client(BODY.len());
            for record in records {
                answer(record.expect("a record"), &mut answers);
            }
            frames.extend(answers.into_frames());
            socket.send_multipart(frames, 0).expect("a client that reads");
        }
    });
    endpoint
}

fn answer(record: Message<Vec<u8>>, answers: &mut Batch<Vec<u8>>) {
    let Message::Client { command: ToBroker::Request { id: Some(id), body, .. }, .. } = record
    else {
        return;
    };
    let answer = FromBroker::<Body>::Final { request: Answered::Id(id), body };
    answer.write(answers).expect("a record");
}
