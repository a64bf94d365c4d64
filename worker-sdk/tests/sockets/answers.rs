//! Requests and their answers, frame by frame.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{bounded, unbounded};
use majordomo_worker::{
    Body, Finished, HandlerError, PartialError, Request, Responder, Service, Version, Worker,
};

use crate::broker::{Broker, PATIENCE, in_both_versions, start, until};

fn echo(request: Request) -> Result<Body, HandlerError> {
    Ok(request.into_body())
}

#[test]
fn echo_in_0_1_by_exact_frames() {
    let broker = Broker::new(Version::V0_1);
    let _worker = start(broker.worker().service("echo", echo));
    let (place, frames) = broker.receive();
    assert_eq!(frames, [&b""[..], b"MDPW01", b"\x01", b"echo"]);
    let request = [&b""[..], b"MDPW01", b"\x02", b"\x00c1", b"", b"hello", b"", b"world"];
    broker.send(&place, &request.iter().map(|frame| frame.to_vec()).collect());
    let reply = [&b""[..], b"MDPW01", b"\x03", b"\x00c1", b"", b"hello", b"", b"world"];
    assert_eq!(broker.receive_from(&place), reply);
}

#[test]
fn echo_in_0_2_by_exact_frames() {
    let broker = Broker::new(Version::V0_2);
    let _worker = start(broker.worker().service("echo", echo));
    let (place, frames) = broker.receive();
    assert_eq!(frames, [&b"MDPW02"[..], b"\x01", b"echo"]);
    let request = [&b"MDPW02"[..], b"\x02", b"\x00c1", b"", b"hello", b"", b"world"];
    broker.send(&place, &request.iter().map(|frame| frame.to_vec()).collect());
    let reply = [&b"MDPW02"[..], b"\x04", b"\x00c1", b"", b"hello", b"", b"world"];
    assert_eq!(broker.receive_from(&place), reply);
}

#[test]
fn a_place_serves_one_request_after_another() {
    in_both_versions(|broker| {
        let worker = start(broker.worker().service("echo", echo));
        let place = broker.ready("echo");
        for number in 0..1000 {
            let (client, body) = (format!("c{number}"), number.to_string());
            broker.request(&place, &client, &[&body]);
            assert_eq!(broker.receive_from(&place), broker.final_(&client, &[&body]));
        }
        // An answer is counted a moment after it can be received.
        until("counted", || worker.counts().answers == 1000);
        let counts = worker.counts();
        assert_eq!((counts.requests, counts.failures), (1000, 0));
    });
}

#[test]
fn a_handler_sees_service_client_and_body() {
    let broker = Broker::new(Version::V0_2);
    let describe = |request: Request| {
        let body = request.body().frames().concat();
        let body = String::from_utf8(body)?;
        Ok(format!("{} {} {body} {:?}", request.service(), request.client(), request.remaining()))
    };
    let _worker = start(broker.worker().service("describe", describe));
    let place = broker.ready("describe");
    broker.request(&place, "c1", &["a", "b"]);
    let reply = broker.receive_from(&place);
    assert_eq!(reply, broker.final_("c1", &["describe 6331 ab None"]));
}

#[test]
fn what_is_left_of_the_time_limit_is_visible() {
    let broker = Broker::new(Version::V0_2);
    let limit = Duration::from_secs(7 * 24 * 3600);
    let is_left = move |request: Request| {
        let left = request.remaining().is_some_and(|left| left > limit / 2 && left <= limit);
        Ok(left.to_string())
    };
    let service = Service::new("left", is_left).time_limit(limit);
    let _worker = start(broker.worker().serve(service));
    let place = broker.ready("left");
    broker.request(&place, "c1", &[""]);
    assert_eq!(broker.receive_from(&place), broker.final_("c1", &["true"]));
}

