//! What the broker says of itself in answer to `mmi.broker`, and waiting until it
//! says something.

use majordomo_protocol::mmi::{BrokerReport, WorkerState};

use crate::limit::{LIMIT, until};
use crate::raw::RawPeer;
use crate::wire::{self, Version};

const SERVICE: &str = "mmi.broker";

/// Asks one broker for its report, on a connection of its own.
#[derive(Debug)]
pub struct Reports(RawPeer);

impl Reports {
    /// Of the broker that listens at `endpoint`.
    pub fn of(endpoint: &str) -> Self {
        Reports(RawPeer::dealer(endpoint))
    }

    /// The report of now, or of a moment ago: the broker makes one ten times a
    /// second at most.
    ///
    /// # Panics
    ///
    /// When none comes, or it is not what it should be.
    pub fn latest(&mut self) -> BrokerReport {
        self.0.send(&wire::request(Version::V0_2, SERVICE, [""]));
        let mut answer = self.0.receive();
        let json = answer.pop().unwrap_or_default();
        assert_eq!(answer, wire::reply::<&str>(Version::V0_2, SERVICE, []));
        serde_json::from_slice(&json)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&json)))
    }

    /// A report of a moment after this call.
    ///
    /// # Panics
    ///
    /// As [`Reports::latest`].
    pub fn fresh(&mut self) -> BrokerReport {
        let old = self.latest();
        until("a new report is made", || {
            Some(self.latest()).filter(|report| report.uptime_ms != old.uptime_ms)
        })
    }

    /// Waits until `condition` holds of the report.
    ///
    /// # Panics
    ///
    /// When it does not after [`LIMIT`]; `what` says what was waited for.
    #[track_caller]
    pub fn until(
        &mut self,
        what: &str,
        mut condition: impl FnMut(&BrokerReport) -> bool,
    ) -> BrokerReport {
        let deadline = crate::limit::Deadline::generous();
        until(what, || {
            let report = self.latest();
            if condition(&report) {
                return Some(report);
            }
            let in_short = in_short(&report);
            assert!(!deadline.is_over(), "waited {LIMIT:?} in vain until {what}; {in_short}");
            None
        })
    }

    /// Waits until a counter has reached `count`. It must not be past it.
    ///
    /// # Panics
    ///
    /// When it has not after [`LIMIT`], or is past it.
    #[track_caller]
    pub fn until_counted(&mut self, name: &str, count: u64) -> BrokerReport {
        let report =
            self.until(&format!("{name} is {count}"), |report| counter(report, name) >= count);
        assert_eq!(counter(&report, name), count, "{name}; {}", in_short(&report));
        report
    }

    /// Waits until this many requests wait for a service.
    ///
    /// # Panics
    ///
    /// When that is not so after [`LIMIT`].
    #[track_caller]
    pub fn until_waiting(&mut self, service: &str, requests: u64) -> BrokerReport {
        self.until(&format!("{requests} requests wait for {service}"), |report| {
            waiting(report, service) == requests
        })
    }

    /// Waits until this many workers are registered.
    ///
    /// # Panics
    ///
    /// When that is not so after [`LIMIT`].
    #[track_caller]
    pub fn until_workers(&mut self, workers: usize) -> BrokerReport {
        self.until(&format!("{workers} workers are registered"), |report| {
            report.workers.len() == workers
        })
    }
}

/// The value of a counter.
///
/// # Panics
///
/// When the broker has no counter of this name.
#[track_caller]
pub fn counter(report: &BrokerReport, name: &str) -> u64 {
    *report.counters.get(name).unwrap_or_else(|| panic!("there is no counter {name}"))
}

/// How many requests wait for a service; 0 when the broker does not know it.
pub fn waiting(report: &BrokerReport, service: &str) -> u64 {
    report.services.iter().filter(|known| known.name == service).map(|known| known.waiting).sum()
}

/// A report in a few words: what is there, and what has been counted.
pub fn in_short(report: &BrokerReport) -> String {
    let counted = report.counters.iter().filter(|(_, count)| **count > 0);
    let counted: Vec<String> = counted.map(|(name, count)| format!("{name} {count}")).collect();
    let busy = report.workers.iter().filter(|worker| worker.state == WorkerState::Busy).count();
    format!(
        "{} services, {} workers ({busy} busy), {} clients; counted: {}",
        report.services.len(),
        report.workers.len(),
        report.clients,
        counted.join(", ")
    )
}
