//! One run of a command: input in, output out, and an end in every case.
//!
//! Four threads each wait for one thing (room in the command's input, its output, its
//! errors, its end), because each can block for ever; what they find comes together
//! in [`Task::run`], which alone looks at the time. The command leads a process group
//! of its own, so that it ends with all that it started, and so that the terminal's
//! Ctrl-C reaches the worker alone.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

/// Bytes of output that are handed on at once.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// The most of a command's errors that a failure tells: its end. With the exit code
/// before it, it stays below the limit that the worker SDK has for such a text.
const ERRORS_BYTES_MAX: usize = 900;

/// How often a command that runs looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(100);

/// How long a command that has ended may be outlived by its output and its errors: a
/// process that left its group may hold them open.
const OPEN_MAX: Duration = Duration::from_millis(200);

/// A program that exists, and its arguments.
#[derive(Debug)]
pub(crate) struct Program {
    path: PathBuf,
    words: Vec<OsString>,
}

impl Program {
    /// Looks for the first word as a shell does: in the directories of PATH, unless it
    /// has a slash.
    pub(crate) fn find(words: &[OsString]) -> anyhow::Result<Self> {
        let name = words.first().map_or(OsStr::new(""), OsString::as_os_str);
        let shown = name.display();
        let has_slash = name.as_encoded_bytes().contains(&b'/');
        let candidates: Vec<PathBuf> = match std::env::var_os("PATH") {
            _ if name.is_empty() => Vec::new(),
            _ if has_slash => vec![name.into()],
            Some(path) => std::env::split_paths(&path).map(|folder| folder.join(name)).collect(),
            None => Vec::new(),
        };
        if let Some(path) = candidates.iter().find(|path| is_executable(path)) {
            return Ok(Program { path: path.clone(), words: words.to_vec() });
        }
        match candidates.iter().find(|path| path.exists()) {
            Some(path) => bail!("cannot run {shown}: {} is not executable", path.display()),
            None if has_slash => bail!("cannot run {shown}: there is no such file"),
            None => bail!("cannot run {shown}: no directory of PATH has it"),
        }
    }
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// The process groups that run now, to be ended at once. They are named by their
/// leaders, none of which is reaped before it is taken out of here, so that no other
/// process can have its number.
#[derive(Debug)]
pub(crate) struct Children(Mutex<Option<HashSet<Pid>>>);

impl Default for Children {
    fn default() -> Self {
        Children(Mutex::new(Some(HashSet::new())))
    }
}

impl Children {
    /// Kills all, and lets none start any more.
    pub(crate) fn end_all(&self) {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        groups.take().into_iter().flatten().for_each(kill);
    }

    /// How many commands run.
    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(0, HashSet::len)
    }

    fn spawn(&self, command: &mut Command) -> anyhow::Result<Child> {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(groups) = &mut *groups else { bail!("the worker has stopped") };
        let child = command.spawn()?;
        groups.insert(Pid::from_child(&child));
        Ok(child)
    }

    /// Kills what is left of a group, unless that was done.
    fn end(&self, group: Pid) {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if groups.as_mut().is_some_and(|groups| groups.remove(&group)) {
            kill(group);
        }
    }
}

fn kill(group: Pid) {
    // It fails when all have ended already.
    let _ = kill_process_group(group, Signal::KILL);
}

/// What is taken of a command's output.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Output {
    /// Pieces of any size, so many bytes in all.
    Whole(usize),
    /// A line a piece, so many bytes each.
    Lines(usize),
}

enum Event {
    Output(Vec<u8>),
    OutputEnd,
    Errors(Vec<u8>),
    ErrorsEnd,
    Exited,
}

/// A command that runs. Dropped, it is killed, and its group with it.
pub(crate) struct Task<'a> {
    child: Child,
    children: &'a Children,
    events: Receiver<Event>,
    output: Output,
}

impl<'a> Task<'a> {
    /// Starts the program and gives it its input.
    pub(crate) fn start(
        program: &Program,
        environment: [(&str, &str); 2],
        input: Vec<u8>,
        output: Output,
        children: &'a Children,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(&program.path);
        if let Some((name, arguments)) = program.words.split_first() {
            command.arg0(name).args(arguments);
        }
        command.envs(environment).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = children
            .spawn(&mut command)
            .with_context(|| format!("cannot run {}", program.path.display()))?;
        let (found, events) = mpsc::sync_channel(4);
        // From here on it is killed if something is refused.
        let mut task = Task { child, children, events, output };
        task.listen(input, &found).context("cannot start a thread")?;
        Ok(task)
    }

