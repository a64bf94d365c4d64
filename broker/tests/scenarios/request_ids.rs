//! A request of MDP/1.0 that comes again under the same id: joined while it waits or
//! runs, answered again after its answer, run again where it did not run.

use crate::script::check;

#[test]
fn a_request_that_comes_again_while_it_waits_is_joined_and_the_last_to_ask_is_answered() {
    check(
        "
        c1 1.0 REQUEST r1 echo a
        c1 1.0 REQUEST r1 echo a
        c2 1.0 REQUEST r1 echo a
        tables
        -> services 1, workers 0, clients 1, waiting 1, running 0, bytes 1
        w1 1.0 READY echo :capacity=9
        -> to w1 1.0 WELCOME 1000ms 3
        -> to w1 1.0 REQUEST #1 a
        w1 1.0 FINAL #1 A
        -> to c2 1.0 FINAL r1 A
        count requests_joined
        -> requests_joined 2
        count requests_received
        -> requests_received 3
        count requests_dispatched
        -> requests_dispatched 1
        ",
    );
}

#[test]
fn a_request_that_comes_again_while_it_runs_is_joined_and_the_last_to_ask_is_answered() {
    check(
        "
        w1 1.0 READY echo :capacity=9
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #1 a
        c2 1.0 REQUEST r1 echo a
        c3 1.0 REQUEST r1 echo a
        c2 1.0 REQUEST r1 echo a
        tables
        -> services 1, workers 1, clients 1, waiting 0, running 1, bytes 1
        w1 1.0 PARTIAL #1 A
        -> to c2 1.0 PARTIAL r1 A
        w1 1.0 FINAL #1 B
        -> to c2 1.0 FINAL r1 B
        count requests_joined
        -> requests_joined 3
        ",
    );
}

#[test]
fn the_count_of_a_clients_requests_moves_with_them() {
    check(
        "
        set requests_per_client_max 1
        c1 1.0 REQUEST r1 echo a
        c1 1.0 REQUEST r2 echo b
        -> to c1 1.0 ERROR r2 429 too many requests of this client
        c2 1.0 REQUEST r1 echo a
        c1 1.0 REQUEST r2 echo b
        c2 1.0 REQUEST r3 echo c
        -> to c2 1.0 ERROR r3 429 too many requests of this client
        tables
        -> services 1, workers 0, clients 2, waiting 2, running 0, bytes 2
        ",
    );
}

#[test]
fn a_client_that_comes_back_on_a_new_connection_joins_its_requests_at_the_limits() {
    check(
        "
        set clients_max 1
        set requests_per_client_max 2
        set requests_max 2
        set bytes_max 2
        set requests_per_service_max 2
        c1 1.0 REQUEST r1 echo a
        c1 1.0 REQUEST r2 echo b
        // For a moment it is two clients.
        c2 1.0 REQUEST r1 echo a
        c2 1.0 REQUEST r2 echo b
        tables
        -> services 1, workers 0, clients 1, waiting 2, running 0, bytes 2
        c1 1.0 REQUEST r3 echo c
        -> to c1 1.0 ERROR r3 429 the broker's queues are full
        ",
    );
}

#[test]
fn a_request_that_comes_again_on_the_same_connection_after_a_part_goes_on() {
    check(
        "
        w1 1.0 READY echo
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #1 a
        w1 1.0 PARTIAL #1 A
        -> to c1 1.0 PARTIAL r1 A
        c1 1.0 REQUEST r1 echo a
        w1 1.0 FINAL #1 B
        -> to c1 1.0 FINAL r1 B
        ",
    );
}

#[test]
fn a_request_that_comes_again_elsewhere_after_a_part_is_no_half_reply_there() {
    check(
        "
        w1 1.0 READY echo
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #1 a
        w1 1.0 PARTIAL #1 A
        -> to c1 1.0 PARTIAL r1 A
        c2 1.0 REQUEST r1 echo a
        -> to w1 1.0 CANCEL #1
        -> to c2 1.0 ERROR r1 502 a part of the reply was sent, and it cannot be repeated
        w1 1.0 FINAL #1 B
        c2 1.0 REQUEST r1 echo a
        -> to c2 1.0 ERROR r1 502 a part of the reply was sent, and it cannot be repeated
        count replies_unwanted
        -> replies_unwanted 1
        tables
        -> services 1, workers 1, clients 0, waiting 0, running 0, bytes 0
        ",
    );
}

