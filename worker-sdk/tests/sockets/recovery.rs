//! Brokers that go, come back, or talk nonsense.

use std::collections::HashSet;
use std::time::Duration;

use crossbeam_channel::unbounded;
use majordomo_worker::{Request, Responder, Service, StopReason, Version};

use crate::broker::{Broker, Held, PATIENCE, in_both_versions, own_endpoint, start, until};

#[test]
fn a_worker_that_was_disconnected_registers_again_on_a_new_socket() {
    in_both_versions(|broker| {
        let worker = broker.worker().service("echo", |request: Request| Ok(request.into_body()));
        let worker = start(worker);
        let mut seen = HashSet::new();
        for _ in 0..5 {
            let place = broker.ready("echo");
            broker.request(&place, "c1", &["hi"]);
            assert_eq!(broker.receive_from(&place), broker.final_("c1", &["hi"]));
            broker.send(&place, &broker.disconnect());
            assert!(seen.insert(place), "a new socket has a new identity");
        }
        broker.ready("echo");
        assert_eq!(worker.counts().reconnects, 5);
    });
}

#[test]
fn a_worker_whose_broker_is_silent_registers_again_on_a_new_socket() {
    in_both_versions(|broker| {
        let worker = broker.worker().heartbeat_interval(Duration::from_millis(10));
        let worker = worker.service("echo", |request: Request| Ok(request.into_body()));
        let worker = start(worker.reconnect_max(Duration::from_millis(1)));
        let mut seen = HashSet::new();
        while seen.len() < 4 {
            let (place, frames) = broker.receive_but_heartbeats();
            assert_eq!(frames.last(), Some(&b"echo".to_vec()), "READY: {frames:?}");
            assert!(seen.insert(place), "a new socket has a new identity");
        }
        assert!(worker.counts().reconnects >= 3);
    });
}

#[test]
fn a_worker_outlives_a_restart_of_its_broker() {
    let endpoint = own_endpoint("restart");
    let broker = Broker::bind(Version::V0_2, &endpoint);
    let worker = broker.worker().heartbeat_interval(Duration::from_millis(50));
    let worker = worker.heartbeat_liveness(1000);
    let worker = worker.service("echo", |request: Request| Ok(request.into_body()));
    let _worker = start(worker.reconnect_max(Duration::from_millis(50)));
    broker.receive();
    drop(broker);
    // As a broker without memory does: strangers are sent away, until one says READY.
    let broker = Broker::bind(Version::V0_2, &endpoint);
    loop {
        let (place, frames) = broker.receive();
        if frames.len() == 3 {
            broker.request(&place, "c1", &["hi"]);
            let answer = broker.receive_but_heartbeats();
            assert_eq!(answer, (place, broker.final_("c1", &["hi"])));
            return;
        }
        broker.send(&place, &broker.disconnect());
    }
}

#[test]
fn a_worker_may_be_there_before_its_broker() {
    let endpoint = own_endpoint("early");
    let early = majordomo_worker::Worker::builder()
        .broker(&endpoint)
        .version(Version::V0_2)
        .service("echo", |request: Request| Ok(request.into_body()));
    let _worker = start(early);
    let broker = Broker::bind(Version::V0_2, &endpoint);
    broker.ready("echo");
}

#[test]
fn an_answer_for_a_lost_broker_is_dropped_and_only_then_the_place_comes_back() {
    in_both_versions(|broker| {
        let held = Held::new("held");
        let worker = start(broker.worker().serve(held.service.clone()));
        let place = broker.ready("held");
        broker.request(&place, "c1", &[""]);
        held.begun();
        broker.send(&place, &broker.disconnect());
        until("lost", || worker.counts().reconnects == 1);
        held.release();
        // READY is the next thing heard: nothing of the answer came.
        let again = broker.ready("held");
        assert_ne!(again, place);
        let counts = worker.counts();
        assert_eq!((counts.answers, counts.answers_late), (0, 1));
    });
}

#[test]
fn a_handler_learns_that_nobody_waits_for_its_parts() {
    let broker = Broker::new(Version::V0_2);
    let (seen, errors) = unbounded();
    let endless = move |_: Request, mut responder: Responder| {
        let error = loop {
            if let Err(error) = responder.partial("more") {
                break error;
            }
        };
        seen.send(error.to_string())?;
        Ok(responder.finish("end"))
    };
    let _worker = start(broker.worker().serve(Service::streaming("endless", endless)));
    let place = broker.ready("endless");
    broker.request(&place, "c1", &[""]);
    broker.receive_from(&place);
    broker.send(&place, &broker.disconnect());
    let error = errors.recv_timeout(PATIENCE).unwrap();
    assert_eq!(error, "nobody waits for this reply any more");
}

