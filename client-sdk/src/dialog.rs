//! The pure half of a client: one request at a time, its tries, and its reply.
//!
//! A [`Dialog`] opens no socket, reads no clock and logs nothing. Whoever owns the
//! socket tells it what happened ([`Dialog::handle`]) or that time has passed
//! ([`Dialog::handle_timeout`]), does what it asks for ([`Dialog::poll_action`]),
//! and then waits for what it [wants](Dialog::want) until it is
//! [due](Dialog::poll_timeout). Two equal histories give equal actions: even the
//! randomness of its pauses comes from a seed.
//!
//! A try ends in one of four ways other than a reply, and in each the socket is
//! discarded, so that what comes late meets a closed socket (RFC 7 and 18 ask for
//! a new socket after a timeout):
//!
//! | a try failed because | it is followed |
//! |---|---|
//! | no connection came about | by a pause |
//! | the broker refused the key, the password or the mechanism | by a pause |
//! | no reply came in time | at once: the wait was the pause |
//! | the connection broke after the request was sent | by a pause |
//! | the peer violated the protocol | by a pause |
//!
//! Each try goes to the next endpoint; there is no pause before one that has not
//! been tried yet for this request. There is no other try once as many tries as there are
//! endpoints were refused so.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use majordomo_protocol::client::{Answered, FromBroker, ToBroker};
use majordomo_protocol::{Body, Frame, Frames, HandshakeFailure, ServiceName, Terms};

use crate::error::{Error, Violation};
pub use crate::event::{Action, Delivery, Event, FailedTry, Reply, Want};
pub use crate::settings::Settings;

/// One client's conversation with its brokers.
#[derive(Debug)]
pub struct Dialog {
    settings: Settings,
    /// The endpoint that worked last, which is tried first.
    preferred: usize,
    /// The endpoint of the open socket. Between requests it is open only after a
    /// success, and then to the preferred one.
    connected: Option<usize>,
    /// The request under way; none between requests.
    exchange: Option<Exchange>,
    actions: VecDeque<Action>,
    random: fastrand::Rng,
}

/// One request, until it ends.
#[derive(Debug)]
struct Exchange {
    service: ServiceName,
    frames: Vec<Vec<u8>>,
    delivery: Delivery,
    /// The try under way, counted from 1, and the endpoint it goes to.
    number: u32,
    endpoint: usize,
    state: State,
    /// When the try under way is over, whatever its state.
    try_ends: Instant,
    /// Whether any try has sent the request.
    sent: bool,
    /// What the last try that reached a broker came to, and where.
    reached: Option<(Failure, usize)>,
    /// How the handshake of this try failed so far.
    handshake: Option<HandshakeFailure>,
    /// Tries that no broker let in.
    unauthorized: usize,
    /// Frames of partial replies of this try, and their weight; [`Delivery::Joined`].
    joined: Vec<Vec<u8>>,
    weight: usize,
    /// Partial replies handed out; [`Delivery::Parts`].
    parts: u64,
    pauses: u32,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Waits for the connection to be complete. `kept` when the socket has
    /// served an earlier request.
    Connecting { until: Instant, kept: bool },
    /// Waits for the reply or its next part.
    Waiting { until: Instant },
    /// Waits to begin the next try; no socket is open.
    Pausing { until: Instant },
}

#[derive(Debug)]
enum Failure {
    Unreachable,
    Silent,
    Lost,
    Violation(Violation),
    Unauthorized(HandshakeFailure),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Unreachable => f.write_str("no connection"),
            Failure::Silent => f.write_str("no reply in time"),
            Failure::Lost => f.write_str("connection lost"),
            Failure::Violation(Violation::Undecodable(error)) => {
                write!(f, "the message is no reply: {error}")
            }
            Failure::Violation(violation) => violation.fmt(f),
            Failure::Unauthorized(failure) => failure.fmt(f),
        }
    }
}

/// Pauses double from the first to the last of these and are jittered down to
/// half: many clients of a broker that comes back do not arrive together.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What a frame after the first weighs beside its bytes: about what it costs to
/// hold, so that a limit in bytes also bounds empty frames.
const FRAME_WEIGHT: usize = 64;

