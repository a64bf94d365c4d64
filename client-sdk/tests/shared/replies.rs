//! What brokers answer: replies, parts, errors; and what is an answer to nobody.

use majordomo_client::CallError;
use majordomo_client::shared::Event;
use majordomo_protocol::{RequestId, code};

use crate::table::{SECOND, TIMEOUT, Table, request};

#[test]
fn answers_find_their_calls_by_id_in_any_order() {
    let mut table = Table::new(1);
    for key in 0..3 {
        table.submit(key, request("echo"));
    }
    assert_eq!(table.connects, [0], "one connection for all");
    table.event(0, Event::Connected);
    let ids: Vec<_> = (0..3).map(|_| table.asked(0)).collect();
    for number in [2, 0, 1] {
        table.last(0, ids[number], &number.to_string());
    }
    let replies: Vec<_> =
        table.done.drain(..).map(|(key, result)| (key, result.expect("a reply"))).collect();
    assert_eq!(replies, [(2, "2".into()), (0, "0".into()), (1, "1".into())]);
    table.assert_empty();
}

#[test]
fn an_answer_twice_or_to_nobody_is_counted_and_dropped() {
    let (mut table, id) = Table::connected(1);
    table.last(0, id, "one");
    table.last(0, id, "two");
    table.part(0, id, "three");
    table.error(0, id, code::FAILED);
    table.last(0, RequestId::new([7; 16]), "of another client");
    assert_eq!(table.result().expect("a reply"), "one");
    assert_eq!(table.dialog.counts().dropped, 4);
    table.assert_empty();
}

#[test]
fn parts_come_before_the_last_and_each_gives_it_more_time() {
    let (mut table, id) = Table::connected(1);
    for part in ["a", "b", "c"] {
        table.pass_alive(0, TIMEOUT - SECOND);
        table.part(0, id, part);
    }
    table.last(0, id, "d");
    assert_eq!(table.parts, [(1, "a".into()), (1, "b".into()), (1, "c".into())]);
    assert_eq!(table.result().expect("a reply"), "d");
}

#[test]
fn a_reply_in_parts_counts_though_an_earlier_try_was_refused_late() {
    let (mut table, id) = Table::connected(1);
    table.pass_alive(0, TIMEOUT);
    assert_eq!(table.asked(0), id, "a second try");
    // To the first; the second has begun to run.
    table.error(0, id, code::BUSY);
    table.part(0, id, "a");
    table.pass_alive(0, TIMEOUT - SECOND);
    assert_eq!(table.dialog.counts().retries, 1);
    table.last(0, id, "b");
    assert_eq!(table.parts, [(1, "a".into())]);
    assert_eq!(table.result().expect("a reply"), "b");
    table.assert_empty();
}

#[test]
fn a_reply_of_which_a_part_was_dropped_is_none() {
    let (mut table, id) = Table::connected(2);
    table.error(0, id, code::STOPPING);
    table.event(1, Event::Connected);
    assert_eq!(table.asked(1), id);
    // It runs there all the same, while the call is at another broker.
    table.part(0, id, "a");
    table.last(0, id, "b");
    assert!(table.done.is_empty() && table.parts.is_empty());
    assert_eq!(table.dialog.counts().dropped, 2);
    table.last(1, id, "whole");
    assert_eq!(table.result().expect("a reply"), "whole");
}

#[test]
fn after_a_part_there_is_no_other_try() {
    let (mut table, id) = Table::connected(2);
    table.part(0, id, "a");
    table.pass_alive(0, TIMEOUT);
    let error = table.error_of_call();
    assert!(matches!(error, CallError::Deadline { tries: 1, .. }) && error.may_have_run());
    let (mut table, id) = Table::connected(2);
    table.part(0, id, "a");
    table.event(0, Event::Lost);
    let error = table.error_of_call();
    assert!(matches!(error, CallError::Disconnected { .. }) && error.may_have_run());
    table.assert_empty();
}

#[test]
fn every_code_has_its_error_and_says_whether_it_may_have_run() {
    type Fits = fn(&CallError) -> bool;
    let codes: [(u16, bool, Fits); 9] = [
        (code::FORBIDDEN, false, |error| matches!(error, CallError::Refused { .. })),
        (code::NOT_STARTED, false, |error| matches!(error, CallError::NotStarted { .. })),
        (code::TOO_LARGE, false, |error| matches!(error, CallError::TooLarge { .. })),
        (code::CANCELLED, true, |error| matches!(error, CallError::Cancelled { .. })),
        (code::WORKER_LOST, true, |error| matches!(error, CallError::WorkerLost { .. })),
        (code::TIMED_OUT, true, |error| matches!(error, CallError::Deadline { .. })),
        (code::MALFORMED, true, |error| matches!(error, CallError::Remote { code: 400, .. })),
        (code::FAILED, true, |error| {
            matches!(error, CallError::Remote { code: 500, text, details, .. }
                if text == "why" && details.to_bytes() == b"more")
        }),
        (1_234, true, |error| matches!(error, CallError::Remote { code: 1_234, .. })),
    ];
    for (code, may_have_run, fits) in codes {
        let (mut table, id) = Table::connected(1);
        table.error(0, id, code);
        let error = table.error_of_call();
        assert!(fits(&error), "{code}: {error:?}");
        assert_eq!(error.may_have_run(), may_have_run, "{code}");
        assert!(table.told[0].is_empty(), "nothing is cancelled that has ended");
        table.assert_empty();
    }
}

#[test]
fn what_a_broker_says_is_counted() {
    let (mut table, id) = Table::connected(1);
    assert_eq!(table.dialog.counts().heard, 0);
    table.heartbeat(0);
    table.last(0, id, "reply");
    assert_eq!(table.dialog.counts().heard, 2);
}
