//! Where log lines go and what they look like: text or JSON, to standard error.
//!
//! Only the process sets a logger up; a broker embedded in another program logs to
//! whatever logger that program has. The filter comes from the key `log` alone:
//! RUST_LOG is not read, so that a broker's configuration says all there is to say.

use std::io::{self, Write};

use log::LevelFilter;
use log::kv::{self, VisitSource};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::config::Config;
use crate::trace;

/// What a log line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// `[2026-01-31T12:00:00.000Z INFO  majordomo_broker::server] message key=value`,
    /// in colour on a terminal. Further lines of one event are indented.
    Text,
    /// One JSON object a line: `time` (RFC 3339, UTC), `level`, `target`, `message`,
    /// then the keys of the event.
    Json,
}

/// Makes the process log as `config` says, from now on.
///
/// # Errors
///
/// When a logger is set already.
pub fn init(config: &Config) -> Result<(), log::SetLoggerError> {
    builder(config).try_init()
}

/// The logger that `config` describes.
fn builder(config: &Config) -> env_logger::Builder {
    let mut builder = env_logger::Builder::new();
    for (target, level) in parse_filter(config.log()).unwrap_or_default() {
        builder.filter(target, level);
    }
    if config.trace() {
        builder.filter(Some(trace::TARGET), LevelFilter::Trace);
    }
    match config.log_format() {
        LogFormat::Text => {
            let fields = |out: &mut env_logger::fmt::Formatter, source: &dyn kv::Source| {
                source.visit(&mut TextFields(out)).map_err(io::Error::other)
            };
            builder.format_timestamp_millis().format_key_values(fields)
        }
        LogFormat::Json => builder.format(|out, record| {
            let time = out.timestamp_millis().to_string();
            write_json(out, time, record)
        }),
    };
    builder
}

/// What is written of which target, in the order given; `None` stands for all others.
///
/// A filter is a list of LEVEL or TARGET=LEVEL, separated by commas. env_logger takes
/// more: a word alone that is no level is a target there, so that `inof` for `info`
/// would silence the broker. It is refused here.
pub(crate) fn parse_filter(filter: &str) -> Option<Vec<(Option<&str>, LevelFilter)>> {
    filter.split(',').map(|directive| parse_directive(directive.trim())).collect()
}

fn parse_directive(directive: &str) -> Option<(Option<&str>, LevelFilter)> {
    let is_target = |target: &str| {
        !target.is_empty()
            && target.chars().all(|c| c.is_ascii_alphanumeric() || "_-:.".contains(c))
    };
    match directive.split_once('=') {
        Some((target, level)) if is_target(target) => Some((Some(target), level.parse().ok()?)),
        Some(_) => None,
        None => Some((None, directive.parse().ok()?)),
    }
}

/// Writes ` key=value` for each. A value that could be taken for more than that is
/// quoted: peers choose the names of services.
struct TextFields<'a, W>(&'a mut W);

impl<'kvs, W: Write> VisitSource<'kvs> for TextFields<'_, W> {
    fn visit_pair(&mut self, key: kv::Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
        let value = value.to_string();
        let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '=');
        let written = if !value.is_empty() && value.chars().all(is_plain) {
            write!(self.0, " {key}={value}")
        } else {
            write!(self.0, " {key}={value:?}")
        };
        written.map_err(kv::Error::from)
    }
}

/// One line of JSON. Keys of the event stand beside the fixed ones.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    level: &'a str,
    target: &'a str,
    message: String,
    #[serde(flatten)]
    fields: Fields,
}

/// The keys of an event and their values.
#[derive(Default, Serialize)]
struct Fields(Map<String, Value>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: kv::Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
        let json = if let Some(number) = value.to_u64() {
            number.into()
        } else if let Some(number) = value.to_i64() {
            number.into()
        } else if let Some(number) = value.to_f64() {
            number.into()
        } else if let Some(truth) = value.to_bool() {
            truth.into()
        } else {
            Value::String(value.to_string())
        };
        // A name that is taken gets an underscore, so that no object has it twice.
        let name = match key.as_str() {
            taken @ ("time" | "level" | "target" | "message") => format!("{taken}_"),
            free => free.to_owned(),
        };
        self.0.insert(name, json);
        Ok(())
    }
}

