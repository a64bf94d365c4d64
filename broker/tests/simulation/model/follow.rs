//! Whether the engine may want done what it wants done.

use majordomo_broker::engine::{Action, Caller, Dropped, Gone, Note};
use majordomo_protocol::{ClientAddress, PeerId, ServiceName, Version, client, worker};

use super::answers::Outcome;
use super::{Model, Number, Reply, Request, State, Task};
use crate::Parts;

/// How far a request was when its worker was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// It did not get there.
    Unsent,
    /// It waited in the worker's socket.
    Waiting,
    Begun,
}

impl Model {
    pub(crate) fn follow(&mut self, action: Action<Parts>) {
        self.clock += 1;
        match action {
            Action::ToClient { caller, command, part_of } => {
                let is_part = matches!(command, client::FromBroker::Partial { .. });
                assert_eq!(part_of.is_some(), is_part);
                self.follow_answer(caller, command);
            }
            Action::ToWorker { worker, version, command } => {
                assert!(!self.parted.contains(&worker), "sent something after DISCONNECT");
                match command {
                    worker::FromBroker::Disconnect { .. } => {
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
                        assert!(silent >= worker.heartbeat, "too soon");
                    }
                    worker::FromBroker::Request { client, task, body } => {
                        self.dispatch(&worker, client, &task, &body);
                    }
                    worker::FromBroker::Welcome(agreement) => {
                        assert!(version >= Version::V1_0);
                        let expected = self.expected.welcome.take();
                        assert_eq!(expected, Some((worker.clone(), agreement)));
                    }
                    worker::FromBroker::Cancel { client } => {
                        assert!(version >= Version::V1_0);
                        assert_eq!(self.expected.cancelled.replace(client), None);
                    }
                }
                let worker = self.workers.get_mut(&worker).expect("registered");
                assert_eq!(version, worker.version);
                assert!(worker.unreachable.is_none(), "told what cannot be sent");
                worker.told = self.now;
            }
            Action::Note(note) => self.follow_note(note),
            Action::Close { peer } => panic!("{peer} has no identity, and is closed"),
            Action::Stopped => {
                assert!(self.stop_at.is_some() && !self.stopped && self.workers.is_empty());
                self.stopped = true;
            }
        }
    }

    fn follow_answer(&mut self, caller: Caller<Parts>, command: client::FromBroker<Parts>) {
        match (&self.expected.report, &command) {
            (Some((asked, about)), client::FromBroker::Final { request, .. })
                if *asked == caller && about == request =>
            {
                self.expected.report = None;
            }
            _ => self.expected.said.push((caller, command)),
        }
    }

    fn dispatch(
        &mut self,
        peer: &PeerId,
        client: ClientAddress,
        task: &majordomo_protocol::Task,
        body: &Parts,
    ) {
        self.counters.requests_dispatched += 1;
        let number = body.0[0].request;
        let request = self.requests.get(&number).expect("dispatched after its end");
        let service = request.service.clone();
        let State::Waiting { expires, returned } = request.state else {
            panic!("dispatched twice")
        };
        assert!(expires > self.now, "dispatched after its expiry");
        assert_eq!(*body, request.body);
        assert_eq!(task.metadata, request.terms.metadata);
        assert_eq!(u32::from(task.attempt), request.attempts + 1);
        assert_eq!(task.timeout, request.end_by().map(|end| end - self.now));
        assert!(self.stop_at.is_none(), "dispatched while stopping");
        assert!(request.losses < self.settings.attempts_max, "one attempt too many");
        assert!(request.attempts == 0 || !request.terms.once, "a second attempt for once");
        assert!(request.id.as_ref().is_none_or(|id| *id == client), "a new id for an old request");
        let owner = self.ids.insert(client.clone(), Some(number));
        assert!(owner.is_none() || request.id.is_some(), "an old id for a new request");
        self.check_turn(number, request, returned);

        let worker = self.workers.get(peer).expect("dispatched to a stranger");
        assert_eq!(worker.service, service, "dispatched to a worker of another service");
        assert!(worker.is_free(), "more than its capacity, or draining");
        let free = self.workers.values().filter(|w| w.service == service && w.is_free());
        let first = free.map(|worker| (worker.ahead(), worker.used)).min();
        let found = (worker.ahead(), worker.used);
        assert_eq!(Some(found), first, "not the least recently used with the fewest");

        let request = self.requests.get_mut(&number).expect("live");
        if returned.is_none() {
            self.turns.insert((service, request.asked_first.clone()), self.clock);
        }
        request.attempts += 1;
        request.state = State::Running;
        request.id = Some(client.clone());
        if self.settings.follow_requests {
            let said = self.expected.dispatch.take();
            assert_eq!(said, Some((client.clone(), peer.clone(), request.attempts)));
        }
        let worker = self.workers.get_mut(peer).expect("registered");
        worker.used = self.clock;
        worker.tasks.push(Task { id: client, number, ended: None, sent: false });
    }

    /// All that this worker was told so far has been sent.
    pub(crate) fn sent_to(&mut self, peer: &PeerId) {
        if let Some(worker) = self.workers.get_mut(peer) {
            worker.tasks.iter_mut().for_each(|task| task.sent = true);
        }
    }

