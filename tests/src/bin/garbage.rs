//! Does garbage hurt? 50 connections send 1 MB of it a second for 30 s, while real
//! calls go on: none may be lost, and every message must be counted.
//!
//! `cargo build --release --workspace --bins && target/release/garbage [SECONDS [SEED]]`
//!
//! Prints the accounting, and exits with 1 when it does not add up.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use majordomo_tests::garbage::Flood;
use majordomo_tests::limit::{Deadline, LIMIT, pause};
use majordomo_tests::raw::RawPeer;
use majordomo_tests::report::{Reports, counter, in_short};
use majordomo_tests::spawn::BrokerProcess;
use majordomo_tests::wire::{self, VERSIONS, Version};
use majordomo_tests::worker::EchoWorker;

const CONNECTIONS: usize = 50;
const BYTES_PER_SECOND: u64 = 1_000_000;

fn main() -> ExitCode {
    let args: Result<Vec<u64>, _> = std::env::args().skip(1).map(|arg| arg.parse()).collect();
    let Ok(args) = args else {
        eprintln!("usage: garbage [SECONDS [SEED]]");
        return ExitCode::from(2);
    };
    let seconds = args.first().copied().unwrap_or(30);
    let seed = args.get(1).copied().unwrap_or(1);

    let broker = BrokerProcess::with(["--log=warn"]);
    let endpoint = broker.endpoint();
    let mut reports = Reports::of(endpoint);
    let interval = Duration::from_millis(500);
    let _workers = VERSIONS.map(|version| EchoWorker::start(endpoint, version, "echo", interval));
    reports.until_workers(2);
    let over = AtomicBool::new(false);
    let mut flood = Flood::new(endpoint, CONNECTIONS, seed);
    let (report, calls) = thread::scope(|scope| {
        let over = &over;
        let callers = VERSIONS.map(|version| scope.spawn(move || call(endpoint, version, over)));
        send_at_rate(&mut flood, Duration::from_secs(seconds));
        // All has been sent; it may not all have arrived yet.
        let deadline = Deadline::generous();
        let report = loop {
            let report = reports.fresh();
            if flood.counted(&report) >= flood.messages() || deadline.is_over() {
                break report;
            }
        };
        over.store(true, Ordering::Relaxed);
        (report, callers.map(|caller| caller.join().expect("a caller that counts its losses")))
    });
    let report = reports.until("all answers are counted", |later| {
        let answered: u64 = calls.iter().map(|(made, lost)| made - lost).sum();
        later.uptime_ms > report.uptime_ms && counter(later, "requests_answered") >= answered
    });
    let made: u64 = calls.iter().map(|(made, _)| made).sum();
    let lost: u64 = calls.iter().map(|(_, lost)| lost).sum();
    println!("garbage   {seconds} s, {CONNECTIONS} connections, seed {seed}");
    println!("sent      {} messages, {:.1} MB", flood.messages(), flood.bytes() as f64 / 1e6);
    for (counter, sent, counted) in flood.account(&report) {
        println!("          {counter}: {sent} sent, {counted} counted");
    }
    println!("calls     {made} made, {} answered, {lost} lost", made - lost);
    println!("memory    {:.1} MiB", broker.process().rss() as f64 / 1_048_576.0);
    println!("broker    {}", in_short(&report));
    let exact = flood.account(&report).iter().all(|(_, sent, counted)| sent == counted);
    if exact && lost == 0 && made > 0 && report.workers.len() == 2 {
        println!("passed");
        ExitCode::SUCCESS
    } else {
        println!("FAILED");
        ExitCode::FAILURE
    }
}

/// Sends garbage at [`BYTES_PER_SECOND`], as evenly as it can.
fn send_at_rate(flood: &mut Flood, duration: Duration) {
    let end = Deadline::after(duration);
    let start = flood.bytes();
    while !end.is_over() {
        let passed = duration.saturating_sub(end.left());
        let due = (passed.as_secs_f64() * BYTES_PER_SECOND as f64) as u64;
        while flood.bytes() - start < due {
            flood.send();
        }
        pause();
    }
}

/// Calls until it is over; gives how many calls were made, and how many of them were
/// lost: not answered within [`LIMIT`], or wrongly.
fn call(endpoint: &str, version: Version, over: &AtomicBool) -> (u64, u64) {
    let (mut made, mut lost) = (0, 0);
    let mut client = RawPeer::dealer(endpoint);
    while !over.load(Ordering::Relaxed) {
        let body = format!("{} {made}", version.as_str());
        client.send(&wire::request(version, "echo", [&body]));
        made += 1;
        let expected = wire::reply(version, "echo", [&body]);
        if client.receive_before(Deadline::after(LIMIT)) != Some(expected) {
            lost += 1;
            client = RawPeer::dealer(endpoint);
        }
    }
    (made, lost)
}
