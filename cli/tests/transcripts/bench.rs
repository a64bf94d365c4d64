//! `majordomo bench`: that it counts what it does, and says what failed. How fast
//! anything is, is nobody's test.

use majordomo_broker::config::Config;
use serde_json::Value;

use crate::place::{NOBODY, Place, end};

#[test]
fn without_anything_it_measures_the_broker_by_an_echo_of_its_own() {
    let place = Place::new();
    let text = place.run(&["bench", "--seconds", "0.2"]).text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    let first = format!("an echo of its own at {}, 16 bytes a request", place.endpoint());
    assert_eq!(lines[0], first);
    assert!(lines[1].starts_with("requests per second ") && lines[1].contains("(64 in flight, "));
    assert!(
        lines[2].starts_with("latency ") && lines[2].contains(" µs  (p50 of one in flight; p99 ")
    );
    // It leaves with its worker.
    place.until(|report| report.workers.is_empty());
}

#[test]
fn the_numbers_in_json_are_what_the_broker_counted() {
    let place = Place::new();
    let text = place.run(&["bench", "--seconds", "0.2", "--in-flight", "9", "--json"]).text();
    let found: Value = serde_json::from_str(&text).unwrap();
    let number = |name: &str| found[name].as_u64().unwrap();
    assert_eq!((number("failed"), number("in_flight"), number("body_bytes")), (0, 9, 16));
    let (many, one) = (number("answered"), number("answered_alone"));
    assert!(many >= 9 && one >= 1, "{text}");
    // And one more, by which it waited for its worker.
    assert_eq!(place.report().counters["requests_answered"], many + one + 1);
    let latency = |name: &str| found["latency_us"][name].as_f64().unwrap();
    assert!(0.0 < latency("p50") && latency("p50") <= latency("p99"), "{text}");
    assert!(latency("p99") <= latency("max") * 1.01, "{text}");
    assert!(found["requests_per_second"].as_f64().unwrap() > 0.0, "{text}");
}

#[test]
fn a_service_that_is_named_is_called_with_the_body_asked_for() {
    let place = Place::new();
    let script = r#"test $(wc -c) = 5000 && echo yes"#;
    let _work = place.work(1, &["size", "-n", "4", "--", "sh", "-c", script]);
    let arguments = ["bench", "--service", "size", "--body-bytes", "5000", "--in-flight", "2"];
    let ended = place.run(&[&arguments[..], &["--seconds", "0.2", "--json"]].concat());
    let found: Value = serde_json::from_str(&ended.text()).unwrap();
    assert_eq!((found["failed"].as_u64(), found["service"].as_str()), (Some(0), Some("size")));
    assert!(found["answered"].as_u64().unwrap() > 0, "{found}");
}

#[test]
fn what_fails_is_counted_and_told_and_nothing_but_failures_is_a_failure() {
    let place = Place::new();
    let _work = place.work(1, &["no", "--", "sh", "-c", "exit 3"]);
    let ended = place.run(&["bench", "--service", "no", "--seconds", "0.1", "--in-flight", "1"]);
    assert_eq!((ended.code, ended.out.len()), (Some(1), 0));
    let begin = "majordomo: nothing was answered; ";
    assert!(ended.err.starts_with(begin), "{}", ended.err);
    assert!(ended.err.ends_with(" × service no failed with 500: exit code 3\n"), "{}", ended.err);
    // Some of them: one that waits is one too many.
    let place = Place::with(Config::builder().set("requests_per_client_max", 1));
    let arguments = ["bench", "--seconds", "0.2", "--in-flight", "8", "--json"];
    let found: Value = serde_json::from_str(&place.run(&arguments).text()).unwrap();
    let failed = found["failed"].as_u64().unwrap();
    assert!(failed > 0 && found["answered"].as_u64().unwrap() > 0, "{found}");
    let reasons = found["failures"].as_object().unwrap();
    assert_eq!(reasons.values().map(|count| count.as_u64().unwrap()).sum::<u64>(), failed);
    assert!(reasons.keys().all(|reason| reason.contains("is busy")), "{found}");
}

#[test]
fn without_a_broker_or_a_worker_it_says_so_and_ends() {
    let place = Place::new();
    place.run(&["bench", "--service", "none"]).fails(1, "majordomo: no worker for service none\n");
    let mut command = place.command(&["bench", "--broker", NOBODY]);
    let ended = end(command.spawn().unwrap());
    assert_eq!((ended.code, ended.out.len()), (Some(1), 0));
    assert!(
        ended.err.starts_with("majordomo: no broker reached at tcp://127.0.0.1:1 "),
        "{}",
        ended.err
    );
}
