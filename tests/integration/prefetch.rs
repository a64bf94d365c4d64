//! Workers of MDP/0.1 and MDP/0.2 that are given requests ahead: plain ones, and those of
//! our SDK.

use std::collections::VecDeque;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use majordomo_client::{Body, Client};
use majordomo_tests::limit::{LIMIT, until};
use majordomo_tests::process::{Process, Signal};
use majordomo_tests::raw::RawPeer;
use majordomo_tests::report::{Reports, counter};
use majordomo_tests::spawn::{BrokerProcess, binary};
use majordomo_tests::v1;
use majordomo_tests::wire::{self, VERSIONS, Version};
use majordomo_tests::worker::RawWorker;
use majordomo_worker::{Request, RunningWorker, Service, StopReason, Worker};

/// A broker that gives each worker so many requests.
fn broker(prefetch: u32) -> BrokerProcess {
    BrokerProcess::with(["--prefetch".to_owned(), prefetch.to_string()])
}

#[test]
fn requests_wait_in_the_socket_of_a_worker_that_works_and_come_in_order() {
    let broker = broker(3);
    for version in VERSIONS {
        let mut worker = RawWorker::register(broker.endpoint(), version, version.as_str());
        let mut client = RawPeer::dealer(broker.endpoint());
        for body in ["1", "2", "3", "4"] {
            client.send(&wire::request(Version::V0_2, version.as_str(), [body]));
        }
        // They are there without an answer to the first; the fourth is not.
        let given = ["1", "2", "3"].map(|body| worker.expect_request(body));
        worker.expect_nothing();
        worker.reply(&given[0], "1");
        let fourth = worker.expect_request("4");
        for (request, body) in given[1..].iter().chain([&fourth]).zip(["2", "3", "4"]) {
            worker.reply(request, body);
        }
        for body in ["1", "2", "3", "4"] {
            client.expect(&wire::reply(Version::V0_2, version.as_str(), [body]));
        }
        worker.expect_nothing();
    }
}

#[test]
fn a_lost_worker_gives_back_all_it_had_before_what_waits_and_in_order() {
    let broker = broker(2);
    let mut reports = Reports::of(broker.endpoint());
    let mut client = RawPeer::dealer(broker.endpoint());
    let mut lost = RawWorker::register(broker.endpoint(), Version::V0_2, "echo");
    for body in ["1", "2", "3"] {
        client.send(&wire::request(Version::V0_2, "echo", [body]));
    }
    lost.expect_request("1");
    lost.expect_request("2");
    reports.until_waiting("echo", 1);
    lost.send(&wire::disconnect(Version::V0_2));
    reports.until_waiting("echo", 3);
    let mut worker = RawWorker::register(broker.endpoint(), Version::V0_2, "echo");
    for body in ["1", "2", "3"] {
        worker.echo(body);
        client.expect(&wire::reply(Version::V0_2, "echo", [body]));
    }
    assert_eq!(counter(&reports.fresh(), "requests_returned"), 2);
}

/// Workers that leave together, each with so many answers.
const LEAVING: usize = 16;
const ANSWERS: usize = 64;

/// Workers take all they get, answer it while the broker is stopped, and close their
/// connections. As many requests again wait: each answer that the broker then reads has it
/// hand out another, to a worker that has gone and of which more is unread.
fn leave_unread<W, R>(
    register: impl Fn(RawPeer, &str) -> W,
    take: impl Fn(&mut W) -> R,
    leave: impl Fn(W, Vec<R>),
) {
    // Few are read before what follows from them is sent, also to workers of MDP/1.0.
    let broker = BrokerProcess::with([&format!("--prefetch={ANSWERS}"), "--drain-max=16"]);
    let endpoint = broker.endpoint();
    let mut reports = Reports::of(endpoint);
    let mut client = RawPeer::dealer(endpoint);
    let context = zmq::Context::new();
    let peer = || RawPeer::dealer_in(&context, endpoint);
    let mut leaving: Vec<_> = (0..LEAVING).map(|_| register(peer(), "echo")).collect();
    for _ in 0..2 * LEAVING * ANSWERS {
        client.send(&wire::request(Version::V0_2, "echo", ["x"]));
    }
    let take = |worker: &mut W| (0..ANSWERS).map(|_| take(worker)).collect();
    let taken: Vec<Vec<R>> = leaving.iter_mut().map(take).collect();
    client.sync();
    broker.signal(Signal::STOP);
    leaving.into_iter().zip(taken).for_each(|(worker, taken)| leave(worker, taken));
    // When this is done, all has been sent and the connections are closed.
    drop(context);
    broker.signal(Signal::CONT);
    reports.until_workers(0);
    let mut other = RawWorker::register(endpoint, Version::V0_2, "echo");
    for _ in 0..LEAVING * ANSWERS {
        let request = other.expect_request("x");
        other.reply(&request, "late");
    }
    other.expect_nothing();
    for answer in ["early", "late"] {
        for _ in 0..LEAVING * ANSWERS {
            client.expect(&wire::reply(Version::V0_2, "echo", [answer]));
        }
    }
    let report = reports.fresh();
    assert_eq!(counter(&report, "replies_unexpected"), 0);
    assert_eq!(counter(&report, "workers_disconnected"), LEAVING as u64);
}

