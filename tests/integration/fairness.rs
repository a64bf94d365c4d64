//! That one client's many requests do not delay another's.

use majordomo_tests::raw::RawPeer;
use majordomo_tests::report::Reports;
use majordomo_tests::spawn::BrokerProcess;
use majordomo_tests::wire::{self, Version};
use majordomo_tests::worker::RawWorker;

const MANY: u64 = 50_000;

#[test]
fn a_single_request_is_answered_within_two_dispatches_among_50_000_of_another_client() {
    let broker = BrokerProcess::start();
    let mut reports = Reports::of(broker.endpoint());
    let mut many = RawPeer::dealer(broker.endpoint());
    let mut single = RawPeer::dealer(broker.endpoint());
    for number in 0..MANY {
        many.send(&wire::request(Version::V0_2, "work", [number.to_string()]));
    }
    reports.until_waiting("work", MANY);
    single.send(&wire::request(Version::V0_1, "work", ["single"]));
    reports.until_waiting("work", MANY + 1);

    let mut worker = RawWorker::register(broker.endpoint(), Version::V0_2, "work");
    worker.echo("0");
    worker.echo("single");
    single.expect(&wire::reply(Version::V0_1, "work", ["single"]));
    // Again while the queue is being worked off, and the other client's order holds.
    let busy = worker.expect_request("1");
    single.send(&wire::request(Version::V0_1, "work", ["another"]));
    single.sync();
    worker.reply(&busy, "1");
    let next = worker.request();
    worker.reply(&next, "either");
    let after = worker.request();
    worker.reply(&after, "either");
    assert!([&next, &after].iter().any(|request| request.body == [b"another"]));
    single.expect(&wire::reply(Version::V0_1, "work", ["either"]));
    for number in 3..1_000 {
        worker.echo(&number.to_string());
    }
    for number in 0..2 {
        many.expect(&wire::reply(Version::V0_2, "work", [number.to_string()]));
    }
    many.expect(&wire::reply(Version::V0_2, "work", ["either"]));
    for number in 3..1_000 {
        many.expect(&wire::reply(Version::V0_2, "work", [number.to_string()]));
    }
}
