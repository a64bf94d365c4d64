//! Rules of every version, with one request at a time.

use std::time::Duration;

use majordomo_protocol::worker::{FromBroker, ToBroker};
use majordomo_worker::dialog::{Action, CloseReason, Event};

use crate::world::*;

#[test]
fn it_opens_a_socket_and_says_ready_once_and_first() {
    let mut world = World::new();
    assert_eq!(world.wait(), Duration::ZERO);
    assert_eq!(world.timeout(), [Action::Open, ready()]);
    assert_eq!(world.timeout(), []);
}

#[test]
fn it_beats_every_interval_when_it_says_nothing_else() {
    let mut world = World::registered();
    for _ in 0..1000 {
        assert_eq!(world.pass(INTERVAL), [(INTERVAL, HEARTBEAT)]);
        world.heartbeat();
    }
}

#[test]
fn whatever_it_sends_puts_off_the_next_beat() {
    let mut world = World::busy();
    world.advance(INTERVAL - TICK);
    assert_eq!(world.handle(part("c1", "p")), [partial("c1", "p")]);
    assert_eq!(world.pass(INTERVAL - TICK), []);
    assert_eq!(world.handle(done("c1")), [final_("c1", "done")]);
    assert_eq!(world.pass(INTERVAL), [(INTERVAL, HEARTBEAT)]);
}

#[test]
fn it_beats_while_it_is_busy() {
    let mut world = World::busy();
    for _ in 0..100 {
        assert_eq!(world.pass(INTERVAL), [(INTERVAL, HEARTBEAT)]);
        world.heartbeat();
    }
    assert_eq!(world.handle(done("c1")), [final_("c1", "done")]);
}

#[test]
fn a_broker_silent_for_interval_times_liveness_is_left_and_not_a_moment_sooner() {
    let mut world = World::registered();
    let happened = world.pass(3 * INTERVAL - TICK);
    assert_eq!(happened, [(INTERVAL, HEARTBEAT), (2 * INTERVAL, HEARTBEAT)]);
    assert_eq!(world.pass(TICK), [(TICK, Action::Close(CloseReason::Silent))]);
    world.reopened();
}

#[test]
fn a_silent_broker_gets_no_disconnect() {
    let mut world = World::registered();
    let happened = world.pass(3 * INTERVAL);
    assert!(happened.iter().all(|(_, action)| *action != DISCONNECT), "{happened:?}");
}

#[test]
fn every_message_counts_as_heard() {
    let mut world = World::registered();
    world.advance(3 * INTERVAL - TICK);
    assert_eq!(world.request("c1"), [run("c1")]);
    world.advance(3 * INTERVAL - TICK);
    world.heartbeat();
    world.advance(3 * INTERVAL - TICK);
    assert_eq!(world.timeout(), [HEARTBEAT]);
    world.advance(TICK);
    assert_eq!(world.timeout(), [Action::Close(CloseReason::Silent)]);
}

#[test]
fn a_busy_place_notices_a_silent_broker_too() {
    let mut world = World::busy();
    let happened = world.pass(3 * INTERVAL);
    assert_eq!(happened.last(), Some(&(3 * INTERVAL, Action::Close(CloseReason::Silent))));
}

#[test]
fn parts_and_the_final_go_to_whoever_asked() {
    let mut world = World::busy();
    assert_eq!(world.handle(part("c1", "1")), [partial("c1", "1")]);
    assert_eq!(world.handle(part("c1", "2")), [partial("c1", "2")]);
    assert_eq!(world.handle(done("c1")), [final_("c1", "done")]);
    assert_eq!(world.request("c2"), [run("c2")]);
    assert_eq!(world.handle(done("c2")), [final_("c2", "done")]);
}

#[test]
fn nothing_follows_the_final() {
    let mut world = World::busy();
    assert_eq!(world.handle(done("c1")), [final_("c1", "done")]);
    assert_eq!(world.handle(part("c1", "p")), []);
    assert_eq!(world.handle(done("c1")), []);
}

