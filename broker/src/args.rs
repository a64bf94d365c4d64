//! The command line of `majordomo-broker`: flags, help, and what they ask for.
//!
//! The flags come from the table of keys. Everything is passed in and nothing is
//! printed here, so the whole command line can be tried without a process.

use std::ffi::OsString;
use std::sync::LazyLock;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches};

use crate::config::{Config, ConfigBuilder, ConfigError, KEYS, Key};
use crate::security::{Credentials, SecurityError};

/// What the process is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Run a broker.
    Run(Box<Config>),
    /// Write this text to standard output and exit with 0.
    Print(String),
}

/// A command line or a configuration that cannot be followed. The process says so
/// behind its name on standard error and exits with 2.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UsageError {
    /// The flags are wrong.
    #[error("{0}")]
    Flags(String),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The configuration was to be checked, and a file that it names is wrong.
    #[error(transparent)]
    Security(#[from] SecurityError),
}

/// Reads the command line and the environment, and the file that `--config` names.
/// The first of `args` is the program's name. Blocks while it reads that file, and with
/// `--check-config` those that the configuration names.
///
/// ```
/// use majordomo_broker::args::{self, Command};
///
/// let environment = [("MAJORDOMO_BROKER_HEARTBEAT_LIVENESS", "5")];
/// let command = args::parse(["majordomo-broker", "--bind", "inproc://x"], environment)?;
/// let Command::Run(config) = command else { panic!("no text was asked for") };
/// assert_eq!(config.heartbeat_liveness(), 5);
/// # Ok::<(), args::UsageError>(())
/// ```
///
/// # Errors
///
/// [`UsageError`], which names the flag, file or variable, its value, and the rule.
pub fn parse<A, K, V>(
    args: impl IntoIterator<Item = A>,
    environment: impl IntoIterator<Item = (K, V)>,
) -> Result<Command, UsageError>
where
    A: Into<OsString> + Clone,
    K: Into<OsString>,
    V: Into<OsString>,
{
    let matches = match command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => {
            let text = error.render().to_string();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(Command::Print(text)),
                _ => {
                    Err(UsageError::Flags(text.trim_start_matches("error: ").trim_end().to_owned()))
                }
            };
        }
    };
    let mut builder = Config::builder();
    if let Some(path) = matches.get_one::<OsString>("config") {
        builder = builder.file(path);
    }
    let config = flags(builder.environment(environment), &matches).build()?;
    if matches.get_flag("print-config") {
        return Ok(Command::Print(config.to_toml()));
    }
    if matches.get_flag("check-config") {
        Credentials::load(&config)?;
        let endpoints: Vec<&str> = config.endpoints().map(|bind| bind.as_str()).collect();
        return Ok(Command::Print(format!("configuration ok, binds {}\n", endpoints.join(", "))));
    }
    Ok(Command::Run(Box::new(config)))
}

/// The flags that were given, over what `builder` has.
fn flags(builder: ConfigBuilder, matches: &ArgMatches) -> ConfigBuilder {
    KEYS.iter().fold(builder, |builder, key| match matches.get_many::<String>(key.name()) {
        Some(texts) => builder.flag(key, texts.map(String::as_str)),
        None => builder,
    })
}

const ABOUT: &str = "\
The Majordomo broker: clients ask for a service by name, and the broker hands each
request to one of the workers registered for that name.";

const LONG_ABOUT: &str = "\
The Majordomo broker: clients ask for a service by name, and the broker hands each
request to one of the workers registered for that name. Heartbeats and the ends of
connections tell which workers live; the request of a worker that is lost goes to another.

It speaks MDP/0.1 (RFC 7), MDP/0.2 (RFC 18), MDP/1.0 and MMI (RFC 8) on every endpoint.";

const AFTER_HELP: &str = "\
Example:
  majordomo-broker --bind tcp://127.0.0.1:5555 --bind ipc:///run/majordomo/broker

  Then, elsewhere: `majordomo work count -- wc -w`, `majordomo call count README.md`.

Configuration:
  A key is looked for in the flags, then in the environment, then in the file that
  --config names; else it has its default. --print-config shows every key, what it is
  and the value in effect, as a file:
    majordomo-broker --print-config > broker.toml
    majordomo-broker --config broker.toml --check-config

Signals:
  SIGTERM, SIGINT   Stop: take no new request, tell workers with DISCONNECT, give
                    running requests --shutdown-ms, then exit with 0.
                    A second signal stops at once.
  SIGHUP            Read the rights file again, if endpoints use CURVE or PLAIN;
                    else a line of log.

Exit codes:
  0   stopped as asked
  1   failed, for example because an endpoint is in use
  2   wrong usage or configuration

Documentation: docs/operating.md says what the log lines and counters mean, docs/guide.md
leads from nothing to a worker and a client.";

/// The flags of [`KEYS`]: clap wants names that last as long as the process.
static FLAGS: LazyLock<Vec<String>> = LazyLock::new(|| KEYS.iter().map(Key::flag).collect());

/// The command line as clap has it.
pub fn command() -> clap::Command {
    let switch = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    clap::Command::new("majordomo-broker")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .long_about(LONG_ABOUT)
        .after_long_help(AFTER_HELP)
        .after_help("--help says more.")
        .max_term_width(100)
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .value_parser(clap::value_parser!(OsString))
                .help("Read keys and values from this TOML file"),
        )
        .arg(switch("check-config", "Check the configuration, print a line, exit with 0 or 2"))
        .arg(
            switch("print-config", "Print the configuration as a commented file and exit")
                .conflicts_with("check-config"),
        )
        .args(KEYS.iter().zip(FLAGS.iter()).map(|(key, flag)| arg(key, flag)))
}

/// The flag of a key. Its value is taken as it is: the table says what is wrong.
fn arg(key: &'static Key, flag: &'static str) -> Arg {
    let again = if key.is_list() { " Repeat the flag for several." } else { "" };
    let arg = Arg::new(key.name())
        .long(flag)
        .help_heading(key.heading())
        .help(key.about().trim_end_matches('.'))
        .long_help(format!(
            "{} {}{again}\n[values: {}]\n[default: {}] [env: {}]",
            key.about(),
            key.reason(),
            key.rule(),
            key.default(),
            key.variable()
        ));
    if key.is_switch() {
        // `--trace` alone is `--trace=true`; `--trace=false` overrides a file.
        arg.num_args(0..=1).require_equals(true).default_missing_value("true").value_name("BOOL")
    } else if key.is_list() {
        arg.action(ArgAction::Append).value_name("ENDPOINT")
    } else if key.range().is_some() {
        arg.allow_negative_numbers(true).value_name("N")
    } else {
        arg.value_name("TEXT")
    }
}
