//! The `majordomo` command: reads its command line, carries it out, and says by its
//! exit code how it went. Each command has a file of its own.

mod args;
mod asking;
mod bench;
mod call;
mod command;
mod interrupt;
mod keygen;
mod security;
mod status;
mod units;
mod work;

use std::io::{self, Write};
use std::process::ExitCode;

use args::{Command, Invocation, Task};

const NAME: &str = "majordomo";
const FAILED: u8 = 1;
const WRONG_USAGE: u8 = 2;

fn main() -> ExitCode {
    let variable = std::env::var_os(args::BROKER_VARIABLE);
    let done = match args::parse(std::env::args_os(), variable) {
        Ok(Task::Run(invocation)) => run(&invocation),
        Ok(Task::Print(text)) => print(&text),
        Err(error) => Err(error.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<ReaderGone>() => ExitCode::SUCCESS,
        Err(error) => {
            note(format_args!("{error:#}"));
            if let Some(interrupt::Interrupted(signal)) = error.downcast_ref() {
                interrupt::end(*signal);
            }
            ExitCode::from(if is_wrong_usage(&error) { WRONG_USAGE } else { FAILED })
        }
    }
}

fn run(invocation: &Invocation) -> anyhow::Result<()> {
    let Invocation { brokers, shown, verbose, command } = invocation;
    let mut logger = env_logger::Builder::new();
    match verbose {
        true => logger.filter_level(log::LevelFilter::Debug),
        // What a client warns of is told once more by the error that the call ends with,
        // or another broker has made up for it.
        false => logger
            .filter_level(log::LevelFilter::Warn)
            .filter_module("majordomo_client", log::LevelFilter::Error),
    };
    logger.format_timestamp_millis().try_init()?;
    let security = || shown.read(|name| std::env::var_os(name));
    match command {
        Command::Call(call) => call::run(call, brokers, security()?, *verbose),
        Command::Work(work) => work::run(work, brokers, security()?),
        Command::Status(status) => status::run(status, brokers, security()?),
        Command::Bench(bench) => bench::run(bench, brokers, &security()?),
        Command::Keygen(keygen) => keygen::run(keygen),
        // Printed without being run.
        Command::Completions { .. } => Ok(()),
    }
}

/// Whether the command line asked for what cannot be, as the SDKs found.
fn is_wrong_usage(error: &anyhow::Error) -> bool {
    use majordomo_client::{CallError, Error as Client};
    use majordomo_worker::Error as Worker;
    error.is::<args::UsageError>()
        || matches!(
            error.downcast_ref(),
            Some(Client::ServiceName(_) | Client::Setting { .. } | Client::Endpoint(_))
        )
        || matches!(
            error.downcast_ref(),
            Some(CallError::ServiceName(_) | CallError::Setting { .. } | CallError::Endpoint(_))
        )
        || matches!(error.downcast_ref(), Some(Worker::Setting { .. } | Worker::Endpoint(_)))
}

/// Nobody reads standard output any more, which is no failure of ours.
#[derive(Debug)]
struct ReaderGone;

impl std::fmt::Display for ReaderGone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("nobody reads standard output")
    }
}

impl std::error::Error for ReaderGone {}

/// Writes to standard output, at once.
fn print(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(ReaderGone.into()),
        Err(error) => Err(anyhow::Error::new(error).context("cannot write to standard output")),
        Ok(()) => Ok(()),
    }
}

/// Writes a line to standard error. If nobody reads it, the exit code still tells.
fn note(text: impl std::fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{NAME}: {text}");
}

/// Text of a peer as it may go to a terminal: without control characters that could
/// take it over.
fn printable(text: &str) -> String {
    let replaced = |c: char| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c };
    text.chars().map(replaced).collect()
}
