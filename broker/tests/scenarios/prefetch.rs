//! Requests given ahead: a worker of MDP/0.1 or MDP/0.2 works on the oldest it has, and
//! the others wait in its socket.

use majordomo_protocol::mmi::{BrokerReport, WorkerState};

use crate::script::{World, check};

#[test]
fn a_worker_is_given_as_many_requests_as_prefetch_says_and_never_more() {
    check(
        "
        set prefetch 3
        w1 0.2 READY echo
        4 times c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        -> to w1 0.2 REQUEST #2 a
        -> to w1 0.2 REQUEST #3 a
        tables
        -> services 1, workers 1, clients 1, waiting 1, running 3, bytes 4
        w1 0.2 PARTIAL #1 A
        -> to c1 0.2 PARTIAL echo A
        w1 0.2 FINAL #1 A
        -> to c1 0.2 FINAL echo A
        -> to w1 0.2 REQUEST #4 a
        ",
    );
}

#[test]
fn a_service_has_the_number_of_its_name_or_of_the_longest_beginning_of_it() {
    check(
        "
        set prefetch:echo 2
        set prefetch:e* 3
        w1 0.1 READY echo
        w2 0.1 READY else
        w3 0.1 READY other
        3 times c1 0.2 REQUEST echo a
        -> to w1 0.1 REQUEST #1 a
        -> to w1 0.1 REQUEST #2 a
        4 times c1 0.2 REQUEST else a
        -> to w2 0.1 REQUEST #3 a
        -> to w2 0.1 REQUEST #4 a
        -> to w2 0.1 REQUEST #5 a
        2 times c1 0.2 REQUEST other a
        -> to w3 0.1 REQUEST #6 a
        ",
    );
}

#[test]
fn a_worker_of_1_0_says_itself_how_many_it_takes() {
    check(
        "
        set prefetch 3
        w1 1.0 READY echo
        -> to w1 1.0 WELCOME 1000ms 3
        2 times c1 0.2 REQUEST echo a
        -> to w1 1.0 REQUEST #1 a
        ",
    );
}

#[test]
fn who_would_begin_at_once_goes_before_who_has_fewer_and_that_before_who_has_more() {
    check(
        "
        set prefetch 3
        w1 0.2 READY echo
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        c1 0.2 REQUEST echo b
        -> to w1 0.2 REQUEST #2 b
        w2 0.2 READY echo
        w3 1.0 READY echo :capacity=2
        -> to w3 1.0 WELCOME 1000ms 3
        c1 0.2 REQUEST echo c
        -> to w2 0.2 REQUEST #3 c
        c1 0.2 REQUEST echo d
        -> to w3 1.0 REQUEST #4 d
        // It begins at once, though it has one already.
        c1 0.2 REQUEST echo e
        -> to w3 1.0 REQUEST #5 e
        // w2 has one, w1 has two.
        c1 0.2 REQUEST echo f
        -> to w2 0.2 REQUEST #6 f
        // Both have two, and w1 was used longest ago.
        c1 0.2 REQUEST echo g
        -> to w1 0.2 REQUEST #7 g
        c1 0.2 REQUEST echo h
        -> to w2 0.2 REQUEST #8 h
        c1 0.2 REQUEST echo i
        // Nobody had a place.
        w1 0.2 FINAL #1 A
        -> to c1 0.2 FINAL echo A
        -> to w1 0.2 REQUEST #9 i
        w2 0.2 FINAL #3 C
        -> to c1 0.2 FINAL echo C
        w3 1.0 FINAL #5 E
        -> to c1 0.2 FINAL echo E
        c1 0.2 REQUEST echo j
        -> to w3 1.0 REQUEST #10 j
        c1 0.2 REQUEST echo k
        -> to w2 0.2 REQUEST #11 k
        ",
    );
}

#[test]
fn all_requests_of_a_lost_worker_wait_again_in_order_and_before_all_turns() {
    check(
        "
        set prefetch 3
        w1 0.2 READY echo
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        c2 0.2 REQUEST echo b
        -> to w1 0.2 REQUEST #2 b
        c1 0.2 REQUEST echo c
        -> to w1 0.2 REQUEST #3 c
        c3 0.2 REQUEST echo d
        w1 0.2 DISCONNECT
        count requests_returned
        -> requests_returned 3
        w2 0.2 READY echo
        -> to w2 0.2 REQUEST #1 a
        -> to w2 0.2 REQUEST #2 b
        -> to w2 0.2 REQUEST #3 c
        w2 0.2 FINAL #1 A
        -> to c1 0.2 FINAL echo A
        -> to w2 0.2 REQUEST #4 d
        ",
    );
}

