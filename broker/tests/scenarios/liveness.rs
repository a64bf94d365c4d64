//! Who is alive: heartbeats, silence, and times in which nobody's silence counts.
//!
//! The interval is 1 s and the liveness 3 in all scripts: silence is over at 3 s.

use crate::script::check;

#[test]
fn an_idle_worker_is_sent_a_heartbeat_every_interval_and_is_lost_after_its_silence() {
    check(
        "
        notes
        w1 0.2 READY echo
        -> note w1 0.2 registered for echo
        +2999ms
        -> to w1 0.2 HEARTBEAT @1000ms
        -> to w1 0.2 HEARTBEAT @2000ms
        +1ms
        -> note w1 gone from echo: Silent @3000ms
        -> to w1 0.2 DISCONNECT @3000ms
        +10000ms
        count workers_silent
        -> workers_silent 1
        tables
        -> services 0, workers 0, clients 0, waiting 0, running 0, bytes 0
        ",
    );
}

#[test]
fn a_busy_worker_is_sent_heartbeats_and_is_lost_after_its_silence() {
    check(
        "
        notes
        w1 0.1 READY echo
        -> note w1 0.1 registered for echo
        +500ms
        c1 0.2 REQUEST echo a
        -> to w1 0.1 REQUEST #1 a
        +2500ms
        -> to w1 0.1 HEARTBEAT @1500ms
        -> to w1 0.1 HEARTBEAT @2500ms
        -> note w1 gone from echo: Silent with 1 @3000ms
        -> to w1 0.1 DISCONNECT @3000ms
        tables
        -> services 1, workers 0, clients 1, waiting 1, running 0, bytes 1
        ",
    );
}

#[test]
fn anything_a_worker_says_counts_as_a_heartbeat() {
    check(
        "
        w1 0.2 READY echo
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        +2500ms
        -> to w1 0.2 HEARTBEAT @1000ms
        -> to w1 0.2 HEARTBEAT @2000ms
        w1 0.2 PARTIAL #1 x
        -> to c1 0.2 PARTIAL echo x
        +2500ms
        -> to w1 0.2 HEARTBEAT @3000ms
        -> to w1 0.2 HEARTBEAT @4000ms
        -> to w1 0.2 HEARTBEAT @5000ms
        w1 0.2 FINAL #1 y
        -> to c1 0.2 FINAL echo y
        +2999ms
        -> to w1 0.2 HEARTBEAT @6000ms
        -> to w1 0.2 HEARTBEAT @7000ms
        +1ms
        -> to w1 0.2 DISCONNECT @8000ms
        ",
    );
}

#[test]
fn a_request_stands_in_for_a_heartbeat() {
    check(
        "
        w1 0.2 READY echo
        +900ms
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        +999ms
        +1ms
        -> to w1 0.2 HEARTBEAT @1900ms
        ",
    );
}

#[test]
fn a_busy_worker_that_beats_is_left_alone_for_ten_times_the_silence_and_longer() {
    check(
        "
        set request_expiry 5000ms
        w1 0.2 READY echo
        w2 0.2 READY echo
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        +30000ms while w1 w2 beat
        tables
        -> services 1, workers 2, clients 1, waiting 0, running 1, bytes 1
        w1 0.2 FINAL #1 A
        -> to c1 0.2 FINAL echo A
        ",
    );
}

#[test]
fn a_dead_worker_behind_a_live_one_among_the_idle_gets_no_request() {
    check(
        "
        w1 0.2 READY echo
        w2 0.2 READY echo
        w3 0.2 READY echo
        +3000ms while w1 w3 beat
        -> to w2 0.2 HEARTBEAT @1000ms
        -> to w2 0.2 HEARTBEAT @2000ms
        -> to w2 0.2 DISCONNECT @3000ms
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        c1 0.2 REQUEST echo b
        -> to w3 0.2 REQUEST #2 b
        c1 0.2 REQUEST echo c
        tables
        -> services 1, workers 2, clients 1, waiting 1, running 2, bytes 3
        ",
    );
}

#[test]
fn a_worker_lost_comes_back_with_ready() {
    check(
        "
        w1 0.2 READY echo
        +3000ms
        -> to w1 0.2 HEARTBEAT @1000ms
        -> to w1 0.2 HEARTBEAT @2000ms
        -> to w1 0.2 DISCONNECT @3000ms
        c1 0.2 REQUEST echo a
        w1 0.2 READY echo
        -> to w1 0.2 REQUEST #1 a
        ",
    );
}

#[test]
fn nobody_is_declared_silent_for_a_time_of_which_not_all_has_been_read() {
    check(
        "
        w1 0.2 READY echo
        w2 0.2 READY echo
        +4000ms unread
        -> to w1 0.2 HEARTBEAT @1000ms
        -> to w2 0.2 HEARTBEAT @1000ms
        -> to w1 0.2 HEARTBEAT @2000ms
        -> to w2 0.2 HEARTBEAT @2000ms
        -> to w1 0.2 HEARTBEAT @3000ms
        -> to w2 0.2 HEARTBEAT @3000ms
        -> to w1 0.2 HEARTBEAT @4000ms
        -> to w2 0.2 HEARTBEAT @4000ms
        // Now it is read, and a heartbeat of w1 is found.
        w1 0.2 HEARTBEAT
        +1ms
        -> to w2 0.2 DISCONNECT @4001ms
        ",
    );
}

