//! The thread that owns the sockets.
//!
//! One loop for all connections: wait, read what came, take the results that
//! handlers handed over, do what is due, send what has gathered. It decides nothing:
//! every event goes to a connection's [`Dialog`], and what comes out is carried out.
//! It never blocks but in the wait and runs no handler but inline ones, so that
//! heartbeats leave in time whatever the others do.
//!
//! The wait is libzmq's I/O itself where that is for this thread (see
//! [`context`](crate::context)): what is sent leaves there, once in each turn.
//!
//! Work for one message does not grow with the number of connections, except in the
//! wait itself: due connections come from an ordered set, results say where they
//! belong.

#[cfg(test)]
mod tests;
mod traffic;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use foldhash::HashMap;
use majordomo_io::wake::Ear;
use majordomo_protocol::{Endpoint, ServiceName};

use crate::connection::Connection;
use crate::context::{self, Context};
use crate::dialog::{Dialog, Event, Registration};
use crate::error::Error;
use crate::handler::Handler;
use crate::pool::Job;
use crate::settings::Settings;
use crate::stop::{Asked, StopReason};
use crate::task::{Lane, Outbox};
use crate::wire::Wire;

/// The monotonic clock.
#[expect(clippy::disallowed_methods, reason = "everything else has the time passed in from here")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Where the requests of one service go.
pub(crate) struct Route {
    pub(crate) name: ServiceName,
    pub(crate) concurrency: usize,
    /// With every broker.
    pub(crate) connections: usize,
    pub(crate) time_limit: Option<Duration>,
    /// What READY says of it.
    pub(crate) metadata: Vec<(&'static str, String)>,
    pub(crate) target: Target,
}

/// Who serves requests.
pub(crate) enum Target {
    /// Threads, or the owner of an inbox.
    Queue(Sender<Job>),
    /// The I/O thread.
    Inline(Arc<dyn Handler>),
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
    /// Runs the I/O of the only context, if that is for this thread.
    runner: Option<zmq::Socket>,
    contexts: Vec<Context>,
    brokers: Vec<Broker>,
    routes: Vec<Route>,
    settings: Settings,
    outbox: Arc<Outbox>,
    ready: Receiver<usize>,
    ear: Ear,
    /// When which connection is due; each stands here at most once.
    timers: BTreeSet<(Instant, usize)>,
    /// Connections that have gathered something to send.
    gathering: Vec<usize>,
    /// What was last asked for and has been passed on.
    obeyed: Asked,
    /// When draining ends, whether or not all handlers have.
    drain_until: Option<Instant>,
}

impl Io {
    /// Prepares all connections, whose sockets the thread that calls [`Io::run`] opens.
    /// Fails when the system has no descriptor left.
    pub(crate) fn new(
        settings: Settings,
        brokers: Vec<Endpoint>,
        routes: Vec<Route>,
        outbox: Arc<Outbox>,
        ready: Receiver<usize>,
        ear: Ear,
    ) -> Result<Self, Error> {
        let start = now();
        let version = settings.version;
        let mut connections = Vec::new();
        for broker in 0..brokers.len() {
            for (service, route) in routes.iter().enumerate() {
                let capacity = (route.concurrency / route.connections).max(1);
                for _ in 0..route.connections {
                    let registration = Registration {
                        service: route.name.clone(),
                        version,
                        capacity: u16::try_from(capacity).unwrap_or(u16::MAX),
                        metadata: settings.metadata(&route.metadata),
                    };
                    let seed = fastrand::u64(..);
                    let threaded = match route.target {
                        Target::Queue(_) => capacity,
                        Target::Inline(_) => 0,
                    };
                    let (lane, parts) = Lane::new(
                        route.name.clone(),
                        connections.len(),
                        threaded,
                        Arc::clone(&outbox),
                    );
                    connections.push(Connection {
                        broker,
                        service,
                        dialog: Dialog::new(registration, settings.timing, seed, start),
                        wire: Wire::new(version, settings.batch_bytes_max),
                        running: HashMap::default(),
                        lane,
                        parts,
                        answered: VecDeque::new(),
                        spare: None,
                        too_large: VecDeque::new(),
                        timer: Some(start),
                    });
                }
            }
        }
        let timers = (0..connections.len()).map(|index| (start, index)).collect();
        let (contexts, runner) = match &settings.context {
            Some(context) => (vec![context.clone().into()], None),
            None => context::own(connections.len(), &ear)
                .map_err(|error| Error::System { what: "a ZeroMQ socket", source: error.into() })?,
        };
        let brokers =
            brokers.into_iter().map(|endpoint| Broker { endpoint, troubled: false }).collect();
        Ok(Io {
            connections,
            runner,
            contexts,
            brokers,
            routes,
            settings,
            outbox,
            ready,
            ear,
            timers,
            gathering: Vec::new(),
            obeyed: Asked::Run,
            drain_until: None,
        })
    }

