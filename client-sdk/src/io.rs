//! The socket half: one DEALER socket, on the thread of the caller.
//!
//! [`Io::drive`] is the loop that gives a [`Dialog`] its events and does its
//! actions. All that is decided is decided there; here are the ways of ZeroMQ.

use std::time::{Duration, Instant};

use majordomo_protocol::Frames;

use crate::dialog::{Action, Dialog, Event, Reply, Want};
use crate::endpoint;
use crate::error::Error;
use crate::settings::Settings;

/// How often a wait for a reply looks whether the connection still stands.
const LOOK: Duration = Duration::from_millis(100);

/// How long ZeroMQ waits before it connects again. Longer than [`LOOK`], so that
/// no look misses a connection that broke: the one that replaces it has another
/// identity, and no reply can come over it.
const RECONNECT: Duration = Duration::from_millis(250);

/// Reads the clock.
#[expect(clippy::disallowed_methods, reason = "the loop that owns the socket reads the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The socket of a client, if one is open.
pub(crate) struct Io {
    context: zmq::Context,
    connection: Option<Connection>,
    /// Set once the context was terminated; ZeroMQ does not allow to use it then.
    closed: bool,
}

struct Connection {
    socket: zmq::Socket,
    endpoint: String,
    /// Whether the connection has been complete at any time.
    established: bool,
}

/// What a socket is ready for.
enum Ready {
    Readable,
    Writable,
    /// It was writable, and is not any more: the connection broke.
    Lost,
    Nothing,
}

impl Io {
    pub(crate) fn new(context: zmq::Context) -> Self {
        Io { context, connection: None, closed: false }
    }

    /// Does what the dialog asks for until it hands out a reply or fails. Blocks at
    /// most as long as the dialog's tries last.
    pub(crate) fn drive(&mut self, dialog: &mut Dialog) -> Result<Reply, Error> {
        let driven = self.drive_until_reply(dialog);
        if driven.is_err() {
            dialog.abandon();
            self.forget(dialog);
        }
        driven
    }

    /// Does what is left to do after a request was abandoned.
    pub(crate) fn forget(&mut self, dialog: &mut Dialog) {
        while dialog.poll_action().is_some() {}
        self.connection = None;
    }

    fn drive_until_reply(&mut self, dialog: &mut Dialog) -> Result<Reply, Error> {
        if self.closed {
            return Err(Error::Closed { sent: false });
        }
        loop {
            while let Some(action) = dialog.poll_action() {
                match action {
                    Action::Discard => self.connection = None,
                    Action::Connect { endpoint } => {
                        log::debug!(endpoint = endpoint.as_str(); "connecting");
                        let opened = Connection::open(&self.context, &endpoint, dialog.settings());
                        self.connection =
                            Some(opened.map_err(|failed| self.refused(failed, dialog))?);
                    }
                    Action::TryFailed(failed) => log::debug!(
                        service = failed.service.as_str(),
                        endpoint = failed.endpoint.as_str();
                        "try {} of {} failed: {}", failed.number, failed.tries, failed.reason
                    ),
                    Action::Yield(reply) => return Ok(reply),
                    Action::Fail(error) => return Err(error),
                }
            }
            self.step(dialog).map_err(|failed| self.refused(failed, dialog))?;
        }
    }

    /// Waits for the next event or for the dialog's time, whichever is first. The
    /// clock is read before the socket, so that what has come counts, even when it
    /// is seen late.
    fn step(&mut self, dialog: &mut Dialog) -> Result<(), Failed> {
        let now = now();
        let left = dialog.poll_timeout().map_or(Duration::ZERO, |due| due - now.min(due));
        let Some(connection) = &mut self.connection else {
            match left {
                Duration::ZERO => dialog.handle_timeout(now),
                left => poll(&mut [], left)?,
            }
            return Ok(());
        };
        match (connection.ready()?, dialog.want()) {
            (Ready::Readable, _) => {
                let frames = connection.receive()?;
                log::trace!(endpoint = connection.endpoint.as_str(); "received\n{:?}", Frames::new(frames.iter().map(|frame| &**frame).collect()));
                dialog.handle(Event::Message(frames), now);
            }
            (Ready::Lost, _) => dialog.handle(Event::<zmq::Message>::Lost, now),
            (Ready::Writable, Want::Send(frames)) => {
                let event = match connection.send(frames)? {
                    true => Event::<zmq::Message>::Sent,
                    false => Event::Lost,
                };
                dialog.handle(event, now);
            }
            _ if left.is_zero() => dialog.handle_timeout(now),
            (_, Want::Send(_)) => connection.wait(zmq::POLLIN | zmq::POLLOUT, left)?,
            (_, Want::Receive | Want::Nothing) => connection.wait(zmq::POLLIN, left.min(LOOK))?,
        }
        Ok(())
    }

