//! The engine under any list of events.
//!
//! After each event its own invariants hold, and what it wants done agrees with the
//! account of what peers have asked and are owed (`account`). When everybody falls silent
//! it comes to rest: nobody registered, nothing due, every request of MDP/1.0 answered;
//! and told to stop it stops, once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Unstructured};
use majordomo_broker::engine::{
    Action, Caller, Engine, Event, Grant, Identity, Limits, Question, Rights, ServiceSet,
};
use majordomo_protocol::{
    ClientAddress, Offer, PeerId, Reason, RequestId, ServiceName, Version, client, worker,
};

use crate::Target;
use crate::account::{Account, NOBODY, Part, Parts};
use crate::connections::{PER_KEY_MAX, identity};
use crate::story::{Answer, Step, Story};

/// The engine.
pub const TARGET: Target = Target { name: "engine", run, show };

/// The last is the broker's own.
const SERVICES: [&str; 5] = ["a", "b", "c", "d", "mmi.service"];

/// More than all peers, each as a worker with the greatest liveness, have to be told
/// before the last of them is lost.
const TIMEOUTS_MAX: usize = 20_000;

const PEERS: u8 = 6;

fn run(data: &[u8]) {
    let Ok(story) = Story::arbitrary(&mut Unstructured::new(data)) else { return };
    let mut life = Life::new(&story);
    for step in story.steps {
        life.step(step);
    }
    life.come_to_rest();
}

fn show(data: &[u8]) -> String {
    let Ok(story) = Story::arbitrary(&mut Unstructured::new(data)) else { return String::new() };
    let steps = story.steps.iter().enumerate().map(|(at, step)| format!("{at}: {step:?}\n"));
    format!("{:?}\n{}", story.settings, steps.collect::<String>())
}

struct Life {
    engine: Engine<Parts>,
    now: Instant,
    account: Account,
    /// Of each peer, as it said last as a worker.
    versions: [Version; PEERS as usize],
}

