//! How what the engine wants said leaves: by the outbox, or at once when a message is full;
//! and what follows where it cannot.

use std::time::Instant;

use majordomo_protocol::{Body, ClientAddress, PeerId};

use super::Server;
use crate::engine::Event;
use crate::frame::Frame;
use crate::outbox::{Contents, Parcel, Recipient, Single};
use crate::router::Refused;
use crate::trace;

impl Server {
    /// Sends all that is in the outbox, and what follows from that.
    pub(super) fn send_outbox(&mut self, now: Instant) -> Result<(), zmq::Error> {
        loop {
            self.act_here(now);
            self.send_full(now)?;
            self.engine.sent();
            let outbox = self.engine.outlet_mut();
            let (messages, singles) = (outbox.take_all(), outbox.take_singles());
            if messages.is_empty() && singles.is_empty() && !outbox.is_urgent() {
                return Ok(());
            }
            for parcel in messages {
                self.send_parcel(parcel, now)?;
            }
            for parcel in singles {
                self.send_singles(parcel, now)?;
            }
        }
    }

    /// Sends the messages that are full.
    pub(super) fn send_full(&mut self, now: Instant) -> Result<(), zmq::Error> {
        while let Some(parcel) = self.engine.outlet_mut().take_full() {
            if parcel.recipient == Recipient::Worker {
                self.engine.sent_until(&parcel.peer, parcel.contents.until);
            }
            self.send_parcel(parcel, now)?;
        }
        Ok(())
    }

    fn send_parcel(&mut self, parcel: Parcel<Contents>, now: Instant) -> Result<(), zmq::Error> {
        let Parcel { peer, recipient, mut contents } = parcel;
        if self.send(&peer, contents.batch.take_frames())?.is_ok() {
            self.engine.outlet_mut().reuse(recipient, contents);
            return Ok(());
        }
        if recipient == Recipient::Worker {
            self.engine.outlet_mut().forget_worker(&peer);
        }
        let Contents { answers, tasks, .. } = contents;
        self.engine.handle(unreachable(peer, recipient, answers, tasks), now);
        Ok(())
    }

    /// Sends messages until one cannot be sent. Those behind it are not tried: a part of a
    /// reply must not follow one that was lost.
    fn send_singles(
        &mut self,
        parcel: Parcel<Vec<Single>>,
        now: Instant,
    ) -> Result<(), zmq::Error> {
        let Parcel { peer, recipient, contents: mut messages } = parcel;
        let mut unsent = messages.drain(..);
        while let Some(Single { frames, task }) = unsent.next() {
            trace::sent(&peer, &frames);
            if self.router.send(&peer, frames)?.is_ok() {
                continue;
            }
            let answers = 1 + unsent.len() as u64;
            let tasks = [task].into_iter().chain(unsent.map(|message| message.task));
            let tasks = tasks.flatten().collect();
            self.engine.handle(unreachable(peer, recipient, answers, tasks), now);
            return Ok(());
        }
        drop(unsent);
        self.engine.outlet_mut().reuse_singles(messages);
        Ok(())
    }

    fn send(
        &mut self,
        peer: &PeerId,
        frames: Vec<Frame>,
    ) -> Result<Result<(), Refused>, zmq::Error> {
        trace::sent(peer, &frames);
        self.router.send(peer, frames)
    }
}

/// What could not be sent to a peer: so many answers, and what had these task ids.
fn unreachable(
    peer: PeerId,
    recipient: Recipient,
    answers: u64,
    tasks: Vec<ClientAddress>,
) -> Event<Body<Frame>> {
    match recipient {
        Recipient::Client => Event::ClientUnreachable { client: peer, answers, parts: tasks },
        Recipient::Worker => Event::WorkerUnreachable { worker: peer, requests: tasks },
    }
}
