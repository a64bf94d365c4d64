//! Peers that keep to no rules: garbage, commands out of place, answers to tasks of
//! others, requests that come twice. They have an identity of their own or not, read
//! what they get or not, and now and then do what is right.

use std::time::Duration;

use majordomo_broker::engine::Settings;
use majordomo_protocol::{
    Batch, Body, ClientAddress, Offer, PeerId, Reason, RequestId, ServiceName, Terms, Version,
    client, worker,
};

use crate::book::Wish;
use crate::broker::Broker;
use crate::nature::Nature;
use crate::net::{Frames, LinkId, Owner};
use crate::words::{CallId, Word};

/// The client number of all strangers in the book.
pub const NOBODY: usize = usize::MAX;

/// One of them.
pub struct Stranger {
    index: usize,
    link: Option<LinkId>,
    identity: Option<Vec<u8>>,
    /// What it speaks as a worker.
    version: Version,
    asked: Vec<CallId>,
    /// Tasks it has answered.
    answered: Vec<ClientAddress>,
    /// Whether it answers what it does not have.
    forges: bool,
    /// Whether it said READY on this connection.
    said_ready: bool,
}

impl Stranger {
    /// One that is not connected.
    pub fn new(index: usize, nature: &mut Nature) -> Self {
        let identity = nature.rng.bool().then(|| format!("stranger {index}").into_bytes());
        let versions = [Version::V0_1, Version::V0_2, Version::V1_0, Version::V1_0];
        let version = versions[nature.rng.usize(..versions.len())];
        Stranger {
            index,
            link: None,
            identity,
            version,
            asked: Vec::new(),
            answered: Vec::new(),
            forges: nature.rng.bool(),
            said_ready: false,
        }
    }

    /// It leaves.
    pub fn leave(&mut self, nature: &mut Nature) {
        if let Some(link) = self.link.take() {
            nature.net.close(link, false, nature.now, &mut nature.rng);
        }
    }

    /// It does something.
    pub fn act(&mut self, broker: &Broker, services: &[ServiceName], nature: &mut Nature) {
        let now = nature.now;
        if self.link.is_some_and(|link| nature.net.is_lost(link, now)) {
            self.link = None;
        }
        let Some(link) = self.link else {
            let (net, rng) = (&mut nature.net, &mut nature.rng);
            let owner = Owner::Stranger(self.index);
            self.said_ready = false;
            self.link = net.connect(owner, broker.index, self.identity.as_deref(), now, rng);
            return;
        };
        let Some(peer) = nature.net.link(link).map(|link| link.peer.clone()) else { return };
        if nature.one_in(30) {
            return self.leave(nature);
        }
        if nature.one_in(2) {
            while nature.net.receive_down(link, now).is_some() {}
        }
        let service = &services[nature.rng.usize(..services.len())];
        let messages = match nature.rng.u8(..10) {
            0 => vec![garbage(nature)],
            1 => self.damaged(service, nature),
            2..=4 => self.ask(service, nature),
            _ => self.work(broker, &peer, service, nature),
        };
        for frames in messages {
            nature.tell(|| {
                let frames = frames.iter().map(|it| majordomo_protocol::dump(it).to_string());
                let frames = frames.collect::<Vec<_>>().join(" | ");
                format!("s{} ({peer}) -> {frames}", self.index)
            });
            nature.net.send_up(link, frames, now, &mut nature.rng);
        }
    }

    /// What was a message once.
    fn damaged(&mut self, service: &ServiceName, nature: &mut Nature) -> Vec<Frames> {
        let body = Body::from("?");
        let request = client::ToBroker::Request {
            id: Some(RequestId::new([7; 16])),
            service: service.clone(),
            terms: Terms::default(),
            body,
        };
        let other = ServiceName::new("other").unwrap_or_else(|_| service.clone());
        let ready = worker::ToBroker::Ready { service: other, offer: Offer::default() };
        let frames = match nature.rng.u8(..4) {
            0 => request.encode(Version::V0_2).ok(),
            1 => ready.encode(Version::V0_1).ok(),
            2 => {
                let mut batch = Batch::of_client(16);
                let heartbeat = client::ToBroker::Heartbeat;
                let written = heartbeat.write(&mut batch).and_then(|()| request.write(&mut batch));
                written.ok().map(|()| batch.into_frames())
            }
            _ => {
                let mut batch = Batch::of_worker(16);
                let heartbeat = worker::ToBroker::Heartbeat;
                let written = ready.write(&mut batch).and_then(|()| heartbeat.write(&mut batch));
                written.ok().map(|()| batch.into_frames())
            }
        };
        let mut frames = frames.unwrap_or_default();
        let at = nature.rng.usize(..frames.len().max(1));
        let Some(frame) = frames.get_mut(at) else { return Vec::new() };
        match nature.rng.u8(..4) {
            0 => frame.truncate(nature.rng.usize(..=frame.len())),
            1 if !frame.is_empty() => {
                let byte = nature.rng.usize(..frame.len());
                frame[byte] ^= 1 << nature.rng.u8(..8);
            }
            2 => frames.truncate(at + 1),
            _ => frames.insert(at, Vec::new()),
        }
        vec![frames]
    }

