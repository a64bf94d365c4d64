//! The socket half of a client: the thread that owns the sockets.
//!
//! One turn of the loop: read what the brokers sent, take what callers handed over,
//! let time pass, do what the dialog asks for, and send what became ready, to each
//! broker in as few messages as may be. Then wait for the next event. Sockets are read
//! before time passes, so that what has come counts, even when it is seen late.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use super::outbox::Outbox;
use super::{Action, Counts, Dialog, Event, Request};
use crate::call_error::CallError;
use crate::client::Handed;
use crate::connection::{self, Connection, Failed, LOOK, Ready};
use crate::io::now;
use crate::slot::Pending;
use crate::wake::Ear;

/// How many calls, and how many messages of a broker, are taken in one turn.
const TURN_MAX: usize = 128;

/// What one message of a broker may have in one frame, at the least.
const BATCH_BYTES_MAX: usize = 2 << 20;

/// How long the closing of a client waits for what is still to be sent.
const CLOSE: Duration = Duration::from_secs(1);

/// A call on its way to the I/O thread.
pub(crate) struct Submit {
    pub(crate) key: u64,
    pub(crate) request: Request,
    pub(crate) pending: Arc<Pending>,
}

/// The I/O thread's own.
pub(crate) struct Loop {
    pub(crate) context: zmq::Context,
    pub(crate) dialog: Dialog<Arc<Pending>>,
    pub(crate) submits: Receiver<Submit>,
    pub(crate) handed: Arc<Handed>,
    pub(crate) ear: Ear,
    pub(crate) links: Vec<Link>,
}

/// The socket of one broker, if one is open, and what waits for it.
#[derive(Default)]
pub(crate) struct Link {
    connection: Option<Connection>,
    /// Whether the dialog was told of its being complete, or of its end.
    told: bool,
    outbox: Outbox,
}

impl Loop {
    /// Runs until the client is closed or the context terminated.
    pub(crate) fn run(mut self) {
        if let Err(failed) = self.turns() {
            log::debug!("the client ends: ZeroMQ cannot {}: {}", failed.call, failed.source);
        }
        self.dialog.close();
        while let Some(action) = self.dialog.poll_action() {
            if let Action::Done { token, result } = action {
                token.slot.end(result);
            }
        }
    }

    fn turns(&mut self) -> Result<(), Failed> {
        let mut closing: Option<Instant> = None;
        loop {
            let now = now();
            if self.handed.closed.load(Ordering::Acquire) {
                closing.get_or_insert(now + CLOSE);
            }
            for broker in 0..self.links.len() {
                self.read(broker, now)?;
            }
            // While a broker takes nothing more, neither does the client.
            if !self.is_stuck() {
                self.take_submits(now);
            }
            for key in std::mem::take(&mut *self.handed.cancelled()) {
                self.dialog.cancel(key);
            }
            self.dialog.handle_timeout(now);
            // What was handed over before the closing is taken before it, if there is time.
            if closing.is_some_and(|until| self.submits.is_empty() || now >= until) {
                self.dialog.close();
            }
            self.publish_early();
            self.do_actions()?;
            *self.handed.counts() = self.dialog.counts();
            for link in &mut self.links {
                link.flush()?;
            }
            let more = !self.submits.is_empty();
            let idle = self.dialog.counts().outstanding == 0 && !self.is_stuck() && !more;
            if closing.is_some_and(|until| idle || now >= until) {
                let mut open = self.links.iter().filter_map(|link| link.connection.as_ref());
                return open.try_for_each(|connection| connection.linger(CLOSE));
            }
            // There may be room by now for what nobody rings for again.
            let goes_on = more && !self.is_stuck();
            self.wait(if goes_on { Duration::ZERO } else { self.due(closing, now) })?;
            self.ear.clear();
        }
    }

    /// Before a call ends, since whoever waits for it may look at the counts then; but it
    /// is outstanding until it has ended.
    fn publish_early(&self) {
        let mut counts = self.handed.counts();
        *counts = Counts { outstanding: counts.outstanding, ..self.dialog.counts() };
    }

    fn is_stuck(&self) -> bool {
        self.links.iter().any(|link| !link.outbox.is_empty())
    }

    /// Takes what callers handed over.
    fn take_submits(&mut self, now: Instant) {
        for Submit { key, request, pending } in self.submits.try_iter().take(TURN_MAX) {
            if pending.slot.is_withdrawn() {
                let service = request.service;
                let cancelled = CallError::Cancelled { service, may_have_run: false };
                pending.slot.end(Err(cancelled));
            } else {
                self.dialog.submit(key, request, pending, now);
            }
        }
    }

