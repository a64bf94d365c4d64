//! A bare socket that sends and expects exact frames.

use std::collections::VecDeque;
use std::sync::LazyLock;

use zmq::{DONTWAIT, POLLIN};

use crate::limit::{Deadline, LIMIT};
use crate::wire::{self, Frames, Version};

/// All bare peers of a process share one context, whose thread moves their bytes.
static CONTEXT: LazyLock<zmq::Context> = LazyLock::new(zmq::Context::new);

/// A question that the broker answers itself, and does not know.
const FENCE: &str = "mmi.fence";

/// A bare DEALER or REQ socket, connected to a broker.
pub struct RawPeer {
    socket: zmq::Socket,
    /// Came before the answer that [`RawPeer::sync`] waited for.
    inbox: VecDeque<Frames>,
}

impl RawPeer {
    /// A DEALER socket: it sends and receives messages as they are.
    ///
    /// # Panics
    ///
    /// When it cannot be made or connected.
    pub fn dealer(endpoint: &str) -> Self {
        RawPeer::dealer_in(&CONTEXT, endpoint)
    }

    /// A DEALER socket of a context of its own choice: a context has 1,023 sockets at
    /// most, those among them that were closed and still linger.
    ///
    /// # Panics
    ///
    /// As [`RawPeer::dealer`].
    pub fn dealer_in(context: &zmq::Context, endpoint: &str) -> Self {
        let peer = RawPeer::unconnected(context, zmq::DEALER);
        // A peer that sends more than the broker reads must not block its test.
        peer.socket.set_sndhwm(0).expect("a send limit");
        peer.connected(endpoint)
    }

    /// As [`RawPeer::dealer`], with something more set before it connects.
    ///
    /// # Panics
    ///
    /// As [`RawPeer::dealer`].
    pub fn dealer_with(endpoint: &str, set: impl FnOnce(&zmq::Socket)) -> Self {
        let peer = RawPeer::unconnected(&CONTEXT, zmq::DEALER);
        peer.socket.set_sndhwm(0).expect("a send limit");
        set(&peer.socket);
        peer.connected(endpoint)
    }

    /// A REQ socket: it adds and removes the empty frame of MDP/0.1 itself.
    ///
    /// # Panics
    ///
    /// As [`RawPeer::dealer`].
    pub fn req(endpoint: &str) -> Self {
        RawPeer::unconnected(&CONTEXT, zmq::REQ).connected(endpoint)
    }

    /// A REQ socket with ZMQ_REQ_CORRELATE, which puts a request id before the empty
    /// frame, and with ZMQ_REQ_RELAXED, which lets it ask again without an answer.
    ///
    /// # Panics
    ///
    /// As [`RawPeer::dealer`].
    pub fn req_correlated(endpoint: &str) -> Self {
        let peer = RawPeer::unconnected(&CONTEXT, zmq::REQ);
        peer.socket.set_req_correlate(true).expect("ZMQ_REQ_CORRELATE");
        peer.socket.set_req_relaxed(true).expect("ZMQ_REQ_RELAXED");
        peer.connected(endpoint)
    }

    /// A DEALER socket that takes hardly anything off the wire that its owner has not
    /// received: a peer that does not read.
    ///
    /// # Panics
    ///
    /// As [`RawPeer::dealer`].
    pub fn reluctant(endpoint: &str) -> Self {
        let peer = RawPeer::unconnected(&CONTEXT, zmq::DEALER);
        peer.socket.set_rcvhwm(1).expect("a receive limit");
        peer.connected(endpoint)
    }

    fn unconnected(context: &zmq::Context, kind: zmq::SocketType) -> Self {
        let socket = context.socket(kind).expect("a socket");
        // What was sent right before the socket is closed still leaves, if it can.
        socket.set_linger(1_000).expect("a short linger");
        let send_limit = i32::try_from(LIMIT.as_millis()).unwrap_or(i32::MAX);
        socket.set_sndtimeo(send_limit).expect("a send timeout");
        RawPeer { socket, inbox: VecDeque::new() }
    }

