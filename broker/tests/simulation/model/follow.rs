//! Whether the engine may want done what it wants done.

use majordomo_broker::engine::{Action, Dropped, Gone, Note};
use majordomo_protocol::{ClientAddress, PeerId, ServiceName, worker};

use super::{Model, Number, Reply, Request, State};
use crate::Parts;

impl Model {
    pub(crate) fn follow(&mut self, action: Action<Parts>) {
        self.clock += 1;
        match action {
            Action::ToClient { caller, command } => {
                assert_eq!(self.expected.to_client.take(), Some((caller, command)));
            }
            Action::Answer { caller, service, text } => {
                let expected = self.expected.answer.take();
                let is_report = matches!(expected, Some((_, _, None)));
                assert_eq!(expected, Some((caller, service, (!is_report).then_some(text))));
            }
            Action::ToWorker { worker, version, command } => {
                assert!(!self.parted.contains(&worker), "sent something after DISCONNECT");
                match command {
                    worker::FromBroker::Disconnect => {
                        let expected = &mut self.expected.disconnect;
                        let position =
                            expected.iter().position(|peer| *peer == (worker.clone(), version));
                        expected.remove(position.expect("DISCONNECT without a reason"));
                        self.parted.insert(worker);
                        return;
                    }
                    worker::FromBroker::Heartbeat => {
                        let worker = self.workers.get(&worker).expect("a beat to a stranger");
                        let silent = self.now - worker.told;
                        assert!(silent >= self.settings.heartbeat_interval, "too soon");
                    }
                    worker::FromBroker::Request { client, body } => {
                        self.dispatch(&worker, client, &body);
                    }
                }
                let worker = self.workers.get_mut(&worker).expect("registered");
                assert_eq!(version, worker.version);
                worker.told = self.now;
            }
            Action::Note(note) => self.follow_note(note),
            Action::Stopped => {
                assert!(self.stop_at.is_some() && !self.stopped && self.workers.is_empty());
                self.stopped = true;
            }
        }
    }

    fn dispatch(&mut self, peer: &PeerId, client: ClientAddress, body: &Parts) {
        self.counters.requests_dispatched += 1;
        let number = body.0[0].request;
        let request = self.requests.get(&number).expect("dispatched after its end");
        let service = request.service.clone();
        let State::Waiting { since, returned } = request.state else { panic!("dispatched twice") };
        assert!(since + self.settings.request_expiry > self.now, "dispatched after its expiry");
        assert_eq!(*body, request.body);
        assert!(self.stop_at.is_none(), "dispatched while stopping");
        assert!(request.attempts < self.settings.attempts_max, "one attempt too many");
        assert!(request.id.as_ref().is_none_or(|id| *id == client), "a new id for an old request");
        let owner = self.ids.insert(client.clone(), Some(number));
        assert!(owner.is_none_or(|owner| owner == Some(number)), "an old id for a new request");
        self.check_turn(number, request, returned);

        let worker = self.workers.get(peer).expect("dispatched to a stranger");
        assert_eq!(worker.service, service, "dispatched to a worker of another service");
        assert_eq!(worker.request, None, "a second request for one worker");
        let longest_idle = self.workers.values().filter(|worker| worker.service == service);
        let longest_idle = longest_idle.filter(|worker| worker.request.is_none());
        let longest_idle = longest_idle.map(|worker| worker.idle_since).min();
        assert_eq!(Some(worker.idle_since), longest_idle, "not the least recently used worker");

        let request = self.requests.get_mut(&number).expect("live");
        if returned.is_none() {
            self.turns.insert((service, request.caller.peer.clone()), self.clock);
        }
        request.attempts += 1;
        request.state = State::Running { since: self.now };
        request.id = Some(client.clone());
        if self.settings.follow_requests {
            let said = self.expected.dispatch.take();
            assert_eq!(said, Some((client, peer.clone(), request.attempts)));
        }
        self.workers.get_mut(peer).expect("registered").request = Some(number);
    }

    /// Checks that no other waiting request should have been dispatched before.
    fn check_turn(&self, number: Number, request: &Request, returned: Option<u64>) {
        let last_turn = |other: &Request| {
            self.turns.get(&(other.service.clone(), other.caller.peer.clone())).copied()
        };
        let mine = last_turn(request).unwrap_or(0);
        for (other_number, other) in &self.requests {
            let State::Waiting { returned: other_returned, .. } = other.state else { continue };
            if *other_number == number || other.service != request.service {
                continue;
            }
            match (returned, other_returned) {
                (Some(mine), Some(others)) => assert!(mine < others, "lost earlier, served later"),
                (Some(_), None) => {}
                (None, Some(_)) => panic!("{other_number} lost its worker and is passed over"),
                (None, None) if other.caller.peer == request.caller.peer => {
                    assert!(number < *other_number, "came earlier, served later");
                }
                (None, None) => {
                    let others = last_turn(other).unwrap_or(0);
                    let waited = other.arrived < mine && others < mine;
                    assert!(!waited, "a second turn while {other_number} waits for its first");
                }
            }
        }
    }

