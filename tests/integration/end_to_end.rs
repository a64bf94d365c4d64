//! Our own workers and clients of MDP/0.1 and MDP/0.2 through the real broker.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use majordomo_client::{BlockingClient, Body, Error, Reply, Version};
use majordomo_tests::limit::{LIMIT, until};
use majordomo_tests::report::{Reports, counter, in_short};
use majordomo_tests::spawn::BrokerProcess;
use majordomo_worker::{
    Request, Responder, RunningWorker, Service, StopReason, Worker, WorkerBuilder,
};

const VERSIONS: [Version; 2] = [Version::V0_1, Version::V0_2];
const INTERVAL_MS: u32 = 50;
/// A second of silence: a busy machine may hold a thread up for long.
const LIVENESS: u32 = 20;

fn worker(endpoint: &str, version: Version) -> WorkerBuilder {
    Worker::builder()
        .broker(endpoint)
        .version(version)
        .heartbeat_interval(Duration::from_millis(INTERVAL_MS.into()))
        .heartbeat_liveness(LIVENESS)
}

fn echo(endpoint: &str, version: Version, service: &str) -> RunningWorker {
    let echo = |request: Request| Ok(request.into_body());
    worker(endpoint, version).service(service, echo).start().expect("a worker")
}

fn client(endpoint: &str, version: Version) -> BlockingClient {
    let builder = BlockingClient::builder().broker(endpoint).version(version);
    builder.timeout(LIMIT).tries(1).build().expect("a client")
}

fn stop(worker: RunningWorker) {
    worker.stop_handle().stop();
    assert_eq!(worker.join().expect("no failure"), StopReason::Drained);
}

#[test]
fn every_pairing_of_versions_works() {
    let broker = BrokerProcess::beating(INTERVAL_MS, LIVENESS);
    for worker_version in VERSIONS {
        let worker = echo(broker.endpoint(), worker_version, worker_version.as_str());
        for client_version in VERSIONS {
            let mut client = client(broker.endpoint(), client_version);
            let frames = Body::from(vec![b"one".to_vec(), b"".to_vec(), vec![0; 1_000_000]]);
            for body in [Body::from("hello"), Body::from(""), frames] {
                let reply = client.request(worker_version.as_str(), body.clone()).expect("a reply");
                assert!(reply == body, "{client_version} to {worker_version}");
            }
        }
        stop(worker);
    }
    let report = Reports::of(broker.endpoint()).until_counted("workers_disconnected", 2);
    assert!(report.workers.is_empty());
    assert_eq!(counter(&report, "requests_answered"), 12);
    assert_eq!(counter(&report, "messages_malformed"), 0);
}

#[test]
fn a_reply_in_parts_is_streamed_or_joined() {
    let broker = BrokerProcess::beating(INTERVAL_MS, LIVENESS);
    for worker_version in VERSIONS {
        let service = worker_version.as_str();
        let count = |request: Request, mut responder: Responder| {
            let text = String::from_utf8(request.into_body().into_bytes())?;
            for number in 0..text.parse::<u32>()? {
                responder.partial(number.to_string())?;
            }
            Ok(responder.finish("end"))
        };
        let counting = worker(broker.endpoint(), worker_version)
            .serve(Service::streaming(service, count))
            .start()
            .expect("a worker");
        let all = || ["0", "1", "2", "end"].map(|frame| frame.as_bytes().to_vec()).to_vec();
        for client_version in VERSIONS {
            let mut client = client(broker.endpoint(), client_version);
            let joined = client.request(service, "3").expect("a reply");
            assert_eq!(joined.into_frames(), all());
        }
        let mut client = client(broker.endpoint(), Version::V0_2);
        let replies: Result<Vec<Reply>, Error> =
            client.stream(service, "3").expect("sent").collect();
        let replies = replies.expect("all parts");
        // A worker of 0.1 has no PARTIAL: its parts are one reply.
        let expected = match worker_version {
            Version::V0_1 => vec![Reply::Final(Body::from(all()))],
            Version::V0_2 | Version::V1_0 => vec![
                Reply::Partial(Body::from("0")),
                Reply::Partial(Body::from("1")),
                Reply::Partial(Body::from("2")),
                Reply::Final(Body::from("end")),
            ],
        };
        assert_eq!(replies, expected);
        stop(counting);
    }
}

#[test]
fn a_handler_that_fails_or_panics_is_an_answer_and_the_worker_goes_on() {
    let broker = BrokerProcess::beating(INTERVAL_MS, LIVENESS);
    let moody = |request: Request| match &*request.into_body().into_bytes() {
        b"fail" => Err("as you wish".into()),
        b"panic" => panic!("as you wish: this is part of the test"),
        _ => Ok("well"),
    };
    let moody =
        worker(broker.endpoint(), Version::V0_2).service("moody", moody).start().expect("a worker");
    let mut client = client(broker.endpoint(), Version::V0_2);
    for body in ["fail", "panic"] {
        let reply = client.request("moody", body).expect("an answer all the same");
        assert!(majordomo_client::failure(&reply).is_some(), "{reply:?}");
        let reply = client.request("moody", "work").expect("a reply");
        assert_eq!(reply, Body::from("well"));
    }
    stop(moody);
    let report = Reports::of(broker.endpoint()).fresh();
    assert_eq!(counter(&report, "workers_registered"), 1);
}

