//! Who drives the sockets of a client: its I/O thread, or a caller that waits. How they are
//! driven is the [loop](super::io)'s business.

use std::io;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::Duration;

use crossbeam_channel::Receiver;
use majordomo_io::wake::{self, Bell, Ear};
use majordomo_protocol::Credentials;

use super::Dialog;
use super::io::{Go, Loop, Submit};
use super::wanted::Wanted;
use crate::client::Handed;
use crate::connection;
use crate::context::Context;
use crate::slot::{Pending, Slot};

/// What one thread at a time drives: the I/O thread, or a caller that waits for its own
/// reply and finds the I/O thread at rest. That saves it two wake-ups a call.
pub(crate) struct Driver {
    /// Nothing once the client has ended.
    driven: Mutex<Option<Loop>>,
    bell: Bell,
    ear: Arc<Ear>,
}

impl Driver {
    /// For calls that come by this channel.
    pub(crate) fn new(
        context: Context,
        credentials: Credentials,
        dialog: Dialog<Pending, Wanted>,
        submits: Receiver<Submit>,
        handed: Arc<Handed>,
    ) -> io::Result<Self> {
        let (bell, ear) = wake::pair()?;
        let ear = Arc::new(ear);
        let context = context.listen(ear.clone());
        let driven = Loop::new(context, credentials, dialog, submits, handed, ear.clone());
        Ok(Driver { driven: Mutex::new(Some(driven)), bell, ear })
    }

    /// Something was handed over.
    pub(crate) fn ring(&self) {
        self.bell.ring();
    }

    /// The I/O thread: drives, and rests while nothing is outstanding, until the client is
    /// closed or the context terminated.
    pub(crate) fn run(&self) {
        // However it ends, nobody is left waiting for it, nor hands over any more.
        let _ended = Ended(&self.driven);
        while let Some((fds, left)) = self.go_on_until_rest() {
            let fds = std::iter::once(self.ear.fd()).chain(fds);
            let mut items = connection::readable(fds);
            // A descriptor that a caller has closed meanwhile only ends the wait.
            if let Err(failed) = connection::poll(&mut items, left) {
                log::debug!("cannot {}: {}", failed.call, failed.source);
            }
        }
    }

    /// Drives until there is nothing to do. What then tells that something comes, and how
    /// long to wait for it at most; nothing once the client has ended.
    fn go_on_until_rest(&self) -> Option<(Vec<RawFd>, Duration)> {
        let mut driven = self.driven.lock().unwrap_or_else(PoisonError::into_inner);
        let turns = driven.as_mut()?;
        // Whatever it was rung for, or woken by, is done in these turns.
        self.ear.clear();
        turns.disturb();
        let failed = match turns.go_on_while(|turns| !turns.is_at_rest()) {
            Ok(Go::On) => match turns.rest() {
                Ok(rest) => return Some(rest),
                Err(failed) => Some(failed),
            },
            ended => ended.err(),
        };
        turns.end(failed);
        None
    }

    /// A caller waits for what it handed over to end at `slot`: it drives itself if nobody
    /// else does. Otherwise, and when it ends early, the I/O thread goes on.
    pub(crate) fn drive(&self, slot: &Slot) {
        let mut driven = match self.driven.try_lock() {
            Ok(driven) => driven,
            // A waker has panicked; what it was called for is done.
            Err(TryLockError::Poisoned(driven)) => driven.into_inner(),
            Err(TryLockError::WouldBlock) => return self.ring(),
        };
        let Some(turns) = driven.as_mut() else { return };
        turns.by_caller = true;
        let turns = Driving { turns, bell: &self.bell };
        let unended = |turns: &mut Loop| !slot.has_ended() && turns.closing.is_none();
        // The I/O thread will find the same error, and end.
        let _ = turns.turns.go_on_while(unended);
    }
}

/// Drops the loop, which ends all calls that it has.
struct Ended<'a>(&'a Mutex<Option<Loop>>);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        let ended = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Wakers are called without the lock.
        drop(ended);
    }
}

/// A caller that drives; whatever makes it stop, the I/O thread goes on with what is left.
struct Driving<'a> {
    turns: &'a mut Loop,
    bell: &'a Bell,
}

impl Drop for Driving<'_> {
    fn drop(&mut self) {
        // There may be other sockets now than those that are watched, and what was said may
        // not have left.
        let turns = &mut self.turns;
        if turns.watched || !turns.is_at_rest() || turns.may_have_unsent() {
            self.bell.ring();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::Settings;
    use crate::shared::io::REST;

    #[test]
    fn a_ring_is_heard_once() {
        let settings = Settings::default().checked().expect("settings");
        let wanted = Wanted::new(&settings);
        let dialog = Dialog::with_outlet(settings, 7, wanted).expect("settings");
        let (_submits, taken) = crossbeam_channel::bounded(1);
        let handed = Arc::new(Handed::default());
        let (context, credentials) = (Context::new(None, &[]), Credentials::default());
        let driver = Driver::new(context, credentials, dialog, taken, handed).expect("a pipe");
        let is_rung = || {
            let mut items = [zmq::PollItem::from_fd(driver.ear.fd(), zmq::POLLIN)];
            zmq::poll(&mut items, 0).expect("a poll") == 1
        };
        driver.ring();
        assert!(is_rung());
        let (fds, left) = driver.go_on_until_rest().expect("it goes on");
        assert!(fds.is_empty() && left >= REST && !is_rung());
        driver.ring();
        assert!(is_rung(), "and then again");
    }
}