#[test]
fn only_the_oldest_request_of_a_lost_worker_has_spent_an_attempt() {
    check(
        "
        set prefetch 3
        set attempts_max 1
        notes
        w1 0.2 READY echo
        -> note w1 0.2 registered for echo
        c1 0.2 REQUEST echo poison
        -> to w1 0.2 REQUEST #1 poison
        c2 0.2 REQUEST echo b
        -> to w1 0.2 REQUEST #2 b
        c3 0.2 REQUEST echo c
        -> to w1 0.2 REQUEST #3 c
        w1 MALFORMED
        -> note w1 gone from echo: Invalid with 3
        -> to w1 0.2 DISCONNECT
        -> note dropped #1 of c1 for echo: AttemptsMax
        w2 0.2 READY echo
        -> note w2 0.2 registered for echo
        -> to w2 0.2 REQUEST #2 b
        -> to w2 0.2 REQUEST #3 c
        // Each loss costs one an attempt, so there is an end to it.
        w2 0.2 DISCONNECT
        -> note w2 gone from echo: Disconnected with 2
        -> note dropped #2 of c2 for echo: AttemptsMax
        w3 0.2 READY echo
        -> note w3 0.2 registered for echo
        -> to w3 0.2 REQUEST #3 c
        w3 0.2 FINAL #3 C
        -> to c3 0.2 FINAL echo C
        ",
    );
}

#[test]
fn a_request_of_which_a_part_came_has_spent_an_attempt_wherever_it_stood() {
    check(
        "
        set prefetch 2
        set attempts_max 1
        notes
        w1 0.2 READY echo
        -> note w1 0.2 registered for echo
        c1 0.1 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        c2 0.1 REQUEST echo b
        -> to w1 0.2 REQUEST #2 b
        w1 0.2 PARTIAL #2 B
        w1 0.2 DISCONNECT
        -> note w1 gone from echo: Disconnected with 2
        -> note dropped #1 of c1 for echo: AttemptsMax
        -> note dropped #2 of c2 for echo: AttemptsMax
        ",
    );
}

#[test]
fn a_request_for_once_may_have_begun_in_a_lost_worker_wherever_it_stood() {
    check(
        "
        set prefetch 2
        w1 0.2 READY echo
        c1 1.0 REQUEST r1 echo a
        -> to w1 0.2 REQUEST #1 a
        c1 1.0 REQUEST r2 echo :once b
        -> to w1 0.2 REQUEST #2 b
        // The answer to the first may be lost, and the second have begun.
        w1 0.2 DISCONNECT
        -> to c1 1.0 ERROR r2 502 its worker was lost
        ",
    );
}

#[test]
fn what_ends_for_its_client_keeps_its_place_until_the_worker_answers() {
    check(
        "
        set prefetch 2
        w1 0.2 READY echo
        c1 1.0 REQUEST r1 echo a
        -> to w1 0.2 REQUEST #1 a
        c1 1.0 REQUEST r2 echo :timeout=500ms b
        -> to w1 0.2 REQUEST #2 b
        c1 1.0 REQUEST r3 echo c
        +500ms
        -> to c1 1.0 ERROR r2 504 the time given passed while it ran @500ms
        c1 1.0 CANCEL r1
        -> to c1 1.0 ERROR r1 499 cancelled
        tables
        -> services 1, workers 1, clients 1, waiting 1, running 2, bytes 1
        w1 0.2 FINAL #1 A
        -> to w1 0.2 REQUEST #3 c
        w1 0.2 FINAL #2 B
        count replies_unwanted
        -> replies_unwanted 2
        ",
    );
}

#[test]
fn what_was_given_ahead_ends_before_the_broker_does() {
    check(
        "
        set prefetch 2
        w1 0.2 READY echo
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        c1 0.2 REQUEST echo b
        -> to w1 0.2 REQUEST #2 b
        stop
        w1 0.2 FINAL #1 A
        -> to c1 0.2 FINAL echo A
        w1 0.2 FINAL #2 B
        -> to c1 0.2 FINAL echo B
        -> to w1 0.2 DISCONNECT
        -> stopped
        ",
    );
}

#[test]
fn prefetch_is_bounded_whatever_a_program_sets() {
    check(
        "
        set prefetch 1000
        set prefetch:none 0
        w1 0.2 READY echo
        1000 times c1 0.2 REQUEST other a
        tables
        -> services 2, workers 1, clients 1, waiting 1000, running 0, bytes 1000
        w2 0.2 READY none
        2 times c1 0.2 REQUEST none a
        -> to w2 0.2 REQUEST #1 a
        ",
    );
    let mut world = World::new();
    let said = world.run(
        "
        set prefetch 1000
        w1 0.2 READY echo
        100 times c1 0.2 REQUEST echo a
        tables
        ",
    );
    let tables = said.last().unwrap();
    assert!(tables.contains("waiting 36, running 64"), "{tables}");
}

#[test]
fn a_worker_with_a_place_in_its_socket_is_busy_and_a_service_of_such_is_served() {
    let mut world = World::new();
    world.run(
        "
        set prefetch 4
        w1 0.2 READY echo
        w2 0.2 READY echo
        3 times c1 0.2 REQUEST echo a
        c1 0.2 REQUEST mmi.broker x
        ",
    );
    let report: BrokerReport = serde_json::from_str(&world.report).unwrap();
    let found = report.workers.iter().map(|worker| (worker.state, worker.running, worker.capacity));
    let expected = [(WorkerState::Busy, 2, 4), (WorkerState::Busy, 1, 4)];
    assert_eq!(found.collect::<Vec<_>>(), expected);
    assert_eq!((report.services[0].running, report.services[0].waiting), (3, 0));
}
