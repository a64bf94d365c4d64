//! One DEALER socket and what is known of its connection.
//!
//! A client must know whether its connection is complete before it sends, or it
//! could not tell a broker that cannot be reached from one that does not answer;
//! and it should learn at once when the connection breaks, since no reply can come
//! over the next one. ZMQ_IMMEDIATE promises both, but drops what has come and was
//! not read yet when the connection breaks: the reply of a broker that answers and
//! ends. So a monitor socket tells instead, and ZeroMQ's own reconnecting is left
//! unused: a broken connection is replaced as a whole.

use std::ops::Deref;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use majordomo_protocol::{HandshakeFailure, Security, dump};

use crate::monitor::{Monitor, Told};
use crate::security;

/// How long after a refused connection another is tried.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// ZeroMQ shall not connect again by itself; but zero or less would make it drop
/// what was not read yet, so it waits for longer than anybody waits here.
const RECONNECT_MS: i32 = 60 * 60 * 1000;

/// Messages that a socket holds for a broker that does not read. What more there is
/// waits where it is counted.
const SENDS_WAITING_MAX: i32 = 32;

/// How often a wait looks whether an inproc peer is there; it has no monitor.
pub(crate) const LOOK: Duration = Duration::from_millis(100);

/// A call that ZeroMQ refused.
pub(crate) struct Failed {
    pub(crate) call: &'static str,
    pub(crate) source: zmq::Error,
}

/// Names the call that gave an error.
fn failed(call: &'static str) -> impl FnOnce(zmq::Error) -> Failed {
    move |source| Failed { call, source }
}

pub(crate) struct Connection {
    socket: zmq::Socket,
    /// Tells of the connection; none for inproc, where there is nothing to tell.
    monitor: Option<Monitor>,
    /// A second connection, for inproc only. Nothing is sent over it, so it has room for
    /// as long as the peer is there; the first has none when its queue is full, either.
    second: Option<zmq::Socket>,
    endpoint: String,
    /// Whether the connection has been complete.
    established: bool,
    /// Whether it broke, or never came about. It stays so.
    broken: bool,
    /// Whether something is shown to the broker.
    is_secured: bool,
    /// How the handshake failed, or that it has not ended yet.
    handshake: Option<HandshakeFailure>,
    refused_at: Option<Instant>,
}

/// What a connection is ready for.
pub(crate) enum Ready {
    /// A message is there.
    Readable,
    /// The connection is complete.
    Writable,
    /// It was complete and broke; everything that came over it has been read.
    Lost,
    /// It did not come about.
    Refused,
    Nothing,
}

impl Connection {
    pub(crate) fn open(
        context: &zmq::Context,
        endpoint: &str,
        security: &Security,
        reply_bytes_max: usize,
    ) -> Result<Self, Failed> {
        let socket = context.socket(zmq::DEALER).map_err(failed("open a socket"))?;
        let set = || -> zmq::Result<()> {
            security::set(&socket, security)?;
            // Nobody would read what a lost connection has not sent.
            socket.set_linger(0)?;
            socket.set_sndhwm(SENDS_WAITING_MAX)?;
            socket.set_reconnect_ivl(RECONNECT_MS)?;
            // A message far above what is taken ends the connection before it is held. For a
            // frame libzmq counts 128 bytes more, a reply 64; the rest is for what comes with it.
            let held_max = reply_bytes_max.saturating_mul(2).saturating_add(1 << 20);
            socket.set_maxmsgsize(i64::try_from(held_max).unwrap_or(i64::MAX))?;
            socket.set_ipv6(endpoint.starts_with("tcp://["))
        };
        set().map_err(failed("set the options of a socket"))?;
        let inproc = endpoint.starts_with("inproc:");
        let monitor = match inproc {
            true => None,
            false => Some(Monitor::of(&socket, context).map_err(failed("monitor a socket"))?),
        };
        socket.connect(endpoint).map_err(failed("connect"))?;
        let second = match inproc {
            true => Some(second(context, endpoint).map_err(failed("connect"))?),
            false => None,
        };
        Ok(Connection {
            socket,
            monitor,
            second,
            endpoint: endpoint.to_owned(),
            established: inproc,
            broken: false,
            is_secured: !matches!(security, Security::Null),
            handshake: None,
            refused_at: None,
        })
    }

