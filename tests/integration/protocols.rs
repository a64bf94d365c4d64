//! What goes over the wire, frame by frame, in both versions and all pairings.

use majordomo_tests::raw::RawPeer;
use majordomo_tests::report::{Reports, counter};
use majordomo_tests::spawn::BrokerProcess;
use majordomo_tests::wire::{self, VERSIONS, Version, frames};
use majordomo_tests::worker::RawWorker;

#[test]
fn every_pairing_of_versions_exchanges_exact_frames() {
    let broker = BrokerProcess::start();
    for worker_version in VERSIONS {
        for client_version in VERSIONS {
            let service = format!("{}-{}", worker_version.as_str(), client_version.as_str());
            let mut worker = RawWorker::register(broker.endpoint(), worker_version, &service);
            let mut client = RawPeer::dealer(broker.endpoint());
            client.send(&wire::request(client_version, &service, ["one", "", "three"]));
            let request = worker.request();
            assert_eq!(request.body, frames(["one", "", "three"]));
            let reply = ["", "\u{1}two"];
            worker.send(&wire::worker_reply(worker_version, &request.address, reply));
            client.expect(&wire::reply(client_version, &service, reply));
            client.expect_nothing();
            worker.expect_nothing();
        }
    }
}

#[test]
fn a_req_client_is_served_by_workers_of_both_versions() {
    let broker = BrokerProcess::start();
    for version in VERSIONS {
        let service = version.as_str();
        let mut worker = RawWorker::register(broker.endpoint(), version, service);
        let mut client = RawPeer::req(broker.endpoint());
        for body in ["first", "second"] {
            client.send(&frames(["MDPC01", service, body]));
            worker.echo(body);
            client.expect(&frames(["MDPC01", service, body]));
        }
    }
}

#[test]
fn the_request_id_of_req_correlate_comes_back() {
    let broker = BrokerProcess::start();
    let mut worker = RawWorker::register(broker.endpoint(), Version::V0_1, "echo");
    let mut client = RawPeer::req_correlated(broker.endpoint());
    // The socket itself drops a reply whose id is not that of its last request: of
    // these two only the second one is for it.
    client.send(&frames(["MDPC01", "echo", "given up"]));
    client.send(&frames(["MDPC01", "echo", "asked again"]));
    worker.echo("given up");
    worker.echo("asked again");
    client.expect(&frames(["MDPC01", "echo", "asked again"]));
}

#[test]
fn an_envelope_of_several_frames_comes_back_in_order() {
    let broker = BrokerProcess::start();
    let mut client = RawPeer::dealer(broker.endpoint());
    let _workers = VERSIONS.map(|version| {
        let service = version.as_str();
        let mut worker = RawWorker::register(broker.endpoint(), version, service);
        client.send(&frames(["outer", "inner", "", "MDPC01", service, "body"]));
        worker.echo("body");
        client.expect(&frames(["outer", "inner", "", "MDPC01", service, "body"]));
        worker
    });
    client.send(&frames(["outer", "", "MDPC01", "mmi.service", "0.1"]));
    client.expect(&frames(["outer", "", "MDPC01", "mmi.service", "200"]));
}

#[test]
fn partial_replies_go_to_a_0_2_client_one_by_one() {
    let broker = BrokerProcess::start();
    let mut worker = RawWorker::register(broker.endpoint(), Version::V0_2, "stream");
    let mut client = RawPeer::dealer(broker.endpoint());
    client.send(&wire::request(Version::V0_2, "stream", ["go"]));
    let request = worker.request();
    worker.send(&wire::worker_partial(&request.address, ["1", "2"]));
    client.expect(&wire::partial("stream", ["1", "2"]));
    worker.send(&wire::worker_partial(&request.address, ["3"]));
    client.expect(&wire::partial("stream", ["3"]));
    worker.reply(&request, "4");
    client.expect(&wire::reply(Version::V0_2, "stream", ["4"]));
    client.expect_nothing();
}

