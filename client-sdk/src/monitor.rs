//! What ZeroMQ tells of the connection of a socket, and how its monitor is ended.

use std::sync::atomic::{AtomicU64, Ordering};

use majordomo_protocol::HandshakeFailure;
use zmq::SocketEvent;

use crate::context::Context;
use crate::socket::Socket;

/// What became of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Told {
    /// Somebody is there; the handshake begins.
    Reached,
    /// The handshake is over, and messages can pass.
    Established,
    /// The handshake failed. [`Told::Broken`] follows.
    NotLetIn(HandshakeFailure),
    /// It broke, or never came about.
    Broken,
}

/// A socket that tells when the connection of another one completes and breaks.
///
/// Whoever does ZeroMQ's I/O waits for ever to tell an event when nobody is there any
/// more to be told, and with it everything in the context. A closed socket goes on
/// telling until it has come to its end, which nobody can wait for. So a socket tells
/// nothing any more before it is closed.
pub(crate) struct Monitor(Socket);

/// What a monitor tells. CONNECT_RETRIED: an attempt failed. So a socket has few events
/// in its life, and its monitor never fills, which would stop all I/O too. Not
/// MONITOR_STOPPED: that is told when the socket has come to its end.
const EVENTS: [SocketEvent; 7] = [
    SocketEvent::CONNECTED,
    SocketEvent::HANDSHAKE_SUCCEEDED,
    SocketEvent::HANDSHAKE_FAILED_AUTH,
    SocketEvent::HANDSHAKE_FAILED_PROTOCOL,
    SocketEvent::HANDSHAKE_FAILED_NO_DETAIL,
    SocketEvent::DISCONNECTED,
    SocketEvent::CONNECT_RETRIED,
];

/// The value of HANDSHAKE_FAILED_PROTOCOL when the two sides use different mechanisms.
const MECHANISM_MISMATCH: u32 = 0x1100_0002;

impl Monitor {
    pub(crate) fn of(socket: &zmq::Socket, context: &mut Context) -> zmq::Result<Self> {
        let name = Self::name();
        // First, since nothing may fail once the socket is monitored.
        let monitor = Socket::new(context.socket(zmq::PAIR)?)?;
        monitor.options().set_linger(0)?;
        socket.monitor(
            &name,
            EVENTS.iter().fold(0, |mask, event| mask | i32::from(event.to_raw())),
        )?;
        monitor.options().connect(&name)?;
        Ok(Monitor(monitor))
    }

    /// Has a socket tell nothing from now on: a monitor takes the place of the one
    /// before it, and this one is for no event. When it cannot be made there is none.
    pub(crate) fn stop(socket: &zmq::Socket) {
        if let Err(error) = socket.monitor(&Self::name(), 0) {
            log::debug!("a socket's monitor was not replaced: {error}");
        }
    }

    fn name() -> String {
        static NAMED: AtomicU64 = AtomicU64::new(0);
        format!("inproc://majordomo-client-monitor-{}", NAMED.fetch_add(1, Ordering::Relaxed))
    }

    /// What to wait for.
    pub(crate) fn socket(&self) -> &Socket {
        &self.0
    }

    pub(crate) fn socket_mut(&mut self) -> &mut Socket {
        &mut self.0
    }

    /// What is told next, `None` for what is of no interest; EAGAIN when nothing is.
    pub(crate) fn told(&mut self) -> zmq::Result<Option<Told>> {
        let frames = self.0.receive()?;
        // An event is two bytes in the machine's order, and a value of four.
        let Some(&[low, high, a, b, c, d]) = frames.first().map(|frame| &frame[..]) else {
            return Ok(None);
        };
        let event = u16::from_ne_bytes([low, high]);
        let value = u32::from_ne_bytes([a, b, c, d]);
        let Some(event) = EVENTS.into_iter().find(|known| known.to_raw() == event) else {
            return Ok(None);
        };
        Ok(Some(match event {
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
        }))
    }
}
