//! What peers have asked the engine, and what they are owed.
//!
//! It knows none of the engine's rules on routing or time, only what any of them must
//! keep: a request is answered at most once for each time it was asked, and in MDP/1.0
//! exactly once to whoever asked last; only by the worker that has it; only to who asked;
//! in words that its version has. A worker is handed no more than it has places for and
//! nothing after its end; *once* is handed out once, and nothing more often than may be.
//! What a lost worker had is handed out again, or ends for a reason that is counted.

use std::collections::{HashMap, HashSet};

use majordomo_broker::engine::{Action, Caller, Dropped, Event, Gone, Identity, Note, Payload};
use majordomo_broker::stats::Counters;
use majordomo_protocol::{
    Answered, ClientAddress, PeerId, RequestId, ServiceName, Version, client, worker,
};

use crate::connections::{Connections, identity};

/// Who speaks in a [`Part`] that belongs to no request.
pub(crate) const NOBODY: usize = usize::MAX;
/// The broker itself.
const BROKER: usize = usize::MAX - 1;

/// One frame: the request it belongs to, and its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) request: usize,
    pub(crate) bytes: usize,
}

/// A body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parts(pub(crate) Vec<Part>);

impl Payload for Parts {
    fn size(&self) -> usize {
        self.0.iter().map(|part| part.bytes).sum()
    }

    fn append(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    fn of_texts(texts: &[&str]) -> Self {
        let part = |text: &&str| Part { request: BROKER, bytes: text.len() };
        Parts(texts.iter().map(part).collect())
    }
}

/// A request, by the number in its body.
#[derive(Debug)]
struct Asked {
    caller: Caller<Parts>,
    once: bool,
    handed_out: u32,
    /// Its reply, or its last part, has gone to a client.
    answered: bool,
}

/// A registered worker, as far as the engine has said.
#[derive(Debug)]
struct Hired {
    capacity: usize,
    tasks: Vec<ClientAddress>,
    /// The task that it was given by the latest message to it, if by that.
    last_told: Option<ClientAddress>,
}

/// An answer that somebody waits for: an id, a service, or the broker's HEARTBEAT.
type Owed = (PeerId, Option<RequestId>, Option<ServiceName>);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Account {
    attempts_max: u32,
    /// How many bodies of requests were made.
    requests: usize,
    asked: HashMap<usize, Asked>,
    workers: HashMap<PeerId, Hired>,
    /// What workers said in the READY that is being handled.
    offered: usize,
    /// Every task that was handed out, and its request.
    tasks: Vec<(ClientAddress, usize)>,
    owed: HashMap<Owed, usize>,
    /// Who asked last for each id and waits for the answer. A key has ids of its own.
    waiting: HashMap<(Identity, RequestId), PeerId>,
    connections: Connections,
    /// Tasks that have ended without a reply, as their clients were told if they could be.
    dropped: HashSet<ClientAddress>,
    /// Other tasks whose worker was lost, until they are handed out again or end.
    returned: HashSet<ClientAddress>,
    drops: HashMap<Dropped, u64>,
    losses: HashMap<Gone, u64>,
    stopped: u32,
}

impl Account {
    pub(crate) fn new(attempts_max: u32) -> Self {
        Account { attempts_max, ..Account::default() }
    }

    /// The body of a request that has not been there before.
    pub(crate) fn new_request(&mut self, bytes: usize) -> Parts {
        self.requests += 1;
        Parts(vec![Part { request: self.requests, bytes }])
    }

    /// One of the tasks that are with workers: its worker, its address, its request.
    pub(crate) fn running(&self, number: u8) -> Option<(PeerId, ClientAddress, usize)> {
        let held = |task: &&(ClientAddress, usize)| self.holder(&task.0).is_some();
        let count = self.tasks.iter().filter(held).count();
        let (address, request) =
            self.tasks.iter().filter(held).nth(usize::from(number).checked_rem(count)?)?;
        Some((self.holder(address)?, address.clone(), *request))
    }

    /// One of the tasks that were handed out some time.
    pub(crate) fn handed_out(&self, number: u8) -> Option<ClientAddress> {
        let at = usize::from(number).checked_rem(self.tasks.len())?;
        self.tasks.get(at).map(|(address, _)| address.clone())
    }

    pub(crate) fn request_of(&self, task: &ClientAddress) -> Option<usize> {
        self.tasks.iter().find(|(address, _)| address == task).map(|(_, request)| *request)
    }

    /// The task that a worker was given by the latest message to it.
    pub(crate) fn last_told(&self, worker: &PeerId) -> Option<ClientAddress> {
        self.workers.get(worker)?.last_told.clone()
    }

    /// The worker that has a task.
    pub(crate) fn holder(&self, task: &ClientAddress) -> Option<PeerId> {
        let has = |(_, hired): &(&PeerId, &Hired)| hired.tasks.contains(task);
        self.workers.iter().find(has).map(|(worker, _)| worker.clone())
    }

