//! Messages whose frames never end. libzmq keeps the frames of a message until its last one
//! has come; a libzmq that is not changed (`zmq-sys`) keeps any number of them.

use majordomo_tests::raw::RawPeer;
use majordomo_tests::report::{Reports, counter};
use majordomo_tests::spawn::BrokerProcess;
use majordomo_tests::wire::{self, Version, frames};
use majordomo_tests::worker::RawWorker;

use super::zmtp::{COMMAND, MORE, PING, Zmtp, frame};
use super::{Key, Secured};

const V: Version = Version::V0_2;
/// What a peer may write before the test gives up: much more than the buffers of the
/// system take.
const WRITTEN_MAX: usize = 64 << 20;
/// What the broker's memory may grow by.
const GROWTH_MAX: u64 = 64 << 20;

/// Some 64 KiB of frames of each of these sizes, none of which is the last; and of frames
/// with commands between them.
fn pieces() -> Vec<Vec<u8>> {
    let frames = [0, 1, 34, 255, 1_000, 60_000].map(|bytes| frame(MORE, &vec![b'x'; bytes]));
    let and_commands = [frame(MORE, b"x"), frame(COMMAND, PING)].concat();
    let again = |bytes: Vec<u8>| bytes.repeat(65_536_usize.div_ceil(bytes.len()));
    frames.into_iter().chain([and_commands]).map(again).collect()
}

#[test]
fn a_message_without_end_ends_its_connection() {
    let (alice, bob) = (Key::new("alice"), Key::new("bob"));
    let rights = alice.entry("client = [\"echo\"]")
        + &bob.entry("worker = [\"echo\"]")
        + &Key::new("eve").entry("password = \"s3cret\"\nclient = [\"*\"]");
    let limits = ["--message-bytes-max=100000", "--frames-max=64", "--invalid-max=1000000"];
    let broker = Secured::start(&rights, &limits);
    let mut reports = Reports::of(broker.open());
    let mut worker = broker.registered(&bob, "echo");
    let mut client = broker.client(&alice);
    let before = broker.broker.process().rss();
    for round in 0..10 {
        for (kind, piece) in pieces().iter().enumerate() {
            let mut eve = Zmtp::plain(broker.plain(), ("eve", "s3cret"), &[]);
            let written = eve.repeat(piece, WRITTEN_MAX);
            assert!(written < WRITTEN_MAX, "taken for ever: {:?}...", &piece[..10]);
            let body = format!("{round} {kind}");
            let id = client.ask("echo", &body);
            worker.echo(&body);
            client.expect_reply(id, &body);
        }
    }
    let grown = broker.broker.process().rss().saturating_sub(before);
    assert!(grown < GROWTH_MAX, "the broker has grown by {grown} bytes");
    // Nothing of it has come to the broker itself.
    let report = reports.fresh();
    assert_eq!(counter(&report, "messages_malformed"), 0);
    assert_eq!(counter(&report, "messages_frames_max"), 0);
    assert_eq!(counter(&report, "requests_answered"), 70);
}

/// A frame that comes alone would keep the whole buffer that it was read into.
#[test]
fn small_frames_of_a_message_keep_no_large_buffers() {
    let flags = ["--message-bytes-max=10000000", "--frames-max=65536"];
    let broker = BrokerProcess::with(flags);
    RawPeer::dealer(broker.endpoint()).sync();
    let before = broker.process().rss();
    let mut peer = Zmtp::open(broker.endpoint(), &[]);
    // At 8 KiB for each it would be 160 MB.
    for _ in 0..20_000 {
        peer.frame(MORE, &[b'x'; 40]);
        peer.sync();
    }
    let grown = broker.process().rss().saturating_sub(before);
    assert!(grown < GROWTH_MAX, "the broker has grown by {grown} bytes");
}

#[test]
fn a_message_of_all_the_frames_and_bytes_it_may_have_arrives() {
    const FRAMES: usize = 65_536;
    const BYTES: usize = 100_000;
    let flags = [format!("--message-bytes-max={BYTES}"), format!("--frames-max={FRAMES}")];
    let broker = BrokerProcess::with(flags);
    let mut worker = RawWorker::register(broker.endpoint(), V, "echo");
    let mut client = RawPeer::dealer(broker.endpoint());
    // A request has three frames and 11 bytes before its body.
    let mut body = vec![String::new(); FRAMES - 3];
    body[FRAMES - 4] = "x".repeat(BYTES - 11);
    client.send(&wire::request(V, "echo", &body));
    let request = worker.request();
    assert!(request.body == frames(&body), "another body");
    worker.reply(&request, "done");
    client.expect(&wire::reply(V, "echo", ["done"]));
    // One more of each, and all over again: too much for the broker, which says so.
    body.extend(body.clone());
    client.send(&wire::request(V, "echo", &body[..FRAMES - 2]));
    client.send(&wire::request(V, "echo", &body));
    let mut reports = Reports::of(broker.endpoint());
    reports.until_counted("messages_frames_max", 1);
    let report = reports.until_counted("messages_message_bytes_max", 1);
    assert_eq!(counter(&report, "requests_answered"), 1);
    // The same connection is served as before.
    client.call(V, "mmi.service", "echo", "200");
}