    /// Lets it go on for at most so long, once it is closed, to send what it has not sent.
    pub(crate) fn linger(&self, time: Duration) -> Result<(), Failed> {
        let ms = i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
        self.socket.set_linger(ms).map_err(failed("set the options of a socket"))
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What can be done. The monitor, or the second connection, is read before the socket:
    /// whatever came before the connection broke is there by then, and is read before it
    /// counts as lost.
    pub(crate) fn ready(&mut self) -> Result<Ready, Failed> {
        self.read_monitor()?;
        if let Some(second) = &self.second {
            let events = retry(|| second.get_events()).map_err(failed("look at a socket"))?;
            self.broken = !events.contains(zmq::POLLOUT);
        }
        let events = retry(|| self.socket.get_events()).map_err(failed("look at a socket"))?;
        Ok(match (events.contains(zmq::POLLIN), self.broken, self.established) {
            (true, _, _) => Ready::Readable,
            (_, true, true) => Ready::Lost,
            (_, true, false) => Ready::Refused,
            (_, false, true) => Ready::Writable,
            (_, false, false) => Ready::Nothing,
        })
    }

    fn read_monitor(&mut self) -> Result<(), Failed> {
        let Some(monitor) = &self.monitor else { return Ok(()) };
        loop {
            match monitor.told() {
                Ok(Some(Told::Reached)) if self.is_secured => {
                    self.handshake = Some(HandshakeFailure::Unfinished);
                }
                // Whoever shows nothing is not held back: a broker that hangs is more likely.
                Ok(Some(Told::Reached) | None) => {}
                Ok(Some(Told::Established)) => (self.established, self.handshake) = (true, None),
                Ok(Some(Told::NotLetIn(failure))) => self.handshake = Some(failure),
                Ok(Some(Told::Broken)) => self.broken = true,
                Err(zmq::Error::EAGAIN) => return Ok(()),
                Err(error) => return Err(failed("read the monitor")(error)),
            }
        }
    }

    /// How the handshake failed, or that it has begun and not ended yet; as
    /// [`Connection::ready`] last found.
    pub(crate) fn handshake(&self) -> Option<HandshakeFailure> {
        self.handshake
    }

    /// How long until a refused connection should be tried again; zero at that time.
    pub(crate) fn refused_pause(&mut self, now: Instant) -> Duration {
        let again = *self.refused_at.get_or_insert(now) + REFUSED_PAUSE;
        again.saturating_duration_since(now)
    }

    /// Sends all frames, or says that there is no room or the connection broke. What was
    /// sent of an incomplete message ZeroMQ takes back.
    pub(crate) fn send(&self, frames: &[Vec<u8>]) -> Result<bool, Failed> {
        let mut rest = frames.iter().peekable();
        while let Some(frame) = rest.next() {
            let more = if rest.peek().is_some() { zmq::SNDMORE } else { 0 };
            match retry(|| self.socket.send(&frame[..], zmq::DONTWAIT | more)) {
                Ok(()) => {}
                Err(zmq::Error::EAGAIN) => return Ok(false),
                Err(error) => return Err(failed("send")(error)),
            }
        }
        log::trace!(endpoint = self.endpoint.as_str(); "sent{}", lines(frames));
        Ok(true)
    }

    /// Receives all frames of a message that is there.
    pub(crate) fn receive(&self) -> Result<Vec<zmq::Message>, Failed> {
        let frames = receive(&self.socket).map_err(failed("receive"))?;
        log::trace!(endpoint = self.endpoint.as_str(); "received{}", lines(&frames));
        Ok(frames)
    }

    /// As [`Connection::receive`]; nothing when no message is there.
    pub(crate) fn try_receive(&self) -> Result<Option<Vec<zmq::Message>>, Failed> {
        match self.receive() {
            Ok(frames) => Ok(Some(frames)),
            Err(Failed { source: zmq::Error::EAGAIN, .. }) => Ok(None),
            Err(failed) => Err(failed),
        }
    }

    /// What to poll for whoever waits for more than this connection: for messages,
    /// and for room to send if that is `wanted`.
    pub(crate) fn poll_items(&self, wanted: bool) -> impl Iterator<Item = zmq::PollItem<'_>> {
        let events = if wanted { zmq::POLLIN | zmq::POLLOUT } else { zmq::POLLIN };
        let monitor = self.monitor.iter().map(|monitor| monitor.socket().as_poll_item(zmq::POLLIN));
        std::iter::once(self.socket.as_poll_item(events)).chain(monitor)
    }

