//! The plain receive and reply loop, for those who do not want handlers.

use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::counters::Counters;
use crate::error::{Closed, Error};
use crate::handler::HandlerError;
use crate::pool::{CANCELLED_EARLY, Job};
use crate::request::{Request, Responder};
use crate::stop::{StopHandle, StopReason};
use crate::worker::RunningWorker;

/// Requests of one service, to receive and answer in a loop of one's own.
///
/// Made by [`WorkerBuilder::open`](crate::WorkerBuilder::open). Heartbeats go on
/// whatever the loop does. Requests are answered in any order and from any thread;
/// with each broker at most `concurrency` are unanswered at a time, those not counted
/// that are [cancelled](Request::is_cancelled) because it was lost.
///
/// Dropping it gives requests that were not received back to their brokers, drains
/// as [`StopHandle::stop`] does, and blocks meanwhile, at most for the drain limit.
///
/// ```no_run
/// use std::time::Duration;
/// use majordomo_worker::Worker;
///
/// let inbox = Worker::builder().open("echo", 1)?;
/// while let Ok(request) = inbox.receive(Duration::from_secs(60)) {
///     if let Some((request, responder)) = request {
///         responder.finish(request.into_body());
///     }
/// }
/// # Ok::<(), majordomo_worker::Error>(())
/// ```
#[derive(Debug)]
pub struct Inbox {
    jobs: Receiver<Job>,
    worker: RunningWorker,
}

impl Inbox {
    pub(crate) fn new(jobs: Receiver<Job>, worker: RunningWorker) -> Self {
        Inbox { jobs, worker }
    }

    /// Waits for a request, at most for `timeout`; zero only looks. `None` when none
    /// came.
    ///
    /// May be called from several threads at once: each request goes to one.
    ///
    /// # Errors
    ///
    /// [`Closed`] when the worker has stopped and every request was received.
    pub fn receive(&self, timeout: Duration) -> Result<Option<(Request, Responder)>, Closed> {
        let deadline = crate::io::now().checked_add(timeout);
        loop {
            let job = match deadline {
                Some(deadline) => self.jobs.recv_deadline(deadline),
                None => self.jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match job {
                Ok(job) => {
                    if let Some(received) = take(job) {
                        return Ok(Some(received));
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => return Err(Closed),
            }
        }
    }

    /// Waits for a request as [`Inbox::receive`] does, and takes with it all others
    /// that wait. Empty when none came.
    ///
    /// # Errors
    ///
    /// As [`Inbox::receive`].
    pub fn receive_all(&self, timeout: Duration) -> Result<Vec<(Request, Responder)>, Closed> {
        let mut received = Vec::from_iter(self.receive(timeout)?);
        if !received.is_empty() {
            received.extend(self.jobs.try_iter().filter_map(take));
        }
        Ok(received)
    }

    /// Stops the worker, from any thread.
    pub fn stop_handle(&self) -> StopHandle {
        self.worker.stop_handle()
    }

    /// The worker's counters.
    pub fn counters(&self) -> Counters {
        self.worker.counters()
    }

    /// Does what dropping does, and says how it went.
    ///
    /// # Errors
    ///
    /// As [`RunningWorker::join`].
    pub fn close(mut self) -> Result<StopReason, Error> {
        self.end()
    }

    fn end(&mut self) -> Result<StopReason, Error> {
        self.worker.stop_handle().stop();
        // Nobody will receive these: dropping them gives them back, and the drain
        // does not wait for them. No more can come once the I/O thread has ended.
        self.jobs.iter().for_each(drop);
        self.worker.wait()
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            log::warn!("worker failed: {error}");
        }
    }
}

/// Hands a job to the owner of the inbox; none when its broker was lost meanwhile,
/// or the request cancelled.
fn take(job: Job) -> Option<(Request, Responder)> {
    let Job { request, responder, open } = job;
    if responder.task().is_abandoned() {
        return None;
    }
    if request.is_cancelled() {
        responder.task().fail(HandlerError::from(CANCELLED_EARLY));
        return None;
    }
    Some((request, responder.for_owner(open)))
}
