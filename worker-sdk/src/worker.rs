//! A worker from its settings to its end: build, start, wait, join.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use std::{fmt, io};

use crossbeam_channel::Receiver;
use majordomo_io::wake::{self, Ear};
use majordomo_protocol::{Body, Endpoint, Security, ServiceName, Version};

use crate::counters::Counters;
use crate::error::Error;
use crate::handler::{HandlerError, Service};
use crate::inbox::Inbox;
use crate::io::{Io, Route, Target};
use crate::pool::{self, Job, panic_text};
use crate::request::Request;
use crate::settings::Settings;
use crate::stop::{Control, StopHandle, StopReason};
use crate::task::Outbox;

/// Settings of a worker, each with a default that works.
///
/// Values are checked when the worker is built, run, started or opened; one that
/// cannot be used is refused by [`Error::Setting`] or [`Error::Endpoint`], which
/// name it.
#[derive(Clone, Default)]
#[must_use = "a builder does nothing until it is run, started, opened or built"]
pub struct WorkerBuilder {
    settings: Settings,
    services: Vec<Service>,
}

impl WorkerBuilder {
    /// Adds a service with one reply to a request and one request at a time; see
    /// [`Service::new`].
    pub fn service<F, B>(self, name: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Request) -> Result<B, HandlerError> + Send + Sync + 'static,
        B: Into<Body> + 'static,
    {
        self.serve(Service::new(name, handler))
    }

    /// Adds a service. Each name once.
    pub fn serve(mut self, service: Service) -> Self {
        self.services.push(service);
        self
    }

    /// Adds a broker; the worker registers with every one that was added.
    ///
    /// `tcp://HOST:PORT`, `ipc://PATH`, or `inproc://NAME` together with
    /// [`WorkerBuilder::context`]; up to 64. Without any:
    /// [`ENDPOINT_DEFAULT`](crate::ENDPOINT_DEFAULT).
    pub fn broker(mut self, endpoint: impl Into<String>) -> Self {
        self.settings.brokers.push(endpoint.into());
        self
    }

    /// Adds a broker that is shown something else than the [others](Self::security).
    pub fn broker_with(mut self, endpoint: impl Into<String>, security: Security) -> Self {
        let endpoint = endpoint.into();
        self.settings.credentials.set(&endpoint, security);
        self.broker(endpoint)
    }

