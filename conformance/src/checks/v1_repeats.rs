//! MDP/1.0: what happens when the same request id comes again.

use majordomo_protocol::Terms;

use crate::check::Level::Own;
use crate::check::{OURS, Row};
use crate::trial::Trial;
use crate::v1::{Client, Worker, new_id, request};
use crate::verdict::{Needed, Step};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "while-waiting",
        level: Own,
        versions: OURS,
        clause: "A REQUEST with the id of one that waits joins it: it runs once.",
        run: while_waiting,
    },
    Row {
        name: "while-running",
        level: Own,
        versions: OURS,
        clause: "A REQUEST with the id of one that runs joins it; the answer goes to the connection \
                 that asked last.",
        run: while_running,
    },
    Row {
        name: "after-part-elsewhere",
        level: Own,
        versions: OURS,
        clause: "When a part went to another connection already, the request is cancelled and \
                 answered 502.",
        run: after_part_elsewhere,
    },
    Row {
        name: "after-final",
        level: Own,
        versions: OURS,
        clause: "After FINAL the same id is answered by the same FINAL, and does not run again.",
        run: after_final,
    },
    Row {
        name: "after-error",
        level: Own,
        versions: OURS,
        clause: "After a worker's ERROR the same id is answered by it, and does not run again.",
        run: after_error,
    },
    Row {
        name: "after-parts",
        level: Own,
        versions: OURS,
        clause: "After a reply in parts the same id is answered 502: it ran, and is not kept whole.",
        run: after_parts,
    },
    Row {
        name: "after-404",
        level: Own,
        versions: OURS,
        clause: "A request that did not run is not remembered: the same id is a new one.",
        run: after_404,
    },
];

fn while_waiting(trial: &Trial<'_>) -> Step {
    let clients = [Client::new(trial)?, Client::new(trial)?];
    let id = new_id();
    for client in &clients {
        client.send([request(id, &trial.name(), "question", Terms::default())?]);
        client.heartbeat().needed()?;
    }
    let worker = Worker::register(trial, &trial.name(), 2)?;
    let held = worker.request_of("question")?;
    worker.expect_only_heartbeats()?;
    worker.answer(&held, "answer");
    clients[1].expect_final(id, "answer")?;
    clients[0].expect_nothing()
}

fn while_running(trial: &Trial<'_>) -> Step {
    let worker = Worker::register(trial, &trial.name(), 2)?;
    let clients = [Client::new(trial)?, Client::new(trial)?];
    let id = clients[0].ask(&trial.name(), "question")?;
    let held = worker.request_of("question").needed()?;
    clients[1].send([request(id, &trial.name(), "question", Terms::default())?]);
    worker.expect_only_heartbeats()?;
    worker.answer(&held, "answer");
    clients[1].expect_final(id, "answer")?;
    clients[0].expect_nothing()
}

fn after_part_elsewhere(trial: &Trial<'_>) -> Step {
    let worker = Worker::register(trial, &trial.name(), 2)?;
    let clients = [Client::new(trial)?, Client::new(trial)?];
    let id = clients[0].ask(&trial.name(), "question")?;
    let held = worker.request_of("question").needed()?;
    worker.partial(&held, "a part");
    clients[0].expect_partial(id, "a part").needed()?;
    clients[1].send([request(id, &trial.name(), "question", Terms::default())?]);
    clients[1].expect_error(id, 502)?;
    worker.cancelled(&held)
}

fn after_final(trial: &Trial<'_>) -> Step {
    let worker = Worker::register(trial, &trial.name(), 1)?;
    let client = Client::new(trial)?;
    let id = client.ask(&trial.name(), "question")?;
    let held = worker.request().needed()?;
    worker.answer(&held, "answer");
    client.expect_final(id, "answer").needed()?;
    let again = Client::new(trial)?;
    again.send([request(id, &trial.name(), "question", Terms::default())?]);
    again.expect_final(id, "answer")?;
    worker.expect_only_heartbeats()
}

fn after_error(trial: &Trial<'_>) -> Step {
    let worker = Worker::register(trial, &trial.name(), 1)?;
    let client = Client::new(trial)?;
    let id = client.ask(&trial.name(), "question")?;
    let held = worker.request().needed()?;
    worker.error(&held, 777, "failed", "");
    client.expect_error(id, 777).needed()?;
    client.send([request(id, &trial.name(), "question", Terms::default())?]);
    client.expect_error(id, 777)?;
    worker.expect_only_heartbeats()
}

fn after_parts(trial: &Trial<'_>) -> Step {
    let worker = Worker::register(trial, &trial.name(), 1)?;
    let client = Client::new(trial)?;
    let id = client.ask(&trial.name(), "question")?;
    let held = worker.request().needed()?;
    worker.partial(&held, "a part");
    worker.answer(&held, "the last");
    client.expect_partial(id, "a part").needed()?;
    client.expect_final(id, "the last").needed()?;
    client.send([request(id, &trial.name(), "question", Terms::default())?]);
    client.expect_error(id, 502)?;
    worker.expect_only_heartbeats()
}

fn after_404(trial: &Trial<'_>) -> Step {
    let client = Client::new(trial)?;
    let terms = Terms { fail_fast: true, ..Terms::default() };
    let id = client.ask_with(&trial.name(), "question", terms.clone())?;
    client.expect_error(id, 404).needed()?;
    let worker = Worker::register(trial, &trial.name(), 1)?;
    client.send([request(id, &trial.name(), "question", terms)?]);
    let held = worker.request_of("question")?;
    worker.answer(&held, "answer");
    client.expect_final(id, "answer")
}
