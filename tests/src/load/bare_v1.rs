//! The simplest broker of MDP/1.0 batches: it unpacks what came, hands it out by turns
//! to workers of one service that have room, remembers each task in a table, and sends
//! everybody one message once it has read all there is. No limits, deadlines, liveness.

use std::collections::{HashMap, VecDeque};

use zmq::{DONTWAIT, SNDMORE};

use super::bare::{listening, ready};
use super::mdp10::{begin_record, end_record, records};

/// So many messages are read before any is sent.
const DRAIN_MAX: usize = 1_000;

/// A peer, and what leaves for it after this round.
struct Peer {
    identity: Vec<u8>,
    out: Vec<u8>,
}

#[derive(Default)]
struct Bare {
    peers: Vec<Peer>,
    numbers: HashMap<Vec<u8>, usize>,
    /// Peers that have something to leave.
    dirty: Vec<usize>,
    /// Workers with room, and how much.
    free: VecDeque<(usize, usize)>,
    /// Client and request id of each task; places that are free.
    tasks: Vec<(usize, [u8; 16])>,
    unused: Vec<usize>,
    waiting: VecDeque<(usize, [u8; 16], Vec<u8>)>,
}

/// Runs until killed.
///
/// # Panics
///
/// When its socket fails.
pub fn run() {
    let context = zmq::Context::new();
    let (socket, endpoint) = listening(&context, zmq::ROUTER);
    ready(&[endpoint]);
    let mut broker = Bare::default();
    loop {
        let mut flags = 0;
        for _ in 0..DRAIN_MAX {
            match socket.recv_msg(flags) {
                Ok(identity) => {
                    let batch = socket.recv_msg(0).expect("a message arrives as a whole");
                    broker.handle(&identity, &batch);
                }
                Err(zmq::Error::EAGAIN | zmq::Error::EINTR) => break,
                Err(error) => panic!("cannot receive: {error}"),
            }
            flags = DONTWAIT;
        }
        for number in std::mem::take(&mut broker.dirty) {
            let peer = &mut broker.peers[number];
            let batch = std::mem::take(&mut peer.out);
            let sent = socket.send(&peer.identity[..], SNDMORE);
            sent.and_then(|()| socket.send(batch, 0)).expect("a batch is sent");
        }
    }
}

impl Bare {
    fn handle(&mut self, identity: &[u8], batch: &[u8]) {
        let peer = self.peer(identity);
        if batch.starts_with(b"MDPC10") {
            for (command, frames, fields) in records(batch, b"MDPC10") {
                assert_eq!((command, frames), (0x01, 0), "nobody here says anything else");
                let (id, behind) = fields.split_first_chunk().expect("a request id");
                // Behind the deadlines stands the name of the only service, then no metadata.
                let name = usize::from(behind[8]);
                self.request(peer, *id, &behind[8 + 1 + name + 2..]);
            }
        } else {
            for (command, frames, fields) in records(batch, b"MDPW10") {
                assert_eq!(frames, 0, "bodies are inline");
                match command {
                    0x01 => {
                        let capacity = u16::from_be_bytes([fields[0], fields[1]]);
                        (0..capacity).for_each(|_| self.free(peer));
                    }
                    0x05 => self.answer(peer, fields),
                    other => panic!("nobody here says {other:02x}"),
                }
            }
        }
    }

    fn peer(&mut self, identity: &[u8]) -> usize {
        if let Some(&number) = self.numbers.get(identity) {
            return number;
        }
        self.peers.push(Peer { identity: identity.to_vec(), out: vec![] });
        self.numbers.insert(identity.to_vec(), self.peers.len() - 1);
        self.peers.len() - 1
    }

    /// Where a record for this peer goes.
    fn out(&mut self, number: usize, magic: &[u8; 6]) -> &mut Vec<u8> {
        let peer = &mut self.peers[number];
        if peer.out.is_empty() {
            self.dirty.push(number);
            peer.out.extend(magic);
        }
        &mut peer.out
    }

    fn request(&mut self, client: usize, id: [u8; 16], body: &[u8]) {
        let Some((worker, room)) = self.free.pop_front() else {
            self.waiting.push_back((client, id, body.to_vec()));
            return;
        };
        if room > 1 {
            self.free.push_back((worker, room - 1));
        }
        self.dispatch(worker, client, id, body);
    }

    fn dispatch(&mut self, worker: usize, client: usize, id: [u8; 16], body: &[u8]) {
        let task = self.unused.pop().unwrap_or_else(|| {
            self.tasks.push((0, [0; 16]));
            self.tasks.len() - 1
        });
        self.tasks[task] = (client, id);
        let out = self.out(worker, b"MDPW10");
        let start = begin_record(out, 0x03);
        out.extend((task as u64).to_be_bytes());
        // No deadline, the first attempt, no metadata.
        out.extend([0, 0, 0, 0, 1, 0, 0]);
        out.extend(body);
        end_record(out, start);
    }

    fn answer(&mut self, worker: usize, fields: &[u8]) {
        let (task, behind) = fields.split_first_chunk().expect("a task id");
        let task = u64::from_be_bytes(*task) as usize;
        let (client, id) = self.tasks[task];
        self.unused.push(task);
        let out = self.out(client, b"MDPC10");
        let start = begin_record(out, 0x05);
        out.extend(id);
        out.extend(behind);
        end_record(out, start);
        self.free(worker);
    }

    /// There is room for one more at this worker.
    fn free(&mut self, worker: usize) {
        if let Some((client, id, body)) = self.waiting.pop_front() {
            self.dispatch(worker, client, id, &body);
        } else if let Some(free) = self.free.iter_mut().find(|(free, _)| *free == worker) {
            free.1 += 1;
        } else {
            self.free.push_back((worker, 1));
        }
    }
}
