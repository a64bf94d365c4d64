//! Messages that no peer may send, each with the counter that it must raise by one;
//! and a flood of them from many connections.
//!
//! Random bytes alone would test the first comparison only. So half of the messages
//! are all but right: cut, swapped, or sent by somebody who may not say so.

use std::collections::BTreeMap;

use majordomo_protocol::mmi::BrokerReport;

use crate::raw::RawPeer;
use crate::report::counter;
use crate::wire::{self, Frames, VERSIONS, Version, frames};

const MALFORMED: &str = "messages_malformed";
const FRAMES_MAX: &str = "messages_frames_max";
const UNREGISTERED: &str = "workers_refused_unregistered";
const RESERVED: &str = "workers_refused_reserved_service";

/// More frames than a broker takes by default.
const TOO_MANY_FRAMES: usize = 1_025;

/// Makes garbage from a seed: the same seed gives the same messages.
#[derive(Debug)]
pub struct Garbage(fastrand::Rng);

impl Garbage {
    /// Garbage from this seed.
    pub fn new(seed: u64) -> Self {
        Garbage(fastrand::Rng::with_seed(seed))
    }

    /// A message, and the counter that it raises.
    pub fn message(&mut self) -> (Frames, &'static str) {
        match self.0.u32(..1_000) {
            0 => (frames(vec!["x"; TOO_MANY_FRAMES]), FRAMES_MAX),
            1..500 => (self.random(), MALFORMED),
            500..900 => (self.nearly_right(), MALFORMED),
            900..990 => (self.stranger(), UNREGISTERED),
            _ => (wire::ready(self.version(), "mmi.service"), RESERVED),
        }
    }

    fn version(&mut self) -> Version {
        VERSIONS[self.0.usize(..VERSIONS.len())]
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        std::iter::repeat_with(|| self.0.u8(..)).take(length).collect()
    }

    /// Random frames. The first one has no meaning in any version, whatever follows.
    fn random(&mut self) -> Frames {
        let mut message = vec![[&b"?"[..], &self.bytes(10)].concat()];
        for _ in 0..self.0.usize(..8) {
            let length = [0, 1, 6, 33, 300][self.0.usize(..5)];
            message.push(self.bytes(length));
        }
        message
    }

    /// A right message with one thing wrong.
    fn nearly_right(&mut self) -> Frames {
        let version = self.version();
        let bad_names = [String::new(), "a\nb".to_owned(), "x".repeat(256)];
        let bad_name = bad_names[self.0.usize(..3)].as_str();
        match self.0.u32(..12) {
            0 => wire::request(version, bad_name, ["body"]),
            1 => wire::request::<&str>(version, "echo", []),
            2 => wire::partial("echo", ["a client's 02 says nothing to a broker"]),
            3 => wire::worker_request(version, b"address", ["only a broker says this"]),
            4 => wire::ready(version, bad_name),
            5 => [wire::ready(version, "one"), frames(["two"])].concat(),
            6 => [wire::heartbeat(version), frames([""])].concat(),
            7 => [wire::disconnect(version), frames(["goodbye"])].concat(),
            8 => wire::worker_reply::<&str>(version, b"address", []),
            9 => wire::worker_reply(version, b"", ["an empty address"]),
            10 => [frames([""]), wire::request(Version::V0_2, "echo", ["body"])].concat(),
            _ => [frames(["envelope"]), wire::heartbeat(Version::V0_1)].concat(),
        }
    }

    /// What a worker may say, from somebody who is none.
    fn stranger(&mut self) -> Frames {
        let version = self.version();
        match self.0.u32(..3) {
            0 => wire::heartbeat(version),
            1 => wire::worker_reply(version, &self.bytes(8), ["a reply to nobody"]),
            _ => wire::worker_partial(&self.bytes(8), ["a part of nothing"]),
        }
    }
}

/// Connections that send garbage, and account of it.
#[derive(Debug)]
pub struct Flood {
    garbage: Garbage,
    peers: Vec<RawPeer>,
    /// By counter.
    sent: BTreeMap<&'static str, u64>,
    messages: u64,
    bytes: u64,
}

impl Flood {
    /// Connects so many peers, which send nothing yet.
    pub fn new(endpoint: &str, connections: usize, seed: u64) -> Self {
        Flood {
            garbage: Garbage::new(seed),
            peers: std::iter::repeat_with(|| RawPeer::dealer(endpoint)).take(connections).collect(),
            sent: [MALFORMED, FRAMES_MAX, UNREGISTERED, RESERVED].map(|name| (name, 0)).into(),
            messages: 0,
            bytes: 0,
        }
    }

    /// Sends one message from the next connection.
    pub fn send(&mut self) {
        let (message, counter) = self.garbage.message();
        let next = self.messages % self.peers.len().max(1) as u64;
        let Some(peer) = self.peers.get(next as usize) else { return };
        peer.send(&message);
        self.messages += 1;
        self.bytes += message.iter().map(|frame| frame.len() as u64).sum::<u64>();
        *self.sent.entry(counter).or_insert(0) += 1;
    }

    /// Messages sent so far.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Bytes sent so far, in frames.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How much of what was sent the broker has counted, right or wrong.
    pub fn counted(&self, report: &BrokerReport) -> u64 {
        self.sent.keys().map(|name| counter(report, name)).sum()
    }

    /// Each counter, with what was sent of it and what the broker has counted.
    pub fn account(&self, report: &BrokerReport) -> Vec<(&'static str, u64, u64)> {
        self.sent.iter().map(|(name, sent)| (*name, *sent, counter(report, name))).collect()
    }
}
