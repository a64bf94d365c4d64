//! A broker that the machine gives too little: no room for its log, no descriptor for
//! another peer. It goes on serving those it has.

use majordomo_tests::limit::until;
use majordomo_tests::process::Signal;
use majordomo_tests::raw::RawPeer;
use majordomo_tests::report::{Reports, counter};
use majordomo_tests::spawn::BrokerProcess;
use majordomo_tests::v1::{RawClient, RawWorker};
use majordomo_tests::wire::{self, Version};

const CALLS: u64 = 200;

#[test]
fn a_broker_that_cannot_write_its_log_serves_and_stops_as_ever() {
    for format in ["text", "json"] {
        let format = format!("--log-format={format}");
        let line = r#"exec "$0" "$@" 2>/dev/full"#;
        let mut broker = BrokerProcess::by_shell(line, ["--log=trace", "--trace", &format]);
        let mut worker = RawWorker::register(broker.endpoint(), "work", 10);
        let mut client = RawClient::connect(broker.endpoint());
        for call in 0..CALLS {
            let body = call.to_string();
            let id = client.ask("work", &body);
            worker.echo(&body);
            client.expect_reply(id, &body);
        }
        // What is refused is logged as well.
        RawPeer::dealer(broker.endpoint()).send(&wire::frames(["nonsense"]));
        Reports::of(broker.endpoint()).until_counted("messages_malformed", 1);
        broker.signal(Signal::TERM);
        worker.expect_disconnect();
        assert_eq!(broker.exit_code(), 0);
    }
}

#[test]
fn a_broker_without_descriptors_serves_those_it_has_and_others_when_it_has_some_again() {
    const PEERS: usize = 100;
    let broker = BrokerProcess::by_shell(r#"ulimit -n 64; exec "$0" "$@""#, ["--log=warn"]);
    let mut reports = Reports::of(broker.endpoint());
    let mut worker = RawWorker::register(broker.endpoint(), "work", 10);
    let mut client = RawClient::connect(broker.endpoint());
    client.sync();
    let question = wire::request(Version::V0_2, "mmi.service", ["work"]);
    let crowd: Vec<RawPeer> = (0..PEERS)
        .map(|_| {
            let peer = RawPeer::dealer(broker.endpoint());
            peer.send(&question);
            peer
        })
        .collect();
    until("it has no descriptor left", || {
        let usage = broker.process().usage().expect("it runs");
        (usage.descriptors >= 64).then_some(())
    });
    for call in 0..CALLS {
        let body = call.to_string();
        let id = client.ask("work", &body);
        worker.echo(&body);
        client.expect_reply(id, &body);
    }
    let report = reports.fresh();
    assert_eq!(counter(&report, "requests_answered"), CALLS);
    assert!(counter(&report, "mmi_requests") > 0);
    drop(crowd);
    RawPeer::dealer(broker.endpoint()).call(Version::V0_2, "mmi.service", "work", "200");
    assert_eq!(reports.fresh().workers.len(), 1);
}
