//! MDP/1.0 between worker and broker.

use std::time::Duration;

use majordomo_protocol::{Agreement, Body, ClientAddress, Offer, Terms};

use crate::check::Level::Own;
use crate::check::{OURS, Row};
use crate::trial::Trial;
use crate::v1::{Client, FromWorker, Worker, ready};
use crate::verdict::{Needed, Step};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "welcome",
        level: Own,
        versions: OURS,
        clause: "READY is answered by WELCOME with an interval, a liveness of 2 or more, and an \
                 instance id.",
        run: welcome,
    },
    Row {
        name: "heartbeat-agreed",
        level: Own,
        versions: OURS,
        clause: "The broker beats in the interval that WELCOME says, to idle and busy workers.",
        run: heartbeat_agreed,
    },
    Row {
        name: "heartbeat-kept",
        level: Own,
        versions: OURS,
        clause: "A worker that beats in the interval of its WELCOME stays, at work too.",
        run: heartbeat_kept,
    },
    Row {
        name: "silent-lost",
        level: Own,
        versions: OURS,
        clause: "A worker silent for liveness × interval is told to DISCONNECT; its tasks go to \
                 others.",
        run: silent_lost,
    },
    Row {
        name: "capacity",
        level: Own,
        versions: OURS,
        clause: "A worker holds at most its capacity of requests; FINAL and ERROR free a place, \
                 PARTIAL does not.",
        run: capacity,
    },
    Row {
        name: "stray-answer",
        level: Own,
        versions: OURS,
        clause: "PARTIAL, FINAL and ERROR for a task that the worker does not have are dropped, and \
                 it stays.",
        run: stray_answer,
    },
    Row {
        name: "drain",
        level: Own,
        versions: OURS,
        clause: "After DRAIN a worker gets no more requests and finishes those it has; then the \
                 broker says DISCONNECT.",
        run: drain,
    },
    Row {
        name: "drain-unregisters",
        level: Own,
        versions: OURS,
        clause: "A draining worker no longer counts as registered.",
        run: drain_unregisters,
    },
    Row {
        name: "drain-idle",
        level: Own,
        versions: OURS,
        clause: "A worker without a task that says DRAIN is told to DISCONNECT.",
        run: drain_idle,
    },
    Row {
        name: "stranger",
        level: Own,
        versions: OURS,
        clause: "Anything but READY and DISCONNECT from an unknown worker is answered by DISCONNECT.",
        run: stranger,
    },
    Row {
        name: "second-ready",
        level: Own,
        versions: OURS,
        clause: "A second READY is answered by DISCONNECT, and the worker's tasks go to others.",
        run: second_ready,
    },
    Row {
        name: "leaving",
        level: Own,
        versions: OURS,
        clause: "A worker's DISCONNECT is not answered, and nothing comes after it.",
        run: leaving,
    },
    Row {
        name: "nothing-after-disconnect",
        level: Own,
        versions: OURS,
        clause: "After the broker's DISCONNECT nothing more comes.",
        run: nothing_after_disconnect,
    },
];

/// Asks for short heartbeats, so that no check about them takes long. The broker may
/// want others.
fn lively<'t>(trial: &'t Trial<'t>) -> Step<(Worker<'t>, Agreement)> {
    let heartbeat = Some(Duration::from_millis(250));
    let offer = Offer { heartbeat, liveness: 8, ..Offer::default() };
    Worker::register_with(trial, &trial.name(), offer)
}

/// How long a worker with this agreement may be silent.
fn silence(agreement: &Agreement) -> Duration {
    agreement.heartbeat * agreement.liveness.into()
}

fn welcome(trial: &Trial<'_>) -> Step {
    let (_worker, agreement) = Worker::register_with(trial, &trial.name(), Offer::default())?;
    if agreement.liveness >= 2 && !agreement.heartbeat.is_zero() {
        return Ok(());
    }
    Err(trial.failed("an interval, and a liveness of 2 or more", format!("{agreement:?}")))
}

fn heartbeat_agreed(trial: &Trial<'_>) -> Step {
    let (worker, agreement) = lively(trial).needed()?;
    for _ in 0..3 {
        worker.heartbeat(silence(&agreement))?;
    }
    let client = Client::new(trial)?;
    client.ask(&trial.name(), "question")?;
    worker.request().needed()?;
    for _ in 0..3 {
        worker.heartbeat(silence(&agreement))?;
    }
    Ok(())
}

fn heartbeat_kept(trial: &Trial<'_>) -> Step {
    let (worker, agreement) = lively(trial).needed()?;
    let client = Client::new(trial)?;
    trial.pass(silence(&agreement) + 2 * agreement.heartbeat)?;
    let id = client.ask(&trial.name(), "question")?;
    let held = worker.request_of("question")?;
    trial.pass(silence(&agreement) + 2 * agreement.heartbeat)?;
    worker.answer(&held, "at last");
    client.expect_final(id, "at last")
}

fn silent_lost(trial: &Trial<'_>) -> Step {
    let (worker, agreement) = lively(trial).needed()?;
    let client = Client::new(trial)?;
    let id = client.ask(&trial.name(), "question")?;
    worker.request().needed()?;
    let other = Worker::register(trial, &trial.name(), 1)?;
    worker.link().fall_silent();
    worker.disconnected_within(silence(&agreement) + trial.setup.timeout)?;
    let held = other.request_of("question")?;
    other.answer(&held, "answer");
    client.expect_final(id, "answer")
}

