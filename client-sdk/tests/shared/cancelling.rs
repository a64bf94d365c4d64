//! Calls that nobody waits for any more, and the end of all of them.

use majordomo_client::CallError;
use majordomo_client::shared::{Event, Request};
use majordomo_protocol::code;

use crate::table::{SECOND, Table, Told, request};

#[test]
fn every_broker_that_may_be_at_a_cancelled_call_is_told() {
    let (mut table, id) = Table::connected(2);
    table.event(0, Event::Lost);
    table.event(1, Event::Connected);
    assert_eq!(table.asked(1), id);
    // Another call brings the connection to the first back.
    table.submit(2, request("echo"));
    let other = table.asked(1);
    table.error(1, other, code::STOPPING);
    table.pass(SECOND);
    table.event(0, Event::Connected);
    assert_eq!(table.asked(0), other);
    table.dialog.cancel(1);
    table.act();
    assert!(matches!(table.error_of_call(), CallError::Cancelled { may_have_run: true, .. }));
    assert_eq!(table.told[0], [Told::Cancel(id)]);
    assert_eq!(table.told[1].back(), Some(&Told::Cancel(id)));
}

#[test]
fn a_broker_whose_answer_ends_a_call_is_not_told_to_cancel_it_and_the_other_is() {
    let (mut table, id) = Table::connected(2);
    table.event(0, Event::Lost);
    table.event(1, Event::Connected);
    assert_eq!(table.asked(1), id);
    table.submit(2, request("echo"));
    let other = table.asked(1);
    table.error(1, other, code::STOPPING);
    table.pass(SECOND);
    table.event(0, Event::Connected);
    assert_eq!(table.asked(0), other);
    table.last(0, id, "late, but first");
    assert_eq!(table.result().expect("a reply"), "late, but first");
    assert_eq!(table.told[0], []);
    assert_eq!(table.told[1].back(), Some(&Told::Cancel(id)));
}

#[test]
fn a_cancelled_call_is_gone_and_the_broker_is_told() {
    let (mut table, id) = Table::connected(1);
    table.dialog.cancel(1);
    table.act();
    let error = table.error_of_call();
    assert!(matches!(error, CallError::Cancelled { may_have_run: true, .. }));
    assert_eq!(table.told[0], [Told::Cancel(id)]);
    table.dialog.cancel(1);
    table.act();
    assert!(table.done.is_empty());
    table.assert_empty();

    let mut table = Table::new(1);
    table.submit(1, request("echo"));
    table.dialog.cancel(1);
    table.act();
    assert!(matches!(table.error_of_call(), CallError::Cancelled { may_have_run: false, .. }));
    table.event(0, Event::Connected);
    assert!(table.told[0].is_empty());
    table.assert_empty();
}

#[test]
fn a_hundred_thousand_cancelled_calls_leave_no_entry() {
    let mut table = Table::new(1);
    for key in 0..100_000 {
        table.submit(key, request("echo"));
        if key == 50_000 {
            table.event(0, Event::Connected);
        }
    }
    for key in 0..100_000 {
        table.dialog.cancel(key);
    }
    table.act();
    assert_eq!(table.done.len(), 100_000);
    // The broker's own timer is all there is.
    assert_eq!(table.dialog.entries(), 1);
    table.assert_empty();
}

#[test]
fn closing_ends_calls_but_still_sends_what_wants_no_reply() {
    let mut table = Table::new(1);
    table.submit(1, request("echo"));
    table.submit(2, Request { no_reply: true, ..request("log") });
    table.dialog.close();
    table.act();
    assert!(matches!(table.error_of_call(), CallError::Closed { may_have_run: false }));
    table.event(0, Event::Connected);
    assert!(table.terms(0).1.no_reply);
    assert!(table.result().is_ok());
    table.submit(3, request("echo"));
    assert!(matches!(table.error_of_call(), CallError::Closed { .. }));
}
