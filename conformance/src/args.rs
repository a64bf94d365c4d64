//! The command line: flags, help, and what they ask for.

use std::time::Duration;

use clap::{ArgGroup, Parser};
use majordomo_protocol::Version;

const AFTER_HELP: &str = "\
Every check uses service names of its own, so it disturbs neither the broker's users
nor another check. Checks of heartbeats need the broker's interval: it is learned where
MDP/1.0 is spoken, and must be given by --heartbeat and --liveness elsewhere. A version
that the broker does not speak is one line and no failure. Checks that send invalid
messages come last; leave them out by --skip invalid.

A worker under test (--worker) serves one service on one connection; it is asked, told
to leave, and left in silence, and so has to come back twice. A client under test
(--client) calls one service again and again, one call after the other, each with
another body; its second call is not answered at first, and so has to be tried again.

A check that is `not tried` could not begin, since something before it failed; one that
is `left out` needs an option that was not given.

Durations are written 500ms or 2.5s.

Exit codes:
  0  no MUST and no clause of MDP/1.0 failed, and none of them was `not tried`
  1  at least one of them failed or was `not tried`
  2  wrong usage
  3  nothing was tried: nobody answered, or no check has the name";

/// Tries a Majordomo broker, worker or client clause by clause: ZeroMQ RFC 7, RFC 18,
/// RFC 8, and MDP/1.0.
#[derive(Debug, Parser)]
#[command(
    name = "majordomo-conformance",
    version,
    after_help = AFTER_HELP,
    group(ArgGroup::new("subject").args(["worker", "client"]))
)]
pub(crate) struct Args {
    /// Where the broker is; with --worker or --client, where to listen for one
    #[arg(required_unless_present = "list")]
    pub(crate) endpoint: Option<String>,
    /// Be the broker of a worker, and check what it sends
    #[arg(long)]
    pub(crate) worker: bool,
    /// Be the broker of a client, and check what it sends
    #[arg(long)]
    pub(crate) client: bool,
    /// Print the checks, their levels and clauses, and try none
    #[arg(long)]
    pub(crate) list: bool,
    /// Try only checks with this text in name, section or level (MUST, SHOULD, MDP/1.0)
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Vec<String>,
    /// Leave out checks with this text in name, section or level
    #[arg(long, value_name = "TEXT")]
    pub(crate) skip: Vec<String>,
    /// The versions to try, separated by commas
    #[arg(long, value_delimiter = ',', value_parser = version, default_value = "0.1,0.2,1.0")]
    pub(crate) protocol: Vec<Version>,
    /// How long to wait for what must come
    #[arg(long, value_parser = duration, default_value = "3s", value_name = "TIME")]
    pub(crate) timeout: Duration,
    /// How long to wait for what must not come
    #[arg(long, value_parser = duration, default_value = "500ms", value_name = "TIME")]
    pub(crate) quiet: Duration,
    /// The interval of heartbeats [default: the broker's WELCOME; with --worker: 2500ms]
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub(crate) heartbeat: Option<Duration>,
    /// How many intervals of silence make a peer lost
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..=100), default_value_t = 3, value_name = "N")]
    pub(crate) liveness: u32,
    /// How long the broker queues a request; without it, that is not tried
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub(crate) expiry: Option<Duration>,
    /// How long a worker or client under test may take to begin, to come back, to try again
    #[arg(long, value_parser = duration, default_value = "30s", value_name = "TIME")]
    pub(crate) wait: Duration,
    /// The body of the requests that a worker under test gets
    #[arg(long, default_value = "conformance", value_name = "TEXT")]
    pub(crate) body: String,
    /// How many checks run at a time
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256), default_value_t = 48, value_name = "N")]
    pub(crate) jobs: u16,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

impl Args {
    /// Whether a check was asked for; `matches` says whether it contains a text.
    pub(crate) fn wants(&self, matches: impl Fn(&str) -> bool) -> bool {
        let any = |texts: &[String]| texts.iter().any(|text| matches(text));
        (self.only.is_empty() || any(&self.only)) && !any(&self.skip)
    }
}

fn version(text: &str) -> Result<Version, String> {
    let all = [Version::V0_1, Version::V0_2, Version::V1_0];
    let found = all.into_iter().find(|version| version.as_str() == text);
    found.ok_or_else(|| "it must be 0.1, 0.2 or 1.0".to_owned())
}

/// 1 ms to 1 h: no wait of this program is without end.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s').ok_or("it must end in ms or s")?, 1.0),
    };
    let number: f64 = number.parse().map_err(|_| "it must be a number and ms or s")?;
    let seconds = number * unit;
    if (0.001..=3_600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("it must be 1ms to 3600s".to_owned())
    }
}
