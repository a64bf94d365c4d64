//! What becomes of a request when its worker is lost, and of one that waits too long.

use crate::script::check;

#[test]
fn the_request_of_a_lost_worker_goes_to_another_idle_one_at_once() {
    check(
        "
        notes
        set follow_requests true
        w1 0.1 READY echo
        -> note w1 0.1 registered for echo
        w2 0.2 READY echo
        -> note w2 0.2 registered for echo
        c1/e 0.1 REQUEST echo a
        -> note #1 of c1 for echo to w1, attempt 1
        -> to w1 0.1 REQUEST #1 a
        +3000ms while w2 beats
        -> to w1 0.1 HEARTBEAT @1000ms
        -> to w1 0.1 HEARTBEAT @2000ms
        -> note w1 gone from echo: Silent with 1 @3000ms
        -> to w1 0.1 DISCONNECT @3000ms
        -> note #1 of c1 for echo to w2, attempt 2 @3000ms
        -> to w2 0.2 REQUEST #1 a @3000ms
        w2 0.2 FINAL #1 A
        -> note #1 answered by w2
        -> to c1/e 0.1 FINAL echo A
        count requests_returned
        -> requests_returned 1
        count requests_dispatched
        -> requests_dispatched 2
        ",
    );
}

#[test]
fn the_requests_of_lost_workers_go_before_all_that_wait_first_lost_first() {
    check(
        "
        w1 0.2 READY echo
        w2 0.2 READY echo
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        c2 0.2 REQUEST echo b
        -> to w2 0.2 REQUEST #2 b
        c3 0.2 REQUEST echo c
        c1 0.2 REQUEST echo d
        w2 0.2 DISCONNECT
        w1 0.2 DISCONNECT
        w3 0.2 READY echo
        -> to w3 0.2 REQUEST #2 b
        w4 0.2 READY echo
        -> to w4 0.2 REQUEST #1 a
        w5 0.2 READY echo
        -> to w5 0.2 REQUEST #3 c
        ",
    );
}

#[test]
fn a_worker_that_leaves_that_says_invalid_things_or_cannot_be_reached_gives_its_request_back() {
    check(
        "
        set attempts_max 9
        notes
        c1 0.2 REQUEST echo a
        w1 0.2 READY echo
        -> note w1 0.2 registered for echo
        -> to w1 0.2 REQUEST #1 a
        w1 0.2 DISCONNECT
        -> note w1 gone from echo: Disconnected with 1
        w2 0.2 READY echo
        -> note w2 0.2 registered for echo
        -> to w2 0.2 REQUEST #1 a
        w2 MALFORMED
        -> note w2 gone from echo: Invalid with 1
        -> to w2 0.2 DISCONNECT
        w3 0.2 READY echo
        -> note w3 0.2 registered for echo
        -> to w3 0.2 REQUEST #1 a
        w3 unreachable as worker
        +1ms
        -> note w3 gone from echo: Unreachable with 1 @1ms
        w4 0.2 READY echo
        -> note w4 0.2 registered for echo
        -> to w4 0.2 REQUEST #1 a
        w4 0.2 READY echo
        -> note w4 gone from echo: Unexpected with 1
        -> to w4 0.2 DISCONNECT
        w5 0.1 READY echo
        -> note w5 0.1 registered for echo
        -> to w5 0.1 REQUEST #1 a
        w5 0.1 FINAL #1 A
        -> to c1 0.2 FINAL echo A
        count workers_disconnected
        -> workers_disconnected 1
        count workers_invalid
        -> workers_invalid 1
        count workers_unreachable
        -> workers_unreachable 1
        count workers_unexpected
        -> workers_unexpected 1
        count requests_returned
        -> requests_returned 4
        ",
    );
}

#[test]
fn a_worker_that_is_not_registered_cannot_become_unreachable() {
    check(
        "
        notes
        w1 unreachable as worker
        w2 0.2 HEARTBEAT
        -> note w2 refused: Unregistered
        -> to w2 0.2 DISCONNECT
        w2 unreachable as worker
        count workers_unreachable
        -> workers_unreachable 0
        ",
    );
}

