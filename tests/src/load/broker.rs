//! The brokers that are compared, each as a process of its own, and the CPU time that
//! such a process has taken.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::bare::{READY, this_program};
use crate::limit::until;
use crate::process::Process;
use crate::spawn::{command, free_port};

/// A broker that can be started.
#[derive(Clone, Debug)]
pub enum Broker {
    /// Ours, with these flags. Without one that says where, it listens on a free TCP port.
    Majordomo(Vec<String>),
    /// Another build of ours, with these flags.
    Previous(PathBuf, Vec<String>),
    /// The bare loop of MDP/0.2, which gives each worker so many requests ahead.
    Bare(usize),
    /// The same, but whoever has fewest requests is next.
    BareIdleFirst(usize),
    /// The bare loop of MDP/1.0.
    BareV1,
    /// ROUTER and DEALER, joined by libzmq.
    Proxy,
    /// nats-server.
    Nats,
    /// gearmand.
    Gearmand,
}

const NATS: &str = "/usr/sbin/nats-server";
const GEARMAND: &str = "/usr/sbin/gearmand";
const MAJORDOMO_READY: &str = "majordomo-broker: ready on ";

/// Far apart, so that workers that never beat are not lost while they are measured.
const FLAGS: [&str; 2] = ["--log=warn", "--heartbeat-liveness=100"];
const BIND: &str = "--bind=tcp://127.0.0.1:*";

/// A broker that runs. It is killed when dropped.
#[derive(Debug)]
pub struct Running {
    process: Process,
    /// Where clients connect.
    pub clients: String,
    /// Where workers connect.
    pub workers: String,
}

impl Broker {
    /// Starts it, and waits until it listens. The error says why it cannot be started.
    ///
    /// # Errors
    ///
    /// When it is not installed, or does not know one of its flags.
    pub fn start(&self) -> Result<Running, String> {
        match self {
            Broker::Majordomo(flags) => by_ready_line(&mut with_flags(command(), flags)),
            Broker::Previous(path, flags) => {
                by_ready_line(&mut with_flags(Command::new(path), flags))
            }
            Broker::Bare(ahead) => by_ready_line(this_program().args(["bare", &ahead.to_string()])),
            Broker::BareIdleFirst(ahead) => {
                by_ready_line(this_program().args(["bare-idle-first", &ahead.to_string()]))
            }
            Broker::BareV1 => by_ready_line(this_program().arg("bare-v1")),
            Broker::Proxy => by_ready_line(this_program().arg("proxy")),
            Broker::Nats => on_port(NATS, &["-a", "127.0.0.1", "-p"]),
            Broker::Gearmand => on_port(GEARMAND, &["-l", "stderr", "-L", "127.0.0.1", "-p"]),
        }
    }
}

fn with_flags(mut command: Command, flags: &[String]) -> Command {
    command.args(FLAGS).args(flags);
    if !flags.iter().any(|flag| flag.starts_with("--bind")) {
        command.arg(BIND);
    }
    command
}

fn by_ready_line(command: &mut Command) -> Result<Running, String> {
    let process = Process::start(command);
    let Some(line) = process.line() else {
        return Err(process.log().lines().next().unwrap_or("it ended at once").to_owned());
    };
    let endpoints = line.strip_prefix(MAJORDOMO_READY).or_else(|| line.strip_prefix(READY));
    let mut endpoints = endpoints.ok_or_else(|| format!("it says {line:?}"))?.split(' ');
    let clients = endpoints.next().unwrap_or_default().to_owned();
    let workers = endpoints.next().map_or_else(|| clients.clone(), str::to_owned);
    Ok(Running { process, clients, workers })
}

fn on_port(program: &str, args: &[&str]) -> Result<Running, String> {
    if !Path::new(program).exists() {
        return Err(format!("{program} is not installed"));
    }
    let port = free_port();
    let process = Process::start(Command::new(program).args(args).arg(port.to_string()));
    let address = format!("127.0.0.1:{port}");
    until(&format!("{program} listens"), || std::net::TcpStream::connect(&address).ok());
    Ok(Running { process, clients: address.clone(), workers: address })
}

impl Running {
    /// The CPU time that its threads have taken so far, user and system.
    ///
    /// # Panics
    ///
    /// When it has ended.
    pub fn cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.id()));
        let tasks = tasks.unwrap_or_else(|error| panic!("{error}: {}", self.process.log()));
        let of_thread = |path: PathBuf| -> Option<u64> {
            let text = fs::read_to_string(path.join("schedstat")).ok()?;
            text.split(' ').next()?.parse().ok()
        };
        let all = tasks.filter_map(Result::ok).filter_map(|task| of_thread(task.path()));
        Duration::from_nanos(all.sum())
    }

    /// Its resident set, in bytes.
    pub fn rss(&self) -> u64 {
        self.process.rss()
    }

    /// The largest resident set it has had so far, in bytes.
    ///
    /// # Panics
    ///
    /// When it has ended.
    pub fn rss_peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let peak = status.unwrap_or_default().lines().find_map(|line| {
            let kib = line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?;
            kib.parse::<u64>().ok()
        });
        peak.unwrap_or_else(|| panic!("it has ended: {}", self.process.log())) * 1_024
    }

    /// Waits until it takes hardly any CPU time: it has read and answered everything.
    pub fn settle(&self) {
        let mut before = self.cpu();
        until("the broker has settled", || {
            crate::limit::let_pass(Duration::from_millis(100));
            let now = self.cpu();
            let taken = now - std::mem::replace(&mut before, now);
            (taken < Duration::from_millis(2)).then_some(())
        });
    }
}

/// Joins ROUTER and DEALER by libzmq's own loop, until killed.
///
/// # Panics
///
/// When a socket fails.
pub fn run_proxy() {
    let context = zmq::Context::new();
    let (front, clients) = super::bare::listening(&context, zmq::ROUTER);
    let (back, workers) = super::bare::listening(&context, zmq::DEALER);
    super::bare::ready(&[clients, workers]);
    zmq::proxy(&front, &back).expect("a proxy");
}
