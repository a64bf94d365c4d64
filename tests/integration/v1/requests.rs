//! Cancelled, once, without a reply, and the same request again.

use majordomo_tests::report::{Reports, counter};
use majordomo_tests::spawn::BrokerProcess;
use majordomo_tests::v1::{RawClient, RawWorker, new_id};
use majordomo_tests::wire::v1;

#[test]
fn a_waiting_request_is_cancelled() {
    let broker = BrokerProcess::start();
    let mut client = RawClient::connect(broker.endpoint());
    let ids = [client.ask("later", "1"), client.ask("later", "2"), client.ask("later", "3")];
    client.send([&v1::cancel(ids[1])]);
    client.expect_error(ids[1], 499);
    // A second CANCEL, and one for what never was, are ignored.
    client.send([&v1::cancel(ids[1]), &v1::cancel(new_id())]);
    client.expect_nothing();
    let mut worker = RawWorker::register(broker.endpoint(), "later", 10);
    worker.echo("1");
    worker.echo("3");
    worker.expect_nothing();
    client.expect_reply(ids[0], "1");
    client.expect_reply(ids[2], "3");
    client.expect_nothing();
}

#[test]
fn a_running_request_is_cancelled_at_its_worker_and_keeps_its_place() {
    let broker = BrokerProcess::start();
    let mut client = RawClient::connect(broker.endpoint());
    let mut worker = RawWorker::register(broker.endpoint(), "work", 1);
    let running = client.ask("work", "running");
    let waiting = client.ask("work", "waiting");
    let task = worker.expect_task("running");
    client.send([&v1::cancel(running)]);
    client.expect_error(running, 499);
    worker.expect(&v1::worker_cancel(task.id));
    client.sync();
    worker.expect_nothing();
    worker.send([&v1::worker_error(task.id, 499, "cancelled", [""])]);
    worker.echo("waiting");
    client.expect_reply(waiting, "waiting");
    client.expect_nothing();
    // A late answer to it is counted and dropped, and the worker none the worse.
    worker.reply(&task, "again");
    worker.expect_nothing();
    let report = Reports::of(broker.endpoint()).fresh();
    assert_eq!(counter(&report, "requests_dropped_cancelled"), 1);
    assert_eq!(counter(&report, "replies_unwanted"), 1);
    assert_eq!(counter(&report, "replies_unexpected"), 1);
    assert_eq!(report.workers.len(), 1);
}

#[test]
fn no_reply_is_answered_with_nothing() {
    let broker = BrokerProcess::start();
    let mut client = RawClient::connect(broker.endpoint());
    let mut worker = RawWorker::register(broker.endpoint(), "work", 1);
    let ask = |service: &str, flags: u8| {
        client.ask_with(service, "body", |request| request.flags(v1::NO_REPLY | flags))
    };
    ask("work", 0);
    let task = worker.expect_task("body");
    worker.send([&v1::worker_partial(task.id, ["part"]), &v1::worker_reply(task.id, ["reply"])]);
    ask("work", 0);
    let task = worker.expect_task("body");
    worker.send([&v1::worker_error(task.id, 500, "failed", [""])]);
    ask("nobody", v1::FAIL_FAST);
    ask("work", v1::ONCE);
    worker.expect_task("body");
    worker.send([&v1::disconnect(0, "")]);
    worker.expect_nothing();
    client.expect_nothing();
    let report = Reports::of(broker.endpoint()).fresh();
    assert_eq!((report.clients, report.bytes), (0, 0));
    assert_eq!(counter(&report, "requests_dropped_no_worker"), 1);
    assert_eq!(counter(&report, "requests_dropped_once"), 1);
}

#[test]
fn the_same_id_again_joins_while_it_waits_and_while_it_runs() {
    let broker = BrokerProcess::start();
    let mut first = RawClient::connect(broker.endpoint());
    let mut second = RawClient::connect(broker.endpoint());
    let mut third = RawClient::connect(broker.endpoint());
    let id = first.ask("work", "body");
    first.sync();
    let again = v1::request(id, "work").body(["body"]);
    second.send([&again]);
    second.sync();
    let mut worker = RawWorker::register(broker.endpoint(), "work", 10);
    let task = worker.expect_task("body");
    third.send([&again, &again]);
    third.sync();
    worker.expect_nothing();
    worker.reply(&task, "done");
    // To the connection that asked last, once.
    third.expect_reply(id, "done");
    third.expect_nothing();
    first.expect_nothing();
    second.expect_nothing();
    let report = Reports::of(broker.endpoint()).fresh();
    assert_eq!(counter(&report, "requests_joined"), 3);
    assert_eq!(counter(&report, "requests_dispatched"), 1);
}

