//! Asking a worker to stop, from any thread, seeing that it was asked, and why it
//! stopped.

use std::convert::Infallible;
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use majordomo_io::wake::Bell;

/// Stops a worker: to clone and to use from any thread, before it runs, while it
/// runs and after. Nothing here blocks.
///
/// ```
/// use majordomo_worker::{Request, StopReason, Worker};
///
/// let worker = Worker::builder()
///     .service("echo", |request: Request| Ok(request.into_body()))
///     .build()?;
/// let stop = worker.stop_handle();
/// std::thread::spawn(move || stop.stop()); // say, when a signal has come
/// assert_eq!(worker.run()?, StopReason::Drained);
/// # Ok::<(), majordomo_worker::Error>(())
/// ```
#[derive(Clone)]
pub struct StopHandle(pub(crate) Arc<Control>);

impl StopHandle {
    /// Drains: takes no more requests, answers those it has, and says DISCONNECT, all
    /// within [`drain_limit`](crate::WorkerBuilder::drain_limit).
    ///
    /// In MDP/1.0 the broker is told by DRAIN, and every connection serves what was on
    /// its way until the broker says DISCONNECT, which it does once nothing is left: so
    /// no request is lost or begun twice. A broker that falls silent is not waited for
    /// longer than at any other time, one that was never heard for a heartbeat interval.
    /// In MDP/0.1 and MDP/0.2 places without a request say DISCONNECT at once, the others
    /// when they have answered, all that came ahead of the stop included; the broker hands
    /// what came after it to other workers. A client of MDP/1.0 that asked for one run at
    /// most is told of a lost worker then, since the broker cannot know that it did not run.
    pub fn stop(&self) {
        self.0.ask(Asked::Drain);
    }

    /// Stops without waiting for any handler. The broker is told, and hands on
    /// what was not answered.
    pub fn stop_now(&self) {
        self.0.ask(Asked::Stop);
    }

    /// Tells when the worker was asked to stop.
    pub fn signal(&self) -> StopSignal {
        self.0.signal().clone()
    }
}

impl fmt::Debug for StopHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StopHandle").field("asked", &self.0.asked()).finish()
    }
}

/// Tells a handler that its worker was asked to stop. To clone and to share.
///
/// It stays raised once it is.
#[derive(Clone, Debug)]
pub struct StopSignal(Receiver<Infallible>);

impl StopSignal {
    /// Whether the worker was asked to stop. Never blocks.
    pub fn is_raised(&self) -> bool {
        self.wait_timeout(Duration::ZERO)
    }

    /// Blocks until the worker is asked to stop.
    pub fn wait(&self) {
        // Nothing is ever sent: this returns when the sender is gone.
        let _ = self.0.recv();
    }

    /// Blocks until the worker is asked to stop, or `timeout` has passed. Returns
    /// whether it was asked.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        matches!(self.0.recv_timeout(timeout), Err(RecvTimeoutError::Disconnected))
    }
}

/// Why a worker stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// [`StopHandle::stop`], and everything was finished.
    Drained,
    /// [`StopHandle::stop`], and the drain limit passed before everything was
    /// finished.
    DrainLimit {
        /// Requests that were abandoned. Their handlers may still be running; their
        /// answers will be dropped.
        unfinished: usize,
    },
    /// [`StopHandle::stop_now`].
    StopNow {
        /// As for [`StopReason::DrainLimit`].
        unfinished: usize,
    },
}

impl StopReason {
    /// Requests that were abandoned.
    pub fn unfinished(self) -> usize {
        match self {
            StopReason::Drained => 0,
            StopReason::DrainLimit { unfinished } | StopReason::StopNow { unfinished } => {
                unfinished
            }
        }
    }
}

/// What was asked of a worker, the strongest so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Asked {
    Run,
    Drain,
    Stop,
}

/// Shared by the I/O thread and everybody who may want something from it.
pub(crate) struct Control {
    asked: AtomicU8,
    /// Dropped to raise the signal.
    raise: Mutex<Option<Sender<Infallible>>>,
    signal: StopSignal,
    bell: Bell,
}

impl Control {
    pub(crate) fn new(bell: Bell) -> Self {
        let (raise, signal) = crossbeam_channel::bounded(0);
        Control {
            asked: AtomicU8::new(Asked::Run as u8),
            raise: Mutex::new(Some(raise)),
            signal: StopSignal(signal),
            bell,
        }
    }

    pub(crate) fn ask(&self, what: Asked) {
        self.asked.fetch_max(what as u8, Ordering::SeqCst);
        self.raise.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.wake();
    }

    pub(crate) fn asked(&self) -> Asked {
        match self.asked.load(Ordering::SeqCst) {
            0 => Asked::Run,
            1 => Asked::Drain,
            _ => Asked::Stop,
        }
    }

    pub(crate) fn signal(&self) -> &StopSignal {
        &self.signal
    }

    pub(crate) fn wake(&self) {
        self.bell.ring();
    }
}
