//! How a worker of 1.0 comes, holds several requests, and goes; and how the broker does.

use majordomo_tests::process::Signal;
use majordomo_tests::raw::RawPeer;
use majordomo_tests::report::{Reports, counter};
use majordomo_tests::spawn::BrokerProcess;
use majordomo_tests::v1::{RawClient, RawWorker, new_id};
use majordomo_tests::wire::v1::{self, CLIENT, WORKER};
use majordomo_tests::wire::{self, Version};

#[test]
fn welcome_says_what_holds() {
    let broker = BrokerProcess::with([
        "--heartbeat-interval-ms=2000",
        "--heartbeat-liveness=4",
        "--heartbeat-interval-min-ms=1000",
        "--heartbeat-interval-max-ms=30000",
    ]);
    let mut client = RawClient::connect(broker.endpoint());
    let instance = client.sync();
    assert_eq!(client.sync(), instance);
    for ((heartbeat_ms, liveness), granted) in [
        ((0, 0), (2_000, 4)),
        ((5_000, 7), (5_000, 7)),
        ((1, 2), (1_000, 2)),
        ((3_600_000, 255), (30_000, 255)),
    ] {
        let ready = v1::ready_asking(1, heartbeat_ms, liveness, "work");
        let (_worker, welcome) = RawWorker::register_as(broker.endpoint(), &ready);
        assert_eq!((welcome.number(0, 4), welcome.number(4, 1)), granted);
        assert_eq!(welcome.fields[5..], instance);
    }
    let other = BrokerProcess::start();
    assert_ne!(RawClient::connect(other.endpoint()).sync(), instance);
}

#[test]
fn an_offer_that_cannot_be_is_refused() {
    let broker = BrokerProcess::start();
    for (ready, code) in [
        (v1::ready(0, "work"), 400),
        (v1::ready_asking(1, 0, 1, "work"), 400),
        (v1::ready(1, "mmi.work"), 403),
    ] {
        let mut worker = RawWorker::connect(broker.endpoint());
        worker.send([&ready]);
        assert_eq!(worker.expect_disconnect().0, code, "{ready:?}");
    }
    let mut stranger = RawWorker::connect(broker.endpoint());
    stranger.send([&v1::heartbeat()]);
    assert_eq!(stranger.expect_disconnect().0, 400);
    stranger.send([&v1::disconnect(0, "")]);
    stranger.expect_nothing();
    let report = Reports::of(broker.endpoint()).fresh();
    assert!(report.workers.is_empty() && report.services.is_empty());
}

#[test]
fn a_worker_gets_as_many_as_it_has_places() {
    let broker = BrokerProcess::start();
    let mut client = RawClient::connect(broker.endpoint());
    let mut worker = RawWorker::register(broker.endpoint(), "work", 3);
    let ids: Vec<_> = (0..5).map(|number| client.ask("work", &number.to_string())).collect();
    let tasks: Vec<_> = (0..3).map(|number| worker.expect_task(&number.to_string())).collect();
    client.sync();
    worker.expect_nothing();
    worker.reply(&tasks[1], "1");
    client.expect_reply(ids[1], "1");
    worker.expect_task("3");
    worker.expect_nothing();
    // What a lost worker held goes to another, oldest first.
    worker.send([&v1::disconnect(0, "")]);
    let mut other = RawWorker::register(broker.endpoint(), "work", 10);
    let mut bodies = vec![];
    for _ in 0..4 {
        let task = other.task();
        bodies.push(String::from_utf8(task.body.concat()).expect("text"));
        other.reply(&task, "done");
    }
    assert_eq!(bodies[3], "4", "{bodies:?}: those that ran go first");
    for _ in 0..4 {
        assert_eq!(client.record().body, wire::frames(["done"]));
    }
    client.expect_nothing();
}

#[test]
fn a_worker_that_drains_finishes_what_it_has() {
    let broker = BrokerProcess::start();
    let mut client = RawClient::connect(broker.endpoint());
    let mut worker = RawWorker::register(broker.endpoint(), "work", 3);
    let ids = [client.ask("work", "1"), client.ask("work", "2")];
    let tasks = [worker.expect_task("1"), worker.expect_task("2")];
    worker.send([&v1::drain()]);
    worker.sync();
    let waiting = client.ask("work", "3");
    let question = client.ask("mmi.service", "work");
    client.expect_reply(question, "404");
    worker.send([&v1::worker_partial(tasks[0].id, ["part"])]);
    worker.reply(&tasks[0], "1");
    client.expect(&v1::partial(ids[0], ["part"]));
    client.expect_reply(ids[0], "1");
    worker.reply(&tasks[1], "2");
    client.expect_reply(ids[1], "2");
    // The broker says when it has nothing left; a request may have been on its way.
    assert_eq!(worker.expect_disconnect().0, 0);
    worker.send([&v1::disconnect(0, "")]);
    worker.expect_nothing();
    RawWorker::register(broker.endpoint(), "work", 1).echo("3");
    client.expect_reply(waiting, "3");
    let report = Reports::of(broker.endpoint()).fresh();
    assert_eq!(counter(&report, "workers_drained"), 1);
    assert_eq!(counter(&report, "requests_returned"), 0);
}

#[test]
fn a_silent_worker_is_lost_on_the_terms_it_asked_for() {
    let broker = BrokerProcess::start();
    let mut client = RawClient::connect(broker.endpoint());
    let ready = v1::ready_asking(2, 100, 3, "work");
    let (mut silent, _) = RawWorker::register_as(broker.endpoint(), &ready);
    let id = client.ask("work", "body");
    silent.expect_task("body");
    let (code, _) = silent.expect_disconnect();
    assert_eq!(code, 504);
    assert!(silent.heartbeats() >= 1);
    RawWorker::register(broker.endpoint(), "work", 1).echo("body");
    client.expect_reply(id, "body");
    Reports::of(broker.endpoint()).until_counted("workers_silent", 1);
}

