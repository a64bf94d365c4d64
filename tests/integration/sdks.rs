//! Our own client and workers of MDP/1.0 through the real broker.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use majordomo_client::{
    BlockingClient, Body, CallError, Client, Metadata, Options, Reply, Version,
};
use majordomo_tests::limit::{LIMIT, until};
use majordomo_tests::process::Signal;
use majordomo_tests::report::{Reports, counter};
use majordomo_tests::spawn::BrokerProcess;
use majordomo_worker::{
    HandlerError, Request, Responder, RunningWorker, Service, StopReason, Worker, WorkerBuilder,
};

const VERSIONS: [Version; 3] = [Version::V0_1, Version::V0_2, Version::V1_0];
const INTERVAL_MS: u32 = 100;
/// Two seconds of silence: a busy machine may hold a thread up for long.
const LIVENESS: u32 = 20;

fn worker(endpoint: &str, version: Version) -> WorkerBuilder {
    Worker::builder()
        .broker(endpoint)
        .version(version)
        .heartbeat_interval(Duration::from_millis(INTERVAL_MS.into()))
        .heartbeat_liveness(LIVENESS)
}

fn serving(endpoint: &str, service: Service) -> RunningWorker {
    worker(endpoint, Version::V1_0).serve(service).start().expect("a worker")
}

fn echo(request: Request) -> Result<Body, HandlerError> {
    Ok(request.into_body())
}

fn client(endpoint: &str) -> Client {
    Client::builder().broker(endpoint).timeout(LIMIT).tries(1).build().expect("a client")
}

fn stop(worker: RunningWorker) {
    worker.stop_handle().stop();
    assert_eq!(worker.join().expect("no failure"), StopReason::Drained);
}

#[test]
fn every_pairing_works() {
    let broker = BrokerProcess::beating(INTERVAL_MS, LIVENESS);
    let endpoint = broker.endpoint();
    let new = client(endpoint);
    let frames = || Body::from(vec![b"one".to_vec(), b"".to_vec(), vec![0; 1_000_000]]);
    for worker_version in VERSIONS {
        let service = worker_version.as_str();
        let serving = worker(endpoint, worker_version).service(service, echo);
        let serving = serving.start().expect("a worker");
        for body in [Body::from("hello"), Body::from(""), frames()] {
            assert!(new.call(service, body.clone()).expect("a reply") == body, "{service}");
            for version in [Version::V0_1, Version::V0_2] {
                let builder = BlockingClient::builder().broker(endpoint).version(version);
                let mut old = builder.timeout(LIMIT).tries(1).build().expect("a client");
                assert!(old.request(service, body.clone()).expect("a reply") == body);
            }
        }
        stop(serving);
    }
    let report = Reports::of(endpoint).until_workers(0);
    assert_eq!(counter(&report, "requests_answered"), 27);
    assert_eq!(counter(&report, "messages_malformed"), 0);
    assert_eq!(counter(&report, "replies_unexpected"), 0);
}

#[test]
fn a_reply_in_parts_is_streamed_or_joined() {
    let broker = BrokerProcess::beating(INTERVAL_MS, LIVENESS);
    let count = |request: Request, mut responder: Responder| {
        let text = String::from_utf8(request.into_body().into_bytes())?;
        for number in 0..text.parse::<u32>()? {
            responder.partial(number.to_string())?;
        }
        Ok(responder.finish("end"))
    };
    let worker = serving(broker.endpoint(), Service::streaming("count", count));
    let client = client(broker.endpoint());
    let joined = client.call("count", "2").expect("a reply");
    assert_eq!(joined.into_frames(), [&b"0"[..], b"1", b"end"]);
    let call = client.submit("count", "2").expect("submitted");
    let replies: Result<Vec<Reply>, CallError> = call.replies().collect();
    assert_eq!(
        replies.expect("all parts"),
        [
            Reply::Partial(Body::from("0")),
            Reply::Partial(Body::from("1")),
            Reply::Final(Body::from("end")),
        ]
    );
    stop(worker);
}

