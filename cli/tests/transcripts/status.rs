//! `majordomo status`: tables, JSON, watching, and brokers of another make.

use std::io::{BufRead, BufReader};
use std::thread;

use majordomo_client::BrokerReport;

use crate::place::{NOBODY, Place};

#[test]
fn tables_name_services_workers_and_counters() {
    let place = Place::new();
    let _count = place.work(2, &["count", "-n", "2", "--protocol", "0.2", "--", "wc", "-w"]);
    let _echo = place.work(1, &["echo", "--", "cat"]);
    place.run(&["call", "echo", "-b", "x"]).prints("x");
    // A report may be a tenth of a second old.
    place.until(|report| report.counters.get("requests_answered") == Some(&1));
    let text = place.run(&["status"]).text();
    let version = env!("CARGO_PKG_VERSION");
    assert!(text.starts_with(&format!("majordomo-broker {version}, up ")), "{text}");
    let totals = "2 services, 3 workers, 0 clients with requests: 0 waiting, 0 running, 0 bytes";
    assert!(text.contains(totals), "{text}");
    let words: Vec<Vec<&str>> =
        text.lines().map(|line| line.split_whitespace().collect()).collect();
    for row in [
        &["SERVICE", "WORKERS", "WAITING", "RUNNING"][..],
        &["count", "2", "0", "0"],
        &["echo", "1", "0", "0"],
        &["SERVICE", "WORKER", "PROTOCOL", "STATE", "RUNNING", "AGE", "SILENT", "ANSWERED"],
        &["requests_answered", "1"],
        &["workers_registered", "3"],
    ] {
        assert!(words.iter().any(|found| found == row), "{row:?} is missing in\n{text}");
    }
    let rows = |service, state| {
        let is_one = |row: &&Vec<&str>| row.len() == 8 && row[0] == service && row[3] == state;
        words.iter().filter(is_one).count()
    };
    assert_eq!((rows("count", "idle"), rows("echo", "idle")), (2, 1), "{text}");
    assert!(!text.contains("workers_silent"), "{text}");
}

#[test]
fn one_service_or_none() {
    let place = Place::new();
    let _echo = place.work(1, &["echo", "--", "cat"]);
    let text = place.run(&["status", "echo"]).text();
    assert!(text.starts_with("SERVICE  WORKERS  WAITING  RUNNING\necho "), "{text}");
    assert!(!text.contains("COUNTER"), "{text}");
    let text = "majordomo: the broker knows no service x: it has no worker and no request\n";
    place.run(&["status", "x"]).fails(1, text);
}

#[test]
fn json_is_the_report() {
    let place = Place::new();
    let _echo = place.work(1, &["echo", "--", "cat"]);
    let text = place.run(&["status", "--json"]).text();
    let report: BrokerReport = serde_json::from_str(&text).unwrap();
    assert_eq!(report.services[0].name, "echo");
    assert_eq!(report.workers.len(), 1);
}

#[test]
fn watch_repeats_until_nobody_reads() {
    let place = Place::new();
    let mut watch = place.start(&["status", "--json", "--watch=100ms"]);
    let mut reports = BufReader::new(watch.child().stdout.take().unwrap()).lines();
    let mut next =
        || -> BrokerReport { serde_json::from_str(&reports.next().unwrap().unwrap()).unwrap() };
    assert!(next().uptime_ms <= next().uptime_ms);
    drop(reports);
    watch.end().prints("");
}

#[test]
fn watch_goes_on_without_a_broker() {
    let place = Place::new();
    let arguments =
        ["status", "--watch=100ms", "--broker", NOBODY, "--timeout", "50ms", "--tries=1"];
    let mut watch = place.start(&arguments);
    let errors = BufReader::new(watch.child().stderr.take().unwrap()).lines();
    for line in errors.take(2) {
        let expected = format!("majordomo: no broker reached at {NOBODY} (tries: 1)");
        assert_eq!(line.unwrap(), expected);
    }
}

#[test]
fn a_broker_of_another_make_is_recognised() {
    for (answer, text) in [
        (
            "501",
            "majordomo: the broker does not know mmi.broker (it answered 501): only \
             Majordomo's own has a status; call and work can do with this one\n",
        ),
        (
            "fine, thanks",
            "majordomo: the broker answered mmi.broker with no report: \
             expected ident at line 1 column 2\n",
        ),
    ] {
        let socket = zmq::Context::new().socket(zmq::ROUTER).unwrap();
        socket.bind("tcp://127.0.0.1:*").unwrap();
        let endpoint = socket.get_last_endpoint().unwrap().unwrap();
        let broker = thread::spawn(move || {
            let mut frames = socket.recv_multipart(0).unwrap();
            frames[2] = vec![3];
            frames[4] = answer.into();
            socket.send_multipart(frames, 0).unwrap();
            socket
        });
        let arguments = ["status", "--protocol", "0.2", "--broker", &endpoint];
        Place::new().run(&arguments).fails(1, text);
        broker.join().unwrap();
    }
}
