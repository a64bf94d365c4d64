//! A broker: the engine, and around it what the server does, without a socket. One turn
//! is one round of the server's loop: read, feed, look at the time, send.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use majordomo_broker::engine::{
    Action, Caller, Engine, Event, Fault, Gone, Note, Question, Settings,
};
use majordomo_protocol::{
    Batch, Body, ClientAddress, Frames, Inexpressible, Message, PeerId, Version, client, worker,
};

use crate::ledger::Ledger;
use crate::must;
use crate::nature::Nature;
use crate::net::Came;
use crate::words;

/// A message is not added to beyond so many records; small, so that it happens.
const BATCH_RECORDS_MAX: usize = 6;
/// So often at most it has to look at the time until all answers are forgotten.
const TURNS_TO_FORGET: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recipient {
    Client,
    Worker,
}

struct Parcel {
    peer: PeerId,
    recipient: Recipient,
    batch: Batch<Vec<u8>>,
    /// To a client: how many answers are in it.
    answers: u64,
    /// The task ids of the PARTIALs to a client, of the REQUESTs to a worker.
    tasks: Vec<ClientAddress>,
}

/// The process that is there while a broker is up.
struct Running {
    engine: Engine<Body>,
    ledger: Ledger,
    /// What the engine wants done, and is not done yet.
    actions: VecDeque<Action<Body>>,
    outbox: Vec<Parcel>,
    caught_up_at: Instant,
    /// When workers turned out to be unreachable that are not lost yet.
    refused_at: BTreeMap<PeerId, Instant>,
    stopped: bool,
}

/// One place where a broker is, most of the time.
pub struct Broker {
    /// Its number.
    pub index: usize,
    /// It does not run before this moment.
    pub frozen_until: Option<Instant>,
    /// When it is started again, while it is down.
    pub starts_at: Option<Instant>,
    settings: Settings,
    running: Option<Running>,
    /// Every task id that was given out, by any process.
    pub task_ids: Vec<ClientAddress>,
    /// Up to this size a body stands in the batch.
    inline_bytes_max: usize,
    /// Messages that are read in one turn.
    drain_max: usize,
    began: u64,
}

impl Broker {
    /// One that is down, and starts at `now`.
    pub fn new(
        index: usize,
        settings: Settings,
        inline_bytes_max: usize,
        drain_max: usize,
        now: Instant,
    ) -> Self {
        Broker {
            index,
            frozen_until: None,
            starts_at: Some(now),
            settings,
            running: None,
            task_ids: Vec::new(),
            inline_bytes_max,
            drain_max,
            began: 0,
        }
    }

    /// Whether its process is there.
    pub fn is_up(&self) -> bool {
        self.running.is_some()
    }

    /// Whether it is there and takes what comes.
    pub fn is_serving(&self) -> bool {
        self.running.as_ref().is_some_and(|running| !running.engine.is_stopping())
    }

    /// When it has something to do.
    pub fn due(&self, nature: &Nature) -> Option<Instant> {
        let due = match &self.running {
            None => self.starts_at,
            // It was told to stop between two turns.
            Some(running) if running.stopped || !running.outbox.is_empty() => Some(nature.now),
            Some(running) => {
                let timeout = running.engine.poll_timeout();
                timeout.into_iter().chain(nature.net.broker_due(self.index)).min()
            }
        };
        due.map(|due| self.frozen_until.map_or(due, |until| until.max(due)))
    }

    /// When its engine wants to look at the time.
    pub fn timeout(&self) -> Option<Instant> {
        self.running.as_ref().and_then(|running| running.engine.poll_timeout())
    }

    /// A task of this worker, or any that ever was.
    pub fn tasks_of(&self, peer: &PeerId) -> &[ClientAddress] {
        self.running.as_ref().map_or(&[], |running| running.ledger.tasks_of(peer))
    }

    /// The call that a task is of.
    pub fn call_of(&self, task: &ClientAddress) -> Option<words::CallId> {
        self.running.as_ref()?.ledger.call_of(task)
    }

    /// One round.
    pub fn turn(&mut self, nature: &mut Nature) {
        let now = nature.now;
        let Some(mut running) = self.running.take() else {
            return self.start(nature);
        };
        let caught_up = running.read(self, nature);
        if caught_up {
            running.caught_up_at = now;
        }
        let surely = now.checked_sub(self.settings.heartbeat_interval);
        let heard_until =
            surely.map_or(running.caught_up_at, |surely| surely.max(running.caught_up_at));
        running.engine.handle_timeout(now, heard_until);
        running.ledger.begin(now);
        running.take_actions();
        running.check_lost(self.index, nature);
        // A request that is given back below may be past its time: the next turn, which
        // follows at once, ends it.
        running.ledger.check_time(heard_until, running.engine.poll_timeout());
        running.act(self, nature);
        running.send_outbox(self, nature);
        if !running.stopped {
            self.running = Some(running);
        } else {
            nature.tell(|| format!("b{} has stopped", self.index));
            nature.net.broker_ends(self.index, true, now, &mut nature.rng);
            self.starts_at = Some(now + nature.up_to(Duration::from_millis(3_000)));
        }
    }

