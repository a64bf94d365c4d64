//! One connection's socket: commands out, frames in, and nothing decided.
//!
//! No call blocks. What the socket does not take at once waits here; the I/O thread
//! gives it nothing of a reply meanwhile, so that little ever does. In MDP/1.0
//! commands gather in a batch, which leaves when it is full or flushed: everything
//! that is ready when the I/O thread turns to send, and never later. A batch of
//! several commands is bounded, so that a broker refuses no reply for its company; a
//! command beyond the bounds travels alone.

use std::collections::VecDeque;

use majordomo_io::monitor::{self, Told};
use majordomo_io::{retry, security};
use majordomo_protocol::worker::ToBroker;
use majordomo_protocol::{
    Batch, Body, ClientAddress, Endpoint, HandshakeFailure, Inexpressible, Security, Version,
};

use crate::context::Context;
use crate::frame::Frame;

/// Messages that a socket holds for a broker that does not read. A handler that
/// sends faster waits; nothing is lost.
const SENDS_WAITING_MAX: i32 = 32;

/// How long a closed socket may still send what it holds, in milliseconds. It also
/// bounds how long an ending worker waits for a broker that cannot be reached.
const LINGER_MS: i32 = 1000;

/// Up to here a body is cheaper to copy into the batch than to send as a frame.
const INLINE_BYTES_MAX: usize = 4 * 1024;

/// What a record has beside its body, its text and its metadata, at most: in
/// MDP/1.0 that is length, command, flags, body frames, task id or terms, and the
/// lengths of the rest. A service's name stands in READY alone, which comes first.
const RECORD_BYTES_MAX: usize = 32;

/// Records of a batch, at most: the broker is to work on them while the next are made.
const BATCH_RECORDS_MAX: usize = 128;

/// Frames of a batch of several commands, at most: as many as every broker takes, since
/// Majordomo's `frames_max` is 8 or more.
const BATCH_FRAMES_MAX: usize = 8;

/// Up to here a frame is cheaper to copy than to ask libzmq for its bytes at each record.
const COPIED_BYTES_MAX: usize = 16 * 1024;

/// The socket of one connection, when it has one.
pub(crate) struct Wire {
    version: Version,
    /// Bytes of a batch of several commands, at most.
    batch_bytes_max: usize,
    socket: Option<zmq::Socket>,
    /// There is nothing to read before the socket's descriptor is readable, or I/O is run.
    /// The descriptor tells what comes only until the socket is used next, whatever for.
    quiet: bool,
    /// Told of the socket's handshakes that fail, if anybody wants to know of them.
    monitor: Option<zmq::Socket>,
    /// What was written since the last flush (MDP/1.0).
    batch: Option<Gathered>,
    /// What the socket did not take. Empty when there is no socket.
    outgoing: VecDeque<Outgoing>,
    /// Close once `outgoing` is empty.
    closing: bool,
}

struct Gathered {
    batch: Batch<Vec<u8>>,
    answers: Vec<ClientAddress>,
}

/// A message to send.
struct Outgoing {
    frames: Vec<Vec<u8>>,
    /// Whose answers are in it.
    answers: Vec<ClientAddress>,
}

impl Wire {
    pub(crate) fn new(version: Version, batch_bytes_max: usize) -> Self {
        let outgoing = VecDeque::new();
        Wire {
            version,
            batch_bytes_max,
            socket: None,
            quiet: false,
            monitor: None,
            batch: None,
            outgoing,
            closing: false,
        }
    }

