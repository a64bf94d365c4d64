//! Connections that end, and brokers that start again.

use std::sync::mpsc;

use majordomo_client::{Body, Error};

use crate::broker::{LONG, at, mortal_broker};

#[test]
fn a_connection_lost_while_waiting_is_seen_long_before_the_timeout() {
    let (endpoint, broker) = mortal_broker(|router| {
        router.receive();
        None
    });
    let mut client = at(&endpoint).tries(1).build().expect("a client");
    let error = client.request("echo", "hello").expect_err("no reply");
    assert!(matches!(error, Error::Lost { .. }), "{error}");
    assert!(error.may_have_run());
    broker.end();
}

#[test]
fn a_reply_of_a_broker_that_answers_and_ends_is_not_lost() {
    for _ in 0..20 {
        let (endpoint, broker) = mortal_broker(|router| {
            router.socket.set_linger(LONG.as_millis() as i32).expect("an option");
            let (identity, _) = router.receive();
            router.partial(&identity, "echo", "one");
            router.partial(&identity, "echo", "two");
            router.last(&identity, "echo", "three");
            None
        });
        let mut client = at(&endpoint).tries(1).build().expect("a client");
        let mut replies = client.stream("echo", "hello").expect("a stream");
        replies.next().expect("a part").expect("no error");
        // By now the connection is gone, or is about to go.
        broker.end();
        assert_eq!(replies.by_ref().filter(Result::is_ok).count(), 2);
    }
}

#[test]
fn a_request_survives_a_restart_of_the_broker() {
    let (endpoint, broker) = mortal_broker(|router| {
        router.receive();
        let router = router.restart();
        router.answer("echo", "reply");
        Some(router)
    });
    let mut client = at(&endpoint).tries(2).build().expect("a client");
    assert_eq!(client.request("echo", "hello").expect("a reply"), Body::from("reply"));
    broker.end();
}

#[test]
fn a_restart_of_the_broker_between_requests_is_survived() {
    let (read_one, restart) = mpsc::channel::<()>();
    let (bound, restarted) = mpsc::channel::<()>();
    let (endpoint, broker) = mortal_broker(move |router| {
        router.answer("echo", "one");
        restart.recv().expect("a client");
        let router = router.restart();
        bound.send(()).expect("a client");
        router.answer("echo", "two");
        Some(router)
    });
    let mut client = at(&endpoint).tries(2).build().expect("a client");
    assert_eq!(client.request("echo", "hello").expect("a reply"), Body::from("one"));
    read_one.send(()).expect("a broker");
    restarted.recv().expect("a broker");
    assert_eq!(client.request("echo", "hello").expect("a reply"), Body::from("two"));
    broker.end();
}

/// Whoever moves bytes: nothing is sent over a connection that has ended, whatever came by
/// it before.
#[test]
fn a_connection_that_ends_between_requests_costs_no_try() {
    const ROUNDS: usize = 12;
    let (asked, ask) = mpsc::sync_channel::<()>(0);
    let (endpoint, broker) = mortal_broker(move |mut router| {
        for round in 0..ROUNDS {
            let identity = router.answer("echo", "reply");
            for _ in 0..round % 4 {
                router.last(&identity, "echo", "unasked");
            }
            // It waits until all this has left; the client has it then, and the end.
            router.socket.set_linger(-1).expect("an option");
            asked.send(()).expect("a client");
            router = router.restart();
            asked.send(()).expect("a client");
        }
        Some(router)
    });
    let mut client = at(&endpoint).tries(1).build().expect("a client");
    for _ in 0..ROUNDS {
        assert_eq!(client.request("echo", "hello").expect("a reply"), Body::from("reply"));
        ask.recv().expect("a broker");
        ask.recv().expect("a broker");
    }
    broker.end();
}
