//! MDP/1.0: how requests end other than by their worker's FINAL: terms, CANCEL, loss.

use std::time::Duration;

use majordomo_protocol::Terms;

use crate::check::Level::Own;
use crate::check::{OURS, Row};
use crate::trial::Trial;
use crate::v1::{Client, Held, Worker, cancel, new_id};
use crate::verdict::{Needed, Step, Stop};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "fail-fast",
        level: Own,
        versions: OURS,
        clause: "*fail fast* ends with 404 at once while no worker is registered.",
        run: fail_fast,
    },
    Row {
        name: "expiry",
        level: Own,
        versions: OURS,
        clause: "A request for which no worker was free within the configured time ends with 404.",
        run: expiry,
    },
    Row {
        name: "start-within",
        level: Own,
        versions: OURS,
        clause: "A request that was not handed out within start-within ends with 408.",
        run: start_within,
    },
    Row {
        name: "timeout-waiting",
        level: Own,
        versions: OURS,
        clause: "A request whose timeout passes while it waits ends with 408.",
        run: timeout_waiting,
    },
    Row {
        name: "timeout-running",
        level: Own,
        versions: OURS,
        clause: "A request whose timeout passes while it runs ends with 504.",
        run: timeout_running,
    },
    Row {
        name: "timeout-told",
        level: Own,
        versions: OURS,
        clause: "REQUEST tells the worker what is left of the timeout, and 0 where there is none.",
        run: timeout_told,
    },
    Row {
        name: "no-reply",
        level: Own,
        versions: OURS,
        clause: "*no reply*: the request runs and nothing is answered, not even an error.",
        run: no_reply,
    },
    Row {
        name: "no-reply-mmi",
        level: Own,
        versions: OURS,
        clause: "The broker's own services do not answer *no reply* either.",
        run: no_reply_mmi,
    },
    Row {
        name: "cancel-waiting",
        level: Own,
        versions: OURS,
        clause: "CANCEL removes a waiting request; it is answered 499 and never runs.",
        run: cancel_waiting,
    },
    Row {
        name: "cancel-running",
        level: Own,
        versions: OURS,
        clause: "CANCEL of a running request is answered 499, and its worker gets CANCEL.",
        run: cancel_running,
    },
    Row {
        name: "cancel-keeps-place",
        level: Own,
        versions: OURS,
        clause: "CANCEL frees no place: the worker gets another request when it has answered, and \
                 nobody gets that answer.",
        run: cancel_keeps_place,
    },
    Row {
        name: "cancel-unknown",
        level: Own,
        versions: OURS,
        clause: "CANCEL for anything else is ignored.",
        run: cancel_unknown,
    },
    Row {
        name: "lost-worker",
        level: Own,
        versions: OURS,
        clause: "The request of a worker that is lost goes to another, as its second attempt.",
        run: lost_worker,
    },
    Row {
        name: "once",
        level: Own,
        versions: OURS,
        clause: "*once*: when its worker is lost the request ends with 502, and no other gets it.",
        run: once,
    },
    Row {
        name: "lost-after-part",
        level: Own,
        versions: OURS,
        clause: "When a worker is lost after a part of its reply was sent, the request ends with 502.",
        run: lost_after_part,
    },
];

fn fail_fast(trial: &Trial<'_>) -> Step {
    let client = Client::new(trial)?;
    let terms = Terms { fail_fast: true, ..Terms::default() };
    let id = client.ask_with(&trial.name(), "question", terms.clone())?;
    client.expect_error(id, 404)?;
    let worker = Worker::register(trial, &trial.name(), 1)?;
    let id = client.ask_with(&trial.name(), "question", terms)?;
    let held = worker.request()?;
    worker.answer(&held, "answer");
    client.expect_final(id, "answer")
}

fn expiry(trial: &Trial<'_>) -> Step {
    let Some(expiry) = trial.setup.expiry else {
        return Err(Stop::LeftOut("needs --expiry".to_owned()));
    };
    let client = Client::new(trial)?;
    let id = client.ask(&trial.name(), "too late")?;
    trial.pass(expiry)?;
    client.expect_error(id, 404).map(drop)
}

const SHORT: Duration = Duration::from_millis(100);

fn start_within(trial: &Trial<'_>) -> Step {
    let client = Client::new(trial)?;
    let terms = Terms { start_within: Some(SHORT), ..Terms::default() };
    let id = client.ask_with(&trial.name(), "question", terms)?;
    client.expect_error(id, 408).map(drop)
}

fn timeout_waiting(trial: &Trial<'_>) -> Step {
    let client = Client::new(trial)?;
    let terms = Terms { timeout: Some(SHORT), ..Terms::default() };
    let id = client.ask_with(&trial.name(), "question", terms)?;
    client.expect_error(id, 408).map(drop)
}

