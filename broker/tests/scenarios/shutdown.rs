//! Stopping: what still happens, what is dropped, and when it is over.

use crate::script::check;

#[test]
fn a_broker_with_nobody_stops_at_once() {
    check(
        "
        stop
        -> stopped
        stop
        stop now
        +10000ms
        ",
    );
    check(
        "
        stop now
        -> stopped
        stop now
        ",
    );
}

#[test]
fn idle_workers_are_told_at_once_and_waiting_requests_are_dropped() {
    check(
        "
        notes
        w1 0.1 READY echo
        -> note w1 0.1 registered for echo
        w2 0.2 READY echo
        -> note w2 0.2 registered for echo
        c1 0.2 REQUEST other a
        c2 0.2 REQUEST other b
        stop
        -> note dropped #1 of c1 for other: Stopping
        -> note dropped #2 of c2 for other: Stopping
        -> note w1 gone from echo: Stopping
        -> to w1 0.1 DISCONNECT
        -> note w2 gone from echo: Stopping
        -> to w2 0.2 DISCONNECT
        -> stopped
        count requests_dropped_stopping
        -> requests_dropped_stopping 2
        count workers_stopping
        -> workers_stopping 2
        tables
        -> services 0, workers 0, clients 0, waiting 0, running 0, bytes 0
        ",
    );
}

#[test]
fn running_requests_may_end_and_then_their_workers_are_told() {
    check(
        "
        w1 0.2 READY echo
        w2 0.2 READY echo
        w3 0.2 READY echo
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        c1 0.1 REQUEST echo b
        -> to w2 0.2 REQUEST #2 b
        stop
        -> to w3 0.2 DISCONNECT
        +1000ms
        -> to w1 0.2 HEARTBEAT @1000ms
        -> to w2 0.2 HEARTBEAT @1000ms
        w1 0.2 PARTIAL #1 A
        -> to c1 0.2 PARTIAL echo A
        w1 0.2 FINAL #1 A
        -> to c1 0.2 FINAL echo A
        -> to w1 0.2 DISCONNECT
        w2 0.2 PARTIAL #2 B
        w2 0.2 FINAL #2 B
        -> to c1 0.1 FINAL echo B B
        -> to w2 0.2 DISCONNECT
        -> stopped
        count requests_answered
        -> requests_answered 2
        +10000ms
        ",
    );
}

#[test]
fn what_still_runs_when_the_time_for_shutdown_is_over_is_dropped() {
    check(
        "
        set shutdown 1500ms
        w1 0.2 READY echo
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        stop
        +1200ms
        -> to w1 0.2 HEARTBEAT @1000ms
        notes
        +1200ms
        -> note w1 gone from echo: Stopping with 1 @1500ms
        -> to w1 0.2 DISCONNECT @1500ms
        -> note dropped #1 of c1 for echo: Stopping @1500ms
        -> stopped @1500ms
        count requests_dropped_stopping
        -> requests_dropped_stopping 1
        tables
        -> services 0, workers 0, clients 0, waiting 0, running 0, bytes 0
        ",
    );
}

#[test]
fn a_second_stop_does_not_lengthen_the_time_for_shutdown() {
    check(
        "
        set shutdown 1500ms
        w1 0.2 READY echo
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        stop
        +900ms
        stop
        +600ms
        -> to w1 0.2 HEARTBEAT @1000ms
        -> to w1 0.2 DISCONNECT @1500ms
        -> stopped @1500ms
        ",
    );
}

#[test]
fn stop_now_waits_for_nothing() {
    check(
        "
        w1 0.2 READY echo
        w2 0.2 READY echo
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        c1 0.2 REQUEST other b
        stop now
        -> to w2 0.2 DISCONNECT
        -> to w1 0.2 DISCONNECT
        -> stopped
        count requests_dropped_stopping
        -> requests_dropped_stopping 2
        tables
        -> services 0, workers 0, clients 0, waiting 0, running 0, bytes 0
        ",
    );
}

#[test]
fn stop_now_after_stop_ends_the_waiting() {
    check(
        "
        w1 0.2 READY echo
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        stop
        stop now
        -> to w1 0.2 DISCONNECT
        -> stopped
        ",
    );
}

#[test]
fn while_stopping_no_worker_and_no_request_is_taken_and_questions_are_answered() {
    check(
        "
        w1 0.2 READY echo
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        stop
        notes
        w2 0.2 READY echo
        -> note w2 refused: Stopping
        -> to w2 0.2 DISCONNECT
        c2 0.2 REQUEST echo b
        -> note dropped of c2 for echo: Stopping
        c2 0.2 REQUEST mmi.service echo
        -> to c2 0.2 FINAL mmi.service 200
        count workers_refused_stopping
        -> workers_refused_stopping 1
        count requests_dropped_stopping
        -> requests_dropped_stopping 1
        stop now
        -> note w1 gone from echo: Stopping with 1
        -> to w1 0.2 DISCONNECT
        -> note dropped #1 of c1 for echo: Stopping
        -> stopped
        w2 0.2 READY echo
        -> note w2 refused: Stopping
        -> to w2 0.2 DISCONNECT
        c2 0.2 REQUEST echo b
        -> note dropped of c2 for echo: Stopping
        c2 0.2 REQUEST mmi.service echo
        -> to c2 0.2 FINAL mmi.service 404
        ",
    );
}

#[test]
fn a_worker_lost_while_stopping_ends_its_request_and_the_last_one_ends_the_waiting() {
    check(
        "
        w1 0.2 READY echo
        w2 0.2 READY echo
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        c1 0.2 REQUEST echo b
        -> to w2 0.2 REQUEST #2 b
        stop
        notes
        w1 0.2 DISCONNECT
        -> note w1 gone from echo: Disconnected with 1
        -> note dropped #1 of c1 for echo: Stopping
        w2 unreachable as worker
        +1ms
        -> note w2 gone from echo: Unreachable with 1 @1ms
        -> note dropped #2 of c1 for echo: Stopping @1ms
        -> stopped @1ms
        ",
    );
}
