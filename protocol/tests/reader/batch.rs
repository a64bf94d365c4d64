//! Golden messages of MDP/1.0: a batch of records, and what was wrong behind them.

use std::str::FromStr;
use std::time::Duration;

use majordomo_protocol::client::Answered;
use majordomo_protocol::{
    Agreement, Batch, Body, ClientAddress, Inexpressible, InstanceId, Message, Metadata, Offer,
    Reason, RequestId, ServiceName, Task, Terms, Version, client, worker,
};

use super::{Command, Direction, blocks, bytes, direction, text};

/// The files of MDP/1.0.
pub(crate) const FILES: [&str; 2] = ["mdp-client-1.0.txt", "mdp-worker-1.0.txt"];

/// One golden message.
#[derive(Clone, Debug)]
pub(crate) struct Vector {
    /// File and name, for a failing test.
    pub(crate) name: String,
    pub(crate) direction: Direction,
    pub(crate) frames: Vec<Vec<u8>>,
    /// With this the commands encode to these very frames; without it the frames are
    /// only to be read.
    pub(crate) inline_bytes_max: Option<usize>,
    /// What its records say; before the fault, if there is one.
    pub(crate) commands: Vec<Command>,
    /// The records by name, for a count of what the files have.
    pub(crate) command_names: Vec<String>,
    pub(crate) refusal: Option<Refusal>,
}

/// What is wrong with a message.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) frame: usize,
    pub(crate) record: Option<usize>,
    pub(crate) expected: String,
    pub(crate) found: Option<Vec<u8>>,
}

/// Writes commands into one message, as their sender does.
pub(crate) fn write(
    direction: Direction,
    inline_bytes_max: usize,
    commands: Vec<Command>,
) -> Result<Batch<Vec<u8>>, Inexpressible> {
    let mut batch = match direction {
        Direction::ClientToBroker | Direction::BrokerToClient => Batch::of_client(inline_bytes_max),
        Direction::WorkerToBroker | Direction::BrokerToWorker => Batch::of_worker(inline_bytes_max),
    };
    for command in commands {
        match command {
            Command::Broker(Message::Client { command, .. }) => command.write(&mut batch)?,
            Command::Broker(Message::Worker { command, .. }) => command.write(&mut batch)?,
            Command::Client { command, .. } => command.write(&mut batch)?,
            Command::Worker(command) => command.write(&mut batch)?,
        }
    }
    Ok(batch)
}

/// The word that the files have for a field of a record.
pub(super) fn field(expected: &str) -> &'static str {
    match expected {
        "the request id, 16 bytes" => "request-id",
        "the task id, 8 bytes" => "task-id",
        "the instance id, 8 bytes" => "instance-id",
        "the timeout u32" | "the timeout left u32" => "timeout-ms",
        "start-within u32" => "start-within-ms",
        "the heartbeat interval u32" => "heartbeat-ms",
        "the liveness u8" => "liveness",
        "the capacity u16" => "capacity",
        "the attempt u8" => "attempt",
        "the code u16" => "code",
        "length of the service u8" => "service-length",
        "length of the text u16" => "text-length",
        "length of the metadata u16" => "metadata-length",
        "the text, in UTF-8" => "text",
        "no body frames" => "no-body-frames",
        _ => panic!("the files have no word for {expected:?}"),
    }
}

/// The messages of all files.
pub(crate) fn vectors() -> Vec<Vector> {
    FILES.into_iter().flat_map(read).collect()
}

/// The messages of one file.
pub(crate) fn read(file: &str) -> Vec<Vector> {
    let text = text(file);
    let mut blocks = blocks(&text);
    assert_eq!(blocks.next(), Some(vec![("version", "1.0")]), "{file}");
    blocks.map(|fields| vector(file, &fields)).collect()
}