    /// What brokers are shown: a key of CURVE, a password of PLAIN, or, by default, nothing.
    ///
    /// A broker that refuses it is no error: that is logged as a warning, with the reason, and
    /// the worker comes back after pauses that grow up to
    /// [`reconnect_max`](Self::reconnect_max), in case it is let in by then.
    ///
    /// ```no_run
    /// use majordomo_worker::{Request, Security, Worker};
    ///
    /// Worker::builder()
    ///     .broker("tcp://broker.example:5555")
    ///     .security(Security::curve_files("broker.pub", "printer.key")?)
    ///     .service("echo", |request: Request| Ok(request.into_body()))
    ///     .run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn security(mut self, security: Security) -> Self {
        self.settings.credentials.set_all(security);
        self
    }

    /// The version to speak with all brokers. Default: MDP/1.0, which brokers other
    /// than Majordomo's do not know: for those choose MDP/0.2 or MDP/0.1. Handlers
    /// are the same; what the version cannot say is left out.
    pub fn version(mut self, version: Version) -> Self {
        self.settings.version = version;
        self
    }

    /// What this worker calls itself: up to 1024 bytes, told to the broker in MDP/1.0.
    /// Default: nothing.
    pub fn worker_name(self, name: impl Into<String>) -> Self {
        self.say("worker_name", name.into())
    }

    /// Which version of its program this worker is; as [`WorkerBuilder::worker_name`].
    pub fn worker_version(self, version: impl Into<String>) -> Self {
        self.say("worker_version", version.into())
    }

    /// What this worker does, for people; as [`WorkerBuilder::worker_name`].
    pub fn worker_description(self, description: impl Into<String>) -> Self {
        self.say("worker_description", description.into())
    }

    fn say(mut self, setting: &'static str, value: String) -> Self {
        self.settings.metadata.retain(|(said, _)| *said != setting);
        self.settings.metadata.push((setting, value));
        self
    }

    /// How long a connection is quiet before it sends a HEARTBEAT: 1 ms to 1 h,
    /// default 2.5 s. In MDP/1.0 the broker is asked for it and may change it to what
    /// it allows; before that the broker must be set to the same (18/MDP,
    /// Heartbeating).
    pub fn heartbeat_interval(mut self, interval: Duration) -> Self {
        self.settings.timing.heartbeat_interval = interval;
        self
    }

    /// After how many heartbeat intervals of silence a broker is taken for lost: 1
    /// to 1000, default 3. The RFCs ask for 3 to 5. In MDP/1.0 the broker is asked for
    /// it, for 2 to 255.
    pub fn heartbeat_liveness(mut self, intervals: u32) -> Self {
        self.settings.timing.heartbeat_liveness = intervals;
        self
    }

    /// The longest wait before a lost connection is opened again for the first time:
    /// 1 ms to 1 h, default 100 ms. Between half of it and all of it is waited; every
    /// loss that follows doubles it, until the broker has been heard for interval
    /// times liveness.
    pub fn reconnect_min(mut self, wait: Duration) -> Self {
        self.settings.timing.reconnect_min = wait;
        self
    }

    /// Where that doubling ends: `reconnect_min` to 1 h, default 32 s.
    pub fn reconnect_max(mut self, wait: Duration) -> Self {
        self.settings.timing.reconnect_max = wait;
        self
    }

    /// How long [`StopHandle::stop`] lets running requests finish, and in MDP/1.0 waits
    /// for brokers to let the worker go: up to 1 day, default 30 s. After that they are
    /// abandoned, as with [`StopHandle::stop_now`].
    pub fn drain_limit(mut self, limit: Duration) -> Self {
        self.settings.drain_limit = limit;
        self
    }

    /// The largest request body to take, in bytes: 1 or more, default 64 MiB. Every
    /// frame after the first counts 32 bytes more. A larger one is not kept and is
    /// answered with an ERROR, before MDP/1.0 with a [`failure`](crate::failure).
    ///
    /// Each place may hold one body of this size for every broker, and one more whose
    /// broker was lost; in MDP/0.1 and MDP/0.2 also those that the broker sends ahead, with
    /// Majordomo's one less than its `prefetch`.
    pub fn request_bytes_max(mut self, bytes: usize) -> Self {
        self.settings.request_bytes_max = bytes;
        self
    }

    /// The largest body to send in one message, in bytes: 1 or more, default 64 MiB.
    /// In MDP/0.1 all parts of a reply are one message. See
    /// [`Responder::partial`](crate::Responder::partial) and
    /// [`Responder::finish`](crate::Responder::finish) for what happens to more.
    pub fn reply_bytes_max(mut self, bytes: usize) -> Self {
        self.settings.reply_bytes_max = bytes;
        self
    }

    /// The most bytes of a message with several replies, all its frames together: 1 to
    /// 64 MiB, default 256 KiB. A larger reply travels alone. MDP/1.0 only.
    ///
    /// A broker refuses a message over its own limit, and with it every reply in it. Set
    /// this where Majordomo's `message_bytes_max` (128 MiB by default) is lower than the
    /// default here.
    pub fn batch_bytes_max(mut self, bytes: usize) -> Self {
        self.settings.batch_bytes_max = bytes;
        self
    }

    /// The ZeroMQ context to open sockets in. Needed to reach a broker of the same
    /// process by `inproc`. Default: contexts of the worker's own.
    ///
    /// A context has room for 1023 sockets. In one that is given here libzmq's threads
    /// move bytes, in one of its own the [worker's](crate#threads).
    pub fn context(mut self, context: zmq::Context) -> Self {
        self.settings.context = Some(context);
        self
    }

    /// Checks the settings. Opens no connection and starts no thread.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] or [`Error::Endpoint`] for a value that cannot be used,
    /// [`Error::CurveMissing`] where libzmq lacks what is asked for, [`Error::System`] when the process has no file descriptors left.
    pub fn build(self) -> Result<Worker, Error> {
        let (brokers, names) = self.settings.check(&self.services)?;
        let (bell, ear) =
            wake::pair().map_err(|source| Error::System { what: "a pair of sockets", source })?;
        Ok(Worker {
            settings: self.settings,
            brokers,
            services: names.into_iter().zip(self.services).collect(),
            control: Arc::new(Control::new(bell)),
            ear,
            counters: Counters::default(),
        })
    }

    /// Builds the worker and [runs](Worker::run) it.
    ///
    /// # Errors
    ///
    /// As [`WorkerBuilder::build`] and [`Worker::run`].
    pub fn run(self) -> Result<StopReason, Error> {
        self.build()?.run()
    }

    /// Builds the worker and [starts](Worker::start) it.
    ///
    /// # Errors
    ///
    /// As [`WorkerBuilder::build`] and [`Worker::start`].
    pub fn start(self) -> Result<RunningWorker, Error> {
        self.build()?.start()
    }

    /// Registers for one more service, and gives its requests to the caller instead
    /// of a handler: at most `concurrency` at a time from every broker (1 to 4096).
    ///
    /// # Errors
    ///
    /// As [`WorkerBuilder::build`] and [`Worker::start`].
    pub fn open(self, service: impl Into<String>, concurrency: usize) -> Result<Inbox, Error> {
        let service = Service::without_handler(service.into(), concurrency);
        let (worker, jobs) = self.serve(service).build()?.start_threads()?;
        Ok(Inbox::new(jobs.unwrap_or_else(|| crossbeam_channel::bounded(0).1), worker))
    }
}