#[test]
fn errors_arrive_as_the_handler_made_them() {
    let broker = BrokerProcess::beating(INTERVAL_MS, LIVENESS);
    let moody = |request: Request| match &*request.into_body().into_bytes() {
        b"own" => Err(HandlerError::new(4_711, "my own").details("line 7")),
        b"fail" => Err("as you wish".into()),
        b"panic" => panic!("as you wish: this is part of the test"),
        _ => Ok("well"),
    };
    let worker = serving(broker.endpoint(), Service::new("moody", moody));
    let client = client(broker.endpoint());
    for (body, expected) in [("own", 4_711), ("fail", 500), ("panic", 500)] {
        let error = client.call("moody", body).expect_err("an error");
        assert!(error.may_have_run());
        let CallError::Remote { code, text, details, .. } = error else { panic!("{error}") };
        assert_eq!(code, expected, "{text}");
        if body == "own" {
            assert_eq!((text.as_str(), details), ("my own", Body::from("line 7")));
        }
        assert_eq!(client.call("moody", "").expect("a reply"), Body::from("well"));
    }
    let report = Reports::of(broker.endpoint()).fresh();
    assert_eq!(counter(&report, "workers_registered"), 1);
    stop(worker);
}

#[test]
fn one_connection_carries_many_requests_at_once() {
    const AT_ONCE: usize = 16;
    let broker = BrokerProcess::beating(INTERVAL_MS, LIVENESS);
    // Nobody passes before all have come.
    let barrier = Arc::new(Barrier::new(AT_ONCE));
    let meet = move |request: Request| {
        barrier.wait();
        Ok(request.into_body())
    };
    let worker = serving(broker.endpoint(), Service::new("meet", meet).concurrency(AT_ONCE));
    let client = client(broker.endpoint());
    let calls: Vec<_> = (0..10 * AT_ONCE)
        .map(|number| client.submit("meet", number.to_string()).expect("submitted"))
        .collect();
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(call.wait().expect("a reply"), Body::from(number.to_string()));
    }
    let report = Reports::of(broker.endpoint()).fresh();
    assert_eq!(counter(&report, "workers_registered"), 1);
    stop(worker);
}

#[test]
fn a_cancelled_call_reaches_the_handler() {
    let broker = BrokerProcess::beating(INTERVAL_MS, LIVENESS);
    let (seen, saw) = mpsc::channel();
    let wait = move |request: Request| {
        if request.body() == &Body::from("quick") {
            return Ok("quick");
        }
        let _ = seen.send("began");
        until("it is cancelled", || request.is_cancelled().then_some(()));
        let _ = seen.send("cancelled");
        Err("given up".into())
    };
    let worker = serving(broker.endpoint(), Service::new("wait", wait));
    let client = client(broker.endpoint());
    let next = || saw.recv_timeout(LIMIT);
    let call = client.submit("wait", "by hand").expect("submitted");
    assert_eq!(next(), Ok("began"));
    call.cancel();
    assert!(matches!(call.wait(), Err(CallError::Cancelled { .. })));
    assert_eq!(next(), Ok("cancelled"));
    // Its time is up while it runs.
    let brief = Options::new().deadline(Duration::from_secs(1));
    let late = client.call_with("wait", "by time", &brief).expect_err("too late");
    assert!(matches!(late, CallError::Deadline { .. }), "{late}");
    assert_eq!(next(), Ok("began"));
    assert_eq!(next(), Ok("cancelled"));
    assert_eq!(client.call("wait", "quick").expect("the place is free"), Body::from("quick"));
    stop(worker);
}

#[test]
fn calls_that_do_not_start_say_so() {
    let broker = BrokerProcess::with(["--requests-per-service-max=1", "--request-expiry-ms=200"]);
    let client = client(broker.endpoint());
    let error = client.call_with("nobody", "", &Options::new().fail_fast()).expect_err("nobody");
    assert!(matches!(error, CallError::NoWorker { may_have_run: false, .. }), "{error}");
    let soon = Options::new().start_within(Duration::from_millis(1));
    let error = client.call_with("nobody", "", &soon).expect_err("nobody");
    assert!(matches!(error, CallError::NotStarted { may_have_run: false, .. }), "{error}");
    let waiting = client.submit("nobody", "1").expect("submitted");
    let error = client.call("nobody", "2").expect_err("the queue is full");
    assert!(matches!(error, CallError::Busy { may_have_run: false, .. }), "{error}");
    let error = waiting.wait().expect_err("nobody comes");
    assert!(matches!(error, CallError::NoWorker { may_have_run: false, .. }), "{error}");
}