#[test]
fn parts_leave_one_by_one_in_0_2() {
    let broker = Broker::new(Version::V0_2);
    let (go, gone) = bounded::<()>(0);
    let count = move |_: Request, mut responder: Responder| {
        responder.partial("1")?;
        // The first is out before the second is made.
        gone.recv_timeout(PATIENCE)?;
        responder.partial("2")?;
        Ok(responder.finish("3"))
    };
    let _worker = start(broker.worker().serve(Service::streaming("count", count)));
    let place = broker.ready("count");
    broker.request(&place, "c1", &[""]);
    assert_eq!(broker.receive_from(&place), broker.partial("c1", "1"));
    go.send_timeout((), PATIENCE).unwrap();
    assert_eq!(broker.receive_from(&place), broker.partial("c1", "2"));
    assert_eq!(broker.receive_from(&place), broker.final_("c1", &["3"]));
}

#[test]
fn parts_are_kept_and_stand_before_the_final_in_0_1() {
    let broker = Broker::new(Version::V0_1);
    let count = |_: Request, mut responder: Responder| {
        responder.partial("1")?;
        responder.partial(vec![b"2a".to_vec(), b"2b".to_vec()])?;
        Ok(responder.finish("3"))
    };
    let _worker = start(broker.worker().serve(Service::streaming("count", count)));
    let place = broker.ready("count");
    for client in ["c1", "c2"] {
        broker.request(&place, client, &[""]);
        let reply = broker.receive_from(&place);
        assert_eq!(reply, broker.final_(client, &["1", "2a", "2b", "3"]));
    }
}

#[test]
fn parts_over_the_limit_are_refused_and_the_rest_still_goes() {
    in_both_versions(|broker| {
        let (seen, errors) = unbounded();
        let parts = move |_: Request, mut responder: Responder| {
            responder.partial("12345")?;
            for part in ["123456", "12345678901"] {
                seen.send(responder.partial(part))?;
            }
            Ok(responder.finish("1234"))
        };
        let service = Service::streaming("parts", parts);
        let _worker = start(broker.worker().reply_bytes_max(10).serve(service));
        let place = broker.ready("parts");
        broker.request(&place, "c1", &[""]);
        let too_large = |bytes| Err(PartialError::TooLarge { bytes, bytes_max: 10 });
        if broker.receive_from(&place) == broker.final_("c1", &["12345", "1234"]) {
            // MDP/0.1: all parts of a reply share the limit.
            assert_eq!(errors.recv_timeout(PATIENCE), Ok(too_large(11)));
            assert_eq!(errors.recv_timeout(PATIENCE), Ok(too_large(16)));
        } else {
            // MDP/0.2: each has its own. The first was received just now.
            assert_eq!(broker.receive_from(&place), broker.partial("c1", "123456"));
            assert_eq!(broker.receive_from(&place), broker.final_("c1", &["1234"]));
            assert_eq!(errors.recv_timeout(PATIENCE), Ok(Ok(())));
            assert_eq!(errors.recv_timeout(PATIENCE), Ok(too_large(11)));
        }
    });
}

#[test]
fn a_hundred_thousand_parts_reach_a_slow_broker_in_order() {
    let broker = Broker::new(Version::V0_2);
    const PARTS: usize = 100_000;
    let flood = |_: Request, mut responder: Responder| {
        for part in 0..PARTS {
            responder.partial(format!("{part:0200}"))?;
        }
        Ok(responder.finish("end"))
    };
    let _worker = start(broker.worker().serve(Service::streaming("flood", flood)));
    let place = broker.ready("flood");
    broker.request(&place, "c1", &[""]);
    for part in 0..PARTS {
        assert_eq!(broker.receive_from(&place), broker.partial("c1", &format!("{part:0200}")));
    }
    assert_eq!(broker.receive_from(&place), broker.final_("c1", &["end"]));
}

