//! The shared client on real sockets, against a bare ROUTER that speaks MDP/1.0.
//! Nothing here measures time; limits of time are generous where their end would be a
//! failure.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use majordomo_client::{
    Body, CallError, Client, ClientBuilder, Metadata, Options, Reply, Violation, WhenFull,
};
use majordomo_protocol::{Terms, code};

mod driving;
mod router;

use router::{Echo, LONG, Router, Said, at, client, until};

#[test]
fn a_call_travels_with_its_terms_and_comes_back() {
    let router = Router::new();
    let client = client(&router.endpoint);
    let mut metadata = Metadata::default();
    metadata.push("trace", b"42").expect("room");
    let options = Options::new()
        .deadline(2 * LONG)
        .start_within(LONG)
        .once()
        .fail_fast()
        .metadata(metadata.clone());
    let body = vec![b"one".to_vec(), b"".to_vec(), vec![3; 100_000]];
    let call = client.submit_with("echo", body.clone(), &options).expect("a call");
    let asked = router.asked();
    assert_eq!(asked.service.as_str(), "echo");
    assert_eq!(asked.body.frames(), body);
    let Terms { timeout, start_within, once, no_reply, fail_fast, metadata: found } =
        asked.terms.clone();
    assert!(timeout.is_some_and(|left| left > LONG && left <= 2 * LONG));
    assert!(start_within.is_some_and(|left| left <= LONG));
    assert!(once && fail_fast && !no_reply);
    assert_eq!(found, metadata);
    router.last(&asked, vec![b"re".to_vec(), vec![7; 50_000]]);
    assert_eq!(call.wait().expect("a reply").frames(), [b"re".to_vec(), vec![7; 50_000]]);
}

#[test]
fn many_threads_share_a_client_and_each_gets_its_own_reply() {
    let broker = Echo::new();
    let client = client(&broker.endpoint);
    thread::scope(|scope| {
        for thread in 0..8 {
            let client = client.clone();
            scope.spawn(move || {
                for number in 0..200 {
                    let text = format!("{thread}/{number}");
                    let reply = client.call("echo", text.as_str()).expect("a reply");
                    assert_eq!(reply.into_bytes(), text.into_bytes());
                }
            });
        }
    });
    until("the counts", || client.counts().outstanding == 0);
    assert_eq!(client.counts().calls, 1_600);
    assert_eq!(client.outstanding(), 0);
}

#[test]
fn thousands_of_calls_under_way_at_once_travel_in_few_messages() {
    let router = Router::new();
    let client = client(&router.endpoint);
    let calls: Vec<_> = (0..5_000)
        .map(|number| client.submit("echo", number.to_string()).expect("a call"))
        .collect();
    let asked: Vec<_> = (0..5_000).map(|_| router.asked()).collect();
    assert!(router.messages.get() < 1_000, "{} messages", router.messages.get());
    for asked in asked.iter().rev() {
        router.last(asked, asked.body.clone());
    }
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(call.wait().expect("a reply").into_bytes(), number.to_string().into_bytes());
    }
}

#[test]
fn calls_that_leave_together_are_no_more_than_every_broker_takes() {
    let broker = Echo::new();
    let client = client(&broker.endpoint);
    let bodies = || {
        let shapes = [vec![vec![7; 5_000]], vec![vec![]; 7], vec![vec![7; 10]; 20]];
        (0..96).map(move |number| shapes[number % 3].clone())
    };
    let calls: Vec<_> = bodies().map(|body| client.submit("echo", body).expect("a call")).collect();
    for (call, body) in calls.into_iter().zip(bodies()) {
        assert_eq!(call.wait().expect("a reply").frames(), body);
    }
}

#[test]
fn a_call_can_be_looked_at_without_waiting() {
    let router = Router::new();
    let client = client(&router.endpoint);
    let mut call = client.submit("echo", "hello").expect("a call");
    let asked = router.asked();
    assert!(call.try_wait().is_none());
    assert!(call.wait_timeout(Duration::from_millis(1)).is_none());
    router.last(&asked, "reply");
    let reply = call.wait_timeout(LONG).expect("in time").expect("a reply");
    assert_eq!(reply.into_bytes(), b"reply");
    assert!(call.try_wait().is_none(), "it was given out");
}

