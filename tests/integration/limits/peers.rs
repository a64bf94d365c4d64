//! Limits on services, workers and clients.

use majordomo_tests::raw::RawPeer;
use majordomo_tests::report::{Reports, counter};
use majordomo_tests::spawn::BrokerProcess;
use majordomo_tests::wire::{self, VERSIONS, Version};
use majordomo_tests::worker::RawWorker;

use super::{V, echo_all, expect_all, expect_others_are_served, send_all};

#[test]
fn services_max() {
    let broker = BrokerProcess::with(["--services-max=3", "--services-idle-max=3"]);
    let mut reports = Reports::of(broker.endpoint());
    let mut client = RawPeer::dealer(broker.endpoint());
    let mut a = RawWorker::register(broker.endpoint(), V, "a");
    send_all(&client, "b", ["1"]);
    client.sync();
    expect_others_are_served(&broker);
    let mut c = RawWorker::register(broker.endpoint(), V, "c");
    // Neither a request nor a worker brings a fourth one.
    send_all(&client, "d", ["2"]);
    for version in VERSIONS {
        RawWorker::register(broker.endpoint(), version, "d").expect_disconnect();
    }
    let report = reports.until_counted("requests_dropped_services_max", 1);
    assert_eq!(counter(&report, "workers_refused_services_max"), 2);
    assert_eq!(report.services.len(), 3);
    // Those that are known are served.
    send_all(&client, "a", ["3"]);
    a.echo("3");
    expect_all(&mut client, "a", ["3"]);
    // One that is used no longer makes room for another.
    c.send(&wire::disconnect(V));
    c.expect_nothing();
    expect_others_are_served(&broker);
}

#[test]
fn services_idle_max() {
    let broker = BrokerProcess::with(["--services-idle-max=2"]);
    let mut reports = Reports::of(broker.endpoint());
    let mut client = RawPeer::dealer(broker.endpoint());
    for service in ["a", "b", "c", "d", "a"] {
        send_all(&client, service, [service]);
    }
    let report = reports.until_counted("requests_dropped_services_idle_max", 2);
    assert_eq!(report.services.len(), 2);
    expect_others_are_served(&broker);
    let mut worker = RawWorker::register(broker.endpoint(), V, "a");
    echo_all(&mut worker, ["a", "a"]);
    expect_all(&mut client, "a", ["a", "a"]);
    // `a` has a worker now, so there is room for one more without.
    send_all(&client, "c", ["c"]);
    reports.until_waiting("c", 1);
}

#[test]
fn no_service_may_be_idle() {
    let broker = BrokerProcess::with(["--services-idle-max=0"]);
    let client = RawPeer::dealer(broker.endpoint());
    send_all(&client, "a", ["1"]);
    let report =
        Reports::of(broker.endpoint()).until_counted("requests_dropped_services_idle_max", 1);
    assert!(report.services.is_empty());
    expect_others_are_served(&broker);
}

#[test]
fn workers_max() {
    let broker = BrokerProcess::with(["--workers-max=2"]);
    let mut reports = Reports::of(broker.endpoint());
    let mut workers = VERSIONS.map(|version| RawWorker::register(broker.endpoint(), version, "a"));
    for version in VERSIONS {
        RawWorker::register(broker.endpoint(), version, "a").expect_disconnect();
    }
    let report = reports.until_counted("workers_refused_workers_max", 2);
    assert_eq!(report.workers.len(), 2);
    let mut client = RawPeer::dealer(broker.endpoint());
    send_all(&client, "a", ["1", "2"]);
    workers[0].echo("1");
    client.expect(&wire::reply(V, "a", ["1"]));
    workers[1].echo("2");
    client.expect(&wire::reply(V, "a", ["2"]));
    workers[0].send(&wire::disconnect(Version::V0_1));
    workers[0].expect_nothing();
    expect_others_are_served(&broker);
}

#[test]
fn clients_max() {
    let broker = BrokerProcess::with(["--clients-max=2"]);
    let mut reports = Reports::of(broker.endpoint());
    let mut clients = [(); 3].map(|()| RawPeer::dealer(broker.endpoint()));
    for client in &mut clients {
        send_all(client, "a", ["1", "2"]);
        client.sync();
    }
    let report = reports.until_counted("requests_dropped_clients_max", 2);
    assert_eq!(report.clients, 2);
    // Whoever only asks the broker itself is not among them.
    clients[2].call(V, "mmi.service", "a", "404");
    let mut worker = RawWorker::register(broker.endpoint(), V, "a");
    echo_all(&mut worker, ["1", "1", "2", "2"]);
    worker.expect_nothing();
    for client in &mut clients[..2] {
        expect_all(client, "a", ["1", "2"]);
    }
    expect_others_are_served(&broker);
}
