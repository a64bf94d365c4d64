//! MDP/1.0 against a bare ROUTER that speaks it through the codec.

use std::collections::VecDeque;
use std::time::Duration;

use crossbeam_channel::unbounded;
use majordomo_protocol::worker::{FromBroker, ToBroker};
use majordomo_protocol::{Agreement, Batch, Frames, InstanceId, Message, Reason, Task};
use majordomo_worker::{
    Body, ClientAddress, HandlerError, Metadata, Request, Responder, Service, StopHandle,
    StopReason, Worker, WorkerBuilder, code,
};

use crate::broker::{Held, PATIENCE, Place, start_without_drain as start, until};

struct Router {
    socket: zmq::Socket,
    endpoint: String,
    /// What came in one message with the last that was received.
    rest: VecDeque<(Place, ToBroker<Body>)>,
    messages: usize,
}

impl Router {
    fn new() -> Self {
        let socket = zmq::Context::new().socket(zmq::ROUTER).expect("a socket");
        socket.set_linger(0).expect("an option");
        socket.set_router_mandatory(true).expect("an option");
        socket
            .set_rcvtimeo(i32::try_from(PATIENCE.as_millis()).expect("it fits"))
            .expect("an option");
        socket.bind("tcp://127.0.0.1:*").expect("a port");
        let endpoint = socket.get_last_endpoint().expect("bound").expect("text");
        Router { socket, endpoint, rest: VecDeque::new(), messages: 0 }
    }

    fn worker(&self) -> WorkerBuilder {
        Worker::builder()
            .broker(&self.endpoint)
            .heartbeat_interval(Duration::from_secs(3600))
            .reconnect_min(Duration::from_millis(1))
            .drain_limit(Duration::from_secs(3600))
    }

    fn receive(&mut self) -> (Place, ToBroker<Body>) {
        while self.rest.is_empty() {
            let mut frames = self.socket.recv_multipart(0).expect("a message in time");
            let place = frames.remove(0);
            self.messages += 1;
            for message in Message::decode(Frames::new(frames)) {
                let Ok(Message::Worker { command, .. }) = message else {
                    panic!("no command of a worker: {message:?}");
                };
                self.rest.push_back((place.clone(), command));
            }
        }
        self.rest.pop_front().expect("not empty")
    }

    fn said(&mut self) -> ToBroker<Body> {
        self.receive().1
    }

    fn ready(&mut self) -> Place {
        let (place, command) = self.receive();
        assert!(matches!(command, ToBroker::Ready { .. }), "{command:?}");
        place
    }

    /// Says all this in one message.
    fn say(&self, place: &Place, commands: impl IntoIterator<Item = FromBroker<Body>>) {
        let mut batch = Batch::of_worker(4096);
        for command in commands {
            command.write(&mut batch).expect("a record");
        }
        let frames = std::iter::once(place.clone()).chain(batch.into_frames());
        self.socket.send_multipart(frames, 0).expect("a connected worker");
    }
}

fn id(number: u64) -> ClientAddress {
    ClientAddress::new(&number.to_be_bytes())
}

fn request(number: u64, body: impl Into<Body>) -> FromBroker<Body> {
    FromBroker::Request { client: id(number), task: Task::default(), body: body.into() }
}

fn final_(number: u64, body: impl Into<Body>) -> ToBroker<Body> {
    ToBroker::Final { client: id(number), body: body.into() }
}

fn error(number: u64, code: u16, text: &str, details: &str) -> ToBroker<Body> {
    let reason = Reason { code, text: text.to_owned() };
    ToBroker::Error { client: id(number), reason, details: Body::from(details) }
}

fn echo(request: Request) -> Result<Body, HandlerError> {
    Ok(request.into_body())
}

