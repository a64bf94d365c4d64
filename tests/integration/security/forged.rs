//! A peer that says in its handshake that it is somebody else.
//!
//! libzmq puts what a peer says of itself beside what the broker knows of it: if the
//! peer's word counted, everybody could be anybody.

use majordomo_tests::report::{Reports, counter};
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
