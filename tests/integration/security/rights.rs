//! Who may do what: by the key of the connection, never by what a frame says.

use majordomo_tests::raw::RawPeer;
use majordomo_tests::report::Reports;
use majordomo_tests::v1::{RawClient, RawWorker};
use majordomo_tests::wire::{self, Version, v1};

use super::{Key, Secured};

const VERSIONS: [Version; 2] = [Version::V0_1, Version::V0_2];

#[test]
fn a_client_calls_what_it_may_and_nothing_else() {
    let alice = Key::new("alice");
    let broker = Secured::start(&alice.entry("client = [\"echo\", \"print.*\"]"), &[]);
    let mut reports = Reports::of(broker.open());
    let mut workers =
        ["echo", "print.page", "secret"].map(|name| RawWorker::register(broker.open(), name, 9));
    let mut client = broker.client(&alice);
    let refused = client.ask("secret", "1");
    let text = client.expect_error(refused, 403);
    assert_eq!(text, "this client may not call this service");
    for (worker, service) in workers.iter_mut().zip(["echo", "print.page"]) {
        let id = client.ask(service, "2");
        worker.echo("2");
        client.expect_reply(id, "2");
    }
    // MDP/0.1 and MDP/0.2 have no error: the request is dropped.
    let mut old = broker.dealer(&alice);
    for version in VERSIONS {
        old.send(&wire::request(version, "secret", ["3"]));
    }
    old.expect_nothing();
    workers[2].expect_nothing();
    reports.until_counted("requests_dropped_forbidden", 3);
    let log = broker.broker.process().log_until("not allowed");
    assert!(log.contains("who=alice act=call service=secret"), "{log}");
}

#[test]
fn a_worker_serves_what_it_may_and_nothing_else() {
    let bob = Key::new("bob");
    let broker = Secured::start(&bob.entry("worker = [\"echo\"]"), &[]);
    let mut reports = Reports::of(broker.open());
    let mut worker = broker.worker(&bob, "secret");
    assert_eq!(worker.expect_disconnect(), (403, "it may not serve this service".to_owned()));
    for version in VERSIONS {
        let mut old = broker.dealer(&bob);
        old.send(&wire::ready(version, "secret"));
        old.expect(&wire::disconnect(version));
    }
    let report = reports.until_counted("workers_refused_forbidden", 3);
    assert!(report.workers.is_empty() && report.services.is_empty());
    broker.broker.process().log_until("who=bob act=serve service=secret");
    // It may not call, either, what it serves.
    let _worker = broker.registered(&bob, "echo");
    let mut client = broker.client(&bob);
    let id = client.ask("echo", "x");
    client.expect_error(id, 403);
}

#[test]
fn only_operators_see_the_state_and_only_callers_see_a_service() {
    let (alice, olga) = (Key::new("alice"), Key::new("olga"));
    let rights = alice.entry("client = [\"echo\"]") + &olga.entry("operator = true");
    let broker = Secured::start(&rights, &[]);
    let _workers = ["echo", "secret"].map(|name| RawWorker::register(broker.open(), name, 1));
    let mut client = broker.client(&alice);
    let id = client.ask("mmi.broker", "");
    let text = client.expect_error(id, 403);
    assert_eq!(text, "only an operator may ask for the state of the broker");
    for (service, code) in [("echo", "200"), ("secret", "404"), ("nothing", "404")] {
        let id = client.ask("mmi.service", service);
        client.expect_reply(id, code);
    }
    let mut operator = broker.client(&olga);
    for (service, code) in [("echo", "200"), ("secret", "200"), ("nothing", "404")] {
        let id = operator.ask("mmi.service", service);
        operator.expect_reply(id, code);
    }
    let id = operator.ask("mmi.broker", "");
    let report = operator.record();
    assert_eq!((report.command, report.id()), (0x05, id), "{report:?}");
    // In the older versions nothing comes, and what exists is not said either.
    let mut old = broker.dealer(&alice);
    for version in VERSIONS {
        old.send(&wire::request(version, "mmi.broker", [""]));
        old.call(version, "mmi.service", "secret", "404");
        old.call(version, "mmi.service", "echo", "200");
    }
    old.expect_nothing();
    Reports::of(broker.open()).until_counted("mmi_requests_forbidden", 3);
}

