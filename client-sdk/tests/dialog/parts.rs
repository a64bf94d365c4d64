//! Replies in parts: joined, and as a stream.

use majordomo_client::Error;
use majordomo_client::dialog::Event;

use crate::table::{TIMEOUT, table};

#[test]
fn parts_are_joined_before_the_final() {
    let mut table = table(&["a"]);
    table.start().sent().actions();
    table.message(&[b"MDPC02", &[2], b"echo", b"one", b"two"]);
    table.message(&[b"MDPC02", &[2], b"echo", b"three"]);
    assert!(table.actions().is_empty());
    let reply = table.message(&[b"MDPC02", &[3], b"echo", b"", b"five"]).actions();
    assert_eq!(reply, ["final one|two|three||five"]);
}

#[test]
fn parts_of_a_failed_try_are_forgotten() {
    let mut table = table(&["a"]);
    table.start().sent().partial("old").wait().sent().partial("new").last("end");
    assert_eq!(table.actions().last().map(String::as_str), Some("final new|end"));
}

#[test]
fn each_part_gives_the_next_one_the_whole_timeout() {
    let mut table = table(&["a"]);
    table.start().sent().after(TIMEOUT / 2).partial("one");
    assert_eq!(table.due(), Some(TIMEOUT));
}

#[test]
fn a_stream_hands_out_each_part_and_ends_with_the_final() {
    let mut table = table(&["a"]);
    table.stream().sent().actions();
    assert_eq!(table.partial("one").actions(), ["partial one"]);
    assert_eq!(table.partial("two").actions(), ["partial two"]);
    assert_eq!(table.last("three").actions(), ["final three"]);
    assert_eq!(table.due(), None);
    assert!(table.open, "the socket is kept");
}

#[test]
fn a_stream_is_retried_only_until_a_part_was_handed_out() {
    let mut table = table(&["a"]);
    table.stream().sent().wait().sent();
    assert_eq!(table.actions().last().map(String::as_str), Some("connect a"));
    table.partial("one").wait();
    let actions = table.actions();
    let last = actions.last().map(String::as_str);
    assert_eq!(last, Some("fail: reply of service echo from inproc://a stopped after 1 parts"));
    assert!(!table.open);
    assert!(table.error.is_some_and(|error| error.may_have_run()));
}

#[test]
fn a_stream_that_loses_its_connection_or_turns_to_junk_half_way_ends() {
    let mut table = table(&["a"]);
    table.stream().sent().partial("one").event(Event::Lost).actions();
    assert!(matches!(table.error, Some(Error::Interrupted { parts: 1, .. })));
    table.stream().sent().partial("one").message(&[b"junk"]).actions();
    assert!(matches!(table.error, Some(Error::Violation { .. })));
    assert!(!table.open);
}

#[test]
fn a_slow_reader_of_a_stream_does_not_make_a_silent_service() {
    let mut table = table(&["a"]);
    table.stream().sent().partial("one").after(10 * TIMEOUT);
    table.dialog.resume(table.now);
    assert_eq!(table.due(), Some(TIMEOUT));
    assert_eq!(table.timeout().last("two").actions().last().map(String::as_str), Some("final two"));
}

#[test]
fn asking_for_the_first_part_gives_no_more_time() {
    let mut table = table(&["a"]);
    table.stream().sent().after(TIMEOUT / 2);
    table.dialog.resume(table.now);
    assert_eq!(table.due(), Some(TIMEOUT / 2));
}
