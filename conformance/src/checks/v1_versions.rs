//! Between the versions: peers of MDP/1.0 on one side, of MDP/0.1 or MDP/0.2 on the other.

use crate::check::Level::Own;
use crate::check::{OURS, Row};
use crate::clock::Deadline;
use crate::peers;
use crate::trial::Trial;
use crate::v1;
use crate::verdict::{Needed, Step};
use crate::wire::{self, Version, dump, frames};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "client-0.1",
        level: Own,
        versions: OURS,
        clause: "A request of MDP/0.1 is served by a worker of MDP/1.0.",
        run: |trial| old_client(trial, Version::V0_1),
    },
    Row {
        name: "client-0.2",
        level: Own,
        versions: OURS,
        clause: "A request of MDP/0.2 is served by a worker of MDP/1.0.",
        run: |trial| old_client(trial, Version::V0_2),
    },
    Row {
        name: "worker-0.1",
        level: Own,
        versions: OURS,
        clause: "A request of MDP/1.0 is served by a worker of MDP/0.1; its REPLY is a FINAL.",
        run: |trial| old_worker(trial, Version::V0_1),
    },
    Row {
        name: "worker-0.2",
        level: Own,
        versions: OURS,
        clause: "A request of MDP/1.0 is served by a worker of MDP/0.2, in parts, too.",
        run: |trial| old_worker(trial, Version::V0_2),
    },
    Row {
        name: "parts-to-0.1",
        level: Own,
        versions: OURS,
        clause: "Parts for a client of MDP/0.1 stand in order before the final in its one reply.",
        run: parts_to_0_1,
    },
    Row {
        name: "lost-parts-to-0.1",
        level: Own,
        versions: OURS,
        clause: "Parts kept for a client of MDP/0.1 are thrown away when their worker is lost.",
        run: lost_parts_to_0_1,
    },
    Row {
        name: "parts-to-0.2",
        level: Own,
        versions: OURS,
        clause: "Parts for a client of MDP/0.2 are sent as they come.",
        run: parts_to_0_2,
    },
    Row {
        name: "error-to-old",
        level: Own,
        versions: OURS,
        clause: "ERROR is nothing to a client of MDP/0.1 or MDP/0.2, or a final of two frames, code \
                 and text, where the broker is set so.",
        run: error_to_old,
    },
];

/// A client of another version, and a request that a worker of MDP/1.0 has of it.
fn held_of_old<'t>(
    trial: &'t Trial<'t>,
    version: Version,
) -> Step<(peers::Client<'t>, v1::Worker<'t>, v1::Held)> {
    let worker = v1::Worker::register(trial, &trial.name(), 1)?;
    let client = peers::Client::of(trial, version)?;
    client.ask(&trial.name(), "question");
    let held = worker.request_of("question")?;
    Ok((client, worker, held))
}

fn old_client(trial: &Trial<'_>, version: Version) -> Step {
    let (client, worker, held) = held_of_old(trial, version)?;
    worker.answer(&held, "answer");
    client.expect("answer")
}

fn old_worker(trial: &Trial<'_>, version: Version) -> Step {
    let worker = peers::Worker::register_as(trial, version, &trial.name())?;
    let client = v1::Client::new(trial)?;
    let id = client.ask(&trial.name(), "question")?;
    let request = worker.request_of("question")?;
    if version == Version::V0_2 {
        worker.partial(&request, "a part");
        client.expect_partial(id, "a part")?;
    }
    worker.answer(&request, "answer");
    client.expect_final(id, "answer")
}

fn expect_message(trial: &Trial<'_>, client: &peers::Client<'_>, expected: &wire::Frames) -> Step {
    let deadline = Deadline::after(trial.setup.timeout);
    match trial.receive(client.link(), deadline) {
        Some(found) if found == *expected => Ok(()),
        Some(found) => Err(trial.failed(dump(expected), dump(&found))),
        None => Err(trial.failed(dump(expected), "nothing")),
    }
}

fn parts_to_0_1(trial: &Trial<'_>) -> Step {
    let (client, worker, held) = held_of_old(trial, Version::V0_1).needed()?;
    worker.partial(&held, "one");
    worker.partial(&held, "two");
    worker.answer(&held, "three");
    let joined = frames(["one", "two", "three"]);
    expect_message(trial, &client, &wire::reply(Version::V0_1, false, &trial.name(), &joined))
}

fn lost_parts_to_0_1(trial: &Trial<'_>) -> Step {
    let (client, worker, held) = held_of_old(trial, Version::V0_1).needed()?;
    worker.partial(&held, "a part of the lost one");
    let other = v1::Worker::register(trial, &trial.name(), 1)?;
    worker.leave();
    let held = other.request_of("question")?;
    other.answer(&held, "answer");
    let whole = frames(["answer"]);
    expect_message(trial, &client, &wire::reply(Version::V0_1, false, &trial.name(), &whole))
}

fn parts_to_0_2(trial: &Trial<'_>) -> Step {
    let (client, worker, held) = held_of_old(trial, Version::V0_2).needed()?;
    worker.partial(&held, "a part");
    let part = frames(["a part"]);
    expect_message(trial, &client, &wire::reply(Version::V0_2, true, &trial.name(), &part))?;
    worker.answer(&held, "answer");
    client.expect("answer")
}

fn error_to_old(trial: &Trial<'_>) -> Step {
    for version in [Version::V0_1, Version::V0_2] {
        let (client, worker, held) = held_of_old(trial, version).needed()?;
        worker.error(&held, 777, "failed", "details");
        let found = trial.receive(client.link(), Deadline::after(trial.setup.quiet));
        let told = wire::reply(version, false, &trial.name(), &frames(["777", "failed"]));
        match found {
            None => {}
            Some(found) if found == told => {}
            Some(found) => {
                let expected = format!("nothing, or {}", dump(&told));
                return Err(trial.failed_within(expected, dump(&found), trial.setup.quiet));
            }
        }
    }
    Ok(())
}
