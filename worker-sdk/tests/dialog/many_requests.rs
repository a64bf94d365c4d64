//! What MDP/1.0 adds: several requests, agreed heartbeats, CANCEL, ERROR, DRAIN.

use std::time::Duration;

use majordomo_protocol::worker::{FromBroker, ToBroker};
use majordomo_protocol::{Agreement, InstanceId, Offer, Reason, Task};
use majordomo_worker::dialog::{Action, CloseReason, Event, Registration};
use majordomo_worker::{Body, Metadata, Version};

use crate::world::*;

const CAPACITY: u16 = 3;
const DRAIN: Action = Action::Send(ToBroker::Drain);

fn registration() -> Registration {
    let mut metadata = Metadata::default();
    metadata.push("name", b"w").expect("short");
    let registration = Registration::new(service(), Version::V1_0);
    Registration { capacity: CAPACITY, metadata, ..registration }
}

fn ready_1_0() -> Action {
    let offer = Offer {
        capacity: CAPACITY,
        heartbeat: Some(INTERVAL),
        liveness: 3,
        metadata: registration().metadata,
    };
    Action::Send(ToBroker::Ready { service: service(), offer })
}

fn registered() -> World {
    let mut world = World::of(registration(), 1);
    assert_eq!(world.timeout(), [Action::Open, ready_1_0()]);
    world
}

/// With requests a, b and c.
fn full() -> World {
    let mut world = registered();
    for name in ["a", "b", "c"] {
        assert_eq!(world.request(name), [run(name)]);
    }
    world
}

fn welcome(heartbeat: Duration, liveness: u8) -> FromBroker<Body> {
    let instance = InstanceId::new([1; 8]);
    FromBroker::Welcome(Agreement { heartbeat, liveness, instance })
}

#[test]
fn ready_offers_capacity_heartbeats_and_metadata() {
    registered();
}

#[test]
fn a_liveness_that_cannot_be_asked_for_is_asked_for_as_the_nearest() {
    for (own, asked) in [(1, 2), (2, 2), (255, 255), (1000, 255)] {
        let timing = majordomo_worker::dialog::Timing { heartbeat_liveness: own, ..TIMING };
        let now = World::new().now;
        let mut dialog = majordomo_worker::dialog::Dialog::new(registration(), timing, 1, now);
        dialog.handle_timeout(now);
        dialog.poll_action();
        let Some(Action::Send(ToBroker::Ready { offer, .. })) = dialog.poll_action() else {
            panic!("READY is the first thing said");
        };
        assert_eq!(offer.liveness, asked);
    }
}

#[test]
fn as_many_requests_run_as_it_has_places_and_answers_come_in_any_order() {
    let mut world = full();
    assert_eq!(world.handle(done("b")), [final_("b", "done")]);
    assert_eq!(world.handle(part("a", "1")), [partial("a", "1")]);
    assert_eq!(world.request("d"), [run("d")]);
    assert_eq!(world.handle(done("d")), [final_("d", "done")]);
    assert_eq!(world.handle(done("a")), [final_("a", "done")]);
    assert_eq!(world.handle(done("c")), [final_("c", "done")]);
}

#[test]
fn one_request_too_many_ends_the_connection() {
    let mut world = full();
    assert_eq!(world.request("d"), [DISCONNECT, Action::Close(CloseReason::Unexpected)]);
}

#[test]
fn a_request_that_runs_already_ends_the_connection() {
    let mut world = registered();
    world.request("a");
    assert_eq!(world.request("a"), [DISCONNECT, Action::Close(CloseReason::Unexpected)]);
}

#[test]
fn an_error_ends_a_request_and_frees_its_place() {
    let mut world = full();
    let reason = Reason { code: 422, text: "bad".to_owned() };
    let (client, details) = (client("a"), Body::from("more"));
    let event =
        Event::Error { client: client.clone(), reason: reason.clone(), details: details.clone() };
    let error = Action::Send(ToBroker::Error { client, reason, details });
    assert_eq!(world.handle(event.clone()), [error]);
    assert_eq!(world.handle(event), [], "once");
    assert_eq!(world.request("d"), [run("d")]);
}

