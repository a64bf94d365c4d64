//! MDP/1.0 between client and broker: records, bodies, ids, heartbeats.

use majordomo_protocol::{Body, Metadata, Terms, client};

use crate::check::Level::{Own, Should};
use crate::check::{OURS, Row};
use crate::trial::Trial;
use crate::v1::{Client, FromWorker, Held, Worker, client_message, new_id, request};
use crate::verdict::{Needed, Step};
use crate::wire::{Frames, dump, frames};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "final",
        level: Own,
        versions: OURS,
        clause: "A REQUEST is answered by one FINAL with its request id, and nothing follows.",
        run: one_final,
    },
    Row {
        name: "several-outstanding",
        level: Own,
        versions: OURS,
        clause: "Requests of one connection may be answered in any order; ids tell them apart.",
        run: several_outstanding,
    },
    Row {
        name: "reply-to-asker",
        level: Own,
        versions: OURS,
        clause: "A reply goes to the connection that asked, and to no other.",
        run: reply_to_asker,
    },
    Row {
        name: "batch",
        level: Own,
        versions: OURS,
        clause: "A message holds any number of records; each counts.",
        run: batch,
    },
    Row {
        name: "unknown-flags",
        level: Own,
        versions: OURS,
        clause: "Unknown bits of the flags are ignored.",
        run: unknown_flags,
    },
    Row {
        name: "bodies",
        level: Own,
        versions: OURS,
        clause: "Bodies are opaque: empty, large, of many frames; they come through unchanged in \
                 both directions.",
        run: bodies,
    },
    Row {
        name: "body-behind",
        level: Own,
        versions: OURS,
        clause: "A small body of one frame may stand behind the batch frame, too.",
        run: body_behind,
    },
    Row {
        name: "small-body-in-record",
        level: Should,
        versions: OURS,
        clause: "A small body of one frame stands in its record, every other behind the batch frame.",
        run: small_body_in_record,
    },
    Row {
        name: "partials",
        level: Own,
        versions: OURS,
        clause: "Any number of PARTIAL come in the worker's order, then one FINAL.",
        run: partials,
    },
    Row {
        name: "metadata",
        level: Own,
        versions: OURS,
        clause: "A request's metadata reaches the worker unread.",
        run: metadata,
    },
    Row {
        name: "heartbeat",
        level: Own,
        versions: OURS,
        clause: "HEARTBEAT is answered at once, with the instance id that WELCOME says too.",
        run: heartbeat,
    },
    Row {
        name: "worker-error",
        level: Own,
        versions: OURS,
        clause: "A worker's ERROR reaches the client with its code, text and details.",
        run: worker_error,
    },
    Row {
        name: "worker-error-codes",
        level: Own,
        versions: OURS,
        clause: "A worker's ERROR with one of the broker's codes arrives as 500.",
        run: worker_error_codes,
    },
];

/// A client, a worker, and a request that it holds.
fn held<'t>(trial: &'t Trial<'t>) -> Step<(Client<'t>, Worker<'t>, Held)> {
    let worker = Worker::register(trial, &trial.name(), 1)?;
    let client = Client::new(trial)?;
    client.ask(&trial.name(), "question")?;
    let held = worker.request_of("question").needed()?;
    Ok((client, worker, held))
}

fn one_final(trial: &Trial<'_>) -> Step {
    let worker = Worker::register(trial, &trial.name(), 1)?;
    let client = Client::new(trial)?;
    let id = client.ask(&trial.name(), "question")?;
    let held = worker.request_of("question")?;
    worker.answer(&held, "answer");
    client.expect_final(id, "answer")?;
    client.expect_nothing()
}

fn several_outstanding(trial: &Trial<'_>) -> Step {
    let worker = Worker::register(trial, &trial.name(), 2)?;
    let client = Client::new(trial)?;
    let first = client.ask(&trial.name(), "first")?;
    let second = client.ask(&trial.name(), "second")?;
    let held = [worker.request_of("first").needed()?, worker.request_of("second").needed()?];
    worker.answer(&held[1], "to the second");
    client.expect_final(second, "to the second")?;
    worker.answer(&held[0], "to the first");
    client.expect_final(first, "to the first")
}

fn reply_to_asker(trial: &Trial<'_>) -> Step {
    let worker = Worker::register(trial, &trial.name(), 2)?;
    let clients = [Client::new(trial)?, Client::new(trial)?];
    let first = clients[0].ask(&trial.name(), "first")?;
    let one = worker.request_of("first").needed()?;
    let second = clients[1].ask(&trial.name(), "second")?;
    let two = worker.request_of("second").needed()?;
    worker.answer(&one, "to the first");
    worker.answer(&two, "to the second");
    clients[0].expect_final(first, "to the first")?;
    clients[1].expect_final(second, "to the second")?;
    clients[0].expect_nothing()?;
    clients[1].expect_nothing()
}

fn batch(trial: &Trial<'_>) -> Step {
    let worker = Worker::register(trial, &trial.name(), 3)?;
    let client = Client::new(trial)?;
    let bodies = ["one", "two", "three"];
    let ids = bodies.map(|_| new_id());
    let mut requests = vec![];
    for (id, body) in ids.iter().zip(bodies) {
        requests.push(request(*id, &trial.name(), body, Terms::default())?);
    }
    client.send(requests);
    let mut answers = vec![];
    for body in bodies {
        let held = worker.request_of(body)?;
        answers.push(FromWorker::Final { client: held.id, body: Body::from(body) });
    }
    worker.send(answers);
    ids.iter().zip(bodies).try_for_each(|(id, body)| client.expect_final(*id, body))
}

