//! Clients and one-at-a-time workers of MDP/0.2 on bare sockets.

use zmq::{DONTWAIT, SNDMORE};

use super::peer::{
    CLIENTS, ClientLink, Tag, WORKERS, WorkerLink, add_body, dealer, last_frame, next_frame,
};

/// A client that asks its services in turn.
pub struct Client {
    socket: zmq::Socket,
    services: Vec<String>,
    body_bytes: usize,
    body: Vec<u8>,
}

impl Client {
    /// Connects.
    pub fn connect(endpoint: &str, services: Vec<String>, body_bytes: usize) -> Self {
        Client::over(dealer(&CLIENTS, endpoint), services, body_bytes)
    }

    /// Over a socket that is connected.
    pub fn over(socket: zmq::Socket, services: Vec<String>, body_bytes: usize) -> Self {
        Client { socket, services, body_bytes, body: vec![] }
    }

    /// Waits a millisecond at most from now on, for those who have something else to do.
    ///
    /// # Panics
    ///
    /// When the socket refuses that.
    pub fn impatient(&mut self) {
        self.socket.set_rcvtimeo(1).expect("a receive timeout");
    }
}

impl ClientLink for Client {
    fn send(&mut self, tags: &[Tag]) {
        for &tag in tags {
            self.body.clear();
            add_body(&mut self.body, tag, self.body_bytes);
            let service = &self.services[tag.number as usize % self.services.len()];
            let head = [&b"MDPC02"[..], b"\x01", service.as_bytes()];
            let sent = head.into_iter().try_for_each(|frame| self.socket.send(frame, SNDMORE));
            sent.and_then(|()| self.socket.send(&self.body, 0)).expect("a request is sent");
        }
    }

    fn receive(&mut self, tags: &mut Vec<Tag>) {
        let mut next = next_frame(&self.socket, 0);
        while let Some(first) = next {
            assert_eq!(*first, *b"MDPC02");
            let body = last_frame(&self.socket, first);
            assert_eq!(body.len(), self.body_bytes);
            tags.push(Tag::of(&body));
            next = next_frame(&self.socket, DONTWAIT);
        }
    }
}

/// A worker that answers one request after the other.
pub struct Worker(zmq::Socket);

impl Worker {
    /// Connects and registers.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub fn register(endpoint: &str, service: &str) -> Self {
        Worker::over(dealer(&WORKERS, endpoint), service)
    }

    /// Registers over a socket that is connected.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub fn over(socket: zmq::Socket, service: &str) -> Self {
        socket.send_multipart([b"MDPW02", &b"\x01"[..], service.as_bytes()], 0).expect("READY");
        Worker(socket)
    }
}

impl WorkerLink for Worker {
    fn serve(&mut self) {
        let socket = &self.0;
        let Some(magic) = next_frame(socket, 0) else { return };
        assert_eq!(*magic, *b"MDPW02");
        let part = || socket.recv_msg(0).expect("a message arrives as a whole");
        let command = part();
        match &*command {
            b"\x02" => {}
            b"\x05" => return,
            other => panic!("the broker says {other:?} to a worker"),
        }
        let [address, empty, body] = [part(), part(), part()];
        let sent = socket
            .send(magic, SNDMORE)
            .and_then(|()| socket.send(&b"\x04"[..], SNDMORE))
            .and_then(|()| socket.send(address, SNDMORE))
            .and_then(|()| socket.send(empty, SNDMORE))
            .and_then(|()| socket.send(body, 0));
        sent.expect("a reply is sent");
    }
}
