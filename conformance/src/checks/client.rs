//! What a broker owes a client in MDP/0.1 and MDP/0.2.

use crate::check::Level::{Must, Should};
use crate::check::{RFC_7, RFC_18, RFCS, Row};
use crate::clock::Deadline;
use crate::peers::{Client, Worker, pair};
use crate::trial::Trial;
use crate::verdict::{Needed, Step, Stop};
use crate::wire::{self, Command, Frames, ToClient, Version, dump, frames};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "request-reaches-worker",
        level: Must,
        versions: RFCS,
        clause: "A request goes to a worker that registered for exactly its service name.",
        run: request_reaches_worker,
    },
    Row {
        name: "reply-frames",
        level: Must,
        versions: RFCS,
        clause: "A reply begins with the header of its version (0.1: behind an empty frame; 0.2: \
                 before command 03), then comes one frame for the service, then the body.",
        run: reply_frames,
    },
    Row {
        name: "reply-names-service",
        level: Must,
        versions: RFCS,
        clause: "The service frame of a reply is the name that was asked for.",
        run: reply_names_service,
    },
    Row {
        name: "request-body",
        level: Must,
        versions: RFCS,
        clause: "A request's body is opaque: any frames, empty ones too, reach the worker unchanged.",
        run: request_body,
    },
    Row {
        name: "reply-body",
        level: Must,
        versions: RFCS,
        clause: "A reply's body is opaque: any frames, empty ones too, reach the client unchanged.",
        run: reply_body,
    },
    Row {
        name: "reply-to-asker",
        level: Must,
        versions: RFCS,
        clause: "A reply goes to the client whose address it carries, and to no other.",
        run: reply_to_asker,
    },
    Row {
        name: "requests-in-turn",
        level: Must,
        versions: RFCS,
        clause: "The dialog repeats: a client that has its reply may ask again.",
        run: requests_in_turn,
    },
    Row {
        name: "req-socket",
        level: Must,
        versions: RFC_7,
        clause: "A client with a REQ socket is served; the empty frame is its socket's business.",
        run: req_socket,
    },
    Row {
        name: "envelope-stack",
        level: Should,
        versions: RFC_7,
        clause: "Frames that a client put before the empty frame (a REQ socket with \
                 ZMQ_REQ_CORRELATE does) come back, in order, before its reply's.",
        run: envelope_stack,
    },
    Row {
        name: "partial-frames",
        level: Must,
        versions: RFC_18,
        clause: "A PARTIAL is the header, command 02, the service, the part.",
        run: partial_frames,
    },
    Row {
        name: "partials-then-final",
        level: Must,
        versions: RFC_18,
        clause: "All parts come in the order in which the worker sent them, then one FINAL.",
        run: partials_then_final,
    },
    Row {
        name: "nothing-after-final",
        level: Must,
        versions: RFC_18,
        clause: "After FINAL nothing more comes for that request.",
        run: nothing_after_final,
    },
    Row {
        name: "queued",
        level: Should,
        versions: RFCS,
        clause: "A request for a service that has no worker waits until one registers.",
        run: queued,
    },
    Row {
        name: "queue-expires",
        level: Should,
        versions: RFCS,
        clause: "A request that waited for a worker longer than the configured time is dropped.",
        run: queue_expires,
    },
    Row {
        name: "fair",
        level: Should,
        versions: RFCS,
        clause: "Clients are served on a fair basis: one with many requests waiting does not hold \
                 up another's only one until its last.",
        run: fair,
    },
];

fn request_reaches_worker(trial: &Trial<'_>) -> Step {
    let service = trial.name();
    let others = [format!("{service}.longer"), service.to_uppercase()];
    let others = others.map(|name| Worker::register(trial, &name));
    let worker = Worker::register(trial, &service)?;
    let client = Client::new(trial)?;
    client.ask(&service, "hello");
    worker.request_of("hello")?;
    for other in others {
        other?.expect_only_heartbeats(trial.setup.quiet / 2)?;
    }
    Ok(())
}

/// Asks, answers, and gives the reply as it came.
fn exchange(trial: &Trial<'_>) -> Step<ToClient> {
    let worker = Worker::register(trial, &trial.name())?;
    let client = Client::new(trial)?;
    client.ask(&trial.name(), "question");
    let request = worker.request().needed()?;
    worker.answer(&request, "answer");
    client.reply()
}

