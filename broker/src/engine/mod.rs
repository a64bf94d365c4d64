//! The engine decides everything a Majordomo broker decides: who gets a request,
//! who is alive, what is dropped. It moves no bytes: it has no socket, clock,
//! thread, randomness, log or file. Two equal histories give equal actions.
//!
//! Drive it so: tell it what happened ([`Engine::handle`]), and let it look at the time
//! when its deadline comes ([`Engine::poll_timeout`], [`Engine::handle_timeout`]). While it
//! does either it tells its [`Outlet`] what it wants done. By default that is a list: take
//! out what is in it, in order, until nothing is left ([`Engine::poll_action`]). Do that
//! before you tell it of what came next. What is for peers may be kept back for a while; say
//! when it is sent ([`Engine::sent`]).
//!
//! Two rules hold after every event: no request waits while a worker of its service
//! is idle, and every request that was accepted waits, runs or has ended with an
//! answer or a counted reason. [`Engine::check_invariants`] looks at both, and more.
//!
//! Work per event is constant or logarithmic in services, workers and requests, for
//! each request that it moves. More is read by `mmi.broker`, at most ten times a second; by
//! shutdown and new rights; when a key is cut off (all workers); and when a client's
//! connection is another key's from now on (all requests).

mod actions;
mod answers;
mod check;
mod clients;
mod connections;
mod dead;
mod deadline;
mod ending;
mod event;
mod free;
mod identities;
mod ids;
mod index;
mod list;
mod memory;
mod mmi;
mod outlet;
mod request;
mod requests;
mod rights;
mod service;
mod settings;
pub(crate) mod shrink;
mod shutdown;
mod table;
mod tasks;
mod waiting;
mod worker;
mod workers;

use std::sync::Arc;
use std::time::Instant;

use foldhash::HashSet;
use majordomo_protocol::client::ToBroker as ClientCommand;
use majordomo_protocol::worker::ToBroker as WorkerCommand;
use majordomo_protocol::{PeerId, Version};

pub use self::actions::Actions;
use self::clients::Clients;
use self::connections::Connections;
use self::dead::Dead;
use self::deadline::{Deadlines, Due};
pub use self::event::{
    Act, Action, Caller, Closed, Dropped, Event, Fault, Gone, Note, Payload, Question,
    RefusedWorker,
};
use self::identities::Identities;
use self::ids::Ids;
use self::index::Index;
pub use self::outlet::Outlet;
use self::request::{Answer, Request, RequestKey};
pub use self::rights::{Grant, Identity, InvalidServices, Limits, Rights, ServiceSet};
use self::service::Services;
pub use self::settings::{PREFETCH_MAX, Settings};
use self::shutdown::Shutdown;
use self::table::Table;
use self::waiting::Turns;
use self::worker::{Worker, WorkerKey};
use crate::stats::Counters;

/// The state of a broker, and its rules. See the [module](self).
#[derive(Debug)]
pub struct Engine<B, O = Actions<B>> {
    settings: Settings,
    started: Instant,
    /// The latest time it was told.
    now: Instant,
    /// When it was driven again after a time in which nobody drove it: no silence from
    /// before counts.
    resumed: Option<Instant>,
    shutdown: Shutdown,
    services: Services,
    workers: Table<WorkerKey, Worker>,
    worker_keys: Index<WorkerKey>,
    /// The worker that spoke last, if it is still there: mostly the next that speaks.
    last_worker: WorkerKey,
    requests: Table<RequestKey, Request<B>>,
    ids: Ids<B>,
    dead: Dead,
    clients: Clients,
    /// Clients whose connection is another's now: nothing of theirs is to be answered.
    displaced: HashSet<PeerId>,
    /// Who may do what; `None` where everybody may do everything.
    rights: Option<Arc<Rights>>,
    limits: Limits,
    identities: Identities,
    connections: Connections,
    /// Whose connection the event came on that is being handled.
    sender: Identity,
    turns: Turns,
    /// Bytes that all requests hold, and what workers say of themselves.
    bytes: usize,
    deadlines: Deadlines,
    counters: Counters,
    report: mmi::CachedReport<B>,
    outlet: O,
    /// How much of what it said has been sent, as far as it is for peers.
    actions_sent: u64,
}

