//! A list of what the engine wants done: the [`Outlet`] of an engine that is given no other.
//!
//! For whoever looks at each [`Action`] by itself: tests, simulations, fuzzing. The server has
//! an outlet without a list.

use std::collections::VecDeque;

use super::event::Action;
use super::outlet::Outlet;
use super::shrink::Shrink;
use super::{Engine, Payload};

/// What is still to be done, in order.
#[derive(Debug)]
pub struct Actions<B> {
    list: VecDeque<Action<B>>,
    /// How many were taken out.
    polled: u64,
}

impl<B> Default for Actions<B> {
    fn default() -> Self {
        Actions { list: VecDeque::new(), polled: 0 }
    }
}

impl<B: Payload> Outlet<B> for Actions<B> {
    fn told(&self) -> u64 {
        self.polled + self.list.len() as u64
    }

    fn seen(&self) -> u64 {
        self.polled
    }

    fn act(&mut self, action: Action<B>) {
        self.list.push_back(action);
    }
}

impl<B: Payload> Engine<B> {
    /// The next thing to do, in order; `None` when all is done.
    pub fn poll_action(&mut self) -> Option<Action<B>> {
        let Actions { list, polled } = self.outlet_mut();
        let action = list.pop_front();
        match action {
            Some(_) => *polled += 1,
            None => list.shrink_when_sparse(),
        }
        action
    }
}
