//! Clients and workers without a protocol, for `zmq_proxy`: a request is its body, a
//! reply goes back by the identity that came with it.

use zmq::{DONTWAIT, SNDMORE};

use super::peer::{
    CLIENTS, ClientLink, Tag, WORKERS, WorkerLink, add_body, dealer, last_frame, next_frame,
};

/// A client.
pub struct Client {
    socket: zmq::Socket,
    body_bytes: usize,
    body: Vec<u8>,
}

impl Client {
    /// Connects.
    pub fn connect(endpoint: &str, body_bytes: usize) -> Self {
        Client { socket: dealer(&CLIENTS, endpoint), body_bytes, body: vec![] }
    }
}

impl ClientLink for Client {
    fn send(&mut self, tags: &[Tag]) {
        for &tag in tags {
            self.body.clear();
            add_body(&mut self.body, tag, self.body_bytes);
            self.socket.send(&self.body, 0).expect("a request is sent");
        }
    }

    fn receive(&mut self, tags: &mut Vec<Tag>) {
        let mut next = next_frame(&self.socket, 0);
        while let Some(first) = next {
            let body = last_frame(&self.socket, first);
            assert_eq!(body.len(), self.body_bytes);
            tags.push(Tag::of(&body));
            next = next_frame(&self.socket, DONTWAIT);
        }
    }
}

/// A worker.
pub struct Worker(zmq::Socket);

impl Worker {
    /// Connects.
    pub fn connect(endpoint: &str) -> Self {
        Worker(dealer(&WORKERS, endpoint))
    }
}

impl WorkerLink for Worker {
    fn serve(&mut self) {
        let mut next = next_frame(&self.0, 0);
        while let Some(frame) = next {
            let more = frame.get_more();
            self.0.send(frame, if more { SNDMORE } else { 0 }).expect("a reply is sent");
            next = next_frame(&self.0, DONTWAIT);
        }
    }
}
