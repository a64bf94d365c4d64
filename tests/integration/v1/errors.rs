//! Every code that the broker answers with, and a worker's own.

use std::process::Command;

use majordomo_tests::process::Process;
use majordomo_tests::report::{Reports, counter};
use majordomo_tests::spawn::BrokerProcess;
use majordomo_tests::v1::{RawClient, RawWorker};
use majordomo_tests::wire::v1;

#[test]
fn fail_fast_is_404_while_no_worker_is_registered() {
    let broker = BrokerProcess::start();
    let mut client = RawClient::connect(broker.endpoint());
    let ask = |client: &RawClient| {
        client.ask_with("work", "body", |request| request.flags(v1::FAIL_FAST))
    };
    let id = ask(&client);
    let text = client.expect_error(id, 404);
    assert!(!text.is_empty());
    // With a worker it waits like any other, even for one that is full.
    let mut worker = RawWorker::register(broker.endpoint(), "work", 1);
    let ids = [ask(&client), ask(&client)];
    for id in ids {
        worker.echo("body");
        client.expect_reply(id, "body");
    }
    // One that drains is none.
    worker.send([&v1::drain()]);
    worker.sync();
    let id = ask(&client);
    client.expect_error(id, 404);
    client.expect_nothing();
    let report = Reports::of(broker.endpoint()).fresh();
    assert_eq!(counter(&report, "requests_dropped_no_worker"), 2);
}

#[test]
fn a_request_that_waits_too_long_is_404_or_408() {
    let broker = BrokerProcess::with(["--request-expiry-ms=100"]);
    let mut client = RawClient::connect(broker.endpoint());
    let id = client.ask("nobody", "body");
    client.expect_error(id, 404);
    let id = client.ask_with("nobody", "body", |request| request.start_within(1));
    client.expect_error(id, 408);
    let id = client.ask_with("nobody", "body", |request| request.timeout(1));
    client.expect_error(id, 408);
    let report = Reports::of(broker.endpoint()).fresh();
    assert_eq!(counter(&report, "requests_dropped_expired"), 1);
    assert_eq!(counter(&report, "requests_dropped_not_started"), 2);
    assert_eq!((report.clients, report.bytes), (0, 0));
    // Start-within says nothing of one that has started.
    let mut worker = RawWorker::register(broker.endpoint(), "work", 1);
    let id = client.ask_with("work", "body", |request| request.start_within(100_000));
    let task = worker.expect_task("body");
    worker.reply(&task, "done");
    client.expect_reply(id, "done");
    client.expect_nothing();
    worker.expect_nothing();
}

#[test]
fn a_full_queue_is_429_and_the_text_says_which() {
    let broker = BrokerProcess::with(["--requests-per-service-max=2"]);
    let mut client = RawClient::connect(broker.endpoint());
    let waiting = [client.ask("full", "1"), client.ask("full", "2")];
    let refused = client.ask("full", "3");
    let text = client.expect_error(refused, 429);
    assert!(text.contains("queue"), "{text}");
    let mut worker = RawWorker::register(broker.endpoint(), "full", 1);
    for (id, body) in waiting.into_iter().zip(["1", "2"]) {
        worker.echo(body);
        client.expect_reply(id, body);
    }
    // It did not run, so it is not remembered: asked again, it is a new one.
    client.send([&v1::request(refused, "full").body(["3"])]);
    worker.echo("3");
    client.expect_reply(refused, "3");
    client.expect_nothing();
}

#[test]
fn the_error_of_a_worker_arrives_as_it_is() {
    let broker = BrokerProcess::start();
    let mut client = RawClient::connect(broker.endpoint());
    let mut worker = RawWorker::register(broker.endpoint(), "work", 1);
    let large = "x".repeat(10_000);
    for (code, text, details) in [
        (500, "no luck", &["line 7"][..]),
        (4_711, "", &[""]),
        (65_535, "größer", &["a", "", large.as_str()]),
    ] {
        let id = client.ask("work", "body");
        let task = worker.expect_task("body");
        worker.send([&v1::worker_error(task.id, code, text, details)]);
        client.expect(&v1::error(id, code, text, details));
    }
    client.expect_nothing();
    let report = Reports::of(broker.endpoint()).fresh();
    assert_eq!(counter(&report, "requests_answered"), 3);
}

fn hanging_worker(broker: &BrokerProcess, service: &str) -> Process {
    let args = [broker.endpoint(), "1.0", service, "hang", "100"];
    Process::start(Command::new(env!("CARGO_BIN_EXE_bare-worker")).args(args))
}

