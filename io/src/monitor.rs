//! What a socket tells of its connections: that somebody is there, that a handshake has
//! ended, how it failed, that the connection broke.
//!
//! It tells another socket, its monitor, which its owner opens, waits for and reads as it
//! does with all others; here is what is told, and how that begins and ends.
//!
//! Whoever does ZeroMQ's I/O waits for ever to tell an event when nobody is there any more
//! to be told, and with it everything in the context. A closed socket goes on telling until
//! it has come to its end, which nobody can wait for. So a socket [tells nothing](stop) any
//! more before it or its monitor is closed. And it waits when the monitor is full: whoever
//! asks for few kinds of events, and reads them as they come, keeps it from that.

use std::sync::atomic::{AtomicU64, Ordering};

use majordomo_protocol::HandshakeFailure;
use zmq::SocketEvent;

/// All that [`Told`] has, for a socket that does not connect again by itself: then it has few
/// events in its life. CONNECT_RETRIED: an attempt failed. Not MONITOR_STOPPED: that is told
/// when the socket has come to its end.
pub const CONNECTION: &[SocketEvent] = &[
    SocketEvent::CONNECTED,
    SocketEvent::HANDSHAKE_SUCCEEDED,
    SocketEvent::HANDSHAKE_FAILED_AUTH,
    SocketEvent::HANDSHAKE_FAILED_PROTOCOL,
    SocketEvent::HANDSHAKE_FAILED_NO_DETAIL,
    SocketEvent::DISCONNECTED,
    SocketEvent::CONNECT_RETRIED,
];

/// Only [`Told::NotLetIn`], for a socket that connects again by itself, with pauses.
pub const REFUSALS: &[SocketEvent] = &[
    SocketEvent::HANDSHAKE_FAILED_AUTH,
    SocketEvent::HANDSHAKE_FAILED_PROTOCOL,
    SocketEvent::HANDSHAKE_FAILED_NO_DETAIL,
];

/// The value of HANDSHAKE_FAILED_PROTOCOL when the two sides use different mechanisms.
const MECHANISM_MISMATCH: u32 = 0x1100_0002;

/// What became of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Somebody is there; the handshake begins.
    Reached,
    /// The handshake is over, and messages can pass.
    Established,
    /// The handshake failed. [`Told::Broken`] follows where it was asked for.
    NotLetIn(HandshakeFailure),
    /// It broke, or never came about.
    Broken,
}

impl Told {
    /// What the first frame of a monitor's message says; the second is an endpoint. `None`
    /// for what is of no interest.
    pub fn read(frame: &[u8]) -> Option<Self> {
        // An event is two bytes in the machine's order, and a value of four.
        let &[low, high, a, b, c, d] = frame else { return None };
        let event = u16::from_ne_bytes([low, high]);
        let value = u32::from_ne_bytes([a, b, c, d]);
        // `SocketEvent::from_raw` panics at what it does not know.
        Some(match CONNECTION.iter().find(|known| known.to_raw() == event)? {
            SocketEvent::CONNECTED => Told::Reached,
            SocketEvent::HANDSHAKE_SUCCEEDED => Told::Established,
            SocketEvent::HANDSHAKE_FAILED_AUTH => Told::NotLetIn(HandshakeFailure::Rejected),
            SocketEvent::HANDSHAKE_FAILED_PROTOCOL if value == MECHANISM_MISMATCH => {
                Told::NotLetIn(HandshakeFailure::Mechanism)
            }
            SocketEvent::HANDSHAKE_FAILED_PROTOCOL | SocketEvent::HANDSHAKE_FAILED_NO_DETAIL => {
                Told::NotLetIn(HandshakeFailure::Closed)
            }
            _ => Told::Broken,
        })
    }
}

/// Has a socket, not connected yet, tell a monitor of these events: a PAIR of the same
/// context, not connected either. Does not block.
///
/// # Errors
///
/// What libzmq says of a context that has ended, or has no socket left.
pub fn start(
    socket: &zmq::Socket,
    monitor: &zmq::Socket,
    events: &[SocketEvent],
) -> zmq::Result<()> {
    // First, since nothing may fail once the socket is monitored.
    monitor.set_linger(0)?;
    let name = name();
    socket.monitor(&name, events.iter().fold(0, |mask, event| mask | i32::from(event.to_raw())))?;
    monitor.connect(&name)
}

/// Has a socket tell nothing from now on: a monitor takes the place of the one before it, and
/// this one is for no event. When it cannot be made there is none.
pub fn stop(socket: &zmq::Socket) {
    if let Err(error) = socket.monitor(&name(), 0) {
        log::debug!("a socket's monitor was not replaced: {error}");
    }
}

