//! MDP/1.0 against the broker itself.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::unbounded;
use majordomo_broker::Broker;
use majordomo_broker::config::Config;
use majordomo_protocol::client::{Commands, FromBroker, ToBroker};
use majordomo_protocol::{Answered, Batch, Frames, RequestId, Terms};
use majordomo_worker::{
    Body, HandlerError, Request, Responder, Service, ServiceName, StopReason, Version, Worker,
    WorkerBuilder, code,
};

use crate::broker::{PATIENCE, Started, own_endpoint, start, until};

fn broker_at(endpoint: &str) -> Broker {
    let config = Config::builder().bind(endpoint).build().expect("a good configuration");
    Broker::start(&config).expect("it starts")
}

fn broker() -> Broker {
    broker_at("tcp://127.0.0.1:0")
}

fn worker(broker: &Broker) -> WorkerBuilder {
    worker_at(&broker.endpoints()[0])
}

fn worker_at(endpoint: &str) -> WorkerBuilder {
    Worker::builder()
        .broker(endpoint)
        .heartbeat_interval(Duration::from_millis(500))
        .heartbeat_liveness(100)
        .reconnect_min(Duration::from_millis(1))
        .drain_limit(Duration::from_secs(3600))
}

fn echo(request: Request) -> Result<Body, HandlerError> {
    Ok(request.into_body())
}

/// A client that knows frames and nothing else.
struct Caller {
    socket: zmq::Socket,
    rest: VecDeque<FromBroker<Body>>,
}

/// How a request ended: its reply, or the code and text of its error.
type End = Result<Body, (u16, String)>;

impl Caller {
    fn new(endpoint: &str) -> Self {
        let socket = zmq::Context::new().socket(zmq::DEALER).expect("a socket");
        socket.set_linger(0).expect("an option");
        socket
            .set_rcvtimeo(i32::try_from(PATIENCE.as_millis()).expect("it fits"))
            .expect("an option");
        socket.connect(endpoint).expect("an endpoint");
        Caller { socket, rest: VecDeque::new() }
    }

    fn of(broker: &Broker) -> Self {
        Self::new(&broker.endpoints()[0])
    }

    /// Asks all this in one message; bodies are the numbers.
    fn ask(&self, service: &str, numbers: impl IntoIterator<Item = u64>) {
        let mut batch = Batch::of_client(4096);
        for number in numbers {
            let request = ToBroker::Request {
                id: Some(id(number)),
                service: ServiceName::new(service).expect("a good name"),
                // A worker that leaves with a request, begun or not, shows as an error.
                terms: Terms { timeout: Some(PATIENCE * 10), once: true, ..Terms::default() },
                body: Body::from(number.to_string()),
            };
            request.write(&mut batch).expect("a record");
        }
        self.socket.send_multipart(batch.into_frames(), 0).expect("sent");
    }

    fn cancel(&self, number: u64) {
        let mut batch = Batch::<Vec<u8>>::of_client(4096);
        ToBroker::<Body>::Cancel { id: id(number) }.write(&mut batch).expect("a record");
        self.socket.send_multipart(batch.into_frames(), 0).expect("sent");
    }

    fn receive(&mut self) -> FromBroker<Body> {
        while self.rest.is_empty() {
            let frames = self.socket.recv_multipart(0).expect("an answer in time");
            let commands = Commands::new(Frames::new(frames)).expect("a batch");
            self.rest.extend(commands.map(|command| command.expect("a command")));
        }
        self.rest.pop_front().expect("not empty")
    }

    /// The next request that ends, and how.
    fn end(&mut self) -> (u64, End) {
        match self.receive() {
            FromBroker::Final { request: Answered::Id(id), body } => (number(&id), Ok(body)),
            FromBroker::Error { id, reason, .. } => (number(&id), Err((reason.code, reason.text))),
            other => panic!("{other:?}"),
        }
    }

