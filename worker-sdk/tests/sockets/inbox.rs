//! The plain receive and reply loop.

use std::time::Duration;

use majordomo_worker::{Closed, StopReason, Version};

use crate::broker::{Broker, PATIENCE, in_both_versions, until};

#[test]
fn a_plain_loop_receives_and_answers() {
    in_both_versions(|broker| {
        let inbox = broker.worker().open("echo", 1).unwrap();
        let place = broker.ready("echo");
        for client in ["c1", "c2", "c3"] {
            broker.request(&place, client, &["hi"]);
            let (request, responder) = inbox.receive(PATIENCE).unwrap().expect("a request");
            assert_eq!(request.service(), "echo");
            responder.finish(request.into_body());
            assert_eq!(broker.receive_from(&place), broker.final_(client, &["hi"]));
        }
        assert_eq!(inbox.receive(Duration::ZERO).unwrap().map(|_| ()), None);
    });
}

#[test]
fn all_that_wait_are_received_together_and_answered_in_any_order() {
    let broker = Broker::new(Version::V0_2);
    let inbox = broker.worker().open("batch", 4).unwrap();
    let places = [(); 4].map(|()| broker.ready("batch"));
    for (number, place) in places.iter().enumerate() {
        broker.request(place, &format!("c{number}"), &[&number.to_string()]);
    }
    until("all came", || inbox.counters().counts().requests == 4);
    let mut received = Vec::new();
    // The last may be counted a moment before it can be received.
    while received.len() < 4 {
        received.extend(inbox.receive_all(PATIENCE).unwrap());
    }
    assert!(inbox.receive_all(Duration::ZERO).unwrap().is_empty());
    for (request, responder) in received.into_iter().rev() {
        let client = String::from_utf8(request.client().as_bytes().to_vec()).unwrap();
        let body = request.into_body();
        let text = String::from_utf8(body.frames()[0].clone()).unwrap();
        responder.finish(body);
        assert_eq!(broker.receive().1, broker.final_(&client, &[&text]));
    }
}

#[test]
fn a_dropped_responder_answers_with_a_failure() {
    in_both_versions(|broker| {
        let inbox = broker.worker().open("drop", 1).unwrap();
        let place = broker.ready("drop");
        broker.request(&place, "c1", &["hi"]);
        drop(inbox.receive(PATIENCE).unwrap());
        let failure = ["500", "the worker dropped the request unanswered"];
        assert_eq!(broker.receive_from(&place), broker.final_("c1", &failure));
        broker.request(&place, "c2", &["hi"]);
        let (_, responder) = inbox.receive(PATIENCE).unwrap().expect("a request");
        responder.finish("fine");
        assert_eq!(broker.receive_from(&place), broker.final_("c2", &["fine"]));
        assert_eq!(inbox.counters().counts().failures, 1);
    });
}

#[test]
fn a_responder_may_answer_from_another_thread() {
    let broker = Broker::new(Version::V0_2);
    let inbox = broker.worker().open("far", 1).unwrap();
    let place = broker.ready("far");
    broker.request(&place, "c1", &["hi"]);
    let (request, mut responder) = inbox.receive(PATIENCE).unwrap().expect("a request");
    let far = std::thread::spawn(move || {
        responder.partial("part")?;
        responder.finish(request.into_body());
        Ok::<(), majordomo_worker::PartialError>(())
    });
    assert_eq!(broker.receive_from(&place), broker.partial("c1", "part"));
    assert_eq!(broker.receive_from(&place), broker.final_("c1", &["hi"]));
    assert_eq!(far.join().unwrap(), Ok(()));
}

#[test]
fn dropping_an_inbox_says_disconnect() {
    let broker = Broker::new(Version::V0_2);
    let inbox = broker.worker().open("echo", 1).unwrap();
    let place = broker.ready("echo");
    drop(inbox);
    assert_eq!(broker.receive_from(&place), broker.disconnect());
}

#[test]
fn requests_that_were_not_received_go_back_to_the_broker() {
    in_both_versions(|broker| {
        let inbox = broker.worker().open("echo", 1).unwrap();
        let place = broker.ready("echo");
        broker.request(&place, "c1", &["hi"]);
        until("it came", || inbox.counters().counts().requests == 1);
        assert_eq!(inbox.close().unwrap(), StopReason::Drained);
        // Not a failure: another worker can still serve it.
        assert_eq!(broker.receive_from(&place), broker.disconnect());
    });
}

#[test]
fn closing_waits_for_a_responder_no_longer_than_the_drain_limit() {
    let broker = Broker::new(Version::V0_2);
    let builder = broker.worker().drain_limit(Duration::from_millis(10));
    let inbox = builder.open("echo", 1).unwrap();
    let place = broker.ready("echo");
    broker.request(&place, "c1", &["hi"]);
    let (_, responder) = inbox.receive(PATIENCE).unwrap().expect("a request");
    let counters = inbox.counters();
    assert_eq!(inbox.close().unwrap(), StopReason::DrainLimit { unfinished: 1 });
    assert_eq!(broker.receive_from(&place), broker.disconnect());
    responder.finish("too late");
    assert_eq!(counters.counts().answers_late, 1);
}

#[test]
fn a_drained_inbox_gives_what_it_has_and_then_says_that_it_is_closed() {
    let broker = Broker::new(Version::V0_2);
    let inbox = broker.worker().open("echo", 1).unwrap();
    let place = broker.ready("echo");
    broker.request(&place, "c1", &["hi"]);
    until("it came", || inbox.counters().counts().requests == 1);
    inbox.stop_handle().stop();
    let (request, responder) = inbox.receive(PATIENCE).unwrap().expect("a request");
    assert!(request.stopping());
    responder.finish("done");
    assert_eq!(broker.receive_from(&place), broker.final_("c1", &["done"]));
    assert_eq!(broker.receive_from(&place), broker.disconnect());
    assert_eq!(inbox.receive(PATIENCE).map(|_| ()), Err(Closed));
}
