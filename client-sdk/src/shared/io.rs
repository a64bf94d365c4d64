//! The socket half of a client, for whoever [drives](super::driver) it.
//!
//! One turn of the loop: read what the brokers sent, take what callers handed over,
//! let time pass, do what the dialog asks for, and send what became ready, to each
//! broker in as few messages as may be. Then wait for the next event. Sockets are read
//! before time passes, so that what has come counts, even when it is seen late.
//!
//! In a [context](crate::context) of its own the wait is what moves bytes. Whoever begins to
//! drive lets move what can, so that nothing is sent over a connection that broke meanwhile.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use majordomo_io::wake::Ear;
use majordomo_protocol::Credentials;

use super::outbox::Outbox;
use super::wanted::Wanted;
use super::{Action, Counts, Dialog, Event, Request};
use crate::call_error::CallError;
use crate::client::Handed;
use crate::connection::{self, Connection, Failed, LOOK, Ready};
use crate::context::Context;
use crate::io::now;
use crate::slot::Pending;

/// How many calls, and how many messages of a broker, are taken in one turn.
const TURN_MAX: usize = 128;

/// What one message of a broker may have in one frame, at the least.
const BATCH_BYTES_MAX: usize = 2 << 20;

/// How long the closing of a client waits for what is still to be sent.
const CLOSE: Duration = Duration::from_secs(1);

/// So often the I/O thread looks for what brokers sent while callers drive.
pub(super) const REST: Duration = Duration::from_secs(1);

/// A call on its way to the I/O thread.
pub(crate) struct Submit {
    pub(crate) key: u64,
    pub(crate) request: Request,
    pub(crate) pending: Pending,
}

/// The sockets, and all that decides what passes through them.
pub(super) struct Loop {
    context: Context,
    credentials: Credentials,
    dialog: Dialog<Pending, Wanted>,
    submits: Receiver<Submit>,
    handed: Arc<Handed>,
    ear: Arc<Ear>,
    links: Vec<Link>,
    /// Nothing between turns: memory for what has ended in one.
    ended: Vec<Pending>,
    /// Until when what is still to be sent has time, once the client is closed.
    pub(super) closing: Option<Instant>,
    /// Whether a caller has driven since the I/O thread last looked.
    pub(super) by_caller: bool,
    /// Whether the I/O thread, at rest, watches what the sockets were then.
    pub(super) watched: bool,
}

/// The socket of one broker, if one is open.
#[derive(Default)]
struct Link {
    connection: Option<Connection>,
    /// Whether the dialog was told of its being complete, or of its end.
    told: bool,
    /// Whether the broker was heard since something was last said to it, which has left then.
    answered: bool,
}

/// Whether there is more to do.
pub(super) enum Go {
    On,
    /// The client was closed, and nothing is left to do.
    Ended,
}

impl Loop {
    pub(super) fn new(
        context: Context,
        credentials: Credentials,
        dialog: Dialog<Pending, Wanted>,
        submits: Receiver<Submit>,
        handed: Arc<Handed>,
        ear: Arc<Ear>,
    ) -> Self {
        let links = dialog.settings().endpoints.iter().map(|_| Link::default()).collect();
        Loop {
            context,
            credentials,
            dialog,
            submits,
            handed,
            ear,
            links,
            ended: Vec::new(),
            closing: None,
            by_caller: false,
            watched: false,
        }
    }

    /// Takes turns, one at least, for as long as `wanted` says so after each.
    pub(super) fn go_on_while(&mut self, wanted: impl Fn(&mut Self) -> bool) -> Result<Go, Failed> {
        self.run(Duration::ZERO)?;
        loop {
            let now = now();
            if let Go::Ended = self.turn(now)? {
                return Ok(Go::Ended);
            }
            if !wanted(self) {
                return Ok(Go::On);
            }
            // There may be room by now for what nobody rings for again.
            let goes_on = !self.submits.is_empty() && self.has_room();
            self.wait(if goes_on { Duration::ZERO } else { self.due(now) })?;
        }
    }

    fn turn(&mut self, now: Instant) -> Result<Go, Failed> {
        if self.dialog.poll_timeout().is_some_and(|due| due <= now) {
            // Before anything is looked for that may have been rung for.
            self.run(Duration::ZERO)?;
            self.disturb();
        }
        if self.handed.closed.load(Ordering::Acquire) {
            self.closing.get_or_insert(now + CLOSE);
        }
        for broker in 0..self.links.len() {
            self.read(broker, now)?;
        }
        if self.has_room() {
            self.take_submits(now);
        }
        for key in std::mem::take(&mut *self.handed.cancelled()) {
            self.dialog.cancel(key);
        }
        self.dialog.handle_timeout(now);
        // What was handed over before the closing is taken before it, if there is time.
        if self.closing.is_some_and(|until| self.submits.is_empty() || now >= until) {
            self.dialog.close();
        }
        self.do_actions()?;
        let mut ended = self.end_calls();
        // Whoever is woken finds what has come for its other calls as well, and room.
        Pending::drop_all(&mut ended);
        self.ended = ended;
        *self.handed.counts() = self.dialog.counts();
        let outboxes = &mut self.dialog.outlet_mut().outboxes;
        for (link, outbox) in self.links.iter_mut().zip(outboxes) {
            link.flush(outbox)?;
        }
        if self.closing.is_some_and(|until| self.is_idle() || now >= until) {
            let mut open = self.links.iter().filter_map(|link| link.connection.as_ref());
            open.try_for_each(|connection| connection.linger(CLOSE))?;
            return Ok(Go::Ended);
        }
        Ok(Go::On)
    }