#[test]
fn it_registers_once_with_its_capacity_and_what_it_says_of_itself() {
    let mut router = Router::new();
    let worker = router.worker().worker_name("w1").worker_version("2.1").worker_description("x");
    let _worker = start(worker.serve(Service::new("echo", echo).concurrency(7)));
    let ToBroker::Ready { service, offer } = router.said() else { panic!("READY is first") };
    assert_eq!((service.as_str(), offer.capacity, offer.liveness), ("echo", 7, 3));
    assert_eq!(offer.heartbeat, Some(Duration::from_secs(3600)));
    let metadata: Vec<_> = offer.metadata.iter().collect();
    assert_eq!(metadata, [("name", &b"w1"[..]), ("version", b"2.1"), ("description", b"x")]);
}

#[test]
fn inline_answers_to_one_message_leave_in_one_message() {
    let mut router = Router::new();
    let worker = start(router.worker().serve(Service::new("echo", echo).concurrency(100).inline()));
    let place = router.ready();
    router.messages = 0;
    for round in 0..50 {
        let numbers = round * 100..(round + 1) * 100;
        router.say(&place, numbers.clone().map(|number| request(number, number.to_string())));
        for number in numbers {
            assert_eq!(router.said(), final_(number, number.to_string()));
        }
    }
    assert_eq!(router.messages, 50);
    until("counted", || worker.counts().answers == 5000);
}

#[test]
fn large_bodies_and_bodies_of_several_frames_come_back_as_they_went() {
    for inline in [false, true] {
        let mut router = Router::new();
        let service = Service::new("echo", echo).concurrency(8);
        let service = if inline { service.inline() } else { service };
        let _worker = start(router.worker().serve(service));
        let place = router.ready();
        let bodies = [
            vec![vec![1; 4096]],
            vec![vec![2; 4097]],
            vec![vec![3; 3_000_000]],
            vec![b"a".to_vec(), Vec::new(), b"b".to_vec()],
            vec![Vec::new()],
        ];
        let requests = bodies.iter().zip(0..).map(|(body, number)| request(number, body.clone()));
        router.say(&place, requests);
        let mut left: Vec<_> =
            bodies.into_iter().zip(0..).map(|(body, number)| final_(number, body)).collect();
        while !left.is_empty() {
            let said = router.said();
            let at = left.iter().position(|expected| *expected == said).expect("expected");
            left.remove(at);
        }
    }
}

#[test]
fn a_handler_sees_attempt_metadata_and_what_is_left_of_the_timeout() {
    let mut router = Router::new();
    let hour = Duration::from_secs(3600);
    let describe = move |request: Request| {
        let trace = request.metadata().value("trace").unwrap_or_default().to_vec();
        let left = request.remaining().is_some_and(|left| left > hour && left <= 2 * hour);
        Ok(format!("{} {} {left}", request.attempt(), String::from_utf8(trace)?))
    };
    let service = Service::new("describe", describe).time_limit(3 * hour);
    let _worker = start(router.worker().serve(service));
    let place = router.ready();
    let mut metadata = Metadata::default();
    metadata.push("trace", b"t7").unwrap();
    let task = Task { timeout: Some(2 * hour), attempt: 2, metadata };
    let body = Body::from("");
    router.say(&place, [FromBroker::Request { client: id(1), task, body }]);
    assert_eq!(router.said(), final_(1, "2 t7 true"));
}

