//! Which broker is connected to, when, and when it is left.

use std::time::Duration;

use majordomo_client::CallError;
use majordomo_client::shared::{Event, Request};
use majordomo_protocol::code;

use crate::table::{SECOND, Table, Told, request};

#[test]
fn a_silent_broker_is_left_and_its_calls_move_under_the_same_ids() {
    let mut table = Table::new(2);
    for key in 0..1_000 {
        table.submit(key, request("echo"));
    }
    table.event(0, Event::Connected);
    let ids: Vec<_> = (0..1_000).map(|_| table.asked(0)).collect();
    table.pass(4 * SECOND);
    assert_eq!(table.left, [(0, "silent")]);
    assert_eq!(table.connects, [0, 1]);
    table.event(1, Event::Connected);
    let moved: Vec<_> = (0..1_000).map(|_| table.asked(1)).collect();
    assert_eq!(ids, moved);
    for id in moved {
        table.last(1, id, "moved");
    }
    assert!(table.done.drain(..).all(|(_, result)| result.is_ok()));
    table.submit(1_000, request("echo"));
    table.asked(1);
}

#[test]
fn heartbeats_go_out_only_while_something_is_outstanding() {
    let (mut table, id) = Table::connected(1);
    table.pass(SECOND);
    assert_eq!(table.told[0], [Told::Heartbeat]);
    table.heartbeat(0);
    table.pass(SECOND);
    assert_eq!(table.told[0], [Told::Heartbeat, Told::Heartbeat]);
    table.last(0, id, "reply");
    table.told[0].clear();
    table.pass(60 * SECOND);
    assert!(table.told[0].is_empty());
    assert_eq!(table.left, []);
}

#[test]
fn a_broker_is_not_silent_because_the_process_was_stopped() {
    let (mut table, id) = Table::connected(2);
    table.now += 8 * SECOND;
    table.dialog.handle_timeout(table.now);
    table.act();
    assert_eq!(table.left, []);
    table.last(0, id, "reply");
    assert!(table.result().is_ok());
}

#[test]
fn a_stopping_broker_is_left_at_once_by_that_call_and_by_new_ones() {
    let (mut table, id) = Table::connected(2);
    table.submit(2, request("echo"));
    let staying = table.asked(0);
    table.error(0, id, code::STOPPING);
    assert_eq!(table.connects, [0, 1]);
    table.event(1, Event::Connected);
    assert_eq!(table.asked(1), id);
    table.submit(3, request("echo"));
    table.asked(1);
    table.last(0, staying, "what runs there ends there");
    assert!(table.result().is_ok());
}

#[test]
fn a_broker_that_says_nonsense_is_left() {
    let (mut table, id) = Table::connected(2);
    table.event(0, Event::Message(vec![b"MDPC02".to_vec(), vec![3], b"echo".to_vec()]));
    assert_eq!(table.left, [(0, "violates the protocol")]);
    table.event(1, Event::Connected);
    assert_eq!(table.asked(1), id);
}

#[test]
fn a_refusing_broker_is_passed_over_at_once_and_one_that_is_all_there_is_gets_time() {
    let mut table = Table::new(2);
    table.submit(1, request("echo"));
    table.event(0, Event::Refused);
    assert_eq!(table.connects, [0, 1]);

    let mut table = Table::new(1);
    table.submit(1, request("echo"));
    table.event(0, Event::Refused);
    table.pass(SECOND / 10);
    assert_eq!(table.connects.len(), 2);
    assert!(table.done.is_empty());
    for _ in 0..200 {
        table.event(0, Event::Refused);
        table.pass(SECOND / 10);
    }
    let error = table.error_of_call();
    assert!(matches!(error, CallError::Disconnected { tries: 3, .. }), "{error:?}");
    assert!(!error.may_have_run());
    table.assert_empty();
}