    /// Works until the worker is stopped.
    pub(crate) fn run(mut self) -> Result<StopReason, Error> {
        let mut time = now();
        loop {
            if let Some(reason) = self.obey(time) {
                return Ok(reason);
            }
            self.send_gathered(time);
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
                    self.connections[index].lane.take_signal();
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
                let is_done = |c: &Connection| c.dialog.is_closed() && !c.wire.is_open();
                if unfinished == 0 && self.connections.iter().all(is_done) {
                    return Some(StopReason::Drained);
                }
                if self.drain_until.is_some_and(|until| until <= time) {
                    self.tell_all(&Event::Stop, time);
                    if unfinished == 0 {
                        return Some(StopReason::Drained);
                    }
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
    fn poll(&mut self, timeout: Option<Duration>) -> Result<Vec<(usize, bool, bool)>, Error> {
        let due = self.due();
        match &mut self.runner {
            Some(runner) => {
                // However much there is to do: what was sent leaves.
                let wait = if due.is_empty() { timeout } else { Some(Duration::ZERO) };
                if majordomo_io::run(runner, wait).map_err(Error::Poll)?.told {
                    self.ear.clear();
                }
                // It does not tell whose bytes have moved.
                self.connections.iter_mut().for_each(|connection| connection.wire.disturb());
            }
            None if due.is_empty() => self.wait(timeout)?,
            None => return Ok(due),
        }
        Ok(self.due())
    }

    /// Waits while libzmq's threads move bytes.
    ///
    /// Not with the sockets themselves, which libzmq's poll asks several times each.
    fn wait(&mut self, timeout: Option<Duration>) -> Result<(), Error> {
        let mut indices = Vec::with_capacity(self.connections.len());
        let mut items = Vec::with_capacity(self.connections.len() + 1);
        items.push(zmq::PollItem::from_fd(self.ear.fd(), zmq::POLLIN));
        for (index, connection) in self.connections.iter().enumerate() {
            for item in connection.wire.poll_items() {
                indices.push(index);
                items.push(item);
            }
        }
        // Rounded up: a poll that ends too early would only be followed by another.
        let timeout_ms = timeout.map_or(-1, |timeout| {
            timeout.as_micros().div_ceil(1000).try_into().unwrap_or(i64::MAX)
        });
        match zmq::poll(&mut items, timeout_ms) {
            Ok(0) | Err(zmq::Error::EINTR) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(Error::Poll(error)),
        }
        if items[0].is_readable() {
            self.ear.clear();
        }
        let told = indices.into_iter().zip(&items[1..]).filter(|(_, item)| item.is_readable());
        let told: Vec<_> = told.map(|(index, _)| index).collect();
        drop(items);
        told.iter().for_each(|index| self.connections[*index].wire.disturb());
        Ok(())
    }

    /// The connections that are readable or writable.
    fn due(&mut self) -> Vec<(usize, bool, bool)> {
        let ready = self.connections.iter_mut().map(|connection| connection.wire.ready());
        let due = ready.enumerate().map(|(index, (read, write))| (index, read, write));
        due.filter(|(_, read, write)| *read || *write).collect()
    }
}

impl Drop for Io {
    /// Whatever made the loop end, handlers must learn that nobody waits for them.
    fn drop(&mut self) {
        for connection in &mut self.connections {
            connection.abandon_all(now());
            // It fails for a socket that has failed before.
            self.outbox.counters.answers(connection.wire.flush().unwrap_or(0));
            connection.close_wire(true);
        }
        self.outbox.control.ask(Asked::Stop);
    }
}
