//! What peers do next, by chance: mostly what they may, in all versions, and now and
//! then what they may not.

use std::time::Duration;

use majordomo_broker::engine::{Caller, Event, Fault, Question};
use majordomo_protocol::{
    ClientAddress, Metadata, Offer, PeerId, Reason, RequestId, ServiceName, Terms, Version, client,
    worker,
};

use crate::{CLIENTS, Life, NOBODY, Part, Parts, SERVICES, WORKERS};

impl Life {
    /// What happens next; `None` when only time passes.
    pub(crate) fn random_event(&mut self) -> Option<Event<Parts>> {
        let service = ServiceName::new(self.rng.choice(SERVICES)?).ok()?;
        Some(match self.rng.u8(..100) {
            0..30 => self.request(service),
            30..34 => {
                let (service, question) = match self.rng.u8(..4) {
                    0 => ("mmi.broker", Question::Broker),
                    1 => ("mmi.other", Question::Unknown),
                    2 => ("mmi.service", Question::Service(None)),
                    _ => ("mmi.service", Question::Service(Some(service))),
                };
                let service = ServiceName::new(service).ok()?;
                let caller = self.caller();
                let id = (caller.version >= Version::V1_0).then(|| id_of(NOBODY));
                let no_reply = id.is_some() && self.rng.u8(..4) == 0;
                let caller = Caller { id, ..caller };
                Event::Question { caller, service, question, no_reply }
            }
            34..46 => {
                let reserved = self.rng.u8(..20) == 0;
                let service =
                    if reserved { ServiceName::new("mmi.service").ok()? } else { service };
                let offer = self.offer();
                self.said_by_worker(worker::ToBroker::Ready { service, offer })
            }
            46..74 => {
                // The proper thing, if any worker has a request.
                let running = self.model.running();
                let (peer, request, client) = self.rng.choice(running)?;
                let body = self.body(request, 20);
                let version = self.model.version(&peer);
                let command = match self.rng.u8(..8) {
                    0 | 1 => worker::ToBroker::Partial { client, body },
                    2 if version >= Version::V1_0 => {
                        let reason = Reason { code: 500, text: "no luck".to_owned() };
                        worker::ToBroker::Error { client, reason, details: body }
                    }
                    _ => worker::ToBroker::Final { client, body },
                };
                Event::FromWorker { worker: peer, version, command }
            }
            74..78 => {
                let made_up = ClientAddress::new(&self.rng.u64(..).to_be_bytes());
                let stolen = self.rng.choice(&self.ids).cloned();
                let client = if self.rng.u8(..5) == 0 { made_up } else { stolen? };
                let body = self.body(NOBODY, 20);
                let partial = self.rng.bool();
                self.said_by_worker(if partial {
                    worker::ToBroker::Partial { client, body }
                } else {
                    worker::ToBroker::Final { client, body }
                })
            }
            78..82 => self.said_by_worker(worker::ToBroker::Heartbeat),
            82 => self.said_by_worker(worker::ToBroker::Disconnect { reason: Reason::default() }),
            83 => Event::Invalid {
                peer: self.peer(),
                fault: self.rng.choice([
                    Fault::Malformed,
                    Fault::FramesMax,
                    Fault::MessageBytesMax,
                ])?,
            },
            84 => Event::WorkerUnreachable { worker: self.peer(), requests: self.some_ids() },
            90 => Event::Disconnected { peer: self.peer() },
            86 => self.said_by_worker(worker::ToBroker::Drain),
            87..90 => {
                let number = self.rng.choice(&self.named).copied()?;
                let caller = Caller { version: Version::V1_0, envelope: None, ..self.caller() };
                let command = match self.rng.u8(..5) {
                    0 => client::ToBroker::Heartbeat,
                    _ => client::ToBroker::Cancel { id: id_of(number) },
                };
                Event::FromClient { caller, command }
            }
            85 => {
                let (client, answers) = (self.peer(), self.rng.u64(1..4));
                Event::ClientUnreachable { client, answers, parts: self.some_ids() }
            }
            _ => return None,
        })
    }

