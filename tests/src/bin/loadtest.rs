//! How fast is it? Small bodies, everything on this machine: MDP/0.2 with 16 workers
//! against MDP/1.0 with one connection each; runs in turn, so that a noisy moment hits
//! all alike; medians of 5.
//!
//! `cargo build --release --workspace --bins && target/release/loadtest [CALLS]`

use std::collections::VecDeque;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use majordomo_client::{BlockingClient, Client};
use majordomo_tests::limit::timed;
use majordomo_tests::raw::RawPeer;
use majordomo_tests::report::Reports;
use majordomo_tests::spawn::BrokerProcess;
use majordomo_tests::v1;
use majordomo_tests::wire::{self, Version};
use majordomo_tests::worker::{Behaviour, serve};
use majordomo_worker::{Request, Service, Worker};

const ROUNDS: usize = 5;
const IN_FLIGHT: usize = 1_000;
const OLD_WORKERS: usize = 16;
const BODY: &str = "sixteen bytes ok";
/// So long apart that heartbeats cost nothing.
const INTERVAL: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let calls = std::env::args().nth(1).map_or(Ok(50_000), |text| text.parse());
    let Ok(calls) = calls else {
        eprintln!("usage: loadtest [CALLS]");
        return ExitCode::from(2);
    };
    let broker = BrokerProcess::with(["--log=warn"]);
    let endpoint = broker.endpoint();
    start_bare_workers(endpoint);
    let echo = |request: Request| Ok(request.into_body());
    let service = Service::new("sdk", echo).concurrency(IN_FLIGHT).inline();
    let _sdk = Worker::builder()
        .broker(endpoint)
        .version(majordomo_client::Version::V1_0)
        .serve(service)
        .start()
        .expect("a worker");
    let mut reports = Reports::of(endpoint);
    reports.until("all workers are there", |report| report.services.len() == 4);
    reports.until_workers(OLD_WORKERS + 3);

    let client = Client::connect(endpoint).expect("a client");
    let mut blocking = BlockingClient::connect(endpoint).expect("a client");
    let few = calls / 10;
    let (mut old, mut bare, mut sdk) = (vec![], vec![], vec![]);
    let (mut old_latency, mut new_latency) = (vec![], vec![]);
    // The first round warms up.
    for round in 0..=ROUNDS {
        let figures = (
            pipelined(endpoint, calls),
            submitted(&client, "bare", calls),
            submitted(&client, "sdk", calls),
            latencies(few, || {
                blocking.request("one", BODY).expect("a reply");
            }),
            latencies(few, || {
                client.call("bare", BODY).expect("a reply");
            }),
        );
        if round > 0 {
            old.push(figures.0);
            bare.push(figures.1);
            sdk.push(figures.2);
            old_latency.push(figures.3);
            new_latency.push(figures.4);
        }
    }
    let (old, bare, sdk) = (median(old), median(bare), median(sdk));
    println!(
        "throughput  0.2, {OLD_WORKERS} workers: {old:.0}/s; 1.0, bare worker: {bare:.0}/s \
         ({:.2} times); 1.0, SDK worker: {sdk:.0}/s ({:.2} times)",
        bare / old,
        sdk / old
    );
    let of = |all: &[[f64; 2]], at: usize| median(all.iter().map(|both| both[at]).collect());
    let [p50, p99] = [0, 1].map(|at| (of(&old_latency, at), of(&new_latency, at)));
    println!(
        "latency     p50: 0.2 {:.0} us, 1.0 {:.0} us ({:.2} times); p99: 0.2 {:.0} us, 1.0 {:.0} us \
         ({:.2} times)",
        p50.0,
        p50.1,
        p50.1 / p50.0,
        p99.0,
        p99.1,
        p99.1 / p99.0
    );
    ExitCode::SUCCESS
}

/// They end with the process.
fn start_bare_workers(endpoint: &str) {
    let start = |serve: fn(&str, &AtomicBool)| {
        let endpoint = endpoint.to_owned();
        thread::spawn(move || serve(&endpoint, &AtomicBool::new(false)));
    };
    for _ in 0..OLD_WORKERS {
        start(|to, never| {
            serve(to, Version::V0_2, "old", Behaviour::Echo, INTERVAL, never, |_| {});
        });
    }
    start(|to, never| serve(to, Version::V0_2, "one", Behaviour::Echo, INTERVAL, never, |_| {}));
    start(|to, never| {
        v1::serve(to, "bare", IN_FLIGHT as u16, Behaviour::Echo, INTERVAL, never, |_| {});
    });
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Calls a second of one bare client of 0.2.
fn pipelined(endpoint: &str, calls: usize) -> f64 {
    let mut client = RawPeer::dealer(endpoint);
    let request = wire::request(Version::V0_2, "old", [BODY]);
    let reply = wire::reply(Version::V0_2, "old", [BODY]);
    client.sync();
    let ((), time) = timed(|| {
        let first = IN_FLIGHT.min(calls);
        (0..first).for_each(|_| client.send(&request));
        for answered in 0..calls {
            client.expect(&reply);
            if answered + first < calls {
                client.send(&request);
            }
        }
    });
    calls as f64 / time.as_secs_f64()
}

/// Calls a second of one client of 1.0.
fn submitted(client: &Client, service: &str, calls: usize) -> f64 {
    let submit = || client.submit(service, BODY).expect("room for a call");
    let ((), time) = timed(|| {
        let mut under_way = VecDeque::new();
        for _ in 0..calls {
            if under_way.len() == IN_FLIGHT {
                let call: majordomo_client::Call = under_way.pop_front().expect("one is under way");
                assert_eq!(call.wait().expect("a reply").size(), BODY.len());
            }
            under_way.push_back(submit());
        }
        for call in under_way {
            call.wait().expect("a reply");
        }
    });
    calls as f64 / time.as_secs_f64()
}

/// Median and 99th percentile of so many calls one after the other, in microseconds.
fn latencies(calls: usize, mut call: impl FnMut()) -> [f64; 2] {
    let mut times: Vec<f64> = (0..calls).map(|_| timed(&mut call).1.as_secs_f64() * 1e6).collect();
    times.sort_by(f64::total_cmp);
    [50, 99].map(|percent| times.get(calls * percent / 100).copied().unwrap_or(f64::NAN))
}
