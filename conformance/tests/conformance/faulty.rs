//! The program against a small broker with one fault at a time. Without a fault it finds
//! nothing; with one it finds that, and reports nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::program::Run;
use crate::small_broker::{Broker, Fault};

/// What the program says of a broker with this fault.
fn try_out(fault: Fault, versions: &str) -> Run {
    let context = zmq::Context::new();
    let router = context.socket(zmq::ROUTER).expect("a socket");
    router.bind("tcp://127.0.0.1:*").expect("a port");
    let endpoint = router.get_last_endpoint().expect("an endpoint").expect("UTF-8");
    let broker = Broker::new(router, fault);
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let serving = thread::spawn(move || broker.serve(&stopped));
    let heartbeat = ["--heartbeat", "500ms", "--liveness", "8"];
    // With several workers it depends on the machine which of them is there first.
    let chosen = match fault {
        Fault::IgnoresBusy => &["--only", "one-request", "--only", "worker/request-"][..],
        Fault::None | Fault::NoHeartbeats | Fault::NeverExpires | Fault::ToleratesStrangers => &[],
        // Heartbeats take longest, and these have nothing to do with them.
        _ => &["--skip", "heartbeats"],
    };
    let run =
        Run::of(&[&[endpoint.as_str(), "--protocol", versions], &heartbeat[..], chosen].concat());
    stop.store(true, Ordering::Relaxed);
    serving.join().expect("the faulty broker");
    run
}

/// `7/` and `18/`, or `8/0.1/` and `8/0.2/`, before each name.
fn in_both(documents: [&str; 2], names: &[&str]) -> BTreeSet<String> {
    let of = |document| names.iter().map(move |name| format!("{document}/{name}"));
    documents.into_iter().flat_map(of).collect()
}

/// The checks that must fail, and those that cannot be tried then.
fn expected(fault: Fault) -> (BTreeSet<String>, BTreeSet<String>) {
    let rfcs = |names: &[&str]| in_both(["7", "18"], names);
    let mmi = |names: &[&str]| in_both(["8/0.1", "8/0.2"], names);
    let none = BTreeSet::new;
    match fault {
        Fault::None | Fault::OnlySpeaks02 => (none(), none()),
        Fault::NoDelimiter => (rfcs(&["worker/request-address"]), none()),
        Fault::NoLeadingEmpty => {
            (["7/client/reply-frames", "7/client/req-socket"].map(str::to_owned).into(), none())
        }
        Fault::WrongService => (rfcs(&["client/reply-names-service"]), none()),
        Fault::NoHeartbeats => (
            rfcs(&["heartbeats/to-idle-worker", "heartbeats/to-busy-worker"]),
            rfcs(&["heartbeats/frames"]),
        ),
        Fault::RepliesToLastAsker => (rfcs(&["client/reply-to-asker"]), none()),
        Fault::IgnoresDisconnect => {
            let of_workers = rfcs(&["worker/nothing-after-leaving", "worker/request-of-leaver"]);
            (&of_workers | &mmi(&["service-left"]), none())
        }
        Fault::MmiAnywhere => (mmi(&["prefix-only"]), none()),
        Fault::MmiAlways200 => {
            (mmi(&["service-not-found", "service-left", "service-asked-for"]), none())
        }
        Fault::ToleratesStrangers => {
            (rfcs(&["worker/heartbeat-of-stranger"]), rfcs(&["worker/disconnect-frames"]))
        }
        Fault::NeverExpires => (
            rfcs(&[
                "heartbeats/silent-worker-lost",
                "heartbeats/silent-worker-left-alone",
                "heartbeats/request-of-silent-worker",
            ]),
            none(),
        ),
        Fault::ToleratesSecondReady => (rfcs(&["worker/second-ready"]), none()),
        Fault::IgnoresBusy => (rfcs(&["worker/one-request-at-a-time"]), none()),
        Fault::PartialFrees => (["18/worker/partial-keeps-busy".to_owned()].into(), none()),
        Fault::DiesOfGarbage => (
            ["7/invalid/from-nobody".to_owned()].into(),
            &rfcs(&["invalid/from-client", "invalid/from-worker"])
                | &["18/invalid/from-nobody".to_owned()].into(),
        ),
    }
}

