//! A dialog under a virtual clock, and short words for what it says.

use std::time::{Duration, Instant};

use majordomo_protocol::worker::{FromBroker, ToBroker};
use majordomo_protocol::{Offer, Reason, Task};
use majordomo_worker::dialog::{Action, CloseReason, Dialog, Event, Registration, Timing};
use majordomo_worker::{Body, ClientAddress, ServiceName, Version};

pub(crate) const INTERVAL: Duration = Duration::from_millis(1000);
pub(crate) const TICK: Duration = Duration::from_nanos(1);
pub(crate) const TIMING: Timing = Timing {
    heartbeat_interval: INTERVAL,
    heartbeat_liveness: 3,
    reconnect_min: Duration::from_millis(100),
    reconnect_max: Duration::from_millis(3200),
};

/// A dialog and its clock, which moves only when told.
pub(crate) struct World {
    pub(crate) dialog: Dialog,
    pub(crate) now: Instant,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::seeded(1)
    }

    pub(crate) fn seeded(seed: u64) -> Self {
        Self::of(Registration::new(service(), Version::V0_2), seed)
    }

    pub(crate) fn of(registration: Registration, seed: u64) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the start of virtual time, whatever it is")]
        let now = Instant::now();
        World { dialog: Dialog::new(registration, TIMING, seed, now), now }
    }

    /// A dialog that has just sent READY.
    pub(crate) fn registered() -> Self {
        let mut world = Self::new();
        assert_eq!(world.timeout(), [Action::Open, ready()]);
        world
    }

    /// One that has also been given a request.
    pub(crate) fn busy() -> Self {
        let mut world = Self::registered();
        assert_eq!(world.request("c1"), [run("c1")]);
        world
    }

    pub(crate) fn handle(&mut self, event: Event) -> Vec<Action> {
        self.dialog.handle(event, self.now);
        self.actions()
    }

    pub(crate) fn message(&mut self, message: FromBroker<Body>) -> Vec<Action> {
        self.handle(Event::Message(message))
    }

    pub(crate) fn heartbeat(&mut self) {
        assert_eq!(self.message(FromBroker::Heartbeat), []);
    }

    pub(crate) fn request(&mut self, from: &str) -> Vec<Action> {
        let body = Body::from("do");
        self.message(FromBroker::Request { client: client(from), task: Task::default(), body })
    }

    pub(crate) fn timeout(&mut self) -> Vec<Action> {
        self.dialog.handle_timeout(self.now);
        self.actions()
    }

    pub(crate) fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.dialog.poll_action()).map(without_reason).collect()
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        self.now += by;
    }

    /// Lets time pass, stopping wherever the dialog asks to be called.
    pub(crate) fn pass(&mut self, span: Duration) -> Vec<(Duration, Action)> {
        let (start, end) = (self.now, self.now + span);
        let mut happened = Vec::new();
        while let Some(at) = self.dialog.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            let actions = self.timeout();
            assert!(self.dialog.poll_timeout().is_none_or(|next| next > self.now), "it spins");
            happened.extend(actions.into_iter().map(|action| (self.now - start, action)));
        }
        self.now = end;
        happened
    }

    /// How long until the dialog wants to be called.
    pub(crate) fn wait(&self) -> Duration {
        self.dialog.poll_timeout().expect("a timeout is set") - self.now
    }

    /// Loses a fresh connection to DISCONNECT, and gives the wait for the next one.
    pub(crate) fn rejected(&mut self) -> Duration {
        let lost = self.message(disconnect());
        assert_eq!(lost, [Action::Close(CloseReason::Disconnected)]);
        self.wait()
    }

    pub(crate) fn reopened(&mut self) {
        self.now = self.dialog.poll_timeout().expect("a timeout is set");
        assert_eq!(self.timeout(), [Action::Open, ready()]);
    }
}

pub(crate) fn service() -> ServiceName {
    ServiceName::new("echo").expect("a good name")
}

pub(crate) fn client(name: &str) -> ClientAddress {
    ClientAddress::new(name.as_bytes())
}

pub(crate) fn ready() -> Action {
    Action::Send(ToBroker::Ready { service: service(), offer: Offer::default() })
}

pub(crate) fn run(from: &str) -> Action {
    Action::Run { client: client(from), task: Task::default(), body: Body::from("do") }
}

pub(crate) fn partial(to: &str, text: &str) -> Action {
    Action::Send(ToBroker::Partial { client: client(to), body: Body::from(text) })
}

pub(crate) fn final_(to: &str, text: &str) -> Action {
    Action::Send(ToBroker::Final { client: client(to), body: Body::from(text) })
}

pub(crate) fn done(client_: &str) -> Event {
    Event::Final { client: client(client_), body: Body::from("done") }
}

pub(crate) fn part(client_: &str, text: &str) -> Event {
    Event::Partial { client: client(client_), body: Body::from(text) }
}

/// A DISCONNECT of the broker.
pub(crate) fn disconnect() -> FromBroker<Body> {
    FromBroker::Disconnect { reason: Reason::default() }
}

pub(crate) const HEARTBEAT: Action = Action::Send(ToBroker::Heartbeat);
/// A DISCONNECT of the worker, whatever it gives as the reason.
pub(crate) const DISCONNECT: Action =
    Action::Send(ToBroker::Disconnect { reason: Reason { code: 0, text: String::new() } });

/// Reasons are for people: they are not compared.
pub(crate) fn without_reason(action: Action) -> Action {
    match action {
        Action::Send(ToBroker::Disconnect { .. }) => DISCONNECT,
        other => other,
    }
}