#[test]
fn what_workers_answered_before_they_closed_counts_however_late_it_is_read() {
    for version in VERSIONS {
        leave_unread(
            |peer, service| RawWorker::of(peer, version, service),
            |worker| worker.expect_request("x"),
            |worker, requests| {
                requests.iter().for_each(|request| worker.reply(request, "early"));
                worker.send(&wire::disconnect(version));
            },
        );
    }
    leave_unread(
        |peer, service| {
            let mut worker = v1::RawWorker::of(peer);
            worker.send([&wire::v1::ready(ANSWERS as u16, service)]);
            assert_eq!(worker.record().command, 0x02, "WELCOME");
            worker
        },
        |worker| worker.expect_task("x"),
        |worker, tasks| {
            tasks.iter().for_each(|task| worker.reply(task, "early"));
            worker.send([&wire::v1::disconnect(0, "")]);
        },
    );
}

/// As the SDK's own.
const BEATS: &str = "--heartbeat-interval-ms=2500";

/// A process whose command never answers, and ends with it.
fn hang(endpoint: &str, version: Version) -> Process {
    let mut command = Command::new(binary().with_file_name("majordomo"));
    command.args(["work", "echo", "--broker", endpoint, "--protocol", version.as_str()]);
    command.args(["--", "sh", "-c", "while kill -0 $PPID; do sleep 1; done"]);
    Process::start(&mut command)
}

/// A worker that serves `echo`, two requests at a time or on the thread of its socket.
fn serve(endpoint: &str, version: Version, is_inline: bool) -> RunningWorker {
    let service = Service::new("echo", |request: Request| Ok(request.into_body()));
    let service = if is_inline { service.inline() } else { service.concurrency(2) };
    let worker = Worker::builder().broker(endpoint).serve(service);
    let worker = worker.version(match version {
        Version::V0_1 => majordomo_worker::Version::V0_1,
        Version::V0_2 => majordomo_worker::Version::V0_2,
    });
    worker.start().expect("a worker")
}

/// Calls until it is over; more are under way than all workers are given. Gives how many.
fn call(endpoint: &str, answered: &AtomicU64, is_over: &AtomicBool) -> u64 {
    let client = Client::builder().broker(endpoint).timeout(LIMIT).tries(1);
    let client = client.build().expect("a client");
    let mut under_way = VecDeque::new();
    let mut asked = 0;
    loop {
        while under_way.len() < 64 && !is_over.load(Ordering::Relaxed) {
            let body = Body::from(asked.to_string());
            let call = client.submit("echo", body.clone()).expect("submitted");
            under_way.push_back((body, call));
            asked += 1;
        }
        let Some((body, call)) = under_way.pop_front() else { return asked };
        assert_eq!(call.wait().expect("a reply"), body, "another call's reply");
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn workers_of_the_sdk_answer_every_call_while_some_are_killed_drained_and_stopped() {
    for version in VERSIONS {
        // A request may be given back by one worker after the other.
        let broker = BrokerProcess::with(["--prefetch=4", "--attempts-max=100", BEATS]);
        let endpoint = broker.endpoint();
        let mut reports = Reports::of(endpoint);
        let (answered, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
        let mut killed = hang(endpoint, version);
        reports.until_workers(1);
        let asked = thread::scope(|scope| {
            let calls = scope.spawn(|| call(endpoint, &answered, &is_over));
            reports.until("it has four", |report| report.workers[0].running == 4);
            let serve = |is_inline| serve(endpoint, version, is_inline);
            let (stays, drained, stopped) = (serve(false), serve(false), serve(true));
            killed.kill();
            let more = |count| {
                let before = answered.load(Ordering::Relaxed);
                until("more calls are answered", || {
                    let more = answered.load(Ordering::Relaxed) - before;
                    (calls.is_finished() || more >= count).then_some(())
                });
            };
            // The oldest call of all is one that it had.
            more(500);
            let report = reports.until_workers(5);
            assert_eq!(counter(&report, "requests_returned"), 4);
            drained.stop_handle().stop();
            more(500);
            let counters = drained.counters();
            assert_eq!(drained.join().expect("no failure"), StopReason::Drained);
            let counts = counters.counts();
            assert_eq!(counts.requests, counts.answers + counts.requests_given_back);
            let replacement = serve(true);
            more(500);
            stopped.stop_handle().stop_now();
            more(500);
            stopped.join().expect("no failure");
            is_over.store(true, Ordering::Relaxed);
            let asked = calls.join().expect("every call is answered");
            for worker in [stays, replacement] {
                let counts = worker.counters().counts();
                assert_eq!((counts.reconnects, counts.messages_invalid), (0, 0));
                worker.stop_handle().stop();
                assert_eq!(worker.join().expect("no failure"), StopReason::Drained);
            }
            asked
        });
        let report = reports.until_workers(0);
        assert_eq!(counter(&report, "requests_answered"), asked);
        for name in [
            "replies_unexpected",
            "requests_dropped_attempts_max",
            "workers_unexpected",
            "messages_malformed",
        ] {
            assert_eq!(counter(&report, name), 0, "{name}");
        }
    }
}
