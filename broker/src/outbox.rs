//! What is to be sent to peers: what one round of the loop has for a peer leaves
//! together. In MDP/1.0 that is one message, and what fills it leaves at once; in the
//! older versions it is one message after the other, of which libzmq then finds several at
//! a time.

use foldhash::HashMap;
use majordomo_protocol::{Batch, Body, ClientAddress, Inexpressible, PeerId, client, worker};

use crate::engine::shrink::Shrink;
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
/// With so many records they are sent before more is read.
const RECORDS_MAX: usize = 10_000;
/// With so many messages of the older versions they are sent before more is read.
const SINGLES_MAX: usize = 128;
/// How many sent messages are kept for what they have of memory: by far most have less than
/// the 16 KiB that are left to each.
const SPARE_MAX: usize = 250;

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

impl Contents {
    fn new(recipient: Recipient) -> Self {
        let batch = match recipient {
            Recipient::Client => Batch::of_client(INLINE_BYTES_MAX),
            Recipient::Worker => Batch::of_worker(INLINE_BYTES_MAX),
        };
        Contents { batch, answers: 0, tasks: Vec::new() }
    }

    fn is_full(&self) -> bool {
        self.batch.records() >= BATCH_RECORDS_MAX
            || self.batch.bytes() >= BATCH_BYTES_MAX
            || self.batch.frame_count() >= BATCH_FRAMES_MAX
    }
}

/// Messages of the older versions that are ready to be sent to a peer, in order.
pub(crate) struct Bundle {
    pub(crate) peer: PeerId,
    pub(crate) recipient: Recipient,
    pub(crate) messages: Vec<Single>,
}

/// A message of MDP/0.1 or MDP/0.2. To a client it is one answer.
pub(crate) struct Single {
    pub(crate) frames: Vec<Frame>,
    /// The task id of a PARTIAL to a client, of a REQUEST to a worker.
    pub(crate) task: Option<ClientAddress>,
}

/// Messages that are being filled, or wait for the end of the round, by peer.
#[derive(Default)]
pub(crate) struct Outbox {
    messages: Vec<Parcel>,
    /// Where in `messages` a peer's is.
    places: HashMap<(PeerId, Recipient), usize>,
    /// Where the last one for a client was, and the last one for a worker.
    last: [usize; 2],
    /// Of the older versions.
    singles: HashMap<(PeerId, Recipient), Vec<Single>>,
    /// Records in all messages, since they were last taken out.
    records: usize,
    /// How many messages of the older versions there are.
    single_count: usize,
    /// Messages that were sent, empty: the next ones to clients and to workers need no new
    /// memory.
    spare: [Vec<Contents>; 2],
    spare_singles: Vec<Vec<Single>>,
}

impl Outbox {
    /// Adds a command for a client; `part_of` is the task id of a PARTIAL. Says where the
    /// message is if it is full now: it is to be [taken](Outbox::take).
    pub(crate) fn add_for_client(
        &mut self,
        peer: PeerId,
        command: client::FromBroker<Body<Frame>>,
        part_of: Option<ClientAddress>,
    ) -> Result<Option<usize>, Inexpressible> {
        let is_answer = !matches!(command, client::FromBroker::Heartbeat { .. });
        let at = self.place((peer, Recipient::Client));
        let contents = &mut self.messages[at].contents;
        command.write(&mut contents.batch)?;
        contents.answers += u64::from(is_answer);
        if let Some(part) = part_of {
            contents.tasks.push(part);
        }
        let is_full = contents.is_full();
        self.records += 1;
        Ok(is_full.then_some(at))
    }

    /// Adds a command for a worker. Says where the message is if it is full now.
    pub(crate) fn add_for_worker(
        &mut self,
        peer: PeerId,
        command: worker::FromBroker<Body<Frame>>,
    ) -> Result<Option<usize>, Inexpressible> {
        let request = task_of(&command);
        let at = self.place((peer, Recipient::Worker));
        let contents = &mut self.messages[at].contents;
        command.write(&mut contents.batch)?;
        if let Some(request) = request {
            contents.tasks.push(request);
        }
        let is_full = contents.is_full();
        self.records += 1;
        Ok(is_full.then_some(at))
    }

    /// Adds a message of MDP/0.1 or MDP/0.2.
    pub(crate) fn add_single(&mut self, peer: PeerId, recipient: Recipient, single: Single) {
        let spare = &mut self.spare_singles;
        let messages = self.singles.entry((peer, recipient));
        messages.or_insert_with(|| spare.pop().unwrap_or_default()).push(single);
        self.single_count += 1;
    }

