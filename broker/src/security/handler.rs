//! The thread that answers libzmq's questions, reads the rights file again when it has
//! changed or when told to, and counts who was refused.
//!
//! It decides by [`RightsFile`] and [`Refusals`] alone, and holds no state that the loop
//! waits for. If it ended, nobody new would be let in.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::refusals::Refusals;
use super::rights_file::RightsFile;
use super::roster::Refusal;
use super::zap::Question;
use super::{News, ZAP_ENDPOINT};
use crate::journal::TARGET;
use crate::log_gate::LogGate;

/// How often the file is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Questions, and failed handshakes, that are read in a row.
const DRAIN_MAX: usize = 1_000;
/// Refusals held back at once; further ones are told without delay.
const HELD_BACK_MAX: usize = 1_000;

/// The sockets of the thread.
pub(super) struct Sockets {
    /// Where libzmq asks.
    pub(super) zap: zmq::Socket,
    /// What libzmq tells of the broker's socket.
    pub(super) monitor: zmq::Socket,
}

pub(super) struct Handler {
    sockets: Sockets,
    rights: RightsFile,
    looked_at: Instant,
    refusals: Refusals,
    /// Refusals by the moment at which they are to be told.
    held_back: BTreeMap<(Instant, u64), Question>,
    /// How many refusals were held back so far.
    held_back_ever: u64,
    /// How many handshakes failed before libzmq asked, for each reason.
    broken: BTreeMap<(String, &'static str), u64>,
    gate: LogGate,
    news: Arc<News>,
    waker: UnixStream,
    orders: UnixStream,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    None,
    Reload,
    Stop,
}

impl Handler {
    pub(super) fn new(
        sockets: Sockets,
        rights: RightsFile,
        news: Arc<News>,
        waker: UnixStream,
        orders: UnixStream,
    ) -> Self {
        Handler {
            sockets,
            rights,
            looked_at: now(),
            refusals: Refusals::default(),
            held_back: BTreeMap::new(),
            held_back_ever: 0,
            broken: BTreeMap::new(),
            gate: LogGate::default(),
            news,
            waker,
            orders,
        }
    }

    /// Answers until told to stop.
    pub(super) fn run(mut self) {
        loop {
            self.wait();
            let now = now();
            match self.order() {
                Order::Stop => {
                    // At once; a socket that is closed keeps its name for a while.
                    let _ = self.sockets.zap.unbind(ZAP_ENDPOINT);
                    return;
                }
                Order::Reload => self.reload(),
                Order::None if now.saturating_duration_since(self.looked_at) >= LOOK_INTERVAL => {
                    self.looked_at = now;
                    if self.rights.has_changed() {
                        self.reload();
                    }
                }
                Order::None => {}
            }
            for _ in 0..DRAIN_MAX {
                let Ok(frames) = self.sockets.zap.recv_multipart(zmq::DONTWAIT) else { break };
                if let Some(question) = Question::read(frames) {
                    self.answer(question, now);
                }
            }
            self.tell_refused(now);
            self.read_monitor(now);
            while let Some((kind, lines)) = self.gate.poll_left_out(now) {
                log::warn!(target: TARGET, kind, lines; "log lines left out");
            }
        }
    }

    fn wait(&self) {
        let look = self.looked_at + LOOK_INTERVAL;
        let held_back = self.held_back.keys().next().map(|(due, _)| *due);
        let due = held_back.map_or(look, |due| look.min(due));
        let left = due.saturating_duration_since(now());
        let mut items = [
            self.sockets.zap.as_poll_item(zmq::POLLIN),
            self.sockets.monitor.as_poll_item(zmq::POLLIN),
            zmq::PollItem::from_fd(self.orders.as_raw_fd(), zmq::POLLIN),
        ];
        // A signal that interrupts this is no reason to do anything else.
        let _ = zmq::poll(&mut items, i64::try_from(left.as_millis() + 1).unwrap_or(i64::MAX));
    }

    fn order(&mut self) -> Order {
        let mut bytes = [0; 64];
        match self.orders.read(&mut bytes) {
            Ok(0) => Order::Stop,
            Ok(_) => Order::Reload,
            Err(_) => Order::None,
        }
    }

