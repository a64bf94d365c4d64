//! Limits on requests: how many, their bytes, their tries, their age.

use majordomo_tests::raw::RawPeer;
use majordomo_tests::report::{Reports, counter};
use majordomo_tests::spawn::BrokerProcess;
use majordomo_tests::wire::{self, VERSIONS, Version};
use majordomo_tests::worker::RawWorker;

use super::{V, echo_all, expect_all, expect_others_are_served, send_all};

#[test]
fn requests_max() {
    let broker = BrokerProcess::with([
        "--requests-max=3",
        "--requests-per-service-max=3",
        "--requests-per-client-max=3",
    ]);
    let mut reports = Reports::of(broker.endpoint());
    let (mut one, mut two) =
        (RawPeer::dealer(broker.endpoint()), RawPeer::dealer(broker.endpoint()));
    send_all(&one, "a", ["1", "2"]);
    one.sync();
    send_all(&two, "b", ["3", "4", "5"]);
    reports.until_counted("requests_dropped_requests_max", 2);
    let mut a = RawWorker::register(broker.endpoint(), V, "a");
    a.echo("1");
    a.echo("2");
    a.expect_nothing();
    let mut b = RawWorker::register(broker.endpoint(), V, "b");
    // It counts running requests too: three run or wait here.
    let running = b.expect_request("3");
    send_all(&one, "a", ["6", "7", "8"]);
    reports.until_counted("requests_dropped_requests_max", 3);
    a.echo("6");
    a.echo("7");
    b.reply(&running, "3");
    b.expect_nothing();
    expect_all(&mut one, "a", ["1", "2", "6", "7"]);
    expect_all(&mut two, "b", ["3"]);
    expect_others_are_served(&broker);
}

#[test]
fn requests_per_service_max() {
    let broker = BrokerProcess::with(["--requests-per-service-max=3"]);
    let mut reports = Reports::of(broker.endpoint());
    let mut client = RawPeer::dealer(broker.endpoint());
    send_all(&client, "full", ["1", "2", "3", "4", "5"]);
    reports.until_counted("requests_dropped_requests_per_service_max", 2);
    expect_others_are_served(&broker);
    let mut worker = RawWorker::register(broker.endpoint(), V, "full");
    echo_all(&mut worker, ["1", "2", "3"]);
    worker.expect_nothing();
    expect_all(&mut client, "full", ["1", "2", "3"]);
}

#[test]
fn requests_per_client_max() {
    let broker = BrokerProcess::with(["--requests-per-client-max=3"]);
    let mut reports = Reports::of(broker.endpoint());
    let mut client = RawPeer::dealer(broker.endpoint());
    let mut other = RawPeer::dealer(broker.endpoint());
    send_all(&client, "a", ["1", "2"]);
    send_all(&client, "b", ["3", "4", "5"]);
    reports.until_counted("requests_dropped_requests_per_client_max", 2);
    expect_others_are_served(&broker);
    send_all(&other, "b", ["6"]);
    other.sync();
    let mut a = RawWorker::register(broker.endpoint(), V, "a");
    echo_all(&mut a, ["1", "2"]);
    let mut b = RawWorker::register(broker.endpoint(), V, "b");
    echo_all(&mut b, ["3", "6"]);
    b.expect_nothing();
    for (service, body) in [("a", "1"), ("a", "2"), ("b", "3")] {
        client.expect(&wire::reply(V, service, [body]));
    }
    client.expect_nothing();
    expect_all(&mut other, "b", ["6"]);
}

#[test]
fn bytes_max() {
    let broker = BrokerProcess::with([
        "--bytes-max=8192",
        "--message-bytes-max=8192",
        "--partial-bytes-max=8192",
        "--answers-bytes-max=8192",
    ]);
    let mut reports = Reports::of(broker.endpoint());
    let mut client = RawPeer::dealer(broker.endpoint());
    let large = |name: &str| name.repeat(3_000);
    send_all(&client, "full", ["a", "b", "c", "d"].map(large));
    let report = reports.until_counted("requests_dropped_bytes_max", 2);
    assert!((6_000..=8_192).contains(&report.bytes), "{} bytes", report.bytes);
    // There is still room for small ones.
    expect_others_are_served(&broker);
    let mut worker = RawWorker::register(broker.endpoint(), V, "full");
    echo_all(&mut worker, ["a", "b"].map(large));
    worker.expect_nothing();
    expect_all(&mut client, "full", ["a", "b"].map(large));
    assert_eq!(reports.fresh().bytes, 0);
}

/// libzmq does not copy a frame of middling size, but keeps the 8 KiB buffer alive
/// that it was read into. Requests that come one by one would each hold such a
/// buffer while they wait, and `bytes_max` would bound nothing.
#[test]
fn a_waiting_request_holds_about_what_is_counted_for_it() {
    const REQUESTS: u64 = 5_000;
    let broker = BrokerProcess::start();
    let mut reports = Reports::of(broker.endpoint());
    let mut client = RawPeer::dealer(broker.endpoint());
    client.sync();
    let before = broker.process().rss();
    for _ in 0..REQUESTS {
        client.send(&wire::request(V, "nobody", ["x".repeat(100)]));
        // Each is read before the next one is sent.
        client.sync();
    }
    let counted = reports.until_waiting("nobody", REQUESTS).bytes;
    let held = broker.process().rss().saturating_sub(before);
    let bookkeeping = 2_000 * REQUESTS;
    assert!(held < 2 * counted + bookkeeping, "{held} bytes held, {counted} bytes counted");
}

