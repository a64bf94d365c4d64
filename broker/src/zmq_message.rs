//! A message of libzmq: one frame as its sockets take and give it.
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
use std::ops::Deref;

use zmq_sys::zmq_msg_t;

/// A message of libzmq. A clone of a large one shares its bytes.
#[repr(transparent)]
pub(crate) struct ZmqMessage(
    /// Initialised by libzmq, and closed once. In a cell because copying a message
    /// marks the source as shared.
    UnsafeCell<zmq_msg_t>,
);

// SAFETY: libzmq passes messages between threads itself, and counts references
// atomically. `ZmqMessage` is not `Sync`, so no two threads use one `zmq_msg_t` at once.
unsafe impl Send for ZmqMessage {}

impl ZmqMessage {
    fn empty() -> Self {
        let mut message = zmq_msg_t::default();
        // SAFETY: `message` is memory for one message; this makes it an empty one,
        // and cannot fail. libzmq allows moving a message in memory.
        unsafe { zmq_sys::zmq_msg_init(&mut message) };
        ZmqMessage(UnsafeCell::new(message))
    }

    /// A property of the connection that it came on, such as `User-Id`; `None` if
    /// it has none of that name, as one of a process's own, or if it is no UTF-8.
    pub(crate) fn property(&self, name: &CStr) -> Option<&str> {
        // SAFETY: the message is initialised, and the name ends with a zero byte. What is
        // found is a text that ends so, and lives as long as the message.
        unsafe {
            let value = zmq_sys::zmq_msg_gets(self.0.get(), name.as_ptr());
            if value.is_null() { None } else { CStr::from_ptr(value).to_str().ok() }
        }
    }

    /// Receives one from a socket without waiting. Also says whether more of the same
    /// message follow, which come together.
    pub(crate) fn receive(socket: &mut zmq::Socket) -> Result<(Self, bool), zmq::Error> {
        let mut message = ZmqMessage::empty();
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

    /// Sends it without waiting.
    pub(crate) fn send(mut self, socket: &mut zmq::Socket, more: bool) -> Result<(), zmq::Error> {
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

impl Clone for ZmqMessage {
    fn clone(&self) -> Self {
        let mut copy = ZmqMessage::empty();
        // SAFETY: both messages are initialised. The source is written to, which the
        // cell allows, and no other thread can reach it, since `ZmqMessage` is not `Sync`;
        // the slices lent by `deref` point to its bytes, which stay where they are:
        // small ones in the message are only read, large ones are shared.
        let failed = unsafe { zmq_sys::zmq_msg_copy(copy.0.get_mut(), self.0.get()) };
        assert_eq!(failed, 0, "zmq_msg_copy fails only on a message that is not initialised");
        copy
    }
}

impl Deref for ZmqMessage {
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

impl From<&[u8]> for ZmqMessage {
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
        ZmqMessage(UnsafeCell::new(message))
    }
}

impl Drop for ZmqMessage {
    fn drop(&mut self) {
        // SAFETY: the message is initialised, and closed only here.
        unsafe { zmq_sys::zmq_msg_close(self.0.get_mut()) };
    }
}
