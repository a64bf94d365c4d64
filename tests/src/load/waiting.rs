//! What waiting requests cost: memory of the broker for each while no worker is there,
//! how fast workers that come at last drain them, and the memory left afterwards.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use super::args::Args;
use super::broker::Broker;
use super::figures::{BYTES_EACH, BYTES_EACH_AFTER, CPU_US, Figures, PER_SECOND};
use super::mdp02;
use super::peer::{ClientLink, Tag, WorkerLink, now_ns};
use super::plan::{BARE, MAJORDOMO, SERVICE};
use crate::limit::{Deadline, LIMIT};

/// The shape, in words.
pub const WAITING: &str = "100,000 waiting requests, then 16 workers that take one";
const REQUESTS: u32 = 100_000;
const WORKERS: usize = 16;

/// Measures a round.
///
/// # Panics
///
/// When a request is lost.
pub fn round(args: &Args, figures: &mut Figures) {
    if !WAITING.contains(&args.only) {
        return;
    }
    let requests = if args.quick { REQUESTS / 100 } else { REQUESTS };
    for (subject, broker) in [(MAJORDOMO, Broker::Majordomo(vec![])), (BARE, Broker::Bare(1))] {
        let broker = match broker.start() {
            Ok(broker) => broker,
            Err(error) => {
                figures.leave_out(format!("{WAITING}: {subject}: {error}"));
                continue;
            }
        };
        let mut client = mdp02::Client::connect(&broker.clients, vec![SERVICE.to_owned()], 16);
        broker.settle();
        let before = broker.rss() as f64;
        let tag = |number| Tag { sent_ns: now_ns(), client: 0, number };
        client.send(&(0..requests).map(tag).collect::<Vec<_>>());
        broker.settle();
        let held = broker.rss() as f64;

        let (start, cpu) = (now_ns(), broker.cpu());
        let mut answered = vec![];
        let end = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..WORKERS {
                let mut worker = mdp02::Worker::register(&broker.workers, SERVICE);
                let end = &end;
                scope.spawn(move || {
                    while !end.load(Relaxed) {
                        worker.serve();
                    }
                });
            }
            let deadline = Deadline::generous();
            while answered.len() < requests as usize && !deadline.is_over() {
                client.receive(&mut answered);
            }
            end.store(true, Relaxed);
        });
        let (time, cpu) = (now_ns() - start, broker.cpu() - cpu);
        answered.sort_unstable_by_key(|tag| tag.number);
        assert!(
            answered.iter().map(|tag| tag.number).eq(0..requests),
            "{} of {requests} replies after {LIMIT:?}",
            answered.len()
        );
        drop(client);
        broker.settle();
        let after = broker.rss() as f64;
        let each = |figure: f64| figure / f64::from(requests);
        figures.add(
            WAITING,
            subject,
            &[
                (PER_SECOND, f64::from(requests) * 1e9 / time as f64),
                (CPU_US, each(cpu.as_secs_f64() * 1e6)),
                (BYTES_EACH, each(held - before)),
                (BYTES_EACH_AFTER, each((after - before).max(0.0))),
            ],
        );
    }
}
