//! What one broker took in and gave out, seen from outside: requests, tasks, workers.
//! It is told every event before the engine is and every action after, has no code in
//! common with the engine, and knows only what the documents promise.

mod requests;
mod workers;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use majordomo_broker::engine::{Action, Caller, Dropped, Engine, Event, Note, Settings};
use majordomo_protocol::{
    Body, ClientAddress, Offer, PeerId, RequestId, ServiceName, Version, client,
};

use crate::must;
use crate::words::CallId;

/// What makes a request the same as another: its id, or in old versions its sender and
/// its call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Key {
    Id(RequestId),
    Plain(PeerId, CallId),
}

/// A request that has not ended.
#[derive(Debug)]
struct Ask {
    caller: PeerId,
    /// Who asked first: in whose turn it waits.
    turn: PeerId,
    call: CallId,
    wanted: bool,
    once: bool,
    service: ServiceName,
    arrived: u64,
    waits_since: Instant,
    start_by: Option<Instant>,
    end_by: Option<Instant>,
    attempts: u32,
    /// Workers that it lost while they worked on it.
    losses: u32,
    /// Losses at most that came before it was known which request this is.
    losses_unseen: u32,
    /// Its worker never got it.
    unsent: bool,
    /// Its worker sent a part.
    has_parts: bool,
    /// Who has it.
    live: Option<(PeerId, ClientAddress)>,
    /// It lost a worker: it is before all turns.
    returned: bool,
    /// A part has gone to its client.
    parts_sent: bool,
    /// It has ended before, after a run.
    again: bool,
    /// It has, and a worker still has it: how it ended.
    taken: Option<Option<u16>>,
    /// It may have ended already.
    loose: bool,
    /// Turns of others since it could have had one.
    overtaken: BTreeMap<PeerId, u32>,
}

/// What a note says of a request that ended without a reply.
#[derive(Debug)]
struct Drop {
    client: PeerId,
    service: ServiceName,
    task: Option<ClientAddress>,
    reason: Dropped,
}

#[derive(Debug)]
struct Worker {
    version: Version,
    service: ServiceName,
    capacity: usize,
    draining: bool,
    /// Since when it is unreachable.
    unreachable: Option<Instant>,
    tasks: Vec<ClientAddress>,
    interval: Duration,
    silence: Duration,
    heard: Instant,
    told: Instant,
    /// Tasks that it was given, and that are not sent yet.
    unsent: Vec<ClientAddress>,
}

impl Worker {
    /// Whether it takes requests.
    fn is_open(&self) -> bool {
        !self.draining && self.unreachable.is_none()
    }

    fn is_free(&self) -> bool {
        self.is_open() && self.tasks.len() < self.capacity
    }

    /// Requests that it does before the next one.
    fn before_next(&self) -> usize {
        if self.version >= Version::V1_0 { 0 } else { self.tasks.len() }
    }
}

/// See the [module](self).
#[derive(Debug)]
pub struct Ledger {
    settings: Settings,
    now: Instant,
    asks: BTreeMap<Key, Ask>,
    tasks: HashMap<ClientAddress, Key>,
    workers: BTreeMap<PeerId, Worker>,
    /// Who said DISCONNECT or was told to, and has said nothing since.
    parted: BTreeSet<PeerId>,
    /// Requests that ended with an answer, after they ran, and the code of it if their
    /// client was told one.
    ran: BTreeMap<RequestId, Option<u16>>,
    /// Whether there is room to remember every answer.
    remembers: bool,
    arrivals: u64,
    resumed: Option<Instant>,
    stopping: bool,
    /// Questions to the broker itself that are to be answered at once.
    questions: usize,
    /// What is being told now: the request that came, the task that is answered, the
    /// offer of who registers.
    arriving: Option<Key>,
    answering: Option<(PeerId, ClientAddress)>,
    offer: Option<Offer>,
    cancelling: Option<Key>,
    /// Whose connection has ended.
    ended: Option<PeerId>,
    /// Strangers who asked what nobody can read.
    odd: BTreeSet<PeerId>,
    /// What the engine says it hands out: task, worker, attempt, client.
    dispatch: Option<(ClientAddress, PeerId, u32, PeerId)>,
    /// The latest request that ended without a reply, until its client was told.
    drop: Option<Drop>,
}

