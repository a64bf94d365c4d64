//! What every decoder, the files that are read and the engine must hold, whatever they
//! are given.
//!
//! A [`Target`] is one plain function of bytes that panics when something does not hold.
//! Two drivers run them: libFuzzer, by the programs in `targets/`, which find new inputs
//! by what code they reach; and `tests/inputs.rs`, on any toolchain, which runs the
//! corpus, and inputs made from it by chance. No target asserts only that nothing
//! panics: what was read must be written back the same, what is refused must say why,
//! memory must stay within a multiple of the input, and so on; each module says what.

mod account;
pub mod batch;
pub mod client;
pub mod config;
mod connections;
pub mod endpoint;
pub mod engine;
mod frames;
pub mod key;
mod memory;
pub mod message;
pub mod metadata;
pub mod mmi;
pub mod names;
pub mod payload;
mod records;
pub mod rights;
mod story;
pub mod worker;
pub mod zap;

use std::process::ExitCode;

/// A function to be tried with any bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of its program and of its directory in `corpus/`.
    pub name: &'static str,
    /// Tries one input.
    ///
    /// # Panics
    ///
    /// When something does not hold: a fault of what is tried, or of the target.
    pub run: fn(&[u8]),
    /// The input as a person reads it.
    pub show: fn(&[u8]) -> String,
}

/// Every target.
pub const TARGETS: [Target; 14] = [
    message::TARGET,
    client::TARGET,
    worker::TARGET,
    batch::TARGET,
    metadata::TARGET,
    mmi::TARGET,
    payload::TARGET,
    names::TARGET,
    endpoint::TARGET,
    config::TARGET,
    zap::TARGET,
    key::TARGET,
    rights::TARGET,
    engine::TARGET,
];

/// Shows and tries the files that the process was given: what the programs in `targets/`
/// do on a toolchain without libFuzzer.
pub fn replay(target: Target) -> ExitCode {
    let files: Vec<_> = std::env::args_os().skip(1).collect();
    if files.is_empty() {
        eprintln!("usage: {} FILE...", target.name);
        return ExitCode::from(2);
    }
    for file in files {
        match std::fs::read(&file) {
            Ok(data) => {
                println!("{}:\n{}", file.display(), (target.show)(&data));
                (target.run)(&data);
            }
            Err(error) => {
                eprintln!("cannot read {}: {error}", file.display());
                return ExitCode::FAILURE;
            }
        }
    }
    println!("everything holds");
    ExitCode::SUCCESS
}

/// The program of a target, named by its module.
#[macro_export]
macro_rules! driver {
    ($target:ident) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|data: &[u8]| ($crate::$target::TARGET.run)(data));

        #[cfg(not(fuzzing))]
        fn main() -> std::process::ExitCode {
            $crate::replay($crate::$target::TARGET)
        }
    };
}
