//! Runs histories of World by seed. See `--help`.

use std::process::ExitCode;

use clap::Parser;
use majordomo_world::every::{self, Walked};
use majordomo_world::run;

/// The broker's engine and both SDKs' dialogs in one simulated world.
#[derive(Parser)]
struct Args {
    /// Run this one seed
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Print everything that happens
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Run a range of seeds, the second not included
    #[arg(long, value_name = "A..B", value_parser = range, default_value = "0..1000")]
    seeds: std::ops::Range<u64>,
    /// Walk every short history instead, at most so many of each kind
    #[arg(long, value_name = "MAX", conflicts_with = "seed")]
    every: Option<u64>,
    /// Print a violation as property and seed alone, and nothing else
    #[arg(long)]
    brief: bool,
    /// Stop after so many violations
    #[arg(long, default_value_t = 1)]
    violations: usize,
}

fn range(text: &str) -> Result<std::ops::Range<u64>, String> {
    let parts = text.split_once("..").and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    let (first, end) = parts.ok_or_else(|| format!("{text:?} is no range A..B"))?;
    if first < end { Ok(first..end) } else { Err(format!("{text:?} is empty")) }
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(histories_max) = args.every {
        return walk_every(histories_max);
    }
    let seeds = args.seed.map_or(args.seeds, |seed| seed..seed + 1);
    let (count, began) = (seeds.end - seeds.start, now());
    let (mut steps, mut violations) = (0u64, 0);
    for seed in seeds {
        match run::seed(seed, args.trace) {
            Ok(count) => steps += u64::from(count),
            Err(violation) => {
                if args.brief {
                    println!("{} @ seed {}", violation.property(), violation.seed);
                } else {
                    println!("{violation}");
                }
                violations += 1;
                if violations >= args.violations {
                    break;
                }
            }
        }
    }
    if args.brief {
        return if violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{count} seeds, {steps} steps, {violations} violations, {seconds:.1} s, {:.0} steps/s",
        steps as f64 / seconds
    );
    if violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Walks all kinds of short histories.
fn walk_every(histories_max: u64) -> ExitCode {
    let mut sum = Walked { histories: 0, steps: 0, all: true };
    for bounds in every::kinds() {
        match every::walk(bounds, histories_max) {
            Ok(Walked { histories, steps, all }) => {
                println!(
                    "{histories:>9} histories{} of {bounds:?}",
                    if all { "" } else { ", not all," }
                );
                sum.histories += histories;
                sum.steps += steps;
                sum.all &= all;
            }
            Err(what) => {
                println!("{what}");
                return ExitCode::FAILURE;
            }
        }
    }
    let Walked { histories, steps, all } = sum;
    println!("{histories} histories, {steps} steps{}", if all { ", all there are" } else { "" });
    ExitCode::SUCCESS
}

#[expect(clippy::disallowed_methods, reason = "how fast it runs; no history depends on it")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}
