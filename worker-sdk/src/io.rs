//! The thread that owns the sockets.
//!
//! One loop for all places and all brokers: wait, read what came, take the results
//! that handlers handed over, do what is due. It decides nothing: every event goes
//! to a connection's [`Dialog`], and what comes out is carried out. It never runs a
//! handler and never blocks but in the poll, so that heartbeats leave in time
//! whatever handlers do.
//!
//! Work for one message does not grow with the number of places, except in the poll
//! itself: due connections come from an ordered set, results say where they belong.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use majordomo_protocol::worker::{FromBroker, ToBroker};
use majordomo_protocol::{Body, ClientAddress, Endpoint, Frames, ServiceName};

use crate::connection::{Connection, Outgoing, Running};
use crate::dialog::{Action, CloseReason, Dialog, Event};
use crate::error::Error;
use crate::pool::Job;
use crate::request::{OpenRequest, Outbox, PARTS_WAITING_MAX, Part, Request, Responder, Task};
use crate::settings::Settings;
use crate::stop::Asked;
use crate::wake::WakeUp;
use crate::worker::StopReason;

/// Messages read from one socket before the others have their turn.
const READS_MAX: usize = 64;

/// Sockets in one ZeroMQ context. libzmq allows 1023, those included that are still
/// closing.
const SOCKETS_PER_CONTEXT: usize = 500;

/// The monotonic clock.
#[expect(clippy::disallowed_methods, reason = "everything else has the time passed in from here")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Where the requests of one service go.
pub(crate) struct Route {
    pub(crate) name: ServiceName,
    pub(crate) concurrency: usize,
    pub(crate) time_limit: Option<Duration>,
    pub(crate) jobs: Sender<Job>,
}

/// A broker, for what is logged once and not once a connection.
struct Broker {
    endpoint: Endpoint,
    /// A connection was lost and none has heard anything since.
    troubled: bool,
}

/// Everything the thread owns.
pub(crate) struct Io {
    // Before the contexts: these wait, when dropped, for their sockets to close.
    connections: Vec<Connection>,
    contexts: Vec<zmq::Context>,
    brokers: Vec<Broker>,
    routes: Vec<Route>,
    settings: Settings,
    outbox: Arc<Outbox>,
    ready: Receiver<usize>,
    wake_up: WakeUp,
    /// When which connection is due; each stands here at most once.
    timers: BTreeSet<(Instant, usize)>,
    /// What was last asked for and has been passed on.
    obeyed: Asked,
    /// When draining ends, whether or not all handlers have.
    drain_until: Option<Instant>,
}

impl Io {
    /// Prepares one connection for every place and broker. Opens no socket yet:
    /// sockets belong to the thread that calls [`Io::run`].
    pub(crate) fn new(
        settings: Settings,
        brokers: Vec<Endpoint>,
        routes: Vec<Route>,
        outbox: Arc<Outbox>,
        ready: Receiver<usize>,
        wake_up: WakeUp,
    ) -> Self {
        let start = now();
        let mut connections = Vec::new();
        let mut timers = BTreeSet::new();
        for broker in 0..brokers.len() {
            for (service, route) in routes.iter().enumerate() {
                for _ in 0..route.concurrency {
                    let seed = fastrand::u64(..);
                    let dialog = Dialog::new(route.name.clone(), settings.timing, seed, start);
                    let mut connection = Connection::new(broker, service, dialog);
                    connection.timer = Some(start);
                    timers.insert((start, connections.len()));
                    connections.push(connection);
                }
            }
        }
        let contexts = match &settings.context {
            Some(context) => vec![context.clone()],
            None => (0..connections.len().div_ceil(SOCKETS_PER_CONTEXT))
                .map(|_| zmq::Context::new())
                .collect(),
        };
        let brokers =
            brokers.into_iter().map(|endpoint| Broker { endpoint, troubled: false }).collect();
        Io {
            connections,
            contexts,
            brokers,
            routes,
            settings,
            outbox,
            ready,
            wake_up,
            timers,
            obeyed: Asked::Run,
            drain_until: None,
        }
    }

