//! The pure half of a connection: what a worker says to one broker, and when.
//!
//! A connection is one DEALER socket that registers for one service and runs at
//! most `capacity` requests. MDP/0.1 and MDP/0.2 allow one; what a broker sends ahead
//! of its reply waits here. [`Dialog`] decides, the I/O thread moves bytes. It opens no
//! socket, reads no clock and logs nothing: time comes with every call and randomness
//! is seeded, so that two equal histories give equal actions, and hours of heartbeats
//! are tried in a millisecond. One dialog serves all versions: they differ in frames,
//! in how many requests run or wait, and in what is said at the beginning and at the
//! end.
//!
//! Call [`handle`](Dialog::handle) for every event and
//! [`handle_timeout`](Dialog::handle_timeout) once
//! [`poll_timeout`](Dialog::poll_timeout) has come; after each of them carry out
//! what [`poll_action`](Dialog::poll_action) gives until it gives nothing.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use majordomo_protocol::{Offer, ServiceName, Version, worker::ToBroker};
//! use majordomo_worker::dialog::{Action, Dialog, Registration, Timing};
//!
//! let now = Instant::now();
//! let service = ServiceName::new("echo")?;
//! let registration = Registration::new(service.clone(), Version::V0_2);
//! let mut dialog = Dialog::new(registration, Timing::default(), 7, now);
//! dialog.handle_timeout(now);
//! assert_eq!(dialog.poll_action(), Some(Action::Open));
//! let ready = ToBroker::Ready { service, offer: Offer::default() };
//! assert_eq!(dialog.poll_action(), Some(Action::Send(ready)));
//! assert_eq!(dialog.poll_timeout(), Some(now + Duration::from_millis(2500)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod running;
mod step;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use majordomo_protocol::worker::{FromBroker, ToBroker};
use majordomo_protocol::{Agreement, Body, ClientAddress, Reason, Task, Version};

use running::Running;
pub use step::{Action, CloseReason, Event, Registration, Timing};

/// Unanswered requests of one connection of MDP/0.1 or MDP/0.2, the one that runs and
/// those that wait behind it: the most that Majordomo's `prefetch` can be.
const UNANSWERED_MAX: usize = 64;

#[derive(Clone, Copy, Debug)]
enum State {
    /// No socket. The next one is opened at `until`, or when a place is free,
    /// whichever is later.
    Away { until: Instant },
    /// READY was sent.
    Registered {
        opened: Instant,
        /// When the broker last said anything, or was excused.
        heard: Instant,
        /// When the broker was last told anything.
        told: Instant,
        /// Set by a suspension, cleared by the next message: silence is excused
        /// once, or a loop that is always late would never miss a dead broker.
        excused: bool,
        /// What was asked for, until WELCOME says what holds.
        terms: Timing,
        /// The broker has said something.
        answered: bool,
    },
    /// The worker left. Nothing follows.
    Closed,
}

/// A worker's side of MDP/Worker on one connection. See the [module](self).
#[derive(Debug)]
pub struct Dialog {
    registration: Registration,
    timing: Timing,
    random: fastrand::Rng,
    state: State,
    /// Whose requests run that came by the open socket: put in by REQUEST, taken out
    /// by the answer. An address means nothing beyond its socket.
    running: Running,
    /// Requests that came before there was a place for them, in order (MDP/0.1 and
    /// MDP/0.2). They wait as they would in the socket, were it not read for heartbeats:
    /// so they take no place, and their addresses may be equal.
    ahead: VecDeque<(ClientAddress, Task, Body)>,
    /// Requests that came by the open socket to a worker that drains and has no place
    /// for them. They are not begun; the DISCONNECT that follows gives them back.
    declined: usize,
    /// Requests of lost sockets that still have their place.
    former: usize,
    draining: bool,
    /// A request that came will not be begun.
    gives_back: bool,
    /// Connections lost since a broker was last heard for a whole expiry.
    losses: u32,
    actions: VecDeque<Action>,
}

impl Dialog {
    /// A dialog that wants its first socket at `now`. `seed` sets the jitter of
    /// its back-off.
    pub fn new(registration: Registration, timing: Timing, seed: u64, now: Instant) -> Self {
        Dialog {
            registration,
            timing,
            random: fastrand::Rng::with_seed(seed),
            state: State::Away { until: now },
            running: Running::default(),
            ahead: VecDeque::new(),
            declined: 0,
            former: 0,
            draining: false,
            gives_back: false,
            losses: 0,
            actions: VecDeque::new(),
        }
    }

