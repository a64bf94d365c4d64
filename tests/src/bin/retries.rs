//! Is every call answered, and run once, when connections are cut all the time?
//! 100,000 calls through a proxy, with tries shorter than the handler's time.
//!
//! `cargo build --release --workspace --bins && target/release/retries [CALLS [SEED]]`
//!
//! Prints the accounting, and exits with 1 when it does not add up.

use std::process::ExitCode;

use majordomo_tests::report::{Reports, in_short};
use majordomo_tests::retries;
use majordomo_tests::spawn::BrokerProcess;

fn main() -> ExitCode {
    let args: Result<Vec<u64>, _> = std::env::args().skip(1).map(|arg| arg.parse()).collect();
    let Ok(args) = args else {
        eprintln!("usage: retries [CALLS [SEED]]");
        return ExitCode::from(2);
    };
    let calls = args.first().copied().unwrap_or(100_000);
    let seed = args.get(1).copied().unwrap_or(1);
    let broker = BrokerProcess::with(["--log=warn"]);
    let outcome = retries::run(broker.endpoint(), calls, seed, 500..100_000);
    println!("calls       {}, {} answered, seed {seed}", outcome.calls, outcome.answered);
    println!("executions  {} of {} requests", outcome.executions, outcome.executed);
    println!("connections {}, {} cut", outcome.connections, outcome.cuts);
    println!("broker      {}", in_short(&Reports::of(broker.endpoint()).fresh()));
    for failure in &outcome.failures {
        println!("            {failure}");
    }
    if outcome.is_right() && outcome.cuts > 0 {
        println!("passed");
        ExitCode::SUCCESS
    } else {
        println!("FAILED");
        ExitCode::FAILURE
    }
}