    fn refused(&mut self, failed: Failed, dialog: &Dialog) -> Error {
        let sent = dialog.sent();
        match failed {
            Failed { source: zmq::Error::ETERM, .. } => {
                self.closed = true;
                Error::Closed { sent }
            }
            Failed { call, source } => {
                Error::Socket { call, endpoint: dialog.endpoint().to_owned(), sent, source }
            }
        }
    }
}

/// A call that ZeroMQ refused.
struct Failed {
    call: &'static str,
    source: zmq::Error,
}

/// Names the call that gave an error.
fn failed(call: &'static str) -> impl FnOnce(zmq::Error) -> Failed {
    move |source| Failed { call, source }
}

impl Connection {
    fn open(
        context: &zmq::Context,
        endpoint: &str,
        settings: &Settings,
    ) -> Result<Self, Failed> {
        let socket = context.socket(zmq::DEALER).map_err(failed("open a socket"))?;
        let set = || -> zmq::Result<()> {
            // Nothing is left to send when a socket is closed.
            socket.set_linger(0)?;
            // A message is queued on a completed connection only: so an endpoint that
            // cannot be reached is told apart from one that does not answer.
            socket.set_immediate(true)?;
            socket.set_reconnect_ivl(RECONNECT.as_millis() as i32)?;
            // A frame far above what is taken ends the connection before it is held.
            let frame_max = settings.reply_bytes_max.saturating_mul(2).max(1 << 20);
            socket.set_maxmsgsize(i64::try_from(frame_max).unwrap_or(i64::MAX))?;
            socket.set_ipv6(endpoint::is_ipv6(endpoint))
        };
        set().map_err(failed("set the options of a socket"))?;
        socket.connect(endpoint).map_err(failed("connect"))?;
        Ok(Connection { socket, endpoint: endpoint.to_owned(), established: false })
    }

    fn ready(&mut self) -> Result<Ready, Failed> {
        let events = retry(|| self.socket.get_events()).map_err(failed("look at a socket"))?;
        if events.contains(zmq::POLLIN) {
            return Ok(Ready::Readable);
        }
        let writable = events.contains(zmq::POLLOUT);
        Ok(match (writable, self.established) {
            (true, _) => {
                self.established = true;
                Ready::Writable
            }
            (false, true) => Ready::Lost,
            (false, false) => Ready::Nothing,
        })
    }

    /// Sends all frames, or says that the connection broke meanwhile. What was sent
    /// of an incomplete message ZeroMQ takes back.
    fn send(&self, frames: &[Vec<u8>]) -> Result<bool, Failed> {
        let mut rest = frames.iter().peekable();
        while let Some(frame) = rest.next() {
            let more = if rest.peek().is_some() { zmq::SNDMORE } else { 0 };
            match retry(|| self.socket.send(&frame[..], zmq::DONTWAIT | more)) {
                Ok(()) => {}
                Err(zmq::Error::EAGAIN) => return Ok(false),
                Err(error) => return Err(failed("send")(error)),
            }
        }
        log::trace!(endpoint = self.endpoint.as_str(); "sent\n{:?}", Frames::new(frames.to_vec()));
        Ok(true)
    }

    /// Receives all frames of a message that is there.
    fn receive(&self) -> Result<Vec<zmq::Message>, Failed> {
        let mut frames = Vec::new();
        loop {
            let frame =
                retry(|| self.socket.recv_msg(zmq::DONTWAIT)).map_err(failed("receive"))?;
            let more = frame.get_more();
            frames.push(frame);
            if !more {
                return Ok(frames);
            }
        }
    }

    fn wait(&self, events: zmq::PollEvents, left: Duration) -> Result<(), Failed> {
        poll(&mut [self.socket.as_poll_item(events)], left)
    }
}

/// Waits for one of `items`, for a signal, or for `left`, rounded up.
fn poll(items: &mut [zmq::PollItem], left: Duration) -> Result<(), Failed> {
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
