//! Workers of MDP/1.0: how many requests they have at once, which heartbeat holds, and
//! how they leave.

use majordomo_protocol::mmi::{BrokerReport, WorkerState};

use crate::script::{World, check};

#[test]
fn a_worker_has_as_many_requests_as_it_offers_and_never_more() {
    check(
        "
        w1 1.0 READY echo :capacity=2
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #1 a
        c1 1.0 REQUEST r2 echo b
        -> to w1 1.0 REQUEST #2 b
        c1 1.0 REQUEST r3 echo c
        tables
        -> services 1, workers 1, clients 1, waiting 1, running 2, bytes 3
        // In any order; a part frees no place.
        w1 1.0 PARTIAL #2 B
        -> to c1 1.0 PARTIAL r2 B
        w1 1.0 FINAL #2 B
        -> to c1 1.0 FINAL r2 B
        -> to w1 1.0 REQUEST #3 c
        w1 1.0 ERROR #1 500 no
        -> to c1 1.0 ERROR r1 500 no
        w1 1.0 FINAL #3 C
        -> to c1 1.0 FINAL r3 C
        ",
    );
}

#[test]
fn waiting_requests_go_out_while_places_are_free() {
    check(
        "
        c1 0.2 REQUEST echo a
        c1 0.1 REQUEST echo b
        c1 1.0 REQUEST r1 echo c
        w1 1.0 READY echo :capacity=2
        -> to w1 1.0 WELCOME 1000ms 3
        -> to w1 1.0 REQUEST #1 a
        -> to w1 1.0 REQUEST #2 b
        w2 1.0 READY echo :capacity=65535
        -> to w2 1.0 WELCOME 1000ms 3
        -> to w2 1.0 REQUEST #3 c
        c1 0.2 REQUEST echo d
        -> to w2 1.0 REQUEST #4 d
        ",
    );
}

#[test]
fn the_least_recently_used_worker_with_a_free_place_is_next() {
    check(
        "
        w1 1.0 READY echo :capacity=2
        -> to w1 1.0 WELCOME 1000ms 3
        w2 1.0 READY echo :capacity=3
        -> to w2 1.0 WELCOME 1000ms 3
        w3 0.2 READY echo
        c1 0.2 REQUEST echo a
        -> to w1 1.0 REQUEST #1 a
        c1 0.2 REQUEST echo b
        -> to w2 1.0 REQUEST #2 b
        c1 0.2 REQUEST echo c
        -> to w3 0.2 REQUEST #3 c
        c1 0.2 REQUEST echo d
        -> to w1 1.0 REQUEST #4 d
        c1 0.2 REQUEST echo e
        -> to w2 1.0 REQUEST #5 e
        c1 0.2 REQUEST echo f
        -> to w2 1.0 REQUEST #6 f
        c1 0.2 REQUEST echo g
        w3 0.2 FINAL #3 C
        -> to c1 0.2 FINAL echo C
        -> to w3 0.2 REQUEST #7 g
        w2 1.0 FINAL #2 B
        -> to c1 0.2 FINAL echo B
        w1 1.0 FINAL #1 A
        -> to c1 0.2 FINAL echo A
        c1 0.2 REQUEST echo h
        -> to w2 1.0 REQUEST #8 h
        c1 0.2 REQUEST echo i
        -> to w1 1.0 REQUEST #9 i
        ",
    );
}

#[test]
fn all_requests_of_a_lost_worker_go_to_others_oldest_first() {
    check(
        "
        w1 1.0 READY echo :capacity=3
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #1 a
        c1 1.0 REQUEST r2 echo b
        -> to w1 1.0 REQUEST #2 b
        c1 1.0 REQUEST r3 echo c
        -> to w1 1.0 REQUEST #3 c
        w2 0.2 READY echo
        w1 1.0 FINAL #2 B
        -> to c1 1.0 FINAL r2 B
        notes
        w1 MALFORMED
        -> note w1 gone from echo: Invalid with 2
        -> to w1 1.0 DISCONNECT 400 invalid message
        -> to w2 0.2 REQUEST #1 a
        w2 0.2 FINAL #1 A
        -> to c1 1.0 FINAL r1 A
        -> to w2 0.2 REQUEST #3 c
        count requests_returned
        -> requests_returned 2
        ",
    );
}