    /// Reads what a broker sent, and what became of its connection.
    fn read(&mut self, broker: usize, now: Instant) -> Result<(), Failed> {
        let Some(Link { connection: Some(connection), told, .. }) = self.links.get_mut(broker)
        else {
            return Ok(());
        };
        let event = match connection.ready()? {
            Ready::Readable => {
                for _ in 0..TURN_MAX {
                    let Some(frames) = connection.try_receive()? else { break };
                    if !std::mem::replace(told, true) {
                        self.dialog.handle(broker, Event::Connected, now);
                    }
                    let frames = frames.iter().map(|frame| frame.to_vec()).collect();
                    self.dialog.handle(broker, Event::Message(frames), now);
                }
                return Ok(());
            }
            Ready::Writable if !*told => Event::Connected,
            Ready::Lost if *told => Event::Lost,
            Ready::Lost | Ready::Refused if !*told => Event::Refused,
            _ => return Ok(()),
        };
        if !matches!(event, Event::Connected) {
            // It says so for ever; the dialog decides what is next.
            self.links[broker] = Link::default();
        } else {
            *told = true;
        }
        self.dialog.handle(broker, event, now);
        Ok(())
    }

    fn do_actions(&mut self) -> Result<(), Failed> {
        while let Some(action) = self.dialog.poll_action() {
            match action {
                Action::Connect { broker } => self.connect(broker)?,
                Action::Disconnect { broker, reason } => {
                    let endpoint = self.dialog.settings().endpoints[broker].as_str();
                    log::warn!(broker = endpoint; "broker left: {reason}");
                    self.links[broker] = Link::default();
                }
                Action::Send { broker, command } => {
                    let bytes_max = self.dialog.settings().batch_bytes_max;
                    self.links[broker].outbox.push(command, bytes_max);
                }
                Action::Part { token, key, body } => {
                    if !token.slot.part(body, self.dialog.settings().reply_bytes_max) {
                        self.dialog.overflow(key);
                    }
                }
                Action::Done { token, result } => {
                    let limit = self.dialog.settings().reply_bytes_max;
                    token.slot.end(match result {
                        Ok(body) if !token.slot.has_room(&body, limit) => {
                            let service = token.service.clone();
                            Err(CallError::ReplyOverLimit { service, limit })
                        }
                        result => result,
                    });
                }
            }
        }
        Ok(())
    }

    fn connect(&mut self, broker: usize) -> Result<(), Failed> {
        let settings = self.dialog.settings();
        let endpoint = settings.endpoints[broker].as_str();
        // A message of many small replies is larger than any of them.
        let reply_bytes_max = settings.reply_bytes_max.max(BATCH_BYTES_MAX);
        log::debug!(broker = endpoint; "connecting");
        let connection = match Connection::open(&self.context, endpoint, reply_bytes_max) {
            Ok(connection) => Some(connection),
            Err(failed) if failed.source == zmq::Error::ETERM => return Err(failed),
            Err(Failed { call, source }) => {
                // The dialog waits for the connection, and gives up in time.
                log::warn!(broker = endpoint; "ZeroMQ cannot {call}: {source}");
                None
            }
        };
        self.links[broker] = Link { connection, ..Link::default() };
        Ok(())
    }

    /// How long there is nothing to do if nothing happens.
    fn due(&self, closing: Option<Instant>, now: Instant) -> Duration {
        let open = self.links.iter().filter_map(|link| link.connection.as_ref());
        let look = open.filter(|connection| connection.must_look()).map(|_| now + LOOK);
        let due = look.chain(self.dialog.poll_timeout()).chain(closing).min();
        due.map_or(Duration::from_secs(60), |due| due.saturating_duration_since(now))
    }

    fn wait(&self, left: Duration) -> Result<(), Failed> {
        let mut items = vec![zmq::PollItem::from_fd(self.ear.fd(), zmq::POLLIN)];
        for link in &self.links {
            let wanted = !link.outbox.is_empty();
            items.extend(link.connection.iter().flat_map(|open| open.poll_items(wanted)));
        }
        connection::poll(&mut items, left)
    }
}

impl Link {
    /// Sends what is ready, as far as there is room.
    fn flush(&mut self) -> Result<(), Failed> {
        let Some(connection) = &self.connection else {
            // The dialog has been told, or will be: what is here goes another way.
            self.outbox = Outbox::default();
            return Ok(());
        };
        while let Some(frames) = self.outbox.first() {
            if !connection.send(frames)? {
                break;
            }
            self.outbox.sent();
        }
        Ok(())
    }
}