/// One that no monitor of this process had before.
fn name() -> String {
    static NAMED: AtomicU64 = AtomicU64::new(0);
    format!("inproc://majordomo-monitor-{}", NAMED.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use majordomo_protocol::{KeyPair, PublicKey, SecretKey, Security};

    use super::*;
    use crate::security;

    const LIMIT_MS: i32 = 30_000;

    fn socket(context: &zmq::Context, kind: zmq::SocketType) -> zmq::Socket {
        let socket = context.socket(kind).unwrap();
        socket.set_linger(0).unwrap();
        socket.set_rcvtimeo(LIMIT_MS).unwrap();
        socket
    }

    /// A socket that listens, and where.
    fn listening(context: &zmq::Context, set: impl FnOnce(&zmq::Socket)) -> (zmq::Socket, String) {
        let router = socket(context, zmq::ROUTER);
        set(&router);
        router.bind("tcp://127.0.0.1:*").unwrap();
        let endpoint = router.get_last_endpoint().unwrap().unwrap();
        (router, endpoint)
    }

    /// A socket that is monitored and does not connect again, and its monitor.
    struct Monitored {
        dealer: zmq::Socket,
        monitor: zmq::Socket,
    }

    impl Monitored {
        fn new(events: &[SocketEvent]) -> Self {
            let context = zmq::Context::new();
            let dealer = socket(&context, zmq::DEALER);
            dealer.set_reconnect_ivl(3_600_000).unwrap();
            let monitor = socket(&context, zmq::PAIR);
            start(&dealer, &monitor, events).unwrap();
            Monitored { dealer, monitor }
        }

        #[track_caller]
        fn next(&self) -> Told {
            let frames = self.monitor.recv_multipart(0).expect("something is told");
            Told::read(&frames[0]).expect("what was asked for")
        }
    }

    impl Drop for Monitored {
        fn drop(&mut self) {
            stop(&self.dealer);
        }
    }

    /// How a handshake there fails for who shows this.
    #[track_caller]
    fn failure(endpoint: &str, shown: &Security) -> Told {
        let [first, again] = [CONNECTION, REFUSALS].map(|events| {
            let peer = Monitored::new(events);
            security::set(&peer.dealer, shown).unwrap();
            peer.dealer.connect(endpoint).unwrap();
            if events == CONNECTION {
                assert_eq!(peer.next(), Told::Reached);
            }
            let told = peer.next();
            if events == CONNECTION {
                assert_eq!(peer.next(), Told::Broken);
            }
            told
        });
        assert_eq!(first, again);
        first
    }

    fn curve_keys() -> KeyPair {
        let keys = zmq::CurveKeyPair::new().expect("libzmq has CURVE");
        KeyPair {
            public_key: PublicKey::new(keys.public_key),
            secret_key: SecretKey::new(keys.secret_key),
        }
    }

    #[test]
    fn a_connection_is_told_of_from_beginning_to_end() {
        let (router, endpoint) = listening(&zmq::Context::new(), |_| {});
        let peer = Monitored::new(CONNECTION);
        peer.dealer.connect(&endpoint).unwrap();
        assert_eq!(peer.next(), Told::Reached);
        assert_eq!(peer.next(), Told::Established);
        drop(router);
        assert_eq!(peer.next(), Told::Broken);
        peer.dealer.connect(&endpoint).unwrap();
        assert_eq!(peer.next(), Told::Broken, "nobody is there");
    }

    #[test]
    fn it_is_told_how_a_handshake_failed() {
        let context = zmq::Context::new();
        let zap = socket(&context, zmq::REP);
        zap.bind("inproc://zeromq.zap.01").unwrap();
        let (keys, other) = (curve_keys(), curve_keys());
        let (_router, endpoint) = listening(&context, |router| {
            router.set_curve_server(true).unwrap();
            router.set_curve_secretkey(keys.secret_key.as_bytes()).unwrap();
        });
        let rejecting = std::thread::spawn(move || {
            for _ in 0..2 {
                let id = zap.recv_multipart(0).expect("somebody is to be let in").swap_remove(1);
                zap.send_multipart([b"1.0", &id[..], b"400", b"", b"", b""], 0).unwrap();
            }
        });
        let told = failure(&endpoint, &Security::curve(keys.public_key, curve_keys()));
        assert_eq!(told, Told::NotLetIn(HandshakeFailure::Rejected));
        rejecting.join().unwrap();
        let told = failure(&endpoint, &Security::curve(other.public_key, curve_keys()));
        assert_eq!(told, Told::NotLetIn(HandshakeFailure::Closed));
    }

    /// libzmq may end the connection before its greeting is read: here it stays.
    #[test]
    fn another_mechanism_is_told_of() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
        let greeting = std::thread::spawn(move || {
            let mut greeting = [0; 64];
            greeting[..17].copy_from_slice(b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01PLAIN");
            [(); 2].map(|()| {
                let (mut stream, _) = listener.accept().unwrap();
                stream.write_all(&greeting).unwrap();
                stream
            })
        });
        assert_eq!(
            failure(&endpoint, &Security::Null),
            Told::NotLetIn(HandshakeFailure::Mechanism)
        );
        greeting.join().unwrap();
    }

    #[test]
    fn a_socket_that_was_stopped_tells_nothing() {
        let (router, endpoint) = listening(&zmq::Context::new(), |_| {});
        for is_stopped in [false, true] {
            let peer = Monitored::new(CONNECTION);
            if is_stopped {
                stop(&peer.dealer);
            }
            peer.dealer.connect(&endpoint).unwrap();
            peer.dealer.send("hello", 0).unwrap();
            router.recv_multipart(0).expect("a message");
            // Whatever is told of a handshake is told before a message leaves.
            let told = peer.monitor.recv_multipart(zmq::DONTWAIT);
            assert_eq!(told.err(), is_stopped.then_some(zmq::Error::EAGAIN));
        }
    }

    #[test]
    fn what_nobody_asked_for_is_of_no_interest() {
        let unknown = [0x8000_u16, SocketEvent::ALL.to_raw(), SocketEvent::LISTENING.to_raw()];
        for event in unknown {
            let frame = [&event.to_ne_bytes()[..], &[0; 4]].concat();
            assert_eq!(Told::read(&frame), None, "{event:#x}");
        }
        let connected = SocketEvent::CONNECTED.to_raw().to_ne_bytes();
        assert_eq!(Told::read(&connected), None, "it has no value");
        assert_eq!(Told::read(&[&connected[..], &[0; 4]].concat()), Some(Told::Reached));
    }
}
