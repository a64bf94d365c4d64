//! Reads the golden messages of `tests/vectors`, whose format each file describes
//! at its head, and joins the crate's decoders and encoders into one of each.
//! Those of MDP/1.0, which are batches, are in `batch`.

#![allow(dead_code, reason = "each test file uses a part of this")]

pub(crate) mod batch;

use std::path::Path;

use majordomo_protocol::client::Answered;
use majordomo_protocol::worker::FromBroker;
use majordomo_protocol::{
    Body, ClientAddress, DecodeError, Expected, Frames, Message, Offer, Reason, ServiceName, Task,
    Terms, Version, client, worker,
};

/// One golden message.
#[derive(Clone, Debug)]
pub(crate) struct Vector {
    /// File and name, for a failing test.
    pub(crate) name: String,
    pub(crate) version: Version,
    pub(crate) direction: Direction,
    pub(crate) frames: Vec<Vec<u8>>,
    pub(crate) outcome: Outcome,
}

#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// The frames are this command.
    Command(Command),
    /// The frames are none: this one is wrong, and this should stand there.
    Refused { frame: usize, expected: String },
    /// The version has no frames for this command.
    Inexpressible(Command),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    ClientToBroker,
    BrokerToClient,
    WorkerToBroker,
    BrokerToWorker,
}

/// What any message means, by whom it is meant for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Broker(Message<Vec<u8>>),
    Client { envelope: Vec<Vec<u8>>, command: client::FromBroker<Body> },
    Worker(FromBroker<Body>),
}

/// What a receiver makes of a message: its commands, one in MDP/0.1 and MDP/0.2, and
/// what is wrong behind them.
pub(crate) type Decoded = (Vec<Command>, Option<DecodeError>);

/// Reads a message as its receiver does. `envelope` is the number of frames that a
/// client knows it has put before its empty frame.
pub(crate) fn decode(
    direction: Direction,
    version: Version,
    envelope: usize,
    mut frames: Vec<Vec<u8>>,
) -> Decoded {
    match (direction, version) {
        (Direction::ClientToBroker | Direction::WorkerToBroker, _) => {
            all(Message::decode(Frames::new(frames)), Command::Broker)
        }
        (Direction::BrokerToClient, Version::V1_0) => {
            match client::Commands::new(Frames::new(frames)) {
                Ok(commands) => all(commands, Command::of_client),
                Err(error) => (Vec::new(), Some(error)),
            }
        }
        (Direction::BrokerToWorker, Version::V1_0) => {
            match worker::Commands::new(Frames::new(frames)) {
                Ok(commands) => all(commands, Command::Worker),
                Err(error) => (Vec::new(), Some(error)),
            }
        }
        (Direction::BrokerToClient, _) => {
            let rest = frames.split_off(envelope.min(frames.len()));
            match client::FromBroker::decode(version, Frames::new(rest)) {
                Ok(command) => (vec![Command::Client { envelope: frames, command }], None),
                Err(error) => (Vec::new(), Some(error)),
            }
        }
        (Direction::BrokerToWorker, _) => match FromBroker::decode(version, Frames::new(frames)) {
            Ok(command) => (vec![Command::Worker(command)], None),
            Err(error) => (Vec::new(), Some(error)),
        },
    }
}

/// Everything an iterator of commands gives: an error is the last of it.
fn all<T>(
    mut results: impl Iterator<Item = Result<T, DecodeError>>,
    command: impl Fn(T) -> Command,
) -> Decoded {
    let mut commands = Vec::new();
    let error = loop {
        match results.next() {
            Some(Ok(next)) => commands.push(command(next)),
            Some(Err(error)) => break Some(error),
            None => break None,
        }
    };
    assert!(results.next().is_none(), "more behind the end, or behind {error:?}");
    (commands, error)
}

impl Command {
    fn of_client(command: client::FromBroker<Body>) -> Self {
        Command::Client { envelope: Vec::new(), command }
    }
}

/// Writes a message of MDP/0.1 or MDP/0.2 as its sender does; `None` when the version
/// has no frames for it.
///
/// A command to a broker knows its version and is written in that one.
pub(crate) fn encode(version: Version, command: Command) -> Option<Vec<Vec<u8>>> {
    match command {
        Command::Broker(Message::Client { version, envelope, command }) => {
            let mut frames = envelope;
            frames.extend(command.encode(version).ok()?);
            Some(frames)
        }
        Command::Broker(Message::Worker { version, command }) => command.encode(version).ok(),
        Command::Client { envelope, command } => command.encode(version, envelope).ok(),
        Command::Worker(command) => command.encode(version).ok(),
    }
}

/// The word that the files have for an expectation.
pub(crate) fn expectation(expected: Expected) -> &'static str {
    match expected {
        Expected::BrokerHeader | Expected::Header(_) => "header",
        Expected::Command(_) => "command",
        Expected::ServiceName => "service",
        Expected::ClientAddress => "client-address",
        Expected::Empty => "empty",
        Expected::Body => "body",
        Expected::End => "end",
        Expected::RecordLength => "record-length",
        Expected::Metadata => "metadata",
        Expected::EndOfRecord => "end-of-record",
        Expected::Field(field) => batch::field(field),
    }
}

/// The messages of all files of MDP/0.1 and MDP/0.2.
pub(crate) fn vectors() -> Vec<Vector> {
    ["mdp-client-0.1.txt", "mdp-client-0.2.txt", "mdp-worker-0.1.txt", "mdp-worker-0.2.txt"]
        .into_iter()
        .flat_map(read)
        .collect()
}

