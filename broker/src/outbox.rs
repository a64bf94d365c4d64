//! What is to be sent to peers of MDP/1.0: what one round of the loop has for a peer
//! leaves together, and what fills a message leaves at once.

use foldhash::HashMap;
use majordomo_protocol::{Batch, Body, ClientAddress, Inexpressible, PeerId, client, worker};

use crate::frame::Frame;

/// Bodies up to this size are copied into the batch frame; larger ones travel as they
/// came.
const INLINE_BYTES_MAX: usize = 4 << 10;
/// A message is not added to beyond this size.
const BATCH_BYTES_MAX: usize = 256 << 10;
/// A message is not added to beyond so many frames.
const BATCH_FRAMES_MAX: usize = 256;
/// A message is not added to beyond so many records: its peer is to work on them while
/// the next are made.
const BATCH_RECORDS_MAX: usize = 128;
/// How many lists of task ids are kept for the next messages.
const SPARE_MAX: usize = 1_000;

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
    pub(crate) contents: Contents,
}

/// A message, and what the engine must know of it if it cannot be sent.
pub(crate) struct Contents {
    pub(crate) batch: Batch<Frame>,
    /// To a client: how many answers are in it. A HEARTBEAT is none.
    pub(crate) answers: u64,
    /// The task ids of the PARTIALs to a client, of the REQUESTs to a worker.
    pub(crate) tasks: Vec<ClientAddress>,
}

/// Messages that are being filled, by peer.
#[derive(Default)]
pub(crate) struct Outbox {
    messages: HashMap<(PeerId, Recipient), Contents>,
    /// Records in all messages, since they were last taken out.
    records: usize,
    /// The lists of messages that were sent, empty: no message needs a new one.
    spare: Vec<Vec<ClientAddress>>,
}

impl Outbox {
    /// Adds a command for a client; `part_of` is the task id of a PARTIAL. Gives the
    /// message if it is full now.
    pub(crate) fn add_for_client(
        &mut self,
        peer: PeerId,
        command: client::FromBroker<Body<Frame>>,
        part_of: Option<ClientAddress>,
    ) -> Result<Option<Parcel>, Inexpressible> {
        let is_answer = !matches!(command, client::FromBroker::Heartbeat { .. });
        self.add(peer, Recipient::Client, |contents| {
            command.write(&mut contents.batch)?;
            contents.answers += u64::from(is_answer);
            contents.tasks.extend(part_of);
            Ok(())
        })
    }

    /// Adds a command for a worker. Gives the message if it is full now.
    pub(crate) fn add_for_worker(
        &mut self,
        peer: PeerId,
        command: worker::FromBroker<Body<Frame>>,
    ) -> Result<Option<Parcel>, Inexpressible> {
        let request = task_of(&command);
        self.add(peer, Recipient::Worker, |contents| {
            command.write(&mut contents.batch)?;
            contents.tasks.extend(request);
            Ok(())
        })
    }

    fn add(
        &mut self,
        peer: PeerId,
        recipient: Recipient,
        write: impl FnOnce(&mut Contents) -> Result<(), Inexpressible>,
    ) -> Result<Option<Parcel>, Inexpressible> {
        let key = (peer, recipient);
        let spare = &mut self.spare;
        let contents = self.messages.entry(key.clone()).or_insert_with(|| Contents {
            batch: match recipient {
                Recipient::Client => Batch::of_client(INLINE_BYTES_MAX),
                Recipient::Worker => Batch::of_worker(INLINE_BYTES_MAX),
            },
            answers: 0,
            tasks: spare.pop().unwrap_or_default(),
        });
        write(contents)?;
        self.records += 1;
        let batch = &contents.batch;
        let full = batch.records() >= BATCH_RECORDS_MAX
            || batch.bytes() >= BATCH_BYTES_MAX
            || batch.frame_count() >= BATCH_FRAMES_MAX;
        let taken = if full { self.messages.remove(&key) } else { None };
        let (peer, recipient) = key;
        Ok(taken.map(|contents| Parcel { peer, recipient, contents }))
    }

    /// How many records were added since all was taken out.
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    /// Drops what a worker was to be sent: it is gone, and its requests are given back.
    pub(crate) fn forget_worker(&mut self, peer: &PeerId) {
        self.messages.remove(&(peer.clone(), Recipient::Worker));
    }

    /// Takes out all messages.
    pub(crate) fn take_all(&mut self) -> Vec<Parcel> {
        self.records = 0;
        let all = self.messages.drain();
        all.map(|((peer, recipient), contents)| Parcel { peer, recipient, contents }).collect()
    }

    /// Takes back the list of a message that was sent.
    pub(crate) fn reuse(&mut self, mut tasks: Vec<ClientAddress>) {
        if self.spare.len() < SPARE_MAX {
            tasks.clear();
            self.spare.push(tasks);
        }
    }
}

/// The task id of a REQUEST.
pub(crate) fn task_of(command: &worker::FromBroker<Body<Frame>>) -> Option<ClientAddress> {
    match command {
        worker::FromBroker::Request { client, .. } => Some(client.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use majordomo_protocol::InstanceId;

    use super::*;

    #[test]
    fn a_message_leaves_at_once_when_it_has_all_the_records_it_may_have() {
        let mut outbox = Outbox::default();
        let peer = PeerId::new(b"c");
        let mut records = Vec::new();
        for _ in 0..300 {
            let command = client::FromBroker::Heartbeat { instance: InstanceId::new([1; 8]) };
            let full = outbox.add_for_client(peer.clone(), command, None).unwrap();
            records.extend(full.map(|parcel| parcel.contents.batch.records()));
        }
        let rest = outbox.take_all();
        records.extend(rest.iter().map(|parcel| parcel.contents.batch.records()));
        assert_eq!(records, [128, 128, 44]);
        assert!(outbox.take_all().is_empty() && outbox.records() == 0);
    }
}
