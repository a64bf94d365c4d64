//! The script for a worker under test: it registers, is idle, is asked, is told to leave,
//! comes back, is left in silence, comes back again.

use std::time::Duration;

use majordomo_protocol::worker::{FromBroker, ToBroker};
use majordomo_protocol::{
    Agreement, Batch, Body, ClientAddress, InstanceId, Message, Reason, Task, Version,
};

use super::{Bench, Clause, shown};
use crate::args::Args;
use crate::check::Level::{Must, Own, Should};
use crate::clock::Deadline;

const ALL: &[Version] = &[Version::V0_1, Version::V0_2, Version::V1_0];
const OURS: &[Version] = &[Version::V1_0];

pub(super) const CLAUSES: &[Clause] = &[
    ("valid-messages", Must, "Every message is one that its version allows to a worker.", ALL),
    ("ready-first", Must, "The first message of a connection is READY.", ALL),
    ("ready-once", Must, "READY is said once on a connection.", ALL),
    ("beats", Must, "A worker with nothing to do beats in the interval agreed on.", ALL),
    (
        "replies",
        Must,
        "A REQUEST is answered by any number of PARTIAL (not in 0.1) and one final reply.",
        ALL,
    ),
    (
        "address-unchanged",
        Must,
        "A reply carries the client address of its request, whatever bytes that has.",
        ALL,
    ),
    ("one-final", Must, "Nothing follows the final reply for that request.", ALL),
    ("capacity", Own, "A worker takes as many requests at once as it said in READY.", OURS),
    (
        "answers-cancelled",
        Own,
        "A task that was cancelled is answered all the same, since CANCEL frees no place.",
        OURS,
    ),
    ("cancel-unknown", Own, "CANCEL for a task that it does not have harms nobody.", OURS),
    (
        "silent-after-disconnect",
        Must,
        "After DISCONNECT nothing more comes on that connection.",
        ALL,
    ),
    (
        "comes-back",
        Must,
        "After DISCONNECT the worker closes its socket, and registers on a new one.",
        ALL,
    ),
    ("serves-again", Must, "A worker that came back serves.", ALL),
    (
        "notices-silence",
        Should,
        "A broker silent for some multiple of the interval is lost: the worker begins a new \
         conversation on a new connection.",
        ALL,
    ),
];

type ToWorker = FromBroker<Body>;
type FromWorker = ToBroker<Body>;

/// The worker's present connection, as the broker sees it.
struct Seat {
    version: Version,
    identity: Vec<u8>,
    capacity: u16,
}

struct Script<'a> {
    args: &'a Args,
    bench: Bench,
    interval: Duration,
    /// The connection that the broker beats to.
    seat: Option<Seat>,
    /// Connections that were told to leave.
    told: Vec<Vec<u8>>,
    beat_due: Deadline,
}

/// Plays the script; the version of the worker, if one came.
pub(super) fn play(args: &Args, bench: Bench) -> (Option<Version>, Bench) {
    let interval = args.heartbeat.unwrap_or(Duration::from_millis(2_500));
    let beat_due = Deadline::after(interval);
    let mut script = Script { args, bench, interval, seat: None, told: vec![], beat_due };
    let version = script.run();
    script.bench.judge_validity();
    (version, script.bench)
}

