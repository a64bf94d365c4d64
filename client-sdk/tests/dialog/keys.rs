//! Brokers that do not let the client in.

use majordomo_client::dialog::{Action, Event};
use majordomo_client::{Error, HandshakeFailure};

use crate::table::{CONNECT, table};

#[test]
fn a_broker_that_refuses_the_key_ends_the_request_and_says_so() {
    let mut table = table(&["a"]);
    table.start();
    let refused = Event::<Vec<u8>>::Handshake(HandshakeFailure::Rejected);
    table.dialog.handle(refused, table.now);
    let actions: Vec<_> = std::iter::from_fn(|| table.dialog.poll_action()).collect();
    let Some(Action::Fail(error)) = actions.last() else { panic!("{actions:?}") };
    let reason = HandshakeFailure::Rejected;
    assert!(
        matches!(error, Error::Unauthorized { endpoint, reason: found }
            if endpoint == "inproc://a" && *found == reason),
        "{error}"
    );
    assert!(!error.may_have_run());
    assert_eq!(table.due(), None);
}

#[test]
fn another_broker_is_asked_when_one_refuses_the_key() {
    let mut table = table(&["a", "b"]);
    table.start();
    let refused = |reason| Event::<Vec<u8>>::Handshake(reason);
    table.dialog.handle(refused(HandshakeFailure::Mechanism), table.now);
    let actions: Vec<_> = std::iter::from_fn(|| table.dialog.poll_action()).collect();
    let Some(Action::Connect { endpoint }) = actions.last() else { panic!("{actions:?}") };
    assert_eq!(endpoint, "inproc://b");
    // Not let in there either: it is not tried a third time.
    table.dialog.handle(refused(HandshakeFailure::Rejected), table.now);
    let last = std::iter::from_fn(|| table.dialog.poll_action()).last();
    assert!(
        matches!(&last, Some(Action::Fail(Error::Unauthorized { endpoint, .. }))
            if endpoint == "inproc://b"),
        "{last:?}"
    );
}

#[test]
fn a_handshake_that_ends_without_a_word_is_tried_until_the_last_try_and_told() {
    let mut table = table(&["a"]);
    table.start();
    for number in 1..=3 {
        let closed = Event::<Vec<u8>>::Handshake(HandshakeFailure::Closed);
        table.dialog.handle(closed, table.now);
        assert_eq!(table.due(), Some(CONNECT), "try {number}");
        table.after(CONNECT).timeout();
        let pause = table.due().unwrap_or_default();
        table.after(pause).timeout();
    }
    let last = std::iter::from_fn(|| table.dialog.poll_action()).last();
    let reason = HandshakeFailure::Closed;
    assert!(
        matches!(&last, Some(Action::Fail(Error::Unauthorized { reason: found, .. }))
            if *found == reason),
        "{last:?}"
    );
}