fn vector(file: &str, fields: &[(&str, &str)]) -> Vector {
    let is_record = |(key, _): &(&str, &str)| *key == "record";
    let mut parts = fields.chunk_by(|_, next| !is_record(next));
    let mut message = Fields { name: file.to_owned(), fields: parts.next().unwrap_or(&[]).into() };
    message.name = format!("{file}: {}", message.one("message"));
    let direction = direction(Some(message.one("direction"))).expect("a direction");
    let inline_bytes_max = message.optional("inline").map(|n| n.parse().expect("bytes"));
    let frames = message.frames();
    let refusal = message.optional("wrong").map(|frame| Refusal {
        frame: frame.parse().expect("the number of a frame"),
        record: message.optional("wrong-record").map(|n| n.parse().expect("that of a record")),
        expected: message.one("expected").to_owned(),
        found: message.optional("found").map(bytes),
    });
    let name = message.end();
    let records = parts.map(|fields| {
        let mut record = Fields { name: name.clone(), fields: fields.into() };
        let command_name = record.one("record");
        let command = command(direction, command_name, &mut record);
        record.end();
        (command, command_name.to_owned())
    });
    let (commands, command_names) = records.unzip();
    Vector { name, direction, frames, inline_bytes_max, commands, command_names, refusal }
}

fn command(direction: Direction, name: &str, record: &mut Fields<'_>) -> Command {
    let version = Version::V1_0;
    match direction {
        Direction::ClientToBroker => {
            let command = match name {
                "REQUEST" => client::ToBroker::Request {
                    id: Some(record.request_id()),
                    terms: record.terms(),
                    service: record.service(),
                    body: record.body(),
                },
                "CANCEL" => client::ToBroker::Cancel { id: record.request_id() },
                "HEARTBEAT" => client::ToBroker::Heartbeat,
                _ => panic!("{}: command {name}", record.name),
            };
            Command::Broker(Message::Client { version, envelope: Vec::new(), command })
        }
        Direction::BrokerToClient => {
            use client::FromBroker::{Error, Final, Heartbeat, Partial};
            Command::of_client(match name {
                "PARTIAL" => {
                    Partial { request: Answered::Id(record.request_id()), body: record.body() }
                }
                "FINAL" => {
                    Final { request: Answered::Id(record.request_id()), body: record.body() }
                }
                "ERROR" => Error {
                    id: record.request_id(),
                    reason: record.reason(),
                    details: record.body(),
                },
                "HEARTBEAT" => Heartbeat { instance: record.instance() },
                _ => panic!("{}: command {name}", record.name),
            })
        }
        Direction::WorkerToBroker => {
            use worker::ToBroker::{Disconnect, Drain, Error, Final, Heartbeat, Partial, Ready};
            let command = match name {
                "READY" => Ready { service: record.service(), offer: record.offer() },
                "PARTIAL" => Partial { client: record.task_id(), body: record.body() },
                "FINAL" => Final { client: record.task_id(), body: record.body() },
                "ERROR" => Error {
                    client: record.task_id(),
                    reason: record.reason(),
                    details: record.body(),
                },
                "HEARTBEAT" => Heartbeat,
                "DRAIN" => Drain,
                "DISCONNECT" => Disconnect { reason: record.reason() },
                _ => panic!("{}: command {name}", record.name),
            };
            Command::Broker(Message::Worker { version, command })
        }
        Direction::BrokerToWorker => {
            use worker::FromBroker::{Cancel, Disconnect, Heartbeat, Request, Welcome};
            Command::Worker(match name {
                "WELCOME" => Welcome(record.agreement()),
                "REQUEST" => {
                    Request { client: record.task_id(), task: record.task(), body: record.body() }
                }
                "CANCEL" => Cancel { client: record.task_id() },
                "HEARTBEAT" => Heartbeat,
                "DISCONNECT" => Disconnect { reason: record.reason() },
                _ => panic!("{}: command {name}", record.name),
            })
        }
    }
}

/// The lines of a message or of a record that nobody has taken yet.
struct Fields<'a> {
    /// File and name of the message.
    name: String,
    fields: Vec<(&'a str, &'a str)>,
}