#[test]
fn after_disconnect_it_comes_back_on_a_new_socket() {
    let mut world = World::registered();
    assert!(world.rejected() <= TIMING.reconnect_min);
    world.reopened();
    assert_eq!(world.request("c1"), [run("c1")]);
}

#[test]
fn an_invalid_message_ends_the_connection_with_disconnect() {
    let mut world = World::busy();
    let lost = world.handle(Event::Invalid);
    assert_eq!(lost, [DISCONNECT, Action::Close(CloseReason::Invalid)]);
    assert_eq!(world.handle(done("c1")), []);
    world.handle(Event::Freed);
    world.reopened();
}

#[test]
fn messages_of_a_socket_that_was_closed_change_nothing() {
    let mut world = World::registered();
    world.rejected();
    let wait = world.wait();
    assert_eq!(world.request("c1"), []);
    assert_eq!(world.message(disconnect()), []);
    assert_eq!(world.handle(Event::Invalid), []);
    assert_eq!(world.wait(), wait);
}

#[test]
fn a_place_whose_handler_still_runs_registers_only_after_it_has_ended() {
    let mut world = World::busy();
    assert_eq!(world.message(disconnect()), [Action::Close(CloseReason::Disconnected)]);
    assert_eq!(world.pass(1000 * INTERVAL), []);
    assert_eq!(world.handle(part("c1", "p")), []);
    assert_eq!(world.handle(Event::Freed), []);
    assert_eq!(world.pass(Duration::ZERO).len(), 2, "READY follows at once");
}

#[test]
fn a_handler_that_ends_during_the_back_off_does_not_shorten_it() {
    let mut world = World::busy();
    world.message(disconnect());
    world.handle(Event::Freed);
    assert!(world.wait() >= TIMING.reconnect_min / 2);
}

#[test]
fn the_back_off_doubles_up_to_its_limit_and_half_of_it_is_chance() {
    for seed in 0..100 {
        let mut world = World::seeded(seed);
        world.timeout();
        for longest in [100, 200, 400, 800, 1600, 3200, 3200, 3200] {
            let longest = Duration::from_millis(longest);
            let wait = world.rejected();
            assert!(wait >= longest / 2 && wait <= longest, "{wait:?} of {longest:?}");
            world.reopened();
        }
    }
}

#[test]
fn a_thousand_losses_do_not_overflow_the_back_off() {
    let mut world = World::registered();
    for _ in 0..1000 {
        assert!(world.rejected() <= TIMING.reconnect_max);
        world.reopened();
    }
}

#[test]
fn two_places_do_not_come_back_at_the_same_moment() {
    let waits: Vec<_> = (0..100)
        .map(|seed| {
            let mut world = World::seeded(seed);
            world.timeout();
            world.rejected()
        })
        .collect();
    let different: std::collections::HashSet<_> = waits.iter().collect();
    assert!(different.len() > 90, "{} of 100 differ", different.len());
}

#[test]
fn equal_seeds_and_histories_give_equal_waits() {
    let waits = |seed| {
        let mut world = World::seeded(seed);
        world.timeout();
        [(); 5].map(|()| {
            let wait = world.rejected();
            world.reopened();
            wait
        })
    };
    assert_eq!(waits(7), waits(7));
    assert_ne!(waits(7), waits(8));
}

#[test]
fn the_back_off_starts_anew_once_the_broker_was_heard_for_a_while() {
    let mut world = World::registered();
    for _ in 0..5 {
        world.rejected();
        world.reopened();
    }
    world.advance(INTERVAL);
    world.heartbeat();
    assert!(world.rejected() > TIMING.reconnect_min, "an interval is not a while");
    world.reopened();
    for _ in 0..3 {
        world.advance(INTERVAL);
        world.heartbeat();
    }
    assert!(world.rejected() <= TIMING.reconnect_min);
}