#[test]
fn a_connection_that_was_of_use_and_breaks_is_replaced_at_once() {
    let (mut table, id) = Table::connected(1);
    table.heartbeat(0);
    let before = table.now;
    for _ in 0..2 {
        table.event(0, Event::Lost);
        table.event(0, Event::Connected);
        assert_eq!(table.asked(0), id, "under the same id");
        table.heartbeat(0);
    }
    assert_eq!((table.now, table.connects.len()), (before, 3), "no time has passed");
    table.event(0, Event::Lost);
    let error = table.error_of_call();
    assert!(matches!(error, CallError::Disconnected { tries: 3, may_have_run: true, .. }));
    table.assert_empty();

    // One that breaks before anything was heard is no sign of life.
    let (mut table, _) = Table::connected(1);
    table.event(0, Event::Lost);
    assert_eq!(table.connects, [0], "a pause");
    table.pass(SECOND);
    assert_eq!(table.connects, [0, 0]);

    // Where the broker is, the request is joined; where it is gone, another is asked.
    let (mut table, id) = Table::connected(2);
    table.heartbeat(0);
    table.event(0, Event::Lost);
    assert_eq!(table.connects, [0, 0]);
    table.event(0, Event::Refused);
    assert_eq!(table.connects, [0, 0, 1]);
    table.event(1, Event::Connected);
    assert_eq!(table.asked(1), id);
}

#[test]
fn a_call_whose_try_ends_while_its_broker_connects_goes_on_waiting_for_the_connection() {
    let mut table = Table::new(1);
    table.submit(1, Request { timeout: SECOND / 40, tries: 100, ..request("echo") });
    table.event(0, Event::Refused);
    table.pass(SECOND / 4);
    table.event(0, Event::Connected);
    table.asked(0);
}

#[test]
fn a_broker_that_nobody_waits_for_after_its_pause_is_neither_connected_to_nor_left() {
    let (mut table, _) = Table::connected(1);
    // It is shunned for a while, and the next call waits for that to end.
    table.event(0, Event::Lost);
    table.submit(2, request("echo"));
    for key in [1, 2] {
        table.dialog.cancel(key);
        table.act();
    }
    table.done.clear();
    table.assert_empty();
    assert_eq!((table.connects.as_slice(), table.left.as_slice()), (&[0][..], &[(0, "lost")][..]));
    assert_eq!(table.dialog.counts().left, 1);

    // The same after a refusal of the only broker there is.
    let mut table = Table::new(1);
    table.submit(1, request("echo"));
    table.event(0, Event::Refused);
    table.dialog.cancel(1);
    table.act();
    table.assert_empty();
    assert_eq!((table.connects.as_slice(), table.left.len()), (&[0][..], 0));

    // An attempt that is under way has its time, and its failure counts.
    let mut table = Table::new(1);
    table.submit(1, request("echo"));
    table.dialog.cancel(1);
    table.act();
    table.assert_empty();
    assert_eq!(table.left, [(0, "unreachable")]);
}

#[test]
fn a_broker_that_refuses_is_asked_again_soon_and_then_seldom() {
    let mut table = Table::new(1);
    table.submit(1, Request { tries: 1_000, ..request("echo") });
    let mut pauses = Vec::new();
    for _ in 0..40 {
        let (before, connects) = (table.now, table.connects.len());
        table.event(0, Event::Refused);
        while table.connects.len() == connects {
            table.now = table.dialog.poll_timeout().expect("something to wait for");
            table.dialog.handle_timeout(table.now);
            table.act();
        }
        pauses.push(table.now - before);
    }
    assert!(pauses[0] <= SECOND / 100, "{pauses:?}");
    assert!(pauses[0] + pauses[1] + pauses[2] <= SECOND * 7 / 100, "{pauses:?}");
    // Where a try ends in between, the next begins within its own pause.
    let late = &pauses[10..];
    assert!(late.iter().sum::<Duration>() >= late.len() as u32 * SECOND / 10, "{pauses:?}");
    table.event(0, Event::Connected);
    table.asked(0);
}
