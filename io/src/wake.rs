//! Wakes the owner of sockets out of its wait.
//!
//! A socket pair, because a poll can wait for it beside ZeroMQ sockets and any
//! number of threads may write to it. However much is handed over while the owner is
//! busy, one byte is written.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The end of whoever hands over.
#[derive(Debug)]
pub struct Bell {
    stream: UnixStream,
    pending: Arc<AtomicBool>,
}

/// The end that the owner waits for.
#[derive(Debug)]
pub struct Ear {
    stream: UnixStream,
    pending: Arc<AtomicBool>,
}

/// Makes both ends.
///
/// # Errors
///
/// When the system has no descriptor left.
pub fn pair() -> io::Result<(Bell, Ear)> {
    let (write, read) = UnixStream::pair()?;
    write.set_nonblocking(true)?;
    read.set_nonblocking(true)?;
    let pending = Arc::new(AtomicBool::new(false));
    Ok((Bell { stream: write, pending: pending.clone() }, Ear { stream: read, pending }))
}

impl Bell {
    /// Makes the next poll of the other end return. Hand over first, then ring. Does not
    /// block; any number of threads may ring at once.
    pub fn ring(&self) {
        if !self.pending.swap(true, Ordering::SeqCst) {
            // It fails only when the other end is gone, and then nobody is to be
            // woken: at most one byte is ever on its way.
            let _ = (&self.stream).write(&[1]);
        }
    }
}

impl AsFd for Ear {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Ear {
    /// What is readable once it was rung, until it is [cleared](Ear::clear).
    pub fn fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    /// Makes ready for the next ring. Look for what was handed over after this,
    /// never before. The byte goes first and the flag second: in the other order the
    /// byte of a ring in between would be lost with its flag still set.
    pub fn clear(&self) {
        let mut bytes = [0; 16];
        while (&self.stream).read(&mut bytes).is_ok_and(|count| count == bytes.len()) {}
        self.pending.swap(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_readable(ear: &Ear) -> bool {
        let mut items = [zmq::PollItem::from_fd(ear.fd(), zmq::POLLIN)];
        zmq::poll(&mut items, 0).unwrap() == 1
    }

    #[test]
    fn many_rings_are_one_byte_and_clearing_makes_ready_for_the_next() {
        let (bell, ear) = pair().unwrap();
        assert!(!is_readable(&ear));
        for _ in 0..100_000 {
            bell.ring();
        }
        assert!(is_readable(&ear));
        ear.clear();
        assert!(!is_readable(&ear));
        bell.ring();
        assert!(is_readable(&ear));
    }
}
