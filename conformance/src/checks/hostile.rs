//! Messages that no peer may send. They are tried last and one after the other, since a
//! broker may not survive them; then the rest is reported as not tried.

use majordomo_protocol::Terms;

use crate::check::Level::{Own, Should};
use crate::check::{OURS, RFCS, Row};
use crate::peers::{Client, Worker, pair};
use crate::trial::Trial;
use crate::v1::{self, FromWorker, client_message, new_id, request, worker_message};
use crate::verdict::{Needed, Step};
use crate::wire::{self, Command, Frames, Version, frames};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "from-nobody",
        level: Should,
        versions: RFCS,
        clause: "Messages without a header of the protocol are dropped; nobody is answered, and \
                 others are served on.",
        run: from_nobody,
    },
    Row {
        name: "from-client",
        level: Should,
        versions: RFCS,
        clause: "An invalid message of a client is dropped: no worker gets it, and others are \
                 served on.",
        run: from_client,
    },
    Row {
        name: "from-worker",
        level: Should,
        versions: RFCS,
        clause: "A worker that sends an invalid message is treated as invalid: it gets no more \
                 requests.",
        run: from_worker,
    },
    Row {
        name: "cut-records",
        level: Own,
        versions: OURS,
        clause: "A message cut anywhere is dropped, and others are served on.",
        run: cut_records,
    },
    Row {
        name: "before-malformed",
        level: Own,
        versions: OURS,
        clause: "What stands in a message before a malformed record counts.",
        run: before_malformed,
    },
    Row {
        name: "surplus-frame",
        level: Own,
        versions: OURS,
        clause: "A frame that belongs to no record makes a worker's message malformed: DISCONNECT.",
        run: surplus_frame,
    },
    Row {
        name: "malformed-worker",
        level: Own,
        versions: OURS,
        clause: "A worker that sends a malformed record is told to DISCONNECT; its tasks go to \
                 others.",
        run: malformed_worker,
    },
    Row {
        name: "wrong-direction",
        level: Own,
        versions: OURS,
        clause: "A command that its sender may not use makes the record malformed.",
        run: wrong_direction,
    },
];

/// Sends each message from a connection of its own.
fn send_each(trial: &Trial<'_>, messages: &[Frames]) -> Step {
    let mut links = vec![];
    for message in messages {
        let link = trial.connect(zmq::DEALER)?;
        link.send(message);
        links.push(link);
    }
    // As long as the connections live, what they sent arrives.
    trial.pass(trial.setup.quiet)?;
    for (link, message) in links.iter().zip(messages) {
        if let Some(found) = trial.receive(link, crate::clock::Deadline::after(Default::default()))
            && found.iter().any(|frame| frame.starts_with(b"MDPC"))
        {
            let expected = format!("no answer to {}", wire::dump(message));
            return Err(trial.failed_within(expected, wire::dump(&found), trial.setup.quiet));
        }
    }
    Ok(())
}

/// Makes sure that the broker serves others.
fn served_on(trial: &Trial<'_>) -> Step {
    let service = trial.service("served-on");
    if trial.version == Version::V1_0 {
        let worker = v1::Worker::register(trial, &service, 1)?;
        let client = v1::Client::new(trial)?;
        let id = client.ask(&service, "still there?")?;
        let held = worker.request_of("still there?")?;
        worker.answer(&held, "yes");
        return client.expect_final(id, "yes");
    }
    let worker = Worker::register(trial, &service)?;
    let client = Client::new(trial)?;
    client.ask(&service, "still there?");
    let request = worker.request_of("still there?")?;
    worker.answer(&request, "yes");
    client.expect("yes")
}

fn from_nobody(trial: &Trial<'_>) -> Step {
    let messages = [
        frames([""]),
        frames(["", ""]),
        frames(["hello"]),
        frames([&b"\x00\xff\xfe"[..], b"\x01"]),
        frames(["", "MDPX09", "service", "body"]),
        frames(["", "MDP", "service", "body"]),
        frames(vec![""; 50]),
    ];
    send_each(trial, &messages)?;
    served_on(trial)
}

