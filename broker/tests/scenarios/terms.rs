//! What a client of MDP/1.0 can say of a request: once, no reply wanted, fail fast; and
//! how such requests end with their workers and with the broker.

use majordomo_protocol::mmi::{BrokerReport, DeadReport};

use crate::script::{World, check};

#[test]
fn a_request_for_once_is_not_handed_out_again() {
    check(
        "
        w1 1.0 READY echo
        -> to w1 1.0 WELCOME 1000ms 3
        w2 1.0 READY echo
        -> to w2 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo :once a
        -> to w1 1.0 REQUEST #1 a
        w1 1.0 DISCONNECT
        -> to c1 1.0 ERROR r1 502 its worker was lost
        c1 1.0 REQUEST r1 echo :once a
        -> to c1 1.0 ERROR r1 502 its worker was lost
        count requests_dropped_once
        -> requests_dropped_once 1
        count requests_dispatched
        -> requests_dispatched 1
        ",
    );
}

#[test]
fn a_request_for_once_that_could_not_be_sent_did_not_run_and_goes_to_another() {
    check(
        "
        w1 1.0 READY echo
        -> to w1 1.0 WELCOME 1000ms 3
        w2 0.2 READY echo
        c1 1.0 REQUEST r1 echo :once a
        -> to w1 1.0 REQUEST #1 a
        w1 unreachable as worker #1
        -> to w2 0.2 REQUEST #1 a
        w2 unreachable as worker #1
        w3 1.0 READY echo
        -> to w3 1.0 WELCOME 1000ms 3
        -> to w3 1.0 REQUEST #1 a
        w3 MALFORMED
        -> to w3 1.0 DISCONNECT 400 invalid message
        -> to c1 1.0 ERROR r1 502 its worker was lost
        ",
    );
}

#[test]
fn every_request_of_a_message_that_could_not_be_sent_did_not_run() {
    check(
        "
        set attempts_max 1
        w1 1.0 READY echo :capacity=9
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo :once a
        -> to w1 1.0 REQUEST #1 a
        c1 1.0 REQUEST r2 echo :once b
        -> to w1 1.0 REQUEST #2 b
        c1 1.0 REQUEST r3 echo c
        -> to w1 1.0 REQUEST #3 c
        c1 1.0 REQUEST r4 echo d
        -> to w1 1.0 REQUEST #4 d
        c1 1.0 REQUEST r5 echo e
        -> to w1 1.0 REQUEST #5 e
        c1 1.0 CANCEL r4
        -> to w1 1.0 CANCEL #4
        -> to c1 1.0 ERROR r4 499 cancelled
        // It had the first one, and no other; something that is not its own is not meant.
        c2 0.2 REQUEST other f
        w2 0.2 READY other
        -> to w2 0.2 REQUEST #6 f
        w1 unreachable as worker #2 #3 #4 #5 #6 @made-up
        +1ms
        -> to c1 1.0 ERROR r1 502 its worker was lost @1ms
        w3 1.0 READY echo :capacity=9
        -> to w3 1.0 WELCOME 1000ms 3
        -> to w3 1.0 REQUEST #2 b
        -> to w3 1.0 REQUEST #3 c
        -> to w3 1.0 REQUEST #5 e
        w3 1.0 FINAL #2 B
        -> to c1 1.0 FINAL r2 B
        count requests_returned
        -> requests_returned 4
        w2 0.2 DISCONNECT
        count requests_dropped_attempts_max
        -> requests_dropped_attempts_max 1
        ",
    );
}

#[test]
fn a_request_whose_next_worker_is_lost_before_anything_is_sent_to_it_did_not_run_there() {
    // The workers of a host that died fall silent in the same moment. The two REQUESTs at
    // 3000 ms are not sent, since their workers have gone by then.
    check(
        "
        set attempts_max 2
        w1 1.0 READY echo
        -> to w1 1.0 WELCOME 1000ms 3
        w2 0.2 READY echo
        w3 0.2 READY echo
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #1 a
        +3000ms
        -> to w1 1.0 HEARTBEAT @1000ms
        -> to w2 0.2 HEARTBEAT @1000ms
        -> to w3 0.2 HEARTBEAT @1000ms
        -> to w1 1.0 HEARTBEAT @2000ms
        -> to w2 0.2 HEARTBEAT @2000ms
        -> to w3 0.2 HEARTBEAT @2000ms
        -> to w1 1.0 DISCONNECT 504 silent @3000ms
        -> to w2 0.2 REQUEST #1 a @3000ms
        -> to w2 0.2 DISCONNECT @3000ms
        -> to w3 0.2 REQUEST #1 a @3000ms
        -> to w3 0.2 DISCONNECT @3000ms
        w5 1.0 READY echo
        -> to w5 1.0 WELCOME 1000ms 3
        -> to w5 1.0 REQUEST #1 :attempt=2 a
        ",
    );
}

