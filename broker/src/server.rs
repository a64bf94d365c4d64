//! The server moves bytes: it receives, decodes, asks the engine, encodes and
//! sends. It decides nothing.
//!
//! One loop on one thread: wait, read what is there (a bounded batch), let the
//! engine look at the time, do what the engine wants, sleep until its deadline.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use majordomo_io::Found;
use majordomo_protocol::{Body, Endpoint, PeerId};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::config::Config;
use crate::ebb::Ebb;
use crate::engine::{Action, Engine, Event, Identity, Settings};
use crate::frame::Frame;
use crate::ipc_file::{self, IpcFile};
use crate::journal::Journal;
use crate::outbox::Outbox;
use crate::router::Router;
use crate::security::{Credentials, Mechanism};
use crate::stats::Counters;

mod receiving;
mod sending;

pub use crate::ipc_file::PrepareError;
pub use crate::security::SecurityError;
pub use crate::stop::StopHandle;

/// A broker that listens, and serves when [`Server::run`] is called.
pub struct Server {
    /// Before the socket, so that no peer finds a file that nobody serves.
    _ipc_files: Vec<IpcFile>,
    router: Router,
    /// How many handshakes the engine has been told of.
    handshakes_refused: u64,
    /// Connections to be closed in this round.
    closing: Vec<PeerId>,
    engine: Engine<Body<Frame>, Outbox>,
    journal: Journal,
    ebb: Ebb,
    endpoints: Vec<String>,
    stop: StopHandle,
    /// The other end of `stop`.
    stop_requests: UnixStream,
    /// A byte for each SIGHUP, if there is no rights file to read again.
    hangups: Option<UnixStream>,
    drain_max: usize,
    spin: Duration,
    heartbeat_interval: Duration,
    /// The latest moment at which nothing was left to read.
    caught_up_at: Instant,
    /// Whether nobody else has it.
    owns_context: bool,
    progress: Progress,
}

