//! The broker's ROUTER socket: bind, receive a message within limits, send one.

use std::ffi::c_uint;
use std::hash::BuildHasher;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Once;
use std::time::Duration;

use majordomo_io::Found;
use majordomo_protocol::{Frames, PeerId};
use zmq::SocketEvent;

use crate::config::Config;
use crate::engine::{Fault, Identity};
use crate::frame::Frame;
use crate::security::{Authenticator, Mechanism, RightsFile};
use crate::server::ServerError;
use crate::zmq_message::ZmqMessage;
use majordomo_protocol::Endpoint;

#[cfg(test)]
mod connections;
mod options;

/// How long closing may take to get the last answers and DISCONNECTs out.
const LINGER_MS: i32 = 1_000;

/// How many events of handshakes that failed may be unread.
const MONITOR_EVENTS_MAX: i32 = 100_000;

/// Those. Who refuses a key or a password knows of that by itself.
const MONITOR_EVENTS: &[SocketEvent] =
    &[SocketEvent::HANDSHAKE_FAILED_PROTOCOL, SocketEvent::HANDSHAKE_FAILED_NO_DETAIL];

/// How often in a row bytes are moved of so many connections that others may have some, too.
const RUNS_MAX: usize = 100;

/// What libzmq counts for a frame beside its bytes.
const BYTES_PER_FRAME: usize = 128;

/// In whose name connections are asked about; libzmq wants one.
const ZAP_DOMAIN: &str = "majordomo";

/// A ROUTER socket that never blocks and never drops silently.
pub(crate) struct Router {
    socket: zmq::Socket,
    /// After the socket, which asks it; `None` if nobody is asked who it is.
    authenticator: Option<Authenticator>,
    /// Whether all has been read that libzmq had when it was last asked: nothing more is
    /// there before bytes have moved, or libzmq's threads make its descriptor readable.
    drained: bool,
    /// Whether it is for the caller to move bytes.
    runs_io: bool,
    frames_max: usize,
    message_bytes_max: usize,
}

/// What came of a peer.
pub(crate) struct Received {
    pub(crate) peer: PeerId,
    /// Whose connection it is.
    pub(crate) identity: Identity,
    pub(crate) content: Content,
}

pub(crate) enum Content {
    /// The frames of a message, without the identity.
    Message(Frames<Frame>),
    /// A message that was dropped, and why.
    Dropped(Fault),
    /// Its connection has passed its handshake.
    Connected,
    /// Its connection has ended. All that it sent was received before.
    Disconnected,
}

/// A message could not be sent to its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// There is no such peer any more.
    Gone,
    /// `send_queue_max` messages wait for it already.
    Full,
}

impl Router {
    /// A socket that listens nowhere yet. With `rights`, whoever will connect is asked who
    /// it is.
    pub(crate) fn open(
        context: &zmq::Context,
        config: &Config,
        rights: Option<RightsFile>,
    ) -> Result<Self, ServerError> {
        make_ids_unguessable();
        let mut socket = context.socket(zmq::ROUTER)?;
        // Without it, a message to a peer that is gone or full vanishes unseen.
        socket.set_router_mandatory(true)?;
        socket.set_linger(LINGER_MS)?;
        socket.set_backlog(config.backlog())?;
        socket.set_rcvhwm(config.receive_queue_max())?;
        socket.set_sndhwm(config.send_queue_max())?;
        // A message above it ends the connection unseen, whether it would ever end or not;
        // up to it, it is dropped here, and can be counted.
        let frames = config.frames_max().saturating_mul(BYTES_PER_FRAME);
        let held_max = config.message_bytes_max().saturating_add(frames).saturating_mul(2);
        socket.set_maxmsgsize(i64::try_from(held_max).unwrap_or(i64::MAX))?;
        socket.set_ipv6(config.endpoints().any(Endpoint::is_ipv6))?;
        let handshake_ms = config.handshake().as_millis();
        socket.set_handshake_ivl(i32::try_from(handshake_ms).unwrap_or(i32::MAX))?;
        // Dead hosts are noticed by heartbeats; this frees their connections.
        socket.set_tcp_keepalive(1)?;
        socket.set_tcp_keepalive_idle(60)?;
        socket.set_tcp_keepalive_intvl(10)?;
        socket.set_tcp_keepalive_cnt(6)?;
        if !options::tell_of_connections(&mut socket) {
            log::info!(
                "this libzmq does not tell of connections: workers that are killed are lost by \
                 heartbeats alone"
            );
            if rights.is_some() {
                log::warn!(
                    "this libzmq does not tell of connections: connections_per_identity_max \
                     does not hold, and connections of removed keys stay open"
                );
            }
        }
        let authenticator = match rights {
            Some(rights) => {
                let monitor = monitor(context, &socket)?;
                let started = Authenticator::start(context, rights, monitor);
                Some(started.inspect_err(|_| majordomo_io::monitor::stop(&socket))?)
            }
            None => None,
        };
        Ok(Router {
            socket,
            authenticator,
            drained: false,
            runs_io: false,
            frames_max: config.frames_max(),
            message_bytes_max: config.message_bytes_max(),
        })
    }

