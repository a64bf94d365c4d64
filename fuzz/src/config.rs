//! The configuration, from a TOML file and from the environment.
//!
//! A configuration that is taken keeps what the table of keys says, and printed as a file
//! it is read as the same. A refusal stands on one line and names where the fault is, the
//! key, the value and what was expected.

use majordomo_broker::config::{Config, ConfigBuilder, ConfigError, KEYS, Key, VARIABLE_PREFIX};
use toml::{Table, Value};

use crate::Target;

/// The configuration.
pub const TARGET: Target =
    Target { name: "config", run, show: |data| String::from_utf8_lossy(data).into_owned() };

fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let lines = text.matches('\n').count() + 1;
    check(lines, Config::builder().toml("a.toml", &text));
    // The same lines as variables, where every value is a text.
    let variable = |line: &str| {
        let (key, value) = line.split_once('=')?;
        Some((format!("{VARIABLE_PREFIX}{}", key.trim().to_uppercase()), value.trim().to_owned()))
    };
    check(lines, Config::builder().environment(text.lines().filter_map(variable)));
    // A later layer is put over an earlier one.
    check(
        lines,
        Config::builder().set("bytes_max", 4_096).toml("a.toml", &text).set("trace", true),
    );
}

fn check(lines: usize, builder: ConfigBuilder) {
    match builder.build() {
        Ok(config) => check_taken(&config),
        Err(error) => check_refusal(lines, &error),
    }
}

fn check_taken(config: &Config) {
    let printed = config.to_toml();
    let again = Config::builder().toml("printed.toml", &printed).build();
    assert_eq!(again.as_ref().ok(), Some(config), "{again:?} of\n{printed}");
    let table: Table = printed.parse().expect("what is printed is TOML");
    assert_eq!(table.len(), KEYS.len());
    for key in KEYS {
        let value = &table[key.name()];
        match value {
            Value::Integer(number) => {
                let bound = key.at_most().and_then(|bound| table[bound].as_integer());
                assert!(bound.is_none_or(|bound| *number <= bound), "{}", key.name());
                let number = u64::try_from(*number).expect("no key takes less than 0");
                assert!(key.range().expect("a number").contains(&number), "{}", key.name());
            }
            Value::Array(_) => assert!(key.is_list(), "{value}"),
            Value::Boolean(_) => assert!(key.is_switch(), "{value}"),
            _ => assert!(value.is_str() && key.range().is_none(), "{value}"),
        }
    }
    assert!(config.endpoints().next().is_some(), "it listens nowhere");
    assert_eq!(config.bind().len(), table["bind"].as_array().map_or(0, Vec::len));
    assert!(config.backlog() > 0 && config.io_threads() >= 0 && config.send_queue_max() > 0);
    assert!(config.heartbeat_interval_min() <= config.heartbeat_interval_max());
}

fn check_refusal(lines: usize, error: &ConfigError) {
    let text = error.to_string();
    assert!(!text.contains('\n'), "more than a line: {text:?}");
    let place = match error {
        ConfigError::UnknownKey { origin, key, nearest } => {
            assert!(
                Key::find(key).is_none()
                    && text.contains(&format!("unknown key {}", key.escape_debug()))
            );
            assert!(nearest.is_none_or(|name| Key::find(name).is_some() && text.contains(name)));
            origin
        }
        ConfigError::Value { origin, key, found, rule } => {
            assert!(Key::find(key).is_some() && !found.is_empty(), "{text}");
            assert!(text.contains(&format!("{key} = {found}: {rule}")), "{text}");
            assert!(rule.contains("expected "), "{text}");
            origin
        }
        ConfigError::Contradiction { key, value, origin, bound, bound_value, .. } => {
            assert_eq!(Key::find(key).and_then(Key::at_most), Some(*bound), "{text}");
            assert!(value > bound_value, "{text}");
            assert!(text.contains(&format!("{key} = {value}")), "{text}");
            assert!(text.contains(&format!("{bound} = {bound_value}")), "{text}");
            origin
        }
        ConfigError::Services { origin, services, .. } => {
            assert!(text.contains(&format!("{services:?}")), "{text}");
            origin
        }
        ConfigError::NotPerService { origin, services, key } => {
            assert!(text.contains(&format!("{services:?}")), "{text}");
            assert!(text.contains(&key.escape_debug().to_string()), "{text}");
            origin
        }
        ConfigError::Insecure { origin, key, reason } => {
            assert!(Key::find(key).is_some() && !reason.is_empty(), "{text}");
            origin
        }
        ConfigError::Syntax { origin, message } => {
            assert!(!message.is_empty(), "{text}");
            origin
        }
        other => panic!("no file was to be read: {other}"),
    };
    let place = place.to_string();
    assert!(text.contains(&place), "{text}");
    if let Some(line) = place.strip_prefix("a.toml:") {
        assert!(line.parse().is_ok_and(|line: usize| (1..=lines).contains(&line)), "{text}");
    }
}