#[test]
fn an_error_becomes_the_two_frames_of_a_failure_and_the_worker_goes_on() {
    in_both_versions(|broker| {
        let parse = |request: Request| {
            let text = String::from_utf8(request.into_body().into_bytes())?;
            let number: u32 = text.parse()?;
            Ok(number.to_string())
        };
        let worker = start(broker.worker().service("parse", parse));
        let place = broker.ready("parse");
        broker.request(&place, "c1", &["x"]);
        let failure = ["500", "invalid digit found in string"];
        assert_eq!(broker.receive_from(&place), broker.final_("c1", &failure));
        broker.request(&place, "c2", &["7"]);
        assert_eq!(broker.receive_from(&place), broker.final_("c2", &["7"]));
        until("counted", || worker.counts().answers == 2);
        let counts = worker.counts();
        assert_eq!((counts.failures, counts.panics), (1, 0));
    });
}

#[test]
fn a_panic_becomes_a_failure_and_the_worker_goes_on() {
    in_both_versions(|broker| {
        let panics = |request: Request| {
            match request.body().frames()[0].as_slice() {
                b"str" => panic!("plain text"),
                b"string" => panic!("frames: {}", request.body().frames().len()),
                b"any" => std::panic::panic_any(7),
                _ => {}
            }
            Ok("fine")
        };
        let worker = start(broker.worker().service("panics", panics));
        let place = broker.ready("panics");
        for (body, text) in [
            ("str", "the handler panicked: plain text"),
            ("string", "the handler panicked: frames: 1"),
            ("any", "the handler panicked: no message"),
        ] {
            broker.request(&place, "c1", &[body]);
            assert_eq!(broker.receive_from(&place), broker.final_("c1", &["500", text]));
        }
        broker.request(&place, "c2", &[""]);
        assert_eq!(broker.receive_from(&place), broker.final_("c2", &["fine"]));
        until("counted", || worker.counts().answers == 4);
        let counts = worker.counts();
        assert_eq!((counts.failures, counts.panics), (3, 3));
    });
}

#[test]
fn a_failure_after_parts_ends_the_reply() {
    in_both_versions(|broker| {
        let half = |_: Request, mut responder: Responder| -> Result<Finished, HandlerError> {
            responder.partial("half")?;
            Err("out of paper".into())
        };
        let _worker = start(broker.worker().serve(Service::streaming("half", half)));
        let place = broker.ready("half");
        broker.request(&place, "c1", &[""]);
        let failure = broker.final_("c1", &["500", "out of paper"]);
        let first = broker.receive_from(&place);
        if first != failure {
            assert_eq!(first, broker.partial("c1", "half"));
            assert_eq!(broker.receive_from(&place), failure);
        }
    });
}

#[test]
fn an_error_after_the_answer_does_not_answer_again() {
    let broker = Broker::new(Version::V0_2);
    let twice = |_: Request, responder: Responder| -> Result<Finished, HandlerError> {
        responder.finish("fine");
        Err("too late".into())
    };
    let worker = start(broker.worker().serve(Service::streaming("twice", twice)));
    let place = broker.ready("twice");
    for client in ["c1", "c2", "c3"] {
        broker.request(&place, client, &[""]);
        assert_eq!(broker.receive_from(&place), broker.final_(client, &["fine"]));
    }
    assert_eq!(worker.counts().failures, 0);
}

#[test]
fn a_handler_that_passes_off_the_proof_of_another_request_still_answers_both() {
    let broker = Broker::new(Version::V0_2);
    let (keep, kept) = bounded(1);
    // The first request leaves its responder to the second, whose own is dropped.
    let swap = move |request: Request, responder: Responder| -> Result<Finished, HandlerError> {
        if request.body().frames()[0] == b"first" {
            keep.send(responder)?;
            return Err("left".into());
        }
        let other: Responder = kept.recv_timeout(PATIENCE)?;
        drop(responder);
        Ok(other.finish("never wanted"))
    };
    let worker = start(broker.worker().serve(Service::streaming("swap", swap)));
    let place = broker.ready("swap");
    broker.request(&place, "c1", &["first"]);
    assert_eq!(broker.receive_from(&place), broker.final_("c1", &["500", "left"]));
    broker.request(&place, "c2", &["second"]);
    let dropped = ["500", "the handler dropped the request unanswered"];
    assert_eq!(broker.receive_from(&place), broker.final_("c2", &dropped));
    until("counted", || worker.counts().answers == 2);
    let counts = worker.counts();
    assert_eq!((counts.failures, counts.answers_late), (2, 1));
}

