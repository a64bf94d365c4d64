//! Every limit, reached: it does what its line in `Settings` says, and counts. The
//! limits in time, `request_expiry` and `attempts_max`, are under redelivery.

use crate::script::check;

#[test]
fn requests_max_holds_for_all_requests_waiting_or_running() {
    check(
        "
        set requests_max 2
        notes
        w1 0.2 READY echo
        -> note w1 0.2 registered for echo
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        c2 0.2 REQUEST other b
        c3 0.2 REQUEST echo c
        -> note dropped of c3 for echo: RequestsMax
        count requests_dropped_requests_max
        -> requests_dropped_requests_max 1
        w1 0.2 FINAL #1 A
        -> to c1 0.2 FINAL echo A
        c3 0.2 REQUEST echo d
        -> to w1 0.2 REQUEST #2 d
        ",
    );
}

#[test]
fn requests_per_service_max_holds_for_requests_waiting_for_one_service() {
    check(
        "
        set requests_per_service_max 1
        notes
        w1 0.2 READY echo
        -> note w1 0.2 registered for echo
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        c2 0.2 REQUEST echo b
        c3 0.2 REQUEST echo c
        -> note dropped of c3 for echo: RequestsPerServiceMax
        c3 0.2 REQUEST other d
        count requests_dropped_requests_per_service_max
        -> requests_dropped_requests_per_service_max 1
        tables
        -> services 2, workers 1, clients 3, waiting 2, running 1, bytes 3
        // Those returned by a lost worker may exceed it.
        w1 0.2 DISCONNECT
        -> note w1 gone from echo: Disconnected with 1
        tables
        -> services 2, workers 0, clients 3, waiting 3, running 0, bytes 3
        ",
    );
}

#[test]
fn requests_per_client_max_holds_for_requests_of_one_client_waiting_or_running() {
    check(
        "
        set requests_per_client_max 2
        notes
        w1 0.2 READY echo
        -> note w1 0.2 registered for echo
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        c1/e 0.1 REQUEST other b
        c1 0.2 REQUEST echo c
        -> note dropped of c1 for echo: RequestsPerClientMax
        c2 0.2 REQUEST echo d
        count requests_dropped_requests_per_client_max
        -> requests_dropped_requests_per_client_max 1
        w1 0.2 FINAL #1 A
        -> to c1 0.2 FINAL echo A
        -> to w1 0.2 REQUEST #2 d
        c1 0.2 REQUEST echo e
        tables
        -> services 2, workers 1, clients 2, waiting 2, running 1, bytes 4
        ",
    );
}

#[test]
fn bytes_max_holds_for_bodies_and_envelopes_of_requests_waiting_or_running() {
    check(
        "
        set bytes_max 10
        notes
        w1 0.2 READY echo
        -> note w1 0.2 registered for echo
        c1 0.2 REQUEST echo 1234
        -> to w1 0.2 REQUEST #1 1234
        c1/env 0.1 REQUEST echo 12 3
        tables
        -> services 1, workers 1, clients 1, waiting 1, running 1, bytes 10
        c2 0.2 REQUEST echo 1
        -> note dropped of c2 for echo: BytesMax
        count requests_dropped_bytes_max
        -> requests_dropped_bytes_max 1
        w1 0.2 FINAL #1 a-reply-may-have-any-size
        -> to c1 0.2 FINAL echo a-reply-may-have-any-size
        -> to w1 0.2 REQUEST #2 12 3
        c2 0.2 REQUEST echo 1234
        c2 0.2 REQUEST echo 1
        -> note dropped of c2 for echo: BytesMax
        ",
    );
}

#[test]
fn partial_bytes_max_holds_for_the_kept_parts_of_one_reply() {
    check(
        "
        set partial_bytes_max 6
        notes
        w1 0.2 READY echo
        -> note w1 0.2 registered for echo
        c1 0.1 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        w1 0.2 PARTIAL #1 123
        w1 0.2 PARTIAL #1 456
        tables
        -> services 1, workers 1, clients 1, waiting 0, running 1, bytes 7
        w1 0.2 PARTIAL #1 7
        tables
        -> services 1, workers 1, clients 1, waiting 0, running 1, bytes 1
        w1 0.2 PARTIAL #1 8
        w1 0.2 FINAL #1 9
        -> note dropped #1 of c1 for echo: PartialBytesMax
        count requests_dropped_partial_bytes_max
        -> requests_dropped_partial_bytes_max 1
        // The worker has done nothing wrong, and gets the next request.
        c1 0.1 REQUEST echo b
        -> to w1 0.2 REQUEST #2 b
        w1 0.2 PARTIAL #2 123456
        w1 0.2 FINAL #2 7
        -> to c1 0.1 FINAL echo 123456 7
        tables
        -> services 1, workers 1, clients 0, waiting 0, running 0, bytes 0
        ",
    );
}

