//! What a client is told in the end, and the memory of it: a request that comes again
//! after its answer is answered once more, and not run once more.

use majordomo_protocol::{Reason, ServiceName, client, code};

use super::ids::{AnswerNumber, Ids};
use super::request::{Answer, RequestKey};
use super::{Caller, Engine, Outlet, Payload, Settings};

/// How a request ended.
#[derive(Clone, Debug)]
pub(super) enum Outcome<B> {
    Final(B),
    /// Rare, and so not in place.
    Error(Box<Failure<B>>),
}

/// Why a request has no reply.
#[derive(Clone, Debug)]
pub(super) struct Failure<B> {
    reason: Reason,
    /// More about it; only a worker has more to say.
    details: Option<B>,
}

impl<B: Payload> Outcome<B> {
    pub(super) fn failure(reason: Reason, details: Option<B>) -> Self {
        Outcome::Error(Box::new(Failure { reason, details }))
    }

    /// To be kept for an unknown time.
    pub(super) fn detach(&mut self) {
        match self {
            Outcome::Final(body) => body.detach(),
            Outcome::Error(failure) => failure.details.iter_mut().for_each(B::detach),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Outcome::Final(body) => body.size(),
            Outcome::Error(failure) => {
                failure.reason.text.len() + failure.details.as_ref().map_or(0, B::size)
            }
        }
    }
}

impl Settings {
    /// How a client is told of this, if its version can say it.
    #[inline]
    fn said<B: Payload>(
        &self,
        caller: &Caller<B>,
        service: &ServiceName,
        outcome: Outcome<B>,
    ) -> Option<client::FromBroker<B>> {
        let final_reply =
            |body| client::FromBroker::Final { request: caller.answered(service), body };
        let failure = match outcome {
            Outcome::Final(body) => return Some(final_reply(body)),
            Outcome::Error(failure) => failure,
        };
        let Failure { reason, details } = *failure;
        match caller.id {
            Some(id) => {
                let details = details.unwrap_or_else(|| B::of_texts(&[""]));
                Some(client::FromBroker::Error { id, reason, details })
            }
            None if self.error_replies => {
                let code = reason.code.to_string();
                Some(final_reply(B::of_texts(&[&code, &reason.text])))
            }
            None => None,
        }
    }
}

/// When the memory is full, this part of it makes room at once.
const FORGOTTEN_TOGETHER: usize = 1_024;

impl<B: Payload, O: Outlet<B>> Engine<B, O> {
    /// Tells the client how its request ended, if it wants to know and its version can
    /// say it.
    pub(super) fn answer(
        &mut self,
        caller: &Caller<B>,
        service: &ServiceName,
        answer: Answer,
        outcome: Outcome<B>,
    ) {
        if answer == Answer::Wanted
            && let Some(command) = self.settings.said(caller, service, outcome)
        {
            self.outlet.tell(caller, command, None);
        }
    }

    /// As [`Engine::answer`], to whoever asked last for this request.
    pub(super) fn answer_request(&mut self, key: RequestKey, outcome: Outcome<B>) {
        let request = &self.requests[key];
        let service = &self.services[request.service].name;
        if request.answer == Answer::Wanted
            && let Some(command) = self.settings.said(&request.caller, service, outcome)
        {
            self.outlet.tell(&request.caller, command, None);
        }
    }

    /// Keeps the answer to a request for those who ask again.
    pub(super) fn remember(&mut self, key: RequestKey, outcome: &Outcome<B>) {
        let request = &self.requests[key];
        let Some(id) = request.asked_id() else { return };
        let settings = &self.settings;
        let bytes = outcome.bytes();
        // That it ran is remembered in any case.
        let repeatable = request.answer == Answer::Wanted && bytes <= settings.answers_bytes_max;
        let bytes = if repeatable { bytes } else { 0 };
        let answers_max = settings.answers_max.min(Ids::<B>::ANSWERS_MAX);
        while self.ids.answers() > 0
            && (self.ids.answers() >= answers_max
                || self.ids.bytes() + bytes > settings.answers_bytes_max)
        {
            // Few large answers must not go together: each may be asked for again.
            let is_full = self.ids.answers() >= answers_max;
            let count = if is_full { 1 + answers_max / FORGOTTEN_TOGETHER } else { 1 };
            self.ids.forget_oldest(count, &self.requests);
        }
        if answers_max == 0 {
            return;
        }
        let answer = repeatable.then_some(outcome);
        self.requests[key].answered = Some(self.ids.keep(id, self.now, answer, bytes));
    }

    /// A request comes again that has been answered.
    pub(super) fn repeat_answer(
        &mut self,
        number: AnswerNumber,
        caller: Caller<B>,
        service: &ServiceName,
        answer: Answer,
    ) {
        self.counters.answers_repeated += 1;
        let outcome = self.ids.answer(number).cloned().unwrap_or_else(|| {
            let text = "it ran, and its answer is not kept".to_owned();
            Outcome::failure(Reason { code: code::WORKER_LOST, text }, None)
        });
        self.answer(&caller, service, answer, outcome);
    }
}
