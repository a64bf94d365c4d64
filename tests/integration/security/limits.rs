//! What limits there are for each key, whatever its connections; and that others are
//! served beside one that has reached them.

use std::time::Duration;

use majordomo_tests::limit::{Deadline, until};
use majordomo_tests::report::Reports;
use majordomo_tests::v1::{RawWorker, Task};
use majordomo_tests::wire;

use super::{Key, Secured};

const HALF_A_SECOND: Duration = Duration::from_millis(500);

#[test]
fn requests_per_identity_max() {
    let (alice, eve) = (Key::new("alice"), Key::new("eve"));
    let rights = alice.entry("client = [\"*\"]") + &eve.entry("client = [\"*\"]");
    let broker = Secured::start(&rights, &["--requests-per-identity-max=3"]);
    let mut reports = Reports::of(broker.open());
    let mut many = [(); 2].map(|()| broker.client(&eve));
    for client in &mut many {
        client.ask("echo", "eve");
        client.ask("echo", "eve");
        client.sync();
    }
    let refused = many[1].record();
    assert_eq!(refused.code_and_text(16), (429, "too many requests of this key".to_owned()));
    reports.until_counted("requests_dropped_requests_per_identity_max", 1);
    let mut client = broker.client(&alice);
    let id = client.ask("echo", "alice");
    client.sync();
    let mut worker = RawWorker::register(broker.open(), "echo", 1);
    let bodies: Vec<_> = (0..4)
        .map(|_| {
            let task = worker.task();
            worker.reply(&task, "done");
            task.body.concat()
        })
        .collect();
    assert_eq!(bodies.iter().filter(|body| body.as_slice() == b"eve").count(), 3);
    client.expect_reply(id, "done");
    // Its requests have ended: it may ask again.
    let id = many[1].ask("echo", "eve");
    worker.echo("eve");
    while many[1].record().id::<16>() != id {}
}

#[test]
fn peers_per_identity_max() {
    let (alice, eve) = (Key::new("alice"), Key::new("eve"));
    let both = "client = [\"*\"]\nworker = [\"*\"]";
    let rights = alice.entry(both) + &eve.entry(both);
    let broker = Secured::start(&rights, &["--peers-per-identity-max=2"]);
    let mut reports = Reports::of(broker.open());
    let _worker = broker.registered(&eve, "a");
    let first = broker.client(&eve);
    first.ask("nobody", "1");
    first.ask("nobody", "2");
    reports.until_counted("requests_received", 2);
    let mut second = broker.client(&eve);
    let id = second.ask("nobody", "3");
    assert_eq!(second.expect_error(id, 429), "too many connections of this key");
    assert_eq!(
        broker.worker(&eve, "b").expect_disconnect(),
        (429, "peers_per_identity_max".to_owned())
    );
    let report = reports.until_counted("workers_refused_peers_per_identity_max", 1);
    assert_eq!(report.counters.get("requests_dropped_peers_per_identity_max"), Some(&1));
    let _worker = broker.registered(&alice, "b");
}

#[test]
fn connections_per_identity_max() {
    let (alice, eve) = (Key::new("alice"), Key::new("eve"));
    let rights = alice.entry("client = [\"*\"]") + &eve.entry("client = [\"*\"]");
    let broker = Secured::start(&rights, &["--connections-per-identity-max=3"]);
    let mut reports = Reports::of(broker.open());
    let mut worker = RawWorker::register(broker.open(), "echo", 1);
    let mut client = broker.client(&alice);
    // They say nothing, and do not come back when they are closed.
    let mut silent = [(); 5].map(|()| {
        Some(broker.dealer_with(&eve, |socket| socket.set_reconnect_ivl(-1).expect("never")))
    });
    let counter = "connections_closed_connections_per_identity_max";
    let report = reports.until_counted(counter, 2);
    assert_eq!(report.counters.get(counter), Some(&2));
    let log = broker.broker.process().log_until("connection closed");
    assert!(log.contains("who=eve reason=connections_per_identity_max"), "{log}");
    for _ in 0..10 {
        let id = client.ask("echo", "alice");
        worker.echo("alice");
        client.expect_reply(id, "alice");
    }
    // Where some have gone there is room again.
    silent.iter_mut().for_each(|peer| *peer = None);
    let mut again = broker.client(&eve);
    until("a new one is let in", || {
        // While it is closed again and again, what it asked may be lost.
        again.ask("echo", "eve");
        let task = Task::read(worker.record_before(Deadline::after(HALF_A_SECOND))?)?;
        worker.reply(&task, "eve");
        again.record_before(Deadline::after(HALF_A_SECOND))
    });
}

#[test]
fn invalid_max() {
    let (alice, eve) = (Key::new("alice"), Key::new("eve"));
    let rights = alice.entry("client = [\"*\"]") + &eve.entry("client = [\"*\"]\nworker = [\"*\"]");
    let broker = Secured::start(&rights, &["--invalid-max=10", "--invalid-recovery-ms=300"]);
    let mut reports = Reports::of(broker.open());
    let mut worker = RawWorker::register(broker.open(), "echo", 1);
    let mut eves = broker.registered(&eve, "eve");
    let garbage = broker.dealer(&eve);
    for _ in 0..20 {
        garbage.send(&wire::frames(["no", "command"]));
    }
    reports.until_counted("identities_cut_off", 1);
    assert_eq!(eves.expect_disconnect().0, 400);
    let other = broker.client(&eve);
    // Another connection of the same key is not heard, either.
    other.ask("echo", "not heard");
    reports.until("what it asked was not read", |report| {
        report.counters.get("messages_cut_off").is_some_and(|count| *count >= 10)
    });
    broker.broker.process().log_until("cut off for invalid messages");
    let mut client = broker.client(&alice);
    for _ in 0..10 {
        let id = client.ask("echo", "alice");
        worker.echo("alice");
        client.expect_reply(id, "alice");
    }
    // Half of it is forgiven after 1.5 s, and it is heard again.
    until("it is heard again", || {
        other.ask("nobody", "heard?");
        let report = reports.fresh();
        report.services.iter().any(|service| service.name == "nobody").then_some(())
    });
}