#[test]
fn parts_are_read_as_they_come_or_joined() {
    let router = Router::new();
    let client = client(&router.endpoint);
    let mut replies = client.submit("tail", "x").expect("a call").replies();
    let asked = router.asked();
    router.part(&asked, "a");
    assert_eq!(replies.next().expect("a part").expect("a part"), Reply::Partial("a".into()));
    router.part(&asked, "b");
    router.last(&asked, "c");
    let rest: Result<Vec<_>, _> = replies.collect();
    assert_eq!(rest.expect("parts"), [Reply::Partial("b".into()), Reply::Final("c".into())]);

    let call = client.submit("tail", "x").expect("a call");
    let asked = router.asked();
    router.part(&asked, "a");
    router.last(&asked, "b");
    assert_eq!(call.wait().expect("a reply").frames(), [b"a", b"b"]);
}

#[test]
fn parts_that_nobody_reads_are_bounded_and_the_call_is_cancelled() {
    let router = Router::new();
    let client = at(&router.endpoint).reply_bytes_max(1_000).build().expect("a client");
    let call = client.submit("tail", "x").expect("a call");
    let asked = router.asked();
    for _ in 0..11 {
        router.part(&asked, vec![0; 100]);
    }
    assert!(matches!(call.wait(), Err(CallError::ReplyOverLimit { limit: 1_000, .. })));
    assert!(matches!(router.hears(LONG), Some(Said::Cancel(id)) if id == asked.id));
    let call = client.submit("tail", "x").expect("a call");
    router.last(&router.asked(), vec![0; 1_001]);
    assert!(matches!(call.wait(), Err(CallError::ReplyOverLimit { .. })));
}

#[test]
fn a_reply_of_all_the_frames_that_fit_arrives() {
    const FRAMES: usize = 65_000;
    let router = Router::new();
    // Each frame but the first weighs 64 bytes.
    let limit = 64 * (FRAMES - 1);
    let client = at(&router.endpoint).reply_bytes_max(limit).tries(1).build().expect("a client");
    let call = client.submit("many", "x").expect("a call");
    router.last(&router.asked(), vec![vec![]; FRAMES]);
    assert_eq!(call.wait().expect("a reply").frames().len(), FRAMES);
}

#[test]
fn dropping_or_cancelling_a_call_tells_the_broker_and_detaching_does_not() {
    let router = Router::new();
    let client = client(&router.endpoint);
    drop(client.submit("echo", "dropped").expect("a call"));
    // It may be gone before it was ever sent.
    let call = client.submit("echo", "cancelled").expect("a call");
    let id = loop {
        match router.hears(LONG).expect("a request") {
            Said::Request(asked) if asked.body == Body::from("cancelled") => break asked.id,
            _ => {}
        }
    };
    call.cancel();
    assert!(matches!(call.wait(), Err(CallError::Cancelled { may_have_run: true, .. })));
    loop {
        match router.hears(LONG).expect("a cancel") {
            Said::Cancel(found) if found == id => break,
            _ => {}
        }
    }
    client.submit("echo", "detached").expect("a call").detach();
    let detached = router.asked();
    assert_eq!(client.outstanding(), 1);
    router.last(&detached, "nobody reads it");
    until("the end of the call", || client.outstanding() == 0);
}

