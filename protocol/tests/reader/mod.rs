//! Reads the golden messages of `tests/vectors`, whose format each file describes
//! at its head, and joins the crate's decoders and encoders into one of each.

#![allow(dead_code, reason = "each test file uses a part of this")]

use std::path::Path;

use majordomo_protocol::{
    Body, ClientAddress, DecodeError, Expected, Frames, Message, ServiceName, Version, client,
    worker,
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
    Worker(worker::FromBroker<Body>),
}

/// Reads a message as its receiver does. `envelope` is the number of frames that a
/// client knows it has put before its empty frame.
pub(crate) fn decode(
    direction: Direction,
    version: Version,
    envelope: usize,
    mut frames: Vec<Vec<u8>>,
) -> Result<Command, DecodeError> {
    match direction {
        Direction::ClientToBroker | Direction::WorkerToBroker => {
            Message::decode(Frames::new(frames)).map(Command::Broker)
        }
        Direction::BrokerToClient => {
            let rest = frames.split_off(envelope.min(frames.len()));
            let command = client::FromBroker::decode(version, Frames::new(rest))?;
            Ok(Command::Client { envelope: frames, command })
        }
        Direction::BrokerToWorker => {
            worker::FromBroker::decode(version, Frames::new(frames)).map(Command::Worker)
        }
    }
}

/// Writes a message as its sender does; `None` when the version has no frames for it.
///
/// A command to a broker knows its version and is written in that one.
pub(crate) fn encode(version: Version, command: Command) -> Option<Vec<Vec<u8>>> {
    match command {
        Command::Broker(Message::Client { version, envelope, command }) => {
            let mut frames = envelope;
            frames.extend(command.encode(version));
            Some(frames)
        }
        Command::Broker(Message::Worker { version, command }) => command.encode(version).ok(),
        Command::Client { envelope, command } => command.encode(version, envelope).ok(),
        Command::Worker(command) => Some(command.encode(version)),
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
    }
}

/// The messages of all files.
pub(crate) fn vectors() -> Vec<Vector> {
    ["mdp-client-0.1.txt", "mdp-client-0.2.txt", "mdp-worker-0.1.txt", "mdp-worker-0.2.txt"]
        .into_iter()
        .flat_map(read)
        .collect()
}

/// The messages of one file.
pub(crate) fn read(file: &str) -> Vec<Vector> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(file);
    let text = std::fs::read_to_string(&path).expect("a readable file of vectors");
    let mut version = None;
    let mut vectors = Vec::new();
    for block in text.split("\n\n") {
        let fields: Vec<(&str, &str)> = block
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| line.split_once(':').expect("a key and a colon"))
            .map(|(key, value)| (key, value.strip_prefix(' ').unwrap_or(value)))
            .collect();
        match fields.first() {
            None => {}
            Some(("version", "0.1")) => version = Some(Version::V0_1),
            Some(("version", "0.2")) => version = Some(Version::V0_2),
            Some(("message", name)) => {
                let name = format!("{file}: {name}");
                vectors.push(vector(name, version.expect("a version first"), &fields[1..]));
            }
            Some((key, _)) => panic!("{file}: a block begins with {key:?}"),
        }
    }
    vectors
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
    let direction = match one("direction") {
        Some("client to broker") => Direction::ClientToBroker,
        Some("broker to client") => Direction::BrokerToClient,
        Some("worker to broker") => Direction::WorkerToBroker,
        Some("broker to worker") => Direction::BrokerToWorker,
        other => panic!("{name}: direction {other:?}"),
    };
    let body = || {
        let frames = all("body");
        assert!(!frames.is_empty(), "{name}: no body");
        Body::from_frames(frames)
    };
    let service =
        || ServiceName::from_bytes(&bytes(one("service").expect("a service"))).expect("a name");
    let client = || ClientAddress::new(&bytes(one("client").expect("a client address")));
    let command = |command: &str| match (direction, command) {
        (Direction::ClientToBroker, "REQUEST") => Command::Broker(Message::Client {
            version,
            envelope: all("envelope"),
            command: client::ToBroker::Request { service: service(), body: body() },
        }),
        (Direction::BrokerToClient, "PARTIAL") => Command::Client {
            envelope: all("envelope"),
            command: client::FromBroker::Partial { service: service(), body: body() },
        },
        (Direction::BrokerToClient, "FINAL") => Command::Client {
            envelope: all("envelope"),
            command: client::FromBroker::Final { service: service(), body: body() },
        },
        (Direction::WorkerToBroker, command) => Command::Broker(Message::Worker {
            version,
            command: match command {
                "READY" => worker::ToBroker::Ready { service: service() },
                "PARTIAL" => worker::ToBroker::Partial { client: client(), body: body() },
                "FINAL" => worker::ToBroker::Final { client: client(), body: body() },
                "HEARTBEAT" => worker::ToBroker::Heartbeat,
                "DISCONNECT" => worker::ToBroker::Disconnect,
                _ => panic!("{name}: command {command}"),
            },
        }),
        (Direction::BrokerToWorker, "REQUEST") => {
            Command::Worker(worker::FromBroker::Request { client: client(), body: body() })
        }
        (Direction::BrokerToWorker, "HEARTBEAT") => Command::Worker(worker::FromBroker::Heartbeat),
        (Direction::BrokerToWorker, "DISCONNECT") => {
            Command::Worker(worker::FromBroker::Disconnect)
        }
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
    assert!(digits.len() % 2 == 0, "an odd number of digits: {value}");
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).expect("ASCII"))
        .map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal digits"))
        .collect()
}
