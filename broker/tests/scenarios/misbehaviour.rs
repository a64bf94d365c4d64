//! Peers that say what they may not say: each does harm to nobody but itself.

use crate::script::{World, check};

#[test]
fn a_late_reply_is_counted_and_reaches_nobody() {
    check(
        "
        w1 0.2 READY echo
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        +3000ms
        -> to w1 0.2 HEARTBEAT @1000ms
        -> to w1 0.2 HEARTBEAT @2000ms
        -> to w1 0.2 DISCONNECT @3000ms
        notes
        w1 0.2 FINAL #1 late
        -> note w1 refused: Unregistered
        -> to w1 0.2 DISCONNECT
        w2 0.2 READY echo
        -> note w2 0.2 registered for echo
        -> to w2 0.2 REQUEST #1 a
        w1 0.2 PARTIAL #1 late
        -> note w1 refused: Unregistered
        -> to w1 0.2 DISCONNECT
        w2 0.2 FINAL #1 A
        -> to c1 0.2 FINAL echo A
        w1 0.2 FINAL #1 late
        -> note w1 refused: Unregistered
        -> to w1 0.2 DISCONNECT
        count replies_unexpected
        -> replies_unexpected 3
        count workers_refused_unregistered
        -> workers_refused_unregistered 3
        count requests_answered
        -> requests_answered 1
        ",
    );
}

#[test]
fn a_late_reply_of_a_worker_that_registered_again_is_not_taken_for_its_new_request() {
    check(
        "
        w1 0.2 READY echo
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        w1 0.2 DISCONNECT
        w2 0.2 READY echo
        -> to w2 0.2 REQUEST #1 a
        c2 0.2 REQUEST echo b
        w1 0.2 READY echo
        -> to w1 0.2 REQUEST #2 b
        w1 0.2 FINAL #1 late
        -> to w1 0.2 DISCONNECT
        w2 0.2 FINAL #1 A
        -> to c1 0.2 FINAL echo A
        -> to w2 0.2 REQUEST #2 b
        ",
    );
}

#[test]
fn a_reply_to_a_request_that_another_worker_has_costs_the_worker_its_registration() {
    check(
        "
        w1 0.2 READY echo
        w2 0.2 READY echo
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        c2 0.2 REQUEST echo b
        -> to w2 0.2 REQUEST #2 b
        notes
        w2 0.2 FINAL #1 foreign
        -> note w2 gone from echo: Unexpected with 1
        -> to w2 0.2 DISCONNECT
        w1 0.2 PARTIAL #2 foreign
        -> note w1 gone from echo: Unexpected with 1
        -> to w1 0.2 DISCONNECT
        w3 0.2 READY echo
        -> note w3 0.2 registered for echo
        -> to w3 0.2 REQUEST #2 b
        count replies_unexpected
        -> replies_unexpected 2
        count workers_unexpected
        -> workers_unexpected 2
        ",
    );
}

#[test]
fn a_second_reply_to_the_same_request_costs_the_worker_its_registration() {
    check(
        "
        w1 0.2 READY echo
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        w1 0.2 FINAL #1 A
        -> to c1 0.2 FINAL echo A
        w1 0.2 FINAL #1 again
        -> to w1 0.2 DISCONNECT
        count replies_unexpected
        -> replies_unexpected 1
        tables
        -> services 0, workers 0, clients 0, waiting 0, running 0, bytes 0
        ",
    );
}

#[test]
fn a_part_after_the_final_reply_does_not_reach_the_client_of_the_next_request() {
    check(
        "
        w1 0.2 READY echo
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        c2 0.2 REQUEST echo b
        w1 0.2 FINAL #1 A
        -> to c1 0.2 FINAL echo A
        -> to w1 0.2 REQUEST #2 b
        w1 0.2 PARTIAL #1 more
        -> to w1 0.2 DISCONNECT
        w2 0.2 READY echo
        -> to w2 0.2 REQUEST #2 b
        ",
    );
}

#[test]
fn a_reply_to_an_address_never_given_out_reaches_nobody() {
    check(
        "
        w1 0.2 READY echo
        w2 0.2 READY echo
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        w1 0.2 FINAL @c1 made-up
        -> to w1 0.2 DISCONNECT
        -> to w2 0.2 REQUEST #1 a
        w2 0.2 PARTIAL @12345678 made-up
        -> to w2 0.2 DISCONNECT
        w3 0.1 FINAL @ made-up
        -> to w3 0.1 DISCONNECT
        count replies_unexpected
        -> replies_unexpected 3
        tables
        -> services 1, workers 0, clients 1, waiting 1, running 0, bytes 1
        ",
    );
}