impl Ledger {
    /// Of a broker that begins at `now`.
    pub fn new(settings: Settings, remembers: bool, now: Instant) -> Self {
        Ledger {
            settings,
            now,
            asks: BTreeMap::new(),
            tasks: HashMap::new(),
            workers: BTreeMap::new(),
            parted: BTreeSet::new(),
            ran: BTreeMap::new(),
            remembers,
            arrivals: 0,
            resumed: None,
            stopping: false,
            questions: 0,
            arriving: None,
            answering: None,
            offer: None,
            cancelling: None,
            ended: None,
            odd: BTreeSet::new(),
            dispatch: None,
            drop: None,
        }
    }

    /// Requests that have not ended.
    pub fn open(&self) -> usize {
        self.asks.values().filter(|ask| !ask.loose).count()
    }

    /// The tasks that a worker has.
    pub fn tasks_of(&self, peer: &PeerId) -> &[ClientAddress] {
        self.workers.get(peer).map_or(&[], |worker| &worker.tasks)
    }

    /// The call that a task is of.
    pub fn call_of(&self, task: &ClientAddress) -> Option<CallId> {
        match self.tasks.get(task)? {
            Key::Plain(_, call) => Some(*call),
            key => self.asks.get(key).map(|ask| ask.call),
        }
    }

    /// Before the engine is told.
    pub fn event(&mut self, event: &Event<Body>, now: Instant) {
        self.now = now;
        (self.arriving, self.answering, self.offer) = (None, None, None);
        self.cancelling = None;
        match event {
            Event::FromClient { caller, command } => match command {
                client::ToBroker::Request { id, service, terms, body } => {
                    let caller = Caller { id: *id, ..caller.clone() };
                    self.asked(&caller, service, terms, body);
                }
                client::ToBroker::Cancel { id } => self.cancelling = Some(Key::Id(*id)),
                client::ToBroker::Heartbeat => {}
            },
            Event::Question { no_reply, .. } => self.questions += usize::from(!no_reply),
            Event::FromWorker { worker, version, command } => {
                self.worker_said(worker, *version, command);
            }
            Event::WorkerUnreachable { worker, requests } => {
                self.worker_unreachable(worker, requests);
            }
            Event::ClientUnreachable { client, parts, .. } => self.parts_lost(client, parts),
            Event::Stop | Event::StopNow => self.stopping = true,
            Event::Disconnected { peer } => {
                self.ended = Some(peer.clone());
                self.parted.insert(peer.clone());
            }
            Event::Connected { .. }
            | Event::Invalid { .. }
            | Event::Rights(_)
            | Event::Unauthenticated { .. } => {}
        }
    }

    /// Before the engine looks at the time.
    pub fn begin(&mut self, now: Instant) {
        self.now = now;
        (self.arriving, self.answering, self.cancelling) = (None, None, None);
    }

    /// After the engine was told: what it wants done, in order.
    pub fn action(&mut self, action: &Action<Body>, engine: &Engine<Body>) {
        match action {
            Action::ToClient { caller, command, .. } => self.client_told(caller, command),
            Action::ToWorker { worker, command, .. } => self.worker_told(worker, command),
            Action::Note(note) => self.note(note, engine),
            // No connection here has an identity.
            Action::Close { peer } => must!(false, "no connection is closed", "{peer}"),
            Action::Stopped => {
                must!(self.workers.is_empty(), "stops when nobody is left", "{:?}", self.workers);
            }
        }
    }

    fn note(&mut self, note: &Note, engine: &Engine<Body>) {
        match note {
            Note::WorkerRegistered { worker, version, service } => {
                let offer = self.offer.take().unwrap_or_default();
                let (interval, liveness) =
                    (self.settings.heartbeat_interval, self.settings.heartbeat_liveness);
                self.workers.insert(
                    worker.clone(),
                    Worker {
                        version: *version,
                        service: service.clone(),
                        capacity: if *version >= Version::V1_0 {
                            offer.capacity.into()
                        } else {
                            *self.settings.prefetch.of(service)
                        },
                        draining: false,
                        unreachable: None,
                        tasks: Vec::new(),
                        interval,
                        silence: interval * liveness,
                        heard: self.now,
                        told: self.now,
                        unsent: Vec::new(),
                    },
                );
            }
            Note::WorkerGone { worker, reason, requests, .. } => {
                self.worker_gone(worker, *reason, *requests);
            }
            Note::RequestDispatched { request, client, worker, attempt, .. } => {
                self.dispatch = Some((request.clone(), worker.clone(), *attempt, client.clone()));
            }
            Note::RequestDropped { client, service, request, reason } => {
                self.check_limit(*reason, service, engine);
                self.settle_drop();
                self.check_attempts(*reason, request.as_ref());
                self.drop = Some(Drop {
                    client: client.clone(),
                    service: service.clone(),
                    task: request.clone(),
                    reason: *reason,
                });
            }
            Note::Late => self.resumed = Some(self.now),
            Note::RequestAnswered { .. }
            | Note::WorkerRefused { .. }
            | Note::Forbidden { .. }
            | Note::CutOff { .. }
            | Note::ConnectionClosed { .. }
            | Note::ReplyUnsent { .. } => {}
        }
    }

