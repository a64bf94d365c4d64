//! The broker's own services (RFC 8).

use std::collections::BTreeMap;

use majordomo_protocol::mmi::{BrokerReport, ServiceReport, WorkerReport, WorkerState};

use crate::script::{World, check};

#[test]
fn mmi_service_says_200_while_a_worker_is_registered_and_404_otherwise() {
    check(
        "
        c1/e 0.1 REQUEST mmi.service echo
        -> to c1/e 0.1 FINAL mmi.service 404
        w1 0.2 READY echo
        w2 0.2 READY echo
        c1/e 0.1 REQUEST mmi.service echo
        -> to c1/e 0.1 FINAL mmi.service 200
        c1 0.2 REQUEST mmi.service Echo
        -> to c1 0.2 FINAL mmi.service 404
        // Busy counts.
        c2 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        w2 0.2 DISCONNECT
        c1 0.2 REQUEST mmi.service echo
        -> to c1 0.2 FINAL mmi.service 200
        // Gone, though the service is still known by its waiting request.
        w1 0.2 DISCONNECT
        c1 0.2 REQUEST mmi.service echo
        -> to c1 0.2 FINAL mmi.service 404
        tables
        -> services 1, workers 0, clients 1, waiting 1, running 0, bytes 1
        count mmi_requests
        -> mmi_requests 5
        count requests_received
        -> requests_received 1
        ",
    );
}

#[test]
fn mmi_service_says_404_to_what_cannot_be_a_name() {
    check(
        "
        c1 0.2 REQUEST mmi.service
        -> to c1 0.2 FINAL mmi.service 404
        c1 0.2 REQUEST mmi.service a\tb
        -> to c1 0.2 FINAL mmi.service 404
        c1 0.2 REQUEST mmi.service mmi.service
        -> to c1 0.2 FINAL mmi.service 404
        ",
    );
}

#[test]
fn an_mmi_service_that_the_broker_does_not_have_says_501() {
    check(
        "
        c1/e 0.1 REQUEST mmi.unheard-of a
        -> to c1/e 0.1 FINAL mmi.unheard-of 501
        c1 0.2 REQUEST mmi. a
        -> to c1 0.2 FINAL mmi. 501
        tables
        -> services 0, workers 0, clients 0, waiting 0, running 0, bytes 0
        ",
    );
}

#[test]
fn only_a_name_that_begins_with_mmi_dot_is_the_brokers_own() {
    check(
        "
        w1 0.2 READY my.mmi.service
        c1 0.2 REQUEST my.mmi.service a
        -> to w1 0.2 REQUEST #1 a
        w2 0.2 READY mmi
        c1 0.2 REQUEST mmi b
        -> to w2 0.2 REQUEST #2 b
        ",
    );
}

#[test]
fn a_worker_cannot_register_for_one_of_the_brokers_own_services() {
    check(
        "
        notes
        w1 0.2 READY mmi.service
        -> note w1 refused: ReservedService
        -> to w1 0.2 DISCONNECT
        w1 0.1 READY mmi.mine
        -> note w1 refused: ReservedService
        -> to w1 0.1 DISCONNECT
        count workers_refused_reserved_service
        -> workers_refused_reserved_service 2
        tables
        -> services 0, workers 0, clients 0, waiting 0, running 0, bytes 0
        ",
    );
}

