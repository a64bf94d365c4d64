//! The script for a client under test: its first call is answered in parts, its second
//! not until it has been tried again, its third by an error where the version has one.
//! Calls are told apart by their bodies.

use majordomo_protocol::client::{Answered, FromBroker, ToBroker};
use majordomo_protocol::{
    Batch, Body, InstanceId, Message, Reason, RequestId, ServiceName, Version,
};

use super::{Bench, Clause, shown};
use crate::args::Args;
use crate::check::Level::{Must, Own, Should};
use crate::clock::Deadline;

const ALL: &[Version] = &[Version::V0_1, Version::V0_2, Version::V1_0];
const RFCS: &[Version] = &[Version::V0_1, Version::V0_2];
const PARTS: &[Version] = &[Version::V0_2, Version::V1_0];
const OURS: &[Version] = &[Version::V1_0];

pub(super) const CLAUSES: &[Clause] = &[
    ("valid-messages", Must, "Every message is one that its version allows to a client.", ALL),
    (
        "one-at-a-time",
        Must,
        "The dialog is synchronous: no second request on a connection before the final reply.",
        RFCS,
    ),
    ("takes-final", Must, "A final reply ends a call; the next one is another.", ALL),
    ("takes-parts", Must, "A client is prepared for any number of PARTIAL before FINAL.", PARTS),
    ("tries-again", Should, "A client that gets no reply in time sends its request again.", ALL),
    (
        "new-socket",
        Should,
        "It does so on a new socket, so that a late reply cannot be taken for another's.",
        RFCS,
    ),
    ("same-id", Own, "A request that is sent again carries the same request id.", OURS),
    ("unique-ids", Own, "No two requests carry the same request id.", OURS),
    (
        "asks-for-life",
        Should,
        "A client with requests outstanding that hears nothing sends HEARTBEAT.",
        OURS,
    ),
    ("takes-error", Own, "ERROR ends a call; the next one is another.", OURS),
];

/// A request that came.
#[derive(Clone)]
struct Request {
    from: Vec<u8>,
    version: Version,
    envelope: Vec<Vec<u8>>,
    id: Option<RequestId>,
    service: ServiceName,
    body: Body,
}

impl Request {
    fn answered(&self) -> Answered {
        match self.id {
            Some(id) => Answered::Id(id),
            None => Answered::Service(self.service.clone()),
        }
    }
}

struct Script<'a> {
    args: &'a Args,
    bench: Bench,
    /// All requests so far that had bodies of their own.
    calls: Vec<Request>,
    heartbeats: usize,
}

/// Plays the script; the version of the client, if one came.
pub(super) fn play(args: &Args, bench: Bench) -> (Option<Version>, Bench) {
    let mut script = Script { args, bench, calls: vec![], heartbeats: 0 };
    let version = script.run();
    script.bench.judge_validity();
    (version, script.bench)
}