    /// Ends all calls.
    pub(super) fn end(&mut self, failed: Option<Failed>) {
        if let Some(failed) = failed {
            log::debug!("the client ends: ZeroMQ cannot {}: {}", failed.call, failed.source);
        }
        self.dialog.close();
        // All others have ended.
        let unsent = self.dialog.counts().outstanding;
        if unsent > 0 {
            log::warn!(unsent; "the client is closed before all requests without reply were sent");
        }
        self.end_calls();
    }

    fn is_idle(&self) -> bool {
        self.dialog.counts().outstanding == 0 && !self.is_stuck() && self.submits.is_empty()
    }

    /// Whether there is nothing to do before something comes or time passes.
    pub(super) fn is_at_rest(&mut self) -> bool {
        let is_idle = self.is_idle() && self.closing.is_none();
        is_idle && self.open().all(Connection::is_quiet)
    }

    /// Sockets may have something, whatever was known of them.
    pub(super) fn disturb(&mut self) {
        self.open().for_each(Connection::disturb);
    }

    /// Moves bytes, if that is not for others to do, and waits for the first at most so long.
    fn run(&mut self, wait: Duration) -> Result<(), Failed> {
        if !self.context.runs_io() {
            return Ok(());
        }
        if connection::run(&mut self.context, wait)? {
            self.ear.clear();
        }
        self.disturb();
        Ok(())
    }

    /// Whether something that was said may have to wait for whoever runs I/O next.
    pub(super) fn may_have_unsent(&self) -> bool {
        self.context.runs_io()
            && self.links.iter().any(|link| link.connection.is_some() && !link.answered)
    }

    fn open(&mut self) -> impl Iterator<Item = &mut Connection> {
        self.links.iter_mut().filter_map(|link| link.connection.as_mut())
    }

    /// What tells that something comes, and how long there is nothing to do if it does not.
    /// While callers drive, what brokers send is theirs, and only looked for now and then.
    pub(super) fn rest(&mut self) -> Result<(Vec<RawFd>, Duration), Failed> {
        let left = self.due(now());
        // What may still have to leave needs somebody to move it.
        self.watched = !std::mem::take(&mut self.by_caller) || self.may_have_unsent();
        if !self.watched {
            return Ok((vec![], left.min(REST)));
        }
        if let Some(fd) = connection::descriptor(&mut self.context)? {
            return Ok((vec![fd], left));
        }
        let open = self.links.iter().filter_map(|link| link.connection.as_ref());
        Ok((open.flat_map(Connection::fds).collect(), left))
    }

    /// Before a call ends, since whoever waits for it may look at the counts then; but it
    /// is outstanding until it has ended.
    fn publish_early(&self) {
        let mut counts = self.handed.counts();
        *counts = Counts { outstanding: counts.outstanding, ..self.dialog.counts() };
    }

    /// While the broker of new calls takes nothing more, neither does the client: what wants
    /// no reply would pile up here. Where another is stuck, only calls that have a place do.
    fn has_room(&self) -> bool {
        let outboxes = &self.dialog.outlet().outboxes;
        outboxes.get(self.dialog.current()).is_none_or(|outbox| !outbox.is_stuck())
    }

    /// Whether something waits for room.
    fn is_stuck(&self) -> bool {
        self.dialog.outlet().outboxes.iter().any(|outbox| !outbox.is_empty())
    }

    /// Takes what callers handed over.
    fn take_submits(&mut self, now: Instant) {
        for _ in 0..TURN_MAX {
            let Ok(Submit { key, request, pending }) = self.submits.try_recv() else { break };
            if pending.slot.is_withdrawn() {
                let service = request.service;
                let cancelled = CallError::Cancelled { service, may_have_run: false };
                pending.end(Err(Box::new(cancelled)), 0);
            } else {
                self.dialog.submit(key, request, pending, now);
            }
        }
    }