impl<B: Payload> Engine<B> {
    /// An engine that knows nobody yet, and lists what it wants done.
    pub fn new(settings: Settings, now: Instant) -> Self {
        Engine::with_outlet(settings, now, Actions::default())
    }
}

impl<B: Payload, O: Outlet<B>> Engine<B, O> {
    /// An engine that knows nobody yet, and says here what it wants done.
    pub fn with_outlet(settings: Settings, now: Instant, outlet: O) -> Self {
        Engine {
            settings,
            started: now,
            now,
            resumed: None,
            shutdown: Shutdown::No,
            services: Services::default(),
            workers: Table::default(),
            worker_keys: Index::default(),
            last_worker: WorkerKey::default(),
            requests: Table::default(),
            ids: Ids::default(),
            dead: Dead::default(),
            clients: Clients::default(),
            displaced: HashSet::default(),
            rights: None,
            limits: Limits::default(),
            identities: Identities::default(),
            connections: Connections::default(),
            sender: Identity::OPEN,
            turns: Turns::default(),
            bytes: 0,
            deadlines: Deadlines::default(),
            counters: Counters::default(),
            report: mmi::CachedReport::default(),
            outlet,
            actions_sent: 0,
        }
    }

    /// Takes in what happened at `now`, which never lies before an earlier `now`, from
    /// somebody on an open endpoint or from no peer.
    #[inline]
    pub fn handle(&mut self, event: Event<B>, now: Instant) {
        self.handle_from(Identity::OPEN, event, now);
    }

    /// As [`Engine::handle`], from a peer on a connection of `identity`. What it may do
    /// goes by that alone.
    pub fn handle_from(&mut self, identity: Identity, event: Event<B>, now: Instant) {
        self.advance(now);
        self.sender = identity;
        match event {
            Event::FromClient { caller, command } => self.client_command(caller, command),
            Event::Question { caller, service, question, no_reply } => {
                self.question(caller, &service, question, Answer::of(no_reply));
            }
            Event::FromWorker { worker, version, command } => {
                self.worker_command(&worker, version, command);
            }
            Event::Invalid { peer, fault } => self.invalid(&peer, fault),
            Event::WorkerUnreachable { worker, requests } => {
                self.worker_unreachable(&worker, &requests);
            }
            Event::ClientUnreachable { client, answers, parts } => {
                self.client_unreachable(client, answers, &parts);
            }
            Event::Connected { peer } => self.connected(peer),
            Event::Disconnected { peer } => self.disconnected(&peer),
            Event::Rights(rights) => self.rights_changed(rights),
            Event::Unauthenticated { handshakes } => {
                self.counters.handshakes_refused += handshakes;
            }
            Event::Stop => self.stop(),
            Event::StopNow => self.finish_stopping(),
        }
        self.check_when_small();
    }

    /// As [`Engine::handle_from`] with [`Event::FromClient`], which would be moved once more.
    #[inline]
    pub fn handle_client(
        &mut self,
        identity: Identity,
        caller: Caller<B>,
        command: ClientCommand<B>,
        now: Instant,
    ) {
        self.advance(now);
        self.sender = identity;
        self.client_command(caller, command);
        self.check_when_small();
    }

    /// As [`Engine::handle_from`] with [`Event::FromWorker`], which would be moved once more.
    #[inline]
    pub fn handle_worker(
        &mut self,
        identity: Identity,
        worker: &PeerId,
        version: Version,
        command: WorkerCommand<B>,
        now: Instant,
    ) {
        self.advance(now);
        self.sender = identity;
        self.worker_command(worker, version, command);
        self.check_when_small();
    }

