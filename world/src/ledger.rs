//! What one broker took in and gave out, seen from outside: requests, tasks, workers.
//! It is told every event before the engine is and every action after, has no code in
//! common with the engine, and knows only what the documents promise.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use majordomo_broker::engine::{Action, Caller, Dropped, Engine, Event, Gone, Note, Settings};
use majordomo_protocol::{
    Answered, Body, ClientAddress, Offer, PeerId, RequestId, ServiceName, Terms, Version, client,
    code, worker,
};

use crate::must;
use crate::words::{CallId, Word};

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
    tasks: Vec<ClientAddress>,
    interval: Duration,
    silence: Duration,
    heard: Instant,
    told: Instant,
    /// Tasks that it was given by the event that is told now.
    new: Vec<ClientAddress>,
}

impl Worker {
    fn is_free(&self) -> bool {
        !self.draining && self.tasks.len() < self.capacity
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
        self.workers.values_mut().for_each(|worker| worker.new.clear());
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
                for task in requests {
                    self.not_handed_out(worker, task);
                }
            }
            Event::ClientUnreachable { client, parts, .. } => self.parts_lost(client, parts),
            Event::Stop | Event::StopNow => self.stopping = true,
            Event::Invalid { .. } => {}
        }
    }

    /// A worker never got a task.
    fn not_handed_out(&mut self, worker: &PeerId, task: &ClientAddress) {
        if let Some(ask) = self.tasks.get(task).and_then(|key| self.asks.get_mut(key))
            && ask.live.as_ref().is_some_and(|(holder, of)| holder == worker && of == task)
        {
            ask.attempts -= 1;
        }
    }

    /// Parts of replies did not get to a client: it is told no more of these, in old
    /// versions nothing at all.
    fn parts_lost(&mut self, client: &PeerId, parts: &[ClientAddress]) {
        for task in parts {
            let Some(key @ Key::Plain(..)) = self.tasks.get(task) else { continue };
            let Some(ask) = self.asks.get_mut(key) else { continue };
            let runs = ask.live.as_ref().is_some_and(|(_, of)| of == task);
            if runs && ask.parts_sent && ask.caller == *client {
                ask.wanted = false;
            }
        }
    }

    /// How a request ended that a worker still has.
    fn taken(&self, key: &Key) -> Option<Option<u16>> {
        let Key::Id(id) = key else { return None };
        let mut tasks = self.workers.values().flat_map(|worker| &worker.tasks);
        let is_held = tasks.any(|task| self.tasks.get(task) == Some(key));
        self.ran.get(id).copied().filter(|_| is_held)
    }

    fn asked(&mut self, caller: &Caller<Body>, service: &ServiceName, terms: &Terms, body: &Body) {
        let Some(call) = Word::asked(body) else {
            return self.lose_track_of(&caller.peer);
        };
        let key = match caller.id {
            Some(id) => Key::Id(id),
            None => Key::Plain(caller.peer.clone(), call),
        };
        if caller.id.is_none() {
            // An answer to an old client tells its service alone: of one that asks for
            // more than one thing at a time nobody can tell what it is answered.
            let peer = &caller.peer;
            if self.asks.keys().any(|key| matches!(key, Key::Plain(of, _) if of == peer)) {
                self.lose_track_of(peer);
            }
            if self.odd.contains(peer) {
                return;
            }
        }
        self.arriving = Some(key.clone());
        let loose = self.asks.get(&key).is_some_and(|ask| ask.loose);
        if loose {
            self.asks.remove(&key);
        }
        if let Some(ask) = self.asks.get_mut(&key) {
            // It joins, and the answer goes to who asks last.
            if ask.caller != caller.peer {
                ask.parts_sent = false;
            }
            (ask.caller, ask.wanted) = (caller.peer.clone(), !terms.no_reply);
            return;
        }
        self.arrivals += 1;
        let again = matches!(&key, Key::Id(id) if self.ran.contains_key(id));
        let taken = self.taken(&key);
        let after = |time: Option<Duration>| time.map(|time| self.now + time);
        let ask = Ask {
            caller: caller.peer.clone(),
            turn: caller.peer.clone(),
            call,
            wanted: !terms.no_reply,
            once: terms.once,
            service: service.clone(),
            arrived: self.arrivals,
            waits_since: self.now,
            start_by: after(terms.start_within),
            end_by: after(terms.timeout),
            attempts: 0,
            live: None,
            returned: false,
            parts_sent: false,
            again,
            taken,
            loose,
            overtaken: BTreeMap::new(),
        };
        self.asks.insert(key, ask);
    }

    /// A stranger asks what nobody can tell apart.
    fn lose_track_of(&mut self, peer: &PeerId) {
        self.odd.insert(peer.clone());
        self.asks.retain(|key, _| !matches!(key, Key::Plain(of, _) if of == peer));
    }

    fn worker_said(&mut self, peer: &PeerId, version: Version, command: &worker::ToBroker<Body>) {
        self.parted.remove(peer);
        let now = self.now;
        if let worker::ToBroker::Ready { offer, .. } = command {
            self.offer = Some(offer.clone());
        }
        let known = self.workers.get_mut(peer);
        // In a version that is not its own a worker can say nothing right.
        let right = known.as_ref().is_none_or(|worker| worker.version == version);
        if let worker::ToBroker::Disconnect { .. } = command
            && right
        {
            self.parted.insert(peer.clone());
        }
        let Some(worker) = known else { return };
        worker.heard = now;
        if !right {
            return;
        }
        match command {
            worker::ToBroker::Partial { client, .. } if worker.tasks.contains(client) => {
                self.answering = Some((peer.clone(), client.clone()));
            }
            worker::ToBroker::Final { client, .. } | worker::ToBroker::Error { client, .. }
                if worker.tasks.contains(client) =>
            {
                self.answering = Some((peer.clone(), client.clone()));
                worker.tasks.retain(|task| task != client);
            }
            worker::ToBroker::Drain => worker.draining = true,
            _ => {}
        }
    }

    /// Before the engine looks at the time.
    pub fn begin(&mut self, now: Instant) {
        self.now = now;
        (self.arriving, self.answering, self.cancelling) = (None, None, None);
        self.workers.values_mut().for_each(|worker| worker.new.clear());
    }

    /// After the engine was told: what it wants done, in order.
    pub fn action(&mut self, action: &Action<Body>, engine: &Engine<Body>) {
        match action {
            Action::ToClient { caller, command, .. } => self.client_told(caller, command),
            Action::ToWorker { worker, command, .. } => self.worker_told(worker, command),
            Action::Note(note) => self.note(note, engine),
            Action::Stopped => {
                must!(self.workers.is_empty(), "stops when nobody is left", "{:?}", self.workers);
            }
        }
    }

    fn client_told(&mut self, caller: &Caller<Body>, command: &client::FromBroker<Body>) {
        let (answered, body, is_last, code) = match command {
            client::FromBroker::Heartbeat { .. } => return,
            client::FromBroker::Partial { request, body } => (request.clone(), body, false, None),
            client::FromBroker::Final { request, body } => (request.clone(), body, true, None),
            client::FromBroker::Error { id, reason, details } => {
                self.error(*id, reason.code);
                (Answered::Id(*id), details, true, Some(reason.code))
            }
        };
        let word = body.frames().first().and_then(|frame| Word::read(frame));
        let key = match (&answered, word) {
            (Answered::Id(id), _) => Some(Key::Id(*id)),
            (Answered::Service(_), Some(Word::Reply { call, .. })) => {
                Some(Key::Plain(caller.peer.clone(), call))
            }
            (Answered::Service(_), _) if self.odd.contains(&caller.peer) => None,
            (Answered::Service(service), _) => self.plain(&caller.peer, service),
        };
        let Some(key) = key.filter(|key| self.asks.contains_key(key)) else {
            let asked = self.questions > 0 || self.odd.contains(&caller.peer);
            must!(asked, "answers only what was asked", "{caller:?} {command:?}");
            self.questions = self.questions.saturating_sub(1);
            return;
        };
        let Some(ask) = self.asks.get_mut(&key) else { return };
        let told = self.drop.as_ref();
        if is_last && told.is_some_and(|of| of.client == ask.caller && of.service == ask.service) {
            self.drop = None;
        }
        must!(ask.wanted, "answers only who wants it", "c{} {command:?}", ask.call);
        must!(ask.caller == caller.peer, "answers who asked last", "c{} {command:?}", ask.call);
        if let Some(Word::Reply { call, .. }) = word {
            must!(call == ask.call, "a reply goes to who asked", "c{} gets c{call}", ask.call);
        }
        let of_worker = match command {
            client::FromBroker::Error { reason, .. } => !code::BROKERS_OWN.contains(&reason.code),
            _ => matches!(word, Some(Word::Reply { .. })),
        };
        if of_worker {
            // It comes from whoever has the task; or it came before, and is repeated.
            let answers = ask.live.is_some() && self.answering == ask.live;
            let repeated = ask.again && self.arriving.as_ref() == Some(&key);
            must!(
                answers || repeated,
                "answers only what its worker answers",
                "c{} {command:?}",
                ask.call
            );
        }
        if let Some(ended) = ask.taken {
            let same = is_last && code.is_some() && (ended.is_none() || ended == code);
            must!(same, "what still runs ends in the same way again", "{ended:?} {command:?}");
        }
        must!(word != Some(Word::Forged), "answers only what its worker answers", "{command:?}");
        if is_last {
            self.ended(&key, code);
        } else {
            ask.parts_sent = true;
        }
    }

    /// A request ends.
    fn ended(&mut self, key: &Key, code: Option<u16>) {
        let Some(ask) = self.asks.remove(key) else { return };
        if let Key::Id(id) = key
            && ask.attempts > 0
        {
            self.ran.insert(*id, code);
        }
    }

    /// The request of an old client that its service tells.
    fn plain(&self, peer: &PeerId, service: &ServiceName) -> Option<Key> {
        let mut asks = self.asks.iter();
        let of = |key: &Key| matches!(key, Key::Plain(of, _) if of == peer);
        asks.find(|(key, ask)| of(key) && ask.service == *service).map(|(key, _)| key.clone())
    }

    /// What the codes say is true.
    fn error(&self, id: RequestId, code: u16) {
        let Some(ask) = self.asks.get(&Key::Id(id)) else { return };
        if ask.again || ask.loose {
            return;
        }
        let now = self.now;
        let passed = |limit: Option<Instant>| limit.is_some_and(|limit| limit <= now);
        let did_not_run = [code::NO_WORKER, code::NOT_STARTED, code::BUSY, code::STOPPING];
        let lied = did_not_run.contains(&code) && ask.attempts > 0;
        must!(!lied, "no code says of what ran that it did not", "c{} {code}", ask.call);
        let expired = ask.waits_since + self.settings.request_expiry <= now;
        let unserved = || {
            let mut workers = self.workers.values();
            !workers.any(|worker| worker.service == ask.service && !worker.draining)
        };
        let right = match code {
            code::NO_WORKER => expired || unserved(),
            code::NOT_STARTED => passed(ask.start_by) || passed(ask.end_by),
            code::TIMED_OUT => passed(ask.end_by),
            code::STOPPING => self.stopping,
            _ => true,
        };
        must!(right, "deadlines hold to the tick", "c{} is answered {code} too early", ask.call);
    }

    fn worker_told(&mut self, peer: &PeerId, command: &worker::FromBroker<Body>) {
        self.settle_drop();
        let now = self.now;
        must!(!self.parted.contains(peer), "nothing follows DISCONNECT", "{peer} gets {command:?}");
        if let worker::FromBroker::Disconnect { .. } = command {
            self.parted.insert(peer.clone());
            let known = self.workers.contains_key(peer);
            must!(!known, "DISCONNECT ends a registration", "{peer} is still registered");
            return;
        }
        let worker = self.workers.get_mut(peer);
        let Some(worker) = worker else {
            must!(false, "commands go to workers", "{peer} gets {command:?}");
            return;
        };
        worker.told = now;
        match command {
            worker::FromBroker::Request { client, task, body } => {
                worker.new.push(client.clone());
                self.dispatched(peer, client, task.timeout, task.attempt, body);
            }
            worker::FromBroker::Welcome(agreement) => {
                worker.interval = agreement.heartbeat;
                worker.silence = agreement.heartbeat * agreement.liveness.into();
            }
            worker::FromBroker::Cancel { client } => {
                let holds = worker.tasks.contains(client);
                must!(holds, "CANCEL goes to who has the task", "{peer} {client}");
            }
            worker::FromBroker::Heartbeat | worker::FromBroker::Disconnect { .. } => {}
        }
    }

    fn dispatched(
        &mut self,
        peer: &PeerId,
        task: &ClientAddress,
        timeout: Option<Duration>,
        attempt: u8,
        body: &Body,
    ) {
        must!(!self.stopping, "stopping hands nothing out", "{peer} gets {task}");
        let Some(noted) = self.dispatch.take() else {
            must!(false, "every dispatch is noted", "{task}");
            return;
        };
        must!(noted.0 == *task && noted.1 == *peer, "every dispatch is noted", "{noted:?} {task}");
        let Some(worker) = self.workers.get_mut(peer) else { return };
        must!(
            worker.is_free(),
            "a worker has at most its capacity",
            "{peer} gets {task}: {worker:?}"
        );
        worker.tasks.push(task.clone());
        let Some(call) = Word::asked(body) else { return };
        let now = self.now;
        let known = self.tasks.get(task).cloned();
        let by_call = || {
            let mut asks = self.asks.iter();
            let fits = |ask: &Ask| ask.call == call && ask.live.is_none() && ask.caller == noted.3;
            asks.find(|(_, ask)| fits(ask)).map(|(key, _)| key.clone())
        };
        let Some(key) = known.or_else(by_call).filter(|key| self.asks.contains_key(key)) else {
            if self.odd.contains(&noted.3) {
                return;
            }
            let once = self.tasks.contains_key(task);
            must!(!once, "nothing is answered and then dispatched", "c{call} as {task}");
            must!(false, "dispatches only what was asked", "c{call} as {task}");
            return;
        };
        let waits = |ask: &Ask| ask.live.is_none() && !ask.returned;
        let arriving = self.arriving.as_ref() == Some(&key);
        let Some(ask) = self.asks.get_mut(&key) else { return };
        must!(ask.call == call, "a task id is one request's", "{task} is c{}, c{call}", ask.call);
        must!(ask.live.is_none(), "a request has one worker", "c{call}: {:?}, {peer}", ask.live);
        must!(!(ask.once && ask.attempts > 0), "once is dispatched once", "c{call}");
        must!(!(ask.parts_sent && ask.wanted), "no second run after a part", "c{call}");
        must!(ask.taken.is_none(), "an id is with one worker", "c{call} as {task}");
        must!(
            !(ask.again && self.remembers),
            "nothing is answered and then dispatched",
            "c{call} as {task}"
        );
        if ask.loose {
            ask.attempts = noted.2 - 1;
        }
        ask.attempts += 1;
        let attempts = (ask.attempts, noted.2, u32::from(attempt));
        must!(
            attempts.0 == noted.2 && attempts.1 == attempts.2,
            "attempts count",
            "c{call} {attempts:?}"
        );
        must!(
            ask.attempts <= self.settings.attempts_max,
            "attempts_max holds",
            "c{call} {attempts:?}"
        );
        let passed = ask.start_by.filter(|_| ask.attempts == 1).into_iter().chain(ask.end_by);
        let late = passed.min().is_some_and(|limit| limit <= now);
        must!(!late || ask.loose, "nothing starts after its deadline", "c{call}");
        let left = ask.end_by.map(|end| end - now);
        must!(
            timeout == left || ask.loose,
            "a worker learns what time is left",
            "c{call} {timeout:?} {left:?}"
        );
        let (service, turn, arrived, in_turn) =
            (ask.service.clone(), ask.turn.clone(), ask.arrived, waits(ask) && !arriving);
        ask.live = Some((peer.clone(), task.clone()));
        (ask.returned, ask.loose) = (false, false);
        self.tasks.insert(task.clone(), key.clone());
        if in_turn {
            self.take_turn(&service, &turn, arrived);
        }
    }

    /// A waiting request of `turn` was handed out.
    fn take_turn(&mut self, service: &ServiceName, turn: &PeerId, arrived: u64) {
        for ask in self.asks.values_mut() {
            // Only strangers have an identity of their own; what they ask again, and with
            // other terms, has no order that can be told from here.
            let named = ask.turn.as_bytes().len() != 5;
            let unknown = ask.loose || named || self.odd.contains(&ask.turn);
            if ask.live.is_some() || unknown || ask.service != *service {
                continue;
            }
            let call = ask.call;
            must!(!ask.returned, "what was returned is before all turns", "c{call} is passed over");
            if ask.turn == *turn {
                must!(ask.arrived > arrived, "within a client, first come first served", "c{call}");
                // Its client had a turn: counting begins anew.
                ask.overtaken.clear();
            } else {
                let turns = ask.overtaken.entry(turn.clone()).or_insert(0);
                *turns += 1;
                must!(*turns <= 1, "clients take turns", "c{call} is overtaken twice by {turn}");
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
                        capacity: offer.capacity.into(),
                        draining: false,
                        tasks: Vec::new(),
                        interval,
                        silence: interval * liveness,
                        heard: self.now,
                        told: self.now,
                        new: Vec::new(),
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
            | Note::ReplyUnsent { .. } => {}
        }
    }

    fn worker_gone(&mut self, peer: &PeerId, reason: Gone, requests: usize) {
        let Some(worker) = self.workers.remove(peer) else {
            must!(false, "only who is registered goes", "{peer} {reason:?}");
            return;
        };
        let (held, now) = (worker.tasks.len(), self.now);
        must!(held == requests, "a lost worker gives back all it had", "{held}, noted {requests}");
        if reason == Gone::Silent {
            let since = self.resumed.map_or(worker.heard, |resumed| resumed.max(worker.heard));
            let silent = since + worker.silence <= now;
            must!(silent, "who is heard is not silent", "{peer} was heard {:?} ago", now - since);
        }
        for task in &worker.new {
            // It went in the same moment, before anything was sent.
            self.not_handed_out(peer, task);
        }
        for task in &worker.tasks {
            if let Some(ask) = self.tasks.get(task).and_then(|key| self.asks.get_mut(key))
                && ask.live.as_ref().is_some_and(|(_, live)| live == task)
            {
                ask.live = None;
                ask.returned = true;
                ask.waits_since = now;
            }
        }
    }

    /// A request ended for the reason given. Whoever can be told is told next; the others
    /// are known by what else there is.
    fn dropped(&mut self, drop: &Drop) {
        let named = drop.task.as_ref().and_then(|task| self.tasks.get(task)).cloned();
        if drop.task.is_none() && self.arriving.is_none() {
            // A stranger's, that cannot be read.
            return;
        }
        let new = || self.arriving.clone().filter(|_| drop.task.is_none());
        let cancelled = || self.cancelling.take().filter(|_| drop.reason == Dropped::Cancelled);
        if let Some(key) = named.or_else(new).or_else(cancelled) {
            if self.asks.get(&key).is_some_and(|ask| self.is_mute(&key, ask)) {
                self.ended(&key, None);
            }
            return;
        }
        let asks = self.asks.iter().filter(|(key, ask)| {
            let fits = ask.caller == drop.client && ask.service == drop.service;
            fits && ask.live.is_none() && self.is_mute(key, ask)
        });
        let keys: Vec<_> = asks.map(|(key, _)| key.clone()).collect();
        match &keys[..] {
            [key] if !self.odd.contains(&drop.client) => self.ended(key, None),
            // It is one of these, and from now on nothing is expected of any.
            keys => keys.iter().for_each(|key| {
                if let Some(ask) = self.asks.get_mut(key) {
                    ask.loose = true;
                }
            }),
        }
    }

    /// Whether nobody is told how this request ends.
    fn is_mute(&self, key: &Key, ask: &Ask) -> bool {
        !ask.wanted || (matches!(key, Key::Plain(..)) && !self.settings.error_replies)
    }

    fn settle_drop(&mut self) {
        if let Some(drop) = self.drop.take() {
            self.dropped(&drop);
        }
    }

    /// When a request that waits has waited for too long.
    fn waits_until(&self, ask: &Ask) -> Instant {
        let expiry = ask.waits_since + self.settings.request_expiry;
        [ask.start_by, ask.end_by].into_iter().flatten().fold(expiry, Instant::min)
    }

    /// A limit turns away only who would exceed it.
    fn check_limit(&self, reason: Dropped, service: &ServiceName, engine: &Engine<Body>) {
        let report = engine.report();
        let of = |service: &ServiceName| {
            report.services.iter().find(|known| known.name == service.as_str())
        };
        let (found, max) = match reason {
            Dropped::RequestsMax => {
                let requests = report.services.iter().map(|of| of.waiting + of.running);
                (requests.sum::<u64>(), self.settings.requests_max)
            }
            Dropped::RequestsPerServiceMax => {
                (of(service).map_or(0, |of| of.waiting), self.settings.requests_per_service_max)
            }
            Dropped::ServicesMax => (report.services.len() as u64, self.settings.services_max),
            Dropped::ClientsMax => (report.clients, self.settings.clients_max),
            _ => return,
        };
        must!(
            found >= max as u64,
            "a limit turns away only above it",
            "{reason:?}: {found} of {max}"
        );
    }

    /// What must hold after every event.
    pub fn check(&mut self) {
        self.settle_drop();
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
            let since = self.resumed.map_or(worker.heard, |resumed| resumed.max(worker.heard));
            let lost = since + worker.silence;
            // Who was given time until all had been read is looked at a tick later.
            let tick = now + Duration::from_nanos(1);
            let soon = due.is_some_and(|due| due <= tick);
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
