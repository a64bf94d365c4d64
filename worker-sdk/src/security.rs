//! What a worker shows which broker, on its socket, and how it learns that one refused it.

use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use majordomo_protocol::Credentials;
use majordomo_protocol::{HandshakeFailure, Security};
use zmq::SocketEvent;

use crate::context::Context;

/// Whether libzmq can do all of it.
pub(crate) fn is_possible(credentials: &Credentials) -> bool {
    !credentials.need_curve() || zmq::has("curve") == Some(true)
}

/// Has a socket show this to whomever it will be connected to.
pub(crate) fn set(socket: &zmq::Socket, security: &Security) -> zmq::Result<()> {
    match security {
        Security::Curve { server_key, own } => {
            socket.set_curve_serverkey(server_key.as_bytes())?;
            socket.set_curve_publickey(own.public_key.as_bytes())?;
            socket.set_curve_secretkey(own.secret_key.as_bytes())
        }
        Security::Plain(login) => {
            socket.set_plain_username(Some(login.user()))?;
            socket.set_plain_password(Some(login.password()))
        }
        _ => Ok(()),
    }
}

/// A socket that tells how the handshakes of another one failed.
///
/// Whoever moves bytes, ZeroMQ's threads or our own, waits for ever to tell an event when
/// nobody is there any more to be told.
/// So the watched socket tells nothing any more, by [`Watch::end`], before either is closed.
pub(crate) struct Watch(zmq::Socket);

/// What a watch is told. ZeroMQ connects again by itself, with pauses, so there are few, and
/// they are read as they come.
const EVENTS: [SocketEvent; 3] = [
    SocketEvent::HANDSHAKE_FAILED_AUTH,
    SocketEvent::HANDSHAKE_FAILED_PROTOCOL,
    SocketEvent::HANDSHAKE_FAILED_NO_DETAIL,
];

/// The value of HANDSHAKE_FAILED_PROTOCOL when the two sides use different mechanisms.
const MECHANISM_MISMATCH: u32 = 0x1100_0002;

impl Watch {
    pub(crate) fn of(socket: &zmq::Socket, context: &Context) -> zmq::Result<Self> {
        let name = name();
        // First, since nothing may fail once the socket is watched.
        let monitor = context.socket(zmq::PAIR)?;
        monitor.set_linger(0)?;
        let events = EVENTS.iter().fold(0, |mask, event| mask | i32::from(event.to_raw()));
        socket.monitor(&name, events)?;
        monitor.connect(&name)?;
        Ok(Watch(monitor))
    }

    /// Has a socket tell nothing from now on: a monitor takes the place of the one before it,
    /// and this one is for no event.
    pub(crate) fn end(socket: &zmq::Socket) {
        if let Err(error) = socket.monitor(&name(), 0) {
            log::debug!("a socket's monitor was not replaced: {error}");
        }
    }

    pub(crate) fn poll_item(&self) -> zmq::PollItem<'_> {
        self.0.as_poll_item(zmq::POLLIN)
    }

    pub(crate) fn is_readable(&self) -> bool {
        self.0.get_events().is_ok_and(|events| events.contains(zmq::POLLIN))
    }

    /// How a handshake failed since it was last asked, if one did.
    pub(crate) fn failure(&self) -> Option<HandshakeFailure> {
        let mut last = None;
        while let Ok(frames) = self.0.recv_multipart(zmq::DONTWAIT) {
            // An event is two bytes in the machine's order, and a value of four.
            let Some(&[low, high, a, b, c, d]) = frames.first().map(Vec::as_slice) else {
                continue;
            };
            let event = u16::from_ne_bytes([low, high]);
            let value = u32::from_ne_bytes([a, b, c, d]);
            last = Some(match EVENTS.into_iter().find(|known| known.to_raw() == event) {
                Some(SocketEvent::HANDSHAKE_FAILED_AUTH) => HandshakeFailure::Rejected,
                Some(SocketEvent::HANDSHAKE_FAILED_PROTOCOL) if value == MECHANISM_MISMATCH => {
                    HandshakeFailure::Mechanism
                }
                _ => HandshakeFailure::Closed,
            });
        }
        last
    }
}

fn name() -> String {
    static NAMED: AtomicU64 = AtomicU64::new(0);
    format!("inproc://majordomo-worker-monitor-{}", NAMED.fetch_add(1, Ordering::Relaxed))
}
