//! The processes of a run, the proxies between them, and what a fault does to each.

use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use majordomo_client::Version;

use super::account::Trouble;
use super::faults::{Fault, Kind, Role};
use super::ledger::{Moment, moment};
use super::peers::{INTERVAL, LIVENESS, Peer};
use crate::limit::Deadline;
use crate::process::{Process, Signal};
use crate::proxy::Proxy;
use crate::raw::RawPeer;
use crate::report::Reports;
use crate::spawn::{BrokerProcess, free_port};
use crate::wire;

/// So long after it a fault may still be the reason of something: a peer counts as lost
/// after three seconds of silence, and a request may wait for its next worker.
const SETTLE: Duration = Duration::from_secs(5);
/// How late bytes are that a proxy holds back.
const DELAY: Duration = Duration::from_millis(200);
/// Peers of a crowd, for each broker.
const CROWD: usize = 300;
/// How long a process may take to end by itself. A caller has a call's deadline.
const END: Duration = Duration::from_secs(60);

/// What a fleet is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The program that is worker or caller; see [`super::peers`].
    pub program: PathBuf,
    /// How many brokers. All peers know all of them.
    pub brokers: usize,
    /// The version and the places of each worker.
    pub workers: Vec<(Version, usize)>,
    /// The version and the threads of each process of callers.
    pub clients: Vec<(Version, usize)>,
    /// The longest that a handler takes, in microseconds.
    pub work_us_max: u32,
}

/// The processes of a run.
#[derive(Debug)]
pub struct Fleet {
    plan: Plan,
    directory: tempfile::TempDir,
    brokers: Vec<BrokerProcess>,
    workers: Vec<Member>,
    clients: Vec<Member>,
    /// Workers that were told to stop, and have ended or should.
    retired: Vec<Member>,
    started: u32,
    troubles: Vec<Trouble>,
    complaints: Vec<String>,
}

/// A worker or callers, with a proxy to each broker.
#[derive(Debug)]
struct Member {
    process: Process,
    number: u32,
    proxies: Vec<Proxy>,
}

impl Fleet {
    /// Starts brokers and workers, and waits until every worker is registered with every
    /// broker.
    ///
    /// # Panics
    ///
    /// When something does not start.
    pub fn start(plan: Plan) -> Self {
        let brokers = (0..plan.brokers).map(|_| {
            BrokerProcess::with([
                format!("--bind=tcp://127.0.0.1:{}", free_port()),
                format!("--heartbeat-interval-ms={}", INTERVAL.as_millis()),
                format!("--heartbeat-liveness={LIVENESS}"),
                "--log=error".to_owned(),
            ])
        });
        let mut fleet = Fleet {
            brokers: brokers.collect(),
            directory: tempfile::tempdir().expect("a directory"),
            workers: vec![],
            clients: vec![],
            retired: vec![],
            started: 0,
            troubles: vec![],
            complaints: vec![],
            plan,
        };
        for slot in 0..fleet.plan.workers.len() {
            let worker = fleet.start_worker(slot);
            fleet.workers.push(worker);
        }
        let places = |(version, places): &(Version, usize)| match version {
            Version::V1_0 => 1,
            _ => *places,
        };
        let registered = fleet.plan.workers.iter().map(places).sum();
        for broker in &fleet.brokers {
            Reports::of(broker.endpoint()).until_workers(registered);
        }
        fleet
    }

    /// Starts the callers.
    ///
    /// # Panics
    ///
    /// When one does not start.
    pub fn start_clients(&mut self) {
        for (number, (version, threads)) in self.plan.clients.clone().into_iter().enumerate() {
            let client = self.start_member("client", version, threads, number as u32);
            self.clients.push(client);
        }
    }

    /// Where callers write.
    pub fn outcomes(&self) -> PathBuf {
        self.directory.path().join("client")
    }

    /// Where workers write.
    pub fn executions(&self) -> PathBuf {
        self.directory.path().join("worker")
    }

    /// The brokers.
    pub fn brokers(&self) -> &[BrokerProcess] {
        &self.brokers
    }

    /// When what could be taken for lost.
    pub fn troubles(&self) -> &[Trouble] {
        &self.troubles
    }

