//! The calls of a client, their tries, and the brokers they go to.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::time::Instant;

use foldhash::{HashMap, HashMapExt};
use majordomo_protocol::client::{Answered, Commands, FromBroker, ToBroker};
use majordomo_protocol::{Body, Frames, HandshakeFailure, Reason, RequestId, code};

use super::broker::{Beat, Broker, Link};
use super::call::{Call, Failure, State, request_id};
use super::event::{Action, Counts, Event, Request};
use super::outlet::Outlet;
use super::settings::Settings;
use super::timers::{Timer, Timers};
use crate::call_error::CallError;

/// The conversation of one client with its brokers. `T` is what its owner knows a
/// call by, and `O` takes what is to be done.
#[derive(Debug)]
pub struct Dialog<T, O = VecDeque<Action<T>>> {
    settings: Settings,
    brokers: Vec<Broker>,
    /// The broker that new calls go to.
    current: usize,
    calls: HashMap<u64, Call<T>>,
    timers: Timers,
    outlet: O,
    random: fastrand::Rng,
    /// The first half of every request id.
    prefix: [u8; 8],
    counts: Counts,
    closed: bool,
}

impl<T: Clone> Dialog<T> {
    /// A dialog with no call under way. The seed makes the request ids unique, so it
    /// must be random; it decides the length of pauses as well.
    ///
    /// # Errors
    ///
    /// [`CallError::Setting`] and [`CallError::Endpoint`] for settings that cannot be.
    pub fn new(settings: Settings, seed: u64) -> Result<Self, CallError> {
        Self::with_outlet(settings, seed, VecDeque::new())
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action<T>> {
        self.outlet.pop_front()
    }
}

impl<T: Clone, O: Outlet<T>> Dialog<T, O> {
    /// As [`Dialog::new`], with somewhere else to say what is to be done.
    ///
    /// # Errors
    ///
    /// As [`Dialog::new`].
    pub fn with_outlet(settings: Settings, seed: u64, outlet: O) -> Result<Self, CallError> {
        let settings = settings.checked()?;
        Ok(Dialog {
            brokers: settings.endpoints.iter().map(|_| Broker::default()).collect(),
            settings,
            current: 0,
            calls: HashMap::new(),
            timers: Timers::default(),
            outlet,
            random: fastrand::Rng::with_seed(seed),
            prefix: seed.to_be_bytes(),
            counts: Counts::default(),
            closed: false,
        })
    }

    /// The settings, with their defaults filled in.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The broker that new calls go to.
    pub fn current(&self) -> usize {
        self.current
    }

    /// What has happened so far.
    pub fn counts(&self) -> Counts {
        Counts { outstanding: self.calls.len(), ..self.counts }
    }

    /// Entries in all tables together; 0 when nothing is under way and no broker has
    /// a timer.
    pub fn entries(&self) -> usize {
        let at_brokers = |broker: &Broker| broker.queued.len() + broker.sent;
        self.calls.len() + self.timers.len() + self.brokers.iter().map(at_brokers).sum::<usize>()
    }

    /// When [`Dialog::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first()
    }

    /// Where it says what is to be done.
    pub fn outlet(&self) -> &O {
        &self.outlet
    }

    /// As [`Dialog::outlet`], to take that out.
    pub fn outlet_mut(&mut self) -> &mut O {
        &mut self.outlet
    }

    /// Begins a call. `key` numbers it, and may not be used a second time.
    pub fn submit(&mut self, key: u64, request: Request, token: T, now: Instant) {
        match self.calls.entry(key) {
            Entry::Vacant(place) if !self.closed => {
                place.insert(Call::new(request, token, self.current, now));
                self.counts.calls += 1;
                self.begin_try(key, self.current, now);
            }
            _ => {
                self.outlet.done(token, Err(CallError::Closed { may_have_run: false }));
            }
        }
    }

    /// Nobody wants the reply any more.
    pub fn cancel(&mut self, key: u64) {
        let Some(call) = self.calls.get(&key) else { return };
        let (service, may_have_run) = (call.request.service.clone(), call.may_have_run());
        self.end(key, Err(CallError::Cancelled { service, may_have_run }));
    }

