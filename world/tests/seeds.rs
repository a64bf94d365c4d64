//! World, as far as there is time for it in every check: seeds that stay, new ones each
//! time, and short histories of all kinds.

use majordomo_world::{every, run};

/// Seeds that are run each time.
const FIXED: std::ops::Range<u64> = 0..200;

/// Those that found something once.
const FOUND: [u64; 1] = [2_472];

/// How many new ones.
const NEW: u64 = 200;

/// Short histories of each kind. `--every` of the program walks them all.
const HISTORIES: u64 = 2_000;

fn run_seeds(seeds: impl Iterator<Item = u64>) {
    let violations: Vec<_> = seeds.filter_map(|seed| run::seed(seed, false).err()).collect();
    let lines: Vec<_> = violations.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{}", lines.join("\n"));
}

#[test]
fn seeds_that_stay_break_no_property() {
    run_seeds(FIXED.chain(FOUND));
}

#[test]
fn new_seeds_break_no_property() {
    let first = fastrand::u64(..u64::MAX - NEW);
    println!("seeds {first}..{}", first + NEW);
    run_seeds(first..first + NEW);
}

#[test]
fn equal_seeds_make_equal_histories() {
    for seed in [3, 17, 171] {
        assert_eq!(run::seed(seed, false), run::seed(seed, false));
    }
}

#[test]
fn short_histories_of_all_kinds_break_no_property() {
    for bounds in every::kinds() {
        if let Err(what) = every::walk(bounds, HISTORIES) {
            panic!("{what}");
        }
    }
}
