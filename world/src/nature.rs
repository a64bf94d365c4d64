//! What surrounds all parts of a world: the clock, chance, the network, the account of
//! all calls, and the trace.

use std::fmt;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::book::Book;
use crate::net::Net;

/// See the [module](self).
pub struct Nature {
    /// When the world began.
    pub began: Instant,
    /// The one time there is.
    pub now: Instant,
    /// Everything that is left to chance.
    pub rng: Rng,
    /// Who is connected to whom.
    pub net: Net,
    /// What was asked, run and answered.
    pub book: Book,
    /// Whether to print what happens.
    pub trace: bool,
    /// What happens now, for the trace.
    pub step: u32,
}

impl Nature {
    /// Prints a line, in a trace.
    pub fn tell(&self, line: impl FnOnce() -> String) {
        if self.trace {
            let at = self.now.saturating_duration_since(self.began);
            println!("{:>6} {:>12.3} ms  {}", self.step, at.as_secs_f64() * 1e3, line());
        }
    }

    /// A duration up to this one.
    pub fn up_to(&mut self, longest: Duration) -> Duration {
        Duration::from_micros(self.rng.u64(0..=longest.as_micros() as u64))
    }

    /// Whether something happens that does so once in `count`.
    pub fn one_in(&mut self, count: u32) -> bool {
        self.rng.u32(..count) == 0
    }
}

/// A property does not hold: ends this history. The runner catches it.
#[track_caller]
pub fn violated(property: &str, detail: fmt::Arguments<'_>) -> ! {
    panic!("{property}: {detail}")
}

/// Checks a property, which has a name.
#[macro_export]
macro_rules! must {
    ($holds:expr, $property:literal, $($detail:tt)+) => {
        if !$holds {
            $crate::nature::violated($property, format_args!($($detail)+))
        }
    };
}

/// Some instant: there is no other way to come by one, and no history depends on which.
#[expect(clippy::disallowed_methods, reason = "an Instant cannot be made from a number")]
pub fn any_instant() -> Instant {
    Instant::now()
}
