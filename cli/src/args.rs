//! The command line of `majordomo`: commands, flags, help, and what they ask for.
//!
//! Everything is passed in and nothing is printed here. Ranges that the SDKs check
//! are theirs to check; here a text becomes a value or a clear refusal.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum, ValueHint};
use majordomo_protocol::{ServiceName, Version};

use crate::security::Shown;
use crate::units::{duration, seconds, size};

/// The variable that names the brokers when no flag does.
pub(crate) const BROKER_VARIABLE: &str = "MAJORDOMO_BROKER";

/// What the process is to do.
#[derive(Debug)]
pub(crate) enum Task {
    /// Carry out a command.
    Run(Box<Invocation>),
    /// Write this to standard output.
    Print(Vec<u8>),
}

/// A command and what it has in common with the others.
#[derive(Debug)]
pub(crate) struct Invocation {
    /// Endpoints of brokers; none for the default.
    pub(crate) brokers: Vec<String>,
    /// What they are shown.
    pub(crate) shown: Shown,
    pub(crate) verbose: bool,
    pub(crate) command: Command,
}

/// A command line that cannot be followed.
#[derive(Debug)]
pub(crate) struct UsageError(pub(crate) String);

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// Reads the command line. The first of `args` is the program's name; `variable` is
/// the value of [`BROKER_VARIABLE`].
pub(crate) fn parse(
    args: impl IntoIterator<Item = OsString>,
    variable: Option<OsString>,
) -> Result<Task, UsageError> {
    let line = match CommandLine::try_parse_from(args) {
        Ok(line) => line,
        Err(error) => {
            let text = error.render().to_string();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                    Ok(Task::Print(text.into_bytes()))
                }
                _ => Err(UsageError(text.trim_start_matches("error: ").trim_end().to_owned())),
            };
        }
    };
    let within = match &line.command {
        Command::Call(call) => &call.common,
        Command::Work(work) => &work.common,
        Command::Status(status) => &status.common,
        Command::Bench(bench) => &bench.common,
        Command::Keygen(_) => &Common::default(),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut CommandLine::command(), "majordomo", &mut script);
            return Ok(Task::Print(script));
        }
    };
    let mut brokers = [&line.common.brokers[..], &within.brokers[..]].concat();
    if brokers.is_empty() {
        brokers = brokers_of(variable)?;
    }
    let verbose = line.common.verbose || within.verbose;
    let shown = line.common.shown.and(&within.shown);
    Ok(Task::Run(Box::new(Invocation { brokers, shown, verbose, command: line.command })))
}

/// The brokers that the variable names, separated by commas.
fn brokers_of(variable: Option<OsString>) -> Result<Vec<String>, UsageError> {
    let Some(value) = variable.filter(|value| !value.is_empty()) else {
        return Ok(Vec::new());
    };
    let text = value.into_string().map_err(|value| {
        UsageError(format!("{BROKER_VARIABLE} is {value:?}: it must be endpoints in UTF-8"))
    })?;
    Ok(text.split(',').map(|endpoint| endpoint.trim().to_owned()).collect())
}

const AFTER_HELP: &str = "\
Example, in three terminals:
  majordomo-broker
  majordomo work count -- wc -w
  majordomo call count README.md

The broker is the one that --broker names, before or after the command; else
MAJORDOMO_BROKER, where several are separated by commas; else tcp://127.0.0.1:5555.
With several, `call` and `status` try one after the other, and `work` serves all.

A broker that wants a key is shown one by --server-key and --key-file, one that wants a
password by --user and --password-file; each has a variable too.

Durations are written 500ms, 2s, 1.5m or 1h; a number alone is seconds. Sizes are
written 4096, 64KiB, 5MiB or 1GiB.

Exit codes:
  0   done
  1   failed: no broker, no reply in time, or the service answered that it failed
  2   wrong usage
Interrupted it ends by the signal, which a shell shows as 130 or 143.";

