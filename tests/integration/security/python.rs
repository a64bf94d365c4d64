//! Peers that are not ours, with CURVE and PLAIN: pyzmq, and the tables of the RFCs.

use std::path::Path;
use std::process::Command;

use majordomo_tests::process::{Process, Signal};
use majordomo_tests::report::Reports;

use super::{Key, Secured};

const KINDS: [(&str, &str); 4] = [
    ("req", "REPLY"),
    ("dealer-0.1", "REPLY"),
    ("req-correlate", "REPLY"),
    ("dealer-0.2", "FINAL"),
];

/// How a peer shows who it is: a variable and its value.
type Shown = (&'static str, String);

fn peer((name, value): &Shown, args: &[&str]) -> Process {
    let python = std::env::var_os("MAJORDOMO_PYTHON")
        .expect("MAJORDOMO_PYTHON names a Python interpreter that has pyzmq");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/peers.py");
    Process::start(Command::new(python).arg(script).args(args).env(name, value))
}

impl Secured {
    fn shown(&self, key: &Key) -> Shown {
        let keys = format!("{} {} {}", self.server.public(), key.public(), key.secret());
        ("MAJORDOMO_CURVE", keys)
    }
}

#[test]
fn pyzmq_peers_with_curve_and_plain_are_served() {
    let (alice, bob) = (Key::new("alice"), Key::new("bob"));
    let rights = alice.entry("client = [\"shout\"]")
        + &bob.entry("worker = [\"shout\"]")
        + "[[peer]]\nname = \"carol\"\npassword = \"s3cret\"\nclient = [\"shout\"]\n\
           [[peer]]\nname = \"dave\"\npassword = \"pa55\"\nworker = [\"shout\"]\n";
    let broker = Secured::start(&rights, &[]);
    let mut reports = Reports::of(broker.open());
    let plain = |text: &str| ("MAJORDOMO_PLAIN", text.to_owned());
    let workers =
        [(broker.shown(&bob), broker.curve(), "0.1"), (plain("dave pa55"), broker.plain(), "0.2")];
    let clients = [(broker.shown(&alice), broker.curve()), (plain("carol s3cret"), broker.plain())];
    for (shown, endpoint, version) in &workers {
        let mut worker = peer(shown, &["worker", version, endpoint, "shout", "1000"]);
        reports.until_workers(1);
        for (shown, endpoint) in &clients {
            for (kind, reply) in KINDS {
                let mut client = peer(shown, &["client", kind, endpoint, "shout", "hello"]);
                let expected = format!("[[\"{reply}\", \"HELLO\"]]");
                assert_eq!(client.line(), Some(expected), "{kind}: {}", client.log());
                assert!(client.wait().success(), "{}", client.log());
            }
        }
        worker.signal(Signal::TERM);
        assert!(worker.wait().success(), "{}", worker.log());
        reports.until_workers(0);
    }
}

#[test]
fn pyzmq_peers_without_right_are_refused() {
    let alice = Key::new("alice");
    let broker = Secured::start(&alice.entry("client = [\"shout\"]"), &[]);
    let mut reports = Reports::of(broker.open());
    let _unknown =
        peer(&broker.shown(&Key::new("eve")), &["client", "req", broker.curve(), "shout", "x"]);
    broker.broker.process().log_until("its key is not in the rights file");
    let _guess = peer(
        &("MAJORDOMO_PLAIN", "alice x".to_owned()),
        &["client", "req", broker.plain(), "shout", "x"],
    );
    broker.broker.process().log_until("its user is not in the rights file");
    let _forbidden = peer(&broker.shown(&alice), &["client", "req", broker.curve(), "other", "x"]);
    let report = reports.until_counted("requests_dropped_forbidden", 1);
    assert!(report.services.is_empty());
}