#[test]
fn a_first_part_over_partial_bytes_max_is_not_kept_either() {
    check(
        "
        set partial_bytes_max 6
        w1 0.2 READY echo
        c1 0.1 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        w1 0.2 PARTIAL #1 1234567
        tables
        -> services 1, workers 1, clients 1, waiting 0, running 1, bytes 1
        w1 0.2 FINAL #1 9
        count requests_dropped_partial_bytes_max
        -> requests_dropped_partial_bytes_max 1
        ",
    );
}

#[test]
fn partial_bytes_max_does_not_hold_for_parts_that_are_passed_on() {
    check(
        "
        set partial_bytes_max 6
        w1 0.2 READY echo
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        w1 0.2 PARTIAL #1 1234567
        -> to c1 0.2 PARTIAL echo 1234567
        w1 0.2 FINAL #1 9
        -> to c1 0.2 FINAL echo 9
        ",
    );
}

#[test]
fn bytes_max_holds_for_kept_parts_of_replies_too() {
    check(
        "
        set bytes_max 10
        w1 0.2 READY echo
        c1 0.1 REQUEST echo 1234
        -> to w1 0.2 REQUEST #1 1234
        w1 0.2 PARTIAL #1 123456
        notes
        c2 0.2 REQUEST echo 1
        -> note dropped of c2 for echo: BytesMax
        w1 0.2 PARTIAL #1 7
        tables
        -> services 1, workers 1, clients 1, waiting 0, running 1, bytes 4
        w1 0.2 FINAL #1 8
        -> note dropped #1 of c1 for echo: PartialBytesMax
        ",
    );
}

#[test]
fn a_reply_too_large_to_keep_may_yet_come_from_another_worker() {
    check(
        "
        set partial_bytes_max 3
        w1 0.2 READY echo
        c1 0.1 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        w1 0.2 PARTIAL #1 1234
        w1 0.2 DISCONNECT
        w2 0.2 READY echo
        -> to w2 0.2 REQUEST #1 a
        w2 0.2 PARTIAL #1 123
        w2 0.2 FINAL #1 4
        -> to c1 0.1 FINAL echo 123 4
        ",
    );
}

#[test]
fn services_max_holds_for_services_with_a_worker_or_a_request() {
    check(
        "
        set services_max 2
        notes
        w1 0.2 READY echo
        -> note w1 0.2 registered for echo
        c1 0.2 REQUEST waits a
        c1 0.2 REQUEST third b
        -> note dropped of c1 for third: ServicesMax
        w2 0.2 READY third
        -> note w2 refused: ServicesMax
        -> to w2 0.2 DISCONNECT
        count requests_dropped_services_max
        -> requests_dropped_services_max 1
        count workers_refused_services_max
        -> workers_refused_services_max 1
        // A known one has room.
        w3 0.2 READY waits
        -> note w3 0.2 registered for waits
        -> to w3 0.2 REQUEST #1 a
        w1 0.2 DISCONNECT
        -> note w1 gone from echo: Disconnected
        w2 0.2 READY third
        -> note w2 0.2 registered for third
        ",
    );
}

#[test]
fn services_idle_max_holds_for_services_that_only_requests_made_known() {
    check(
        "
        set services_idle_max 1
        notes
        w1 0.2 READY echo
        -> note w1 0.2 registered for echo
        c1 0.2 REQUEST one a
        c1 0.2 REQUEST one b
        c1 0.2 REQUEST two c
        -> note dropped of c1 for two: ServicesIdleMax
        count requests_dropped_services_idle_max
        -> requests_dropped_services_idle_max 1
        // Services with workers have room.
        w2 0.2 READY two
        -> note w2 0.2 registered for two
        c1 0.2 REQUEST two d
        -> to w2 0.2 REQUEST #1 d
        // Services that lost their workers may exceed it, and then count.
        w2 0.2 DISCONNECT
        -> note w2 gone from two: Disconnected with 1
        w3 0.2 READY one
        -> note w3 0.2 registered for one
        -> to w3 0.2 REQUEST #2 a
        c1 0.2 REQUEST three e
        -> note dropped of c1 for three: ServicesIdleMax
        ",
    );
}

