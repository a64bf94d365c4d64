//! A registered worker: what it serves, what it has, and when it was heard.

use std::time::{Duration, Instant};

use majordomo_protocol::{Metadata, PeerId, Version};

use super::deadline::DeadlineKey;
use super::event::Gone;
use super::index::Named;
use super::list::{Linked, Links};
use super::rights::Identity;
use super::service::ServiceKey;
use super::tasks::Tasks;

slotmap::new_key_type! {
    /// A registered worker.
    pub(super) struct WorkerKey;
}

/// The least time there is: what is due so long after now is not due yet.
pub(super) const JUST_AFTER: Duration = Duration::from_nanos(1);

/// A registered worker.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) peer: PeerId,
    /// Whose connection it is.
    pub(super) identity: Identity,
    pub(super) version: Version,
    pub(super) service: ServiceKey,
    /// How many requests it is given at once. One of MDP/0.1 or MDP/0.2 works on the oldest.
    pub(super) capacity: usize,
    /// The requests it has; never more than `capacity`.
    pub(super) tasks: Tasks,
    pub(super) intake: Intake,
    pub(super) registration: Box<Registration>,
    /// When it last said anything.
    pub(super) heard_at: Instant,
    /// When it was last told anything; once it is unreachable, when that failed.
    pub(super) told_at: Instant,
    /// The number of the action up to which all was sent to it, if that is beyond what was
    /// sent to everybody.
    pub(super) sent: u64,
    /// Its entry among the deadlines.
    pub(super) deadline: DeadlineKey,
    /// Requests it has answered.
    pub(super) answered: u64,
    /// Neighbours among the free workers of its service; only while it is free.
    pub(super) links: Links<WorkerKey>,
}

/// What holds of a worker since it registered. No request asks for it, so it is not among
/// what each of them fetches into the processor's caches.
#[derive(Debug)]
pub(super) struct Registration {
    pub(super) at: Instant,
    /// After how long without a message it is sent a HEARTBEAT.
    pub(super) heartbeat_interval: Duration,
    /// For how long it may be silent.
    pub(super) silence_max: Duration,
    /// What it says of itself; counted in the engine's bytes.
    pub(super) metadata: Metadata,
}

/// Whether a worker takes requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Intake {
    Open,
    /// It said DRAIN: it finishes what it has.
    Draining,
    /// Something could not be sent to it. What it sent before that may be unread, and
    /// counts: it is lost when all of it has been read.
    Unreachable,
}

/// What is to be done about a worker when its deadline comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attention {
    /// It has been silent for too long, or is unreachable and all it said has been read.
    Lost,
    /// It is to be sent a heartbeat.
    Beat,
    /// Neither yet.
    None,
}

impl Worker {
    /// When silence will have lasted too long, or what could not be sent will have been
    /// followed by reading all that came before. No time from before `resumed` counts.
    pub(super) fn lost_at(&self, resumed: Option<Instant>) -> Instant {
        let (since, limit) = match self.intake {
            Intake::Unreachable => (self.told_at, JUST_AFTER),
            _ => (self.heard_at, self.registration.silence_max),
        };
        resumed.map_or(since, |resumed| resumed.max(since)) + limit
    }

    /// Why it is lost at that time.
    pub(super) fn reason(&self) -> Gone {
        if self.is_reachable() { Gone::Silent } else { Gone::Unreachable }
    }

    /// Whether all could be sent to it so far.
    pub(super) fn is_reachable(&self) -> bool {
        self.intake != Intake::Unreachable
    }

    /// Whether it can be given a request.
    pub(super) fn is_free(&self) -> bool {
        self.intake == Intake::Open && self.tasks.len() < self.capacity
    }

    /// How many requests it has to do before the next one it is given; `None` if it is
    /// given none. One of MDP/1.0 does all it has at once.
    pub(super) fn before_next(&self) -> Option<usize> {
        let before = if self.version >= Version::V1_0 { 0 } else { self.tasks.len() };
        self.is_free().then_some(before)
    }

    /// What to do at `now`, when all that came until `heard_until` has been read.
    pub(super) fn attention(
        &self,
        now: Instant,
        heard_until: Instant,
        lost_at: Instant,
    ) -> Attention {
        if lost_at <= heard_until {
            Attention::Lost
        } else if self.is_reachable() && self.told_at + self.registration.heartbeat_interval <= now
        {
            Attention::Beat
        } else {
            Attention::None
        }
    }
}

impl Named for Worker {
    type Name = PeerId;

    #[inline]
    fn name(&self) -> &PeerId {
        &self.peer
    }
}

impl Linked<WorkerKey> for Worker {
    fn links(&mut self) -> &mut Links<WorkerKey> {
        &mut self.links
    }
}