    /// When a request that waits has waited for too long.
    fn waits_until(&self, ask: &Ask) -> Instant {
        let expiry = ask.waits_since + self.settings.request_expiry;
        [ask.start_by, ask.end_by].into_iter().flatten().fold(expiry, Instant::min)
    }

    /// What must hold after every event.
    pub fn check(&mut self) {
        self.settle_drop();
        if let Some(peer) = self.ended.take() {
            let there = self.workers.contains_key(&peer);
            must!(!there, "whose connection ended is given up", "{peer} is still registered");
        }
        must!(self.questions == 0, "a question is answered at once", "{}", self.questions);
        if let Some((_, task)) = self.answering.take()
            && let Some(key) = self.tasks.get(&task).cloned()
            && let Some(ask) = self.asks.get(&key)
            && ask.live.as_ref().is_some_and(|(_, live)| *live == task)
            && !self.workers.values().any(|worker| worker.tasks.contains(&task))
        {
            // Its worker has answered; an old client may be told nothing.
            let silent = !ask.wanted || matches!(key, Key::Plain(..));
            must!(silent, "what its worker answers is answered", "c{}", ask.call);
            self.ended(&key, None);
        }
        if let Some(key) = self.arriving.take()
            && let Some(ask) = self.asks.get(&key)
            && ask.again
            && ask.live.is_none()
        {
            let known = self.remembers || ask.taken.is_some();
            let silent = !(ask.wanted && known);
            must!(silent, "an answer is repeated to who asks again", "c{}", ask.call);
            if known {
                self.ended(&key, None);
            } else if !ask.wanted
                && let Some(ask) = self.asks.get_mut(&key)
            {
                ask.loose = true;
            }
        }
        for ask in self.asks.values().filter(|ask| ask.live.is_none() && !ask.loose) {
            let mut workers = self.workers.values();
            let free = workers.any(|worker| worker.service == ask.service && worker.is_free());
            must!(!free, "nothing waits beside a free worker", "c{} waits", ask.call);
        }
    }

    /// What must hold once the engine has looked at the time.
    pub fn check_time(&self, heard_until: Instant, due: Option<Instant>) {
        let now = self.now;
        let mut next: Option<Instant> = None;
        let mut at = |limit: Instant| next = Some(next.map_or(limit, |next| next.min(limit)));
        for ask in self.asks.values().filter(|ask| !ask.loose) {
            let limit = match &ask.live {
                Some(_) => ask.end_by,
                None => Some(self.waits_until(ask)),
            };
            if let Some(limit) = limit {
                must!(limit > now, "deadlines hold to the tick", "past it: {ask:?}");
                at(limit);
            }
        }
        for (peer, worker) in &self.workers {
            // Who was given time until all had been read is looked at a tick later.
            let tick = now + Duration::from_nanos(1);
            let soon = due.is_some_and(|due| due <= tick);
            if let Some(since) = worker.unreachable {
                let since = self.resumed.map_or(since, |resumed| resumed.max(since));
                must!(since >= heard_until || soon, "who is unreachable is given up", "{peer}");
                at(tick);
                continue;
            }
            let since = self.resumed.map_or(worker.heard, |resumed| resumed.max(worker.heard));
            let lost = since + worker.silence;
            must!(lost > heard_until || soon, "who is silent is given up", "{peer}");
            let beat = worker.told + worker.interval;
            must!(beat > now, "a worker is told in time", "{peer}");
            at(lost.max(tick).min(beat));
        }
        if let Some(next) = next {
            let asked = due.is_some_and(|due| due <= next);
            must!(asked, "the engine asks for its next deadline", "{due:?}");
        }
    }
}
