//! A place to try commands in: a broker, a folder, and what came of a process.

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use majordomo_broker::Broker;
use majordomo_broker::config::{Config, ConfigBuilder};
use majordomo_client::{BlockingClient, BrokerReport};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub(crate) const MAJORDOMO: &str = env!("CARGO_BIN_EXE_majordomo");

/// An endpoint where nothing listens.
pub(crate) const NOBODY: &str = "tcp://127.0.0.1:1";

/// A broker, a folder of its own, and the commands that use both.
pub(crate) struct Place {
    broker: Broker,
    pub(crate) folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::with(Config::builder())
    }

    /// With a broker set up like this.
    pub(crate) fn with(config: ConfigBuilder) -> Self {
        let config = config.bind("tcp://127.0.0.1:*").build().unwrap();
        Place { broker: Broker::start(&config).unwrap(), folder: TempDir::new().unwrap() }
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.broker.endpoints()[0]
    }

    /// All of them: open, with CURVE, with PLAIN.
    pub(crate) fn endpoints(&self) -> &[String] {
        self.broker.endpoints()
    }

    pub(crate) fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path.into_os_string().into_string().unwrap()
    }

    pub(crate) fn fifo(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        path
    }

    /// `majordomo` with these arguments, the broker by the variable, in the folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(MAJORDOMO);
        for name in ["SERVER_KEY", "KEY_FILE", "USER", "PASSWORD_FILE", "PASSWORD"] {
            command.env_remove(format!("MAJORDOMO_{name}"));
        }
        command.args(arguments).env("MAJORDOMO_BROKER", self.endpoint());
        command.current_dir(&self.folder).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        end(self.command(arguments).spawn().unwrap())
    }

    pub(crate) fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Ended {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        end(child)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts `majordomo`, to be killed at the end.
    pub(crate) fn start(&self, arguments: &[&str]) -> Work {
        Work(Some(self.command(arguments).spawn().unwrap()))
    }

    /// Starts `majordomo work` and waits until its places are registered.
    pub(crate) fn work(&self, places: u64, arguments: &[&str]) -> Work {
        // Not those that are there: one that was killed is missed a moment later.
        let registered = |report: &BrokerReport| report.counters["workers_registered"];
        let before = registered(&self.report());
        let work = self.start(&[&["work"], arguments].concat());
        self.until(|report| registered(report) == before + places);
        work
    }

    pub(crate) fn report(&self) -> BrokerReport {
        BlockingClient::connect(self.endpoint()).unwrap().broker_report().unwrap()
    }

    /// Waits until the broker is as it should be.
    pub(crate) fn until(&self, is_so: impl Fn(&BrokerReport) -> bool) {
        for _ in 0..4000 {
            if is_so(&self.report()) {
                return;
            }
            thread::park_timeout(Duration::from_millis(5));
        }
        panic!("the broker did not get there: {:#?}", self.report());
    }
}

/// A `majordomo` that goes on, killed at the end.
pub(crate) struct Work(pub(crate) Option<Child>);

impl Work {
    pub(crate) fn child(&mut self) -> &mut Child {
        self.0.as_mut().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(self.0.as_ref().unwrap());
        kill_process(pid, signal).unwrap();
    }

    /// Waits until it has ended by itself.
    pub(crate) fn end(mut self) -> Ended {
        end(self.0.take().unwrap())
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// What a process left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

pub(crate) fn end(child: Child) -> Ended {
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    let (code, signal) = (output.status.code(), output.status.signal());
    Ended { code, signal, out: output.stdout, err }
}

impl Ended {
    #[track_caller]
    pub(crate) fn prints(self, out: impl AsRef<[u8]>) {
        let text = String::from_utf8_lossy(&self.out);
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""), "{text}");
        assert!(self.out == out.as_ref(), "found {} bytes: {text:.200}", self.out.len());
    }

    #[track_caller]
    pub(crate) fn fails(self, code: i32, err: &str) {
        assert_eq!((self.code, self.err.as_str()), (Some(code), err));
        assert_eq!(String::from_utf8_lossy(&self.out), "");
    }

    #[track_caller]
    pub(crate) fn text(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.err);
        String::from_utf8(self.out).unwrap()
    }
}

/// Bytes that no compression and no coincidence makes shorter.
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..bytes).map(|_| next()).collect()
}
