//! What a broker owes a worker in MDP/0.1 and MDP/0.2, and how it treats one that breaks
//! the dialog.

use std::time::Duration;

use crate::check::Level::{Must, Should};
use crate::check::{RFC_18, RFCS, Row};
use crate::peers::{Client, Worker, pair};
use crate::trial::Trial;
use crate::verdict::{Needed, Step};
use crate::wire::{self, Command, dump, frames};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "request-frames",
        level: Must,
        versions: RFCS,
        clause: "A REQUEST begins with the header of its version (0.1: behind an empty frame) and \
                 command 02.",
        run: request_frames,
    },
    Row {
        name: "request-address",
        level: Must,
        versions: RFCS,
        clause: "A REQUEST has precisely one client address frame, and an empty frame behind it, \
                 before the body.",
        run: request_address,
    },
    Row {
        name: "ready-unanswered",
        level: Must,
        versions: RFCS,
        clause: "There is no answer to READY: nothing but HEARTBEAT and requests come.",
        run: ready_unanswered,
    },
    Row {
        name: "several-workers",
        level: Must,
        versions: RFCS,
        clause: "Many workers may serve one service: two requests run at two workers at once.",
        run: several_workers,
    },
    Row {
        name: "one-request-at-a-time",
        level: Must,
        versions: RFCS,
        clause: "A worker handles one request at a time: no second one before its final reply.",
        run: one_request_at_a_time,
    },
    Row {
        name: "next-after-final",
        level: Must,
        versions: RFCS,
        clause: "After its final reply a worker gets the next request that waits.",
        run: next_after_final,
    },
    Row {
        name: "partial-keeps-busy",
        level: Must,
        versions: RFC_18,
        clause: "A PARTIAL does not end a request: the worker gets no other before FINAL.",
        run: partial_keeps_busy,
    },
    Row {
        name: "disconnect-frames",
        level: Must,
        versions: RFCS,
        clause: "DISCONNECT is the header (0.1: behind an empty frame), command 05 (0.2: 06), and \
                 no more.",
        run: disconnect_frames,
    },
    Row {
        name: "second-ready",
        level: Must,
        versions: RFCS,
        clause: "A worker says READY once; a second one is unexpected and answered by DISCONNECT.",
        run: second_ready,
    },
    Row {
        name: "reply-without-request",
        level: Must,
        versions: RFCS,
        clause: "A reply from a worker that holds no request is unexpected and answered by \
                 DISCONNECT.",
        run: reply_without_request,
    },
    Row {
        name: "reply-of-stranger",
        level: Must,
        versions: RFCS,
        clause: "A reply from a peer that never said READY is answered by DISCONNECT.",
        run: reply_of_stranger,
    },
    Row {
        name: "heartbeat-of-stranger",
        level: Must,
        versions: RFCS,
        clause: "HEARTBEAT is valid after READY only; from a stranger it is answered by DISCONNECT.",
        run: heartbeat_of_stranger,
    },
    Row {
        name: "nothing-after-being-told",
        level: Must,
        versions: RFCS,
        clause: "After it said DISCONNECT to a worker, the broker sends it no further command.",
        run: nothing_after_being_told,
    },
    Row {
        name: "nothing-after-leaving",
        level: Must,
        versions: RFCS,
        clause: "After a worker's DISCONNECT the broker sends it no further command.",
        run: nothing_after_leaving,
    },
    Row {
        name: "disconnect-before-ready",
        level: Must,
        versions: RFCS,
        clause: "DISCONNECT is allowed before READY, and nothing comes back.",
        run: disconnect_before_ready,
    },
    Row {
        name: "register-again",
        level: Must,
        versions: RFCS,
        clause: "A worker that was told to DISCONNECT comes back on a new socket, and is served.",
        run: register_again,
    },
    Row {
        name: "request-of-leaver",
        level: Should,
        versions: RFCS,
        clause: "The request of a worker that left without replying goes to another worker.",
        run: request_of_leaver,
    },
];

fn request_frames(trial: &Trial<'_>) -> Step {
    let start = Command::Request.start(trial.version);
    let request = asked(trial)?;
    if request.starts_with(&start) {
        return Ok(());
    }
    Err(trial.failed(format!("a REQUEST that begins {}", dump(&start)), dump(&request)))
}

/// Has a request come to a worker, and gives it as it came.
fn asked(trial: &Trial<'_>) -> Step<wire::Frames> {
    let worker = Worker::register(trial, &trial.name())?;
    let client = Client::new(trial)?;
    client.ask(&trial.name(), "question");
    let request = worker.request()?;
    worker.answer(&request, "answer");
    Ok(request.message)
}

fn request_address(trial: &Trial<'_>) -> Step {
    let request = asked(trial).needed()?;
    // Counted from the header: what stands before it is another clause's.
    let header = request.iter().position(|frame| frame == wire::worker_header(trial.version));
    match request.get(header.unwrap_or(0) + 2..) {
        Some([address, delimiter, body])
            if !address.is_empty() && delimiter.is_empty() && body == b"question" =>
        {
            Ok(())
        }
        _ => {
            let expected = "an address, an empty frame and the body `question` behind command 02";
            Err(trial.failed(expected, dump(&request)))
        }
    }
}

