//! A request and its reply, frame by frame; tries, and replies that are none.

use std::thread;

use majordomo_client::{Body, Error, Version, Violation};

use crate::broker::{Router, SHORT, at, broker, bytes, client};

#[test]
fn a_request_of_mdp_0_2_has_exactly_these_frames() {
    let (endpoint, broker) = broker(|router| {
        let (identity, frames) = router.receive();
        router.send(&identity, &[b"MDPC02", &[3], b"echo", b"re", b"ply"]);
        frames
    });
    let body = vec![b"one".to_vec(), b"".to_vec(), b"three".to_vec()];
    let reply = client(&endpoint).request("echo", body).expect("a reply");
    assert_eq!(reply.frames(), bytes(&[b"re", b"ply"]));
    let frames = broker.end();
    assert_eq!(frames, bytes(&[b"MDPC02", &[1], b"echo", b"one", b"", b"three"]));
}

#[test]
fn a_request_of_mdp_0_1_has_exactly_these_frames() {
    let (endpoint, broker) = broker(|router| {
        let (identity, frames) = router.receive();
        router.send(&identity, &[b"", b"MDPC01", b"echo", b"reply"]);
        frames
    });
    let mut client = at(&endpoint).version(Version::V0_1).build().expect("a client");
    let reply = client.request("echo", "hello").expect("a reply");
    assert_eq!(reply, Body::from("reply"));
    let frames = broker.end();
    assert_eq!(frames, bytes(&[b"", b"MDPC01", b"echo", b"hello"]));
}

#[test]
fn requests_that_succeed_share_one_socket() {
    let (endpoint, broker) = broker(|router| {
        let identities = [(); 3].map(|()| router.answer("echo", "reply"));
        identities.iter().all(|identity| *identity == identities[0])
    });
    let mut client = client(&endpoint);
    for _ in 0..3 {
        client.request("echo", "hello").expect("a reply");
    }
    assert!(broker.end());
}

#[test]
fn a_retry_sends_the_same_request_on_a_new_socket() {
    let router = Router::new();
    let mut client = at(&router.endpoint).timeout(SHORT).tries(1_000).build().expect("a client");
    let calling = thread::spawn(move || client.request("echo", "hello"));
    let (first, request) = router.receive();
    while let Some((next, retry)) = router.receive_while(&calling) {
        assert_ne!(first, next);
        assert_eq!(request, retry);
        router.last(&next, "echo", "reply");
    }
    let reply = calling.join().expect("a client").expect("a reply");
    assert_eq!(reply, Body::from("reply"));
}

#[test]
fn a_late_reply_is_never_given_to_a_later_request() {
    let router = Router::new();
    let mut client = at(&router.endpoint).timeout(SHORT).tries(1).build().expect("a client");
    let calling = thread::spawn(move || {
        // On a slow machine a try may end before its connection is complete.
        loop {
            match client.request("echo", "first") {
                Err(Error::Unreachable { .. }) => {}
                result => return (client, result),
            }
        }
    });
    let (first, _) = router.receive();
    let (mut client, result) = calling.join().expect("a client");
    assert!(matches!(result, Err(Error::TimedOut { tries: 1, .. })), "{result:?}");
    router.last(&first, "echo", "late");

    let calling = thread::spawn(move || {
        let mut replies = Vec::new();
        while replies.len() < 3 {
            match client.request("echo", "later") {
                Ok(reply) => replies.push(reply),
                Err(Error::Unreachable { .. } | Error::TimedOut { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        replies
    });
    let mut late = vec![first];
    while let Some((next, _)) = router.receive_while(&calling) {
        for earlier in late.iter().filter(|earlier| **earlier != next) {
            router.last(earlier, "echo", "late");
        }
        router.last(&next, "echo", "right");
        late.push(next);
    }
    assert_eq!(calling.join().expect("a client"), [(); 3].map(|()| Body::from("right")));
}

#[test]
fn a_message_that_is_no_reply_is_the_peers_fault() {
    let (endpoint, broker) = broker(|router| {
        let (identity, _) = router.receive();
        router.send(&identity, &[b"MDPC02", &[7], b"echo", b"reply"]);
    });
    let mut client = at(&endpoint).tries(1).build().expect("a client");
    let error = client.request("echo", "hello").expect_err("a violation");
    assert!(error.may_have_run());
    let Error::Violation { endpoint: found, source: Violation::Undecodable(cause) } = error else {
        panic!("{error}")
    };
    assert_eq!((found, cause.frame), (endpoint, 1));
    broker.end();
}

#[test]
fn a_violation_is_followed_by_another_try_on_a_new_socket() {
    let (endpoint, broker) = broker(|router| {
        let (first, _) = router.receive();
        router.last(&first, "upcase", "HELLO");
        first != router.answer("echo", "hello")
    });
    let mut client = at(&endpoint).tries(2).build().expect("a client");
    assert_eq!(client.request("echo", "hello").expect("a reply"), Body::from("hello"));
    assert!(broker.end());
}
