//! What is left when everything fails? Real processes that are killed, stopped, drained
//! and cut off, and exact books of every call.
//!
//! ```text
//! cargo run --release -p majordomo-tests --bin chaos -- [--seconds N] [--seed S]
//!     [--calls N] [--only FAULT,…] [PROFILE]
//! ```
//!
//! PROFILE is `chaos` (the default), `drain`, `broker-kill`, `cuts` or `reconnect`, whose
//! 5,000 peers (`--peers`) are about no time and no seed. The seed is printed;
//! the same one draws the same faults. Exits with 1 when a call is lost or unaccounted
//! for, answered to the wrong caller, or run twice for no reason, and when fewer than
//! `--calls` were made. `--faults` prints the list of faults and does nothing. Linux only.

use std::process::ExitCode;
use std::time::Duration;

use majordomo_tests::chaos::faults::Kind;
use majordomo_tests::chaos::peers::{Peer, call, work};
use majordomo_tests::chaos::reconnect::Reconnect;
use majordomo_tests::chaos::{Profile, Run};
use majordomo_tests::process::{end_with_parent, raise_descriptors};

const USAGE: &str = "usage: chaos [--seconds N] [--seed S] [--calls N] [--only FAULT,...] \
                     [--faults] [--peers N] [chaos|drain|broker-kill|cuts|reconnect]";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    // It starts itself anew as each of its peers.
    if let [role @ ("worker" | "client"), ..] =
        &args.iter().map(String::as_str).collect::<Vec<_>>()[..]
    {
        let Some(peer) = Peer::from_args(&args[1..]) else { return ExitCode::from(2) };
        end_with_parent();
        if *role == "worker" {
            work(&peer)
        } else {
            call(&peer)
        }
        return ExitCode::SUCCESS;
    }
    let Some(asked) = read(&args) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    raise_descriptors();
    match asked {
        Asked::Run(run) => chaos(&run),
        Asked::List(run) => {
            for fault in run.faults() {
                let (begins, ends) = (fault.begins.as_secs_f64(), fault.ends.as_secs_f64());
                println!("{begins:.3} to {ends:.3} s: {} {}", fault.kind.as_str(), fault.target);
            }
            ExitCode::SUCCESS
        }
        Asked::Reconnect(reconnect) => {
            println!("reconnect   {} peers, {} restarts", reconnect.peers, reconnect.rounds);
            let report = reconnect.run();
            print!("{report}");
            verdict(&report.violations)
        }
    }
}

fn chaos(run: &Run) -> ExitCode {
    println!("{:<11} {} s, seed {}", run.profile.as_str(), run.time.as_secs(), run.seed);
    let report = run.run();
    print!("{report}");
    verdict(&report.violations)
}

fn verdict(violations: &[String]) -> ExitCode {
    if violations.is_empty() {
        println!("passed");
        ExitCode::SUCCESS
    } else {
        println!("FAILED");
        ExitCode::FAILURE
    }
}

enum Asked {
    Run(Run),
    List(Run),
    Reconnect(Reconnect),
}

fn read(args: &[String]) -> Option<Asked> {
    let mut run = Run {
        profile: Profile::Chaos,
        time: Duration::from_secs(60),
        seed: fastrand::u64(..1_000_000),
        calls_min: 1,
        only: vec![],
        program: std::env::current_exe().ok()?,
        look: Duration::from_secs(60),
    };
    let (mut list, mut reconnect, mut peers) = (false, false, 5_000);
    let mut args = args.iter().map(String::as_str);
    while let Some(arg) = args.next() {
        match arg {
            "--seconds" => run.time = Duration::from_secs(args.next()?.parse().ok()?),
            "--seed" => run.seed = args.next()?.parse().ok()?,
            "--calls" => run.calls_min = args.next()?.parse().ok()?,
            "--only" => {
                run.only = args.next()?.split(',').map(Kind::from_text).collect::<Option<_>>()?;
            }
            "--faults" => list = true,
            "--peers" => peers = args.next()?.parse().ok()?,
            "reconnect" => reconnect = true,
            name => {
                run.profile = Profile::ALL.into_iter().find(|known| known.as_str() == name)?;
            }
        }
    }
    Some(if reconnect {
        Asked::Reconnect(Reconnect { peers, rounds: 3, program: run.program })
    } else if list {
        Asked::List(run)
    } else {
        Asked::Run(run)
    })
}