impl Script<'_> {
    fn run(&mut self) -> Option<Version> {
        let first = self.request(Deadline::after(self.args.wait))?;
        let version = first.version;
        self.calls.push(first.clone());
        if version != Version::V1_0 {
            self.asks_nothing_else(&first);
        }
        let name = if version == Version::V0_1 { "takes-final" } else { "takes-parts" };
        if version != Version::V0_1 {
            for part in ["a part", "another"] {
                let (request, body) = (first.answered(), Body::from(part));
                self.answer(&first, FromBroker::Partial { request, body });
            }
        }
        self.finish(&first);
        if let Some(second) = self.next_call(name, &first) {
            self.is_silent(&second);
        }
        Some(version)
    }

    /// Lets a second call without an answer until it is tried again.
    fn is_silent(&mut self, second: &Request) {
        let heartbeats = self.heartbeats;
        let again = self.request(Deadline::after(self.args.wait));
        let silence = "HEARTBEAT while nothing comes";
        match heartbeats < self.heartbeats {
            true => self.bench.keeps("asks-for-life"),
            false => self.breaks("asks-for-life", silence, "none"),
        }
        let expected = format!("the request {} again", shown(&second.body));
        let Some(again) = again else { return self.breaks("tries-again", &expected, "nothing") };
        let answered = if again.body == second.body {
            self.bench.keeps("tries-again");
            if again.from == second.from {
                self.breaks("new-socket", "a new connection", "the same connection");
            } else {
                self.bench.keeps("new-socket");
            }
            match again.id == second.id {
                true => self.bench.keeps("same-id"),
                false => self.breaks("same-id", "the same request id", "another"),
            }
            again
        } else {
            self.breaks("tries-again", &expected, format!("another: {}", shown(&again.body)));
            self.is_new(&again);
            again
        };
        self.finish(&answered);
        let Some(third) = self.next_call("takes-final", &answered) else { return };
        if third.version == Version::V1_0 {
            let Some(id) = third.id else { return };
            let reason = Reason { code: 777, text: "as the script says".to_owned() };
            let details = Body::from("details");
            self.answer(&third, FromBroker::Error { id, reason, details });
            let Some(fourth) = self.next_call("takes-error", &third) else { return };
            self.finish(&fourth);
            self.bench.keeps("unique-ids");
        } else {
            self.finish(&third);
        }
    }

    fn breaks(&mut self, name: &'static str, expected: &str, received: impl Into<String>) {
        self.bench.breaks(name, expected, received, self.args.wait);
    }

    /// The next request. A HEARTBEAT is answered at once.
    fn request(&mut self, deadline: Deadline) -> Option<Request> {
        while let Some(heard) = self.bench.next(deadline) {
            for heard in heard {
                let Message::Client { version, envelope, command } = heard.message else {
                    continue;
                };
                let from = heard.from;
                match command {
                    ToBroker::Request { id, service, body, .. } => {
                        return Some(Request { from, version, envelope, id, service, body });
                    }
                    ToBroker::Heartbeat => {
                        self.heartbeats += 1;
                        let instance = InstanceId::new(*b"conforms");
                        let mut batch = Batch::of_client(4_096);
                        // It is a record of fixed size.
                        let _ = FromBroker::Heartbeat { instance }.write(&mut batch);
                        self.bench.send(&from, batch.into_frames());
                    }
                    ToBroker::Cancel { .. } => {}
                }
            }
        }
        None
    }

    fn answer(&self, request: &Request, command: FromBroker<Body>) {
        if request.version == Version::V1_0 {
            let mut batch = Batch::of_client(4_096);
            // The script says only what a record can say.
            let _ = command.write(&mut batch);
            self.bench.send(&request.from, batch.into_frames());
        } else if let Ok(message) = command.encode(request.version, request.envelope.clone()) {
            self.bench.send(&request.from, message);
        }
    }

    fn finish(&self, request: &Request) {
        let (answered, body) = (request.answered(), Body::from("answer"));
        self.answer(request, FromBroker::Final { request: answered, body });
    }

    fn asks_nothing_else(&mut self, first: &Request) {
        match self.request(Deadline::after(self.args.quiet)) {
            Some(second) if second.from == first.from => {
                let expected = "one request at a time";
                self.breaks("one-at-a-time", expected, format!("{} too", shown(&second.body)));
            }
            _ => self.bench.keeps("one-at-a-time"),
        }
    }

    /// The call after `ended`, which has been answered; the clause that this shows.
    fn next_call(&mut self, name: &'static str, ended: &Request) -> Option<Request> {
        let Some(next) = self.request(Deadline::after(self.args.wait)) else {
            self.breaks(name, "another call after that answer", "nothing");
            return None;
        };
        if next.body == ended.body {
            self.breaks(name, "another call after that answer", "the same one again");
            return None;
        }
        self.bench.keeps(name);
        self.is_new(&next);
        Some(next)
    }

    /// Notes a call, whose id must be new.
    fn is_new(&mut self, next: &Request) {
        if next.id.is_some() && self.calls.iter().any(|call| call.id == next.id) {
            self.breaks("unique-ids", "an id that no other request had", "one of an earlier call");
        }
        self.calls.push(next.clone());
    }
}