fn capacity(trial: &Trial<'_>) -> Step {
    let worker = Worker::register(trial, &trial.name(), 2)?;
    let client = Client::new(trial)?;
    for body in ["one", "two", "three", "four"] {
        client.ask(&trial.name(), body)?;
    }
    let one = worker.request_of("one")?;
    let two = worker.request_of("two")?;
    worker.partial(&one, "a part");
    worker.expect_only_heartbeats()?;
    worker.answer(&one, "done");
    worker.request_of("three")?;
    worker.expect_only_heartbeats()?;
    worker.error(&two, 777, "failed", "");
    worker.request_of("four").map(drop)
}

/// FINAL for a task that nobody has.
fn stray() -> FromWorker {
    let client = ClientAddress::new(&[0xAB; 8]);
    FromWorker::Final { client, body: Body::from("nobody wants it") }
}

fn stray_answer(trial: &Trial<'_>) -> Step {
    let worker = Worker::register(trial, &trial.name(), 1)?;
    let client = ClientAddress::new(&[0xAB; 8]);
    let reason = majordomo_protocol::Reason { code: 500, text: "late".to_owned() };
    let body = Body::from("late");
    worker.send([
        FromWorker::Partial { client: client.clone(), body: body.clone() },
        stray(),
        FromWorker::Error { client, reason, details: body },
    ]);
    let client = Client::new(trial)?;
    let id = client.ask(&trial.name(), "question")?;
    let held = worker.request_of("question")?;
    worker.answer(&held, "answer");
    client.expect_final(id, "answer")
}

/// A worker that drains while it holds a request.
fn draining<'t>(
    trial: &'t Trial<'t>,
) -> Step<(Client<'t>, Worker<'t>, crate::v1::Held, majordomo_protocol::RequestId)> {
    let worker = Worker::register(trial, &trial.name(), 2)?;
    let client = Client::new(trial)?;
    let id = client.ask(&trial.name(), "question")?;
    let held = worker.request_of("question").needed()?;
    worker.send([FromWorker::Drain]);
    // Until it has been heard, a request may still come.
    trial.pass(trial.setup.quiet / 2)?;
    Ok((client, worker, held, id))
}

fn drain(trial: &Trial<'_>) -> Step {
    let (client, worker, held, id) = draining(trial)?;
    client.ask(&trial.name(), "for another")?;
    worker.expect_only_heartbeats()?;
    worker.answer(&held, "the last answer");
    client.expect_final(id, "the last answer")?;
    worker.disconnected().map(drop)
}

fn drain_unregisters(trial: &Trial<'_>) -> Step {
    let (client, _worker, _, _) = draining(trial)?;
    let terms = Terms { fail_fast: true, ..Terms::default() };
    let id = client.ask_with(&trial.name(), "for another", terms)?;
    client.expect_error(id, 404)?;
    trial.same("mmi.service", "404".to_owned(), client.mmi("mmi.service", &trial.name())?)
}

fn drain_idle(trial: &Trial<'_>) -> Step {
    let worker = Worker::register(trial, &trial.name(), 1)?;
    worker.send([FromWorker::Drain]);
    worker.disconnected().map(drop)
}

fn stranger(trial: &Trial<'_>) -> Step {
    for command in [FromWorker::Heartbeat, FromWorker::Drain, stray()] {
        let stranger = Worker::stranger(trial)?;
        stranger.send([command]);
        stranger.disconnected()?;
    }
    Ok(())
}

fn second_ready(trial: &Trial<'_>) -> Step {
    let worker = Worker::register(trial, &trial.name(), 1)?;
    let client = Client::new(trial)?;
    client.ask(&trial.name(), "question")?;
    worker.request_of("question").needed()?;
    let other = Worker::register(trial, &trial.name(), 1)?;
    worker.send([ready(&trial.name(), 1)?]);
    worker.disconnected()?;
    other.request_of("question").map(drop)
}

fn leaving(trial: &Trial<'_>) -> Step {
    let (worker, agreement) = lively(trial).needed()?;
    worker.leave();
    // Heartbeats may have crossed it, so what was on its way is let go by.
    trial.pass(trial.setup.timeout / 2)?;
    while worker.next(Duration::ZERO)?.is_some() {}
    let client = Client::new(trial)?;
    client.ask(&trial.name(), "for another")?;
    worker.expect_nothing(trial.setup.quiet + 2 * agreement.heartbeat)
}

fn nothing_after_disconnect(trial: &Trial<'_>) -> Step {
    let (worker, agreement) = lively(trial).needed()?;
    // A heartbeat of its own that crosses the DISCONNECT would be a stranger's.
    worker.link().fall_silent();
    worker.send([ready(&trial.name(), 1)?]);
    worker.disconnected().needed()?;
    let client = Client::new(trial)?;
    client.ask(&trial.name(), "for another")?;
    worker.expect_nothing(trial.setup.quiet + 2 * agreement.heartbeat)
}