    /// Whether nothing has come that was not read.
    pub(crate) fn is_quiet(&self) -> bool {
        let mut sockets =
            std::iter::once(&self.socket).chain(self.monitor.as_ref().map(Monitor::socket));
        sockets.all(|socket| {
            retry(|| socket.get_events()).is_ok_and(|events| !events.contains(zmq::POLLIN))
        })
    }

    /// What becomes readable when something comes, for whoever waits without the sockets;
    /// they must have been [quiet](Connection::is_quiet) then.
    pub(crate) fn fds(&self) -> Vec<RawFd> {
        let sockets =
            std::iter::once(&self.socket).chain(self.monitor.as_ref().map(Monitor::socket));
        sockets.filter_map(|socket| socket.get_fd().ok()).collect()
    }

    /// Whether the connection is without monitor, so that somebody must look now and
    /// then whether the peer is there.
    pub(crate) fn must_look(&self) -> bool {
        self.monitor.is_none()
    }

    /// Waits until something may have changed, or for `left`.
    pub(crate) fn wait(&self, left: Duration) -> Result<(), Failed> {
        let socket = self.socket.as_poll_item(zmq::POLLIN);
        match &self.monitor {
            Some(monitor) => poll(&mut [socket, monitor.socket().as_poll_item(zmq::POLLIN)], left),
            None => poll(&mut [socket], left.min(LOOK)),
        }
    }
}

/// Opens the second connection to a peer of this process.
fn second(context: &zmq::Context, endpoint: &str) -> zmq::Result<zmq::Socket> {
    let socket = context.socket(zmq::DEALER)?;
    socket.set_linger(0)?;
    socket.connect(endpoint)?;
    Ok(socket)
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.monitor.is_some() {
            Monitor::stop(&self.socket);
        }
    }
}

/// Receives all frames of a message, or EAGAIN when none is there.
pub(crate) fn receive(socket: &zmq::Socket) -> zmq::Result<Vec<zmq::Message>> {
    let mut frames = Vec::new();
    loop {
        let frame = retry(|| socket.recv_msg(zmq::DONTWAIT))?;
        let more = frame.get_more();
        frames.push(frame);
        if !more {
            return Ok(frames);
        }
    }
}

/// Waits for one of `items`, for a signal, or for `left`, rounded up.
pub(crate) fn poll(items: &mut [zmq::PollItem], left: Duration) -> Result<(), Failed> {
    let ms = left.as_nanos().div_ceil(1_000_000);
    match zmq::poll(items, i64::try_from(ms).unwrap_or(i64::MAX)) {
        Ok(_) | Err(zmq::Error::EINTR) => Ok(()),
        Err(error) => Err(failed("wait")(error)),
    }
}

/// Repeats a call that does not block while signals interrupt it.
fn retry<T>(mut call: impl FnMut() -> zmq::Result<T>) -> zmq::Result<T> {
    loop {
        match call() {
            Err(zmq::Error::EINTR) => {}
            done => return done,
        }
    }
}

/// Prints a message for the trace, a line a frame.
fn lines<F: Deref<Target = [u8]>>(frames: &[F]) -> String {
    frames.iter().map(|frame| format!("\n[{:03}] {}", frame.len(), dump(frame))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A monitor that is closed before ZeroMQ's threads have told it everything would
    /// stop them, and the context would not end.
    #[test]
    fn connections_that_are_closed_at_any_moment_leave_a_context_that_ends() {
        let context = zmq::Context::new();
        let broker = context.socket(zmq::ROUTER).unwrap();
        broker.set_linger(0).unwrap();
        broker.bind("tcp://127.0.0.1:*").unwrap();
        let endpoint = broker.get_last_endpoint().unwrap().unwrap();
        let open = |endpoint: &str| {
            Connection::open(&context, endpoint, &Security::Null, 1).ok().expect("it opens")
        };
        for round in 0..300 {
            let mut connection = open(&endpoint);
            let _refused = open("tcp://127.0.0.1:1");
            for _ in 0..round % 4 {
                connection.wait(Duration::from_millis(1)).ok().expect("it can wait");
                connection.ready().ok().expect("it can be looked at");
            }
        }
        drop(broker);
        let (ended, has_ended) = crossbeam_channel::bounded(1);
        std::thread::spawn(move || {
            drop(context);
            ended.send(())
        });
        has_ended.recv_timeout(Duration::from_secs(30)).expect("the context ends");
    }
}
