//! A request, from its arrival to its end.

use std::time::Instant;

use majordomo_protocol::{ClientAddress, Metadata};
use slotmap::{Key, KeyData};

use super::deadline::DeadlineKey;
use super::event::{Caller, Dropped, Gone};
use super::ids::{AnswerNumber, Asked, AskedId};
use super::list::{Linked, Links};
use super::rights::Identity;
use super::service::ServiceKey;
use super::table::Table;
use super::waiting::TurnKey;
use super::worker::WorkerKey;

slotmap::new_key_type! {
    /// A request that waits or runs; never given to a second one.
    pub(super) struct RequestKey;
}

impl RequestKey {
    /// The task id: what a worker sees as client address.
    ///
    /// `instance` makes the ids of one broker unlike those of the one before it,
    /// so that no worker can answer a request of the new one by an old id.
    pub(super) fn address(self, instance: u64) -> ClientAddress {
        ClientAddress::new(&(self.data().as_ffi() ^ instance).to_be_bytes())
    }

    /// The request that has `address` for its task id, if one ever had.
    pub(super) fn of(address: &ClientAddress, instance: u64) -> Option<Self> {
        let bytes = <[u8; 8]>::try_from(address.as_bytes()).ok()?;
        let number = u64::from_be_bytes(bytes) ^ instance;
        let key = KeyData::from_ffi(number);
        // Several numbers make the same key; only one is its own.
        (key.as_ffi() == number).then(|| RequestKey::from(key))
    }
}

/// Above the number of every action.
pub(super) const UNSENT: u64 = 1 << 63;

/// A request that waits or runs. Many may wait, so what is rare is not in place.
#[derive(Debug)]
pub(super) struct Request<B> {
    pub(super) caller: Caller<B>,
    /// Whose connection it came on.
    pub(super) identity: Identity,
    pub(super) service: ServiceKey,
    /// Whether its client waits for an answer.
    pub(super) answer: Answer,
    /// Whether a second worker may have it.
    pub(super) redelivery: Redelivery,
    /// Must be running by then.
    pub(super) start_by: Option<Instant>,
    /// Must have ended by then.
    pub(super) end_by: Option<Instant>,
    pub(super) metadata: Metadata,
    /// What is asked; gone once nobody will be asked any more.
    pub(super) body: Option<B>,
    /// Bytes it holds: body, envelope, metadata and kept parts of its reply.
    pub(super) bytes: usize,
    /// How often it was handed to a worker.
    pub(super) attempt: u32,
    /// The number of the action by which it was handed to its worker: until that is
    /// sent it has not been. With [`UNSENT`] once it is known that it never will be.
    pub(super) handed_out: u64,
    /// Where it stands among the tasks of its worker.
    pub(super) place: u32,
    /// Why it lost the workers that worked on it; at most `attempts_max`. One in whose
    /// socket it waited is not among them, though it may have begun.
    pub(super) losses: Losses,
    pub(super) state: RequestState,
    /// Its entry among the deadlines: until when it waits, or runs.
    pub(super) deadline: DeadlineKey,
    /// Its answer, once it has one that is kept.
    pub(super) answered: Option<AnswerNumber>,
    /// What has come of its reply before the final part.
    pub(super) reply: Reply<B>,
    /// Neighbours in the queue while it waits.
    pub(super) links: Links<RequestKey>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Wanted,
    Unwanted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Redelivery {
    Allowed,
    /// Its client said *once*.
    Forbidden,
}

#[derive(Debug)]
pub(super) enum RequestState {
    Waiting {
        /// The turn it stands in; `None` when it was returned by a lost worker and
        /// stands before all turns.
        turn: Option<TurnKey>,
    },
    Running {
        worker: WorkerKey,
    },
    /// It ended for its client, but not for its worker, which holds it until it
    /// answers or is lost. Until then its id stays taken, so that it cannot run twice at
    /// once, and it counts for its client. Nobody is to be told.
    Abandoned {
        worker: WorkerKey,
        /// Why it ended.
        reason: Dropped,
    },
}

impl Answer {
    pub(super) fn of(no_reply: bool) -> Self {
        if no_reply { Answer::Unwanted } else { Answer::Wanted }
    }
}

impl RequestState {
    /// The worker that has it.
    pub(super) fn worker(&self) -> Option<WorkerKey> {
        match self {
            RequestState::Waiting { .. } => None,
            RequestState::Running { worker } | RequestState::Abandoned { worker, .. } => {
                Some(*worker)
            }
        }
    }
}

/// The parts of a reply that came before its final part.
#[derive(Debug)]
pub(super) enum Reply<B> {
    /// None came.
    None,
    /// They went to the client, if it wanted any.
    Sent,
    /// They are kept, because the client's version has no PARTIAL.
    Kept(Box<Parts<B>>),
    /// They were to be kept and were too large; the reply is lost.
    Overflowed,
}

/// Parts that are kept.
#[derive(Debug)]
pub(super) struct Parts<B> {
    pub(super) body: B,
    pub(super) bytes: usize,
}

/// Why workers were lost: mostly none was.
#[derive(Debug, Default)]
pub(super) struct Losses(
    #[expect(clippy::box_collection, reason = "hardly any request needs one")]
    Option<Box<Vec<Gone>>>,
);

impl Losses {
    pub(super) fn add(&mut self, reason: Gone) {
        self.0.get_or_insert_default().push(reason);
    }

    pub(super) fn reasons(&self) -> &[Gone] {
        self.0.as_ref().map_or(&[], |reasons| reasons.as_slice())
    }
}

impl<B> Request<B> {
    /// What its client calls it, if it does.
    pub(super) fn asked_id(&self) -> Option<AskedId> {
        Some((self.identity, self.caller.id?))
    }
}

impl<B> Asked for Table<RequestKey, Request<B>> {
    #[inline]
    fn id(&self, key: RequestKey) -> Option<AskedId> {
        self.get(key)?.asked_id()
    }
}

impl<B> Linked<RequestKey> for Request<B> {
    fn links(&mut self) -> &mut Links<RequestKey> {
        &mut self.links
    }
}
