//! Messages that the broker's socket refuses, since their peer does not read: what the
//! server makes of them. Peers are bare sockets in the broker's own process, on inproc,
//! where the queues between two sockets are as long as they say and hold nothing else.

use std::collections::VecDeque;

use majordomo_broker::Broker;
use majordomo_broker::config::Config;
use majordomo_protocol::{
    Batch, Body, ClientAddress, Frames, Offer, Reason, RequestId, ServiceName, Terms, Version,
    client, worker,
};

/// Far more than the queues of both sockets hold.
const PARTS: usize = 50;
/// A peer that sees nothing for so long sees a fault.
const LIMIT_MS: i32 = 30_000;

fn start(context: &zmq::Context) -> Broker {
    let config = Config::builder()
        .bind("inproc://broker")
        .set("send_queue_max", 4)
        .set("shutdown_ms", 0)
        // What one message caused is sent before the next is read.
        .set("drain_max", 1);
    Broker::start_in(context, &config.build().expect("valid")).expect("started")
}

/// A socket that takes one message, and no more until it reads.
fn connect(context: &zmq::Context) -> zmq::Socket {
    let socket = context.socket(zmq::DEALER).expect("a socket");
    socket.set_rcvhwm(1).expect("set");
    socket.set_linger(0).expect("set");
    socket.set_rcvtimeo(LIMIT_MS).expect("set");
    socket.connect("inproc://broker").expect("connected");
    socket
}

fn service(name: &str) -> ServiceName {
    ServiceName::new(name).expect("a name")
}

fn body(text: impl ToString) -> Body<Vec<u8>> {
    Body::from_frames(vec![text.to_string().into_bytes()])
}

fn number(body: Body<Vec<u8>>) -> usize {
    String::from_utf8(body.into_bytes()).expect("text").parse().expect("a number")
}

/// What this client calls the request of this number.
fn id(number: u8) -> RequestId {
    RequestId::new([number; 16])
}

fn request(id: RequestId, name: &str) -> client::ToBroker<Body<Vec<u8>>> {
    let (service, terms) = (service(name), Terms::default());
    client::ToBroker::Request { id: Some(id), service, terms, body: body(name) }
}

fn ask(client: &zmq::Socket, requests: impl IntoIterator<Item = client::ToBroker<Body<Vec<u8>>>>) {
    let mut batch = Batch::of_client(4096);
    requests.into_iter().for_each(|request| request.write(&mut batch).expect("1.0"));
    client.send_multipart(batch.into_frames(), 0).expect("sent");
}

/// A worker of MDP/1.0.
struct Worker {
    socket: zmq::Socket,
    inbox: VecDeque<worker::FromBroker<Body<Vec<u8>>>>,
}

impl Worker {
    /// Registers, and has been welcomed.
    fn register(context: &zmq::Context, name: &str) -> Self {
        Worker::register_for(context, name, 1_000)
    }

    /// As [`Worker::register`], for so many requests at once.
    fn register_for(context: &zmq::Context, name: &str, capacity: u16) -> Self {
        let mut worker = Worker { socket: connect(context), inbox: VecDeque::new() };
        worker.say([worker::ToBroker::Ready {
            service: service(name),
            offer: Offer { capacity, ..Offer::default() },
        }]);
        let welcome = worker.command();
        assert!(matches!(welcome, worker::FromBroker::Welcome(_)), "{welcome:?}");
        worker
    }

    fn say(&self, commands: impl IntoIterator<Item = worker::ToBroker<Body<Vec<u8>>>>) {
        let mut batch = Batch::of_worker(4096);
        commands.into_iter().for_each(|command| command.write(&mut batch).expect("1.0"));
        self.socket.send_multipart(batch.into_frames(), 0).expect("sent");
    }

    /// The next command but HEARTBEAT.
    fn command(&mut self) -> worker::FromBroker<Body<Vec<u8>>> {
        loop {
            match self.inbox.pop_front() {
                Some(worker::FromBroker::Heartbeat) => {}
                Some(command) => return command,
                None => {
                    let frames = self.socket.recv_multipart(0).expect("a message came");
                    let commands = worker::Commands::new(Frames::new(frames)).expect("1.0");
                    self.inbox.extend(commands.map(|command| command.expect("valid")));
                }
            }
        }
    }

    fn request(&mut self) -> (ClientAddress, u8) {
        match self.command() {
            worker::FromBroker::Request { client, task, .. } => (client, task.attempt),
            other => panic!("not a REQUEST: {other:?}"),
        }
    }

    /// Answers the next request in parts, each in a message of its own, is told that nobody
    /// wants them, and waits until the broker has seen them all.
    fn answer_in_parts(mut self) {
        let client = self.say_parts(1);
        // Long before the last part it was told that nobody wants them.
        let cancel = self.command();
        assert_eq!(cancel, worker::FromBroker::Cancel { client });
        self.drain();
    }