    /// Checks that no other waiting request should have been dispatched before.
    fn check_turn(&self, number: Number, request: &Request, returned: Option<u64>) {
        let last_turn = |other: &Request| {
            self.turns.get(&(other.service.clone(), other.asked_first.clone())).copied()
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
                (None, None) if other.asked_first == request.asked_first => {
                    assert!(request.arrived < other.arrived, "came earlier, served later");
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
            Note::Late => {
                assert!(self.may_be_late, "not late");
                self.expected.late = false;
                self.resumed = Some(self.now);
            }
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
            Note::WorkerGone { worker, service, reason, requests } => {
                self.gone(worker, &service, reason, requests);
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
            Note::Forbidden { .. } | Note::CutOff { .. } | Note::ConnectionClosed { .. } => {
                panic!("there are no rights: {note:?}")
            }
            Note::RequestAnswered { request, worker } => {
                assert!(self.workers.contains_key(&worker));
                assert_eq!(self.expected.answered.take(), Some(request));
            }
        }
    }

    fn gone(&mut self, peer: PeerId, service: &ServiceName, reason: Gone, requests: usize) {
        *self.counters.gone(reason) += 1;
        let lost_at = self.lost_at(&self.workers[&peer]);
        let worker = self.workers.remove(&peer).expect("registered");
        match reason {
            Gone::Silent => {
                assert!(self.heard_until.is_some_and(|heard| lost_at <= heard), "not silent");
            }
            Gone::Unreachable if self.heard_until.is_some() => {
                assert!(worker.unreachable.is_some(), "reachable");
                assert!(self.heard_until.is_some_and(|heard| lost_at <= heard), "not all is read");
            }
            Gone::Stopping => assert!(self.stop_at.is_some(), "not stopping"),
            _ => assert_eq!(self.expected.gone.take(), Some((peer.clone(), reason))),
        }
        assert_eq!(*service, worker.service);
        if matches!(reason, Gone::Disconnected | Gone::ConnectionEnded | Gone::Unreachable) {
            self.parted.insert(peer);
        } else {
            self.expected.disconnect.push((peer, worker.version));
        }
        assert_eq!(requests, worker.tasks.len());
        let version = worker.version;
        for (position, task) in worker.tasks.into_iter().enumerate() {
            let lost = match (version, position) {
                // Its worker went before it could be sent.
                _ if !task.sent => Lost::Unsent,
                (Version::V1_0, _) | (_, 0) => Lost::Begun,
                _ => Lost::Waiting,
            };
            self.give_back(&task, lost);
        }
    }

    pub(super) fn give_back(&mut self, task: &Task, lost: Lost) {
        if task.ended.is_some() {
            return;
        }
        self.clock += 1;
        self.counters.requests_returned += 1;
        let request = self.requests.get_mut(&task.number).expect("running");
        match lost {
            Lost::Unsent => request.attempts -= 1,
            Lost::Waiting if request.reply == Reply::None => {}
            Lost::Waiting | Lost::Begun => request.losses += 1,
        }
        let over = [
            (self.stop_at.is_some(), Dropped::Stopping),
            (request.reply == Reply::Sent && request.wanted, Dropped::PartialSent),
            (request.terms.once && request.attempts > 0, Dropped::Once),
            (request.losses >= self.settings.attempts_max, Dropped::AttemptsMax),
        ];
        match over.into_iter().find(|(over, _)| *over) {
            Some((_, reason)) => self.expected.dropped.push((task.number, reason)),
            None => {
                request.reply = Reply::None;
                let expires = request.expires(self.now, self.settings.request_expiry);
                request.state = State::Waiting { expires, returned: Some(self.clock) };
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
        let known = *self.ids.entry(id.clone()).or_insert(None);
        // The id of one that was never handed out is new: it is the oldest it can be. If
        // another one can be meant, that is dropped at once, too.
        let number = known.unwrap_or_else(|| {
            let meant = |(number, request): &(&Number, &Request)| {
                request.id.is_none()
                    && request.caller.peer == *client
                    && request.service == *service
                    && self.may_drop(**number, request, reason)
            };
            let meant = self.requests.iter().filter(meant);
            *meant.min_by_key(|(_, request)| request.arrived).expect("dropped, and not there").0
        });
        let request = self.requests.remove(&number).expect("dropped after its end");
        assert_eq!((&request.caller.peer, &request.service), (client, service));
        assert!(self.may_drop(number, &request, reason), "dropped: {reason:?}");
        self.expected.dropped.retain(|drop| *drop != (number, reason));

        let ran = request.attempts > 0;
        let outcome = Outcome::dropped(reason, ran);
        // A worker that is still there holds it.
        for worker in self.workers.values_mut() {
            let mut tasks = worker.tasks.iter_mut();
            if let Some(task) = tasks.find(|task| task.ended.is_none() && task.id == id) {
                task.ended = Some((client.clone(), outcome.clone()));
                if worker.version >= Version::V1_0 && worker.unreachable.is_none() {
                    assert_eq!(self.expected.cancelled.take(), Some(id.clone()));
                }
            }
        }
        if ran {
            self.remember(&request.caller, number, request.wanted, &outcome);
        }
        self.expect_answer(&request.caller, service, request.wanted, outcome);
    }

    fn may_drop(&self, number: Number, request: &Request, reason: Dropped) -> bool {
        match (reason, request.state) {
            (Dropped::Expired | Dropped::NotStarted, State::Waiting { expires, .. }) => {
                expires <= self.now && reason == request.expiry_reason(self.now)
            }
            (Dropped::TimedOut, State::Running) => {
                self.heard_until.is_some() && request.end_by().is_some_and(|end| end <= self.now)
            }
            _ => self.expected.dropped.contains(&(number, reason)),
        }
    }
}
