//! Adds up what callers and workers wrote down, and says what may not be: a call without
//! an end, an answer to another call, a second execution that nothing explains.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use super::faults::Role;
use super::ledger::{CallId, Ending, Execution, Moment, Outcome, REASONS};

/// A time in which a process could be taken for lost.
#[derive(Clone, Copy, Debug)]
pub struct Trouble {
    /// What it is.
    pub role: Role,
    /// Its number: of a worker's or client's process.
    pub number: u32,
    /// From when.
    pub from: Moment,
    /// Until when.
    pub until: Moment,
}

/// Clocks are read before and after what they are read for.
const SLACK: Moment = 1_000_000;

/// All that is known of a run.
#[derive(Debug, Default)]
pub struct Books {
    /// How many calls the callers say that they made.
    pub made: u64,
    /// What became of them.
    pub outcomes: Vec<Outcome>,
    /// Each run of a handler.
    pub executions: Vec<Execution>,
    /// What explains a second run.
    pub troubles: Vec<Trouble>,
    /// When a broker was silent, as somebody saw who only asks it something now and then.
    pub silences: Vec<Trouble>,
    /// Whether a client has another broker to go to, which runs its calls anew.
    pub several_brokers: bool,
}

/// What it comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Calls made.
    pub made: u64,
    /// Calls that were answered with their own reply.
    pub answered: u64,
    /// Calls that failed, by reason and by whether they may have run.
    pub failed: BTreeMap<(&'static str, bool), u64>,
    /// Calls whose caller was told nothing, long after their deadline.
    pub lost: u64,
    /// Calls that nobody knows anything of, or that ended more than once.
    pub unaccounted: u64,
    /// Calls that got another call's answer.
    pub misanswered: u64,
    /// Runs of handlers.
    pub executions: u64,
    /// Different calls that ran.
    pub executed: u64,
    /// Second and further runs, by what explains them.
    pub again: BTreeMap<&'static str, u64>,
    /// Second and further runs that nothing explains.
    pub unexplained: Vec<String>,
    /// Calls that were answered, and ran nowhere.
    pub answered_unrun: u64,
    /// Calls that were said not to have run, and did.
    pub denied: Vec<CallId>,
}

impl Books {
    /// Adds up.
    pub fn account(mut self) -> Account {
        let mut account = Account { made: self.made, ..Account::default() };
        self.executions.sort_by_key(|execution| (execution.call, execution.at));
        let mut runs: HashMap<CallId, u64> = HashMap::new();
        for execution in &self.executions {
            *runs.entry(execution.call).or_insert(0) += 1;
        }
        (account.executions, account.executed) = (self.executions.len() as u64, runs.len() as u64);
        let mut ends: HashMap<CallId, u64> = HashMap::new();
        for outcome in &self.outcomes {
            *ends.entry(outcome.call).or_insert(0) += 1;
            let ran = runs.contains_key(&outcome.call);
            match outcome.ending {
                Ending::Answered => {
                    account.answered += 1;
                    account.answered_unrun += u64::from(!ran);
                }
                Ending::Misanswered => account.misanswered += 1,
                Ending::Silent => account.lost += 1,
                Ending::Failed { reason, may_have_run } => {
                    let reason = REASONS.get(usize::from(reason)).copied().unwrap_or("another");
                    *account.failed.entry((reason, may_have_run)).or_insert(0) += 1;
                    if ran && !may_have_run {
                        account.denied.push(outcome.call);
                    }
                }
            }
        }
        let start = self.outcomes.iter().map(|outcome| outcome.began).min().unwrap_or(0);
        let twice: u64 = ends.values().map(|count| count - 1).sum();
        account.unaccounted = self.made.abs_diff(ends.len() as u64) + twice;
        for pair in self.executions.windows(2) {
            let [first, second] = pair else { continue };
            if first.call != second.call {
                continue;
            }
            match self.explain(first, second) {
                Some(cause) => *account.again.entry(cause).or_insert(0) += 1,
                None => account.unexplained.push(format!(
                    "{:?} ran after {:.3} s at worker {} (attempt {}), and {} ms later at worker {} \
                     (attempt {})",
                    first.call,
                    first.at.saturating_sub(start) as f64 / 1e6,
                    first.worker,
                    first.attempt,
                    (second.at - first.at) / 1_000,
                    second.worker,
                    second.attempt
                )),
            }
        }
        account
    }

    /// Why a call ran again.
    fn explain(&self, first: &Execution, second: &Execution) -> Option<&'static str> {
        let during = |trouble: &&Trouble| {
            trouble.from <= second.at + SLACK && trouble.until + SLACK >= first.at
        };
        let among = |troubles: &[Trouble], role, number: Option<u32>| {
            troubles.iter().filter(during).any(|trouble| {
                trouble.role == role && number.is_none_or(|number| trouble.number == number)
            })
        };
        let of = |role, number| among(&self.troubles, role, number);
        // What was on its way to a worker that was lost may run there later than at the
        // next one.
        if [first, second].iter().any(|run| of(Role::Worker, Some(run.worker))) {
            Some("its worker was lost")
        } else if of(Role::Broker, None) {
            Some("a broker was lost")
        } else if self.several_brokers && of(Role::Client, Some(first.call.client())) {
            Some("its client was cut off and went to another broker")
        } else if among(&self.silences, Role::Broker, None) {
            Some("a broker was silent, and no fault was the reason")
        } else {
            None
        }
    }
}

