//! The threads that call handlers.
//!
//! A service has as many as it has places. They take turns at one queue, so that no
//! more handlers run than that, from however many brokers the requests come.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::Receiver;

use crate::handler::{Handler, HandlerError};
use crate::request::{Request, Responder};
use crate::task::{OpenRequest, Task};

/// What the client of a request is told that was cancelled while it waited here.
pub(crate) const CANCELLED_EARLY: &str = "cancelled before it was begun";

/// A request that waits for a thread. Dropping it says that it was never begun.
pub(crate) struct Job {
    pub(crate) request: Request,
    pub(crate) responder: Responder,
    pub(crate) open: OpenRequest,
}

/// Starts one thread; it ends when no more jobs can come.
pub(crate) fn spawn(
    service: &str,
    jobs: Receiver<Job>,
    handler: Arc<dyn Handler>,
) -> io::Result<JoinHandle<()>> {
    Builder::new().name(service.to_owned()).spawn(move || {
        for job in jobs {
            handle(&*handler, job);
        }
    })
}

/// Serves one request, on this thread.
pub(crate) fn handle(handler: &dyn Handler, job: Job) {
    let Job { request, responder, open: _open } = job;
    let task = responder.task().clone();
    serve(handler, &task, request, responder);
}

/// The same for a request that does not count as open. It has its answer when this
/// returns, unless its broker is lost.
pub(crate) fn serve(
    handler: &dyn Handler,
    task: &Arc<Task>,
    request: Request,
    responder: Responder,
) {
    if task.is_abandoned() {
        // Its broker was lost while it waited, and has given it to another worker.
        return;
    }
    let responder = responder.for_handler();
    if task.cancelled.is_raised() {
        return task.fail(HandlerError::from(CANCELLED_EARLY));
    }
    let outcome = catch_unwind(AssertUnwindSafe(|| handler.handle(request, responder)));
    let failure = match outcome {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(error),
        Err(panic) => {
            task.panicked();
            let text = format!("the handler panicked: {}", panic_text(&*panic));
            Some(HandlerError::from(text))
        }
    };
    match failure {
        Some(error) if task.is_finished() => {
            task.warn(&format!("failed after its answer: {}", error.text()));
        }
        Some(error) => task.fail(error),
        None if task.is_finished() => {}
        // It returned what finished another request.
        None => task.fail(HandlerError::from("the handler dropped the request unanswered")),
    }
}

/// The message of a panic.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
