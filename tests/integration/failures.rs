//! Workers and brokers that die, stand still, or come back.
//!
//! Time is counted in the broker's own heartbeats to a worker that does nothing
//! else, never by this machine's clock. What must happen long before any heartbeat is
//! tried where they are an hour apart.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use majordomo_tests::limit::Deadline;
use majordomo_tests::process::{Process, Signal};
use majordomo_tests::proxy::Proxy;
use majordomo_tests::raw::RawPeer;
use majordomo_tests::report::{Reports, counter};
use majordomo_tests::spawn::BrokerProcess;
use majordomo_tests::wire::{self, VERSIONS, Version};
use majordomo_tests::worker::{EchoWorker, RawWorker};

const INTERVAL_MS: u32 = 25;
/// Half a second of silence: a busy machine may hold a worker's thread up for long.
const LIVENESS: u32 = 20;
const HOUR_MS: u32 = 3_600_000;
const INTERVAL: Duration = Duration::from_millis(INTERVAL_MS as u64);

/// A worker as a process of its own, which takes requests and never answers.
fn hanging_worker(broker: &BrokerProcess, version: Version, service: &str) -> Process {
    hanging_worker_beating(broker, version.as_str(), service, INTERVAL_MS)
}

fn hanging_worker_beating(
    broker: &BrokerProcess,
    version: &str,
    service: &str,
    interval_ms: u32,
) -> Process {
    let args = [broker.endpoint(), version, service, "hang", &interval_ms.to_string()];
    Process::start(Command::new(env!("CARGO_BIN_EXE_bare-worker")).args(args))
}

/// A worker process is given a request, and `fail`s while it has it. Another worker
/// must get it in time, and nobody else may have to wait for that.
fn a_failing_worker_loses_its_request(version: Version, fail: impl Fn(&mut Process)) {
    let broker = BrokerProcess::beating(INTERVAL_MS, LIVENESS);
    let mut reports = Reports::of(broker.endpoint());
    let mut failing = hanging_worker(&broker, version, "work");
    reports.until_workers(1);
    let mut client = RawPeer::dealer(broker.endpoint());
    client.send(&wire::request(version, "work", ["precious"]));
    assert_eq!(failing.line().as_deref(), Some("request precious"));

    let mut metronome = RawWorker::register(broker.endpoint(), version, "metronome");
    let mut other = RawWorker::register(broker.endpoint(), version, "work");
    let mut others = RawPeer::dealer(broker.endpoint());
    metronome.expect_nothing();
    let before = metronome.heartbeats();
    fail(&mut failing);
    for body in 0.. {
        let body = format!("ordinary {body}");
        metronome.beat();
        others.send(&wire::request(version, "work", [&body]));
        let mut request = other.request();
        let precious = request.body == [b"precious"];
        if precious {
            metronome.expect_nothing();
            other.reply(&request, "done");
            request = other.request();
        }
        assert_eq!(request.body, [body.as_bytes()]);
        other.reply(&request, &body);
        others.expect(&wire::reply(version, "work", [&body]));
        if precious {
            break;
        }
    }
    client.expect(&wire::reply(version, "work", ["done"]));
    client.expect_nothing();
    let report = reports.fresh();
    assert_eq!(counter(&report, "requests_returned"), 1);
    let reasons = ["workers_silent", "workers_connection_ended", "workers_unreachable"];
    assert_eq!(reasons.map(|name| counter(&report, name)).iter().sum::<u64>(), 1);
    // When the machine held the broker itself up, nobody's silence counted for a time.
    let intervals = metronome.heartbeats() - before;
    assert!(
        intervals <= u64::from(LIVENESS) + 2 || broker.log().contains("held up"),
        "given to another worker only after {intervals} heartbeats"
    );
}

#[test]
fn the_request_of_a_killed_worker_goes_to_another() {
    for version in VERSIONS {
        a_failing_worker_loses_its_request(version, Process::kill);
    }
}

/// A broker whose workers may be silent for hours: whoever is lost sooner is lost for
/// another reason.
fn patient_broker() -> BrokerProcess {
    BrokerProcess::with([
        format!("--heartbeat-interval-ms={HOUR_MS}"),
        format!("--heartbeat-interval-max-ms={HOUR_MS}"),
        "--heartbeat-liveness=3".to_owned(),
    ])
}