#[test]
fn whatever_goes_wrong_is_an_error() {
    let mut router = Router::new();
    let fails = |request: Request, mut responder: Responder| {
        match request.body().frames()[0].as_slice() {
            b"text" => return Err("out of paper".into()),
            b"code" => return Err(HandlerError::new(1507, "no").details("more")),
            b"panic" => panic!("oh"),
            b"error" => return Ok(responder.error(422, "bad", "field 3")),
            b"large" => return Ok(responder.finish(vec![0; 101])),
            _ => responder.partial("half")?,
        }
        Ok(responder.error(423, "then bad", ""))
    };
    let worker = router.worker().reply_bytes_max(100).request_bytes_max(100);
    let worker = start(worker.serve(Service::streaming("fails", fails)));
    let place = router.ready();
    for (number, body, expected) in [
        (1, "text", error(1, 500, "out of paper", "")),
        (2, "code", error(2, 1507, "no", "more")),
        (3, "panic", error(3, 500, "the handler panicked: oh", "")),
        (4, "error", error(4, 422, "bad", "field 3")),
        (5, "large", error(5, 500, "the reply has 101 bytes; this worker sends at most 100", "")),
        (
            6,
            &"x".repeat(101),
            error(6, 500, "the request has 101 bytes; this worker takes at most 100", ""),
        ),
    ] {
        router.say(&place, [request(number, body)]);
        assert_eq!(router.said(), expected);
    }
    router.say(&place, [request(7, "parts")]);
    assert_eq!(router.said(), ToBroker::Partial { client: id(7), body: Body::from("half") });
    assert_eq!(router.said(), error(7, 423, "then bad", ""));
    until("counted", || worker.counts().answers == 7);
    let counts = worker.counts();
    assert_eq!((counts.failures, counts.panics), (7, 1));
}

#[test]
fn cancel_reaches_a_handler_that_waits_and_frees_the_place_when_it_gives_up() {
    let mut router = Router::new();
    let (begun, begins) = unbounded();
    let wait = move |request: Request| -> Result<Body, HandlerError> {
        // It is cancelled as soon as it has said that it began.
        assert!(!request.is_cancelled());
        begun.send(())?;
        if request.cancellation().wait_timeout(PATIENCE) && request.is_cancelled() {
            return Err("given up".into());
        }
        Ok(Body::from("waited in vain"))
    };
    let worker = start(router.worker().serve(Service::new("wait", wait)));
    let place = router.ready();
    for number in 0..3 {
        router.say(&place, [request(number, "")]);
        begins.recv_timeout(PATIENCE).unwrap();
        router.say(&place, [FromBroker::Cancel { client: id(number) }]);
        assert_eq!(router.said(), error(number, code::CANCELLED, "given up", ""));
    }
    let counts = worker.counts();
    assert_eq!((counts.cancellations, counts.failures), (3, 0));
}

#[test]
fn a_request_cancelled_before_a_thread_took_it_is_not_begun() {
    let router = Router::new();
    let inbox = router.worker().open("wait", 2).unwrap();
    let mut router = router;
    let place = router.ready();
    let cancel = FromBroker::Cancel { client: id(1) };
    router.say(&place, [request(1, ""), cancel, request(2, "two")]);
    until("both came", || inbox.counters().counts().requests == 2);
    let (second, responder) = inbox.receive(PATIENCE).unwrap().expect("a request");
    assert_eq!(second.client(), &id(2));
    assert_eq!(router.said(), error(1, code::CANCELLED, "cancelled before it was begun", ""));
    responder.finish("done");
    assert_eq!(router.said(), final_(2, "done"));
    inbox.stop_handle().stop_now();
}

#[test]
fn stopping_says_drain_finishes_what_runs_and_leaves_when_the_broker_says_so() {
    let mut router = Router::new();
    let held = Held::new("held");
    let worker = start(router.worker().serve(held.service.clone().concurrency(2)));
    let place = router.ready();
    router.say(&place, [request(1, "")]);
    held.begun();
    worker.stop_handle().stop();
    assert_eq!(router.said(), ToBroker::Drain);
    // As one that crossed it.
    router.say(&place, [request(2, "")]);
    held.begun();
    held.release();
    held.release();
    let mut numbers = Vec::new();
    for _ in 0..2 {
        let ToBroker::Final { client, .. } = router.said() else { panic!("two answers") };
        numbers.push(client);
    }
    numbers.sort();
    assert_eq!(numbers, [id(1), id(2)]);
    // One more, that took its time.
    router.say(&place, [request(3, "")]);
    held.begun();
    held.release();
    assert_eq!(router.said(), final_(3, "done"));
    router.say(&place, [FromBroker::Disconnect { reason: Reason::default() }]);
    assert_eq!(worker.join(), StopReason::Drained);
}

