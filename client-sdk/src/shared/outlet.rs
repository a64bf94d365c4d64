//! Where a dialog says what it wants done, in order, while something is told to it.
//!
//! Whoever only looks at what comes out takes [`Action`]s from a list. The owner of the sockets puts
//! requests and replies where they leave from, as soon as they are decided: then they are not
//! moved, and the list is not there.

use std::collections::VecDeque;

use majordomo_protocol::Body;
use majordomo_protocol::client::ToBroker;

use super::event::Action;
use crate::call_error::CallError;

/// Takes what a [`Dialog`](super::Dialog) wants done.
pub trait Outlet<T> {
    /// This is to be done.
    fn act(&mut self, action: Action<T>);

    /// As [`Action::Send`].
    fn send(&mut self, broker: usize, command: ToBroker<Body>) {
        self.act(Action::Send { broker, command });
    }

    /// As [`Action::Done`].
    fn done(&mut self, token: T, result: Result<Body, CallError>) {
        self.act(Action::Done { token, result });
    }
}

/// A list, which [`Dialog::poll_action`](super::Dialog::poll_action) takes from.
impl<T> Outlet<T> for VecDeque<Action<T>> {
    fn act(&mut self, action: Action<T>) {
        self.push_back(action);
    }
}
