//! A caller that finds the I/O thread at rest drives the sockets itself. Whether it does
//! is a matter of chance; what callers see is not.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::thread;

use majordomo_client::{CallError, Client, Options};

use crate::router::{Echo, LONG, Router, Said, at, client, until};

/// A call that blocks on a thread of its own.
fn call(client: &Client, body: &'static str) -> thread::JoinHandle<Result<Vec<u8>, CallError>> {
    let client = client.clone();
    thread::spawn(move || client.call("echo", body).map(majordomo_client::Body::into_bytes))
}

#[test]
fn a_caller_that_waits_holds_nobody_up() {
    let router = Router::new();
    let client = client(&router.endpoint);
    let first = call(&client, "first");
    let first_asked = router.asked();
    for _ in 0..20 {
        let second = client.submit("echo", "second").expect("a call");
        let asked = router.asked();
        router.last(&asked, "reply");
        assert_eq!(second.wait().expect("a reply").into_bytes(), b"reply");
    }
    let dropped = client.submit("echo", "dropped").expect("a call");
    let asked = router.asked();
    drop(dropped);
    assert!(matches!(router.hears(LONG), Some(Said::Cancel(id)) if id == asked.id));
    router.last(&first_asked, "reply");
    assert_eq!(first.join().expect("no panic").expect("a reply"), b"reply");
}

#[test]
fn what_a_caller_leaves_behind_goes_on() {
    let router = Router::new();
    let client = client(&router.endpoint);
    for _ in 0..20 {
        let first = call(&client, "first");
        let first_asked = router.asked();
        let second = client.submit("echo", "second").expect("a call");
        let second_asked = router.asked();
        router.last(&first_asked, "one");
        assert_eq!(first.join().expect("no panic").expect("a reply"), b"one");
        router.part(&second_asked, "two");
        router.last(&second_asked, "three");
        assert_eq!(second.wait().expect("a reply").frames(), [&b"two"[..], b"three"]);
    }
    until("all places are free", || client.outstanding() == 0);
}

#[test]
fn a_call_that_blocks_ends_when_the_client_is_closed() {
    let router = Router::new();
    let client = client(&router.endpoint);
    let calls = [call(&client, "one"), call(&client, "two")];
    let _asked = [router.asked(), router.asked()];
    client.close();
    for call in calls {
        let ended = call.join().expect("no panic");
        assert!(matches!(ended, Err(CallError::Closed { may_have_run: true })), "{ended:?}");
    }
    assert!(matches!(client.call("echo", "x"), Err(CallError::Closed { .. })));
}

#[test]
fn a_call_that_blocks_ends_when_the_context_is_terminated() {
    let router = Router::new();
    let mut context = zmq::Context::new();
    let client = at(&router.endpoint).context(context.clone()).build().expect("a client");
    let call = call(&client, "x");
    let _asked = router.asked();
    context.destroy().expect("all sockets are closed");
    let ended = call.join().expect("no panic");
    assert!(matches!(ended, Err(CallError::Closed { may_have_run: true })), "{ended:?}");
    assert!(matches!(client.call("echo", "x"), Err(CallError::Closed { .. })));
}

#[test]
fn a_connection_that_breaks_while_nothing_is_outstanding_is_seen_to_break() {
    let router = Router::new();
    let endpoint = router.endpoint.clone();
    let client = client(&endpoint);
    for _ in 0..3 {
        let call = call(&client, "x");
        router.last(&router.asked(), "reply");
        assert!(call.join().expect("no panic").is_ok());
    }
    drop(router);
    until("it is seen", || client.counts().left == 1);
    let router = Router::bind(&zmq::Context::new(), &endpoint);
    let call = call(&client, "x");
    router.last(&router.asked(), "reply");
    assert!(call.join().expect("no panic").is_ok());
}

/// Somebody's waker that fails.
struct Fails;

impl Wake for Fails {
    fn wake(self: Arc<Self>) {
        panic!("a waker that fails, as it should here");
    }
}