fn timeout_running(trial: &Trial<'_>) -> Step {
    let worker = Worker::register(trial, &trial.name(), 1)?;
    let client = Client::new(trial)?;
    // Long enough that it starts on a busy machine.
    let terms = Terms { timeout: Some(trial.setup.timeout / 2), ..Terms::default() };
    let id = client.ask_with(&trial.name(), "question", terms)?;
    worker.request().needed()?;
    client.expect_error(id, 504).map(drop)
}

fn timeout_told(trial: &Trial<'_>) -> Step {
    let worker = Worker::register(trial, &trial.name(), 2)?;
    let client = Client::new(trial)?;
    let minute = Duration::from_secs(60);
    client.ask_with(&trial.name(), "", Terms { timeout: Some(minute), ..Terms::default() })?;
    match worker.request().needed()?.task.timeout {
        Some(left) if left <= minute => {}
        found => {
            let expected = "a timeout of 60000 ms or less";
            return Err(trial.failed(expected, format!("{found:?}")));
        }
    }
    client.ask(&trial.name(), "")?;
    trial.same("the timeout", None, worker.request().needed()?.task.timeout)
}

fn no_reply(trial: &Trial<'_>) -> Step {
    let worker = Worker::register(trial, &trial.name(), 1)?;
    let client = Client::new(trial)?;
    let terms = Terms { no_reply: true, ..Terms::default() };
    client.ask_with(&trial.name(), "one way", terms.clone())?;
    let held = worker.request_of("one way")?;
    worker.answer(&held, "nobody wants it");
    let terms = Terms { fail_fast: true, ..terms };
    client.ask_with(&trial.service("of-nobody"), "", terms)?;
    client.expect_nothing()
}

fn no_reply_mmi(trial: &Trial<'_>) -> Step {
    let client = Client::new(trial)?;
    let terms = Terms { no_reply: true, ..Terms::default() };
    client.ask_with("mmi.service", &trial.name(), terms)?;
    client.expect_nothing()
}

fn cancel_waiting(trial: &Trial<'_>) -> Step {
    let client = Client::new(trial)?;
    let id = client.ask(&trial.name(), "question")?;
    client.send([cancel(id)]);
    client.expect_error(id, 499)?;
    Worker::register(trial, &trial.name(), 1)?.expect_only_heartbeats()
}

/// A worker of capacity 1 that holds a request that was cancelled.
fn cancelled<'t>(trial: &'t Trial<'t>) -> Step<(Client<'t>, Worker<'t>, Held)> {
    let worker = Worker::register(trial, &trial.name(), 1)?;
    let client = Client::new(trial)?;
    let id = client.ask(&trial.name(), "question")?;
    let held = worker.request().needed()?;
    client.send([cancel(id)]);
    client.expect_error(id, 499)?;
    worker.cancelled(&held)?;
    Ok((client, worker, held))
}

fn cancel_running(trial: &Trial<'_>) -> Step {
    cancelled(trial).map(drop)
}

fn cancel_keeps_place(trial: &Trial<'_>) -> Step {
    let (client, worker, held) = cancelled(trial).needed()?;
    let next = client.ask(&trial.name(), "next")?;
    worker.expect_only_heartbeats()?;
    worker.error(&held, 499, "cancelled", "");
    let held = worker.request_of("next")?;
    worker.answer(&held, "answer");
    client.expect_final(next, "answer")
}

fn cancel_unknown(trial: &Trial<'_>) -> Step {
    let client = Client::new(trial)?;
    client.send([cancel(new_id())]);
    client.expect_nothing()?;
    client.heartbeat().map(drop)
}

fn lost_worker(trial: &Trial<'_>) -> Step {
    let worker = Worker::register(trial, &trial.name(), 1)?;
    let client = Client::new(trial)?;
    let id = client.ask(&trial.name(), "question")?;
    trial.same("the attempt", 1, worker.request().needed()?.task.attempt)?;
    let other = Worker::register(trial, &trial.name(), 1)?;
    worker.leave();
    let held = other.request_of("question")?;
    trial.same("the attempt", 2, held.task.attempt)?;
    other.answer(&held, "answer");
    client.expect_final(id, "answer")
}

fn once(trial: &Trial<'_>) -> Step {
    let worker = Worker::register(trial, &trial.name(), 1)?;
    let client = Client::new(trial)?;
    let id =
        client.ask_with(&trial.name(), "question", Terms { once: true, ..Terms::default() })?;
    worker.request().needed()?;
    let other = Worker::register(trial, &trial.name(), 1)?;
    worker.leave();
    client.expect_error(id, 502)?;
    other.expect_only_heartbeats()
}

fn lost_after_part(trial: &Trial<'_>) -> Step {
    let worker = Worker::register(trial, &trial.name(), 1)?;
    let client = Client::new(trial)?;
    let id = client.ask(&trial.name(), "question")?;
    let held = worker.request().needed()?;
    worker.partial(&held, "a part");
    client.expect_partial(id, "a part").needed()?;
    let other = Worker::register(trial, &trial.name(), 1)?;
    worker.leave();
    client.expect_error(id, 502)?;
    other.expect_only_heartbeats()
}
