//! Clients and workers of MDP/1.0 on bare sockets. They batch: what came in one go is
//! answered, or followed up, in one message. Records are written by hand, with nothing
//! that these loads do not need: no metadata, and bodies inline. What the broker sends is
//! read as it comes: it puts large bodies behind the batch.

use zmq::DONTWAIT;

use super::peer::{
    CLIENTS, ClientLink, TAG_BYTES, Tag, WORKERS, WorkerLink, add_body, dealer, next_frame,
};

/// Begins a record: a length that [`end_record`] sets, command, no flags, no frames.
pub fn begin_record(out: &mut Vec<u8>, command: u8) -> usize {
    let start = out.len();
    out.extend([0, 0, 0, 0, command, 0, 0, 0]);
    start
}

/// Ends the record that began at `start`.
pub fn end_record(out: &mut [u8], start: usize) {
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// The records of a batch frame of this magic: the command of each, how many frames behind
/// the batch are its body, and what stands behind the head.
///
/// # Panics
///
/// While it is read, when the frame is not such a batch.
pub fn records<'a>(
    batch: &'a [u8],
    magic: &[u8; 6],
) -> impl Iterator<Item = (u8, usize, &'a [u8])> {
    let mut rest = batch.strip_prefix(magic).unwrap_or_else(|| panic!("not a batch: {batch:?}"));
    std::iter::from_fn(move || {
        let (length, behind) = rest.split_first_chunk()?;
        let (record, behind) = behind.split_at(u32::from_be_bytes(*length) as usize);
        rest = behind;
        let [command, _, high, low] = record[..4] else { unreachable!("four bytes") };
        Some((command, u16::from_be_bytes([high, low]).into(), &record[4..]))
    })
}

/// The frames behind the first of a message.
fn behind(socket: &zmq::Socket, first: &zmq::Message) -> std::vec::IntoIter<zmq::Message> {
    let mut frames = vec![];
    let mut more = first.get_more();
    while more {
        let frame = socket.recv_msg(0).expect("a message arrives as a whole");
        more = frame.get_more();
        frames.push(frame);
    }
    frames.into_iter()
}

/// Hands over the body of a record without metadata: what is left of it, or else the next
/// frame behind the batch.
fn with_body(
    frames: usize,
    rest: &[u8],
    behind: &mut impl Iterator<Item = zmq::Message>,
    take: impl FnOnce(&[u8]),
) {
    let inline = rest.strip_prefix(&[0, 0]).expect("no metadata");
    match frames {
        0 => take(inline),
        1 => take(&behind.next().expect("as many frames as the records say")),
        _ => panic!("a body of {frames} frames"),
    }
}

/// A client that puts all it has to say into one message.
pub struct Client {
    socket: zmq::Socket,
    service: String,
    body_bytes: usize,
}

impl Client {
    /// Connects.
    pub fn connect(endpoint: &str, service: &str, body_bytes: usize) -> Self {
        Client::over(dealer(&CLIENTS, endpoint), service, body_bytes)
    }

    /// Over a socket that is connected.
    pub fn over(socket: zmq::Socket, service: &str, body_bytes: usize) -> Self {
        Client { socket, service: service.to_owned(), body_bytes }
    }
}

impl ClientLink for Client {
    fn send(&mut self, tags: &[Tag]) {
        let mut batch = Vec::with_capacity(6 + tags.len() * (64 + self.body_bytes));
        batch.extend(b"MDPC10");
        for &tag in tags {
            let start = begin_record(&mut batch, 0x01);
            // The request id, then no timeout and no start-within of its own.
            batch.extend(tag.to_bytes());
            batch.extend([0; 8]);
            batch.push(self.service.len() as u8);
            batch.extend(self.service.as_bytes());
            batch.extend([0; 2]);
            add_body(&mut batch, tag, self.body_bytes);
            end_record(&mut batch, start);
        }
        self.socket.send(batch, 0).expect("a batch is sent");
    }

    fn receive(&mut self, tags: &mut Vec<Tag>) {
        let mut next = next_frame(&self.socket, 0);
        while let Some(batch) = next {
            let mut behind = behind(&self.socket, &batch);
            for (command, frames, fields) in records(&batch, b"MDPC10") {
                assert_eq!(command, 0x05, "not a FINAL: {fields:?}");
                let (id, rest) = fields.split_at(TAG_BYTES);
                with_body(frames, rest, &mut behind, |body| {
                    assert_eq!((body.len(), &body[..TAG_BYTES]), (self.body_bytes, id));
                    tags.push(Tag::of(body));
                });
            }
            next = next_frame(&self.socket, DONTWAIT);
        }
    }
}

/// A worker that answers all that has come with one message.
pub struct Worker(zmq::Socket);

impl Worker {
    /// Connects and registers.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub fn register(endpoint: &str, service: &str, capacity: u16) -> Self {
        Worker::over(dealer(&WORKERS, endpoint), service, capacity)
    }

    /// Registers over a socket that is connected.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub fn over(socket: zmq::Socket, service: &str, capacity: u16) -> Self {
        let mut ready = b"MDPW10".to_vec();
        let start = begin_record(&mut ready, 0x01);
        ready.extend(capacity.to_be_bytes());
        // Heartbeat and liveness are the broker's.
        ready.extend([0; 5]);
        ready.push(service.len() as u8);
        ready.extend(service.as_bytes());
        ready.extend([0; 2]);
        end_record(&mut ready, start);
        socket.send(ready, 0).expect("READY");
        Worker(socket)
    }
}

impl WorkerLink for Worker {
    fn serve(&mut self) {
        let mut answers = b"MDPW10".to_vec();
        let mut next = next_frame(&self.0, 0);
        while let Some(batch) = next {
            let mut behind = behind(&self.0, &batch);
            for (command, frames, fields) in records(&batch, b"MDPW10") {
                match command {
                    // Behind the task id stand what is left of its time, and the attempt.
                    0x03 => {
                        let start = begin_record(&mut answers, 0x05);
                        answers.extend(&fields[..8]);
                        answers.extend([0; 2]);
                        let take = |body: &[u8]| answers.extend(body);
                        with_body(frames, &fields[13..], &mut behind, take);
                        end_record(&mut answers, start);
                    }
                    0x02 | 0x08 => {}
                    other => panic!("the broker says {other:02x} to a worker"),
                }
            }
            next = next_frame(&self.0, DONTWAIT);
        }
        if answers.len() > 6 {
            self.0.send(answers, 0).expect("a batch is sent");
        }
    }
}
