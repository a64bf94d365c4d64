//! Names and bodies that cannot be sent, replies that are too large, and those that are just not.

use majordomo_client::{Body, Error};

use crate::broker::{at, broker, client};

#[test]
fn names_and_bodies_that_cannot_be_are_refused_without_a_broker() {
    let mut client = at("tcp://127.0.0.1:1").body_bytes_max(4).build().expect("a client");
    let name = client.request("", "x").expect_err("no name");
    assert!(matches!(name, Error::ServiceName(_)) && !name.may_have_run(), "{name}");
    let body = client.request("echo", "12345").expect_err("too large");
    assert!(matches!(body, Error::BodyOverLimit { found: 5, limit: 4, .. }), "{body}");
    assert!(matches!(client.stream("echo", "12345"), Err(Error::BodyOverLimit { .. })));
}

#[test]
fn a_reply_over_the_limit_is_an_error_and_the_next_request_works() {
    let (endpoint, broker) = broker(|router| {
        router.answer("echo", "12345678901");
        router.answer("echo", "1234567890");
    });
    let mut client = at(&endpoint).reply_bytes_max(10).build().expect("a client");
    let error = client.request("echo", "hello").expect_err("too large");
    assert!(matches!(error, Error::ReplyOverLimit { limit: 10, .. }), "{error}");
    assert_eq!(client.request("echo", "hello").expect("a reply").size(), 10);
    broker.end();
}

#[test]
fn a_reply_of_all_the_frames_that_fit_arrives() {
    const FRAMES: usize = 65_000;
    let (endpoint, broker) = broker(|router| {
        let (identity, _) = router.receive();
        let head: [&[u8]; 3] = [b"MDPC02", &[3], b"echo"];
        router.send(&identity, &[&head, &[&b""[..]; FRAMES][..]].concat());
    });
    // Each frame but the first weighs 64 bytes.
    let limit = 64 * (FRAMES - 1);
    let mut client = at(&endpoint).reply_bytes_max(limit).tries(1).build().expect("a client");
    assert_eq!(client.request("echo", "hello").expect("a reply").frames().len(), FRAMES);
    broker.end();
}

#[test]
fn a_message_far_over_the_limit_ends_the_connection() {
    let (endpoint, broker) = broker(|router| {
        router.answer("echo", &"x".repeat((1 << 20) + 21));
        router.answer("echo", "small");
    });
    let mut client = at(&endpoint).reply_bytes_max(10).tries(1).build().expect("a client");
    let error = client.request("echo", "hello").expect_err("too large");
    assert!(matches!(error, Error::Lost { .. }), "{error}");
    assert_eq!(client.request("echo", "hello").expect("a reply"), Body::from("small"));
    broker.end();
}

#[test]
fn a_large_body_arrives_whole() {
    let (endpoint, broker) = broker(|router| {
        let (identity, frames) = router.receive();
        router.send(&identity, &[b"MDPC02", &[3], b"echo", &frames[3]]);
    });
    let body: Vec<u8> = (0..16 << 20).map(|place: usize| (place % 251) as u8).collect();
    let reply = client(&endpoint).request("echo", body.clone()).expect("a reply");
    assert!(reply.into_bytes() == body);
    broker.end();
}
