//! A request of any version is served by a worker of any version, with the losses that
//! MDP/1.0 states.

use crate::script::check;

#[test]
fn a_client_of_each_version_is_served_by_a_worker_of_each() {
    for client in ["0.1", "0.2", "1.0"] {
        for worker in ["0.1", "0.2", "1.0"] {
            let id = if client == "1.0" { "r1 " } else { "" };
            let about = if client == "1.0" { "r1" } else { "echo" };
            let welcome = if worker == "1.0" { "-> to w1 1.0 WELCOME 1000ms 3\n" } else { "" };
            let parts = if worker == "0.1" {
                String::new()
            } else {
                let shown = if client == "0.1" {
                    String::new()
                } else {
                    format!("-> to c1 {client} PARTIAL {about} A\n")
                };
                format!("w1 {worker} PARTIAL #1 A\n{shown}")
            };
            let kept = if client == "0.1" && worker != "0.1" { "A " } else { "" };
            check(&format!(
                "w1 {worker} READY echo
                {welcome}c1 {client} REQUEST {id}echo a b
                -> to w1 {worker} REQUEST #1 a b
                {parts}w1 {worker} FINAL #1 B C
                -> to c1 {client} FINAL {about} {kept}B C
                tables
                -> services 1, workers 1, clients 0, waiting 0, running 0, bytes 0"
            ));
        }
    }
}

#[test]
fn metadata_travels_untouched_in_order_and_twice_if_it_stands_twice() {
    check(
        "
        w1 1.0 READY echo
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo :trace=7 :b=2 :trace=8 :empty= a
        -> to w1 1.0 REQUEST #1 :trace=7 :b=2 :trace=8 :empty= a
        // The second worker gets it too.
        w1 1.0 DISCONNECT
        w2 1.0 READY echo
        -> to w2 1.0 WELCOME 1000ms 3
        -> to w2 1.0 REQUEST #1 :attempt=2 :trace=7 :b=2 :trace=8 :empty= a
        ",
    );
}

#[test]
fn metadata_counts_among_the_bytes_held() {
    check(
        "
        set bytes_max 20
        // Key and value, one byte for the length of the one and two for the other's.
        c1 1.0 REQUEST r1 echo :trace=1234 body
        tables
        -> services 1, workers 0, clients 1, waiting 1, running 0, bytes 16
        c1 1.0 REQUEST r2 echo :a=b c
        -> to c1 1.0 ERROR r2 429 the broker's memory for requests is full
        c1 1.0 REQUEST r3 echo 1234
        tables
        -> services 1, workers 0, clients 1, waiting 2, running 0, bytes 20
        ",
    );
}

#[test]
fn the_error_of_a_worker_reaches_a_client_of_1_0_with_its_details() {
    check(
        "
        w1 1.0 READY echo
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 echo a
        -> to w1 1.0 REQUEST #1 a
        w1 1.0 ERROR #1 500 no luck | line 7
        -> to c1 1.0 ERROR r1 500 no luck | line 7
        c1 1.0 REQUEST r2 echo b
        -> to w1 1.0 REQUEST #2 b
        w1 1.0 ERROR #2 4711 my own
        -> to c1 1.0 ERROR r2 4711 my own
        count requests_answered
        -> requests_answered 2
        tables
        -> services 1, workers 1, clients 0, waiting 0, running 0, bytes 0
        ",
    );
}

#[test]
fn the_error_of_a_worker_is_silence_for_older_clients_unless_they_are_to_be_told() {
    let script = |error_replies, to_c1, to_c2| {
        check(&format!(
            "
            set error_replies {error_replies}
            w1 1.0 READY echo
            -> to w1 1.0 WELCOME 1000ms 3
            c1/e 0.1 REQUEST echo a
            -> to w1 1.0 REQUEST #1 a
            w1 1.0 PARTIAL #1 A
            w1 1.0 ERROR #1 500 no luck | details
            {to_c1}
            c2 0.2 REQUEST echo b
            -> to w1 1.0 REQUEST #2 b
            w1 1.0 PARTIAL #2 B
            -> to c2 0.2 PARTIAL echo B
            w1 1.0 ERROR #2 500 no luck
            {to_c2}
            tables
            -> services 1, workers 1, clients 0, waiting 0, running 0, bytes 0
            "
        ));
    };
    script(false, "", "");
    script(true, "-> to c1/e 0.1 FINAL echo 500 no luck", "-> to c2 0.2 FINAL echo 500 no luck");
}

#[test]
fn what_the_broker_drops_is_told_to_older_clients_only_if_they_are_to_be_told() {
    check(
        "
        set error_replies true
        set request_expiry 100ms
        set requests_per_service_max 1
        c1/e 0.1 REQUEST echo a
        c2 0.2 REQUEST echo b
        -> to c2 0.2 FINAL echo 429 the service's queue is full
        +100ms
        -> to c1/e 0.1 FINAL echo 404 no worker was free in time @100ms
        ",
    );
}

#[test]
fn an_older_worker_learns_neither_terms_nor_metadata_and_they_hold_all_the_same() {
    check(
        "
        w1 0.2 READY echo
        c1 1.0 REQUEST r1 echo :timeout=300ms :trace=7 a
        -> to w1 0.2 REQUEST #1 a
        +300ms
        -> to c1 1.0 ERROR r1 504 the time given passed while it ran @300ms
        ",
    );
}

#[test]
fn a_client_of_1_0_is_answered_a_question_by_its_id() {
    check(
        "
        w1 1.0 READY echo
        -> to w1 1.0 WELCOME 1000ms 3
        c1 1.0 REQUEST r1 mmi.service echo
        -> to c1 1.0 FINAL r1 200
        c1 1.0 REQUEST r2 mmi.other echo
        -> to c1 1.0 FINAL r2 501
        ",
    );
}

#[test]
fn the_heartbeat_of_a_client_is_answered_at_once_and_leaves_no_state() {
    check(
        "
        c1 1.0 HEARTBEAT as client
        -> to c1 1.0 HEARTBEAT
        c1 1.0 HEARTBEAT as client
        -> to c1 1.0 HEARTBEAT
        tables
        -> services 0, workers 0, clients 0, waiting 0, running 0, bytes 0
        stop
        -> stopped
        c1 1.0 HEARTBEAT as client
        -> to c1 1.0 HEARTBEAT
        ",
    );
}