    /// Works until the worker is stopped.
    pub(crate) fn run(mut self) -> Result<StopReason, Error> {
        let mut time = now();
        loop {
            if let Some(reason) = self.obey(time) {
                return Ok(reason);
            }
            let planned = self.next_timeout();
            let due = self.poll(planned.map(|at| at.saturating_duration_since(now())))?;
            time = now();
            if planned.is_some_and(|at| at + self.settings.timing.heartbeat_interval < time) {
                self.excuse(time);
            }
            // Everything that came is read before anybody is found silent.
            for (index, readable, writable) in due {
                if writable {
                    self.flush(index, time);
                }
                if readable {
                    self.read(index, time);
                }
            }
            // Bounded, since handlers go on handing over.
            for _ in 0..self.ready.len() {
                if let Ok(index) = self.ready.try_recv() {
                    if let Some(running) = &self.connections[index].running {
                        running.task.take_signal();
                    }
                    self.take_parts(index, time);
                }
            }
            while let Some((_, index)) = self.timers.first().copied().filter(|due| due.0 <= time) {
                self.timers.pop_first();
                let connection = &mut self.connections[index];
                connection.timer = None;
                connection.dialog.handle_timeout(time);
                self.perform(index, time);
            }
        }
    }

    /// Passes on what was asked of the worker, and says when that is done.
    fn obey(&mut self, time: Instant) -> Option<StopReason> {
        let asked = self.outbox.control.asked();
        if asked > self.obeyed {
            self.obeyed = asked;
            if asked == Asked::Drain {
                self.drain_until = Some(time + self.settings.drain_limit);
                self.tell_all(&Event::Drain, time);
            }
        }
        let unfinished = self.outbox.open.load(Ordering::SeqCst);
        match self.obeyed {
            Asked::Run => None,
            Asked::Drain => {
                let is_done = |c: &Connection| c.dialog.is_closed() && !c.is_open();
                if unfinished == 0 && self.connections.iter().all(is_done) {
                    return Some(StopReason::Drained);
                }
                if self.drain_until.is_some_and(|until| until <= time) {
                    self.tell_all(&Event::Stop, time);
                    log::warn!(unfinished; "drain limit reached");
                    return Some(StopReason::DrainLimit { unfinished });
                }
                None
            }
            Asked::Stop => {
                self.tell_all(&Event::Stop, time);
                Some(StopReason::StopNow { unfinished })
            }
        }
    }

    fn tell_all(&mut self, event: &Event, time: Instant) {
        for index in 0..self.connections.len() {
            self.connections[index].dialog.handle(event.clone(), time);
            self.perform(index, time);
        }
    }

    /// The process stood still, or this thread did: brokers may have been heard
    /// meanwhile by nobody.
    fn excuse(&mut self, time: Instant) {
        log::debug!("woke late: silent brokers are given one more term");
        self.tell_all(&Event::Suspended, time);
    }

    fn next_timeout(&self) -> Option<Instant> {
        let timer = self.timers.first().map(|due| due.0);
        timer.into_iter().chain(self.drain_until).min()
    }

    /// Waits for something to do. Gives the connections that are readable or
    /// writable.
    fn poll(&self, timeout: Option<Duration>) -> Result<Vec<(usize, bool, bool)>, Error> {
        let mut indices = Vec::with_capacity(self.connections.len());
        let mut items = Vec::with_capacity(self.connections.len() + 1);
        items.push(zmq::PollItem::from_fd(self.wake_up.fd(), zmq::POLLIN));
        for (index, connection) in self.connections.iter().enumerate() {
            if let Some(item) = connection.poll_item() {
                indices.push(index);
                items.push(item);
            }
        }
        // Rounded up: a poll that ends too early would only be followed by another.
        let timeout_ms = timeout.map_or(-1, |timeout| {
            timeout.as_micros().div_ceil(1000).try_into().unwrap_or(i64::MAX)
        });
        match zmq::poll(&mut items, timeout_ms) {
            Ok(0) | Err(zmq::Error::EINTR) => return Ok(Vec::new()),
            Ok(_) => {}
            Err(error) => return Err(Error::Poll(error)),
        }
        if items[0].is_readable() {
            self.wake_up.clear();
        }
        let due = indices.into_iter().zip(&items[1..]);
        let due = due.map(|(index, item)| (index, item.is_readable(), item.is_writable()));
        Ok(due.filter(|&(_, readable, writable)| readable || writable).collect())
    }

