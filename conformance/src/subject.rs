//! The other way round: a bare broker to which a worker or a client under test connects,
//! and which checks what that sends. Here is what both have in common: the ROUTER socket,
//! and the verdicts, clause by clause.
//!
//! What comes is read by `majordomo-protocol`, exactly: a message that it refuses is one
//! that no peer may send. The scripts are in [`worker`] and [`client`].

mod client;
mod worker;

use std::time::Duration;

use majordomo_protocol::{Body, Frames as Reader, Message, Version};

use crate::args::Args;
use crate::check::Level;
use crate::clock::Deadline;
use crate::report::{Item, Report, Spoken};
use crate::verdict::{Seen, Stop, Verdict};
use crate::wire::{Frames, dump};

/// A clause for a subject under test: name, level, text, and the versions that have it.
type Clause = (&'static str, Level, &'static str, &'static [Version]);

/// The clauses of the subject that was asked for.
pub(crate) fn list(args: &Args) -> Vec<(String, Level, &'static str)> {
    let (kind, clauses) = clauses(args);
    let named =
        clauses.iter().map(|(name, level, text, _)| (format!("{kind}/{name}"), *level, *text));
    named.filter(|(name, level, _)| wanted(args, name, *level)).collect()
}

fn clauses(args: &Args) -> (&'static str, &'static [Clause]) {
    if args.worker { ("worker", worker::CLAUSES) } else { ("client", client::CLAUSES) }
}

fn wanted(args: &Args, name: &str, level: Level) -> bool {
    args.wants(|text| name.contains(text) || level.as_str() == text)
}

/// Waits for the subject, plays its script, and says what came of it.
pub(crate) fn run(args: &Args, endpoint: &str) -> Result<Report, String> {
    let context = zmq::Context::new();
    let bind = || -> zmq::Result<zmq::Socket> {
        let router = context.socket(zmq::ROUTER)?;
        router.set_linger(200)?;
        router.set_maxmsgsize(64 << 20)?;
        router.bind(endpoint)?;
        Ok(router)
    };
    let router = bind().map_err(|error| format!("cannot listen on {endpoint}: {error}"))?;
    let bench = Bench { router, invalid: None, verdicts: vec![] };
    let (version, bench) =
        if args.worker { worker::play(args, bench) } else { client::play(args, bench) };
    Ok(report(args, version, &bench))
}

fn report(args: &Args, version: Option<Version>, bench: &Bench) -> Report {
    let (kind, clauses) = clauses(args);
    let Some(version) = version else {
        let seen = format!("no valid {} connected and spoke in time", kind);
        let seen = match &bench.invalid {
            Some(invalid) => format!("{seen}; {invalid}"),
            None => seen,
        };
        let spoken = vec![Spoken { what: "MDP".to_owned(), spoken: false, seen }];
        return Report { spoken, items: vec![] };
    };
    let items = clauses.iter().filter(|(.., versions)| versions.contains(&version));
    let items = items.map(|(name, level, clause, _)| Item {
        name: format!("{kind}/{name}"),
        section: format!("A {kind} of MDP/{version}"),
        level: *level,
        clause,
        verdict: bench.verdict(name),
    });
    let items = items.filter(|item| wanted(args, &item.name, item.level)).collect();
    let seen = format!("it is a {kind} of it");
    let spoken = vec![Spoken { what: format!("MDP/{version}"), spoken: true, seen }];
    Report { spoken, items }
}

/// One command that came, and from which connection.
struct Heard {
    from: Vec<u8>,
    message: Message<Vec<u8>>,
}

/// The socket of the bare broker, and what has been found out.
struct Bench {
    router: zmq::Socket,
    /// The first message that no peer may send.
    invalid: Option<String>,
    verdicts: Vec<(&'static str, Verdict)>,
}

impl Bench {
    /// Sends a message to a connection; one that has gone gets nothing.
    fn send(&self, to: &[u8], message: Frames) {
        let message = std::iter::once(to.to_vec()).chain(message);
        let _ = self.router.send_multipart(message, zmq::DONTWAIT);
    }

    /// The commands of the next message, if one comes before the deadline. Those that are
    /// invalid are noted and passed over.
    fn next(&mut self, deadline: Deadline) -> Option<Vec<Heard>> {
        // Not even a peer that never stops sending keeps a script from its end.
        while !deadline.is_over() {
            if let Ok(mut message) = self.router.recv_multipart(zmq::DONTWAIT) {
                let from = message.remove(0);
                let shown = dump(&message);
                let mut heard = vec![];
                for command in Message::decode(Reader::new(message)) {
                    match command {
                        Ok(message) => heard.push(Heard { from: from.clone(), message }),
                        Err(error) => {
                            self.invalid.get_or_insert(format!("{shown}, invalid: {error}"));
                        }
                    }
                }
                if !heard.is_empty() {
                    return Some(heard);
                }
                continue;
            }
            let wait = i64::try_from(deadline.left().as_millis()).unwrap_or(i64::MAX);
            // A failed poll shows itself as a message that does not come.
            let _ = self.router.poll(zmq::POLLIN, wait.max(1));
        }
        None
    }

    /// Notes that a clause was kept, unless it was found broken before.
    fn keeps(&mut self, name: &'static str) {
        self.note(name, Ok(()));
    }

    /// Notes that a clause was broken.
    fn breaks(
        &mut self,
        name: &'static str,
        expected: &str,
        received: impl Into<String>,
        within: Duration,
    ) {
        let (expected, received) = (expected.to_owned(), received.into());
        self.note(name, Err(Stop::Failed(Seen { expected, received, within })));
    }

    fn note(&mut self, name: &'static str, verdict: Verdict) {
        self.verdicts.push((name, verdict));
    }

    /// The first failure there is, else what else was noted.
    fn verdict(&self, name: &str) -> Verdict {
        let mut noted = self.verdicts.iter().filter(|(noted, _)| *noted == name);
        let failure = noted.clone().find(|(_, verdict)| verdict.is_err());
        match failure.or_else(|| noted.next()) {
            Some((_, verdict)) => verdict.clone(),
            None => Err(Stop::Blocked("it did not come to that".to_owned())),
        }
    }

    /// Notes whether all messages were valid; at the end of a script.
    fn judge_validity(&mut self) {
        match self.invalid.clone() {
            None => self.keeps("valid-messages"),
            Some(received) => {
                let expected = "messages that its version allows to it";
                self.breaks("valid-messages", expected, received, Duration::ZERO);
            }
        }
    }
}

/// A body on one line.
fn shown(body: &Body) -> String {
    dump(&body.frames().to_vec())
}