/// The messages of one file.
pub(crate) fn read(file: &str) -> Vec<Vector> {
    let text = text(file);
    let mut version = None;
    let mut vectors = Vec::new();
    for fields in blocks(&text) {
        match fields[0] {
            ("version", "0.1") => version = Some(Version::V0_1),
            ("version", "0.2") => version = Some(Version::V0_2),
            ("message", name) => {
                let name = format!("{file}: {name}");
                vectors.push(vector(name, version.expect("a version first"), &fields[1..]));
            }
            (key, _) => panic!("{file}: a block begins with {key:?}"),
        }
    }
    vectors
}

fn text(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(file);
    std::fs::read_to_string(&path).expect("a readable file of vectors")
}

/// The blocks of a file that are not all comment: keys and values, one or more.
fn blocks(text: &str) -> impl Iterator<Item = Vec<(&str, &str)>> {
    text.split("\n\n").map(fields_of).filter(|fields| !fields.is_empty())
}

fn fields_of(block: &str) -> Vec<(&str, &str)> {
    block
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_once(':').expect("a key and a colon"))
        .map(|(key, value)| (key, value.strip_prefix(' ').unwrap_or(value)))
        .collect()
}

fn direction(text: Option<&str>) -> Option<Direction> {
    Some(match text? {
        "client to broker" => Direction::ClientToBroker,
        "broker to client" => Direction::BrokerToClient,
        "worker to broker" => Direction::WorkerToBroker,
        "broker to worker" => Direction::BrokerToWorker,
        _ => return None,
    })
}

fn vector(name: String, version: Version, fields: &[(&str, &str)]) -> Vector {
    for (key, _) in fields {
        let known = [
            "direction",
            "frame",
            "command",
            "envelope",
            "service",
            "client",
            "body",
            "wrong",
            "expected",
            "frames",
        ];
        assert!(known.contains(key), "{name}: unknown key {key:?}");
    }
    let all = |key: &str| -> Vec<Vec<u8>> {
        fields.iter().filter(|(k, _)| *k == key).map(|(_, value)| bytes(value)).collect()
    };
    let one = |key: &str| -> Option<&str> {
        let mut values = fields.iter().filter(|(k, _)| *k == key).map(|(_, value)| *value);
        let value = values.next();
        assert!(values.next().is_none(), "{name}: {key} twice");
        value
    };
    let direction = direction(one("direction")).unwrap_or_else(|| panic!("{name}: direction"));
    let body = || {
        let frames = all("body");
        assert!(!frames.is_empty(), "{name}: no body");
        Body::from_frames(frames)
    };
    let service =
        || ServiceName::from_bytes(&bytes(one("service").expect("a service"))).expect("a name");
    let client = || ClientAddress::new(&bytes(one("client").expect("a client address")));
    let request = || Answered::Service(service());
    let command = |command: &str| match (direction, command) {
        (Direction::ClientToBroker, "REQUEST") => Command::Broker(Message::Client {
            version,
            envelope: all("envelope"),
            command: client::ToBroker::Request {
                id: None,
                service: service(),
                terms: Terms::default(),
                body: body(),
            },
        }),
        (Direction::BrokerToClient, "PARTIAL") => Command::Client {
            envelope: all("envelope"),
            command: client::FromBroker::Partial { request: request(), body: body() },
        },
        (Direction::BrokerToClient, "FINAL") => Command::Client {
            envelope: all("envelope"),
            command: client::FromBroker::Final { request: request(), body: body() },
        },
        (Direction::WorkerToBroker, command) => Command::Broker(Message::Worker {
            version,
            command: match command {
                "READY" => worker::ToBroker::Ready { service: service(), offer: Offer::default() },
                "PARTIAL" => worker::ToBroker::Partial { client: client(), body: body() },
                "FINAL" => worker::ToBroker::Final { client: client(), body: body() },
                "HEARTBEAT" => worker::ToBroker::Heartbeat,
                "DISCONNECT" => worker::ToBroker::Disconnect { reason: Reason::default() },
                _ => panic!("{name}: command {command}"),
            },
        }),
        (Direction::BrokerToWorker, command) => Command::Worker(match command {
            "REQUEST" => {
                FromBroker::Request { client: client(), task: Task::default(), body: body() }
            }
            "HEARTBEAT" => FromBroker::Heartbeat,
            "DISCONNECT" => FromBroker::Disconnect { reason: Reason::default() },
            _ => panic!("{name}: command {command}"),
        }),
        _ => panic!("{name}: command {command}"),
    };
    let outcome = match (one("command"), one("wrong"), one("frames")) {
        (Some(name), None, None) => Outcome::Command(command(name)),
        (Some(name), None, Some("none")) => Outcome::Inexpressible(command(name)),
        (None, Some(frame), None) => Outcome::Refused {
            frame: frame.parse().expect("the number of a frame"),
            expected: one("expected").expect("an expectation").to_owned(),
        },
        other => panic!("{name}: {other:?}"),
    };
    Vector { name, version, direction, frames: all("frame"), outcome }
}

fn bytes(value: &str) -> Vec<u8> {
    let Some(digits) = value.strip_prefix("0x") else { return value.into() };
    let digits = digits.replace(' ', "");
    assert!(digits.len() % 2 == 0, "an odd number of digits: {value}");
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).expect("ASCII"))
        .map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal digits"))
        .collect()
}