/// What these names end is no MUST.
const SHOULD: [&str; 7] = [
    "fair",
    "request-of-leaver",
    "request-of-silent-worker",
    "silent-worker-left-alone",
    "from-nobody",
    "from-client",
    "from-worker",
];

#[test]
fn each_fault_is_found_and_nothing_else() {
    let faults = [
        Fault::None,
        Fault::NoHeartbeats,
        Fault::NeverExpires,
        Fault::ToleratesStrangers,
        Fault::IgnoresDisconnect,
        Fault::RepliesToLastAsker,
        Fault::IgnoresBusy,
        Fault::PartialFrees,
        Fault::NoDelimiter,
        Fault::NoLeadingEmpty,
        Fault::WrongService,
        Fault::MmiAnywhere,
        Fault::MmiAlways200,
        Fault::ToleratesSecondReady,
        Fault::DiesOfGarbage,
        Fault::OnlySpeaks02,
    ];
    let mut wrong = String::new();
    // Most of a run is waiting, so several share a machine.
    let runs = faults.chunks(8).flat_map(|some| {
        let run = |fault| (fault, thread::spawn(move || try_out(fault, "0.1,0.2")));
        let started: Vec<_> = some.iter().copied().map(run).collect();
        started.into_iter().map(|(fault, run)| (fault, run.join().expect("a run")))
    });
    for (fault, mut run) in runs {
        let (failed, not_tried) = expected(fault);
        if (run.names("failed"), run.names("not tried")) != (failed.clone(), not_tried.clone()) {
            // A machine that stood still for seconds looks like a fault; not twice.
            run = try_out(fault, "0.1,0.2");
        }
        let found = (run.names("failed"), run.names("not tried"));
        let binding = |name: &String| !SHOULD.iter().any(|should| name.ends_with(should));
        let code = i32::from(found.0.union(&found.1).any(binding));
        if found != (failed.clone(), not_tried.clone()) || run.code != Some(code) {
            let code = run.code;
            wrong += &format!(
                "{fault:?}: expected {failed:?} to fail, {not_tried:?} not to be tried; \
                 found, with exit code {code:?}:\n{}",
                run.findings()
            );
        }
        // What is not spoken is one line, and no failure.
        let not_spoken = if fault == Fault::OnlySpeaks02 { vec!["MDP/0.1"] } else { vec![] };
        assert_eq!(run.not_spoken(), not_spoken, "{fault:?}");
        assert!(run.names("ok").len() > if fault == Fault::IgnoresBusy { 0 } else { 30 });
    }
    assert_eq!(wrong, "");
}

#[test]
fn a_broker_that_does_not_survive_a_version_is_not_blamed_for_the_others() {
    let run = try_out(Fault::DiesOfGarbage, "0.2,1.0");
    assert_eq!(run.not_spoken(), ["MDP/1.0", "MDP/0.2"]);
    assert_eq!(run.code, Some(3));
}

#[test]
fn a_broker_that_never_stops_sending_ends_no_run_later() {
    let context = zmq::Context::new();
    let router = context.socket(zmq::ROUTER).expect("a socket");
    router.bind("tcp://127.0.0.1:*").expect("a port");
    let endpoint = router.get_last_endpoint().expect("an endpoint").expect("UTF-8");
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let flooding = thread::spawn(move || {
        let mut peers: BTreeSet<Vec<u8>> = BTreeSet::new();
        while !stopped.load(Ordering::Relaxed) {
            let _ = router.poll(zmq::POLLIN, 1);
            while let Ok(mut message) = router.recv_multipart(zmq::DONTWAIT) {
                peers.insert(message.remove(0));
            }
            for peer in peers.iter().flat_map(|peer| [peer; 100]) {
                // What a full queue drops does not matter.
                let _ = router.send_multipart([peer, &b"MDPW02"[..], b"\x05"], zmq::DONTWAIT);
            }
        }
    });
    let run = Run::of(&[
        &endpoint,
        "--protocol",
        "0.2",
        "--only",
        "18/worker",
        "--timeout",
        "1s",
        "--quiet",
        "50ms",
        "--jobs",
        "4",
    ]);
    stop.store(true, Ordering::Relaxed);
    flooding.join().expect("the flood");
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.names("failed").contains("18/worker/several-workers"), "{}", run.findings());
}