    /// What went wrong with the processes themselves, in words.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// A line with memory and descriptors of each broker and each process of callers.
    pub fn usage(&self) -> String {
        let brokers = self.brokers.iter().map(|broker| ("broker", broker.process()));
        let clients = self.clients.iter().map(|client| ("client", &client.process));
        let show = |(name, process): (&str, &Process)| match process.usage() {
            Some(usage) => {
                let mib = usage.rss as f64 / 1_048_576.0;
                format!("{name} {mib:.1} MiB {} fd", usage.descriptors)
            }
            None => format!("{name} down"),
        };
        brokers.chain(clients).map(show).collect::<Vec<_>>().join(", ")
    }

    fn start_worker(&mut self, slot: usize) -> Member {
        let (version, places) = self.plan.workers[slot];
        self.started += 1;
        self.start_member("worker", version, places, self.started)
    }

    fn start_member(&self, role: &str, version: Version, threads: usize, number: u32) -> Member {
        let proxies: Vec<Proxy> =
            self.brokers.iter().map(|broker| Proxy::steady(broker.endpoint())).collect();
        let peer = Peer {
            version,
            number,
            threads,
            work_us_max: self.plan.work_us_max,
            services: 0,
            ledger: self.directory.path().join(role).display().to_string(),
            endpoints: proxies.iter().map(Proxy::endpoint).collect(),
        };
        let process =
            Process::start(Command::new(&self.plan.program).arg(role).args(peer.to_args()));
        assert_eq!(process.line().as_deref(), Some("ready"), "{}", process.log());
        Member { process, number, proxies }
    }

    /// A fault begins.
    ///
    /// # Panics
    ///
    /// When what must start does not.
    pub fn begin(&mut self, fault: &Fault) {
        let from = moment();
        match fault.kind {
            Kind::WorkerKill => self.workers[fault.target].process.kill(),
            Kind::WorkerFreeze => self.workers[fault.target].process.signal(Signal::STOP),
            Kind::WorkerDrain => {
                let next = self.start_worker(fault.target);
                let old = std::mem::replace(&mut self.workers[fault.target], next);
                old.process.signal(Signal::TERM);
                self.retired.push(old);
            }
            Kind::BrokerKill => self.brokers[fault.target].kill(),
            Kind::BrokerFreeze => self.brokers[fault.target].signal(Signal::STOP),
            Kind::BrokerDrain => self.brokers[fault.target].signal(Signal::TERM),
            Kind::WorkerCut | Kind::ClientCut => self.proxies(fault).for_each(Proxy::cut),
            Kind::WorkerDelay | Kind::ClientDelay => {
                self.proxies(fault).for_each(|proxy| proxy.delay(DELAY));
            }
            Kind::WorkerHalfOpen | Kind::ClientHalfOpen => {
                self.proxies(fault).for_each(Proxy::half_open);
            }
            Kind::Crowd => self.brokers.iter().for_each(|broker| crowd(broker.endpoint())),
        }
        if let Some(number) = self.who_is_lost(fault) {
            let role = fault.kind.role();
            self.troubles.push(Trouble { role, number, from, until: Moment::MAX });
        }
    }

    /// A fault is over.
    ///
    /// # Panics
    ///
    /// When what must start does not.
    pub fn end(&mut self, fault: &Fault) {
        let lost = self.who_is_lost(fault);
        match fault.kind {
            Kind::WorkerKill => self.workers[fault.target] = self.start_worker(fault.target),
            Kind::WorkerFreeze => self.workers[fault.target].process.signal(Signal::CONT),
            Kind::BrokerKill => self.brokers[fault.target].start_again(),
            Kind::BrokerFreeze => self.brokers[fault.target].signal(Signal::CONT),
            Kind::BrokerDrain => {
                let broker = &mut self.brokers[fault.target];
                let code = broker.exit_code();
                if code != 0 {
                    self.complaints.push(format!("a drained broker ended with {code}"));
                }
                broker.start_again();
            }
            Kind::WorkerDelay | Kind::ClientDelay | Kind::WorkerHalfOpen | Kind::ClientHalfOpen => {
                self.proxies(fault).for_each(Proxy::heal);
            }
            Kind::WorkerDrain | Kind::WorkerCut | Kind::ClientCut | Kind::Crowd => {}
        }
        let role = fault.kind.role();
        let open = |trouble: &&mut Trouble| {
            trouble.role == role && Some(trouble.number) == lost && trouble.until == Moment::MAX
        };
        if let Some(trouble) = self.troubles.iter_mut().find(open) {
            trouble.until = moment() + SETTLE.as_micros() as Moment;
        }
        let ended: Vec<Member> = self
            .retired
            .extract_if(.., |worker| worker.process.wait_for(Duration::ZERO).is_some())
            .collect();
        ended.iter().for_each(|worker| self.check_end(worker));
    }

