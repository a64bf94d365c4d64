//! A request, from its arrival to its end.

use std::time::Instant;

use majordomo_protocol::ClientAddress;
use slotmap::Key;

use super::event::Caller;
use super::list::{Linked, Links};
use super::service::ServiceKey;
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

    /// Whether `address` is the task id of this request.
    pub(super) fn is(self, address: &ClientAddress, instance: u64) -> bool {
        address.as_bytes() == (self.data().as_ffi() ^ instance).to_be_bytes()
    }
}

/// A request that waits or runs.
#[derive(Debug)]
pub(super) struct Request<B> {
    pub(super) caller: Caller<B>,
    pub(super) service: ServiceKey,
    pub(super) body: B,
    /// Bytes it holds: body, envelope and kept parts of its reply.
    pub(super) bytes: usize,
    /// How often it was handed to a worker.
    pub(super) attempt: u32,
    pub(super) state: RequestState,
    /// What has come of its reply before the final part.
    pub(super) reply: Reply<B>,
    /// Neighbours in the queue; only while it waits.
    pub(super) links: Links<RequestKey>,
}

#[derive(Debug)]
pub(super) enum RequestState {
    Waiting {
        /// Its entry among the deadlines.
        expires: Instant,
        /// The turn it stands in; `None` when it was returned by a lost worker and
        /// stands before all turns.
        turn: Option<TurnKey>,
    },
    Running {
        worker: WorkerKey,
        since: Instant,
    },
}

/// The parts of a reply that came before its final part.
#[derive(Debug)]
pub(super) enum Reply<B> {
    /// None came.
    None,
    /// They went to the client.
    Sent,
    /// They are kept, because the client's version has no PARTIAL.
    Kept { parts: B, bytes: usize },
    /// They were to be kept and were too large; the reply is lost.
    Overflowed,
}

impl<B> Linked<RequestKey> for Request<B> {
    fn links(&mut self) -> &mut Links<RequestKey> {
        &mut self.links
    }
}
