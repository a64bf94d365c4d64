//! A call under way, in the hands of its caller.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use majordomo_protocol::Body;

use crate::call_error::CallError;
use crate::client::Shared;
use crate::dialog::Reply;
use crate::slot::Slot;

/// A call that was [submitted](crate::Client::submit).
///
/// It can be waited for, with or without a limit, read part by part, or awaited: it is
/// a [`Future`] that works on any executor, and needs none of its own. Dropping it
/// before its end cancels the call, unless it was [detached](Call::detach). It keeps
/// its client open.
///
/// ```no_run
/// use majordomo_client::Client;
///
/// let client = Client::connect("tcp://127.0.0.1:5555")?;
/// let calls: Vec<_> =
///     ["a", "b", "c"].map(|text| client.submit("upcase", text)).into_iter().collect::<Result<_, _>>()?;
/// for call in calls {
///     println!("{} bytes", call.wait()?.size());
/// }
/// # Ok::<(), majordomo_client::CallError>(())
/// ```
#[must_use = "dropping a call cancels it; detach() lets it go on"]
pub struct Call {
    key: u64,
    slot: Arc<Slot>,
    /// None once it was detached.
    shared: Option<Arc<Shared>>,
}

impl Call {
    pub(crate) fn new(key: u64, slot: Arc<Slot>, shared: Arc<Shared>) -> Self {
        Call { key, slot, shared: Some(shared) }
    }

    pub(crate) fn slot(&self) -> &Slot {
        &self.slot
    }

    /// Blocks until the reply is there or the call failed, at most until its deadline.
    /// A reply in parts is joined: their frames, in order, before those of the last.
    ///
    /// # Errors
    ///
    /// As [`Client::call`](crate::Client::call).
    pub fn wait(self) -> Result<Body, CallError> {
        // The reply can be taken before only by a method that gave it out.
        self.slot.wait().unwrap_or(Err(CallError::Closed { may_have_run: true }))
    }

    /// As [`Call::wait`], but blocks at most for `timeout`: None when nothing has come
    /// by then, and after the reply has been given out.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Option<Result<Body, CallError>> {
        self.slot.wait_timeout(timeout)
    }

    /// The reply if it is there; does not block. None also after it has been given
    /// out.
    pub fn try_wait(&mut self) -> Option<Result<Body, CallError>> {
        self.wait_timeout(Duration::ZERO)
    }

    /// Whether the call has ended.
    pub fn has_ended(&self) -> bool {
        self.slot.has_ended()
    }

    /// The parts of the reply as they come.
    pub fn replies(self) -> Replies {
        Replies { call: self, ended: false }
    }

    /// Takes the call back: it ends as [`CallError::Cancelled`], unless its reply is
    /// there already, and the broker and the worker are told. Does not block.
    pub fn cancel(&self) {
        if let Some(shared) = &self.shared
            && !self.slot.has_ended()
        {
            // In this order: the I/O thread finds the one or the other.
            self.slot.withdraw();
            shared.cancel(self.key);
        }
    }

    /// Lets the call go on with nobody waiting for it, for as long as the client is
    /// open.
    pub fn detach(mut self) {
        self.shared = None;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl Future for Call {
    type Output = Result<Body, CallError>;

    /// As [`Call::wait`]. To be dropped once it is ready.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let closed = || Err(CallError::Closed { may_have_run: true });
        self.slot.poll(context).map(|outcome| outcome.unwrap_or_else(closed))
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("key", &self.key).finish_non_exhaustive()
    }
}

/// The parts of a reply; see [`Call::replies`].
///
/// Each item blocks until it has come. The iterator ends after the [`Reply::Final`] or
/// after an error. Dropped before that, it cancels the call.
#[derive(Debug)]
#[must_use = "dropping it cancels the call"]
pub struct Replies {
    call: Call,
    ended: bool,
}

impl Iterator for Replies {
    type Item = Result<Reply, CallError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.call.slot.next();
        self.ended = !matches!(next, Some(Ok(Reply::Partial(_))));
        next
    }
}

impl std::iter::FusedIterator for Replies {}
