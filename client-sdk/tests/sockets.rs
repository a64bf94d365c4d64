//! The client on real sockets, against a bare ROUTER that plays broker and sees
//! every frame. Nothing here measures time; limits of time are generous where
//! their end would be a failure.

use std::thread::{self, JoinHandle};
use std::time::Duration;

use majordomo_client::{
    BlockingClient, BlockingClientBuilder, Body, Error, Reply, Version, Violation,
};

/// Longer than anything takes; reached only when something is broken.
const LONG: Duration = Duration::from_secs(60);

/// As long as a test has to wait for a timeout that it wants.
const SHORT: Duration = Duration::from_millis(300);

/// The socket of a broker.
struct Router {
    socket: zmq::Socket,
    endpoint: String,
}

type Identity = Vec<u8>;

impl Router {
    fn new() -> Router {
        Router::bind("tcp://127.0.0.1:*")
    }

    fn bind(endpoint: &str) -> Router {
        Router::bind_in(&zmq::Context::new(), endpoint)
    }

    fn bind_in(context: &zmq::Context, endpoint: &str) -> Router {
        let socket = context.socket(zmq::ROUTER).expect("a socket");
        socket.set_rcvtimeo(LONG.as_millis() as i32).expect("an option");
        socket.set_linger(0).expect("an option");
        // The port of a router just closed is free a moment later.
        while let Err(error) = socket.bind(endpoint) {
            assert_eq!(error, zmq::Error::EADDRINUSE, "{endpoint}");
            zmq::poll(&mut [], 10).expect("a wait");
        }
        let endpoint = socket.get_last_endpoint().expect("bound").expect("UTF-8");
        Router { socket, endpoint }
    }

    /// Ends every connection and binds the same endpoint once more.
    fn restart(self) -> Router {
        let Router { socket, endpoint } = self;
        drop(socket);
        Router::bind(&endpoint)
    }

    fn receive(&self) -> (Identity, Vec<Vec<u8>>) {
        let mut frames = self.socket.recv_multipart(0).expect("a message in time");
        let identity = frames.remove(0);
        (identity, frames)
    }

    /// As `receive`, while a call is under way.
    fn receive_while<T>(&self, calling: &JoinHandle<T>) -> Option<(Identity, Vec<Vec<u8>>)> {
        while !calling.is_finished() {
            if self.socket.poll(zmq::POLLIN, 20).expect("a socket") > 0 {
                return Some(self.receive());
            }
        }
        None
    }

    fn send(&self, identity: &[u8], frames: &[&[u8]]) {
        let frames = [&[identity], frames].concat();
        self.socket.send_multipart(frames, 0).expect("a message sent");
    }

    fn partial(&self, identity: &[u8], service: &str, body: &str) {
        self.send(identity, &[b"MDPC02", &[2], service.as_bytes(), body.as_bytes()]);
    }

    fn last(&self, identity: &[u8], service: &str, body: &str) {
        self.send(identity, &[b"MDPC02", &[3], service.as_bytes(), body.as_bytes()]);
    }

    /// Answers one request and says who asked.
    fn answer(&self, service: &str, body: &str) -> Identity {
        let (identity, _) = self.receive();
        self.last(&identity, service, body);
        identity
    }
}

/// A broker on a thread of its own. Its socket stays open until it is ended.
struct Broker<T>(JoinHandle<(T, Option<Router>)>);

impl<T> Broker<T> {
    fn end(self) -> T {
        self.0.join().expect("a broker that saw what it expected").0
    }
}

/// Plays a broker.
fn broker<T: Send + 'static>(
    play: impl FnOnce(&Router) -> T + Send + 'static,
) -> (String, Broker<T>) {
    let router = Router::new();
    let endpoint = router.endpoint.clone();
    (endpoint, Broker(thread::spawn(move || (play(&router), Some(router)))))
}

