//! A short run of each profile of chaos; the program `chaos` has long ones.

use std::path::PathBuf;
use std::time::Duration;

use majordomo_tests::chaos::{Profile, Run};

/// A run of so many seconds, with a seed that is new each time and printed when it fails.
fn passes(profile: Profile, seconds: u64) {
    let run = Run {
        profile,
        time: Duration::from_secs(seconds),
        seed: fastrand::u64(..1_000_000),
        calls_min: 1,
        only: vec![],
        program: PathBuf::from(env!("CARGO_BIN_EXE_chaos")),
        look: Duration::from_secs(60),
    };
    let report = run.run();
    println!("{} {seconds} s, seed {}\n{report}", profile.as_str(), run.seed);
    assert!(
        report.violations.is_empty(),
        "chaos --seconds {seconds} --seed {} {}\n{report}",
        run.seed,
        profile.as_str()
    );
}

#[test]
fn nothing_is_lost_when_everything_fails() {
    passes(Profile::Chaos, 10);
}

#[test]
fn no_call_fails_when_workers_and_brokers_are_drained() {
    passes(Profile::Drain, 9);
}

#[test]
fn no_call_runs_twice_when_clients_are_cut_off() {
    passes(Profile::Cuts, 6);
}

#[test]
fn every_call_ends_when_the_broker_is_killed() {
    passes(Profile::BrokerKill, 6);
}
