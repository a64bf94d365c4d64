//! The end of the engine: take nothing new, let running requests end, let workers
//! go.

use std::time::Instant;

use super::request::{Request, RequestState};
use super::worker::Worker;
use super::{Action, Dropped, Engine, Gone, Outlet, Payload};

/// How far the engine is in shutting down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shutdown {
    /// It is not.
    No,
    /// Running requests may end until then.
    Until(Instant),
    /// It has shut down.
    Done,
}

impl<B: Payload, O: Outlet<B>> Engine<B, O> {
    pub(super) fn stop(&mut self) {
        if self.shutdown != Shutdown::No {
            return;
        }
        self.shutdown = Shutdown::Until(self.now + self.settings.shutdown);
        let waiting =
            |(_, request): &(_, &Request<B>)| matches!(request.state, RequestState::Waiting { .. });
        let waiting: Vec<_> = self.requests.iter().filter(waiting).map(|(key, _)| key).collect();
        for key in waiting {
            self.take_waiting(key);
            self.drop_request(key, Dropped::Stopping);
        }
        let idle = |(_, worker): &(_, &Worker)| worker.tasks.is_empty();
        let idle: Vec<_> = self.workers.iter().filter(idle).map(|(key, _)| key).collect();
        for key in idle {
            self.lose(key, Gone::Stopping);
        }
        self.finish_stopping_when_nothing_runs();
    }

    pub(super) fn finish_stopping_when_nothing_runs(&mut self) {
        if matches!(self.shutdown, Shutdown::Until(_)) && self.workers.is_empty() {
            self.shutdown = Shutdown::Done;
            self.outlet.act(Action::Stopped);
        }
    }

    pub(super) fn finish_stopping(&mut self) {
        self.stop();
        let workers: Vec<_> = self.workers.keys().collect();
        for key in workers {
            self.lose(key, Gone::Stopping);
        }
    }
}
