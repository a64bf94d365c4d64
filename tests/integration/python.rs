//! Peers that are not ours: written in Python with pyzmq from the RFCs' tables
//! (python/peers.py), in every pairing, with each other and with bare peers; and the
//! examples of MDP/1.0 that docs/protocol.md names.

use std::path::Path;
use std::process::Command;

use majordomo_tests::process::{Process, Signal};
use majordomo_tests::report::{Reports, counter};
use majordomo_tests::spawn::BrokerProcess;
use majordomo_tests::v1::{RawClient, RawWorker};
use majordomo_tests::wire::v1;
use serde_json::{Value, json};

const CLIENTS: [&str; 4] = ["req", "dealer-0.1", "req-correlate", "dealer-0.2"];
const INTERVAL_MS: &str = "50";

fn peer(args: &[&str]) -> Process {
    python("tests/python/peers.py", args)
}

/// Runs a program of this repository.
fn python(script: &str, args: &[&str]) -> Process {
    let python = std::env::var_os("MAJORDOMO_PYTHON")
        .expect("MAJORDOMO_PYTHON names a Python interpreter that has pyzmq");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(script);
    Process::start(Command::new(python).arg(script).args(args))
}

/// Makes a call for each body, and gives the messages that answered each.
fn calls(broker: &BrokerProcess, kind: &str, service: &str, bodies: &[&str]) -> Vec<Value> {
    let mut client = peer(&[&["client", kind, broker.endpoint(), service], bodies].concat());
    let answers = bodies.iter().map_while(|_| client.line());
    let answers = answers.map(|line| serde_json::from_str(&line).expect("a line of JSON"));
    let answers: Vec<Value> = answers.collect();
    assert!(client.wait().success(), "{kind} to {service}: {}", client.log());
    answers
}

#[test]
fn every_pairing_of_foreign_peers_works() {
    let broker = BrokerProcess::beating(50, 100);
    let mut reports = Reports::of(broker.endpoint());
    let mut workers = ["0.1", "0.2"].map(|version| {
        (version, peer(&["worker", version, broker.endpoint(), version, INTERVAL_MS]))
    });
    reports.until_workers(2);
    for (version, _) in &workers {
        for kind in CLIENTS {
            let reply = if kind == "dealer-0.2" { "FINAL" } else { "REPLY" };
            assert_eq!(
                calls(&broker, kind, version, &["hello", "two,frames", ",", "again"]),
                [
                    json!([[reply, "HELLO"]]),
                    json!([[reply, "TWO", "FRAMES"]]),
                    json!([[reply, "", ""]]),
                    json!([[reply, "AGAIN"]]),
                ],
                "{kind} to a worker of {version}"
            );
        }
    }
    let report = reports.fresh();
    assert_eq!(counter(&report, "requests_answered"), 32);
    assert_eq!(counter(&report, "messages_malformed"), 0);
    for (version, worker) in &mut workers {
        worker.signal(Signal::TERM);
        assert!(worker.wait().success(), "worker of {version}: {}", worker.log());
    }
    let report = reports.until_counted("workers_disconnected", 2);
    assert!(report.workers.is_empty());
}

#[test]
fn partial_replies_reach_foreign_clients_of_both_versions() {
    let broker = BrokerProcess::beating(50, 100);
    let _worker = peer(&["worker", "0.2", broker.endpoint(), "stream", INTERVAL_MS]);
    for kind in CLIENTS {
        let expected = match kind {
            "dealer-0.2" => json!([["PARTIAL", "a"], ["PARTIAL", "b"], ["FINAL", "STREAM"]]),
            _ => json!([["REPLY", "a", "b", "STREAM"]]),
        };
        let answers = calls(&broker, kind, "stream", &["stream,a,b", "stream,a,b"]);
        assert_eq!(answers, [expected.clone(), expected], "{kind}");
    }
}

#[test]
fn foreign_clients_can_ask_the_broker_itself() {
    let broker = BrokerProcess::start();
    for kind in CLIENTS {
        let reply = if kind == "dealer-0.2" { "FINAL" } else { "REPLY" };
        assert_eq!(calls(&broker, kind, "mmi.service", &["echo"]), [json!([[reply, "404"]])]);
        assert_eq!(calls(&broker, kind, "mmi.workers", &["echo"]), [json!([[reply, "501"]])]);
    }
}