#[test]
fn welcome_says_what_holds_from_now_on() {
    let mut world = registered();
    assert_eq!(world.message(welcome(2 * INTERVAL, 5)), []);
    let happened = world.pass(10 * INTERVAL);
    let beats = [2, 4, 6, 8].map(|at| (at * INTERVAL, HEARTBEAT));
    assert_eq!(happened[..4], beats);
    assert_eq!(happened[4..], [(10 * INTERVAL, Action::Close(CloseReason::Silent))]);
}

#[test]
fn a_shorter_interval_is_kept_at_once() {
    let mut world = registered();
    world.message(welcome(INTERVAL / 10, 3));
    assert_eq!(world.pass(INTERVAL / 10), [(INTERVAL / 10, HEARTBEAT)]);
}

#[test]
fn what_was_agreed_ends_with_its_connection() {
    let mut world = registered();
    world.message(welcome(20 * INTERVAL, 200));
    world.message(disconnect());
    world.now = world.dialog.poll_timeout().expect("it comes back");
    assert_eq!(world.timeout(), [Action::Open, ready_1_0()]);
    let happened = world.pass(3 * INTERVAL);
    assert_eq!(happened.last(), Some(&(3 * INTERVAL, Action::Close(CloseReason::Silent))));
}

#[test]
fn without_welcome_the_own_settings_hold() {
    let mut world = registered();
    let happened = world.pass(3 * INTERVAL);
    assert_eq!(happened.last(), Some(&(3 * INTERVAL, Action::Close(CloseReason::Silent))));
}

#[test]
fn an_agreement_of_no_beats_at_all_still_gives_the_broker_one_interval() {
    let mut world = registered();
    world.message(welcome(INTERVAL, 0));
    assert_eq!(world.pass(INTERVAL), [(INTERVAL, Action::Close(CloseReason::Silent))]);
}

#[test]
fn cancel_reaches_the_handler_and_its_answer_is_still_sent() {
    let mut world = full();
    let cancel = FromBroker::Cancel { client: client("b") };
    assert_eq!(world.message(cancel.clone()), [Action::Cancel { client: client("b") }]);
    assert_eq!(world.handle(done("b")), [final_("b", "done")]);
    assert_eq!(world.message(cancel), [], "it was answered meanwhile");
}

#[test]
fn after_a_loss_it_registers_again_though_a_handler_hangs() {
    let mut world = registered();
    world.request("a");
    assert_eq!(world.message(disconnect()), [Action::Close(CloseReason::Disconnected)]);
    let wait = world.wait();
    assert!(wait <= TIMING.reconnect_min, "{wait:?}");
    assert_eq!(world.pass(wait), [(wait, Action::Open), (wait, ready_1_0())]);
    for name in ["b", "c", "d"] {
        assert_eq!(world.request(name), [run(name)]);
    }
}

#[test]
fn a_new_connection_knows_nothing_of_the_requests_of_the_one_before() {
    let mut world = registered();
    world.request("a");
    world.message(disconnect());
    world.now = world.dialog.poll_timeout().expect("it comes back");
    assert_eq!(world.timeout(), [Action::Open, ready_1_0()]);
    for event in [part("a", "p"), done("a"), Event::Unstarted { client: client("a") }] {
        assert_eq!(world.handle(event), []);
    }
    let cancel = FromBroker::Cancel { client: client("a") };
    assert_eq!(world.message(cancel), []);
    // A broker that was started anew may use an address again, for another request.
    assert_eq!(world.request("a"), [run("a")]);
    assert_eq!(world.handle(Event::Freed), [], "the former one has ended");
    assert_eq!(world.handle(done("a")), [final_("a", "done")]);
}

