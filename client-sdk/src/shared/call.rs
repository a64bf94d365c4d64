//! One call: its tries so far, what it says to a broker, and the error it ends with.

use std::time::{Duration, Instant};

use majordomo_protocol::client::ToBroker;
use majordomo_protocol::{Body, HandshakeFailure, Reason, RequestId, Terms, code};

use super::event::Request;
use super::timers::{Timer, Timers};
use crate::call_error::CallError;

#[derive(Debug)]
pub(super) struct Call<T> {
    pub(super) token: T,
    pub(super) request: Request,
    pub(super) began: Instant,
    pub(super) ends: Instant,
    /// When its timer is due, once it is set.
    pub(super) due: Option<Instant>,
    pub(super) state: State,
    /// The broker of this try.
    pub(super) broker: usize,
    /// Tries begun.
    pub(super) tries: u32,
    /// Whether a try before this one was sent and had no answer.
    pub(super) sent_before: bool,
    /// Brokers left while they had it; they may have it still.
    pub(super) left: Vec<usize>,
    /// Brokers of whose replies parts were dropped, since the call was elsewhere.
    pub(super) incomplete: Vec<usize>,
    /// Parts of the reply handed out.
    pub(super) parts: u64,
    /// Tries that had to go elsewhere.
    pub(super) moves: u32,
    /// Brokers that had no worker.
    pub(super) workerless: usize,
    /// Tries that a broker did not let in.
    pub(super) unauthorized: usize,
    /// Why the try before this one failed.
    pub(super) failure: Option<Failure>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Queued,
    Sent,
    Pausing,
}

/// Why a try gave no reply.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// No reply in time, from a broker that is there.
    TimedOut,
    /// The connection to a broker that was there broke.
    Cut,
    /// The broker was left.
    Left,
    /// No connection in time.
    Unreachable,
    /// No connection, since the handshake failed.
    Unauthorized(HandshakeFailure),
    Stopping,
    Busy(String),
    NoWorker,
}

/// Pauses double from the first to the last of these and are jittered down to half:
/// many calls of a broker that comes back do not arrive together.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(1);

impl<T> Call<T> {
    /// A call that has made no try.
    pub(super) fn new(request: Request, token: T, broker: usize, now: Instant) -> Self {
        let ends = now + request.deadline;
        Call {
            token,
            request,
            began: now,
            ends,
            due: None,
            state: State::Pausing,
            broker,
            tries: 0,
            sent_before: false,
            left: Vec::new(),
            incomplete: Vec::new(),
            parts: 0,
            moves: 0,
            workerless: 0,
            unauthorized: 0,
            failure: None,
        }
    }

    /// Whether it waits for an answer of this broker.
    pub(super) fn is_at(&self, broker: usize) -> bool {
        self.state == State::Sent && self.broker == broker
    }

    /// Whether the last part of a reply of this broker ends a reply that was taken as a
    /// whole.
    pub(super) fn is_whole_from(&self, broker: usize) -> bool {
        (self.parts == 0 || self.broker == broker) && !self.incomplete.contains(&broker)
    }

    /// It has ended at this broker, so nothing is to be cancelled there. Whether this was
    /// the one that it waited for.
    pub(super) fn has_ended_at(&mut self, broker: usize) -> bool {
        self.left.retain(|left| *left != broker);
        let was_there = self.is_at(broker);
        if was_there {
            self.state = State::Pausing;
        }
        was_there
    }

    pub(super) fn may_have_run(&self) -> bool {
        self.sent_before || self.state == State::Sent
    }

    /// When the call ends if its state stays as it is.
    pub(super) fn ends_at(&self) -> Instant {
        match self.request.start_within {
            Some(within) if !self.may_have_run() => self.ends.min(self.began + within),
            _ => self.ends,
        }
    }

    /// Sets its timer, but never past its end.
    pub(super) fn set_timer(&mut self, timers: &mut Timers, key: u64, due: Instant) {
        let due = due.min(self.ends_at());
        timers.set(Timer::Call(key), &mut self.due, Some(due));
    }