#[test]
fn metadata_attempt_and_time_left_reach_the_handler() {
    let broker = BrokerProcess::beating(INTERVAL_MS, LIVENESS);
    let tell = |request: Request| {
        let trace = request.metadata().value("trace").unwrap_or_default().to_vec();
        let left = request.remaining().is_some_and(|left| left <= LIMIT);
        Ok(format!("{} {} {left}", String::from_utf8(trace)?, request.attempt()))
    };
    let worker = serving(broker.endpoint(), Service::new("tell", tell).inline());
    let mut metadata = Metadata::default();
    metadata.push("trace", b"7").expect("little metadata");
    let options = Options::new().metadata(metadata).once();
    let reply = client(broker.endpoint()).call_with("tell", "", &options).expect("a reply");
    assert_eq!(reply, Body::from("7 1 true"));
    stop(worker);
}

#[test]
fn what_wants_no_reply_runs_and_gets_none() {
    let broker = BrokerProcess::beating(INTERVAL_MS, LIVENESS);
    let sum = Arc::new(AtomicU64::new(0));
    let add = {
        let sum = Arc::clone(&sum);
        move |request: Request| {
            let number: u64 = String::from_utf8(request.into_body().into_bytes())?.parse()?;
            sum.fetch_add(number, Ordering::Relaxed);
            Ok("")
        }
    };
    let worker = serving(broker.endpoint(), Service::new("add", add));
    let client = client(broker.endpoint());
    for number in 1..=100 {
        client.send("add", number.to_string()).expect("sent");
    }
    until("all have run", || (sum.load(Ordering::Relaxed) == 5_050).then_some(()));
    assert_eq!(client.outstanding(), 0);
    stop(worker);
}

#[test]
fn calls_and_workers_outlive_a_broker_that_is_killed() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut broker = BrokerProcess::with([
        format!("--bind=ipc://{}", directory.path().join("broker").display()),
        format!("--heartbeat-interval-ms={INTERVAL_MS}"),
        format!("--heartbeat-liveness={LIVENESS}"),
    ]);
    let endpoint = broker.endpoint().to_owned();
    let worker = serving(&endpoint, Service::new("echo", echo).concurrency(10));
    let client = Client::builder()
        .broker(&endpoint)
        .timeout(Duration::from_millis(500))
        .tries(100)
        .build()
        .expect("a client");
    let answered = AtomicU64::new(0);
    let over = AtomicU64::new(0);
    thread::scope(|scope| {
        for caller in 0..4 {
            let (client, answered, over) = (client.clone(), &answered, &over);
            scope.spawn(move || {
                let mut number = 0;
                while over.load(Ordering::Relaxed) == 0 {
                    let body = format!("{caller} {number}");
                    let reply = client.call("echo", body.clone()).expect("a reply");
                    assert_eq!(reply, Body::from(body), "another call's reply");
                    answered.fetch_add(1, Ordering::Relaxed);
                    number += 1;
                }
            });
        }
        let hundred_more = || {
            let before = answered.load(Ordering::Relaxed);
            until("100 calls more are answered", || {
                (answered.load(Ordering::Relaxed) >= before + 100).then_some(())
            });
        };
        hundred_more();
        for round in 0..3 {
            if round == 1 {
                broker.signal(Signal::TERM);
                assert_eq!(broker.exit_code(), 0);
            }
            broker.kill();
            broker.start_again();
            hundred_more();
        }
        over.store(1, Ordering::Relaxed);
    });
    stop(worker);
}

#[test]
fn calls_move_to_the_next_broker() {
    let mut first = BrokerProcess::beating(INTERVAL_MS, LIVENESS);
    let second = BrokerProcess::beating(INTERVAL_MS, LIVENESS);
    let workers =
        [&first, &second].map(|broker| serving(broker.endpoint(), Service::new("echo", echo)));
    for broker in [&first, &second] {
        Reports::of(broker.endpoint()).until_workers(1);
    }
    let client = Client::builder()
        .broker(first.endpoint())
        .broker(second.endpoint())
        .timeout(LIMIT)
        .build()
        .expect("a client");
    assert_eq!(client.call("echo", "1").expect("a reply"), Body::from("1"));
    let report = Reports::of(first.endpoint()).fresh();
    assert_eq!(counter(&report, "requests_answered"), 1);
    first.kill();
    assert_eq!(client.call("echo", "2").expect("a reply"), Body::from("2"));
    let report = Reports::of(second.endpoint()).fresh();
    assert_eq!(counter(&report, "requests_answered"), 1);
    drop(workers);
}
