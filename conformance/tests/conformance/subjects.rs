//! The program as the broker of our SDKs, and of workers and clients with a fault.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use majordomo_client::{BlockingClient, Client};
use majordomo_worker::{Request, Service, Version, Worker};

use crate::program::Run;

const VERSIONS: [Version; 3] = [Version::V0_1, Version::V0_2, Version::V1_0];

/// A TCP endpoint that nobody uses.
fn endpoint() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    format!("tcp://{}", listener.local_addr().expect("an address"))
}

/// What the program says of a subject that runs until it is stopped.
fn judge(kind: &str, subject: impl FnOnce(&str, &AtomicBool) + Send + 'static) -> Run {
    let endpoint = endpoint();
    let stop = Arc::new(AtomicBool::new(false));
    let (at, stopped) = (endpoint.clone(), Arc::clone(&stop));
    let subject = thread::spawn(move || subject(&at, &stopped));
    let times = ["--heartbeat", "300ms", "--liveness", "6", "--timeout", "10s"];
    let run = Run::of(&[&[endpoint.as_str(), kind], &times[..]].concat());
    stop.store(true, Ordering::Relaxed);
    subject.join().expect("the subject");
    run
}

fn sdk_worker(version: Version) -> Run {
    judge("--worker", move |endpoint, stop| {
        let concurrency = if version == Version::V1_0 { 4 } else { 1 };
        let echo = |request: Request| Ok(request.into_body());
        let worker = Worker::builder()
            .broker(endpoint)
            .version(version)
            .heartbeat_interval(Duration::from_millis(300))
            .heartbeat_liveness(6)
            .serve(Service::new("echo", echo).concurrency(concurrency))
            .start()
            .expect("a worker");
        while !stop.load(Ordering::Relaxed) {
            thread::park_timeout(Duration::from_millis(20));
        }
        worker.stop_handle().stop_now();
        let _ = worker.join();
    })
}

#[test]
fn our_worker_keeps_every_clause() {
    let runs = VERSIONS.map(|version| (version, thread::spawn(move || sdk_worker(version))));
    for (version, run) in runs {
        let run = run.join().expect("a run");
        assert_eq!(run.findings(), "", "{version}");
        assert_eq!(run.code, Some(0), "{version}");
        assert!(run.names("ok").len() >= 10, "{version}");
    }
}

fn sdk_client(version: Version) -> Run {
    judge("--client", move |endpoint, stop| {
        let timeout = Duration::from_secs(2);
        let mut calls = 0;
        let mut body = || {
            calls += 1;
            format!("call {calls}")
        };
        if version == Version::V1_0 {
            let client = Client::builder().broker(endpoint).timeout(timeout);
            let client = client.heartbeat(Duration::from_millis(200)).build().expect("a client");
            while !stop.load(Ordering::Relaxed) {
                // An error is an answer, too; what was sent is judged at the other end.
                let call = client.submit("echo", body());
                let mut call = call.expect("a call");
                while !stop.load(Ordering::Relaxed)
                    && call.wait_timeout(Duration::from_millis(20)).is_none()
                {}
            }
        } else {
            let client = BlockingClient::builder().broker(endpoint).version(version);
            let mut client = client.timeout(timeout).build().expect("a client");
            while !stop.load(Ordering::Relaxed) {
                let _ = client.request("echo", body());
            }
        }
    })
}

#[test]
fn our_clients_keep_every_clause() {
    let runs = VERSIONS.map(|version| (version, thread::spawn(move || sdk_client(version))));
    for (version, run) in runs {
        let run = run.join().expect("a run");
        assert_eq!(run.findings(), "", "{version}");
        assert_eq!(run.code, Some(0), "{version}");
        assert!(run.names("ok").len() >= 4, "{version}");
    }
}

fn dealer(endpoint: &str) -> zmq::Socket {
    let socket = zmq::Context::new().socket(zmq::DEALER).expect("a socket");
    socket.set_linger(0).expect("no linger");
    socket.connect(endpoint).expect("a connection");
    socket
}

