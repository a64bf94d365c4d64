//! How workers end: drained, at the limit, at once; and never not at all.

use std::time::Duration;

use crossbeam_channel::bounded;
use majordomo_worker::{Request, Responder, Service, StopReason, Version, Worker};

use crate::broker::{Broker, Held, PATIENCE, in_both_versions, own_endpoint, start, until};

#[test]
fn draining_lets_idle_places_go_at_once_and_busy_ones_answer_first() {
    in_both_versions(|broker| {
        let held = Held::new("held");
        let service = held.service.clone().concurrency(2);
        let worker = broker.worker().serve(service).build().unwrap();
        let stop = worker.stop_handle();
        let worker = std::thread::spawn(move || worker.run());
        let (busy, idle) = (broker.ready("held"), broker.ready("held"));
        broker.request(&busy, "c1", &[""]);
        held.begun();
        stop.stop();
        assert_eq!(broker.receive_from(&idle), broker.disconnect());
        held.release();
        assert_eq!(broker.receive_from(&busy), broker.final_("c1", &["done"]));
        assert_eq!(broker.receive_from(&busy), broker.disconnect());
        assert_eq!(worker.join().unwrap().unwrap(), StopReason::Drained);
    });
}

#[test]
fn draining_waits_for_a_request_that_was_begun() {
    let broker = Broker::new(Version::V0_2);
    let (begun, begins) = bounded(1);
    let (release, released) = bounded::<()>(1);
    let wait = move |request: Request| {
        begun.send(())?;
        // Woken by the stop, not by a time.
        assert!(request.stop_signal().wait_timeout(PATIENCE) && request.stopping());
        Ok(released.recv_timeout(PATIENCE).map(|()| "done")?)
    };
    let worker = start(broker.worker().service("wait", wait));
    let place = broker.ready("wait");
    broker.request(&place, "c1", &[""]);
    begins.recv_timeout(PATIENCE).unwrap();
    assert!(!worker.stop_handle().signal().is_raised());
    worker.stop_handle().stop();
    release.send(()).unwrap();
    assert_eq!(broker.receive_from(&place), broker.final_("c1", &["done"]));
    assert_eq!(broker.receive_from(&place), broker.disconnect());
    assert_eq!(worker.join(), StopReason::Drained);
}

#[test]
fn draining_waits_for_a_handler_that_goes_on_after_its_answer() {
    let broker = Broker::new(Version::V0_2);
    let (begun, begins) = bounded(1);
    let (release, released) = bounded::<()>(1);
    let tidy = move |_: Request, responder: Responder| {
        let finished = responder.finish("done");
        begun.send(())?;
        released.recv_timeout(PATIENCE)?;
        Ok(finished)
    };
    let worker = start(broker.worker().serve(Service::streaming("tidy", tidy)));
    let place = broker.ready("tidy");
    broker.request(&place, "c1", &[""]);
    begins.recv_timeout(PATIENCE).unwrap();
    worker.stop_handle().stop();
    assert_eq!(broker.receive_from(&place), broker.final_("c1", &["done"]));
    assert_eq!(broker.receive_from(&place), broker.disconnect());
    release.send(()).unwrap();
    assert_eq!(worker.join(), StopReason::Drained);
}

#[test]
fn stop_now_returns_although_a_handler_hangs() {
    in_both_versions(|broker| {
        let held = Held::new("held");
        let worker = start(broker.worker().serve(held.service.clone()));
        let place = broker.ready("held");
        broker.request(&place, "c1", &[""]);
        held.begun();
        let counters = worker.counters();
        worker.stop_handle().stop_now();
        assert_eq!(worker.join(), StopReason::StopNow { unfinished: 1 });
        assert_eq!(broker.receive_from(&place), broker.disconnect());
        // It ends after all: its answer is dropped.
        held.release();
        until("dropped", || counters.counts().answers_late == 1);
    });
}

#[test]
fn draining_ends_at_its_limit_although_a_handler_hangs() {
    let broker = Broker::new(Version::V0_2);
    let held = Held::new("held");
    let worker = broker.worker().drain_limit(Duration::from_millis(10));
    let worker = start(worker.serve(held.service.clone()));
    let place = broker.ready("held");
    broker.request(&place, "c1", &[""]);
    held.begun();
    worker.stop_handle().stop();
    assert_eq!(worker.join(), StopReason::DrainLimit { unfinished: 1 });
    assert_eq!(broker.receive_from(&place), broker.disconnect());
}

#[test]
fn stop_now_overtakes_a_drain() {
    let broker = Broker::new(Version::V0_2);
    let held = Held::new("held");
    let worker = start(broker.worker().serve(held.service.clone()));
    let place = broker.ready("held");
    broker.request(&place, "c1", &[""]);
    held.begun();
    worker.stop_handle().stop();
    worker.stop_handle().stop_now();
    worker.stop_handle().stop();
    assert_eq!(worker.join(), StopReason::StopNow { unfinished: 1 });
}

#[test]
fn a_worker_stopped_before_it_runs_returns_at_once_and_registers_nowhere() {
    let broker = Broker::new(Version::V0_2);
    let worker = broker.worker().service("echo", |request: Request| Ok(request.into_body()));
    let worker = worker.build().unwrap();
    worker.stop_handle().stop();
    assert_eq!(worker.run().unwrap(), StopReason::Drained);
    // The next one is the first that is heard.
    let worker = broker.worker().service("second", |request: Request| Ok(request.into_body()));
    let _worker = start(worker);
    broker.ready("second");
}

#[test]
fn a_worker_without_any_broker_stops() {
    let endpoint = own_endpoint("nobody");
    for stop_now in [false, true] {
        let worker = start(
            Worker::builder()
                .broker(&endpoint)
                .service("echo", |request: Request| Ok(request.into_body())),
        );
        match stop_now {
            false => worker.stop_handle().stop(),
            true => worker.stop_handle().stop_now(),
        }
        assert_eq!(worker.join().unfinished(), 0);
    }
}

#[test]
fn dropping_a_running_worker_drains_it() {
    let broker = Broker::new(Version::V0_2);
    let worker = broker.worker().service("echo", |request: Request| Ok(request.into_body()));
    let worker = start(worker);
    let place = broker.ready("echo");
    drop(worker);
    assert_eq!(broker.receive_from(&place), broker.disconnect());
}

#[test]
fn a_handler_may_stop_its_own_worker() {
    let broker = Broker::new(Version::V0_2);
    let (give, given) = bounded::<majordomo_worker::StopHandle>(1);
    let quit = move |_: Request| {
        given.recv_timeout(PATIENCE)?.stop();
        Ok("bye")
    };
    let worker = broker.worker().service("quit", quit).build().unwrap();
    give.send(worker.stop_handle()).unwrap();
    let worker = std::thread::spawn(move || worker.run());
    let place = broker.ready("quit");
    broker.request(&place, "c1", &[""]);
    assert_eq!(broker.receive_from(&place), broker.final_("c1", &["bye"]));
    assert_eq!(broker.receive_from(&place), broker.disconnect());
    assert_eq!(worker.join().unwrap().unwrap(), StopReason::Drained);
}
