//! A small broker of MDP/0.1 and MDP/0.2 that keeps every clause of both, and of MMI; or
//! all but what one fault of it breaks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_millis(500);
/// Longer than the program waits for an answer, so that what only a lost worker mends is
/// a failure.
const LIVENESS: u32 = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// No empty frame between the client's address and the body.
    NoDelimiter,
    /// No empty frame before a reply of MDP/0.1.
    NoLeadingEmpty,
    /// Replies name another service.
    WrongService,
    NoHeartbeats,
    /// A reply goes to whoever asked that service last.
    RepliesToLastAsker,
    IgnoresDisconnect,
    /// mmi anywhere in a name makes it the broker's.
    MmiAnywhere,
    MmiAlways200,
    /// Who beats without READY is not told to leave.
    ToleratesStrangers,
    NeverExpires,
    ToleratesSecondReady,
    /// A busy worker gets requests, too.
    IgnoresBusy,
    /// A PARTIAL ends a request for the worker.
    PartialFrees,
    /// Whatever it does not understand ends it.
    DiesOfGarbage,
    OnlySpeaks02,
}

type Frames = Vec<Vec<u8>>;

struct Worker {
    old: bool,
    service: Vec<u8>,
    busy: bool,
    heard: Instant,
    sent: Instant,
    idle_since: u64,
}

struct Request {
    client: Vec<u8>,
    old: bool,
    envelope: Frames,
    body: Frames,
}

pub(crate) struct Broker {
    fault: Fault,
    router: zmq::Socket,
    workers: BTreeMap<Vec<u8>, Worker>,
    waiting: BTreeMap<Vec<u8>, VecDeque<Request>>,
    /// By worker: what it has.
    running: BTreeMap<Vec<u8>, Request>,
    last_served: Vec<u8>,
    last_asker: BTreeMap<Vec<u8>, Vec<u8>>,
    turns: u64,
    now: Instant,
}

#[expect(clippy::disallowed_methods, reason = "the loop of a broker reads the clock")]
fn now() -> Instant {
    Instant::now()
}

impl Broker {
    /// A broker on this socket.
    pub(crate) fn new(router: zmq::Socket, fault: Fault) -> Self {
        Broker {
            fault,
            router,
            workers: BTreeMap::new(),
            waiting: BTreeMap::new(),
            running: BTreeMap::new(),
            last_served: vec![],
            last_asker: BTreeMap::new(),
            turns: 0,
            now: now(),
        }
    }