    /// Takes note of `event`.
    pub fn handle(&mut self, event: Event, now: Instant) {
        match event {
            Event::Message(message) => self.handle_message(message, now),
            Event::Invalid => self.lose(CloseReason::Invalid, now),
            Event::Refused => self.lose(CloseReason::Refused, now),
            Event::Partial { client, body } => {
                if self.running.contains(&client) {
                    self.send(ToBroker::Partial { client, body }, now);
                }
            }
            Event::Final { client, body } => {
                if self.running.remove(&client) {
                    self.send(ToBroker::Final { client, body }, now);
                    self.go_on(now);
                }
            }
            Event::Error { client, reason, details } => {
                if self.running.remove(&client) {
                    self.send(ToBroker::Error { client, reason, details }, now);
                    self.go_on(now);
                }
            }
            Event::Unstarted { client } => {
                if self.running.remove(&client) {
                    // Nobody serves here any more. DISCONNECT gives the request back
                    // to the broker, which has other workers; when the rest has been
                    // answered, or it would be given back too.
                    self.gives_back = true;
                    self.drain(now);
                }
            }
            Event::Freed => self.former = self.former.saturating_sub(1),
            Event::Suspended => {
                if let State::Registered { heard, excused, .. } = &mut self.state
                    && !*excused
                {
                    *heard = now;
                    *excused = true;
                }
            }
            Event::Drain => self.drain(now),
            Event::Stop => self.leave(now),
        }
    }

    /// A REQUEST came: whether it has its place, and is to be run now. Otherwise
    /// [`handle`](Dialog::handle) takes note of it.
    ///
    /// For somebody who would only move it into the dialog and out again.
    pub fn begin(&mut self, client: &ClientAddress, now: Instant) -> bool {
        self.hear(now)
            && self.running.len() < usize::from(self.registration.capacity)
            && self.running.insert(client)
    }

