//! What the dialog wants done, where the [loop](super::io) finds it: requests in the messages
//! that they leave in, calls that have ended, and the rest in order.

use std::collections::VecDeque;

use majordomo_protocol::Body;
use majordomo_protocol::client::ToBroker;

use super::event::Action;
use super::outbox::Outbox;
use super::outlet::Outlet;
use super::settings::Settings;
use crate::call_error::CallError;
use crate::slot::{Outcome, Pending};

pub(crate) struct Wanted {
    /// Of each broker. Nothing is said to one that is not connected, so it does not matter
    /// that what is said stands apart from when the connection is to change.
    pub(super) outboxes: Vec<Outbox>,
    /// Bytes of a message of several records, at most.
    batch_bytes_max: usize,
    /// Calls that have ended, all parts of whose replies stand among `others`.
    pub(super) ended: Vec<(Pending, Outcome)>,
    /// To connect, to disconnect, and parts.
    pub(super) others: VecDeque<Action<Pending>>,
}

impl Wanted {
    /// Of a client with these settings.
    pub(crate) fn new(settings: &Settings) -> Self {
        Wanted {
            outboxes: settings.endpoints.iter().map(|_| Outbox::default()).collect(),
            batch_bytes_max: settings.batch_bytes_max,
            ended: Vec::new(),
            others: VecDeque::new(),
        }
    }
}

impl Outlet<Pending> for Wanted {
    fn act(&mut self, action: Action<Pending>) {
        match action {
            Action::Send { broker, command } => self.send(broker, command),
            Action::Done { token, result } => self.done(token, result),
            other => self.others.push_back(other),
        }
    }

    fn send(&mut self, broker: usize, command: ToBroker<Body>) {
        if let Some(outbox) = self.outboxes.get_mut(broker) {
            outbox.push(command, self.batch_bytes_max);
        }
    }

    fn done(&mut self, token: Pending, result: Result<Body, CallError>) {
        self.ended.push((token, result.map_err(Box::new)));
    }
}
