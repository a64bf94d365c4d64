//! Which of several endpoints is tried next.

use majordomo_client::dialog::{Dialog, Settings};

use crate::table::{Table, settings, table};

#[test]
fn a_failed_try_moves_on_to_the_next_endpoint_and_pauses_only_before_one_that_failed() {
    let mut table = table(&["a", "b"]);
    assert_eq!(table.start().actions(), ["connect a"]);
    assert_eq!(table.wait().actions(), ["discard", "try 1/3: no connection", "connect b"]);
    assert_eq!(table.wait().actions(), ["discard", "try 2/3: no connection"]);
    assert_eq!(table.wait().actions(), ["connect a"]);
    let last = table.wait().actions().pop();
    assert_eq!(
        last.as_deref(),
        Some("fail: no broker reached at inproc://a, inproc://b (tries: 3)")
    );
}

#[test]
fn the_endpoint_that_worked_last_is_tried_first() {
    let mut table = table(&["a", "b", "c"]);
    table.start().wait().sent().last("there").actions();
    assert!(table.start().actions().is_empty(), "the socket to b is kept");
    assert_eq!(table.sent().wait().actions()[2], "connect c");
    table.wait();
    assert_eq!(table.actions()[2], "connect a");
    table.sent().wait().actions();
    assert_eq!(table.start().actions(), ["connect b"], "no other has worked since");
}

#[test]
fn each_endpoint_is_tried_unless_the_number_of_tries_is_given() {
    let endpoints = ["a", "b", "c", "d", "e"];
    let mut table = table(&endpoints);
    table.start();
    for _ in endpoints {
        table.wait();
    }
    assert!(table.actions().last().is_some_and(|last| last.ends_with("inproc://e (tries: 5)")));

    let settings = Settings { tries: Some(2), ..settings(&endpoints) };
    let mut table = Table::new(settings, 1);
    table.start().wait().wait();
    let last = table.actions().pop();
    assert_eq!(
        last.as_deref(),
        Some("fail: no broker reached at inproc://a, inproc://b (tries: 2)")
    );
}

#[test]
fn the_error_tells_of_the_last_try_that_reached_a_broker() {
    let mut table = table(&["a", "b"]);
    table.start().sent().wait().wait().wait().wait();
    let last = table.actions().pop();
    assert_eq!(
        last.as_deref(),
        Some("fail: no reply from service echo in 10s (tries: 3, the last at inproc://a)")
    );
    assert!(table.error.is_some_and(|error| error.may_have_run()));
}

#[test]
fn without_an_endpoint_the_brokers_default_is_used() {
    let dialog = Dialog::new(Settings::default(), 1).expect("possible settings");
    assert_eq!(dialog.settings().endpoints, ["tcp://127.0.0.1:5555"]);
}
