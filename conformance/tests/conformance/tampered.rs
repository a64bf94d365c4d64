//! MDP/1.0 with a fault: our broker behind something that changes what it says to its
//! peers, one fault at a time. The program finds each, and reports nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use majordomo_broker::Broker;
use majordomo_protocol::{Batch, Body, Frames as Reader, InstanceId, Metadata, client, worker};

use crate::broker::broker;
use crate::program::Run;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    ForgetsCancel,
    NoHeartbeats,
    /// Workers are not told to DISCONNECT.
    NoDisconnect,
    NoPartials,
    /// 404 for 408.
    WrongCode,
    CountsNoAttempts,
    LosesMetadata,
    LosesTimeout,
    LosesDetails,
    /// Each HEARTBEAT is another broker's.
    ForeignInstance,
    /// No body stands in its record.
    BodiesBehind,
}

const FAULTS: [Fault; 12] = [
    Fault::None,
    Fault::ForgetsCancel,
    Fault::NoHeartbeats,
    Fault::NoDisconnect,
    Fault::NoPartials,
    Fault::WrongCode,
    Fault::CountsNoAttempts,
    Fault::LosesMetadata,
    Fault::LosesTimeout,
    Fault::LosesDetails,
    Fault::ForeignInstance,
    Fault::BodiesBehind,
];

/// The checks that must fail, and those that cannot be tried then.
fn expected(fault: Fault) -> (&'static [&'static str], &'static [&'static str]) {
    match fault {
        Fault::None => (&[], &[]),
        Fault::ForgetsCancel => (
            &["1.0/ends/cancel-running", "1.0/repeats/after-part-elsewhere"],
            &["1.0/ends/cancel-keeps-place"],
        ),
        Fault::NoHeartbeats => (&["1.0/worker/heartbeat-agreed"], &[]),
        Fault::NoDisconnect => (
            &[
                "1.0/invalid/malformed-worker",
                "1.0/invalid/surplus-frame",
                "1.0/invalid/wrong-direction",
                "1.0/worker/drain",
                "1.0/worker/drain-idle",
                "1.0/worker/second-ready",
                "1.0/worker/silent-lost",
                "1.0/worker/stranger",
                "8/1.0/worker-refused",
            ],
            &["1.0/worker/nothing-after-disconnect"],
        ),
        Fault::NoPartials => (
            &["1.0/client/partials", "1.0/versions/worker-0.2"],
            &[
                "1.0/ends/lost-after-part",
                "1.0/repeats/after-part-elsewhere",
                "1.0/repeats/after-parts",
            ],
        ),
        Fault::WrongCode => (&["1.0/ends/start-within", "1.0/ends/timeout-waiting"], &[]),
        Fault::CountsNoAttempts => (&["1.0/ends/lost-worker"], &[]),
        Fault::LosesMetadata => (&["1.0/client/metadata"], &[]),
        Fault::LosesTimeout => (&["1.0/ends/timeout-told"], &[]),
        Fault::LosesDetails => (&["1.0/client/worker-error"], &[]),
        Fault::ForeignInstance => (&["1.0/client/heartbeat"], &[]),
        Fault::BodiesBehind => (&["1.0/client/small-body-in-record"], &[]),
    }
}

type Frames = Vec<Vec<u8>>;

fn to_worker(
    fault: Fault,
    mut command: worker::FromBroker<Body>,
) -> Option<worker::FromBroker<Body>> {
    use worker::FromBroker::{Cancel, Disconnect, Heartbeat, Request};
    match (&mut command, fault) {
        (Cancel { .. }, Fault::ForgetsCancel)
        | (Heartbeat, Fault::NoHeartbeats)
        | (Disconnect { .. }, Fault::NoDisconnect) => return None,
        (Request { task, .. }, Fault::CountsNoAttempts) => task.attempt = 1,
        (Request { task, .. }, Fault::LosesMetadata) => task.metadata = Metadata::default(),
        (Request { task, .. }, Fault::LosesTimeout) => task.timeout = None,
        _ => {}
    }
    Some(command)
}

fn to_client(
    fault: Fault,
    mut command: client::FromBroker<Body>,
) -> Option<client::FromBroker<Body>> {
    use client::FromBroker::{Error, Heartbeat, Partial};
    match (&mut command, fault) {
        (Partial { .. }, Fault::NoPartials) => return None,
        (Error { reason, .. }, Fault::WrongCode) if reason.code == 408 => reason.code = 404,
        (Error { details, .. }, Fault::LosesDetails) => *details = Body::from(""),
        (Heartbeat { instance }, Fault::ForeignInstance) => {
            *instance = InstanceId::new(*b"foreigns");
        }
        _ => {}
    }
    Some(command)
}