#[test]
fn a_service_serves_as_many_requests_at_once_as_it_says() {
    const AT_ONCE: usize = 4;
    let broker = BrokerProcess::beating(INTERVAL_MS, LIVENESS);
    // Nobody passes before all have come.
    let barrier = Arc::new(Barrier::new(AT_ONCE));
    let meet = move |request: Request| {
        barrier.wait();
        Ok(request.into_body())
    };
    let meeting = worker(broker.endpoint(), Version::V0_2)
        .serve(Service::new("meet", meet).concurrency(AT_ONCE))
        .service("alone", |request: Request| Ok(request.into_body()))
        .start()
        .expect("a worker");
    thread::scope(|scope| {
        for caller in 0..AT_ONCE {
            let endpoint = broker.endpoint();
            scope.spawn(move || {
                let body = Body::from(caller.to_string());
                let reply = client(endpoint, Version::V0_2).request("meet", body.clone());
                assert_eq!(reply.expect("a reply"), body);
            });
        }
    });
    let mut client = client(broker.endpoint(), Version::V0_1);
    assert_eq!(client.request("alone", "x").expect("a reply"), Body::from("x"));
    assert!(client.lookup("meet").expect("an answer"));
    assert!(!client.lookup("meat").expect("an answer"));
    let report = client.broker_report().expect("a report");
    let services: Vec<_> = report.services.iter().map(|s| (s.name.as_str(), s.workers)).collect();
    assert_eq!(services, [("alone", 1), ("meet", AT_ONCE as u64)]);
    stop(meeting);
}

#[test]
fn a_call_that_nobody_serves_reports_a_timeout() {
    let broker = BrokerProcess::start();
    let mut client = BlockingClient::builder()
        .broker(broker.endpoint())
        .timeout(Duration::from_millis(50))
        .tries(3)
        .build()
        .expect("a client");
    let error = client.request("nobody", "body").expect_err("nobody serves it");
    assert!(matches!(error, Error::TimedOut { tries: 3, .. }), "{error}");
    Reports::of(broker.endpoint()).until_waiting("nobody", 3);
}

#[test]
fn workers_and_calls_outlive_a_broker_that_is_killed() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut broker = BrokerProcess::with([
        format!("--bind=ipc://{}", directory.path().join("broker").display()),
        format!("--heartbeat-interval-ms={INTERVAL_MS}"),
        format!("--heartbeat-liveness={LIVENESS}"),
    ]);
    let endpoint = broker.endpoint().to_owned();
    let workers = VERSIONS.map(|version| echo(&endpoint, version, "echo"));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let answered = VERSIONS.map(|version| {
            let (endpoint, over) = (&endpoint, &over);
            let (answer, answered) = mpsc::channel();
            scope.spawn(move || {
                let mut client = BlockingClient::builder()
                    .broker(endpoint)
                    .version(version)
                    .timeout(Duration::from_millis(500))
                    .tries(60)
                    .build()
                    .expect("a client");
                for call in 0.. {
                    let body = Body::from(format!("{version} {call}"));
                    let reply = client.request("echo", body.clone()).unwrap_or_else(|error| {
                        let report = Reports::of(endpoint).fresh();
                        panic!("{error}; broker: {}", in_short(&report))
                    });
                    assert_eq!(reply, body, "another call's reply");
                    if over.load(Ordering::Relaxed) || answer.send(()).is_err() {
                        return;
                    }
                }
            });
            answered
        });
        let expect_calls = || {
            for answered in &answered {
                (0..100).for_each(|_| answered.recv().expect("calls are answered"));
            }
        };
        expect_calls();
        for _ in 0..2 {
            broker.kill();
            broker.start_again();
            // Those that were answered before are not meant.
            answered.iter().for_each(|answered| answered.try_iter().for_each(drop));
            expect_calls();
        }
        over.store(true, Ordering::Relaxed);
    });
    Reports::of(&endpoint).until_workers(2);
    // A broker told to stop says so to its workers, and they wait for the next one.
    broker.signal(majordomo_tests::process::Signal::TERM);
    assert_eq!(broker.exit_code(), 0);
    broker.start_again();
    Reports::of(&endpoint).until_workers(2);
    workers.into_iter().for_each(stop);
}

/// Sockets that are discarded while they connect must not harm others of their
/// context.
#[test]
fn tries_given_up_early_leave_the_context_usable() {
    let broker = BrokerProcess::start();
    let context = zmq::Context::new();
    let client = |timeout| {
        BlockingClient::builder()
            .broker(broker.endpoint())
            .context(context.clone())
            .timeout(timeout)
            .tries(1)
            .build()
            .expect("a client")
    };
    for _ in 0..3_000 {
        let hasty = client(Duration::from_millis(1)).request("nobody", "body");
        assert!(hasty.is_err(), "nobody serves it");
    }
    // ZeroMQ closes sockets behind the scenes; until then they count.
    let found = until("another client is served", || client(LIMIT).lookup("nobody").ok());
    assert!(!found);
}