impl fmt::Debug for WorkerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerBuilder")
            .field("brokers", &self.settings.brokers)
            .field("version", &self.settings.version)
            .field("timing", &self.settings.timing)
            .field("services", &self.services)
            .finish_non_exhaustive()
    }
}

/// A worker whose settings are right and that has not started.
pub struct Worker {
    settings: Settings,
    brokers: Vec<Endpoint>,
    services: Vec<(ServiceName, Service)>,
    control: Arc<Control>,
    ear: Ear,
    counters: Counters,
}

impl Worker {
    /// Starts to set up a worker.
    pub fn builder() -> WorkerBuilder {
        WorkerBuilder::default()
    }

    /// Stops this worker, from any thread, also before it runs.
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle(self.control.clone())
    }

    /// This worker's counters.
    pub fn counters(&self) -> Counters {
        self.counters.clone()
    }

    /// Works until a [`StopHandle`] ends it; blocks meanwhile.
    ///
    /// Brokers need not be there: the worker registers when they come.
    ///
    /// # Errors
    ///
    /// As [`Worker::start`] and [`RunningWorker::join`].
    pub fn run(self) -> Result<StopReason, Error> {
        self.start()?.join()
    }

    /// Starts the worker's threads and returns: one for all sockets, one a place for
    /// handlers that are not inline.
    ///
    /// # Errors
    ///
    /// [`Error::System`] when the system refuses a thread or a socket; nothing is left
    /// running.
    pub fn start(self) -> Result<RunningWorker, Error> {
        Ok(self.start_threads()?.0)
    }

    /// Also gives the requests of the service that has no handler.
    fn start_threads(self) -> Result<(RunningWorker, Option<Receiver<Job>>), Error> {
        let refused = |source: io::Error| Error::System { what: "a thread", source };
        let brokers = self.brokers.len();
        let version = self.settings.version;
        let connections: usize =
            self.services.iter().map(|(_, service)| service.connections(version)).sum();
        // See Outbox::ready.
        let (ready, ready_receiver) = crossbeam_channel::bounded(64 + 8 * connections * brokers);
        let outbox = Arc::new(Outbox {
            ready,
            control: self.control.clone(),
            counters: self.counters.clone(),
            version,
            reply_bytes_max: self.settings.reply_bytes_max,
            open: AtomicUsize::new(0),
        });
        let (mut routes, mut handlers, mut unhandled) = (Vec::new(), Vec::new(), None);
        for (name, service) in self.services {
            let connections = service.connections(version);
            let Service { concurrency, time_limit, inline, metadata, handler, .. } = service;
            // For every place one request, and one whose broker was lost: a dialog
            // with that many does not register again.
            let (jobs, waiting) = crossbeam_channel::bounded(2 * concurrency * brokers);
            let target = match handler {
                Some(handler) if inline => Target::Inline(handler),
                Some(handler) => {
                    for _ in 0..concurrency {
                        let spawned = pool::spawn(name.as_str(), waiting.clone(), handler.clone());
                        handlers.push(spawned.map_err(refused)?);
                    }
                    Target::Queue(jobs)
                }
                None => {
                    unhandled = Some(waiting);
                    Target::Queue(jobs)
                }
            };
            routes.push(Route { name, concurrency, connections, time_limit, metadata, target });
        }
        let io = Io::new(self.settings, self.brokers, routes, outbox, ready_receiver, self.ear)?;
        let io = Builder::new().name("majordomo-io".to_owned()).spawn(move || io.run());
        let worker = RunningWorker {
            control: self.control,
            counters: self.counters,
            io: Some(io.map_err(refused)?),
            handlers,
        };
        Ok((worker, unhandled))
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services: Vec<_> = self.services.iter().map(|(_, service)| service).collect();
        f.debug_struct("Worker")
            .field("brokers", &self.brokers)
            .field("services", &services)
            .finish_non_exhaustive()
    }
}

