//! Is a call that is tried again run once? A client makes calls through a [`Proxy`]
//! that cuts its connections, with tries shorter than the handler's time; workers that
//! nobody cuts off count how often each request runs.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use majordomo_client::{Call, Client};

use crate::limit::Deadline;
use crate::proxy::Proxy;
use crate::v1::{RawWorker, Task};
use crate::wire::v1;

const SERVICE: &str = "slow";
const THREADS: u64 = 4;
/// Calls that each thread has under way.
const WINDOW: usize = 100;
const WORKERS: usize = 2;
const HANDLER_TIME: Duration = Duration::from_millis(40);
const TRY_TIMEOUT: Duration = Duration::from_millis(25);

/// What became of the calls.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Calls made.
    pub calls: u64,
    /// Calls answered with their own reply.
    pub answered: u64,
    /// What the others ended with; the first of them only.
    pub failures: Vec<String>,
    /// Requests that a worker got, each time.
    pub executions: u64,
    /// Different requests that a worker got.
    pub executed: u64,
    /// Connections that the client made.
    pub connections: u64,
    /// Connections that were cut.
    pub cuts: u64,
}

impl Outcome {
    /// Whether every call was answered with its own reply, and ran once.
    pub fn is_right(&self) -> bool {
        self.calls == self.answered && self.calls == self.executed && self.calls == self.executions
    }
}

/// Makes so many calls to the broker at `endpoint`. The proxy draws from `seed` after
/// how many of `bytes` it cuts each connection.
///
/// # Panics
///
/// When the client cannot be made, or a worker is disconnected.
pub fn run(endpoint: &str, calls: u64, seed: u64, bytes: Range<i64>) -> Outcome {
    let proxy = Proxy::start(endpoint, seed, bytes);
    let client = Client::builder()
        .broker(proxy.endpoint())
        .timeout(TRY_TIMEOUT)
        .tries(1_000)
        .deadline(Duration::from_secs(60))
        .build()
        .expect("a client");
    let executions = Mutex::new(HashMap::new());
    let stop = AtomicBool::new(false);
    let (next, answered) = (AtomicU64::new(0), AtomicU64::new(0));
    let failures = Mutex::new(vec![]);
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| work(endpoint, &stop, &executions));
        }
        let callers: Vec<_> = (0..THREADS)
            .map(|_| scope.spawn(|| call(&client, calls, &next, &answered, &failures)))
            .collect();
        let ended: Vec<_> = callers.into_iter().map(|caller| caller.join()).collect();
        stop.store(true, Ordering::Relaxed);
        assert!(ended.iter().all(Result::is_ok), "a caller failed");
    });
    let executions = executions.into_inner().expect("no panic while held");
    Outcome {
        calls,
        answered: answered.into_inner(),
        failures: failures.into_inner().expect("no panic while held"),
        executions: executions.values().sum(),
        executed: executions.len() as u64,
        connections: proxy.connections(),
        cuts: proxy.cuts(),
    }
}

fn call(
    client: &Client,
    calls: u64,
    next: &AtomicU64,
    answered: &AtomicU64,
    failures: &Mutex<Vec<String>>,
) {
    let mut under_way: VecDeque<(u64, Call)> = VecDeque::new();
    loop {
        while under_way.len() < WINDOW {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= calls {
                break;
            }
            let call = client.submit(SERVICE, number.to_string()).expect("room for a call");
            under_way.push_back((number, call));
        }
        let Some((number, call)) = under_way.pop_front() else { return };
        let failure = match call.wait().map(|reply| reply.into_frames()) {
            Ok(reply) if reply == [format!("reply to {number}").into_bytes()] => {
                answered.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            Ok(reply) => format!("{number}: wrong reply {reply:?}"),
            Err(error) => format!("{number}: {error}"),
        };
        let mut failures = failures.lock().expect("no panic while held");
        if failures.len() < 10 {
            failures.push(failure);
        }
    }
}

/// Answers each request after [`HANDLER_TIME`].
fn work(endpoint: &str, stop: &AtomicBool, executions: &Mutex<HashMap<Vec<u8>, u64>>) {
    let ready = v1::ready_asking(1_000, 500, 20, SERVICE);
    let (mut worker, _) = RawWorker::register_as(endpoint, &ready);
    let mut held: VecDeque<(Deadline, Task)> = VecDeque::new();
    while !stop.load(Ordering::Relaxed) {
        let idle = Deadline::after(Duration::from_millis(100));
        let due = held.front().map_or(idle, |(due, _)| *due);
        match worker.record_before(due) {
            Some(record) if record.command == 0x03 => {
                let task = Task::read(record).expect("a request");
                let mut executions = executions.lock().expect("no panic while held");
                *executions.entry(task.body.concat()).or_insert(0) += 1;
                held.push_back((Deadline::after(HANDLER_TIME), task));
            }
            Some(record) => assert_eq!(record.command, 0x07, "neither REQUEST nor CANCEL"),
            None if held.is_empty() => worker.send([&v1::heartbeat()]),
            None => {}
        }
        let mut replies = vec![];
        while held.front().is_some_and(|(due, _)| due.is_over()) {
            let Some((_, task)) = held.pop_front() else { break };
            let body = [b"reply to ", &task.body.concat()[..]].concat();
            replies.push(v1::worker_reply(task.id, [body]));
        }
        if !replies.is_empty() {
            worker.send(&replies);
        }
    }
    worker.send([&v1::disconnect(0, "")]);
}