    /// Opens a new socket and connects it; returns before it is connected. `is_watched`:
    /// whether [`Wire::refusal`] is to tell of it; not for inproc, which shakes no hands.
    pub(crate) fn open(
        &mut self,
        context: &Context,
        endpoint: &Endpoint,
        security: &Security,
        is_watched: bool,
    ) -> zmq::Result<()> {
        let socket = context.socket(zmq::DEALER)?;
        socket.set_linger(0)?;
        socket.set_sndhwm(SENDS_WAITING_MAX)?;
        // A broker that is down is tried less and less often.
        socket.set_reconnect_ivl_max(2000)?;
        socket.set_ipv6(endpoint.is_ipv6())?;
        security::set(&socket, security)?;
        let is_watched = is_watched && !endpoint.as_str().starts_with("inproc:");
        let monitor = is_watched.then(|| monitor(context, &socket)).transpose()?;
        let connected = socket.connect(endpoint.as_str());
        (self.socket, self.monitor, self.quiet) = (Some(socket), monitor, false);
        if connected.is_err() {
            self.close_with_linger(0);
        }
        connected
    }

    pub(crate) fn is_open(&self) -> bool {
        self.socket.is_some()
    }

    /// Whether the socket has taken every message it was given.
    pub(crate) fn is_clear(&self) -> bool {
        self.outgoing.is_empty()
    }

    /// Whether something was written that no flush has sent yet.
    pub(crate) fn is_gathering(&self) -> bool {
        self.batch.is_some()
    }

    /// Whether there is something to read, and room for what waits. When there is neither,
    /// [these](Wire::poll_items) tell of it, if nothing is done with the socket before; and
    /// where I/O is run, nothing comes without it.
    pub(crate) fn ready(&mut self) -> (bool, bool) {
        let Some(socket) = &self.socket else { return (false, false) };
        let waits = !self.outgoing.is_empty();
        let is_told = self.monitor.as_ref().is_some_and(|monitor| {
            monitor.get_events().is_ok_and(|events| events.contains(zmq::POLLIN))
        });
        if self.quiet && !waits {
            return (is_told, false);
        }
        // An error shows itself to whoever reads.
        let events = retry(|| socket.get_events()).unwrap_or(zmq::POLLIN);
        self.quiet = !events.contains(zmq::POLLIN);
        let readable = is_told || (!self.quiet && !self.closing);
        (readable, waits && events.contains(zmq::POLLOUT))
    }

    /// One of these has become readable, or I/O was run.
    pub(crate) fn disturb(&mut self) {
        self.quiet = false;
    }

