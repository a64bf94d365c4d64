//! What peers with wrong intentions try, each beside a client with right ones: of its calls
//! not one may fail.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use majordomo_tests::garbage::Garbage;
use majordomo_tests::limit::{timed, until};
use majordomo_tests::process::{Process, Signal, raise_descriptors};
use majordomo_tests::raw::RawPeer;
use majordomo_tests::report::{Reports, counter};
use majordomo_tests::spawn::BrokerProcess;
use majordomo_tests::v1::{RawClient, RawWorker};
use majordomo_tests::wire::{self, Version, v1};

use super::{Key, Secured, write_private};

/// A broker, a worker and a client that behave, and somebody who may have rights or not.
struct Stage {
    broker: Secured,
    alice: Key,
    bob: Key,
    eve: Key,
    reports: Reports,
}

impl Stage {
    fn new(rights_of_eve: &str, flags: &[&str]) -> Self {
        let (alice, bob, eve) = (Key::new("alice"), Key::new("bob"), Key::new("eve"));
        let rights = Stage::rights(&alice, &bob) + &eve.entry(rights_of_eve);
        let broker = Secured::start(&rights, flags);
        let reports = Reports::of(broker.open());
        Stage { broker, alice, bob, eve, reports }
    }

    fn rights(alice: &Key, bob: &Key) -> String {
        alice.entry("client = [\"echo\"]") + &bob.entry("worker = [\"echo\"]")
    }

    /// Attacks while alice's calls are answered by bob: some before, some meanwhile and
    /// some afterwards. A call without its answer fails the test.
    fn beside(&mut self, attack: impl FnOnce(&Secured, &Key, &mut Reports)) {
        let over = AtomicBool::new(false);
        let calls = AtomicU64::new(0);
        // How many calls were made when the attack began.
        let begin = AtomicU64::new(0);
        let mut worker = self.broker.registered(&self.bob, "echo");
        let mut client = self.broker.client(&self.alice);
        let some_more = |count| {
            let before = calls.load(Ordering::Relaxed);
            until("calls are answered", || {
                (calls.load(Ordering::Relaxed) >= before + count).then_some(())
            });
        };
        thread::scope(|scope| {
            let serving = scope.spawn(|| {
                let mut durations = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let body = format!("call {}", calls.load(Ordering::Relaxed));
                    let ((), duration) = timed(|| {
                        let id = client.ask("echo", &body);
                        worker.echo(&body);
                        client.expect_reply(id, &body);
                    });
                    durations.push(duration);
                    calls.fetch_add(1, Ordering::Relaxed);
                }
                durations
            });
            // Whatever happens, the calls end, and the test with them.
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                some_more(500);
                begin.store(calls.load(Ordering::Relaxed), Ordering::Relaxed);
                attack(&self.broker, &self.eve, &mut self.reports);
                some_more(20);
            }));
            over.store(true, Ordering::Relaxed);
            let durations = serving.join().expect("all calls are answered");
            let (before, attacked) = durations.split_at(begin.into_inner() as usize);
            println!("p99 of {} calls before: {:?}", before.len(), p99(before));
            println!("p99 of {} calls during the attack: {:?}", attacked.len(), p99(attacked));
            ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
        let report = self.reports.fresh();
        assert_eq!(report.services.len(), 1, "only echo is known in the end");
        assert!(counter(&report, "requests_answered") >= calls.load(Ordering::Relaxed));
    }
}

/// What 99 of 100 calls took at most; told with `--nocapture`, and asserted nowhere.
fn p99(durations: &[Duration]) -> Duration {
    let mut sorted = durations.to_vec();
    sorted.sort();
    sorted.get(sorted.len() * 99 / 100).copied().unwrap_or_default()
}

#[test]
fn calls_and_registrations_without_right() {
    Stage::new("", &[]).beside(|broker, eve, reports| {
        let mut client = broker.client(eve);
        for _ in 0..500 {
            let id = client.ask("echo", "forbidden");
            client.expect_error(id, 403);
            let mut worker = broker.worker(eve, "echo");
            assert_eq!(worker.expect_disconnect().0, 403);
            if counter(&reports.latest(), "workers_refused_forbidden") >= 20 {
                break;
            }
        }
        // Many from one connection, too.
        let worker = RawWorker::of(broker.dealer(eve));
        for _ in 0..1_000 {
            worker.send([&v1::ready(9, "echo")]);
        }
        reports.until("all are refused", |report| {
            counter(report, "workers_refused_forbidden") >= 1_000
        });
    });
}