#[test]
fn the_answer_of_a_request_that_ran_is_remembered() {
    let broker = BrokerProcess::start();
    let mut worker = RawWorker::register(broker.endpoint(), "work", 1);
    let mut first = RawClient::connect(broker.endpoint());
    let finals = first.ask("work", "ends");
    worker.echo("ends");
    first.expect_reply(finals, "ends");
    let fails = first.ask("work", "fails");
    let task = worker.expect_task("fails");
    worker.send([&v1::worker_error(task.id, 507, "failed", ["why", ""])]);
    first.expect(&v1::error(fails, 507, "failed", ["why", ""]));
    // Also on another connection, and when the worker is long gone.
    worker.send([&v1::disconnect(0, "")]);
    worker.expect_nothing();
    let mut second = RawClient::connect(broker.endpoint());
    for client in [&mut first, &mut second] {
        client.send([
            &v1::request(finals, "work").body(["ends"]),
            &v1::request(fails, "work").body(["fails"]),
        ]);
        client.expect_reply(finals, "ends");
        client.expect(&v1::error(fails, 507, "failed", ["why", ""]));
        client.expect_nothing();
    }
    let report = Reports::of(broker.endpoint()).fresh();
    assert_eq!(counter(&report, "requests_dispatched"), 2);
    assert_eq!(counter(&report, "answers_repeated"), 4);
}

#[test]
fn an_answer_that_is_not_kept_runs_again() {
    let broker = BrokerProcess::with(["--answers-max=0"]);
    let mut worker = RawWorker::register(broker.endpoint(), "work", 1);
    let mut client = RawClient::connect(broker.endpoint());
    let id = new_id();
    for _ in 0..2 {
        client.send([&v1::request(id, "work").body(["body"])]);
        worker.echo("body");
        client.expect_reply(id, "body");
    }
}

#[test]
fn parts_that_went_to_another_connection_end_a_joined_request_with_502() {
    let broker = BrokerProcess::start();
    let mut worker = RawWorker::register(broker.endpoint(), "stream", 1);
    let mut first = RawClient::connect(broker.endpoint());
    let mut second = RawClient::connect(broker.endpoint());
    let id = first.ask("stream", "go");
    let task = worker.expect_task("go");
    worker.send([&v1::worker_partial(task.id, ["part"])]);
    first.expect(&v1::partial(id, ["part"]));
    second.send([&v1::request(id, "stream").body(["go"])]);
    second.expect_error(id, 502);
    worker.expect(&v1::worker_cancel(task.id));
    worker.reply(&task, "nobody gets this");
    worker.expect_nothing();
    first.expect_nothing();
    second.expect_nothing();
}

#[test]
fn a_thousand_requests_in_one_message() {
    const REQUESTS: usize = 1_000;
    let broker = BrokerProcess::start();
    let mut client = RawClient::connect(broker.endpoint());
    let mut worker = RawWorker::register(broker.endpoint(), "work", REQUESTS as u16);
    let requests: Vec<_> = (0..REQUESTS)
        .map(|number| v1::request(new_id(), "work").body([number.to_string()]))
        .collect();
    client.send(&requests);
    let mut tasks = vec![];
    for number in 0..REQUESTS {
        tasks.push(worker.expect_task(&number.to_string()));
    }
    // They came in one message, so they leave in few: 256 KiB each, or 256 frames.
    assert!(worker.messages() < 20, "{} messages to the worker", worker.messages());
    // Answered in one message too, backwards.
    tasks.reverse();
    let replies: Vec<_> = tasks.iter().map(|task| v1::worker_reply(task.id, &task.body)).collect();
    worker.send(&replies);
    for (number, request) in requests.iter().enumerate().rev() {
        client.expect_reply(request.id(), &number.to_string());
    }
    assert!(client.messages() < 20, "{} messages to the client", client.messages());
    client.expect_nothing();
    let report = Reports::of(broker.endpoint()).fresh();
    assert_eq!(counter(&report, "requests_answered"), REQUESTS as u64);
}

#[test]
fn bodies_in_the_record_and_behind_it_mix_in_one_message() {
    let broker = BrokerProcess::start();
    let mut client = RawClient::connect(broker.endpoint());
    let mut worker = RawWorker::register(broker.endpoint(), "work", 100);
    let large = "x".repeat(100_000);
    let bodies: [&[&str]; 5] = [&["a"], &["b", "c"], &[""], &[&large], &["", "", &large]];
    let requests = bodies.map(|body| v1::request(new_id(), "work").body(body));
    client.send(&requests);
    let mut replies = vec![];
    for request in &requests {
        let task = worker.task();
        assert_eq!(task.body, request.body);
        replies.push(v1::worker_reply(task.id, &task.body));
    }
    worker.send(&replies);
    for request in &requests {
        client.expect(&v1::reply(request.id(), &request.body));
    }
}