/// The frames before the service.
fn start(version: Version, partial: bool) -> Frames {
    let mut start = wire::reply(version, partial, "", &vec![]);
    start.pop();
    start
}

fn begins_right(trial: &Trial<'_>, reply: &ToClient, partial: bool) -> Step {
    let start = start(trial.version, partial);
    if reply.message.starts_with(&start) && reply.message.len() == start.len() + 2 {
        return Ok(());
    }
    let expected = format!("{}, a service, one frame of body", dump(&start));
    Err(trial.failed(expected, dump(&reply.message)))
}

fn reply_frames(trial: &Trial<'_>) -> Step {
    begins_right(trial, &exchange(trial)?, false)
}

fn reply_names_service(trial: &Trial<'_>) -> Step {
    let reply = exchange(trial).needed()?;
    if reply.service == trial.name().as_bytes() {
        return Ok(());
    }
    let expected = format!("a reply that names {}", trial.name());
    Err(trial.failed(expected, dump(&reply.message)))
}

/// Frames that a broker which looks into bodies would stumble over.
fn strange_body() -> Frames {
    frames([&b"first"[..], b"", b"\x00\xff\x01", b"MDPC01", b"\x03", b"MDPW02", b""])
}

fn request_body(trial: &Trial<'_>) -> Step {
    let worker = Worker::register(trial, &trial.name())?;
    let client = Client::new(trial)?;
    let body = strange_body();
    client.link().send(&wire::request(trial.version, &trial.name(), &body));
    let request = worker.request()?;
    // Counted from the end: what stands before it is another clause's.
    if request.message.ends_with(&body) {
        return Ok(());
    }
    let expected = format!("a REQUEST that ends {}", dump(&body));
    Err(trial.failed(expected, dump(&request.message)))
}

fn reply_body(trial: &Trial<'_>) -> Step {
    let (client, worker) = pair(trial)?;
    client.ask(&trial.name(), "question");
    let request = worker.request().needed()?;
    let body = strange_body();
    worker.answer_with(Command::Final, &request, &body);
    let reply = client.reply()?;
    if reply.message.ends_with(&body) {
        return Ok(());
    }
    let expected = format!("a reply that ends {}", dump(&body));
    Err(trial.failed(expected, dump(&reply.message)))
}

fn reply_to_asker(trial: &Trial<'_>) -> Step {
    let service = trial.name();
    let workers = [Worker::register(trial, &service)?, Worker::register(trial, &service)?];
    let first = Client::new(trial)?;
    let second = Client::new(trial)?;
    first.ask(&service, "first");
    second.ask(&service, "second");
    let requests = [workers[0].request().needed()?, workers[1].request().needed()?];
    // The one that asked last is answered first.
    let order = if requests[0].body == frames(["second"]) { [0, 1] } else { [1, 0] };
    for of in order {
        workers[of].answer_with(Command::Final, &requests[of], &requests[of].body);
    }
    first.expect("first")?;
    second.expect("second")?;
    first.expect_nothing()?;
    second.expect_nothing()
}

fn requests_in_turn(trial: &Trial<'_>) -> Step {
    let worker = Worker::register(trial, &trial.name())?;
    let client = Client::new(trial)?;
    for body in ["one", "two", "three"] {
        client.ask(&trial.name(), body);
        let request = worker.request_of(body)?;
        worker.answer(&request, body);
        client.expect(body)?;
    }
    Ok(())
}

fn req_socket(trial: &Trial<'_>) -> Step {
    let worker = Worker::register(trial, &trial.name())?;
    let socket = trial.connect(zmq::REQ)?;
    // The socket adds the empty frame.
    let message = wire::request(trial.version, &trial.name(), &frames(["question"]));
    socket.send(&message[1..].to_vec());
    let request = worker.request().needed()?;
    worker.answer(&request, "answer");
    let expected = &wire::reply(trial.version, false, &trial.name(), &frames(["answer"]))[1..];
    match trial.receive(&socket, Deadline::after(trial.setup.timeout)) {
        Some(found) if found.last() == expected.last() => Ok(()),
        Some(found) => Err(trial.failed(dump(&expected.to_vec()), dump(&found))),
        None => {
            let received = "nothing that a REQ socket lets through";
            Err(trial.failed(dump(&expected.to_vec()), received))
        }
    }
}