/// A message of two records, of which the second is cut short.
fn with_a_malformed_second(magic: &[u8; 6], first: &v1::Record, second: &v1::Record) -> Vec<u8> {
    let mut message = v1::message(magic, [first, second]);
    assert_eq!(message.len(), 1);
    let mut batch = message.remove(0);
    batch.pop();
    batch
}

#[test]
fn a_malformed_record_ends_the_message_and_disconnects_a_worker() {
    let broker = BrokerProcess::start();
    let mut reports = Reports::of(broker.endpoint());
    let mut client = RawClient::connect(broker.endpoint());
    let mut worker = RawWorker::register(broker.endpoint(), "work", 2);
    let ids = [client.ask("work", "1"), client.ask("work", "2")];
    let tasks = [worker.expect_task("1"), worker.expect_task("2")];
    let batch = with_a_malformed_second(
        WORKER,
        &v1::worker_reply(tasks[0].id, ["one"]),
        &v1::worker_reply(tasks[1].id, ["two"]),
    );
    worker.peer().send(&vec![batch]);
    // What stood before it counts.
    client.expect_reply(ids[0], "one");
    assert_eq!(worker.expect_disconnect().0, 400);
    reports.until_counted("messages_malformed", 1);
    RawWorker::register(broker.endpoint(), "work", 1).echo("2");
    client.expect_reply(ids[1], "2");

    // A client is not told, and goes on.
    let id = new_id();
    let batch = with_a_malformed_second(
        CLIENT,
        &v1::request(id, "mmi.service").body(["x"]),
        &v1::request(new_id(), "mmi.service").body(["y"]),
    );
    client.peer().send(&vec![batch]);
    client.expect_reply(id, "404");
    client.expect_nothing();
    reports.until_counted("messages_malformed", 2);
    // A frame that belongs to no record makes the message malformed too.
    let mut message = v1::message(CLIENT, [&v1::client_heartbeat()]);
    message.push(b"surplus".to_vec());
    client.peer().send(&message);
    reports.until_counted("messages_malformed", 3);
}

#[test]
fn a_second_ready_and_another_version_are_out_of_place() {
    let broker = BrokerProcess::start();
    let mut worker = RawWorker::register(broker.endpoint(), "work", 1);
    worker.send([&v1::ready(1, "work")]);
    worker.expect_disconnect();
    let mut worker = RawWorker::register(broker.endpoint(), "work", 1);
    worker.peer().send(&wire::heartbeat(Version::V0_2));
    let told = worker.peer().receive();
    // In which of its two versions it is told is the broker's choice.
    let in_old = told == wire::disconnect(Version::V0_2);
    let in_new = v1::read(WORKER, &told).is_some_and(|records| records[0].command == 0x0A);
    assert!(in_old || in_new, "{}", wire::dump(&told));
    let report = Reports::of(broker.endpoint()).fresh();
    assert_eq!(counter(&report, "workers_unexpected"), 2);
    assert!(report.workers.is_empty());
}

#[test]
fn at_sigterm_the_waiting_get_503_and_the_running_their_answer() {
    let mut broker = BrokerProcess::with(["--shutdown-ms=3600000"]);
    let mut reports = Reports::of(broker.endpoint());
    let mut client = RawClient::connect(broker.endpoint());
    let mut busy = RawWorker::register(broker.endpoint(), "work", 1);
    let mut idle = RawWorker::register(broker.endpoint(), "other", 1);
    let running = client.ask("work", "running");
    let task = busy.expect_task("running");
    let waiting = client.ask("work", "waiting");
    client.sync();
    broker.signal(Signal::TERM);
    client.expect_error(waiting, 503);
    let (code, text) = idle.expect_disconnect();
    assert_eq!(code, 503, "{text}");
    reports.until("it is stopping", |report| report.stopping);
    let new = client.ask("work", "new");
    client.expect_error(new, 503);
    let mut late = RawWorker::connect(broker.endpoint());
    late.send([&v1::ready(1, "work")]);
    assert_eq!(late.expect_disconnect().0, 503);
    busy.reply(&task, "done");
    client.expect_reply(running, "done");
    assert_eq!(busy.expect_disconnect().0, 503);
    assert_eq!(broker.exit_code(), 0);
}

#[test]
fn what_still_runs_when_the_time_is_up_is_502() {
    let mut broker = BrokerProcess::with(["--shutdown-ms=50"]);
    let mut client = RawClient::connect(broker.endpoint());
    let mut worker = RawWorker::register(broker.endpoint(), "work", 1);
    let running = client.ask("work", "running");
    worker.expect_task("running");
    broker.signal(Signal::TERM);
    client.expect_error(running, 502);
    assert_eq!(worker.expect_disconnect().0, 503);
    assert_eq!(broker.exit_code(), 0);
}

#[test]
fn a_client_that_leaves_harms_nobody() {
    let broker = BrokerProcess::start();
    let mut worker = RawWorker::register(broker.endpoint(), "work", 2);
    let gone = RawClient::connect(broker.endpoint());
    gone.ask("work", "of one that leaves");
    let task = worker.expect_task("of one that leaves");
    drop(gone);
    let mut other = RawPeer::dealer(broker.endpoint());
    worker.reply(&task, "nobody is there");
    other.send(&wire::request(Version::V0_2, "work", ["body"]));
    worker.echo("body");
    other.expect(&wire::reply(Version::V0_2, "work", ["body"]));
}
