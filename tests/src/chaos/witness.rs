//! A peer of its own that asks every broker something again and again, and notes when
//! one lets it wait: a broker that is silent for so long may be taken for lost, and on a
//! machine that has too much to do that happens without any fault of ours.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::account::Trouble;
use super::faults::Role;
use super::ledger::{Moment, moment};
use crate::limit::{Deadline, let_pass};
use crate::raw::RawPeer;
use crate::wire::{self, Version};

/// Between an answer and the next question.
const PAUSE: Duration = Duration::from_millis(100);
/// Who waits longer calls it a silence. Clients wait for a multiple of it.
const SILENCE: Moment = 500_000;
/// A question without an answer for so long is asked again: it may have gone to a broker
/// that was killed.
const AGAIN: Duration = Duration::from_secs(1);

/// A thread for each broker.
#[derive(Debug)]
pub(super) struct Witness {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<Trouble>>>,
}

impl Witness {
    /// Begins to ask the brokers at these endpoints.
    pub(super) fn start(endpoints: impl IntoIterator<Item = String>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let ask = |(number, endpoint): (usize, String)| {
            let over = Arc::clone(&over);
            thread::spawn(move || watch(number as u32, &endpoint, &over))
        };
        let threads = endpoints.into_iter().enumerate().map(ask).collect();
        Witness { over, threads }
    }

    /// The silences of the brokers, those of faults among them.
    ///
    /// # Panics
    ///
    /// When a thread has failed.
    pub(super) fn stop(self) -> Vec<Trouble> {
        self.over.store(true, Ordering::Relaxed);
        self.threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    }
}

fn watch(number: u32, endpoint: &str, over: &AtomicBool) -> Vec<Trouble> {
    // Closed ones that linger must not stand in the way of others.
    let context = zmq::Context::new();
    let mut peer = RawPeer::dealer_in(&context, endpoint);
    let question = wire::request(Version::V0_2, "mmi.service", [super::peers::SERVICE]);
    let mut silences = vec![];
    while !over.load(Ordering::Relaxed) {
        let from = moment();
        while !over.load(Ordering::Relaxed) {
            peer.send(&question);
            if peer.receive_before(Deadline::after(AGAIN)).is_some() {
                break;
            }
        }
        let until = moment();
        if until - from > SILENCE {
            silences.push(Trouble { role: Role::Broker, number, from, until });
        }
        // Answers to questions that were asked again.
        while peer.receive_before(Deadline::after(Duration::ZERO)).is_some() {}
        let_pass(PAUSE);
    }
    silences
}
