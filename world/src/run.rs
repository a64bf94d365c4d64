//! Runs histories and says which of them broke a property.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use crate::life::Life;

/// A property did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// In the history of this seed.
    pub seed: u64,
    /// In this step of it.
    pub step: u32,
    /// Which property, what happened, and where that was noticed.
    pub what: String,
}

impl Violation {
    /// The name of the property, without what happened.
    pub fn property(&self) -> String {
        let (place, said) = self.what.split_once('\n').unwrap_or(("", &self.what));
        let place = place.trim_start_matches("panicked at ");
        if place.starts_with("world/") {
            return said.split(": ").next().unwrap_or(said).to_owned();
        }
        // An assertion of the product's own.
        let file = place.split(':').next().unwrap_or(place);
        let said = said.lines().next().unwrap_or(said);
        let said = said.trim_start_matches("assertion `left == right` failed: ");
        format!("{file}: {said}")
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { seed, step, what } = self;
        writeln!(f, "seed {seed}, step {step}: {what}")?;
        write!(f, "replay: cargo run -p majordomo-world -- --seed {seed} --trace")
    }
}

thread_local! {
    /// Whether a history runs on this thread.
    static RUNS: Cell<bool> = const { Cell::new(false) };
    static LATEST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Lets panics of histories print nothing: what they say is in the [`Violation`].
fn keep_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| match RUNS.get() {
            true => LATEST.set(Some(panic.to_string())),
            false => others(panic),
        }));
    });
}

/// Runs something that may panic, and gives what it says then.
///
/// # Errors
///
/// The panic, in words, with its place.
pub fn caught(run: impl FnOnce()) -> Result<(), String> {
    keep_panics();
    RUNS.set(true);
    let result = catch_unwind(AssertUnwindSafe(run));
    RUNS.set(false);
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
        LATEST.take().or(text).unwrap_or_else(|| "no message".to_owned())
    })
}

/// Runs the history of a seed, and gives the number of its steps.
///
/// # Errors
///
/// The first property that did not hold.
pub fn seed(seed: u64, trace: bool) -> Result<u32, Violation> {
    let mut life = Life::new(seed, trace);
    let result = caught(|| life.run());
    let step = life.nature.step;
    result.map(|()| step).map_err(|what| Violation { seed, step, what })
}
