//! What our libzmq tells of connections, how one is ended from this side, and what ids they
//! get: tests of `zmq-sys/patches/peers.rs` through the socket that needs it. They fail with
//! any other libzmq.

use std::ffi::c_int;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::*;

const LIMIT: Duration = Duration::from_secs(30);
const MORE: u8 = 1;

/// A frame that no receiver takes: it has all bytes there are.
const TOO_LONG: [u8; 9] = [2, 127, 255, 255, 255, 255, 255, 255, 255];

/// A socket that listens on TCP, and where.
fn listening(context: &zmq::Context, set: impl FnOnce(&zmq::Socket)) -> (Router, String) {
    let mut router = Router::open(context, &Config::default(), None).unwrap();
    set(&router.socket);
    let endpoint = "tcp://127.0.0.1:*".parse().unwrap();
    let bound = router.bind(&endpoint, Mechanism::Null).unwrap();
    (router, bound)
}

/// The next thing that comes: frames end with a dot each.
#[track_caller]
fn next(router: &mut Router) -> (PeerId, String) {
    loop {
        let limit = i64::try_from(LIMIT.as_millis()).unwrap();
        assert_ne!(router.socket.poll(zmq::POLLIN, limit).unwrap(), 0, "nothing comes");
        let Some(Received { peer, content, .. }) = router.receive().unwrap() else { continue };
        let content = match content {
            Content::Connected => "connected".to_owned(),
            Content::Disconnected => "disconnected".to_owned(),
            Content::Dropped(fault) => format!("{fault:?}"),
            Content::Message(frames) => {
                let frames = frames.as_slice().iter();
                frames.map(|frame| String::from_utf8_lossy(frame).into_owned() + ".").collect()
            }
        };
        return (peer, content);
    }
}

/// What comes of one peer until its connection has ended.
#[track_caller]
fn life(router: &mut Router) -> Vec<String> {
    let (peer, first) = next(router);
    let mut life = vec![first];
    while life.last().is_none_or(|last| last != "disconnected") {
        let (from, content) = next(router);
        assert_eq!(from, peer);
        life.push(content);
    }
    life
}

fn dealer(context: &zmq::Context, endpoint: &str, id: &str) -> zmq::Socket {
    let dealer = context.socket(zmq::DEALER).unwrap();
    dealer.set_linger(-1).unwrap();
    if !id.is_empty() {
        dealer.set_identity(id.as_bytes()).unwrap();
    }
    dealer.connect(endpoint).unwrap();
    dealer
}

/// A peer that speaks ZMTP 3.1 by itself.
struct Raw(TcpStream);

impl Raw {
    fn connect(endpoint: &str, properties: &[(&str, &str)]) -> Self {
        let stream = TcpStream::connect(endpoint.trim_start_matches("tcp://")).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut raw = Raw(stream);
        let mut greeting = [0; 64];
        greeting[..16].copy_from_slice(b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01NULL");
        raw.0.write_all(&greeting).unwrap();
        let mut ready = b"\x05READY".to_vec();
        for (name, value) in [("Socket-Type", "DEALER")].iter().chain(properties) {
            ready.push(name.len() as u8);
            ready.extend(name.bytes());
            ready.extend((value.len() as u32).to_be_bytes());
            ready.extend(value.bytes());
        }
        raw.0.write_all(&frame(4, &ready)).unwrap();
        let mut head = [0; 66];
        raw.0.read_exact(&mut head).unwrap();
        let mut command = vec![0; head[65].into()];
        raw.0.read_exact(&mut command).unwrap();
        assert!(head[64] == 4 && command.starts_with(b"\x05READY"));
        raw
    }

    /// Waits until the other side has closed the connection; what was sent before is not
    /// looked at.
    fn expect_end(&mut self) {
        let mut bytes = [0; 65_536];
        loop {
            match self.0.read(&mut bytes) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return,
                Err(error) => panic!("the connection does not end: {error}"),
            }
        }
    }
}

fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    [&[flags, u8::try_from(body.len()).unwrap()], body].concat()
}

#[test]
fn a_connection_is_told_of_before_and_after_what_it_says() {
    let context = zmq::Context::new();
    let (mut router, endpoint) = listening(&context, |_| {});
    let peer = dealer(&context, &endpoint, "");
    for text in ["hello", ""] {
        peer.send(text, 0).unwrap();
    }
    peer.send_multipart(["", ""], 0).unwrap();
    drop(peer);
    assert_eq!(life(&mut router), ["connected", "hello.", ".", "..", "disconnected"]);
}