#[test]
fn a_killed_worker_gives_back_its_request_long_before_its_silence_is_over() {
    for version in ["0.1", "0.2", "1.0"] {
        let broker = patient_broker();
        let mut reports = Reports::of(broker.endpoint());
        let mut killed = hanging_worker_beating(&broker, version, "work", HOUR_MS);
        reports.until_workers(1);
        let mut client = RawPeer::dealer(broker.endpoint());
        client.send(&wire::request(Version::V0_2, "work", ["precious"]));
        assert_eq!(killed.line().as_deref(), Some("request precious"));
        // Nothing is sent to the dead one that could fail.
        let mut other = RawWorker::register(broker.endpoint(), Version::V0_2, "work");
        killed.kill();
        other.echo("precious");
        client.expect(&wire::reply(Version::V0_2, "work", ["precious"]));
        let report = reports.fresh();
        assert_eq!(counter(&report, "workers_connection_ended"), 1, "{version}");
        assert_eq!(counter(&report, "requests_returned"), 1, "{version}");
        let logged = broker.process().log_until("worker gone");
        assert!(logged.contains("connection ended"), "{logged}");
    }
}

#[test]
fn an_idle_worker_that_is_killed_is_given_nothing() {
    let broker = patient_broker();
    let mut reports = Reports::of(broker.endpoint());
    let mut killed = hanging_worker_beating(&broker, "1.0", "work", HOUR_MS);
    reports.until_workers(1);
    killed.kill();
    reports.until_workers(0);
    let mut client = RawPeer::dealer(broker.endpoint());
    client.send(&wire::request(Version::V0_2, "work", ["body"]));
    RawWorker::register(broker.endpoint(), Version::V0_2, "work").echo("body");
    client.expect(&wire::reply(Version::V0_2, "work", ["body"]));
    assert_eq!(counter(&reports.fresh(), "requests_dispatched"), 1);
}

/// Its socket connects again by itself, and the worker knows of nothing: what it says is
/// a stranger's, whether its connections have an id of its own or not.
#[test]
fn a_worker_whose_connection_was_made_anew_is_told_to_register_again() {
    for (version, id) in [(Version::V0_1, ""), (Version::V0_2, ""), (Version::V0_2, "mine")] {
        let broker = patient_broker();
        let mut reports = Reports::of(broker.endpoint());
        let proxy = Proxy::steady(broker.endpoint());
        let peer = RawPeer::dealer_with(&proxy.endpoint(), |socket| {
            if !id.is_empty() {
                socket.set_identity(id.as_bytes()).expect("an id");
            }
        });
        let mut cut = RawWorker::of(peer, version, "work");
        let mut client = RawPeer::dealer(broker.endpoint());
        client.send(&wire::request(version, "work", ["body"]));
        let first = cut.expect_request("body");
        proxy.cut();
        reports.until_counted("workers_connection_ended", 1);
        // Who has it now may answer it, and nobody else.
        let mut other = RawWorker::register(broker.endpoint(), version, "work");
        let request = other.expect_request("body");
        cut.reply(&first, "late");
        cut.expect_disconnect();
        other.reply(&request, "done");
        client.expect(&wire::reply(version, "work", ["done"]));
        cut.send(&wire::ready(version, "work"));
        reports.until_workers(2);
        client.expect_nothing();
        assert_eq!(counter(&reports.fresh(), "workers_registered"), 3);
    }
}

#[test]
fn the_request_of_a_worker_that_stands_still_goes_to_another() {
    for version in VERSIONS {
        a_failing_worker_loses_its_request(version, |worker| worker.signal(Signal::STOP));
    }
}

#[test]
fn a_worker_that_stood_still_registers_again() {
    let broker = BrokerProcess::beating(INTERVAL_MS, LIVENESS);
    let mut reports = Reports::of(broker.endpoint());
    let worker = hanging_worker(&broker, Version::V0_2, "work");
    reports.until_workers(1);
    worker.signal(Signal::STOP);
    reports.until_counted("workers_silent", 1);
    assert!(reports.fresh().services.is_empty());
    worker.signal(Signal::CONT);
    let report = reports.until_workers(1);
    assert_eq!(counter(&report, "workers_registered"), 2);
}

#[test]
fn a_busy_worker_that_beats_is_left_alone() {
    let broker = BrokerProcess::beating(INTERVAL_MS, LIVENESS);
    let mut client = RawPeer::dealer(broker.endpoint());
    let mut busy = VERSIONS.map(|version| {
        let service = version.as_str();
        let mut worker = RawWorker::register(broker.endpoint(), version, service);
        client.send(&wire::request(version, service, ["body"]));
        let request = worker.expect_request("body");
        let idle = EchoWorker::start(broker.endpoint(), version, service, INTERVAL);
        (version, worker, request, idle)
    });
    // The broker beats to busy workers too: one heartbeat an interval at most.
    for _ in 0..10 * LIVENESS {
        for (version, worker, ..) in &mut busy {
            worker.peer().expect(&wire::heartbeat(*version));
            worker.beat();
        }
    }
    for (version, worker, request, idle) in busy {
        worker.reply(&request, "at last");
        client.expect(&wire::reply(version, version.as_str(), ["at last"]));
        idle.stop();
    }
    let report = Reports::of(broker.endpoint()).fresh();
    assert_eq!(counter(&report, "workers_silent"), 0);
    assert_eq!(counter(&report, "requests_returned"), 0);
    assert_eq!(counter(&report, "requests_dispatched"), 2);
}

