//! How often, where and for how long a call is tried, and how it ends then.

use std::time::Duration;

use majordomo_client::CallError;
use majordomo_client::shared::{Event, Request};
use majordomo_protocol::code;

use crate::table::{SECOND, TIMEOUT, Table, Told, request};

#[test]
fn a_slow_reply_is_asked_for_again_under_the_same_id_at_the_same_broker() {
    let (mut table, id) = Table::connected(2);
    table.pass_alive(0, TIMEOUT);
    let (again, terms) = table.terms(0);
    assert_eq!(again, id);
    assert_eq!(terms.timeout, Some(2 * TIMEOUT), "what is left of the deadline");
    table.pass_alive(0, TIMEOUT - SECOND);
    table.last(0, id, "late");
    assert_eq!(table.result().expect("a reply"), "late");
    assert_eq!(table.dialog.counts().retries, 1);
    assert_eq!(table.left, []);
}

#[test]
fn after_the_last_try_the_call_ends_and_the_broker_is_told() {
    let (mut table, id) = Table::connected(1);
    table.pass_alive(0, 3 * TIMEOUT);
    let error = table.error_of_call();
    assert!(matches!(error, CallError::Deadline { tries: 3, may_have_run: true, .. }), "{error}");
    assert_eq!(table.told[0].back(), Some(&Told::Cancel(id)));
    table.last(0, id, "too late");
    assert_eq!(table.dialog.counts().dropped, 1);
    table.assert_empty();
}

#[test]
fn the_deadline_ends_a_call_whatever_tries_are_left() {
    let mut table = Table::new(1);
    table.submit(1, Request { deadline: 4 * SECOND, tries: 1_000, ..request("echo") });
    table.event(0, Event::Connected);
    let (_, terms) = table.terms(0);
    assert_eq!(terms.timeout, Some(4 * SECOND));
    table.pass_alive(0, 4 * SECOND);
    assert!(matches!(table.error_of_call(), CallError::Deadline { tries: 1, .. }));
    table.assert_empty();
}

#[test]
fn a_call_whose_time_passed_before_any_broker_was_there_says_so() {
    let mut table = Table::new(1);
    // Shorter than a connection may take.
    let short = Duration::from_millis(50);
    table.submit(1, Request { timeout: short, deadline: short, tries: 1, ..request("echo") });
    table.pass(short);
    let (_, result) = &table.done[0];
    let Err(error) = result else { panic!("{result:?}") };
    assert!(matches!(error, CallError::Disconnected { .. }), "{error}");
    assert!(!error.may_have_run());
}

#[test]
fn a_call_whose_time_passes_in_a_pause_ends_with_what_its_last_try_failed_of() {
    // Refused by the only broker there is, time and again.
    let mut table = Table::new(1);
    let short = Request { timeout: SECOND, deadline: SECOND * 21 / 20, ..request("echo") };
    table.submit(1, short.clone());
    table.event(0, Event::Refused);
    table.pass(2 * SECOND);
    let error = table.error_of_call();
    assert!(matches!(error, CallError::Disconnected { .. }), "{error}");
    assert!(!error.may_have_run());
    table.assert_empty();

    let mut table = Table::new(1);
    table.submit(1, Request { deadline: SECOND / 20, ..short });
    table.event(0, Event::Connected);
    let id = table.asked(0);
    table.error(0, id, code::BUSY);
    table.pass(SECOND);
    let error = table.error_of_call();
    assert!(matches!(error, CallError::Busy { .. }), "{error}");
    assert!(!error.may_have_run());
    table.assert_empty();
}

#[test]
fn start_within_ends_what_was_never_sent() {
    let mut table = Table::new(1);
    table.submit(1, Request { start_within: Some(SECOND / 2), ..request("echo") });
    table.pass(SECOND / 2);
    assert!(matches!(table.error_of_call(), CallError::NotStarted { may_have_run: false, .. }));
    table.assert_empty();
}