#[test]
fn nobody_is_left_waiting_when_a_waker_panics() {
    for is_driven in [false, true] {
        let router = Router::new();
        let client = client(&router.endpoint);
        let first = is_driven.then(|| (call(&client, "first"), router.asked()));
        let mut woken = pin!(client.submit("echo", "woken").expect("a call"));
        let asked = router.asked();
        let other = client.submit("echo", "other").expect("a call");
        let _unanswered = router.asked();
        let waker = Waker::from(Arc::new(Fails));
        assert!(woken.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        router.last(&asked, "reply");
        // It panics on the I/O thread or in the first call, whoever drives then.
        until("the reply is there", || woken.has_ended());
        client.close();
        assert!(other.wait().is_err());
        if let Some((first, _)) = first {
            assert!(first.join().map_or(true, |reply| reply.is_err()));
        }
        assert!(matches!(client.call("echo", "x"), Err(CallError::Closed { .. })));
    }
}

#[test]
fn many_threads_that_block_and_submit_by_turns_all_get_their_own() {
    let broker = Echo::new();
    let client = client(&broker.endpoint);
    thread::scope(|scope| {
        for thread in 0..6 {
            let client = client.clone();
            scope.spawn(move || {
                for number in 0..200 {
                    let text = format!("{thread}/{number}");
                    let reply = match (thread + number) % 3 {
                        0 => client.submit("echo", text.as_str()).and_then(|call| call.wait()),
                        1 => {
                            drop(client.submit("echo", "nobody waits").expect("a call"));
                            client.call("echo", text.as_str())
                        }
                        _ => client.call("echo", text.as_str()),
                    };
                    assert_eq!(reply.expect("a reply").into_bytes(), text.into_bytes());
                }
            });
        }
    });
    until("all places are free", || client.outstanding() == 0);
    until("nothing is left", || client.counts().outstanding == 0);
}

#[test]
fn a_broker_that_comes_back_between_calls_is_asked_once() {
    let mut router = Router::new();
    let endpoint = router.endpoint.clone();
    let client = at(&endpoint).tries(1).build().expect("a client");
    let options = Options::new().once();
    for round in 0..12 {
        let calling = client.clone();
        let options = options.clone();
        let call = thread::spawn(move || calling.call_with("echo", "x", &options));
        router.last(&router.asked(), "reply");
        call.join().expect("no panic").expect("a reply");
        if round % 2 == 0 {
            // The I/O thread takes part.
            let call = client.submit("echo", "x").expect("a call");
            router.last(&router.asked(), "reply");
            call.wait().expect("a reply");
        }
        drop(router);
        router = Router::bind(&zmq::Context::new(), &endpoint);
    }
}

/// More than a connection takes at once, and no reply that anybody waits for.
#[test]
fn what_wants_no_reply_leaves_when_nobody_drives() {
    let router = Router::new();
    let client = client(&router.endpoint);
    for size in [0, 100, 10_000, 20_000_000, 0] {
        let call = call(&client, "x");
        router.last(&router.asked(), "reply");
        assert!(call.join().expect("no panic").is_ok());
        client.send("log", vec![7; size]).expect("it is taken");
        assert_eq!(router.asked().body.size(), size);
    }
}

#[test]
fn one_that_submits_is_served_beside_many_that_block() {
    let broker = Echo::new();
    let client = client(&broker.endpoint);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let reply = client.call("echo", "blocks").expect("a reply");
                    assert_eq!(reply.into_bytes(), b"blocks");
                }
            });
        }
        for number in 0..500_u32 {
            let mut call = client.submit("echo", number.to_string()).expect("a call");
            let reply = call.wait_timeout(LONG).expect("in time").expect("a reply");
            assert_eq!(reply.into_bytes(), number.to_string().into_bytes());
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_client_dropped_with_calls_under_way_ends() {
    for size in [10, 20_000_000] {
        let router = Router::new();
        let client = client(&router.endpoint);
        for _ in 0..3 {
            client.submit("echo", vec![1; size]).expect("a call").detach();
        }
        // It may be on its way by then, or not.
        if size == 10 {
            let _asked = router.asked();
        }
        let (ended, has_ended) = std::sync::mpsc::channel();
        thread::spawn(move || {
            drop(client);
            ended.send(())
        });
        has_ended.recv_timeout(LONG).expect("it ends");
    }
}