/// A worker at work.
///
/// Dropping it stops it as [`StopHandle::stop`] does, and blocks meanwhile, at most
/// for the drain limit.
#[must_use = "dropped, a running worker stops"]
pub struct RunningWorker {
    control: Arc<Control>,
    counters: Counters,
    /// Taken when the worker is joined.
    io: Option<JoinHandle<Result<StopReason, Error>>>,
    handlers: Vec<JoinHandle<()>>,
}

impl RunningWorker {
    /// Stops this worker, from any thread.
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle(self.control.clone())
    }

    /// This worker's counters.
    pub fn counters(&self) -> Counters {
        self.counters.clone()
    }

    /// Blocks until the worker has stopped; does not stop it.
    ///
    /// Once it is asked to stop this returns in bounded time: up to the drain limit
    /// for handlers and brokers, and a second more for a broker that does not take what
    /// is still to be sent. A handler that has not ended by then is left alone on its
    /// thread.
    ///
    /// # Errors
    ///
    /// [`Error::Poll`] or [`Error::Internal`] when the worker could not go on.
    pub fn join(mut self) -> Result<StopReason, Error> {
        self.wait()
    }

    /// As [`RunningWorker::join`]; a second time it says nothing new.
    pub(crate) fn wait(&mut self) -> Result<StopReason, Error> {
        let Some(io) = self.io.take() else {
            return Ok(StopReason::Drained);
        };
        let ended = io.join();
        let reason = ended.map_err(|panic| Error::Internal(panic_text(&*panic).to_owned()))??;
        if reason.unfinished() == 0 {
            // All are idle and their queue is closed. None panics: a handler's panic
            // is caught.
            for handler in self.handlers.drain(..) {
                let _ = handler.join();
            }
        }
        log::debug!(reason:? = reason; "worker stopped");
        Ok(reason)
    }
}

impl Drop for RunningWorker {
    fn drop(&mut self) {
        if self.io.is_some() {
            self.stop_handle().stop();
            if let Err(error) = self.wait() {
                log::warn!("worker failed: {error}");
            }
        }
    }
}

impl fmt::Debug for RunningWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningWorker")
            .field("counts", &self.counters.counts())
            .finish_non_exhaustive()
    }
}