    fn start(&mut self, nature: &mut Nature) {
        let now = nature.now;
        self.starts_at = None;
        self.began += 1;
        let instance = nature.rng.u64(..);
        nature.tell(|| format!("b{} starts, instance {instance:016x}", self.index));
        let settings = Settings { instance, ..self.settings.clone() };
        self.running = Some(Running {
            engine: Engine::new(settings.clone(), now),
            ledger: Ledger::new(settings, nature.book.remembers, now),
            actions: VecDeque::new(),
            outbox: Vec::new(),
            caught_up_at: now,
            refused_at: BTreeMap::new(),
            stopped: false,
        });
    }

    /// It is killed.
    pub fn crash(&mut self, nature: &mut Nature) {
        if self.running.take().is_some() {
            nature.tell(|| format!("b{} is killed", self.index));
            nature.net.broker_ends(self.index, false, nature.now, &mut nature.rng);
            self.starts_at = Some(nature.now + nature.up_to(Duration::from_millis(5_000)));
            self.frozen_until = None;
        }
    }

    /// It is told to stop.
    pub fn stop(&mut self, at_once: bool, nature: &mut Nature) {
        if let Some(mut running) = self.running.take() {
            nature.tell(|| {
                format!("b{} is told to stop{}", self.index, if at_once { " now" } else { "" })
            });
            let event = if at_once { Event::StopNow } else { Event::Stop };
            running.feed(event, nature.now);
            running.act(self, nature);
            self.running = Some(running);
        }
    }

    /// Everybody has left: nothing may be left of them but answers, which only time takes.
    pub fn check_empty(&mut self) {
        let Some(running) = &mut self.running else { return };
        let report = running.engine.report();
        let tables = (report.services.len(), report.workers.len(), report.clients, report.bytes);
        must!(tables == (0, 0, 0, 0), "every table empties", "{report:?}");
        for _ in 0..TURNS_TO_FORGET {
            let Some(due) = running.engine.poll_timeout() else { break };
            running.engine.handle_timeout(due, due);
            let action = running.engine.poll_action();
            must!(action.is_none(), "who has left is left alone", "{action:?}");
        }
        let left = (running.engine.poll_timeout(), running.engine.footprint());
        must!(left == (None, 0), "every table empties", "deadline, bytes: {left:?}");
        let open = running.ledger.open();
        must!(open == 0, "every request ends", "{:?}", running.ledger);
    }

    /// Nothing went wrong in this world, so nobody was given up or spoke out of turn.
    pub fn check_calm(&self) {
        let Some(running) = &self.running else { return };
        let it = running.engine.counters();
        let lost = it.workers_silent + it.workers_connection_ended + it.workers_unreachable;
        let lost = (lost, it.replies_unsent);
        must!(lost == (0, 0), "without faults nobody is given up", "{it:?}");
        let wrong = (it.replies_unexpected, it.messages_malformed);
        must!(wrong == (0, 0), "without faults nobody says anything wrong", "{it:?}");
    }

    /// A report of it, for whoever looks at a failure.
    pub fn describe(&self) -> String {
        self.running.as_ref().map_or("down".to_owned(), |it| format!("{:?}", it.engine.report()))
    }
}

impl Running {
    /// Tells the ledger, then the engine, and takes what it wants done.
    fn feed(&mut self, event: Event<Body>, now: Instant) {
        self.ledger.event(&event, now);
        self.engine.handle(event, now);
        self.take_actions();
    }

    fn take_actions(&mut self) {
        self.engine.check_invariants();
        while let Some(action) = self.engine.poll_action() {
            self.ledger.action(&action, &self.engine);
            self.actions.push_back(action);
        }
        self.ledger.check();
    }

    /// Time alone takes no unreachable worker of which something is unread.
    fn check_lost(&self, broker: usize, nature: &Nature) {
        for action in &self.actions {
            if let Action::Note(Note::WorkerGone { worker, reason: Gone::Unreachable, .. }) = action
                && let Some(at) = self.refused_at.get(worker)
            {
                let unread = nature.net.has_unread(broker, worker, *at);
                must!(!unread, "what came is read before anyone is lost", "{worker}");
            }
        }
    }

