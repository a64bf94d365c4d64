//! Brokers that do not let the client in.

use majordomo_client::shared::{Event, Request};
use majordomo_client::{CallError, HandshakeFailure};

use crate::table::{SECOND, Table, request};

fn unauthorized(error: &CallError, endpoint: &str, reason: HandshakeFailure) -> bool {
    matches!(error, CallError::Unauthorized { endpoint: found, reason: why, .. }
        if found == endpoint && *why == reason)
}

#[test]
fn a_broker_that_refuses_the_key_ends_its_calls_at_once() {
    let mut table = Table::new(1);
    table.submit(1, request("echo"));
    table.event(0, Event::Reached);
    table.event(0, Event::Unauthorized(HandshakeFailure::Rejected));
    let error = table.error_of_call();
    assert!(unauthorized(&error, "inproc://0", HandshakeFailure::Rejected), "{error}");
    assert!(!error.may_have_run());
    assert_eq!(table.left.len(), 1);
    // A later call tries it again.
    table.submit(2, request("echo"));
    table.pass(SECOND / 2);
    assert_eq!(table.connects, [0, 0]);
    table.event(0, Event::Connected);
    let id = table.asked(0);
    table.last(0, id, "let in");
    assert_eq!(table.result().expect("a reply"), "let in");
    table.assert_empty();
}

#[test]
fn another_broker_is_asked_when_one_refuses_the_key() {
    let mut table = Table::new(2);
    table.submit(1, request("echo"));
    table.event(0, Event::Unauthorized(HandshakeFailure::Mechanism));
    assert_eq!(table.connects, [0, 1]);
    table.event(1, Event::Unauthorized(HandshakeFailure::Rejected));
    let error = table.error_of_call();
    assert!(unauthorized(&error, "inproc://1", HandshakeFailure::Rejected), "{error}");
    table.assert_empty();
}

#[test]
fn a_handshake_that_did_not_succeed_in_time_is_told_instead_of_no_broker() {
    for (event, reason) in [
        (Event::Unauthorized(HandshakeFailure::Closed), HandshakeFailure::Closed),
        (Event::Reached, HandshakeFailure::Unfinished),
    ] {
        let mut table = Table::new(1);
        table.submit(1, request("echo"));
        for _ in 0..3 {
            table.event(0, event.clone());
            table.pass(2 * SECOND);
        }
        let error = table.error_of_call();
        assert!(unauthorized(&error, "inproc://0", reason), "{error}");
        table.assert_empty();
    }
    // Nobody is there any more.
    let mut table = Table::new(1);
    table.submit(1, request("echo"));
    table.event(0, Event::Unauthorized(HandshakeFailure::Closed));
    for _ in 0..100 {
        table.event(0, Event::Refused);
        table.pass(SECOND / 10);
    }
    let error = table.error_of_call();
    assert!(matches!(error, CallError::Disconnected { .. }), "{error}");
}

#[test]
fn what_wants_no_reply_does_not_wait_for_a_broker_that_refuses_the_key() {
    let mut table = Table::new(1);
    table.submit(1, Request { no_reply: true, ..request("echo") });
    table.event(0, Event::Unauthorized(HandshakeFailure::Closed));
    table.pass(5 * SECOND);
    assert!(table.done.is_empty());
    table.event(0, Event::Unauthorized(HandshakeFailure::Rejected));
    let error = table.error_of_call();
    assert!(unauthorized(&error, "inproc://0", HandshakeFailure::Rejected), "{error}");
    table.assert_empty();
}
