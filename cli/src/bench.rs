//! `majordomo bench`: how fast a broker and a service are, in two numbers.
//!
//! First one call at a time, for the time that one takes; then many at once, for how
//! many are answered. Both go through the client SDK as a program's calls do, and no
//! call is tried twice: what fails is counted, and its reason told.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use hdrhistogram::Histogram;
use majordomo_client::{Call, CallError, Client, ENDPOINT_DEFAULT, Options};
use majordomo_protocol::{Body, Security};
use majordomo_worker::{Request, RunningWorker, Service, Worker};

use crate::args::Bench;
use crate::interrupt::{Interrupted, Interrupts};
use crate::{asking, print, printable};

/// A call that is not answered in this time has failed.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest time that is told apart from longer ones.
const LATENCY_MAX_NS: u64 = 60_000_000_000;

/// Requests that our own worker takes at once, at the most.
const CONCURRENCY_MAX: usize = 1_000;

/// Reasons that are told apart: a service may have a new text for each failure.
const REASONS_MAX: usize = 5;

pub(crate) fn run(bench: &Bench, brokers: &[String], security: &Security) -> anyhow::Result<()> {
    let mut builder = Client::builder().timeout(TIMEOUT).outstanding_max(bench.in_flight);
    builder = builder.security(security.clone());
    for endpoint in brokers {
        builder = builder.broker(endpoint);
    }
    let client = builder.build()?;
    let interrupts = Interrupts::close(&client).context("cannot handle signals")?;
    let interrupted = |error: anyhow::Error| match interrupts.signal() {
        Some(signal) => Interrupted(signal).into(),
        None => error,
    };
    let (service, _worker) = served(bench, brokers, security, &client).map_err(interrupted)?;
    let options = Options::new().tries(1).deadline(TIMEOUT).fail_fast();
    let calls = Calls { client: &client, service, options, body: vec![b'x'; bench.body_bytes] };
    let mut failures = Failures::default();
    let one = calls.one_at_a_time(bench.seconds, &mut failures)?;
    let many = calls.many_at_once(bench.seconds, bench.in_flight, &mut failures);
    if let Some(signal) = interrupts.signal() {
        return Err(Interrupted(signal).into());
    }
    if one.is_empty() && many.answered == 0 {
        bail!("nothing was answered; {}", failures.text());
    }
    let report = Report { bench, at: at(brokers), one: &one, many: &many, failures: &failures };
    print(if bench.json { report.json() } else { report.text() }.as_bytes())
}

/// The service to be called: the one named, or an echo of our own, with its worker.
fn served(
    bench: &Bench,
    brokers: &[String],
    security: &Security,
    client: &Client,
) -> anyhow::Result<(String, Option<RunningWorker>)> {
    let told = |error| explained(error, client, brokers);
    if let Some(service) = &bench.service {
        if !client.lookup(service.as_str()).map_err(told)? {
            bail!("no worker for service {service}");
        }
        return Ok((service.to_string(), None));
    }
    // A name that nobody else has, on this machine or another.
    let service = format!("majordomo.bench.{:016x}", RandomState::new().build_hasher().finish());
    // That a broker is there: the worker would wait for one.
    client.lookup(&service).map_err(told)?;
    let echo = Service::new(service.as_str(), |request: Request| Ok(request.into_body()));
    let echo = echo.inline().concurrency(bench.in_flight.min(CONCURRENCY_MAX));
    let mut worker = Worker::builder().serve(echo).drain_limit(Duration::from_secs(1));
    worker = worker.security(security.clone());
    for endpoint in brokers {
        worker = worker.broker(endpoint);
    }
    let worker = worker.build()?.start()?;
    // Waits until it is registered.
    client.call(&service, "").map_err(told)?;
    Ok((service, Some(worker)))
}

fn at(brokers: &[String]) -> String {
    if brokers.is_empty() { ENDPOINT_DEFAULT.to_owned() } else { brokers.join(", ") }
}

/// Why a call failed, in words.
fn explained(error: CallError, client: &Client, brokers: &[String]) -> anyhow::Error {
    let is_mute = client.counts().heard == 0;
    match error {
        CallError::Deadline { may_have_run: true, .. }
        | CallError::Disconnected { may_have_run: true, .. }
            if is_mute =>
        {
            anyhow!("nothing was heard from {}: bench speaks MDP/1.0 alone", at(brokers))
        }
        error => asking::told(error, client, brokers, true),
    }
}

/// What was not answered, by reason.
#[derive(Debug, Default)]
struct Failures(BTreeMap<String, u64>);

impl Failures {
    fn count(&mut self, error: &CallError) {
        let mut reason = printable(&error.to_string());
        if self.0.len() >= REASONS_MAX && !self.0.contains_key(&reason) {
            reason = "other reasons".to_owned();
        }
        *self.0.entry(reason).or_insert(0) += 1;
    }

    fn all(&self) -> u64 {
        self.0.values().sum()
    }

    /// The most frequent first.
    fn text(&self) -> String {
        let mut reasons: Vec<_> = self.0.iter().collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let reasons =
            reasons.iter().map(|(reason, count)| format!("{} × {reason}", grouped(**count)));
        format!("{} failed: {}", grouped(self.all()), reasons.collect::<Vec<_>>().join("; "))
    }
}

/// How many were answered, and how long that took.
#[derive(Debug)]
struct Many {
    answered: u64,
    took: Duration,
}

