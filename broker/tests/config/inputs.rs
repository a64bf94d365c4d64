//! What tests give and look at: the text of a file, a command line in an environment, and
//! every key with a value of its own.

use std::fs;
use std::path::PathBuf;

use majordomo_broker::args::{self, Command};
use majordomo_broker::config::{Config, KEYS, Key};

pub(crate) const NO_ENVIRONMENT: [(&str, &str); 0] = [];

/// Reads a file of this text: `expected` is the error it gives, or `ok`.
#[track_caller]
pub(crate) fn check(toml: &str, expected: &str) {
    let result = Config::builder().toml("broker.toml", toml).build();
    let found = result.map_or_else(|error| error.to_string(), |_| "ok".to_owned());
    assert_eq!(found, expected, "for\n{toml}");
}

/// Runs this command line in this environment: `expected` is the error, or `ok`.
#[track_caller]
pub(crate) fn check_process(flags: &[&str], environment: &[(&str, &str)], expected: &str) {
    let found = match parse(flags, environment) {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.to_string(),
    };
    assert_eq!(found, expected, "for {flags:?} in {environment:?}");
}

pub(crate) fn parse(
    flags: &[&str],
    environment: &[(&str, &str)],
) -> Result<Command, args::UsageError> {
    args::parse(
        ["majordomo-broker"].iter().chain(flags),
        environment.iter().map(|(key, value)| (key.to_string(), value.to_string())),
    )
}

#[track_caller]
pub(crate) fn run(flags: &[&str], environment: &[(&str, &str)]) -> Config {
    match parse(flags, environment) {
        Ok(Command::Run(config)) => *config,
        other => panic!("{flags:?} gives {other:?}"),
    }
}

#[track_caller]
pub(crate) fn printed(flags: &[&str], environment: &[(&str, &str)]) -> String {
    match parse(flags, environment) {
        Ok(Command::Print(text)) => text,
        other => panic!("{flags:?} gives {other:?}"),
    }
}

/// A path of this process and this test alone; nothing is there.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("majordomo-config-{}-{name}", std::process::id()));
    let _ = fs::remove_file(&path);
    path
}

/// What else has to be set so that `key` can be `number` without a contradiction.
pub(crate) fn companions(key: &Key, number: u64) -> Vec<(&'static str, u64)> {
    let above = key.at_most().and_then(Key::find).into_iter();
    let above = above.map(|bound| (bound.name(), *bound.range().expect("a number").end()));
    let below = KEYS.iter().filter(|other| other.at_most() == Some(key.name()));
    let below = below.map(|other| (other.name(), number.min(*other.range().expect("one").end())));
    above.chain(below).collect()
}

/// Every number key at one more than its default, every other key at another value.
pub(crate) fn all_changed() -> Vec<(&'static Key, String)> {
    let changed = |key: &Key| match key.name() {
        "bind" => r#"["ipc:///tmp/m", "tcp://[::1]:*"]"#.to_owned(),
        "bind_curve" => r#"["tcp://127.0.0.1:1"]"#.to_owned(),
        "bind_plain" => r#"["tcp://127.0.0.1:2", "ipc:///tmp/p"]"#.to_owned(),
        "ipc_mode" => r#""0660""#.to_owned(),
        "curve_secret_key_file" => r#""/etc/majordomo/broker.key""#.to_owned(),
        "rights_file" => r#""/etc/majordomo/rights.toml""#.to_owned(),
        "log" => r#""warn,majordomo_broker::server=debug""#.to_owned(),
        "log_format" => r#""json""#.to_owned(),
        "trace" | "error_replies" | "allow_insecure" => "true".to_owned(),
        _ => (key.default().as_integer().expect("a number") + 1).to_string(),
    };
    KEYS.iter().map(|key| (key, changed(key))).collect()
}