#[test]
fn after_a_time_in_which_nobody_drove_the_engine_workers_get_a_whole_silence_of_grace() {
    check(
        "
        notes
        w1 0.2 READY echo
        -> note w1 0.2 registered for echo
        asleep 9000ms
        +1ms
        -> note late @9001ms
        -> to w1 0.2 HEARTBEAT @9001ms
        +2999ms
        -> to w1 0.2 HEARTBEAT @10001ms
        -> to w1 0.2 HEARTBEAT @11001ms
        +1ms
        -> note w1 gone from echo: Silent @12001ms
        -> to w1 0.2 DISCONNECT @12001ms
        ",
    );
}

#[test]
fn grace_begins_with_whatever_wakes_the_engine() {
    check(
        "
        notes
        w1 0.2 READY echo
        -> note w1 0.2 registered for echo
        asleep 9000ms
        c1 0.2 REQUEST echo a
        -> note late
        -> to w1 0.2 REQUEST #1 a
        +2999ms
        -> to w1 0.2 HEARTBEAT @10000ms
        -> to w1 0.2 HEARTBEAT @11000ms
        w1 0.2 FINAL #1 A
        -> to c1 0.2 FINAL echo A
        +2999ms
        -> to w1 0.2 HEARTBEAT @12000ms
        -> to w1 0.2 HEARTBEAT @13000ms
        -> to w1 0.2 HEARTBEAT @14000ms
        +1ms
        -> note w1 gone from echo: Silent @14999ms
        -> to w1 0.2 DISCONNECT @14999ms
        ",
    );
}

#[test]
fn two_intervals_without_being_driven_are_not_late_and_without_workers_nothing_is() {
    check(
        "
        notes
        asleep 9000ms
        w1 0.2 READY echo
        -> note w1 0.2 registered for echo
        asleep 1999ms
        +1ms
        -> to w1 0.2 HEARTBEAT @11000ms
        ",
    );
}

#[test]
fn a_worker_whose_connection_ends_is_lost_at_once() {
    check(
        "
        notes
        w1 0.2 READY echo
        -> note w1 0.2 registered for echo
        w2 1.0 READY echo
        -> note w2 1.0 registered for echo
        -> to w2 1.0 WELCOME 1000ms 3
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        w2 connection ended
        -> note w2 gone from echo: ConnectionEnded
        w1 connection ended
        -> note w1 gone from echo: ConnectionEnded with 1
        w3 0.1 READY echo
        -> note w3 0.1 registered for echo
        -> to w3 0.1 REQUEST #1 a
        count workers_connection_ended
        -> workers_connection_ended 2
        // Its socket made another connection, and does not know.
        w1 0.2 FINAL #1 late
        -> note w1 refused: Unregistered
        -> to w1 0.2 DISCONNECT
        w3 0.1 FINAL #1 A
        -> to c1 0.2 FINAL echo A
        ",
    );
}

#[test]
fn the_end_of_a_connection_on_which_no_worker_is_registered_changes_nothing() {
    check(
        "
        notes
        w1 0.2 READY echo
        -> note w1 0.2 registered for echo
        c1 1.0 REQUEST r1 echo a
        -> to w1 0.2 REQUEST #1 a
        c1 connection ended
        w1 0.2 DISCONNECT
        -> note w1 gone from echo: Disconnected with 1
        w1 connection ended
        w2 0.2 READY echo
        -> note w2 0.2 registered for echo
        -> to w2 0.2 REQUEST #1 a
        ",
    );
}

#[test]
fn an_unreachable_worker_whose_connection_ends_is_waited_for_no_longer() {
    check(
        "
        notes
        w1 1.0 READY echo :capacity=2
        -> note w1 1.0 registered for echo
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #1 a
        c1 1.0 REQUEST r2 echo :once b
        -> to w1 1.0 REQUEST #2 b
        w1 unreachable as worker #2
        w1 connection ended
        -> note w1 gone from echo: ConnectionEnded with 1
        w2 1.0 READY echo :capacity=2
        -> note w2 1.0 registered for echo
        -> to w2 1.0 WELCOME 1000ms 3
        -> to w2 1.0 REQUEST #2 b
        -> to w2 1.0 REQUEST #1 :attempt=2 a
        +1ms
        ",
    );
}

#[test]
fn a_stopping_broker_does_not_wait_for_a_worker_whose_connection_ends() {
    check(
        "
        notes
        w1 0.2 READY echo
        -> note w1 0.2 registered for echo
        c1 1.0 REQUEST r1 echo a
        -> to w1 0.2 REQUEST #1 a
        stop
        w1 connection ended
        -> note w1 gone from echo: ConnectionEnded with 1
        -> note dropped #1 of c1 for echo: Stopping
        -> to c1 1.0 ERROR r1 502 its worker was lost, and the broker is shutting down
        -> stopped
        ",
    );
}
