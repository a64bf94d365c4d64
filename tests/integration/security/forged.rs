//! A peer that says in its handshake that it is somebody else.
//!
//! libzmq puts what a peer says of itself beside what the broker knows of it: if the
//! peer's word counted, everybody could be anybody.

use majordomo_tests::raw::RawPeer;
use majordomo_tests::report::{Reports, counter};
use majordomo_tests::spawn::BrokerProcess;
use majordomo_tests::v1::RawWorker;

use super::Secured;
use super::zmtp::Zmtp;

#[test]
fn what_a_peer_says_of_itself_in_the_handshake_does_not_count() {
    let rights = "[[peer]]\nname = \"carol\"\npassword = \"s3cret\"\nclient = [\"echo\"]\n";
    let broker = Secured::start(rights, &[]);
    let mut reports = Reports::of(broker.open());
    let mut workers = ["echo", "secret"].map(|name| RawWorker::register(broker.open(), name, 9));
    // 0 is who may do everything; the others are what somebody may take for it.
    let names: [&[u8]; 5] = [b"0", b"", b"1", b"carol", b"4294967295"];
    for forged in names {
        let forged = [("User-Id", forged), ("Peer-Address", b""), ("user-id", b"0")];
        let mut carol = Zmtp::plain(broker.plain(), ("carol", "s3cret"), &forged);
        carol.send(&[b"MDPC02", b"\x01", b"secret", b"forged"]);
        carol.send(&[b"MDPC02", b"\x01", b"mmi.broker", b""]);
        carol.send(&[b"MDPC02", b"\x01", b"echo", b"hello"]);
        workers[0].expect_task("hello");
    }
    let report = reports.until_counted("mmi_requests_forbidden", names.len() as u64);
    assert_eq!(counter(&report, "requests_dropped_forbidden"), names.len() as u64);
    workers[1].expect_nothing();
}

/// libzmq keeps what peers say of themselves for as long as they are connected; one that is
/// not changed (`zmq-sys`) keeps all of it, in several copies.
#[test]
fn what_a_peer_says_of_itself_in_the_handshake_is_not_kept_whatever_it_takes() {
    const GROWTH_MAX: u64 = 64 << 20;
    let broker = BrokerProcess::start();
    RawPeer::dealer(broker.endpoint()).sync();
    let before = broker.process().rss();
    let long = vec![b'x'; 4 << 20];
    let names: Vec<String> = (0..500_000).map(|n| format!("{n:x}")).collect();
    let many: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    let two_long = [("Identity", &long[..]), ("Note", &long[..])];
    let said = std::iter::repeat_n(&two_long[..], 20).chain([&many[..], &many[..]]);
    let mut peers: Vec<Zmtp> = Vec::new();
    for properties in said {
        let mut peer = Zmtp::open(broker.endpoint(), properties);
        peer.sync();
        peers.push(peer);
    }
    let grown = broker.process().rss().saturating_sub(before);
    assert!(grown < GROWTH_MAX, "the broker has grown by {grown} bytes");
    // All of them are served.
    for peer in &mut peers {
        peer.send(&[b"MDPC02", b"\x01", b"mmi.service", b"echo"]);
        assert_eq!(peer.receive(), [&b"MDPC02"[..], b"\x03", b"mmi.service", b"404"]);
    }
}
