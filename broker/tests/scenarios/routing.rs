//! Who gets a request, and who gets its reply.

use crate::script::check;

#[test]
fn a_request_goes_to_a_worker_and_its_reply_to_the_client_whatever_versions_they_speak() {
    for client in ["0.1", "0.2"] {
        for worker in ["0.1", "0.2"] {
            check(&format!(
                "
                notes
                set follow_requests true
                w1 {worker} READY echo
                -> note w1 {worker} registered for echo
                c1 {client} REQUEST echo hello world
                -> note #1 of c1 for echo to w1, attempt 1
                -> to w1 {worker} REQUEST #1 hello world
                w1 {worker} FINAL #1 hello back
                -> note #1 answered by w1
                -> to c1 {client} FINAL echo hello back
                count requests_received
                -> requests_received 1
                count requests_dispatched
                -> requests_dispatched 1
                count requests_answered
                -> requests_answered 1
                count workers_registered
                -> workers_registered 1
                tables
                -> services 1, workers 1, clients 0, waiting 0, running 0, bytes 0
                "
            ));
        }
    }
}

#[test]
fn a_request_waits_until_a_worker_registers_for_its_service() {
    check(
        "
        c1 0.2 REQUEST echo hello
        tables
        -> services 1, workers 0, clients 1, waiting 1, running 0, bytes 5
        w1 0.2 READY other
        w2 0.1 READY echo
        -> to w2 0.1 REQUEST #1 hello
        w2 0.1 FINAL #1 hello
        -> to c1 0.2 FINAL echo hello
        ",
    );
}

#[test]
fn a_service_is_told_apart_by_its_whole_name() {
    check(
        "
        w1 0.2 READY echo
        c1 0.2 REQUEST Echo a
        c1 0.2 REQUEST echo2 a
        c1 0.2 REQUEST ech a
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        ",
    );
}

#[test]
fn parts_of_a_reply_go_to_a_client_of_0_2_as_they_come() {
    check(
        "
        w1 0.2 READY echo
        c1/e 0.2 REQUEST echo hi
        -> to w1 0.2 REQUEST #1 hi
        w1 0.2 PARTIAL #1 one
        -> to c1/e 0.2 PARTIAL echo one
        w1 0.2 PARTIAL #1 two 2
        -> to c1/e 0.2 PARTIAL echo two 2
        w1 0.2 FINAL #1 three
        -> to c1/e 0.2 FINAL echo three
        count replies_partial
        -> replies_partial 2
        ",
    );
}

#[test]
fn parts_of_a_reply_are_kept_for_a_client_of_0_1_and_come_joined_in_front_of_the_last() {
    check(
        "
        w1 0.2 READY echo
        c1/e 0.1 REQUEST echo hi
        -> to w1 0.2 REQUEST #1 hi
        w1 0.2 PARTIAL #1 one
        w1 0.2 PARTIAL #1 two 2
        tables
        -> services 1, workers 1, clients 1, waiting 0, running 1, bytes 10
        w1 0.2 FINAL #1 three
        -> to c1/e 0.1 FINAL echo one two 2 three
        tables
        -> services 1, workers 1, clients 0, waiting 0, running 0, bytes 0
        ",
    );
}

#[test]
fn the_envelope_of_a_request_comes_back_in_front_of_its_reply_and_no_worker_sees_it() {
    check(
        "
        c1/one/two 0.1 REQUEST echo a
        c1/three 0.1 REQUEST echo b
        w1 0.2 READY echo
        -> to w1 0.2 REQUEST #1 a
        w1 0.2 FINAL #1 A
        -> to c1/one/two 0.1 FINAL echo A
        -> to w1 0.2 REQUEST #2 b
        w1 0.2 FINAL #2 B
        -> to c1/three 0.1 FINAL echo B
        ",
    );
}

#[test]
fn a_client_is_answered_in_the_version_of_each_request() {
    check(
        "
        w1 0.2 READY echo
        c1 0.1 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        c1 0.2 REQUEST echo b
        w1 0.2 FINAL #1 A
        -> to c1 0.1 FINAL echo A
        -> to w1 0.2 REQUEST #2 b
        w1 0.2 FINAL #2 B
        -> to c1 0.2 FINAL echo B
        ",
    );
}

#[test]
fn the_least_recently_used_worker_gets_the_next_request() {
    check(
        "
        w1 0.2 READY echo
        w2 0.2 READY echo
        w3 0.2 READY echo
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        c1 0.2 REQUEST echo b
        -> to w2 0.2 REQUEST #2 b
        w2 0.2 FINAL #2 B
        -> to c1 0.2 FINAL echo B
        w1 0.2 FINAL #1 A
        -> to c1 0.2 FINAL echo A
        c1 0.2 REQUEST echo c
        -> to w3 0.2 REQUEST #3 c
        c1 0.2 REQUEST echo d
        -> to w2 0.2 REQUEST #4 d
        c1 0.2 REQUEST echo e
        -> to w1 0.2 REQUEST #5 e
        ",
    );
}

#[test]
fn a_heartbeat_changes_nothing_in_the_order_of_idle_workers() {
    check(
        "
        w1 0.2 READY echo
        w2 0.2 READY echo
        w1 0.2 HEARTBEAT
        w1 0.2 HEARTBEAT
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        w1 0.2 HEARTBEAT
        c1 0.2 REQUEST echo b
        -> to w2 0.2 REQUEST #2 b
        c1 0.2 REQUEST echo c
        tables
        -> services 1, workers 2, clients 1, waiting 1, running 2, bytes 3
        ",
    );
}

