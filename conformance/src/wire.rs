//! The messages of MDP/0.1 and MDP/0.2 as frames, written from the tables of RFC 7 and
//! RFC 18 and apart from `majordomo-protocol`, whose faults could hide themselves here.
//!
//! What comes is read leniently: a check that is about something else goes on after a
//! missing delimiter. The checks about frames compare them exactly.

use std::fmt::Write as _;

pub(crate) use majordomo_protocol::Version;

/// A message without the identity frame of a ROUTER socket.
pub(crate) type Frames = Vec<Vec<u8>>;

/// Frames of anything that is bytes.
pub(crate) fn frames<F: AsRef<[u8]>>(frames: impl IntoIterator<Item = F>) -> Frames {
    frames.into_iter().map(|frame| frame.as_ref().to_vec()).collect()
}

/// The header between client and broker.
pub(crate) fn client_header(version: Version) -> &'static [u8] {
    match version {
        Version::V0_1 => b"MDPC01",
        Version::V0_2 => b"MDPC02",
        Version::V1_0 => b"MDPC10",
    }
}

/// The header between worker and broker.
pub(crate) fn worker_header(version: Version) -> &'static [u8] {
    match version {
        Version::V0_1 => b"MDPW01",
        Version::V0_2 => b"MDPW02",
        Version::V1_0 => b"MDPW10",
    }
}

/// The numbers of MDP/Worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Ready,
    Request,
    Partial,
    Final,
    Heartbeat,
    Disconnect,
}

impl Command {
    const ALL: [Command; 6] = [
        Command::Ready,
        Command::Request,
        Command::Partial,
        Command::Final,
        Command::Heartbeat,
        Command::Disconnect,
    ];

    /// None for the PARTIAL of MDP/0.1.
    fn number(self, version: Version) -> Option<u8> {
        let in_0_1 = version == Version::V0_1;
        match self {
            Command::Ready => Some(1),
            Command::Request => Some(2),
            Command::Partial => (!in_0_1).then_some(3),
            Command::Final => Some(if in_0_1 { 3 } else { 4 }),
            Command::Heartbeat => Some(if in_0_1 { 4 } else { 5 }),
            Command::Disconnect => Some(if in_0_1 { 5 } else { 6 }),
        }
    }

    /// The first frames of a message with this command.
    pub(crate) fn start(self, version: Version) -> Frames {
        let mut message = match version {
            Version::V0_1 => vec![vec![]],
            _ => vec![],
        };
        message.push(worker_header(version).to_vec());
        message.push(self.number(version).into_iter().collect());
        message
    }
}

/// Worker to broker: READY.
pub(crate) fn ready(version: Version, service: &str) -> Frames {
    with(Command::Ready.start(version), [service])
}

/// Either way: HEARTBEAT.
pub(crate) fn heartbeat(version: Version) -> Frames {
    Command::Heartbeat.start(version)
}

/// Either way: DISCONNECT.
pub(crate) fn disconnect(version: Version) -> Frames {
    Command::Disconnect.start(version)
}

/// REQUEST to a worker, PARTIAL or FINAL from one.
pub(crate) fn addressed(
    version: Version,
    command: Command,
    address: &[u8],
    body: &Frames,
) -> Frames {
    with(with(command.start(version), [address, b""]), body)
}

/// Client to broker: REQUEST.
pub(crate) fn request(version: Version, service: &str, body: &Frames) -> Frames {
    let start = match version {
        Version::V0_1 => frames([&b""[..], b"MDPC01"]),
        _ => frames([&b"MDPC02"[..], b"\x01"]),
    };
    with(with(start, [service]), body)
}

/// Broker to client: PARTIAL or FINAL.
pub(crate) fn reply(version: Version, partial: bool, service: &str, body: &Frames) -> Frames {
    let start = match version {
        Version::V0_1 => frames([&b""[..], b"MDPC01"]),
        _ => frames([&b"MDPC02"[..], if partial { b"\x02" } else { b"\x03" }]),
    };
    with(with(start, [service]), body)
}

fn with<F: AsRef<[u8]>>(mut message: Frames, more: impl IntoIterator<Item = F>) -> Frames {
    message.extend(frames(more));
    message
}

/// A message that came to a worker.
#[derive(Clone, Debug)]
pub(crate) struct ToWorker {
    pub(crate) command: Command,
    /// Of a REQUEST; else empty.
    pub(crate) address: Vec<u8>,
    /// Of a REQUEST; else what is not expected there.
    pub(crate) body: Frames,
    /// As it came.
    pub(crate) message: Frames,
}

/// Reads what came to a worker; None when it has no command that anybody would see.
pub(crate) fn read_to_worker(version: Version, message: &Frames) -> Option<ToWorker> {
    let header = message.iter().position(|frame| frame == worker_header(version))?;
    let [number] = message.get(header + 1)?[..] else { return None };
    let command =
        Command::ALL.into_iter().find(|command| command.number(version) == Some(number))?;
    let rest = message.get(header + 2..).unwrap_or_default();
    let (address, body) = match (command, rest) {
        (Command::Request, [address, delimiter, body @ ..]) if delimiter.is_empty() => {
            (address.clone(), body)
        }
        (Command::Request, [address, body @ ..]) => (address.clone(), body),
        (_, rest) => (vec![], rest),
    };
    Some(ToWorker { command, address, body: body.to_vec(), message: message.clone() })
}

/// A message that came to a client.
#[derive(Clone, Debug)]
pub(crate) struct ToClient {
    pub(crate) partial: bool,
    /// The frame where the service belongs.
    pub(crate) service: Vec<u8>,
    pub(crate) body: Frames,
    /// As it came.
    pub(crate) message: Frames,
}

/// Reads what came to a client that asked for `service`; None when it has no reply that
/// anybody would see.
pub(crate) fn read_to_client(version: Version, message: &Frames) -> Option<ToClient> {
    let header = message.iter().position(|frame| frame == client_header(version))?;
    let mut rest = message.get(header + 1..)?;
    let mut partial = false;
    if version == Version::V0_2 {
        let (command, after) = rest.split_first()?;
        partial = match command[..] {
            [2] => true,
            [3] => false,
            _ => return None,
        };
        rest = after;
    }
    let (service, body) = match rest {
        // A reply without its service still has a body.
        [body] => (vec![], vec![body.clone()]),
        [service, body @ ..] => (service.clone(), body.to_vec()),
        [] => return None,
    };
    Some(ToClient { partial, service, body, message: message.clone() })
}

/// A message on one line, as the tables of the documents write it.
pub(crate) fn dump(message: &Frames) -> String {
    let mut text = String::new();
    for (position, frame) in message.iter().enumerate() {
        let space = if position == 0 { "" } else { " " };
        let _ = match &frame[..] {
            [] => write!(text, "{space}[]"),
            [byte] if !byte.is_ascii_graphic() => write!(text, "{space}{byte:02x}"),
            frame => write!(text, "{space}{}", majordomo_protocol::dump(frame)),
        };
    }
    let line: String = text.chars().take(300).collect();
    if line.len() < text.len() { format!("`{line}…`") } else { format!("`{line}`") }
}
