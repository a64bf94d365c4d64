//! ZeroMQ contexts of the user, and threads.

use std::thread;

use majordomo_client::{Body, Error};

use crate::broker::{Router, at, broker, client};

#[test]
fn a_client_in_the_brokers_context_reaches_it_in_the_process() {
    let context = zmq::Context::new();
    let socket = context.socket(zmq::ROUTER).expect("a socket");
    socket.bind("inproc://broker").expect("an endpoint");
    let router = Router { socket, endpoint: "inproc://broker".to_owned() };
    let mut client = at("inproc://broker").context(context).tries(1).build().expect("a client");
    let answering = thread::spawn(move || (router.answer("echo", "reply"), router));
    assert_eq!(client.request("echo", "hello").expect("a reply"), Body::from("reply"));
    answering.join().expect("a broker");
}

#[test]
fn terminating_the_context_ends_a_call_as_closed() {
    let context = zmq::Context::new();
    let router = Router::new();
    let mut client = at(&router.endpoint).context(context.clone()).build().expect("a client");
    let mut terminated = context.clone();
    let terminating = thread::spawn(move || {
        router.receive();
        terminated.destroy().expect("a terminated context");
        // Dropped, it would be terminated once more, which ZeroMQ does not allow.
        std::mem::forget(terminated);
    });
    let error = client.request("echo", "hello").expect_err("closed");
    assert!(matches!(error, Error::Closed { sent: true }), "{error}");
    terminating.join().expect("no socket is left open");
    let error = client.request("echo", "hello").expect_err("closed");
    assert!(matches!(error, Error::Closed { sent: false }), "{error}");
    std::mem::forget((client, context));
}

#[test]
fn a_client_moves_between_threads() {
    let (endpoint, broker) = broker(|router| {
        router.answer("echo", "one");
        router.answer("echo", "two");
    });
    let mut client = client(&endpoint);
    client.request("echo", "hello").expect("a reply");
    let moved = thread::spawn(move || client.request("echo", "hello"));
    assert_eq!(moved.join().expect("a thread").expect("a reply"), Body::from("two"));
    broker.end();
}
