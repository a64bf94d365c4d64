//! Our own broker keeps every clause; the program itself behaves as its help says.

use majordomo_broker::Broker;
use majordomo_broker::config::Config;

use crate::program::{Run, run};

/// Seconds of silence are allowed: a busy machine may hold a thread up for long.
pub(crate) fn broker() -> Broker {
    let config = Config::builder()
        .bind("tcp://127.0.0.1:*")
        .set("heartbeat_interval_ms", 300)
        .set("heartbeat_liveness", 10)
        .set("request_expiry_ms", 5_000);
    Broker::start(&config.build().expect("a configuration")).expect("a broker")
}

#[test]
fn our_broker_keeps_every_clause() {
    let broker = broker();
    let run = Run::of(&[&broker.endpoints()[0], "--expiry", "5s", "--timeout", "10s"]);
    assert_eq!(run.findings(), "");
    assert_eq!(run.names("left out").len(), 0);
    assert_eq!(run.not_spoken(), Vec::<&str>::new());
    assert_eq!(run.code, Some(0));
    for version in ["7/", "18/", "1.0/", "8/0.1/", "8/0.2/", "8/1.0/"] {
        let passed = run.names("ok");
        let count = passed.iter().filter(|name| name.starts_with(version)).count();
        assert!(count >= 8, "{count} of {version}");
    }
}

#[test]
fn nobody_there_is_one_line_for_each_version() {
    // A port that was free a moment ago.
    let endpoint = broker().endpoints()[0].clone();
    let run = Run::of(&[&endpoint, "--timeout", "100ms"]);
    assert_eq!(run.not_spoken(), ["MDP/0.1", "MDP/0.2", "MDP/1.0"]);
    assert_eq!(run.code, Some(3));
    assert_eq!(run.names("ok").len() + run.names("failed").len(), 0);
}

#[test]
fn versions_sections_and_names_choose() {
    let broker = broker();
    let endpoint = broker.endpoints()[0].as_str();
    let run =
        Run::of(&[endpoint, "--protocol", "0.2", "--only", "reply-frames", "--only", "RFC 8"]);
    let names: Vec<String> = run.names("ok").into_iter().collect();
    assert_eq!(names.first().map(String::as_str), Some("18/client/reply-frames"));
    assert!(names[1..].iter().all(|name| name.starts_with("8/0.2/")), "{names:?}");
    assert_eq!(run.code, Some(0));
}

#[test]
fn what_needs_an_option_is_left_out() {
    let broker = broker();
    let endpoint = broker.endpoints()[0].as_str();
    let only =
        ["--only", "to-idle-worker", "--only", "queue-expires", "--only", "7/client/reply-f"];
    let run = Run::of(&[&[endpoint, "--protocol", "0.1"], &only[..]].concat());
    let left_out: Vec<String> = run.names("left out").into_iter().collect();
    assert_eq!(left_out, ["7/client/queue-expires", "7/heartbeats/to-idle-worker"]);
    assert_eq!(run.code, Some(0));
}

#[test]
fn wrong_usage_is_2() {
    for args in [&["nowhere"][..], &[], &["tcp://127.0.0.1:1", "--protocol", "0.3"]] {
        assert_eq!(run(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn the_list_has_every_clause_with_its_text() {
    let text = String::from_utf8(run(&["--list", "--only", "18/worker"]).stdout).expect("UTF-8");
    assert!(text.contains("MUST     18/worker/request-address\n         A REQUEST has precisely"));
    assert!(!text.contains("7/client"));
}
