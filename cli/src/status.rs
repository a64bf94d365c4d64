//! `majordomo status`: what a broker says of itself, as tables.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use comfy_table::{CellAlignment, Table, presets};
use majordomo_client::{BrokerReport, Security, ServiceName};
use majordomo_protocol::mmi::{self, WorkerReport, WorkerState};

use crate::args::{Protocol, Status, UsageError};
use crate::{ReaderGone, asking, note, print, printable};

/// Clears a terminal and goes to its upper left corner.
const CLEAR: &[u8] = b"\x1b[H\x1b[2J";

/// More often a broker is not to be asked.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

pub(crate) fn run(status: &Status, brokers: &[String], security: Security) -> anyhow::Result<()> {
    let mut ask = question(status, brokers, security)?;
    let Some(interval) = status.watch else {
        return show(ask()?, status, b"");
    };
    if interval < INTERVAL_MIN {
        let text = format!("--watch is {interval:?}: it must be {INTERVAL_MIN:?} or more");
        return Err(UsageError(text).into());
    }
    let clear = if io::stdout().is_terminal() { CLEAR } else { b"" };
    loop {
        match ask().and_then(|answer| show(answer, status, clear)) {
            Err(error) if error.is::<ReaderGone>() => return Err(error),
            // A broker that restarts is worth watching.
            Err(error) => note(format_args!("{error:#}")),
            Ok(()) => {}
        }
        // Nobody unparks this thread.
        thread::park_timeout(interval);
    }
}

/// What asks the broker for its report, as often as it is called, on one connection.
fn question(
    status: &Status,
    brokers: &[String],
    security: Security,
) -> anyhow::Result<Box<dyn FnMut() -> anyhow::Result<Vec<u8>>>> {
    if status.asking.protocol == Protocol::V1_0 {
        let (client, brokers) =
            (asking::client(brokers, security, &status.asking).build()?, brokers.to_vec());
        return Ok(Box::new(move || {
            let answer = client.call(mmi::BROKER, "");
            Ok(answer.map_err(|error| asking::told(error, &client, &brokers, false))?.into_bytes())
        }));
    }
    let version = status.asking.protocol.into();
    let mut client = asking::blocking(brokers, security, &status.asking, version).build()?;
    Ok(Box::new(move || Ok(client.request(mmi::BROKER, "")?.into_bytes())))
}

/// Prints what the broker answered behind `before`.
fn show(mut answer: Vec<u8>, status: &Status, before: &[u8]) -> anyhow::Result<()> {
    if answer == mmi::NOT_IMPLEMENTED.as_bytes() {
        bail!(
            "the broker does not know {} (it answered 501): only Majordomo's own has a status; \
             call and work can do with this one",
            mmi::BROKER
        );
    }
    let report: BrokerReport = serde_json::from_slice(&answer)
        .with_context(|| format!("the broker answered {} with no report", mmi::BROKER))?;
    let text = if status.json {
        answer.push(b'\n');
        answer
    } else {
        printable(&tables(&report, status.service.as_ref())?).into_bytes()
    };
    print(&[before, &text].concat())
}

/// The report for people; of one service only, if one is named.
fn tables(report: &BrokerReport, only: Option<&ServiceName>) -> anyhow::Result<String> {
    let wanted = |service: &str| only.is_none_or(|only| only.as_str() == service);
    let mut services = table(["SERVICE", "WORKERS", "WAITING", "RUNNING"], &[1, 2, 3]);
    for service in report.services.iter().filter(|service| wanted(&service.name)) {
        let [workers, waiting, running] =
            [service.workers, service.waiting, service.running].map(|count| count.to_string());
        services.add_row([service.name.clone(), workers, waiting, running]);
    }
    if let Some(only) = only
        && services.is_empty()
    {
        bail!("the broker knows no service {only}: it has no worker and no request");
    }
    let header = ["SERVICE", "WORKER", "PROTOCOL", "STATE", "RUNNING", "AGE", "SILENT", "ANSWERED"];
    let mut workers = table(header, &[4, 5, 6, 7]);
    for worker in report.workers.iter().filter(|worker| wanted(&worker.service)) {
        let state = match worker.state {
            WorkerState::Idle => "idle",
            WorkerState::Busy => "busy",
            WorkerState::Draining => "draining",
        };
        workers.add_row([
            worker.service.clone(),
            worker.id.clone(),
            worker.protocol.clone(),
            state.to_owned(),
            running(worker),
            age(worker.age_ms),
            age(worker.silent_ms),
            worker.answered.to_string(),
        ]);
    }
    let mut parts = Vec::new();
    if only.is_none() {
        parts.push(totals(report));
    }
    parts.extend([services, workers].iter().filter(|table| !table.is_empty()).map(text));
    if only.is_some() {
        let workers = report.workers.iter().filter(|worker| wanted(&worker.service));
        let said: BTreeSet<_> = workers.flat_map(|worker| &worker.metadata).collect();
        let mut about = table(["ABOUT", ""], &[]);
        for (key, value) in said {
            about.add_row([key, value]);
        }
        parts.extend((!about.is_empty()).then(|| text(&about)));
    }
    if only.is_none() {
        let mut counters = table(["COUNTER", "VALUE"], &[1]);
        for (name, value) in report.counters.iter().filter(|(_, value)| **value > 0) {
            counters.add_row([name.clone(), value.to_string()]);
        }
        parts.push(text(&counters));
    }
    Ok(parts.join("\n"))
}