    /// The pause before the next try.
    pub(super) fn pause(&self, random: &mut fastrand::Rng) -> Duration {
        let doublings = self.moves.saturating_sub(1).min(16);
        let pause = PAUSE_MIN.saturating_mul(1 << doublings).min(PAUSE_MAX);
        pause.mul_f64(0.5 + random.f64() / 2.0)
    }

    /// What a broker is told, with the times that are left.
    pub(super) fn command(&self, prefix: [u8; 8], key: u64, now: Instant) -> ToBroker<Body> {
        let request = &self.request;
        let left = |until: Instant| {
            Some(until.saturating_duration_since(now).max(Duration::from_millis(1)))
        };
        let terms = Terms {
            timeout: left(self.ends),
            start_within: request.start_within.and_then(|within| left(self.began + within)),
            once: request.once,
            no_reply: request.no_reply,
            fail_fast: request.fail_fast,
            metadata: request.metadata.clone(),
        };
        ToBroker::Request {
            id: Some(request_id(prefix, key)),
            service: request.service.clone(),
            terms,
            body: request.body.clone(),
        }
    }

    /// The error of a call that a broker ended with this.
    pub(super) fn answered(&self, reason: Reason, details: Body) -> CallError {
        let Reason { code, text } = reason;
        let (service, tries) = (self.request.service.clone(), self.tries);
        // What ended without a run there may have run at an earlier try.
        let may_have_run = self.sent_before;
        match code {
            code::NO_WORKER => CallError::NoWorker { service, may_have_run },
            code::NOT_STARTED => CallError::NotStarted { service, may_have_run },
            code::FORBIDDEN => CallError::Refused { service, text, may_have_run },
            code::TOO_LARGE => CallError::TooLarge { service, text, may_have_run },
            code::CANCELLED => CallError::Cancelled { service, may_have_run: true },
            code::WORKER_LOST => CallError::WorkerLost { service, text },
            code::TIMED_OUT => CallError::Deadline { service, tries, may_have_run: true },
            code => CallError::Remote { service, code, text, details },
        }
    }

    /// The error of a call whose time has passed. One that no broker has, or that none was
    /// there to take, ends with what it last failed of.
    /// `unconnected`: why its broker is not connected, if it waits for that.
    pub(super) fn late(&mut self, unconnected: Failure, endpoints: &[String]) -> CallError {
        let failure = match self.state {
            State::Pausing => self.failure.take(),
            State::Queued => Some(unconnected),
            State::Sent => None,
        };
        self.failed(failure.unwrap_or(Failure::TimedOut), endpoints)
    }

    /// The error of a call whose last try has failed.
    pub(super) fn failed(&self, failure: Failure, endpoints: &[String]) -> CallError {
        let (service, tries) = (self.request.service.clone(), self.tries);
        let may_have_run = self.may_have_run();
        match failure {
            Failure::TimedOut => CallError::Deadline { service, tries, may_have_run },
            Failure::Cut | Failure::Left | Failure::Unreachable => {
                CallError::Disconnected { endpoints: endpoints.to_vec(), tries, may_have_run }
            }
            Failure::Unauthorized(reason) => {
                let endpoint = endpoints[self.broker].clone();
                CallError::Unauthorized { endpoint, reason, may_have_run }
            }
            Failure::Stopping => {
                CallError::Stopping { endpoint: endpoints[self.broker].clone(), may_have_run }
            }
            Failure::Busy(text) => CallError::Busy { service, text, may_have_run },
            Failure::NoWorker => CallError::NoWorker { service, may_have_run },
        }
    }
}

/// 8 bytes of the client and 8 of the call.
pub(super) fn request_id(prefix: [u8; 8], key: u64) -> RequestId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&prefix);
    id[8..].copy_from_slice(&key.to_be_bytes());
    RequestId::new(id)
}