#[test]
fn silence_does_not_count_as_having_heard_the_broker() {
    let mut world = World::registered();
    for longest in [100, 200, 400] {
        world.pass(3 * INTERVAL);
        assert!(world.wait() > Duration::from_millis(longest) / 2 - TICK);
        world.reopened();
    }
}

#[test]
fn a_socket_that_cannot_be_opened_is_tried_again_later() {
    let mut world = World::new();
    assert_eq!(world.timeout(), [Action::Open, ready()]);
    assert_eq!(world.handle(Event::Refused), [Action::Close(CloseReason::Refused)]);
    assert!(world.wait() >= TIMING.reconnect_min / 2);
    world.reopened();
}

#[test]
fn after_a_suspension_a_silent_broker_gets_one_more_term() {
    let mut world = World::registered();
    world.advance(100 * INTERVAL);
    assert_eq!(world.handle(Event::Suspended), []);
    assert_eq!(world.timeout(), [HEARTBEAT], "one, not a hundred");
    let happened = world.pass(3 * INTERVAL - TICK);
    assert_eq!(happened, [(INTERVAL, HEARTBEAT), (2 * INTERVAL, HEARTBEAT)]);
    assert_eq!(world.pass(TICK), [(TICK, Action::Close(CloseReason::Silent))]);
}

#[test]
fn a_loop_that_is_always_late_still_notices_a_dead_broker() {
    let mut world = World::registered();
    world.advance(2 * INTERVAL);
    world.handle(Event::Suspended);
    world.timeout();
    world.advance(3 * INTERVAL);
    world.handle(Event::Suspended);
    assert_eq!(world.timeout(), [Action::Close(CloseReason::Silent)]);
}

#[test]
fn a_broker_heard_after_a_suspension_is_excused_again_the_next_time() {
    let mut world = World::registered();
    for _ in 0..3 {
        world.advance(100 * INTERVAL);
        world.handle(Event::Suspended);
        assert_eq!(world.timeout(), [HEARTBEAT]);
        world.heartbeat();
    }
}

#[test]
fn draining_an_idle_place_says_disconnect_at_once() {
    let mut world = World::registered();
    let left = world.handle(Event::Drain);
    assert_eq!(left, [DISCONNECT, Action::Close(CloseReason::Stopped)]);
    assert!(world.dialog.is_closed());
    assert_eq!(world.dialog.poll_timeout(), None);
    assert_eq!(world.request("c1"), []);
}

#[test]
fn draining_a_busy_place_lets_it_answer_first() {
    let mut world = World::busy();
    assert_eq!(world.handle(Event::Drain), []);
    assert_eq!(world.pass(INTERVAL), [(INTERVAL, HEARTBEAT)]);
    assert_eq!(world.handle(part("c1", "p")), [partial("c1", "p")]);
    assert_eq!(
        world.handle(done("c1")),
        [final_("c1", "done"), DISCONNECT, Action::Close(CloseReason::Stopped)]
    );
    assert!(world.dialog.is_closed());
}

#[test]
fn a_place_that_waits_to_come_back_does_not_once_it_drains() {
    let mut world = World::registered();
    world.rejected();
    assert_eq!(world.handle(Event::Drain), []);
    assert!(world.dialog.is_closed());
    assert_eq!(world.pass(1000 * INTERVAL), []);
}

#[test]
fn a_place_that_never_began_leaves_without_a_word() {
    let mut world = World::new();
    assert_eq!(world.handle(Event::Drain), []);
    assert!(world.dialog.is_closed());
    assert_eq!(world.timeout(), []);
}

#[test]
fn a_broker_lost_while_draining_is_not_come_back_to() {
    let mut world = World::busy();
    world.handle(Event::Drain);
    world.message(disconnect());
    assert!(world.dialog.is_closed(), "whatever its handler does");
    assert_eq!(world.handle(done("c1")), []);
}