#[test]
fn an_answer_is_repeated_to_whoever_asks_again_and_nothing_runs() {
    check(
        "
        w1 1.0 READY echo
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #1 a
        w1 1.0 FINAL #1 A B
        -> to c1 1.0 FINAL r1 A B
        c1 1.0 REQUEST r1 echo a
        -> to c1 1.0 FINAL r1 A B
        c2 1.0 REQUEST r1 echo a
        -> to c2 1.0 FINAL r1 A B
        count answers_repeated
        -> answers_repeated 2
        count requests_dispatched
        -> requests_dispatched 1
        tables
        -> services 1, workers 1, clients 0, waiting 0, running 0, bytes 0
        // The id alone tells requests apart.
        c1 1.0 REQUEST r2 echo a
        -> to w1 1.0 REQUEST #2 a
        ",
    );
}

#[test]
fn an_error_of_a_request_that_ran_is_repeated() {
    check(
        "
        set attempts_max 1
        w1 1.0 READY echo
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #1 a
        w1 1.0 ERROR #1 500 no luck | details
        -> to c1 1.0 ERROR r1 500 no luck | details
        c1 1.0 REQUEST r2 echo :timeout=100ms a
        -> to w1 1.0 REQUEST #2 :timeout=100ms a
        +100ms
        -> to w1 1.0 CANCEL #2 @100ms
        -> to c1 1.0 ERROR r2 504 the time given passed while it ran @100ms
        w1 1.0 FINAL #2 late
        c1 1.0 REQUEST r3 echo a
        -> to w1 1.0 REQUEST #3 a
        c1 1.0 CANCEL r3
        -> to w1 1.0 CANCEL #3
        -> to c1 1.0 ERROR r3 499 cancelled
        w1 1.0 FINAL #3 late
        c1 1.0 REQUEST r4 echo a
        -> to w1 1.0 REQUEST #4 a
        w1 1.0 DISCONNECT
        -> to c1 1.0 ERROR r4 502 its workers were lost
        w2 1.0 READY echo :capacity=9
        -> to w2 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo a
        -> to c1 1.0 ERROR r1 500 no luck | details
        c1 1.0 REQUEST r2 echo a
        -> to c1 1.0 ERROR r2 504 the time given passed while it ran
        c1 1.0 REQUEST r3 echo a
        -> to c1 1.0 ERROR r3 499 cancelled
        c1 1.0 REQUEST r4 echo a
        -> to c1 1.0 ERROR r4 502 its workers were lost
        ",
    );
}

#[test]
fn a_request_that_did_not_run_runs_when_it_comes_again() {
    check(
        "
        set request_expiry 200ms
        set requests_per_service_max 3
        c1 1.0 REQUEST r1 echo :fail-fast a
        -> to c1 1.0 ERROR r1 404 no worker is registered for the service
        c1 1.0 REQUEST r2 echo a
        c1 1.0 REQUEST r3 echo :start-within=100ms a
        c1 1.0 REQUEST r4 echo a
        c1 1.0 REQUEST r5 echo a
        -> to c1 1.0 ERROR r5 429 the service's queue is full
        c1 1.0 CANCEL r4
        -> to c1 1.0 ERROR r4 499 cancelled
        +200ms
        -> to c1 1.0 ERROR r3 408 no worker was free in the time given @100ms
        -> to c1 1.0 ERROR r2 404 no worker was free in time @200ms
        w1 1.0 READY echo :capacity=9
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #1 a
        c1 1.0 REQUEST r2 echo a
        -> to w1 1.0 REQUEST #2 a
        c1 1.0 REQUEST r3 echo a
        -> to w1 1.0 REQUEST #3 a
        c1 1.0 REQUEST r4 echo a
        -> to w1 1.0 REQUEST #4 a
        c1 1.0 REQUEST r5 echo a
        -> to w1 1.0 REQUEST #5 a
        count answers_repeated
        -> answers_repeated 0
        ",
    );
}

#[test]
fn an_answer_whose_parts_are_gone_is_not_repeated_and_the_request_does_not_run_again() {
    check(
        "
        w1 1.0 READY echo
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #1 a
        w1 1.0 PARTIAL #1 A
        -> to c1 1.0 PARTIAL r1 A
        w1 1.0 FINAL #1 B
        -> to c1 1.0 FINAL r1 B
        c1 1.0 REQUEST r1 echo a
        -> to c1 1.0 ERROR r1 502 it ran, and the parts of its reply are not kept
        ",
    );
}

#[test]
fn the_oldest_answer_is_forgotten_for_one_more_than_answers_max() {
    check(
        "
        set answers_max 2
        w1 1.0 READY echo
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #1 a
        w1 1.0 FINAL #1 A
        -> to c1 1.0 FINAL r1 A
        c1 1.0 REQUEST r2 echo a
        -> to w1 1.0 REQUEST #2 a
        w1 1.0 FINAL #2 B
        -> to c1 1.0 FINAL r2 B
        c1 1.0 REQUEST r1 echo a
        -> to c1 1.0 FINAL r1 A
        // Older by its answer, not by when it was last asked for.
        c1 1.0 REQUEST r3 echo a
        -> to w1 1.0 REQUEST #3 a
        w1 1.0 FINAL #3 C
        -> to c1 1.0 FINAL r3 C
        c1 1.0 REQUEST r2 echo a
        -> to c1 1.0 FINAL r2 B
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #4 a
        ",
    );
}

