//! The server's [`Outlet`]: what the engine wants peers to be sent is written into messages
//! here, as soon as it says so. The server takes them out, and sends them.
//!
//! What one round of the loop has for a peer leaves together. In MDP/1.0 that is one message;
//! one that is full leaves before the next event. In the older versions it is one message
//! after the other, of which libzmq then finds several at a time. What is not for peers is
//! kept as it is, and done before the next event.

use std::collections::VecDeque;

use majordomo_protocol::{
    Batch, Body, ClientAddress, Inexpressible, PeerId, Task, Version, client, worker,
};

use crate::engine::shrink::Shrink;
use crate::engine::{Action, Caller, Note, Outlet};
use crate::frame::Frame;

mod by_peer;

use self::by_peer::ByPeer;
pub(crate) use self::by_peer::{Parcel, Recipient};

/// Bodies up to this size are copied into the batch frame; larger ones travel as they
/// came.
const INLINE_BYTES_MAX: usize = 4 << 10;
/// A message is not added to beyond this size.
const BATCH_BYTES_MAX: usize = 256 << 10;
/// A message is not added to beyond so many frames.
const BATCH_FRAMES_MAX: usize = 256;
/// A message is not added to beyond so many records: its peer is to work on them while
/// the next ones are read.
const BATCH_RECORDS_MAX: usize = 128;
/// With so many records they are sent before more is read.
const RECORDS_MAX: usize = 10_000;
/// With so many messages of the older versions they are sent before more is read.
const SINGLES_MAX: usize = 128;
/// How many sent messages are kept for what they have of memory: by far most have less than
/// the 16 KiB that are left to each.
const SPARE_MAX: usize = 250;

/// A message, and what the engine must know of it if it cannot be sent.
pub(crate) struct Contents {
    pub(crate) batch: Batch<Frame>,
    /// To a client: how many answers are in it. A HEARTBEAT is none.
    pub(crate) answers: u64,
    /// The task ids of the PARTIALs to a client, of the REQUESTs to a worker.
    pub(crate) tasks: Vec<ClientAddress>,
    /// Once it is full: the number of what the engine said next.
    pub(crate) until: u64,
}

impl Contents {
    fn new(recipient: Recipient) -> Self {
        let batch = match recipient {
            Recipient::Client => Batch::of_client(INLINE_BYTES_MAX),
            Recipient::Worker => Batch::of_worker(INLINE_BYTES_MAX),
        };
        Contents { batch, answers: 0, tasks: Vec::new(), until: 0 }
    }

    fn is_full(&self) -> bool {
        self.batch.records() >= BATCH_RECORDS_MAX
            || self.batch.bytes() >= BATCH_BYTES_MAX
            || self.batch.frame_count() >= BATCH_FRAMES_MAX
    }
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
    messages: ByPeer<Contents>,
    /// Of the older versions.
    singles: ByPeer<Vec<Single>>,
    /// Messages that are full.
    full: VecDeque<Parcel<Contents>>,
    /// What is not for peers.
    others: Vec<Action<Body<Frame>>>,
    /// How many things the engine has said.
    told: u64,
    /// Records in all messages, since they were last taken out.
    records: usize,
    /// How many messages of the older versions there are.
    single_count: usize,
    /// Messages that were sent, empty: the next ones to clients and to workers need no new
    /// memory.
    spare: [Vec<Contents>; 2],
    spare_singles: Vec<Vec<Single>>,
}

impl Outlet<Body<Frame>> for Outbox {
    #[inline]
    fn told(&self) -> u64 {
        self.told
    }

    #[inline]
    fn request(
        &mut self,
        worker: &PeerId,
        version: Version,
        client: ClientAddress,
        task: Task,
        body: &Body<Frame>,
    ) {
        if version < Version::V1_0 {
            let command = worker::FromBroker::Request { client, task, body: body.clone() };
            return self.add_single_for_worker(worker, version, command);
        }
        self.told += 1;
        let at = self.place(worker, Recipient::Worker);
        let contents = self.messages.at(at);
        match worker::write_kept_request(&mut contents.batch, &client, &task, body) {
            Ok(()) => {
                contents.tasks.push(client);
                self.added(at);
            }
            Err(error) => inexpressible(error),
        }
    }