#[test]
fn replies_to_tasks_that_one_does_not_hold() {
    Stage::new("worker = [\"other\"]", &[]).beside(|broker, eve, reports| {
        let mut forger = broker.registered(eve, "other");
        let mut client = RawClient::connect(broker.open());
        client.ask("other", "x");
        let own = forger.expect_task("x").id;
        // Ids near its own, which are those of other requests if any are.
        for n in 0..2_000_u64 {
            let id = (u64::from_be_bytes(own) ^ (n + 1)).to_be_bytes();
            forger.send([
                &v1::worker_reply(id, ["forged"]),
                &v1::worker_error(id, 500, "forged", [""]),
            ]);
        }
        reports.until("none fits", |report| counter(report, "replies_unexpected") >= 4_000);
        client.expect_nothing();
        forger.send([&v1::worker_reply(own, ["done"])]);
        assert_eq!(client.record().command, 0x05);
        forger.send([&v1::disconnect(0, "")]);
        reports.until_counted("workers_disconnected", 1);
    });
}

#[test]
fn garbage_inside_an_authenticated_session() {
    Stage::new("client = [\"*\"]", &["--invalid-max=50"]).beside(|broker, eve, reports| {
        let peers = [(); 5].map(|()| broker.dealer(eve));
        let mut garbage = Garbage::new(42);
        for n in 0..2_000 {
            let (message, _) = garbage.message();
            peers[n % peers.len()].send(&message);
        }
        let report = reports.until("it is not heard any more", |report| {
            counter(report, "messages_cut_off") > 1_000
        });
        assert!(counter(&report, "identities_cut_off") >= 1);
    });
}

#[test]
fn a_removed_key_used_again_and_again() {
    let mut stage = Stage::new("client = [\"*\"]", &[]);
    let without = Stage::rights(&stage.alice, &stage.bob);
    stage.beside(|broker, eve, reports| {
        let mut old = broker.client(eve);
        old.sync();
        write_private(&broker.rights_file(), &without);
        broker.broker.signal(Signal::HUP);
        broker.broker.process().log_until("rights read");
        for _ in 0..200 {
            let id = old.ask("echo", "still here?");
            old.expect_error(id, 403);
        }
        let _many: Vec<_> = (0..50).map(|_| broker.client(eve)).collect();
        reports.until("new connections are refused", |report| {
            counter(report, "handshakes_refused") >= 50
        });
        let log = broker.broker.log();
        let lines = log.lines().filter(|line| line.contains("its key is not in the rights file"));
        // The first, the tenth.
        assert_eq!(lines.count(), 2, "{log}");
    });
}

#[test]
fn peers_that_do_not_use_the_mechanism() {
    Stage::new("", &[]).beside(|broker, _, reports| {
        let _peers: Vec<_> = (0..50)
            .map(|_| {
                let peer = RawPeer::dealer(broker.curve());
                peer.send(&wire::request(Version::V0_2, "echo", ["downgraded"]));
                peer
            })
            .collect();
        let report =
            reports.until("they are refused", |report| counter(report, "handshakes_refused") >= 50);
        assert_eq!(counter(&report, "requests_dropped_forbidden"), 0);
    });
}

#[test]
fn oversized_messages_and_messages_of_many_frames() {
    let flags = ["--message-bytes-max=100000", "--invalid-max=1000000"];
    Stage::new("client = [\"*\"]", &flags).beside(|broker, eve, reports| {
        let peer = broker.dealer(eve);
        for _ in 0..20 {
            peer.send(&wire::frames(["x".repeat(150_000)]));
            peer.send(&wire::frames(vec!["x"; 2_000]));
        }
        reports.until_counted("messages_message_bytes_max", 20);
        reports.until_counted("messages_frames_max", 20);
        // More than twice the limits ends the connection; it comes again.
        for _ in 0..5 {
            peer.send(&wire::frames(["x".repeat(1_000_000)]));
        }
        let mut peer = peer;
        let mut client = broker.client(eve);
        client.sync();
        drop(std::mem::replace(&mut peer, broker.dealer(eve)));
    });
}

