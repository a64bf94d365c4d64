//! Answers to `mmi.*` requests (RFC 8).

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use majordomo_protocol::mmi::{self, BrokerReport, ServiceReport, WorkerReport};
use majordomo_protocol::{Metadata, Reason, ServiceName, code, mmi::WorkerState as Reported};

use super::answers::Outcome;
use super::request::Answer;
use super::shutdown::Shutdown;
use super::worker::{Intake, Worker};
use super::{Act, Caller, Engine, Outlet, Payload, Question};

/// A report reads every service and worker, so one is made at most this often and
/// serves all who ask meanwhile.
const REPORT_INTERVAL: Duration = Duration::from_millis(100);

/// The latest report, and when it was made. All who ask meanwhile get the same one, not
/// a copy each.
#[derive(Debug)]
pub(super) struct CachedReport<B>(Option<(Instant, B)>);

impl<B> Default for CachedReport<B> {
    fn default() -> Self {
        CachedReport(None)
    }
}

impl Question {
    /// What the body of a request to one of the broker's own services asks.
    pub fn new(service: &ServiceName, body: &[u8]) -> Self {
        match service.as_str() {
            mmi::SERVICE => Question::Service(ServiceName::from_bytes(body).ok()),
            mmi::BROKER => Question::Broker,
            _ => Question::Unknown,
        }
    }
}

impl<B: Payload, O: Outlet<B>> Engine<B, O> {
    pub(super) fn question(
        &mut self,
        caller: Caller<B>,
        service: &ServiceName,
        question: Question,
        answer: Answer,
    ) {
        self.counters.mmi_requests += 1;
        if answer == Answer::Unwanted {
            return;
        }
        let body = match question {
            Question::Service(name) => {
                let known = name.filter(|name| self.may_know(name));
                let key = known.and_then(|name| self.services.key(&name));
                let found = key.is_some_and(|key| self.services[key].workers > 0);
                B::of_texts(&[if found { mmi::FOUND } else { mmi::NOT_FOUND }])
            }
            Question::Broker if !self.may_operate() => {
                self.counters.mmi_requests_forbidden += 1;
                self.note_forbidden(&caller.peer, Act::Operate);
                let text = "only an operator may ask for the state of the broker".to_owned();
                let reason = Reason { code: code::FORBIDDEN, text };
                return self.answer(&caller, service, answer, Outcome::failure(reason, None));
            }
            Question::Broker => self.cached_report(),
            Question::Unknown => B::of_texts(&[mmi::NOT_IMPLEMENTED]),
        };
        self.answer(&caller, service, answer, Outcome::Final(body));
    }

    fn cached_report(&mut self) -> B {
        if let Some((made, report)) = &self.report.0
            && self.now.duration_since(*made) < REPORT_INTERVAL
        {
            return report.clone();
        }
        // Strings, numbers and a map with string keys always serialise.
        let report = serde_json::to_string(&self.report()).unwrap_or_default();
        let report = B::of_texts(&[&report]);
        self.report = CachedReport(Some((self.now, report.clone())));
        report
    }

    /// The state of the broker, as of the latest event. Reads every service and
    /// every worker.
    pub fn report(&self) -> BrokerReport {
        let ms = |since: Instant| self.now.duration_since(since).as_millis() as u64;
        let mut services: Vec<_> = self
            .services
            .iter()
            .map(|(_, service)| ServiceReport {
                name: service.name.to_string(),
                waiting: service.waiting.len() as u64,
                running: service.running as u64,
                workers: service.workers as u64,
            })
            .collect();
        services.sort_by(|a, b| a.name.cmp(&b.name));
        let mut workers: Vec<_> = self.workers.values().collect();
        let described: usize =
            workers.iter().map(|worker| worker.registration.metadata.as_bytes().len()).sum();
        let place = |worker: &Worker| {
            (
                self.services[worker.service].name.clone(),
                worker.registration.at,
                worker.peer.clone(),
            )
        };
        workers.sort_by_cached_key(|worker| place(worker));
        // Workers of a service mostly say the same of themselves: the first one says it.
        let mut said = HashSet::new();
        let workers = workers
            .into_iter()
            .map(|worker| WorkerReport {
                id: worker.peer.to_string(),
                service: self.services[worker.service].name.to_string(),
                protocol: worker.version.to_string(),
                state: match worker.intake {
                    Intake::Draining | Intake::Unreachable => Reported::Draining,
                    Intake::Open if worker.tasks.is_empty() => Reported::Idle,
                    Intake::Open => Reported::Busy,
                },
                running: worker.tasks.len() as u64,
                capacity: worker.capacity as u64,
                metadata: if said.insert((worker.service, worker.registration.metadata.as_bytes()))
                {
                    texts(&worker.registration.metadata)
                } else {
                    BTreeMap::new()
                },
                age_ms: ms(worker.registration.at),
                silent_ms: ms(worker.heard_at),
                answered: worker.answered,
            })
            .collect();
        BrokerReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ms: ms(self.started),
            stopping: self.shutdown != Shutdown::No,
            clients: self.clients.len() as u64,
            bytes: (self.bytes - described) as u64,
            services,
            workers,
            dead: self.dead.iter().cloned().collect(),
            counters: self.counters.to_map(),
        }
    }
}

/// The pairs whose value is text.
fn texts(metadata: &Metadata) -> BTreeMap<String, String> {
    let text = |value: &[u8]| std::str::from_utf8(value).ok().map(str::to_owned);
    metadata.iter().filter_map(|(key, value)| Some((key.to_owned(), text(value)?))).collect()
}
