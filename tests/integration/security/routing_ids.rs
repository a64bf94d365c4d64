//! Peers that choose the id of their connection. A libzmq that is not changed (`zmq-sys`)
//! ends the process when one of them has the id that it comes to give to another.

use majordomo_tests::raw::RawPeer;
use majordomo_tests::report::Reports;
use majordomo_tests::spawn::BrokerProcess;
use majordomo_tests::wire::{self, Version};
use majordomo_tests::worker::RawWorker;

use super::zmtp::Zmtp;

const V: Version = Version::V0_2;

fn ask(peer: &mut Zmtp) {
    peer.send(&[b"MDPC02", b"\x01", b"mmi.service", b"echo"]);
}

fn expect_answer(peer: &mut Zmtp) {
    let answer = [&b"MDPC02"[..], b"\x03", b"mmi.service", b"200"];
    assert_eq!(peer.receive(), answer);
}

#[test]
fn an_id_as_the_broker_gives_them_is_not_taken() {
    let broker = BrokerProcess::start();
    let mut worker = RawWorker::register(broker.endpoint(), V, "echo");
    let id = Reports::of(broker.endpoint()).until_workers(1).workers[0].id.clone();
    let of_worker = u32::from_str_radix(&id, 16).expect("a zero octet and four more");
    // The worker's own, those given out before and those that come next.
    let guesses = (0..200).map(|n| of_worker.wrapping_sub(50).wrapping_add(n));
    let ids = guesses.map(|number| [&[0], &number.to_be_bytes()[..]].concat());
    let odd = [vec![0], vec![0; 5], vec![0; 255], b"\0echo".to_vec()];
    let mut peers: Vec<_> =
        ids.chain(odd).map(|id| Zmtp::open(broker.endpoint(), &[("Identity", &id)])).collect();
    peers.iter_mut().for_each(ask);
    let mut others: Vec<_> = (0..200).map(|_| RawPeer::dealer(broker.endpoint())).collect();
    others.iter_mut().for_each(RawPeer::sync);
    // All at once have the id that they were given instead.
    peers.iter_mut().for_each(expect_answer);
    // Nobody is in the worker's place.
    others[0].send(&wire::request(V, "echo", ["hello"]));
    worker.echo("hello");
    others[0].expect(&wire::reply(V, "echo", ["hello"]));
}

#[test]
fn other_ids_are_the_peers_own() {
    let broker = BrokerProcess::start();
    let _worker = RawWorker::register(broker.endpoint(), V, "echo");
    let mut peer = Zmtp::open(broker.endpoint(), &[("Identity", b"mine")]);
    ask(&mut peer);
    expect_answer(&mut peer);
    // Somebody has it: who comes second is not heard, as long as the first is there.
    let mut second = Zmtp::open(broker.endpoint(), &[("Identity", b"mine")]);
    ask(&mut second);
    ask(&mut peer);
    expect_answer(&mut peer);
    RawPeer::dealer(broker.endpoint()).sync();
}

#[test]
fn an_id_of_more_than_255_octets_is_not_taken() {
    for (octets, taken) in [(255, true), (256, false), (1 << 20, false)] {
        let broker = BrokerProcess::start();
        let mut worker = Zmtp::open(broker.endpoint(), &[("Identity", &vec![b'x'; octets])]);
        worker.send(&[b"MDPW02", b"\x01", b"echo"]);
        let id = Reports::of(broker.endpoint()).until_workers(1).workers[0].id.clone();
        // The broker's are a zero octet and four more, in hexadecimal digits.
        assert_eq!(id.len() > 10, taken, "{octets} octets: {} digits", id.len());
    }
}