/// Plays a broker that may close its socket; gives back the one that is open at
/// the end.
fn mortal_broker(
    play: impl FnOnce(Router) -> Option<Router> + Send + 'static,
) -> (String, Broker<()>) {
    let router = Router::new();
    let endpoint = router.endpoint.clone();
    (endpoint, Broker(thread::spawn(move || ((), play(router)))))
}

fn at(endpoint: &str) -> BlockingClientBuilder {
    BlockingClient::builder().broker(endpoint).timeout(LONG).connect_timeout(LONG)
}

fn client(endpoint: &str) -> BlockingClient {
    at(endpoint).build().expect("a client")
}

fn bytes(frames: &[&[u8]]) -> Vec<Vec<u8>> {
    frames.iter().map(|frame| frame.to_vec()).collect()
}

#[test]
fn a_request_of_mdp_0_2_has_exactly_these_frames() {
    let (endpoint, broker) = broker(|router| {
        let (identity, frames) = router.receive();
        router.send(&identity, &[b"MDPC02", &[3], b"echo", b"re", b"ply"]);
        frames
    });
    let body = vec![b"one".to_vec(), b"".to_vec(), b"three".to_vec()];
    let reply = client(&endpoint).request("echo", body).expect("a reply");
    assert_eq!(reply.frames(), bytes(&[b"re", b"ply"]));
    let frames = broker.end();
    assert_eq!(frames, bytes(&[b"MDPC02", &[1], b"echo", b"one", b"", b"three"]));
}

#[test]
fn a_request_of_mdp_0_1_has_exactly_these_frames() {
    let (endpoint, broker) = broker(|router| {
        let (identity, frames) = router.receive();
        router.send(&identity, &[b"", b"MDPC01", b"echo", b"reply"]);
        frames
    });
    let mut client = at(&endpoint).version(Version::V0_1).build().expect("a client");
    let reply = client.request("echo", "hello").expect("a reply");
    assert_eq!(reply, Body::from("reply"));
    let frames = broker.end();
    assert_eq!(frames, bytes(&[b"", b"MDPC01", b"echo", b"hello"]));
}

#[test]
fn requests_that_succeed_share_one_socket() {
    let (endpoint, broker) = broker(|router| {
        let identities = [(); 3].map(|()| router.answer("echo", "reply"));
        identities.iter().all(|identity| *identity == identities[0])
    });
    let mut client = client(&endpoint);
    for _ in 0..3 {
        client.request("echo", "hello").expect("a reply");
    }
    assert!(broker.end());
}

#[test]
fn a_retry_sends_the_same_request_on_a_new_socket() {
    let router = Router::new();
    let mut client = at(&router.endpoint).timeout(SHORT).tries(1_000).build().expect("a client");
    let calling = thread::spawn(move || client.request("echo", "hello"));
    let (first, request) = router.receive();
    while let Some((next, retry)) = router.receive_while(&calling) {
        assert_ne!(first, next);
        assert_eq!(request, retry);
        router.last(&next, "echo", "reply");
    }
    let reply = calling.join().expect("a client").expect("a reply");
    assert_eq!(reply, Body::from("reply"));
}