    /// Who may be taken for lost by this fault. Who drains must not be, nor who is late
    /// by less than heartbeats allow.
    fn who_is_lost(&self, fault: &Fault) -> Option<u32> {
        match fault.kind {
            Kind::WorkerKill | Kind::WorkerFreeze | Kind::WorkerCut | Kind::WorkerHalfOpen => {
                Some(self.workers[fault.target].number)
            }
            Kind::BrokerKill | Kind::BrokerFreeze => Some(fault.target as u32),
            Kind::ClientCut | Kind::ClientHalfOpen => Some(self.clients[fault.target].number),
            Kind::WorkerDrain
            | Kind::WorkerDelay
            | Kind::BrokerDrain
            | Kind::ClientDelay
            | Kind::Crowd => None,
        }
    }

    fn proxies(&self, fault: &Fault) -> impl Iterator<Item = &Proxy> {
        let member = match fault.kind.role() {
            Role::Worker => self.workers.get(fault.target),
            Role::Client => self.clients.get(fault.target),
            Role::Broker | Role::All => None,
        };
        member.into_iter().flat_map(|member| &member.proxies)
    }

    /// Ends the callers, which wait for what they have under way. Gives how many calls
    /// they made.
    pub fn stop_clients(&mut self) -> u64 {
        let mut clients = std::mem::take(&mut self.clients);
        clients.iter().for_each(|client| client.process.signal(Signal::TERM));
        let deadline = Deadline::after(END);
        let mut made = 0;
        for client in &mut clients {
            if client.process.wait_for(deadline.left()).is_none() {
                self.complaints.push(format!("client {} does not end", client.number));
                continue;
            }
            let line = client.process.last_line().unwrap_or_default();
            match line.strip_prefix("made ").and_then(|made| made.parse::<u64>().ok()) {
                Some(count) => made += count,
                None => self.complaints.push(format!("client {} failed", client.number)),
            }
        }
        made
    }

    /// Ends the workers, which answer what they have.
    pub fn stop_workers(&mut self) {
        self.workers.iter().for_each(|worker| worker.process.signal(Signal::TERM));
        let deadline = Deadline::after(END);
        let workers = std::mem::take(&mut self.workers);
        for mut worker in workers.into_iter().chain(std::mem::take(&mut self.retired)) {
            if worker.process.wait_for(deadline.left()).is_some() {
                self.check_end(&worker);
            } else {
                self.complaints.push(format!("worker {} does not end", worker.number));
            }
        }
    }

    /// A worker that was told to stop has ended: by itself, and with nothing left to do.
    fn check_end(&mut self, worker: &Member) {
        let (number, process) = (worker.number, &worker.process);
        if process.last_line() != Some("stopped Drained") {
            self.complaints.push(format!("worker {number} did not drain: {}", process.log()));
        }
    }
}

/// Many peers that connect at once, ask something and leave without the answer.
fn crowd(endpoint: &str) {
    let context = zmq::Context::new();
    let peers: Vec<RawPeer> = (0..CROWD).map(|_| RawPeer::dealer_in(&context, endpoint)).collect();
    let question = wire::request(wire::Version::V0_2, "mmi.service", [super::peers::SERVICE]);
    peers.iter().for_each(|peer| peer.send(&question));
    drop(peers);
    // It ends when the last of its sockets has left, and that can take a second.
    thread::spawn(move || drop(context));
}