#[test]
fn a_request_without_reply_gets_no_answer_of_any_kind() {
    check(
        "
        set attempts_max 1
        set requests_per_service_max 1
        set request_expiry 200ms
        c1 1.0 REQUEST r1 echo :no-reply :fail-fast a
        c1 1.0 REQUEST r2 echo :no-reply a
        c1 1.0 REQUEST r3 echo :no-reply a
        +200ms
        c1 1.0 REQUEST r4 echo :no-reply a
        c1 1.0 CANCEL r4
        w1 1.0 READY echo
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r5 echo :no-reply a
        -> to w1 1.0 REQUEST #1 a
        w1 1.0 PARTIAL #1 A
        w1 1.0 FINAL #1 A
        c1 1.0 REQUEST r6 echo :no-reply a
        -> to w1 1.0 REQUEST #2 a
        w1 1.0 ERROR #2 500 no
        c1 1.0 REQUEST r7 echo :no-reply :timeout=100ms a
        -> to w1 1.0 REQUEST #3 :timeout=100ms a
        +100ms
        -> to w1 1.0 CANCEL #3 @300ms
        w1 1.0 FINAL #3 A
        c1 1.0 REQUEST r8 echo :no-reply a
        -> to w1 1.0 REQUEST #4 a
        w1 1.0 DISCONNECT
        // Asked again in the same way after its end.
        c1 1.0 REQUEST r5 echo :no-reply a
        c1 1.0 REQUEST r9 echo :no-reply a
        stop
        -> stopped
        c1 1.0 REQUEST r9 echo :no-reply a
        count requests_answered
        -> requests_answered 2
        count requests_dropped_stopping
        -> requests_dropped_stopping 2
        count answers_repeated
        -> answers_repeated 1
        ",
    );
}

#[test]
fn whoever_asks_last_says_whether_an_answer_is_wanted() {
    check(
        "
        w1 1.0 READY echo :capacity=9
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo :no-reply a
        -> to w1 1.0 REQUEST #1 a
        c1 1.0 REQUEST r1 echo a
        w1 1.0 FINAL #1 A
        -> to c1 1.0 FINAL r1 A
        c1 1.0 REQUEST r2 echo b
        -> to w1 1.0 REQUEST #2 b
        c1 1.0 REQUEST r2 echo :no-reply b
        w1 1.0 FINAL #2 B
        // After the answer, too; but an answer that nobody wanted is not kept.
        c1 1.0 REQUEST r1 echo :no-reply a
        c1 1.0 REQUEST r2 echo b
        -> to c1 1.0 ERROR r2 502 it ran, and its answer is not kept
        // A part that nobody wanted is not kept either.
        c1 1.0 REQUEST r3 echo :no-reply c
        -> to w1 1.0 REQUEST #3 c
        w1 1.0 PARTIAL #3 C
        c1 1.0 REQUEST r3 echo c
        -> to w1 1.0 CANCEL #3
        -> to c1 1.0 ERROR r3 502 a part of the reply was sent, and it cannot be repeated
        ",
    );
}

#[test]
fn a_part_that_nobody_wanted_is_no_reason_not_to_try_another_worker() {
    check(
        "
        w1 1.0 READY echo
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo :no-reply a
        -> to w1 1.0 REQUEST #1 a
        w1 1.0 PARTIAL #1 A
        w1 1.0 DISCONNECT
        w2 1.0 READY echo
        -> to w2 1.0 WELCOME 1000ms 3
        -> to w2 1.0 REQUEST #1 :attempt=2 a
        w2 1.0 FINAL #1 A
        ",
    );
}

#[test]
fn a_request_that_fails_fast_is_not_queued_without_a_worker() {
    check(
        "
        c1 1.0 REQUEST r1 echo :fail-fast a
        -> to c1 1.0 ERROR r1 404 no worker is registered for the service
        // Known by another waiting request, and still without a worker.
        c1 1.0 REQUEST r2 other a
        c1 1.0 REQUEST r3 other :fail-fast a
        -> to c1 1.0 ERROR r3 404 no worker is registered for the service
        w1 1.0 READY echo
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r4 echo :fail-fast a
        -> to w1 1.0 REQUEST #1 a
        // There is one, if a busy one.
        c1 1.0 REQUEST r5 echo :fail-fast a
        w1 1.0 DRAIN
        c1 1.0 REQUEST r6 echo :fail-fast a
        -> to c1 1.0 ERROR r6 404 no worker is registered for the service
        count requests_dropped_no_worker
        -> requests_dropped_no_worker 3
        tables
        -> services 2, workers 1, clients 1, waiting 2, running 1, bytes 3
        ",
    );
}

