//! What clients are told in the end, and what is remembered of it.

use std::time::Instant;

use majordomo_broker::engine::{Caller, Dropped, Payload, Settings};
use majordomo_protocol::{Reason, ServiceName, Version, client};

use super::{Model, Number, answered};
use crate::Parts;

#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Final(Parts),
    Error(Reason, Parts),
}

/// Oldest first.
#[derive(Default)]
pub(super) struct Answers(Vec<Remembered>);

struct Remembered {
    number: Number,
    at: Instant,
    outcome: Option<Outcome>,
    bytes: usize,
}

impl Answers {
    fn forget_old(&mut self, now: Instant, settings: &Settings) {
        self.0.retain(|answer| answer.at + settings.answers_kept >= now);
    }

    fn remember(&mut self, new: Remembered, settings: &Settings) {
        let over = |answers: &[Remembered]| {
            let bytes: usize = answers.iter().map(|answer| answer.bytes).sum();
            answers.len() >= settings.answers_max || bytes + new.bytes > settings.answers_bytes_max
        };
        while !self.0.is_empty() && over(&self.0) {
            self.0.remove(0);
        }
        if settings.answers_max > 0 {
            self.0.push(new);
        }
    }
}

impl Outcome {
    /// The end of a request that is dropped; `ran`: some worker had it.
    pub(super) fn dropped(reason: Dropped, ran: bool) -> Self {
        let (code, text) = match reason {
            Dropped::RequestsMax => (429, "the broker's queues are full"),
            Dropped::RequestsPerServiceMax => (429, "the service's queue is full"),
            Dropped::RequestsPerClientMax => (429, "too many requests of this client"),
            Dropped::BytesMax => (429, "the broker's memory for requests is full"),
            Dropped::ServicesMax => (429, "the broker knows too many services"),
            Dropped::ServicesIdleMax => (429, "too many services wait for a worker"),
            Dropped::ClientsMax => (429, "the broker serves too many clients"),
            Dropped::RequestsPerIdentityMax | Dropped::PeersPerIdentityMax => {
                unreachable!("there are no identities")
            }
            Dropped::Forbidden | Dropped::OtherIdentity => unreachable!("there are no rights"),
            Dropped::NoWorker => (404, "no worker is registered for the service"),
            Dropped::Expired if !ran => (404, "no worker was free in time"),
            Dropped::NotStarted if !ran => (408, "no worker was free in the time given"),
            Dropped::Expired | Dropped::NotStarted => {
                (502, "its worker was lost, and no other was free in time")
            }
            Dropped::TimedOut => (504, "the time given passed while it ran"),
            Dropped::Cancelled => (499, "cancelled"),
            Dropped::Once => (502, "its worker was lost"),
            Dropped::AttemptsMax => (502, "its workers were lost"),
            Dropped::PartialSent => {
                (502, "a part of the reply was sent, and it cannot be repeated")
            }
            Dropped::PartialUnsent => (502, "a part of the reply could not be sent"),
            Dropped::PartialBytesMax => (413, "the parts of the reply are too large"),
            Dropped::Stopping if !ran => (503, "the broker is shutting down"),
            Dropped::Stopping => (502, "its worker was lost, and the broker is shutting down"),
        };
        Outcome::said_by_broker(code, text)
    }

    fn said_by_broker(code: u16, text: &str) -> Self {
        Outcome::Error(Reason { code, text: text.to_owned() }, Parts::of_texts(&[""]))
    }

    fn bytes(&self) -> usize {
        match self {
            Outcome::Final(body) => body.size(),
            Outcome::Error(reason, details) => reason.text.len() + details.size(),
        }
    }
}

impl Model {
    /// Expects that a client is told, if it wants to be and can be.
    pub(super) fn expect_answer(
        &mut self,
        caller: &Caller<Parts>,
        service: &ServiceName,
        wanted: bool,
        outcome: Outcome,
    ) {
        let request = answered(caller, service);
        let command = match (outcome, caller.id) {
            _ if !wanted => return,
            (Outcome::Final(body), _) => client::FromBroker::Final { request, body },
            (Outcome::Error(reason, details), Some(id)) => {
                client::FromBroker::Error { id, reason, details }
            }
            (Outcome::Error(Reason { code, text }, _), None) => {
                if !self.settings.error_replies {
                    return;
                }
                let body = Parts::of_texts(&[&code.to_string(), &text]);
                client::FromBroker::Final { request, body }
            }
        };
        self.expected.to_clients.push((caller.clone(), command));
    }

    /// Remembers how a request of MDP/1.0 ended.
    pub(super) fn remember(
        &mut self,
        caller: &Caller<Parts>,
        number: Number,
        wanted: bool,
        outcome: &Outcome,
    ) {
        if caller.version < Version::V1_0 {
            return;
        }
        self.answers.forget_old(self.now, &self.settings);
        let fits = outcome.bytes() <= self.settings.answers_bytes_max;
        let outcome = (wanted && fits).then(|| outcome.clone());
        let bytes = outcome.as_ref().map_or(0, Outcome::bytes);
        self.answers.remember(Remembered { number, at: self.now, outcome, bytes }, &self.settings);
    }

    /// The end of a reply whose parts have gone to the client.
    pub(super) fn without_parts() -> Outcome {
        Outcome::said_by_broker(502, "it ran, and the parts of its reply are not kept")
    }

    /// How a request ended that has come before.
    pub(super) fn remembered(&mut self, number: Number) -> Option<Outcome> {
        self.answers.forget_old(self.now, &self.settings);
        let found = self.answers.0.iter().find(|answer| answer.number == number)?;
        let gone = || Outcome::said_by_broker(502, "it ran, and its answer is not kept");
        Some(found.outcome.clone().unwrap_or_else(gone))
    }
}
