//! The two programs that a run of chaos is about: a worker and a caller on our SDKs,
//! each a process of its own that writes down what it does. `chaos` starts itself anew
//! as one of them.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use majordomo_client::{BlockingClient, Client, Version};
use majordomo_worker::{HandlerError, Request, Service, Worker};
use signal_hook::consts::SIGTERM;
use signal_hook::iterator::Signals;

use super::ledger::{CallId, Ending, Errand, Execution, Ledger, Outcome, moment};
use super::many;

/// The service that is called.
pub const SERVICE: &str = "chaos";

/// Time between two heartbeats of a worker, which is also the broker's setting.
pub const INTERVAL: Duration = Duration::from_millis(200);
/// Intervals of silence after which a worker or a broker counts as lost: three seconds,
/// as a busy machine may hold a process up for long.
pub const LIVENESS: u32 = 15;

/// The longest that a call takes.
pub const DEADLINE: Duration = Duration::from_secs(20);
/// The longest that one try of a call of 1.0 waits.
const TRY_TIMEOUT: Duration = Duration::from_secs(3);
/// The longest that the only try of a call of 0.2 waits.
const OLD_TIMEOUT: Duration = Duration::from_secs(6);
/// So long after its deadline a call must have ended, one way or another.
const GRACE: Duration = Duration::from_secs(10);

/// Clients of one process, at most.
const CLIENTS_MAX: u32 = 10_000;

/// What a process of a run is told.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The version it speaks.
    pub version: Version,
    /// Its number, which no other process of its kind has.
    pub number: u32,
    /// Threads of a caller, or places of a worker.
    pub threads: usize,
    /// The longest that a handler shall take, in microseconds; for a caller.
    pub work_us_max: u32,
    /// Services of this process's own; its callers are then as many clients, one for
    /// each. 0: the service that all share.
    pub services: usize,
    /// Where it writes down what it does.
    pub ledger: String,
    /// Its brokers.
    pub endpoints: Vec<String>,
}

impl Peer {
    /// As arguments of a program.
    pub fn to_args(&self) -> Vec<String> {
        let mut args = vec![
            self.version.to_string(),
            self.number.to_string(),
            self.threads.to_string(),
            self.work_us_max.to_string(),
            self.services.to_string(),
            self.ledger.clone(),
        ];
        args.extend(self.endpoints.iter().cloned());
        args
    }

    /// The name of one of its own services.
    pub fn service(&self, service: usize) -> String {
        format!("{SERVICE} {} {service}", self.number)
    }

    /// The number of the client of one of its own services.
    pub fn client(&self, service: usize) -> u32 {
        self.number * CLIENTS_MAX + service as u32
    }

    /// What these arguments say.
    pub fn from_args(args: &[String]) -> Option<Self> {
        let [version, number, threads, work_us_max, services, ledger, endpoints @ ..] = args else {
            return None;
        };
        let versions = [Version::V0_1, Version::V0_2, Version::V1_0];
        Some(Peer {
            version: versions.into_iter().find(|known| known.to_string() == *version)?,
            number: number.parse().ok()?,
            threads: threads.parse().ok()?,
            work_us_max: work_us_max.parse().ok()?,
            services: services.parse().ok()?,
            ledger: ledger.clone(),
            endpoints: endpoints.to_vec(),
        })
    }
}

/// Serves until SIGTERM, and then finishes what it has.
///
/// # Panics
///
/// When the worker cannot be made, or fails.
pub fn work(peer: &Peer) {
    let ledger = Ledger::open(Path::new(&peer.ledger)).expect("a ledger");
    let number = peer.number;
    let ledger = Arc::new(ledger);
    let handler = move |request: Request| -> Result<Vec<u8>, HandlerError> {
        let at = moment();
        let body = request.body().to_bytes();
        let Some(errand) = Errand::read(&body) else { return Err("not an errand".into()) };
        let attempt = request.attempt();
        ledger.write(&Execution { call: errand.call, at, worker: number, attempt });
        let work = Duration::from_micros(errand.work_us.into());
        if request.cancellation().wait_timeout(work) {
            return Err("cancelled".into());
        }
        Ok(errand.reply())
    };
    let mut builder = Worker::builder().version(peer.version);
    if peer.services == 0 {
        builder = builder
            .heartbeat_interval(INTERVAL)
            .heartbeat_liveness(LIVENESS)
            .reconnect_max(Duration::from_secs(1))
            .serve(Service::new(SERVICE, handler.clone()).concurrency(peer.threads));
    }
    for service in 0..peer.services {
        builder = builder.serve(Service::new(peer.service(service), handler.clone()).inline());
    }
    for endpoint in &peer.endpoints {
        builder = builder.broker(endpoint);
    }
    let worker = builder.build().expect("a worker");
    let stop = worker.stop_handle();
    let mut signals = Signals::new([SIGTERM]).expect("a signal handler");
    thread::spawn(move || signals.forever().for_each(|_| stop.stop()));
    say("ready");
    let reason = worker.run().expect("a worker that goes on");
    say(&format!("stopped {reason:?}"));
}