    /// Reads what a broker sent, and what became of its connection.
    fn read(&mut self, broker: usize, now: Instant) -> Result<(), Failed> {
        let Some(Link { connection: Some(connection), told, answered, .. }) =
            self.links.get_mut(broker)
        else {
            return Ok(());
        };
        let ready = connection.ready()?;
        let handshake = connection.handshake();
        let event = match ready {
            Ready::Readable => {
                for _ in 0..TURN_MAX {
                    let Some(frames) = connection.try_receive()? else { break };
                    *answered = true;
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
            Ready::Lost | Ready::Refused if !*told => {
                handshake.map_or(Event::Refused, Event::Unauthorized)
            }
            Ready::Nothing if handshake.is_some() => {
                self.dialog.handle(broker, Event::Reached, now);
                return Ok(());
            }
            _ => return Ok(()),
        };
        if !matches!(event, Event::Connected) {
            // It says so for ever; the dialog decides what is next.
            self.put(broker, Link::default());
        } else {
            *told = true;
        }
        self.dialog.handle(broker, event, now);
        Ok(())
    }

    /// Does what the dialog asks for, but to send and to end calls.
    fn do_actions(&mut self) -> Result<(), Failed> {
        while let Some(action) = self.dialog.outlet_mut().others.pop_front() {
            match action {
                Action::Connect { broker } => self.connect(broker)?,
                Action::Disconnect { broker, reason } => {
                    let endpoint = self.dialog.settings().endpoints[broker].as_str();
                    log::warn!(broker = endpoint; "broker left: {reason}");
                    self.put(broker, Link::default());
                }
                Action::Part { token, key, body } => {
                    if !token.slot.part(body, self.dialog.settings().reply_bytes_max) {
                        self.dialog.overflow(key);
                    }
                }
                Action::Send { .. } | Action::Done { .. } => {}
            }
        }
        Ok(())
    }

    /// Ends the calls that have ended. What waits for one is woken when it is dropped.
    fn end_calls(&mut self) -> Vec<Pending> {
        let mut ended = std::mem::take(&mut self.ended);
        if self.dialog.outlet().ended.is_empty() {
            return ended;
        }
        self.publish_early();
        let limit = self.dialog.settings().reply_bytes_max;
        for (pending, outcome) in self.dialog.outlet_mut().ended.drain(..) {
            if let (true, Err(error)) = (pending.slot.no_reply, &outcome) {
                let service = pending.slot.service.as_str();
                log::warn!(service; "a request without reply was not sent: {error}");
            }
            pending.end(outcome, limit);
            ended.push(pending);
        }
        ended
    }

    /// Puts this in the place of what was there for a broker; what it has not sent is
    /// forgotten.
    fn put(&mut self, broker: usize, link: Link) {
        self.links[broker] = link;
        self.dialog.outlet_mut().outboxes[broker] = Outbox::default();
    }

    fn connect(&mut self, broker: usize) -> Result<(), Failed> {
        let settings = self.dialog.settings();
        let endpoint = settings.endpoints[broker].as_str();
        // A message of many small replies is larger than any of them.
        let reply_bytes_max = settings.reply_bytes_max.max(BATCH_BYTES_MAX);
        log::debug!(broker = endpoint; "connecting");
        let security = self.credentials.of(endpoint);
        let opened = Connection::open(&mut self.context, endpoint, security, reply_bytes_max);
        let connection = match opened {
            Ok(connection) => Some(connection),
            Err(failed) if failed.source == zmq::Error::ETERM => return Err(failed),
            Err(Failed { call, source }) => {
                // The dialog waits for the connection, and gives up in time.
                log::warn!(broker = endpoint; "ZeroMQ cannot {call}: {source}");
                None
            }
        };
        self.put(broker, Link { connection, ..Link::default() });
        Ok(())
    }

    /// How long there is nothing to do if nothing happens.
    fn due(&self, now: Instant) -> Duration {
        let open = self.links.iter().filter_map(|link| link.connection.as_ref());
        let look = open.filter(|connection| connection.must_look()).map(|_| now + LOOK);
        let due = look.chain(self.dialog.poll_timeout()).chain(self.closing).min();
        due.map_or(Duration::from_secs(60), |due| due.saturating_duration_since(now))
    }

    fn wait(&mut self, left: Duration) -> Result<(), Failed> {
        let outboxes = &self.dialog.outlet().outboxes;
        for (link, outbox) in self.links.iter_mut().zip(outboxes) {
            let Some(connection) = &mut link.connection else { continue };
            if (!outbox.is_empty() && connection.has_room()) || !connection.is_quiet() {
                return self.run(Duration::ZERO);
            }
        }
        if self.context.runs_io() {
            return self.run(left);
        }
        let open = self.links.iter().filter_map(|link| link.connection.as_ref());
        let fds = std::iter::once(self.ear.fd()).chain(open.flat_map(Connection::fds));
        let mut items = connection::readable(fds);
        connection::poll(&mut items, left)?;
        let mut told = items.iter();
        if told.next().is_some_and(zmq::PollItem::is_readable) {
            self.ear.clear();
        }
        self.open().for_each(|connection| connection.told(&mut told));
        Ok(())
    }
}

impl Link {
    /// Sends what is ready, as far as there is room.
    fn flush(&mut self, outbox: &mut Outbox) -> Result<(), Failed> {
        let Some(connection) = &mut self.connection else {
            // The dialog has been told, or will be: what is here goes another way.
            *outbox = Outbox::default();
            return Ok(());
        };
        while let Some(frames) = outbox.first() {
            if !connection.send(frames)? {
                outbox.refused();
                break;
            }
            outbox.sent();
            self.answered = false;
        }
        Ok(())
    }
}
