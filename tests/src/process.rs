//! A child process: the lines it writes, signals, and its end. It is killed when
//! dropped.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{
    Pid, Resource, Rlimit, getrlimit, kill_process, set_parent_process_death_signal, setrlimit,
};

pub use rustix::process::Signal;

use crate::limit::{Deadline, LIMIT, until};

/// A child process whose standard output is read line by line, and whose standard
/// error is collected.
#[derive(Debug)]
pub struct Process {
    child: Child,
    lines: Receiver<String>,
    last_line: Option<String>,
    errors: Arc<Mutex<String>>,
    /// Ends when the process has closed its standard error.
    collector: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts `command`, with nothing to read on its standard input.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub fn start(command: &mut Command) -> Self {
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stdout = child.stdout.take().expect("standard output is a pipe");
        let mut stderr = child.stderr.take().expect("standard error is a pipe");
        let (line, lines) = channel();
        // Ends with the pipe, that is with the process.
        thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).all(|text| line.send(text).is_ok())
        });
        let errors = Arc::new(Mutex::new(String::new()));
        let collected = Arc::clone(&errors);
        let collector = thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = stderr.read(&mut bytes) {
                let text = String::from_utf8_lossy(bytes.get(..count).unwrap_or_default());
                collected.lock().expect("no panic while held").push_str(&text);
            }
        });
        Process { child, lines, last_line: None, errors, collector: Some(collector) }
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line of its standard output; `None` once it has closed it.
    ///
    /// # Panics
    ///
    /// When no line comes within [`LIMIT`].
    pub fn line(&self) -> Option<String> {
        match self.lines.recv_timeout(LIMIT) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                panic!("no line on standard output for {LIMIT:?}; standard error:\n{}", self.log())
            }
        }
    }

    /// What it has written to standard error so far.
    pub fn log(&self) -> String {
        self.errors.lock().expect("no panic while held").clone()
    }

    /// Waits until it has written `text` to standard error, and gives all it wrote.
    ///
    /// # Panics
    ///
    /// When it has not after [`LIMIT`].
    pub fn log_until(&self, text: &str) -> String {
        until(&format!("standard error has {text:?}; it is\n{}", self.log()), || {
            let log = self.log();
            log.contains(text).then_some(log)
        })
    }

    /// Sends a signal.
    ///
    /// # Panics
    ///
    /// When that fails, for example because the process has ended.
    pub fn signal(&self, signal: Signal) {
        let sent = kill_process(Pid::from_child(&self.child), signal);
        sent.unwrap_or_else(|error| panic!("cannot send {signal:?}: {error}"));
    }

    /// Ends it with SIGKILL, and waits until it has ended. Does nothing when it has.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until it ends by itself, and gives its exit status. All it wrote to
    /// standard error is then in [`Process::log`].
    ///
    /// # Panics
    ///
    /// When it has not ended after [`LIMIT`].
    pub fn wait(&mut self) -> ExitStatus {
        let status = self.wait_for(LIMIT);
        status.unwrap_or_else(|| {
            panic!("the process has not ended for {LIMIT:?}; log:\n{}", self.log())
        })
    }

    /// As [`Process::wait`], with another limit: `None` when it has not ended by then.
    /// Lines of standard output that nobody has read are forgotten but for the last.
    pub fn wait_for(&mut self, limit: Duration) -> Option<ExitStatus> {
        // A process that ends closes its standard output; so nobody has to ask again
        // and again whether it has ended.
        let deadline = Deadline::after(limit);
        loop {
            match self.lines.recv_timeout(deadline.left()) {
                Ok(line) => self.last_line = Some(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => return None,
            }
        }
        let status = self.child.wait().expect("a child can be waited for");
        if let Some(collector) = self.collector.take() {
            let _ = collector.join();
        }
        Some(status)
    }

    /// The last line that was there when [`Process::wait`] found its end.
    pub fn last_line(&self) -> Option<&str> {
        self.last_line.as_deref()
    }

    /// What it uses now; `None` when it has ended, and outside Linux.
    pub fn usage(&self) -> Option<Usage> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", self.id())).ok()?.count();
        Some(Usage { rss: kib * 1024, descriptors })
    }

    /// The memory it holds, in bytes: its resident set.
    ///
    /// # Panics
    ///
    /// When the system does not say: outside Linux, or when the process has ended.
    pub fn rss(&self) -> u64 {
        self.usage().unwrap_or_else(|| panic!("process {} says nothing", self.id())).rss
    }
}

/// Lets this process, and those it starts from now on, open as many descriptors as the
/// system allows it. Gives how many that are; `None` for no limit.
///
/// # Panics
///
/// When the system refuses that.
pub fn raise_descriptors() -> Option<u64> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit { current: maximum, maximum };
    setrlimit(Resource::Nofile, limit).expect("up to its maximum");
    maximum
}

/// Has the system kill this process when the one that started it ends: a run that is
/// interrupted leaves nobody behind.
///
/// # Panics
///
/// When the system refuses that.
pub fn end_with_parent() {
    set_parent_process_death_signal(Some(Signal::KILL)).expect("Linux has it");
}

/// What a process uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Its resident set, in bytes.
    pub rss: u64,
    /// File descriptors that it has open.
    pub descriptors: usize,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
