//! Messages that are no reply to the request.

use majordomo_client::dialog::Settings;
use majordomo_client::{Error, Violation};

use crate::table::{Table, name, settings, table};

#[test]
fn a_message_that_is_no_reply_fails_the_try_and_on_the_last_one_the_request() {
    let mut table = table(&["a"]);
    table.start().sent().actions();
    let actions = table.message(&[b"MDPC02", &[9], b"echo", b"x"]).actions();
    assert_eq!(actions.len(), 2, "{actions:?}");
    assert_eq!(actions[0], "discard");
    assert!(actions[1].starts_with("try 1/3: the message is no reply: frame 1"), "{actions:?}");
    table.wait().sent().message(&[]).wait().sent().message(&[b"junk"]).actions();
    let error = table.error.expect("an error");
    assert!(error.may_have_run());
    let Error::Violation { endpoint, source: Violation::Undecodable(cause) } = error else {
        panic!("{error}")
    };
    assert_eq!(endpoint, "inproc://a");
    assert_eq!(cause.frame, 0);
}

#[test]
fn a_violation_is_made_good_by_the_next_try() {
    let mut table = table(&["a", "b"]);
    table.start().sent().message(&[b"junk"]).sent();
    assert_eq!(table.last("there").actions().last().map(String::as_str), Some("final there"));
}

#[test]
fn a_reply_of_another_service_is_a_violation() {
    let mut table = Table::new(Settings { tries: Some(1), ..settings(&["a"]) }, 1);
    table.start().sent().message(&[b"MDPC02", &[3], b"upcase", b"HELLO"]).actions();
    let Some(Error::Violation { source: Violation::OtherService { asked, found }, .. }) =
        table.error
    else {
        panic!("{:?}", table.error)
    };
    assert_eq!((asked, found), (name("echo"), name("upcase")));
}

#[test]
fn a_message_before_the_request_is_a_violation_on_a_new_socket() {
    let mut table = Table::new(Settings { tries: Some(1), ..settings(&["a"]) }, 1);
    table.start().last("early").actions();
    let error = table.error.expect("an error");
    assert!(matches!(error, Error::Violation { source: Violation::Unasked, .. }), "{error}");
}
