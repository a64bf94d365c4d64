//! What is to be sent to peers of MDP/1.0: everything that one round of the loop has
//! for a peer leaves in one message.

use foldhash::HashMap;
use majordomo_protocol::{Batch, Body, Inexpressible, PeerId, client, worker};

use crate::frame::Frame;

/// Bodies up to this size are copied into the batch frame; larger ones travel as they
/// came.
const INLINE_BYTES_MAX: usize = 4 << 10;
/// A message is not added to beyond this size.
const BATCH_BYTES_MAX: usize = 256 << 10;
/// A message is not added to beyond so many frames.
const BATCH_FRAMES_MAX: usize = 256;

/// Whom a batch goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Recipient {
    Client,
    Worker,
}

/// A message that is ready to be sent.
pub(crate) struct Parcel {
    pub(crate) peer: PeerId,
    pub(crate) recipient: Recipient,
    pub(crate) batch: Batch<Frame>,
}

/// Messages that are being filled, by peer.
#[derive(Default)]
pub(crate) struct Outbox(HashMap<(PeerId, Recipient), Batch<Frame>>);

impl Outbox {
    /// Adds a command for a client. Gives the message if it is full now.
    pub(crate) fn add_for_client(
        &mut self,
        peer: PeerId,
        command: client::FromBroker<Body<Frame>>,
    ) -> Result<Option<Parcel>, Inexpressible> {
        self.add(peer, Recipient::Client, |batch| command.write(batch))
    }

    /// Adds a command for a worker. Gives the message if it is full now.
    pub(crate) fn add_for_worker(
        &mut self,
        peer: PeerId,
        command: worker::FromBroker<Body<Frame>>,
    ) -> Result<Option<Parcel>, Inexpressible> {
        self.add(peer, Recipient::Worker, |batch| command.write(batch))
    }

    fn add(
        &mut self,
        peer: PeerId,
        recipient: Recipient,
        write: impl FnOnce(&mut Batch<Frame>) -> Result<(), Inexpressible>,
    ) -> Result<Option<Parcel>, Inexpressible> {
        let key = (peer, recipient);
        let batch = self.0.entry(key.clone()).or_insert_with(|| match recipient {
            Recipient::Client => Batch::of_client(INLINE_BYTES_MAX),
            Recipient::Worker => Batch::of_worker(INLINE_BYTES_MAX),
        });
        write(batch)?;
        let full = batch.bytes() >= BATCH_BYTES_MAX || batch.frame_count() >= BATCH_FRAMES_MAX;
        let taken = if full { self.0.remove(&key) } else { None };
        let (peer, recipient) = key;
        Ok(taken.map(|batch| Parcel { peer, recipient, batch }))
    }

    /// Drops what a worker was to be sent: it is gone, and its requests are given back.
    pub(crate) fn forget_worker(&mut self, peer: &PeerId) {
        self.0.remove(&(peer.clone(), Recipient::Worker));
    }

    /// Takes out all messages.
    pub(crate) fn take_all(&mut self) -> Vec<Parcel> {
        let all = self.0.drain();
        all.map(|((peer, recipient), batch)| Parcel { peer, recipient, batch }).collect()
    }
}