    /// Reads what came, in an order of chance between connections. True when nothing is
    /// left.
    fn read(&mut self, broker: &mut Broker, nature: &mut Nature) -> bool {
        let now = nature.now;
        for _ in 0..broker.drain_max {
            let readable = nature.net.readable(broker.index, now);
            let Some(link) = nature.rng.choice(readable) else { return true };
            let Some((peer, came)) = nature.net.receive_up(link, now) else { return false };
            let frames = match came {
                Came::Message(frames) => frames,
                Came::End => {
                    nature.tell(|| format!("b{} <- {peer}: its end", broker.index));
                    self.feed(Event::Disconnected { peer }, now);
                    self.act(broker, nature);
                    continue;
                }
            };
            for message in Message::decode(Frames::new(frames)) {
                let event = match message {
                    Ok(message) => event(&peer, message),
                    Err(_) => Event::Invalid { peer: peer.clone(), fault: Fault::Malformed },
                };
                nature.tell(|| format!("b{} <- {peer}: {}", broker.index, describe(&event)));
                self.feed(event, now);
                self.act(broker, nature);
            }
        }
        false
    }

    /// Does all that the engine wants done. What is for peers of MDP/1.0 is in the outbox
    /// then, but for what filled a message.
    fn act(&mut self, broker: &mut Broker, nature: &mut Nature) {
        while let Some(action) = self.actions.pop_front() {
            match action {
                Action::ToClient { caller, command, part_of } => {
                    self.tell_client(caller, command, part_of, broker, nature);
                }
                Action::ToWorker { worker, version, command } => {
                    self.tell_worker(worker, version, command, broker, nature);
                }
                Action::Note(note) => {
                    nature.tell(|| format!("b{}    {note:?}", broker.index));
                    if let Note::WorkerGone { worker, .. } = &note {
                        self.refused_at.remove(worker);
                        let is_for =
                            |it: &Parcel| it.peer == *worker && it.recipient == Recipient::Worker;
                        self.outbox.retain(|parcel| !is_for(parcel));
                    }
                }
                // No connection here has an identity.
                Action::Close { .. } => {}
                Action::Stopped => self.stopped = true,
            }
        }
    }

    /// Sends all that is in the outbox, and what follows from that.
    fn send_outbox(&mut self, broker: &mut Broker, nature: &mut Nature) {
        while !self.outbox.is_empty() {
            self.engine.sent();
            self.ledger.sent();
            for parcel in std::mem::take(&mut self.outbox) {
                self.send_parcel(parcel, broker, nature);
            }
            self.act(broker, nature);
        }
    }

    fn tell_client(
        &mut self,
        caller: Caller<Body>,
        command: client::FromBroker<Body>,
        part_of: Option<ClientAddress>,
        broker: &mut Broker,
        nature: &mut Nature,
    ) {
        let Caller { peer, version, envelope, .. } = caller;
        nature.tell(|| format!("b{} -> {peer}: {}", broker.index, words::to_client(&command)));
        if version >= Version::V1_0 {
            let is_answer = !matches!(command, client::FromBroker::Heartbeat { .. });
            let full = self.pack(peer, Recipient::Client, broker, |parcel| {
                parcel.answers += u64::from(is_answer);
                parcel.tasks.extend(part_of);
                command.write(&mut parcel.batch)
            });
            return full.into_iter().for_each(|it| self.send_parcel(it, broker, nature));
        }
        let envelope = envelope.map_or_else(Vec::new, |envelope| envelope.into_frames());
        let frames = command.encode(version, envelope);
        let frames = expressible(frames);
        let net = &mut nature.net;
        if net.send_down(broker.index, &peer, frames, nature.now, &mut nature.rng).is_err() {
            nature.tell(|| format!("b{} cannot reach {peer}", broker.index));
            let parts = Vec::from_iter(part_of);
            let event = Event::ClientUnreachable { client: peer, answers: 1, parts };
            self.feed(event, nature.now);
        }
    }

    fn tell_worker(
        &mut self,
        peer: PeerId,
        version: Version,
        command: worker::FromBroker<Body>,
        broker: &mut Broker,
        nature: &mut Nature,
    ) {
        let request = task_of(&command);
        if let Some(task) = &request {
            if !self.engine.is_reachable(&peer) {
                return;
            }
            broker.task_ids.push(task.clone());
        }
        nature.tell(|| format!("b{} -> {peer}: {}", broker.index, words::to_worker(&command)));
        if version >= Version::V1_0 {
            let full = self.pack(peer, Recipient::Worker, broker, |parcel| {
                parcel.tasks.extend(request);
                command.write(&mut parcel.batch)
            });
            full.iter().for_each(|parcel| self.sent_to(&parcel.peer));
            return full.into_iter().for_each(|it| self.send_parcel(it, broker, nature));
        }
        if let worker::FromBroker::Cancel { .. } = command {
            must!(false, "an old worker gets no CANCEL", "{peer}");
        }
        let frames = expressible(command.encode(version));
        self.sent_to(&peer);
        let net = &mut nature.net;
        if net.send_down(broker.index, &peer, frames, nature.now, &mut nature.rng).is_err() {
            nature.tell(|| format!("b{} cannot reach {peer}", broker.index));
            self.worker_unreachable(peer, Vec::from_iter(request), nature);
        }
    }

