//! The pure half of a connection: what one place says to one broker, and when.
//!
//! A place is one DEALER socket that registers for one service and holds at most
//! one request, which is all that MDP/0.1 and MDP/0.2 allow. [`Dialog`] decides,
//! the I/O thread moves bytes. It opens no socket, reads no clock and logs
//! nothing: time comes with every call and randomness is seeded, so that two equal
//! histories give equal actions, and hours of heartbeats are tried in a
//! millisecond. Versions differ in frames only and are unknown here.
//!
//! Call [`handle`](Dialog::handle) for every event and
//! [`handle_timeout`](Dialog::handle_timeout) once
//! [`poll_timeout`](Dialog::poll_timeout) has come; after each of them carry out
//! what [`poll_action`](Dialog::poll_action) gives until it gives nothing.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use majordomo_protocol::{Body, ServiceName, worker::ToBroker};
//! use majordomo_worker::dialog::{Action, Dialog, Timing};
//!
//! let now = Instant::now();
//! let mut dialog = Dialog::new(ServiceName::new("echo")?, Timing::default(), 7, now);
//! dialog.handle_timeout(now);
//! assert_eq!(dialog.poll_action(), Some(Action::Open));
//! let ready = ToBroker::Ready { service: ServiceName::new("echo")? };
//! assert_eq!(dialog.poll_action(), Some(Action::Send(ready)));
//! assert_eq!(dialog.poll_timeout(), Some(now + Duration::from_millis(2500)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use majordomo_protocol::worker::{FromBroker, ToBroker};
use majordomo_protocol::{Body, ClientAddress, ServiceName};

/// How often a connection beats, how long it waits, how fast it comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A HEARTBEAT leaves after this long without any other command. The broker
    /// must be set to the same. Default: 2.5 s.
    pub heartbeat_interval: Duration,
    /// The broker is taken for lost after this many intervals of silence. The RFCs
    /// ask for 3 to 5. Default: 3.
    pub heartbeat_liveness: u32,
    /// The longest wait before the first attempt to come back. Default: 100 ms.
    pub reconnect_min: Duration,
    /// The longest wait before any attempt: every one that fails doubles the wait
    /// up to here. Default: 32 s.
    pub reconnect_max: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            heartbeat_interval: Duration::from_millis(2500),
            heartbeat_liveness: 3,
            reconnect_min: Duration::from_millis(100),
            reconnect_max: Duration::from_secs(32),
        }
    }
}

impl Timing {
    /// The silence after which a broker is taken for lost.
    pub fn expiry(&self) -> Duration {
        self.heartbeat_interval.saturating_mul(self.heartbeat_liveness)
    }
}

/// What happens to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The broker said something.
    Message(FromBroker<Body>),
    /// The broker sent what no broker may send.
    Invalid,
    /// The socket could not be opened, or failed.
    Refused,
    /// The handler has a part of the reply.
    Partial(Body),
    /// The handler has the reply, or its last part.
    Final(Body),
    /// The request that runs was never begun and never will be.
    Unstarted,
    /// The process was not running for a while: a silence proves nothing.
    Suspended,
    /// Finish what runs, then leave.
    Drain,
    /// Leave now.
    Stop,
}

/// What the I/O half must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Open a new socket and connect it. There is none at this moment.
    Open,
    /// Send this on the open socket.
    Send(ToBroker<Body>),
    /// Give this request to the service's handler.
    Run {
        /// Who asked: goes back with the reply, unchanged.
        client: ClientAddress,
        /// What is asked.
        body: Body,
    },
    /// Drop this request's answer: the broker that wanted it is lost.
    Late {
        /// Who asked.
        client: ClientAddress,
    },
    /// Close the socket, if there is one.
    Close(CloseReason),
}

/// Why a socket is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// Nothing was heard for interval times liveness.
    Silent,
    /// The broker sent DISCONNECT.
    Disconnected,
    /// The broker sent a message that is no command.
    Invalid,
    /// The broker sent a request while one was running.
    Unexpected,
    /// The socket could not be opened, or failed.
    Refused,
    /// The worker leaves: what was sent before, DISCONNECT included, must still
    /// go out.
    Stopped,
}

impl CloseReason {
    /// The reason in words, for a log line.
    pub fn as_str(self) -> &'static str {
        match self {
            CloseReason::Silent => "broker silent",
            CloseReason::Disconnected => "broker sent DISCONNECT",
            CloseReason::Invalid => "broker sent an invalid message",
            CloseReason::Unexpected => "broker sent a second request to a busy place",
            CloseReason::Refused => "socket failed",
            CloseReason::Stopped => "worker stops",
        }
    }

    /// Whether what was sent on the socket should still go out.
    pub fn flushes(self) -> bool {
        matches!(self, CloseReason::Stopped | CloseReason::Invalid | CloseReason::Unexpected)
    }
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// No socket. The next one is opened at `until`, or when the request that
    /// still runs has ended, whichever is later.
    Away { until: Instant },
    /// READY was sent.
    Registered {
        opened: Instant,
        /// When the broker last said anything, or was excused.
        heard: Instant,
        /// When the next HEARTBEAT is due.
        beat: Instant,
        /// Set by a suspension, cleared by the next message: silence is excused
        /// once, or a loop that is always late would never miss a dead broker.
        excused: bool,
    },
    /// The worker left. Nothing follows.
    Closed,
}

