//! How what peers say comes in: message by message, command by command.

use std::time::Instant;

use majordomo_protocol::{Body, DecodeError, Listener, Message, PeerId, Version, client, worker};

use super::{Server, ServerError};
use crate::engine::{Caller, Event, Fault, Identity};
use crate::frame::Frame;
use crate::hearing::question;
use crate::router::{Content, Received};
use crate::trace;

impl Server {
    /// Reads at most `drain_max` messages. True when none is left.
    pub(super) fn read(&mut self, now: Instant) -> Result<bool, ServerError> {
        for _ in 0..self.drain_max {
            let Some(Received { peer, identity, content }) = self.router.receive()? else {
                return Ok(true);
            };
            if !self.engine.knows(identity) {
                // It was let in a moment ago, and its rights come from the same thread.
                self.read_news(now)?;
            }
            match content {
                Content::Connected => self.handle(identity, Event::Connected { peer }, now)?,
                Content::Disconnected => {
                    self.handle(identity, Event::Disconnected { peer }, now)?;
                }
                _ if self.engine.is_deaf_to(identity, now) => {}
                Content::Message(frames) => {
                    trace::received(&peer, frames.as_slice());
                    let mut said = Said { server: self, peer: &peer, identity, now, done: Ok(()) };
                    Message::decode(frames).tell(&mut said);
                    said.done?;
                }
                Content::Dropped(fault) => self.invalid(&peer, identity, (fault, None), now)?,
            }
        }
        Ok(false)
    }

    fn invalid(
        &mut self,
        peer: &PeerId,
        identity: Identity,
        (fault, error): (Fault, Option<DecodeError>),
        now: Instant,
    ) -> Result<(), zmq::Error> {
        self.journal.invalid(peer, fault, error, now);
        self.handle(identity, Event::Invalid { peer: peer.clone(), fault }, now)
    }

    /// Tells the engine what happened, and does what cannot wait for the end of the round.
    pub(super) fn handle(
        &mut self,
        identity: Identity,
        event: Event<Body<Frame>>,
        now: Instant,
    ) -> Result<(), zmq::Error> {
        self.engine.handle_from(identity, event, now);
        self.act(now)
    }
}

/// What one peer says in a message: each command is an event of its own.
struct Said<'a> {
    server: &'a mut Server,
    peer: &'a PeerId,
    identity: Identity,
    now: Instant,
    /// After an error nothing more is heard.
    done: Result<(), zmq::Error>,
}

/// Inlined always: a command is put together where the engine takes it, and is not moved.
impl Listener<Frame> for Said<'_> {
    #[inline(always)]
    fn client(
        &mut self,
        version: Version,
        envelope: Vec<Frame>,
        command: client::ToBroker<Body<Frame>>,
    ) {
        if self.done.is_err() {
            return;
        }
        let envelope = (!envelope.is_empty()).then(|| Box::new(Body::from_frames(envelope)));
        let caller = Caller { peer: self.peer.clone(), version, envelope, id: None };
        match command {
            client::ToBroker::Request { id, service, terms, body } if service.is_reserved() => {
                let caller = Caller { id, ..caller };
                let event = question(caller, service, &body, terms.no_reply);
                self.done = self.server.handle(self.identity, event, self.now);
            }
            command => {
                self.server.engine.handle_client(self.identity, caller, command, self.now);
                self.done = self.server.act(self.now);
            }
        }
    }

    #[inline(always)]
    fn worker(&mut self, version: Version, command: worker::ToBroker<Body<Frame>>) {
        if self.done.is_ok() {
            let Said { server, peer, identity, now, .. } = self;
            server.engine.handle_worker(*identity, peer, version, command, *now);
            self.done = self.server.act(self.now);
        }
    }

    fn invalid(&mut self, error: DecodeError) {
        if self.done.is_ok() {
            let fault = (Fault::Malformed, Some(error));
            self.done = self.server.invalid(self.peer, self.identity, fault, self.now);
        }
    }
}
