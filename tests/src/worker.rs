//! Bare workers: one that a test drives message by message, and one that echoes on a
//! thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::limit::{Deadline, LIMIT};
use crate::raw::RawPeer;
use crate::wire::{self, Frames, Version};

/// A worker on a bare DEALER socket. It beats only when told to; the broker's
/// heartbeats are counted and passed over.
#[derive(Debug)]
pub struct RawWorker {
    peer: RawPeer,
    version: Version,
    heartbeats: u64,
}

/// A request that a worker got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The client address, which has to come back.
    pub address: Vec<u8>,
    /// The body.
    pub body: Frames,
}

impl RawWorker {
    /// Registers for a service, and waits until the broker has taken note of it.
    pub fn register(endpoint: &str, version: Version, service: &str) -> Self {
        RawWorker::of(RawPeer::dealer(endpoint), version, service)
    }

    /// As [`RawWorker::register`], on a socket that is connected already.
    pub fn of(peer: RawPeer, version: Version, service: &str) -> Self {
        let mut worker = RawWorker { peer, version, heartbeats: 0 };
        worker.send(&wire::ready(version, service));
        worker.peer.sync();
        worker
    }

    /// Its socket.
    pub fn peer(&mut self) -> &mut RawPeer {
        &mut self.peer
    }

    /// How many heartbeats it has received.
    pub fn heartbeats(&self) -> u64 {
        self.heartbeats
    }

    /// Sends a message.
    pub fn send(&self, message: &Frames) {
        self.peer.send(message);
    }

    /// Sends a heartbeat.
    pub fn beat(&self) {
        self.send(&wire::heartbeat(self.version));
    }

    /// The next message that is no heartbeat, if one comes before `deadline`.
    pub fn receive_before(&mut self, deadline: Deadline) -> Option<Frames> {
        loop {
            let message = self.peer.receive_before(deadline)?;
            if message != wire::heartbeat(self.version) {
                return Some(message);
            }
            self.heartbeats += 1;
        }
    }

    /// The next message, which must be a request.
    ///
    /// # Panics
    ///
    /// When it is something else, or nothing comes.
    #[track_caller]
    pub fn request(&mut self) -> Request {
        let Some(message) = self.receive_before(Deadline::generous()) else {
            panic!("no request came within {LIMIT:?}");
        };
        let Some((address, body)) = wire::read_worker_request(self.version, &message) else {
            panic!("not a request:\n{}", wire::dump(&message));
        };
        Request { address, body }
    }

    /// The next message, which must be a request with this body of one frame.
    ///
    /// # Panics
    ///
    /// When it is something else, or nothing comes.
    #[track_caller]
    pub fn expect_request(&mut self, body: &str) -> Request {
        let request = self.request();
        let expected = wire::frames([body]);
        assert!(request.body == expected, "{}", wire::diff(&expected, &request.body));
        request
    }

    /// Answers a request.
    pub fn reply(&self, request: &Request, body: &str) {
        self.send(&wire::worker_reply(self.version, &request.address, [body]));
    }

    /// Takes a request with this body, and answers with the same body.
    ///
    /// # Panics
    ///
    /// As [`RawWorker::expect_request`].
    #[track_caller]
    pub fn echo(&mut self, body: &str) {
        let request = self.expect_request(body);
        self.reply(&request, body);
    }

    /// The next message but heartbeats, which must be DISCONNECT.
    ///
    /// # Panics
    ///
    /// When it is something else, or nothing comes.
    #[track_caller]
    pub fn expect_disconnect(&mut self) {
        let expected = wire::disconnect(self.version);
        match self.receive_before(Deadline::generous()) {
            Some(found) => assert!(found == expected, "{}", wire::diff(&expected, &found)),
            None => panic!("no DISCONNECT came within {LIMIT:?}"),
        }
    }

    /// Makes sure that nothing but heartbeats has come.
    ///
    /// # Panics
    ///
    /// When something has.
    #[track_caller]
    pub fn expect_nothing(&mut self) {
        self.peer.sync();
        if let Some(message) = self.receive_before(Deadline::after(Duration::ZERO)) {
            panic!("nothing was expected, but this came:\n{}", wire::dump(&message));
        }
    }
}

/// What a worker does with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// It answers with the body of the request.
    Echo,
    /// It takes a request and never answers, but goes on beating.
    Hang,
}

/// Serves as the RFCs ask of a worker: answers a heartbeat with a heartbeat, beats
/// when nothing came for `interval`, and on DISCONNECT comes back on a new socket.
/// Calls `on_request` for each request it takes. Ends when `stop` is set, which is
/// looked at once in an interval at least, and says DISCONNECT then.
pub fn serve(
    endpoint: &str,
    version: Version,
    service: &str,
    behaviour: Behaviour,
    interval: Duration,
    stop: &AtomicBool,
    mut on_request: impl FnMut(&Request),
) {
    let connect = || {
        let peer = RawPeer::dealer(endpoint);
        peer.send(&wire::ready(version, service));
        peer
    };
    let mut peer = connect();
    while !stop.load(Ordering::Relaxed) {
        let Some(message) = peer.receive_before(Deadline::after(interval)) else {
            peer.send(&wire::heartbeat(version));
            continue;
        };
        if let Some((address, body)) = wire::read_worker_request(version, &message) {
            let request = Request { address, body };
            on_request(&request);
            if behaviour == Behaviour::Echo {
                peer.send(&wire::worker_reply(version, &request.address, &request.body));
            }
        } else if message == wire::disconnect(version) {
            peer = connect();
        } else {
            peer.send(&wire::heartbeat(version));
        }
    }
    peer.send(&wire::disconnect(version));
}

/// A worker that echoes on a thread of its own, until dropped.
#[derive(Debug)]
pub struct EchoWorker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl EchoWorker {
    /// Starts it. It beats at least every `interval`.
    pub fn start(endpoint: &str, version: Version, service: &str, interval: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (endpoint, service, stopped) =
            (endpoint.to_owned(), service.to_owned(), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            serve(&endpoint, version, &service, Behaviour::Echo, interval, &stopped, |_| {});
        });
        EchoWorker { stop, thread: Some(thread) }
    }

    /// Makes it say DISCONNECT, and waits until it has ended.
    ///
    /// # Panics
    ///
    /// When it failed.
    pub fn stop(mut self) {
        let ended = self.join();
        assert!(ended.is_ok(), "an echo worker failed");
    }

    fn join(&mut self) -> thread::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map_or(Ok(()), JoinHandle::join)
    }
}

impl Drop for EchoWorker {
    fn drop(&mut self) {
        // Its panic has been printed; only `stop` makes a failure of it.
        let _ = self.join();
    }
}