/// One place's side of MDP/Worker with one broker. See the [module](self).
#[derive(Debug)]
pub struct Dialog {
    service: ServiceName,
    timing: Timing,
    random: fastrand::Rng,
    state: State,
    /// Whose request runs. Set by REQUEST, cleared when its handler has ended: it
    /// outlives the connection it came by, and while it does there is no new one.
    running: Option<ClientAddress>,
    draining: bool,
    /// Connections lost since a broker was last heard for a whole expiry.
    losses: u32,
    actions: VecDeque<Action>,
}

impl Dialog {
    /// A dialog that wants its first socket at `now`. `seed` sets the jitter of
    /// its back-off.
    pub fn new(service: ServiceName, timing: Timing, seed: u64, now: Instant) -> Self {
        Dialog {
            service,
            timing,
            random: fastrand::Rng::with_seed(seed),
            state: State::Away { until: now },
            running: None,
            draining: false,
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
            Event::Partial(body) => {
                if let (State::Registered { .. }, Some(client)) = (self.state, &self.running) {
                    let client = client.clone();
                    self.send(ToBroker::Partial { client, body }, now);
                }
            }
            Event::Final(body) => {
                if let Some(client) = self.running.take() {
                    match self.state {
                        State::Registered { .. } => {
                            self.send(ToBroker::Final { client, body }, now);
                        }
                        _ => self.actions.push_back(Action::Late { client }),
                    }
                    self.leave_if_drained(now);
                }
            }
            Event::Unstarted => {
                self.running = None;
                match self.state {
                    // Nobody serves here any more. DISCONNECT gives the request
                    // back to the broker, which has other workers.
                    State::Registered { .. } => self.leave(now),
                    _ => self.leave_if_drained(now),
                }
            }
            Event::Suspended => {
                if let State::Registered { heard, excused, .. } = &mut self.state
                    && !*excused
                {
                    *heard = now;
                    *excused = true;
                }
            }
            Event::Drain => {
                self.draining = true;
                self.leave_if_drained(now);
            }
            Event::Stop => self.leave(now),
        }
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.state {
            State::Away { until } if until <= now && self.running.is_none() => {
                self.actions.push_back(Action::Open);
                self.state =
                    State::Registered { opened: now, heard: now, beat: now, excused: false };
                self.send(ToBroker::Ready { service: self.service.clone() }, now);
            }
            State::Registered { heard, .. } if heard + self.timing.expiry() <= now => {
                self.lose(CloseReason::Silent, now);
            }
            State::Registered { beat, .. } if beat <= now => self.send(ToBroker::Heartbeat, now),
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
            State::Away { until } => self.running.is_none().then_some(until),
            State::Registered { heard, beat, .. } => Some(beat.min(heard + self.timing.expiry())),
            State::Closed => None,
        }
    }

    /// Whether the worker has left for good.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    fn handle_message(&mut self, message: FromBroker<Body>, now: Instant) {
        let State::Registered { opened, heard, excused, .. } = &mut self.state else {
            return;
        };
        *heard = now;
        *excused = false;
        if *opened + self.timing.expiry() <= now {
            self.losses = 0;
        }
        match message {
            FromBroker::Heartbeat => {}
            FromBroker::Disconnect => self.lose(CloseReason::Disconnected, now),
            FromBroker::Request { .. } if self.running.is_some() => {
                self.lose(CloseReason::Unexpected, now);
            }
            FromBroker::Request { client, body } => {
                self.running = Some(client.clone());
                self.actions.push_back(Action::Run { client, body });
            }
        }
    }

    /// Any command counts as a heartbeat, so each puts off the next one.
    fn send(&mut self, command: ToBroker<Body>, now: Instant) {
        if let State::Registered { beat, .. } = &mut self.state {
            *beat = now + self.timing.heartbeat_interval;
            self.actions.push_back(Action::Send(command));
        }
    }

    fn lose(&mut self, reason: CloseReason, now: Instant) {
        if !matches!(self.state, State::Registered { .. }) {
            return;
        }
        if reason.flushes() {
            // So that the broker hands on at once what this place holds.
            self.send(ToBroker::Disconnect, now);
        }
        self.actions.push_back(Action::Close(reason));
        self.state = State::Away { until: now + self.back_off() };
        self.leave_if_drained(now);
    }

    /// Doubles with every loss, up to the limit; half of it is chance, or all
    /// places of all workers would come back at the same moment.
    fn back_off(&mut self) -> Duration {
        let factor = 1 << self.losses.min(30);
        self.losses = self.losses.saturating_add(1);
        let longest =
            self.timing.reconnect_min.saturating_mul(factor).min(self.timing.reconnect_max);
        longest.mul_f64(0.5 + self.random.f64() / 2.0)
    }

    fn leave_if_drained(&mut self, now: Instant) {
        if self.draining && self.running.is_none() {
            self.leave(now);
        }
    }

    fn leave(&mut self, now: Instant) {
        self.send(ToBroker::Disconnect, now);
        if let State::Registered { .. } = self.state {
            self.actions.push_back(Action::Close(CloseReason::Stopped));
        }
        self.state = State::Closed;
    }
}
