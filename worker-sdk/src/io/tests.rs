//! The I/O thread's work, step by step and without the thread: events are given by
//! hand, time is made up, and the socket's other end is in this process.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use log::Level;
use majordomo_io::wake;
use majordomo_protocol::worker::FromBroker;
use majordomo_protocol::{Body, ClientAddress, Endpoint, Reason, ServiceName, Task, Version};

use super::{Io, Route, Target};
use crate::context::CONNECTIONS_PER_CONTEXT;
use crate::counters::Counters;
use crate::error::PartialError;
use crate::frame::Frame;
use crate::handler::HandlerError;
use crate::pool::{self, Job};
use crate::request::{Finished, Request, Responder};
use crate::settings::Settings;
use crate::stop::Control;
use crate::task::{self, Outbox, Part};

const CAPACITY: usize = 100;

/// A worker of one service and one broker, whose requests wait for whoever takes them.
struct Bench {
    io: Io,
    jobs: Receiver<Job>,
    peer: zmq::Socket,
    time: Instant,
}

fn echo(request: Request, responder: Responder) -> Result<Finished, HandlerError> {
    Ok(responder.finish(request.into_body()))
}

/// What a worker of one service and one broker has.
fn io(
    settings: Settings,
    endpoint: &str,
    concurrency: usize,
    connections: usize,
    target: Target,
) -> Io {
    let (bell, ear) = wake::pair().expect("a pair of sockets");
    let (ready, ready_receiver) = bounded(64);
    let outbox = Outbox {
        ready,
        control: Arc::new(Control::new(bell)),
        counters: Counters::default(),
        version: settings.version,
        reply_bytes_max: settings.reply_bytes_max,
        open: AtomicUsize::new(0),
    };
    let route = Route {
        name: ServiceName::new("bench").expect("a good name"),
        concurrency,
        connections,
        time_limit: None,
        metadata: Vec::new(),
        target,
    };
    let brokers = vec![Endpoint::to_connect(endpoint).expect("an endpoint")];
    Io::new(settings, brokers, vec![route], Arc::new(outbox), ready_receiver, ear)
        .expect("descriptors are left")
}

impl Bench {
    fn new() -> Self {
        Self::with(Target::Queue)
    }

    fn with(target: impl FnOnce(Sender<Job>) -> Target) -> Self {
        Self::of(Version::V1_0, CAPACITY, target)
    }

    fn of(
        version: Version,
        concurrency: usize,
        target: impl FnOnce(Sender<Job>) -> Target,
    ) -> Self {
        let context = zmq::Context::new();
        let peer = context.socket(zmq::ROUTER).expect("a socket");
        peer.bind("inproc://bench").expect("a free name");
        let settings = Settings { version, context: Some(context), ..Settings::default() };
        let (give, jobs) = bounded(2 * CAPACITY);
        let io = io(settings, "inproc://bench", concurrency, 1, target(give));
        let mut bench = Bench { io, jobs, peer, time: super::now() };
        bench.come_back();
        bench
    }

    /// Lets time pass until the next socket is opened, for a place that is free.
    fn come_back(&mut self) {
        assert!(!self.io.connections[0].wire.is_open());
        let at = self.io.connections[0].dialog.poll_timeout().expect("a place is free");
        self.time = self.time.max(at);
        self.io.connections[0].dialog.handle_timeout(self.time);
        self.io.perform(0, self.time);
        self.turn();
    }

    fn hear(&mut self, command: FromBroker<Body<Frame>>) {
        self.io.hear(0, Ok(command), self.time);
    }

    /// As many requests as may come at once. The numbers are always the same.
    fn requests(&mut self) {
        self.some_requests(CAPACITY);
    }

    fn some_requests(&mut self, count: usize) {
        for number in 0..count {
            let body = Body::from_frame(Frame::from(&b"do"[..]));
            self.hear(FromBroker::Request { client: id(number), task: Task::default(), body });
        }
    }

    fn cancel_all(&mut self) {
        (0..CAPACITY).for_each(|number| self.hear(FromBroker::Cancel { client: id(number) }));
    }

    fn lose(&mut self) {
        self.hear(FromBroker::Disconnect { reason: Reason::default() });
    }

    /// What a thread does with as many requests.
    fn serve(&mut self, count: usize) {
        for job in self.jobs.clone().try_iter().take(count) {
            pool::handle(&echo, job);
            self.turn();
        }
    }

    /// Takes what handlers have handed over, and sends it.
    fn turn(&mut self) {
        while self.io.ready.try_recv().is_ok() {
            self.io.connections[0].lane.take_signal();
        }
        self.io.take_parts(0, self.time);
        self.io.send_gathered(self.time);
        while self.peer.recv_multipart(zmq::DONTWAIT).is_ok() {}
    }