    fn listen(&mut self, input: Vec<u8>, found: &SyncSender<Event>) -> io::Result<()> {
        let group = Pid::from_child(&self.child);
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            thread::Builder::new().name(name.to_owned()).spawn(body).map(drop)
        };
        if let Some(mut stdin) = self.child.stdin.take() {
            spawn(
                "stdin",
                Box::new(move || {
                    // A command need not read what it is asked.
                    let _ = stdin.write_all(&input);
                }),
            )?;
        }
        if let Some(stdout) = self.child.stdout.take() {
            let (found, output) = (found.clone(), self.output);
            spawn("stdout", Box::new(move || read_output(stdout, output, &found)))?;
        }
        if let Some(stderr) = self.child.stderr.take() {
            let found = found.clone();
            spawn("stderr", Box::new(move || pass_on_errors(stderr, &found)))?;
        }
        let found = found.clone();
        let wait = move || {
            // Reaping is left to `end`: until then nobody else gets the number.
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while matches!(waitid(WaitId::Pid(group), options), Err(Errno::INTR)) {}
            let _ = found.send(Event::Exited);
        };
        spawn("wait", Box::new(wait))
    }

    /// Hands on the output, until the command has ended and all it wrote has come.
    /// What it left running in its group is killed then. `remaining` is the time it has
    /// left, if there is a limit; `is_wanted`, whether anybody waits for it.
    ///
    /// # Errors
    ///
    /// When the command fails, writes too much or takes too long, when nobody waits for
    /// it any more, and when `take` refuses a piece.
    pub(crate) fn run(
        mut self,
        remaining: impl Fn() -> Option<Duration>,
        is_wanted: impl Fn() -> bool,
        mut take: impl FnMut(Vec<u8>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let (mut writing, mut running, mut erring) = (true, true, true);
        let mut errors = Vec::new();
        let mut bytes = 0usize;
        while writing || running {
            if running && !is_wanted() {
                bail!("nobody waits for the reply: the command was killed");
            }
            let left = if running { remaining() } else { None };
            let look = if running { LOOK } else { OPEN_MAX };
            let wait = left.map_or(look, |left| left.min(look));
            match self.events.recv_timeout(wait) {
                Ok(Event::Output(piece)) => {
                    self.check(&mut bytes, &piece)?;
                    take(piece)?;
                }
                Ok(Event::OutputEnd) => writing = false,
                Ok(Event::Errors(piece)) => keep_end(&mut errors, &piece),
                Ok(Event::ErrorsEnd) => erring = false,
                Ok(Event::Exited) => {
                    running = false;
                    self.children.end(Pid::from_child(&self.child));
                }
                // Somebody who left the group holds the output open.
                Err(RecvTimeoutError::Timeout) if !running => break,
                Err(RecvTimeoutError::Timeout) if left == Some(wait) => {
                    bail!("time limit passed: the command was killed")
                }
                Err(RecvTimeoutError::Timeout) => {}
                // No thread is left to say anything.
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = self.end()?;
        if status.success() {
            return Ok(());
        }
        while erring {
            match self.events.recv_timeout(OPEN_MAX) {
                Ok(Event::Errors(piece)) => keep_end(&mut errors, &piece),
                Ok(_) | Err(_) => erring = false,
            }
        }
        bail!("{}", failure(status, &errors))
    }

    fn check(&self, bytes: &mut usize, piece: &[u8]) -> anyhow::Result<()> {
        let (what, bytes_max) = match self.output {
            Output::Whole(bytes_max) => {
                *bytes += piece.len();
                ("reply", bytes_max)
            }
            Output::Lines(bytes_max) => {
                *bytes = piece.len();
                ("line", bytes_max)
            }
        };
        if *bytes > bytes_max {
            bail!("a {what} of more than {bytes_max} bytes: the command was killed");
        }
        Ok(())
    }

    /// Kills what is left of the group, and reaps the command.
    fn end(&mut self) -> io::Result<ExitStatus> {
        self.children.end(Pid::from_child(&self.child));
        self.child.wait()
    }
}

impl Drop for Task<'_> {
    fn drop(&mut self) {
        // Nothing is left to be done if it cannot be waited for.
        let _ = self.end();
    }
}

/// Sends the output in pieces, until it ends or nobody wants it.
fn read_output(source: impl Read, output: Output, found: &SyncSender<Event>) {
    let mut source = BufReader::with_capacity(PIECE_BYTES_MAX, source);
    loop {
        let mut piece = Vec::new();
        match output {
            // What is there, without waiting for more: it may never come.
            Output::Whole(_) => match source.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // An error is the end of what can be read.
                Err(_) => {}
                Ok(bytes) => {
                    piece = bytes.to_vec();
                    source.consume(piece.len());
                }
            },
            Output::Lines(bytes_max) => {
                // One byte more, so that a line over the limit shows itself.
                let bytes_max = u64::try_from(bytes_max).unwrap_or(u64::MAX);
                let mut line = source.by_ref().take(bytes_max.saturating_add(1));
                let _ = line.read_until(b'\n', &mut piece);
            }
        }
        let event = if piece.is_empty() { Event::OutputEnd } else { Event::Output(piece) };
        let is_end = matches!(event, Event::OutputEnd);
        if found.send(event).is_err() || is_end {
            return;
        }
    }
}

/// Writes a command's errors to our own, and sends them; goes on when nobody wants
/// them any more.
fn pass_on_errors(mut source: impl Read, found: &SyncSender<Event>) {
    let mut buffer = [0; 4096];
    loop {
        match source.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(count @ 1..) => {
                let piece = buffer.get(..count).unwrap_or_default();
                let _ = io::stderr().lock().write_all(piece);
                let _ = found.send(Event::Errors(piece.to_vec()));
            }
            Ok(0) | Err(_) => {
                let _ = found.send(Event::ErrorsEnd);
                return;
            }
        }
    }
}

/// Adds to `errors`, and forgets what is too far from their end.
fn keep_end(errors: &mut Vec<u8>, piece: &[u8]) {
    errors.extend_from_slice(piece);
    errors.drain(..errors.len().saturating_sub(ERRORS_BYTES_MAX));
}

/// What a client is told of a command that failed.
fn failure(status: ExitStatus, errors: &[u8]) -> String {
    let mut text = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    };
    let errors = String::from_utf8_lossy(errors);
    let errors = errors.trim();
    // What is no UTF-8 has grown.
    let begin = errors.ceil_char_boundary(errors.len().saturating_sub(ERRORS_BYTES_MAX));
    let end = errors.get(begin..).unwrap_or_default();
    if !end.is_empty() {
        text.push_str(": ");
        text.push_str(end);
    }
    text
}
