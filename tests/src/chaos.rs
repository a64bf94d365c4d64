//! Real processes under faults, and exact books of every call: made is answered and
//! failed, nothing is lost, nothing is answered twice or to the wrong caller, and nothing
//! runs twice unless a worker or a broker was lost.
//!
//! Callers and workers are processes on our SDKs ([`peers`]) that write down what they do
//! ([`ledger`]). A seed draws what happens to whom ([`faults`]); the [`fleet`] does it.
//! At the end [`account`] adds up, and [`latency`] says how long calls took.
//! [`reconnect`] is a run of its own: thousands of peers after a broker's restart.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use majordomo_client::Version;

use crate::limit::{Deadline, let_pass};
use crate::report::{Reports, in_short};

pub mod account;
pub mod faults;
pub mod fleet;
pub mod latency;
pub mod ledger;
mod many;
pub mod peers;
pub mod reconnect;
mod witness;

use account::{Account, Books};
use faults::{Crew, Fault, Kind, draw};
use fleet::{Fleet, Plan};
use latency::{Delays, delays};
use ledger::{Moment, moment};
use witness::Witness;

/// What a run is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Workers, then brokers are drained under load: nothing fails, nothing runs twice.
    Drain,
    /// The only broker is killed again and again: every call is answered, or is reported
    /// as one that may have run where it may.
    BrokerKill,
    /// Callers are cut off from the only broker, and workers drained: nothing fails,
    /// nothing runs twice.
    Cuts,
    /// Everything, with two brokers and peers of 0.2 among those of 1.0.
    Chaos,
}

impl Profile {
    /// All of them.
    pub const ALL: [Profile; 4] =
        [Profile::Drain, Profile::BrokerKill, Profile::Cuts, Profile::Chaos];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Profile::Drain => "drain",
            Profile::BrokerKill => "broker-kill",
            Profile::Cuts => "cuts",
            Profile::Chaos => "chaos",
        }
    }

    /// The faults it has unless others are asked for.
    fn kinds(self) -> &'static [Kind] {
        match self {
            Profile::Drain => &[Kind::WorkerDrain, Kind::BrokerDrain],
            Profile::BrokerKill => &[Kind::BrokerKill],
            Profile::Cuts => {
                &[Kind::ClientCut, Kind::ClientDelay, Kind::ClientHalfOpen, Kind::WorkerDrain]
            }
            Profile::Chaos => &Kind::ALL,
        }
    }

    /// Whether every call must be answered and run once.
    fn is_exact(self) -> bool {
        matches!(self, Profile::Drain | Profile::Cuts)
    }

    fn brokers(self) -> usize {
        match self {
            Profile::Drain | Profile::Chaos => 2,
            Profile::BrokerKill | Profile::Cuts => 1,
        }
    }
}

/// One run.
#[derive(Clone, Debug)]
pub struct Run {
    /// What it is to show.
    pub profile: Profile,
    /// How long calls are made.
    pub time: Duration,
    /// What decides the faults.
    pub seed: u64,
    /// Fewer calls are a failure.
    pub calls_min: u64,
    /// Only these kinds of faults of the profile's, if any are given.
    pub only: Vec<Kind>,
    /// The program that is worker or caller; see [`peers`].
    pub program: PathBuf,
    /// So often memory and descriptors are looked at.
    pub look: Duration,
}

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// The books.
    pub account: Account,
    /// What happened, in the order of time.
    pub faults: Vec<Fault>,
    /// Delays of calls in each phase.
    pub phases: Vec<(&'static str, Delays)>,
    /// Memory and descriptors, when they were looked at, and the delays of calls since
    /// the look before.
    pub usage: Vec<(Duration, String, Delays)>,
    /// How often a broker let a witness wait, and for how long at most; faults are the
    /// reason of most.
    pub silences: (usize, Duration),
    /// The brokers' counters at the end.
    pub brokers: Vec<String>,
    /// What may not be; empty when all is well.
    pub violations: Vec<String>,
}

impl Run {
    /// The faults of this run.
    pub fn faults(&self) -> Vec<Fault> {
        let kinds = |wanted: &[Kind]| -> Vec<Kind> {
            let asked = |kind: &Kind| self.only.is_empty() || self.only.contains(kind);
            wanted.iter().copied().filter(asked).collect()
        };
        let Plan { brokers, workers, clients, .. } = self.plan();
        let crew = Crew { brokers, workers: workers.len(), clients: clients.len() };
        let second = Duration::from_secs(1);
        let draw =
            |wanted, from, until, pause| draw(self.seed, &kinds(wanted), crew, from, until, pause);
        let thirds = [self.time / 3, self.time * 2 / 3, self.time];
        match self.profile {
            Profile::Drain => {
                let mut faults = draw(&[Kind::WorkerDrain], thirds[0], thirds[1], second);
                faults.extend(draw(&[Kind::BrokerDrain], thirds[1], thirds[2], 3 * second));
                faults
            }
            Profile::BrokerKill => draw(self.profile.kinds(), second, self.time, 2 * second),
            Profile::Cuts | Profile::Chaos => draw(self.profile.kinds(), second, self.time, second),
        }
    }

    fn plan(&self) -> Plan {
        let (new, old) = (Version::V1_0, Version::V0_2);
        let mut workers = vec![(new, 16); 4];
        let mut clients = vec![(new, 48); 2];
        if self.profile == Profile::Chaos {
            workers.extend([(old, 4); 2]);
            clients.push((old, 8));
        }
        let brokers = self.profile.brokers();
        Plan { program: self.program.clone(), brokers, workers, clients, work_us_max: 40_000 }
    }