    /// Reads what came, as long as the socket stays open.
    fn read(&mut self, index: usize, time: Instant) {
        for _ in 0..READS_MAX {
            let connection = &mut self.connections[index];
            let Settings { version, request_bytes_max, .. } = self.settings;
            let incoming = match connection.receive(version, request_bytes_max) {
                Ok(Some(incoming)) => incoming,
                Ok(None) => return,
                Err(error) => return self.refused(index, error, time),
            };
            let broker = &mut self.brokers[connection.broker];
            let event = match FromBroker::decode(version, Frames::new(incoming.frames)) {
                Ok(message) => {
                    if broker.troubled && message != FromBroker::Disconnect {
                        broker.troubled = false;
                        log::info!(broker = broker.endpoint.as_str(); "broker heard again");
                    }
                    Event::Message(message)
                }
                Err(error) => {
                    self.outbox.counters.message_invalid();
                    let endpoint = broker.endpoint.as_str();
                    log::warn!(broker = endpoint; "invalid message from broker: {error}");
                    Event::Invalid
                }
            };
            connection.too_large = incoming.too_large;
            connection.dialog.handle(event, time);
            self.perform(index, time);
        }
    }

    /// Sends what waited, and then more of the reply that was held back for it.
    fn flush(&mut self, index: usize, time: Instant) {
        match self.connections[index].flush() {
            Ok(answers) => self.outbox.counters.answers(answers),
            Err(error) => return self.refused(index, error, time),
        }
        self.take_parts(index, time);
    }

    /// Takes what the handler of this connection handed over; nothing while the
    /// socket does not take what it was given before, so that the handler waits.
    fn take_parts(&mut self, index: usize, time: Instant) {
        for _ in 0..PARTS_WAITING_MAX {
            let connection = &mut self.connections[index];
            if !connection.is_clear() {
                return;
            }
            let part = connection.running.as_ref().map(|running| running.parts.try_recv());
            let event = match part {
                Some(Ok(Part::Partial(body))) => Event::Partial(body),
                Some(Ok(Part::Final(body))) => Event::Final(body),
                Some(Ok(Part::Unstarted)) => {
                    connection.running = None;
                    Event::Unstarted
                }
                Some(Err(_)) | None => return,
            };
            connection.dialog.handle(event, time);
            self.perform(index, time);
        }
    }

    /// Carries out what a connection's dialog has decided.
    fn perform(&mut self, index: usize, time: Instant) {
        while let Some(action) = self.connections[index].dialog.poll_action() {
            match action {
                Action::Open => self.open(index, time),
                Action::Send(command) => self.send(index, command, time),
                Action::Run { client, body } => self.give_out(index, client, body, time),
                Action::Late { .. } => {
                    if let Some(running) = self.connections[index].running.take() {
                        running.task.late();
                    }
                }
                Action::Close(reason) => self.close(index, reason, time),
            }
        }
        let connection = &mut self.connections[index];
        let timeout = connection.dialog.poll_timeout();
        if connection.timer != timeout {
            if let Some(at) = connection.timer {
                self.timers.remove(&(at, index));
            }
            if let Some(at) = timeout {
                self.timers.insert((at, index));
            }
            connection.timer = timeout;
        }
    }