#[test]
fn a_broker_that_does_not_let_a_drained_worker_go_holds_it_no_longer_than_the_drain_limit() {
    let mut router = Router::new();
    let worker = router.worker().drain_limit(Duration::from_millis(100));
    let worker = start(worker.serve(Service::new("echo", echo)));
    let place = router.ready();
    router.say(&place, [request(1, "one")]);
    assert_eq!(router.said(), final_(1, "one"));
    worker.stop_handle().stop();
    assert_eq!(router.said(), ToBroker::Drain);
    assert!(matches!(router.said(), ToBroker::Disconnect { .. }));
    assert_eq!(worker.join(), StopReason::Drained);
}

/// The new broker numbers its requests as the one before did.
#[test]
fn beside_a_handler_that_hangs_a_new_connection_serves_and_gets_no_answer_of_the_old() {
    let mut router = Router::new();
    let (begun, begins) = unbounded();
    let (release, released) = unbounded::<()>();
    let hang = move |request: Request| {
        if request.body().to_bytes() == b"hang" {
            begun.send(())?;
            released.recv_timeout(PATIENCE)?;
            return Ok(Body::from("late"));
        }
        Ok(request.into_body())
    };
    let worker = start(router.worker().serve(Service::new("hang", hang).concurrency(2)));
    let mut place = router.ready();
    router.say(&place, [request(1, "hang")]);
    begins.recv_timeout(PATIENCE).unwrap();
    for _ in 0..5 {
        router.say(&place, [FromBroker::Disconnect { reason: Reason::default() }]);
        let next = router.ready();
        assert_ne!(next, place);
        place = next;
        // As many as were offered, though one place is taken: each has its turn.
        router.say(&place, [request(1, "one"), request(2, "two")]);
        assert_eq!(router.said(), final_(1, "one"));
        assert_eq!(router.said(), final_(2, "two"));
    }
    router.say(&place, [request(1, "hang")]);
    begins.recv_timeout(PATIENCE).unwrap();
    // Any of the two may be released first: one answer is dropped, one is due.
    release.send(()).unwrap();
    release.send(()).unwrap();
    assert_eq!(router.said(), final_(1, "late"));
    until("dropped", || worker.counts().answers_late == 1);
    router.say(&place, [request(1, "next")]);
    assert_eq!(router.said(), final_(1, "next"));
}

#[test]
fn a_lost_broker_cancels_drops_late_answers_and_sees_it_again_when_none_runs() {
    let mut router = Router::new();
    let (begun, begins) = unbounded();
    let wait = move |request: Request| {
        begun.send(())?;
        assert!(request.cancellation().wait_timeout(PATIENCE));
        Ok("late")
    };
    let worker = start(router.worker().serve(Service::new("wait", wait).concurrency(3)));
    let place = router.ready();
    router.say(&place, (0..3).map(|number| request(number, "")));
    for _ in 0..3 {
        begins.recv_timeout(PATIENCE).unwrap();
    }
    let reason = Reason { code: 503, text: "restarting".to_owned() };
    router.say(&place, [FromBroker::Disconnect { reason }]);
    assert_ne!(router.ready(), place);
    let counts = worker.counts();
    assert_eq!((counts.answers, counts.answers_late, counts.reconnects), (0, 3, 1));
}

#[test]
fn an_error_whose_details_do_not_fit_is_sent_without_them() {
    let mut router = Router::new();
    let details = |request: &Request| match request.body().to_bytes()[..] {
        [b'f', ..] => Body::from(vec![vec![]; 70_000]),
        _ => Body::from(vec![0; 101]),
    };
    let fails = move |request: Request| -> Result<Body, HandlerError> {
        Err(HandlerError::new(500, "no").details(details(&request)))
    };
    let worker = router.worker().reply_bytes_max(100);
    let _worker = start(worker.serve(Service::new("fails", fails)));
    let place = router.ready();
    for (number, body) in [(1, "frames"), (2, "bytes")] {
        router.say(&place, [request(number, body)]);
        let ToBroker::Error { reason, details, .. } = router.said() else { panic!("an ERROR") };
        assert_eq!((reason.text.as_str(), details), ("no", Body::from("")));
    }
}

