//! Every target on any toolchain: the corpus, what was found before, and inputs made
//! from those by chance, new ones each time.
//!
//! A failure prints the seed and keeps the input in a file. `FUZZ_SEED=17` makes the same
//! inputs again; `FUZZ_INPUTS=1000000` makes more of them for each target, and
//! `FUZZ_TARGET=names` tries that target alone.

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use fastrand::Rng;
use majordomo_fuzz::{TARGETS, Target};

/// So many for each target, but for those whose inputs take longer.
const INPUTS: u64 = 3_000;
const INPUTS_SLOW: u64 = 250;
const INPUT_BYTES_MAX: usize = 4_096;

#[test]
fn everything_holds_for_the_corpus_and_what_was_found_before() {
    for target in TARGETS {
        let inputs = inputs_of(target);
        assert!(inputs.len() >= 5, "{} has lost its corpus", target.name);
        for (path, data) in inputs {
            attempt(target, &data, || format!("{}", path.display()));
        }
    }
}

#[test]
fn everything_holds_for_inputs_made_by_chance() {
    let seed = number("FUZZ_SEED").unwrap_or_else(|| Rng::new().u64(..));
    println!("FUZZ_SEED={seed}");
    let only = std::env::var("FUZZ_TARGET").ok();
    let is_wanted = |target: &Target| only.as_ref().is_none_or(|name| name == target.name);
    assert!(TARGETS.iter().any(is_wanted), "there is no target {only:?}");
    for target in TARGETS.into_iter().filter(is_wanted) {
        let corpus: Vec<Vec<u8>> = inputs_of(target).into_iter().map(|(_, data)| data).collect();
        let inputs = number("FUZZ_INPUTS").unwrap_or(match target.name {
            "config" | "engine" => INPUTS_SLOW,
            _ => INPUTS,
        });
        let mut rng = Rng::with_seed(seed);
        for at in 0..inputs {
            let data = changed(&mut rng, &corpus);
            attempt(target, &data, || format!("input {at} of FUZZ_SEED={seed}"));
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, found {text:?}")))
}

/// Tries an input; a failure says which it was, and how to try it again.
fn attempt(target: Target, data: &[u8], which: impl Fn() -> String) {
    let result = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(data)));
    if result.is_err() {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.input", target.name));
        fs::write(&file, data).expect("a file for the input");
        let name = target.name;
        panic!(
            "{name} fails with {}; again: cargo run -p majordomo-fuzz --bin {name} -- {}",
            which(),
            file.display()
        );
    }
}

/// The files of the corpus and of the regressions, in the order of their names.
fn inputs_of(target: Target) -> Vec<(PathBuf, Vec<u8>)> {
    let mut inputs = Vec::new();
    for kind in ["corpus", "regressions"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(kind).join(target.name);
        // Not every target has regressions.
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.expect("an entry").path();
            let data = fs::read(&path).expect("a readable input");
            inputs.push((path, data));
        }
    }
    inputs.sort();
    inputs
}

/// An input of the corpus, changed in some places, or two of them joined.
fn changed(rng: &mut Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut data = rng.choice(corpus).cloned().unwrap_or_default();
    for _ in 0..rng.u8(1..8) {
        let at = rng.usize(..=data.len());
        let end = at + rng.usize(..=(data.len() - at).min(40));
        match rng.u8(..8) {
            0 => drop(data.drain(at..end)),
            1 => data.insert(at, rng.u8(..)),
            2 => {
                let piece = data[at..end].to_vec();
                data.splice(at..at, piece);
            }
            3 => {
                let other = rng.choice(corpus).map(Vec::as_slice).unwrap_or_default();
                let from = rng.usize(..=other.len());
                let to = from + rng.usize(..=(other.len() - from).min(200));
                data.splice(at..end, other[from..to].iter().copied());
            }
            4 => {
                let likely: [&[u8]; 8] =
                    [&[0], &[1], &[0xff], &[0x7f], &[0xff; 4], &[0, 0, 0, 8], b"\n--\n", b"\n"];
                data.splice(at..end, rng.choice(likely).unwrap_or_default().iter().copied());
            }
            _ => {
                if let Some(byte) = data.get_mut(at) {
                    *byte = if rng.bool() { rng.u8(..) } else { *byte ^ (1 << rng.u8(..8)) };
                }
            }
        }
    }
    data.truncate(INPUT_BYTES_MAX);
    data
}