#[test]
fn workers_max_holds_for_registered_workers() {
    check(
        "
        set workers_max 2
        notes
        w1 0.2 READY echo
        -> note w1 0.2 registered for echo
        w2 0.2 READY other
        -> note w2 0.2 registered for other
        w3 0.1 READY echo
        -> note w3 refused: WorkersMax
        -> to w3 0.1 DISCONNECT
        count workers_refused_workers_max
        -> workers_refused_workers_max 1
        w1 0.2 DISCONNECT
        -> note w1 gone from echo: Disconnected
        w3 0.1 READY echo
        -> note w3 0.1 registered for echo
        ",
    );
}

#[test]
fn worker_metadata_bytes_max_holds_for_what_a_worker_says_of_itself() {
    // A pair costs three bytes beside its key and value.
    check(
        "
        set worker_metadata_bytes_max 10
        notes
        w1 1.0 READY echo :name=123
        -> note w1 1.0 registered for echo
        -> to w1 1.0 WELCOME 1000ms 3
        w2 1.0 READY echo :name=1234
        -> note w2 refused: Metadata { bytes: 11, bytes_max: 10 }
        -> to w2 1.0 DISCONNECT 413 the metadata of READY has 11 bytes, worker_metadata_bytes_max allows 10
        count workers_refused_metadata
        -> workers_refused_metadata 1
        // They count for bytes_max, and are not among the bytes of requests.
        tables
        -> services 1, workers 1, clients 0, waiting 0, running 0, bytes 0
        ",
    );
}

#[test]
fn bytes_max_holds_for_what_workers_say_of_themselves_too() {
    check(
        "
        set bytes_max 20
        notes
        w1 1.0 READY echo :name=123
        -> note w1 1.0 registered for echo
        -> to w1 1.0 WELCOME 1000ms 3
        c1 0.2 REQUEST other 1
        w2 1.0 READY echo :name=123
        -> note w2 refused: BytesMax
        -> to w2 1.0 DISCONNECT 429 bytes_max
        count workers_refused_bytes_max
        -> workers_refused_bytes_max 1
        c1 0.2 REQUEST other 1234567890
        -> note dropped of c1 for other: BytesMax
        w3 0.2 READY echo
        -> note w3 0.2 registered for echo
        w1 1.0 DISCONNECT
        -> note w1 gone from echo: Disconnected
        w2 1.0 READY echo :name=123
        -> note w2 1.0 registered for echo
        -> to w2 1.0 WELCOME 1000ms 3
        ",
    );
}

#[test]
fn clients_max_holds_for_clients_with_a_request_waiting_or_running() {
    check(
        "
        set clients_max 2
        notes
        w1 0.2 READY echo
        -> note w1 0.2 registered for echo
        c1 0.2 REQUEST echo a
        -> to w1 0.2 REQUEST #1 a
        c2 0.2 REQUEST other b
        c3 0.2 REQUEST echo c
        -> note dropped of c3 for echo: ClientsMax
        // A known one has room, and questions are not counted.
        c2 0.2 REQUEST other d
        c3 0.2 REQUEST mmi.service echo
        -> to c3 0.2 FINAL mmi.service 200
        count requests_dropped_clients_max
        -> requests_dropped_clients_max 1
        w1 0.2 FINAL #1 A
        -> to c1 0.2 FINAL echo A
        c3 0.2 REQUEST echo e
        -> to w1 0.2 REQUEST #2 e
        ",
    );
}

#[test]
fn a_request_that_is_refused_leaves_no_state() {
    check(
        "
        set bytes_max 3
        c1 0.2 REQUEST echo 1234
        tables
        -> services 0, workers 0, clients 0, waiting 0, running 0, bytes 0
        w1 0.2 READY echo
        +60000ms while w1 beats
        count requests_dropped_bytes_max
        -> requests_dropped_bytes_max 1
        count requests_dispatched
        -> requests_dispatched 0
        ",
    );
}