    /// Answers the next request in parts, so many commands in a message.
    fn say_parts(&mut self, commands_per_message: usize) -> ClientAddress {
        let (client, _) = self.request();
        let partial = |part| {
            let (client, body) = (client.clone(), body(part));
            worker::ToBroker::Partial { client, body }
        };
        let mut commands: Vec<_> = (0..PARTS).map(partial).collect();
        commands.push(worker::ToBroker::Final { client: client.clone(), body: body(PARTS) });
        for message in commands.chunks(commands_per_message) {
            self.say(message.to_vec());
        }
        client
    }

    /// When this is over, the broker has seen all that it said.
    fn drain(mut self) {
        self.say([worker::ToBroker::Drain]);
        let end = self.command();
        assert!(matches!(end, worker::FromBroker::Disconnect { .. }), "{end:?}");
    }
}

/// All that has come to a client.
fn messages(client: &zmq::Socket) -> Vec<Vec<Vec<u8>>> {
    std::iter::from_fn(|| client.recv_multipart(zmq::DONTWAIT).ok()).collect()
}

fn commands_of(message: Vec<Vec<u8>>) -> Vec<client::FromBroker<Body<Vec<u8>>>> {
    let commands = client::Commands::new(Frames::new(message)).expect("1.0");
    commands.map(|command| command.expect("valid")).collect()
}

/// All that has come to a client of MDP/0.2.
fn replies_of_0_2(client: &zmq::Socket) -> Vec<client::FromBroker<Body<Vec<u8>>>> {
    let read = |message| client::FromBroker::decode(Version::V0_2, Frames::new(message));
    messages(client).into_iter().map(|message| read(message).expect("0.2")).collect()
}

/// Checks that these are parts without a gap, from the first one on.
fn check_parts(commands: Vec<client::FromBroker<Body<Vec<u8>>>>) {
    assert!((1..PARTS).contains(&commands.len()), "{} parts", commands.len());
    for (expected, command) in commands.into_iter().enumerate() {
        match command {
            client::FromBroker::Partial { body, .. } => assert_eq!(number(body), expected),
            other => panic!("after part {expected}: {other:?}"),
        }
    }
}

#[test]
fn a_client_of_1_0_that_lost_a_part_gets_no_final_and_is_told_when_it_asks_again() {
    let context = zmq::Context::new();
    let broker = start(&context);
    let (worker, client) = (Worker::register(&context, "parts"), connect(&context));
    ask(&client, [request(id(1), "parts")]);
    worker.answer_in_parts();
    check_parts(messages(&client).into_iter().flat_map(commands_of).collect());
    ask(&client, [request(id(1), "parts")]);
    let text = "a part of the reply could not be sent".to_owned();
    assert_eq!(
        commands_of(client.recv_multipart(0).expect("an answer")),
        [client::FromBroker::Error {
            id: id(1),
            reason: Reason { code: 502, text },
            details: body("")
        }]
    );
    let counters = broker.stop().expect("stopped");
    assert_eq!(counters.requests_dropped_partial_unsent, 1);
    // The part, and the error behind it.
    assert_eq!((counters.replies_unsent, counters.replies_unwanted), (2, 1));
}

#[test]
fn a_client_of_0_2_that_lost_a_part_gets_nothing_more_of_that_reply() {
    let context = zmq::Context::new();
    let broker = start(&context);
    let (worker, client) = (Worker::register(&context, "parts"), connect(&context));
    client.send_multipart([&b"MDPC02"[..], b"\x01", b"parts", b"x"], 0).expect("sent");
    worker.answer_in_parts();
    check_parts(replies_of_0_2(&client));
    client.send_multipart([&b"MDPC02"[..], b"\x01", b"mmi.service", b"parts"], 0).expect("sent");
    let answer = client.recv_multipart(0).expect("an answer");
    assert_eq!(answer, [&b"MDPC02"[..], b"\x03", b"mmi.service", b"404"]);
    let counters = broker.stop().expect("stopped");
    assert_eq!(counters.requests_dropped_partial_unsent, 1);
    assert_eq!((counters.replies_unsent, counters.replies_unwanted), (1, 1));
}

#[test]
fn a_client_of_0_2_gets_no_part_behind_a_lost_one_that_waited_with_it() {
    let context = zmq::Context::new();
    let broker = start(&context);
    let (mut worker, client) = (Worker::register(&context, "parts"), connect(&context));
    client.send_multipart([&b"MDPC02"[..], b"\x01", b"parts", b"x"], 0).expect("sent");
    // The end of the reply is there before any part of it has been sent.
    worker.say_parts(PARTS + 1);
    worker.drain();
    let replies = replies_of_0_2(&client);
    let (came, all) = (replies.len() as u64, PARTS as u64 + 1);
    check_parts(replies);
    let counters = broker.stop().expect("stopped");
    assert_eq!((counters.requests_answered, counters.replies_unsent), (1, all - came));
}

