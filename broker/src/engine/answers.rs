//! What a client is told in the end, and the memory of it: a request that comes again
//! after its answer is answered once more, and not run once more.

use std::collections::VecDeque;
use std::time::Instant;

use foldhash::HashMap;
use majordomo_protocol::{Reason, RequestId, ServiceName, client, code};

use super::request::Answer;
use super::{Action, Caller, Engine, Payload};

/// How a request ended.
#[derive(Clone, Debug)]
pub(super) enum Outcome<B> {
    Final(B),
    Error { reason: Reason, details: Option<B> },
}

impl<B: Payload> Outcome<B> {
    fn bytes(&self) -> usize {
        match self {
            Outcome::Final(body) => body.size(),
            Outcome::Error { reason, details } => {
                reason.text.len() + details.as_ref().map_or(0, B::size)
            }
        }
    }
}

/// Answers that may be asked for again, oldest first.
#[derive(Debug)]
pub(super) struct Answers<B> {
    /// `None` when no answer was wanted, or it cannot be repeated any more.
    by_id: HashMap<RequestId, (Option<Outcome<B>>, usize)>,
    order: VecDeque<(Instant, RequestId)>,
    bytes: usize,
}

impl<B> Default for Answers<B> {
    fn default() -> Self {
        Answers { by_id: HashMap::default(), order: VecDeque::new(), bytes: 0 }
    }
}

impl<B: Payload> Answers<B> {
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn forget_oldest(&mut self) {
        if let Some((_, id)) = self.order.pop_front()
            && let Some((_, bytes)) = self.by_id.remove(&id)
        {
            self.bytes -= bytes;
        }
    }

    /// Forgets those that are older than this.
    fn forget_before(&mut self, oldest_kept: Option<Instant>) {
        while self.order.front().is_some_and(|(at, _)| oldest_kept.is_some_and(|kept| *at < kept)) {
            self.forget_oldest();
        }
    }

    /// Asserts what must hold of it.
    pub(super) fn check(&self) {
        assert_eq!(self.by_id.len(), self.order.len());
        assert_eq!(self.bytes, self.by_id.values().map(|(_, bytes)| bytes).sum::<usize>());
    }
}

impl<B: Payload> Engine<B> {
    /// Tells the client how its request ended, if it wants to know and its version can
    /// say it.
    pub(super) fn answer(
        &mut self,
        caller: &Caller<B>,
        service: &ServiceName,
        answer: Answer,
        outcome: Outcome<B>,
    ) {
        if answer == Answer::Unwanted {
            return;
        }
        let final_reply =
            |body| client::FromBroker::Final { request: caller.answered(service), body };
        let command = match outcome {
            Outcome::Final(body) => final_reply(body),
            Outcome::Error { reason, details } => match caller.id {
                Some(id) => {
                    let details = details.unwrap_or_else(|| B::of_texts(&[""]));
                    client::FromBroker::Error { id, reason, details }
                }
                None if self.settings.error_replies => {
                    let code = reason.code.to_string();
                    final_reply(B::of_texts(&[&code, &reason.text]))
                }
                None => return,
            },
        };
        let caller = caller.clone();
        self.actions.push_back(Action::ToClient { caller, command, part_of: None });
    }

    /// Keeps the answer for those who ask again.
    pub(super) fn remember(&mut self, id: RequestId, answer: Answer, outcome: &Outcome<B>) {
        let settings = &self.settings;
        self.answers.forget_before(self.now.checked_sub(settings.answers_kept));
        let mut kept = match answer {
            Answer::Wanted => Some(outcome.clone()),
            Answer::Unwanted => None,
        };
        let mut bytes = kept.as_ref().map_or(0, Outcome::bytes);
        if bytes > settings.answers_bytes_max {
            // That it ran is remembered all the same.
            (kept, bytes) = (None, 0);
        }
        while self.answers.len() > 0
            && (self.answers.len() >= settings.answers_max
                || self.answers.bytes + bytes > settings.answers_bytes_max)
        {
            self.answers.forget_oldest();
        }
        if settings.answers_max == 0 {
            return;
        }
        match &mut kept {
            Some(Outcome::Final(body)) => body.detach(),
            Some(Outcome::Error { details: Some(details), .. }) => details.detach(),
            _ => {}
        }
        if self.answers.by_id.insert(id, (kept, bytes)).is_none() {
            self.answers.order.push_back((self.now, id));
            self.answers.bytes += bytes;
        }
    }

    /// Answers a request that has been answered before. False if it has not, as far as
    /// is remembered.
    pub(super) fn repeat_answer(
        &mut self,
        caller: &Caller<B>,
        service: &ServiceName,
        answer: Answer,
    ) -> bool {
        self.answers.forget_before(self.now.checked_sub(self.settings.answers_kept));
        let Some((kept, _)) = caller.id.and_then(|id| self.answers.by_id.get(&id)) else {
            return false;
        };
        let kept = kept.clone();
        self.counters.answers_repeated += 1;
        let outcome = kept.unwrap_or_else(|| {
            let text = "it ran, and its answer is not kept".to_owned();
            Outcome::Error { reason: Reason { code: code::WORKER_LOST, text }, details: None }
        });
        self.answer(caller, service, answer, outcome);
        true
    }
}