#[test]
fn while_handlers_of_lost_connections_hold_all_places_it_does_not_register() {
    let mut world = full();
    world.message(disconnect());
    assert_eq!(world.pass(1000 * INTERVAL), []);
    assert_eq!(world.handle(Event::Freed), []);
    assert_eq!(world.timeout(), [Action::Open, ready_1_0()]);
    // Two go on. With three more there are five, and then none is free until three end.
    for name in ["a", "b", "c"] {
        assert_eq!(world.request(name), [run(name)]);
    }
    world.message(disconnect());
    for _ in 0..3 {
        assert_eq!(world.pass(1000 * INTERVAL), []);
        assert_eq!(world.handle(Event::Freed), []);
    }
    assert_eq!(world.timeout(), [Action::Open, ready_1_0()]);
}

#[test]
fn draining_says_drain_answers_everything_and_leaves_when_the_broker_says_so() {
    let mut world = full();
    assert_eq!(world.handle(Event::Drain), [DRAIN]);
    assert_eq!(world.handle(Event::Drain), [], "once");
    assert_eq!(world.handle(done("a")), [final_("a", "done")]);
    // It left the broker before DRAIN came there.
    assert_eq!(world.request("d"), [run("d")]);
    for name in ["b", "c", "d"] {
        assert_eq!(world.handle(done(name)), [final_(name, "done")]);
    }
    assert!(!world.dialog.is_closed());
    assert_eq!(world.message(disconnect()), [Action::Close(CloseReason::Stopped)]);
    assert!(world.dialog.is_closed());
    assert_eq!(world.dialog.poll_timeout(), None);
}

/// However long the way, and however busy the broker.
#[test]
fn a_worker_that_drains_serves_what_comes_until_the_broker_lets_it_go() {
    let mut world = registered();
    world.heartbeat();
    assert_eq!(world.handle(Event::Drain), [DRAIN]);
    for number in 0..100 {
        world.advance(2 * INTERVAL);
        assert_eq!(world.request(&number.to_string()), [run(&number.to_string())]);
        let end = final_(&number.to_string(), "done");
        assert_eq!(world.handle(done(&number.to_string())), [end]);
    }
    assert_eq!(world.message(disconnect()), [Action::Close(CloseReason::Stopped)]);
}

#[test]
fn a_broker_that_dies_holds_a_worker_that_drains_no_longer_than_any_other() {
    let mut world = registered();
    world.heartbeat();
    world.handle(Event::Drain);
    let happened = world.pass(100 * INTERVAL);
    assert_eq!(happened.last(), Some(&(3 * INTERVAL, Action::Close(CloseReason::Silent))));
    assert!(world.dialog.is_closed());
}

#[test]
fn a_broker_that_never_was_there_holds_a_worker_that_drains_for_one_interval() {
    let mut world = registered();
    world.advance(INTERVAL / 2);
    world.handle(Event::Drain);
    let left = [DISCONNECT, Action::Close(CloseReason::Stopped)];
    assert_eq!(world.pass(INTERVAL), left.map(|action| (INTERVAL / 2, action)));
    assert!(world.dialog.is_closed());
}

#[test]
fn a_broker_lost_while_draining_is_not_come_back_to_whatever_runs() {
    let mut world = full();
    world.handle(Event::Drain);
    assert_eq!(world.message(disconnect()), [Action::Close(CloseReason::Disconnected)]);
    assert!(world.dialog.is_closed());
    assert_eq!(world.handle(done("a")), []);
}

#[test]
fn what_nobody_will_begin_is_given_back_when_the_rest_is_answered() {
    let mut world = full();
    assert_eq!(world.handle(Event::Unstarted { client: client("a") }), [DRAIN]);
    assert_eq!(world.handle(Event::Unstarted { client: client("b") }), []);
    let last = [final_("c", "done"), DISCONNECT, Action::Close(CloseReason::Stopped)];
    assert_eq!(world.handle(done("c")), last);
}

