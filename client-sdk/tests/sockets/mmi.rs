//! What a client asks the broker itself.

use std::error::Error as _;

use majordomo_client::{Error, Violation};

use crate::broker::{broker, bytes, client};

#[test]
fn lookup_asks_the_broker_whether_a_service_has_workers() {
    let (endpoint, broker) = broker(|router| {
        let (identity, frames) = router.receive();
        assert_eq!(frames, bytes(&[b"MDPC02", &[1], b"mmi.service", b"echo"]));
        router.last(&identity, "mmi.service", "200");
        router.answer("mmi.service", "404");
        router.answer("mmi.service", "501");
        router.send(&router.receive().0, &[b"MDPC02", &[3], b"mmi.service", b"2", b"00"]);
    });
    let mut client = client(&endpoint);
    assert!(client.lookup("echo").expect("an answer"));
    assert!(!client.lookup("echo").expect("an answer"));
    let error = client.lookup("echo").expect_err("a violation");
    let source = error.source().expect("a cause").to_string();
    assert_eq!(source, "mmi.service must answer 200 or 404, found 3 bytes 501");
    assert!(matches!(client.lookup("a\nb"), Err(Error::ServiceName(_))));
    assert!(client.lookup("echo").is_ok(), "frames of a body are one sequence of bytes");
    broker.end();
}

#[test]
fn broker_report_reads_the_brokers_json() {
    let (endpoint, broker) = broker(|router| {
        let report = majordomo_client::BrokerReport {
            version: "1.2.3".to_owned(),
            uptime_ms: 17,
            ..Default::default()
        };
        router.answer("mmi.broker", &serde_json::to_string(&report).expect("JSON"));
        router.answer("mmi.broker", "501");
        router.answer("mmi.broker", "{}");
    });
    let mut client = client(&endpoint);
    let report = client.broker_report().expect("a report");
    assert_eq!((report.version.as_str(), report.uptime_ms), ("1.2.3", 17));
    let other_make = client.broker_report().expect_err("no report");
    assert!(matches!(other_make, Error::Violation { source: Violation::Answer { .. }, .. }));
    let nonsense = client.broker_report().expect_err("no report");
    assert!(matches!(nonsense, Error::Violation { source: Violation::Report(_), .. }));
    broker.end();
}
