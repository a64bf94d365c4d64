//! Signals, and what is left behind.

use std::path::PathBuf;

use majordomo_tests::process::Signal;
use majordomo_tests::raw::RawPeer;
use majordomo_tests::report::{Reports, counter};
use majordomo_tests::spawn::{BrokerProcess, run};
use majordomo_tests::wire::{self, VERSIONS, Version};
use majordomo_tests::worker::RawWorker;

/// Longer than any test may take.
const NEVER: &str = "--shutdown-ms=3600000";

/// A place for an ipc endpoint, and the flag to bind it.
struct Place {
    path: PathBuf,
    bind: String,
    _directory: tempfile::TempDir,
}

fn place() -> Place {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("broker");
    Place { bind: format!("--bind=ipc://{}", path.display()), path, _directory: directory }
}

#[test]
fn an_idle_broker_ends_with_0_and_leaves_no_file() {
    for signal in [Signal::TERM, Signal::INT] {
        let place = place();
        let mut broker = BrokerProcess::with([&place.bind, "--bind=tcp://127.0.0.1:*", NEVER]);
        assert!(place.path.exists());
        let mut workers = VERSIONS.map(|version| {
            let service = version.as_str();
            RawWorker::register(broker.endpoint(), version, service)
        });
        broker.signal(signal);
        for worker in &mut workers {
            worker.expect_disconnect();
        }
        assert_eq!(broker.exit_code(), 0);
        assert!(!place.path.exists(), "{signal:?} left {}", place.path.display());
    }
}

#[test]
fn a_broker_that_spins_serves_and_ends_as_any_other() {
    let mut broker = BrokerProcess::with(["--spin-us=10000"]);
    let mut worker = RawWorker::register(broker.endpoint(), Version::V0_2, "work");
    let mut client = RawPeer::dealer(broker.endpoint());
    for body in ["one", "two"] {
        client.send(&wire::request(Version::V0_2, "work", [body]));
        worker.echo(body);
        client.expect(&wire::reply(Version::V0_2, "work", [body]));
    }
    broker.signal(Signal::TERM);
    worker.expect_disconnect();
    assert_eq!(broker.exit_code(), 0);
}

#[test]
fn a_running_request_is_answered_before_the_end() {
    for (signal, version) in [(Signal::TERM, Version::V0_1), (Signal::INT, Version::V0_2)] {
        let mut broker = BrokerProcess::with([NEVER]);
        let mut reports = Reports::of(broker.endpoint());
        let mut busy = RawWorker::register(broker.endpoint(), version, "work");
        let mut idle = RawWorker::register(broker.endpoint(), version, "other");
        let mut client = RawPeer::dealer(broker.endpoint());
        client.send(&wire::request(version, "work", ["running"]));
        let request = busy.expect_request("running");
        client.send(&wire::request(version, "work", ["waiting"]));
        client.sync();

        broker.signal(signal);
        idle.expect_disconnect();
        reports.until("it is stopping", |report| report.stopping);
        // Nothing new is taken, from clients or from workers.
        client.send(&wire::request(version, "work", ["new"]));
        let mut late = RawWorker::register(broker.endpoint(), version, "work");
        late.expect_disconnect();
        client.sync();
        let report = reports.until_counted("requests_dropped_stopping", 2);
        assert_eq!(counter(&report, "workers_refused_stopping"), 1);
        assert_eq!(report.workers.len(), 1);

        busy.reply(&request, "done");
        client.expect(&wire::reply(version, "work", ["done"]));
        busy.expect_disconnect();
        assert_eq!(broker.exit_code(), 0);
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::TERM)] {
        let mut broker = BrokerProcess::with([NEVER]);
        let mut worker = RawWorker::register(broker.endpoint(), Version::V0_2, "work");
        let client = RawPeer::dealer(broker.endpoint());
        client.send(&wire::request(Version::V0_2, "work", ["hangs"]));
        worker.expect_request("hangs");
        broker.signal(first);
        Reports::of(broker.endpoint()).until("it is stopping", |report| report.stopping);
        broker.signal(second);
        worker.expect_disconnect();
        assert_eq!(broker.exit_code(), 0);
    }
}

#[test]
fn a_request_that_hangs_is_given_shutdown_ms() {
    let mut broker = BrokerProcess::with(["--shutdown-ms=50"]);
    let mut worker = RawWorker::register(broker.endpoint(), Version::V0_1, "work");
    let client = RawPeer::dealer(broker.endpoint());
    client.send(&wire::request(Version::V0_1, "work", ["hangs"]));
    worker.expect_request("hangs");
    broker.signal(Signal::TERM);
    worker.expect_disconnect();
    assert_eq!(broker.exit_code(), 0);
}

#[test]
fn a_reply_much_larger_than_the_buffers_still_arrives() {
    let mut broker = BrokerProcess::with([NEVER]);
    let mut worker = RawWorker::register(broker.endpoint(), Version::V0_2, "work");
    let mut client = RawPeer::dealer(broker.endpoint());
    client.send(&wire::request(Version::V0_2, "work", ["go"]));
    let request = worker.expect_request("go");
    broker.signal(Signal::TERM);
    let body = "x".repeat(20_000_000);
    worker.reply(&request, &body);
    let reply = client.receive();
    assert!(reply == wire::reply(Version::V0_2, "work", [&body]), "the reply differs");
    assert_eq!(broker.exit_code(), 0);
}

#[test]
fn the_file_that_a_killed_broker_left_is_replaced() {
    let place = place();
    let mut broker = BrokerProcess::with([&place.bind]);
    broker.kill();
    assert!(place.path.exists(), "SIGKILL leaves no time to remove it");
    broker.start_again();
    RawPeer::dealer(broker.endpoint()).call(Version::V0_2, "mmi.service", "echo", "404");
    broker.signal(Signal::TERM);
    assert_eq!(broker.exit_code(), 0);
    assert!(!place.path.exists());
}

#[test]
fn a_second_broker_on_an_endpoint_fails_and_leaves_the_first_one_alone() {
    let place = place();
    let first = BrokerProcess::with([&place.bind, "--bind=tcp://127.0.0.1:*"]);
    for endpoint in first.endpoints() {
        let second = run([format!("--bind={endpoint}")]);
        assert_eq!(second.code, Some(1));
        assert_eq!(second.stdout, "");
        assert_eq!(
            second.stderr,
            format!("majordomo-broker: cannot bind {endpoint}: address in use\n")
        );
        RawPeer::dealer(endpoint).call(Version::V0_2, "mmi.service", "echo", "404");
    }
    assert!(place.path.exists());
}