#[test]
fn a_late_reply_is_never_given_to_a_later_request() {
    let router = Router::new();
    let mut client = at(&router.endpoint).timeout(SHORT).tries(1).build().expect("a client");
    let calling = thread::spawn(move || {
        // On a slow machine a try may end before its connection is complete.
        loop {
            match client.request("echo", "first") {
                Err(Error::Unreachable { .. }) => {}
                result => return (client, result),
            }
        }
    });
    let (first, _) = router.receive();
    let (mut client, result) = calling.join().expect("a client");
    assert!(matches!(result, Err(Error::TimedOut { tries: 1, .. })), "{result:?}");
    router.last(&first, "echo", "late");

    let calling = thread::spawn(move || {
        let mut replies = Vec::new();
        while replies.len() < 3 {
            match client.request("echo", "later") {
                Ok(reply) => replies.push(reply),
                Err(Error::Unreachable { .. } | Error::TimedOut { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        replies
    });
    let mut late = vec![first];
    while let Some((next, _)) = router.receive_while(&calling) {
        for earlier in late.iter().filter(|earlier| **earlier != next) {
            router.last(earlier, "echo", "late");
        }
        router.last(&next, "echo", "right");
        late.push(next);
    }
    assert_eq!(calling.join().expect("a client"), [(); 3].map(|()| Body::from("right")));
}

#[test]
fn an_endpoint_where_nobody_listens_is_unreachable() {
    let directory = tempfile::tempdir().expect("a directory");
    let endpoint = format!("ipc://{}/nobody", directory.path().display());
    let mut client = at(&endpoint)
        .connect_timeout(Duration::from_millis(20))
        .tries(2)
        .build()
        .expect("a client");
    let error = client.request("echo", "hello").expect_err("nobody is there");
    let Error::Unreachable { endpoints, tries: 2 } = &error else { panic!("{error}") };
    assert_eq!(endpoints, &[endpoint]);
    assert!(!error.may_have_run());
    client.close();
}

#[test]
fn a_listener_that_does_not_speak_zeromq_is_unreachable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("tcp://{}", listener.local_addr().expect("bound"));
    let builder = at(&endpoint).connect_timeout(SHORT).tries(1);
    let error = builder.build().expect("a client").request("echo", "hello").expect_err("silence");
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}

#[test]
fn a_broker_that_starts_while_a_request_connects_is_found() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("tcp://{}", listener.local_addr().expect("bound"));
    let mut client = at(&endpoint).tries(1).build().expect("a client");
    let calling = thread::spawn(move || client.request("echo", "hello"));
    // The first attempt breaks in the handshake, others are refused meanwhile.
    drop(listener.accept().expect("a connection"));
    drop(listener);
    let router = Router::bind(&endpoint);
    router.answer("echo", "reply");
    assert_eq!(calling.join().expect("a client").expect("a reply"), Body::from("reply"));
}

#[test]
fn an_unreachable_endpoint_is_passed_over_and_the_one_that_works_is_kept() {
    let directory = tempfile::tempdir().expect("a directory");
    let dead = format!("ipc://{}/nobody", directory.path().display());
    let (alive, broker) =
        broker(|router| router.answer("echo", "one") == router.answer("echo", "two"));
    let builder = BlockingClient::builder().broker(dead).broker(alive).tries(2).timeout(LONG);
    let mut client = builder.build().expect("a client");
    assert_eq!(client.request("echo", "hello").expect("a reply"), Body::from("one"));
    assert_eq!(client.request("echo", "hello").expect("a reply"), Body::from("two"));
    assert!(broker.end(), "both came over one socket");
}

#[test]
fn a_silent_endpoint_is_passed_over() {
    let silent = Router::new();
    let (alive, broker) = broker(|router| router.answer("echo", "reply"));
    let builder = BlockingClient::builder().broker(&silent.endpoint).broker(alive);
    let mut client = builder.timeout(SHORT).tries(100).build().expect("a client");
    assert_eq!(client.request("echo", "hello").expect("a reply"), Body::from("reply"));
    let (_, frames) = silent.receive();
    assert_eq!(frames, bytes(&[b"MDPC02", &[1], b"echo", b"hello"]));
    broker.end();
}

#[test]
fn a_stream_yields_each_part_and_ends_with_the_final() {
    let (endpoint, broker) = broker(|router| {
        let (identity, frames) = router.receive();
        assert_eq!(frames, bytes(&[b"MDPC02", &[1], b"count", b"2"]));
        router.partial(&identity, "count", "one");
        router.partial(&identity, "count", "two");
        router.last(&identity, "count", "end");
        identity == router.answer("echo", "reply")
    });
    let mut client = client(&endpoint);
    let mut replies = client.stream("count", "2").expect("a stream");
    for expected in
        [Reply::Partial("one".into()), Reply::Partial("two".into()), Reply::Final("end".into())]
    {
        assert_eq!(replies.next().expect("a part").expect("no error"), expected);
    }
    assert!(replies.next().is_none());
    assert!(replies.next().is_none());
    drop(replies);
    client.request("echo", "hello").expect("a reply");
    assert!(broker.end(), "the socket is kept after a stream's end");
}

#[test]
fn a_request_joins_the_parts_of_its_reply() {
    let (endpoint, broker) = broker(|router| {
        let (identity, _) = router.receive();
        router.partial(&identity, "count", "one");
        router.partial(&identity, "count", "two");
        router.last(&identity, "count", "end");
    });
    let reply = client(&endpoint).request("count", "2").expect("a reply");
    assert_eq!(reply.frames(), bytes(&[b"one", b"two", b"end"]));
    broker.end();
}

#[test]
fn a_stream_dropped_half_way_leaves_nothing_to_the_next_request() {
    let (endpoint, broker) = broker(|router| {
        let (first, _) = router.receive();
        router.partial(&first, "echo", "one");
        let (second, _) = router.receive();
        router.last(&first, "echo", "rest");
        router.last(&second, "echo", "right");
        assert_ne!(first, second);
    });
    let mut client = client(&endpoint);
    let mut replies = client.stream("echo", "2").expect("a stream");
    assert_eq!(replies.next().expect("a part").expect("no error"), Reply::Partial("one".into()));
    drop(replies);
    assert_eq!(client.request("echo", "hello").expect("a reply"), Body::from("right"));
    broker.end();
}

#[test]
fn sockets_that_are_discarded_are_closed() {
    // More sockets than a context can have at one time.
    const TIMES: usize = 1_100;
    let (endpoint, broker) = broker(|router| {
        for _ in 0..TIMES {
            let (identity, _) = router.receive();
            router.partial(&identity, "echo", "one");
        }
    });
    let mut client = client(&endpoint);
    for _ in 0..TIMES {
        let mut replies = client.stream("echo", "hello").expect("a stream");
        replies.next().expect("a part").expect("no error");
    }
    broker.end();
}

#[test]
fn a_stream_never_read_sends_nothing() {
    let (endpoint, broker) = broker(|router| {
        let (identity, frames) = router.receive();
        router.last(&identity, "upcase", "HELLO");
        frames
    });
    let mut client = client(&endpoint);
    drop(client.stream("echo", "hello").expect("a stream"));
    client.request("upcase", "hello").expect("a reply");
    assert_eq!(broker.end(), bytes(&[b"MDPC02", &[1], b"upcase", b"hello"]));
}

#[test]
fn a_message_that_is_no_reply_is_the_peers_fault() {
    let (endpoint, broker) = broker(|router| {
        let (identity, _) = router.receive();
        router.send(&identity, &[b"MDPC02", &[7], b"echo", b"reply"]);
    });
    let mut client = at(&endpoint).tries(1).build().expect("a client");
    let error = client.request("echo", "hello").expect_err("a violation");
    assert!(error.may_have_run());
    let Error::Violation { endpoint: found, source: Violation::Undecodable(cause) } = error else {
        panic!("{error}")
    };
    assert_eq!((found, cause.frame), (endpoint, 1));
    broker.end();
}

#[test]
fn a_violation_is_followed_by_another_try_on_a_new_socket() {
    let (endpoint, broker) = broker(|router| {
        let (first, _) = router.receive();
        router.last(&first, "upcase", "HELLO");
        first != router.answer("echo", "hello")
    });
    let mut client = at(&endpoint).tries(2).build().expect("a client");
    assert_eq!(client.request("echo", "hello").expect("a reply"), Body::from("hello"));
    assert!(broker.end());
}

#[test]
fn a_connection_lost_while_waiting_is_seen_long_before_the_timeout() {
    let (endpoint, broker) = mortal_broker(|router| {
        router.receive();
        None
    });
    let mut client = at(&endpoint).tries(1).build().expect("a client");
    let error = client.request("echo", "hello").expect_err("no reply");
    assert!(matches!(error, Error::Lost { .. }), "{error}");
    assert!(error.may_have_run());
    broker.end();
}

#[test]
fn a_reply_of_a_broker_that_answers_and_ends_is_not_lost() {
    for _ in 0..20 {
        let (endpoint, broker) = mortal_broker(|router| {
            router.socket.set_linger(LONG.as_millis() as i32).expect("an option");
            let (identity, _) = router.receive();
            router.partial(&identity, "echo", "one");
            router.partial(&identity, "echo", "two");
            router.last(&identity, "echo", "three");
            None
        });
        let mut client = at(&endpoint).tries(1).build().expect("a client");
        let mut replies = client.stream("echo", "hello").expect("a stream");
        replies.next().expect("a part").expect("no error");
        // By now the connection is gone, or is about to go.
        broker.end();
        assert_eq!(replies.by_ref().filter(Result::is_ok).count(), 2);
    }
}

#[test]
fn a_request_survives_a_restart_of_the_broker() {
    let (endpoint, broker) = mortal_broker(|router| {
        router.receive();
        let router = router.restart();
        router.answer("echo", "reply");
        Some(router)
    });
    let mut client = at(&endpoint).tries(2).build().expect("a client");
    assert_eq!(client.request("echo", "hello").expect("a reply"), Body::from("reply"));
    broker.end();
}

#[test]
fn a_restart_of_the_broker_between_requests_is_survived() {
    let (read_one, restart) = std::sync::mpsc::channel::<()>();
    let (bound, restarted) = std::sync::mpsc::channel::<()>();
    let (endpoint, broker) = mortal_broker(move |router| {
        router.answer("echo", "one");
        restart.recv().expect("a client");
        let router = router.restart();
        bound.send(()).expect("a client");
        router.answer("echo", "two");
        Some(router)
    });
    let mut client = at(&endpoint).tries(2).build().expect("a client");
    assert_eq!(client.request("echo", "hello").expect("a reply"), Body::from("one"));
    read_one.send(()).expect("a broker");
    restarted.recv().expect("a broker");
    assert_eq!(client.request("echo", "hello").expect("a reply"), Body::from("two"));
    broker.end();
}

/// Whoever moves bytes: nothing is sent over a connection that has ended, whatever came by
/// it before.
#[test]
fn a_connection_that_ends_between_requests_costs_no_try() {
    const ROUNDS: usize = 12;
    let (asked, ask) = std::sync::mpsc::sync_channel::<()>(0);
    let (endpoint, broker) = mortal_broker(move |mut router| {
        for round in 0..ROUNDS {
            let identity = router.answer("echo", "reply");
            for _ in 0..round % 4 {
                router.last(&identity, "echo", "unasked");
            }
            // It waits until all this has left; the client has it then, and the end.
            router.socket.set_linger(-1).expect("an option");
            asked.send(()).expect("a client");
            router = router.restart();
            asked.send(()).expect("a client");
        }
        Some(router)
    });
    let mut client = at(&endpoint).tries(1).build().expect("a client");
    for _ in 0..ROUNDS {
        assert_eq!(client.request("echo", "hello").expect("a reply"), Body::from("reply"));
        ask.recv().expect("a broker");
        ask.recv().expect("a broker");
    }
    broker.end();
}

/// Not by the next call: there may be none.
#[test]
fn a_stream_dropped_half_way_closes_its_connection() {
    let context = zmq::Context::new();
    let router = Router::bind_in(&context, "tcp://127.0.0.1:*");
    let ends = zmq::SocketEvent::DISCONNECTED.to_raw();
    router.socket.monitor("inproc://ends", i32::from(ends)).expect("a monitor");
    let monitor = context.socket(zmq::PAIR).expect("a socket");
    monitor.set_rcvtimeo(LONG.as_millis() as i32).expect("an option");
    monitor.connect("inproc://ends").expect("a monitor");
    let mut client = client(&router.endpoint);
    let calling = thread::spawn(move || {
        let mut replies = client.stream("echo", "hello").expect("a stream");
        replies.next().expect("a part").expect("no error");
        drop(replies);
        client
    });
    let (identity, _) = router.receive();
    router.partial(&identity, "echo", "one");
    let _client = calling.join().expect("a part");
    monitor.recv_multipart(0).expect("the connection ends");
}

#[test]
fn lookup_asks_the_broker_whether_a_service_has_workers() {
    let (endpoint, broker) = broker(|router| {
        let (identity, frames) = router.receive();
        assert_eq!(frames, bytes(&[b"MDPC02", &[1], b"mmi.service", b"echo"]));
        router.last(&identity, "mmi.service", "200");
        router.answer("mmi.service", "404");
        router.answer("mmi.service", "501");
        router.send(&router.receive().0, &[b"MDPC02", &[3], b"mmi.service", b"2", b"00"]);
    });
    let mut client = client(&endpoint);
    assert!(client.lookup("echo").expect("an answer"));
    assert!(!client.lookup("echo").expect("an answer"));
    let error = client.lookup("echo").expect_err("a violation");
    let source = std::error::Error::source(&error).expect("a cause").to_string();
    assert_eq!(source, "mmi.service must answer 200 or 404, found 3 bytes 501");
    assert!(matches!(client.lookup("a\nb"), Err(Error::ServiceName(_))));
    assert!(client.lookup("echo").is_ok(), "frames of a body are one sequence of bytes");
    broker.end();
}

#[test]
fn broker_report_reads_the_brokers_json() {
    let (endpoint, broker) = broker(|router| {
        let report = majordomo_client::BrokerReport {
            version: "1.2.3".to_owned(),
            uptime_ms: 17,
            ..Default::default()
        };
        router.answer("mmi.broker", &serde_json::to_string(&report).expect("JSON"));
        router.answer("mmi.broker", "501");
        router.answer("mmi.broker", "{}");
    });
    let mut client = client(&endpoint);
    let report = client.broker_report().expect("a report");
    assert_eq!((report.version.as_str(), report.uptime_ms), ("1.2.3", 17));
    let other_make = client.broker_report().expect_err("no report");
    assert!(matches!(other_make, Error::Violation { source: Violation::Answer { .. }, .. }));
    let nonsense = client.broker_report().expect_err("no report");
    assert!(matches!(nonsense, Error::Violation { source: Violation::Report(_), .. }));
    broker.end();
}

#[test]
fn names_and_bodies_that_cannot_be_are_refused_without_a_broker() {
    let mut client = at("tcp://127.0.0.1:1").body_bytes_max(4).build().expect("a client");
    let name = client.request("", "x").expect_err("no name");
    assert!(matches!(name, Error::ServiceName(_)) && !name.may_have_run(), "{name}");
    let body = client.request("echo", "12345").expect_err("too large");
    assert!(matches!(body, Error::BodyOverLimit { found: 5, limit: 4, .. }), "{body}");
    assert!(matches!(client.stream("echo", "12345"), Err(Error::BodyOverLimit { .. })));
}

#[test]
fn a_reply_over_the_limit_is_an_error_and_the_next_request_works() {
    let (endpoint, broker) = broker(|router| {
        router.answer("echo", "12345678901");
        router.answer("echo", "1234567890");
    });
    let mut client = at(&endpoint).reply_bytes_max(10).build().expect("a client");
    let error = client.request("echo", "hello").expect_err("too large");
    assert!(matches!(error, Error::ReplyOverLimit { limit: 10, .. }), "{error}");
    assert_eq!(client.request("echo", "hello").expect("a reply").size(), 10);
    broker.end();
}

#[test]
fn a_reply_of_all_the_frames_that_fit_arrives() {
    const FRAMES: usize = 65_000;
    let (endpoint, broker) = broker(|router| {
        let (identity, _) = router.receive();
        let head: [&[u8]; 3] = [b"MDPC02", &[3], b"echo"];
        router.send(&identity, &[&head, &[&b""[..]; FRAMES][..]].concat());
    });
    // Each frame but the first weighs 64 bytes.
    let limit = 64 * (FRAMES - 1);
    let mut client = at(&endpoint).reply_bytes_max(limit).tries(1).build().expect("a client");
    assert_eq!(client.request("echo", "hello").expect("a reply").frames().len(), FRAMES);
    broker.end();
}

#[test]
fn a_message_far_over_the_limit_ends_the_connection() {
    let (endpoint, broker) = broker(|router| {
        router.answer("echo", &"x".repeat((1 << 20) + 21));
        router.answer("echo", "small");
    });
    let mut client = at(&endpoint).reply_bytes_max(10).tries(1).build().expect("a client");
    let error = client.request("echo", "hello").expect_err("too large");
    assert!(matches!(error, Error::Lost { .. }), "{error}");
    assert_eq!(client.request("echo", "hello").expect("a reply"), Body::from("small"));
    broker.end();
}

#[test]
fn a_large_body_arrives_whole() {
    let (endpoint, broker) = broker(|router| {
        let (identity, frames) = router.receive();
        router.send(&identity, &[b"MDPC02", &[3], b"echo", &frames[3]]);
    });
    let body: Vec<u8> = (0..16 << 20).map(|place: usize| (place % 251) as u8).collect();
    let reply = client(&endpoint).request("echo", body.clone()).expect("a reply");
    assert!(reply.into_bytes() == body);
    broker.end();
}

#[test]
fn a_client_in_the_brokers_context_reaches_it_in_the_process() {
    let context = zmq::Context::new();
    let socket = context.socket(zmq::ROUTER).expect("a socket");
    socket.bind("inproc://broker").expect("an endpoint");
    let router = Router { socket, endpoint: "inproc://broker".to_owned() };
    let mut client = at("inproc://broker").context(context).tries(1).build().expect("a client");
    let answering = thread::spawn(move || (router.answer("echo", "reply"), router));
    assert_eq!(client.request("echo", "hello").expect("a reply"), Body::from("reply"));
    answering.join().expect("a broker");
}

#[test]
fn terminating_the_context_ends_a_call_as_closed() {
    let context = zmq::Context::new();
    let router = Router::new();
    let mut client = at(&router.endpoint).context(context.clone()).build().expect("a client");
    let mut terminated = context.clone();
    let terminating = thread::spawn(move || {
        router.receive();
        terminated.destroy().expect("a terminated context");
        // Dropped, it would be terminated once more, which ZeroMQ does not allow.
        std::mem::forget(terminated);
    });
    let error = client.request("echo", "hello").expect_err("closed");
    assert!(matches!(error, Error::Closed { sent: true }), "{error}");
    terminating.join().expect("no socket is left open");
    let error = client.request("echo", "hello").expect_err("closed");
    assert!(matches!(error, Error::Closed { sent: false }), "{error}");
    std::mem::forget((client, context));
}

#[test]
fn a_client_moves_between_threads() {
    let (endpoint, broker) = broker(|router| {
        router.answer("echo", "one");
        router.answer("echo", "two");
    });
    let mut client = client(&endpoint);
    client.request("echo", "hello").expect("a reply");
    let moved = thread::spawn(move || client.request("echo", "hello"));
    assert_eq!(moved.join().expect("a thread").expect("a reply"), Body::from("two"));
    broker.end();
}