#[test]
fn a_hundred_thousand_dropped_calls_leave_nothing() {
    let broker = Echo::start(false);
    let client = client(&broker.endpoint);
    for _ in 0..100_000 {
        drop(client.submit("echo", "x").expect("a call"));
    }
    until("the end of all calls", || client.outstanding() == 0);
    until("the counts", || client.counts().outstanding == 0);
    assert_eq!(client.counts().retries, 0);
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[test]
fn a_call_is_a_future_of_no_executor_in_particular() {
    let router = Router::new();
    let client = client(&router.endpoint);
    let endpoint = thread::spawn(move || {
        let asked = router.asked();
        router.last(&asked, "reply");
        router
    });
    let mut call = pin!(async move { client.submit("echo", "x")?.await });
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let reply = loop {
        match call.as_mut().poll(&mut context) {
            Poll::Ready(reply) => break reply,
            Poll::Pending => thread::park_timeout(LONG),
        }
    };
    assert_eq!(reply.expect("a reply").into_bytes(), b"reply");
    endpoint.join().expect("a broker");
}

#[test]
fn an_error_of_the_worker_comes_with_code_text_and_details() {
    let router = Router::new();
    let client = client(&router.endpoint);
    let call = client.submit("echo", "x").expect("a call");
    router.error(&router.asked(), 777);
    match call.wait() {
        Err(CallError::Remote { code: 777, text, details, service }) => {
            assert_eq!((text.as_str(), service.as_str()), ("why", "echo"));
            assert_eq!(details.into_bytes(), b"more");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stopping_broker_is_left_for_the_next_with_the_same_id() {
    let (first, second) = (Router::new(), Router::new());
    let client = at(&first.endpoint).broker(&second.endpoint).build().expect("a client");
    let call = client.submit("echo", "x").expect("a call");
    let asked = first.asked();
    first.error(&asked, code::STOPPING);
    let moved = second.asked();
    assert_eq!(moved.id, asked.id);
    second.last(&moved, "reply");
    assert!(call.wait().is_ok());
}

#[test]
fn a_broker_that_goes_silent_is_left_for_the_next() {
    // The first broker takes the request and is not read any more, so no heartbeat is
    // answered. There are tries enough for a second that is slow now and then.
    let (first, second) = (Router::new(), Echo::new());
    let builder = at(&first.endpoint).broker(&second.endpoint).tries(1_000);
    let client = builder.heartbeat(Duration::from_millis(50)).build().expect("a client");
    let call = client.submit("echo", "x").expect("a call");
    first.asked();
    assert!(call.wait().is_ok());
    until("the counts", || client.counts().left >= 1);
}

#[test]
fn a_broker_that_ends_and_comes_back_gets_the_request_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let endpoint = format!("ipc://{}/broker", directory.path().display());
    let first = Router::bind(&zmq::Context::new(), &endpoint);
    let client = client(&first.endpoint);
    let call = client.submit("echo", "x").expect("a call");
    let asked = first.asked();
    drop(first);
    let second = Router::bind(&zmq::Context::new(), &endpoint);
    let again = second.asked();
    assert_eq!(again.id, asked.id);
    second.last(&again, "reply");
    assert!(call.wait().is_ok());
}

#[test]
fn where_no_broker_is_the_call_fails_as_disconnected_and_did_not_run() {
    // No path that another test could bind, as it could a port.
    let directory = tempfile::tempdir().expect("a directory");
    let endpoint = format!("ipc://{}/nobody", directory.path().display());
    let builder = Client::builder().broker(&endpoint).tries(2);
    let client = builder.connect_timeout(Duration::from_millis(50)).build().expect("a client");
    let error = client.call("echo", "x").expect_err("nobody is there");
    assert!(matches!(error, CallError::Disconnected { tries: 2, .. }), "{error:?}");
    assert!(!error.may_have_run());
}

#[test]
fn a_full_client_says_so_or_waits() {
    let router = Router::new();
    let full = at(&router.endpoint).outstanding_max(2).when_full(WhenFull::Error);
    let client = full.clone().build().expect("a client");
    let calls = [0, 1].map(|_| client.submit("echo", "x").expect("a call"));
    let error = client.call("echo", "x").expect_err("no place");
    assert!(matches!(error, CallError::Full { setting: "outstanding_max", limit: 2 }));
    drop(calls);
    until("a place", || client.outstanding() == 0);
    client.submit("echo", "x").expect("a place").detach();
    drop(client);

    let broker = Echo::new();
    let client = at(&broker.endpoint).outstanding_max(2).build().expect("a client");
    for _ in 0..100 {
        client.submit("echo", "x").expect("a place in time").detach();
    }
    until("the end of all calls", || client.outstanding() == 0);
}

#[test]
fn bytes_outstanding_are_bounded_and_what_is_larger_goes_alone() {
    let router = Router::new();
    let full = at(&router.endpoint).outstanding_bytes_max(1_000).when_full(WhenFull::Error);
    let client = full.build().expect("a client");
    let first = client.submit("echo", vec![0; 600]).expect("room");
    let error = client.call("echo", vec![0; 401]).expect_err("no room");
    let full =
        |error| matches!(error, CallError::Full { setting: "outstanding_bytes_max", limit: 1_000 });
    assert!(full(error));
    // Frames have their weight, too.
    assert!(full(client.call("echo", vec![vec![]; 8]).expect_err("no room")));
    let second = client.submit("echo", vec![0; 400]).expect("room");
    for call in [first, second] {
        let asked = router.asked();
        router.last(&asked, "reply");
        assert!(call.wait().is_ok());
    }
    until("room", || client.outstanding() == 0);
    let large = client.submit("echo", vec![0; 5_000]).expect("it is alone");
    assert!(full(client.call("echo", "x").expect_err("no room beside it")));
    drop(large);
    until("room", || client.outstanding() == 0);

    let broker = Echo::new();
    let client = at(&broker.endpoint).outstanding_bytes_max(1_000).build().expect("a client");
    thread::scope(|scope| {
        for size in [10, 300, 999, 1_000, 5_000] {
            let client = &client;
            scope.spawn(move || {
                for _ in 0..20 {
                    let reply = client.call("echo", vec![7; size]).expect("room in time");
                    assert_eq!(reply.size(), size);
                }
            });
        }
    });
}

#[test]
fn the_broker_s_own_services_are_asked() {
    let router = Router::new();
    let client = client(&router.endpoint);
    let broker = thread::spawn(move || {
        for (service, answer) in [
            ("mmi.service", "200"),
            ("mmi.service", "404"),
            ("mmi.service", "maybe"),
            (
                "mmi.broker",
                r#"{"version":"9.9","uptime_ms":1,"stopping":false,"clients":0,
                "bytes":0,"services":[],"workers":[],"counters":{}}"#,
            ),
            ("mmi.broker", "501"),
        ] {
            let asked = router.asked();
            assert_eq!(asked.service.as_str(), service);
            router.last(&asked, answer);
        }
        router
    });
    assert!(client.lookup("echo").expect("an answer"));
    assert!(!client.lookup("echo").expect("an answer"));
    let error = client.lookup("echo").expect_err("no answer");
    assert!(matches!(error, CallError::Violation(Violation::Answer { .. })), "{error:?}");
    assert_eq!(client.broker_report().expect("a report").version, "9.9");
    let error = client.broker_report().expect_err("no report");
    assert!(matches!(error, CallError::Violation(_)) && error.may_have_run(), "{error:?}");
    assert!(matches!(client.lookup(""), Err(CallError::ServiceName(_))));
    broker.join().expect("a broker");
}

#[test]
fn what_wants_no_reply_is_sent_even_if_the_client_closes_at_once() {
    let router = Router::new();
    let client = client(&router.endpoint);
    client.send("log", "fire and forget").expect("handed over");
    drop(client);
    let asked = router.asked();
    assert!(asked.terms.no_reply);
    assert_eq!(asked.body, Body::from("fire and forget"));
}

/// Sends until there is no place any more for a second, but at most `sends_max` times.
fn fill(client: &Client, body: usize, sends_max: usize) -> usize {
    let options = Options::new().deadline(Duration::from_secs(1));
    let send = |_: &usize| client.send_with("log", vec![0; body], &options).is_ok();
    (0..sends_max).take_while(send).count()
}

#[test]
fn what_wants_no_reply_is_bounded_where_the_broker_does_not_read() {
    for endpoint in ["tcp://127.0.0.1:*", "inproc://does-not-read"] {
        let context = zmq::Context::new();
        let router = Router::slow(&context, endpoint, 1);
        let builder = at(&router.endpoint).context(context).heartbeat(LONG);
        let client = builder.outstanding_bytes_max(1 << 20).build().expect("a client");
        let sent = fill(&client, 300_000, 500);
        assert!(sent < 500, "{endpoint}");
        assert!(client.counts().left == 0, "it is only slow");
        for _ in 0..sent {
            assert!(router.asked().terms.no_reply);
        }
        until("room", || client.outstanding() == 0);
        let call = client.submit("echo", "x").expect("room");
        router.last(&router.asked(), "reply");
        assert!(call.wait().is_ok());
    }
}

#[test]
fn what_was_handed_over_while_the_broker_did_not_read_is_sent_at_the_closing() {
    let context = zmq::Context::new();
    let router = Router::slow(&context, "inproc://reads-at-last", 1);
    let builder = at(&router.endpoint).context(context).heartbeat(LONG).batch_bytes_max(1);
    let client = builder.outstanding_max(300).build().expect("a client");
    // What the socket takes, a turn of the I/O thread, and the rest in its place.
    let sent = fill(&client, 1, 2_000);
    assert!((300..2_000).contains(&sent), "{sent}");
    client.close();
    for number in 0..sent {
        let said = router.hears(LONG);
        assert!(matches!(said, Some(Said::Request(_))), "{number} of {sent}");
    }
    drop(client);
}

#[test]
fn closing_ends_the_calls_of_all_handles() {
    let router = Router::new();
    let client = client(&router.endpoint);
    let call = client.submit("echo", "x").expect("a call");
    router.asked();
    client.close();
    assert!(matches!(call.wait(), Err(CallError::Closed { may_have_run: true })));
    assert!(matches!(client.call("echo", "x"), Err(CallError::Closed { .. })));
}

#[test]
fn a_client_works_in_the_broker_s_own_context() {
    let context = zmq::Context::new();
    let router = Router::bind(&context, "inproc://shared-client");
    let builder = Client::builder().broker("inproc://shared-client");
    let client = builder.context(context).build().expect("a client");
    let call = client.submit("echo", "x").expect("a call");
    router.last(&router.asked(), "reply");
    assert!(call.wait().is_ok());
}

#[test]
fn a_broker_of_the_same_process_that_goes_is_seen_to_go() {
    let context = zmq::Context::new();
    let router = Router::bind(&context, "inproc://goes");
    let builder = at("inproc://goes").context(context).tries(1).heartbeat(LONG);
    let client = builder.build().expect("a client");
    let mut call = client.submit("echo", "x").expect("a call");
    router.asked();
    drop(router);
    let ended = call.wait_timeout(LONG / 2).expect("long before its try ends");
    assert!(matches!(ended, Err(CallError::Disconnected { may_have_run: true, .. })), "{ended:?}");
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_sent() {
    let setting = |builder: ClientBuilder| match builder.build() {
        Err(CallError::Setting { setting, .. }) => setting,
        other => panic!("{other:?}"),
    };
    assert_eq!(setting(Client::builder().timeout(Duration::ZERO)), "timeout");
    assert_eq!(setting(Client::builder().tries(0)), "tries");
    assert_eq!(setting(Client::builder().outstanding_max(0)), "outstanding_max");
    assert_eq!(setting(Client::builder().body_frames_max(65_536)), "body_frames_max");
    assert_eq!(setting(Client::builder().batch_bytes_max(0)), "batch_bytes_max");
    assert_eq!(setting(Client::builder().batch_bytes_max((64 << 20) + 1)), "batch_bytes_max");
    let endpoint = Client::connect("tcp://localhost:99999");
    assert!(matches!(endpoint, Err(CallError::Endpoint(_))));

    let client = Client::builder().body_bytes_max(3).build().expect("a client");
    assert!(matches!(client.call("", "x"), Err(CallError::ServiceName(_))));
    let error = client.call("echo", "four").expect_err("too large");
    assert!(matches!(error, CallError::BodyOverLimit { found: 4, limit: 3, .. }));
    let options = Options::new().tries(1_001);
    let error = client.call_with("echo", "x", &options).expect_err("too many");
    assert!(matches!(error, CallError::Setting { setting: "tries", .. }));
}

#[test]
fn a_broker_that_reads_no_more_holds_up_no_calls_to_another() {
    let context = zmq::Context::new();
    let stuck = Router::slow(&context, "inproc://stuck", 1);
    let healthy = Router::bind(&context, "inproc://healthy");
    let builder = at(&stuck.endpoint).broker(&healthy.endpoint).context(context);
    let builder = builder.heartbeat(LONG).batch_bytes_max(1);
    let client = builder.build().expect("a client");
    let tries = Options::new().tries(1);
    let unread: Vec<_> =
        (0..2_000).map(|_| client.submit_with("echo", "x", &tries).expect("a call")).collect();
    // It says that it stops, and reads nothing more: new calls go to the other.
    let asked = stuck.asked();
    stuck.error(&asked, code::STOPPING);
    until("it is heard", || unread[0].has_ended());
    let call = client.submit("echo", "x").expect("a call");
    // Those that were not sent before come first.
    while !call.has_ended() {
        if let Some(Said::Request(asked)) = healthy.hears(Duration::from_millis(10)) {
            healthy.last(&asked, "reply");
        }
    }
    assert_eq!(call.wait().expect("a reply").into_bytes(), b"reply");
}