    #[inline]
    fn tell(
        &mut self,
        caller: &Caller<Body<Frame>>,
        command: client::FromBroker<Body<Frame>>,
        part_of: Option<&ClientAddress>,
    ) {
        if caller.version < Version::V1_0 {
            return self.add_single_for_client(caller, command, part_of);
        }
        self.told += 1;
        let is_answer = !matches!(command, client::FromBroker::Heartbeat { .. });
        let at = self.place(&caller.peer, Recipient::Client);
        let contents = self.messages.at(at);
        match command.write(&mut contents.batch) {
            Ok(()) => {
                contents.answers += u64::from(is_answer);
                contents.tasks.extend(part_of.cloned());
                self.added(at);
            }
            Err(error) => inexpressible(error),
        }
    }

    fn act(&mut self, action: Action<Body<Frame>>) {
        match action {
            Action::ToClient { caller, command, part_of } => {
                return self.tell(&caller, command, part_of.as_ref());
            }
            Action::ToWorker { worker, version, command } => {
                return self.tell_worker(&worker, version, command);
            }
            Action::Note(Note::WorkerGone { ref worker, .. }) => self.forget_worker(worker),
            _ => {}
        }
        self.told += 1;
        self.others.push(action);
    }
}

impl Outbox {
    fn tell_worker(
        &mut self,
        worker: &PeerId,
        version: Version,
        command: worker::FromBroker<Body<Frame>>,
    ) {
        if version < Version::V1_0 {
            return self.add_single_for_worker(worker, version, command);
        }
        self.told += 1;
        let at = self.place(worker, Recipient::Worker);
        let contents = self.messages.at(at);
        let request = task_of(&command);
        match command.write(&mut contents.batch) {
            Ok(()) => {
                contents.tasks.extend(request);
                self.added(at);
            }
            Err(error) => inexpressible(error),
        }
    }

    /// A record was added to the message at this place, which leaves after this event if it
    /// is full.
    #[inline]
    fn added(&mut self, at: usize) {
        self.records += 1;
        let contents = self.messages.at(at);
        if contents.is_full() {
            contents.until = self.told;
            self.full.push_back(self.messages.take(at));
        }
    }

    #[inline(never)]
    fn add_single_for_client(
        &mut self,
        caller: &Caller<Body<Frame>>,
        command: client::FromBroker<Body<Frame>>,
        part_of: Option<&ClientAddress>,
    ) {
        self.told += 1;
        let envelope = caller.envelope.as_ref();
        let envelope = envelope.map_or_else(Vec::new, |envelope| envelope.frames().to_vec());
        match command.encode(caller.version, envelope) {
            Ok(frames) => {
                let single = Single { frames, task: part_of.cloned() };
                self.add_single(&caller.peer, Recipient::Client, single);
            }
            Err(error) => inexpressible(error),
        }
    }

    #[inline(never)]
    fn add_single_for_worker(
        &mut self,
        worker: &PeerId,
        version: Version,
        command: worker::FromBroker<Body<Frame>>,
    ) {
        self.told += 1;
        let task = task_of(&command);
        match command.encode(version) {
            Ok(frames) => {
                let single = Single { frames, task };
                self.add_single(worker, Recipient::Worker, single);
            }
            // These versions have no CANCEL: the engine knows.
            Err(error) => inexpressible(error),
        }
    }

    fn add_single(&mut self, peer: &PeerId, recipient: Recipient, single: Single) {
        let spare = &mut self.spare_singles;
        let at = self.singles.place(peer, recipient, || spare.pop().unwrap_or_default());
        self.singles.at(at).push(single);
        self.single_count += 1;
    }

    /// Where the message is that is being filled for this peer.
    #[inline]
    fn place(&mut self, peer: &PeerId, recipient: Recipient) -> usize {
        let spare = &mut self.spare[recipient as usize];
        let make = || spare.pop().unwrap_or_else(|| Contents::new(recipient));
        self.messages.place(peer, recipient, make)
    }

    /// Whether so much was added since all was taken out that it is to be sent before more
    /// is read.
    pub(crate) fn is_full(&self) -> bool {
        self.records >= RECORDS_MAX || self.single_count >= SINGLES_MAX
    }

    /// Whether there is something to be done before more is read.
    #[inline]
    pub(crate) fn is_urgent(&self) -> bool {
        !self.full.is_empty() || !self.others.is_empty() || self.is_full()
    }

    /// Takes out the first of the messages that are full.
    pub(crate) fn take_full(&mut self) -> Option<Parcel<Contents>> {
        let first = self.full.pop_front();
        if self.full.is_empty() {
            self.full.shrink_when_sparse();
        }
        first
    }