    /// Nothing is kept of any request, wherever it was.
    fn is_empty(&self) {
        let connection = &self.io.connections[0];
        assert_eq!(connection.dialog.requests(), 0);
        assert_eq!(connection.running.len(), 0);
        assert_eq!((self.jobs.len(), connection.waiting()), (0, 0));
        assert_eq!(self.io.outbox.open.load(Ordering::SeqCst), 0);
        let tasks = usize::from(connection.spare.is_some());
        assert_eq!(Arc::strong_count(&connection.lane), 1 + tasks, "each task holds its lane");
        assert!(connection.wire.is_clear() && !connection.wire.is_gathering());
        assert_eq!(self.io.timers.len(), 1, "of the connection itself");
    }
}

fn id(number: usize) -> ClientAddress {
    ClientAddress::new(&(number as u64).to_be_bytes())
}

#[test]
fn nothing_is_kept_of_a_hundred_thousand_cancelled_requests() {
    let mut bench = Bench::new();
    let mut requests = 0;
    let mut unstarted = 0;
    while requests < 100_000 {
        // Cancelled before they are begun.
        bench.requests();
        bench.cancel_all();
        bench.serve(CAPACITY);
        bench.is_empty();
        // Cancelled while they run; and again, when they have ended.
        bench.requests();
        let held: Vec<_> = bench.jobs.try_iter().collect();
        bench.cancel_all();
        for Job { request, responder, open } in held {
            assert!(request.is_cancelled());
            drop(responder.for_owner(open));
            bench.turn();
        }
        bench.cancel_all();
        bench.is_empty();
        // Their broker is lost when half have been begun, and its successor uses the
        // same numbers while some of them go on.
        bench.requests();
        let held: Vec<_> = bench.jobs.try_iter().take(CAPACITY / 2).collect();
        bench.cancel_all();
        bench.lose();
        bench.serve(CAPACITY / 2);
        unstarted += CAPACITY / 2;
        bench.come_back();
        bench.requests();
        bench.cancel_all();
        for job in held {
            job.responder.for_handler().finish("late");
            bench.turn();
        }
        assert_eq!(bench.io.connections[0].running.len(), CAPACITY, "those are others");
        bench.serve(CAPACITY);
        bench.is_empty();
        requests += 4 * CAPACITY;
    }
    let counts = bench.io.outbox.counters.counts();
    assert_eq!(counts.requests, requests as u64);
    assert_eq!(counts.cancellations, requests as u64);
    assert_eq!(counts.answers_late, unstarted as u64, "as many were begun as not");
    assert_eq!(counts.answers + counts.answers_late + unstarted as u64, requests as u64);
}

#[test]
fn nothing_is_lost_or_kept_when_the_connection_is_cut_thousands_of_times() {
    let mut bench = Bench::new();
    for cut in 0..2000 {
        bench.requests();
        bench.serve(cut % CAPACITY);
        bench.lose();
        bench.serve(CAPACITY);
        bench.is_empty();
        bench.come_back();
    }
    let counts = bench.io.outbox.counters.counts();
    assert_eq!((counts.requests, counts.reconnects), (200_000, 2000));
    assert_eq!((counts.answers, counts.answers_late), (20 * (0..CAPACITY as u64).sum::<u64>(), 0));
}

#[test]
fn inline_answers_wait_for_a_broker_that_does_not_read_and_are_late_when_it_is_lost() {
    let mut bench = Bench::with(|_| Target::Inline(Arc::new(echo)));
    let mut sent = 0;
    for round in 0.. {
        assert!(round < 10_000, "the socket takes everything");
        bench.requests();
        bench.io.take_parts(0, bench.time);
        bench.io.send_gathered(bench.time);
        if !bench.io.connections[0].wire.is_clear() {
            break;
        }
        sent += CAPACITY as u64;
    }
    // The last batch waits at the socket, and these behind it.
    bench.requests();
    bench.io.take_parts(0, bench.time);
    let connection = &bench.io.connections[0];
    assert_eq!((connection.waiting(), connection.dialog.requests()), (CAPACITY, CAPACITY));
    bench.lose();
    bench.is_empty();
    let counts = bench.io.outbox.counters.counts();
    assert_eq!((counts.answers, counts.answers_late), (sent, 2 * CAPACITY as u64));
    bench.come_back();
    bench.requests();
    bench.turn();
    bench.is_empty();
    assert_eq!(bench.io.outbox.counters.counts().answers, sent + CAPACITY as u64);
}

#[test]
fn requests_that_came_ahead_of_inline_answers_go_on_when_the_broker_reads_again() {
    let mut bench = Bench::of(Version::V0_2, 1, |_| Target::Inline(Arc::new(echo)));
    let mut requests = 0;
    while bench.io.connections[0].wire.is_clear() {
        assert!(requests < 100_000, "the socket takes everything");
        bench.some_requests(1);
        bench.io.take_parts(0, bench.time);
        requests += 1;
    }
    // The last answer waits at the socket; one more in front of it, and the rest behind.
    bench.some_requests(64);
    bench.io.take_parts(0, bench.time);
    let connection = &bench.io.connections[0];
    assert_eq!((connection.waiting(), connection.dialog.requests()), (1, 1));
    for round in 0.. {
        assert!(round < 10_000, "the socket takes nothing");
        while bench.peer.recv_multipart(zmq::DONTWAIT).is_ok() {}
        bench.io.flush(0, bench.time);
        if bench.io.connections[0].wire.is_clear() {
            break;
        }
    }
    // Nothing else would call for the rest.
    bench.is_empty();
    assert_eq!(bench.io.outbox.counters.counts().answers, requests + 64);
}