/// A worker of MDP/0.2 that never beats, answers twice, puts its own address into every
/// reply but the first, and does not leave when it is told to.
fn stubborn_worker(endpoint: &str, stop: &AtomicBool) {
    let socket = dealer(endpoint);
    let send = |message: &[&[u8]]| socket.send_multipart(message, 0).expect("sent");
    send(&[b"MDPW02", b"\x01", b"echo"]);
    let mut served = 0;
    while !stop.load(Ordering::Relaxed) {
        let _ = socket.poll(zmq::POLLIN, 20);
        let Ok(message) = socket.recv_multipart(zmq::DONTWAIT) else { continue };
        match &message[..] {
            [_, command, address, _, body] if command == b"\x02" => {
                served += 1;
                let address = if served == 1 { address } else { &b"mine"[..].to_vec() };
                send(&[b"MDPW02", b"\x04", address, b"", body]);
                send(&[b"MDPW02", b"\x04", address, b"", body]);
            }
            [_, command] if command == b"\x06" => send(&[b"MDPW02", b"\x01", b"echo"]),
            _ => {}
        }
    }
}

#[test]
fn a_worker_with_faults_is_caught() {
    let endpoint = endpoint();
    let stop = Arc::new(AtomicBool::new(false));
    let (at, stopped) = (endpoint.clone(), Arc::clone(&stop));
    let subject = thread::spawn(move || stubborn_worker(&at, &stopped));
    let times = ["--heartbeat", "200ms", "--timeout", "2s", "--wait", "2s"];
    let run = Run::of(&[&[endpoint.as_str(), "--worker"], &times[..]].concat());
    stop.store(true, Ordering::Relaxed);
    subject.join().expect("the subject");
    let failed: Vec<String> = run.names("failed").into_iter().collect();
    let expected = [
        "worker/address-unchanged",
        "worker/beats",
        "worker/comes-back",
        "worker/one-final",
        "worker/silent-after-disconnect",
    ];
    assert_eq!(failed, expected, "{}", run.findings());
    assert_eq!(run.code, Some(1));
}

/// A client of MDP/0.2 that forgets the body at first, asks twice at once, and takes
/// PARTIAL for the end.
fn hasty_client(endpoint: &str, stop: &AtomicBool) {
    let socket = dealer(endpoint);
    let ask = |body: &str| {
        let message = [&b"MDPC02"[..], b"\x01", b"echo", body.as_bytes()];
        socket.send_multipart(message, 0).expect("sent");
    };
    socket.send_multipart(["MDPC02", "\u{1}", "echo"], 0).expect("sent");
    ask("one");
    ask("two");
    while !stop.load(Ordering::Relaxed) {
        let _ = socket.poll(zmq::POLLIN, 20);
        if let Ok(message) = socket.recv_multipart(zmq::DONTWAIT)
            && message.get(1).is_some_and(|command| command == b"\x02")
        {
            ask("one");
        }
    }
}

#[test]
fn a_client_with_faults_is_caught() {
    let endpoint = endpoint();
    let stop = Arc::new(AtomicBool::new(false));
    let (at, stopped) = (endpoint.clone(), Arc::clone(&stop));
    let subject = thread::spawn(move || hasty_client(&at, &stopped));
    let run = Run::of(&[&endpoint, "--client", "--wait", "5s"]);
    stop.store(true, Ordering::Relaxed);
    subject.join().expect("the subject");
    let failed: Vec<String> = run.names("failed").into_iter().collect();
    let expected = ["client/one-at-a-time", "client/takes-parts", "client/valid-messages"];
    assert_eq!(failed, expected, "{}", run.findings());
    assert_eq!(run.code, Some(1));
}

#[test]
fn nobody_comes() {
    for kind in ["--worker", "--client"] {
        let run = Run::of(&[&endpoint(), kind, "--wait", "50ms"]);
        assert_eq!(run.code, Some(3), "{kind}");
        assert_eq!(run.not_spoken(), ["MDP"], "{kind}");
    }
}