#[test]
fn busy_is_tried_elsewhere_then_after_pauses_that_grow_then_given_up() {
    let (mut table, id) = Table::connected(2);
    table.error(0, id, code::BUSY);
    table.event(1, Event::Connected);
    assert_eq!(table.asked(1), id);
    table.error(1, id, code::BUSY);
    assert!(table.told[0].is_empty(), "a pause");
    table.pass(SECOND);
    assert_eq!(table.asked(0), id);
    table.error(0, id, code::BUSY);
    let error = table.error_of_call();
    assert!(matches!(&error, CallError::Busy { text, .. } if text == "why"), "{error}");
    assert!(!error.may_have_run());
    table.assert_empty();
}

#[test]
fn without_worker_the_other_brokers_are_asked_first_if_it_is_to_fail_fast() {
    let fail_fast = Request { fail_fast: true, tries: 10, ..request("echo") };
    let mut table = Table::new(2);
    table.submit(1, fail_fast.clone());
    table.event(0, Event::Connected);
    let (id, terms) = table.terms(0);
    assert!(terms.fail_fast);
    table.error(0, id, code::NO_WORKER);
    table.event(1, Event::Connected);
    assert_eq!(table.asked(1), id);
    table.error(1, id, code::NO_WORKER);
    let error = table.error_of_call();
    assert!(matches!(error, CallError::NoWorker { .. }) && !error.may_have_run());

    let (mut table, id) = Table::connected(2);
    table.error(0, id, code::NO_WORKER);
    assert!(matches!(table.error_of_call(), CallError::NoWorker { .. }), "it has waited");
    table.assert_empty();
}

#[test]
fn what_did_not_run_at_the_second_broker_may_have_run_at_the_first() {
    let (mut table, id) = Table::connected(2);
    table.event(0, Event::Lost);
    table.event(1, Event::Connected);
    assert_eq!(table.asked(1), id);
    table.error(1, id, code::NO_WORKER);
    let error = table.error_of_call();
    assert!(matches!(error, CallError::NoWorker { .. }) && error.may_have_run());
}

#[test]
fn once_is_not_sent_to_a_second_broker_when_it_may_have_run() {
    let mut table = Table::new(2);
    table.submit(1, Request { once: true, ..request("echo") });
    table.event(0, Event::Connected);
    assert!(table.terms(0).1.once);
    table.event(0, Event::Lost);
    let error = table.error_of_call();
    assert!(matches!(error, CallError::Disconnected { .. }) && error.may_have_run());
    table.assert_empty();
}

#[test]
fn once_ends_with_a_single_broker_too_when_it_is_cut_or_a_later_copy_is_refused() {
    let once = || Request { once: true, ..request("echo") };
    let mut table = Table::new(1);
    table.submit(1, once());
    table.event(0, Event::Connected);
    table.heartbeat(0);
    table.event(0, Event::Lost);
    assert!(matches!(table.error_of_call(), CallError::Disconnected { may_have_run: true, .. }));

    for code in [code::BUSY, code::STOPPING] {
        let mut table = Table::new(1);
        table.submit(1, once());
        table.event(0, Event::Connected);
        let id = table.asked(0);
        table.error(0, id, code);
        assert!(table.done.is_empty(), "the first copy did not run");
        table.pass(SECOND);
        assert_eq!(table.asked(0), id);
        table.pass_alive(0, TIMEOUT);
        assert_eq!(table.asked(0), id, "no reply in time");
        table.error(0, id, code);
        assert!(table.error_of_call().may_have_run());
    }
}

#[test]
fn equal_histories_give_equal_actions() {
    let run = || {
        let mut table = Table::new(3);
        for key in 0..50 {
            table.submit(key, request("echo"));
        }
        for _ in 0..100 {
            table.event(table.connects.last().copied().unwrap_or(0), Event::Refused);
            table.pass(SECOND / 20);
        }
        (table.connects, table.left, format!("{:?}", table.done))
    };
    assert_eq!(run(), run());
}
