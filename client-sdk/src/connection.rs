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

use majordomo_io::monitor::{self, Told};
use majordomo_io::{retry, security};
use majordomo_protocol::{HandshakeFailure, Security, dump};

use crate::context::Context;
use crate::socket::Socket;

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
    socket: Socket,
    /// Tells of the connection; none for inproc, where there is nothing to tell.
    monitor: Option<Socket>,
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
        context: &mut Context,
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
            false => Some(monitor(context, &socket).map_err(failed("monitor a socket"))?),
        };
        socket.connect(endpoint).map_err(failed("connect"))?;
        let socket = Socket::new(socket).map_err(failed("look at a socket"))?;
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
        self.socket.options().set_linger(ms).map_err(failed("set the options of a socket"))
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
        if self.broken {
            self.socket.disturb();
        }
        let readable = self.socket.is_readable().map_err(failed("look at a socket"))?;
        Ok(match (readable, self.broken, self.established) {
            (true, _, _) => Ready::Readable,
            (_, true, true) => Ready::Lost,
            (_, true, false) => Ready::Refused,
            (_, false, true) => Ready::Writable,
            (_, false, false) => Ready::Nothing,
        })
    }

    fn read_monitor(&mut self) -> Result<(), Failed> {
        let Some(monitor) = &mut self.monitor else { return Ok(()) };
        loop {
            let frames = match monitor.receive() {
                Err(zmq::Error::EAGAIN) => return Ok(()),
                frames => frames.map_err(failed("read the monitor"))?,
            };
            match frames.first().and_then(|frame| Told::read(frame)) {
                Some(Told::Reached) if self.is_secured => {
                    self.handshake = Some(HandshakeFailure::Unfinished);
                }
                // Whoever shows nothing is not held back: a broker that hangs is more likely.
                Some(Told::Reached) | None => {}
                Some(Told::Established) => (self.established, self.handshake) = (true, None),
                Some(Told::NotLetIn(failure)) => self.handshake = Some(failure),
                Some(Told::Broken) => self.broken = true,
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

    /// Sends all frames, or says that there is no room or the connection broke.
    pub(crate) fn send(&mut self, frames: &[Vec<u8>]) -> Result<bool, Failed> {
        let sent = self.socket.send(frames).map_err(failed("send"))?;
        if sent {
            log::trace!(endpoint = self.endpoint.as_str(); "sent{}", lines(frames));
        }
        Ok(sent)
    }

    /// Receives all frames of a message that is there.
    pub(crate) fn receive(&mut self) -> Result<Vec<zmq::Message>, Failed> {
        let frames = self.socket.receive().map_err(failed("receive"))?;
        log::trace!(endpoint = self.endpoint.as_str(); "received{}", lines(&frames));
        Ok(frames)
    }

    /// As [`Connection::receive`]; nothing when no message is there.
    pub(crate) fn try_receive(&mut self) -> Result<Option<Vec<zmq::Message>>, Failed> {
        match self.receive() {
            Ok(frames) => Ok(Some(frames)),
            Err(Failed { source: zmq::Error::EAGAIN, .. }) => Ok(None),
            Err(failed) => Err(failed),
        }
    }

    /// Something may have come, or time passes and what has come counts.
    pub(crate) fn disturb(&mut self) {
        self.sockets().for_each(Socket::disturb);
    }

    /// Whether nothing has come that was not read.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.sockets().all(|socket| socket.is_readable().is_ok_and(|readable| !readable))
    }

    /// Whether there is room to send, for somebody who found none.
    pub(crate) fn has_room(&mut self) -> bool {
        self.socket.is_writable().unwrap_or(true)
    }

    /// What becomes readable when something comes, or room to send, and there was
    /// [nothing](Connection::is_quiet) before.
    pub(crate) fn fds(&self) -> impl Iterator<Item = RawFd> {
        std::iter::once(self.socket.fd()).chain(self.monitor.iter().map(Socket::fd))
    }

    /// A poll of [these](Connection::fds) is over.
    pub(crate) fn told<'a>(&mut self, items: &mut impl Iterator<Item = &'a zmq::PollItem<'a>>) {
        for (socket, item) in self.sockets().zip(items) {
            if item.is_readable() {
                socket.disturb();
            }
        }
    }

    fn sockets(&mut self) -> impl Iterator<Item = &mut Socket> {
        std::iter::once(&mut self.socket).chain(&mut self.monitor)
    }

    /// Whether the connection is without monitor, so that somebody must look now and
    /// then whether the peer is there.
    pub(crate) fn must_look(&self) -> bool {
        self.monitor.is_none()
    }

    /// Waits until something may have changed, or for `left`.
    pub(crate) fn wait(&mut self, context: &mut Context, left: Duration) -> Result<(), Failed> {
        if !self.is_quiet() {
            return Ok(());
        }
        let left = if self.must_look() { left.min(LOOK) } else { left };
        if context.runs_io() {
            return self.run(context, left);
        }
        let mut items = readable(self.fds());
        poll(&mut items, left)?;
        self.told(&mut items.iter());
        Ok(())
    }

    /// Moves bytes, if that is not for others to do, and waits for the first at most so long.
    pub(crate) fn run(&mut self, context: &mut Context, wait: Duration) -> Result<(), Failed> {
        run(context, wait)?;
        self.disturb();
        Ok(())
    }
}

