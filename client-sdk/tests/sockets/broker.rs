//! A bare ROUTER that plays broker, and clients of it.

use std::thread::{self, JoinHandle};
use std::time::Duration;

use majordomo_client::{BlockingClient, BlockingClientBuilder};

/// Longer than anything takes; reached only when something is broken.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// As long as a test has to wait for a timeout that it wants.
pub(crate) const SHORT: Duration = Duration::from_millis(300);

/// The socket of a broker.
pub(crate) struct Router {
    pub(crate) socket: zmq::Socket,
    pub(crate) endpoint: String,
}

pub(crate) type Identity = Vec<u8>;

impl Router {
    pub(crate) fn new() -> Router {
        Router::bind("tcp://127.0.0.1:*")
    }

    pub(crate) fn bind(endpoint: &str) -> Router {
        Router::bind_in(&zmq::Context::new(), endpoint)
    }

    pub(crate) fn bind_in(context: &zmq::Context, endpoint: &str) -> Router {
        let socket = context.socket(zmq::ROUTER).expect("a socket");
        socket.set_rcvtimeo(LONG.as_millis() as i32).expect("an option");
        socket.set_linger(0).expect("an option");
        // The port of a router just closed is free a moment later.
        while let Err(error) = socket.bind(endpoint) {
            assert_eq!(error, zmq::Error::EADDRINUSE, "{endpoint}");
            zmq::poll(&mut [], 10).expect("a wait");
        }
        let endpoint = socket.get_last_endpoint().expect("bound").expect("UTF-8");
        Router { socket, endpoint }
    }

    /// Ends every connection and binds the same endpoint once more.
    pub(crate) fn restart(self) -> Router {
        let Router { socket, endpoint } = self;
        drop(socket);
        Router::bind(&endpoint)
    }

    pub(crate) fn receive(&self) -> (Identity, Vec<Vec<u8>>) {
        let mut frames = self.socket.recv_multipart(0).expect("a message in time");
        let identity = frames.remove(0);
        (identity, frames)
    }

    /// As `receive`, while a call is under way.
    pub(crate) fn receive_while<T>(
        &self,
        calling: &JoinHandle<T>,
    ) -> Option<(Identity, Vec<Vec<u8>>)> {
        while !calling.is_finished() {
            if self.socket.poll(zmq::POLLIN, 20).expect("a socket") > 0 {
                return Some(self.receive());
            }
        }
        None
    }

    pub(crate) fn send(&self, identity: &[u8], frames: &[&[u8]]) {
        let frames = [&[identity], frames].concat();
        self.socket.send_multipart(frames, 0).expect("a message sent");
    }

    pub(crate) fn partial(&self, identity: &[u8], service: &str, body: &str) {
        self.send(identity, &[b"MDPC02", &[2], service.as_bytes(), body.as_bytes()]);
    }

    pub(crate) fn last(&self, identity: &[u8], service: &str, body: &str) {
        self.send(identity, &[b"MDPC02", &[3], service.as_bytes(), body.as_bytes()]);
    }

    /// Answers one request and says who asked.
    pub(crate) fn answer(&self, service: &str, body: &str) -> Identity {
        let (identity, _) = self.receive();
        self.last(&identity, service, body);
        identity
    }
}

/// A broker on a thread of its own. Its socket stays open until it is ended.
pub(crate) struct Broker<T>(JoinHandle<(T, Option<Router>)>);

impl<T> Broker<T> {
    pub(crate) fn end(self) -> T {
        self.0.join().expect("a broker that saw what it expected").0
    }
}

/// Plays a broker.
pub(crate) fn broker<T: Send + 'static>(
    play: impl FnOnce(&Router) -> T + Send + 'static,
) -> (String, Broker<T>) {
    let router = Router::new();
    let endpoint = router.endpoint.clone();
    (endpoint, Broker(thread::spawn(move || (play(&router), Some(router)))))
}

/// Plays a broker that may close its socket; gives back the one that is open at
/// the end.
pub(crate) fn mortal_broker(
    play: impl FnOnce(Router) -> Option<Router> + Send + 'static,
) -> (String, Broker<()>) {
    let router = Router::new();
    let endpoint = router.endpoint.clone();
    (endpoint, Broker(thread::spawn(move || ((), play(router)))))
}

pub(crate) fn at(endpoint: &str) -> BlockingClientBuilder {
    BlockingClient::builder().broker(endpoint).timeout(LONG).connect_timeout(LONG)
}

pub(crate) fn client(endpoint: &str) -> BlockingClient {
    at(endpoint).build().expect("a client")
}

pub(crate) fn bytes(frames: &[&[u8]]) -> Vec<Vec<u8>> {
    frames.iter().map(|frame| frame.to_vec()).collect()
}
