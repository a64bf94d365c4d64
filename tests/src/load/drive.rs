//! One measured window: peers start, warm up, are measured, and end when every request
//! has been answered once. Clients run on a thread each, and so do workers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use super::broker::Running;
use super::peer::{ClientLink, Tag, WorkerLink, now_ns};
use crate::limit::{LIMIT, let_pass};

/// How a client asks.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// So many requests are under way at any time.
    InFlight(usize),
    /// So many requests a second, whatever is answered.
    PerSecond(f64),
}

/// Who loads a broker.
pub struct Peers {
    /// Its clients.
    pub clients: Vec<Box<dyn ClientLink>>,
    /// How each client asks.
    pub pace: Pace,
    /// Its workers.
    pub workers: Vec<Box<dyn WorkerLink>>,
}

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Load whose figures are not taken.
    pub warm_up: Duration,
    /// Load whose figures are.
    pub time: Duration,
}

/// What was seen.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Replies a second.
    pub per_second: f64,
    /// The broker's CPU time for a request, in microseconds.
    pub cpu_us: f64,
    /// Times from request to reply in nanoseconds, in order.
    latencies: Vec<u32>,
}

impl Measured {
    /// A latency in microseconds: of a thousand, so many took no longer.
    pub fn latency_us(&self, per_mille: usize) -> f64 {
        let at = (self.latencies.len() * per_mille / 1_000).min(self.latencies.len() - 1);
        f64::from(self.latencies[at]) / 1e3
    }
}

#[derive(Default)]
struct Shared {
    /// There was a reply.
    begun: AtomicBool,
    measuring: AtomicBool,
    /// Replies while measuring.
    replies: AtomicU64,
    /// Clients ask nothing more.
    stop: AtomicBool,
    /// Workers end.
    end: AtomicBool,
}

/// Set when dropped, so that nobody runs on when somebody panics.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Loads a broker and measures it.
///
/// # Panics
///
/// When a reply is missing, comes twice, or is wrong.
pub fn measure(broker: &Running, peers: Peers, window: Window) -> Measured {
    let shared = Shared::default();
    thread::scope(|scope| {
        // First of all, so that these are set last.
        let end = SetAtEnd(&shared.end);
        for mut worker in peers.workers {
            let shared = &shared;
            scope.spawn(move || {
                while !shared.end.load(Relaxed) {
                    worker.serve();
                }
            });
        }
        let stop = SetAtEnd(&shared.stop);
        let clients = (0..).zip(peers.clients).map(|(number, link)| {
            let client =
                Client { link, number, pace: peers.pace, shared: &shared, asked: vec![], left: 0 };
            scope.spawn(move || client.run())
        });
        let clients: Vec<_> = clients.collect();
        // Somebody has panicked where nobody is left.
        let wait_for = |reply: &dyn Fn() -> bool| {
            while !reply() && clients.iter().any(|client| !client.is_finished()) {
                let_pass(Duration::from_millis(1));
            }
        };
        // Load begins with the first reply: workers may have to be found first.
        wait_for(&|| shared.begun.load(Relaxed));
        let_pass(window.warm_up);
        let look = || (now_ns(), broker.cpu());
        let before = look();
        shared.measuring.store(true, Relaxed);
        let_pass(window.time);
        wait_for(&|| shared.replies.load(Relaxed) > 0);
        shared.measuring.store(false, Relaxed);
        let after = look();
        drop(stop);
        let mut latencies = vec![];
        for client in clients {
            latencies.extend(client.join().expect("every reply is as it should be"));
        }
        drop(end);
        assert!(!latencies.is_empty(), "nothing was answered");
        let replies = latencies.len() as f64;
        latencies.sort_unstable();
        Measured {
            per_second: replies * 1e9 / (after.0 - before.0) as f64,
            cpu_us: (after.1 - before.1).as_secs_f64() * 1e6 / replies,
            latencies,
        }
    })
}

struct Client<'a> {
    link: Box<dyn ClientLink>,
    number: u32,
    pace: Pace,
    shared: &'a Shared,
    /// By number of the request: whether it is under way.
    asked: Vec<bool>,
    left: usize,
}

impl Client<'_> {
    /// Gives the latencies that were measured.
    fn run(mut self) -> Vec<u32> {
        let mut latencies = vec![];
        let mut replies = vec![];
        let begin = now_ns();
        let mut last_reply = begin;
        loop {
            let stop = self.shared.stop.load(Relaxed);
            if !stop {
                self.ask(begin);
            } else if self.left == 0 {
                return latencies;
            }
            self.link.receive(&mut replies);
            let now = now_ns();
            let measuring = self.shared.measuring.load(Relaxed);
            if !replies.is_empty() {
                last_reply = now;
                self.shared.begun.store(true, Relaxed);
            }
            if measuring {
                self.shared.replies.fetch_add(replies.len() as u64, Relaxed);
            }
            for tag in replies.drain(..) {
                self.answered(tag);
                if measuring {
                    latencies.push(now.saturating_sub(tag.sent_ns).try_into().unwrap_or(u32::MAX));
                }
            }
            let silent = Duration::from_nanos(now - last_reply);
            assert!(
                self.left == 0 || silent < LIMIT,
                "no reply for {LIMIT:?}, {} are missing",
                self.left
            );
        }
    }

    /// Sends what is due now.
    fn ask(&mut self, begin: u64) {
        let now = now_ns();
        let asked = self.asked.len();
        let tag = |place: usize, sent_ns| Tag {
            sent_ns,
            client: self.number,
            number: (asked + place) as u32,
        };
        let tags: Vec<Tag> = match self.pace {
            Pace::InFlight(count) => (0..count - self.left).map(|place| tag(place, now)).collect(),
            Pace::PerSecond(rate) => {
                let due = ((now - begin) as f64 * rate / 1e9) as usize;
                // Late is late: a request's time runs from when it was due.
                let when = |place: usize| begin + ((asked + place) as f64 * 1e9 / rate) as u64;
                (0..due - asked).map(|place| tag(place, when(place))).collect()
            }
        };
        if !tags.is_empty() {
            self.asked.resize(asked + tags.len(), true);
            self.left += tags.len();
            self.link.send(&tags);
        }
    }

    fn answered(&mut self, tag: Tag) {
        assert_eq!(tag.client, self.number, "a reply to another client");
        let open = self.asked.get_mut(tag.number as usize);
        let open = open.unwrap_or_else(|| panic!("never asked: {tag:?}"));
        assert!(std::mem::replace(open, false), "answered twice: {tag:?}");
        self.left -= 1;
    }
}
