//! One frame of a message: received, kept and sent on without copying its bytes.
//!
//! The `zmq` crate's `Message` cannot be cloned, and a broker must keep a request
//! that it has handed out, in case the worker is lost. libzmq itself counts the
//! references to a large message; this type is that, and no more.
#![expect(
    unsafe_code,
    reason = "sharing a message between two owners is only possible through libzmq's C interface"
)]

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_int};
use std::ops::{Deref, RangeInclusive};

use zmq_sys::zmq_msg_t;

/// A frame of such a size may be a part of the 8 KiB buffer into which libzmq read
/// what there was: smaller ones are copied by libzmq, larger ones never fit.
const PART_OF_A_BUFFER: RangeInclusive<usize> = 34..=8_192;

/// One frame. A clone of a large frame shares its bytes.
pub(crate) enum Frame {
    /// The first `length` of these bytes: short bodies pass through a batch without
    /// any memory of their own.
    Short { length: u8, bytes: [u8; SHORT_BYTES_MAX] },
    /// As libzmq received it.
    Received(Shared),
    /// A message of libzmq that has its memory for itself.
    Own(Shared),
}

/// As many as fit beside a libzmq message.
const SHORT_BYTES_MAX: usize = 70;

/// A message of libzmq.
#[repr(transparent)]
pub(crate) struct Shared(
    /// Initialised by libzmq, and closed once. In a cell because copying a message
    /// marks the source as shared.
    UnsafeCell<zmq_msg_t>,
);

// SAFETY: libzmq passes messages between threads itself, and counts references
// atomically. `Shared` is not `Sync`, so no two threads use one `zmq_msg_t` at once.
unsafe impl Send for Shared {}

impl Frame {
    /// Gets memory of its own instead of a part of a larger buffer, which it would keep
    /// alive.
    #[inline]
    pub(crate) fn detach(&mut self) {
        if let Frame::Received(message) = self
            && PART_OF_A_BUFFER.contains(&message.len())
        {
            *self = Frame::from(&**message);
        }
    }

    /// Receives a frame from a socket without waiting. Also says whether the
    /// message has more frames.
    pub(crate) fn receive(socket: &mut zmq::Socket) -> Result<(Self, bool), zmq::Error> {
        let (message, more) = Shared::receive(socket)?;
        Ok((Frame::Received(message), more))
    }

    /// A property of the connection that this frame came on, such as `User-Id`; `None` if
    /// it has none of that name, as one of a process's own, or if it is no UTF-8.
    pub(crate) fn property(&self, name: &CStr) -> Option<&str> {
        let Frame::Received(message) = self else { return None };
        // SAFETY: the message is initialised, and the name ends with a zero byte. What is
        // found is a text that ends so, and lives as long as the message.
        unsafe {
            let value = zmq_sys::zmq_msg_gets(message.0.get(), name.as_ptr());
            if value.is_null() { None } else { CStr::from_ptr(value).to_str().ok() }
        }
    }

    /// Sends this frame without waiting.
    pub(crate) fn send(self, socket: &mut zmq::Socket, more: bool) -> Result<(), zmq::Error> {
        let message = match self {
            Frame::Short { .. } => Shared::from(&*self),
            Frame::Received(message) | Frame::Own(message) => message,
        };
        message.send(socket, more)
    }
}

impl Deref for Frame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Frame::Short { length, bytes } => &bytes[..usize::from(*length)],
            Frame::Received(message) | Frame::Own(message) => message,
        }
    }
}

impl Clone for Frame {
    fn clone(&self) -> Self {
        match self {
            Frame::Short { length, bytes } => Frame::Short { length: *length, bytes: *bytes },
            Frame::Received(message) => Frame::Received(message.clone()),
            Frame::Own(message) => Frame::Own(message.clone()),
        }
    }
}

impl From<&[u8]> for Frame {
    fn from(content: &[u8]) -> Self {
        let mut bytes = [0; SHORT_BYTES_MAX];
        match (u8::try_from(content.len()), bytes.get_mut(..content.len())) {
            (Ok(length), Some(start)) => {
                start.copy_from_slice(content);
                Frame::Short { length, bytes }
            }
            _ => Frame::Own(Shared::from(content)),
        }
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{:03}] {}", self.len(), majordomo_protocol::dump(self))
    }
}

impl Shared {
    fn empty() -> Self {
        let mut message = zmq_msg_t::default();
        // SAFETY: `message` is memory for one message; this makes it an empty one,
        // and cannot fail. libzmq allows moving a message in memory.
        unsafe { zmq_sys::zmq_msg_init(&mut message) };
        Shared(UnsafeCell::new(message))
    }

