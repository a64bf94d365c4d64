//! What the engine hears: a message as an event, and a body as something that has a
//! size and can be kept. Only here, and not in the engine, is a body looked into: that
//! of a question to the broker itself.

use majordomo_protocol::{Body, Message, PeerId, client};

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

/// What a message means to the engine.
pub(crate) fn event(peer: PeerId, message: Message<Frame>) -> Event<Body<Frame>> {
    match message {
        Message::Client { version, envelope, command } => {
            let envelope = (!envelope.is_empty()).then(|| Box::new(Body::from_frames(envelope)));
            client_event(Caller { peer, version, envelope, id: None }, command)
        }
        Message::Worker { version, command } => {
            Event::FromWorker { worker: peer, version, command }
        }
    }
}

/// A question to the broker itself is read here, since the engine reads no body.
fn client_event(
    caller: Caller<Body<Frame>>,
    command: client::ToBroker<Body<Frame>>,
) -> Event<Body<Frame>> {
    if let client::ToBroker::Request { id, service, terms, body } = &command
        && service.is_reserved()
    {
        let asked = body.frames().first().map_or(&[][..], |frame| frame);
        let question = Question::new(service, asked);
        let caller = Caller { id: *id, ..caller };
        let (service, no_reply) = (service.clone(), terms.no_reply);
        return Event::Question { caller, service, question, no_reply };
    }
    Event::FromClient { caller, command }
}