    fn sent_to(&mut self, worker: &PeerId) {
        self.engine.sent_to(worker);
        self.ledger.sent_to(worker);
    }

    /// The server takes actions from its engine one by one, so for that engine a REQUEST
    /// that is not done yet was not handed out. Here all are taken at once, for the
    /// ledger to tell which event they are of; so the engine is told of these as well.
    fn worker_unreachable(
        &mut self,
        worker: PeerId,
        mut requests: Vec<ClientAddress>,
        nature: &Nature,
    ) {
        let of_it = self.actions.iter().filter_map(|action| match action {
            Action::ToWorker { worker: of, command, .. } if *of == worker => task_of(command),
            _ => None,
        });
        requests.extend(of_it);
        if self.engine.is_registered(&worker) {
            self.refused_at.entry(worker.clone()).or_insert(nature.now);
        }
        self.feed(Event::WorkerUnreachable { worker, requests }, nature.now);
    }

    /// Puts a command into the message for a peer, and gives that if it is full.
    fn pack(
        &mut self,
        peer: PeerId,
        recipient: Recipient,
        broker: &Broker,
        write: impl FnOnce(&mut Parcel) -> Result<(), Inexpressible>,
    ) -> Option<Parcel> {
        let of = |parcel: &Parcel| parcel.peer == peer && parcel.recipient == recipient;
        let at = self.outbox.iter().position(of).unwrap_or_else(|| {
            let batch = match recipient {
                Recipient::Client => Batch::of_client(broker.inline_bytes_max),
                Recipient::Worker => Batch::of_worker(broker.inline_bytes_max),
            };
            let (peer, tasks) = (peer.clone(), Vec::new());
            self.outbox.push(Parcel { peer, recipient, batch, answers: 0, tasks });
            self.outbox.len() - 1
        });
        let parcel = &mut self.outbox[at];
        expressible(write(parcel));
        (parcel.batch.records() >= BATCH_RECORDS_MAX).then(|| self.outbox.remove(at))
    }

    fn send_parcel(&mut self, parcel: Parcel, broker: &mut Broker, nature: &mut Nature) {
        let Parcel { peer, recipient, batch, answers, tasks } = parcel;
        let (net, frames) = (&mut nature.net, batch.into_frames());
        if net.send_down(broker.index, &peer, frames, nature.now, &mut nature.rng).is_ok() {
            return;
        }
        nature.tell(|| format!("b{} cannot reach {peer}", broker.index));
        match recipient {
            Recipient::Client => {
                let event = Event::ClientUnreachable { client: peer, answers, parts: tasks };
                self.feed(event, nature.now);
            }
            Recipient::Worker => self.worker_unreachable(peer, tasks, nature),
        }
    }
}

/// The task id of a REQUEST.
fn task_of(command: &worker::FromBroker<Body>) -> Option<ClientAddress> {
    match command {
        worker::FromBroker::Request { client, .. } => Some(client.clone()),
        _ => None,
    }
}

fn expressible<T>(written: Result<T, Inexpressible>) -> T {
    match written {
        Ok(written) => written,
        Err(error) => crate::nature::violated(
            "the engine says what a version can say",
            format_args!("{error}"),
        ),
    }
}

/// What a message means to the engine, as the server has it.
fn event(peer: &PeerId, message: Message<Vec<u8>>) -> Event<Body> {
    let peer = peer.clone();
    match message {
        Message::Worker { version, command } => {
            Event::FromWorker { worker: peer, version, command }
        }
        Message::Client { version, envelope, command } => {
            let envelope = (!envelope.is_empty()).then(|| Box::new(Body::from_frames(envelope)));
            let caller = Caller { peer, version, envelope, id: None };
            if let client::ToBroker::Request { id, service, terms, body } = &command
                && service.is_reserved()
            {
                let asked = body.frames().first().map_or(&[][..], |frame| frame);
                let question = Question::new(service, asked);
                let caller = Caller { id: *id, ..caller };
                let (service, no_reply) = (service.clone(), terms.no_reply);
                return Event::Question { caller, service, question, no_reply };
            }
            Event::FromClient { caller, command }
        }
    }
}

fn describe(event: &Event<Body>) -> String {
    match event {
        Event::FromClient { command, .. } => words::from_client(command),
        Event::FromWorker { command, .. } => words::from_worker(command),
        other => format!("{other:?}"),
    }
}
