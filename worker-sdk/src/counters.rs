//! What a worker has done so far, in numbers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Reads a worker's counters: to clone and to use from any thread, also after the
/// worker has stopped.
#[derive(Clone, Debug, Default)]
pub struct Counters(Arc<Cells>);

#[derive(Debug, Default)]
struct Cells {
    requests: AtomicU64,
    requests_given_back: AtomicU64,
    answers: AtomicU64,
    failures: AtomicU64,
    cancellations: AtomicU64,
    panics: AtomicU64,
    answers_late: AtomicU64,
    reconnects: AtomicU64,
    messages_invalid: AtomicU64,
}

/// The numbers at one moment, all counted since the worker was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Requests that came from brokers.
    pub requests: u64,
    /// Those of them that came ahead of a reply (MDP/0.1 and MDP/0.2) and did not have
    /// their turn, because the connection was lost or the worker stopped: the broker hands
    /// them to other workers.
    pub requests_given_back: u64,
    /// Final replies given to a broker's connection, failures included.
    pub answers: u64,
    /// Requests that ended in an ERROR, before MDP/1.0 in a
    /// [failure](crate::failure): the handler erred, panicked or dropped its
    /// responder, or a size limit was passed. Those given up after a cancellation do
    /// not count.
    pub failures: u64,
    /// Requests that were cancelled while they ran or waited here (MDP/1.0).
    pub cancellations: u64,
    /// Handlers that panicked.
    pub panics: u64,
    /// Answers dropped, because the broker that wanted them was lost meanwhile or
    /// the request had been answered already.
    pub answers_late: u64,
    /// Connections that were lost, each opened again later.
    pub reconnects: u64,
    /// Messages of a broker that were no command, or came out of turn.
    pub messages_invalid: u64,
}

impl Counters {
    /// The numbers now. Each is exact; together they may be of slightly different
    /// moments while the worker runs.
    pub fn counts(&self) -> Counts {
        let read = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        Counts {
            requests: read(&self.0.requests),
            requests_given_back: read(&self.0.requests_given_back),
            answers: read(&self.0.answers),
            failures: read(&self.0.failures),
            cancellations: read(&self.0.cancellations),
            panics: read(&self.0.panics),
            answers_late: read(&self.0.answers_late),
            reconnects: read(&self.0.reconnects),
            messages_invalid: read(&self.0.messages_invalid),
        }
    }

    pub(crate) fn request(&self) {
        count(&self.0.requests, 1);
    }

    pub(crate) fn requests_given_back(&self, count: u64) {
        self.0.requests_given_back.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn answers(&self, answers: u64) {
        count(&self.0.answers, answers);
    }

    pub(crate) fn failure(&self) {
        self.0.failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn cancellation(&self) {
        self.0.cancellations.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn panic(&self) {
        self.0.panics.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn answer_late(&self) {
        self.0.answers_late.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn reconnect(&self) {
        self.0.reconnects.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn message_invalid(&self) {
        self.0.messages_invalid.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts what the I/O thread alone counts: for every request, so without a locked
/// instruction.
fn count(cell: &AtomicU64, more: u64) {
    cell.store(cell.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}
