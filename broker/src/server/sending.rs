//! How what the engine wants said leaves: by the outbox, or at once when a message is full;
//! and what follows where it cannot.

use std::time::Instant;

use majordomo_protocol::{Body, ClientAddress, Inexpressible, PeerId, Version, client, worker};

use super::Server;
use crate::engine::{Caller, Event};
use crate::frame::Frame;
use crate::outbox::{Bundle, Contents, Parcel, Recipient, Single, task_of};
use crate::router::Refused;
use crate::trace;

impl Server {
    /// Sends all that is in the outbox, and what follows from that.
    pub(super) fn send_outbox(&mut self, now: Instant) -> Result<(), zmq::Error> {
        loop {
            self.engine.sent();
            let parcels = self.outbox.take_all();
            let bundles = self.outbox.take_singles();
            if parcels.is_empty() && bundles.is_empty() {
                return Ok(());
            }
            for parcel in parcels {
                self.send_parcel(parcel, now)?;
            }
            for bundle in bundles {
                self.send_bundle(bundle, now)?;
            }
            self.act(now)?;
        }
    }

    pub(super) fn tell_client(
        &mut self,
        caller: Caller<Body<Frame>>,
        command: client::FromBroker<Body<Frame>>,
        part_of: Option<ClientAddress>,
        now: Instant,
    ) -> Result<(), zmq::Error> {
        let Caller { peer, version, envelope, .. } = caller;
        if version >= Version::V1_0 {
            let added = self.outbox.add_for_client(peer, command, part_of);
            return self.send_full(added, now);
        }
        let envelope = envelope.map_or_else(Vec::new, |envelope| envelope.into_frames());
        match command.encode(version, envelope) {
            Ok(frames) => {
                let single = Single { frames, task: part_of };
                self.outbox.add_single(peer, Recipient::Client, single);
            }
            Err(error) => inexpressible(error),
        }
        Ok(())
    }

    pub(super) fn tell_worker(
        &mut self,
        worker: PeerId,
        version: Version,
        command: worker::FromBroker<Body<Frame>>,
        now: Instant,
    ) -> Result<(), zmq::Error> {
        // It left, or turned out to be unreachable, after the engine had chosen it; the
        // request waits again or is with another already.
        if matches!(command, worker::FromBroker::Request { .. })
            && self.engine.is_withdrawn(&worker)
        {
            return Ok(());
        }
        if version >= Version::V1_0 {
            let added = self.outbox.add_for_worker(worker, command);
            return self.send_full(added, now);
        }
        let task = task_of(&command);
        match command.encode(version) {
            Ok(frames) => {
                let single = Single { frames, task };
                self.outbox.add_single(worker, Recipient::Worker, single);
            }
            // MDP/0.1 and MDP/0.2 have no CANCEL: the engine knows.
            Err(error) => inexpressible(error),
        }
        Ok(())
    }

    /// Sends the message to which something was added, if it is full.
    #[inline]
    fn send_full(
        &mut self,
        added: Result<Option<usize>, Inexpressible>,
        now: Instant,
    ) -> Result<(), zmq::Error> {
        match added {
            Ok(Some(at)) => {
                let parcel = self.outbox.take(at);
                if parcel.recipient == Recipient::Worker {
                    self.engine.sent_to(&parcel.peer);
                }
                self.send_parcel(parcel, now)
            }
            Ok(None) => Ok(()),
            Err(error) => {
                inexpressible(error);
                Ok(())
            }
        }
    }

    fn send_parcel(&mut self, parcel: Parcel, now: Instant) -> Result<(), zmq::Error> {
        let Parcel { peer, recipient, mut contents } = parcel;
        if self.send(&peer, contents.batch.take_frames())?.is_ok() {
            self.outbox.reuse(recipient, contents);
            return Ok(());
        }
        let Contents { answers, tasks, .. } = contents;
        self.engine.handle(unreachable(peer, recipient, answers, tasks), now);
        Ok(())
    }

    /// Sends messages until one cannot be sent. Those behind it are not tried: a part of a
    /// reply must not follow one that was lost.
    fn send_bundle(&mut self, bundle: Bundle, now: Instant) -> Result<(), zmq::Error> {
        let Bundle { peer, recipient, mut messages } = bundle;
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
        self.outbox.reuse_singles(messages);
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

/// The engine asks for nothing that a version cannot say; a broker that serves
/// thousands does not end if it does.
fn inexpressible(error: Inexpressible) {
    log::error!("cannot send: {error}");
}