#[test]
fn bodies_at_the_limit_pass_and_larger_ones_fail_without_reaching_the_handler() {
    in_both_versions(|broker| {
        let worker = start(broker.worker().request_bytes_max(100).service("echo", echo));
        let place = broker.ready("echo");
        let (at, over) = ("x".repeat(100), "x".repeat(101));
        broker.request(&place, "c1", &[&at]);
        assert_eq!(broker.receive_from(&place), broker.final_("c1", &[&at]));
        for body in [vec![over.as_str()], vec![&over, "y"], vec!["y", &over[1..]]] {
            broker.request(&place, "c2", &body);
            let bytes: usize = body.iter().map(|frame| frame.len()).sum();
            let text = format!("the request has {bytes} bytes; this worker takes at most 100");
            assert_eq!(broker.receive_from(&place), broker.final_("c2", &["500", &text]));
        }
        // Frames cost too, or a million empty ones would pass.
        broker.request(&place, "c3", &[""; 5]);
        let text = "the request has 0 bytes; this worker takes at most 100";
        assert_eq!(broker.receive_from(&place), broker.final_("c3", &["500", text]));
        let counts = worker.counts();
        assert_eq!((counts.requests, counts.failures, counts.messages_invalid), (5, 4, 0));
    });
}

#[test]
fn a_reply_over_the_limit_becomes_a_failure() {
    in_both_versions(|broker| {
        let worker = start(broker.worker().reply_bytes_max(10).service("echo", echo));
        let place = broker.ready("echo");
        broker.request(&place, "c1", &["12345678901"]);
        let text = "the reply has 11 bytes; this worker sends at most 10";
        assert_eq!(broker.receive_from(&place), broker.final_("c1", &["500", text]));
        assert_eq!(worker.counts().failures, 1);
    });
}

#[test]
fn a_large_body_comes_back_as_it_went() {
    let broker = Broker::new(Version::V0_2);
    let _worker = start(broker.worker().service("echo", echo));
    let place = broker.ready("echo");
    let body = "0123456789abcdef".repeat(1_000_000);
    broker.request(&place, "c1", &[&body, "end"]);
    assert!(broker.receive_from(&place) == broker.final_("c1", &[&body, "end"]));
}

#[test]
fn heartbeats_go_on_while_a_handler_runs() {
    in_both_versions(|broker| {
        let (release, released) = bounded::<()>(0);
        let wait = move |_: Request| Ok(released.recv_timeout(PATIENCE).map(|()| "released")?);
        let worker = broker
            .worker()
            .heartbeat_interval(Duration::from_millis(5))
            .heartbeat_liveness(1000)
            .service("wait", wait);
        let _worker = start(worker);
        let place = broker.ready("wait");
        broker.request(&place, "c1", &[""]);
        for _ in 0..20 {
            assert_eq!(broker.receive_from(&place), broker.heartbeat());
            broker.send(&place, &broker.heartbeat());
        }
        release.send_timeout((), PATIENCE).unwrap();
        let answer = broker.receive_but_heartbeats();
        assert_eq!(answer, (place, broker.final_("c1", &["released"])));
    });
}

