//! What could not be sent: its peer is gone, or does not read.

use crate::script::check;

#[test]
fn a_reply_that_could_not_be_sent_is_counted_and_changes_nothing() {
    check(
        "
        notes
        w1 0.2 READY echo
        -> note w1 0.2 registered for echo
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        w1 0.2 FINAL #1 A
        -> to c1 0.2 FINAL echo A
        c1 unreachable as client 1
        -> note reply to c1 unsent
        count replies_unsent
        -> replies_unsent 1
        c2 0.2 REQUEST echo b
        -> to w1 0.2 REQUEST #2 b
        ",
    );
}

#[test]
fn a_reply_of_which_a_part_was_lost_ends_with_an_error_and_its_worker_is_told() {
    check(
        "
        notes
        w1 1.0 READY echo :capacity=9
        -> note w1 1.0 registered for echo
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #1 a
        c1 1.0 REQUEST r2 echo b
        -> to w1 1.0 REQUEST #2 b
        w1 1.0 PARTIAL #1 A
        -> to c1 1.0 PARTIAL r1 A
        w1 1.0 PARTIAL #1 B
        -> to c1 1.0 PARTIAL r1 B
        w1 1.0 PARTIAL #2 C
        -> to c1 1.0 PARTIAL r2 C
        c1 unreachable as client 2 #1 #1
        -> to w1 1.0 CANCEL #1
        -> note dropped #1 of c1 for echo: PartialUnsent
        -> to c1 1.0 ERROR r1 502 a part of the reply could not be sent
        -> note reply to c1 unsent
        // The error is lost, too: nothing more can be done.
        c1 unreachable as client 1
        -> note reply to c1 unsent
        w1 1.0 PARTIAL #1 D
        w1 1.0 FINAL #1 E
        w1 1.0 FINAL #2 F
        -> to c1 1.0 FINAL r2 F
        c1 1.0 REQUEST r1 echo a
        -> to c1 1.0 ERROR r1 502 a part of the reply could not be sent
        count replies_unsent
        -> replies_unsent 3
        count requests_dropped_partial_unsent
        -> requests_dropped_partial_unsent 1
        tables
        -> services 1, workers 1, clients 0, waiting 0, running 0, bytes 0
        ",
    );
}

#[test]
fn nothing_more_is_sent_of_a_reply_to_an_older_client_once_a_part_was_lost() {
    check(
        "
        set error_replies true
        w1 1.0 READY echo :capacity=9
        -> to w1 1.0 WELCOME 1000ms 3
        c1 0.2 REQUEST echo a
        -> to w1 1.0 REQUEST #1 a
        c1 0.2 REQUEST echo b
        -> to w1 1.0 REQUEST #2 b
        w1 1.0 PARTIAL #1 A
        -> to c1 0.2 PARTIAL echo A
        c1 unreachable as client 1 #1
        -> to w1 1.0 CANCEL #1
        w1 1.0 FINAL #1 B
        w1 1.0 PARTIAL #2 C
        -> to c1 0.2 PARTIAL echo C
        w1 1.0 FINAL #2 D
        -> to c1 0.2 FINAL echo D
        count requests_dropped_partial_unsent
        -> requests_dropped_partial_unsent 1
        ",
    );
}

#[test]
fn a_lost_part_of_a_reply_that_another_asks_for_now_or_nobody_changes_nothing() {
    check(
        "
        w1 1.0 READY echo :capacity=9
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #1 a
        w1 1.0 PARTIAL #1 A
        -> to c1 1.0 PARTIAL r1 A
        c1 1.0 REQUEST r1 echo :no-reply a
        c1 unreachable as client 1 #1
        w1 1.0 FINAL #1 B
        c1 1.0 REQUEST r2 echo b
        -> to w1 1.0 REQUEST #2 b
        w1 1.0 PARTIAL #2 C
        -> to c1 1.0 PARTIAL r2 C
        w1 1.0 FINAL #2 D
        -> to c1 1.0 FINAL r2 D
        // The end was lost with it.
        c1 unreachable as client 2 #2
        c1 1.0 REQUEST r2 echo b
        -> to c1 1.0 ERROR r2 502 it ran, and the parts of its reply are not kept
        c1 1.0 REQUEST r3 echo c
        -> to w1 1.0 REQUEST #3 c
        c2 1.0 REQUEST r3 echo c
        c1 unreachable as client 1 #3 @made-up
        w1 1.0 FINAL #3 E
        -> to c2 1.0 FINAL r3 E
        count requests_dropped_partial_unsent
        -> requests_dropped_partial_unsent 0
        ",
    );
}

#[test]
fn what_a_worker_said_before_it_became_unreachable_counts() {
    check(
        "
        set prefetch 3
        notes
        w1 0.2 READY echo
        -> note w1 0.2 registered for echo
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        c1 0.2 REQUEST echo b
        -> to w1 0.2 REQUEST #2 b
        c1 0.2 REQUEST echo c
        -> to w1 0.2 REQUEST #3 c
        c1 0.2 REQUEST echo d
        w1 0.2 FINAL #1 A
        -> to c1 0.2 FINAL echo A
        -> to w1 0.2 REQUEST #4 d
        w1 unreachable as worker #4
        // It gets nothing more, neither requests nor, later, heartbeats.
        w1 0.2 FINAL #2 B
        -> to c1 0.2 FINAL echo B
        w2 0.2 READY echo
        -> note w2 0.2 registered for echo
        -> to w2 0.2 REQUEST #4 d
        w1 0.2 FINAL #3 C
        -> to c1 0.2 FINAL echo C
        w1 0.2 DISCONNECT
        -> note w1 gone from echo: Disconnected
        count requests_returned
        -> requests_returned 1
        count replies_unexpected
        -> replies_unexpected 0
        ",
    );
}