    fn connected(self, endpoint: &str) -> Self {
        self.socket.connect(endpoint).unwrap_or_else(|error| panic!("{endpoint}: {error}"));
        self
    }

    /// Sends a message.
    ///
    /// # Panics
    ///
    /// When it cannot be sent within [`LIMIT`].
    pub fn send(&self, message: &Frames) {
        let sent = self.socket.send_multipart(message, 0);
        sent.unwrap_or_else(|error| panic!("{error}: cannot send\n{}", wire::dump(message)));
    }

    /// The next message, if one comes before `deadline`.
    ///
    /// # Panics
    ///
    /// When the socket fails.
    pub fn receive_before(&mut self, deadline: Deadline) -> Option<Frames> {
        self.inbox.pop_front().or_else(|| self.receive_from_socket(deadline))
    }

    fn receive_from_socket(&self, deadline: Deadline) -> Option<Frames> {
        loop {
            match self.socket.recv_multipart(DONTWAIT) {
                Ok(message) => return Some(message),
                Err(zmq::Error::EAGAIN) if deadline.is_over() => return None,
                Err(zmq::Error::EAGAIN) => {}
                Err(error) => panic!("cannot receive: {error}"),
            }
            match self.socket.poll(POLLIN, deadline.left_ms().max(1)) {
                Ok(_) | Err(zmq::Error::EINTR) => {}
                Err(error) => panic!("cannot poll: {error}"),
            }
        }
    }

    /// The next message.
    ///
    /// # Panics
    ///
    /// When none comes within [`LIMIT`].
    pub fn receive(&mut self) -> Frames {
        let received = self.receive_before(Deadline::generous());
        received.unwrap_or_else(|| panic!("no message came within {LIMIT:?}"))
    }

    /// Receives the next message, which must be this one.
    ///
    /// # Panics
    ///
    /// When it is another, or none comes within [`LIMIT`].
    #[track_caller]
    pub fn expect(&mut self, expected: &Frames) {
        let Some(found) = self.receive_before(Deadline::generous()) else {
            panic!("no message came within {LIMIT:?}; expected\n{}", wire::dump(expected));
        };
        assert!(found == *expected, "not the message expected:\n{}", wire::diff(expected, &found));
    }

    /// Waits until the broker has handled all that this DEALER has sent so far. What
    /// came meanwhile is received next, as if this had not happened.
    ///
    /// It asks a question that only the broker answers: a connection keeps order, in
    /// both directions.
    ///
    /// # Panics
    ///
    /// When no answer comes within [`LIMIT`].
    pub fn sync(&mut self) {
        self.send(&wire::request(Version::V0_2, FENCE, [""]));
        let answer = wire::reply(Version::V0_2, FENCE, ["501"]);
        let deadline = Deadline::generous();
        loop {
            match self.receive_from_socket(deadline) {
                Some(message) if message == answer => return,
                Some(message) => self.inbox.push_back(message),
                None => panic!("the broker has not answered for {LIMIT:?}"),
            }
        }
    }

    /// Makes sure that the broker has handled all that this DEALER has sent, and has
    /// sent it nothing that was not received.
    ///
    /// # Panics
    ///
    /// When there is a message, or no answer comes within [`LIMIT`].
    #[track_caller]
    pub fn expect_nothing(&mut self) {
        self.sync();
        if let Some(message) = self.inbox.pop_front() {
            panic!("nothing was expected, but this came:\n{}", wire::dump(&message));
        }
    }

    /// Sends a request as a client with a DEALER socket does, and expects its reply.
    ///
    /// # Panics
    ///
    /// As [`RawPeer::expect`].
    #[track_caller]
    pub fn call(&mut self, version: Version, service: &str, body: &str, reply: &str) {
        self.send(&wire::request(version, service, [body]));
        self.expect(&wire::reply(version, service, [reply]));
    }
}

impl std::fmt::Debug for RawPeer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawPeer").field("inbox", &self.inbox).finish_non_exhaustive()
    }
}