#[test]
fn a_request_that_lost_its_worker_attempts_max_times_is_dropped() {
    check(
        "
        set attempts_max 2
        notes
        c1 0.2 REQUEST echo poison
        c1 0.2 REQUEST echo good
        w1 0.2 READY echo
        -> note w1 0.2 registered for echo
        -> to w1 0.2 REQUEST #1 poison
        w1 0.2 DISCONNECT
        -> note w1 gone from echo: Disconnected with 1
        w2 0.2 READY echo
        -> note w2 0.2 registered for echo
        -> to w2 0.2 REQUEST #1 poison
        w2 0.2 DISCONNECT
        -> note w2 gone from echo: Disconnected with 1
        -> note dropped #1 of c1 for echo: AttemptsMax
        w3 0.2 READY echo
        -> note w3 0.2 registered for echo
        -> to w3 0.2 REQUEST #2 good
        count requests_dropped_attempts_max
        -> requests_dropped_attempts_max 1
        tables
        -> services 1, workers 1, clients 1, waiting 0, running 1, bytes 4
        ",
    );
}

#[test]
fn with_attempts_max_1_no_request_is_handed_out_twice() {
    check(
        "
        set attempts_max 1
        w1 0.2 READY echo
        w2 0.2 READY echo
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        w1 0.2 DISCONNECT
        count requests_dropped_attempts_max
        -> requests_dropped_attempts_max 1
        tables
        -> services 1, workers 1, clients 0, waiting 0, running 0, bytes 0
        ",
    );
}

#[test]
fn a_request_that_could_not_be_sent_to_a_worker_was_no_attempt() {
    // Four sockets of one worker process that was killed, before a live one.
    check(
        "
        set attempts_max 2
        set follow_requests true
        w1 0.2 READY echo
        w2 0.2 READY echo
        w3 0.2 READY echo
        w4 0.2 READY echo
        w5 0.2 READY echo
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        w1 unreachable as worker #1
        -> to w2 0.2 REQUEST #1 a
        w2 unreachable as worker #1
        -> to w3 0.2 REQUEST #1 a
        notes
        w3 unreachable as worker #1
        -> note #1 of c1 for echo to w4, attempt 1
        -> to w4 0.2 REQUEST #1 a
        w4 unreachable as worker #1
        -> note #1 of c1 for echo to w5, attempt 1
        -> to w5 0.2 REQUEST #1 a
        +1ms
        -> note w1 gone from echo: Unreachable @1ms
        -> note w2 gone from echo: Unreachable @1ms
        -> note w3 gone from echo: Unreachable @1ms
        -> note w4 gone from echo: Unreachable @1ms
        w5 0.2 FINAL #1 A
        -> note #1 answered by w5
        -> to c1 0.2 FINAL echo A
        count requests_returned
        -> requests_returned 4
        ",
    );
}

#[test]
fn a_request_whose_worker_gets_no_heartbeats_any_more_was_an_attempt() {
    // It may be the request that kills its workers.
    check(
        "
        set attempts_max 1
        w1 0.2 READY echo
        w2 0.2 READY echo
        c1 0.2 REQUEST echo poison
        -> to w1 0.2 REQUEST #1 poison
        +1000ms while w2 beats
        -> to w1 0.2 HEARTBEAT @1000ms
        w1 unreachable as worker
        +1ms
        count requests_dropped_attempts_max
        -> requests_dropped_attempts_max 1
        ",
    );
}

#[test]
fn a_request_whose_worker_is_lost_after_a_part_was_sent_is_dropped_and_not_redelivered() {
    check(
        "
        w1 0.2 READY echo
        w2 0.2 READY echo
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        w1 0.2 PARTIAL #1 half
        -> to c1 0.2 PARTIAL echo half
        notes
        w1 0.2 DISCONNECT
        -> note w1 gone from echo: Disconnected with 1
        -> note dropped #1 of c1 for echo: PartialSent
        count requests_dropped_partial_sent
        -> requests_dropped_partial_sent 1
        tables
        -> services 1, workers 1, clients 0, waiting 0, running 0, bytes 0
        ",
    );
}

