//! What the mechanisms cost: the same calls over each of them, in one run.
//!
//! A measurement, which asserts no figure. Run it with
//! `cargo test --release -p majordomo-tests --test integration throughput -- --ignored --nocapture`
//! after building the broker in release, too.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use majordomo_tests::limit::{Deadline, timed};
use majordomo_tests::raw::RawPeer;
use majordomo_tests::v1::{RawClient, RawWorker, Task, new_id};
use majordomo_tests::wire::v1;

use super::{Key, Secured, use_curve, use_plain};

/// Requests in flight, sent by this many in a message.
const WINDOW: usize = 1_000;
const BATCH: usize = 100;

type Set<'a> = &'a (dyn Fn(&zmq::Socket) + Sync);

/// Echoes until told to end; answers all that came in one message with one message.
fn echo(endpoint: &str, set: Set<'_>, over: &AtomicBool) {
    let mut worker = RawWorker::of(RawPeer::dealer_with(endpoint, set));
    worker.send([&v1::ready(WINDOW as u16, "echo")]);
    while !over.load(Ordering::Relaxed) {
        let mut replies = Vec::new();
        let mut next = worker.record_before(Deadline::after(Duration::from_millis(100)));
        while let Some(record) = next {
            if let Some(task) = Task::read(record) {
                replies.push(v1::worker_reply(task.id, &task.body));
            }
            next = match replies.len() < BATCH {
                true => worker.record_before(Deadline::after(Duration::ZERO)),
                false => None,
            };
        }
        if !replies.is_empty() {
            worker.send(&replies);
        }
    }
    worker.send([&v1::disconnect(0, "")]);
}

/// Calls a second with [`WINDOW`] in flight; median and p99 of one at a time.
fn measure(endpoint: &str, set: Set<'_>, bytes: usize, calls: usize) -> (f64, Duration, Duration) {
    let over = AtomicBool::new(false);
    let body = vec![7; bytes];
    thread::scope(|scope| {
        scope.spawn(|| echo(endpoint, set, &over));
        let mut client = RawClient::of(RawPeer::dealer_with(endpoint, set));
        let ask = |client: &RawClient, count: usize| {
            let requests: Vec<_> =
                (0..count).map(|_| v1::request(new_id(), "echo").body([&body])).collect();
            client.send(&requests);
        };
        let mut single: Vec<_> = (0..1_000)
            .map(|_| {
                timed(|| {
                    ask(&client, 1);
                    client.record();
                })
                .1
            })
            .collect();
        single.sort();
        let ((), duration) = timed(|| {
            (0..WINDOW / BATCH).for_each(|_| ask(&client, BATCH));
            for answered in 1..=calls {
                assert_eq!(client.record().command, 0x05, "not a FINAL");
                if answered % BATCH == 0 && answered + WINDOW <= calls {
                    ask(&client, BATCH);
                }
            }
        });
        over.store(true, Ordering::Relaxed);
        (calls as f64 / duration.as_secs_f64(), single[500], single[990])
    })
}

#[test]
#[ignore = "a measurement"]
fn null_plain_and_curve_side_by_side() {
    let peer = Key::new("peer");
    let rights = peer.entry("password = \"p\"\nclient = [\"*\"]\nworker = [\"*\"]");
    let broker = Secured::start(&rights, &["--bind=tcp://127.0.0.1:*"]);
    let endpoints = broker.broker.endpoints();
    let null: Set<'_> = &|_| {};
    let plain: Set<'_> = &|socket| use_plain(socket, "peer", "p");
    let curve: Set<'_> = &|socket| use_curve(socket, &broker.server, &peer);
    for (bytes, calls) in [(16, 200_000), (1_024, 100_000), (16_384, 20_000)] {
        for round in 0..2 {
            let open = &endpoints[1];
            for (name, endpoint, set) in [
                ("NULL", open, null),
                ("PLAIN", &endpoints[3], plain),
                ("CURVE", &endpoints[2], curve),
            ] {
                let (rate, p50, p99) = measure(endpoint, set, bytes, calls);
                println!(
                    "{bytes} bytes, round {round}, {name}: {rate:.0} calls/s, one at a time {p50:?}, p99 {p99:?}"
                );
            }
        }
    }
}