/// Call the services of a Majordomo broker, offer new ones, and see what it does.
///
/// Clients ask a broker for a service by name, and it hands each request to one of the
/// workers registered for that name. This command speaks MDP/1.0, and with --protocol
/// MDP/0.1 (ZeroMQ RFC 7) or MDP/0.2 (RFC 18), for brokers of another make.
#[derive(Debug, Parser)]
#[command(
    name = "majordomo",
    version,
    // A missing command is an error like others, and not a help text in its place.
    arg_required_else_help = false,
    max_term_width = 100,
    after_help = "--help says more.",
    after_long_help = AFTER_HELP
)]
struct CommandLine {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Call(Call),
    Work(Work),
    Status(Status),
    Bench(Bench),
    Keygen(Keygen),
    /// Print the completions of a shell.
    ///
    /// For bash, in ~/.bashrc: source <(majordomo completions bash)
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// What every command takes, and the command line before the command, too. The two
/// are added up, which clap's global flags would not do.
#[derive(Args, Debug, Default)]
pub(crate) struct Common {
    /// A broker: tcp://HOST:PORT or ipc://PATH. Repeat it for several. Default: those of
    /// MAJORDOMO_BROKER, else tcp://127.0.0.1:5555.
    #[arg(long = "broker", value_name = "ENDPOINT")]
    brokers: Vec<String>,
    #[command(flatten)]
    shown: Shown,
    /// Say on standard error what happens.
    #[arg(short, long)]
    verbose: bool,
}

/// How long and how often a broker is asked.
#[derive(Args, Debug)]
pub(crate) struct Asking {
    /// The longest that one try waits for a reply, or for its next part. Default: 10s.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    /// Tries before giving up. Default: 3, or once at each broker if there are more.
    #[arg(long, value_name = "N")]
    pub(crate) tries: Option<u32>,
    /// The version of the protocol to speak.
    #[arg(long, value_name = "VERSION", default_value = "1.0")]
    pub(crate) protocol: Protocol,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// MDP/0.1 (RFC 7), which has no partial replies.
    #[value(name = "0.1")]
    V0_1,
    /// MDP/0.2 (RFC 18), which has no errors.
    #[value(name = "0.2")]
    V0_2,
    /// MDP/1.0, which Majordomo's own broker speaks.
    #[value(name = "1.0")]
    V1_0,
}

impl From<Protocol> for Version {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::V0_1 => Version::V0_1,
            Protocol::V0_2 => Version::V0_2,
            Protocol::V1_0 => Version::V1_0,
        }
    }
}

const CALL_HELP: &str = "\
Examples:
  majordomo call count README.md
  tail -n 20 README.md | majordomo call count
  majordomo call echo --body hello
  majordomo call mmi.service --body count --timeout 500ms --tries 1

The last asks the broker itself: 200 says that `count` has a worker, 404 that it has none.

The reply goes to standard output as it came: bytes, with nothing between frames or parts,
each part as soon as it is there. --frames shows them apart.

When no worker registers for the service within a second the call fails, unless it is to
--wait for one. Ctrl-C takes the request back: the broker and the worker are told, and `majordomo
work` kills the command. When it lasts longer than a second, standard error says so if it is
a terminal, and also with -v.

A further try joins the one before it, and nothing runs twice while the broker lives; where a
worker was lost the request goes to another, unless it is to run --once.

When a worker failed, its text goes to standard error, and the exit code is 1. A worker of
MDP/0.1 or MDP/0.2 says so by a reply of two frames, 500 and a text; with --raw that is a
reply like any other.

In MDP/0.1 and MDP/0.2 a call always waits for a worker, Ctrl-C ends only this process, and
each try is a request of its own: --tries 1 is for services that must not run twice.";

/// Ask a service and print its reply.
///
/// The body of the request is FILE, or what standard input holds, or the text of --body.
#[derive(Args, Debug)]
#[command(after_long_help = CALL_HELP)]
pub(crate) struct Call {
    /// The name of the service.
    #[arg(value_parser = |name: &str| ServiceName::new(name))]
    pub(crate) service: ServiceName,
    /// The file whose content is the body; `-`, or none, is standard input.
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// A text that is the body. Repeated, each is a frame of it.
    #[arg(short, long, value_name = "TEXT", conflicts_with = "file", allow_hyphen_values = true)]
    pub(crate) body: Vec<OsString>,
    #[command(flatten)]
    pub(crate) asking: Asking,
    /// The largest body to send, and the largest reply, or part of one, to take.
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "64MiB")]
    pub(crate) bytes_max: usize,
    /// Print a line for each frame of the reply: PARTIAL or FINAL, its size, its start.
    #[arg(long)]
    pub(crate) frames: bool,
    /// Print a failure that came as a reply like any other.
    #[arg(long)]
    pub(crate) raw: bool,
    /// Wait for a worker where none is registered, instead of failing after a second.
    #[arg(long)]
    pub(crate) wait: bool,
    /// Never run it a second time: it fails when its worker is lost. MDP/1.0 only.
    #[arg(long)]
    pub(crate) once: bool,
    #[command(flatten)]
    common: Common,
}

