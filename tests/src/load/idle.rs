//! What idle workers cost: memory of the broker for each, and CPU time for the
//! heartbeats of all.

use std::time::Duration;

use super::args::Args;
use super::broker::{Broker, Running};
use super::crowd::Crowd;
use super::figures::{BYTES_EACH, CPU_MS_PER_SECOND, Figures};
use super::mdp02;
use super::peer::{ClientLink, Tag, WorkerLink, now_ns};
use super::plan::{BARE, MAJORDOMO, services};
use crate::limit::{Deadline, LIMIT};

/// The shape, in words.
pub const IDLE: &str = "10,000 idle workers that beat every 2.5 s";
const WORKERS: usize = 10_000;
/// The broker's default.
const INTERVAL: Duration = Duration::from_millis(2_500);

/// Measures a round.
pub fn round(args: &Args, figures: &mut Figures) {
    if !IDLE.contains(&args.only) {
        return;
    }
    let services = services(if args.quick { WORKERS / 100 } else { WORKERS });
    // Some beats of every worker.
    let time = if args.quick { Duration::from_millis(50) } else { 2 * INTERVAL };
    for (subject, broker) in [(MAJORDOMO, Broker::Majordomo(vec![])), (BARE, Broker::Bare(1))] {
        let broker = match broker.start() {
            Ok(broker) => broker,
            Err(error) => {
                figures.leave_out(format!("{IDLE}: {subject}: {error}"));
                continue;
            }
        };
        // What a connection allocates only once is there before.
        let alone = ["alone".to_owned()];
        let mut first = Crowd::register(&broker.workers, &alone, None);
        ask_each(&broker, &mut first, &alone);
        let before = broker.rss();
        let mut crowd = Crowd::register(&broker.workers, &services, Some(INTERVAL));
        ask_each(&broker, &mut crowd, &services);
        let bytes = broker.rss().saturating_sub(before) as f64 / services.len() as f64;
        let cpu = beat(&broker, &mut crowd, time);
        let cpu_ms = cpu.as_secs_f64() * 1e3 / time.as_secs_f64();
        figures.add(IDLE, subject, &[(CPU_MS_PER_SECOND, cpu_ms), (BYTES_EACH, bytes)]);
    }
}

/// Asks every service once: then every worker is registered.
fn ask_each(broker: &Running, crowd: &mut Crowd, services: &[String]) {
    let mut client = mdp02::Client::connect(&broker.clients, services.to_vec(), 16);
    let tag = |number| Tag { sent_ns: now_ns(), client: 0, number };
    client.impatient();
    client.send(&(0..services.len() as u32).map(tag).collect::<Vec<_>>());
    let mut replies = vec![];
    let deadline = Deadline::generous();
    while replies.len() < services.len() {
        crowd.serve();
        client.receive(&mut replies);
        assert!(!deadline.is_over(), "{} replies after {LIMIT:?}", replies.len());
    }
}

/// The CPU time that the broker takes while workers beat.
fn beat(broker: &Running, crowd: &mut Crowd, time: Duration) -> Duration {
    let before = broker.cpu();
    let deadline = Deadline::after(time);
    while !deadline.is_over() {
        crowd.serve();
    }
    broker.cpu() - before
}
