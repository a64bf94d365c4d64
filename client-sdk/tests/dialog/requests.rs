//! The way of a request from start to reply, and the socket that is kept for the next.

use majordomo_client::Version;
use majordomo_client::dialog::{Event, Settings, Want};

use crate::table::{CONNECT, Table, frames, settings, table};

#[test]
fn a_request_is_sent_once_the_socket_takes_it_and_its_reply_ends_it() {
    let mut table = table(&["a"]);
    assert_eq!(table.dialog.want(), Want::Nothing);
    assert_eq!(table.due(), None);
    assert_eq!(table.start().actions(), ["connect a"]);
    let request = frames(&[b"MDPC02", &[1], b"echo", b"hello"]);
    assert_eq!(table.dialog.want(), Want::Send(&request));
    assert_eq!(table.sent().dialog.want(), Want::Receive);
    assert_eq!(table.last("there").actions(), ["final there"]);
    assert_eq!(table.dialog.want(), Want::Nothing);
    assert_eq!(table.due(), None);
}

#[test]
fn a_request_of_mdp_0_1_begins_with_an_empty_frame() {
    let settings = Settings { version: Version::V0_1, ..settings(&["a"]) };
    let mut table = Table::new(settings, 1);
    table.start().actions();
    let request = frames(&[b"", b"MDPC01", b"echo", b"hello"]);
    assert_eq!(table.dialog.want(), Want::Send(&request));
    let reply = table.sent().message(&[b"", b"MDPC01", b"echo", b"there", b"you"]).actions();
    assert_eq!(reply, ["final there|you"]);
}

#[test]
fn after_a_success_the_socket_is_kept_for_the_next_request() {
    let mut table = table(&["a"]);
    table.start().sent().last("one").actions();
    assert_eq!(table.start().sent().last("two").actions(), ["final two"]);
}

#[test]
fn a_kept_socket_with_something_late_to_say_is_replaced_within_the_try() {
    let mut table = table(&["a"]);
    table.start().sent().last("one").actions();
    assert_eq!(table.start().last("late").actions(), ["discard", "connect a"]);
    assert_eq!(table.due(), Some(CONNECT));
    assert_eq!(table.sent().last("two").actions(), ["final two"]);
}

#[test]
fn a_kept_socket_that_lost_its_connection_is_replaced_within_the_try() {
    let mut table = table(&["a"]);
    table.start().sent().last("one").actions();
    assert_eq!(table.start().event(Event::Lost).actions(), ["discard", "connect a"]);
    assert_eq!(table.sent().last("two").actions(), ["final two"]);
}

#[test]
fn an_abandoned_request_discards_its_socket() {
    let mut table = table(&["a"]);
    table.stream().sent().partial("one").actions();
    table.dialog.abandon();
    assert_eq!(table.actions(), ["discard"]);
    assert_eq!(table.due(), None);
    table.dialog.abandon();
    assert!(table.actions().is_empty());
    assert_eq!(table.start().actions(), ["connect a"]);
}

#[test]
fn a_start_abandons_the_request_under_way() {
    let mut table = table(&["a"]);
    table.start().sent().actions();
    assert_eq!(table.start().actions(), ["discard", "connect a"]);
}
