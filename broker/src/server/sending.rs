//! How what is in the outbox leaves: at the end of a round, or before the next event when a
//! message is full; and what follows where it cannot.

use std::time::Instant;

use majordomo_protocol::{ClientAddress, PeerId};

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
        let Contents { answers, tasks, .. } = contents;
        self.tell_unreachable(peer, recipient, (answers, tasks), now);
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
            self.tell_unreachable(peer, recipient, (answers, tasks), now);
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

    /// So many answers, and what had these task ids, could not be sent to a peer. What else
    /// is for a worker is not sent either: the engine gives its requests to others now.
    fn tell_unreachable(
        &mut self,
        peer: PeerId,
        recipient: Recipient,
        (answers, tasks): (u64, Vec<ClientAddress>),
        now: Instant,
    ) {
        let event = match recipient {
            Recipient::Client => Event::ClientUnreachable { client: peer, answers, parts: tasks },
            Recipient::Worker => {
                self.engine.outlet_mut().forget_worker(&peer);
                Event::WorkerUnreachable { worker: peer, requests: tasks }
            }
        };
        self.engine.handle(event, now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use majordomo_protocol::{Body, Offer, RequestId, ServiceName, Terms, Version, client, worker};

    use super::super::now;
    use super::*;
    use crate::config::Config;
    use crate::engine::{Caller, Identity};

    /// Two workers of MDP/0.2 have left, and each is to be told something. The request of the
    /// first goes to the second, and from there back.
    #[test]
    fn nothing_is_left_for_a_worker_to_which_something_could_not_be_sent() {
        let config = Config::builder().bind("inproc://broker").build().unwrap();
        let mut server = Server::bind_in(&zmq::Context::new(), &config).unwrap();
        let service = || ServiceName::new("echo").unwrap();
        let began = now();
        for name in [b"A", b"B"] {
            let (worker, version) = (PeerId::new(name), Version::V0_2);
            let command = worker::ToBroker::Ready { service: service(), offer: Offer::default() };
            server.engine.handle_worker(Identity::OPEN, &worker, version, command, began);
        }
        let later = began + config.heartbeat_interval() + Duration::from_millis(1);
        let (peer, id) = (PeerId::new(b"c"), Some(RequestId::new([1; 16])));
        let caller = Caller { peer, version: Version::V1_0, envelope: None, id };
        let (terms, body) = (Terms::default(), Body::from_frame(Frame::from(&b"hi"[..])));
        let command = client::ToBroker::Request { id, service: service(), terms, body };
        server.engine.handle_client(Identity::OPEN, caller, command, later);
        // B is due a HEARTBEAT.
        server.engine.handle_timeout(later, began);

        server.engine.sent();
        let unsent = server.engine.outlet_mut().take_singles();
        let peers: Vec<_> = unsent.iter().map(|parcel| parcel.peer.clone()).collect();
        assert_eq!(peers, [PeerId::new(b"A"), PeerId::new(b"B")]);
        for parcel in unsent {
            server.send_singles(parcel, later).unwrap();
        }
        assert_eq!(server.engine.counters().requests_dispatched, 2);
        assert!(server.engine.outlet_mut().take_singles().is_empty());
    }
}
