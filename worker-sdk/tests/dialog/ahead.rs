//! Requests that come ahead of a reply, in MDP/0.1 and MDP/0.2.

use majordomo_protocol::Version;
use majordomo_protocol::worker::FromBroker;
use majordomo_worker::dialog::{Action, CloseReason, Event, Registration};

use crate::world::*;

/// The one that runs and those behind it, at most.
const UNANSWERED_MAX: usize = 64;

/// One runs, these wait.
fn with_ahead(names: &[&str]) -> World {
    let mut world = World::busy();
    for name in names {
        assert_eq!(world.request(name), []);
    }
    world
}

fn give_back(requests: usize) -> Action {
    Action::GiveBack { requests }
}

#[test]
fn they_are_begun_in_order_each_by_the_answer_before() {
    for version in [Version::V0_1, Version::V0_2] {
        let mut world = World::of(Registration::new(service(), version), 1);
        assert_eq!(world.timeout(), [Action::Open, ready()]);
        assert_eq!(world.request("c1"), [run("c1")]);
        for name in ["c2", "c3", "c4"] {
            assert_eq!(world.request(name), []);
        }
        assert_eq!(world.dialog.requests(), 1, "only one has a place");
        assert_eq!(world.handle(done("c1")), [final_("c1", "done"), run("c2")]);
        assert_eq!(world.handle(part("c2", "p")), [partial("c2", "p")]);
        assert_eq!(world.handle(done("c2")), [final_("c2", "done"), run("c3")]);
        assert_eq!(world.request("c5"), []);
        assert_eq!(world.handle(done("c3")), [final_("c3", "done"), run("c4")]);
        assert_eq!(world.handle(done("c4")), [final_("c4", "done"), run("c5")]);
        assert_eq!(world.handle(done("c5")), [final_("c5", "done")]);
        assert_eq!(world.dialog.requests(), 0);
        assert_eq!(world.request("c6"), [run("c6")]);
    }
}

#[test]
fn one_that_waits_has_no_answer_yet() {
    let mut world = with_ahead(&["c2"]);
    assert_eq!(world.handle(part("c2", "p")), []);
    assert_eq!(world.handle(done("c2")), []);
    assert_eq!(world.handle(done("c1")), [final_("c1", "done"), run("c2")]);
}

#[test]
fn two_of_one_client_may_have_the_same_address() {
    let mut world = with_ahead(&["c1", "c1"]);
    for _ in 0..2 {
        assert_eq!(world.handle(done("c1")), [final_("c1", "done"), run("c1")]);
    }
    assert_eq!(world.handle(done("c1")), [final_("c1", "done")]);
}

#[test]
fn it_beats_and_hears_while_they_wait() {
    let mut world = with_ahead(&["c2", "c3"]);
    for _ in 0..100 {
        assert_eq!(world.pass(INTERVAL), [(INTERVAL, HEARTBEAT)]);
        world.heartbeat();
    }
    assert_eq!(world.handle(done("c1")), [final_("c1", "done"), run("c2")]);
    // What it sends puts off the beat, what it begins does not.
    assert_eq!(world.pass(INTERVAL), [(INTERVAL, HEARTBEAT)]);
}

#[test]
fn one_beyond_the_most_that_a_broker_may_send_ends_the_connection() {
    let mut world = World::busy();
    for _ in 1..UNANSWERED_MAX {
        assert_eq!(world.request("c"), []);
    }
    let unbegun = give_back(UNANSWERED_MAX - 1);
    let lost = [DISCONNECT, unbegun, Action::Close(CloseReason::Unexpected)];
    assert_eq!(world.request("c"), lost);
    world.handle(Event::Freed);
    world.reopened();
    assert_eq!(world.request("c"), [run("c")]);
}

#[test]
fn they_are_dropped_with_their_socket_and_take_no_place_of_the_next_one() {
    let silent = |world: &mut World| world.pass(3 * INTERVAL).pop().map(|(_, action)| action);
    let mut world = with_ahead(&["c2", "c3"]);
    assert_eq!(silent(&mut world), Some(Action::Close(CloseReason::Silent)));
    assert_eq!(world.dialog.requests(), 1, "the handler of c1");
    for (lose, reason) in [
        (Event::Message(disconnect()), CloseReason::Disconnected),
        (Event::Refused, CloseReason::Refused),
    ] {
        let mut world = with_ahead(&["c2", "c3"]);
        assert_eq!(world.handle(lose), [give_back(2), Action::Close(reason)]);
        assert_eq!(world.handle(done("c1")), [], "nobody waits for it, and nothing follows it");
        assert_eq!(world.dialog.requests(), 1, "the handler of c1");
        assert_eq!(world.dialog.poll_timeout(), None, "there is one place");
        world.handle(Event::Freed);
        world.reopened();
        assert_eq!(world.request("c4"), [run("c4")]);
        assert_eq!(world.handle(done("c4")), [final_("c4", "done")]);
    }
}

#[test]
fn draining_answers_what_came_before_it_and_gives_back_what_comes_after() {
    let mut world = with_ahead(&["c2", "c3"]);
    assert_eq!(world.handle(Event::Drain), []);
    assert_eq!(world.request("c4"), []);
    assert_eq!(world.handle(done("c1")), [final_("c1", "done"), run("c2")]);
    assert_eq!(world.request("c5"), []);
    assert_eq!(world.handle(done("c2")), [final_("c2", "done"), run("c3")]);
    let left =
        [final_("c3", "done"), DISCONNECT, give_back(2), Action::Close(CloseReason::Stopped)];
    assert_eq!(world.handle(done("c3")), left);
    assert!(world.dialog.is_closed());
    assert_eq!(world.dialog.requests(), 0);
}

#[test]
fn what_comes_to_a_place_that_drains_is_bounded_too() {
    let mut world = with_ahead(&["c2"]);
    world.handle(Event::Drain);
    for _ in 2..UNANSWERED_MAX {
        assert_eq!(world.request("c"), []);
    }
    let unbegun = give_back(UNANSWERED_MAX - 1);
    let lost = [DISCONNECT, unbegun, Action::Close(CloseReason::Unexpected)];
    assert_eq!(world.request("c"), lost);
    assert!(world.dialog.is_closed());
}

#[test]
fn a_broker_lost_while_draining_takes_them_along() {
    let mut world = with_ahead(&["c2"]);
    world.handle(Event::Drain);
    let lost = [give_back(1), Action::Close(CloseReason::Disconnected)];
    assert_eq!(world.message(disconnect()), lost);
    assert!(world.dialog.is_closed());
}

#[test]
fn stopping_gives_all_back() {
    let mut world = with_ahead(&["c2", "c3"]);
    let left = [DISCONNECT, give_back(2), Action::Close(CloseReason::Stopped)];
    assert_eq!(world.handle(Event::Stop), left);
    assert!(world.dialog.is_closed());
}

#[test]
fn when_nobody_serves_any_more_all_are_given_back() {
    let mut world = with_ahead(&["c2", "c3"]);
    let left = [DISCONNECT, give_back(2), Action::Close(CloseReason::Stopped)];
    assert_eq!(world.handle(Event::Unstarted { client: client("c1") }), left);
    assert!(world.dialog.is_closed());
}

#[test]
fn a_cancel_means_what_runs() {
    // It does not exist in these versions, and costs nothing that waits its turn.
    let mut world = with_ahead(&["c2"]);
    assert_eq!(world.message(FromBroker::Cancel { client: client("c2") }), []);
    assert_eq!(world.handle(done("c1")), [final_("c1", "done"), run("c2")]);
}
