//! The real broker as a process of its own, on endpoints that nobody else uses.

use std::iter;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::thread;

use crate::process::{Process, Signal};

const READY: &str = "majordomo-broker: ready on ";

/// A running broker. It is killed when dropped; if a test fails, its log is printed.
#[derive(Debug)]
pub struct BrokerProcess {
    process: Process,
    /// The line of sh that starts it, if one does.
    shell: Option<String>,
    flags: Vec<String>,
    endpoints: Vec<String>,
}

impl BrokerProcess {
    /// Starts a broker without further flags.
    ///
    /// # Panics
    ///
    /// As [`BrokerProcess::with`].
    pub fn start() -> Self {
        BrokerProcess::with::<&str>([])
    }

    /// Starts a broker with these flags, each `--key=value`, and waits for its ready
    /// line.
    ///
    /// What the flags do not say: it listens on a free TCP port of this machine, and
    /// its heartbeats are a minute apart, so that a bare worker that never beats
    /// outlives every test that is not about heartbeats.
    ///
    /// # Panics
    ///
    /// When it does not become ready.
    pub fn with<S: AsRef<str>>(flags: impl IntoIterator<Item = S>) -> Self {
        BrokerProcess::new(None, flags)
    }

    fn new<S: AsRef<str>>(shell: Option<String>, flags: impl IntoIterator<Item = S>) -> Self {
        let flags = with_defaults(flags);
        let (process, endpoints) = start(shell.as_deref(), &flags);
        BrokerProcess { process, shell, flags, endpoints }
    }

    /// As [`BrokerProcess::start`], with heartbeats this many milliseconds apart, and
    /// workers lost after `liveness` intervals.
    pub fn beating(interval_ms: u32, liveness: u32) -> Self {
        BrokerProcess::with([
            format!("--heartbeat-interval-ms={interval_ms}"),
            format!("--heartbeat-liveness={liveness}"),
        ])
    }

    /// As [`BrokerProcess::with`], started by a line of sh: `$0` is the program and `$@`
    /// its flags. For what a program cannot set for another, such as limits.
    ///
    /// # Panics
    ///
    /// As [`BrokerProcess::with`].
    pub fn by_shell<S: AsRef<str>>(line: &str, flags: impl IntoIterator<Item = S>) -> Self {
        BrokerProcess::new(Some(line.to_owned()), flags)
    }

    /// Where it listens first.
    pub fn endpoint(&self) -> &str {
        self.endpoints.first().expect("a broker listens somewhere")
    }

    /// Everywhere it listens, as its ready line has it.
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// Its process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Waits until it ends by itself, and gives its exit code.
    ///
    /// # Panics
    ///
    /// When it does not end, or is ended by a signal.
    pub fn exit_code(&mut self) -> i32 {
        let status = self.process.wait();
        status.code().unwrap_or_else(|| panic!("ended with {status}; log:\n{}", self.log()))
    }

    /// Starts it again with the same flags, once it has ended. On a TCP port that was
    /// left to the system it comes back elsewhere: give an ipc endpoint or a
    /// [`free_port`] where it has to be found again.
    pub fn start_again(&mut self) {
        self.process.kill();
        (self.process, self.endpoints) = start(self.shell.as_deref(), &self.flags);
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

impl Drop for BrokerProcess {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("---- log of the broker on {}\n{}----", self.endpoint(), self.log());
        }
    }
}

fn with_defaults<S: AsRef<str>>(flags: impl IntoIterator<Item = S>) -> Vec<String> {
    let mut flags: Vec<String> = flags.into_iter().map(|flag| flag.as_ref().to_owned()).collect();
    for default in ["--bind=tcp://127.0.0.1:*", "--heartbeat-interval-ms=60000"] {
        let key = default.split_inclusive('=').next().unwrap_or_default();
        if !flags.iter().any(|flag| flag.starts_with(key)) {
            flags.push(default.to_owned());
        }
    }
    flags
}

fn start(shell: Option<&str>, flags: &[String]) -> (Process, Vec<String>) {
    let mut program = command();
    if let Some(line) = shell {
        program = Command::new("/bin/sh");
        program.args(["-c", line]).arg(binary());
    }
    let process = Process::start(program.args(flags));
    let Some(line) = process.line() else {
        panic!("no ready line with {flags:?}; standard error:\n{}", process.log());
    };
    let endpoints = line.strip_prefix(READY).map(|text| text.split(' ').map(str::to_owned));
    let endpoints = endpoints.unwrap_or_else(|| panic!("not the ready line: {line:?}"));
    (process, endpoints.collect())
}

/// A TCP port of this machine that nobody listens on, below those that the system gives
/// to outgoing connections: a broker finds it free again after a restart, however many
/// peers try to connect meanwhile.
///
/// # Panics
///
/// When there is none.
pub fn free_port() -> u16 {
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let mut random = fastrand::Rng::new();
    let port = iter::repeat_with(|| random.u16(10_000..32_000)).take(1_000).find(free);
    port.expect("a free port")
}

/// What a run of `majordomo-broker` that ends by itself left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// All of standard output.
    pub stdout: String,
    /// All of standard error.
    pub stderr: String,
}

/// Runs `majordomo-broker` to its end.
///
/// # Panics
///
/// When it cannot be started.
pub fn run<S: AsRef<str>>(args: impl IntoIterator<Item = S>) -> Transcript {
    run_command(command().args(args.into_iter().map(|arg| arg.as_ref().to_owned())))
}

/// Runs a command to its end.
///
/// # Panics
///
/// When it cannot be started.
pub fn run_command(command: &mut Command) -> Transcript {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Transcript {
        code: output.status.code(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

/// The file of `majordomo-broker`; the other programs of this workspace stand beside
/// it.
///
/// # Panics
///
/// When it is missing and cannot be built.
pub fn binary() -> &'static Path {
    &BINARY
}

/// `majordomo-broker` without the configuration that may stand in this environment.
pub fn command() -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MAJORDOMO_BROKER_") {
            command.env_remove(name);
        }
    }
    command
}

/// Beside this program, where `cargo build --workspace --bins` puts it. It is built
/// here when it is missing; when it is there, it is taken as it is.
static BINARY: LazyLock<PathBuf> = LazyLock::new(|| {
    let this = std::env::current_exe().expect("this program has a path");
    let directory = this.parent().expect("a program stands in a directory");
    let directory = match directory.file_name() {
        Some(name) if name == "deps" => directory.parent().unwrap_or(directory),
        _ => directory,
    };
    let binary = directory.join(format!("majordomo-broker{}", std::env::consts::EXE_SUFFIX));
    if !binary.exists() {
        build(directory);
    }
    assert!(
        binary.exists(),
        "{} is missing: run cargo build --workspace --bins (and --release, if you test with it)",
        binary.display()
    );
    binary
});

fn build(directory: &Path) {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "-p", "majordomo-broker", "--bins"]);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    if directory.ends_with("release") {
        cargo.arg("--release");
    }
    eprintln!("{} has no majordomo-broker: running {cargo:?}", directory.display());
    let _ = cargo.status();
}