    fn open(&mut self, index: usize, time: Instant) {
        let connection = &mut self.connections[index];
        let endpoint = &self.brokers[connection.broker].endpoint;
        let Some(context) =
            self.contexts.get(index / SOCKETS_PER_CONTEXT).or(self.contexts.first())
        else {
            return;
        };
        match connection.open(context, endpoint) {
            Ok(()) => log::debug!(
                broker = endpoint.as_str(), service = self.routes[connection.service].name.as_str();
                "registering"
            ),
            Err(error) => self.refused(index, error, time),
        }
    }

    fn send(&mut self, index: usize, command: ToBroker<Body>, time: Instant) {
        let connection = &mut self.connections[index];
        if command == ToBroker::Heartbeat && !connection.is_clear() {
            // The broker is not reading, and will hear more than enough when it does.
            return;
        }
        let answer = match command {
            ToBroker::Final { .. } => connection.running.take().map(|running| running.task),
            _ => None,
        };
        let frames = match command.encode(self.settings.version) {
            Ok(frames) => frames,
            // Responders send no PARTIAL in MDP/0.1.
            Err(error) => return log::error!("not sent: {error}"),
        };
        match connection.send(Outgoing { frames, answer }) {
            Ok(answers) => self.outbox.counters.answers(answers),
            Err(error) => self.refused(index, error, time),
        }
    }

    /// Gives a request to its service's handlers.
    fn give_out(&mut self, index: usize, client: ClientAddress, body: Body, time: Instant) {
        self.outbox.counters.request();
        let connection = &mut self.connections[index];
        let route = &self.routes[connection.service];
        let (task, parts) = Task::new(route.name.clone(), client, index, Arc::clone(&self.outbox));
        connection.running = Some(Running { task: task.clone(), parts });
        if let Some(bytes) = connection.too_large.take() {
            let bytes_max = self.settings.request_bytes_max;
            return task.fail(&format!(
                "the request has {bytes} bytes; this worker takes at most {bytes_max}"
            ));
        }
        let deadline = route.time_limit.map(|limit| time + limit);
        let stop = self.outbox.control.signal();
        let job = Job {
            request: Request::new(body, deadline, stop, task.clone()),
            responder: Responder::new(task),
            open: OpenRequest::new(self.outbox.clone()),
        };
        // There is room for one job of every connection. Otherwise the job would be
        // dropped here, and say itself that it was not begun.
        let _ = route.jobs.try_send(job);
    }

    fn close(&mut self, index: usize, reason: CloseReason, time: Instant) {
        let connection = &mut self.connections[index];
        if let Some(running) = &connection.running {
            running.task.abandon();
        }
        if reason == CloseReason::Stopped {
            return connection.close_when_clear();
        }
        connection.close(reason.flushes());
        self.outbox.counters.reconnect();
        let broker = &mut self.brokers[connection.broker];
        let service = self.routes[connection.service].name.as_str();
        let level = match reason {
            // Once for a broker: all its connections will say the same.
            _ if broker.troubled => log::Level::Debug,
            CloseReason::Disconnected => log::Level::Info,
            _ => log::Level::Warn,
        };
        broker.troubled = true;
        log::log!(
            level, broker = broker.endpoint.as_str(), service;
            "connection lost, will register again: {}", reason.as_str()
        );
        if reason == CloseReason::Unexpected {
            self.outbox.counters.message_invalid();
        }
        // Parts may have been held back for the socket, and their handler blocked.
        self.take_parts(index, time);
    }

    fn refused(&mut self, index: usize, error: zmq::Error, time: Instant) {
        let connection = &mut self.connections[index];
        log::warn!(broker = self.brokers[connection.broker].endpoint.as_str(); "socket failed: {error}");
        connection.dialog.handle(Event::Refused, time);
        self.perform(index, time);
    }
}

impl Drop for Io {
    /// Whatever made the loop end, handlers must learn that nobody waits for them.
    fn drop(&mut self) {
        for connection in &mut self.connections {
            if let Some(running) = &connection.running {
                running.task.abandon();
            }
            connection.close(true);
        }
        self.outbox.control.ask(Asked::Stop);
    }
}