    /// What to wait for.
    pub(crate) fn poll_items(&self) -> impl Iterator<Item = zmq::PollItem<'_>> {
        let fd = self.socket.iter().filter_map(|socket| socket.get_fd().ok());
        let socket = fd.map(|fd| zmq::PollItem::from_fd(fd, zmq::POLLIN));
        socket.chain(self.monitor.iter().map(|monitor| monitor.as_poll_item(zmq::POLLIN)))
    }

    /// Why the broker did not let this worker in, if it did not, since this was last asked.
    pub(crate) fn refusal(&self) -> Option<HandshakeFailure> {
        let monitor = self.monitor.as_ref()?;
        let mut last = None;
        while let Ok(frames) = monitor.recv_multipart(zmq::DONTWAIT) {
            let told = frames.first().and_then(|frame| Told::read(frame));
            if let Some(Told::NotLetIn(failure)) = told {
                last = Some(failure);
            }
        }
        last
    }

    /// Writes a command, after those that wait. In MDP/1.0 it leaves when the batch is
    /// full or with the next [`Wire::flush`], before that at once. Gives the number of
    /// answers that have gone.
    pub(crate) fn write(&mut self, command: ToBroker<Body>) -> zmq::Result<u64> {
        let answer = match &command {
            ToBroker::Final { client, .. } | ToBroker::Error { client, .. } => Some(client.clone()),
            _ => None,
        };
        let written = match self.version {
            Version::V0_1 | Version::V0_2 => command.encode(self.version).map(|frames| {
                self.outgoing.push_back(Outgoing { frames, answers: Vec::from_iter(answer) });
            }),
            Version::V1_0 => self.gather(command, answer),
        };
        if let Err(error) = written {
            // Neither dialog nor responder asks for it.
            log::error!("not sent: {error}");
        }
        if self.is_clear() && !self.closing { Ok(0) } else { self.send_sealed() }
    }

    /// Puts a command into the batch, or into the next one when they would be too
    /// much together. Seals what is full.
    fn gather(
        &mut self,
        command: ToBroker<Body>,
        answer: Option<ClientAddress>,
    ) -> Result<(), Inexpressible> {
        let bytes_max = self.batch_bytes_max;
        let (bytes, frames) = load(&command);
        if let Some(Gathered { batch, .. }) = &self.batch
            && (batch.bytes() + bytes > bytes_max
                || batch.frame_count() + frames > BATCH_FRAMES_MAX)
        {
            self.seal();
        }
        let gathered = self.batch.get_or_insert_with(|| Gathered {
            batch: Batch::of_worker(INLINE_BYTES_MAX),
            answers: Vec::new(),
        });
        command.write(&mut gathered.batch)?;
        gathered.answers.extend(answer);
        let batch = &gathered.batch;
        if batch.records() >= BATCH_RECORDS_MAX
            || batch.bytes() >= bytes_max
            || batch.frame_count() >= BATCH_FRAMES_MAX
        {
            self.seal();
        }
        Ok(())
    }

    fn seal(&mut self) {
        if let Some(Gathered { batch, answers }) = self.batch.take()
            && batch.records() > 0
        {
            self.outgoing.push_back(Outgoing { frames: batch.into_frames(), answers });
        }
    }

    /// Sends what was written, as far as the socket takes it. Gives the number of
    /// answers that have gone.
    pub(crate) fn flush(&mut self) -> zmq::Result<u64> {
        self.seal();
        self.send_sealed()
    }

    fn send_sealed(&mut self) -> zmq::Result<u64> {
        let mut answers = 0;
        if let Some(socket) = &self.socket {
            self.quiet = false;
            while let Some(message) = self.outgoing.front_mut() {
                if !send(socket, &mut message.frames)? {
                    return Ok(answers);
                }
                answers += message.answers.len() as u64;
                self.outgoing.pop_front();
            }
        }
        if self.closing {
            self.close_with_linger(LINGER_MS);
        }
        Ok(answers)
    }

    /// Closes the socket. What it has taken still has a second to go out when `flush`
    /// is set. Gives whose answers it did not take.
    pub(crate) fn close(&mut self, flush: bool) -> Vec<ClientAddress> {
        self.seal();
        self.close_with_linger(if flush { LINGER_MS } else { 0 });
        self.outgoing.drain(..).flat_map(|message| message.answers).collect()
    }

    /// Closes the socket as soon as it has taken everything that was flushed.
    pub(crate) fn close_when_clear(&mut self) {
        if self.is_clear() {
            self.close_with_linger(LINGER_MS);
        } else {
            self.closing = true;
        }
    }

    fn close_with_linger(&mut self, linger_ms: i32) {
        self.closing = false;
        if let Some(socket) = self.socket.take() {
            if let Some(_monitor) = self.monitor.take() {
                monitor::stop(&socket);
            }
            // It can fail only for a socket of a context that has ended, which
            // lingers no more.
            let _ = socket.set_linger(linger_ms);
        }
    }

    /// Reads one message, if one is there. Its frames are those that libzmq holds.
    pub(crate) fn receive(&mut self) -> zmq::Result<Option<Vec<Frame>>> {
        let Some(socket) = &self.socket else {
            return Ok(None);
        };
        let mut message = match retry(|| socket.recv_msg(zmq::DONTWAIT)) {
            Err(zmq::Error::EAGAIN) => {
                self.quiet = true;
                return Ok(None);
            }
            message => message?,
        };
        let mut frames = Vec::with_capacity(1);
        while message.get_more() {
            frames.push(Frame::of(message, COPIED_BYTES_MAX));
            message = retry(|| socket.recv_msg(zmq::DONTWAIT))?;
        }
        frames.push(Frame::of(message, COPIED_BYTES_MAX));
        // It was let in, and nobody needs to look any more. If it is not when ZeroMQ connects
        // again, the broker is silent, and the next socket tells why.
        if let Some(_monitor) = self.monitor.take() {
            monitor::stop(socket);
        }
        Ok(Some(frames))
    }
}

