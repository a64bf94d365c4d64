//! What the figures should be, most of them as ratios to another row of the same rounds.

use super::beating::{ALONE, AMONG, BEATING};
use super::figures::{
    BYTES_EACH, BYTES_EACH_AFTER, BYTES_PEAK, CPU_MS_PER_SECOND, CPU_US, Figures, P50_US, P999_US,
    PER_SECOND, rounded, title,
};
use super::idle::IDLE;
use super::large::{BODY_BYTES, LARGE};
use super::plan::*;
use super::waiting::WAITING;

type Name = (&'static str, &'static str);

/// What a figure is compared with.
#[derive(Clone, Copy, Debug)]
enum Against {
    /// So many times another row's.
    Times(Name),
    /// So much above another row's.
    Above(Name),
    /// The number itself.
    Number,
}

#[derive(Clone, Copy, Debug)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// One goal.
#[derive(Clone, Copy, Debug)]
struct Goal {
    row: Name,
    kind: &'static str,
    against: Against,
    bound: Bound,
}

/// How it came out.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Whether the goal is met; `None` when a row is missing.
    pub met: Option<bool>,
    /// The shape of the load.
    pub shape: &'static str,
    /// What is compared.
    pub what: String,
    /// The figure found; empty when a row is missing.
    pub found: String,
    /// What the bare loop has in its place: about the best that a broker on libzmq can do.
    /// Empty where there is no such row.
    pub bare: String,
    /// What it should be.
    pub wanted: String,
}

fn goals() -> Vec<Goal> {
    use Against::{Above, Number, Times};
    use Bound::{AtLeast, AtMost};
    let goal =
        |shape, subject, kind, against, bound| Goal { row: (shape, subject), kind, against, bound };
    let times = |shape, subject, kind, other, bound| {
        goal(shape, subject, kind, Times((shape, other)), bound)
    };
    let mut goals = vec![
        times(SIXTEEN, MAJORDOMO, CPU_US, BARE, AtMost(1.10)),
        times(SIXTEEN, MAJORDOMO, PER_SECOND, BARE, AtLeast(0.95)),
    ];
    for shape in [DEEP_64_BY_4, DEEP_64_BY_16, DEEP_1000_BY_4, DEEP_1000_BY_16] {
        goals.push(times(shape, MAJORDOMO, PER_SECOND, BARE, AtLeast(0.8)));
    }
    goals.extend([
        times(BATCH_64, MAJORDOMO_V10, PER_SECOND, PROXY, AtLeast(1.6)),
        times(BATCH_64, MAJORDOMO_V10, PER_SECOND, NATS, AtLeast(0.75)),
        times(BATCH_64, MAJORDOMO_V10, CPU_US, NATS, AtMost(1.0)),
        times(BATCH_64, SDK, PER_SECOND, MAJORDOMO_V10, AtLeast(0.8)),
        times(BATCH_64, SDK_THREADS, PER_SECOND, MAJORDOMO_V10, AtLeast(0.8)),
        times(BATCH_1000, MAJORDOMO_V10, PER_SECOND, PROXY, AtLeast(4.0)),
        times(BATCH_1000, MAJORDOMO_V10, PER_SECOND, NATS, AtLeast(1.3)),
        times(BATCH_1000, MAJORDOMO_V10, CPU_US, NATS, AtMost(0.6)),
        times(BATCH_1000, SDK, PER_SECOND, MAJORDOMO_V10, AtLeast(0.5)),
        goal(ALL_TO_ONE, CLIENT_BARE, PER_SECOND, Times((DEEP_1000, MAJORDOMO)), AtLeast(10.0)),
        goal(ALL_TO_ONE, SDK, PER_SECOND, Times((DEEP_1000, MAJORDOMO)), AtLeast(10.0)),
        times(ONE, MAJORDOMO, P50_US, BARE, AtMost(1.10)),
        times(ONE, SDK, P50_US, MAJORDOMO_V10, AtMost(1.25)),
        times(ONE, SDK_BLOCKING, P50_US, MAJORDOMO_V10, AtMost(1.10)),
        times(ONE, CLIENT_BARE, P50_US, BLOCKING_BARE, AtMost(1.05)),
        times(ONE, MAJORDOMO, PER_SECOND, NATS, AtLeast(0.9)),
        times(BODY_64_KIB, MAJORDOMO, CPU_US, BARE, AtMost(1.10)),
        times(BODY_1_MIB, MAJORDOMO, CPU_US, BARE, AtMost(1.10)),
        // A request that may have to be handed out again, its reply, and a fifth.
        goal(LARGE, MAJORDOMO, BYTES_PEAK, Number, AtMost(2.4 * BODY_BYTES as f64)),
        goal(CROWD_10000, MAJORDOMO, CPU_US, Times((CROWD_10, MAJORDOMO)), AtMost(1.3)),
        times(IDLE, MAJORDOMO, CPU_MS_PER_SECOND, BARE, AtMost(1.5)),
        goal(IDLE, MAJORDOMO, BYTES_EACH, Above((IDLE, BARE)), AtMost(1_024.0)),
        goal(WAITING, MAJORDOMO, BYTES_EACH, Number, AtMost(400.0)),
        times(WAITING, MAJORDOMO, PER_SECOND, BARE, AtLeast(1.0)),
        // A tenth of what they may take.
        goal(WAITING, MAJORDOMO, BYTES_EACH_AFTER, Number, AtMost(40.0)),
        times(BEATING, AMONG, P999_US, ALONE, AtMost(1.5)),
    ]);
    goals
}