impl Dialog {
    /// A dialog with no request under way. The seed decides the length of pauses.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] and [`Error::Endpoint`] for settings that cannot be.
    pub fn new(settings: Settings, seed: u64) -> Result<Self, Error> {
        Ok(Dialog {
            settings: settings.checked()?,
            preferred: 0,
            connected: None,
            exchange: None,
            actions: VecDeque::new(),
            random: fastrand::Rng::with_seed(seed),
        })
    }

    /// The settings, with their defaults filled in.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether the request under way has been sent in any try.
    pub fn sent(&self) -> bool {
        self.exchange.as_ref().is_some_and(|exchange| exchange.sent)
    }

    /// The endpoint of the try under way, or of the one that would be next.
    pub fn endpoint(&self) -> &str {
        let index = self.exchange.as_ref().map_or(self.preferred, |exchange| exchange.endpoint);
        &self.settings.endpoints[index]
    }

    /// Begins a request; one still under way is abandoned.
    ///
    /// # Errors
    ///
    /// [`Error::BodyOverLimit`]; then nothing has begun.
    pub fn start(
        &mut self,
        service: ServiceName,
        body: Body,
        delivery: Delivery,
        now: Instant,
    ) -> Result<(), Error> {
        self.abandon();
        let limits = [
            ("bytes", body.size(), "body_bytes_max", self.settings.body_bytes_max),
            ("frames", body.frames().len(), "body_frames_max", self.settings.body_frames_max),
        ];
        for (unit, found, setting, limit) in limits {
            if found > limit {
                return Err(Error::BodyOverLimit { unit, found, limit, setting });
            }
        }
        let terms = Terms::default();
        let request = ToBroker::Request { id: None, service: service.clone(), terms, body };
        // The settings have only versions that can say a request so.
        let frames = request.encode(self.settings.version).unwrap_or_default();
        self.begin_try(
            Exchange {
                service,
                frames,
                delivery,
                number: 1,
                endpoint: self.preferred,
                state: State::Pausing { until: now },
                try_ends: now,
                sent: false,
                reached: None,
                handshake: None,
                unauthorized: 0,
                joined: Vec::new(),
                weight: 0,
                parts: 0,
                pauses: 0,
            },
            now,
        );
        Ok(())
    }

    /// Ends the request under way, if there is one, without a reply. Its socket is
    /// discarded, so that its reply cannot be taken for a later one's.
    pub fn abandon(&mut self) {
        if self.exchange.take().is_some() {
            self.discard();
        }
    }

    /// The caller wants the next part of a reply only now: the time it has to come
    /// begins anew, so that a slow reader does not make a silent service.
    pub fn resume(&mut self, now: Instant) {
        if let Some(Exchange { state: State::Waiting { until }, parts: 1.., .. }) =
            &mut self.exchange
        {
            *until = now + self.settings.timeout;
        }
    }