fn unknown_flags(trial: &Trial<'_>) -> Step {
    let worker = Worker::register(trial, &trial.name(), 1)?;
    let client = Client::new(trial)?;
    let id = new_id();
    let mut message = client_message([request(id, &trial.name(), "question", Terms::default())?]);
    // Behind magic, length and command.
    if let Some(flags) = message.first_mut().and_then(|batch| batch.get_mut(11)) {
        *flags |= 0xF0;
    }
    client.link().send(&message);
    let held = worker.request_of("question")?;
    worker.answer(&held, "answer");
    client.expect_final(id, "answer")
}

fn bodies(trial: &Trial<'_>) -> Step {
    let worker = Worker::register(trial, &trial.name(), 1)?;
    let client = Client::new(trial)?;
    let large = vec![7; 200_000];
    let all = [
        frames([""]),
        frames([&b"one"[..], b"", b"\x00\xff", b"MDPC10"]),
        vec![large.clone()],
        vec![vec![], large],
        frames(["", ""]),
    ];
    for body in all {
        let id = new_id();
        let mut command = request(id, &trial.name(), "", Terms::default())?;
        if let client::ToBroker::Request { body: sent, .. } = &mut command {
            *sent = Body::from_frames(body.clone());
        }
        client.send([command]);
        let held = worker.request()?;
        if held.body.frames() != body {
            let received = dump(&held.body.frames().to_vec());
            return Err(trial.failed(format!("REQUEST with the body {}", dump(&body)), received));
        }
        worker.send([FromWorker::Final { client: held.id, body: held.body }]);
        client.expect_body(id, &body, "FINAL")?;
    }
    Ok(())
}

/// A message of one REQUEST whose body of one small frame stands behind the batch frame.
fn behind(message: Frames, body: &str) -> Frames {
    let mut batch = message.into_iter().next().unwrap_or_default();
    batch.truncate(batch.len() - body.len());
    let length = u32::try_from(batch.len() - 10).unwrap_or(u32::MAX);
    batch[6..10].copy_from_slice(&length.to_be_bytes());
    batch[12..14].copy_from_slice(&[0, 1]);
    vec![batch, body.into()]
}

fn body_behind(trial: &Trial<'_>) -> Step {
    let worker = Worker::register(trial, &trial.name(), 1)?;
    let client = Client::new(trial)?;
    let id = new_id();
    let message = client_message([request(id, &trial.name(), "question", Terms::default())?]);
    client.link().send(&behind(message, "question"));
    let held = worker.request_of("question")?;
    worker.answer(&held, "answer");
    client.expect_final(id, "answer")
}

fn small_body_in_record(trial: &Trial<'_>) -> Step {
    let (client, worker, held) = held(trial)?;
    worker.answer(&held, "small");
    let deadline = crate::clock::Deadline::after(trial.setup.timeout);
    let expected = "a message of one frame";
    match trial.receive(client.link(), deadline) {
        Some(message) if message.len() == 1 => Ok(()),
        Some(message) => Err(trial.failed(expected, dump(&message))),
        None => Err(trial.failed(expected, "nothing")).needed(),
    }
}

fn partials(trial: &Trial<'_>) -> Step {
    let worker = Worker::register(trial, &trial.name(), 1)?;
    let client = Client::new(trial)?;
    let id = client.ask(&trial.name(), "question")?;
    let held = worker.request().needed()?;
    worker.partial(&held, "one");
    worker.partial(&held, "two");
    worker.answer(&held, "three");
    client.expect_partial(id, "one")?;
    client.expect_partial(id, "two")?;
    client.expect_final(id, "three")?;
    client.expect_nothing()
}

fn metadata(trial: &Trial<'_>) -> Step {
    let worker = Worker::register(trial, &trial.name(), 1)?;
    let client = Client::new(trial)?;
    let mut metadata = Metadata::default();
    for (key, value) in [("trace", &b"\x00\xff"[..]), ("", b""), ("trace", b"again")] {
        // Far below what fits.
        let _ = metadata.push(key, value);
    }
    let terms = Terms { metadata: metadata.clone(), ..Terms::default() };
    client.ask_with(&trial.name(), "question", terms)?;
    trial.same("metadata", metadata, worker.request().needed()?.task.metadata)
}

fn heartbeat(trial: &Trial<'_>) -> Step {
    let offer = majordomo_protocol::Offer::default();
    let (_worker, agreement) = Worker::register_with(trial, &trial.name(), offer).needed()?;
    for _ in 0..2 {
        let found = Client::new(trial)?.heartbeat()?;
        trial.same("the instance id", agreement.instance, found)?;
    }
    Ok(())
}

fn worker_error(trial: &Trial<'_>) -> Step {
    let worker = Worker::register(trial, &trial.name(), 1)?;
    let client = Client::new(trial)?;
    let id = client.ask(&trial.name(), "question")?;
    let held = worker.request().needed()?;
    worker.error(&held, 777, "no such file", "its name");
    let found = client.expect_error(id, 777)?;
    trial.same("text and details", ("no such file".to_owned(), Body::from("its name")), found)
}

fn worker_error_codes(trial: &Trial<'_>) -> Step {
    let worker = Worker::register(trial, &trial.name(), 1)?;
    let client = Client::new(trial)?;
    for code in [404, 408, 429, 499, 502, 503, 504] {
        let id = client.ask(&trial.name(), "question")?;
        let held = worker.request().needed()?;
        worker.error(&held, code, "one of the broker's", "");
        client.expect_error(id, 500)?;
    }
    Ok(())
}
