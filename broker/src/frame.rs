//! One frame of a message: received, kept and sent on without copying its bytes.
//!
//! Every request and every reply is moved several times on its way through the engine, and
//! most bodies are short or parts of a batch. So a frame is four words: bytes in place, or
//! where they are.

use std::ops::Deref;
use std::sync::Arc;

use crate::zmq_message::ZmqMessage;

/// As many bytes as make it four words.
const SHORT_BYTES_MAX: usize = 30;

/// libzmq hands out received frames of 34 bytes up to this number as parts of the buffer
/// into which it read what there was. Smaller ones it copies, larger ones never fit.
const PART_OF_A_BUFFER_MAX: usize = 8_192;

/// One frame. A clone shares its bytes, unless they are few.
#[derive(Clone)]
pub(crate) enum Frame {
    /// The first `length` of these bytes.
    Short { length: u8, bytes: [u8; SHORT_BYTES_MAX] },
    /// Bytes copied out of something larger, up to [`PART_OF_A_BUFFER_MAX`].
    Shared(Arc<[u8]>),
    /// As libzmq received it, or too large to be copied again when it is sent.
    Message(Box<ZmqMessage>),
}

impl Frame {
    /// About what libzmq and we need to keep a frame, beside its bytes.
    pub(crate) const KEEPING_BYTES: usize = 72;

    /// Gets memory of its own instead of a part of a larger buffer, which it would keep
    /// alive.
    #[inline]
    pub(crate) fn detach(&mut self) {
        if let Frame::Message(message) = self
            && message.len() <= PART_OF_A_BUFFER_MAX
        {
            *self = Frame::from(&***message);
        }
    }

    #[inline(never)]
    fn of_many(content: &[u8]) -> Self {
        if content.len() <= PART_OF_A_BUFFER_MAX {
            Frame::Shared(Arc::from(content))
        } else {
            Frame::Message(Box::new(ZmqMessage::from(content)))
        }
    }

    /// Sends this frame without waiting.
    pub(crate) fn send(self, socket: &mut zmq::Socket, more: bool) -> Result<(), zmq::Error> {
        let message = match self {
            Frame::Short { .. } | Frame::Shared(_) => ZmqMessage::from(&*self),
            Frame::Message(message) => *message,
        };
        message.send(socket, more)
    }
}

impl Deref for Frame {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Frame::Short { length, bytes } => &bytes[..usize::from(*length)],
            Frame::Shared(bytes) => bytes,
            Frame::Message(message) => message,
        }
    }
}

impl From<&[u8]> for Frame {
    #[inline]
    fn from(content: &[u8]) -> Self {
        if content.len() > SHORT_BYTES_MAX {
            return Frame::of_many(content);
        }
        let mut bytes = [0; SHORT_BYTES_MAX];
        bytes[..content.len()].copy_from_slice(content);
        Frame::Short { length: content.len() as u8, bytes }
    }
}

/// A frame that was received.
impl From<ZmqMessage> for Frame {
    fn from(message: ZmqMessage) -> Self {
        if message.len() <= SHORT_BYTES_MAX {
            Frame::from(&*message)
        } else {
            Frame::Message(Box::new(message))
        }
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{:03}] {}", self.len(), majordomo_protocol::dump(self))
    }
}

#[cfg(test)]
mod tests {
    use majordomo_protocol::Body;

    use super::*;

    #[test]
    fn bytes_of_any_number_come_back_in_four_words_and_clones_share_them() {
        assert_eq!((size_of::<Frame>(), size_of::<Body<Frame>>()), (32, 32));
        for length in [0, 1, 30, 31, 70, 1_000, 8_192, 8_193, 100_000] {
            let content: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let frame = Frame::from(&*content);
            let clone = frame.clone();
            assert_eq!(frame.as_ptr() == clone.as_ptr(), length > SHORT_BYTES_MAX, "{length}");
            drop(frame);
            assert_eq!(*clone, *content);
        }
    }

    #[test]
    fn a_frame_that_may_be_a_part_of_a_buffer_gets_its_own_memory_once() {
        for (length, is_copied) in [(31, true), (8_192, true), (8_193, false)] {
            let content = vec![7; length];
            let mut frame = Frame::from(ZmqMessage::from(&*content));
            let received = frame.as_ptr();
            frame.detach();
            assert_eq!(frame.as_ptr() != received, is_copied, "{length}");
            let own = frame.as_ptr();
            frame.detach();
            assert_eq!((&*frame, frame.as_ptr()), (&*content, own));
        }
    }

    #[test]
    fn a_clone_can_be_sent_and_the_original_kept() {
        let context = zmq::Context::new();
        let mut sender = context.socket(zmq::PAIR).unwrap();
        let mut receiver = context.socket(zmq::PAIR).unwrap();
        sender.bind("inproc://frames").unwrap();
        receiver.connect("inproc://frames").unwrap();
        for length in [5, 500, 50_000] {
            let frame = Frame::from(&*vec![1; length]);
            frame.clone().send(&mut sender, true).unwrap();
            frame.clone().send(&mut sender, false).unwrap();
            for more in [true, false] {
                let (message, is_more) = ZmqMessage::receive(&mut receiver).unwrap();
                assert_eq!((&*message, is_more), (&*frame, more));
            }
        }
        assert_eq!(ZmqMessage::receive(&mut receiver).err(), Some(zmq::Error::EAGAIN));
    }
}