#[test]
fn a_late_or_foreign_reply_of_a_worker_of_1_0_is_counted_and_costs_it_nothing() {
    check(
        "
        w1 1.0 READY echo
        -> to w1 1.0 WELCOME 1000ms 3
        w2 1.0 READY echo
        -> to w2 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #1 a
        c1 1.0 REQUEST r2 echo b
        -> to w2 1.0 REQUEST #2 b
        w2 1.0 FINAL #1 foreign
        w1 1.0 PARTIAL #2 foreign
        w1 1.0 ERROR @12345678 500 made up
        w1 1.0 FINAL #1 A
        -> to c1 1.0 FINAL r1 A
        w1 1.0 FINAL #1 again
        w2 1.0 FINAL #2 B
        -> to c1 1.0 FINAL r2 B
        count replies_unexpected
        -> replies_unexpected 4
        tables
        -> services 1, workers 2, clients 0, waiting 0, running 0, bytes 0
        ",
    );
}

#[test]
fn welcome_says_which_heartbeat_holds_what_was_asked_for_within_limits() {
    check(
        "
        w1 1.0 READY echo
        -> to w1 1.0 WELCOME 1000ms 3
        w2 1.0 READY echo :heartbeat=200ms :liveness=5
        -> to w2 1.0 WELCOME 200ms 5
        w3 1.0 READY echo :heartbeat=99ms
        -> to w3 1.0 WELCOME 100ms 3
        w4 1.0 READY echo :heartbeat=60000ms :liveness=2
        -> to w4 1.0 WELCOME 10000ms 2
        // It has no say in older versions.
        w5 0.2 READY echo
        ",
    );
}

#[test]
fn every_worker_has_its_own_heartbeat_and_its_own_limit_of_silence() {
    check(
        "
        notes
        w1 1.0 READY echo :heartbeat=200ms :liveness=2
        -> note w1 1.0 registered for echo
        -> to w1 1.0 WELCOME 200ms 2
        w2 0.2 READY echo
        -> note w2 0.2 registered for echo
        w3 1.0 READY echo :heartbeat=5000ms :liveness=2
        -> note w3 1.0 registered for echo
        -> to w3 1.0 WELCOME 5000ms 2
        +12000ms
        -> to w1 1.0 HEARTBEAT @200ms
        -> note w1 gone from echo: Silent @400ms
        -> to w1 1.0 DISCONNECT 504 silent @400ms
        -> to w2 0.2 HEARTBEAT @1000ms
        -> to w2 0.2 HEARTBEAT @2000ms
        -> note w2 gone from echo: Silent @3000ms
        -> to w2 0.2 DISCONNECT @3000ms
        -> to w3 1.0 HEARTBEAT @5000ms
        -> note w3 gone from echo: Silent @10000ms
        -> to w3 1.0 DISCONNECT 504 silent @10000ms
        ",
    );
}

#[test]
fn a_worker_with_a_long_heartbeat_is_not_lost_for_a_pause_of_the_broker() {
    check(
        "
        w1 1.0 READY echo :heartbeat=5000ms
        -> to w1 1.0 WELCOME 5000ms 3
        notes
        asleep 60000ms
        // Its next HEARTBEAT may be as far away as its interval.
        +14999ms
        -> note late @60001ms
        -> to w1 1.0 HEARTBEAT @60001ms
        -> to w1 1.0 HEARTBEAT @65001ms
        -> to w1 1.0 HEARTBEAT @70001ms
        +10ms
        -> note w1 gone from echo: Silent @75001ms
        -> to w1 1.0 DISCONNECT 504 silent @75001ms
        ",
    );
}

#[test]
fn an_offer_without_a_place_or_with_a_liveness_of_1_is_refused() {
    check(
        "
        w1 1.0 READY echo :capacity=0
        -> to w1 1.0 DISCONNECT 400 a READY offers one place or more, and a liveness of 0, 2 or more
        w1 1.0 READY echo :liveness=1
        -> to w1 1.0 DISCONNECT 400 a READY offers one place or more, and a liveness of 0, 2 or more
        count workers_refused_offer
        -> workers_refused_offer 2
        tables
        -> services 0, workers 0, clients 0, waiting 0, running 0, bytes 0
        ",
    );
}

#[test]
fn disconnect_says_why() {
    check(
        "
        set workers_max 1
        s1 1.0 HEARTBEAT
        -> to s1 1.0 DISCONNECT 400 it spoke before READY
        s1 1.0 DRAIN
        -> to s1 1.0 DISCONNECT 400 it spoke before READY
        s1 1.0 ERROR @12345678 500 no
        -> to s1 1.0 DISCONNECT 400 it spoke before READY
        s1 1.0 DISCONNECT 503 going home
        s1 1.0 READY mmi.service
        -> to s1 1.0 DISCONNECT 403 mmi.* is the broker's own
        w1 1.0 READY echo
        -> to w1 1.0 WELCOME 1000ms 3
        w2 1.0 READY echo
        -> to w2 1.0 DISCONNECT 429 workers_max
        w1 1.0 READY echo
        -> to w1 1.0 DISCONNECT 400 unexpected command
        w1 1.0 READY echo
        -> to w1 1.0 WELCOME 1000ms 3
        w1 0.2 HEARTBEAT
        -> to w1 1.0 DISCONNECT 400 unexpected command
        w1 1.0 READY echo
        -> to w1 1.0 WELCOME 1000ms 3
        w1 1.0 DISCONNECT 503 going home
        w1 1.0 READY echo
        -> to w1 1.0 WELCOME 1000ms 3
        stop
        -> to w1 1.0 DISCONNECT 503 the broker is stopping
        -> stopped
        w1 1.0 READY echo
        -> to w1 1.0 DISCONNECT 503 the broker is stopping
        ",
    );
}