    /// As a client: in MDP/1.0 what it asked before as well, and CANCEL.
    fn ask(&mut self, service: &ServiceName, nature: &mut Nature) -> Vec<Frames> {
        let known = nature.rng.choice(&self.asked).copied().filter(|_| nature.rng.bool());
        let again = known.is_some();
        let far = Duration::from_secs(1_000_000);
        let wish = Wish {
            client: NOBODY,
            is_question: false,
            once: false,
            no_reply: false,
            due: nature.now + far,
        };
        let call = known.unwrap_or_else(|| nature.book.ask(wish));
        let body = Body::from(Word::Ask(call).frame(nature.rng.usize(..40)));
        if nature.one_in(3) && !again {
            let terms = Terms::default();
            let service = service.clone();
            let request = client::ToBroker::Request { id: None, service, terms, body };
            return request.encode(Version::V0_2).into_iter().collect();
        }
        let mut id = [0xee; 16];
        id[..4].copy_from_slice(&call.to_be_bytes());
        let id = RequestId::new(id);
        if !again {
            self.asked.push(call);
        }
        let mut ms = |max| Duration::from_millis(nature.rng.u64(1..max));
        let (timeout, start_within) = (ms(2_000), ms(500));
        let terms = Terms {
            timeout: nature.rng.bool().then_some(timeout),
            start_within: nature.one_in(4).then_some(start_within),
            once: nature.one_in(4),
            no_reply: nature.one_in(4),
            fail_fast: nature.one_in(4),
            ..Terms::default()
        };
        let command = if again && nature.one_in(3) {
            client::ToBroker::Cancel { id }
        } else {
            client::ToBroker::Request { id: Some(id), service: service.clone(), terms, body }
        };
        let mut batch = Batch::of_client(16);
        command.write(&mut batch).ok().map(|()| batch.into_frames()).into_iter().collect()
    }

    /// As a worker.
    fn work(
        &mut self,
        broker: &Broker,
        peer: &PeerId,
        service: &ServiceName,
        nature: &mut Nature,
    ) -> Vec<Frames> {
        let held = nature.rng.choice(broker.tasks_of(peer)).cloned();
        // It may not be given what it has just made up an answer to: either it does not
        // register, or its one place is taken.
        let is_full = held.as_ref().is_some_and(|task| !self.answered.contains(task));
        let may_forge = self.forges && (is_full || !self.said_ready);
        let command = match (nature.rng.u8(..12), held) {
            (0..=6, Some(task)) => {
                let Some(call) = broker.call_of(&task) else { return Vec::new() };
                if self.answered.contains(&task) {
                    return Vec::new();
                }
                self.answered.push(task.clone());
                let run = nature.book.run(call);
                let body = Body::from(Word::Reply { call, run, part: 0, last: true }.frame(0));
                let answer = worker::ToBroker::Final { client: task, body };
                // The second is one too many.
                let times = 1 + usize::from(nature.one_in(4));
                let answers = (0..times).flat_map(|_| self.encode(answer.clone(), nature));
                return answers.collect();
            }
            (0..=3, _) => {
                let service = match nature.rng.u8(..10) {
                    0 => ServiceName::new("mmi.service").ok(),
                    _ => Some(service.clone()),
                };
                let Some(service) = service else { return Vec::new() };
                let ms = Duration::from_millis(nature.rng.u64(1..800));
                self.said_ready = true;
                let offer = Offer {
                    capacity: if self.forges { 1 } else { nature.rng.u16(..4) },
                    heartbeat: nature.rng.bool().then_some(ms),
                    liveness: nature.rng.u8(..4),
                    ..Offer::default()
                };
                worker::ToBroker::Ready { service, offer }
            }
            (4 | 5, _) => worker::ToBroker::Heartbeat,
            (6, _) => worker::ToBroker::Disconnect { reason: Reason::default() },
            (7, _) if self.version == Version::V1_0 => worker::ToBroker::Drain,
            (kind, _) if may_forge => {
                // A task of somebody else, or one that never was.
                let made_up = ClientAddress::new(&nature.rng.u64(..).to_be_bytes());
                let latest = broker.task_ids.iter().rev().take(8);
                let stolen = nature.rng.choice(latest).cloned();
                let client = stolen.unwrap_or(made_up);
                if broker.tasks_of(peer).contains(&client) {
                    return Vec::new();
                }
                let body = Body::from(Word::Forged.frame(0));
                match kind {
                    8 if self.version >= Version::V0_2 => {
                        worker::ToBroker::Partial { client, body }
                    }
                    9 if self.version >= Version::V1_0 => {
                        let reason = Reason { code: 500, text: "forged".to_owned() };
                        worker::ToBroker::Error { client, reason, details: body }
                    }
                    _ => worker::ToBroker::Final { client, body },
                }
            }
            _ => worker::ToBroker::Heartbeat,
        };
        self.encode(command, nature)
    }

    fn encode(&self, command: worker::ToBroker<Body>, nature: &mut Nature) -> Vec<Frames> {
        let other = if self.version == Version::V1_0 { Version::V0_2 } else { Version::V1_0 };
        let version = if nature.one_in(30) { other } else { self.version };
        let frames = if version == Version::V1_0 {
            let mut batch = Batch::of_worker(16);
            command.write(&mut batch).map(|()| batch.into_frames())
        } else {
            command.encode(version)
        };
        frames.into_iter().collect()
    }
}

/// Frames of anything.
fn garbage(nature: &mut Nature) -> Frames {
    let headers: [&[u8]; 7] =
        [b"MDPC01", b"MDPC02", b"MDPW01", b"MDPW02", b"MDPC10", b"MDPW10", b""];
    (0..nature.rng.usize(1..5))
        .map(|_| match nature.rng.u8(..3) {
            0 => headers[nature.rng.usize(..headers.len())].to_vec(),
            1 => vec![nature.rng.u8(..8)],
            _ => (0..nature.rng.usize(..24)).map(|_| nature.rng.u8(..)).collect(),
        })
        .collect()
}

/// Settings in which a stranger may do as it likes without keeping honest peers out.
pub fn tolerant(settings: Settings, strangers: usize) -> Settings {
    Settings { workers_max: settings.workers_max + 2 * strangers, ..settings }
}