    /// Listens on `endpoint` too, where peers show who they are by `mechanism`, and gives
    /// its address with the port that was chosen, if it left that open.
    pub(crate) fn bind(
        &mut self,
        endpoint: &Endpoint,
        mechanism: Mechanism<'_>,
    ) -> Result<String, zmq::Error> {
        // A listener keeps the options that hold when it is bound. Either of these two
        // takes the mechanism back to NULL.
        self.socket.set_plain_server(false)?;
        self.socket.set_curve_server(false).or_else(|error| match mechanism {
            Mechanism::Curve(_) => Err(error),
            // A libzmq without CURVE.
            _ => Ok(()),
        })?;
        match mechanism {
            Mechanism::Null => {}
            Mechanism::Plain => self.socket.set_plain_server(true)?,
            Mechanism::Curve(key) => {
                self.socket.set_curve_server(true)?;
                self.socket.set_curve_secretkey(key.as_bytes())?;
            }
        }
        if self.authenticator.is_some() {
            // Without a domain libzmq asks nobody about NULL.
            self.socket.set_zap_domain(ZAP_DOMAIN)?;
            options::refuse_when_nobody_answers(&mut self.socket)?;
        }
        self.socket.bind(endpoint.as_str())?;
        let bound = self.socket.get_last_endpoint()?;
        Ok(bound.unwrap_or_else(|_| endpoint.as_str().to_owned()))
    }

    pub(crate) fn authenticator(&mut self) -> Option<&mut Authenticator> {
        self.authenticator.as_mut()
    }

    /// Whether there is something to read. Asks the system.
    pub(crate) fn look(&mut self) -> Result<bool, zmq::Error> {
        self.run_io(Some(Duration::ZERO))?;
        self.look_at_hand()
    }

    fn look_at_hand(&mut self) -> Result<bool, zmq::Error> {
        // To be asked for events makes libzmq look at everything that has come.
        self.drained = match self.socket.get_events() {
            Ok(events) => !events.contains(zmq::POLLIN),
            // A signal, after which there may be something.
            Err(zmq::Error::EINTR) => false,
            Err(error) => return Err(error),
        };
        Ok(!self.drained)
    }

    /// Whether there is nothing to read before [bytes move](Router::run_io) or
    /// [this](Router::fds) becomes readable. Whoever waits asks this right before.
    pub(crate) fn is_quiet(&mut self) -> Result<bool, zmq::Error> {
        Ok(self.drained || !self.look_at_hand()?)
    }

    /// From now on [`Router::run_io`] alone moves bytes, if the context has no threads for
    /// that. It ends when one of these is readable.
    ///
    /// # Safety
    ///
    /// Nobody else has I/O run in the context.
    #[expect(unsafe_code, reason = "passes on what majordomo-io asks for")]
    pub(crate) unsafe fn take_io(
        &mut self,
        others: [Option<&UnixStream>; 2],
    ) -> Result<(), zmq::Error> {
        let [first, second] = others;
        let news = self.authenticator.as_ref().map(Authenticator::wake);
        for stream in [first, second, news].into_iter().flatten() {
            // SAFETY: it is the only one, and these are no files.
            self.runs_io = unsafe { majordomo_io::watch(&mut self.socket, stream.as_fd())? };
        }
        Ok(())
    }

    /// Moves bytes between peers and this socket, and waits for the first as long as that.
    /// `None`, without waiting, if libzmq's threads do it.
    pub(crate) fn run_io(&mut self, wait: Option<Duration>) -> Result<Option<Found>, zmq::Error> {
        if !self.runs_io {
            return Ok(None);
        }
        self.drained = false;
        let mut found = majordomo_io::run(&mut self.socket, wait)?;
        // Whoever speaks comes before what is done for the first of them.
        for _ in 0..RUNS_MAX {
            if !found.more {
                break;
            }
            let further = majordomo_io::run(&mut self.socket, Some(Duration::ZERO))?;
            found = Found { told: found.told || further.told, more: further.more };
        }
        Ok(Some(found))
    }

    /// What becomes readable when a message comes, and when the authenticator has news.
    pub(crate) fn fds(&self) -> Result<(BorrowedFd<'_>, Option<BorrowedFd<'_>>), zmq::Error> {
        let fd = self.socket.get_fd()?;
        #[expect(unsafe_code, reason = "the zmq crate gives the descriptor as a number")]
        // SAFETY: it is the socket's own, and open as long as the socket, which is borrowed.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        Ok((fd, self.authenticator.as_ref().map(|asked| asked.wake().as_fd())))
    }

