//! Heartbeats of MDP/0.1 and MDP/0.2: who must send them, and what silence means. All of
//! them need the broker's interval.

use crate::check::Level::{Must, Should};
use crate::check::{RFCS, Row};
use crate::clock::Deadline;
use crate::peers::{Client, Worker, pair};
use crate::trial::Trial;
use crate::verdict::{Needed, Step};
use crate::wire::{self, Command, dump, frames};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "frames",
        level: Must,
        versions: RFCS,
        clause: "HEARTBEAT is the header (0.1: behind an empty frame), command 04 (0.2: 05), and no \
                 more.",
        run: heartbeat_frames,
    },
    Row {
        name: "to-idle-worker",
        level: Must,
        versions: RFCS,
        clause: "The broker beats to a worker that has nothing to do, again and again.",
        run: to_idle_worker,
    },
    Row {
        name: "to-busy-worker",
        level: Must,
        versions: RFCS,
        clause: "The broker beats to a worker that is at work on a request, too.",
        run: to_busy_worker,
    },
    Row {
        name: "keep-idle-worker",
        level: Must,
        versions: RFCS,
        clause: "A worker that sends nothing but HEARTBEAT stays registered.",
        run: keep_idle_worker,
    },
    Row {
        name: "keep-busy-worker",
        level: Must,
        versions: RFCS,
        clause: "A worker that beats while it works keeps its request, however long it takes.",
        run: keep_busy_worker,
    },
    Row {
        name: "any-command-counts",
        level: Must,
        versions: RFCS,
        clause: "Any command but DISCONNECT counts as a heartbeat: a worker that only replies stays.",
        run: any_command_counts,
    },
    Row {
        name: "silent-worker-lost",
        level: Must,
        versions: RFCS,
        clause: "A worker silent for some multiple of the interval counts as disconnected: requests \
                 go to others.",
        run: silent_worker_lost,
    },
    Row {
        name: "silent-worker-left-alone",
        level: Should,
        versions: RFCS,
        clause: "The broker stops sending messages of any type to a worker that counts as \
                 disconnected.",
        run: silent_worker_left_alone,
    },
    Row {
        name: "request-of-silent-worker",
        level: Should,
        versions: RFCS,
        clause: "The request of a worker that fell silent goes to another worker.",
        run: request_of_silent_worker,
    },
];

fn heartbeat_frames(trial: &Trial<'_>) -> Step {
    let worker = Worker::register(trial, &trial.name())?;
    let found = worker.heartbeat(trial.silence()?).needed()?;
    let expected = wire::heartbeat(trial.version);
    if found == expected {
        return Ok(());
    }
    Err(trial.failed(dump(&expected), dump(&found)))
}

fn to_idle_worker(trial: &Trial<'_>) -> Step {
    let worker = Worker::register(trial, &trial.name())?;
    for _ in 0..3 {
        worker.heartbeat(trial.silence()?)?;
    }
    Ok(())
}

/// A worker that holds a request; its client.
fn at_work<'t>(trial: &'t Trial<'t>) -> Step<(Client<'t>, Worker<'t>, wire::ToWorker)> {
    let (client, worker) = pair(trial)?;
    client.ask(&trial.name(), "question");
    let request = worker.request_of("question").needed()?;
    Ok((client, worker, request))
}

fn to_busy_worker(trial: &Trial<'_>) -> Step {
    let silence = trial.silence()?;
    let (_client, worker, _) = at_work(trial)?;
    for _ in 0..3 {
        worker.heartbeat(silence)?;
    }
    Ok(())
}

fn keep_idle_worker(trial: &Trial<'_>) -> Step {
    let (interval, _) = trial.heartbeat()?;
    let silence = trial.silence()?;
    let (client, worker) = pair(trial)?;
    worker.expect_only_heartbeats(silence + 3 * interval)?;
    client.ask(&trial.name(), "still there?");
    worker.request_of("still there?").map(drop)
}

fn keep_busy_worker(trial: &Trial<'_>) -> Step {
    let (interval, _) = trial.heartbeat()?;
    let silence = trial.silence()?;
    let (client, worker, request) = at_work(trial)?;
    let other = Worker::register(trial, &trial.name())?;
    worker.expect_only_heartbeats(silence + 3 * interval)?;
    other.expect_only_heartbeats(trial.setup.quiet)?;
    worker.answer(&request, "at last");
    client.expect("at last")
}

fn any_command_counts(trial: &Trial<'_>) -> Step {
    let (interval, _) = trial.heartbeat()?;
    let silence = trial.silence()?;
    let (client, worker) = pair(trial)?;
    worker.link().fall_silent();
    let end = Deadline::after(silence + 3 * interval);
    while !end.is_over() {
        client.ask(&trial.name(), "question");
        let request = worker.request_of("question")?;
        trial.pass(interval / 2)?;
        worker.answer(&request, "answer");
        client.expect("answer")?;
    }
    worker.leave();
    Ok(())
}

/// Waits until the broker must count a worker as lost that has been silent from now on,
/// or until it says so by DISCONNECT.
fn until_lost(trial: &Trial<'_>, worker: &Worker<'_>) -> Step {
    let (interval, _) = trial.heartbeat()?;
    worker.fall_silent();
    let end = Deadline::after(trial.silence()? + 2 * interval + trial.setup.quiet);
    while let Some(message) = worker.message(end.left()) {
        let command = wire::read_to_worker(trial.version, &message).map(|found| found.command);
        if command == Some(Command::Disconnect) || end.is_over() {
            break;
        }
    }
    Ok(())
}

fn silent_worker_lost(trial: &Trial<'_>) -> Step {
    let silence = trial.silence()?;
    let (client, silent) = pair(trial)?;
    until_lost(trial, &silent)?;
    client.ask(&trial.name(), "for another");
    let other = Worker::register(trial, &trial.name())?;
    // A worker that came later would be the last to get it.
    if let Some(message) = silent.message(trial.setup.quiet)
        && message.last() == frames(["for another"]).last()
    {
        let received = format!("the silent worker received {}", dump(&message));
        return Err(trial.failed_within("no REQUEST to a silent worker", received, silence));
    }
    let request = other.request_of("for another")?;
    other.answer(&request, "served");
    client.expect("served")
}

fn silent_worker_left_alone(trial: &Trial<'_>) -> Step {
    let (interval, _) = trial.heartbeat()?;
    let worker = Worker::register(trial, &trial.name())?;
    until_lost(trial, &worker)?;
    // What was on its way is let go by.
    while worker.message(std::time::Duration::ZERO).is_some() {}
    worker.expect_nothing(3 * interval)
}

fn request_of_silent_worker(trial: &Trial<'_>) -> Step {
    trial.heartbeat()?;
    let (client, silent, _) = at_work(trial)?;
    let other = Worker::register(trial, &trial.name())?;
    silent.fall_silent();
    let (interval, liveness) = trial.heartbeat()?;
    let request = other.request_within(interval * (liveness + 2) + trial.setup.timeout)?;
    other.answer(&request, "served");
    client.expect("served")
}
