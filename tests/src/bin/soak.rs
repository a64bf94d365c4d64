//! Does the broker's memory come back? 100,000 clients connect, make one call and
//! leave; the broker may then hold no more than 10 % + 20 MB above what it held.
//!
//! `cargo build --release --workspace --bins && target/release/soak [CLIENTS [ENDPOINT]]`
//!
//! Prints the figures, and exits with 1 when the memory has not come back, or the
//! broker still knows anything of its clients. ENDPOINT is where to bind:
//! `tcp://127.0.0.1:*` by default. Linux only.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use majordomo_tests::limit::Deadline;
use majordomo_tests::raw::RawPeer;
use majordomo_tests::report::{Reports, counter, in_short};
use majordomo_tests::spawn::BrokerProcess;
use majordomo_tests::wire::{self, VERSIONS};
use majordomo_tests::worker::EchoWorker;

const CLIENTS: u64 = 100_000;
const THREADS: u64 = 4;
const MIB: f64 = 1_048_576.0;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let clients = args.next().map_or(Ok(CLIENTS), |text| text.parse());
    let Ok(clients) = clients else {
        eprintln!("usage: soak [CLIENTS [ENDPOINT]]");
        return ExitCode::from(2);
    };
    let bind = args.next().unwrap_or_else(|| "tcp://127.0.0.1:*".to_owned());
    let broker = BrokerProcess::with([format!("--bind={bind}"), "--log=warn".to_owned()]);
    let mut reports = Reports::of(broker.endpoint());
    let interval = Duration::from_millis(500);
    let _workers =
        VERSIONS.map(|version| EchoWorker::start(broker.endpoint(), version, "echo", interval));
    reports.until_workers(2);
    // What is only ever allocated once is there after the first clients.
    connect_call_leave(broker.endpoint(), 100);

    let before = broker.process().rss();
    let retries = connect_call_leave(broker.endpoint(), clients);
    let report = reports.fresh();
    let after = broker.process().rss();
    let allowed = before as f64 * 1.1 + 20.0 * MIB;
    println!("clients  {clients}, {retries} of them asked a second time");
    println!("before   {:.1} MiB", before as f64 / MIB);
    println!("after    {:.1} MiB", after as f64 / MIB);
    println!("allowed  {:.1} MiB", allowed / MIB);
    println!("broker   {}", in_short(&report));
    let forgotten = report.clients == 0 && report.bytes == 0 && report.services.len() == 1;
    let answered = counter(&report, "requests_answered") >= clients;
    if after as f64 <= allowed && forgotten && answered {
        println!("passed");
        ExitCode::SUCCESS
    } else {
        println!("FAILED");
        ExitCode::FAILURE
    }
}

/// So many clients, a few at a time. Gives how often one had to ask again: a
/// connection may fail when the system has no port left for a moment.
fn connect_call_leave(endpoint: &str, clients: u64) -> u64 {
    let (next, retries) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (next, retries) = (&next, &retries);
            scope.spawn(move || {
                let version = VERSIONS[(thread % 2) as usize];
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= clients {
                        return;
                    }
                    let body = number.to_string();
                    let mut client = RawPeer::dealer(endpoint);
                    loop {
                        client.send(&wire::request(version, "echo", [&body]));
                        let deadline = Deadline::after(Duration::from_secs(5));
                        if let Some(reply) = client.receive_before(deadline) {
                            assert_eq!(reply, wire::reply(version, "echo", [&body]));
                            break;
                        }
                        retries.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    retries.into_inner()
}
