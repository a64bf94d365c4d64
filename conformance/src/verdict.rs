//! What came of a check: kept, broken with what was seen, or not tried with a reason.

use std::time::Duration;

/// What was to be seen, and what was.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) expected: String,
    pub(crate) received: String,
    pub(crate) within: Duration,
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Seen { expected, received, within } = self;
        write!(f, "expected {expected}; received {received}; within {} ms", within.as_millis())
    }
}

/// Why a check ended before its end.
#[derive(Clone, Debug)]
pub(crate) enum Stop {
    /// The clause is broken.
    Failed(Seen),
    /// What the check needs first did not happen, which another check is about.
    Blocked(String),
    /// An option that the check needs was not given.
    LeftOut(String),
}

/// What a step of a check gives.
pub(crate) type Step<T = ()> = Result<T, Stop>;

/// A step that is not what the check is about.
pub(crate) trait Needed<T> {
    /// The same; its failure leaves the check untried instead of failed.
    fn needed(self) -> Step<T>;
}

impl<T> Needed<T> for Step<T> {
    fn needed(self) -> Step<T> {
        self.map_err(|stop| match stop {
            Stop::Failed(seen) => Stop::Blocked(format!("before it could begin: {seen}")),
            other => other,
        })
    }
}

/// What came of a check.
pub(crate) type Verdict = Step;
