//! What a client of MDP/1.0 can bound and take back: the time to start, the time to
//! end, and the request itself.

use crate::script::check;

#[test]
fn a_request_for_which_no_worker_comes_is_answered_404_at_its_expiry() {
    check(
        "
        set request_expiry 300ms
        c1 1.0 REQUEST r1 echo a
        c1 1.0 REQUEST r2 echo :start-within=301ms :timeout=301ms b
        +300ms
        -> to c1 1.0 ERROR r1 404 no worker was free in time @300ms
        -> to c1 1.0 ERROR r2 404 no worker was free in time @300ms
        count requests_dropped_expired
        -> requests_dropped_expired 2
        ",
    );
}

#[test]
fn a_request_not_started_in_the_time_given_is_answered_408() {
    check(
        "
        w1 1.0 READY echo
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #1 a
        c1 1.0 REQUEST r2 echo :start-within=100ms :timeout=500ms b
        c1 1.0 REQUEST r3 echo :start-within=500ms :timeout=200ms c
        +200ms
        -> to c1 1.0 ERROR r2 408 no worker was free in the time given @100ms
        -> to c1 1.0 ERROR r3 408 no worker was free in the time given @200ms
        count requests_dropped_not_started
        -> requests_dropped_not_started 2
        tables
        -> services 1, workers 1, clients 1, waiting 0, running 1, bytes 1
        ",
    );
}

#[test]
fn a_request_whose_time_is_over_is_not_handed_out_even_if_nobody_looked_at_the_time() {
    check(
        "
        c1 1.0 REQUEST r1 echo :timeout=100ms a
        c1 1.0 REQUEST r2 echo :timeout=101ms b
        asleep 100ms
        w1 1.0 READY echo
        -> to w1 1.0 WELCOME 1000ms 3
        -> to c1 1.0 ERROR r1 408 no worker was free in the time given
        -> to w1 1.0 REQUEST #1 :timeout=1ms b
        ",
    );
}

#[test]
fn a_worker_learns_what_is_left_of_the_time() {
    check(
        "
        c1 1.0 REQUEST r1 echo :timeout=500ms a
        +200ms
        w1 1.0 READY echo
        -> to w1 1.0 WELCOME 1000ms 3
        -> to w1 1.0 REQUEST #1 :timeout=300ms a
        +100ms
        w1 1.0 DISCONNECT
        w2 1.0 READY echo
        -> to w2 1.0 WELCOME 1000ms 3
        -> to w2 1.0 REQUEST #1 :timeout=200ms :attempt=2 a
        // An answer in time is the end of it.
        w2 1.0 FINAL #1 A
        -> to c1 1.0 FINAL r1 A
        +500ms
        ",
    );
}

#[test]
fn start_within_does_not_bound_a_request_that_runs() {
    check(
        "
        w1 1.0 READY echo
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo :start-within=100ms a
        -> to w1 1.0 REQUEST #1 a
        +500ms
        w1 1.0 FINAL #1 A
        -> to c1 1.0 FINAL r1 A
        ",
    );
}

#[test]
fn a_request_that_runs_too_long_is_answered_504_and_keeps_its_place_until_its_worker_answers() {
    check(
        "
        notes
        w1 1.0 READY echo
        -> note w1 1.0 registered for echo
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo :timeout=100ms aaa
        -> to w1 1.0 REQUEST #1 :timeout=100ms aaa
        +100ms
        -> to w1 1.0 CANCEL #1 @100ms
        -> note dropped #1 of c1 for echo: TimedOut @100ms
        -> to c1 1.0 ERROR r1 504 the time given passed while it ran @100ms
        // It holds a place, and counts for its client; it holds no bytes.
        tables
        -> services 1, workers 1, clients 1, waiting 0, running 1, bytes 0
        c1 1.0 REQUEST r2 echo b
        w1 1.0 PARTIAL #1 A
        w1 1.0 FINAL #1 A
        -> to w1 1.0 REQUEST #2 b
        count replies_unwanted
        -> replies_unwanted 1
        count replies_unexpected
        -> replies_unexpected 0
        count requests_dropped_timed_out
        -> requests_dropped_timed_out 1
        w1 1.0 FINAL #1 again
        count replies_unexpected
        -> replies_unexpected 1
        ",
    );
}

#[test]
fn an_older_worker_is_told_nothing_and_is_busy_until_it_answers() {
    check(
        "
        w1 0.2 READY echo
        c1 1.0 REQUEST r1 echo :timeout=100ms a
        -> to w1 0.2 REQUEST #1 a
        +100ms
        -> to c1 1.0 ERROR r1 504 the time given passed while it ran @100ms
        c1 1.0 REQUEST r2 echo b
        w1 0.2 PARTIAL #1 A
        w1 0.2 FINAL #1 A
        -> to w1 0.2 REQUEST #2 b
        c1 1.0 CANCEL r2
        -> to c1 1.0 ERROR r2 499 cancelled
        c1 1.0 REQUEST r3 echo c
        w1 0.2 FINAL #2 B
        -> to w1 0.2 REQUEST #3 c
        count replies_unwanted
        -> replies_unwanted 2
        // After its end it is out of place, as ever.
        w1 0.2 FINAL #2 B
        -> to w1 0.2 DISCONNECT
        ",
    );
}