    /// Serves until it is told to stop.
    pub(crate) fn serve(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            self.now = now();
            match self.router.recv_multipart(zmq::DONTWAIT) {
                Ok(mut message) => {
                    let peer = message.remove(0);
                    if self.message(&peer, message).is_none() && self.fault == Fault::DiesOfGarbage
                    {
                        return;
                    }
                }
                Err(_) => {
                    self.purge();
                    self.beat();
                    let _ = self.router.poll(zmq::POLLIN, 10);
                }
            }
        }
    }

    /// None for what is no message.
    fn message(&mut self, peer: &[u8], mut message: Frames) -> Option<()> {
        let header = message.iter().position(|frame| frame.starts_with(b"MDP"))?;
        let mut envelope: Frames = message.drain(..header).collect();
        let header = message.remove(0);
        let old = header.ends_with(b"01");
        if old && envelope.pop() != Some(vec![]) {
            return None;
        }
        match &header[..] {
            b"MDPC01" if self.fault == Fault::OnlySpeaks02 => None,
            b"MDPW01" if self.fault == Fault::OnlySpeaks02 => None,
            b"MDPC01" => self.request(peer, true, envelope, message),
            b"MDPC02" if message.first()? == &[1] => {
                self.request(peer, false, envelope, message.split_off(1))
            }
            b"MDPW01" | b"MDPW02" => self.worker(peer, old, message),
            _ => None,
        }
    }

    fn request(&mut self, peer: &[u8], old: bool, envelope: Frames, rest: Frames) -> Option<()> {
        let (service, body) = rest.split_first()?;
        if service.is_empty() || body.is_empty() {
            return None;
        }
        let request = Request { client: peer.to_vec(), old, envelope, body: body.to_vec() };
        if self.is_own(service) {
            let answer = self.own(service, &body[0]);
            self.reply(&request, service, false, &[answer.as_bytes().to_vec()]);
        } else {
            self.last_asker.insert(service.clone(), peer.to_vec());
            self.waiting.entry(service.clone()).or_default().push_back(request);
            self.dispatch(service);
        }
        Some(())
    }

    fn is_own(&self, service: &[u8]) -> bool {
        let anywhere = service.windows(3).any(|part| part == b"mmi");
        service.starts_with(b"mmi.") || (self.fault == Fault::MmiAnywhere && anywhere)
    }

    fn own(&self, service: &[u8], name: &[u8]) -> &'static str {
        match service {
            b"mmi.service" if self.fault == Fault::MmiAlways200 => "200",
            b"mmi.service" if self.workers.values().any(|worker| worker.service == name) => "200",
            b"mmi.service" => "404",
            _ => "501",
        }
    }

    fn worker(&mut self, peer: &[u8], old: bool, mut message: Frames) -> Option<()> {
        let command = match message.remove(0)[..] {
            [command] => command,
            _ => return self.invalid(peer, old),
        };
        let (first_reply, heartbeat) = if old { (3, 4) } else { (3, 5) };
        let known = self.workers.contains_key(peer);
        if let Some(worker) = self.workers.get_mut(peer) {
            worker.heard = self.now;
        }
        if command == 1 {
            let [service] = &message[..] else { return self.invalid(peer, old) };
            if known && self.fault == Fault::ToleratesSecondReady {
                return Some(());
            }
            if known || self.is_own(service) {
                self.tell_to_leave(peer, old);
                return Some(());
            }
            self.turns += 1;
            let worker = Worker {
                old,
                service: service.clone(),
                busy: false,
                heard: self.now,
                sent: self.now,
                idle_since: self.turns,
            };
            self.workers.insert(peer.to_vec(), worker);
            self.dispatch(&service.clone());
        } else if command == heartbeat {
            if !known && self.fault != Fault::ToleratesStrangers {
                self.tell_to_leave(peer, old);
            }
        } else if command == heartbeat + 1 {
            if self.fault != Fault::IgnoresDisconnect {
                self.lose(peer);
            }
        } else if (first_reply..heartbeat).contains(&command) {
            let [_, delimiter, body @ ..] = &message[..] else { return self.invalid(peer, old) };
            if !delimiter.is_empty() || body.is_empty() {
                return self.invalid(peer, old);
            }
            self.answered(peer, old, command + 1 < heartbeat, body);
        } else {
            return self.invalid(peer, old);
        }
        Some(())
    }

    fn invalid(&mut self, peer: &[u8], old: bool) -> Option<()> {
        if self.workers.contains_key(peer) {
            self.tell_to_leave(peer, old);
        }
        None
    }

    fn answered(&mut self, peer: &[u8], old: bool, partial: bool, body: &[Vec<u8>]) {
        let Some(request) = self.running.remove(peer) else {
            return self.tell_to_leave(peer, old);
        };
        let Some(worker) = self.workers.get_mut(peer) else { return };
        let service = worker.service.clone();
        if !partial || self.fault == Fault::PartialFrees {
            self.turns += 1;
            (worker.busy, worker.idle_since) = (false, self.turns);
        }
        self.reply(&request, &service, partial, body);
        if partial {
            self.running.insert(peer.to_vec(), request);
        }
        self.dispatch(&service);
    }

    fn reply(&mut self, request: &Request, service: &[u8], partial: bool, body: &[Vec<u8>]) {
        let to = match self.last_asker.get(service) {
            Some(last) if self.fault == Fault::RepliesToLastAsker => last.clone(),
            _ => request.client.clone(),
        };
        let mut message = vec![to];
        message.extend(request.envelope.iter().cloned());
        if request.old {
            if self.fault != Fault::NoLeadingEmpty {
                message.push(vec![]);
            }
            message.push(b"MDPC01".to_vec());
        } else {
            message.extend([b"MDPC02".to_vec(), vec![if partial { 2 } else { 3 }]]);
        }
        let wrong = self.fault == Fault::WrongService;
        message.push(if wrong { b"another".to_vec() } else { service.to_vec() });
        message.extend(body.iter().cloned());
        let _ = self.router.send_multipart(message, zmq::DONTWAIT);
    }

    /// Hands out what waits for a service, clients in turn.
    fn dispatch(&mut self, service: &[u8]) {
        while let Some(peer) = self.free_worker(service) {
            let Some(queue) = self.waiting.get_mut(service) else { return };
            let other = queue.iter().position(|request| request.client != self.last_served);
            let Some(request) = queue.remove(other.unwrap_or(0)) else { return };
            self.last_served.clone_from(&request.client);
            let old = self.workers.get(&peer).is_some_and(|worker| worker.old);
            let mut rest = vec![vec![2], request.client.clone()];
            if self.fault != Fault::NoDelimiter {
                rest.push(vec![]);
            }
            rest.extend(request.body.iter().cloned());
            self.send(&peer, old, rest);
            if let Some(worker) = self.workers.get_mut(&peer) {
                worker.busy = true;
            }
            self.running.insert(peer, request);
        }
    }

    fn free_worker(&self, service: &[u8]) -> Option<Vec<u8>> {
        let of_service = self.workers.iter().filter(|(_, worker)| worker.service == service);
        let free = |worker: &Worker| !worker.busy || self.fault == Fault::IgnoresBusy;
        let free = of_service.filter(|(_, worker)| free(worker));
        let first = free.min_by_key(|(_, worker)| (worker.busy, worker.idle_since));
        first.map(|(peer, _)| peer.clone())
    }

    fn send(&mut self, peer: &[u8], old: bool, rest: Frames) {
        let mut message = vec![peer.to_vec()];
        if old {
            message.push(vec![]);
        }
        message.push(if old { b"MDPW01".to_vec() } else { b"MDPW02".to_vec() });
        message.extend(rest);
        let _ = self.router.send_multipart(message, zmq::DONTWAIT);
        if let Some(worker) = self.workers.get_mut(peer) {
            worker.sent = self.now;
        }
    }

    fn tell_to_leave(&mut self, peer: &[u8], old: bool) {
        self.send(peer, old, vec![vec![if old { 5 } else { 6 }]]);
        self.lose(peer);
    }

    fn lose(&mut self, peer: &[u8]) {
        let Some(worker) = self.workers.remove(peer) else { return };
        if let Some(request) = self.running.remove(peer) {
            self.waiting.entry(worker.service.clone()).or_default().push_front(request);
            self.dispatch(&worker.service);
        }
    }

    fn purge(&mut self) {
        let silent = |worker: &Worker| self.now - worker.heard > INTERVAL * LIVENESS;
        let lost = self.workers.iter().filter(|(_, worker)| silent(worker));
        let lost: Vec<Vec<u8>> = lost.map(|(peer, _)| peer.clone()).collect();
        if self.fault != Fault::NeverExpires {
            lost.iter().for_each(|peer| self.lose(peer));
        }
    }

    fn beat(&mut self) {
        let due = self.workers.iter().filter(|(_, worker)| self.now - worker.sent > INTERVAL);
        let due: Vec<_> = due.map(|(peer, worker)| (peer.clone(), worker.old)).collect();
        for (peer, old) in due {
            if self.fault != Fault::NoHeartbeats {
                self.send(&peer, old, vec![vec![if old { 4 } else { 5 }]]);
            }
        }
    }
}