    /// A request has its one answer: whether that is to be sent. It is to leave before what
    /// [`poll_action`](Dialog::poll_action) gives afterwards, and there may be nothing that
    /// it has given before and that was not done.
    ///
    /// As [`Event::Final`] or [`Event::Error`], for somebody who has the answer where it
    /// leaves.
    pub fn finish(&mut self, client: &ClientAddress, now: Instant) -> bool {
        let is_wanted = self.running.remove(client);
        if is_wanted {
            self.say(now);
            self.go_on(now);
        }
        is_wanted
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.state {
            State::Away { until } if until <= now && self.has_place() => {
                self.actions.push_back(Action::Open);
                self.state = State::Registered {
                    opened: now,
                    heard: now,
                    told: now,
                    excused: false,
                    terms: self.timing,
                    answered: false,
                };
                self.send(self.registration.ready(&self.timing), now);
            }
            State::Registered { heard, told, terms, answered, .. } => {
                if heard + self.patience(terms, answered) <= now {
                    if self.draining && !answered {
                        self.leave(now);
                    } else {
                        self.lose(CloseReason::Silent, now);
                    }
                } else if told + terms.heartbeat_interval <= now {
                    self.send(ToBroker::Heartbeat, now);
                }
            }
            _ => {}
        }
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Dialog::handle_timeout`] must be called; never, when it says nothing.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Away { until } => self.has_place().then_some(until),
            State::Registered { heard, told, terms, answered, .. } => {
                let silent = heard + self.patience(terms, answered);
                Some(silent.min(told + terms.heartbeat_interval))
            }
            State::Closed => None,
        }
    }

    /// Requests that have a place: those that came by the open socket, were begun and
    /// not answered, and those of sockets before it whose end was not told.
    pub fn requests(&self) -> usize {
        self.running.len() + self.former
    }

    /// Whether the worker has left for good.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Whether a handler could begin, for all that go on after their socket was lost.
    fn has_place(&self) -> bool {
        self.former < usize::from(self.registration.capacity)
    }

    /// The silence that ends a connection. Who leaves does not wait as long for a
    /// broker that perhaps never was there.
    fn patience(&self, terms: Timing, answered: bool) -> Duration {
        if self.draining && !answered { terms.heartbeat_interval } else { terms.expiry() }
    }

    /// The broker has said something. Whether anybody listens.
    fn hear(&mut self, now: Instant) -> bool {
        let State::Registered { opened, heard, excused, terms, answered, .. } = &mut self.state
        else {
            return false;
        };
        *heard = now;
        *answered = true;
        *excused = false;
        if self.losses > 0 && *opened + terms.expiry() <= now {
            self.losses = 0;
        }
        true
    }

    fn handle_message(&mut self, message: FromBroker<Body>, now: Instant) {
        if !self.hear(now) {
            return;
        }
        match message {
            FromBroker::Heartbeat => {}
            FromBroker::Welcome(Agreement { heartbeat, liveness, .. }) => {
                if let State::Registered { terms, .. } = &mut self.state {
                    terms.heartbeat_interval = heartbeat;
                    terms.heartbeat_liveness = u32::from(liveness).max(1);
                }
            }
            FromBroker::Disconnect { .. } if self.draining && self.running.is_empty() => {
                self.close(CloseReason::Stopped, State::Closed);
            }
            FromBroker::Disconnect { .. } => self.lose(CloseReason::Disconnected, now),
            FromBroker::Cancel { client } => {
                // One that does not run was answered while its CANCEL was on its way.
                if self.running.contains(&client) {
                    self.actions.push_back(Action::Cancel { client });
                }
            }
            FromBroker::Request { client, task, body } => {
                let capacity = usize::from(self.registration.capacity);
                if self.running.len() < capacity {
                    self.run(client, task, body, now);
                } else if self.unanswered() >= self.unanswered_max() {
                    self.lose(CloseReason::Unexpected, now);
                } else if self.draining {
                    self.declined += 1;
                } else {
                    self.ahead.push_back((client, task, body));
                }
            }
        }
    }

    /// Requests of the open socket that the broker waits for.
    fn unanswered(&self) -> usize {
        self.running.len() + self.ahead.len() + self.declined
    }

    fn unanswered_max(&self) -> usize {
        match self.registration.version {
            Version::V0_1 | Version::V0_2 => UNANSWERED_MAX,
            Version::V1_0 => usize::from(self.registration.capacity),
        }
    }

    /// A request has its place.
    fn run(&mut self, client: ClientAddress, task: Task, body: Body, now: Instant) {
        if self.running.insert(&client) {
            self.actions.push_back(Action::Run { client, task, body });
        } else {
            self.lose(CloseReason::Unexpected, now);
        }
    }

    /// A request has its answer, and the next one its place.
    fn go_on(&mut self, now: Instant) {
        if let Some((client, task, body)) = self.ahead.pop_front() {
            self.run(client, task, body, now);
        }
        self.leave_if_done(now);
    }

    fn send(&mut self, command: ToBroker<Body>, now: Instant) {
        if self.say(now) {
            self.actions.push_back(Action::Send(command));
        }
    }

    /// Any command counts as a heartbeat, so each puts off the next one. Whether there is
    /// anybody to be told it.
    fn say(&mut self, now: Instant) -> bool {
        let State::Registered { told, .. } = &mut self.state else { return false };
        *told = now;
        true
    }

    fn lose(&mut self, reason: CloseReason, now: Instant) {
        if !matches!(self.state, State::Registered { .. }) {
            return;
        }
        if reason.flushes() {
            // So that the broker hands on at once what this worker holds.
            let reason = Reason { code: 0, text: reason.as_str().to_owned() };
            self.send(ToBroker::Disconnect { reason }, now);
        }
        let until = now + self.back_off();
        self.close(reason, State::Away { until });
        self.leave_if_done(now);
    }

    /// The socket goes, and with it whoever waits for what runs. The handlers do not.
    /// What was not begun never is: the broker hands it to others.
    fn close(&mut self, reason: CloseReason, next: State) {
        self.former += self.running.len();
        self.running.clear();
        let requests = self.ahead.len() + std::mem::take(&mut self.declined);
        self.ahead.clear();
        if requests > 0 {
            self.actions.push_back(Action::GiveBack { requests });
        }
        self.actions.push_back(Action::Close(reason));
        self.state = next;
    }

    /// Doubles with every loss, up to the limit; half of it is chance, or all
    /// workers would come back at the same moment.
    fn back_off(&mut self) -> Duration {
        let factor = 1 << self.losses.min(30);
        self.losses = self.losses.saturating_add(1);
        let longest =
            self.timing.reconnect_min.saturating_mul(factor).min(self.timing.reconnect_max);
        longest.mul_f64(0.5 + self.random.f64() / 2.0)
    }

    fn drain(&mut self, now: Instant) {
        if !self.draining {
            self.draining = true;
            if self.registration.version == Version::V1_0 {
                self.send(ToBroker::Drain, now);
            }
        }
        self.leave_if_done(now);
    }

    fn leave_if_done(&mut self, now: Instant) {
        if !self.draining {
            return;
        }
        // A broker of MDP/1.0 answers DRAIN by DISCONNECT once nothing can be on its way
        // here; but not while it waits for an answer that will not come.
        let is_let_go = self.registration.version == Version::V1_0 && !self.gives_back;
        match self.state {
            State::Away { .. } => self.state = State::Closed,
            State::Registered { .. } if self.running.is_empty() && !is_let_go => self.leave(now),
            _ => {}
        }
    }

    fn leave(&mut self, now: Instant) {
        if let State::Registered { .. } = self.state {
            let reason = Reason { code: 0, text: CloseReason::Stopped.as_str().to_owned() };
            self.send(ToBroker::Disconnect { reason }, now);
            self.close(CloseReason::Stopped, State::Closed);
        }
        self.state = State::Closed;
    }
}
