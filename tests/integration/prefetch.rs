//! Plain workers of MDP/0.1 and MDP/0.2 that are given requests ahead.

use majordomo_tests::raw::RawPeer;
use majordomo_tests::report::{Reports, counter};
use majordomo_tests::spawn::BrokerProcess;
use majordomo_tests::wire::{self, VERSIONS, Version};
use majordomo_tests::worker::RawWorker;

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
