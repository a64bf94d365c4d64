//! What the engine hears: what clients say as an event, and a body as something that has a
//! size and can be kept. Only here, and not in the engine, is a body looked into: that
//! of a question to the broker itself.

use majordomo_protocol::{Body, ServiceName};

use crate::engine::{Caller, Event, Payload, Question};
use crate::frame::Frame;

impl Payload for Body<Frame> {
    /// The bytes of all frames, and what libzmq and we need to keep each.
    fn size(&self) -> usize {
        Body::size(self) + self.frames().len() * Frame::KEEPING_BYTES
    }

    fn append(&mut self, more: Self) {
        Body::append(self, more);
    }

    fn of_texts(texts: &[&str]) -> Self {
        Body::from_frames(texts.iter().map(|text| Frame::from(text.as_bytes())))
    }

    #[inline]
    fn detach(&mut self) {
        self.frames_mut().iter_mut().for_each(Frame::detach);
    }
}

/// What a client asks the broker itself. That is read here, since the engine reads no body.
pub(crate) fn question(
    caller: Caller<Body<Frame>>,
    service: ServiceName,
    body: &Body<Frame>,
    no_reply: bool,
) -> Event<Body<Frame>> {
    let asked = body.frames().first().map_or(&[][..], |frame| frame);
    let question = Question::new(&service, asked);
    Event::Question { caller, service, question, no_reply }
}