#[test]
fn an_invalid_record_ends_the_connection_and_what_stood_before_it_counts() {
    let mut router = Router::new();
    let worker = start(router.worker().serve(Service::new("echo", echo).inline()));
    let place = router.ready();
    let mut batch = Batch::of_worker(4096);
    request(1, "one").write(&mut batch).unwrap();
    let mut frame = batch.into_frames().remove(0);
    frame.extend([0, 0, 0, 4, 0xFF, 0, 0, 0]);
    router.socket.send_multipart([place.clone(), frame], 0).unwrap();
    assert!(matches!(router.said(), ToBroker::Final { .. }));
    assert!(matches!(router.said(), ToBroker::Disconnect { .. }));
    assert_ne!(router.ready(), place);
    let counts = worker.counts();
    assert_eq!((counts.requests, counts.answers, counts.messages_invalid), (1, 1, 1));
}

#[test]
fn heartbeats_follow_what_welcome_says() {
    let mut router = Router::new();
    let _worker = start(router.worker().serve(Service::new("echo", echo)));
    let place = router.ready();
    let heartbeat = Duration::from_millis(5);
    let instance = InstanceId::new([1; 8]);
    router.say(&place, [FromBroker::Welcome(Agreement { heartbeat, liveness: 255, instance })]);
    for _ in 0..10 {
        assert_eq!(router.said(), ToBroker::Heartbeat);
        router.say(&place, [FromBroker::Heartbeat]);
    }
}

/// It is the thread that moves bytes, too: what comes meanwhile waits in the system.
#[test]
fn what_comes_while_an_inline_handler_takes_long_is_answered_in_order() {
    let mut router = Router::new();
    let (begun, begins) = unbounded();
    let (release, released) = unbounded::<()>();
    let hold = move |request: Request| {
        if request.body().size() == 4 {
            begun.send(())?;
            released.recv_timeout(PATIENCE)?;
        }
        Ok(request.into_body())
    };
    let worker = start(router.worker().serve(Service::new("hold", hold).concurrency(200).inline()));
    let place = router.ready();
    for round in 0..3 {
        router.say(&place, [request(0, "hold")]);
        begins.recv_timeout(PATIENCE).unwrap();
        // Many small ones, and one that needs more than one look.
        for number in 1..100 {
            router.say(&place, [request(number, format!("number {number}"))]);
        }
        router.say(&place, [request(100, vec![7; 3_000_000])]);
        release.send(()).unwrap();
        assert_eq!(router.said(), final_(0, "hold"));
        for number in 1..100 {
            assert_eq!(router.said(), final_(number, format!("number {number}")));
        }
        assert_eq!(router.said(), final_(100, vec![7; 3_000_000]));
        assert_eq!(worker.counts().requests, 101 * (round + 1));
    }
}

/// Nothing of it has left before the sockets are closed.
#[test]
fn what_an_inline_handler_answers_as_it_stops_its_worker_leaves() {
    for bytes in [1, 1_000_000] {
        let mut router = Router::new();
        let (give, given) = unbounded::<StopHandle>();
        let quit = move |_: Request| {
            given.recv_timeout(PATIENCE)?.stop_now();
            Ok(vec![7; bytes])
        };
        let worker = start(router.worker().serve(Service::new("quit", quit).inline()));
        let place = router.ready();
        give.send(worker.stop_handle()).unwrap();
        router.say(&place, [request(1, "")]);
        assert_eq!(worker.join(), StopReason::StopNow { unfinished: 0 });
        assert_eq!(router.said(), final_(1, vec![7; bytes]));
        assert!(matches!(router.said(), ToBroker::Disconnect { .. }));
    }
}