    /// The parts of the reply that nobody has read yet are too large.
    pub fn overflow(&mut self, key: u64) {
        let Some(call) = self.calls.get(&key) else { return };
        let (service, limit) = (call.request.service.clone(), self.settings.reply_bytes_max);
        self.end(key, Err(CallError::ReplyOverLimit { service, limit }));
    }

    /// Ends all calls that wait for a reply; only what wants none is still sent, if it
    /// can be. No call begins any more.
    pub fn close(&mut self) {
        self.closed = true;
        let waiting = self.calls.iter().filter(|(_, call)| !call.request.no_reply);
        let mut keys: Vec<u64> = waiting.map(|(key, _)| *key).collect();
        keys.sort_unstable();
        for key in keys {
            let may_have_run = self.calls.get(&key).is_some_and(Call::may_have_run);
            self.end(key, Err(CallError::Closed { may_have_run }));
        }
    }

    /// Time has passed. Nothing happens before [`Dialog::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((due, timer)) = self.timers.pop(now) {
            match timer {
                Timer::Call(key) => {
                    let call = self.calls.get_mut(&key).filter(|call| call.due == Some(due));
                    if let Some(call) = call {
                        self.timers.set(timer, &mut call.due, None);
                        self.call_due(key, now);
                    }
                }
                Timer::Broker(broker) => {
                    if self.brokers[broker].due == Some(due) {
                        self.set_broker_timer(broker, None);
                        self.broker_due(broker, now);
                    }
                }
            }
        }
    }

    /// Something happened to the socket of a broker.
    pub fn handle(&mut self, broker: usize, event: Event, now: Instant) {
        let Some(link) = self.brokers.get(broker).map(|broker| broker.link) else { return };
        match (link, event) {
            (Link::Connecting { .. }, Event::Connected) => self.connected(broker, now),
            (Link::Connecting { .. }, Event::Reached) => {
                self.brokers[broker].handshake = Some(HandshakeFailure::Unfinished);
            }
            (Link::Connecting { .. }, Event::Unauthorized(failure)) if failure.is_final() => {
                self.brokers[broker].handshake = Some(failure);
                self.leave(broker, failure.as_str(), Failure::Unauthorized(failure), now);
            }
            (
                Link::Connecting { until, .. },
                event @ (Event::Refused | Event::Lost | Event::Unauthorized(_)),
            ) => {
                self.brokers[broker].handshake = match event {
                    Event::Unauthorized(failure) => Some(failure),
                    _ => None,
                };
                if self.brokers.iter().enumerate().any(|(at, other)| at != broker && !other.down) {
                    return self.leave_unconnected(broker, now);
                }
                self.shun(broker, now);
                let state = &mut self.brokers[broker];
                state.link = Link::Connecting { until, attempting: false };
                let again = state.not_before.unwrap_or(now);
                self.set_broker_timer(broker, Some(again.min(until)));
            }
            (Link::Up { of_use, .. }, Event::Lost | Event::Refused | Event::Unauthorized(_)) => {
                let failure = if of_use { Failure::Cut } else { Failure::Left };
                self.leave(broker, "lost", failure, now);
            }
            (Link::Up { .. }, Event::Message(frames)) => self.read(broker, frames, now),
            (Link::Closed, _) | (_, Event::Message(_) | Event::Connected | Event::Reached) => {}
        }
    }

    fn connected(&mut self, broker: usize, now: Instant) {
        let state = &mut self.brokers[broker];
        state.link = Link::Up { heard: now, said: now, asked: 0, of_use: false };
        (state.down, state.handshake) = (false, None);
        let queued = std::mem::take(&mut state.queued);
        self.timers.set(Timer::Broker(broker), &mut state.due, None);
        for key in queued {
            self.send(key, now);
        }
    }

    fn read(&mut self, broker: usize, frames: Vec<Vec<u8>>, now: Instant) {
        self.brokers[broker].hear(now);
        self.counts.heard += 1;
        let Ok(commands) = Commands::new(Frames::new(frames)) else {
            return self.leave(broker, "violates the protocol", Failure::Left, now);
        };
        for command in commands {
            match command {
                Ok(FromBroker::Heartbeat { .. }) => {}
                Ok(FromBroker::Partial { request, body }) => {
                    self.part(broker, &request, body, now);
                }
                Ok(FromBroker::Final { request, body }) => self.last(broker, &request, body),
                Ok(FromBroker::Error { id, reason, details }) => {
                    self.error(broker, id, reason, details, now);
                }
                Err(_) => return self.leave(broker, "violates the protocol", Failure::Left, now),
            }
        }
    }

    /// The call under way that has this id.
    fn find(&mut self, id: &RequestId) -> Option<(u64, &mut Call<T>)> {
        let (prefix, key) = id.as_bytes().split_first_chunk::<8>()?;
        let key = u64::from_be_bytes(key.try_into().ok()?);
        let call = self.calls.get_mut(&key).filter(|_| *prefix == self.prefix);
        call.map(|call| (key, call))
    }

    /// The call under way that this broker was asked for last.
    fn find_at(&mut self, broker: usize, id: &RequestId) -> Option<(u64, &mut Call<T>)> {
        self.find(id).filter(|(_, call)| call.is_at(broker))
    }

    fn part(&mut self, broker: usize, request: &Answered, body: Body, now: Instant) {
        let found = match request {
            Answered::Id(id) => self.find(id),
            Answered::Service(_) => None,
        };
        let Some((key, call)) = found else {
            self.counts.dropped += 1;
            return;
        };
        // An error of an earlier try made it pause, and here it runs all the same.
        let runs_again = call.state == State::Pausing && call.broker == broker;
        if runs_again {
            call.state = State::Sent;
        } else if !call.is_at(broker) {
            if !call.incomplete.contains(&broker) {
                call.incomplete.push(broker);
            }
            self.counts.dropped += 1;
            return;
        }
        call.parts += 1;
        let (token, due) = (call.token.clone(), now + call.request.timeout);
        self.outlet.act(Action::Part { token, key, body });
        if let Some(call) = self.calls.get_mut(&key) {
            call.set_timer(&mut self.timers, key, due);
        }
        if runs_again {
            self.brokers[broker].sent += 1;
            self.look_after(broker, now);
        }
    }

    /// A reply counts from whichever broker it comes, if no part has come from another, and
    /// all its parts were taken.
    fn last(&mut self, broker: usize, request: &Answered, body: Body) {
        let found = match request {
            Answered::Id(id) => self.find(id),
            Answered::Service(_) => None,
        };
        match found.filter(|(_, call)| call.is_whole_from(broker)) {
            None => self.counts.dropped += 1,
            Some((key, call)) => {
                let was_there = call.has_ended_at(broker);
                self.brokers[broker].sent -= usize::from(was_there);
                self.end(key, Ok(body));
            }
        }
    }

    fn error(&mut self, broker: usize, id: RequestId, reason: Reason, details: Body, now: Instant) {
        let Some((key, call)) = self.find_at(broker, &id) else {
            self.counts.dropped += 1;
            return;
        };
        let was_there = call.has_ended_at(broker);
        let failure = match reason.code {
            code::STOPPING => Ok(Failure::Stopping),
            code::BUSY => Ok(Failure::Busy(reason.text)),
            code::NO_WORKER if call.request.fail_fast => {
                call.workerless += 1;
                Ok(Failure::NoWorker)
            }
            _ => Err(call.answered(reason, details)),
        };
        self.brokers[broker].sent -= usize::from(was_there);
        match failure {
            Err(error) => self.end(key, Err(error)),
            Ok(failure) => {
                if matches!(failure, Failure::Stopping) {
                    self.shun(broker, now);
                }
                self.fail_try(key, failure, now);
            }
        }
    }

    fn call_due(&mut self, key: u64, now: Instant) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        let unconnected = self.brokers[call.broker].unconnected();
        if now >= call.ends {
            let error = call.late(unconnected, &self.settings.endpoints);
            self.end(key, Err(error));
        } else if now >= call.ends_at() {
            let (service, may_have_run) = (call.request.service.clone(), call.may_have_run());
            self.end(key, Err(CallError::NotStarted { service, may_have_run }));
        } else {
            let broker = call.broker;
            match call.state {
                State::Pausing => self.begin_try(key, broker, now),
                State::Queued => self.fail_try(key, unconnected, now),
                State::Sent => self.fail_try(key, Failure::TimedOut, now),
            }
        }
    }

    fn broker_due(&mut self, broker: usize, now: Instant) {
        let Settings { heartbeat, liveness, .. } = self.settings;
        let state = &mut self.brokers[broker];
        match state.link {
            Link::Closed => {}
            // Nobody waits for it any more, and nothing was opened.
            Link::Connecting { attempting: false, .. } if state.queued.is_empty() => {
                state.link = Link::Closed;
            }
            Link::Connecting { until, .. } if now >= until => {
                self.leave_unconnected(broker, now);
            }
            Link::Connecting { until, .. } => {
                state.link = Link::Connecting { until, attempting: true };
                self.outlet.act(Action::Connect { broker });
                self.set_broker_timer(broker, Some(until));
            }
            Link::Up { .. } => match state.beat(heartbeat, liveness, now) {
                Beat::Rest => {}
                Beat::Look(at) => self.set_broker_timer(broker, Some(at)),
                Beat::Ask => {
                    self.outlet.send(broker, ToBroker::Heartbeat);
                    self.set_broker_timer(broker, Some(now + heartbeat));
                }
                Beat::Silent => self.leave(broker, "silent", Failure::Left, now),
            },
        }
    }

    fn begin_try(&mut self, key: u64, broker: usize, now: Instant) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        call.tries += 1;
        if call.tries > 1 {
            self.counts.retries += 1;
        }
        (call.broker, call.state) = (broker, State::Queued);
        let state = &mut self.brokers[broker];
        if state.is_up() {
            return self.send(key, now);
        }
        state.queued.insert(key);
        call.set_timer(&mut self.timers, key, now + call.request.timeout);
        if matches!(state.link, Link::Closed) {
            let later = state.not_before.filter(|at| *at > now);
            let until = later.unwrap_or(now) + self.settings.connect_timeout;
            state.link = Link::Connecting { until, attempting: later.is_none() };
            state.down = false;
            if later.is_none() {
                self.outlet.act(Action::Connect { broker });
            }
            self.set_broker_timer(broker, Some(later.unwrap_or(until)));
        }
    }

    /// Sends a call to its broker, which is connected.
    fn send(&mut self, key: u64, now: Instant) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        let broker = call.broker;
        self.outlet.send(broker, call.command(self.prefix, key, now));
        call.left.retain(|left| *left != broker);
        let state = &mut self.brokers[broker];
        state.say(now);
        if call.request.no_reply {
            // It ends here, and is outstanding nowhere.
            call.state = State::Pausing;
            self.end(key, Ok(Body::from("")));
        } else {
            call.state = State::Sent;
            state.sent += 1;
            call.set_timer(&mut self.timers, key, now + call.request.timeout);
        }
        self.look_after(broker, now);
    }

    /// Leaves a broker to which no connection came about.
    fn leave_unconnected(&mut self, broker: usize, now: Instant) {
        let state = &self.brokers[broker];
        let reason = state.handshake.map_or("unreachable", HandshakeFailure::as_str);
        self.leave(broker, reason, state.unconnected(), now);
    }

    /// Something is outstanding there: whether it lives is looked at from now on.
    fn look_after(&mut self, broker: usize, now: Instant) {
        if self.brokers[broker].due.is_none() {
            self.set_broker_timer(broker, Some(now + self.settings.heartbeat));
        }
    }

    /// Leaves a broker, and moves its calls. One that was only cut off is not shunned.
    fn leave(&mut self, broker: usize, reason: &'static str, failure: Failure, now: Instant) {
        self.counts.left += 1;
        if !matches!(failure, Failure::Cut) {
            self.shun(broker, now);
        }
        let state = &mut self.brokers[broker];
        state.link = Link::Closed;
        let queued = std::mem::take(&mut state.queued);
        let sent = self.calls.iter().filter(|(_, call)| call.is_at(broker));
        let mut sent: Vec<u64> = sent.map(|(key, _)| *key).collect();
        sent.sort_unstable();
        self.set_broker_timer(broker, None);
        self.outlet.act(Action::Disconnect { broker, reason });
        for key in sent {
            if let Some(call) = self.calls.get_mut(&key) {
                call.left.push(broker);
            }
            self.fail_try(key, failure.clone(), now);
        }
        let unconnected = self.brokers[broker].unconnected();
        for key in queued {
            self.fail_try(key, unconnected.clone(), now);
        }
    }

    /// New calls go elsewhere, if there is anywhere else.
    fn shun(&mut self, broker: usize, now: Instant) {
        self.brokers[broker].shun(&mut self.random, now);
        if self.current == broker {
            self.current = self.after(broker);
        }
    }

    /// The next broker that is not known to be down, itself the last, or else the next.
    fn after(&self, broker: usize) -> usize {
        let count = self.brokers.len();
        let next = |step: usize| (broker + step) % count;
        (1..=count).map(next).find(|next| !self.brokers[*next].down).unwrap_or(next(1))
    }

    /// The try under way gave no reply: there is another, or the call ends.
    fn fail_try(&mut self, key: u64, failure: Failure, now: Instant) {
        let brokers = self.brokers.len();
        let Some(from) = self.calls.get(&key).map(|call| call.broker) else { return };
        let next = self.after(from);
        let Some(call) = self.calls.get_mut(&key) else { return };
        let is_refused = matches!(failure, Failure::Unauthorized(why) if why.is_final());
        call.unauthorized += usize::from(is_refused);
        if call.request.no_reply
            && matches!(failure, Failure::Unreachable | Failure::Unauthorized(_))
            && !is_refused
        {
            // It waits for a connection until its deadline, however often one fails.
            call.tries = call.tries.saturating_sub(1);
        }
        let exhausted = call.tries >= call.request.tries
            || call.parts > 0
            || call.workerless >= brokers
            || call.unauthorized >= brokers
            // An answer that says it did not run may be one to an earlier try.
            || (call.request.once && call.may_have_run() && !matches!(failure, Failure::TimedOut));
        if exhausted {
            let error = call.failed(failure, &self.settings.endpoints);
            return self.end(key, Err(error));
        }
        if call.state == State::Sent {
            call.sent_before = true;
            self.brokers[from].sent -= 1;
        }
        call.state = State::Pausing;
        self.brokers[from].queued.remove(&key);
        let (target, at_once) = match failure {
            Failure::TimedOut | Failure::Cut => (from, true),
            // Nothing was sent, and the broker has pauses of its own.
            Failure::Unreachable | Failure::Unauthorized(_) => (next, true),
            // What was of no use once is not sent all together again.
            Failure::Left | Failure::Stopping | Failure::Busy(_) | Failure::NoWorker => {
                call.moves += 1;
                let is_untried = next != from && (call.moves as usize) < brokers;
                (next, is_untried && !self.brokers[next].down)
            }
        };
        call.failure = Some(failure);
        if at_once {
            return self.begin_try(key, target, now);
        }
        call.broker = target;
        let pause = call.pause(&mut self.random);
        call.set_timer(&mut self.timers, key, now + pause);
    }

    /// Ends a call: nothing of it is left in any table. Every broker that may still be at
    /// it is told, as far as it is connected.
    fn end(&mut self, key: u64, result: Result<Body, CallError>) {
        let Some(mut call) = self.calls.remove(&key) else { return };
        self.timers.set(Timer::Call(key), &mut call.due, None);
        let last = &mut self.brokers[call.broker];
        let at = (call.state == State::Sent).then_some(call.broker);
        match call.state {
            State::Sent => last.sent -= 1,
            State::Queued => _ = last.queued.remove(&key),
            State::Pausing => {}
        }
        for broker in call.left.into_iter().chain(at) {
            if self.brokers[broker].is_up() {
                let id = request_id(self.prefix, key);
                self.outlet.send(broker, ToBroker::Cancel { id });
            }
        }
        self.counts.unsent += u64::from(call.request.no_reply && result.is_err());
        self.outlet.done(call.token, result);
    }

    fn set_broker_timer(&mut self, broker: usize, due: Option<Instant>) {
        self.timers.set(Timer::Broker(broker), &mut self.brokers[broker].due, due);
    }
}