const WORK_HELP: &str = "\
Examples:
  majordomo work count -- wc -w
  majordomo work count -n 4 --time-limit 30s -- wc -w
  majordomo work upper --stream -- tr a-z A-Z
  majordomo work hello -- sh -c 'echo \"request $MAJORDOMO_REQUEST says: $(cat)\"'

The command is run once for each request. Its standard input is the body, frames joined;
it need not read it. Its standard output is the reply; with --stream each line goes out as a
part as soon as it is written. Its standard error goes to this one's. It finds the service's
name in MAJORDOMO_SERVICE and the request's id, which the broker's log has too, in
MAJORDOMO_REQUEST.

An exit code other than 0 is a failure: the client gets the code and the end of standard
error instead of the reply.

The command runs in a process group of its own, so Ctrl-C does not reach it. Processes of
the group that are left when it has ended are killed, and all of them when a limit is passed
or nobody waits for the reply any more: the client took the request back, or its time is up.

SIGTERM or SIGINT stops the worker: it takes no new request and finishes what runs, for
--drain-limit at most. A second one kills what runs; the broker gives those requests to other
workers. SIGKILL leaves the commands that run to themselves.";

/// Make any program a worker: requests on its standard input, replies from its output.
#[derive(Args, Debug)]
#[command(after_long_help = WORK_HELP)]
pub(crate) struct Work {
    /// The name of the service to offer.
    #[arg(value_parser = |name: &str| ServiceName::new(name))]
    pub(crate) service: ServiceName,
    /// The command and its arguments, after `--`.
    #[arg(last = true, required = true, value_hint = ValueHint::CommandWithArguments)]
    pub(crate) command: Vec<OsString>,
    /// Requests to handle at once.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1)]
    pub(crate) concurrency: usize,
    /// How long a request may take, from its arrival, before its command is killed. Default:
    /// no limit.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) time_limit: Option<Duration>,
    /// Send each line as a part of the reply as soon as it is written.
    #[arg(long)]
    pub(crate) stream: bool,
    /// The largest request and reply to take; with --stream, the longest line. A command
    /// that writes more is killed, and its request fails.
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "64MiB")]
    pub(crate) bytes_max: usize,
    /// How long running requests may go on after the first signal.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "30s")]
    pub(crate) drain_limit: Duration,
    /// The time between heartbeats. The broker may change it; in MDP/0.1 and MDP/0.2 it
    /// must be set to the same.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "2.5s")]
    pub(crate) heartbeat_interval: Duration,
    /// Intervals of silence after which a broker is taken for lost.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) heartbeat_liveness: u32,
    /// The version of the protocol to speak.
    #[arg(long, value_name = "VERSION", default_value = "1.0")]
    pub(crate) protocol: Protocol,
    #[command(flatten)]
    common: Common,
}

const STATUS_HELP: &str = "\
Examples:
  majordomo status
  majordomo status count
  majordomo status --watch=5
  majordomo status --json

WAITING are requests without a worker, RUNNING those that a worker has. SILENT is the time
since a worker was last heard. Counters count since the broker's start; those at zero are
left out.

With SERVICE the exit code is 1 if the broker knows no such service: it has no worker and no
request.";

/// Show the services and workers of a broker.
///
/// Asks for `mmi.broker`, which is Majordomo's own: other brokers do not know it.
#[derive(Args, Debug)]
#[command(after_long_help = STATUS_HELP)]
pub(crate) struct Status {
    /// Show this service only.
    #[arg(value_parser = |name: &str| ServiceName::new(name))]
    pub(crate) service: Option<ServiceName>,
    /// Print the broker's report as it came, in JSON.
    #[arg(long, conflicts_with = "service")]
    pub(crate) json: bool,
    /// Repeat until interrupted, every 2 s if nothing else is said; a terminal is cleared
    /// before each.
    #[arg(long, value_name = "DURATION", value_parser = duration, num_args = 0..=1,
        require_equals = true, default_missing_value = "2s")]
    pub(crate) watch: Option<Duration>,
    #[command(flatten)]
    pub(crate) asking: Asking,
    #[command(flatten)]
    common: Common,
}

