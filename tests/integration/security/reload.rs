//! Rights that change while the broker runs.

use majordomo_tests::limit::until;
use majordomo_tests::process::Signal;
use majordomo_tests::report::Reports;
use majordomo_tests::spawn::BrokerProcess;
use majordomo_tests::v1::{RawClient, RawWorker};
use majordomo_tests::wire::{self, Version};

use super::zmtp::Zmtp;
use super::{Key, Secured, write_private};

#[test]
fn a_removed_key_is_out_at_once_until_it_is_back() {
    let (alice, bob) = (Key::new("alice"), Key::new("bob"));
    let both = alice.entry("client = [\"*\"]") + &bob.entry("worker = [\"*\"]");
    let broker = Secured::start(&both, &[]);
    let mut reports = Reports::of(broker.open());
    let mut worker = broker.registered(&bob, "echo");
    let mut spare = RawWorker::register(broker.open(), "idle", 1);
    let (mut client, old) = (broker.client(&alice), broker.dealer(&alice));
    let running = client.ask("echo", "running");
    worker.expect_task("running");
    let waiting = client.ask("echo", "waiting");
    client.sync();

    // The client's key goes: its requests end, those that run, too.
    write_private(&broker.rights_file(), &bob.entry("worker = [\"*\"]"));
    broker.broker.signal(Signal::HUP);
    broker.broker.process().log_until("keys=1");
    let mut ended =
        [client.record(), client.record()].map(|record| (record.id(), record.code_and_text(16).0));
    ended.sort();
    let mut expected = [(running, 499), (waiting, 403)];
    expected.sort();
    assert_eq!(ended, expected);
    assert_eq!(worker.record().command, 0x07, "CANCEL");
    // Its connections are closed, and not opened again; what it says meanwhile is refused.
    old.send(&wire::request(Version::V0_2, "idle", ["again"]));
    client.ask("idle", "again");
    reports.until_counted("connections_closed_forbidden", 2);
    broker.broker.process().log_until("connection closed");
    spare.expect_nothing();

    // The worker's key goes: what it has goes back, to another worker.
    let mut caller = RawClient::connect(broker.open());
    let id = caller.ask("echo", "stays");
    // The abandoned request holds the worker's one place.
    let mut other = RawWorker::register(broker.open(), "echo", 1);
    let task = other.expect_task("stays");
    let again = caller.ask("echo", "given back");
    let mut bobs = broker.registered(&bob, "echo");
    bobs.expect_task("given back");
    write_private(&broker.rights_file(), "");
    broker.broker.signal(Signal::HUP);
    let (code, text) = bobs.expect_disconnect();
    assert_eq!((code, text.as_str()), (403, "it may no longer serve this service"));
    assert_eq!(worker.expect_disconnect().0, 403);
    other.reply(&task, "stays");
    caller.expect_reply(id, "stays");
    other.echo("given back");
    caller.expect_reply(again, "given back");
    let report = reports.until_counted("workers_forbidden", 2);
    assert_eq!(report.workers.len(), 2);

    // A key that comes back is let in again.
    write_private(&broker.rights_file(), &both);
    broker.broker.signal(Signal::HUP);
    broker.broker.process().log_until("keys=2");
    let mut client = broker.client(&alice);
    let id = client.ask("idle", "back");
    spare.echo("back");
    client.expect_reply(id, "back");
}

/// It reads nothing and says nothing, and has no libzmq to end its connection.
#[test]
fn a_silent_connection_of_a_removed_password_is_closed() {
    let rights = "[[peer]]\nname = \"dan\"\npassword = \"s3cret\"\nclient = [\"*\"]\n";
    let broker = Secured::start(rights, &[]);
    let mut reports = Reports::of(broker.open());
    let mut silent = Zmtp::plain(broker.plain(), ("dan", "s3cret"), &[]);
    silent.sync();
    write_private(&broker.rights_file(), "");
    broker.broker.signal(Signal::HUP);
    silent.expect_end();
    reports.until_counted("connections_closed_forbidden", 1);
}

#[test]
fn without_a_rights_file_a_hangup_is_a_line_of_log() {
    let mut broker = BrokerProcess::start();
    let mut worker = RawWorker::register(broker.endpoint(), "echo", 1);
    for times in 1..=3 {
        broker.signal(Signal::HUP);
        until("each is logged", || {
            (broker.log().matches("nothing is read again").count() == times).then_some(())
        });
    }
    let mut client = RawClient::connect(broker.endpoint());
    let id = client.ask("echo", "hello");
    worker.echo("hello");
    client.expect_reply(id, "hello");
    broker.signal(Signal::TERM);
    assert_eq!(broker.exit_code(), 0);
}

#[test]
fn a_change_of_the_file_is_found_without_a_signal() {
    let alice = Key::new("alice");
    let broker = Secured::start("", &[]);
    let mut worker = RawWorker::register(broker.open(), "echo", 1);
    write_private(&broker.rights_file(), &alice.entry("client = [\"echo\"]"));
    broker.broker.process().log_until("rights read");
    let mut client = broker.client(&alice);
    let id = client.ask("echo", "hello");
    worker.echo("hello");
    client.expect_reply(id, "hello");
}

#[test]
fn a_faulty_file_leaves_the_old_rights_in_force_and_says_why() {
    let alice = Key::new("alice");
    let broker = Secured::start(&alice.entry("client = [\"echo\"]"), &[]);
    let mut worker = RawWorker::register(broker.open(), "echo", 1);
    let mut client = broker.client(&alice);
    for (text, fault) in [
        ("[[peer]]\nname = 7\n", "line 2: invalid type: integer `7`, expected a string"),
        (
            "[[peer]]\nname = \"x\"\npassword = \"s3cret\"\nrights = []\n",
            "line 4: unknown field `rights`",
        ),
    ] {
        write_private(&broker.rights_file(), text);
        broker.broker.signal(Signal::HUP);
        let log = broker.broker.process().log_until(fault);
        assert!(log.contains("rights not read, the old ones hold"), "{log}");
        assert!(!log.contains("s3cret"), "{log}");
    }
    std::fs::remove_file(broker.rights_file()).expect("removed");
    broker.broker.signal(Signal::HUP);
    broker.broker.process().log_until("rights.toml: cannot be read");
    let id = client.ask("echo", "still");
    worker.echo("still");
    client.expect_reply(id, "still");
    // New connections, too.
    let mut client = broker.client(&alice);
    let id = client.ask("echo", "new");
    worker.echo("new");
    client.expect_reply(id, "new");
}

#[test]
fn a_right_that_is_taken_away_ends_what_it_allowed_and_no_more() {
    let alice = Key::new("alice");
    let broker =
        Secured::start(&alice.entry("client = [\"a\", \"b\"]\nworker = [\"c\", \"d\"]"), &[]);
    let mut workers = ["a", "b"].map(|name| RawWorker::register(broker.open(), name, 1));
    let (mut c, mut d) = (broker.registered(&alice, "c"), broker.registered(&alice, "d"));
    let mut client = broker.client(&alice);
    let ids = ["a", "b"].map(|service| client.ask(service, service));
    let tasks = workers.each_mut().map(|worker| worker.task());
    write_private(&broker.rights_file(), &alice.entry("client = [\"b\"]\nworker = [\"d\"]"));
    broker.broker.signal(Signal::HUP);
    client.expect_error(ids[0], 499);
    assert_eq!(c.expect_disconnect().0, 403);
    workers[1].reply(&tasks[1], "b");
    client.expect_reply(ids[1], "b");
    d.expect_nothing();
}
