//! What a line of a script says happened.

use std::iter::Peekable;
use std::str::Split;

use majordomo_broker::engine::{Caller, Event, Fault, Question};
use majordomo_protocol::{
    ClientAddress, Metadata, Offer, PeerId, Reason, RequestId, ServiceName, Terms, Version, client,
    worker,
};

use super::{Text, World, milliseconds};

type Words<'a> = Peekable<Split<'a, char>>;

impl World {
    /// What a line says happened; `None` if it says nothing.
    pub(super) fn event(&self, line: &str) -> Option<Event<Text>> {
        match line {
            "stop" => return Some(Event::Stop),
            "stop now" => return Some(Event::StopNow),
            _ => {}
        }
        let mut words = line.split(' ').peekable();
        let mut names = words.next()?.split('/');
        let peer = PeerId::new(names.next()?.as_bytes());
        let envelope = Text::new(names);
        let version = match *words.peek()? {
            "0.1" => Version::V0_1,
            "0.2" => Version::V0_2,
            "1.0" => Version::V1_0,
            _ => return self.other_event(line, peer),
        };
        let command = words.nth(1)?;
        let envelope = (!envelope.0.is_empty()).then(|| Box::new(envelope));
        let mut caller = Caller { peer: peer.clone(), version, envelope, id: None };
        let command = match command {
            "REQUEST" => {
                if version >= Version::V1_0 {
                    caller.id = Some(request_id(words.next()?)?);
                }
                let service = ServiceName::new(words.next()?).ok()?;
                let terms = terms(&mut words)?;
                let body = Text::new(words);
                // The server tells the two apart in the same way.
                if service.is_reserved() {
                    let question = Question::new(&service, body.0.concat().as_bytes());
                    let no_reply = terms.no_reply;
                    return Some(Event::Question { caller, service, question, no_reply });
                }
                let command = client::ToBroker::Request { id: caller.id, service, terms, body };
                return Some(from_client(caller, command));
            }
            "CANCEL" => {
                let id = request_id(words.next()?)?;
                return Some(from_client(caller, client::ToBroker::Cancel { id }));
            }
            "HEARTBEAT" if line.ends_with(" as client") => {
                return Some(from_client(caller, client::ToBroker::Heartbeat));
            }
            "READY" => {
                let service = ServiceName::new(words.next()?).ok()?;
                worker::ToBroker::Ready { service, offer: offer(&mut words)? }
            }
            "PARTIAL" => {
                let (client, body) = (self.address(words.next()?)?, Text::new(words));
                worker::ToBroker::Partial { client, body }
            }
            "FINAL" => {
                let (client, body) = (self.address(words.next()?)?, Text::new(words));
                worker::ToBroker::Final { client, body }
            }
            "ERROR" => {
                let client = self.address(words.next()?)?;
                let reason = reason(&mut words)?;
                let details = match words.next() {
                    Some(_bar) => Text::new(words),
                    None => Text::new([""].into_iter()),
                };
                worker::ToBroker::Error { client, reason, details }
            }
            "HEARTBEAT" => worker::ToBroker::Heartbeat,
            "DRAIN" => worker::ToBroker::Drain,
            "DISCONNECT" => {
                let reason = match words.peek() {
                    Some(_code) => reason(&mut words)?,
                    None => Reason::default(),
                };
                worker::ToBroker::Disconnect { reason }
            }
            _ => return None,
        };
        Some(Event::FromWorker { worker: peer, version, command })
    }

    fn other_event(&self, line: &str, peer: PeerId) -> Option<Event<Text>> {
        let (_, what) = line.split_once(' ')?;
        let fault = match what {
            "MALFORMED" => Fault::Malformed,
            "FRAMES_MAX" => Fault::FramesMax,
            "MESSAGE_BYTES_MAX" => Fault::MessageBytesMax,
            "connection ended" => return Some(Event::Disconnected { peer }),
            _ => return self.unreachable(what, peer),
        };
        Some(Event::Invalid { peer, fault })
    }

    fn unreachable(&self, what: &str, peer: PeerId) -> Option<Event<Text>> {
        let mut words = what.strip_prefix("unreachable as ")?.split(' ').peekable();
        let role = words.next()?;
        let answers = words.next_if(|word| !word.starts_with('#'));
        let tasks = words.map(|word| self.address(word)).collect::<Option<Vec<_>>>()?;
        match (role, answers) {
            ("worker", None) => Some(Event::WorkerUnreachable { worker: peer, requests: tasks }),
            ("client", Some(answers)) => {
                let answers = answers.parse().ok()?;
                Some(Event::ClientUnreachable { client: peer, answers, parts: tasks })
            }
            _ => None,
        }
    }

    fn address(&self, word: &str) -> Option<ClientAddress> {
        if let Some(number) = word.strip_prefix('#') {
            let number: usize = number.parse().ok()?;
            return self.ids.get(number.checked_sub(1)?).cloned();
        }
        word.strip_prefix('@').map(|text| ClientAddress::new(text.as_bytes()))
    }
}

/// The server, too, leaves the id to the command.
fn from_client(caller: Caller<Text>, command: client::ToBroker<Text>) -> Event<Text> {
    Event::FromClient { caller: Caller { id: None, ..caller }, command }
}

/// The name of a request, filled up with zeros.
fn request_id(word: &str) -> Option<RequestId> {
    let mut bytes = [0; 16];
    bytes.get_mut(..word.len())?.copy_from_slice(word.as_bytes());
    Some(RequestId::new(bytes))
}

/// The next word that begins with a colon, split at its equals sign.
fn term<'a>(words: &mut Words<'a>) -> Option<(&'a str, &'a str)> {
    let term = words.next_if(|word| word.starts_with(':'))?;
    let term = &term[1..];
    Some(term.split_once('=').unwrap_or((term, "")))
}

fn terms(words: &mut Words<'_>) -> Option<Terms> {
    let mut terms = Terms::default();
    while let Some((name, value)) = term(words) {
        match name {
            "timeout" => terms.timeout = Some(milliseconds(value)?),
            "start-within" => terms.start_within = Some(milliseconds(value)?),
            "once" => terms.once = true,
            "no-reply" => terms.no_reply = true,
            "fail-fast" => terms.fail_fast = true,
            key => put(&mut terms.metadata, key, value)?,
        }
    }
    Some(terms)
}

fn offer(words: &mut Words<'_>) -> Option<Offer> {
    let mut offer = Offer::default();
    while let Some((name, value)) = term(words) {
        match name {
            "capacity" => offer.capacity = value.parse().ok()?,
            "heartbeat" => offer.heartbeat = Some(milliseconds(value)?),
            "liveness" => offer.liveness = value.parse().ok()?,
            key => put(&mut offer.metadata, key, value)?,
        }
    }
    Some(offer)
}

fn put(metadata: &mut Metadata, key: &str, value: &str) -> Option<()> {
    metadata.push(key, value.as_bytes()).ok()
}

/// A code, and a text up to a bar.
fn reason(words: &mut Words<'_>) -> Option<Reason> {
    let code = words.next()?.parse().ok()?;
    let text: Vec<_> = std::iter::from_fn(|| words.next_if(|word| *word != "|")).collect();
    Some(Reason { code, text: text.join(" ") })
}