#[test]
fn a_draining_worker_gets_no_more_and_finishes_what_it_has() {
    check(
        "
        w1 1.0 READY echo :capacity=3
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #1 a
        c1 1.0 REQUEST r2 echo b
        -> to w1 1.0 REQUEST #2 b
        w1 1.0 DRAIN
        c1 1.0 REQUEST r3 echo c
        w1 1.0 DRAIN
        w1 1.0 FINAL #1 A
        -> to c1 1.0 FINAL r1 A
        tables
        -> services 1, workers 1, clients 1, waiting 1, running 1, bytes 2
        w2 0.2 READY echo
        -> to w2 0.2 REQUEST #3 c
        w1 1.0 PARTIAL #2 B
        -> to c1 1.0 PARTIAL r2 B
        w1 1.0 FINAL #2 B
        -> to c1 1.0 FINAL r2 B
        -> to w1 1.0 DISCONNECT 0 drained
        c1 1.0 REQUEST r4 echo d
        w1 1.0 DISCONNECT
        count workers_drained
        -> workers_drained 1
        ",
    );
}

#[test]
fn a_full_worker_that_drains_frees_no_place_by_its_answer() {
    check(
        "
        w1 1.0 READY echo
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #1 a
        c1 1.0 REQUEST r2 echo b
        w1 1.0 DRAIN
        w1 1.0 FINAL #1 A
        -> to c1 1.0 FINAL r1 A
        -> to w1 1.0 DISCONNECT 0 drained
        tables
        -> services 1, workers 0, clients 1, waiting 1, running 0, bytes 1
        ",
    );
}

#[test]
fn what_a_draining_worker_does_not_finish_goes_to_another() {
    check(
        "
        w1 1.0 READY echo
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #1 a
        w1 1.0 DRAIN
        w1 1.0 DISCONNECT
        w2 1.0 READY echo
        -> to w2 1.0 WELCOME 1000ms 3
        -> to w2 1.0 REQUEST #1 :attempt=2 a
        ",
    );
}

#[test]
fn a_service_whose_workers_all_drain_counts_as_one_without_a_worker() {
    check(
        "
        set services_idle_max 1
        w1 1.0 READY echo
        -> to w1 1.0 WELCOME 1000ms 3
        w1 1.0 DRAIN
        -> to w1 1.0 DISCONNECT 0 drained
        c1 0.2 REQUEST mmi.service echo
        -> to c1 0.2 FINAL mmi.service 404
        // Known, so a request may wait for it; another unserved name may not come.
        c1 1.0 REQUEST r1 echo a
        c1 1.0 REQUEST r2 other a
        -> to c1 1.0 ERROR r2 429 too many services wait for a worker
        w1 1.0 DISCONNECT
        tables
        -> services 1, workers 0, clients 1, waiting 1, running 0, bytes 1
        ",
    );
}

#[test]
fn mmi_broker_reports_capacity_and_what_a_worker_says_of_itself() {
    let mut world = World::new();
    world.run(
        "
        w1 1.0 READY echo :capacity=7 :name=adder :version=2
        w2 1.0 READY echo :capacity=2
        w3 1.0 READY echo
        c1 1.0 REQUEST r1 echo a
        c1 1.0 REQUEST r2 echo b
        c1 1.0 REQUEST r3 echo c
        w3 1.0 DRAIN
        c1 1.0 REQUEST r4 echo d
        c1 0.2 REQUEST mmi.broker x
        ",
    );
    let report: BrokerReport = serde_json::from_str(&world.report).unwrap();
    let found =
        report.workers.iter().map(|w| (w.protocol.as_str(), w.state, w.running, w.capacity));
    assert_eq!(
        found.collect::<Vec<_>>(),
        [
            ("1.0", WorkerState::Busy, 2, 7),
            ("1.0", WorkerState::Busy, 1, 2),
            ("1.0", WorkerState::Draining, 1, 1),
        ]
    );
    let said: Vec<_> = report.workers[0].metadata.iter().map(|(k, v)| (&**k, &**v)).collect();
    assert_eq!(said, [("name", "adder"), ("version", "2")]);
    assert_eq!(report.services[0].workers, 2, "the one that drains takes no request");
}