fn ready_unanswered(trial: &Trial<'_>) -> Step {
    Worker::register(trial, &trial.name())?.expect_only_heartbeats(trial.setup.quiet)
}

fn several_workers(trial: &Trial<'_>) -> Step {
    let service = trial.name();
    let workers = [Worker::register(trial, &service)?, Worker::register(trial, &service)?];
    let clients = [Client::new(trial)?, Client::new(trial)?];
    for client in &clients {
        client.ask(&service, "question");
    }
    workers.iter().try_for_each(|worker| worker.request().map(drop))
}

/// A worker that holds one request while another waits.
fn busy<'t>(trial: &'t Trial<'t>) -> Step<(Client<'t>, Worker<'t>, wire::ToWorker)> {
    let (client, worker) = pair(trial)?;
    client.ask(&trial.name(), "first");
    let request = worker.request_of("first").needed()?;
    let second = Client::new(trial)?;
    second.ask(&trial.name(), "second");
    Ok((second, worker, request))
}

fn one_request_at_a_time(trial: &Trial<'_>) -> Step {
    let (_second, worker, _) = busy(trial)?;
    worker.expect_only_heartbeats(trial.setup.quiet)
}

fn next_after_final(trial: &Trial<'_>) -> Step {
    let (_second, worker, request) = busy(trial)?;
    worker.answer(&request, "done");
    worker.request_of("second").map(drop)
}

fn partial_keeps_busy(trial: &Trial<'_>) -> Step {
    let (_second, worker, request) = busy(trial)?;
    worker.partial(&request, "a part");
    worker.expect_only_heartbeats(trial.setup.quiet)
}

fn disconnect_frames(trial: &Trial<'_>) -> Step {
    let stranger = Worker::stranger(trial)?;
    stranger.link().send(&wire::heartbeat(trial.version));
    let found = stranger.disconnected().needed()?.message;
    let expected = wire::disconnect(trial.version);
    if found == expected {
        return Ok(());
    }
    Err(trial.failed(dump(&expected), dump(&found)))
}

fn second_ready(trial: &Trial<'_>) -> Step {
    let (_client, worker) = pair(trial)?;
    worker.link().send(&wire::ready(trial.version, &trial.name()));
    worker.disconnected().map(drop)
}

/// A reply to nothing.
fn stray(trial: &Trial<'_>) -> wire::Frames {
    wire::addressed(trial.version, Command::Final, b"nobody's", &frames(["a reply to nobody"]))
}

fn reply_without_request(trial: &Trial<'_>) -> Step {
    let (_client, worker) = pair(trial)?;
    worker.link().send(&stray(trial));
    worker.disconnected().map(drop)
}

fn reply_of_stranger(trial: &Trial<'_>) -> Step {
    let stranger = Worker::stranger(trial)?;
    stranger.link().send(&stray(trial));
    stranger.disconnected().map(drop)
}

fn heartbeat_of_stranger(trial: &Trial<'_>) -> Step {
    let stranger = Worker::stranger(trial)?;
    stranger.link().send(&wire::heartbeat(trial.version));
    stranger.disconnected().map(drop)
}

/// Long enough that a heartbeat would come too, where its interval is known.
fn quiet_with_heartbeats(trial: &Trial<'_>) -> Duration {
    trial
        .setup
        .heartbeat
        .map_or(trial.setup.quiet, |(interval, _)| trial.setup.quiet + 2 * interval)
}

fn nothing_after_being_told(trial: &Trial<'_>) -> Step {
    let (client, worker) = pair(trial)?;
    // A heartbeat of its own that crosses the DISCONNECT would be a stranger's.
    worker.fall_silent();
    worker.link().send(&stray(trial));
    worker.disconnected().needed()?;
    client.ask(&trial.name(), "for another");
    worker.expect_nothing(quiet_with_heartbeats(trial))
}

fn nothing_after_leaving(trial: &Trial<'_>) -> Step {
    let (client, worker) = pair(trial)?;
    worker.leave();
    // Heartbeats may have crossed it, so what was on its way is let go by.
    trial.pass(trial.setup.timeout / 2)?;
    while worker.message(Duration::ZERO).is_some() {}
    client.ask(&trial.name(), "for another");
    worker.expect_nothing(quiet_with_heartbeats(trial))
}

fn disconnect_before_ready(trial: &Trial<'_>) -> Step {
    let stranger = Worker::stranger(trial)?;
    stranger.link().send(&wire::disconnect(trial.version));
    stranger.expect_nothing(quiet_with_heartbeats(trial))
}

fn register_again(trial: &Trial<'_>) -> Step {
    let (client, worker) = pair(trial)?;
    worker.link().send(&stray(trial));
    worker.disconnected().needed()?;
    drop(worker);
    let worker = Worker::register(trial, &trial.name())?;
    client.ask(&trial.name(), "again");
    let request = worker.request_of("again")?;
    worker.answer(&request, "served");
    client.expect("served")
}

fn request_of_leaver(trial: &Trial<'_>) -> Step {
    let (client, worker) = pair(trial)?;
    client.ask(&trial.name(), "question");
    worker.request_of("question").needed()?;
    worker.leave();
    let other = Worker::register(trial, &trial.name())?;
    let request = other.request_of("question")?;
    other.answer(&request, "answer");
    client.expect("answer")
}