fn envelope_stack(trial: &Trial<'_>) -> Step {
    let worker = Worker::register(trial, &trial.name())?;
    let client = Client::new(trial)?;
    let stack = frames(["request id", "hop"]);
    let request = wire::request(trial.version, &trial.name(), &frames(["question"]));
    client.link().send(&[stack.clone(), request].concat());
    let request = worker.request()?;
    worker.answer(&request, "answer");
    let reply = client.reply()?.message;
    if reply.starts_with(&stack) {
        return Ok(());
    }
    Err(trial.failed(format!("a reply that begins {}", dump(&stack)), dump(&reply)))
}

/// A request answered by two parts and a final; the first part has been received.
fn in_parts<'t>(trial: &'t Trial<'t>) -> Step<(Client<'t>, Worker<'t>, ToClient)> {
    let (client, worker) = pair(trial)?;
    client.ask(&trial.name(), "question");
    let request = worker.request().needed()?;
    worker.partial(&request, "one");
    worker.partial(&request, "two");
    worker.answer(&request, "three");
    let reply = client.reply()?;
    Ok((client, worker, reply))
}

fn partial_frames(trial: &Trial<'_>) -> Step {
    let (_client, _worker, reply) = in_parts(trial)?;
    begins_right(trial, &reply, true)
}

fn partials_then_final(trial: &Trial<'_>) -> Step {
    let (client, _worker, first) = in_parts(trial)?;
    let mut replies = vec![first];
    while replies.len() < 3 {
        replies.push(client.reply()?);
    }
    let expected = [(true, "one"), (true, "two"), (false, "three")];
    for (reply, (partial, body)) in replies.iter().zip(expected) {
        if reply.partial != partial || reply.body != frames([body]) {
            let kind = if partial { "PARTIAL" } else { "FINAL" };
            return Err(trial.failed(format!("{kind} {body:?}"), dump(&reply.message)));
        }
    }
    Ok(())
}

fn nothing_after_final(trial: &Trial<'_>) -> Step {
    let (client, worker) = pair(trial)?;
    client.ask(&trial.name(), "question");
    let request = worker.request().needed()?;
    worker.answer(&request, "final");
    worker.answer(&request, "final again");
    worker.partial(&request, "more");
    client.expect("final").needed()?;
    client.expect_nothing()
}

fn queued(trial: &Trial<'_>) -> Step {
    let client = Client::new(trial)?;
    client.ask(&trial.name(), "waiting");
    trial.pass(trial.setup.quiet)?;
    let worker = Worker::register(trial, &trial.name())?;
    let request = worker.request_of("waiting")?;
    worker.answer(&request, "served");
    client.expect("served")
}

fn queue_expires(trial: &Trial<'_>) -> Step {
    let Some(expiry) = trial.setup.expiry else {
        return Err(Stop::LeftOut("needs --expiry".to_owned()));
    };
    let client = Client::new(trial)?;
    client.ask(&trial.name(), "too late");
    // Counted from its arrival, which may be late on a busy machine.
    trial.pass(expiry + trial.setup.timeout / 2)?;
    let worker = Worker::register(trial, &trial.name())?;
    worker.expect_only_heartbeats(trial.setup.quiet)
}

fn fair(trial: &Trial<'_>) -> Step {
    const MANY: usize = 40;
    let service = trial.name();
    let (greedy, worker) = pair(trial)?;
    for _ in 0..MANY {
        greedy.ask(&service, "one of many");
    }
    let first = worker.request().needed()?;
    // The rest of them is there when the other one asks.
    trial.pass(trial.setup.quiet)?;
    let modest = Client::new(trial)?;
    modest.ask(&service, "the only one");
    trial.pass(trial.setup.quiet)?;
    worker.answer(&first, "");
    for before in 1..=MANY {
        let request = worker.request().needed()?;
        if request.body == frames(["the only one"]) {
            if before <= MANY / 2 {
                return Ok(());
            }
            let expected = format!("its turn after at most {} of {MANY} others", MANY / 2);
            return Err(trial.failed(expected, format!("its turn after {before}")));
        }
        worker.answer(&request, "");
    }
    Err(trial.failed("a turn for the client with one request", "none"))
}