    /// A client, seldom one that is a worker as well.
    fn caller(&mut self) -> Caller<Parts> {
        let peer = match self.rng.u8(..10) {
            0 => self.peer(),
            _ => PeerId::new(&[b'c', self.rng.u8(..CLIENTS)]),
        };
        let versions = [Version::V0_1, Version::V0_2, Version::V1_0, Version::V1_0];
        let version = versions[self.rng.usize(..4)];
        let envelope = version < Version::V1_0 && self.rng.u8(..4) == 0;
        let envelope = envelope.then(|| self.body(0, 8));
        Caller { peer, version, envelope: envelope.map(Box::new), id: None }
    }

    /// A request; in MDP/1.0 often one that has come before.
    fn request(&mut self, service: ServiceName) -> Event<Parts> {
        let caller = self.caller();
        self.requests += 1;
        let mut number = self.requests;
        let (mut id, mut terms) = (None, Terms::default());
        if caller.version >= Version::V1_0 {
            let again = self.rng.u8(..3) == 0;
            match self.rng.choice(&self.named) {
                Some(known) if again => number = *known,
                _ => self.named.push(number),
            }
            if self.named.len() > 12 {
                self.named.remove(0);
            }
            (id, terms) = (Some(id_of(number)), self.terms());
        }
        let body = self.body(number, 40);
        Event::FromClient {
            caller,
            command: client::ToBroker::Request { id, service, terms, body },
        }
    }

    fn terms(&mut self) -> Terms {
        let mut one_of = |count: u8| self.rng.u8(..count) == 0;
        let mut terms = Terms {
            once: one_of(6),
            no_reply: one_of(6),
            fail_fast: one_of(6),
            ..Terms::default()
        };
        let (timeout, start_within, metadata) = (one_of(3), one_of(6), one_of(6));
        let mut ms = |max| Duration::from_millis(self.rng.u64(1..max));
        terms.timeout = timeout.then(|| ms(600));
        terms.start_within = start_within.then(|| ms(300));
        if metadata {
            terms.metadata.push("trace", b"7").expect("short");
        }
        terms
    }

    /// Task ids of any requests, most of them ended.
    fn some_ids(&mut self) -> Vec<ClientAddress> {
        let count = self.rng.usize(..4);
        (0..count).filter_map(|_| self.rng.choice(&self.ids).cloned()).collect()
    }

    fn offer(&mut self) -> Offer {
        let heartbeat = self.rng.u64(1..600);
        let mut metadata = Metadata::default();
        if self.rng.bool() {
            let version = self.rng.usize(..70);
            metadata.push("v", &vec![b'1'; version]).expect("short");
        }
        Offer {
            capacity: if self.rng.u8(..20) == 0 { 0 } else { self.rng.u16(1..5) },
            heartbeat: self.rng.bool().then(|| Duration::from_millis(heartbeat)),
            liveness: self.rng.u8(..4),
            metadata,
        }
    }

    /// Something a worker says, mostly in its version; seldom said by a client.
    fn said_by_worker(&mut self, command: worker::ToBroker<Parts>) -> Event<Parts> {
        let worker = match self.rng.u8(..20) {
            0 => self.peer(),
            _ => PeerId::new(&[b'w', self.rng.u8(..WORKERS)]),
        };
        let known = self.model.version(&worker);
        let other = if known == Version::V0_1 { Version::V1_0 } else { Version::V0_1 };
        let version = if self.rng.u8(..20) == 0 { other } else { known };
        let command = match command {
            // Nobody comes anew by a name that is still in use.
            worker::ToBroker::Ready { .. } if self.model.is_unreachable(&worker) => {
                worker::ToBroker::Heartbeat
            }
            // What older versions can say.
            worker::ToBroker::Ready { service, .. } if version < Version::V1_0 => {
                worker::ToBroker::Ready { service, offer: Offer::default() }
            }
            worker::ToBroker::Drain if version < Version::V1_0 => worker::ToBroker::Heartbeat,
            command => command,
        };
        Event::FromWorker { worker, version, command }
    }

    fn peer(&mut self) -> PeerId {
        match self.rng.bool() {
            true => PeerId::new(&[b'c', self.rng.u8(..CLIENTS)]),
            false => PeerId::new(&[b'w', self.rng.u8(..WORKERS)]),
        }
    }

    fn body(&mut self, request: u64, size_max: usize) -> Parts {
        self.parts += 1;
        Parts(vec![Part { request, serial: self.parts, size: self.rng.usize(..size_max) }])
    }
}

/// What a client of MDP/1.0 calls the request of this number.
fn id_of(number: u64) -> RequestId {
    RequestId::new(u128::from(number).to_be_bytes())
}
