//! One connection's socket: bytes in, bytes out, and nothing decided.
//!
//! No call blocks. What the socket does not take at once waits here; the I/O thread
//! gives it nothing of a reply meanwhile, so that little ever does.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Receiver;
use majordomo_protocol::{Endpoint, Version};

use crate::dialog::Dialog;
use crate::request::{Part, Task};

/// Messages that a socket holds for a broker that does not read. A handler that
/// sends faster waits; nothing is lost.
const SENDS_WAITING_MAX: i32 = 32;

/// How long a closed socket may still send what it holds, in milliseconds. It also
/// bounds how long an ending worker waits for a broker that cannot be reached.
const LINGER_MS: i32 = 1000;

/// What a body frame counts against the limit beside its bytes, for its keeping.
const FRAME_COST: usize = 32;

/// One place's connection to one broker.
pub(crate) struct Connection {
    /// Where it connects to, by index.
    pub(crate) broker: usize,
    /// What it serves, by index.
    pub(crate) service: usize,
    pub(crate) dialog: Dialog,
    /// The request whose handler has not answered. Set and cleared as the dialog
    /// sets and clears its own; outlives the socket it came by.
    pub(crate) running: Option<Running>,
    /// Set while a request over the limit is handled, to the size of its body.
    pub(crate) too_large: Option<usize>,
    /// Its entry among the I/O thread's timers.
    pub(crate) timer: Option<Instant>,
    socket: Option<zmq::Socket>,
    /// What the socket did not take. Empty when there is no socket.
    outgoing: VecDeque<Outgoing>,
    /// Close once `outgoing` is empty.
    closing: bool,
}

/// A request that was given out.
pub(crate) struct Running {
    pub(crate) task: Arc<Task>,
    pub(crate) parts: Receiver<Part>,
}

/// A message to send.
pub(crate) struct Outgoing {
    pub(crate) frames: Vec<Vec<u8>>,
    /// Whose answer it is, if it is one.
    pub(crate) answer: Option<Arc<Task>>,
}

/// A message that came.
pub(crate) struct Incoming {
    pub(crate) frames: Vec<Vec<u8>>,
    /// Set to the size of a body over the limit; its frames were not kept.
    pub(crate) too_large: Option<usize>,
}

impl Connection {
    pub(crate) fn new(broker: usize, service: usize, dialog: Dialog) -> Self {
        Connection {
            broker,
            service,
            dialog,
            running: None,
            too_large: None,
            timer: None,
            socket: None,
            outgoing: VecDeque::new(),
            closing: false,
        }
    }

    /// Opens a new socket and connects it; returns before it is connected.
    pub(crate) fn open(&mut self, context: &zmq::Context, endpoint: &Endpoint) -> zmq::Result<()> {
        let socket = context.socket(zmq::DEALER)?;
        socket.set_linger(0)?;
        socket.set_sndhwm(SENDS_WAITING_MAX)?;
        // A broker that is down is tried less and less often.
        socket.set_reconnect_ivl_max(2000)?;
        socket.set_ipv6(endpoint.is_ipv6())?;
        socket.connect(endpoint.as_str())?;
        self.socket = Some(socket);
        Ok(())
    }

    pub(crate) fn is_open(&self) -> bool {
        self.socket.is_some()
    }

    /// Whether the socket has taken everything.
    pub(crate) fn is_clear(&self) -> bool {
        self.outgoing.is_empty()
    }

