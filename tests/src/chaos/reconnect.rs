//! Thousands of workers and clients, all with their default heartbeats, after a broker
//! was killed and started again: how long until each of them is served again?

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use majordomo_client::Version;

use super::account::{Account, Books, Trouble};
use super::faults::Role;
use super::ledger::{self, Ending, Moment, Outcome, moment};
use super::peers::Peer;
use crate::limit::{Deadline, let_pass};
use crate::process::{Process, Signal};
use crate::report::{Reports, in_short};
use crate::spawn::{BrokerProcess, free_port};

/// Peers of one kind in one process.
const SHARE: usize = 500;
/// How long it may take until all are served; when it is over, the run has failed.
const PATIENCE: Duration = Duration::from_secs(180);
/// Between two looks at who has been served.
const LOOK: Duration = Duration::from_millis(100);
/// Calls go on for so long before the broker is killed.
const CALM: Duration = Duration::from_secs(3);

/// One run.
#[derive(Clone, Debug)]
pub struct Reconnect {
    /// Workers and clients, half of each.
    pub peers: usize,
    /// How often the broker is killed.
    pub rounds: usize,
    /// The program that is worker or caller; see [`super::peers`].
    pub program: PathBuf,
}

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// The books.
    pub account: Account,
    /// From the broker's being ready again until every worker was registered, and until
    /// every client had an answer from its worker to a call that it made since.
    pub rounds: Vec<(Duration, Duration)>,
    /// What the broker uses, and its counters.
    pub broker: String,
    /// What may not be; empty when all is well.
    pub violations: Vec<String>,
}

impl Reconnect {
    /// Runs it.
    ///
    /// # Panics
    ///
    /// When a process does not start, or the books cannot be read.
    pub fn run(&self) -> Report {
        let directory = tempfile::tempdir().expect("a directory");
        let mut broker = BrokerProcess::with([
            format!("--bind=tcp://127.0.0.1:{}", free_port()),
            "--heartbeat-interval-ms=2500".to_owned(),
            "--log=error".to_owned(),
        ]);
        let pairs = self.peers / 2;
        let shares: Vec<usize> =
            (0..pairs).step_by(SHARE).map(|first| SHARE.min(pairs - first)).collect();
        let start = |role: &str| -> Vec<Process> {
            let peers = shares.iter().enumerate().map(|(number, services)| Peer {
                version: Version::V1_0,
                number: number as u32,
                threads: 1,
                work_us_max: 0,
                services: *services,
                ledger: directory.path().join(role).display().to_string(),
                endpoints: vec![broker.endpoint().to_owned()],
            });
            let start = |peer: Peer| {
                let process =
                    Process::start(Command::new(&self.program).arg(role).args(peer.to_args()));
                assert_eq!(process.line().as_deref(), Some("ready"), "{}", process.log());
                process
            };
            peers.map(start).collect()
        };
        let outcomes = directory.path().join("client");
        let answered = |since: Moment| -> HashSet<u32> {
            let outcomes: Vec<Outcome> = ledger::read(&outcomes).unwrap_or_default();
            let since = outcomes
                .iter()
                .filter(|outcome| outcome.began >= since && outcome.ending == Ending::Answered);
            since.map(|outcome| outcome.call.client()).collect()
        };
        let mut violations = vec![];
        let mut workers = start("worker");
        if until(|| registered(&broker) == pairs).is_none() {
            violations.push(format!("{} of {pairs} workers came", registered(&broker)));
        }
        let mut clients = start("client");
        if until(|| answered(0).len() == pairs).is_none() {
            violations.push(format!("{} of {pairs} clients are served", answered(0).len()));
        }
        let (mut rounds, mut troubles) = (vec![], vec![]);
        for _ in 0..self.rounds {
            let_pass(CALM);
            let from = moment();
            broker.kill();
            broker.start_again();
            let ready = moment();
            let all_registered = until(|| registered(&broker) == pairs);
            let all_served = until(|| answered(ready).len() == pairs);
            troubles.push(Trouble { role: Role::Broker, number: 0, from, until: moment() });
            match (all_registered, all_served) {
                (Some(registered), Some(served)) => {
                    let since = |then: Moment| Duration::from_micros(then - ready);
                    rounds.push((since(registered), since(served)));
                }
                _ => violations.push(format!(
                    "{} of {pairs} workers came back, {} clients are served again",
                    registered(&broker),
                    answered(ready).len()
                )),
            }
        }
        let usage = broker.process().usage().expect("it runs");
        let report = Reports::of(broker.endpoint()).fresh();
        let mut made = 0;
        for (processes, end) in [(&mut clients, "made "), (&mut workers, "stopped ")] {
            processes.iter().for_each(|process| process.signal(Signal::TERM));
            for process in processes {
                let status = process.wait_for(PATIENCE);
                let line = process.last_line().unwrap_or_default();
                match line.strip_prefix(end) {
                    Some(count) => made += count.parse::<u64>().unwrap_or(0),
                    None => violations.push(format!("a peer ended with {status:?}: {line}")),
                }
            }
        }
        let books = Books {
            made,
            outcomes: ledger::read(&outcomes).expect("the callers' books"),
            executions: ledger::read(&directory.path().join("worker")).expect("workers' books"),
            troubles,
            silences: vec![],
            several_brokers: false,
        };
        let account = books.account();
        violations.extend(account.violations());
        if account.failures() > 0 {
            violations.push(format!("{} calls failed", account.failures()));
        }
        let (mib, descriptors) = (usage.rss as f64 / 1_048_576.0, usage.descriptors);
        let broker = format!("{mib:.1} MiB, {descriptors} fd; {}", in_short(&report));
        Report { account, rounds, broker, violations }
    }
}

fn registered(broker: &BrokerProcess) -> usize {
    Reports::of(broker.endpoint()).latest().workers.len()
}

/// Looks until it is so; when that was.
fn until(mut look: impl FnMut() -> bool) -> Option<Moment> {
    let deadline = Deadline::after(PATIENCE);
    while !deadline.is_over() {
        if look() {
            return Some(moment());
        }
        let_pass(LOOK);
    }
    None
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.account)?;
        for (registered, served) in &self.rounds {
            writeln!(
                f,
                "restart     all workers back after {:.2} s, all clients served after {:.2} s",
                registered.as_secs_f64(),
                served.as_secs_f64()
            )?;
        }
        writeln!(f, "broker      {}", self.broker)?;
        for violation in &self.violations {
            writeln!(f, "VIOLATION   {violation}")?;
        }
        Ok(())
    }
}
