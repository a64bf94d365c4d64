//! Endpoints where nobody is, nobody yet, or somebody who says nothing.

use std::thread;
use std::time::Duration;

use majordomo_client::{BlockingClient, Body, Error};

use crate::broker::{LONG, Router, SHORT, at, broker, bytes};

#[test]
fn an_endpoint_where_nobody_listens_is_unreachable() {
    let directory = tempfile::tempdir().expect("a directory");
    let endpoint = format!("ipc://{}/nobody", directory.path().display());
    let mut client = at(&endpoint)
        .connect_timeout(Duration::from_millis(20))
        .tries(2)
        .build()
        .expect("a client");
    let error = client.request("echo", "hello").expect_err("nobody is there");
    let Error::Unreachable { endpoints, tries: 2 } = &error else { panic!("{error}") };
    assert_eq!(endpoints, &[endpoint]);
    assert!(!error.may_have_run());
    client.close();
}

#[test]
fn a_listener_that_does_not_speak_zeromq_is_unreachable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("tcp://{}", listener.local_addr().expect("bound"));
    let builder = at(&endpoint).connect_timeout(SHORT).tries(1);
    let error = builder.build().expect("a client").request("echo", "hello").expect_err("silence");
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}

#[test]
fn a_broker_that_starts_while_a_request_connects_is_found() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("tcp://{}", listener.local_addr().expect("bound"));
    let mut client = at(&endpoint).tries(1).build().expect("a client");
    let calling = thread::spawn(move || client.request("echo", "hello"));
    // The first attempt breaks in the handshake, others are refused meanwhile.
    drop(listener.accept().expect("a connection"));
    drop(listener);
    let router = Router::bind(&endpoint);
    router.answer("echo", "reply");
    assert_eq!(calling.join().expect("a client").expect("a reply"), Body::from("reply"));
}

#[test]
fn an_unreachable_endpoint_is_passed_over_and_the_one_that_works_is_kept() {
    let directory = tempfile::tempdir().expect("a directory");
    let dead = format!("ipc://{}/nobody", directory.path().display());
    let (alive, broker) =
        broker(|router| router.answer("echo", "one") == router.answer("echo", "two"));
    let builder = BlockingClient::builder().broker(dead).broker(alive).tries(2).timeout(LONG);
    let mut client = builder.build().expect("a client");
    assert_eq!(client.request("echo", "hello").expect("a reply"), Body::from("one"));
    assert_eq!(client.request("echo", "hello").expect("a reply"), Body::from("two"));
    assert!(broker.end(), "both came over one socket");
}

#[test]
fn a_silent_endpoint_is_passed_over() {
    let silent = Router::new();
    let (alive, broker) = broker(|router| router.answer("echo", "reply"));
    let builder = BlockingClient::builder().broker(&silent.endpoint).broker(alive);
    let mut client = builder.timeout(SHORT).tries(100).build().expect("a client");
    assert_eq!(client.request("echo", "hello").expect("a reply"), Body::from("reply"));
    let (_, frames) = silent.receive();
    assert_eq!(frames, bytes(&[b"MDPC02", &[1], b"echo", b"hello"]));
    broker.end();
}
