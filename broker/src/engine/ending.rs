//! The ends of a request other than a reply: it is turned away, given back by a lost
//! worker, dropped, or abandoned while it runs.

use majordomo_protocol::{ClientAddress, Metadata, PeerId, Reason, ServiceName, Version, worker};

use super::answers::Outcome;
use super::request::{Answer, Redelivery, Reply, RequestKey, RequestState};
use super::requests::Place;
use super::shutdown::Shutdown;
use super::{Act, Action, Caller, Dropped, Engine, Note, Outlet, Payload};

impl<B: Payload, O: Outlet<B>> Engine<B, O> {
    /// A request lost its worker: it waits again, before all others, or ends.
    pub(super) fn give_back(&mut self, key: RequestKey) {
        self.services[self.requests[key].service].running -= 1;
        let request = &mut self.requests[key];
        if let RequestState::Abandoned { .. } = request.state {
            self.forget_request(key);
            return;
        }
        self.deadlines.remove(request.deadline);
        self.counters.requests_returned += 1;
        let dropped = match request.reply {
            _ if self.shutdown != Shutdown::No => Some(Dropped::Stopping),
            Reply::Sent if request.answer == Answer::Wanted => Some(Dropped::PartialSent),
            _ if request.redelivery == Redelivery::Forbidden && request.attempt > 0 => {
                Some(Dropped::Once)
            }
            _ if request.losses.reasons().len() >= self.settings.attempts_max as usize => {
                Some(Dropped::AttemptsMax)
            }
            _ => None,
        };
        if let Some(reason) = dropped {
            return self.drop_request(key, reason);
        }
        if let Reply::Kept(parts) = &request.reply {
            request.bytes -= parts.bytes;
            self.bytes -= parts.bytes;
        }
        request.reply = Reply::None;
        self.wait(key, Place::Front);
    }

    /// Ends a running request for its client. Its worker is told, if it can be, and
    /// holds the request until it answers or is lost.
    pub(super) fn end_running(&mut self, key: RequestKey, reason: Dropped) {
        let request = &mut self.requests[key];
        let RequestState::Running { worker } = request.state else { return };
        request.state = RequestState::Abandoned { worker, reason };
        self.deadlines.remove(request.deadline);
        self.bytes -= std::mem::take(&mut request.bytes);
        request.body = None;
        request.metadata = Metadata::default();
        request.reply = Reply::None;
        let worker = &mut self.workers[worker];
        if worker.version >= Version::V1_0 && worker.is_reachable() {
            worker.told_at = self.now;
            self.outlet.act(Action::ToWorker {
                worker: worker.peer.clone(),
                version: worker.version,
                command: worker::FromBroker::Cancel { client: key.address(self.settings.instance) },
            });
        }
        self.end_for_client(key, reason);
    }

    /// Ends a request, which is in no queue and with no worker, without a reply.
    pub(super) fn drop_request(&mut self, key: RequestKey, reason: Dropped) {
        self.end_for_client(key, reason);
        let service = self.requests[key].service;
        self.forget_request(key);
        self.services.forget_if_unused(service);
    }

    /// Counts, notes and answers the end of a request that gets no reply.
    fn end_for_client(&mut self, key: RequestKey, reason: Dropped) {
        *self.counters.dropped(reason) += 1;
        if reason == Dropped::AttemptsMax {
            self.list_dead(key);
        }
        let request = &self.requests[key];
        let ran = request.attempt > 0;
        self.outlet.act(Action::Note(Note::RequestDropped {
            client: request.caller.peer.clone(),
            service: self.services[request.service].name.clone(),
            request: Some(key.address(self.settings.instance)),
            reason,
        }));
        let outcome = dropped_outcome(reason, ran);
        if ran {
            self.remember(key, &outcome);
        }
        self.answer_request(key, outcome);
    }

    /// Answers a request that was not accepted.
    pub(super) fn turn_away(
        &mut self,
        caller: Caller<B>,
        service: ServiceName,
        answer: Answer,
        reason: Dropped,
    ) {
        *self.counters.dropped(reason) += 1;
        let client = caller.peer.clone();
        self.answer(&caller, &service, answer, dropped_outcome(reason, false));
        self.note(Note::RequestDropped { client, service, request: None, reason });
    }

    /// Answers a request that its client has no right to.
    pub(super) fn forbid(
        &mut self,
        caller: Caller<B>,
        service: ServiceName,
        answer: Answer,
        reason: Dropped,
    ) {
        *self.counters.dropped(reason) += 1;
        let peer = caller.peer.clone();
        self.answer(&caller, &service, answer, dropped_outcome(reason, false));
        let act = match reason {
            Dropped::Forbidden => Act::Call(service),
            _ => Act::Displace,
        };
        self.note_forbidden(&peer, act);
    }

    /// Takes a request, which is in no queue, out of the tables.
    pub(super) fn forget_request(&mut self, key: RequestKey) {
        let Some(request) = self.requests.get(key) else { return };
        self.bytes -= request.bytes;
        self.ids.end(key, request.answered, &self.requests);
        self.identities.request_went(request.identity);
        if let Some(client) = self.clients.request_went(&request.caller.peer) {
            self.identities.peer_went(client.identity);
            if !self.displaced.is_empty() {
                self.displaced.remove(&request.caller.peer);
            }
        }
        self.requests.free(key);
    }

    /// Whoever spoke last has one more request on this connection.
    pub(super) fn count_client_up(&mut self, client: &PeerId) {
        if self.clients.request_came(client, self.sender) {
            self.identities.peer_came(self.sender);
        }
    }

    pub(super) fn count_client_down(&mut self, peer: &PeerId) {
        let Some(client) = self.clients.request_went(peer) else { return };
        self.identities.peer_went(client.identity);
        if !self.displaced.is_empty() {
            self.displaced.remove(peer);
        }
    }

    /// Answers did not get to a client. Replies of which a part was lost end with an
    /// error: their client would take the rest for the whole.
    pub(super) fn client_unreachable(
        &mut self,
        client: PeerId,
        answers: u64,
        parts: &[ClientAddress],
    ) {
        self.counters.replies_unsent += answers;
        for part in parts {
            let Some(key) = RequestKey::of(part, self.settings.instance) else { continue };
            let Some(request) = self.requests.get_mut(key) else { continue };
            let goes_on = request.caller.peer == client && request.answer == Answer::Wanted;
            if !goes_on || !matches!(request.reply, Reply::Sent) {
                // It has come again, on another connection or for no reply; or has ended.
                continue;
            }
            if request.caller.version < Version::V1_0 {
                // A final reply, whatever it says, would look like the end of the parts.
                request.answer = Answer::Unwanted;
            }
            self.end_running(key, Dropped::PartialUnsent);
        }
        if answers > 0 {
            self.note(Note::ReplyUnsent { client });
        }
    }
}

/// What a client is told of a request that is dropped; `ran`: a worker had it.
pub(super) fn dropped_outcome<B: Payload>(reason: Dropped, ran: bool) -> Outcome<B> {
    let (code, text) = reason.reason(ran);
    Outcome::failure(Reason { code, text: text.to_owned() }, None)
}