#[test]
fn a_worker_registers_every_place_of_every_service_with_every_broker() {
    let brokers = [Broker::new(Version::V0_2), Broker::new(Version::V0_2)];
    let worker = brokers[0].worker().broker(&brokers[1].endpoint);
    let upper = |request: Request| Ok(request.into_body().into_bytes().to_ascii_uppercase());
    let worker = worker
        .serve(Service::new("echo", echo).concurrency(3))
        .serve(Service::new("upper", upper).concurrency(2));
    let _worker = start(worker);
    for broker in &brokers {
        let mut places = Vec::new();
        for _ in 0..5 {
            let (place, frames) = broker.receive();
            let service = String::from_utf8(frames[2].clone()).unwrap();
            places.push((service, place));
        }
        places.sort();
        let services: Vec<_> = places.iter().map(|(service, _)| service.as_str()).collect();
        assert_eq!(services, ["echo", "echo", "echo", "upper", "upper"]);
        for (number, (service, place)) in places.iter().enumerate() {
            let client = format!("c{number}");
            broker.request(place, &client, &["hi"]);
            let reply = if service == "echo" { "hi" } else { "HI" };
            assert_eq!(broker.receive_from(place), broker.final_(&client, &[reply]));
        }
    }
}

#[test]
fn all_places_of_a_service_work_at_once() {
    let broker = Broker::new(Version::V0_2);
    let (arrive, arrived) = unbounded();
    let (release, released) = unbounded::<()>();
    let meet = move |_: Request| {
        arrive.send(())?;
        Ok(released.recv_timeout(PATIENCE).map(|()| "met")?)
    };
    let service = Service::new("meet", meet).concurrency(8);
    let _worker = start(broker.worker().serve(service));
    let places = [(); 8].map(|()| broker.ready("meet"));
    for place in &places {
        broker.request(place, "c", &[""]);
    }
    for _ in &places {
        arrived.recv_timeout(PATIENCE).expect("all run at the same time");
    }
    for _ in &places {
        release.send(()).unwrap();
    }
    for _ in &places {
        assert_eq!(broker.receive().1, broker.final_("c", &["met"]));
    }
}

#[test]
fn several_brokers_together_get_no_more_handlers_than_the_service_has_places() {
    let brokers = [(); 3].map(|()| Broker::new(Version::V0_2));
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let most_seen = most.clone();
    let count = move |request: Request| {
        let now = running.fetch_add(1, Ordering::SeqCst) + 1;
        most.fetch_max(now, Ordering::SeqCst);
        std::thread::yield_now();
        running.fetch_sub(1, Ordering::SeqCst);
        Ok(request.into_body())
    };
    let service = Service::new("count", count).concurrency(2);
    let worker = brokers[1..]
        .iter()
        .fold(brokers[0].worker(), |worker, broker| worker.broker(&broker.endpoint));
    let _worker = start(worker.serve(service));
    let places = brokers.each_ref().map(|broker| [broker.ready("count"), broker.ready("count")]);
    for _ in 0..200 {
        for (broker, places) in brokers.iter().zip(&places) {
            for place in places {
                broker.request(place, "c", &["x"]);
            }
        }
        for broker in &brokers {
            for _ in 0..2 {
                assert_eq!(broker.receive().1, broker.final_("c", &["x"]));
            }
        }
    }
    assert!((1..=2).contains(&most_seen.load(Ordering::SeqCst)));
}

#[test]
fn a_broker_of_the_same_process_is_reached_by_inproc() {
    let context = zmq::Context::new();
    let socket = context.socket(zmq::ROUTER).unwrap();
    let broker = Broker::bind_socket(socket, Version::V0_2, "inproc://broker");
    let _worker = start(broker.worker().context(context).service("echo", echo));
    let place = broker.ready("echo");
    broker.request(&place, "c1", &["hi"]);
    assert_eq!(broker.receive_from(&place), broker.final_("c1", &["hi"]));
}

#[test]
fn settings_that_cannot_be_used_are_refused_at_the_start() {
    let worker = Worker::builder().broker("tcp://127.0.0.1:0").service("echo", echo);
    let error = worker.clone().run().unwrap_err().to_string();
    let text = "endpoint \"tcp://127.0.0.1:0\" has a * or port 0, where one can only listen";
    assert!(error.starts_with(text), "{error}");
    let text = error.as_str();
    assert_eq!(worker.clone().start().unwrap_err().to_string(), text);
    assert_eq!(worker.open("inbox", 1).unwrap_err().to_string(), text);
}
