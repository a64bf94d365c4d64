//! Calls whose handles are dropped: nothing of them is left anywhere.

use majordomo_client::{Body, Client};
use majordomo_tests::limit::{LIMIT, until};
use majordomo_tests::report::{Reports, counter, in_short};
use majordomo_tests::spawn::BrokerProcess;
use majordomo_worker::{HandlerError, Request, Service, StopReason, Worker};

#[test]
fn a_hundred_thousand_dropped_handles_leave_nothing() {
    const CALLS: u64 = 100_000;
    const PLACES: usize = 8;
    const BATCH: usize = 4_996;
    let broker = BrokerProcess::start();
    // It ends by a cancellation, and by nothing else in time.
    let hang = |request: Request| -> Result<Body, HandlerError> {
        let cancelled = request.cancellation().wait_timeout(10 * LIMIT);
        Err(if cancelled { "cancelled" } else { "nobody cancelled this" }.into())
    };
    let worker = Worker::builder()
        .broker(broker.endpoint())
        .serve(Service::new("hang", hang).concurrency(PLACES))
        .service("echo", |request: Request| Ok(request.into_body()))
        .start()
        .expect("a worker");
    let mut reports = Reports::of(broker.endpoint());
    reports.until_workers(2);
    let client = Client::builder()
        .broker(broker.endpoint())
        .timeout(10 * LIMIT)
        .tries(1)
        .build()
        .expect("a client");
    let counters = worker.counters();
    // In small rounds each call runs when its handle is dropped; in large ones all have
    // been sent, and most wait at the broker.
    let rounds = [(10, PLACES), ((CALLS as usize - 10 * PLACES) / BATCH, BATCH)];
    for (rounds, calls) in rounds {
        for _ in 0..rounds {
            let (begun, running) = (client.counts().calls, counters.counts().requests);
            let submit = || client.submit("hang", "run").expect("room for a call");
            let handles: Vec<_> = (0..calls).map(|_| submit()).collect();
            until("all have been sent", || {
                (client.counts().calls == begun + calls as u64).then_some(())
            });
            if calls == PLACES {
                let all_run = running + PLACES as u64;
                until("all run", || (counters.counts().requests == all_run).then_some(()));
            }
            drop(handles);
            reports.until("none is left", |report| report.clients == 0);
        }
    }
    until("the client has none", || {
        (client.outstanding() == 0 && client.counts().outstanding == 0).then_some(())
    });
    let report = reports.until("the broker has had all, and has none", |report| {
        let running: u64 = report.workers.iter().map(|worker| worker.running).sum();
        let waiting: u64 = report.services.iter().map(|service| service.waiting).sum();
        let received = counter(report, "requests_received");
        (received, report.clients, report.bytes, running, waiting) == (CALLS, 0, 0, 0, 0)
    });
    assert_eq!(counter(&report, "requests_dropped_cancelled"), CALLS, "{}", in_short(&report));
    let counts = until("the worker has none", || {
        let counts = counters.counts();
        (counts.requests == counts.cancellations).then_some(counts)
    });
    assert!(counts.requests >= 80, "{counts:?}");
    assert_eq!(counts.requests, counter(&report, "requests_dispatched"));
    // All places are free, and the client has room for another.
    assert_eq!(client.call("echo", "still there").expect("a reply"), Body::from("still there"));
    worker.stop_handle().stop();
    assert_eq!(worker.join().expect("no failure"), StopReason::Drained);
    drop(client);
    let left = Reports::of(broker.endpoint()).until_workers(0);
    assert!(left.services.is_empty(), "{}", in_short(&left));
}