    /// Where the message is that is being filled for this peer.
    #[inline]
    fn place(&mut self, key: (PeerId, Recipient)) -> usize {
        let (peer, recipient) = &key;
        let is_it = |at: &usize| {
            let parcel = self.messages.get(*at);
            parcel.is_some_and(|parcel| parcel.recipient == *recipient && parcel.peer == *peer)
        };
        // Mostly the last one again or, where workers take turns, the one behind it.
        let last = self.last[*recipient as usize];
        let near = [last, last + 1, 0].into_iter().find(is_it);
        let recipient = *recipient;
        let at = near.unwrap_or_else(|| self.look_up(key));
        self.last[recipient as usize] = at;
        at
    }

    #[inline(never)]
    fn look_up(&mut self, key: (PeerId, Recipient)) -> usize {
        if let Some(at) = self.places.get(&key) {
            return *at;
        }
        let (peer, recipient) = key.clone();
        let spare = self.spare[recipient as usize].pop();
        let contents = spare.unwrap_or_else(|| Contents::new(recipient));
        self.messages.push(Parcel { peer, recipient, contents });
        self.places.insert(key, self.messages.len() - 1);
        self.messages.len() - 1
    }

    /// Takes out the message at this place. The last one gets its place.
    pub(crate) fn take(&mut self, at: usize) -> Parcel {
        let parcel = self.messages.swap_remove(at);
        self.places.remove(&(parcel.peer.clone(), parcel.recipient));
        if let Some(Parcel { peer, recipient, .. }) = self.messages.get(at) {
            self.places.insert((peer.clone(), *recipient), at);
        }
        parcel
    }

    /// Whether so much was added since all was taken out that it is to be sent before more
    /// is read.
    pub(crate) fn is_full(&self) -> bool {
        self.records >= RECORDS_MAX || self.single_count >= SINGLES_MAX
    }

    /// Drops what a worker was to be sent: it is gone, and its requests are given back.
    pub(crate) fn forget_worker(&mut self, peer: &PeerId) {
        let key = (peer.clone(), Recipient::Worker);
        if let Some(at) = self.places.get(&key) {
            self.take(*at);
        }
        self.singles.remove(&key);
    }

    /// Takes out all messages.
    pub(crate) fn take_all(&mut self) -> Vec<Parcel> {
        self.records = 0;
        shrink_when_sparse(&mut self.places);
        self.places.clear();
        std::mem::take(&mut self.messages)
    }

    /// Takes out all messages of the older versions.
    pub(crate) fn take_singles(&mut self) -> Vec<Bundle> {
        self.single_count = 0;
        shrink_when_sparse(&mut self.singles);
        let all = self.singles.drain();
        all.map(|((peer, recipient), messages)| Bundle { peer, recipient, messages }).collect()
    }

    /// Takes back the list of messages that were sent.
    pub(crate) fn reuse_singles(&mut self, messages: Vec<Single>) {
        if self.spare_singles.len() < SPARE_MAX && messages.capacity() <= SINGLES_MAX {
            self.spare_singles.push(messages);
        }
    }

    /// Takes back a message that was sent: its frames have been taken.
    pub(crate) fn reuse(&mut self, recipient: Recipient, mut contents: Contents) {
        let spare = &mut self.spare[recipient as usize];
        if spare.len() < SPARE_MAX {
            contents.answers = 0;
            contents.tasks.clear();
            spare.push(contents);
        }
    }
}

/// Gives back what one round needed far more of than this one. A round in which nothing is
/// sent says nothing of the next.
fn shrink_when_sparse<V>(waiting: &mut HashMap<(PeerId, Recipient), V>) {
    if !waiting.is_empty() {
        waiting.shrink_when_sparse();
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
            records.extend(full.map(|at| outbox.take(at).contents.batch.records()));
        }
        let rest = outbox.take_all();
        records.extend(rest.iter().map(|parcel| parcel.contents.batch.records()));
        assert_eq!(records, [128, 128, 44]);
        assert!(outbox.take_all().is_empty() && !outbox.is_full());
    }

    #[test]
    fn what_so_many_peers_needed_at_once_is_given_back_when_few_are_told_something() {
        let mut outbox = Outbox::default();
        let mut round = |peers: u32| {
            for number in 0..peers {
                let peer = PeerId::new(&number.to_be_bytes());
                let command = worker::FromBroker::Heartbeat;
                outbox.add_for_worker(peer.clone(), command).unwrap();
                let single = Single { frames: Vec::new(), task: None };
                outbox.add_single(peer, Recipient::Worker, single);
            }
            let taken = (outbox.take_all().len(), outbox.take_singles().len());
            assert_eq!(taken, (peers as usize, peers as usize));
            outbox.places.capacity().max(outbox.singles.capacity())
        };
        let most = round(100_000);
        // They may all be told something again.
        assert_eq!(round(0), most);
        assert_eq!(round(50_000), most);
        assert!(round(10) < 10_000);
    }
}