#[test]
fn partial_bytes_max() {
    let broker = BrokerProcess::with(["--partial-bytes-max=4096"]);
    let mut reports = Reports::of(broker.endpoint());
    let mut worker = RawWorker::register(broker.endpoint(), V, "stream");
    let part = "x".repeat(1_000);
    let v0_1 = Version::V0_1;
    let (mut old, mut new) =
        (RawPeer::dealer(broker.endpoint()), RawPeer::dealer(broker.endpoint()));
    // For a client that gets its parts at once, nothing is kept.
    new.send(&wire::request(V, "stream", ["go"]));
    let request = worker.request();
    (0..10).for_each(|_| worker.send(&wire::worker_partial(&request.address, [&part])));
    worker.reply(&request, "done");
    (0..10).for_each(|_| new.expect(&wire::partial("stream", [&part])));
    new.expect(&wire::reply(V, "stream", ["done"]));
    // For one that has no PARTIAL, three of these parts fit, and a fourth does not.
    old.send(&wire::request(v0_1, "stream", ["go"]));
    let request = worker.request();
    (0..3).for_each(|_| worker.send(&wire::worker_partial(&request.address, [&part])));
    worker.reply(&request, "done");
    old.expect(&wire::reply(v0_1, "stream", [&part, &part, &part, "done"]));
    old.send(&wire::request(v0_1, "stream", ["go"]));
    let request = worker.request();
    (0..4).for_each(|_| worker.send(&wire::worker_partial(&request.address, [&part])));
    worker.reply(&request, "done");
    let report = reports.until_counted("requests_dropped_partial_bytes_max", 1);
    assert_eq!(report.bytes, 0);
    old.expect_nothing();
    // The worker is free, and none the worse for it.
    old.send(&wire::request(v0_1, "stream", ["go"]));
    worker.echo("go");
    old.expect(&wire::reply(v0_1, "stream", ["go"]));
    expect_others_are_served(&broker);
}

#[test]
fn a_part_kept_for_a_client_holds_about_what_is_counted_for_it() {
    const PARTS: u64 = 5_000;
    let broker = BrokerProcess::start();
    let mut worker = RawWorker::register(broker.endpoint(), V, "stream");
    let mut client = RawPeer::dealer(broker.endpoint());
    client.send(&wire::request(Version::V0_1, "stream", ["go"]));
    let request = worker.request();
    let before = broker.process().rss();
    let part = "x".repeat(100);
    for _ in 0..PARTS {
        worker.send(&wire::worker_partial(&request.address, [&part]));
        // Each is read before the next one is sent.
        worker.peer().sync();
    }
    let counted = Reports::of(broker.endpoint()).fresh().bytes;
    let held = broker.process().rss().saturating_sub(before);
    let bookkeeping = 2_000 * PARTS;
    assert!(held < 2 * counted + bookkeeping, "{held} bytes held, {counted} bytes counted");
    worker.reply(&request, "end");
    let reply = client.receive();
    assert_eq!(reply.len() as u64, 3 + PARTS + 1);
}

#[test]
fn attempts_max() {
    let broker = BrokerProcess::with(["--attempts-max=2"]);
    let mut reports = Reports::of(broker.endpoint());
    let mut client = RawPeer::dealer(broker.endpoint());
    send_all(&client, "deadly", ["1"]);
    client.sync();
    for version in VERSIONS {
        let mut worker = RawWorker::register(broker.endpoint(), version, "deadly");
        worker.expect_request("1");
        worker.send(&wire::disconnect(version));
        worker.expect_nothing();
    }
    let report = reports.until_counted("requests_dropped_attempts_max", 1);
    assert_eq!(counter(&report, "requests_returned"), 2);
    assert_eq!(counter(&report, "requests_dispatched"), 2);
    let mut worker = RawWorker::register(broker.endpoint(), V, "deadly");
    worker.expect_nothing();
    send_all(&client, "deadly", ["2"]);
    worker.echo("2");
    expect_all(&mut client, "deadly", ["2"]);
}

#[test]
fn a_request_is_not_repeated_once_a_part_of_its_reply_was_sent() {
    let broker = BrokerProcess::start();
    let mut client = RawPeer::dealer(broker.endpoint());
    let mut worker = RawWorker::register(broker.endpoint(), V, "stream");
    send_all(&client, "stream", ["go"]);
    let request = worker.request();
    worker.send(&wire::worker_partial(&request.address, ["part"]));
    worker.send(&wire::disconnect(V));
    client.expect(&wire::partial("stream", ["part"]));
    Reports::of(broker.endpoint()).until_counted("requests_dropped_partial_sent", 1);
    RawWorker::register(broker.endpoint(), V, "stream").expect_nothing();
    client.expect_nothing();
}

#[test]
fn request_expiry_ms() {
    let broker = BrokerProcess::with(["--request-expiry-ms=50"]);
    let mut reports = Reports::of(broker.endpoint());
    let mut client = RawPeer::dealer(broker.endpoint());
    let mut worker = RawWorker::register(broker.endpoint(), V, "busy");
    send_all(&client, "busy", ["running", "waiting"]);
    send_all(&client, "nobody", ["waiting"]);
    let running = worker.expect_request("running");
    let report = reports.until_counted("requests_dropped_expired", 2);
    assert_eq!(report.clients, 1);
    RawWorker::register(broker.endpoint(), V, "nobody").expect_nothing();
    // A request that a worker has does not expire.
    worker.reply(&running, "done");
    worker.expect_nothing();
    expect_all(&mut client, "busy", ["done"]);
    expect_others_are_served(&broker);
}