/// Why a broker could not start, or had to end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The address is not this machine's, or may not be used: choose another endpoint.
    /// Nothing was started.
    #[error("cannot bind {endpoint}")]
    Bind {
        /// What was to be bound.
        endpoint: Endpoint,
        /// What libzmq said.
        source: zmq::Error,
    },
    /// Another process listens there, or an ipc endpoint cannot be listened on. Nothing
    /// was started.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// Peers cannot be authenticated as the configuration says. Nothing was started.
    #[error(transparent)]
    Security(#[from] SecurityError),
    /// The thread that authenticates peers has failed: a fault of this program. Nobody new
    /// would be let in.
    #[error("the thread that authenticates has ended")]
    AuthenticatorEnded,
    /// libzmq refused to work: a fault of the machine (no descriptors, no memory) or
    /// of this program.
    #[error("the broker's socket failed")]
    Socket(#[from] zmq::Error),
    /// The system refused a pipe: most often no descriptors are left.
    #[error("cannot make a pipe for stop requests")]
    Pipe(#[source] io::Error),
    /// The system cannot wait for the broker's descriptors: a fault of the machine (no
    /// memory) or of this program.
    #[error("cannot wait for messages")]
    Wait(#[source] io::Error),
    /// The system refused a thread for an embedded broker.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

impl Server {
    /// Binds all endpoints of `config`. From then on peers can connect; they are
    /// served once [`Server::run`] is called.
    ///
    /// # Errors
    ///
    /// [`ServerError`] when an endpoint cannot be bound or the system is out of
    /// something. Nothing stays bound then.
    pub fn bind(config: &Config) -> Result<Self, ServerError> {
        let context = match config.io_threads() {
            0 => majordomo_io::context(),
            threads => {
                let context = zmq::Context::new();
                context.set_io_threads(threads)?;
                context
            }
        };
        let server = Self::bind_in(&context, config)?;
        Ok(Server { owns_context: true, ..server })
    }

    /// As [`Server::bind`], in a context of yours: peers in the same process can
    /// reach its inproc endpoints. The key `io_threads` has no effect here.
    ///
    /// # Errors
    ///
    /// As [`Server::bind`].
    pub fn bind_in(context: &zmq::Context, config: &Config) -> Result<Self, ServerError> {
        let Credentials { secret_key, rights } = Credentials::load(config)?;
        let mut router = Router::open(context, config, rights)?;
        let mut endpoints = Vec::new();
        let mut ipc_files = Vec::new();
        let open = config.bind().iter().map(|endpoint| (endpoint, Mechanism::Null));
        let curve = secret_key.iter().flat_map(|key| {
            config.bind_curve().iter().map(move |endpoint| (endpoint, Mechanism::Curve(key)))
        });
        let plain = config.bind_plain().iter().map(|endpoint| (endpoint, Mechanism::Plain));
        for (endpoint, mechanism) in open.chain(curve).chain(plain) {
            ipc_file::prepare(endpoint)?;
            let failed = |source| match source {
                zmq::Error::EADDRINUSE => PrepareError::InUse { endpoint: endpoint.clone() }.into(),
                source => ServerError::Bind { endpoint: endpoint.clone(), source },
            };
            endpoints.push(router.bind(endpoint, mechanism).map_err(failed)?);
            ipc_files.extend(endpoint.ipc_path().and_then(IpcFile::bound));
            ipc_file::protect(endpoint, config.ipc_mode())?;
        }
        let (stop, stop_requests) = StopHandle::new().map_err(ServerError::Pipe)?;
        let now = now();
        Ok(Server {
            _ipc_files: ipc_files,
            router,
            handshakes_refused: 0,
            closing: Vec::new(),
            engine: Engine::with_outlet(settings(config), now, Outbox::default()),
            journal: Journal::default(),
            ebb: Ebb::default(),
            endpoints,
            stop,
            stop_requests,
            hangups: None,
            drain_max: config.drain_max(),
            spin: config.spin(),
            heartbeat_interval: config.heartbeat_interval(),
            caught_up_at: now,
            owns_context: false,
            progress: Progress::Serving,
        })
    }

    /// Where the broker listens, in the order of the configuration, with the ports
    /// that the system chose.
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// Stops this broker from any thread, before or while it runs.
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// Makes SIGHUP read the rights file again, as long as the process lives. If nobody is
    /// authenticated, it makes a line of log that says so. Until this is called, and in a
    /// [`Broker`](crate::Broker), the signal is left to the program.
    ///
    /// # Errors
    ///
    /// When the system has no descriptor left, or refuses to handle the signal.
    pub fn reload_on_signal(&mut self) -> io::Result<()> {
        if let Some(authenticator) = self.router.authenticator() {
            return authenticator.reload_on_signal();
        }
        let (hangups, signal) = UnixStream::pair()?;
        hangups.set_nonblocking(true)?;
        signal_hook::low_level::pipe::register(signal_hook::consts::SIGHUP, signal)?;
        self.hangups = Some(hangups);
        Ok(())
    }

    /// Serves until told to stop, on this thread, and gives the final counters.
    ///
    /// # Errors
    ///
    /// [`ServerError::Socket`] when libzmq fails for good.
    pub fn run(mut self) -> Result<Counters, ServerError> {
        let mut caught_up = true;
        let others = [Some(&self.stop_requests), self.hangups.as_ref()];
        if self.owns_context {
            #[expect(unsafe_code, reason = "see majordomo-io")]
            // SAFETY: nobody else knows the context.
            unsafe {
                self.router.take_io(others)?;
            }
        }
        // Nobody is served before it is known who may do what.
        self.read_news(now())?;
        loop {
            let mut found = self.wait(caught_up)?;
            let now = now();
            self.heed(found, now)?;
            caught_up = self.read(now)?;
            // What has come meanwhile is answered in the same messages.
            if caught_up && let Some(further) = self.router.run_io(Some(Duration::ZERO))? {
                found = further;
                self.heed(found, now)?;
                caught_up = self.read(now)?;
            }
            if caught_up && !found.more {
                self.caught_up_at = now;
            }
            // Peers are read in turn. So who has been reading for an interval has read
            // all that had come before, even if something was always left.
            let surely = now.checked_sub(self.heartbeat_interval);
            let heard_until = surely.map_or(self.caught_up_at, |at| at.max(self.caught_up_at));
            self.engine.handle_timeout(now, heard_until);
            self.journal.handle_timeout(now);
            self.act(now)?;
            self.send_outbox(now)?;
            self.close_connections()?;
            self.ebb.observe(self.engine.footprint(), now);
            if self.progress == Progress::Stopped {
                return Ok(self.engine.counters().clone());
            }
        }
    }

    fn heed(&mut self, found: Found, now: Instant) -> Result<(), ServerError> {
        if found.told {
            self.read_stop_requests(now)?;
            self.read_news(now)?;
        }
        Ok(())
    }

    /// Waits for a message, a stop request or a deadline, if all has been read. Says `told`
    /// if there may be stop requests or news of the authenticator.
    fn wait(&mut self, caught_up: bool) -> Result<Found, ServerError> {
        let is_quiet = caught_up && !self.spin()? && self.router.is_quiet()?;
        let deadline =
            [self.engine.poll_timeout(), self.journal.poll_timeout(), self.ebb.poll_timeout()];
        let left = match deadline.into_iter().flatten().min() {
            _ if !is_quiet => Some(Duration::ZERO),
            deadline => deadline.map(left_until),
        };
        match self.router.run_io(left)? {
            Some(found) => Ok(found),
            // What libzmq's threads have at hand is all there is.
            None => Ok(Found { told: !is_quiet || self.poll(left)?, more: false }),
        }
    }

    /// Waits while libzmq's threads move bytes. Whether there may be stop requests or news
    /// of the authenticator.
    ///
    /// Not with libzmq's own poll, which asks the system several times.
    fn poll(&mut self, left: Option<Duration>) -> Result<bool, ServerError> {
        // What is too long for the system to count never ends.
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        let (router, news) = self.router.fds()?;
        let stop = self.stop_requests.as_fd();
        // Of these two there is one at most.
        let news = news.or(self.hangups.as_ref().map(AsFd::as_fd));
        let mut items = [router, stop, news.unwrap_or(stop)]
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        match rustix::event::poll(&mut items, left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {
                Ok(items[1..].iter().any(|item| !item.revents().is_empty()))
            }
            Err(error) => Err(ServerError::Wait(error.into())),
        }
    }

    /// Looks for a message for a while, if it is told to. Whether one has come.
    fn spin(&mut self) -> Result<bool, ServerError> {
        if self.spin.is_zero() {
            return Ok(false);
        }
        let until = now() + self.spin;
        while now() < until {
            if self.router.look()? {
                return Ok(true);
            }
            std::hint::spin_loop();
        }
        Ok(false)
    }

    /// Each byte is one request to stop; the second one does not wait.
    fn read_stop_requests(&mut self, now: Instant) -> Result<(), ServerError> {
        let mut bytes = [0; 16];
        let Ok(count) = self.stop_requests.read(&mut bytes) else { return Ok(()) };
        for _ in 0..count {
            let event = if self.engine.is_stopping() {
                log::warn!("stopping at once");
                Event::StopNow
            } else {
                log::info!("stopping");
                Event::Stop
            };
            self.handle(Identity::OPEN, event, now)?;
        }
        Ok(())
    }

    /// Tells the engine of new rights and of peers that were refused.
    fn read_news(&mut self, now: Instant) -> Result<(), ServerError> {
        let Some(authenticator) = self.router.authenticator() else {
            self.read_hangups();
            return Ok(());
        };
        let (rights, refused) = authenticator.news()?;
        let handshakes = refused - self.handshakes_refused;
        self.handshakes_refused = refused;
        if handshakes > 0 {
            self.engine.handle(Event::Unauthenticated { handshakes }, now);
        }
        match rights {
            Some(rights) => Ok(self.handle(Identity::OPEN, Event::Rights(rights), now)?),
            None => Ok(()),
        }
    }

    /// A signal that is for the rights file, and there is none.
    fn read_hangups(&mut self) {
        let mut bytes = [0; 64];
        let count = self.hangups.as_mut().and_then(|hangups| hangups.read(&mut bytes).ok());
        if count.is_some_and(|count| count > 0) {
            log::warn!("SIGHUP: nothing is read again, since no endpoint uses CURVE or PLAIN");
        }
    }

    /// Does what the engine wants done now. Most of what is for peers stays in the outbox.
    #[inline]
    fn act(&mut self, now: Instant) -> Result<(), zmq::Error> {
        if self.engine.outlet().is_urgent() { self.act_at_once(now) } else { Ok(()) }
    }

    #[inline(never)]
    fn act_at_once(&mut self, now: Instant) -> Result<(), zmq::Error> {
        while self.engine.outlet().is_urgent() {
            self.act_here(now);
            self.send_full(now)?;
            if self.engine.outlet().is_full() {
                self.send_outbox(now)?;
            }
        }
        Ok(())
    }

    /// Does what is not for peers.
    fn act_here(&mut self, now: Instant) {
        for action in self.engine.outlet_mut().take_others() {
            match action {
                Action::Close { peer } => self.closing.push(peer),
                Action::Note(note) => self.journal.note(&note, now),
                Action::Stopped => self.progress = Progress::Stopped,
                // These are in messages.
                Action::ToClient { .. } | Action::ToWorker { .. } => {}
            }
        }
    }

    /// After all that was for them has been sent.
    fn close_connections(&mut self) -> Result<(), zmq::Error> {
        for peer in self.closing.drain(..) {
            self.router.close(&peer)?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Serving,
    Stopped,
}

pub(crate) fn settings(config: &Config) -> Settings {
    Settings {
        heartbeat_interval: config.heartbeat_interval(),
        heartbeat_liveness: config.heartbeat_liveness(),
        request_expiry: config.request_expiry(),
        attempts_max: config.attempts_max(),
        prefetch: config.prefetch(),
        shutdown: config.shutdown(),
        requests_max: config.requests_max(),
        requests_per_service_max: config.requests_per_service_max(),
        requests_per_client_max: config.requests_per_client_max(),
        bytes_max: config.bytes_max(),
        partial_bytes_max: config.partial_bytes_max(),
        services_max: config.services_max(),
        services_idle_max: config.services_idle_max(),
        workers_max: config.workers_max(),
        worker_metadata_bytes_max: config.worker_metadata_bytes_max(),
        clients_max: config.clients_max(),
        heartbeat_interval_min: config.heartbeat_interval_min(),
        heartbeat_interval_max: config.heartbeat_interval_max(),
        answers_max: config.answers_max(),
        answers_bytes_max: config.answers_bytes_max(),
        answers_kept: config.answers_kept(),
        dead_max: config.dead_max(),
        error_replies: config.error_replies(),
        instance: fastrand::u64(..),
        follow_requests: log::log_enabled!(target: crate::journal::TARGET, log::Level::Debug),
    }
}

#[expect(clippy::disallowed_methods, reason = "the loop that owns the socket tells the time")]
fn now() -> Instant {
    Instant::now()
}

/// Zero when it has passed.
fn left_until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(now())
}
