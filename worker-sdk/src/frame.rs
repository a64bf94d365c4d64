//! A frame that came from a broker.
//!
//! A short body stands inside a batch and is copied out of it, at once into memory that
//! a handler can keep; a large one is copied only if it is small enough to be kept.

use std::ops::Deref;

pub(crate) enum Frame {
    /// As libzmq received it. Boxed, because commands are moved about and few have one.
    Received(Box<zmq::Message>),
    /// A short one, or copied out of a batch.
    Copied(Vec<u8>),
}

impl Frame {
    /// What libzmq received; a copy of up to `copied_bytes_max` bytes.
    pub(crate) fn of(message: zmq::Message, copied_bytes_max: usize) -> Self {
        if message.len() <= copied_bytes_max {
            Frame::Copied(message.to_vec())
        } else {
            Frame::Received(Box::new(message))
        }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        match self {
            Frame::Received(message) => message.to_vec(),
            Frame::Copied(bytes) => bytes,
        }
    }
}

impl Deref for Frame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Frame::Received(message) => message,
            Frame::Copied(bytes) => bytes,
        }
    }
}

impl From<&[u8]> for Frame {
    fn from(bytes: &[u8]) -> Self {
        Frame::Copied(bytes.to_vec())
    }
}