#[test]
fn no_peer_can_say_that_a_connection_ended() {
    let context = zmq::Context::new();
    let (mut router, endpoint) = listening(&context, |_| {});
    let announced = [("__notification", "disconnect"), ("__Notification", "disconnect")];
    let mut raw = Raw::connect(&endpoint, &announced);
    raw.0.write_all(&frame(0, b"")).unwrap();
    drop(raw);
    assert_eq!(life(&mut router), ["connected", ".", "disconnected"]);
}

#[test]
fn the_end_is_told_though_the_queue_is_full() {
    let context = zmq::Context::new();
    let (mut router, endpoint) = listening(&context, |socket| socket.set_rcvhwm(3).unwrap());
    let mut raw = Raw::connect(&endpoint, &[]);
    let mut bytes = [frame(0, b"a"), frame(0, b"b")].concat();
    bytes.extend(TOO_LONG);
    raw.0.write_all(&bytes).unwrap();
    // Now the queue holds what it may: that it is connected, and two messages.
    raw.expect_end();
    assert_eq!(life(&mut router), ["connected", "a.", "b.", "disconnected"]);
}

#[test]
fn the_end_is_told_in_the_midst_of_a_message() {
    let context = zmq::Context::new();
    let (mut router, endpoint) = listening(&context, |socket| {
        socket.set_maxmsgsize(1_000).unwrap();
    });
    // It leaves, sends what is no frame, or a message without end.
    for rest in [vec![], TOO_LONG.to_vec(), frame(MORE, &[b'x'; 200]).repeat(5)] {
        let mut raw = Raw::connect(&endpoint, &[]);
        raw.0.write_all(&[frame(0, b"a"), frame(MORE, b"half"), rest.clone()].concat()).unwrap();
        if !rest.is_empty() {
            raw.expect_end();
        }
        drop(raw);
        assert_eq!(life(&mut router), ["connected", "a.", "disconnected"]);
    }
}

#[test]
fn an_id_that_another_peer_has_is_not_given() {
    let context = zmq::Context::new();
    let (mut router, endpoint) = listening(&context, |_| {});
    let first = dealer(&context, &endpoint, "same");
    assert_eq!(next(&mut router), (PeerId::new(b"same"), "connected".to_owned()));
    let second = dealer(&context, &endpoint, "same");
    let (id, told) = next(&mut router);
    assert!(is_of_router(&id) && told == "connected");
    for (peer, id) in [(&second, &id), (&first, &PeerId::new(b"same"))] {
        peer.send("whole", 0).unwrap();
        assert_eq!(next(&mut router), (id.clone(), "whole.".to_owned()));
    }
}

#[test]
fn a_connection_that_is_closed_ends() {
    let context = zmq::Context::new();
    let (mut router, endpoint) = listening(&context, |_| {});
    let mut raw = Raw::connect(&endpoint, &[]);
    let (id, _) = next(&mut router);
    let other = dealer(&context, &endpoint, "");
    let (other_id, _) = next(&mut router);
    // It reads nothing, and much is for it.
    for _ in 0..200 {
        router.send(&id, vec![Frame::from(&[7; 100_000][..])]).unwrap().unwrap();
    }
    // One message is at hand already; the other is not read.
    raw.0.write_all(&[frame(MORE, b"at"), frame(0, b"hand"), frame(0, b"x")].concat()).unwrap();
    assert_ne!(router.socket.poll(zmq::POLLIN, 30_000).unwrap(), 0);
    router.close(&id).unwrap();
    router.close(&id).unwrap();
    assert_eq!(next(&mut router), (id.clone(), "at.hand.".to_owned()));
    raw.expect_end();
    assert!(router.send(&id, vec![Frame::from(&b"x"[..])]).unwrap().is_err());
    router.close(&id).unwrap();
    // Nothing more comes of it, and others are as they were.
    other.send("there", 0).unwrap();
    assert_eq!(next(&mut router), (other_id, "there.".to_owned()));
}

