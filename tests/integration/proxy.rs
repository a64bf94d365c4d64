//! A client whose connections are cut again and again.

use majordomo_tests::report::{Reports, counter, in_short};
use majordomo_tests::retries;
use majordomo_tests::spawn::BrokerProcess;

#[test]
fn every_call_is_answered_and_runs_once_while_connections_are_cut() {
    const CALLS: u64 = 3_000;
    let broker = BrokerProcess::start();
    let outcome = retries::run(broker.endpoint(), CALLS, 20_261_120, 500..40_000);
    let report = Reports::of(broker.endpoint()).fresh();
    assert!(outcome.is_right(), "{outcome:#?}; {}", in_short(&report));
    assert!(outcome.cuts >= 3, "{outcome:?}: too quiet to tell anything");
    assert!(counter(&report, "requests_joined") > 0, "{}", in_short(&report));
    assert_eq!(counter(&report, "requests_dispatched"), CALLS);
}
