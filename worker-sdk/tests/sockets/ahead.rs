//! Requests that a broker sends ahead of a reply, in MDP/0.1 and MDP/0.2.

use std::time::Duration;

use crossbeam_channel::unbounded;
use majordomo_worker::{Body, Request, Service, StopReason};

use crate::broker::{Broker, Held, PATIENCE, Place, in_both_versions, start, until};

/// The one that runs and those behind it, at most.
const UNANSWERED_MAX: u64 = 64;

/// Gives a held service one request after the other; each is begun by the answer before.
fn answers(broker: &Broker, place: &Place, held: &Held, clients: &[&str]) {
    for client in clients {
        held.begun();
        held.release();
        assert_eq!(broker.receive_from(place), broker.final_(client, &["done"]));
    }
}

#[test]
fn they_are_answered_in_order_one_at_a_time() {
    in_both_versions(|broker| {
        let held = Held::new("held");
        let worker = start(broker.worker().serve(held.service.clone()));
        let place = broker.ready("held");
        for client in ["c1", "c2", "c3"] {
            broker.request(&place, client, &[""]);
        }
        answers(broker, &place, &held, &["c1"]);
        broker.request(&place, "c4", &[""]);
        answers(broker, &place, &held, &["c2", "c3", "c4"]);
        until("counted", || worker.counts().answers == 4);
        let counts = worker.counts();
        assert_eq!((counts.requests, counts.requests_given_back), (4, 0));
        assert_eq!((counts.reconnects, counts.messages_invalid), (0, 0));
    });
}

#[test]
fn inline_handlers_answer_as_many_as_may_come() {
    in_both_versions(|broker| {
        let echo = |request: Request| Ok(request.into_body());
        let worker = start(broker.worker().serve(Service::new("echo", echo).inline()));
        let place = broker.ready("echo");
        for round in 0..10 {
            let name = |number: u64| format!("{round} {number}");
            for number in 0..UNANSWERED_MAX {
                broker.request(&place, &name(number), &[&name(number)]);
            }
            for number in 0..UNANSWERED_MAX {
                let answer = broker.final_(&name(number), &[&name(number)]);
                assert_eq!(broker.receive_from(&place), answer);
            }
        }
        assert_eq!(worker.counts().reconnects, 0);
    });
}

#[test]
fn one_too_large_is_refused_in_its_turn() {
    in_both_versions(|broker| {
        let held = Held::new("held");
        let worker = broker.worker().request_bytes_max(3);
        let worker = start(worker.serve(held.service.clone()));
        let place = broker.ready("held");
        // Of one client: a plain broker may give them the same address.
        for body in ["one", "large", "two", "three", "larger"] {
            broker.request(&place, "c", &[body]);
        }
        let refused = |bytes: usize| {
            let text = format!("the request has {bytes} bytes; this worker takes at most 3");
            assert_eq!(broker.receive_from(&place), broker.final_("c", &["500", &text]));
        };
        answers(broker, &place, &held, &["c"]);
        refused(5);
        answers(broker, &place, &held, &["c"]);
        refused(5);
        refused(6);
        assert_eq!((worker.counts().requests, worker.counts().failures), (5, 3));
    });
}

#[test]
fn heartbeats_go_on_while_they_wait() {
    in_both_versions(|broker| {
        let held = Held::new("held");
        let worker = broker.worker().heartbeat_interval(Duration::from_millis(10));
        let _worker = start(worker.heartbeat_liveness(1000).serve(held.service.clone()));
        let place = broker.ready("held");
        for client in ["c1", "c2"] {
            broker.request(&place, client, &[""]);
        }
        held.begun();
        for _ in 0..5 {
            assert_eq!(broker.receive_from(&place), broker.heartbeat());
        }
        held.release();
        assert_eq!(broker.receive_but_heartbeats().1, broker.final_("c1", &["done"]));
        held.begun();
        assert_eq!(broker.receive_from(&place), broker.heartbeat());
        held.release();
        assert_eq!(broker.receive_but_heartbeats().1, broker.final_("c2", &["done"]));
    });
}