    /// Waits until all of these have echoed.
    fn echoed(&mut self, numbers: impl IntoIterator<Item = u64>) {
        let mut left: HashSet<u64> = numbers.into_iter().collect();
        while !left.is_empty() {
            let (number, end) = self.end();
            assert_eq!(end, Ok(Body::from(number.to_string())));
            assert!(left.remove(&number), "{number} twice");
        }
    }
}

fn id(number: u64) -> RequestId {
    RequestId::new((u128::from(number) + 1).to_be_bytes())
}

fn number(id: &RequestId) -> u64 {
    (u128::from_be_bytes(*id.as_bytes()) - 1).try_into().expect("a number of ours")
}

/// Numbers from here on ask only whether somebody is there.
const PROBES: u64 = 1 << 40;

fn registered(broker: &Broker, worker: WorkerBuilder) -> Started {
    // A broker repeats the answer to an id that it knows.
    static PROBE: AtomicU64 = AtomicU64::new(PROBES);
    let worker = start(worker);
    // Answered only when somebody has registered.
    let probe = PROBE.fetch_add(1, Ordering::SeqCst);
    let mut caller = Caller::of(broker);
    caller.ask("echo", [probe]);
    caller.echoed([probe]);
    worker
}

#[test]
fn echo_of_thousands_at_once_inline_and_by_threads() {
    for inline in [true, false] {
        let broker = broker();
        let service = Service::new("echo", echo).concurrency(if inline { 1000 } else { 8 });
        let service = if inline { service.inline() } else { service };
        let worker = start(worker(&broker).serve(service));
        let mut caller = Caller::of(&broker);
        for round in 0..10 {
            caller.ask("echo", round * 500..(round + 1) * 500);
        }
        caller.echoed(0..5000);
        until("counted", || worker.counts().answers == 5000);
        assert_eq!(worker.counts().failures, 0);
    }
}