#[test]
fn nobody_joins_repeats_or_cancels_what_another_asked() {
    let (alice, eve) = (Key::new("alice"), Key::new("eve"));
    let rights = alice.entry("client = [\"*\"]") + &eve.entry("client = [\"*\"]");
    let broker = Secured::start(&rights, &[]);
    let mut worker = RawWorker::register(broker.open(), "echo", 2);
    let (mut client, mut spy) = (broker.client(&alice), broker.client(&eve));
    let id = client.ask("echo", "for alice");
    let task = worker.expect_task("for alice");

    // The same id from another key is another request.
    spy.send([&v1::cancel(id), &v1::request(id, "echo").body(["for eve"])]);
    worker.echo("for eve");
    spy.expect_reply(id, "for eve");
    worker.reply(&task, "alice's answer");
    client.expect_reply(id, "alice's answer");
    // And so is a repetition: each gets its own answer, and nothing runs again.
    spy.send([&v1::request(id, "echo").body(["for eve"])]);
    spy.expect_reply(id, "for eve");
    client.send([&v1::request(id, "echo").body(["for alice"])]);
    client.expect_reply(id, "alice's answer");
    worker.expect_nothing();
}

#[test]
fn an_authenticated_peer_does_not_choose_the_name_of_its_connection() {
    let (alice, eve) = (Key::new("alice"), Key::new("eve"));
    let rights = alice.entry("client = [\"*\"]") + &eve.entry("client = [\"*\"]");
    let broker = Secured::start(&rights, &[]);
    let mut reports = Reports::of(broker.open());
    let mut worker = RawWorker::register(broker.open(), "echo", 1);
    // Whoever comes with the name of a connection that has ended gets what was for it.
    let named = broker.dealer_with(&eve, |socket| socket.set_identity(b"alice").expect("a name"));
    named.send(&wire::request(Version::V0_2, "echo", ["x"]));
    reports.until_counted("messages_routing_id", 1);
    worker.expect_nothing();
    broker.broker.process().log_until("a routing id of its own on a secured endpoint");
    // On an open endpoint it is as it always was.
    let mut open = RawPeer::dealer_with(broker.open(), |socket| {
        socket.set_identity(b"somebody").expect("a name");
    });
    open.send(&wire::request(Version::V0_2, "echo", ["y"]));
    worker.echo("y");
    open.expect(&wire::reply(Version::V0_2, "echo", ["y"]));
}

/// The id of a connection is not for whoever asks for it, when it has ended.
#[test]
fn the_id_of_a_worker_that_left_gives_no_rights() {
    let (bob, eve) = (Key::new("bob"), Key::new("eve"));
    let rights = bob.entry("worker = [\"echo\"]") + &eve.entry("client = [\"*\"]");
    let broker = Secured::start(&rights, &[]);
    let mut bobs = broker.registered(&bob, "echo");
    let id = Reports::of(broker.open()).until_workers(1).workers[0].id.clone();
    let [a, b, c, d] = u32::from_str_radix(&id, 16).expect("0 and a number").to_be_bytes();
    let mut client = RawClient::connect(broker.open());
    client.ask("echo", "hello");
    let task = bobs.expect_task("hello").id;
    drop(bobs);
    let mut eves = RawWorker::of(broker.dealer_with(&eve, |socket| {
        socket.set_identity(&[0, a, b, c, d]).expect("an id");
    }));
    eves.send([&v1::worker_reply(task, ["forged"])]);
    // She is somebody else, and no worker.
    eves.expect_disconnect();
    client.expect_nothing();
}