#[test]
fn connections_that_never_say_anything() {
    const CONNECTIONS: usize = 10_000;
    let limit = raise_descriptors();
    assert!(limit.is_none_or(|limit| limit > CONNECTIONS as u64 + 200), "too few: {limit:?}");
    Stage::new("client = [\"*\"]", &["--handshake-ms=2000"]).beside(|broker, eve, reports| {
        let address = broker.curve().trim_start_matches("tcp://");
        let silent: Vec<TcpStream> =
            (0..CONNECTIONS).map(|_| TcpStream::connect(address).expect("connected")).collect();
        // Half a greeting, for some.
        for mut stream in silent.iter().step_by(7) {
            let _ = stream.write_all(&[0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3]);
        }
        let usage = |process: &Process| process.usage().expect("it runs").descriptors;
        reports.until("each was given up", |report| {
            counter(report, "handshakes_refused") >= CONNECTIONS as u64
        });
        until("all are closed again", || (usage(broker.broker.process()) < 200).then_some(()));
        // Peers that are let in and then say nothing.
        let _idle: Vec<_> = (0..50).map(|_| broker.dealer(eve)).collect();
        let _ = reports.fresh();
    });
}

#[test]
fn a_flood_of_wrong_keys_does_not_keep_the_right_ones_out() {
    Stage::new("client = [\"*\"]", &[]).beside(|broker, eve, reports| {
        let wrong: Vec<_> = (0..100).map(|_| broker.dealer(&Key::new("nobody"))).collect();
        let mut right = broker.client(eve);
        right.sync();
        reports.until("all are refused", |report| counter(report, "handshakes_refused") >= 100);
        drop(wrong);
        // From the same address, and not held back.
        let mut right = broker.client(eve);
        right.sync();
    });
}

/// Where the libzmq is not ours, somebody who knew the id that comes next could end the
/// process.
#[test]
fn the_ids_of_connections_cannot_be_guessed() {
    let first_id = || {
        let broker = BrokerProcess::start();
        let _worker = RawWorker::register(broker.endpoint(), "a", 1);
        id_of_worker(&mut Reports::of(broker.endpoint()))
    };
    let (one, other) = (first_id(), first_id());
    assert!(one.abs_diff(other) > 10, "{one:x} {other:x}");
}

#[test]
fn ids_that_the_broker_gives_next_are_announced() {
    Stage::new("client = [\"*\"]", &[]).beside(|broker, eve, reports| {
        let of_worker = id_of_worker(reports);
        let mut clients: Vec<_> = (0..100)
            .map(|n| {
                let [a, b, c, d] = of_worker.wrapping_add(n).to_be_bytes();
                let peer = broker.dealer_with(eve, |socket| {
                    socket.set_identity(&[0, a, b, c, d]).expect("an id");
                });
                RawClient::of(peer)
            })
            .collect();
        clients.extend((0..50).map(|_| broker.client(eve)));
        // All are let in, with ids of the broker's.
        for client in &mut clients {
            client.sync();
        }
        assert_eq!(counter(&reports.fresh(), "messages_routing_id"), 0);
    });
}

/// The number in the id of the one worker's connection.
fn id_of_worker(reports: &mut Reports) -> u32 {
    let id = reports.until_workers(1).workers[0].id.clone();
    u32::from_str_radix(&id, 16).expect("a zero octet and a number")
}

#[test]
fn slow_peers_do_not_hold_up_a_handshake() {
    Stage::new("client = [\"*\"]", &["--handshake-ms=60000"]).beside(|broker, eve, _| {
        let address = broker.curve().trim_start_matches("tcp://");
        let _slow: Vec<TcpStream> =
            (0..200).map(|_| TcpStream::connect(address).expect("connected")).collect();
        for _ in 0..20 {
            broker.client(eve).sync();
        }
    });
}