#[test]
fn no_more_handlers_run_than_the_service_has_places() {
    let broker = broker();
    let (running, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let seen = most.clone();
    let count = move |request: Request| {
        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::yield_now();
        running.fetch_sub(1, Ordering::SeqCst);
        Ok(request.into_body())
    };
    let _worker = start(worker(&broker).serve(Service::new("echo", count).concurrency(4)));
    let mut caller = Caller::of(&broker);
    caller.ask("echo", 0..1000);
    caller.echoed(0..1000);
    assert!((1..=4).contains(&seen.load(Ordering::SeqCst)));
}

#[test]
fn errors_panics_and_parts_reach_the_client() {
    let broker = broker();
    let fails = |request: Request, mut responder: Responder| match request.body().to_bytes()[0] {
        b'1' => Err("out of paper".into()),
        b'2' => panic!("oh"),
        b'3' => Ok(responder.error(422, "bad", "field")),
        _ => {
            responder.partial("a")?;
            responder.partial("b")?;
            Ok(responder.finish("c"))
        }
    };
    let service = Service::streaming("fails", fails);
    let _worker = start(worker(&broker).serve(service));
    let mut caller = Caller::of(&broker);
    let error = |code, text: &str| Err((code, text.to_owned()));
    for (number, expected) in [
        (1, error(500, "out of paper")),
        (2, error(500, "the handler panicked: oh")),
        (3, error(422, "bad")),
    ] {
        caller.ask("fails", [number]);
        assert_eq!(caller.end(), (number, expected));
    }
    caller.ask("fails", [4]);
    for text in ["a", "b"] {
        let part = FromBroker::Partial { request: Answered::Id(id(4)), body: Body::from(text) };
        assert_eq!(caller.receive(), part);
    }
    assert_eq!(caller.end(), (4, Ok(Body::from("c"))));
}

#[test]
fn a_cancelled_call_reaches_its_handler_and_the_place_is_free_again() {
    let broker = broker();
    let (begun, begins) = unbounded();
    let (ended, ends) = unbounded();
    let wait = move |request: Request| -> Result<Body, HandlerError> {
        begun.send(())?;
        ended.send(request.cancellation().wait_timeout(PATIENCE))?;
        Err("given up".into())
    };
    let worker = start(worker(&broker).serve(Service::new("wait", wait)));
    let mut caller = Caller::of(&broker);
    for number in 0..3 {
        caller.ask("wait", [number]);
        begins.recv_timeout(PATIENCE).expect("the one place is free");
        caller.cancel(number);
        assert_eq!(ends.recv_timeout(PATIENCE), Ok(true));
        let (cancelled, end) = caller.end();
        assert_eq!((cancelled, end.map_err(|error| error.0)), (number, Err(code::CANCELLED)));
    }
    until("counted", || worker.counts().cancellations == 3);
}

/// One worker after the other is drained while calls go on; each call is answered,
/// and run once.
#[test]
fn workers_drained_under_load_lose_nothing_and_run_nothing_twice() {
    let (ran, runs) = unbounded();
    let echo_once = move |request: Request| {
        let body = request.into_body();
        ran.send(body.clone())?;
        Ok(body)
    };
    for inline in [true, false] {
        let service = Service::new("echo", echo_once.clone()).concurrency(16);
        let service = if inline { service.inline() } else { service };
        let broker = broker();
        let next = || registered(&broker, worker(&broker).serve(service.clone()));
        let mut current = next();
        let mut caller = Caller::of(&broker);
        let mut asked = 0;
        for _ in 0..4 {
            // Answers come one by one, and for each one more is asked: the load
            // never ends while the worker leaves.
            caller.ask("echo", asked..asked + 100);
            asked += 100;
            let replacement = next();
            current.stop_handle().stop();
            for _ in 0..500 {
                let (number, end) = caller.end();
                assert_eq!(end, Ok(Body::from(number.to_string())));
                caller.ask("echo", [asked]);
                asked += 1;
            }
            assert_eq!(current.join(), StopReason::Drained);
            for _ in 0..100 {
                assert!(caller.end().1.is_ok());
            }
            current = replacement;
        }
        let mut times = HashMap::new();
        for body in runs.try_iter() {
            let number: u64 = String::from_utf8(body.into_bytes()).unwrap().parse().unwrap();
            if number < PROBES {
                *times.entry(number).or_insert(0) += 1;
            }
        }
        assert_eq!(times.len() as u64, asked);
        assert!(times.values().all(|times| *times == 1), "{times:?}");
    }
}

/// Replies too large for the batch frame, many in one turn.
#[test]
fn a_broker_that_takes_few_frames_gets_every_reply() {
    let config = Config::builder().bind("tcp://127.0.0.1:0").set("frames_max", 8);
    let broker = Broker::start(&config.build().expect("the fewest")).expect("it starts");
    let large = |request: Request| {
        let mut body = request.into_body().into_bytes();
        body.resize(5000, b' ');
        Ok(body)
    };
    let service = Service::new("large", large).concurrency(100).inline();
    let worker = start(worker(&broker).serve(service));
    let mut caller = Caller::of(&broker);
    caller.ask("large", 0..1000);
    for _ in 0..1000 {
        assert_eq!(caller.end().1.map(|body| body.size()), Ok(5000));
    }
    assert_eq!(worker.counts().reconnects, 0);
}

#[test]
fn a_worker_outlives_a_restart_of_the_broker() {
    let endpoint = own_endpoint("real-restart");
    let first = broker_at(&endpoint);
    let worker = worker_at(&endpoint).serve(Service::new("echo", echo).concurrency(8));
    let worker = registered(&first, worker.heartbeat_interval(Duration::from_millis(100)));
    first.stop().unwrap();
    let second = broker_at(&endpoint);
    let mut caller = Caller::of(&second);
    caller.ask("echo", 0..100);
    caller.echoed(0..100);
    assert!(worker.counts().reconnects >= 1);
}

#[test]
fn the_same_service_serves_in_every_version() {
    let broker = broker();
    for version in [Version::V0_1, Version::V0_2, Version::V1_0] {
        let builder = Worker::builder().broker(&broker.endpoints()[0]).version(version);
        let _worker = start(builder.serve(Service::new("echo", echo).concurrency(3)));
        let mut caller = Caller::of(&broker);
        caller.ask("echo", 0..50);
        caller.echoed(0..50);
    }
}