fn write_json(out: &mut impl Write, time: String, record: &log::Record<'_>) -> io::Result<()> {
    let mut fields = Fields::default();
    record.key_values().visit(&mut fields).map_err(io::Error::other)?;
    let (level, target) = (record.level().as_str(), record.target());
    let line = Line { time, level, target, message: record.args().to_string(), fields };
    serde_json::to_writer(&mut *out, &line)?;
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::{Level, Log, Record};
    use std::sync::{Arc, Mutex};

    /// What was written, to look at afterwards.
    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic while locked").write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Logs one event with the logger of this configuration and gives what it wrote.
    fn check(config: &[(&str, &str)], level: Level, target: &str) -> String {
        let config = config.iter().fold(Config::builder(), |c, (key, value)| match *value {
            "true" => c.set(key, true),
            value => c.set(key, value),
        });
        let config = config.build().expect("a valid configuration");
        let sink = Sink::default();
        let logger =
            builder(&config).target(env_logger::Target::Pipe(Box::new(sink.clone()))).build();
        let fields = [
            ("broker", kv::Value::from("tcp://*:1")),
            ("service", kv::Value::from("a reason=ok")),
            ("waiting", kv::Value::from(3_u64)),
            ("change", kv::Value::from(-2)),
            ("live", kv::Value::from(true)),
            ("message", kv::Value::from("mine")),
        ];
        logger.log(
            &Record::builder()
                .level(level)
                .target(target)
                .key_values(&fields)
                .args(format_args!("two\n\"lines\""))
                .build(),
        );
        let bytes = sink.0.lock().expect("no panic while locked").clone();
        String::from_utf8(bytes).expect("logs are UTF-8")
    }

    #[test]
    fn a_text_line_has_time_level_target_message_and_keys() {
        let line = check(&[], Level::Info, "majordomo_broker::server");
        let (time, rest) = line.split_once(' ').expect("words");
        assert!(time.starts_with("[20") && time.ends_with('Z'), "{line}");
        assert_eq!(
            rest,
            "INFO  majordomo_broker::server] two\n    \"lines\" \
             broker=tcp://*:1 service=\"a reason=ok\" waiting=3 change=-2 live=true message=mine\n"
        );
    }

    #[test]
    fn a_json_line_is_one_object_with_typed_values() {
        let line = check(&[("log_format", "json")], Level::Warn, "majordomo_broker");
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert!(line.starts_with(r#"{"time":"20"#), "{line}");
        let mut object: Map<String, Value> = serde_json::from_str(&line).expect("JSON");
        let time = object.remove("time").expect("a time").to_string();
        assert!(time.ends_with("Z\"") && time.contains('T'), "{time}");
        let expected = serde_json::json!({
            "level": "WARN", "target": "majordomo_broker", "message": "two\n\"lines\"",
            "broker": "tcp://*:1", "service": "a reason=ok", "waiting": 3, "change": -2, "live": true, "message_": "mine",
        });
        assert_eq!(Value::Object(object), expected);
    }

    #[test]
    fn the_filter_decides_by_target_and_level() {
        let log = [("log", "warn, majordomo_broker::server=debug")];
        assert_eq!(check(&log, Level::Info, "majordomo_broker"), "");
        assert_ne!(check(&log, Level::Warn, "majordomo_broker"), "");
        assert_ne!(check(&log, Level::Debug, "majordomo_broker::server"), "");
        assert_eq!(check(&[("log", "off")], Level::Error, "majordomo_broker"), "");
    }

    #[test]
    fn trace_shows_messages_whatever_the_filter_and_nothing_else() {
        let trace = [("log", "error"), ("trace", "true")];
        assert_ne!(check(&trace, Level::Trace, crate::trace::TARGET), "");
        assert_eq!(check(&trace, Level::Trace, "majordomo_broker::server"), "");
        assert_eq!(check(&[], Level::Trace, crate::trace::TARGET), "");
    }

    #[test]
    fn a_filter_is_levels_and_targets_with_levels() {
        for good in ["info", "OFF", "a=info", "warn,a::b=trace, c-d.e=off"] {
            assert!(parse_filter(good).is_some(), "{good}");
        }
        for bad in ["", "inof", "info,", "a", "a=", "=info", "a=b=info", "a b=info", "info/x"] {
            assert!(parse_filter(bad).is_none(), "{bad}");
        }
    }
}
