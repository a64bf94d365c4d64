//! How much memory the broker takes for bodies that are very large.

use super::args::Args;
use super::broker::Broker;
use super::drive::{Pace, Peers, Window, measure};
use super::figures::{BYTES_PEAK, CPU_US, Figures};
use super::mdp02;
use super::plan::{BARE, MAJORDOMO, SERVICE};

/// The shape, in words.
pub const LARGE: &str = "64 MiB bodies, 1 client, 1 in flight, 1 worker";
/// The size of a body.
pub const BODY_BYTES: usize = 64 << 20;

/// Measures a round.
pub fn round(args: &Args, window: Window, figures: &mut Figures) {
    if !LARGE.contains(&args.only) {
        return;
    }
    let body_bytes = if args.quick { BODY_BYTES / 64 } else { BODY_BYTES };
    for (subject, broker) in [(MAJORDOMO, Broker::Majordomo(vec![])), (BARE, Broker::Bare(1))] {
        let broker = match broker.start() {
            Ok(broker) => broker,
            Err(error) => {
                figures.leave_out(format!("{LARGE}: {subject}: {error}"));
                continue;
            }
        };
        let before = broker.rss_peak();
        let worker = mdp02::Worker::register(&broker.workers, SERVICE);
        let client = mdp02::Client::connect(&broker.clients, vec![SERVICE.to_owned()], body_bytes);
        let pace = Pace::InFlight(1);
        let peers =
            Peers { clients: vec![Box::new(client)], pace, workers: vec![Box::new(worker)] };
        let measured = measure(&broker, peers, window);
        let peak = (broker.rss_peak() - before) as f64;
        figures.add(LARGE, subject, &[(CPU_US, measured.cpu_us), (BYTES_PEAK, peak)]);
    }
}