#[test]
fn stopping_does_not_wait() {
    let mut world = full();
    let left = world.handle(Event::Stop);
    assert_eq!(left, [DISCONNECT, Action::Close(CloseReason::Stopped)]);
    assert_eq!(world.handle(done("a")), []);
}

#[test]
fn the_request_goes_to_the_handler_with_all_that_is_known() {
    let mut world = registered();
    let mut metadata = Metadata::default();
    metadata.push("trace", b"7").expect("short");
    let task = Task { timeout: Some(INTERVAL), attempt: 2, metadata };
    let (client, body) = (client("a"), Body::from("do"));
    let request =
        FromBroker::Request { client: client.clone(), task: task.clone(), body: body.clone() };
    assert_eq!(world.message(request), [Action::Run { client, task, body }]);
}

/// A thousand random histories: never more requests than places, every request ends
/// once, a new connection holds nothing of an old one, and there is one as soon as a
/// place is free.
#[test]
fn no_history_breaks_the_protocol() {
    for seed in 0..1000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut world = World::of(registration(), seed);
        let mut held = std::collections::HashSet::new();
        let (mut is_open, mut drained, mut former) = (false, false, 0);
        let mut next = 0u32;
        for step in 0..200 {
            world.advance(Duration::from_millis(random.u64(0..700)));
            let any = || held.iter().min().cloned().unwrap_or_else(|| "none".to_owned());
            let actions = match random.u8(0..20) {
                0..4 => world.timeout(),
                4..6 => world.message(FromBroker::Heartbeat),
                6..11 => {
                    next += 1;
                    // Addresses come again.
                    world.request(&(next % 8).to_string())
                }
                11 if former > 0 => {
                    former -= 1;
                    world.handle(Event::Freed)
                }
                11 | 12 => world.message(disconnect()),
                13 => world.message(welcome(INTERVAL, 3)),
                14 => world.message(FromBroker::Cancel { client: client(&any()) }),
                15 => world.handle(part(&any(), "p")),
                16..19 => {
                    let name = any();
                    world.handle(done(&name))
                }
                _ if random.u8(0..50) == 0 => world.handle(Event::Drain),
                _ => Vec::new(),
            };
            let capacity = usize::from(CAPACITY);
            for action in actions {
                let at = format!("seed {seed}, step {step}: {action:?}");
                let name = |client: &majordomo_worker::ClientAddress| {
                    String::from_utf8(client.as_bytes().to_vec()).expect("text")
                };
                match &action {
                    Action::Open => {
                        assert!(!is_open && !drained && former < capacity, "{at}");
                        is_open = true;
                    }
                    Action::Run { client, .. } => {
                        assert!(is_open && held.insert(name(client)), "{at}");
                        assert!(held.len() <= capacity, "{at}");
                    }
                    Action::Cancel { client } => assert!(held.contains(&name(client)), "{at}"),
                    Action::Send(ToBroker::Final { client, .. }) => {
                        assert!(is_open && held.remove(&name(client)), "{at}");
                    }
                    Action::Send(ToBroker::Partial { client, .. }) => {
                        assert!(is_open && held.contains(&name(client)), "{at}");
                    }
                    Action::Send(ToBroker::Drain) => {
                        assert!(is_open && !drained, "{at}");
                        drained = true;
                    }
                    Action::Send(_) => assert!(is_open, "{at}"),
                    Action::GiveBack { .. } => unreachable!("{at}"),
                    Action::Close(_) => {
                        assert!(is_open, "{at}");
                        is_open = false;
                        former += held.len();
                        held.clear();
                    }
                }
            }
            let waits = world.dialog.poll_timeout().is_none();
            let expected = world.dialog.is_closed() || (!is_open && former >= capacity);
            assert_eq!(waits, expected, "seed {seed}, step {step}");
        }
    }
}
