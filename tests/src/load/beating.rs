//! Whether a thousand idle workers that beat delay others' requests, at half of the load
//! that the broker takes.

use std::time::Duration;

use super::args::Args;
use super::broker::{Broker, Running};
use super::crowd::Crowd;
use super::drive::{Pace, Peers, Window, measure};
use super::figures::Figures;
use super::mdp02;
use super::peer::WorkerLink;
use super::plan::{SERVICE, services};

/// The shape, in words.
pub const BEATING: &str = "half load, 1 client, 16 workers";
/// Without other workers.
pub const ALONE: &str = "majordomo, no others";
/// With other workers.
pub const AMONG: &str = "majordomo, 1,000 other workers that beat";

const WORKERS: usize = 16;
const OTHERS: usize = 1_000;
/// The broker's default.
const INTERVAL: Duration = Duration::from_millis(2_500);

/// Measures a round.
pub fn round(args: &Args, window: Window, figures: &mut Figures) {
    if !BEATING.contains(&args.only) {
        return;
    }
    let run = |pace: Pace, others: usize, window: Window| {
        let broker = Broker::Majordomo(vec![]).start()?;
        let peers = peers(&broker, pace, others);
        Ok::<_, String>(measure(&broker, peers, window))
    };
    // A tail needs many requests.
    let time = if args.quick { window.time } else { window.time.max(INTERVAL) };
    let long = Window { time, ..window };
    let others = if args.quick { OTHERS / 10 } else { OTHERS };
    let measured = run(Pace::InFlight(WORKERS), 0, window).and_then(|full| {
        let half = Pace::PerSecond(full.per_second / 2.0);
        Ok([(ALONE, run(half, 0, long)?), (AMONG, run(half, others, long)?)])
    });
    match measured {
        Ok(rows) => {
            for (subject, measured) in rows {
                figures.add_measured(BEATING, subject, &measured);
            }
        }
        Err(error) => figures.leave_out(format!("{BEATING}: {error}")),
    }
}

fn peers(broker: &Running, pace: Pace, others: usize) -> Peers {
    let worker =
        |_| Box::new(mdp02::Worker::register(&broker.workers, SERVICE)) as Box<dyn WorkerLink>;
    let mut workers: Vec<_> = (0..WORKERS).map(worker).collect();
    if others > 0 {
        let crowd = Crowd::register(&broker.workers, &services(others), Some(INTERVAL));
        workers.push(Box::new(crowd));
    }
    let mut client = mdp02::Client::connect(&broker.clients, vec![SERVICE.to_owned()], 16);
    client.impatient();
    Peers { clients: vec![Box::new(client)], pace, workers }
}