    fn follow_note(&mut self, note: Note) {
        match note {
            Note::Late => assert!(std::mem::take(&mut self.expected.late), "not late"),
            Note::ReplyUnsent { client } => assert_eq!(self.expected.unsent.take(), Some(client)),
            Note::WorkerRegistered { worker, version, service } => {
                self.counters.workers_registered += 1;
                let known = &self.workers[&worker];
                assert_eq!((version, &service), (known.version, &known.service));
                assert_eq!(self.expected.registered.take(), Some(worker));
            }
            Note::WorkerRefused { worker, reason } => {
                *self.counters.refused(reason) += 1;
                assert_eq!(self.expected.refused.take(), Some((worker, reason)));
            }
            Note::WorkerGone { worker, service, reason, request } => {
                self.gone(worker, &service, reason, request);
            }
            Note::RequestDropped { client, service, request: None, reason } => {
                *self.counters.dropped(reason) += 1;
                assert!(!service.is_reserved());
                assert_eq!(self.expected.turned_away.take(), Some((client, reason)));
            }
            Note::RequestDropped { client, service, request: Some(id), reason } => {
                self.dropped(&client, &service, id, reason);
            }
            Note::RequestDispatched { request, worker, attempt, .. } => {
                assert!(self.settings.follow_requests);
                self.expected.dispatch = Some((request, worker, attempt));
            }
            Note::RequestAnswered { request, worker } => {
                assert!(self.workers.contains_key(&worker));
                assert_eq!(self.expected.answered.take(), Some(request));
            }
        }
    }

    fn gone(
        &mut self,
        peer: PeerId,
        service: &ServiceName,
        reason: Gone,
        id: Option<ClientAddress>,
    ) {
        *self.counters.gone(reason) += 1;
        let lost_at = self.lost_at(&self.workers[&peer]);
        let worker = self.workers.remove(&peer).expect("registered");
        match reason {
            Gone::Silent => {
                assert!(self.heard_until.is_some_and(|heard| lost_at <= heard), "not silent");
            }
            Gone::Stopping => assert!(self.stop_at.is_some(), "not stopping"),
            _ => assert_eq!(self.expected.gone.take(), Some((peer.clone(), reason))),
        }
        assert_eq!(*service, worker.service);
        if matches!(reason, Gone::Disconnected | Gone::Unreachable) {
            self.parted.insert(peer);
        } else {
            self.expected.disconnect.push((peer, worker.version));
        }
        let Some(number) = worker.request else {
            assert_eq!(id, None);
            return;
        };
        self.counters.requests_returned += 1;
        let request = self.requests.get_mut(&number).expect("running");
        assert_eq!(id, request.id);
        if reason == Gone::Unreachable && request.state == (State::Running { since: worker.told }) {
            request.attempts -= 1;
        }
        let over = [
            (self.stop_at.is_some(), Dropped::Stopping),
            (request.reply == Reply::Sent, Dropped::PartialSent),
            (request.attempts >= self.settings.attempts_max, Dropped::AttemptsMax),
        ];
        match over.into_iter().find(|(over, _)| *over) {
            Some((_, reason)) => self.expected.dropped.push((number, reason)),
            None => {
                request.reply = Reply::None;
                request.state = State::Waiting { since: self.now, returned: Some(self.clock) };
            }
        }
    }

    fn dropped(
        &mut self,
        client: &PeerId,
        service: &ServiceName,
        id: ClientAddress,
        reason: Dropped,
    ) {
        *self.counters.dropped(reason) += 1;
        let known = self.ids.entry(id).or_insert(None);
        // The id of one that was never handed out is new: it is the oldest it can be.
        let number = known.unwrap_or_else(|| {
            let of_client =
                |request: &Request| request.caller.peer == *client && request.service == *service;
            let mut requests = self.requests.iter();
            let oldest = requests.find(|(_, request)| request.id.is_none() && of_client(request));
            *oldest.expect("dropped, and not there").0
        });
        let request = self.requests.remove(&number).expect("dropped after its end");
        assert_eq!((&request.caller.peer, &request.service), (client, service));
        match (reason, request.state) {
            (Dropped::Expired, State::Waiting { since, .. }) => {
                assert!(since + self.settings.request_expiry <= self.now, "expired too soon");
            }
            _ => {
                let expected = &mut self.expected.dropped;
                let position = expected.iter().position(|drop| *drop == (number, reason));
                expected.remove(position.unwrap_or_else(|| panic!("dropped: {reason:?}")));
            }
        }
    }
}
