//! One check under way: its sockets, its names, and every wait it does.
//!
//! All waits end: each has its own limit, and a trial as a whole has one. While any peer
//! of a trial waits, its registered workers go on beating, so that no check loses its
//! worker because it looks elsewhere.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use majordomo_protocol::Version;
use zmq::{DONTWAIT, POLLIN};

use crate::clock::Deadline;
use crate::verdict::{Seen, Step, Stop};
use crate::wire::Frames;

/// The longest a registered worker is silent while the broker's interval is not known.
const BEAT: Duration = Duration::from_millis(500);

/// The longest wait between two looks at whether a worker has to beat.
const LOOK: Duration = Duration::from_millis(25);

/// No message of any check is near it; a broker that sends more loses the connection.
const MESSAGE_BYTES_MAX: i64 = 64 << 20;

/// What holds for all checks of a run.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) context: zmq::Context,
    pub(crate) endpoint: String,
    /// How long to wait for what must come.
    pub(crate) timeout: Duration,
    /// How long to wait for what must not come.
    pub(crate) quiet: Duration,
    /// Interval and liveness of heartbeats, where known.
    pub(crate) heartbeat: Option<(Duration, u32)>,
    /// How long the broker queues a request, where known.
    pub(crate) expiry: Option<Duration>,
    /// Begins all service names of this run.
    pub(crate) prefix: String,
}

/// A socket of a trial.
pub(crate) struct Link {
    socket: zmq::Socket,
    /// What it sends how often.
    beat: RefCell<Option<(Frames, Duration)>>,
    beat_due: Cell<Deadline>,
}

impl Link {
    /// Sends a message. One that cannot be sent is missed by whoever waits for its effect.
    pub(crate) fn send(&self, message: &Frames) {
        let _ = self.socket.send_multipart(message, 0);
    }

    /// From now on this message is sent whenever so much time has passed.
    pub(crate) fn beat(&self, message: Frames, interval: Duration) {
        self.beat_due.set(Deadline::after(interval));
        *self.beat.borrow_mut() = Some((message, interval));
    }

    /// Sends no more by itself.
    pub(crate) fn fall_silent(&self) {
        *self.beat.borrow_mut() = None;
    }

    /// Whether it beats.
    pub(crate) fn beats(&self) -> bool {
        self.beat.borrow().is_some()
    }

    fn receive(&self) -> Option<Frames> {
        self.socket.recv_multipart(DONTWAIT).ok()
    }
}

/// A check under way.
pub(crate) struct Trial<'a> {
    pub(crate) setup: &'a Setup,
    /// The version that the check is about.
    pub(crate) version: Version,
    number: usize,
    end: Deadline,
    links: RefCell<Vec<Weak<Link>>>,
}

impl<'a> Trial<'a> {
    /// The trial of the check with this number.
    pub(crate) fn new(setup: &'a Setup, version: Version, number: usize) -> Self {
        let (interval, liveness) = setup.heartbeat.unwrap_or_default();
        let limit = 12 * (setup.timeout + setup.quiet) + interval * (4 * liveness + 20);
        let limit = limit + setup.expiry.unwrap_or_default();
        let links = RefCell::default();
        Trial { setup, version, number, end: Deadline::after(limit), links }
    }

    /// A service name that nobody else uses.
    pub(crate) fn service(&self, label: &str) -> String {
        format!("{}.{}.{label}", self.setup.prefix, self.number)
    }

    /// The service name of this trial.
    pub(crate) fn name(&self) -> String {
        self.service("service")
    }

    /// Interval and liveness, which not every broker tells.
    pub(crate) fn heartbeat(&self) -> Step<(Duration, u32)> {
        let missing = "needs --heartbeat (and --liveness), which this broker does not tell";
        self.setup.heartbeat.ok_or_else(|| Stop::LeftOut(missing.to_owned()))
    }

    /// How long a peer of the broker's interval may be silent.
    pub(crate) fn silence(&self) -> Step<Duration> {
        self.heartbeat().map(|(interval, liveness)| interval * liveness)
    }

    /// A socket connected to the broker.
    pub(crate) fn connect(&self, kind: zmq::SocketType) -> Step<Rc<Link>> {
        let link = self.open(kind).map_err(|error| {
            Stop::Blocked(format!("cannot connect to {}: {error}", self.setup.endpoint))
        })?;
        self.links.borrow_mut().push(Rc::downgrade(&link));
        Ok(link)
    }

    fn open(&self, kind: zmq::SocketType) -> zmq::Result<Rc<Link>> {
        let socket = self.setup.context.socket(kind)?;
        // A goodbye still leaves, if it can.
        socket.set_linger(200)?;
        socket.set_sndtimeo(i32::try_from(self.setup.timeout.as_millis()).unwrap_or(i32::MAX))?;
        socket.set_maxmsgsize(MESSAGE_BYTES_MAX)?;
        if kind == zmq::REQ {
            socket.set_req_relaxed(true)?;
        }
        socket.connect(&self.setup.endpoint)?;
        let beat_due = Cell::new(Deadline::after(Duration::ZERO));
        Ok(Rc::new(Link { socket, beat: RefCell::default(), beat_due }))
    }

    /// The next message on this socket, if one comes before the deadline.
    pub(crate) fn receive(&self, link: &Link, deadline: Deadline) -> Option<Frames> {
        // Not even a peer that never stops sending keeps a trial from its end.
        while !self.end.is_over() {
            self.beat_all();
            if let Some(message) = link.receive() {
                return Some(message);
            }
            if deadline.is_over() {
                return None;
            }
            let wait = deadline.left().min(LOOK);
            let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX).max(1);
            // A failed poll shows itself as a message that does not come.
            let _ = link.socket.poll(POLLIN, wait);
        }
        None
    }

    /// Lets this much time pass, in which workers beat.
    pub(crate) fn pass(&self, time: Duration) -> Step {
        let idle = self.connect(zmq::DEALER)?;
        let end = Deadline::after(time);
        while self.receive(&idle, end).is_some() {}
        Ok(())
    }

    /// How often a worker of an agreed or unknown interval beats.
    pub(crate) fn beat_interval(&self) -> Duration {
        self.setup.heartbeat.map_or(BEAT, |(interval, _)| interval / 2)
    }

    fn beat_all(&self) {
        for link in self.links.borrow().iter().filter_map(Weak::upgrade) {
            if let Some((message, interval)) = &*link.beat.borrow()
                && link.beat_due.get().is_over()
            {
                link.send(message);
                link.beat_due.set(Deadline::after(*interval));
            }
        }
    }

    /// What must come did not, within the usual time.
    pub(crate) fn failed(&self, expected: impl Into<String>, received: impl Into<String>) -> Stop {
        self.failed_within(expected, received, self.setup.timeout)
    }

    /// What must come did not, within this time.
    pub(crate) fn failed_within(
        &self,
        expected: impl Into<String>,
        received: impl Into<String>,
        within: Duration,
    ) -> Stop {
        Stop::Failed(Seen { expected: expected.into(), received: received.into(), within })
    }

    /// Holds when both are equal.
    pub(crate) fn same<T: PartialEq + std::fmt::Debug>(
        &self,
        what: &str,
        expected: T,
        received: T,
    ) -> Step {
        if expected == received {
            return Ok(());
        }
        Err(self.failed(format!("{what} {expected:?}"), format!("{received:?}")))
    }
}