const BENCH_HELP: &str = "\
Examples:
  majordomo bench
  majordomo bench --broker tcp://broker.example:5555 --in-flight 1000
  majordomo bench --service count --body-bytes 4KiB --json

Without --service a worker in this process answers under a name of its own, so that the
broker alone is measured and nothing has to be set up. With it the workers of that service
are called for real.

The first number is how many requests a second are answered with --in-flight under way, the
second how long one takes that is alone: half of them took at most p50, 99 of 100 at most
p99. Each is measured for --seconds, through the same client that programs use, in MDP/1.0.
No request is tried twice. What fails is counted by its reason; the exit code is 1 if nothing
was answered.

On a machine that does other work the numbers are those of the rest of it.";

/// Measure a broker, or a service: requests per second and latency.
#[derive(Args, Debug)]
#[command(after_long_help = BENCH_HELP)]
pub(crate) struct Bench {
    /// The service to call. Default: an echo in this process.
    #[arg(long, value_name = "NAME", value_parser = |name: &str| ServiceName::new(name))]
    pub(crate) service: Option<ServiceName>,
    /// How long each of the two numbers is measured, 0.1 to 3600.
    #[arg(long, value_name = "N", value_parser = seconds, default_value = "3")]
    pub(crate) seconds: Duration,
    /// Requests under way at once, for the first number.
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) in_flight: usize,
    /// The size of each request.
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "16")]
    pub(crate) body_bytes: usize,
    /// Print one object in JSON; times are in microseconds.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    common: Common,
}

const KEYGEN_HELP: &str = "\
Examples:
  majordomo keygen broker
  majordomo keygen alice --client '*' --worker 'print.*' >> rights.toml

NAME.key holds both keys and is for its owner alone: `majordomo-broker
--curve-secret-key-file NAME.key`, `majordomo call --key-file NAME.key`. NAME.pub holds the
public one: `--server-key NAME.pub`. On standard output is the entry for the rights file of a
broker that NAME is to be let in by; without --client, --worker and --operator it may do
nothing yet.";

/// Make a CURVE key pair.
#[derive(Args, Debug)]
#[command(after_long_help = KEYGEN_HELP)]
pub(crate) struct Keygen {
    /// Where the files are to be, and whose they are.
    #[arg(default_value = "majordomo", value_hint = ValueHint::FilePath)]
    pub(crate) name: PathBuf,
    /// A service that it may call, or the beginning of names with a * behind it. Repeat it for
    /// several.
    #[arg(long, value_name = "SERVICE")]
    pub(crate) client: Vec<String>,
    /// The same for what it may serve.
    #[arg(long, value_name = "SERVICE")]
    pub(crate) worker: Vec<String>,
    /// It may ask for the state of the broker: `majordomo status`.
    #[arg(long)]
    pub(crate) operator: bool,
    /// Replace files that are there. What was locked by the old key stays locked.
    #[arg(long)]
    pub(crate) force: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invocation(line: &str, variable: Option<&str>) -> Invocation {
        let args = line.split_whitespace().map(OsString::from);
        match parse(args, variable.map(OsString::from)).unwrap() {
            Task::Run(invocation) => *invocation,
            Task::Print(_) => panic!("a command was expected"),
        }
    }

    #[test]
    fn clap_finds_no_contradiction() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn flags_before_and_after_the_command_add_up_and_override_the_variable() {
        let line = "majordomo --broker tcp://a:1 status --broker tcp://b:2 -v";
        let found = invocation(line, Some("tcp://c:3"));
        assert_eq!(found.brokers, ["tcp://a:1", "tcp://b:2"]);
        assert!(found.verbose);
        let found = invocation("majordomo status", Some("tcp://c:3, ipc://d"));
        assert_eq!(found.brokers, ["tcp://c:3", "ipc://d"]);
        assert!(invocation("majordomo status", Some("")).brokers.is_empty());
        assert!(invocation("majordomo status", None).brokers.is_empty());
    }

    #[test]
    fn everything_behind_two_dashes_is_the_command() {
        let found = invocation("majordomo work echo -n 2 -- cat -v --broker x", None);
        let Command::Work(work) = found.command else { panic!("work was asked for") };
        assert_eq!(work.command, ["cat", "-v", "--broker", "x"]);
        assert_eq!(work.concurrency, 2);
        assert!(found.brokers.is_empty() && !found.verbose);
    }
}