#[test]
fn stopping_says_disconnect_whatever_runs() {
    let mut world = World::busy();
    let left = world.handle(Event::Stop);
    assert_eq!(left, [DISCONNECT, Action::Close(CloseReason::Stopped)]);
    assert!(world.dialog.is_closed());
    assert_eq!(world.handle(part("c1", "p")), []);
    assert_eq!(world.handle(done("c1")), []);
}

#[test]
fn a_request_that_nobody_will_begin_is_given_back_by_disconnect() {
    let mut world = World::busy();
    let left = world.handle(Event::Unstarted { client: client("c1") });
    assert_eq!(left, [DISCONNECT, Action::Close(CloseReason::Stopped)]);
    assert!(world.dialog.is_closed());
}

/// Two thousand random histories of a hundred events; after every event, what must
/// hold of any dialog.
#[test]
fn no_history_breaks_the_protocol() {
    for seed in 0..2000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut world = World::seeded(seed);
        let (mut is_open, mut has_request, mut has_former) = (false, false, false);
        let (mut came, mut begun) = (0, 0);
        for step in 0..100 {
            world.advance(Duration::from_millis(random.u64(0..1500)));
            let actions = match random.u8(0..20) {
                0..6 => world.timeout(),
                6..9 => world.message(FromBroker::Heartbeat),
                9..12 => {
                    came += usize::from(is_open);
                    world.request("c")
                }
                12 => world.message(disconnect()),
                13 => world.handle(Event::Invalid),
                14 => world.handle(Event::Refused),
                15 => world.handle(Event::Suspended),
                16 => world.handle(part("c", "p")),
                17 => world.handle(done("c")),
                18 if has_former => {
                    has_former = false;
                    world.handle(Event::Freed)
                }
                _ if random.u8(0..50) == 0 => world.handle(Event::Drain),
                _ => Vec::new(),
            };
            for (place, action) in actions.iter().enumerate() {
                let at = format!("seed {seed}, step {step}: {action:?}");
                match action {
                    Action::Open => {
                        assert!(!is_open && !has_request && !has_former, "{at}");
                        assert_eq!(actions.get(place + 1), Some(&ready()), "{at}");
                        is_open = true;
                    }
                    Action::Run { .. } => {
                        assert!(is_open && !has_request, "{at}");
                        has_request = true;
                        begun += 1;
                    }
                    Action::Send(ToBroker::Ready { .. }) => {
                        assert_eq!(place.checked_sub(1).map(|i| &actions[i]), Some(&Action::Open));
                    }
                    Action::Send(ToBroker::Partial { .. }) => {
                        assert!(is_open && has_request, "{at}");
                    }
                    Action::Send(ToBroker::Final { .. }) => {
                        assert!(is_open && has_request, "{at}");
                        has_request = false;
                    }
                    Action::Send(ToBroker::Heartbeat) => assert!(is_open, "{at}"),
                    Action::Send(ToBroker::Disconnect { .. }) => {
                        let next = actions[place + 1..].iter();
                        let next = next.filter(|next| !matches!(next, Action::GiveBack { .. }));
                        assert!(matches!(next.collect::<Vec<_>>()[..], [Action::Close(_)]), "{at}");
                    }
                    Action::Send(ToBroker::Error { .. } | ToBroker::Drain)
                    | Action::Cancel { .. } => unreachable!("{at}"),
                    Action::GiveBack { requests } => {
                        assert!(is_open && *requests > 0, "{at}");
                        assert!(matches!(actions[place + 1..], [Action::Close(_)]), "{at}");
                        begun += requests;
                    }
                    Action::Close(_) => {
                        // What came was begun or given back, once.
                        assert!(is_open && begun == came, "{at}: {begun} of {came}");
                        is_open = false;
                        has_former |= std::mem::take(&mut has_request);
                    }
                }
            }
            assert!(!(world.dialog.is_closed() && is_open), "seed {seed}, step {step}");
        }
    }
}