/// Moves bytes, if that is not for others to do. Whether the context was rung.
pub(crate) fn run(context: &mut Context, wait: Duration) -> Result<bool, Failed> {
    context.run(wait).map_err(failed("wait"))
}

/// Opens the socket that is told of this one's connection.
fn monitor(context: &mut Context, socket: &zmq::Socket) -> zmq::Result<Socket> {
    let monitor = Socket::new(context.socket(zmq::PAIR)?)?;
    monitor::start(socket, monitor.options(), monitor::CONNECTION)?;
    Ok(monitor)
}

/// Opens the second connection to a peer of this process.
fn second(context: &mut Context, endpoint: &str) -> zmq::Result<zmq::Socket> {
    let socket = context.socket(zmq::DEALER)?;
    socket.set_linger(0)?;
    socket.connect(endpoint)?;
    Ok(socket)
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.monitor.is_some() {
            monitor::stop(self.socket.options());
        }
    }
}

/// What to poll for these to be readable.
pub(crate) fn readable<'a>(fds: impl Iterator<Item = RawFd>) -> Vec<zmq::PollItem<'a>> {
    fds.map(|fd| zmq::PollItem::from_fd(fd, zmq::POLLIN)).collect()
}

/// What is readable when there are bytes to move, if that is not for others to do.
pub(crate) fn descriptor(context: &mut Context) -> Result<Option<RawFd>, Failed> {
    context.descriptor().map_err(failed("look at a socket"))
}

/// Waits for so long, or until something may have changed.
pub(crate) fn pause(context: &mut Context, left: Duration) -> Result<(), Failed> {
    if context.runs_io() { run(context, left).map(|_| ()) } else { poll(&mut [], left) }
}

/// Waits for one of `items`, for a signal, or for `left`, rounded up.
pub(crate) fn poll(items: &mut [zmq::PollItem], left: Duration) -> Result<(), Failed> {
    let ms = left.as_nanos().div_ceil(1_000_000);
    match zmq::poll(items, i64::try_from(ms).unwrap_or(i64::MAX)) {
        Ok(_) | Err(zmq::Error::EINTR) => Ok(()),
        Err(error) => Err(failed("wait")(error)),
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
        for mut context in [Context::new(None, &[]), Context::new(Some(zmq::Context::new()), &[])] {
            close_connections_at_any_moment(&mut context);
            let (ended, has_ended) = crossbeam_channel::bounded(1);
            std::thread::spawn(move || {
                drop(context);
                ended.send(())
            });
            has_ended.recv_timeout(Duration::from_secs(30)).expect("the context ends");
        }
    }

    fn close_connections_at_any_moment(context: &mut Context) {
        let brokers = zmq::Context::new();
        let broker = brokers.socket(zmq::ROUTER).unwrap();
        broker.set_linger(0).unwrap();
        broker.bind("tcp://127.0.0.1:*").unwrap();
        let endpoint = broker.get_last_endpoint().unwrap().unwrap();
        let open = |context: &mut Context, endpoint: &str| {
            Connection::open(context, endpoint, &Security::Null, 1).ok().expect("it opens")
        };
        for round in 0..300 {
            let mut connection = open(context, &endpoint);
            let _refused = open(context, "tcp://127.0.0.1:1");
            for _ in 0..round % 4 {
                connection.wait(context, Duration::from_millis(1)).ok().expect("it can wait");
                connection.ready().ok().expect("it can be looked at");
            }
        }
    }
}
