//! Replies in parts, read to their end, joined, or dropped half-way.

use std::thread;

use majordomo_client::{Body, Reply};

use crate::broker::{LONG, Router, broker, bytes, client};

#[test]
fn a_stream_yields_each_part_and_ends_with_the_final() {
    let (endpoint, broker) = broker(|router| {
        let (identity, frames) = router.receive();
        assert_eq!(frames, bytes(&[b"MDPC02", &[1], b"count", b"2"]));
        router.partial(&identity, "count", "one");
        router.partial(&identity, "count", "two");
        router.last(&identity, "count", "end");
        identity == router.answer("echo", "reply")
    });
    let mut client = client(&endpoint);
    let mut replies = client.stream("count", "2").expect("a stream");
    for expected in
        [Reply::Partial("one".into()), Reply::Partial("two".into()), Reply::Final("end".into())]
    {
        assert_eq!(replies.next().expect("a part").expect("no error"), expected);
    }
    assert!(replies.next().is_none());
    assert!(replies.next().is_none());
    drop(replies);
    client.request("echo", "hello").expect("a reply");
    assert!(broker.end(), "the socket is kept after a stream's end");
}

#[test]
fn a_request_joins_the_parts_of_its_reply() {
    let (endpoint, broker) = broker(|router| {
        let (identity, _) = router.receive();
        router.partial(&identity, "count", "one");
        router.partial(&identity, "count", "two");
        router.last(&identity, "count", "end");
    });
    let reply = client(&endpoint).request("count", "2").expect("a reply");
    assert_eq!(reply.frames(), bytes(&[b"one", b"two", b"end"]));
    broker.end();
}

#[test]
fn a_stream_dropped_half_way_leaves_nothing_to_the_next_request() {
    let (endpoint, broker) = broker(|router| {
        let (first, _) = router.receive();
        router.partial(&first, "echo", "one");
        let (second, _) = router.receive();
        router.last(&first, "echo", "rest");
        router.last(&second, "echo", "right");
        assert_ne!(first, second);
    });
    let mut client = client(&endpoint);
    let mut replies = client.stream("echo", "2").expect("a stream");
    assert_eq!(replies.next().expect("a part").expect("no error"), Reply::Partial("one".into()));
    drop(replies);
    assert_eq!(client.request("echo", "hello").expect("a reply"), Body::from("right"));
    broker.end();
}

#[test]
fn sockets_that_are_discarded_are_closed() {
    // More sockets than a context can have at one time.
    const TIMES: usize = 1_100;
    let (endpoint, broker) = broker(|router| {
        for _ in 0..TIMES {
            let (identity, _) = router.receive();
            router.partial(&identity, "echo", "one");
        }
    });
    let mut client = client(&endpoint);
    for _ in 0..TIMES {
        let mut replies = client.stream("echo", "hello").expect("a stream");
        replies.next().expect("a part").expect("no error");
    }
    broker.end();
}

#[test]
fn a_stream_never_read_sends_nothing() {
    let (endpoint, broker) = broker(|router| {
        let (identity, frames) = router.receive();
        router.last(&identity, "upcase", "HELLO");
        frames
    });
    let mut client = client(&endpoint);
    drop(client.stream("echo", "hello").expect("a stream"));
    client.request("upcase", "hello").expect("a reply");
    assert_eq!(broker.end(), bytes(&[b"MDPC02", &[1], b"upcase", b"hello"]));
}

/// Not by the next call: there may be none.
#[test]
fn a_stream_dropped_half_way_closes_its_connection() {
    let context = zmq::Context::new();
    let router = Router::bind_in(&context, "tcp://127.0.0.1:*");
    let ends = zmq::SocketEvent::DISCONNECTED.to_raw();
    router.socket.monitor("inproc://ends", i32::from(ends)).expect("a monitor");
    let monitor = context.socket(zmq::PAIR).expect("a socket");
    monitor.set_rcvtimeo(LONG.as_millis() as i32).expect("an option");
    monitor.connect("inproc://ends").expect("a monitor");
    let mut client = client(&router.endpoint);
    let calling = thread::spawn(move || {
        let mut replies = client.stream("echo", "hello").expect("a stream");
        replies.next().expect("a part").expect("no error");
        drop(replies);
        client
    });
    let (identity, _) = router.receive();
    router.partial(&identity, "echo", "one");
    let _client = calling.join().expect("a part");
    monitor.recv_multipart(0).expect("the connection ends");
}