    /// What to wait for.
    pub(crate) fn poll_item(&self) -> Option<zmq::PollItem<'_>> {
        let socket = self.socket.as_ref()?;
        let read = if self.closing { zmq::PollEvents::empty() } else { zmq::POLLIN };
        let write = if self.is_clear() { zmq::PollEvents::empty() } else { zmq::POLLOUT };
        Some(socket.as_poll_item(read | write))
    }

    /// Sends a message, after those that wait. Gives the number of answers that have
    /// gone.
    pub(crate) fn send(&mut self, message: Outgoing) -> zmq::Result<u64> {
        self.outgoing.push_back(message);
        self.flush()
    }

    /// Sends what waits, as far as the socket takes it. Gives the number of answers
    /// that have gone.
    pub(crate) fn flush(&mut self) -> zmq::Result<u64> {
        let mut answers = 0;
        if let Some(socket) = &self.socket {
            while let Some(message) = self.outgoing.front_mut() {
                if !send(socket, &mut message.frames)? {
                    return Ok(answers);
                }
                answers += u64::from(message.answer.is_some());
                self.outgoing.pop_front();
            }
        }
        if self.closing {
            self.close_with_linger(LINGER_MS);
        }
        Ok(answers)
    }

    /// Closes the socket. With `flush`, what it holds still has a second to go out.
    /// Answers that it did not even take are late.
    pub(crate) fn close(&mut self, flush: bool) {
        for message in self.outgoing.drain(..) {
            if let Some(task) = message.answer {
                task.late();
            }
        }
        self.close_with_linger(if flush { LINGER_MS } else { 0 });
    }

    /// Closes the socket as soon as it has taken everything.
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
            // It can fail only for a socket of a context that has ended, which
            // lingers no more.
            let _ = socket.set_linger(linger_ms);
        }
    }

    /// Reads one message, if one is there, keeping no more than `body_bytes_max` of
    /// its body.
    pub(crate) fn receive(
        &self,
        version: Version,
        body_bytes_max: usize,
    ) -> zmq::Result<Option<Incoming>> {
        let Some(socket) = &self.socket else {
            return Ok(None);
        };
        // The frames in front of a body: see the table of MDP/Worker.
        let head = match version {
            Version::V0_1 => 5,
            Version::V0_2 => 4,
        };
        let mut message = match retry(|| socket.recv_msg(zmq::DONTWAIT)) {
            Err(zmq::Error::EAGAIN) => return Ok(None),
            message => message?,
        };
        let mut frames = Vec::new();
        let (mut position, mut bytes, mut cost) = (0usize, 0usize, 0usize);
        loop {
            if position >= head {
                bytes = bytes.saturating_add(message.len());
                cost = cost.saturating_add(message.len()).saturating_add(FRAME_COST);
            }
            if cost <= body_bytes_max.saturating_add(FRAME_COST) {
                frames.push(message.to_vec());
            } else if position == head {
                // So that the message stays readable: a body has one frame or more.
                frames.push(Vec::new());
            }
            if !message.get_more() {
                break;
            }
            position += 1;
            message = retry(|| socket.recv_msg(zmq::DONTWAIT))?;
        }
        let is_kept = cost <= body_bytes_max.saturating_add(FRAME_COST);
        Ok(Some(Incoming { frames, too_large: (!is_kept).then_some(bytes) }))
    }
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

/// Calls again what a signal has interrupted.
fn retry<T>(mut call: impl FnMut() -> zmq::Result<T>) -> zmq::Result<T> {
    loop {
        match call() {
            Err(zmq::Error::EINTR) => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use majordomo_protocol::ServiceName;

    use super::*;
    use crate::dialog::Timing;

    fn message(text: String) -> Outgoing {
        Outgoing { frames: vec![text.into_bytes()], answer: None }
    }

    /// A connection whose peer has not read for so long that something waits, and
    /// how many messages went into it.
    fn full(context: &zmq::Context, endpoint: &Endpoint) -> (Connection, usize) {
        let start = crate::io::now();
        let service = ServiceName::new("echo").expect("a good name");
        let dialog = Dialog::new(service, Timing::default(), 1, start);
        let mut connection = Connection::new(0, 0, dialog);
        connection.open(context, endpoint).expect("it opens");
        let mut sent = 0;
        while connection.is_clear() {
            connection.send(message(sent.to_string())).expect("it takes or keeps it");
            sent += 1;
        }
        (connection, sent)
    }

    #[test]
    fn a_connection_that_is_to_close_sends_first_what_waits() {
        let context = zmq::Context::new();
        let peer = context.socket(zmq::ROUTER).unwrap();
        peer.set_rcvhwm(1).unwrap();
        peer.bind("inproc://slow").unwrap();
        let endpoint = Endpoint::to_connect("inproc://slow").unwrap();
        let (mut connection, sent) = full(&context, &endpoint);
        connection.send(message("last".to_owned())).unwrap();
        connection.close_when_clear();
        assert!(connection.is_open());
        let mut received = Vec::new();
        while received.len() <= sent {
            let mut items = vec![peer.as_poll_item(zmq::POLLIN)];
            items.extend(connection.poll_item());
            assert_ne!(zmq::poll(&mut items, 30_000), Ok(0), "{} of {sent}", received.len());
            connection.flush().unwrap();
            while let Ok(frames) = peer.recv_multipart(zmq::DONTWAIT) {
                received.push(String::from_utf8(frames[1].clone()).unwrap());
            }
        }
        let expected = (0..sent).map(|number| number.to_string());
        assert!(received.iter().cloned().eq(expected.chain(["last".to_owned()])));
        assert!(!connection.is_open());
    }

    #[test]
    fn a_lost_connection_forgets_what_waits() {
        let context = zmq::Context::new();
        let endpoint = Endpoint::to_connect("inproc://nobody").unwrap();
        let (mut connection, _) = full(&context, &endpoint);
        connection.close(false);
        assert!(connection.is_clear() && !connection.is_open());
        assert!(connection.poll_item().is_none());
    }
}
