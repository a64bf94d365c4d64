//! A registered worker: what it serves, what it has, and when it was heard.

use std::time::{Duration, Instant};

use majordomo_protocol::{PeerId, Version};

use super::list::{Linked, Links};
use super::request::RequestKey;
use super::service::ServiceKey;

slotmap::new_key_type! {
    /// A registered worker.
    pub(super) struct WorkerKey;
}

/// A registered worker.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) peer: PeerId,
    pub(super) version: Version,
    pub(super) service: ServiceKey,
    pub(super) state: WorkerState,
    pub(super) registered_at: Instant,
    /// When it last said anything.
    pub(super) heard_at: Instant,
    /// When it was last told anything.
    pub(super) told_at: Instant,
    /// Its entry among the deadlines.
    pub(super) due: Instant,
    /// Requests it has answered.
    pub(super) answered: u64,
    /// Neighbours in the idle list of its service; only while it is idle.
    pub(super) links: Links<WorkerKey>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WorkerState {
    Idle,
    Busy(RequestKey),
}

/// What is to be done about a worker when its deadline comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attention {
    /// It has been silent for too long.
    Lost,
    /// It is to be sent a heartbeat.
    Beat,
    /// Neither yet.
    None,
}

impl Worker {
    /// When silence will have lasted too long. `grace` is the end of a time in
    /// which nobody's silence counts.
    pub(super) fn lost_at(&self, window: Duration, grace: Option<Instant>) -> Instant {
        (self.heard_at + window).max(grace.unwrap_or(self.heard_at))
    }

    /// What to do at `now`, when all that came until `heard_until` has been read.
    pub(super) fn attention(
        &self,
        now: Instant,
        heard_until: Instant,
        interval: Duration,
        lost_at: Instant,
    ) -> Attention {
        if lost_at <= heard_until {
            Attention::Lost
        } else if self.told_at + interval <= now {
            Attention::Beat
        } else {
            Attention::None
        }
    }
}

impl Linked<WorkerKey> for Worker {
    fn links(&mut self) -> &mut Links<WorkerKey> {
        &mut self.links
    }
}