impl Script<'_> {
    fn run(&mut self) -> Option<Version> {
        let version = self.registers(&[])?;
        self.beats();
        self.replies("replies", &[0, 0xFF, 1, 2, 0, 3, 4, 5]);
        self.replies("replies", &[b'a'; 8]);
        if version == Version::V1_0 {
            self.takes_its_capacity();
            self.is_cancelled();
        } else {
            // Addresses of any length are allowed here.
            self.replies("replies", &[7]);
            self.replies("replies", &[9; 200]);
        }
        self.comes_back(version);
        Some(version)
    }

    fn silence(&self) -> Duration {
        self.interval * self.args.liveness
    }

    fn send(&self, to: &Seat, commands: Vec<ToWorker>) {
        if to.version == Version::V1_0 {
            let mut batch = Batch::of_worker(4_096);
            for command in commands {
                // The script says only what a record can say.
                let _ = command.write(&mut batch);
            }
            self.bench.send(&to.identity, batch.into_frames());
        } else {
            for command in commands {
                if let Ok(message) = command.encode(to.version) {
                    self.bench.send(&to.identity, message);
                }
            }
        }
    }

    fn say(&self, commands: Vec<ToWorker>) {
        if let Some(seat) = &self.seat {
            self.send(seat, commands);
        }
    }

    /// The next command from the worker's connection, while the broker beats. Commands
    /// from connections that were told to leave are judged here.
    fn next(&mut self, deadline: Deadline) -> Option<Vec<(Vec<u8>, Version, FromWorker)>> {
        while !deadline.is_over() {
            if self.beat_due.is_over() {
                self.beat_due = Deadline::after(self.interval / 2);
                self.say(vec![FromBroker::Heartbeat]);
            }
            let slice = Deadline::after(deadline.left().min(self.interval / 4));
            let Some(heard) = self.bench.next(slice) else { continue };
            let mut commands = vec![];
            for heard in heard {
                let Message::Worker { version, command } = heard.message else { continue };
                if self.told.contains(&heard.from) {
                    let expected = "nothing after DISCONNECT";
                    // It may have crossed the DISCONNECT; READY cannot have.
                    if matches!(command, ToBroker::Ready { .. }) {
                        let received = "READY on the same connection";
                        self.breaks("silent-after-disconnect", expected, received);
                    }
                    continue;
                }
                commands.push((heard.from, version, command));
            }
            if !commands.is_empty() {
                return Some(commands);
            }
        }
        None
    }

    fn breaks(&mut self, name: &'static str, expected: &str, received: impl Into<String>) {
        self.bench.breaks(name, expected, received, self.args.timeout);
    }

    /// Waits for READY on a connection that is not among `old`, and takes it up.
    fn registers(&mut self, old: &[Vec<u8>]) -> Option<Version> {
        let deadline = Deadline::after(self.args.wait);
        while let Some(commands) = self.next(deadline) {
            for (from, version, command) in commands {
                if old.contains(&from) {
                    continue;
                }
                let ToBroker::Ready { offer, .. } = command else {
                    // A goodbye before READY is allowed.
                    if !matches!(command, ToBroker::Disconnect { .. }) {
                        self.breaks("ready-first", "READY", format!("{command:?}"));
                    }
                    continue;
                };
                let seat = Seat { version, identity: from, capacity: offer.capacity };
                if version == Version::V1_0 {
                    let (heartbeat, liveness) = (self.interval, self.args.liveness as u8);
                    let instance = InstanceId::new(*b"conforms");
                    let agreement = Agreement { heartbeat, liveness, instance };
                    self.send(&seat, vec![FromBroker::Welcome(agreement)]);
                }
                self.seat = Some(seat);
                self.bench.keeps("ready-first");
                return Some(version);
            }
        }
        None
    }

    /// The next command of the present connection. READY is judged here.
    fn command(&mut self, deadline: Deadline) -> Option<Vec<FromWorker>> {
        loop {
            let commands = self.next(deadline)?;
            let here = self.seat.as_ref().map(|seat| seat.identity.clone());
            let mut mine = vec![];
            for (from, _, command) in commands {
                if Some(&from) != here.as_ref() {
                    continue;
                }
                if matches!(command, ToBroker::Ready { .. }) {
                    self.breaks("ready-once", "one READY", "another on the same connection");
                }
                mine.push(command);
            }
            if !mine.is_empty() {
                return Some(mine);
            }
        }
    }

    fn beats(&mut self) {
        for _ in 0..3 {
            let deadline = Deadline::after(self.silence());
            let mut heard = false;
            while !heard && let Some(commands) = self.command(deadline) {
                heard = commands.contains(&ToBroker::Heartbeat);
            }
            if !heard {
                let (expected, within) = ("HEARTBEAT", self.silence());
                return self.bench.breaks("beats", expected, "none", within);
            }
        }
        self.bench.keeps("beats");
        self.bench.keeps("ready-once");
    }

    fn request(&self, address: &[u8]) -> ToWorker {
        FromBroker::Request {
            client: ClientAddress::new(address),
            task: Task { attempt: 1, ..Task::default() },
            body: Body::from(self.args.body.as_str()),
        }
    }

    /// Waits for the answers of these requests; whether all came.
    fn answers(&mut self, name: &'static str, addresses: &[&[u8]]) -> bool {
        let mut open: Vec<ClientAddress> =
            addresses.iter().map(|address| ClientAddress::new(address)).collect();
        let deadline = Deadline::after(self.args.timeout);
        while !open.is_empty() {
            let Some(commands) = self.command(deadline) else {
                let expected = "PARTIAL and one final reply to each REQUEST";
                let received = format!("no final reply to {open:?}");
                self.breaks(name, expected, received);
                return false;
            };
            for command in commands {
                match command {
                    ToBroker::Final { client, .. } | ToBroker::Error { client, .. } => {
                        let before = open.len();
                        open.retain(|address| *address != client);
                        if before == open.len() {
                            let expected = format!("the address {open:?}");
                            self.breaks("address-unchanged", &expected, format!("{client}"));
                            return false;
                        }
                    }
                    ToBroker::Partial { client, body } if !open.contains(&client) => {
                        let received = format!("a part {} for {client}", shown(&body));
                        self.breaks(
                            "address-unchanged",
                            &format!("the address {open:?}"),
                            received,
                        );
                    }
                    ToBroker::Disconnect { .. } => {
                        self.breaks(name, "a final reply", "DISCONNECT");
                        return false;
                    }
                    _ => {}
                }
            }
        }
        true
    }

    fn replies(&mut self, name: &'static str, address: &[u8]) {
        self.say(vec![self.request(address)]);
        if !self.answers(name, &[address]) {
            return;
        }
        self.bench.keeps(name);
        self.bench.keeps("address-unchanged");
        self.nothing_follows();
    }

    fn nothing_follows(&mut self) {
        let deadline = Deadline::after(self.args.quiet);
        while let Some(commands) = self.command(deadline) {
            let more = commands.iter().find(|command| **command != ToBroker::Heartbeat);
            if let Some(more) = more {
                let received = format!("{more:?}");
                return self.breaks("one-final", "nothing but HEARTBEAT after FINAL", received);
            }
        }
        self.bench.keeps("one-final");
    }

    fn takes_its_capacity(&mut self) {
        let capacity = self.seat.as_ref().map_or(1, |seat| seat.capacity).min(16);
        let ids: Vec<[u8; 8]> =
            (0..capacity).map(|n| (0x100 + u64::from(n)).to_be_bytes()).collect();
        self.say(ids.iter().map(|id| self.request(id)).collect());
        let ids: Vec<&[u8]> = ids.iter().map(|id| &id[..]).collect();
        if self.answers("capacity", &ids) {
            self.bench.keeps("capacity");
        }
    }

    fn is_cancelled(&mut self) {
        let id = [0xCA; 8];
        let cancel = |id: &[u8]| FromBroker::Cancel { client: ClientAddress::new(id) };
        self.say(vec![self.request(&id), cancel(&id)]);
        if self.answers("answers-cancelled", &[&id]) {
            self.bench.keeps("answers-cancelled");
        }
        self.say(vec![cancel(&[0xCB; 8]), self.request(&[0xCC; 8])]);
        if self.answers("cancel-unknown", &[&[0xCC; 8]]) {
            self.bench.keeps("cancel-unknown");
        }
    }

    fn comes_back(&mut self, version: Version) {
        self.say(vec![FromBroker::Disconnect { reason: Reason::default() }]);
        let first = self.seat.take().map(|seat| seat.identity).unwrap_or_default();
        self.told.push(first.clone());
        let wait = self.args.wait;
        if self.registers(&[]).is_none() {
            let expected = "READY on a new connection after DISCONNECT";
            return self.bench.breaks("comes-back", expected, "none", wait);
        }
        self.bench.keeps("comes-back");
        self.bench.keeps("silent-after-disconnect");
        self.replies("serves-again", &[3; 8]);
        // From now on the broker says nothing, until the worker has given it up.
        let second = self.seat.take().map(|seat| seat.identity).unwrap_or_default();
        if self.registers(&[first, second]) == Some(version) {
            self.bench.keeps("notices-silence");
            self.say(vec![FromBroker::Disconnect { reason: Reason::default() }]);
        } else {
            let expected = "READY on a new connection after the broker's silence";
            self.bench.breaks("notices-silence", expected, "none", wait);
        }
    }
}