    /// Runs it.
    ///
    /// # Panics
    ///
    /// When a process does not start, or its books cannot be read.
    pub fn run(&self) -> Report {
        let faults = self.faults();
        let mut fleet = Fleet::start(self.plan());
        fleet.start_clients();
        let started = moment();
        let endpoints = fleet.brokers().iter().map(|broker| broker.endpoint().to_owned());
        let witness = Witness::start(endpoints);
        let usage = self.make_trouble(&mut fleet, &faults);
        let made = fleet.stop_clients();
        let silences = witness.stop();
        let brokers = fleet.brokers().iter();
        let brokers = brokers.map(|broker| in_short(&Reports::of(broker.endpoint()).fresh()));
        let brokers = brokers.collect();
        fleet.stop_workers();
        let outcomes = ledger::read(&fleet.outcomes()).expect("the callers' books");
        let executions = ledger::read(&fleet.executions()).expect("the workers' books");
        let phases =
            self.phases(started).map(|(name, from, until)| (name, delays(&outcomes, from, until)));
        let phases = phases.collect();
        let mut before = started;
        let usage = usage.into_iter().map(|(at, line)| {
            let looked = started + at.as_micros() as Moment;
            let since = delays(&outcomes, std::mem::replace(&mut before, looked), looked);
            (at, line, since)
        });
        let usage = usage.collect();
        let troubles = fleet.troubles().to_vec();
        let several_brokers = self.profile.brokers() > 1;
        let longest = silences.iter().map(|silence| silence.until - silence.from).max();
        let seen = (silences.len(), Duration::from_micros(longest.unwrap_or(0)));
        let books = Books { made, outcomes, executions, troubles, silences, several_brokers };
        let account = books.account();
        let mut violations = self.violations(&account);
        violations.extend(fleet.complaints().iter().cloned());
        Report { account, faults, phases, usage, silences: seen, brokers, violations }
    }

    /// Lets the faults happen, each at its time. Gives what was used meanwhile.
    fn make_trouble(&self, fleet: &mut Fleet, faults: &[Fault]) -> Vec<(Duration, String)> {
        let mut events: Vec<(Duration, bool, &Fault)> = faults
            .iter()
            .flat_map(|fault| [(fault.begins, true, fault), (fault.ends, false, fault)])
            .collect();
        // Stable, so that a fault without length begins before it is over.
        events.sort_by_key(|(at, ..)| *at);
        let mut events = events.into_iter().peekable();
        let end = Deadline::after(self.time);
        let mut usage = vec![];
        let mut look = Duration::ZERO;
        loop {
            let passed = self.time.saturating_sub(end.left());
            if passed >= look || end.is_over() {
                usage.push((passed, fleet.usage()));
                look = passed + self.look;
            }
            // What has begun is also ended, if later than the rest.
            let due = |(at, _, _): &(Duration, bool, &Fault)| *at <= passed || end.is_over();
            while let Some((_, begins, fault)) = events.next_if(due) {
                if begins { fleet.begin(fault) } else { fleet.end(fault) }
            }
            if end.is_over() && events.peek().is_none() {
                return usage;
            }
            let next = events.peek().map_or(self.time, |(at, ..)| *at).min(look);
            let_pass(next.saturating_sub(passed).min(end.left()));
        }
    }

    fn phases(&self, started: Moment) -> impl Iterator<Item = (&'static str, Moment, Moment)> {
        let names: &[&str] = match self.profile {
            Profile::Drain => &["quiet", "workers drained", "brokers drained"],
            _ => &["all"],
        };
        let length = self.time.as_micros() as Moment / names.len() as Moment;
        names.iter().enumerate().map(move |(number, name)| {
            let from = started + number as Moment * length;
            (*name, from, from + length)
        })
    }

    fn violations(&self, account: &Account) -> Vec<String> {
        let mut violations = account.violations();
        if account.made < self.calls_min {
            violations.push(format!("only {} calls, not {}", account.made, self.calls_min));
        }
        if self.profile.is_exact() {
            if account.failures() > 0 {
                violations.push(format!("{} calls failed", account.failures()));
            }
            if account.executions != account.made {
                let Account { executions, made, .. } = account;
                violations.push(format!("{executions} executions of {made} calls"));
            }
        }
        violations
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |kind| self.faults.iter().filter(|fault| fault.kind == kind).count();
        let kinds = Kind::ALL.into_iter().filter(|kind| count(*kind) > 0);
        let kinds: Vec<String> =
            kinds.map(|kind| format!("{} {}", count(kind), kind.as_str())).collect();
        writeln!(f, "faults      {}: {}", self.faults.len(), kinds.join(", "))?;
        write!(f, "{}", self.account)?;
        for (name, phase) in &self.phases {
            writeln!(f, "delay       {name}: {phase}")?;
        }
        if let [(_, quiet), others @ ..] = &self.phases[..] {
            for (name, phase) in others {
                let [p50, p99, max] = phase.ratios(quiet);
                writeln!(
                    f,
                    "ratio       {name} to quiet: p50 {p50:.2}, p99 {p99:.2}, max {max:.2}"
                )?;
            }
        }
        for (at, line, since) in &self.usage {
            writeln!(f, "{:>5} s     {line}", at.as_secs())?;
            if since.calls > 0 {
                writeln!(f, "            in the time before: {since}")?;
            }
        }
        let (silences, longest) = self.silences;
        writeln!(f, "silences    {silences} of a broker, the longest {longest:.1?}")?;
        for broker in &self.brokers {
            writeln!(f, "broker      {broker}")?;
        }
        for violation in &self.violations {
            writeln!(f, "VIOLATION   {violation}")?;
        }
        Ok(())
    }
}