#[test]
fn a_0_1_client_gets_all_parts_in_its_one_reply() {
    let broker = BrokerProcess::start();
    let mut worker = RawWorker::register(broker.endpoint(), Version::V0_2, "stream");
    let mut client = RawPeer::dealer(broker.endpoint());
    client.send(&wire::request(Version::V0_1, "stream", ["go"]));
    let request = worker.request();
    worker.send(&wire::worker_partial(&request.address, ["1", "2"]));
    worker.send(&wire::worker_partial(&request.address, ["3"]));
    worker.peer().sync();
    client.expect_nothing();
    worker.reply(&request, "4");
    client.expect(&wire::reply(Version::V0_1, "stream", ["1", "2", "3", "4"]));
    client.expect_nothing();
}

#[test]
fn a_large_body_arrives_as_it_was_sent() {
    let broker = BrokerProcess::start();
    let body: Vec<u8> = (0..5_000_000_u32).map(|position| (position % 251) as u8).collect();
    for version in VERSIONS {
        let mut worker = RawWorker::register(broker.endpoint(), version, version.as_str());
        let mut client = RawPeer::dealer(broker.endpoint());
        client.send(&wire::request(Version::V0_2, version.as_str(), [&body]));
        let request = worker.request();
        assert!(request.body == [&body[..]], "the body differs");
        worker.send(&wire::worker_reply(version, &request.address, [&body]));
        let reply = client.receive();
        assert!(reply == wire::reply(Version::V0_2, version.as_str(), [&body]), "it differs");
    }
}

#[test]
fn a_request_waits_for_the_first_worker_of_its_service() {
    let broker = BrokerProcess::start();
    let mut client = RawPeer::dealer(broker.endpoint());
    client.send(&wire::request(Version::V0_2, "later", ["early"]));
    client.sync();
    let _other = RawWorker::register(broker.endpoint(), Version::V0_2, "other");
    let mut worker = RawWorker::register(broker.endpoint(), Version::V0_2, "later");
    worker.echo("early");
    client.expect(&wire::reply(Version::V0_2, "later", ["early"]));
}

#[test]
fn requests_of_one_client_are_answered_as_their_workers_answer() {
    let broker = BrokerProcess::start();
    let mut first = RawWorker::register(broker.endpoint(), Version::V0_1, "echo");
    let mut second = RawWorker::register(broker.endpoint(), Version::V0_2, "echo");
    let mut client = RawPeer::dealer(broker.endpoint());
    client.send(&wire::request(Version::V0_2, "echo", ["a"]));
    client.send(&wire::request(Version::V0_2, "echo", ["b"]));
    // Least recently used first: the order in which they registered.
    let a = first.expect_request("a");
    second.echo("b");
    client.expect(&wire::reply(Version::V0_2, "echo", ["b"]));
    first.reply(&a, "a");
    client.expect(&wire::reply(Version::V0_2, "echo", ["a"]));
}

#[test]
fn a_worker_that_answers_what_it_does_not_have_is_disconnected() {
    let broker = BrokerProcess::start();
    let mut client = RawPeer::dealer(broker.endpoint());
    for version in VERSIONS {
        let mut worker = RawWorker::register(broker.endpoint(), version, "echo");
        client.send(&wire::request(Version::V0_2, "echo", ["body"]));
        let request = worker.request();
        let mut guess = request.address.clone();
        *guess.last_mut().expect("an address is not empty") ^= 1;
        worker.send(&wire::worker_reply(version, &guess, ["not mine"]));
        worker.expect_disconnect();
        // Its request is another worker's now; its own late reply reaches nobody.
        worker.reply(&request, "too late");
        worker.expect_disconnect();
        let mut other = RawWorker::register(broker.endpoint(), version, "echo");
        other.echo("body");
        client.expect(&wire::reply(Version::V0_2, "echo", ["body"]));
        client.expect_nothing();
        other.send(&wire::disconnect(version));
        other.expect_nothing();
    }
    let report = Reports::of(broker.endpoint()).fresh();
    assert_eq!(counter(&report, "replies_unexpected"), 4);
    assert_eq!(counter(&report, "workers_unexpected"), 2);
}

#[test]
fn a_second_ready_is_answered_with_disconnect() {
    let broker = BrokerProcess::start();
    for version in VERSIONS {
        let mut worker = RawWorker::register(broker.endpoint(), version, "echo");
        worker.send(&wire::ready(version, "echo"));
        worker.expect_disconnect();
    }
    let report = Reports::of(broker.endpoint()).fresh();
    assert_eq!(counter(&report, "workers_unexpected"), 2);
    assert!(report.workers.is_empty() && report.services.is_empty());
}