    fn reload(&mut self) {
        let path = self.rights.path().display().to_string();
        match self.rights.read_again() {
            Ok(()) => {
                let keys = self.rights.roster().len();
                log::info!(target: TARGET, path, keys; "rights read");
                self.news.put(self.rights.roster().rights());
                self.wake();
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
                let cause = cause.unwrap_or_default();
                log::error!(target: TARGET, "rights not read, the old ones hold: {error}{cause}");
            }
        }
    }

    fn answer(&mut self, question: Question, now: Instant) {
        let proof = question.proof.as_ref().ok_or(Refusal::Malformed);
        let reason = match proof.and_then(|proof| self.rights.roster().identity(proof)) {
            Ok(identity) => return self.send(question.allow(identity)),
            Err(reason) => reason,
        };
        let verdict = self.refusals.refuse(&question.address, reason, now);
        if let Some(times) = verdict.logged
            && self.gate.admits(reason.as_str(), now)
        {
            let (address, reason) = (&question.address, reason.as_str());
            log::warn!(target: TARGET, address, reason, times; "connection refused");
        }
        self.count();
        if verdict.delay.is_zero() || self.held_back.len() >= HELD_BACK_MAX {
            return self.send(question.refuse());
        }
        self.held_back_ever += 1;
        self.held_back.insert((now + verdict.delay, self.held_back_ever), question);
    }

    fn tell_refused(&mut self, now: Instant) {
        while let Some(entry) = self.held_back.first_entry().filter(|entry| entry.key().0 <= now) {
            let question = entry.remove();
            self.send(question.refuse());
        }
    }

    /// Whoever asked may have gone; then nobody is told.
    fn send(&self, frames: Vec<Vec<u8>>) {
        let _ = self.sockets.zap.send_multipart(frames, zmq::DONTWAIT);
    }

    /// Logs and counts handshakes that failed before libzmq asked: it does not say whose.
    fn read_monitor(&mut self, now: Instant) {
        for _ in 0..DRAIN_MAX {
            let Ok(frames) = self.sockets.monitor.recv_multipart(zmq::DONTWAIT) else { return };
            let Some((event, value)) = frames.first().and_then(|frame| event(frame)) else {
                continue;
            };
            let endpoint = frames.get(1).map(|text| String::from_utf8_lossy(text).into_owned());
            let endpoint = endpoint.unwrap_or_default();
            let reason = broken(event, value);
            let times = self.broken.entry((endpoint.clone(), reason)).or_default();
            *times += 1;
            let times = *times;
            let logged = 10_u64.pow(times.ilog10()) == times;
            if logged && self.gate.admits(reason, now) {
                log::warn!(target: TARGET, endpoint, reason, times; "handshake failed");
            }
            self.count();
        }
    }

    fn count(&self) {
        self.news.refused.fetch_add(1, Ordering::Relaxed);
        self.wake();
    }

    fn wake(&self) {
        // When it is full, the loop has been told often enough.
        let _ = (&self.waker).write(b".");
    }
}

/// Event and value of a message of the monitor.
fn event(frame: &[u8]) -> Option<(u32, u32)> {
    let (event, value) = frame.split_at_checked(2)?;
    let event = u16::from_ne_bytes(event.try_into().ok()?);
    Some((event.into(), u32::from_ne_bytes(value.try_into().ok()?)))
}

/// Why a handshake failed, as far as libzmq says it.
fn broken(event: u32, value: u32) -> &'static str {
    // The numbers of zmq.h; the published zmq-sys does not have their names.
    const CRYPTOGRAPHIC: u32 = 0x1100_0001;
    const MECHANISM_MISMATCH: u32 = 0x1100_0002;
    match (event, value) {
        (_, MECHANISM_MISMATCH) => "the peer does not use the mechanism of this endpoint",
        (_, CRYPTOGRAPHIC) => "the peer has another key for this broker, or a broken one",
        (zmq_sys::ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL, _) => {
            "the peer left before it was let in, or was too slow"
        }
        _ => "the peer does not keep to the protocol",
    }
}

#[expect(clippy::disallowed_methods, reason = "the thread that owns the socket tells the time")]
fn now() -> Instant {
    Instant::now()
}
