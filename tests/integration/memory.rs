//! Memory that a long queue took is given back to the system when it has drained.

use std::time::Duration;

use majordomo_tests::limit::until;
use majordomo_tests::raw::RawPeer;
use majordomo_tests::report::Reports;
use majordomo_tests::spawn::BrokerProcess;
use majordomo_tests::wire::{self, Version};
use majordomo_tests::worker::EchoWorker;

/// Some 7 MiB of waiting requests.
const REQUESTS: usize = 20_000;

fn rss(broker: &BrokerProcess) -> u64 {
    broker.process().usage().expect("it runs").rss
}

#[test]
fn memory_of_a_queue_is_given_back_when_it_has_drained() {
    let broker = BrokerProcess::start();
    let mut reports = Reports::of(broker.endpoint());
    reports.fresh();
    let before = rss(&broker);
    let mut client = RawPeer::dealer(broker.endpoint());
    let request = wire::request(Version::V0_2, "work", ["sixteen bytes..."]);
    (0..REQUESTS).for_each(|_| client.send(&request));
    reports.until("all wait", |report| {
        report.services.iter().map(|service| service.waiting).sum::<u64>() == REQUESTS as u64
    });
    let held = rss(&broker);
    assert!(held > before + (4 << 20), "{held} bytes after {before}");
    let interval = Duration::from_secs(1);
    let workers =
        [(); 8].map(|()| EchoWorker::start(broker.endpoint(), Version::V0_2, "work", interval));
    (0..REQUESTS).for_each(|_| drop(client.receive()));
    until("the broker has given most of its memory back", || {
        (rss(&broker) < before + (held - before) / 3).then_some(())
    });
    workers.into_iter().for_each(EchoWorker::stop);
}
