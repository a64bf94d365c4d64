//! Whatever may happen, in any order.

use std::time::Duration;

use majordomo_client::dialog::{Delivery, Event, Want};

use crate::table::{TIMEOUT, Table, settings};

/// Random events at random times, by seed: every request ends, in time, once, and
/// with its socket in the right state; a failure names the seed.
#[test]
fn whatever_happens_a_request_ends_once_and_in_time() {
    for seed in 0..3_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let endpoints = &["a", "b", "c"][..random.usize(1..=3)];
        let mut table = Table::new(settings(endpoints), seed);
        for _ in 0..4 {
            let begun = table.now;
            let delivery = random.choice([Delivery::Joined, Delivery::Parts]).expect("one");
            table.begin(delivery);
            let mut parts = 0;
            let ended = loop {
                let actions = table.actions();
                let ends = actions.iter().filter(|a| a.starts_with("fai") || a.starts_with("fin"));
                match ends.count() {
                    0 => {}
                    1 => break actions,
                    _ => panic!("seed {seed}: {actions:?}"),
                }
                assert_eq!(
                    table.open,
                    table.dialog.want() != Want::Nothing,
                    "seed {seed}: a socket is open exactly while one is needed"
                );
                match (random.u8(0..10), table.dialog.want()) {
                    (0..=3, Want::Send(_)) => drop(table.sent()),
                    (4, Want::Send(_) | Want::Receive) => drop(table.event(Event::Lost)),
                    (5, Want::Send(_) | Want::Receive) => drop(table.message(&[b"junk"])),
                    (6, Want::Receive) => {
                        table.partial("part");
                        parts += 1;
                    }
                    (7, Want::Receive) => drop(table.last("end")),
                    _ => {
                        let due = table.due().expect("a request under way has a time");
                        table.after(due.mul_f64(random.f64() * 1.5)).timeout();
                    }
                }
            };
            let lasted = table.now - begun;
            // Time may pass by half as much again as was asked for.
            let longest = (3 + parts) * (TIMEOUT + Duration::from_secs(1)) * 3 / 2;
            assert!(lasted <= longest, "seed {seed}: {lasted:?}");
            let success = ended.iter().any(|action| action.starts_with("final"));
            assert_eq!(table.open, success, "seed {seed}: kept after a success only");
            assert_eq!(table.due(), None, "seed {seed}");
        }
    }
}