/// Requests that a worker has, of those it takes at once.
fn running(worker: &WorkerReport) -> String {
    format!("{}/{}", worker.running, worker.capacity)
}

fn totals(report: &BrokerReport) -> String {
    let stopping = if report.stopping { ", STOPPING" } else { "" };
    let waiting: u64 = report.services.iter().map(|service| service.waiting).sum();
    let running: u64 = report.services.iter().map(|service| service.running).sum();
    format!(
        "majordomo-broker {}, up {}{stopping}\n\
         {}, {}, {} with requests: {waiting} waiting, {running} running, {} bytes\n",
        report.version,
        age(report.uptime_ms),
        count(report.services.len() as u64, "service"),
        count(report.workers.len() as u64, "worker"),
        count(report.clients, "client"),
        report.bytes,
    )
}

fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// A table without lines; the columns `right` are numbers.
fn table<const N: usize>(header: [&str; N], right: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    for column in table.column_iter_mut() {
        // Two spaces between columns, none before the first.
        column.set_padding((0, 2));
    }
    for index in right {
        if let Some(column) = table.column_mut(*index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn text(table: &Table) -> String {
    table.trim_fmt() + "\n"
}

/// A time that has passed, with two units at most: `350ms`, `2.5s`, `3m05s`, `2h10m`,
/// `4d03h`.
fn age(ms: u64) -> String {
    let seconds = ms / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if seconds == 0 => format!("{ms}ms"),
        () if minutes == 0 => format!("{seconds}.{}s", ms % 1000 / 100),
        () if hours == 0 => format!("{minutes}m{:02}s", seconds % 60),
        () if days == 0 => format!("{hours}h{:02}m", minutes % 60),
        () => format!("{days}d{:02}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use majordomo_protocol::mmi::ServiceReport;

    fn report() -> BrokerReport {
        let service = |name: &str, workers| ServiceReport {
            name: name.to_owned(),
            workers,
            ..Default::default()
        };
        BrokerReport {
            version: "1.2.3".to_owned(),
            uptime_ms: 185_000,
            services: vec![
                service("count", 1),
                ServiceReport { waiting: 12, ..service("void", 0) },
            ],
            workers: vec![WorkerReport {
                id: "00800041a7".to_owned(),
                service: "count".to_owned(),
                protocol: "0.2".to_owned(),
                state: WorkerState::Idle,
                age_ms: 7_260_000,
                silent_ms: 350,
                answered: 1000,
                running: 0,
                capacity: 1,
                metadata: [("version".to_owned(), "1.2".to_owned())].into(),
            }],
            clients: 1,
            bytes: 60,
            counters: [("a".to_owned(), 0), ("requests_received".to_owned(), 1012)].into(),
            ..Default::default()
        }
    }

    #[test]
    fn a_report_is_totals_and_three_tables() {
        let expected = "\
majordomo-broker 1.2.3, up 3m05s
2 services, 1 worker, 1 client with requests: 12 waiting, 0 running, 60 bytes

SERVICE  WORKERS  WAITING  RUNNING
count          1        0        0
void           0       12        0

SERVICE  WORKER      PROTOCOL  STATE  RUNNING    AGE  SILENT  ANSWERED
count    00800041a7  0.2       idle       0/1  2h01m   350ms      1000

COUNTER            VALUE
requests_received   1012
";
        assert_eq!(tables(&report(), None).unwrap(), expected);
    }

    #[test]
    fn one_service_is_shown_alone_and_an_unknown_one_is_refused() {
        let only = |name| ServiceName::new(name).unwrap();
        let expected = "\
SERVICE  WORKERS  WAITING  RUNNING
void           0       12        0
";
        assert_eq!(tables(&report(), Some(&only("void"))).unwrap(), expected);
        assert!(tables(&report(), Some(&only("voi"))).is_err());
    }

    #[test]
    fn an_idle_broker_has_no_empty_tables() {
        let idle = BrokerReport { counters: [("mmi_requests".to_owned(), 1)].into(), ..report() };
        let text = tables(&BrokerReport { services: vec![], workers: vec![], ..idle }, None);
        assert!(!text.unwrap().contains("SERVICE"));
    }

    #[test]
    fn ages_have_two_units_at_most() {
        let ages = [0, 999, 1000, 59_999, 60_000, 3_600_000, 86_399_999, 90_000_000].map(age);
        assert_eq!(ages, ["0ms", "999ms", "1.0s", "59.9s", "1m00s", "1h00m", "23h59m", "1d01h"]);
    }
}