impl<'a> Fields<'a> {
    /// Takes all lines with this key.
    fn all(&mut self, key: &str) -> Vec<&'a str> {
        let (taken, rest) = self.fields.iter().partition(|(k, _)| *k == key);
        self.fields = rest;
        let taken: Vec<(&str, &str)> = taken;
        taken.into_iter().map(|(_, value)| value).collect()
    }

    fn optional(&mut self, key: &str) -> Option<&'a str> {
        let values = self.all(key);
        assert!(values.len() <= 1, "{}: {key} twice", self.name);
        values.first().copied()
    }

    fn one(&mut self, key: &str) -> &'a str {
        self.optional(key).unwrap_or_else(|| panic!("{}: no {key}", self.name))
    }

    /// Ends the reading: every line was taken.
    fn end(self) -> String {
        assert!(self.fields.is_empty(), "{}: {:?} has no meaning", self.name, self.fields);
        self.name
    }

    /// `frame` begins a frame, `more` goes on with it.
    fn frames(&mut self) -> Vec<Vec<u8>> {
        let (lines, rest) =
            self.fields.iter().partition(|(key, _)| matches!(*key, "frame" | "more"));
        self.fields = rest;
        let lines: Vec<(&str, &str)> = lines;
        let frames = lines.chunk_by(|_, (next, _)| *next == "more");
        frames.map(|lines| lines.iter().flat_map(|(_, value)| bytes(value)).collect()).collect()
    }

    fn number<T: FromStr>(&mut self, key: &str) -> T {
        let number = self.one(key).parse();
        number.unwrap_or_else(|_| panic!("{}: {key} is no number that fits", self.name))
    }

    fn bytes<const N: usize>(&mut self, key: &str) -> [u8; N] {
        let bytes = bytes(self.one(key)).try_into();
        bytes.unwrap_or_else(|_| panic!("{}: {key} has not {N} bytes", self.name))
    }

    /// 0 is none.
    fn milliseconds(&mut self, key: &str) -> Option<Duration> {
        Some(self.number(key)).filter(|ms| *ms > 0).map(Duration::from_millis)
    }

    fn request_id(&mut self) -> RequestId {
        RequestId::new(self.bytes("request-id"))
    }

    fn task_id(&mut self) -> ClientAddress {
        ClientAddress::new(&self.bytes::<8>("task-id"))
    }

    fn instance(&mut self) -> InstanceId {
        InstanceId::new(self.bytes("instance-id"))
    }

    fn service(&mut self) -> ServiceName {
        ServiceName::from_bytes(&bytes(self.one("service"))).expect("a name")
    }

    fn metadata(&mut self) -> Metadata {
        let (keys, values) = (self.all("key"), self.all("value"));
        assert_eq!(keys.len(), values.len(), "{}: a value for each key", self.name);
        let mut metadata = Metadata::default();
        for (key, value) in keys.into_iter().zip(values) {
            let key = String::from_utf8(bytes(key)).expect("a key in UTF-8");
            metadata.push(&key, &bytes(value)).expect("metadata that travels");
        }
        metadata
    }

    fn terms(&mut self) -> Terms {
        let flags: Vec<&str> = self.one("flags").split_whitespace().collect();
        for flag in &flags {
            let known = ["once", "no-reply", "fail-fast"].contains(flag);
            assert!(known, "{}: flag {flag}", self.name);
        }
        Terms {
            timeout: self.milliseconds("timeout-ms"),
            start_within: self.milliseconds("start-within-ms"),
            once: flags.contains(&"once"),
            no_reply: flags.contains(&"no-reply"),
            fail_fast: flags.contains(&"fail-fast"),
            metadata: self.metadata(),
        }
    }

    fn offer(&mut self) -> Offer {
        Offer {
            capacity: self.number("capacity"),
            heartbeat: self.milliseconds("heartbeat-ms"),
            liveness: self.number("liveness"),
            metadata: self.metadata(),
        }
    }

    fn agreement(&mut self) -> Agreement {
        Agreement {
            heartbeat: Duration::from_millis(self.number("heartbeat-ms")),
            liveness: self.number("liveness"),
            instance: self.instance(),
        }
    }

    fn task(&mut self) -> Task {
        Task {
            timeout: self.milliseconds("timeout-ms"),
            attempt: self.number("attempt"),
            metadata: self.metadata(),
        }
    }

    fn reason(&mut self) -> Reason {
        let text = String::from_utf8(bytes(self.one("text"))).expect("a text in UTF-8");
        Reason { code: self.number("code"), text }
    }

    fn body(&mut self) -> Body {
        let frames: Vec<Vec<u8>> = self.all("body").into_iter().map(bytes).collect();
        assert!(!frames.is_empty(), "{}: no body", self.name);
        Body::from_frames(frames)
    }
}
