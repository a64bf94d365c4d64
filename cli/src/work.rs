//! `majordomo work`: a worker whose handler runs a command.
//!
//! The worker SDK keeps the protocol and the places; [`crate::command`] keeps the
//! processes.

use std::sync::Arc;
use std::thread;

use anyhow::Context;
use majordomo_worker::{
    Finished, Handler, HandlerError, Request, Responder, Security, Service, StopHandle, Worker,
};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::args::Work;
use crate::command::{Children, Output, Program, Task};
use crate::{NAME, print};

pub(crate) fn run(work: &Work, brokers: &[String], security: Security) -> anyhow::Result<()> {
    let children = Arc::new(Children::default());
    let handler = Commands {
        program: Program::find(&work.command)?,
        children: children.clone(),
        output: match work.stream {
            true => Output::Lines(work.bytes_max),
            false => Output::Whole(work.bytes_max),
        },
    };
    let mut service =
        Service::streaming(work.service.as_str(), handler).concurrency(work.concurrency);
    if let Some(limit) = work.time_limit {
        service = service.time_limit(limit);
    }
    let mut builder = Worker::builder()
        .serve(service)
        .security(security)
        .version(work.protocol.into())
        .heartbeat_interval(work.heartbeat_interval)
        .heartbeat_liveness(work.heartbeat_liveness)
        .drain_limit(work.drain_limit)
        .request_bytes_max(work.bytes_max)
        .reply_bytes_max(work.bytes_max);
    for endpoint in brokers {
        builder = builder.broker(endpoint);
    }
    let worker = builder.build()?;
    stop_on_signals(worker.stop_handle(), children.clone()).context("cannot handle signals")?;
    let counters = worker.counters();
    say(&announcement(work, brokers));
    let ended = worker.run();
    // Only now: a command killed before the worker has left its brokers would be
    // answered as a failure, instead of going to another worker.
    children.end_all();
    let unfinished = ended?.unfinished();
    let counts = counters.counts();
    let (requests, failures) = (counts.requests, counts.failures);
    say(&format!("stopped: {requests} received, {failures} failed, {unfinished} unfinished"));
    Ok(())
}

/// A reader that has gone away is no reason to stop a worker.
fn say(text: &str) {
    let _ = print(format!("{NAME}: {text}\n").as_bytes());
}

fn announcement(work: &Work, brokers: &[String]) -> String {
    let at = match brokers {
        [] => majordomo_worker::ENDPOINT_DEFAULT.to_owned(),
        brokers => brokers.join(" "),
    };
    format!("serving {} at {at}, {} at once", work.service, work.concurrency)
}

/// The first signal drains the worker, the next ends it.
fn stop_on_signals(stop: StopHandle, children: Arc<Children>) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut signals = signals.forever();
        signals.next();
        stop.stop();
        let running = children.count();
        if running > 0 {
            say(&format!("finishing {running}; another signal kills what runs"));
        }
        signals.next();
        stop.stop_now();
    })?;
    Ok(())
}

/// The handler: runs the program once for each request.
struct Commands {
    program: Program,
    children: Arc<Children>,
    output: Output,
}

impl Handler for Commands {
    fn handle(&self, request: Request, mut responder: Responder) -> Result<Finished, HandlerError> {
        let id = request.client().to_string();
        let environment = [("MAJORDOMO_SERVICE", request.service()), ("MAJORDOMO_REQUEST", &id)];
        let input = request.body().frames().concat();
        let task = Task::start(&self.program, environment, input, self.output, &self.children)?;
        let mut reply = Vec::new();
        let take = |piece| match self.output {
            Output::Whole(_) => {
                reply.extend(piece);
                Ok(())
            }
            Output::Lines(_) => Ok(responder.partial(piece)?),
        };
        task.run(|| request.remaining(), || !request.is_cancelled(), take)?;
        Ok(responder.finish(reply))
    }
}