#[test]
fn a_task_id_of_the_broker_before_a_restart_names_nothing_in_the_new_one() {
    let script = "
        w1 0.2 READY echo
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a";
    let (mut before, mut after) = (World::new(), World::new());
    before.run(&format!("set instance 1 {script}"));
    after.run(&format!("set instance 2 {script}"));
    assert_ne!(before.ids, after.ids);
    after.ids = before.ids;
    let transcript = after.run("w1 0.2 FINAL #1 old");
    assert_eq!(transcript, ["w1 0.2 FINAL #1 old", "-> to w1 0.2 DISCONNECT"]);
}

#[test]
fn a_second_ready_costs_the_worker_its_registration() {
    check(
        "
        w1 0.2 READY echo
        w2 0.2 READY echo
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        notes
        // Busy, and for another service.
        w1 0.2 READY other
        -> note w1 gone from echo: Unexpected with 1
        -> to w1 0.2 DISCONNECT
        -> to w2 0.2 REQUEST #1 a
        w2 0.2 FINAL #1 A
        -> to c1 0.2 FINAL echo A
        // Idle, and for the same.
        w2 0.2 READY echo
        -> note w2 gone from echo: Unexpected
        -> to w2 0.2 DISCONNECT
        count workers_unexpected
        -> workers_unexpected 2
        tables
        -> services 0, workers 0, clients 0, waiting 0, running 0, bytes 0
        ",
    );
}

#[test]
fn a_worker_that_changes_its_version_is_told_to_disconnect_in_the_one_it_registered_in() {
    check(
        "
        w1 0.2 READY echo
        w1 0.1 HEARTBEAT
        -> to w1 0.2 DISCONNECT
        w2 0.1 READY echo
        c1 0.2 REQUEST echo a
        -> to w2 0.1 REQUEST #1 a
        w2 0.2 FINAL #1 A
        -> to w2 0.1 DISCONNECT
        count workers_unexpected
        -> workers_unexpected 2
        count requests_answered
        -> requests_answered 0
        ",
    );
}

#[test]
fn an_invalid_message_of_an_idle_worker_costs_it_its_registration() {
    check(
        "
        notes
        w1 0.2 READY echo
        -> note w1 0.2 registered for echo
        w1 FRAMES_MAX
        -> note w1 gone from echo: Invalid
        -> to w1 0.2 DISCONNECT
        c1 0.2 REQUEST echo a
        count workers_invalid
        -> workers_invalid 1
        ",
    );
}

#[test]
fn invalid_messages_of_anybody_are_counted_by_what_is_wrong_and_leave_no_state() {
    check(
        "
        notes
        p1 MALFORMED
        p1 MALFORMED
        p1 MALFORMED
        p2 FRAMES_MAX
        p2 FRAMES_MAX
        p3 MESSAGE_BYTES_MAX
        count messages_malformed
        -> messages_malformed 3
        count messages_frames_max
        -> messages_frames_max 2
        count messages_message_bytes_max
        -> messages_message_bytes_max 1
        tables
        -> services 0, workers 0, clients 0, waiting 0, running 0, bytes 0
        ",
    );
}

#[test]
fn an_invalid_message_of_a_client_costs_its_requests_nothing() {
    check(
        "
        w1 0.2 READY echo
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        c1 MALFORMED
        w1 0.2 FINAL #1 A
        -> to c1 0.2 FINAL echo A
        ",
    );
}

#[test]
fn a_stranger_that_speaks_like_a_worker_is_told_to_disconnect_and_leaves_no_state() {
    check(
        "
        s1 0.1 HEARTBEAT
        -> to s1 0.1 DISCONNECT
        s2 0.2 FINAL @c1 A
        -> to s2 0.2 DISCONNECT
        s3 0.2 PARTIAL @c1 A
        -> to s3 0.2 DISCONNECT
        // It wants nothing any more; RFC 7: then send it nothing.
        s4 0.2 DISCONNECT
        count workers_refused_unregistered
        -> workers_refused_unregistered 3
        count replies_unexpected
        -> replies_unexpected 2
        count workers_registered
        -> workers_registered 0
        tables
        -> services 0, workers 0, clients 0, waiting 0, running 0, bytes 0
        +60000ms
        ",
    );
}

#[test]
fn nothing_more_is_sent_to_a_worker_that_left_or_was_told_to() {
    check(
        "
        w1 0.2 READY echo
        w2 0.2 READY echo
        w3 0.2 READY echo
        w1 0.2 DISCONNECT
        w2 MALFORMED
        -> to w2 0.2 DISCONNECT
        w3 unreachable as worker
        w1 0.2 DISCONNECT
        c1 0.2 REQUEST echo a
        +20000ms
        ",
    );
}
