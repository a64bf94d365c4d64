//! What more than one of broker and SDKs do with ZeroMQ sockets: I/O on the thread that uses
//! them, how to [wake] that thread, and, for who connects, what it [shows](security) the other
//! side and what becomes of the [connection](monitor).
//!
//! libzmq has threads of its own that move bytes between the network and its sockets: each
//! message that travels alone wakes one of them, which then wakes its receiver. The libzmq
//! of this workspace can do without (`zmq-sys/patches/caller.rs`), in a [`context`] made here. Then
//! the owner of the sockets [runs](run) the I/O: it takes the place of the wait for the
//! sockets, and nothing moves while nobody does it. So the owner must come back to it in
//! time, and call nothing of ZeroMQ that blocks.
//!
//! With any other libzmq [`serve`] and [`watch`] say `false`, libzmq's threads move the
//! bytes, and its user waits as usual.
//!
//! They are unsafe since a [`zmq::Socket`] can be sent to another thread, and the sockets of
//! such a context share what a socket usually has to itself.
//!
//! It knows nothing of what the messages mean.

use std::ffi::{c_int, c_void};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

pub mod monitor;
pub mod security;
pub mod wake;

#[cfg(test)]
mod tests;

/// What `zmq-sys/patches/caller.rs` says of these.
const SERVE: c_int = 19_782;
const RUN: c_int = 19_783;
const DESCRIPTOR: c_int = 19_784;

/// A context without threads for I/O if this libzmq can do without, and an ordinary one
/// otherwise.
///
/// When it is dropped, after its sockets, libzmq starts a thread that sends what is left,
/// as long as the linger period of each socket allows. Until then nothing of a socket that
/// was closed leaves, if nobody runs I/O for another one.
pub fn context() -> zmq::Context {
    let context = zmq::Context::new();
    // Refused by any other libzmq, which then has its one thread.
    let _ = context.set_io_threads(-1);
    context
}

/// Has the one who runs I/O serve this socket. Whether there is I/O to run: not in an
/// ordinary context.
///
/// # Safety
///
/// No two of all the sockets that are served in this context may be used at the same time,
/// which threads ensure that own them all, or take turns under a lock.
///
/// # Errors
///
/// What libzmq says of a context that has ended.
#[expect(unsafe_code, reason = "sockets can be sent to other threads, and then share too much")]
pub unsafe fn serve(socket: &mut zmq::Socket) -> zmq::Result<bool> {
    set(socket, -1)
}

/// As [`serve`], and a [`run`] ends when `fd` is readable, as long as the socket is open. A
/// duplicate of it is kept.
///
/// # Safety
///
/// As [`serve`]; and `fd` is no regular file, for which nobody can wait.
///
/// # Errors
///
/// As [`serve`], and EMFILE when the process has no descriptor left.
#[expect(unsafe_code, reason = "as `serve`")]
pub unsafe fn watch(socket: &mut zmq::Socket, fd: BorrowedFd<'_>) -> zmq::Result<bool> {
    set(socket, fd.as_raw_fd())
}

/// Moves what can be moved between peers and all sockets of the context of this one, which
/// is [served](serve), and waits for the first of it; at most for so long, rounded up to
/// milliseconds, and without end if that is `None`.
///
/// What was sent leaves at the beginning. Afterwards any of the sockets may have something,
/// and until all of them have been looked at (for a message or an event) there may be no
/// further wait.
///
/// It may end early, and without anything to tell.
///
/// # Errors
///
/// EINVAL for a socket that is not served.
pub fn run(socket: &mut zmq::Socket, wait: Option<Duration>) -> zmq::Result<Found> {
    // No sooner than it is told.
    let wait_ms = wait
        .map_or(-1, |wait| c_int::try_from(wait.as_micros().div_ceil(1_000)).unwrap_or(c_int::MAX));
    let found = ask(socket, RUN, wait_ms)?;
    Ok(Found { told: found & 1 != 0, more: found & 2 != 0 })
}

/// What a [`run`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// A descriptor that is [watched](watch) is readable.
    pub told: bool,
    /// So many connections had something (256) that others may have, too. If not, a piece
    /// was read of each that had.
    pub more: bool,
}

/// What is readable when there is I/O to [run], for somebody who waits for it without the
/// sockets; `None` in an ordinary context. Whoever has used the sockets asks for it again
/// before it is waited for. It does not tell of what only time brings, such as the end of a
/// handshake that takes too long.
///
/// # Errors
///
/// As [`serve`].
pub fn descriptor(socket: &mut zmq::Socket) -> zmq::Result<Option<RawFd>> {
    match ask(socket, DESCRIPTOR, 0) {
        Ok(fd) => Ok(Some(fd)),
        Err(zmq::Error::EINVAL) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Repeats a call that does not block while signals interrupt it.
///
/// # Errors
///
/// Those of the call, but EINTR.
pub fn retry<T>(mut call: impl FnMut() -> zmq::Result<T>) -> zmq::Result<T> {
    loop {
        match call() {
            Err(zmq::Error::EINTR) => {}
            done => return done,
        }
    }
}

fn set(socket: &mut zmq::Socket, fd: c_int) -> zmq::Result<bool> {
    // SAFETY: the socket is alive, and libzmq reads as many bytes as it is told, which
    // live during the call.
    #[expect(unsafe_code, reason = "the zmq crate has no method for this option")]
    let failed = unsafe {
        let start = (&raw const fd).cast::<c_void>();
        zmq_sys::zmq_setsockopt(socket.as_mut_ptr(), SERVE, start, size_of::<c_int>())
    };
    match failed {
        0 => Ok(true),
        _ => match last_error() {
            zmq::Error::EINVAL => Ok(false),
            error => Err(error),
        },
    }
}

fn ask(socket: &mut zmq::Socket, option: c_int, value: c_int) -> zmq::Result<c_int> {
    let (mut value, mut size) = (value, size_of::<c_int>());
    // SAFETY: the socket is alive, and libzmq reads and writes as many bytes as it is told,
    // which live during the call.
    #[expect(unsafe_code, reason = "the zmq crate has no method for these options")]
    let failed = unsafe {
        let start = (&raw mut value).cast::<c_void>();
        zmq_sys::zmq_getsockopt(socket.as_mut_ptr(), option, start, &raw mut size)
    };
    if failed == 0 { Ok(value) } else { Err(last_error()) }
}

fn last_error() -> zmq::Error {
    #[expect(unsafe_code, reason = "the zmq crate keeps its errno to itself")]
    // SAFETY: reads a number of this thread.
    zmq::Error::from_raw(unsafe { zmq_sys::zmq_errno() })
}