/// What became of every goal.
pub fn outcomes(figures: &Figures) -> Vec<Outcome> {
    goals().into_iter().map(|goal| goal.outcome(figures)).collect()
}

impl Goal {
    /// The same, about bare loops.
    fn bare(self) -> Option<Self> {
        let bare = |subject| match subject {
            MAJORDOMO | MAJORDOMO_V10 => Some(BARE),
            _ => None,
        };
        let (Against::Times((other_shape, other)), (shape, subject)) = (self.against, self.row)
        else {
            return None;
        };
        let against = Against::Times((other_shape, bare(other).unwrap_or(other)));
        let subject = if other == BARE { BARE_IDLE_FIRST } else { bare(subject)? };
        Some(Goal { row: (shape, subject), against, ..self })
    }

    fn found(&self, figures: &Figures) -> Option<f64> {
        match self.against {
            Against::Times(other) => figures.ratio(self.row, other, self.kind),
            Against::Above(other) => {
                Some(figures.median(self.row, self.kind)? - figures.median(other, self.kind)?)
            }
            Against::Number => figures.median(self.row, self.kind),
        }
    }

    fn outcome(&self, figures: &Figures) -> Outcome {
        let (shape, subject) = self.row;
        let found = self.found(figures);
        let (wanted, met) = match self.bound {
            Bound::AtLeast(bound) => {
                (format!("≥ {}", rounded(bound)), found.map(|found| found >= bound))
            }
            Bound::AtMost(bound) => {
                (format!("≤ {}", rounded(bound)), found.map(|found| found <= bound))
            }
        };
        let other = match self.against {
            Against::Times((other, subject)) if other == shape => format!(" / {subject}"),
            Against::Times((other, subject)) => format!(" / {subject}, {other}"),
            Against::Above((_, subject)) => format!(" − {subject}"),
            Against::Number => String::new(),
        };
        let what = format!("{}: {subject}{other}", title(self.kind));
        let bare = self.bare().and_then(|goal| goal.found(figures));
        let [found, bare] = [found, bare].map(|found| found.map(rounded).unwrap_or_default());
        Outcome { met, shape, what, found, bare, wanted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_met_missed_or_not_measured() {
        let mut figures = Figures::default();
        for (subject, per_second, cpu) in [(MAJORDOMO, 96.0, 12.0), (BARE, 100.0, 10.0)] {
            figures.add(SIXTEEN, subject, &[(PER_SECOND, per_second), (CPU_US, cpu)]);
        }
        let outcomes = outcomes(&figures);
        assert_eq!(outcomes[0].met, Some(false));
        assert_eq!((outcomes[1].met, outcomes[1].found.as_str()), (Some(true), "0.96"));
        assert!(outcomes[2..].iter().all(|outcome| outcome.met.is_none()));
    }

    #[test]
    fn the_bare_loop_shows_what_can_be_had() {
        let mut figures = Figures::default();
        let rows = [(MAJORDOMO_V10, 50.0), (BARE, 150.0), (PROXY, 100.0)];
        for (subject, per_second) in rows {
            figures.add(BATCH_64, subject, &[(PER_SECOND, per_second)]);
        }
        for (shape, ours, bare) in [(CROWD_10, 10.0, 8.0), (CROWD_10000, 13.0, 12.0)] {
            figures.add(shape, MAJORDOMO, &[(CPU_US, ours)]);
            figures.add(shape, BARE, &[(CPU_US, bare)]);
        }
        figures.add(DEEP_64_BY_4, BARE, &[(PER_SECOND, 100.0)]);
        figures.add(DEEP_64_BY_4, BARE_IDLE_FIRST, &[(PER_SECOND, 80.0)]);
        let all = outcomes(&figures);
        let shown = all.iter().map(|it| (it.found.as_str(), it.bare.as_str()));
        let shown: Vec<_> = shown.filter(|(_, bare)| !bare.is_empty()).collect();
        assert_eq!(shown, [("", "0.80"), ("0.50", "1.50"), ("1.30", "1.50")]);
    }

    #[test]
    fn every_goal_is_about_rows_that_are_measured() {
        let args = super::super::args::Args::parse([]).expect("no options are needed");
        let rows = rows(&args);
        let known = |(shape, subject): Name| {
            let measured = rows.iter().any(|row| (row.shape, row.subject) == (shape, subject));
            measured || [IDLE, WAITING, BEATING, LARGE].contains(&shape)
        };
        for goal in goals() {
            assert!(known(goal.row), "{goal:?}");
            if let Against::Times(other) | Against::Above(other) = goal.against {
                assert!(known(other), "{goal:?}");
            }
        }
    }
}
