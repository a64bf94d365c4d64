//! A request that is run where it is read, and answered where the answer leaves.

use std::time::Duration;

use majordomo_protocol::worker::FromBroker;
use majordomo_worker::Version;
use majordomo_worker::dialog::{Action, Dialog, Event, Registration};

use crate::world::*;

/// What comes of a request by [`begin`](majordomo_worker::dialog::Dialog::begin).
fn request(world: &mut World, name: &str) -> Vec<Action> {
    match world.dialog.begin(&client(name), world.now) {
        true => [run(name)].into_iter().chain(world.actions()).collect(),
        false => world.request(name),
    }
}

/// What comes of an answer by [`finish`](majordomo_worker::dialog::Dialog::finish).
fn finish(world: &mut World, name: &str) -> Vec<Action> {
    let is_wanted = world.dialog.finish(&client(name), world.now);
    is_wanted.then(|| final_(name, "done")).into_iter().chain(world.actions()).collect()
}

/// Two dialogs of one history, one of which is only handled.
#[test]
fn it_is_as_if_the_dialog_had_been_told_and_asked() {
    let (mut runs, mut answers) = (0, 0);
    for seed in 0..600 {
        let mut random = fastrand::Rng::with_seed(seed);
        let version = [Version::V0_1, Version::V0_2, Version::V1_0][seed as usize % 3];
        let mut registration = Registration::new(service(), version);
        if version == Version::V1_0 {
            registration.capacity = 3;
        }
        let mut handled = World::of(registration.clone(), seed);
        let dialog = Dialog::new(registration, TIMING, seed, handled.now);
        let mut world = World { dialog, now: handled.now };
        assert_eq!(handled.timeout(), world.timeout());
        for step in 0..200 {
            let pause = Duration::from_millis(random.u64(0..300));
            handled.advance(pause);
            world.advance(pause);
            let name = random.u8(0..8).to_string();
            let event = match random.u8(0..40) {
                0 => Event::Message(disconnect()),
                1 => Event::Freed,
                2 if random.u8(0..20) == 0 => Event::Drain,
                3 => Event::Message(FromBroker::Cancel { client: client(&name) }),
                4 => part(&name, "p"),
                _ => Event::Message(FromBroker::Heartbeat),
            };
            let (expected, found) = match random.u8(0..8) {
                0 => (handled.timeout(), world.timeout()),
                1..4 => (handled.request(&name), request(&mut world, &name)),
                4..7 => (handled.handle(done(&name)), finish(&mut world, &name)),
                _ => (handled.handle(event.clone()), world.handle(event)),
            };
            assert_eq!(found, expected, "seed {seed}, step {step}");
            runs += expected.iter().filter(|it| matches!(it, Action::Run { .. })).count();
            answers += expected.iter().filter(|it| **it == final_(&name, "done")).count();
            let state = |world: &World| (world.dialog.poll_timeout(), world.dialog.requests());
            assert_eq!(state(&world), state(&handled), "seed {seed}, step {step}");
        }
    }
    assert!(runs > 1_000 && answers > 1_000, "{runs} {answers}");
}