#[test]
fn a_request_that_kills_its_workers_is_502() {
    let broker = BrokerProcess::with([
        "--attempts-max=3",
        "--heartbeat-interval-ms=100",
        "--heartbeat-liveness=5",
    ]);
    let mut client = RawClient::connect(broker.endpoint());
    let deadly = client.ask("work", "deadly");
    for _ in 0..3 {
        let mut worker = hanging_worker(&broker, "work");
        assert_eq!(worker.line().as_deref(), Some("request deadly"));
        client.expect_nothing();
        worker.kill();
    }
    client.expect_error(deadly, 502);
    let report = Reports::of(broker.endpoint()).fresh();
    assert_eq!(counter(&report, "requests_dispatched"), 3);
    assert_eq!(counter(&report, "requests_dropped_attempts_max"), 1);
    // It may have run, so its end is remembered.
    client.send([&v1::request(deadly, "work").body(["deadly"])]);
    client.expect_error(deadly, 502);
    client.expect_nothing();
}

#[test]
fn the_request_of_a_killed_worker_goes_to_another_but_for_once() {
    let broker = BrokerProcess::with(["--heartbeat-interval-ms=100", "--heartbeat-liveness=5"]);
    let mut client = RawClient::connect(broker.endpoint());
    let mut killed = hanging_worker(&broker, "work");
    Reports::of(broker.endpoint()).until_workers(1);
    let once = client.ask_with("work", "once", |request| request.flags(v1::ONCE));
    assert_eq!(killed.line().as_deref(), Some("request once"));
    killed.kill();
    client.expect_error(once, 502);

    let mut killed = hanging_worker(&broker, "work");
    let ordinary = client.ask("work", "ordinary");
    assert_eq!(killed.line().as_deref(), Some("request ordinary"));
    killed.kill();
    let other = hanging_worker(&broker, "work");
    assert_eq!(other.line().as_deref(), Some("request ordinary"));
    client.send([&v1::cancel(ordinary)]);
    client.expect_error(ordinary, 499);
    client.expect_nothing();
}

#[test]
fn a_worker_lost_after_a_part_was_sent_is_502() {
    let broker = BrokerProcess::start();
    let mut client = RawClient::connect(broker.endpoint());
    let mut worker = RawWorker::register(broker.endpoint(), "stream", 1);
    let id = client.ask("stream", "go");
    let task = worker.expect_task("go");
    worker.send([&v1::worker_partial(task.id, ["part"]), &v1::disconnect(0, "")]);
    client.expect(&v1::partial(id, ["part"]));
    client.expect_error(id, 502);
    RawWorker::register(broker.endpoint(), "stream", 1).expect_nothing();
    client.expect_nothing();
}

#[test]
fn a_second_worker_is_told_which_attempt_it_is() {
    let broker = BrokerProcess::start();
    let mut client = RawClient::connect(broker.endpoint());
    let id = client.ask_with("work", "body", |request| request.pair("k", "v").timeout(100_000));
    for attempt in 1..=2 {
        let mut worker = RawWorker::register(broker.endpoint(), "work", 1);
        let task = worker.expect_task("body");
        assert_eq!(task.attempt, attempt);
        assert_eq!(task.metadata, [("k".to_owned(), "v".to_owned())]);
        assert!((1..=100_000).contains(&task.timeout_left_ms));
        if attempt == 2 {
            worker.reply(&task, "done");
        } else {
            worker.send([&v1::disconnect(0, "")]);
        }
        worker.expect_nothing();
    }
    client.expect_reply(id, "done");
}

#[test]
fn a_timeout_that_passes_while_it_runs_is_504_and_the_worker_is_told() {
    let broker = BrokerProcess::start();
    let mut client = RawClient::connect(broker.endpoint());
    // Capacity two, so that it is seen that one place stays taken.
    let mut worker = RawWorker::register(broker.endpoint(), "work", 2);
    let id = client.ask_with("work", "slow", |request| request.timeout(500));
    // On a machine that is held up for longer the request may never have started.
    let task = worker.expect_task("slow");
    assert!((1..=500).contains(&task.timeout_left_ms));
    client.expect_error(id, 504);
    worker.expect(&v1::worker_cancel(task.id));
    let others = [client.ask("work", "2"), client.ask("work", "3")];
    worker.echo("2");
    client.expect_reply(others[0], "2");
    worker.expect_task("3");
    let fourth = client.ask("work", "4");
    client.sync();
    worker.expect_nothing();
    // It may finish, and gives its place back.
    worker.reply(&task, "too late");
    worker.echo("4");
    client.expect_reply(fourth, "4");
    client.expect_nothing();
    let report = Reports::of(broker.endpoint()).fresh();
    assert_eq!(counter(&report, "requests_dropped_timed_out"), 1);
    assert_eq!(counter(&report, "replies_unwanted"), 1);
}
