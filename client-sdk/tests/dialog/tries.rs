//! How often and for how long a request is tried, and the pauses between.

use std::time::Duration;

use majordomo_client::Error;
use majordomo_client::dialog::{Event, Settings, Want};

use crate::table::{CONNECT, TIMEOUT, Table, frames, settings, table};

#[test]
fn after_a_timeout_the_request_goes_out_again_at_once_on_a_new_socket() {
    let mut table = table(&["a"]);
    table.start().sent().actions();
    assert_eq!(table.wait().actions(), ["discard", "try 1/3: no reply in time", "connect a"]);
    let request = frames(&[b"MDPC02", &[1], b"echo", b"hello"]);
    assert_eq!(table.dialog.want(), Want::Send(&request));
    assert_eq!(table.sent().last("there").actions(), ["final there"]);
}

#[test]
fn after_the_last_try_the_error_says_how_often_how_long_whom_and_where() {
    let mut table = table(&["a"]);
    table.start().sent().wait().sent().wait().sent().wait();
    assert_eq!(
        table.actions().last().map(String::as_str),
        Some("fail: no reply from service echo in 10s (tries: 3, the last at inproc://a)")
    );
    assert!(table.error.as_ref().is_some_and(Error::may_have_run));
    assert!(!table.open, "the socket is discarded after giving up");
    assert_eq!(table.due(), None);
    assert_eq!(table.start().actions(), ["connect a"]);
}

#[test]
fn nothing_happens_before_its_time() {
    let mut table = table(&["a"]);
    table.start().sent().actions();
    assert!(table.after(TIMEOUT - Duration::from_nanos(1)).timeout().actions().is_empty());
    assert!(!table.after(Duration::from_nanos(1)).timeout().actions().is_empty());
}

#[test]
fn a_try_lasts_no_longer_than_the_timeout_connecting_included() {
    let mut table = table(&["a"]);
    assert_eq!(table.start().due(), Some(CONNECT));
    let slow = Duration::from_millis(900);
    assert_eq!(table.after(slow).sent().due(), Some(TIMEOUT - slow));
}

#[test]
fn the_wait_for_a_connection_is_no_longer_than_the_timeout() {
    let short = Duration::from_millis(300);
    let mut table = Table::new(Settings { timeout: short, ..settings(&["a"]) }, 1);
    assert_eq!(table.start().due(), Some(short));
}

#[test]
fn an_endpoint_without_a_connection_is_unreachable_and_the_request_has_not_run() {
    let mut table = table(&["a"]);
    table.start().actions();
    assert_eq!(table.wait().actions(), ["discard", "try 1/3: no connection"]);
    assert_eq!(table.dialog.want(), Want::Nothing);
    assert_eq!(table.wait().actions(), ["connect a"]);
    table.wait().wait().wait();
    let actions = table.actions();
    let last = actions.last().map(String::as_str);
    assert_eq!(last, Some("fail: no broker reached at inproc://a (tries: 3)"));
    assert!(table.error.is_some_and(|error| !error.may_have_run()));
}

#[test]
fn pauses_grow_to_a_second_and_are_jittered_down_to_half() {
    let mut all = Vec::new();
    for seed in 0..20 {
        let settings = Settings { tries: Some(8), ..settings(&["a"]) };
        let mut table = Table::new(settings, seed);
        table.start();
        let mut pauses = Vec::new();
        for whole in [100, 200, 400, 800, 1_000, 1_000, 1_000] {
            let pause = table.wait().due().expect("a pause");
            let whole = Duration::from_millis(whole);
            assert!(pause >= whole / 2 && pause <= whole, "{pause:?} of {whole:?}");
            pauses.push(pause);
            table.wait();
        }
        all.push(pauses);
    }
    all.dedup();
    assert_eq!(all.len(), 20, "pauses differ from client to client");
}

#[test]
fn equal_seeds_give_equal_pauses() {
    let pause = |seed| Table::new(settings(&["a"]), seed).start().wait().due();
    assert_eq!(pause(7), pause(7));
}

#[test]
fn a_connection_that_breaks_fails_the_try_before_its_time() {
    let mut table = table(&["a"]);
    table.start().sent().actions();
    assert_eq!(table.event(Event::Lost).actions(), ["discard", "try 1/3: connection lost"]);
    assert!(table.due().is_some_and(|pause| pause <= Duration::from_millis(100)));
    table.wait().sent().event(Event::Lost).wait().sent().event(Event::Lost);
    let last = table.actions().pop();
    assert_eq!(
        last.as_deref(),
        Some("fail: connection to inproc://a lost while waiting for service echo (tries: 3)")
    );
    assert!(table.error.is_some_and(|error| error.may_have_run()));
}