    /// Does what is due at `now`. `heard_until` is the latest moment of which it is
    /// certain that all messages that had come have been handled; mostly `now`.
    /// Nobody is declared silent for a time after it, or lost who was reachable until then.
    pub fn handle_timeout(&mut self, now: Instant, heard_until: Instant) {
        self.advance(now);
        while let Some(due) = self.deadlines.pop(now) {
            match due {
                Due::Request(key) => self.expire(key),
                Due::Worker(key) => self.attend(key, heard_until),
            }
        }
        self.close_leaving();
        if matches!(self.shutdown, Shutdown::Until(end) if end <= now) {
            self.finish_stopping();
        }
        self.check_when_small();
    }

    /// When to call [`Engine::handle_timeout`] next, if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let end = match self.shutdown {
            Shutdown::Until(end) => Some(end),
            Shutdown::No | Shutdown::Done => None,
        };
        let forget = self.ids.look_at(self.settings.answers_kept);
        let close = self.connections.poll_timeout();
        [self.deadlines.first(), end, forget, close].into_iter().flatten().min()
    }

    /// All that is done so far is sent now, and what cannot be is told as
    /// [unreachable](Event::WorkerUnreachable). Until this is called it may wait for more;
    /// a REQUEST that still does when its worker is lost is not to be sent, and was no
    /// attempt. Whoever never calls this tells that nothing is ever sent.
    pub fn sent(&mut self) {
        self.actions_sent = self.outlet.seen();
    }

    /// As [`Engine::sent`], of what is for this worker.
    pub fn sent_to(&mut self, worker: &PeerId) {
        self.sent_until(worker, self.outlet.seen());
    }

    /// As [`Engine::sent_to`], but only of what has a number below this.
    pub fn sent_until(&mut self, worker: &PeerId, number: u64) {
        if let Some(key) = self.worker_key(worker) {
            self.workers[key].sent = number;
        }
    }

    /// What it tells what it wants done.
    pub fn outlet(&self) -> &O {
        &self.outlet
    }

    /// As [`Engine::outlet`], to take that out.
    pub fn outlet_mut(&mut self) -> &mut O {
        &mut self.outlet
    }

    /// The worker that is registered on this connection.
    #[inline]
    fn worker_key(&self, peer: &PeerId) -> Option<WorkerKey> {
        self.worker_keys.find(peer, &self.workers)
    }

    /// Whether a worker is registered on this connection.
    pub fn is_registered(&self, worker: &PeerId) -> bool {
        self.worker_key(worker).is_some()
    }

    /// Whether a worker is registered on this connection, and all could be sent to it.
    pub fn is_reachable(&self, worker: &PeerId) -> bool {
        self.worker_key(worker).is_some_and(|key| self.workers[key].is_reachable())
    }

    /// Whether it was told to stop.
    pub fn is_stopping(&self) -> bool {
        self.shutdown != Shutdown::No
    }

    /// What has happened so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Mostly it is still the same moment: all that is read together comes at one.
    #[inline]
    fn advance(&mut self, now: Instant) {
        if now > self.now {
            self.time_passes(now);
        }
    }

    #[inline(never)]
    fn time_passes(&mut self, now: Instant) {
        let interval = self.settings.heartbeat_interval;
        if !self.workers.is_empty()
            && now.saturating_duration_since(self.now) > 2 * interval
            // With workers of longer intervals only, it asks for less.
            && self.poll_timeout().is_some_and(|due| now.saturating_duration_since(due) > interval)
        {
            self.resumed = Some(now);
            self.note(Note::Late);
        }
        self.now = now;
        self.ids.forget_before(now.checked_sub(self.settings.answers_kept), &self.requests);
    }

    fn note(&mut self, note: Note) {
        self.outlet.act(Action::Note(note));
    }
}