#[test]
fn what_strangers_say_leaves_no_trace_but_a_count() {
    let broker = BrokerProcess::start();
    for version in VERSIONS {
        let mut stranger = RawPeer::dealer(broker.endpoint());
        stranger.send(&wire::heartbeat(version));
        stranger.expect(&wire::disconnect(version));
        stranger.send(&wire::worker_reply(version, b"whoever", ["body"]));
        stranger.expect(&wire::disconnect(version));
        stranger.send(&wire::disconnect(version));
        stranger.expect_nothing();
        stranger.send(&wire::ready(version, "mmi.service"));
        stranger.expect(&wire::disconnect(version));
    }
    let report = Reports::of(broker.endpoint()).fresh();
    assert_eq!(counter(&report, "workers_refused_unregistered"), 4);
    assert_eq!(counter(&report, "workers_refused_reserved_service"), 2);
    assert_eq!(counter(&report, "workers_registered"), 0);
    assert!(report.workers.is_empty() && report.services.is_empty());
}

#[test]
fn a_worker_that_said_disconnect_gets_nothing_more() {
    let broker = BrokerProcess::start();
    let mut client = RawPeer::dealer(broker.endpoint());
    for version in VERSIONS {
        let mut worker = RawWorker::register(broker.endpoint(), version, version.as_str());
        worker.send(&wire::disconnect(version));
        worker.expect_nothing();
        client.send(&wire::request(Version::V0_2, version.as_str(), ["body"]));
        client.sync();
        worker.expect_nothing();
    }
}

#[test]
fn mmi_service_says_whether_a_worker_is_there() {
    let broker = BrokerProcess::start();
    let mut client = RawPeer::dealer(broker.endpoint());
    for version in VERSIONS {
        client.call(version, "mmi.service", "echo", "404");
        let mut worker = RawWorker::register(broker.endpoint(), version, "echo");
        client.call(version, "mmi.service", "echo", "200");
        client.call(version, "mmi.service", "ech", "404");
        // A busy worker is one too.
        client.send(&wire::request(version, "echo", ["body"]));
        worker.expect_request("body");
        client.call(version, "mmi.service", "echo", "200");
        worker.send(&wire::disconnect(version));
        worker.expect_nothing();
        // There is a service, with a waiting request, but no worker.
        client.call(version, "mmi.service", "echo", "404");
        let mut worker = RawWorker::register(broker.endpoint(), version, "echo");
        worker.echo("body");
        client.expect(&wire::reply(version, "echo", ["body"]));
        worker.send(&wire::disconnect(version));
        worker.expect_nothing();
    }
}

#[test]
fn other_mmi_services_are_not_implemented() {
    let broker = BrokerProcess::start();
    let mut client = RawPeer::dealer(broker.endpoint());
    for version in VERSIONS {
        client.call(version, "mmi.", "echo", "501");
        client.call(version, "mmi.services", "echo", "501");
    }
    // Neither of these is the broker's own.
    for service in ["not.mmi.service", "mmi"] {
        let mut worker = RawWorker::register(broker.endpoint(), Version::V0_1, service);
        client.send(&wire::request(Version::V0_2, service, ["body"]));
        worker.echo("body");
        client.expect(&wire::reply(Version::V0_2, service, ["body"]));
    }
}

#[test]
fn peers_meet_across_endpoints() {
    let directory = tempfile::tempdir().expect("a directory");
    let ipc = format!("ipc://{}", directory.path().join("broker").display());
    let broker = BrokerProcess::with(["--bind=tcp://127.0.0.1:0", &format!("--bind={ipc}")]);
    let endpoints = broker.endpoints();
    assert_eq!(endpoints.len(), 2);
    assert_eq!(endpoints[1], ipc);
    let port = endpoints[0].strip_prefix("tcp://127.0.0.1:").and_then(|port| port.parse().ok());
    assert!(port.is_some_and(|port: u16| port > 0), "{endpoints:?} lacks the port chosen");
    for worker_at in endpoints {
        let mut worker = RawWorker::register(worker_at, Version::V0_2, worker_at);
        for client_at in endpoints {
            let mut client = RawPeer::dealer(client_at);
            client.send(&wire::request(Version::V0_1, worker_at, ["body"]));
            worker.echo("body");
            client.expect(&wire::reply(Version::V0_1, worker_at, ["body"]));
        }
    }
}
