//! Limits on single messages, and on those that nobody reads.

use std::time::Duration;

use majordomo_tests::limit::{Deadline, until};
use majordomo_tests::raw::RawPeer;
use majordomo_tests::report::{Reports, counter};
use majordomo_tests::spawn::BrokerProcess;
use majordomo_tests::wire::{self, frames};
use majordomo_tests::worker::RawWorker;

use super::{V, expect_all, expect_others_are_served};

#[test]
fn frames_max() {
    let broker = BrokerProcess::with(["--frames-max=8"]);
    let mut reports = Reports::of(broker.endpoint());
    let mut worker = RawWorker::register(broker.endpoint(), V, "echo");
    let mut client = RawPeer::dealer(broker.endpoint());
    // A request has three frames before its body.
    client.send(&wire::request(V, "echo", ["x"; 6]));
    client.send(&wire::request(V, "echo", ["x"; 2_000]));
    client.send(&wire::request(V, "echo", ["x"; 5]));
    let request = worker.request();
    assert_eq!(request.body, frames(["x"; 5]));
    worker.reply(&request, "done");
    expect_all(&mut client, "echo", ["done"]);
    reports.until_counted("messages_frames_max", 2);
    // A worker that sends such a message is disconnected.
    let mut bad = RawWorker::register(broker.endpoint(), V, "echo");
    bad.send(&wire::worker_reply(V, b"address", ["x"; 5]));
    bad.expect_disconnect();
    let report = reports.until_counted("messages_frames_max", 3);
    assert_eq!(counter(&report, "workers_invalid"), 1);
    expect_others_are_served(&broker);
}

#[test]
fn message_bytes_max() {
    let broker = BrokerProcess::with(["--message-bytes-max=1024"]);
    let mut reports = Reports::of(broker.endpoint());
    let mut worker = RawWorker::register(broker.endpoint(), V, "echo");
    let mut client = RawPeer::dealer(broker.endpoint());
    // All frames together: 6 + 1 + 4 before the body.
    let half = "x".repeat(500);
    client.send(&wire::request(V, "echo", [&half, &half, "x".repeat(14).as_str()]));
    client.send(&wire::request(V, "echo", [&half, &half, "x".repeat(13).as_str()]));
    let request = worker.request();
    assert_eq!(request.body.concat().len(), 1_013);
    worker.reply(&request, "done");
    expect_all(&mut client, "echo", ["done"]);
    reports.until_counted("messages_message_bytes_max", 1);
    expect_others_are_served(&broker);
}

#[test]
fn a_single_frame_far_above_message_bytes_max_ends_its_connection_only() {
    // Beyond 2 * (1024 + 8 * 128) bytes.
    let broker = BrokerProcess::with(["--message-bytes-max=1024", "--frames-max=8"]);
    let mut worker = RawWorker::register(broker.endpoint(), V, "echo");
    let mut client = RawPeer::dealer(broker.endpoint());
    client.send(&wire::request(V, "echo", ["x".repeat(4_097)]));
    // The socket connects again by itself. What it sent behind the large frame may be
    // lost with the old connection, so it asks until it is answered.
    let answered = |client: &mut RawPeer| {
        client.send(&wire::request(V, "mmi.service", ["echo"]));
        let wait = Duration::from_millis(100);
        client.receive_before(Deadline::after(wait))
    };
    let answer = until("the client is served again", || answered(&mut client));
    assert_eq!(answer, wire::reply(V, "mmi.service", ["200"]));
    worker.expect_nothing();
    expect_others_are_served(&broker);
    let report = Reports::of(broker.endpoint()).fresh();
    assert_eq!(report.workers.len(), 1);
}

/// A broker with short send queues, on ipc, where the system's own buffers are small.
fn with_short_send_queues() -> (BrokerProcess, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let bind = format!("--bind=ipc://{}", directory.path().join("broker").display());
    let flags = [&bind, "--send-queue-max=4", "--attempts-max=1000"];
    (BrokerProcess::with(flags), directory)
}

#[test]
fn send_queue_max_of_a_client_that_does_not_read() {
    const CALLS: u64 = 100;
    let (broker, _directory) = with_short_send_queues();
    let mut reports = Reports::of(broker.endpoint());
    let mut worker = RawWorker::register(broker.endpoint(), V, "echo");
    let mut reluctant = RawPeer::reluctant(broker.endpoint());
    let large = |call: u64| format!("{call:>65000}");
    for call in 0..CALLS {
        reluctant.send(&wire::request(V, "echo", [large(call)]));
    }
    (0..CALLS).for_each(|call| worker.echo(&large(call)));
    reports.until("replies are dropped", |report| {
        counter(report, "requests_answered") == CALLS && counter(report, "replies_unsent") > 0
    });
    expect_others_are_served(&broker);
    // What fitted into the queue arrives, in order, each whole.
    let unsent = counter(&reports.fresh(), "replies_unsent");
    let mut last = None;
    for _ in unsent..CALLS {
        let reply = reluctant.receive();
        let body = String::from_utf8_lossy(reply.last().expect("a body")).into_owned();
        let call: u64 = body.trim().parse().expect("a number");
        assert!(reply == wire::reply(V, "echo", [large(call)]));
        assert!(last < Some(call), "{last:?} before {call}");
        last = Some(call);
    }
    reluctant.expect_nothing();
}

#[test]
fn send_queue_max_of_a_worker_that_does_not_read() {
    let (broker, _directory) = with_short_send_queues();
    let mut reports = Reports::of(broker.endpoint());
    let mut client = RawPeer::dealer(broker.endpoint());
    let large = "x".repeat(65_536);
    client.send(&wire::request(V, "work", [&large]));
    client.sync();
    // It registers again and again, so the request is handed to it again and again,
    // until no more goes into its queue.
    let reluctant = RawPeer::reluctant(broker.endpoint());
    let report = reports.until("the worker is given up", |report| {
        if counter(report, "workers_unreachable") == 0 {
            reluctant.send(&wire::ready(V, "work"));
            reluctant.send(&wire::disconnect(V));
        }
        counter(report, "workers_unreachable") > 0
    });
    assert_eq!(counter(&report, "requests_dropped_attempts_max"), 0);
    let mut worker = RawWorker::register(broker.endpoint(), V, "work");
    worker.echo(&large);
    client.expect(&wire::reply(V, "work", [&large]));
    expect_others_are_served(&broker);
}