#[test]
fn a_dead_worker_behind_a_live_one_gets_no_request() {
    let broker = BrokerProcess::beating(INTERVAL_MS, LIVENESS);
    let mut reports = Reports::of(broker.endpoint());
    for version in VERSIONS {
        let live = EchoWorker::start(broker.endpoint(), version, "echo", INTERVAL);
        reports.until_workers(1);
        // It never says anything again.
        let mut dead = RawWorker::register(broker.endpoint(), version, "echo");
        let silent = counter(&reports.fresh(), "workers_silent");
        reports.until_counted("workers_silent", silent + 1);
        let mut client = RawPeer::dealer(broker.endpoint());
        for body in ["a", "b", "c"] {
            client.call(version, "echo", body, body);
        }
        dead.expect_disconnect();
        dead.expect_nothing();
        drop(live);
        reports.until_workers(0);
    }
    assert_eq!(counter(&reports.fresh(), "requests_returned"), 0);
}

#[test]
fn a_service_whose_workers_hang_delays_no_other() {
    let broker = BrokerProcess::start();
    let mut hanging = RawWorker::register(broker.endpoint(), Version::V0_2, "hangs");
    let mut working = RawWorker::register(broker.endpoint(), Version::V0_2, "works");
    let mut client = RawPeer::dealer(broker.endpoint());
    for _ in 0..1_000 {
        client.send(&wire::request(Version::V0_2, "hangs", ["body"]));
    }
    client.sync();
    for body in ["a", "b", "c"] {
        client.send(&wire::request(Version::V0_2, "works", [body]));
        working.echo(body);
        client.expect(&wire::reply(Version::V0_2, "works", [body]));
    }
    hanging.expect_request("body");
}

/// A call as the RFCs have a client make it: a new socket for each try.
fn call_until_answered(endpoint: &str, version: Version, body: &str) {
    for _ in 0..60 {
        let mut client = RawPeer::dealer(endpoint);
        client.send(&wire::request(version, "echo", [body]));
        if let Some(reply) = client.receive_before(Deadline::after(Duration::from_millis(500))) {
            let expected = wire::reply(version, "echo", [body]);
            assert!(reply == expected, "another's reply:\n{}", wire::diff(&expected, &reply));
            return;
        }
    }
    panic!("not answered: {body}");
}

#[test]
fn a_broker_that_is_killed_and_started_again_is_found_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut broker = BrokerProcess::with([
        format!("--bind=ipc://{}", directory.path().join("broker").display()),
        format!("--heartbeat-interval-ms={INTERVAL_MS}"),
        format!("--heartbeat-liveness={LIVENESS}"),
    ]);
    let endpoint = broker.endpoint().to_owned();
    let _workers = VERSIONS.map(|version| EchoWorker::start(&endpoint, version, "echo", INTERVAL));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let answered = VERSIONS.map(|version| {
            let (endpoint, over) = (&endpoint, &over);
            let (answer, answered) = mpsc::channel();
            scope.spawn(move || {
                for call in 0.. {
                    let body = format!("{} {call}", version.as_str());
                    call_until_answered(endpoint, version, &body);
                    if over.load(Ordering::Relaxed) || answer.send(()).is_err() {
                        return;
                    }
                }
            });
            answered
        });
        let expect_calls = || {
            for answered in &answered {
                (0..100).for_each(|_| answered.recv().expect("calls are answered"));
            }
        };
        expect_calls();
        for _ in 0..2 {
            broker.kill();
            broker.start_again();
            // Those that were answered before are not meant.
            answered.iter().for_each(|answered| answered.try_iter().for_each(drop));
            expect_calls();
        }
        over.store(true, Ordering::Relaxed);
    });
    let report = Reports::of(&endpoint).until_workers(VERSIONS.len());
    // What a worker had just answered when the broker was killed, its socket may bring to
    // the next one.
    let unexpected = counter(&report, "replies_unexpected");
    assert!(unexpected <= VERSIONS.len() as u64, "{unexpected} replies");
}