#[test]
fn one_too_many_is_answered_by_disconnect() {
    in_both_versions(|broker| {
        let held = Held::new("held");
        let worker = start(broker.worker().serve(held.service.clone()));
        let place = broker.ready("held");
        broker.request(&place, "0", &[""]);
        held.begun();
        for number in 1..=UNANSWERED_MAX {
            broker.request(&place, &number.to_string(), &[""]);
        }
        assert_eq!(broker.receive_from(&place), broker.disconnect());
        held.release();
        assert_ne!(broker.ready("held"), place);
        let counts = worker.counts();
        assert_eq!((counts.messages_invalid, counts.answers_late), (1, 1));
        assert_eq!(counts.requests_given_back, UNANSWERED_MAX - 1);
    });
}

#[test]
fn those_of_a_lost_broker_are_not_begun() {
    in_both_versions(|broker| {
        let (begun, begins) = unbounded();
        let (release, released) = unbounded::<()>();
        let wait = move |request: Request| {
            begun.send(request.into_body())?;
            Ok(released.recv_timeout(PATIENCE).map(|()| "done")?)
        };
        let worker = start(broker.worker().service("wait", wait));
        let place = broker.ready("wait");
        for client in ["c1", "c2", "c3"] {
            broker.request(&place, client, &[client]);
        }
        assert_eq!(begins.recv_timeout(PATIENCE), Ok(Body::from("c1")));
        broker.send(&place, &broker.disconnect());
        until("lost", || worker.counts().reconnects == 1);
        assert_eq!(worker.counts().requests_given_back, 2);
        release.send(()).unwrap();
        let place = broker.ready("wait");
        broker.request(&place, "c4", &["c4"]);
        assert_eq!(begins.recv_timeout(PATIENCE), Ok(Body::from("c4")));
        release.send(()).unwrap();
        assert_eq!(broker.receive_from(&place), broker.final_("c4", &["done"]));
        until("counted", || worker.counts().answers == 1);
        assert_eq!((worker.counts().requests, worker.counts().answers_late), (4, 1));
    });
}

#[test]
fn draining_answers_those_that_came_before_and_gives_back_those_that_come_after() {
    in_both_versions(|broker| {
        let held = Held::new("held");
        let worker = start(broker.worker().serve(held.service.clone().concurrency(2)));
        let (busy, idle) = (broker.ready("held"), broker.ready("held"));
        for client in ["c1", "c2", "c3"] {
            broker.request(&busy, client, &[""]);
        }
        until("all are here", || worker.counts().requests == 3);
        worker.stop_handle().stop();
        assert_eq!(broker.receive_from(&idle), broker.disconnect());
        broker.request(&busy, "c4", &[""]);
        until("it is here", || worker.counts().requests == 4);
        answers(broker, &busy, &held, &["c1", "c2", "c3"]);
        assert_eq!(broker.receive_from(&busy), broker.disconnect());
        let counters = worker.counters();
        assert_eq!(worker.join(), StopReason::Drained);
        let counts = counters.counts();
        assert_eq!((counts.answers, counts.requests_given_back), (3, 1));
    });
}

#[test]
fn stopping_at_once_gives_all_back() {
    in_both_versions(|broker| {
        let held = Held::new("held");
        let worker = start(broker.worker().serve(held.service.clone()));
        let place = broker.ready("held");
        for client in ["c1", "c2", "c3"] {
            broker.request(&place, client, &[""]);
        }
        held.begun();
        until("all are here", || worker.counts().requests == 3);
        let counters = worker.counters();
        worker.stop_handle().stop_now();
        assert_eq!(broker.receive_from(&place), broker.disconnect());
        assert_eq!(worker.join(), StopReason::StopNow { unfinished: 1 });
        let counts = counters.counts();
        assert_eq!((counts.answers, counts.requests_given_back), (0, 2));
    });
}

#[test]
fn closing_an_inbox_gives_all_back() {
    in_both_versions(|broker| {
        let inbox = broker.worker().open("echo", 1).unwrap();
        let place = broker.ready("echo");
        for client in ["c1", "c2", "c3"] {
            broker.request(&place, client, &[""]);
        }
        let counters = inbox.counters();
        until("all are here", || counters.counts().requests == 3);
        assert_eq!(inbox.close().unwrap(), StopReason::Drained);
        assert_eq!(broker.receive_from(&place), broker.disconnect());
        let counts = counters.counts();
        assert_eq!((counts.answers, counts.requests_given_back), (0, 2));
    });
}