#[test]
fn an_unreachable_worker_is_lost_when_all_has_been_read_and_not_before() {
    check(
        "
        set attempts_max 1
        notes
        w1 1.0 READY echo :capacity=9
        -> note w1 1.0 registered for echo
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #1 a
        c1 1.0 REQUEST r2 echo :once b
        -> to w1 1.0 REQUEST #2 b
        c1 1.0 REQUEST r5 echo e
        -> to w1 1.0 REQUEST #3 e
        c1 1.0 REQUEST r3 echo :once c
        -> to w1 1.0 REQUEST #4 c
        w1 unreachable as worker #4
        // For clients it has gone.
        c1 1.0 REQUEST r4 echo :fail-fast d
        -> to c1 1.0 ERROR r4 404 no worker is registered for the service
        -> note dropped of c1 for echo: NoWorker
        c1 0.2 REQUEST mmi.service echo
        -> to c1 0.2 FINAL mmi.service 404
        +2ms unread
        w1 1.0 DRAIN
        // A second refusal changes nothing, and a CANCEL would not get there either.
        w1 unreachable as worker
        c1 1.0 CANCEL r1
        -> note dropped #1 of c1 for echo: Cancelled
        -> to c1 1.0 ERROR r1 499 cancelled
        w1 1.0 FINAL #2 B
        -> to c1 1.0 FINAL r2 B
        +1ms
        -> note w1 gone from echo: Unreachable with 2 @3ms
        -> note dropped #3 of c1 for echo: AttemptsMax @3ms
        -> to c1 1.0 ERROR r5 502 its workers were lost @3ms
        w2 1.0 READY echo
        -> note w2 1.0 registered for echo
        -> to w2 1.0 WELCOME 1000ms 3
        -> to w2 1.0 REQUEST #4 c
        ",
    );
}

#[test]
fn an_unreachable_worker_gets_no_heartbeat_while_nothing_is_read() {
    check(
        "
        notes
        w1 0.2 READY echo
        -> note w1 0.2 registered for echo
        w2 0.2 READY echo
        -> note w2 0.2 registered for echo
        w1 unreachable as worker
        +2000ms unread
        -> to w2 0.2 HEARTBEAT @1000ms
        -> to w2 0.2 HEARTBEAT @2000ms
        +1ms
        -> note w1 gone from echo: Unreachable @2001ms
        ",
    );
}

#[test]
fn a_worker_of_the_same_name_that_comes_when_all_was_read_is_a_new_one() {
    check(
        "
        notes
        w1 0.2 READY echo
        -> note w1 0.2 registered for echo
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        w1 unreachable as worker #1
        w1 0.1 READY echo
        -> note w1 gone from echo: Unreachable
        -> note w1 0.1 registered for echo
        -> to w1 0.1 REQUEST #1 a
        +1ms
        ",
    );
}

#[test]
fn a_stopping_broker_does_not_wait_for_an_unreachable_worker_that_has_nothing() {
    check(
        "
        notes
        w1 1.0 READY echo :capacity=2
        -> note w1 1.0 registered for echo
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #1 a
        stop
        w1 unreachable as worker #1
        -> note dropped #1 of c1 for echo: Stopping
        -> to c1 1.0 ERROR r1 503 the broker is shutting down
        -> note w1 gone from echo: Unreachable
        -> stopped
        ",
    );
}

#[test]
fn an_unreachable_worker_is_read_after_nobody_drove_the_engine_for_long() {
    check(
        "
        notes
        w1 0.2 READY echo
        -> note w1 0.2 registered for echo
        w1 unreachable as worker
        asleep 9000ms
        +1ms unread
        -> note late @9001ms
        +1ms
        -> note w1 gone from echo: Unreachable @9002ms
        ",
    );
}

#[test]
fn what_was_kept_back_when_its_worker_left_was_no_attempt() {
    check(
        "
        set attempts_max 1
        w1 0.2 READY echo
        c1 1.0 REQUEST r1 echo a
        -> to w1 0.2 REQUEST #1 a
        c1 1.0 REQUEST r2 echo :once b
        // It answers and leaves, in one go.
        keep back
        w1 0.2 FINAL #1 A
        -> to c1 1.0 FINAL r1 A
        -> to w1 0.2 REQUEST #2 b
        w1 0.2 DISCONNECT
        send
        w2 1.0 READY echo
        -> to w2 1.0 WELCOME 1000ms 3
        -> to w2 1.0 REQUEST #2 b
        w2 connection ended
        -> to c1 1.0 ERROR r2 502 its worker was lost
        ",
    );
}

#[test]
fn what_was_sent_before_was_an_attempt_and_what_is_kept_back_behind_it_was_none() {
    check(
        "
        w1 1.0 READY echo :capacity=3
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #1 a
        keep back
        c1 1.0 REQUEST r2 echo b
        -> to w1 1.0 REQUEST #2 b
        send
        keep back
        c1 1.0 REQUEST r3 echo c
        -> to w1 1.0 REQUEST #3 c
        w1 connection ended
        w2 1.0 READY echo :capacity=3
        -> to w2 1.0 WELCOME 1000ms 3
        -> to w2 1.0 REQUEST #1 :attempt=2 a
        -> to w2 1.0 REQUEST #2 :attempt=2 b
        -> to w2 1.0 REQUEST #3 c
        ",
    );
}