#[test]
fn answers_max_0_remembers_none() {
    check(
        "
        set answers_max 0
        w1 1.0 READY echo
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #1 a
        w1 1.0 FINAL #1 A
        -> to c1 1.0 FINAL r1 A
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #2 a
        ",
    );
}

#[test]
fn old_answers_are_forgotten_for_more_bytes_than_answers_bytes_max() {
    check(
        "
        set answers_bytes_max 4
        w1 1.0 READY echo
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #1 a
        w1 1.0 FINAL #1 AA
        -> to c1 1.0 FINAL r1 AA
        c1 1.0 REQUEST r2 echo a
        -> to w1 1.0 REQUEST #2 a
        w1 1.0 FINAL #2 B
        -> to c1 1.0 FINAL r2 B
        c1 1.0 REQUEST r3 echo a
        -> to w1 1.0 REQUEST #3 a
        w1 1.0 FINAL #3 CCC
        -> to c1 1.0 FINAL r3 CCC
        c1 1.0 REQUEST r2 echo a
        -> to c1 1.0 FINAL r2 B
        c1 1.0 REQUEST r3 echo a
        -> to c1 1.0 FINAL r3 CCC
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #4 a
        // Of one that is larger than all of it, only that it ran is remembered.
        w1 1.0 FINAL #4 DDDDD
        -> to c1 1.0 FINAL r1 DDDDD
        c1 1.0 REQUEST r1 echo a
        -> to c1 1.0 ERROR r1 502 it ran, and its answer is not kept
        c1 1.0 REQUEST r3 echo a
        -> to c1 1.0 FINAL r3 CCC
        ",
    );
}

#[test]
fn an_answer_is_forgotten_when_it_is_older_than_answers_kept() {
    check(
        "
        set answers_kept 500ms
        w1 1.0 READY echo
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #1 a
        w1 1.0 FINAL #1 A
        -> to c1 1.0 FINAL r1 A
        +500ms
        c1 1.0 REQUEST r1 echo a
        -> to c1 1.0 FINAL r1 A
        +1ms
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #2 a
        ",
    );
}

#[test]
fn a_request_that_ended_for_its_client_and_still_runs_is_not_run_beside_itself() {
    check(
        "
        set answers_max 0
        w1 0.2 READY echo
        w2 0.2 READY echo
        c1 1.0 REQUEST r1 echo :timeout=100ms a
        -> to w1 0.2 REQUEST #1 a
        c1 1.0 REQUEST r2 echo b
        -> to w2 0.2 REQUEST #2 b
        c1 1.0 CANCEL r2
        -> to c1 1.0 ERROR r2 499 cancelled
        +100ms
        -> to c1 1.0 ERROR r1 504 the time given passed while it ran @100ms
        w3 1.0 READY echo :capacity=9
        -> to w3 1.0 WELCOME 1000ms 3
        // It ends in the same way for whoever asks again.
        c2 1.0 REQUEST r1 echo a
        -> to c2 1.0 ERROR r1 504 the time given passed while it ran
        c1 1.0 REQUEST r2 echo b
        -> to c1 1.0 ERROR r2 499 cancelled
        c1 1.0 REQUEST r2 echo :no-reply b
        c1 1.0 CANCEL r1
        count answers_repeated
        -> answers_repeated 3
        count requests_joined
        -> requests_joined 0
        // Once its worker has done with it, it can run.
        w1 0.2 FINAL #1 A
        c1 1.0 REQUEST r1 echo a
        -> to w3 1.0 REQUEST #3 a
        w2 0.2 DISCONNECT
        c1 1.0 REQUEST r2 echo b
        -> to w1 0.2 REQUEST #4 b
        ",
    );
}

#[test]
fn a_request_that_ended_for_its_client_counts_for_it_while_it_runs() {
    check(
        "
        set requests_per_client_max 1
        set clients_max 1
        w1 1.0 READY echo :capacity=9
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #1 a
        c1 1.0 CANCEL r1
        -> to w1 1.0 CANCEL #1
        -> to c1 1.0 ERROR r1 499 cancelled
        c1 1.0 REQUEST r2 echo b
        -> to c1 1.0 ERROR r2 429 too many requests of this client
        c2 1.0 REQUEST r3 echo c
        -> to c2 1.0 ERROR r3 429 the broker serves too many clients
        tables
        -> services 1, workers 1, clients 1, waiting 0, running 1, bytes 0
        w1 1.0 ERROR #1 499 cancelled
        c1 1.0 REQUEST r2 echo b
        -> to w1 1.0 REQUEST #2 b
        ",
    );
}