impl Many {
    fn per_second(&self) -> f64 {
        self.answered as f64 / self.took.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// What is asked again and again.
struct Calls<'a> {
    client: &'a Client,
    service: String,
    options: Options,
    body: Vec<u8>,
}

impl Calls<'_> {
    fn submit(&self) -> Result<Call, CallError> {
        self.client.submit_with(&self.service, Body::from(self.body.clone()), &self.options)
    }

    /// How long each call takes, in nanoseconds.
    fn one_at_a_time(
        &self,
        time: Duration,
        failures: &mut Failures,
    ) -> anyhow::Result<Histogram<u64>> {
        let mut latencies = Histogram::new_with_max(LATENCY_MAX_NS, 3)?;
        let start = now();
        let mut begun = start;
        while begun.duration_since(start) < time {
            let answer =
                self.client.call_with(&self.service, Body::from(self.body.clone()), &self.options);
            let ended = now();
            match answer {
                Ok(_) => {
                    let took = ended.duration_since(begun).as_nanos();
                    latencies.saturating_record(u64::try_from(took).unwrap_or(u64::MAX));
                }
                Err(CallError::Closed { .. }) => break,
                Err(error) => failures.count(&error),
            }
            begun = ended;
        }
        Ok(latencies)
    }

    /// Keeps so many calls under way, and waits for the last ones.
    fn many_at_once(&self, time: Duration, in_flight: usize, failures: &mut Failures) -> Many {
        let mut under_way = VecDeque::with_capacity(in_flight);
        let start = now();
        let (mut answered, mut ended) = (0, start);
        loop {
            while under_way.len() < in_flight && ended.duration_since(start) < time {
                match self.submit() {
                    Ok(call) => under_way.push_back(call),
                    Err(CallError::Closed { .. }) => break,
                    Err(error) => {
                        failures.count(&error);
                        ended = now();
                    }
                }
            }
            let Some(oldest) = under_way.pop_front() else { break };
            match Call::wait(oldest) {
                Ok(_) => answered += 1,
                Err(CallError::Closed { .. }) => break,
                Err(error) => failures.count(&error),
            }
            ended = now();
        }
        Many { answered, took: ended.duration_since(start) }
    }
}

/// What was found, for people and for programs.
struct Report<'a> {
    bench: &'a Bench,
    at: String,
    one: &'a Histogram<u64>,
    many: &'a Many,
    failures: &'a Failures,
}

impl Report<'_> {
    fn text(&self) -> String {
        let Report { bench, at, one, many, failures } = self;
        let service = match &bench.service {
            Some(service) => format!("service {service}"),
            None => "an echo of its own".to_owned(),
        };
        let mut text = format!(
            "{service} at {at}, {} bytes a request\n\
             requests per second  {:>10}  ({} in flight, {} answered)\n",
            grouped(bench.body_bytes as u64),
            grouped(many.per_second().round() as u64),
            grouped(bench.in_flight as u64),
            grouped(many.answered),
        );
        text += &match one.is_empty() {
            true => "latency              none was answered alone\n".to_owned(),
            false => format!(
                "latency              {:>7} µs  (p50 of one in flight; p99 {} µs, {} answered)\n",
                grouped(microseconds(one, 0.5).round() as u64),
                grouped(microseconds(one, 0.99).round() as u64),
                grouped(one.len()),
            ),
        };
        if failures.all() > 0 {
            text += &format!("{}\n", failures.text());
        }
        text
    }

    fn json(&self) -> String {
        let Report { bench, at, one, many, failures } = self;
        let latency = (!one.is_empty()).then(|| {
            serde_json::json!({
                "p50": microseconds(one, 0.5),
                "p99": microseconds(one, 0.99),
                "max": one.max() as f64 / 1e3,
            })
        });
        let report = serde_json::json!({
            "broker": at,
            "service": bench.service.as_ref().map(|service| service.as_str()),
            "body_bytes": bench.body_bytes,
            "seconds": bench.seconds.as_secs_f64(),
            "in_flight": bench.in_flight,
            "requests_per_second": many.per_second(),
            "answered": many.answered,
            "answered_alone": one.len(),
            "latency_us": latency,
            "failed": failures.all(),
            "failures": failures.0,
        });
        format!("{report}\n")
    }
}

fn microseconds(latencies: &Histogram<u64>, quantile: f64) -> f64 {
    latencies.value_at_quantile(quantile) as f64 / 1e3
}

/// A number as people read it: `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[expect(clippy::disallowed_methods, reason = "a bench measures the time that passes")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        let found = [0, 999, 1_000, 123_456, 1_234_567].map(grouped);
        assert_eq!(found, ["0", "999", "1,000", "123,456", "1,234,567"]);
    }

    #[test]
    fn reasons_are_told_apart_up_to_a_number() {
        let mut failures = Failures::default();
        let full = |limit| CallError::Full { setting: "outstanding_max", limit };
        for limit in [1, 1, 2, 3, 4, 5, 6, 7, 1] {
            failures.count(&full(limit));
        }
        assert_eq!((failures.all(), failures.0.len()), (9, REASONS_MAX + 1));
        assert_eq!(failures.0["other reasons"], 2);
        let text = failures.text();
        assert!(text.starts_with("9 failed: 3 × the calls outstanding have reached"), "{text}");
    }
}