#[test]
fn a_request_that_lost_its_workers_too_often_is_answered_502_and_listed() {
    let mut world = World::new();
    let script = "
        set attempts_max 2
        set dead_max 2
        w1 1.0 READY echo :capacity=9
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo abc
        -> to w1 1.0 REQUEST #1 abc
        c2/e 0.1 REQUEST echo de
        -> to w1 1.0 REQUEST #2 de
        c3 1.0 REQUEST r2 echo :no-reply :a=b f
        -> to w1 1.0 REQUEST #3 :a=b f
        w1 MALFORMED
        -> to w1 1.0 DISCONNECT 400 invalid message
        w2 1.0 READY echo :capacity=9
        -> to w2 1.0 WELCOME 1000ms 3
        -> to w2 1.0 REQUEST #1 :attempt=2 abc
        -> to w2 1.0 REQUEST #2 :attempt=2 de
        -> to w2 1.0 REQUEST #3 :attempt=2 :a=b f
        // The last one did not reach it.
        w2 unreachable as worker #3
        +1ms
        -> to c1 1.0 ERROR r1 502 its workers were lost @1ms
        w3 1.0 READY echo :capacity=9
        -> to w3 1.0 WELCOME 1000ms 3
        -> to w3 1.0 REQUEST #3 :attempt=2 :a=b f
        w3 1.0 DISCONNECT
        count requests_dropped_attempts_max
        -> requests_dropped_attempts_max 3
        c1 0.2 REQUEST mmi.broker x
        -> to c1 0.2 FINAL mmi.broker {…}";
    let expected: Vec<_> = script.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(world.run(script), expected);
    let report: BrokerReport = serde_json::from_str(&world.report).unwrap();
    let dead = |task: usize, id: Option<&str>, bytes, reasons: [&str; 2]| DeadReport {
        service: "echo".to_owned(),
        request: world.ids[task - 1].to_string(),
        id: id.map(str::to_owned),
        bytes,
        reasons: reasons.map(str::to_owned).to_vec(),
    };
    // The first of the three is forgotten; envelope and metadata count.
    assert_eq!(
        report.dead,
        [
            dead(2, None, 3, ["invalid message", "unreachable"]),
            dead(
                3,
                Some("72320000000000000000000000000000"),
                6,
                ["invalid message", "said DISCONNECT"]
            ),
        ]
    );
}

#[test]
fn when_the_broker_stops_what_waits_is_answered_503_and_what_runs_may_end() {
    check(
        "
        w1 1.0 READY echo :capacity=2
        -> to w1 1.0 WELCOME 1000ms 3
        w2 1.0 READY other
        -> to w2 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #1 a
        c1 1.0 REQUEST r2 echo b
        -> to w1 1.0 REQUEST #2 b
        c1 1.0 REQUEST r3 echo c
        stop
        -> to c1 1.0 ERROR r3 503 the broker is shutting down
        -> to w2 1.0 DISCONNECT 503 the broker is stopping
        c1 1.0 REQUEST r4 echo d
        -> to c1 1.0 ERROR r4 503 the broker is shutting down
        w1 1.0 FINAL #1 A
        -> to c1 1.0 FINAL r1 A
        // Asked again, joined or answered as ever.
        c1 1.0 REQUEST r1 echo a
        -> to c1 1.0 FINAL r1 A
        c2 1.0 REQUEST r2 echo b
        w1 1.0 FINAL #2 B
        -> to c2 1.0 FINAL r2 B
        -> to w1 1.0 DISCONNECT 503 the broker is stopping
        -> stopped
        ",
    );
}

#[test]
fn what_does_not_end_before_the_broker_stops_may_have_run() {
    check(
        "
        set shutdown 500ms
        w1 1.0 READY echo :capacity=3
        -> to w1 1.0 WELCOME 1000ms 3
        w2 1.0 READY other
        -> to w2 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #1 a
        c1 1.0 REQUEST r2 echo :timeout=200ms b
        -> to w1 1.0 REQUEST #2 :timeout=200ms b
        c1 1.0 REQUEST r3 other c
        -> to w2 1.0 REQUEST #3 c
        w2 1.0 DISCONNECT
        c1 1.0 REQUEST r4 other d
        stop
        -> to c1 1.0 ERROR r3 502 its worker was lost, and the broker is shutting down
        -> to c1 1.0 ERROR r4 503 the broker is shutting down
        +500ms
        -> to w1 1.0 CANCEL #2 @200ms
        -> to c1 1.0 ERROR r2 504 the time given passed while it ran @200ms
        -> to w1 1.0 DISCONNECT 503 the broker is stopping @500ms
        -> to c1 1.0 ERROR r1 502 its worker was lost, and the broker is shutting down @500ms
        -> stopped @500ms
        count requests_dropped_stopping
        -> requests_dropped_stopping 3
        ",
    );
}

#[test]
fn a_workers_error_is_never_taken_for_the_brokers_word() {
    check(
        "
        w1 1.0 READY echo
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #1 a
        w1 1.0 ERROR #1 503 come again
        -> to c1 1.0 ERROR r1 500 come again
        c1 1.0 REQUEST r2 echo a
        -> to w1 1.0 REQUEST #2 a
        w1 1.0 ERROR #2 422 not so
        -> to c1 1.0 ERROR r2 422 not so
        ",
    );
}