#[test]
fn a_worker_that_leaves_the_middle_of_the_idle_workers_is_passed_over() {
    check(
        "
        w1 0.2 READY echo
        w2 0.2 READY echo
        w3 0.2 READY echo
        w2 0.2 DISCONNECT
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        c1 0.2 REQUEST echo b
        -> to w3 0.2 REQUEST #2 b
        c1 0.2 REQUEST echo c
        ",
    );
}

#[test]
fn a_freed_worker_gets_the_next_request_of_its_own_service() {
    check(
        "
        w1 0.2 READY echo
        w2 0.2 READY sum
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        c1 0.2 REQUEST sum 1
        -> to w2 0.2 REQUEST #2 1
        c1 0.2 REQUEST echo b
        c1 0.2 REQUEST sum 2
        w2 0.2 FINAL #2 1
        -> to c1 0.2 FINAL sum 1
        -> to w2 0.2 REQUEST #3 2
        w1 0.2 FINAL #1 A
        -> to c1 0.2 FINAL echo A
        -> to w1 0.2 REQUEST #4 b
        ",
    );
}

#[test]
fn requests_of_one_client_are_served_in_the_order_they_came() {
    check(
        "
        c1 0.2 REQUEST echo a
        c1 0.2 REQUEST echo b
        c1 0.2 REQUEST echo c
        w1 0.2 READY echo
        -> to w1 0.2 REQUEST #1 a
        w2 0.2 READY echo
        -> to w2 0.2 REQUEST #2 b
        c1 0.2 REQUEST echo d
        w3 0.2 READY echo
        -> to w3 0.2 REQUEST #3 c
        w4 0.2 READY echo
        -> to w4 0.2 REQUEST #4 d
        ",
    );
}

#[test]
fn clients_with_waiting_requests_take_turns() {
    check(
        "
        c1 0.2 REQUEST echo 1a
        c1 0.2 REQUEST echo 1b
        c1 0.2 REQUEST echo 1c
        c2 0.2 REQUEST echo 2a
        c2 0.2 REQUEST echo 2b
        c3 0.2 REQUEST echo 3a
        w1 0.2 READY echo
        -> to w1 0.2 REQUEST #1 1a
        w2 0.2 READY echo
        -> to w2 0.2 REQUEST #2 2a
        w3 0.2 READY echo
        -> to w3 0.2 REQUEST #3 3a
        c3 0.2 REQUEST echo 3b
        w4 0.2 READY echo
        -> to w4 0.2 REQUEST #4 1b
        w5 0.2 READY echo
        -> to w5 0.2 REQUEST #5 2b
        w6 0.2 READY echo
        -> to w6 0.2 REQUEST #6 3b
        w7 0.2 READY echo
        -> to w7 0.2 REQUEST #7 1c
        ",
    );
}

#[test]
fn a_single_request_is_dispatched_second_at_the_latest_beside_a_client_with_50_000() {
    check(
        "
        w1 0.2 READY echo
        c1 0.2 REQUEST echo first
        -> to w1 0.2 REQUEST #1 first
        50000 times c1 0.2 REQUEST echo many
        c2 0.2 REQUEST echo single
        w1 0.2 FINAL #1 done
        -> to c1 0.2 FINAL echo done
        -> to w1 0.2 REQUEST #2 many
        w1 0.2 FINAL #2 done
        -> to c1 0.2 FINAL echo done
        -> to w1 0.2 REQUEST #3 single
        ",
    );
}

#[test]
fn turns_in_one_service_do_not_count_in_another() {
    check(
        "
        c1 0.2 REQUEST echo 1a
        c2 0.2 REQUEST echo 2a
        c2 0.2 REQUEST sum 2s
        c1 0.2 REQUEST sum 1s
        w1 0.2 READY echo
        -> to w1 0.2 REQUEST #1 1a
        w2 0.2 READY sum
        -> to w2 0.2 REQUEST #2 2s
        ",
    );
}

#[test]
fn a_service_whose_workers_hang_delays_no_other() {
    check(
        "
        w1 0.2 READY hangs
        w2 0.2 READY echo
        c1 0.2 REQUEST hangs a
        -> to w1 0.2 REQUEST #1 a
        1000 times c1 0.2 REQUEST hangs b
        +2000ms while w1 w2 beat
        c1 0.2 REQUEST echo c
        -> to w2 0.2 REQUEST #2 c
        w2 0.2 FINAL #2 C
        -> to c1 0.2 FINAL echo C
        ",
    );
}

#[test]
fn a_peer_may_be_worker_and_client_at_once() {
    check(
        "
        p1 0.2 READY echo
        p1 0.2 REQUEST echo a
        -> to p1 0.2 REQUEST #1 a
        p1 0.2 FINAL #1 A
        -> to p1 0.2 FINAL echo A
        ",
    );
}

#[test]
fn nothing_is_left_of_clients_and_services_that_nobody_uses() {
    check(
        "
        w1 0.1 READY echo
        c1/e 0.1 REQUEST echo a
        -> to w1 0.1 REQUEST #1 a
        c2 0.2 REQUEST echo b
        c3 0.2 REQUEST other c
        w1 0.1 FINAL #1 A
        -> to c1/e 0.1 FINAL echo A
        -> to w1 0.1 REQUEST #2 b
        w1 0.1 FINAL #2 B
        -> to c2 0.2 FINAL echo B
        tables
        -> services 2, workers 1, clients 1, waiting 1, running 0, bytes 1
        w1 0.1 DISCONNECT
        tables
        -> services 1, workers 0, clients 1, waiting 1, running 0, bytes 1
        +60000ms
        tables
        -> services 0, workers 0, clients 0, waiting 0, running 0, bytes 0
        ",
    );
}