/// Opens the socket that is told when a handshake of this one fails.
fn monitor(context: &Context, socket: &zmq::Socket) -> zmq::Result<zmq::Socket> {
    let monitor = context.socket(zmq::PAIR)?;
    monitor::start(socket, &monitor, monitor::REFUSALS)?;
    Ok(monitor)
}

/// What a command adds to a batch at most: bytes, and frames behind the first.
fn load(command: &ToBroker<Body>) -> (usize, usize) {
    let (body, beside) = match command {
        ToBroker::Partial { body, .. } | ToBroker::Final { body, .. } => (Some(body), 0),
        ToBroker::Error { reason, details, .. } => (Some(details), reason.text.len()),
        ToBroker::Disconnect { reason } => (None, reason.text.len()),
        ToBroker::Ready { offer, .. } => (None, offer.metadata.as_bytes().len()),
        ToBroker::Heartbeat | ToBroker::Drain => (None, 0),
    };
    let frames = match body.map_or(&[][..], Body::frames) {
        [frame] if frame.len() <= INLINE_BYTES_MAX => 0,
        frames => frames.len(),
    };
    (RECORD_BYTES_MAX + beside + body.map_or(0, Body::size), frames)
}

/// Sends a whole message, or nothing of it: the socket's limit is checked at the
/// first frame.
fn send(socket: &zmq::Socket, frames: &mut Vec<Vec<u8>>) -> zmq::Result<bool> {
    let count = frames.len();
    let more = |position| if position + 1 < count { zmq::SNDMORE } else { 0 };
    let Some(first) = frames.first() else {
        return Ok(true);
    };
    match retry(|| socket.send(first.as_slice(), zmq::DONTWAIT | more(0))) {
        Err(zmq::Error::EAGAIN) => return Ok(false),
        sent => sent?,
    }
    for (position, frame) in frames.drain(..).enumerate().skip(1) {
        // Moved into the message: a large body is not copied.
        socket.send(frame, zmq::DONTWAIT | more(position))?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH_BYTES_MAX: usize = 64 * 1024;

    fn part(text: &str) -> ToBroker<Body> {
        ToBroker::Partial { client: ClientAddress::new(b"c"), body: Body::from(text) }
    }

    /// A wire whose peer has not read for so long that something waits, and how many
    /// messages went into it.
    fn full(context: &zmq::Context, endpoint: &Endpoint) -> (Wire, usize) {
        let mut wire = Wire::new(Version::V0_2, BATCH_BYTES_MAX);
        wire.open(&context.clone().into(), endpoint, &Security::Null, true).expect("it opens");
        let mut sent = 0;
        while wire.is_clear() {
            wire.write(part(&sent.to_string())).expect("it takes or keeps it");
            sent += 1;
        }
        (wire, sent)
    }

    #[test]
    fn a_wire_that_is_to_close_sends_first_what_waits() {
        let context = zmq::Context::new();
        let peer = context.socket(zmq::ROUTER).unwrap();
        peer.set_rcvhwm(1).unwrap();
        peer.bind("inproc://slow").unwrap();
        let endpoint = Endpoint::to_connect("inproc://slow").unwrap();
        let (mut wire, sent) = full(&context, &endpoint);
        wire.write(part("last")).unwrap();
        wire.close_when_clear();
        assert!(wire.is_open());
        let mut received = Vec::new();
        while received.len() <= sent {
            let mut items = vec![peer.as_poll_item(zmq::POLLIN)];
            items.extend(wire.poll_items());
            assert_ne!(zmq::poll(&mut items, 30_000), Ok(0), "{} of {sent}", received.len());
            wire.flush().unwrap();
            while let Ok(mut frames) = peer.recv_multipart(zmq::DONTWAIT) {
                received.push(String::from_utf8(frames.pop().unwrap()).unwrap());
            }
        }
        let expected = (0..sent).map(|number| number.to_string());
        assert!(received.iter().cloned().eq(expected.chain(["last".to_owned()])));
        assert!(!wire.is_open());
    }

    #[test]
    fn a_lost_wire_forgets_what_waits() {
        let context = zmq::Context::new();
        let endpoint = Endpoint::to_connect("inproc://nobody").unwrap();
        let (mut wire, _) = full(&context, &endpoint);
        assert!(wire.close(false).is_empty(), "parts are no answers");
        assert!(wire.is_clear() && !wire.is_open());
        assert!(wire.poll_items().next().is_none());
    }

    /// A wire that batches, and the messages that its peer has got, by bytes and frames.
    fn batching(test: impl FnOnce(&mut Wire, &dyn Fn() -> Vec<(usize, usize)>)) {
        let context = zmq::Context::new();
        let peer = context.socket(zmq::ROUTER).unwrap();
        peer.bind("inproc://batches").unwrap();
        let endpoint = Endpoint::to_connect("inproc://batches").unwrap();
        let mut wire = Wire::new(Version::V1_0, BATCH_BYTES_MAX);
        wire.open(&context.into(), &endpoint, &Security::Null, true).unwrap();
        test(&mut wire, &|| {
            std::iter::from_fn(|| peer.recv_multipart(zmq::DONTWAIT).ok())
                .map(|frames| (frames[1..].iter().map(Vec::len).sum(), frames.len() - 1))
                .collect()
        });
    }

    /// A part whose body has `frames` frames of `bytes` bytes.
    fn parts(frames: usize, bytes: usize) -> ToBroker<Body> {
        let client = ClientAddress::new(&[7; 8]);
        ToBroker::Partial { client, body: Body::from(vec![vec![0; bytes]; frames]) }
    }

    fn part_of_a_few() -> ToBroker<Body> {
        parts(3, 10)
    }

    #[test]
    fn what_is_written_leaves_in_one_message() {
        batching(|wire, received| {
            for _ in 0..BATCH_RECORDS_MAX - 1 {
                wire.write(ToBroker::Heartbeat).unwrap();
            }
            assert!(wire.is_gathering() && received().is_empty());
            wire.flush().unwrap();
            assert_eq!(received(), [(6 + 127 * 10, 1)]);
        });
    }

    #[test]
    fn a_batch_of_many_commands_leaves_by_itself() {
        batching(|wire, received| {
            for _ in 0..2 * BATCH_RECORDS_MAX {
                wire.write(ToBroker::Heartbeat).unwrap();
            }
            assert!(!wire.is_gathering());
            assert_eq!(received(), [(6 + 128 * 10, 1); 2]);
        });
    }

    #[test]
    fn a_batch_of_several_commands_passes_neither_limit() {
        for (frames, bytes) in [(1, 0), (1, 4096), (1, 4097), (7, 1), (3, 10), (3, 21_000)] {
            batching(|wire, received| {
                for _ in 0..200 {
                    wire.write(parts(frames, bytes)).unwrap();
                }
                wire.flush().unwrap();
                let received = received();
                for (bytes, frames) in &received {
                    assert!(
                        *bytes <= BATCH_BYTES_MAX && *frames <= BATCH_FRAMES_MAX,
                        "{bytes} {frames}"
                    );
                }
                let sent: usize = received.iter().map(|(bytes, _)| bytes - 6).sum();
                assert_eq!(sent, 200 * (4 + 4 + 8 + 2 + frames * bytes), "all that was written");
            });
        }
    }

    #[test]
    fn a_command_that_passes_a_limit_travels_alone() {
        for (frames, bytes) in [(800, 1), (1, BATCH_BYTES_MAX)] {
            batching(|wire, received| {
                for _ in 0..2 {
                    wire.write(part_of_a_few()).unwrap();
                    wire.write(parts(frames, bytes)).unwrap();
                }
                wire.write(part_of_a_few()).unwrap();
                wire.flush().unwrap();
                let counts: Vec<_> = received().iter().map(|(_, frames)| *frames).collect();
                assert_eq!(counts, [4, frames + 1, 4, frames + 1, 4]);
            });
        }
    }
}