#[test]
fn parts_kept_from_a_lost_worker_are_thrown_away() {
    check(
        "
        w1 0.2 READY echo
        c1 0.1 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        w1 0.2 PARTIAL #1 stale
        w1 0.2 PARTIAL #1 stale
        tables
        -> services 1, workers 1, clients 1, waiting 0, running 1, bytes 11
        w1 0.2 DISCONNECT
        tables
        -> services 1, workers 0, clients 1, waiting 1, running 0, bytes 1
        w2 0.2 READY echo
        -> to w2 0.2 REQUEST #1 a
        w2 0.2 PARTIAL #1 new
        w2 0.2 FINAL #1 end
        -> to c1 0.1 FINAL echo new end
        ",
    );
}

#[test]
fn a_request_that_waits_longer_than_its_expiry_is_dropped() {
    check(
        "
        set request_expiry 5000ms
        notes
        c1 0.2 REQUEST echo a
        +1000ms
        c2 0.2 REQUEST echo b
        c1 0.2 REQUEST other c
        +3999ms
        +1ms
        -> note dropped #1 of c1 for echo: Expired @5000ms
        w1 0.2 READY echo
        -> note w1 0.2 registered for echo
        -> to w1 0.2 REQUEST #2 b
        ",
    );
}

#[test]
fn a_request_that_has_waited_too_long_is_not_dispatched_though_nobody_looked_at_the_time() {
    check(
        "
        set request_expiry 5000ms
        c1 0.2 REQUEST echo 1a
        c1 0.2 REQUEST echo 1b
        c2 0.2 REQUEST echo 2a
        asleep 1ms
        c1 0.2 REQUEST echo 1c
        c2 0.2 REQUEST echo 2b
        asleep 4999ms
        notes
        w1 0.2 READY echo
        -> note w1 0.2 registered for echo
        -> note dropped #1 of c1 for echo: Expired
        -> note dropped #2 of c1 for echo: Expired
        -> to w1 0.2 REQUEST #3 1c
        w1 0.2 FINAL #3 1C
        -> to c1 0.2 FINAL echo 1C
        -> note dropped #4 of c2 for echo: Expired
        -> to w1 0.2 REQUEST #5 2b
        count requests_dropped_expired
        -> requests_dropped_expired 3
        ",
    );
}

#[test]
fn a_request_that_a_worker_has_does_not_expire() {
    check(
        "
        set request_expiry 500ms
        w1 0.2 READY echo
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        +2000ms while w1 beats
        w1 0.2 FINAL #1 A
        -> to c1 0.2 FINAL echo A
        count requests_dropped_expired
        -> requests_dropped_expired 0
        ",
    );
}

#[test]
fn expiry_counts_anew_after_a_worker_was_lost() {
    check(
        "
        set request_expiry 5000ms
        notes
        c1 0.2 REQUEST echo a
        +4000ms
        w1 0.2 READY echo
        -> note w1 0.2 registered for echo
        -> to w1 0.2 REQUEST #1 a
        +2000ms while w1 beats
        w1 0.2 DISCONNECT
        -> note w1 gone from echo: Disconnected with 1
        +4999ms
        +1ms
        -> note dropped #1 of c1 for echo: Expired @11000ms
        count requests_dropped_expired
        -> requests_dropped_expired 1
        tables
        -> services 0, workers 0, clients 0, waiting 0, running 0, bytes 0
        ",
    );
}

#[test]
fn a_request_that_expires_leaves_the_turns_of_the_others_as_they_are() {
    check(
        "
        set request_expiry 5000ms
        c1 0.2 REQUEST echo 1a
        c2 0.2 REQUEST echo 2a
        +1000ms
        c3 0.2 REQUEST echo 3a
        c1 0.2 REQUEST echo 1b
        c2 0.2 REQUEST echo 2b
        +4000ms
        count requests_dropped_expired
        -> requests_dropped_expired 2
        c2 0.2 REQUEST echo 2c
        w1 0.2 READY echo
        -> to w1 0.2 REQUEST #1 1b
        w2 0.2 READY echo
        -> to w2 0.2 REQUEST #2 2b
        w3 0.2 READY echo
        -> to w3 0.2 REQUEST #3 3a
        w4 0.2 READY echo
        -> to w4 0.2 REQUEST #4 2c
        ",
    );
}