impl Account {
    /// Calls that failed.
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    /// What may never be, in words; empty when all is well.
    pub fn violations(&self) -> Vec<String> {
        let counts = [
            ("calls unaccounted for", self.unaccounted),
            ("calls lost", self.lost),
            ("calls answered with another call's reply", self.misanswered),
            ("calls answered that ran nowhere", self.answered_unrun),
            ("calls said not to have run that did", self.denied.len() as u64),
            ("executions that nothing explains", self.unexplained.len() as u64),
        ];
        let found = counts.into_iter().filter(|(_, count)| *count > 0);
        found.map(|(what, count)| format!("{count} {what}")).collect()
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Account { made, answered, lost, unaccounted, misanswered, .. } = self;
        let failed = self.failures();
        writeln!(
            f,
            "calls       {made} made = {answered} answered + {failed} failed + {misanswered} \
             answered wrongly + {lost} lost + {unaccounted} unaccounted"
        )?;
        for ((reason, may_have_run), count) in &self.failed {
            let run = if *may_have_run { "may have run" } else { "did not run" };
            writeln!(f, "failed      {count} {reason}, {run}")?;
        }
        let again: u64 = self.again.values().sum::<u64>() + self.unexplained.len() as u64;
        let Account { executions, executed, .. } = self;
        writeln!(f, "executions  {executions} of {executed} calls; {again} more than one each")?;
        for (cause, count) in &self.again {
            writeln!(f, "again       {count}: {cause}")?;
        }
        for line in self.unexplained.iter().take(10) {
            writeln!(f, "unexplained {line}")?;
        }
        for call in self.denied.iter().take(10) {
            writeln!(f, "denied      {call:?} ran, and its caller was told that it had not")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: CallId = CallId::new(1, 7);
    const SECOND: Moment = 1_000_000;

    fn outcome(call: CallId, ending: Ending) -> Outcome {
        Outcome { call, began: 0, ended: SECOND, work_us: 0, ending }
    }

    fn execution(worker: u32, at: Moment) -> Execution {
        Execution { call: CALL, at, worker, attempt: 1 }
    }

    fn books(ending: Ending, executions: Vec<Execution>) -> Books {
        Books { made: 1, outcomes: vec![outcome(CALL, ending)], executions, ..Books::default() }
    }

    #[test]
    fn what_is_right_is_no_violation() {
        let account = books(Ending::Answered, vec![execution(1, 5)]).account();
        assert_eq!(account.violations(), [""; 0]);
        let failed = Ending::Failed { reason: 6, may_have_run: true };
        let account = books(failed, vec![execution(1, 5)]).account();
        assert_eq!(account.violations(), [""; 0]);
        assert_eq!(account.failed, BTreeMap::from([(("deadline", true), 1)]));
    }

    #[test]
    fn each_thing_that_may_not_be_is_found() {
        let once = || vec![execution(1, 5)];
        let denied = Ending::Failed { reason: 10, may_have_run: false };
        for (ending, runs, expected) in [
            (Ending::Silent, once(), "1 calls lost"),
            (Ending::Misanswered, once(), "1 calls answered with another call's reply"),
            (Ending::Answered, vec![], "1 calls answered that ran nowhere"),
            (denied, once(), "1 calls said not to have run that did"),
        ] {
            assert_eq!(books(ending, runs).account().violations(), [expected]);
        }
        let unaccounted = |change: fn(&mut Books)| {
            let mut books = books(Ending::Answered, once());
            change(&mut books);
            assert_eq!(books.account().violations(), ["1 calls unaccounted for"]);
        };
        unaccounted(|books| books.made = 2);
        unaccounted(|books| books.made = 0);
        unaccounted(|books| books.outcomes.push(books.outcomes[0]));
    }

    #[test]
    fn a_second_execution_needs_an_explanation() {
        let check = |role, number, from, several_brokers| {
            let mut books =
                books(Ending::Answered, vec![execution(1, 50 * SECOND), execution(2, 55 * SECOND)]);
            books.several_brokers = several_brokers;
            books.troubles = vec![Trouble { role, number, from, until: from + SECOND }];
            books.account().violations().is_empty()
        };
        assert!(check(Role::Worker, 1, 52 * SECOND, false));
        assert!(check(Role::Worker, 2, 52 * SECOND, false), "the first one got it late");
        assert!(!check(Role::Worker, 3, 52 * SECOND, false), "another worker");
        assert!(!check(Role::Worker, 1, 40 * SECOND, false), "long before");
        assert!(!check(Role::Worker, 1, 60 * SECOND, false), "after");
        assert!(check(Role::Broker, 0, 52 * SECOND, false));
        assert!(check(Role::Client, 1, 52 * SECOND, true));
        assert!(!check(Role::Client, 1, 52 * SECOND, false), "nowhere else to go");
        assert!(!check(Role::Client, 2, 52 * SECOND, true), "another client");

        let silent = |from| {
            let mut books =
                books(Ending::Answered, vec![execution(1, 50 * SECOND), execution(2, 55 * SECOND)]);
            let until = from + SECOND;
            books.silences = vec![Trouble { role: Role::Broker, number: 1, from, until }];
            books.account().again.keys().copied().collect::<Vec<_>>()
        };
        assert_eq!(silent(52 * SECOND), ["a broker was silent, and no fault was the reason"]);
        assert_eq!(silent(40 * SECOND), [""; 0], "long before");
    }
}