    fn receive(socket: &mut zmq::Socket) -> Result<(Self, bool), zmq::Error> {
        let mut message = Shared::empty();
        loop {
            // SAFETY: the socket is alive, and used by this thread alone since it is
            // borrowed mutably; the message is initialised.
            let received = unsafe {
                zmq_sys::zmq_msg_recv(
                    message.0.get_mut(),
                    socket.as_mut_ptr(),
                    zmq_sys::ZMQ_DONTWAIT as c_int,
                )
            };
            if received >= 0 {
                // SAFETY: the message is initialised.
                let more = unsafe { zmq_sys::zmq_msg_more(message.0.get_mut()) };
                return Ok((message, more != 0));
            }
            match last_error() {
                zmq::Error::EINTR => {}
                error => return Err(error),
            }
        }
    }

    fn send(mut self, socket: &mut zmq::Socket, more: bool) -> Result<(), zmq::Error> {
        let more = if more { zmq_sys::ZMQ_SNDMORE } else { 0 };
        let flags = (zmq_sys::ZMQ_DONTWAIT | more) as c_int;
        loop {
            // SAFETY: as in `receive`. On success libzmq takes the bytes and leaves an
            // empty message, which `drop` closes.
            let sent =
                unsafe { zmq_sys::zmq_msg_send(self.0.get_mut(), socket.as_mut_ptr(), flags) };
            if sent >= 0 {
                return Ok(());
            }
            match last_error() {
                zmq::Error::EINTR => {}
                error => return Err(error),
            }
        }
    }
}

/// Why the last send or receive on this thread failed. Those set no errno that
/// `zmq::Error` does not know.
fn last_error() -> zmq::Error {
    // SAFETY: reads a number of this thread.
    zmq::Error::from_raw(unsafe { zmq_sys::zmq_errno() })
}

impl Clone for Shared {
    fn clone(&self) -> Self {
        let mut copy = Shared::empty();
        // SAFETY: both messages are initialised. The source is written to, which the
        // cell allows, and no other thread can reach it, since `Shared` is not `Sync`;
        // the slices lent by `deref` point to its bytes, which stay where they are:
        // small ones in the message are only read, large ones are shared.
        let failed = unsafe { zmq_sys::zmq_msg_copy(copy.0.get_mut(), self.0.get()) };
        assert_eq!(failed, 0, "zmq_msg_copy fails only on a message that is not initialised");
        copy
    }
}

impl Deref for Shared {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the message is initialised; its bytes are alive and unchanged as long
        // as it is, and never null-and-long: an empty message is told apart below.
        unsafe {
            let size = zmq_sys::zmq_msg_size(self.0.get());
            if size == 0 {
                return &[];
            }
            std::slice::from_raw_parts(zmq_sys::zmq_msg_data(self.0.get()).cast(), size)
        }
    }
}

impl From<&[u8]> for Shared {
    fn from(bytes: &[u8]) -> Self {
        let mut message = zmq_msg_t::default();
        // SAFETY: `message` is memory for one message; when this succeeds it has room
        // for exactly `bytes.len()` bytes, which do not overlap `bytes`.
        unsafe {
            let failed = zmq_sys::zmq_msg_init_size(&mut message, bytes.len());
            assert_eq!(failed, 0, "out of memory for a frame of {} bytes", bytes.len());
            let data = zmq_sys::zmq_msg_data(&mut message).cast::<u8>();
            data.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
        Shared(UnsafeCell::new(message))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the message is initialised, and closed only here.
        unsafe { zmq_sys::zmq_msg_close(self.0.get_mut()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_of_a_large_frame_shares_its_bytes() {
        let frame = Frame::from(&[7; 100_000][..]);
        let clone = frame.clone();
        assert_eq!(frame.as_ptr(), clone.as_ptr());
        drop(frame);
        assert_eq!(&*clone, [7; 100_000]);
    }

    #[test]
    fn a_clone_of_a_small_frame_is_its_own() {
        let frame = Frame::from(&b"hello"[..]);
        let clone = frame.clone();
        assert_ne!(frame.as_ptr(), clone.as_ptr());
        assert_eq!((&*frame, &*clone), (&b"hello"[..], &b"hello"[..]));
        assert!(Frame::from(&[][..]).clone().is_empty());
    }

    #[test]
    fn a_clone_can_be_sent_and_the_original_kept() {
        let context = zmq::Context::new();
        let mut sender = context.socket(zmq::PAIR).unwrap();
        let mut receiver = context.socket(zmq::PAIR).unwrap();
        sender.bind("inproc://frames").unwrap();
        receiver.connect("inproc://frames").unwrap();
        let frame = Frame::from(&[1; 50_000][..]);
        frame.clone().send(&mut sender, true).unwrap();
        frame.clone().send(&mut sender, false).unwrap();
        let (first, more) = Frame::receive(&mut receiver).unwrap();
        assert!(more && *first == *frame);
        let (second, more) = Frame::receive(&mut receiver).unwrap();
        assert!(!more && *second == *frame);
        assert_eq!(Frame::receive(&mut receiver).unwrap_err(), zmq::Error::EAGAIN);
    }
}
