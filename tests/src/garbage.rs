//! Messages that no peer may send, each with the counter that it must raise by one;
//! and a flood of them from many connections.
//!
//! Random bytes alone would test the first comparison only. So half of the messages
//! are all but right: cut, swapped, or sent by somebody who may not say so.

use std::collections::BTreeMap;

use majordomo_protocol::mmi::BrokerReport;

use crate::raw::RawPeer;
use crate::report::counter;
use crate::wire::v1::{self, CLIENT, Record, WORKER};
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
            1..300 => (self.random(), MALFORMED),
            300..600 => (self.nearly_right(), MALFORMED),
            600..900 => (self.nearly_records(), MALFORMED),
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

    /// A message of MDP/1.0 with its true magic and one thing wrong. Nothing in it that
    /// stands before the fault does anything.
    pub fn nearly_records(&mut self) -> Frames {
        let cancel = v1::cancel([7; 16]);
        let request = || v1::request([7; 16], "echo").body(["body"]);
        let alone = |magic: &[u8; 6], record: &Record| v1::message(magic, [record]);
        let cut = |mut message: Frames, bytes: usize| {
            let batch = &mut message[0];
            batch.truncate(batch.len() - bytes);
            message
        };
        match self.0.u32(..12) {
            // Random bytes, of which the first say that more follow than do.
            0 => {
                let magic = if self.0.bool() { CLIENT } else { WORKER };
                let length = self.0.usize(..300);
                frames([[&magic[..], b"\xff", &self.bytes(length)].concat()])
            }
            // A record cut at any place.
            1 => {
                let message = alone(CLIENT, &request());
                let bytes = self.0.usize(1..message[0].len() - 6);
                cut(message, bytes)
            }
            2 => {
                let message = v1::message(CLIENT, [&cancel, &cancel]);
                let bytes = self.0.usize(1..20);
                cut(message, bytes)
            }
            // Body frames that are not there, and frames that are nobody's.
            3 => alone(CLIENT, &request().body(["one", "two"])).drain(..2).collect(),
            4 => [alone(CLIENT, &cancel), frames(["surplus"])].concat(),
            // A length that is less than a record has, and one beyond all.
            5 => frames([[&CLIENT[..], &[0, 0, 0, self.0.u8(..4), 1, 0, 0, 0]].concat()]),
            6 => frames([[&CLIENT[..], &[0xff; 4], &self.bytes(40)].concat()]),
            // Commands that this sender may not use.
            7 => {
                let command = [0x00, 0x04, 0x05, 0x06, 0x07, 0xff][self.0.usize(..6)];
                alone(CLIENT, &Record { command, ..cancel })
            }
            8 => {
                let command = [0x00, 0x02, 0x03, 0x07, 0x0B, 0xff][self.0.usize(..6)];
                alone(WORKER, &Record { command, ..v1::worker_reply([7; 8], ["body"]) })
            }
            // Names and metadata that cannot be.
            9 => alone(CLIENT, &v1::request([7; 16], "a\nb").body(["body"])),
            10 => alone(WORKER, &v1::ready(1, "")),
            _ => {
                let mut message = alone(CLIENT, &request().pair("key", "value"));
                // The length of the key, behind 16 + 8 + 5 bytes of fields and heads.
                message[0][6 + 8 + 29 + 2] = 200;
                message
            }
        }
    }

    /// What a worker may say, from somebody who is none.
    fn stranger(&mut self) -> Frames {
        let version = self.version();
        match self.0.u32(..6) {
            3 => v1::message(WORKER, [&v1::heartbeat()]),
            4 => v1::message(WORKER, [&v1::drain()]),
            5 => v1::message(WORKER, [&v1::worker_reply([7; 8], ["a reply to nobody"])]),
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
