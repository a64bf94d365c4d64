//! Requests that want no reply.

use majordomo_client::CallError;
use majordomo_client::shared::{Event, Request};

use crate::table::{SECOND, Table, Told, request};

#[test]
fn what_wants_no_reply_ends_when_it_is_sent_and_makes_sure_that_somebody_was_there() {
    let mut table = Table::new(2);
    table.submit(1, Request { no_reply: true, ..request("log") });
    assert!(table.done.is_empty());
    table.event(0, Event::Connected);
    assert!(table.terms(0).1.no_reply);
    assert!(table.result().is_ok());
    table.pass(SECOND);
    assert_eq!(table.told[0], [Told::Heartbeat]);
    table.heartbeat(0);
    table.told[0].clear();
    table.assert_empty();
    assert!(table.told[0].is_empty());
}

#[test]
fn what_wants_no_reply_waits_for_a_connection_until_its_deadline() {
    for brokers in [1, 3] {
        let mut table = Table::new(brokers);
        table.submit(1, Request { no_reply: true, ..request("log") });
        let refuse = |table: &mut Table, times| {
            for _ in 0..times {
                for broker in 0..brokers {
                    table.event(broker, Event::Refused);
                }
                table.pass(SECOND / 10);
            }
        };
        refuse(&mut table, 290);
        assert!(table.done.is_empty(), "{:?}", table.done);
        assert_eq!(table.dialog.counts().retries, 0);
        let mut late = Table::new(brokers);
        late.submit(1, Request { no_reply: true, ..request("log") });
        assert_eq!(late.dialog.counts().unsent, 0);
        refuse(&mut late, 301);
        assert!(matches!(late.error_of_call(), CallError::Disconnected { .. }));
        assert_eq!(late.dialog.counts().unsent, 1);

        // One of them is being connected to; for the others this is nothing.
        (0..brokers).for_each(|broker| table.event(broker, Event::Connected));
        assert_eq!(table.told.iter().flatten().count(), 1);
        assert!(table.result().is_ok());
    }
}