#[test]
fn many_connections_are_closed_while_they_speak_and_end() {
    let context = zmq::Context::new();
    let (mut router, endpoint) = listening(&context, |_| {});
    for round in 0..200_u8 {
        let mut raw = Raw::connect(&endpoint, &[]);
        // What was at hand of the one before may come first.
        let id = loop {
            let (id, told) = next(&mut router);
            if told == "connected" {
                break id;
            }
        };
        router.send(&id, vec![Frame::from(&b"x"[..])]).unwrap().unwrap();
        raw.0.write_all(&frame(0, b"y").repeat(usize::from(round % 7))).unwrap();
        match round % 3 {
            0 => drop(raw),
            // The other side ends it too.
            1 => drop(raw.0.write_all(&TOO_LONG)),
            _ => {
                router.close(&id).unwrap();
                raw.expect_end();
                continue;
            }
        }
        router.close(&id).unwrap();
    }
    let last = dealer(&context, &endpoint, "last");
    while next(&mut router).0 != PeerId::new(b"last") {}
    drop(last);
    while next(&mut router) != (PeerId::new(b"last"), "disconnected".to_owned()) {}
}

#[test]
fn a_peer_of_this_process_is_closed_too() {
    let context = zmq::Context::new();
    let (mut router, _) = listening(&context, |_| {});
    router.bind(&"inproc://router".parse().unwrap(), Mechanism::Null).unwrap();
    let peer = dealer(&context, "inproc://router", "");
    peer.send("hello", 0).unwrap();
    let (id, told) = next(&mut router);
    assert_eq!(told, "hello.");
    router.close(&id).unwrap();
    assert!(router.send(&id, vec![Frame::from(&b"x"[..])]).unwrap().is_err());
}

#[test]
fn an_id_is_given_again_only_behind_the_end_of_who_had_it() {
    let context = zmq::Context::new();
    let (mut router, endpoint) = listening(&context, |_| {});
    let same = PeerId::new(b"same");
    let mut is_there = false;
    // Each is there before the one before it has ended, or the other way round.
    for _ in 0..100 {
        drop(Raw::connect(&endpoint, &[("Identity", "same")]));
    }
    let mut ended = 0;
    while ended < 100 {
        let (peer, told) = next(&mut router);
        ended += usize::from(told == "disconnected");
        if peer == same {
            assert_eq!(told, if is_there { "disconnected" } else { "connected" });
            is_there = !is_there;
        } else {
            assert!(is_of_router(&peer), "{peer}");
        }
    }
}

/// Has the next connection that this socket makes carry an id of its choice.
fn choose_next_id(socket: &mut zmq::Socket, id: &[u8]) {
    let option = zmq_sys::ZMQ_CONNECT_ROUTING_ID as c_int;
    // SAFETY: the socket is alive, and the id lives during the call.
    #[expect(unsafe_code, reason = "the zmq crate has no method for this option")]
    let failed = unsafe {
        zmq_sys::zmq_setsockopt(socket.as_mut_ptr(), option, id.as_ptr().cast(), id.len())
    };
    assert_eq!(failed, 0);
}

/// A new connection to the socket, and the id that it is given.
fn connection(context: &zmq::Context, router: &zmq::Socket) -> (zmq::Socket, u32) {
    let peer = context.socket(zmq::DEALER).unwrap();
    peer.connect("inproc://router").unwrap();
    peer.send("", 0).unwrap();
    let [0, number @ ..] = &router.recv_multipart(0).unwrap()[0][..] else {
        panic!("an id of the socket begins with a zero octet");
    };
    (peer, u32::from_be_bytes(number.try_into().unwrap()))
}

#[test]
fn an_id_that_is_taken_is_not_given_again() {
    let context = zmq::Context::new();
    let mut router = context.socket(zmq::ROUTER).unwrap();
    router.set_rcvtimeo(30_000).unwrap();
    router.bind("inproc://router").unwrap();
    let dealer = context.socket(zmq::DEALER).unwrap();
    dealer.bind("inproc://dealer").unwrap();
    let (_first, number) = connection(&context, &router);
    let next = number.wrapping_add(1);
    choose_next_id(&mut router, &[&[0], &next.to_be_bytes()[..]].concat());
    router.connect("inproc://dealer").unwrap();
    // Unless our libzmq is used, the process ends here.
    let (_second, number) = connection(&context, &router);
    assert_eq!(number, next.wrapping_add(1));
}