#[test]
fn a_place_held_by_a_request_that_ended_is_free_when_its_worker_is_lost() {
    check(
        "
        notes
        w1 1.0 READY echo :capacity=2
        -> note w1 1.0 registered for echo
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #1 a
        c1 1.0 REQUEST r2 echo b
        -> to w1 1.0 REQUEST #2 b
        c1 1.0 CANCEL r1
        -> to w1 1.0 CANCEL #1
        -> note dropped #1 of c1 for echo: Cancelled
        -> to c1 1.0 ERROR r1 499 cancelled
        w2 1.0 READY echo :capacity=2
        -> note w2 1.0 registered for echo
        -> to w2 1.0 WELCOME 1000ms 3
        w1 1.0 DISCONNECT
        -> note w1 gone from echo: Disconnected with 2
        -> to w2 1.0 REQUEST #2 :attempt=2 b
        count requests_returned
        -> requests_returned 1
        tables
        -> services 1, workers 1, clients 1, waiting 0, running 1, bytes 1
        ",
    );
}

#[test]
fn requests_that_ended_count_among_all_requests_while_a_worker_holds_them() {
    check(
        "
        set requests_max 2
        set bytes_max 4
        w1 0.2 READY echo
        w2 1.0 READY echo
        -> to w2 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo aaaa
        -> to w1 0.2 REQUEST #1 aaaa
        c1 1.0 CANCEL r1
        -> to c1 1.0 ERROR r1 499 cancelled
        // Its bytes are free.
        c1 1.0 REQUEST r2 echo bbbb
        -> to w2 1.0 REQUEST #2 bbbb
        c1 1.0 CANCEL r2
        -> to w2 1.0 CANCEL #2
        -> to c1 1.0 ERROR r2 499 cancelled
        c1 1.0 REQUEST r3 echo c
        -> to c1 1.0 ERROR r3 429 the broker's queues are full
        w1 0.2 FINAL #1 A
        c1 1.0 REQUEST r3 echo c
        -> to w1 0.2 REQUEST #3 c
        ",
    );
}

#[test]
fn a_waiting_request_that_is_cancelled_leaves_the_queue() {
    check(
        "
        c1 1.0 REQUEST r1 echo a
        c1 1.0 REQUEST r2 echo b
        c2 1.0 REQUEST r3 echo c
        c1 1.0 CANCEL r1
        -> to c1 1.0 ERROR r1 499 cancelled
        tables
        -> services 1, workers 0, clients 2, waiting 2, running 0, bytes 2
        w1 1.0 READY echo :capacity=9
        -> to w1 1.0 WELCOME 1000ms 3
        -> to w1 1.0 REQUEST #1 b
        -> to w1 1.0 REQUEST #2 c
        count requests_dropped_cancelled
        -> requests_dropped_cancelled 1
        ",
    );
}

#[test]
fn a_request_that_lost_its_worker_can_be_cancelled_in_the_queue() {
    check(
        "
        w1 1.0 READY echo
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #1 a
        w1 1.0 DISCONNECT
        c1 1.0 CANCEL r1
        -> to c1 1.0 ERROR r1 499 cancelled
        tables
        -> services 0, workers 0, clients 0, waiting 0, running 0, bytes 0
        ",
    );
}

#[test]
fn a_running_request_that_is_cancelled_ends_for_its_client_at_once() {
    check(
        "
        w1 1.0 READY echo
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo :timeout=500ms a
        -> to w1 1.0 REQUEST #1 :timeout=500ms a
        w1 1.0 PARTIAL #1 A
        -> to c1 1.0 PARTIAL r1 A
        c1 1.0 CANCEL r1
        -> to w1 1.0 CANCEL #1
        -> to c1 1.0 ERROR r1 499 cancelled
        c1 1.0 CANCEL r1
        // Its worker says so, too.
        w1 1.0 ERROR #1 499 cancelled
        +600ms
        count replies_unwanted
        -> replies_unwanted 1
        count requests_answered
        -> requests_answered 0
        ",
    );
}

#[test]
fn cancelling_what_nobody_knows_or_what_has_ended_does_nothing() {
    check(
        "
        c1 1.0 CANCEL r1
        w1 1.0 READY echo
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #1 a
        w1 1.0 FINAL #1 A
        -> to c1 1.0 FINAL r1 A
        c1 1.0 CANCEL r1
        tables
        -> services 1, workers 1, clients 0, waiting 0, running 0, bytes 0
        ",
    );
}

#[test]
fn a_request_that_may_have_run_is_never_answered_as_one_that_did_not() {
    check(
        "
        set request_expiry 300ms
        w1 1.0 READY echo :capacity=3
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #1 a
        c1 1.0 REQUEST r2 echo :timeout=200ms b
        -> to w1 1.0 REQUEST #2 :timeout=200ms b
        c1 1.0 REQUEST r3 echo :start-within=100ms c
        -> to w1 1.0 REQUEST #3 c
        w1 1.0 DISCONNECT
        +300ms
        -> to c1 1.0 ERROR r3 502 its worker was lost, and no other was free in time @100ms
        -> to c1 1.0 ERROR r2 502 its worker was lost, and no other was free in time @200ms
        -> to c1 1.0 ERROR r1 502 its worker was lost, and no other was free in time @300ms
        c1 1.0 REQUEST r1 echo a
        -> to c1 1.0 ERROR r1 502 its worker was lost, and no other was free in time
        ",
    );
}