    /// Takes out what is not for peers.
    pub(crate) fn take_others(&mut self) -> Vec<Action<Body<Frame>>> {
        std::mem::take(&mut self.others)
    }

    /// Drops what a worker was to be sent: it is gone or unreachable, and its requests are
    /// given back.
    pub(crate) fn forget_worker(&mut self, peer: &PeerId) {
        self.full.retain(|parcel| parcel.recipient != Recipient::Worker || parcel.peer != *peer);
        self.messages.forget(peer, Recipient::Worker);
        self.singles.forget(peer, Recipient::Worker);
    }

    /// Takes out all messages.
    pub(crate) fn take_all(&mut self) -> Vec<Parcel<Contents>> {
        self.records = 0;
        self.messages.take_all()
    }

    /// Takes out all messages of the older versions.
    pub(crate) fn take_singles(&mut self) -> Vec<Parcel<Vec<Single>>> {
        self.single_count = 0;
        self.singles.take_all()
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

/// The engine asks for nothing that a version cannot say; a broker that serves
/// thousands does not end if it does.
fn inexpressible(error: Inexpressible) {
    log::error!("cannot send: {error}");
}

/// The task id of a REQUEST.
fn task_of(command: &worker::FromBroker<Body<Frame>>) -> Option<ClientAddress> {
    match command {
        worker::FromBroker::Request { client, .. } => Some(client.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use majordomo_protocol::{InstanceId, RequestId, ServiceName};

    use super::*;
    use crate::engine::Gone;

    #[test]
    fn a_message_leaves_at_once_when_it_has_all_the_records_it_may_have() {
        let mut outbox = Outbox::default();
        let caller = Caller {
            peer: PeerId::new(b"c"),
            version: Version::V1_0,
            envelope: None,
            id: Some(RequestId::new([1; 16])),
        };
        for _ in 0..300 {
            let command = client::FromBroker::Heartbeat { instance: InstanceId::new([1; 8]) };
            outbox.tell(&caller, command, None);
        }
        assert!(outbox.is_urgent());
        let records = |it: &Parcel<Contents>| (it.contents.batch.records(), it.contents.until);
        let full: Vec<_> =
            std::iter::from_fn(|| outbox.take_full()).map(|it| records(&it)).collect();
        let rest: Vec<_> = outbox.take_all().iter().map(|parcel| records(parcel).0).collect();
        assert_eq!((full, rest), (vec![(128, 128), (128, 256)], vec![44]));
        assert!(outbox.take_all().is_empty() && !outbox.is_urgent());
    }

    #[test]
    fn nothing_is_left_of_what_was_for_a_worker_that_is_gone() {
        let mut outbox = Outbox::default();
        let (gone, other) = (PeerId::new(b"gone"), PeerId::new(b"other"));
        for worker in [&gone, &other] {
            for _ in 0..200 {
                outbox.tell_worker(worker, Version::V1_0, worker::FromBroker::Heartbeat);
            }
            outbox.tell_worker(worker, Version::V0_2, worker::FromBroker::Heartbeat);
        }
        let (worker, service) = (gone, ServiceName::new("echo").unwrap());
        let reason = Gone::Silent;
        outbox.act(Action::Note(Note::WorkerGone { worker, service, reason, requests: 0 }));
        assert_eq!(outbox.told(), 403);
        let full: Vec<_> = std::iter::from_fn(|| outbox.take_full()).map(|it| it.peer).collect();
        let rest: Vec<_> = outbox.take_all().into_iter().map(|it| it.peer).collect();
        let singles: Vec<_> = outbox.take_singles().into_iter().map(|it| it.peer).collect();
        assert_eq!([full, rest, singles], [(); 3].map(|()| vec![other.clone()]));
    }

    #[test]
    fn what_so_many_peers_needed_at_once_is_given_back_when_few_are_told_something() {
        let mut outbox = Outbox::default();
        let mut round = |peers: u32| {
            for number in 0..peers {
                let peer = PeerId::new(&number.to_be_bytes());
                for version in [Version::V1_0, Version::V0_2] {
                    outbox.tell_worker(&peer, version, worker::FromBroker::Heartbeat);
                }
            }
            let taken = (outbox.take_all().len(), outbox.take_singles().len());
            assert_eq!(taken, (peers as usize, peers as usize));
            outbox.messages.capacity().max(outbox.singles.capacity())
        };
        let most = round(100_000);
        // They may all be told something again.
        assert_eq!(round(0), most);
        assert_eq!(round(50_000), most);
        assert!(round(10) < 10_000);
    }
}