/// The message as a broker with this fault would say it; None for nothing.
fn tampered(fault: Fault, message: Frames) -> Option<Frames> {
    let inline_bytes_max = 4_096;
    if let Ok(commands) = worker::Commands::new(Reader::new(message.clone())) {
        let mut batch = Batch::of_worker(inline_bytes_max);
        for command in commands.filter_map(|command| to_worker(fault, command.expect("valid"))) {
            command.write(&mut batch).expect("it was one before");
        }
        return (batch.records() > 0).then(|| batch.into_frames());
    }
    if let Ok(commands) = client::Commands::new(Reader::new(message.clone())) {
        let behind = fault == Fault::BodiesBehind;
        let mut batch = Batch::of_client(if behind { 0 } else { inline_bytes_max });
        for command in commands.filter_map(|command| to_client(fault, command.expect("valid"))) {
            command.write(&mut batch).expect("it was one before");
        }
        return (batch.records() > 0).then(|| batch.into_frames());
    }
    Some(message)
}

/// Stands before the broker at `behind`: each peer has a connection of its own there.
fn pass_on(fault: Fault, front: &zmq::Socket, behind: &str, stop: &AtomicBool) {
    let context = zmq::Context::new();
    let mut connections: BTreeMap<Vec<u8>, zmq::Socket> = BTreeMap::new();
    while !stop.load(Ordering::Relaxed) {
        let sockets = std::iter::once(front).chain(connections.values());
        let mut items: Vec<_> = sockets.map(|socket| socket.as_poll_item(zmq::POLLIN)).collect();
        let _ = zmq::poll(&mut items, 20);
        let readable: Vec<bool> = items.iter().map(zmq::PollItem::is_readable).collect();
        let answered = connections.iter().zip(&readable[1..]).filter(|(_, readable)| **readable);
        for ((peer, connection), _) in answered {
            while let Ok(message) = connection.recv_multipart(zmq::DONTWAIT) {
                if let Some(message) = tampered(fault, message) {
                    let message = std::iter::once(peer.clone()).chain(message);
                    // Who has gone gets nothing.
                    let _ = front.send_multipart(message, zmq::DONTWAIT);
                }
            }
        }
        while let Ok(mut message) = front.recv_multipart(zmq::DONTWAIT) {
            let peer = message.remove(0);
            let connection = connections.entry(peer).or_insert_with(|| {
                let socket = context.socket(zmq::DEALER).expect("a socket");
                socket.set_linger(0).expect("no linger");
                socket.connect(behind).expect("a connection");
                socket
            });
            connection.send_multipart(message, 0).expect("passed on");
        }
    }
}

fn try_out(fault: Fault) -> Run {
    let broker: Broker = broker();
    let behind = broker.endpoints()[0].clone();
    let front = zmq::Context::new().socket(zmq::ROUTER).expect("a socket");
    front.bind("tcp://127.0.0.1:*").expect("a port");
    let endpoint = front.get_last_endpoint().expect("an endpoint").expect("UTF-8");
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let passing = thread::spawn(move || pass_on(fault, &front, &behind, &stopped));
    let run = Run::of(&[&endpoint, "--protocol", "1.0", "--timeout", "4s"]);
    stop.store(true, Ordering::Relaxed);
    passing.join().expect("what stands between");
    run
}

#[test]
fn each_fault_of_1_0_is_found_and_nothing_else() {
    let mut wrong = String::new();
    for some in FAULTS.chunks(6) {
        let run = |fault| (fault, thread::spawn(move || try_out(fault)));
        let runs: Vec<_> = some.iter().copied().map(run).collect();
        for (fault, run) in runs {
            let mut run = run.join().expect("a run");
            let set = |names: &[&str]| -> BTreeSet<String> {
                names.iter().map(|name| name.to_string()).collect()
            };
            let (failed, not_tried) = expected(fault);
            if (run.names("failed"), run.names("not tried")) != (set(failed), set(not_tried)) {
                // A machine that stood still for seconds looks like a fault; not twice.
                run = try_out(fault);
            }
            let code = i32::from(!matches!(fault, Fault::None | Fault::BodiesBehind));
            let found = (run.names("failed"), run.names("not tried"));
            if found != (set(failed), set(not_tried)) || run.code != Some(code) {
                let code = run.code;
                wrong += &format!(
                    "{fault:?}: expected {failed:?} to fail, {not_tried:?} not to be tried; \
                     found, with exit code {code:?}:\n{}",
                    run.findings()
                );
            }
        }
    }
    assert_eq!(wrong, "");
}