impl Life {
    fn new(story: &Story) -> Self {
        let now = any_instant();
        let mut life = Life {
            engine: Engine::new(story.settings.clone(), now),
            now,
            account: Account::new(story.settings.attempts_max),
            versions: [Version::V1_0; PEERS as usize],
        };
        life.tell(Event::Rights(Arc::new(rights())));
        for number in 0..PEERS {
            life.tell(Event::Connected { peer: peer(number) });
        }
        life
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Pass(span) => self.pass(span),
            Step::Sleep(span) => self.now += span,
            Step::Behind(span) => {
                let heard_until = self.now;
                self.now += span;
                self.engine.handle_timeout(self.now, heard_until);
                self.look();
            }
            step => {
                if let Some(event) = self.event(step) {
                    self.tell(event);
                }
            }
        }
    }

    fn tell(&mut self, event: Event<Parts>) {
        self.account.hear(&event);
        self.engine.handle_from(sender(&event), event, self.now);
        self.look();
    }

    /// What happens, if the step makes sense now.
    fn event(&mut self, step: Step) -> Option<Event<Parts>> {
        let name = |service: u8| ServiceName::new(SERVICES[usize::from(service)]).ok();
        Some(match step {
            Step::Request { client, version, id, service, terms, envelope, bytes } => {
                let is_1_0 = version >= Version::V1_0;
                let body = self.account.new_request(bytes);
                let command = client::ToBroker::Request {
                    id: is_1_0.then(|| request_id(id)),
                    service: name(service)?,
                    terms: if is_1_0 { terms } else { Default::default() },
                    body,
                };
                let envelope = (envelope && version == Version::V0_1)
                    .then(|| Box::new(Parts(vec![Part { request: NOBODY, bytes: 4 }])));
                Event::FromClient { caller: caller(client, version, envelope), command }
            }
            Step::Cancel { client, id } => {
                let command = client::ToBroker::Cancel { id: request_id(id) };
                Event::FromClient { caller: caller(client, Version::V1_0, None), command }
            }
            Step::ClientHeartbeat { client } => {
                let command = client::ToBroker::Heartbeat;
                Event::FromClient { caller: caller(client, Version::V1_0, None), command }
            }
            Step::Question { client, version, service } => {
                let id = (version >= Version::V1_0).then(|| request_id(u8::MAX));
                let caller = Caller { id, ..caller(client, version, None) };
                let (asked, question) = match service {
                    Some(service) => ("mmi.service", Question::Service(name(service))),
                    None => ("mmi.broker", Question::Broker),
                };
                let service = ServiceName::new(asked).ok()?;
                Event::Question { caller, service, question, no_reply: false }
            }
            Step::Ready { worker, version, service, offer } => {
                let offer = if version >= Version::V1_0 { offer } else { Offer::default() };
                self.versions[usize::from(worker)] = version;
                let command = worker::ToBroker::Ready { service: name(service)?, offer };
                Event::FromWorker { worker: peer(worker), version, command }
            }
            Step::Answer { task, answer, bytes } => {
                let (worker, client, request) = self.account.running(task)?;
                let part = Parts(vec![Part { request, bytes }]);
                self.said_by_worker(worker, say(answer, client, part))
            }
            Step::WrongAnswer { worker, task, answer } => {
                let made_up = ClientAddress::new(&[9; 8]);
                let client = task.map_or(Some(made_up), |task| self.account.handed_out(task))?;
                let owner = self.account.holder(&client).filter(|owner| *owner == peer(worker));
                let request =
                    if owner.is_some() { self.account.request_of(&client)? } else { NOBODY };
                let part = Parts(vec![Part { request, bytes: 1 }]);
                self.said_by_worker(peer(worker), say(answer, client, part))
            }
            Step::WorkerHeartbeat { worker } => {
                self.said_by_worker(peer(worker), worker::ToBroker::Heartbeat)
            }
            Step::Drain { worker } => self.said_by_worker(peer(worker), worker::ToBroker::Drain),
            Step::Disconnect { worker } => {
                let command = worker::ToBroker::Disconnect { reason: Reason::default() };
                self.said_by_worker(peer(worker), command)
            }
            Step::Invalid { peer: number, fault } => Event::Invalid { peer: peer(number), fault },
            Step::WorkerUnreachable { worker } => {
                // It never had what it was told last.
                let requests = Vec::from_iter(self.account.last_told(&peer(worker)));
                Event::WorkerUnreachable { worker: peer(worker), requests }
            }
            Step::ClientUnreachable { client } => {
                Event::ClientUnreachable { client: peer(client), answers: 1, parts: Vec::new() }
            }
            Step::Connects { peer: number } => {
                let peer = Some(peer(number)).filter(|peer| !self.account.is_connected(peer))?;
                Event::Connected { peer }
            }
            Step::ConnectionEnds { peer: number } => {
                let peer = Some(peer(number)).filter(|peer| self.account.is_connected(peer))?;
                Event::Disconnected { peer }
            }
            Step::Stop => Event::Stop,
            Step::StopNow => Event::StopNow,
            Step::Pass(_) | Step::Sleep(_) | Step::Behind(_) => return None,
        })
    }

    fn said_by_worker(&self, worker: PeerId, command: worker::ToBroker<Parts>) -> Event<Parts> {
        let number = worker.as_bytes().first().copied().unwrap_or_default();
        let version = self.versions.get(usize::from(number)).copied().unwrap_or(Version::V1_0);
        Event::FromWorker { worker, version, command }
    }

    /// Lets time pass; the engine is driven when it asks to be.
    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(due) = self.engine.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.timeout();
        }
        self.now = end;
        self.timeout();
    }

    fn timeout(&mut self) {
        self.engine.handle_timeout(self.now, self.now);
        let due = self.engine.poll_timeout();
        assert!(due.is_none_or(|due| due > self.now), "it asks to be driven again at once");
        self.look();
    }

    /// Whatever has happened: it is sound, and all that it wants done is right.
    fn look(&mut self) {
        self.engine.check_invariants();
        while let Some(action) = self.engine.poll_action() {
            // As the server does: a worker that has gone since is not sent the request.
            let is_request = |command| matches!(command, &worker::FromBroker::Request { .. });
            let is_too_late = matches!(&action, Action::ToWorker { worker, command, .. }
                if is_request(command) && !self.engine.is_reachable(worker));
            if !is_too_late {
                self.account.follow(action);
            }
        }
        self.engine.sent();
        self.account.end_event(|worker| self.engine.is_registered(worker));
    }

    fn come_to_rest(&mut self) {
        let mut timeouts = 0;
        while let Some(due) = self.engine.poll_timeout() {
            self.now = self.now.max(due);
            self.timeout();
            timeouts += 1;
            assert!(timeouts <= TIMEOUTS_MAX, "it never comes to rest");
        }
        self.account.check_rest(self.engine.counters());
        let stopped = self.engine.is_stopping();
        assert_eq!(self.account.stopped(), u32::from(stopped));
        for event in [Event::Stop, Event::StopNow, Event::Stop] {
            self.tell(event);
        }
        assert_eq!(self.account.stopped(), 1);
    }
}

fn peer(number: u8) -> PeerId {
    PeerId::new(&[number])
}

/// Whoever has the key may do everything, as the others, but have few connections.
fn rights() -> Rights {
    let all = ServiceSet::new(["*"]).expect("every service");
    let name = "key".into();
    let grant = Grant { name, client: all.clone(), worker: all, operator: true };
    let limits = Limits { connections_max: PER_KEY_MAX, ..Limits::default() };
    Rights::new([(identity(&peer(PEERS - 1)), Arc::new(grant))], limits)
}

/// On whose connection an event came.
fn sender(event: &Event<Parts>) -> Identity {
    match event {
        Event::FromClient { caller, .. } | Event::Question { caller, .. } => identity(&caller.peer),
        Event::FromWorker { worker: peer, .. }
        | Event::Invalid { peer, .. }
        | Event::Connected { peer }
        | Event::Disconnected { peer } => identity(peer),
        _ => Identity::OPEN,
    }
}

fn caller(client: u8, version: Version, envelope: Option<Box<Parts>>) -> Caller<Parts> {
    Caller { peer: peer(client), version, envelope, id: None }
}

fn request_id(number: u8) -> RequestId {
    RequestId::new([number; 16])
}

fn say(answer: Answer, client: ClientAddress, body: Parts) -> worker::ToBroker<Parts> {
    match answer {
        Answer::Partial => worker::ToBroker::Partial { client, body },
        Answer::Final => worker::ToBroker::Final { client, body },
        Answer::Error(code) => {
            let reason = Reason { code, text: "no".to_owned() };
            worker::ToBroker::Error { client, reason, details: body }
        }
    }
}

/// Some instant: there is no other way to come by one, and no life depends on which.
#[expect(clippy::disallowed_methods, reason = "an Instant cannot be made from a number")]
fn any_instant() -> Instant {
    Instant::now()
}