#[test]
fn nothing_is_kept_of_requests_that_came_ahead_when_the_connection_is_cut_thousands_of_times() {
    let mut bench = Bench::of(Version::V0_2, 1, Target::Queue);
    let (mut answers, mut given_back) = (0, 0);
    for cut in 0..2000 {
        bench.some_requests(4);
        assert_eq!(bench.jobs.len(), 1, "the others wait for it");
        for _ in 0..cut % 5 {
            bench.serve(1);
            answers += 1;
        }
        given_back += 3u64.saturating_sub(cut % 5);
        bench.lose();
        bench.serve(1);
        bench.is_empty();
        bench.come_back();
    }
    let counts = bench.io.outbox.counters.counts();
    assert_eq!((counts.requests, counts.answers), (8000, answers));
    assert_eq!((counts.requests_given_back, counts.answers_late), (given_back, 0));
}

#[test]
fn an_inline_handler_that_returns_before_another_thread_answers_has_failed() {
    let bench = Bench::new();
    let lane = bench.io.connections[0].lane.clone();
    let mut task = task::Task::inline(id(0), &lane, None);
    let other = task.clone();
    assert!(other.claim(), "the other thread is about to answer");
    let mut told = Vec::new();
    assert!(!task::Task::take_kept(&mut task, |_, part| told.push(part)), "it is not free");
    assert!(matches!(told[..], [Part::Error(..)]));
    assert!(matches!(task.partial(Body::from("")), Err(PartialError::Unwanted)));
    task.finish(Body::from(""));
    let counts = bench.io.outbox.counters.counts();
    assert_eq!((counts.failures, counts.answers_late), (1, 1));
}

/// The first and the last connection of as many as that, with sockets: each is served, by
/// whomever its context has to move bytes.
#[test]
fn connections_are_served_whether_one_context_is_enough_or_not() {
    for (connections, is_run) in
        [(1, true), (CONNECTIONS_PER_CONTEXT, true), (CONNECTIONS_PER_CONTEXT + 1, false)]
    {
        let peer = zmq::Context::new().socket(zmq::ROUTER).unwrap();
        peer.bind("tcp://127.0.0.1:*").unwrap();
        let endpoint = peer.get_last_endpoint().unwrap().unwrap();
        let settings = Settings { version: Version::V0_2, ..Settings::default() };
        let target = Target::Inline(Arc::new(echo));
        let mut io = io(settings, &endpoint, connections, connections, target);
        assert_eq!(io.runner.is_some(), is_run && cfg!(target_os = "linux"));
        let time = super::now();
        for index in BTreeSet::from([0, connections - 1]) {
            io.connections[index].dialog.handle_timeout(time);
            io.perform(index, time);
            let mut next = || {
                for _ in 0..3_000 {
                    for (due, readable, _) in io.poll(Some(Duration::from_millis(10))).unwrap() {
                        assert!(due == index && readable);
                        io.read(index, time);
                    }
                    match peer.recv_multipart(zmq::DONTWAIT) {
                        Err(zmq::Error::EAGAIN) => {}
                        message => return message.unwrap(),
                    }
                }
                panic!("nothing has come");
            };
            let ready = next();
            assert_eq!(ready[1..], [&b"MDPW02"[..], b"\x01", b"bench"]);
            let request = [&ready[0][..], b"MDPW02", b"\x02", b"client", b"", b"do"];
            peer.send_multipart(request, 0).unwrap();
            assert_eq!(next()[2..], [&b"\x04"[..], b"client", b"", b"do"]);
        }
    }
}

thread_local! {
    static LINES: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
}

/// Keeps what each thread logs.
struct Kept;

impl log::Log for Kept {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = (record.level(), record.args().to_string());
        LINES.with_borrow_mut(|lines| lines.push(line));
    }

    fn flush(&self) {}
}

#[test]
fn sockets_that_fail_again_and_again_are_one_warning_and_their_recovery_one_line() {
    // It fails when another test of this process has been here.
    let _ = log::set_logger(&Kept);
    log::set_max_level(log::LevelFilter::Info);
    let mut bench = Bench::new();
    let logged = || LINES.take();
    logged();
    for _ in 0..2 {
        for _ in 0..1000 {
            bench.io.refused(0, zmq::Error::EMFILE, bench.time);
            bench.come_back();
        }
        let text = format!("socket failed: {}", zmq::Error::EMFILE);
        assert_eq!(logged(), [(Level::Warn, text)]);
        for _ in 0..10 {
            bench.hear(FromBroker::Heartbeat);
        }
        assert_eq!(logged(), [(Level::Info, "broker heard again".to_owned())]);
    }
}