/// The broker reads nothing, so the socket fills up and the handler is blocked.
#[test]
fn a_broker_that_does_not_read_holds_a_handler_back_until_it_is_lost() {
    let broker = Broker::new(Version::V0_2);
    let (seen, errors) = unbounded();
    let flood = move |_: Request, mut responder: Responder| {
        let part = vec![0; 1 << 20];
        let taken = (0u32..).take_while(|_| responder.partial(part.clone()).is_ok()).count();
        seen.send(taken)?;
        Ok(responder.finish("end"))
    };
    let worker = broker.worker().heartbeat_interval(Duration::from_millis(100));
    let _worker = start(worker.serve(Service::streaming("flood", flood)));
    let place = broker.ready("flood");
    broker.request(&place, "c1", &[""]);
    let taken = errors.recv_timeout(PATIENCE).expect("the handler is freed with its connection");
    // What both sockets hold, and the system between them: some 70 MB.
    assert!(taken < 200, "{taken} parts of 1 MB were taken, and read by nobody");
}

#[test]
fn an_invalid_message_is_answered_by_disconnect_and_a_new_registration() {
    in_both_versions(|broker| {
        let worker = broker.worker().service("echo", |request: Request| Ok(request.into_body()));
        let worker = start(worker);
        let garbage: [&[&[u8]]; 5] = [
            &[b"MDPW02"],
            &[b"", b"MDPW01", b"\x02", b"c1"],
            &[b"MDPW02", b"\x02", b"c1", b"", b""],
            &[b"\xff\xfe"],
            &[b"", b"", b"", b"", b"", b"", b"", b""],
        ];
        let mut refused = 0;
        for frames in garbage {
            let place = broker.ready("echo");
            broker.send(&place, &frames.iter().map(|frame| frame.to_vec()).collect());
            let next = broker.receive_from(&place);
            if next == broker.disconnect() {
                refused += 1;
            } else {
                // One of them is a request in one of the versions.
                assert_eq!(next, broker.final_("c1", &[""]));
                broker.send(&place, &broker.disconnect());
            }
        }
        broker.ready("echo");
        assert!(refused >= 4);
        assert_eq!(worker.counts().messages_invalid, refused);
    });
}

#[test]
fn a_request_that_waited_for_a_thread_while_its_broker_was_lost_is_not_begun() {
    let brokers = [Broker::new(Version::V0_2), Broker::new(Version::V0_2)];
    let (begun, begins) = unbounded();
    let (release, released) = unbounded::<()>();
    let wait = move |request: Request| {
        begun.send(request.client().to_string())?;
        Ok(released.recv_timeout(PATIENCE).map(|()| "done")?)
    };
    let worker = brokers[0].worker().broker(&brokers[1].endpoint).service("wait", wait);
    let worker = start(worker);
    let places = brokers.each_ref().map(|broker| broker.ready("wait"));
    brokers[0].request(&places[0], "a", &[""]);
    assert_eq!(begins.recv_timeout(PATIENCE).unwrap(), "61");
    brokers[1].request(&places[1], "b", &[""]);
    brokers[1].send(&places[1], &brokers[1].disconnect());
    until("lost", || worker.counts().reconnects == 1);
    release.send(()).unwrap();
    assert_eq!(brokers[0].receive_from(&places[0]), brokers[0].final_("a", &["done"]));
    // The place comes back by itself, and is fit for another request.
    let place = brokers[1].ready("wait");
    brokers[1].request(&place, "c", &[""]);
    assert_eq!(begins.recv_timeout(PATIENCE).unwrap(), "63", "b was never begun");
    release.send(()).unwrap();
    assert_eq!(brokers[1].receive_from(&place), brokers[1].final_("c", &["done"]));
    assert_eq!(worker.counts().answers_late, 0);
}

#[test]
fn a_worker_between_two_connections_hears_that_it_is_to_stop() {
    let broker = Broker::new(Version::V0_2);
    let hour = Duration::from_secs(3600);
    let worker = broker.worker().reconnect_min(hour).reconnect_max(hour);
    let worker = start(worker.service("echo", |request: Request| Ok(request.into_body())));
    let place = broker.ready("echo");
    broker.send(&place, &broker.disconnect());
    until("lost", || worker.counts().reconnects == 1);
    worker.stop_handle().stop();
    assert_eq!(worker.join(), StopReason::Drained);
}