    pub(crate) fn is_connected(&self, peer: &PeerId) -> bool {
        self.connections.is_open(peer)
    }

    /// Takes in what the engine is about to be told.
    pub(crate) fn hear(&mut self, event: &Event<Parts>) {
        self.connections.hear(event);
        match event {
            Event::FromClient { caller, command } => self.hear_client(caller, command),
            Event::Question { caller, service, .. } => {
                let service = caller.id.is_none().then(|| service.clone());
                self.owe((caller.peer.clone(), caller.id, service));
            }
            Event::FromWorker { worker, command, .. } => {
                if let worker::ToBroker::Ready { offer, .. } = command {
                    self.offered = offer.capacity.into();
                }
                let ended = match command {
                    worker::ToBroker::Final { client, .. } => Some(client),
                    worker::ToBroker::Error { client, .. } => Some(client),
                    _ => None,
                };
                let hired = self.workers.get_mut(worker);
                if let (Some(task), Some(hired)) = (ended, hired) {
                    hired.tasks.retain(|held| held != task);
                }
            }
            Event::WorkerUnreachable { worker, requests } => {
                if let Some(hired) = self.workers.get_mut(worker) {
                    let unsent = hired.tasks.extract_if(.., |held| requests.contains(held));
                    self.returned.extend(unsent.filter(|task| !self.dropped.contains(task)));
                    hired.last_told = None;
                }
                for task in requests {
                    let request = self.request_of(task);
                    if let Some(asked) = request.and_then(|request| self.asked.get_mut(&request)) {
                        asked.handed_out -= 1;
                    }
                }
            }
            Event::Invalid { .. }
            | Event::Connected { .. }
            | Event::Disconnected { .. }
            | Event::Rights(_)
            | Event::Unauthenticated { .. }
            | Event::ClientUnreachable { .. }
            | Event::Stop
            | Event::StopNow => {}
        }
    }

    fn hear_client(&mut self, caller: &Caller<Parts>, command: &client::ToBroker<Parts>) {
        let peer = caller.peer.clone();
        match command {
            client::ToBroker::Request { id, service, terms, body } => {
                let caller = Caller { id: *id, ..caller.clone() };
                for part in &body.0 {
                    let (caller, once) = (caller.clone(), terms.once);
                    let asked = Asked { caller, once, handed_out: 0, answered: false };
                    self.asked.insert(part.request, asked);
                }
                let key = id.map(|id| (identity(&peer), id));
                if let Some(key) = key {
                    self.waiting.remove(&key);
                }
                if terms.no_reply {
                    return;
                }
                if let Some(key) = key {
                    self.waiting.insert(key, peer.clone());
                }
                self.owe((peer, *id, id.is_none().then(|| service.clone())));
            }
            client::ToBroker::Heartbeat => self.owe((peer, None, None)),
            client::ToBroker::Cancel { .. } => {}
        }
    }

    fn owe(&mut self, owed: Owed) {
        *self.owed.entry(owed).or_default() += 1;
    }

    /// Takes in what the engine wants done.
    pub(crate) fn follow(&mut self, action: Action<Parts>) {
        match action {
            Action::ToClient { caller, command, .. } => self.follow_to_client(&caller, command),
            Action::ToWorker { worker, version, command } => {
                self.follow_to_worker(&worker, version, command);
            }
            Action::Note(Note::WorkerRegistered { worker, .. }) => {
                let hired = Hired { capacity: self.offered, tasks: Vec::new(), last_told: None };
                assert!(self.workers.insert(worker, hired).is_none(), "registered twice");
            }
            Action::Note(Note::WorkerGone { worker, reason, .. }) => {
                self.connections.check_gone(&worker, reason);
                *self.losses.entry(reason).or_default() += 1;
                let hired = self.workers.remove(&worker).expect("it was there");
                let tasks = hired.tasks.into_iter().filter(|task| !self.dropped.contains(task));
                self.returned.extend(tasks);
            }
            Action::Note(Note::RequestDropped { request, reason, .. }) => {
                *self.drops.entry(reason).or_default() += 1;
                if let Some(task) = request {
                    self.returned.remove(&task);
                    self.dropped.insert(task);
                }
            }
            Action::Note(_) => {}
            Action::Close { peer } => self.connections.close(&peer),
            Action::Stopped => {
                assert!(self.workers.is_empty(), "workers have not been told");
                self.stopped += 1;
            }
        }
    }