#[test]
fn every_request_of_a_message_that_a_worker_did_not_take_was_no_attempt() {
    const MESSAGES: u8 = 20;
    let context = zmq::Context::new();
    let broker = start(&context);
    let (reluctant, client) = (Worker::register(&context, "work"), connect(&context));
    for message in 0..MESSAGES {
        ask(&client, (0..3).map(|n| request(id(3 * message + n), "work")));
    }
    // When this is answered, all of them have come.
    ask(&client, [request(id(255), "mmi.service")]);
    client.recv_multipart(0).expect("an answer");
    let mut worker = Worker::register(&context, "work");
    let attempts: Vec<_> = (0..3 * MESSAGES).map(|_| worker.request().1).collect();
    let taken = attempts.iter().filter(|attempt| **attempt == 2).count();
    assert!(taken > 0 && taken < attempts.len(), "{attempts:?}");
    assert_eq!(taken % 3, 0, "some of a message counted, and some did not: {attempts:?}");
    drop(reluctant);
    let counters = broker.stop().expect("stopped");
    assert_eq!(counters.workers_unreachable, 1);
}

#[test]
fn a_request_for_a_worker_that_left_before_it_was_sent_was_no_attempt() {
    let context = zmq::Context::new();
    let broker = start(&context);
    let mut leaving = Worker::register_for(&context, "work", 1);
    let client = connect(&context);
    ask(&client, [request(id(1), "work"), request(id(2), "work")]);
    let (task, _) = leaving.request();
    // Between the two it is given the other request, and both are read before that is sent.
    leaving.say([
        worker::ToBroker::Final { client: task, body: body("done") },
        worker::ToBroker::Disconnect { reason: Reason::default() },
    ]);
    let mut worker = Worker::register(&context, "work");
    assert_eq!(worker.request().1, 1);
    let counters = broker.stop().expect("stopped");
    assert_eq!(counters.requests_dispatched, 3);
}

/// A worker that takes 20,000 requests gets them in many messages, and has room for few of
/// these. The others did not run there, and stay in their order.
#[test]
fn what_did_not_fit_into_a_workers_queue_goes_to_the_next_in_its_order() {
    const REQUESTS: usize = 20_000;
    for send_queue_max in [1, 3] {
        let context = zmq::Context::new();
        let config = Config::builder()
            .bind("inproc://broker")
            .set("send_queue_max", send_queue_max)
            .set("shutdown_ms", 0);
        let broker = Broker::start_in(&context, &config.build().expect("valid")).expect("started");
        let client = connect(&context);
        for first in (0..REQUESTS).step_by(100) {
            ask(
                &client,
                (first..first + 100).map(|number| {
                    let mut id = [0; 16];
                    id[..8].copy_from_slice(&number.to_be_bytes());
                    let (id, service) = (Some(RequestId::new(id)), service("work"));
                    let terms = Terms::default();
                    client::ToBroker::Request { id, service, terms, body: body(number) }
                }),
            );
        }
        let all_is_read = || {
            ask(&client, [request(id(255), "mmi.service")]);
            client.recv_multipart(0).expect("an answer");
        };
        all_is_read();
        let offer = Offer { capacity: 65_535, ..Offer::default() };
        let ready = || worker::ToBroker::Ready { service: service("work"), offer: offer.clone() };
        let reluctant = connect(&context);
        reluctant.set_rcvtimeo(0).expect("an option");
        let reluctant = Worker { socket: reluctant, inbox: VecDeque::new() };
        reluctant.say([ready()]);
        all_is_read();
        let requests = |frames: Vec<Vec<u8>>| {
            let commands = worker::Commands::new(Frames::new(frames)).expect("a batch");
            commands.filter_map(|command| match command.expect("a command") {
                worker::FromBroker::Request { body, task, .. } => {
                    Some((number(body), task.attempt))
                }
                _ => None,
            })
        };
        let mut had = Vec::new();
        while let Ok(frames) = reluctant.socket.recv_multipart(0) {
            had.extend(requests(frames).map(|(number, _)| number));
        }
        assert!(had.iter().copied().eq(0..had.len()) && had.len() < REQUESTS, "{had:?}");

        let socket = context.socket(zmq::DEALER).expect("a socket");
        socket.set_rcvhwm(0).expect("an option");
        socket.set_linger(0).expect("an option");
        socket.set_rcvtimeo(LIMIT_MS).expect("an option");
        socket.connect("inproc://broker").expect("a broker");
        let next = Worker { socket, inbox: VecDeque::new() };
        next.say([ready()]);
        let mut got = Vec::new();
        while got.len() < REQUESTS {
            got.extend(requests(next.socket.recv_multipart(0).expect("the others")));
        }
        // What was in its queue is given back when it is lost, and did run.
        got.sort_by_key(|(_, attempt)| *attempt);
        let unsent = (had.len()..REQUESTS).map(|number| (number, 1));
        assert!(got.into_iter().eq(unsent.chain(had.into_iter().map(|number| (number, 2)))));
        broker.stop().expect("stopped");
    }
}