    /// What the dialog waits for once its actions are done.
    pub fn want(&self) -> Want<'_> {
        match &self.exchange {
            Some(Exchange { state: State::Connecting { .. }, frames, .. }) => Want::Send(frames),
            Some(Exchange { state: State::Waiting { .. }, .. }) => Want::Receive,
            Some(Exchange { state: State::Pausing { .. }, .. }) | None => Want::Nothing,
        }
    }

    /// When [`Dialog::handle_timeout`] is due; none between requests.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.exchange.as_ref().map(|exchange| match exchange.state {
            State::Connecting { until, .. }
            | State::Waiting { until }
            | State::Pausing { until } => until,
        })
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Time has passed. Nothing happens before [`Dialog::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return;
        }
        let Some(exchange) = self.exchange.take() else { return };
        match exchange.state {
            State::Connecting { .. } => {
                let failure = exchange.handshake.map(Failure::Unauthorized);
                self.fail_try(exchange, failure.unwrap_or(Failure::Unreachable), now);
            }
            State::Waiting { .. } => self.fail_try(exchange, Failure::Silent, now),
            State::Pausing { .. } => self.begin_try(exchange, now),
        }
    }

    /// Something happened to the socket.
    pub fn handle<F: Frame>(&mut self, event: Event<F>, now: Instant) {
        let Some(mut exchange) = self.exchange.take() else { return };
        match (exchange.state, event) {
            (State::Connecting { .. }, Event::Sent) => {
                exchange.sent = true;
                exchange.state = State::Waiting { until: exchange.try_ends };
                self.exchange = Some(exchange);
            }
            // A socket that served an earlier request has lost its connection since,
            // or has something late to say: another one takes its place in this try.
            (State::Connecting { until, kept: true }, Event::Lost | Event::Message(_)) => {
                self.discard();
                exchange.state = State::Connecting { until, kept: false };
                self.connect(exchange.endpoint);
                self.exchange = Some(exchange);
            }
            (State::Connecting { kept: false, .. }, Event::Message(_)) => {
                self.fail_try(exchange, Failure::Violation(Violation::Unasked), now);
            }
            (State::Connecting { kept: false, .. }, Event::Lost) => {
                self.fail_try(exchange, Failure::Unreachable, now);
            }
            (State::Connecting { .. }, Event::Handshake(failure)) => {
                exchange.handshake = Some(failure);
                if failure.is_final() {
                    return self.fail_try(exchange, Failure::Unauthorized(failure), now);
                }
                self.exchange = Some(exchange);
            }
            (State::Waiting { .. }, Event::Lost) => self.fail_try(exchange, Failure::Lost, now),
            (State::Waiting { .. }, Event::Message(frames)) => {
                match self.read(&exchange.service, frames) {
                    Ok(reply) => self.accept(exchange, reply, now),
                    Err(violation) => {
                        self.fail_try(exchange, Failure::Violation(violation), now);
                    }
                }
            }
            (State::Waiting { .. }, Event::Sent | Event::Handshake(_))
            | (State::Pausing { .. }, _) => {
                self.exchange = Some(exchange);
            }
        }
    }

    /// Whether the message is the last of its reply, and the frames of its body.
    fn read<F: Frame>(
        &self,
        asked: &ServiceName,
        frames: Vec<F>,
    ) -> Result<(bool, Vec<F>), Violation> {
        let (last, request, body) =
            match FromBroker::decode(self.settings.version, Frames::new(frames))? {
                FromBroker::Partial { request, body } => (false, request, body),
                FromBroker::Final { request, body } => (true, request, body),
                FromBroker::Error { .. } | FromBroker::Heartbeat { .. } => {
                    return Err(Violation::Unasked);
                }
            };
        match request {
            Answered::Service(found) if found == *asked => Ok((last, body.into_frames())),
            Answered::Service(found) => {
                Err(Violation::OtherService { asked: asked.clone(), found })
            }
            Answered::Id(_) => Err(Violation::Unasked),
        }
    }

    /// Takes a reply, or a part of one, to the service that was asked.
    fn accept<F: Frame>(
        &mut self,
        mut exchange: Exchange,
        (last, frames): (bool, Vec<F>),
        now: Instant,
    ) {
        let limit = self.settings.reply_bytes_max;
        let bytes: usize = frames.iter().map(|frame| frame.len()).sum();
        let further = frames.len().saturating_sub(usize::from(exchange.joined.is_empty()));
        exchange.weight = exchange.weight.saturating_add(bytes + further * FRAME_WEIGHT);
        if exchange.weight > limit {
            self.discard();
            let service = exchange.service;
            self.actions.push_back(Action::Fail(Error::ReplyOverLimit { service, limit }));
            return;
        }
        exchange.joined.extend(frames.iter().map(|frame| frame.to_vec()));
        if last {
            self.preferred = exchange.endpoint;
            let body = Body::from_frames(exchange.joined);
            self.actions.push_back(Action::Yield(Reply::Final(body)));
            return;
        }
        if exchange.delivery == Delivery::Parts {
            let body = Body::from_frames(std::mem::take(&mut exchange.joined));
            self.actions.push_back(Action::Yield(Reply::Partial(body)));
            exchange.parts += 1;
            exchange.weight = 0;
        }
        exchange.state = State::Waiting { until: now + self.settings.timeout };
        self.exchange = Some(exchange);
    }

    fn begin_try(&mut self, mut exchange: Exchange, now: Instant) {
        let Settings { timeout, connect_timeout, .. } = self.settings;
        let kept = self.connected == Some(exchange.endpoint);
        if !kept {
            self.connect(exchange.endpoint);
        }
        exchange.handshake = None;
        exchange.try_ends = now + timeout;
        exchange.state = State::Connecting { until: now + connect_timeout.min(timeout), kept };
        self.exchange = Some(exchange);
    }

    fn fail_try(&mut self, mut exchange: Exchange, failure: Failure, now: Instant) {
        self.discard();
        let tries = self.settings.tries();
        self.actions.push_back(Action::TryFailed(FailedTry {
            service: exchange.service.clone(),
            endpoint: self.settings.endpoints[exchange.endpoint].clone(),
            number: exchange.number,
            tries,
            reason: failure.to_string(),
        }));
        let waited = matches!(failure, Failure::Silent);
        let endpoints = self.settings.endpoints.len();
        match failure {
            Failure::Unreachable => {}
            Failure::Unauthorized(why) => {
                exchange.unauthorized += usize::from(why.is_final());
                // Where a try has sent the request, that is told first.
                if !exchange.sent {
                    exchange.reached = Some((failure, exchange.endpoint));
                }
            }
            failure => exchange.reached = Some((failure, exchange.endpoint)),
        }
        if exchange.number >= tries || exchange.parts > 0 || exchange.unauthorized >= endpoints {
            let error = self.failed(exchange);
            self.actions.push_back(Action::Fail(error));
            return;
        }
        let fresh = (exchange.number as usize) < endpoints;
        exchange.number += 1;
        exchange.endpoint = (exchange.endpoint + 1) % endpoints;
        exchange.joined.clear();
        exchange.weight = 0;
        if waited || fresh {
            self.begin_try(exchange, now);
        } else {
            let pause = self.pause(exchange.pauses);
            exchange.pauses += 1;
            exchange.state = State::Pausing { until: now + pause };
            self.exchange = Some(exchange);
        }
    }

    /// The error of a request whose last try has failed: it tells of the last try
    /// that reached a broker, if there was one.
    fn failed(&self, exchange: Exchange) -> Error {
        let Exchange { service, number: tries, parts, reached, .. } = exchange;
        let Some((failure, endpoint)) = reached else {
            let endpoints = &self.settings.endpoints;
            let tried = endpoints.iter().cycle().skip(self.preferred);
            let tried = tried.take(endpoints.len().min(tries as usize)).cloned().collect();
            return Error::Unreachable { endpoints: tried, tries };
        };
        let endpoint = self.settings.endpoints[endpoint].clone();
        match failure {
            Failure::Violation(source) => Error::Violation { endpoint, source },
            Failure::Unauthorized(reason) => Error::Unauthorized { endpoint, reason },
            _ if parts > 0 => Error::Interrupted { service, endpoint, parts },
            Failure::Lost => Error::Lost { service, tries, endpoint },
            Failure::Silent | Failure::Unreachable => {
                Error::TimedOut { service, tries, timeout: self.settings.timeout, endpoint }
            }
        }
    }

    fn pause(&mut self, count: u32) -> Duration {
        let whole = PAUSE_MIN.saturating_mul(1 << count.min(16)).min(PAUSE_MAX);
        whole.mul_f64(0.5 + self.random.f64() / 2.0)
    }

    fn connect(&mut self, endpoint: usize) {
        self.connected = Some(endpoint);
        let endpoint = self.settings.endpoints[endpoint].clone();
        self.actions.push_back(Action::Connect { endpoint });
    }

    fn discard(&mut self) {
        if self.connected.take().is_some() {
            self.actions.push_back(Action::Discard);
        }
    }
}
