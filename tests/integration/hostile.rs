//! Garbage from many connections, while real calls go on.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use majordomo_tests::garbage::{Flood, Garbage};
use majordomo_tests::limit::{LIMIT, until};
use majordomo_tests::raw::RawPeer;
use majordomo_tests::report::Reports;
use majordomo_tests::spawn::BrokerProcess;
use majordomo_tests::v1::{self, RawClient};
use majordomo_tests::wire::{self, VERSIONS, Version};
use majordomo_tests::worker::{EchoWorker, RawWorker};

#[test]
fn garbage_is_counted_exactly_and_no_real_call_is_lost() {
    const MESSAGES: u64 = 5_000;
    let broker = BrokerProcess::start();
    let mut reports = Reports::of(broker.endpoint());
    let interval = Duration::from_millis(200);
    let workers =
        VERSIONS.map(|version| EchoWorker::start(broker.endpoint(), version, "echo", interval));
    reports.until_workers(2);
    let over = AtomicBool::new(false);
    let answered = AtomicU64::new(0);
    let calls: u64 = thread::scope(|scope| {
        let clients = VERSIONS.map(|version| {
            let (endpoint, over, answered) = (broker.endpoint(), &over, &answered);
            scope.spawn(move || {
                let mut client = RawPeer::dealer(endpoint);
                let mut calls = 0;
                while !over.load(Ordering::Relaxed) {
                    let body = format!("{} {calls}", version.as_str());
                    client.call(version, "echo", &body, &body);
                    answered.fetch_add(1, Ordering::Relaxed);
                    calls += 1;
                }
                calls
            })
        });
        let mut flood = Flood::new(broker.endpoint(), 50, 20_260_131);
        while flood.messages() < MESSAGES {
            let before = answered.load(Ordering::Relaxed);
            (0..100).for_each(|_| flood.send());
            until("a call is answered meanwhile", || {
                (answered.load(Ordering::Relaxed) > before).then_some(())
            });
        }
        let report =
            reports.until("all garbage is counted", |report| flood.counted(report) >= MESSAGES);
        over.store(true, Ordering::Relaxed);
        for (counter, sent, counted) in flood.account(&report) {
            assert!(sent > 0, "no garbage for {counter}");
            assert_eq!(counted, sent, "{counter}");
        }
        clients.into_iter().map(|client| client.join().expect("all calls are answered")).sum()
    });
    let report = reports.until_counted("requests_answered", calls);
    assert_eq!(report.workers.len(), 2, "a real worker was taken for a bad one");
    assert_eq!(report.services.len(), 1);
    workers.into_iter().for_each(EchoWorker::stop);
    // A flood of messages is no flood of lines, nor is it hidden.
    let log = broker.process().log_until("log lines left out");
    assert!(log.lines().count() < 500, "{} lines of log", log.lines().count());
}

#[test]
fn a_worker_that_sends_garbage_is_disconnected_and_its_request_given_to_another() {
    let broker = BrokerProcess::start();
    let mut client = RawPeer::dealer(broker.endpoint());
    for version in VERSIONS {
        let mut bad = RawWorker::register(broker.endpoint(), version, version.as_str());
        client.send(&wire::request(Version::V0_2, version.as_str(), ["body"]));
        bad.expect_request("body");
        bad.send(&wire::frames(["", "?"]));
        bad.expect_disconnect();
        let good = EchoWorker::start(
            broker.endpoint(),
            version,
            version.as_str(),
            Duration::from_millis(200),
        );
        client.expect(&wire::reply(Version::V0_2, version.as_str(), ["body"]));
        good.stop();
    }
}

#[test]
fn a_worker_of_1_0_that_sends_garbage_is_disconnected_and_its_requests_given_to_others() {
    let broker = BrokerProcess::start();
    let mut client = RawClient::connect(broker.endpoint());
    let mut garbage = Garbage::new(11);
    for round in 0..50 {
        let mut bad = v1::RawWorker::register(broker.endpoint(), "work", 2);
        let ids = ["one", "two"].map(|body| client.ask("work", body));
        bad.expect_task("one");
        bad.expect_task("two");
        bad.peer().send(&garbage.nearly_records());
        let (code, text) = bad.expect_disconnect();
        assert_eq!(code, 400, "round {round}: {text}");
        let mut good = v1::RawWorker::register(broker.endpoint(), "work", 2);
        good.echo("one");
        good.echo("two");
        client.expect_reply(ids[0], "one");
        client.expect_reply(ids[1], "two");
        good.send([&wire::v1::disconnect(0, "")]);
        good.expect_nothing();
    }
}

#[test]
fn bytes_that_are_no_zmtp_end_only_their_own_connection() {
    let broker = BrokerProcess::start();
    let address = broker.endpoint().trim_start_matches("tcp://");
    let mut rng = fastrand::Rng::with_seed(7);
    for bytes in [0, 1, 9, 10, 11, 64, 1_000, 100_000] {
        let mut stream = TcpStream::connect(address).expect("a connection");
        let garbage: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(bytes).collect();
        // The broker may end the connection before all is written.
        let _ = stream.write_all(&garbage);
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.set_read_timeout(Some(LIMIT));
        let _ = stream.read_to_end(&mut Vec::new());
        RawPeer::dealer(broker.endpoint()).call(Version::V0_2, "mmi.service", "echo", "404");
    }
}