#[test]
fn foreign_workers_beat_while_idle_and_come_back_to_a_new_broker() {
    let directory = tempfile::tempdir().expect("a directory");
    let bind = format!("--bind=ipc://{}", directory.path().join("broker").display());
    let flags = [&bind, "--heartbeat-interval-ms=50", "--heartbeat-liveness=20"];
    let mut broker = BrokerProcess::with(flags);
    let _workers = ["0.1", "0.2"]
        .map(|version| peer(&["worker", version, broker.endpoint(), version, INTERVAL_MS]));
    let mut reports = Reports::of(broker.endpoint());
    let silence_max_ms = 50 * 20;
    reports.until("both workers are older than silence may last", |report| {
        report.workers.iter().filter(|worker| worker.age_ms > silence_max_ms).count() == 2
    });
    broker.kill();
    broker.start_again();
    let mut reports = Reports::of(broker.endpoint());
    let report = reports.until_workers(2);
    // At least one heartbeat each told them that the new broker does not know them.
    assert!(counter(&report, "workers_refused_unregistered") >= 2);
    assert_eq!(calls(&broker, "req", "0.1", &["hello"]), [json!([["REPLY", "HELLO"]])]);
    assert_eq!(calls(&broker, "req", "0.2", &["hello"]), [json!([["REPLY", "HELLO"]])]);
}

#[test]
fn the_examples_of_the_protocol_work() {
    let broker = BrokerProcess::start();
    let endpoint = broker.endpoint();
    let call = |body: &str| python("docs/examples/client.py", &[endpoint, "shout", body]);
    let worker = python("docs/examples/worker.py", &[endpoint, "shout"]);
    assert_eq!(worker.line().as_deref(), Some("registered"));
    for (body, reply) in
        [("hello", "HELLO"), ("", ""), (&"x".repeat(100_000), &"X".repeat(100_000))]
    {
        let mut client = call(body);
        assert_eq!(client.line().as_deref(), Some(reply), "{}", client.log());
        assert!(client.wait().success());
    }
    let mut client = call("fail");
    assert_eq!(client.line(), None);
    assert_eq!(client.wait().code(), Some(1));
    assert!(client.log().contains("500 asked to fail"), "{}", client.log());

    // The worker to a client that is not of its kind: many requests in one message.
    let mut bare = RawClient::connect(endpoint);
    let bodies = ["one".to_owned(), "fail".to_owned(), "y".repeat(20_000)];
    let ids = bodies.each_ref().map(|body| bare.ask("shout", body));
    bare.expect_reply(ids[0], "ONE");
    assert_eq!(bare.expect_error(ids[1], 500), "asked to fail");
    bare.expect_reply(ids[2], &bodies[2].to_uppercase());
    let report = Reports::of(endpoint).fresh();
    assert_eq!(counter(&report, "messages_malformed"), 0);
    assert_eq!(counter(&report, "requests_answered"), 7);
}

#[test]
fn the_example_client_takes_a_reply_in_parts() {
    let broker = BrokerProcess::start();
    let mut worker = RawWorker::register(broker.endpoint(), "parts", 1);
    let mut client = python("docs/examples/client.py", &[broker.endpoint(), "parts", "go"]);
    let task = worker.expect_task("go");
    let large = "x".repeat(10_000);
    worker.send([&v1::worker_partial(task.id, ["one"]), &v1::worker_partial(task.id, [&large])]);
    worker.send([&v1::worker_reply(task.id, ["of ", "frames"])]);
    for part in ["one", &large, "of frames"] {
        assert_eq!(client.line().as_deref(), Some(part), "{}", client.log());
    }
    assert!(client.wait().success());
}

#[test]
fn the_example_worker_beats_and_comes_back_to_a_new_broker() {
    let directory = tempfile::tempdir().expect("a directory");
    let bind = format!("--bind=ipc://{}", directory.path().join("broker").display());
    let flags = [&bind, "--heartbeat-interval-ms=100", "--heartbeat-liveness=10"];
    let mut broker = BrokerProcess::with(flags);
    let worker = python("docs/examples/worker.py", &[broker.endpoint(), "shout"]);
    assert_eq!(worker.line().as_deref(), Some("registered"));
    Reports::of(broker.endpoint()).until("it is older than silence may last", |report| {
        report.workers.iter().any(|worker| worker.age_ms > 2 * 100 * 10)
    });
    broker.kill();
    broker.start_again();
    assert_eq!(worker.line().as_deref(), Some("registered"));
    let mut client = python("docs/examples/client.py", &[broker.endpoint(), "shout", "hello"]);
    assert_eq!(client.line().as_deref(), Some("HELLO"), "{}", client.log());
    assert!(client.wait().success());
}