    fn follow_to_client(&mut self, caller: &Caller<Parts>, command: client::FromBroker<Parts>) {
        let peer = caller.peer.clone();
        let (request, body, last) = match command {
            client::FromBroker::Partial { request, body } => {
                assert!(caller.version >= Version::V0_2, "PARTIAL in MDP/0.1");
                (request, body, false)
            }
            client::FromBroker::Final { request, body } => (request, body, true),
            client::FromBroker::Error { id, details, .. } => (Answered::Id(id), details, true),
            client::FromBroker::Heartbeat { .. } => {
                assert!(caller.version >= Version::V1_0);
                return self.settle((peer, None, None), true);
            }
        };
        let (id, service) = match request {
            Answered::Id(id) => (Some(id), None),
            Answered::Service(service) => (None, Some(service)),
        };
        assert_eq!(caller.version >= Version::V1_0, id.is_some(), "in another version's words");
        let numbers: HashSet<usize> = body.0.iter().map(|part| part.request).collect();
        for number in numbers.into_iter().filter(|number| *number != BROKER) {
            let Some(asked) = self.asked.get_mut(&number) else {
                panic!("an answer that no worker may give reached {caller:?}");
            };
            if id.is_some() {
                assert_eq!(asked.caller.id, id, "the answer to another request");
            } else {
                assert_eq!(&asked.caller, caller, "the answer to another request");
                assert!(!asked.answered, "answered twice, or a part after the end");
            }
            asked.answered |= last;
        }
        self.settle((peer.clone(), id, service), last);
        if let Some(key) = id.filter(|_| last).map(|id| (identity(&peer), id))
            && self.waiting.get(&key) == Some(&peer)
        {
            self.waiting.remove(&key);
        }
    }

    fn settle(&mut self, owed: Owed, last: bool) {
        let Some(count) = self.owed.get_mut(&owed).filter(|count| **count > 0) else {
            panic!("an answer more than was asked for: {owed:?}");
        };
        *count -= usize::from(last);
    }

    fn follow_to_worker(
        &mut self,
        worker: &PeerId,
        version: Version,
        command: worker::FromBroker<Parts>,
    ) {
        self.connections.check_told(worker);
        let is_1_0 = version >= Version::V1_0;
        let mut last_told = None;
        match command {
            worker::FromBroker::Disconnect { .. } => {
                assert!(!self.workers.contains_key(worker), "told to go while registered");
                return;
            }
            worker::FromBroker::Request { client, body, .. } => {
                assert!(!is_1_0 || client.as_bytes().len() == 8, "no task id");
                self.hand_out(worker, &client, &body);
                last_told = Some(client);
            }
            worker::FromBroker::Cancel { client } => {
                assert!(is_1_0, "CANCEL in an older version");
                assert_eq!(self.holder(&client).as_ref(), Some(worker), "it does not have it");
            }
            worker::FromBroker::Welcome(_) => assert!(is_1_0, "WELCOME in an older version"),
            worker::FromBroker::Heartbeat => {}
        }
        let hired = self.workers.get_mut(worker).expect("only a registered worker is told so");
        hired.last_told = last_told;
    }

    fn hand_out(&mut self, worker: &PeerId, task: &ClientAddress, body: &Parts) {
        let [Part { request, .. }] = body.0[..] else { panic!("not one request: {body:?}") };
        assert_eq!(self.holder(task), None, "a task that a worker has");
        let asked = self.asked.get_mut(&request).expect("somebody has asked");
        assert!(!asked.answered, "answered, and then handed out");
        asked.handed_out += 1;
        let most = if asked.once { 1 } else { self.attempts_max };
        assert!(asked.handed_out <= most, "handed out {} times", asked.handed_out);
        let hired = self.workers.get_mut(worker).expect("only a registered worker has tasks");
        self.returned.remove(task);
        hired.tasks.push(task.clone());
        assert!(hired.tasks.len() <= hired.capacity, "more tasks than capacity");
        if !self.tasks.iter().any(|(known, _)| known == task) {
            self.tasks.push((task.clone(), request));
        }
    }

    /// All that it wanted done is done: those whom it has said to be registered are.
    pub(crate) fn end_event(&mut self, is_registered: impl Fn(&PeerId) -> bool) {
        self.connections.end_event(&is_registered);
        for number in 0..6 {
            let worker = PeerId::new(&[number]);
            assert_eq!(is_registered(&worker), self.workers.contains_key(&worker), "{worker}");
        }
    }

    /// Nobody is there any more, nobody in MDP/1.0 waits, and what has ended was counted.
    pub(crate) fn check_rest(&self, counters: &Counters) {
        assert!(self.workers.is_empty(), "still registered: {:?}", self.workers);
        assert!(self.waiting.is_empty(), "never answered: {:?}", self.waiting);
        assert!(self.returned.is_empty(), "lost with their workers: {:?}", self.returned);
        let mut counters = counters.clone();
        for (reason, count) in &self.drops {
            assert_eq!(counters.dropped(*reason), count, "requests dropped: {reason:?}");
        }
        for (reason, count) in &self.losses {
            assert_eq!(counters.gone(*reason), count, "workers gone: {reason:?}");
        }
    }

    /// How often it has said that it has stopped.
    pub(crate) fn stopped(&self) -> u32 {
        self.stopped
    }
}