#[test]
fn mmi_broker_reports_the_state_of_the_broker() {
    let mut world = World::new();
    world.run(
        "
        w1 0.1 READY sum
        +500ms
        w2 0.2 READY sum
        w3 0.2 READY echo
        c1/en 0.1 REQUEST echo abc
        c1 0.2 REQUEST echo de
        c2 0.2 REQUEST gone f
        w3 0.2 FINAL #1 A
        +250ms
        w1 0.1 HEARTBEAT
        +50ms
        c3 0.2 REQUEST mmi.broker x
        ",
    );
    let report: BrokerReport = serde_json::from_str(&world.report).unwrap();
    assert_eq!(report.version, env!("CARGO_PKG_VERSION"));
    assert_eq!((report.uptime_ms, report.stopping), (800, false));
    assert_eq!((report.clients, report.bytes), (2, 3), "the answered request holds nothing");
    let service = |name: &str, waiting, running, workers| ServiceReport {
        name: name.to_owned(),
        waiting,
        running,
        workers,
    };
    assert_eq!(
        report.services,
        [service("echo", 0, 1, 1), service("gone", 1, 0, 0), service("sum", 0, 0, 2)],
        "in the order of their names"
    );
    let worker = |id: &str, service: &str, protocol: &str, state, times: (u64, u64), answered| {
        let (id, service, protocol) = (id.to_owned(), service.to_owned(), protocol.to_owned());
        let (age_ms, silent_ms) = times;
        let running = u64::from(state == WorkerState::Busy);
        let (capacity, metadata) = (1, BTreeMap::new());
        WorkerReport {
            id,
            service,
            protocol,
            state,
            running,
            capacity,
            metadata,
            age_ms,
            silent_ms,
            answered,
        }
    };
    assert_eq!(
        report.workers,
        [
            worker("7733", "echo", "0.2", WorkerState::Busy, (300, 300), 1),
            worker("7731", "sum", "0.1", WorkerState::Idle, (800, 50), 0),
            worker("7732", "sum", "0.2", WorkerState::Idle, (300, 300), 0),
        ],
        "by service, oldest first"
    );
    assert_eq!(report.counters["requests_received"], 3);
    assert_eq!(report.counters["requests_answered"], 1);
    assert_eq!(report.counters["mmi_requests"], 1);
    assert_eq!(report.counters["requests_dropped_expired"], 0, "counters of 0 are there too");

    world.run("stop\n +100ms\n c3 0.2 REQUEST mmi.broker x");
    let report: BrokerReport = serde_json::from_str(&world.report).unwrap();
    assert!(report.stopping);
}

#[test]
fn mmi_broker_makes_one_report_in_100_ms_for_all_who_ask() {
    let mut world = World::new();
    world.run("c1 0.2 REQUEST mmi.broker x");
    let first = world.report.clone();
    world.run("w1 0.2 READY echo\n +99ms\n c2 0.1 REQUEST mmi.broker x");
    assert_eq!(world.report, first);
    world.run("+1ms\n c2 0.1 REQUEST mmi.broker x");
    let second: BrokerReport = serde_json::from_str(&world.report).unwrap();
    assert_eq!((second.workers.len(), second.uptime_ms), (1, 100));
    assert_eq!(second.counters["mmi_requests"], 3);
}

#[test]
fn what_workers_of_a_service_say_of_themselves_is_reported_once() {
    let mut world = World::new();
    world.run(
        "
        w1 1.0 READY echo :name=a
        w2 1.0 READY echo :name=a
        w3 1.0 READY echo :name=b
        w4 1.0 READY sum :name=a
        w5 0.2 READY echo
        c1 0.2 REQUEST mmi.broker x
        ",
    );
    let report: BrokerReport = serde_json::from_str(&world.report).expect("a report");
    let said = report.workers.iter().map(|worker| worker.metadata.get("name").map(String::as_str));
    assert_eq!(said.collect::<Vec<_>>(), [Some("a"), None, Some("b"), None, Some("a")]);
}

#[test]
fn a_question_without_reply_is_counted_and_not_answered() {
    check(
        "
        c1 1.0 REQUEST r1 mmi.service :no-reply echo
        c1 1.0 REQUEST r2 mmi.broker :no-reply x
        c1 1.0 REQUEST r3 mmi.unheard-of :no-reply x
        count mmi_requests
        -> mmi_requests 3
        count requests_received
        -> requests_received 0
        ",
    );
}
