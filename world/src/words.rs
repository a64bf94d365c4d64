//! What bodies say here: a request the number of its call, a reply the call, the run it
//! comes from and which part of it it is. And how commands look in a trace.

use majordomo_protocol::{Body, Metadata, client, worker};

/// A call of a client; its number in the book.
pub type CallId = u32;
/// One run of a handler; its number in the book.
pub type RunId = u32;

/// What a body says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Do call so-and-so.
    Ask(CallId),
    /// Part `part` of what a run answers to a call; `last` ends it.
    Reply {
        /// To which call.
        call: CallId,
        /// Of which run.
        run: RunId,
        /// Counted from 0.
        part: u32,
        /// Whether it is the end.
        last: bool,
    },
    /// Nothing anybody was asked for.
    Forged,
}

impl Word {
    /// As a frame; `padding` bytes longer than it must be.
    pub fn frame(self, padding: usize) -> Vec<u8> {
        let mut text = match self {
            Word::Ask(call) => format!("c{call} "),
            Word::Reply { call, run, part, last } => {
                format!("r{call} {run} {part} {} ", u8::from(last))
            }
            Word::Forged => "forged ".to_owned(),
        };
        text.extend(std::iter::repeat_n('.', padding));
        text.into_bytes()
    }

    /// What a frame says, if it says anything.
    pub fn read(frame: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(frame).ok()?;
        if text.starts_with("forged ") {
            return Some(Word::Forged);
        }
        let kind = text.get(..1)?;
        let mut numbers = text.get(1..)?.split(' ').map_while(|word| word.parse::<u32>().ok());
        match kind {
            "c" => Some(Word::Ask(numbers.next()?)),
            "r" => Some(Word::Reply {
                call: numbers.next()?,
                run: numbers.next()?,
                part: numbers.next()?,
                last: numbers.next()? == 1,
            }),
            _ => None,
        }
    }

    /// The call that a body asks for.
    pub fn asked(body: &Body) -> Option<CallId> {
        match Word::read(body.frames().first()?)? {
            Word::Ask(call) => Some(call),
            _ => None,
        }
    }
}

fn text(body: &Body) -> String {
    let frames = body.frames().iter();
    let frames =
        frames.map(|frame| String::from_utf8_lossy(frame).trim_end_matches('.').to_owned());
    frames.collect::<Vec<_>>().join("|")
}

fn metadata(metadata: &Metadata) -> &'static str {
    if metadata.is_empty() { "" } else { " +metadata" }
}

/// A line for a command of a client.
pub fn from_client(command: &client::ToBroker<Body>) -> String {
    match command {
        client::ToBroker::Request { id, service, terms, body } => {
            let mut line = format!("REQUEST {service} {:?}", text(body));
            for (set, name) in [
                (terms.once, " once"),
                (terms.no_reply, " no-reply"),
                (terms.fail_fast, " fail-fast"),
            ] {
                line += if set { name } else { "" };
            }
            line += &terms.timeout.map_or(String::new(), |left| format!(" timeout {left:?}"));
            let start = terms.start_within;
            line += &start.map_or(String::new(), |left| format!(" start within {left:?}"));
            line += metadata(&terms.metadata);
            line + &id.map_or(String::new(), |id| format!(" id {id}"))
        }
        client::ToBroker::Cancel { id } => format!("CANCEL {id}"),
        client::ToBroker::Heartbeat => "HEARTBEAT".to_owned(),
    }
}

/// A line for a command to a client.
pub fn to_client(command: &client::FromBroker<Body>) -> String {
    match command {
        client::FromBroker::Partial { body, .. } => format!("PARTIAL {:?}", text(body)),
        client::FromBroker::Final { body, .. } => format!("FINAL {:?}", text(body)),
        client::FromBroker::Error { id, reason, .. } => {
            format!("ERROR {} {} to {id}", reason.code, reason.text)
        }
        client::FromBroker::Heartbeat { instance } => format!("HEARTBEAT of {instance}"),
    }
}

/// A line for a command of a worker.
pub fn from_worker(command: &worker::ToBroker<Body>) -> String {
    use worker::ToBroker as Said;
    match command {
        Said::Ready { service, offer } => format!(
            "READY {service} capacity {} heartbeat {:?} × {}",
            offer.capacity, offer.heartbeat, offer.liveness
        ),
        Said::Partial { client, body } => format!("PARTIAL {client} {:?}", text(body)),
        Said::Final { client, body } => format!("FINAL {client} {:?}", text(body)),
        Said::Error { client, reason, .. } => format!("ERROR {client} {}", reason.code),
        Said::Heartbeat => "HEARTBEAT".to_owned(),
        Said::Drain => "DRAIN".to_owned(),
        Said::Disconnect { reason } => format!("DISCONNECT {}", reason.text),
    }
}

/// A line for a command to a worker.
pub fn to_worker(command: &worker::FromBroker<Body>) -> String {
    use worker::FromBroker as Said;
    match command {
        Said::Welcome(agreement) => {
            format!("WELCOME heartbeat {:?} × {}", agreement.heartbeat, agreement.liveness)
        }
        Said::Request { client, task, body } => format!(
            "REQUEST {client} {:?} attempt {}{}",
            text(body),
            task.attempt,
            metadata(&task.metadata)
        ),
        Said::Cancel { client } => format!("CANCEL {client}"),
        Said::Heartbeat => "HEARTBEAT".to_owned(),
        Said::Disconnect { reason } => format!("DISCONNECT {}", reason.text),
    }
}