/// Calls until SIGTERM, each thread one call after the other, and waits for what it has
/// under way; then says how many calls it made.
///
/// # Panics
///
/// When the client cannot be made.
pub fn call(peer: &Peer) {
    let ledger = Ledger::open(Path::new(&peer.ledger)).expect("a ledger");
    let over = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGTERM, over.clone()).expect("a signal handler");
    let made = AtomicU64::new(0);
    let shared = peer.services == 0 && peer.version == Version::V1_0;
    let client = shared.then(|| client(&peer.endpoints));
    say("ready");
    if peer.services > 0 {
        return say(&format!("made {}", many::call(peer, &ledger, &over)));
    }
    thread::scope(|scope| {
        for thread in 0..peer.threads {
            let (ledger, over, made, client) = (&ledger, &over, &made, &client);
            scope.spawn(move || {
                let seed = u64::from(peer.number) << 32 | thread as u64;
                let mut random = fastrand::Rng::with_seed(seed);
                let mut old = client.is_none().then(|| old_client(peer));
                while !over.load(Ordering::Relaxed) {
                    let call = CallId::new(peer.number, made.fetch_add(1, Ordering::Relaxed));
                    let errand = Errand { call, work_us: random.u32(0..=peer.work_us_max) };
                    let began = moment();
                    let ending = match (client, &mut old) {
                        (Some(client), _) => call_new(client, errand),
                        (None, Some(old)) => call_old(old, errand),
                        (None, None) => return,
                    };
                    let (ended, work_us) = (moment(), errand.work_us);
                    ledger.write(&Outcome { call, began, ended, work_us, ending });
                }
            });
        }
    });
    say(&format!("made {}", made.into_inner()));
}

fn client(endpoints: &[String]) -> Client {
    let builder = Client::builder()
        .timeout(TRY_TIMEOUT)
        .tries(100)
        .deadline(DEADLINE)
        .heartbeat(Duration::from_millis(500))
        .liveness(6);
    let builder = endpoints.iter().fold(builder, |builder, endpoint| builder.broker(endpoint));
    builder.build().expect("a client")
}

fn old_client(peer: &Peer) -> BlockingClient {
    let builder = BlockingClient::builder().version(peer.version).timeout(OLD_TIMEOUT).tries(1);
    let builder = peer.endpoints.iter().fold(builder, |builder, endpoint| builder.broker(endpoint));
    builder.build().expect("a client")
}

fn call_new(client: &Client, errand: Errand) -> Ending {
    let mut call = match client.submit(SERVICE, errand.to_bytes()) {
        Ok(call) => call,
        Err(error) => return Ending::from(&error),
    };
    match call.wait_timeout(DEADLINE + GRACE) {
        None => Ending::Silent,
        Some(Ok(reply)) => compare(&reply.to_bytes(), errand),
        Some(Err(error)) => Ending::from(&error),
    }
}

fn call_old(client: &mut BlockingClient, errand: Errand) -> Ending {
    match client.request(SERVICE, errand.to_bytes()) {
        Ok(reply) => compare(&reply.to_bytes(), errand),
        Err(error) => Ending::from(&error),
    }
}

pub(super) fn compare(reply: &[u8], errand: Errand) -> Ending {
    if reply == errand.reply() { Ending::Answered } else { Ending::Misanswered }
}

/// To the process that started this one; when that has gone, to nobody.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