    /// The next message; `None` when none has come.
    pub(crate) fn receive(&mut self) -> Result<Option<Received>, zmq::Error> {
        let (name, mut more) = match ZmqMessage::receive(&mut self.socket) {
            Ok(received) => received,
            Err(zmq::Error::EAGAIN) => {
                self.drained = true;
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        self.drained = false;
        let peer = PeerId::new(&name);
        // Room for all frames of a common message.
        let mut frames = Vec::with_capacity(6);
        let mut bytes = 0;
        let mut fault = None;
        let mut notification = None;
        let mut identity = None;
        // The frames of a message arrive together: none of these waits.
        while more {
            let frame;
            (frame, more) = ZmqMessage::receive(&mut self.socket)?;
            if identity.is_none() && self.authenticator.is_some() {
                // Not of the frame before, to which libzmq 4.3.4 gives no properties where it
                // was asked for events.
                let sender = sender(&frame);
                if sender != Identity::OPEN && !is_of_router(&peer) {
                    fault = Some(Fault::RoutingId);
                }
                identity = Some(sender);
            }
            if bytes == 0 && frame.is_empty() && !more {
                notification = self::notification(&frame);
            }
            bytes += frame.len();
            if fault == Some(Fault::RoutingId) {
                // It is dropped in any case.
            } else if bytes > self.message_bytes_max {
                fault = Some(Fault::MessageBytesMax);
            } else if frames.len() == self.frames_max {
                fault = Some(Fault::FramesMax);
            }
            if fault.is_none() {
                frames.push(Frame::from(frame));
            }
        }
        let content = match (notification, fault) {
            (Some(content), _) => content,
            (None, Some(fault)) => Content::Dropped(fault),
            (None, None) => Content::Message(Frames::new(frames)),
        };
        Ok(Some(Received { peer, identity: identity.unwrap_or(Identity::OPEN), content }))
    }

    /// Ends the connection of `peer` at once, if there is one: what waits for it is not
    /// sent, and no more is received of it, but for a message that libzmq had at hand.
    pub(crate) fn close(&mut self, peer: &PeerId) -> Result<(), zmq::Error> {
        options::end_connection(&mut self.socket, peer)
    }

    /// Sends all frames to `peer`, or none.
    pub(crate) fn send(
        &mut self,
        peer: &PeerId,
        frames: Vec<Frame>,
    ) -> Result<Result<(), Refused>, zmq::Error> {
        // To send, libzmq may look at what has come.
        self.drained = false;
        match Frame::from(peer.as_bytes()).send(&mut self.socket, true) {
            Ok(()) => {}
            Err(zmq::Error::EHOSTUNREACH) => return Ok(Err(Refused::Gone)),
            Err(zmq::Error::EAGAIN) => return Ok(Err(Refused::Full)),
            Err(error) => return Err(error),
        }
        let last = frames.len().saturating_sub(1);
        for (position, frame) in frames.into_iter().enumerate() {
            frame.send(&mut self.socket, position < last)?;
        }
        Ok(Ok(()))
    }
}

/// A socket that is told how handshakes end that fail before anybody is asked about them.
fn monitor(context: &zmq::Context, socket: &zmq::Socket) -> Result<zmq::Socket, zmq::Error> {
    let monitor = context.socket(zmq::PAIR)?;
    // libzmq waits for a monitor that is full, and its reader may wait for a disk.
    monitor.set_rcvhwm(MONITOR_EVENTS_MAX)?;
    majordomo_io::monitor::start(socket, &monitor, MONITOR_EVENTS)?;
    Ok(monitor)
}

impl Drop for Router {
    fn drop(&mut self) {
        if self.authenticator.is_some() {
            // Before the authenticator, which reads what is told, ends.
            majordomo_io::monitor::stop(&self.socket);
        }
    }
}

/// Whose connection a message came on, by its first frame: the number that it was let
/// in with. A message of this process has come on no connection.
fn sender(frame: &ZmqMessage) -> Identity {
    match frame.property(c"User-Id") {
        Some(number) => number.parse().map_or(Identity::UNKNOWN, Identity::new),
        None if frame.property(c"Peer-Address").is_none() => Identity::OPEN,
        None => Identity::UNKNOWN,
    }
}

/// What libzmq, and no peer, tells by an empty message. Another libzmq never does.
fn notification(frame: &ZmqMessage) -> Option<Content> {
    match frame.property(c"__notification")? {
        "connect" => Some(Content::Connected),
        "disconnect" => Some(Content::Disconnected),
        _ => None,
    }
}

/// Whether the socket chose this id itself. A peer that is authenticated may not choose
/// one: when a connection ends, whoever comes with the same id gets what was for it.
fn is_of_router(peer: &PeerId) -> bool {
    matches!(peer.as_bytes(), [0, _, _, _, _])
}

/// Has the ids that ROUTER sockets give begin at a random number. libzmq takes it from C's
/// `rand`, and seeds that nowhere: every first connection of every process had the same
/// id. In a libzmq that is not ours, whoever knows the next one can take it, and the
/// process ends (an assertion) when it comes to be given to somebody else.
fn make_ids_unguessable() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Its keys are random numbers of the system.
        let seed = std::hash::RandomState::new().hash_one(0_u8);
        #[expect(unsafe_code, reason = "no other way to seed C's random numbers")]
        // SAFETY: may be called at any time, with any seed.
        unsafe {
            srand(seed as c_uint);
        }
    });
}

#[expect(unsafe_code, reason = "declared as the C standard has it")]
unsafe extern "C" {
    fn srand(seed: c_uint);
}