fn from_client(trial: &Trial<'_>) -> Step {
    let (_client, worker) = pair(trial)?;
    let good = wire::request(trial.version, &trial.name(), &frames(["body"]));
    // The whole head, cut after each of its frames: without a body, without a service, …
    let mut messages: Vec<Frames> = (1..good.len()).map(|length| good[..length].to_vec()).collect();
    if trial.version == Version::V0_2 {
        for command in [&b"\x02"[..], b"\x03", b"\x00", b"", b"\x01\x01"] {
            let mut message = good.clone();
            message[1] = command.to_vec();
            messages.push(message);
        }
    }
    messages.push(wire::request(trial.version, "", &frames(["a service without a name"])));
    send_each(trial, &messages)?;
    worker.expect_only_heartbeats(trial.setup.quiet)?;
    served_on(trial)
}

fn from_worker(trial: &Trial<'_>) -> Step {
    let version = trial.version;
    let unknown = {
        let mut message = wire::heartbeat(version);
        message.pop();
        message.push(vec![0x7F]);
        message
    };
    let invalid = [
        unknown,
        Command::Ready.start(version),
        Command::Final.start(version),
        [Command::Final.start(version), frames(["address", "no delimiter", "body"])].concat(),
        wire::addressed(version, Command::Request, b"address", &frames(["a broker's"])),
    ];
    for (number, message) in invalid.into_iter().enumerate() {
        let service = trial.service(&format!("invalid-{number}"));
        let worker = Worker::register(trial, &service)?;
        let client = Client::new(trial)?;
        client.ask(&service, "first");
        let request = worker.request_of("first").needed()?;
        worker.answer(&request, "");
        client.expect("").needed()?;
        worker.link().send(&message);
        worker.fall_silent();
        trial.pass(trial.setup.quiet / 2)?;
        client.ask(&service, "for another");
        let other = Worker::register(trial, &service)?;
        if other.request_of("for another").is_err() {
            let expected = format!("no request to a worker that sent {}", wire::dump(&message));
            return Err(trial.failed(expected, "none at another worker"));
        }
    }
    served_on(trial)
}

fn cut_records(trial: &Trial<'_>) -> Step {
    let whole = client_message([request(new_id(), &trial.name(), "body", Terms::default())?]);
    let batch = &whole[0];
    let messages: Vec<Frames> =
        (7..batch.len()).map(|length| vec![batch[..length].to_vec()]).collect();
    send_each(trial, &messages)?;
    let mut huge = batch[..10].to_vec();
    huge[6..10].copy_from_slice(&[0xFF; 4]);
    send_each(trial, &[vec![huge]])?;
    served_on(trial)
}

fn before_malformed(trial: &Trial<'_>) -> Step {
    let worker = v1::Worker::register(trial, &trial.name(), 2)?;
    let client = v1::Client::new(trial)?;
    let mut message = client_message([request(new_id(), &trial.name(), "good", Terms::default())?]);
    message[0].extend([0, 0, 0, 4, 0x7F, 0, 0, 0]);
    client.link().send(&message);
    worker.request_of("good").map(drop)
}

/// A worker that holds a request, and one more.
fn two_workers<'t>(trial: &'t Trial<'t>) -> Step<(v1::Client<'t>, v1::Worker<'t>, v1::Worker<'t>)> {
    let worker = v1::Worker::register(trial, &trial.name(), 1)?;
    let client = v1::Client::new(trial)?;
    client.ask(&trial.name(), "question")?;
    worker.request_of("question").needed()?;
    let other = v1::Worker::register(trial, &trial.name(), 1)?;
    Ok((client, worker, other))
}

fn surplus_frame(trial: &Trial<'_>) -> Step {
    let (_client, worker, other) = two_workers(trial)?;
    let mut message = worker_message([FromWorker::Heartbeat]);
    message.push(b"surplus".to_vec());
    worker.link().send(&message);
    worker.disconnected()?;
    other.request_of("question").map(drop)
}

fn malformed_worker(trial: &Trial<'_>) -> Step {
    let (_client, worker, other) = two_workers(trial)?;
    // A length that is more than there is.
    worker.link().send(&vec![b"MDPW10\x00\x00\x00\x09\x08\x00\x00\x00".to_vec()]);
    worker.disconnected()?;
    other.request_of("question").map(drop)
}

fn wrong_direction(trial: &Trial<'_>) -> Step {
    let (_client, worker, other) = two_workers(trial)?;
    // WELCOME and CANCEL are the broker's.
    let cancel = [&b"MDPW10\x00\x00\x00\x0e\x07\x00\x00\x00"[..], &[7; 8], &[0, 0]].concat();
    worker.link().send(&vec![cancel]);
    worker.disconnected()?;
    other.request_of("question").map(drop)
}
