//! The configuration, from TOML text, environment and flags to a `Config`, and what
//! is refused on the way.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use majordomo_broker::args::{self, Command};
use majordomo_broker::config::{self, Config, KEYS, Key};
use majordomo_broker::logging::LogFormat;
use majordomo_protocol::{Endpoint, ServiceName};

const NO_ENVIRONMENT: [(&str, &str); 0] = [];

/// Reads a file of this text: `expected` is the error it gives, or `ok`.
#[track_caller]
fn check(toml: &str, expected: &str) {
    let result = Config::builder().toml("broker.toml", toml).build();
    let found = result.map_or_else(|error| error.to_string(), |_| "ok".to_owned());
    assert_eq!(found, expected, "for\n{toml}");
}

/// Runs this command line in this environment: `expected` is the error, or `ok`.
#[track_caller]
fn check_process(flags: &[&str], environment: &[(&str, &str)], expected: &str) {
    let found = match parse(flags, environment) {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.to_string(),
    };
    assert_eq!(found, expected, "for {flags:?} in {environment:?}");
}

fn parse(flags: &[&str], environment: &[(&str, &str)]) -> Result<Command, args::UsageError> {
    args::parse(
        ["majordomo-broker"].iter().chain(flags),
        environment.iter().map(|(key, value)| (key.to_string(), value.to_string())),
    )
}

#[track_caller]
fn run(flags: &[&str], environment: &[(&str, &str)]) -> Config {
    match parse(flags, environment) {
        Ok(Command::Run(config)) => *config,
        other => panic!("{flags:?} gives {other:?}"),
    }
}

#[track_caller]
fn printed(flags: &[&str], environment: &[(&str, &str)]) -> String {
    match parse(flags, environment) {
        Ok(Command::Print(text)) => text,
        other => panic!("{flags:?} gives {other:?}"),
    }
}

/// A path of this process and this test alone; nothing is there.
fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("majordomo-config-{}-{name}", std::process::id()));
    let _ = fs::remove_file(&path);
    path
}

/// What else has to be set so that `key` can be `number` without a contradiction.
fn companions(key: &Key, number: u64) -> Vec<(&'static str, u64)> {
    let above = key.at_most().and_then(Key::find).into_iter();
    let above = above.map(|bound| (bound.name(), *bound.range().expect("a number").end()));
    let below = KEYS.iter().filter(|other| other.at_most() == Some(key.name()));
    let below = below.map(|other| (other.name(), number.min(*other.range().expect("one").end())));
    above.chain(below).collect()
}

/// Every number key at one more than its default, every other key at another value.
fn all_changed() -> Vec<(&'static Key, String)> {
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

/// The text that a flag or a variable has for a value in TOML.
fn outside_toml(value: &str) -> String {
    value.replace(['"', '[', ']'], "").replace("tcp://::1", "tcp://[::1]").replace(", ", ",")
}

#[test]
fn nothing_set_gives_the_defaults() {
    check("", "ok");
    let config = run(&[], &NO_ENVIRONMENT);
    assert_eq!(config, Config::default());
    assert_eq!(config.bind(), ["tcp://127.0.0.1:5555".parse().expect("an endpoint")]);
    assert_eq!(config.heartbeat_interval(), Duration::from_millis(2_500));
    assert_eq!(config.heartbeat_liveness(), 3);
    assert_eq!(config.request_expiry(), Duration::from_secs(60));
    assert_eq!(config.bytes_max(), 1 << 30);
    assert_eq!(config.log_format(), LogFormat::Text);
    assert!(!config.trace());
}

#[test]
fn every_default_is_within_its_own_rules() {
    let toml = Config::default().to_toml();
    check(&toml, "ok");
    for key in KEYS {
        check(&format!("{} = {}", key.name(), key.default()), "ok");
    }
}

#[test]
fn every_key_has_a_method_that_gives_its_value() {
    let config = KEYS.iter().zip(2_000_u32..).fold(Config::builder(), |builder, (key, number)| {
        match key.range() {
            // Two thousand and its place in the table, in a range that has it.
            Some(range) if range.contains(&u64::from(number)) => builder.set(key.name(), number),
            Some(range) => builder.set(key.name(), u32::try_from(*range.end()).expect("small")),
            None => builder,
        }
    });
    // The two that others may not exceed.
    let config =
        config.set("requests_max", 3_000).set("bytes_max", 3_001).set("services_max", 3_002);
    let config = config
        .set("bind_curve", vec!["tcp://*:1"])
        .set("bind_plain", vec!["tcp://*:2"])
        .set("ipc_mode", "660")
        .set("curve_secret_key_file", "broker.key")
        .set("rights_file", "rights.toml")
        .set("allow_insecure", true)
        .bind("inproc://a")
        .bind("inproc://b")
        .set("log", "debug")
        .set("log_format", "json")
        .set("trace", true)
        .set("error_replies", true)
        .build()
        .expect("a valid configuration");
    let place = |name: &str| 2_000 + KEYS.iter().position(|key| key.name() == name).expect(name);
    let ms = |name: &str| Duration::from_millis(place(name) as u64);
    assert_eq!(*config.prefetch().default(), 64);

    assert_eq!(config.bind(), ["inproc://a", "inproc://b"].map(|e| e.parse().expect("good")));
    assert_eq!(config.bind_curve(), ["tcp://*:1".parse().expect("good")]);
    assert_eq!(config.bind_plain(), ["tcp://*:2".parse().expect("good")]);
    assert_eq!(config.ipc_mode(), Some(0o660));
    assert_eq!(config.curve_secret_key_file(), Some(Path::new("broker.key")));
    assert_eq!(config.rights_file(), Some(Path::new("rights.toml")));
    assert!(config.allow_insecure() && config.is_secured());
    assert_eq!(config.handshake(), ms("handshake_ms"));
    let connections_max = place("connections_per_identity_max");
    assert_eq!(config.connections_per_identity_max(), connections_max);
    assert_eq!(config.peers_per_identity_max(), place("peers_per_identity_max"));
    assert_eq!(config.requests_per_identity_max(), place("requests_per_identity_max"));
    assert_eq!(config.invalid_max() as usize, place("invalid_max"));
    assert_eq!(config.invalid_recovery(), ms("invalid_recovery_ms"));
    assert_eq!(config.backlog() as usize, place("backlog"));
    assert_eq!(config.heartbeat_interval(), ms("heartbeat_interval_ms"));
    assert_eq!(config.heartbeat_liveness(), 100);
    assert_eq!(config.heartbeat_interval_min(), ms("heartbeat_interval_min_ms"));
    assert_eq!(config.heartbeat_interval_max(), ms("heartbeat_interval_max_ms"));
    assert_eq!(config.request_expiry(), ms("request_expiry_ms"));
    assert_eq!(config.attempts_max(), 1_000);
    assert_eq!(config.shutdown(), ms("shutdown_ms"));
    assert_eq!(config.requests_max(), 3_000);
    assert_eq!(config.requests_per_service_max(), place("requests_per_service_max"));
    assert_eq!(config.requests_per_client_max(), place("requests_per_client_max"));
    assert_eq!(config.bytes_max(), 3_001);
    assert_eq!(config.partial_bytes_max(), place("partial_bytes_max"));
    assert_eq!(config.answers_max(), place("answers_max"));
    assert_eq!(config.answers_bytes_max(), place("answers_bytes_max"));
    assert_eq!(config.answers_kept(), ms("answers_kept_ms"));
    assert_eq!(config.dead_max(), place("dead_max"));
    assert!(config.error_replies());
    assert_eq!(config.services_max(), 3_002);
    assert_eq!(config.services_idle_max(), place("services_idle_max"));
    assert_eq!(config.workers_max(), place("workers_max"));
    assert_eq!(config.worker_metadata_bytes_max(), place("worker_metadata_bytes_max"));
    assert_eq!(config.clients_max(), place("clients_max"));
    assert_eq!(config.message_bytes_max(), place("message_bytes_max"));
    assert_eq!(config.frames_max(), place("frames_max"));
    assert_eq!(config.io_threads(), 64);
    assert_eq!(config.drain_max(), place("drain_max"));
    assert_eq!(config.spin().as_micros() as usize, place("spin_us"));
    assert_eq!(config.receive_queue_max() as usize, place("receive_queue_max"));
    assert_eq!(config.send_queue_max() as usize, place("send_queue_max"));
    assert_eq!(config.log(), "debug");
    assert_eq!(config.log_format(), LogFormat::Json);
    assert!(config.trace());
}

#[test]
fn every_key_can_come_from_file_environment_and_flag() {
    for (key, value) in all_changed() {
        // Only what this key's new value needs beside it.
        let extra: Vec<(&str, u64)> = match value.parse() {
            Ok(number) => companions(key, number),
            Err(_) => Vec::new(),
        };
        let mut extra: String =
            extra.iter().map(|(name, number)| format!("\n{name} = {number}")).collect();
        extra += match key.name() {
            "bind_curve" => "\ncurve_secret_key_file = \"k\"\nrights_file = \"r\"",
            "bind_plain" => "\nrights_file = \"r\"",
            "rights_file" => "\nbind_plain = [\"ipc://p\"]",
            _ => "",
        };
        let file = scratch(key.name());
        let path = file.to_str().expect("UTF-8");

        fs::write(&file, format!("{} = {value}{extra}", key.name())).expect("written");
        let from_file = run(&["--config", path], &NO_ENVIRONMENT);
        assert_ne!(from_file, Config::default(), "{}", key.name());

        fs::write(&file, extra).expect("written");
        let text = outside_toml(&value);
        let from_environment = run(&["--config", path], &[(&key.variable(), &text)]);
        assert_eq!(from_environment, from_file, "{}", key.variable());

        let texts: Vec<&str> = if key.is_list() { text.split(',').collect() } else { vec![&text] };
        let flags: Vec<String> =
            texts.iter().map(|text| format!("--{}={text}", key.flag())).collect();
        let mut flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        flags.extend(["--config", path]);
        assert_eq!(run(&flags, &NO_ENVIRONMENT), from_file, "{flags:?}");
        fs::remove_file(&file).expect("removed");
    }
}

#[test]
fn what_is_printed_can_be_read_back() {
    let toml: String =
        all_changed().iter().map(|(key, value)| format!("{} = {value}\n", key.name())).collect();
    let config = Config::builder().toml("a", &toml).build().expect("a valid configuration");
    for config in [config, Config::default()] {
        let printed = config.to_toml();
        let again = Config::builder().toml("b", &printed).build().expect("valid again");
        assert_eq!(again, config, "for\n{printed}");
        for key in KEYS {
            assert!(printed.contains(&format!("\n{} = ", key.name())), "{}", key.name());
        }
    }
}

#[test]
fn print_config_prints_the_values_in_effect() {
    let text = printed(&["--print-config", "--trace"], &[("MAJORDOMO_BROKER_LOG_FORMAT", "json")]);
    let config = Config::builder().toml("printed", &text).build().expect("valid");
    assert_eq!(config, run(&["--trace", "--log-format", "json"], &NO_ENVIRONMENT));
    assert!(text.lines().all(|line| line.len() < 80 || !line.starts_with('#')), "{text}");
}

#[test]
fn both_ends_of_every_range_are_taken_and_what_is_beyond_is_not() {
    for key in KEYS {
        let (Some(range), name) = (key.range(), key.name()) else { continue };
        for end in [*range.start(), *range.end()] {
            let extra: String = companions(key, end)
                .iter()
                .map(|(name, number)| format!("\n{name} = {number}"))
                .collect();
            check(&format!("{name} = {end}{extra}"), "ok");
        }
        let below = i64::try_from(*range.start()).expect("small") - 1;
        for beyond in [below, i64::try_from(*range.end()).expect("small") + 1, i64::MAX, i64::MIN] {
            let expected = format!("broker.toml:1: {name} = {beyond}: expected {}", key.rule());
            check(&format!("{name} = {beyond}"), &expected);
        }
    }
}

#[test]
fn a_wrong_type_is_refused() {
    let ms = "expected a whole number, 10 to 3600000 ms";
    for value in ["\"50\"", "50.0", "true", "[50]", "1979-05-27", "{ a = 1 }"] {
        check(
            &format!("\nheartbeat_interval_ms = {value}"),
            &format!("broker.toml:2: heartbeat_interval_ms = {value}: {ms}"),
        );
    }
    check(
        "prefetch = 1.5",
        "broker.toml:1: prefetch = 1.5: expected a whole number, 1 to 64 requests",
    );
    check(
        "[service.echo]\nprefetch = \"4\"",
        "broker.toml:2: prefetch = \"4\": expected a whole number, 1 to 64 requests",
    );
    check("trace = 1", "broker.toml:1: trace = 1: expected true or false");
    check("log_format = true", "broker.toml:1: log_format = true: expected text or json");
    let list = "expected a list of endpoints, one or more, none twice";
    check(r#"bind = "inproc://a""#, &format!(r#"broker.toml:1: bind = "inproc://a": {list}"#));
    check("bind = [1]", &format!("broker.toml:1: bind = [1]: {list}"));
}

#[test]
fn a_text_outside_its_rule_is_refused() {
    check(r#"log_format = "xml""#, r#"broker.toml:1: log_format = "xml": expected text or json"#);
    check(
        r#"log = "inof""#,
        "broker.toml:1: log = \"inof\": expected LEVEL or TARGET=LEVEL, separated by commas; \
         LEVEL is off, error, warn, info, debug or trace",
    );
}

#[test]
fn endpoints_are_refused_when_missing_repeated_or_malformed() {
    let list = "expected a list of endpoints, one or more, none twice";
    check("bind = []", &format!("broker.toml:1: bind = []: {list}"));
    check(
        r#"bind = ["tcp://*:0", "tcp://*:*"]"#,
        &format!(r#"broker.toml:1: bind = ["tcp://*:0", "tcp://*:*"]: {list}"#),
    );
    check(
        r#"bind = ["udp://x:1"]"#,
        "broker.toml:1: bind = [\"udp://x:1\"]: endpoint \"udp://x:1\" has an unknown transport, \
         \"udp\"; expected tcp://HOST:PORT, ipc://PATH or inproc://NAME",
    );
}

#[test]
fn an_unknown_key_is_refused_and_the_nearest_suggested() {
    for (wrong, right) in [
        ("heartbeat_interval", "heartbeat_interval_ms"),
        ("heartbeat-liveness", "heartbeat_liveness"),
        ("Bind", "bind"),
        ("request_max", "requests_max"),
        ("worker_max", "workers_max"),
    ] {
        check(
            &format!("# a comment\n\n{wrong} = 1"),
            &format!("broker.toml:3: unknown key {wrong}; did you mean {right}?"),
        );
    }
    check("zzzzzzzzzzzzz = 1", "broker.toml:1: unknown key zzzzzzzzzzzzz");
    check("[broker]\nbind = []", "broker.toml:1: unknown key broker");
    check_process(
        &[],
        &[("MAJORDOMO_BROKER_LOG_FROMAT", "json")],
        "environment variable MAJORDOMO_BROKER_LOG_FROMAT: unknown key log_fromat; \
         did you mean log_format?",
    );
    let error = parse(&["--log-fromat", "json"], &NO_ENVIRONMENT).expect_err("a wrong flag");
    assert!(error.to_string().starts_with("unexpected argument '--log-fromat' found"), "{error}");
    assert!(error.to_string().contains("'--log-format'"), "{error}");
}

#[test]
fn contradictions_name_both_keys_values_and_places() {
    check(
        "requests_max = 10\nrequests_per_client_max = 5\nrequests_per_service_max = 11",
        "requests_per_service_max = 11 (broker.toml:3) is more than requests_max = 10 \
         (broker.toml:1): requests_per_service_max must be at most requests_max",
    );
    check_process(
        &["--services-max", "5"],
        &[("MAJORDOMO_BROKER_SERVICES_IDLE_MAX", "6")],
        "services_idle_max = 6 (environment variable MAJORDOMO_BROKER_SERVICES_IDLE_MAX) is more \
         than services_max = 5 (flag --services-max): services_idle_max must be at most \
         services_max",
    );
    let bounded: Vec<_> =
        KEYS.iter().filter_map(|key| Some((key.name(), key.at_most()?))).collect();
    assert_eq!(
        bounded,
        [
            ("requests_per_identity_max", "requests_max"),
            ("heartbeat_interval_min_ms", "heartbeat_interval_max_ms"),
            ("requests_per_service_max", "requests_max"),
            ("requests_per_client_max", "requests_max"),
            ("partial_bytes_max", "bytes_max"),
            ("answers_bytes_max", "bytes_max"),
            ("services_idle_max", "services_max"),
            ("message_bytes_max", "bytes_max"),
        ]
    );
    for (key, bound) in bounded {
        let range = Key::find(bound).and_then(Key::range).expect("a number");
        let number = range.start() + 1;
        let mut settings: Vec<(&str, u64)> =
            companions(Key::find(bound).expect("a key"), number - 1)
                .into_iter()
                .filter(|(other, _)| *other != key)
                .collect();
        settings.extend([(bound, number), (key, number)]);
        let toml = |settings: &[(&str, u64)]| -> String {
            settings.iter().map(|(name, number)| format!("{name} = {number}\n")).collect()
        };
        check(&toml(&settings), "ok");
        settings.pop();
        settings.push((key, number + 1));
        let error = Config::builder().toml("broker.toml", &toml(&settings)).build();
        let error = error.expect_err("a contradiction").to_string();
        assert!(error.ends_with(&format!("{key} must be at most {bound}")), "{error}");
    }
}

#[test]
fn a_default_gives_way_to_a_bound_that_was_given() {
    let config = Config::builder().set("requests_max", 10).build().expect("no contradiction");
    assert_eq!(config.requests_per_client_max(), 10);
    assert_eq!(config.requests_per_service_max(), 10);
    for bound in KEYS.iter().filter(|key| KEYS.iter().any(|k| k.at_most() == Some(key.name()))) {
        let lowest = *bound.range().expect("a number").start();
        check(&format!("{} = {lowest}", bound.name()), "ok");
    }
}

#[test]
fn a_file_that_is_no_toml_is_refused_with_its_line() {
    check("trace = true\ntrace = false", "broker.toml:2: duplicate key");
    for broken in ["log = \"info", "log = ", "= 3", "[", "bind = [\"a\""] {
        let error = Config::builder().toml("broker.toml", &format!("\n{broken}")).build();
        let error = error.expect_err(broken).to_string();
        assert!(error.starts_with("broker.toml:2: "), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn the_first_fault_of_a_file_is_told() {
    check("zzzzzz = 1\nbind = []", "broker.toml:1: unknown key zzzzzz");
}

#[test]
fn an_unreadable_file_is_refused_with_its_path_and_cause() {
    let error = parse(&["--config", "/nowhere/broker.toml"], &NO_ENVIRONMENT).expect_err("no file");
    assert_eq!(error.to_string(), "/nowhere/broker.toml: cannot read the configuration file");
    let cause = std::error::Error::source(&error).expect("a cause").to_string();
    assert!(cause.contains("No such file"), "{cause}");
}

#[test]
fn flags_override_the_environment_which_overrides_the_file() {
    let file = scratch("layers");
    fs::write(
        &file,
        "heartbeat_liveness = 4\nattempts_max = 4\nio_threads = 4\nbind = [\"inproc://file\"]",
    )
    .expect("written");
    let config = ["--config", file.to_str().expect("UTF-8")];
    let environment = [
        ("MAJORDOMO_BROKER_ATTEMPTS_MAX", "5"),
        ("MAJORDOMO_BROKER_IO_THREADS", "5"),
        ("MAJORDOMO_BROKER_BIND", "inproc://a, inproc://b"),
        ("MAJORDOMO_BROKER", "tcp://somewhere:1"),
        ("OTHER", "x"),
    ];
    let names = |config: &Config| config.bind().iter().map(Endpoint::to_string).collect::<Vec<_>>();

    let of_all = run(&[&config[..], &["--io-threads", "6"]].concat(), &environment);
    assert_eq!(
        (of_all.heartbeat_liveness(), of_all.attempts_max(), of_all.io_threads()),
        (4, 5, 6)
    );
    assert_eq!(names(&of_all), ["inproc://a", "inproc://b"]);
    let with_bind = run(&[&config[..], &["--bind", "inproc://flag"]].concat(), &environment);
    assert_eq!(names(&with_bind), ["inproc://flag"]);
    assert_eq!(names(&run(&config, &NO_ENVIRONMENT)), ["inproc://file"]);
    fs::remove_file(&file).expect("removed");
}

#[test]
fn values_outside_a_file_are_checked_as_those_in_it() {
    for bad in ["5", "-5", "fast", "", "1e3", "1.5", "99999999999999999999"] {
        let (shown, ms) = match bad.parse::<i64>() {
            Ok(number) => (number.to_string(), "expected 10 to 3600000 ms"),
            Err(_) => (format!("\"{bad}\""), "expected a whole number, 10 to 3600000 ms"),
        };
        check_process(
            &[],
            &[("MAJORDOMO_BROKER_HEARTBEAT_INTERVAL_MS", bad)],
            &format!(
                "environment variable MAJORDOMO_BROKER_HEARTBEAT_INTERVAL_MS: \
                 heartbeat_interval_ms = {shown}: {ms}"
            ),
        );
        check_process(
            &["--heartbeat-interval-ms", bad],
            &[],
            &format!("flag --heartbeat-interval-ms: heartbeat_interval_ms = {shown}: {ms}"),
        );
    }
    check_process(&["--requests-max", "2_000_000"], &[], "ok");
    check_process(
        &["--trace=maybe"],
        &[],
        "flag --trace: trace = \"maybe\": expected true or false",
    );
    check_process(
        &["--bind", "localhost:5555"],
        &[],
        "flag --bind: bind = [\"localhost:5555\"]: endpoint \"localhost:5555\" has no transport; \
         expected tcp://HOST:PORT, ipc://PATH or inproc://NAME",
    );
}

#[test]
fn a_variable_that_is_not_utf_8_is_refused() {
    use std::os::unix::ffi::OsStringExt;
    let value = std::ffi::OsString::from_vec(vec![b'5', 0xff]);
    let environment = [("MAJORDOMO_BROKER_IO_THREADS", value)];
    let error = args::parse(["majordomo-broker"], environment).expect_err("no number");
    assert!(error.to_string().contains("expected a whole number, 0 to 64 threads"), "{error}");
}

#[test]
fn variables_that_kubernetes_sets_for_a_service_are_passed_over() {
    let environment = [
        ("MAJORDOMO_BROKER_SERVICE_HOST", "10.0.0.1"),
        ("MAJORDOMO_BROKER_SERVICE_PORT", "5555"),
        ("MAJORDOMO_BROKER_PORT", "tcp://10.0.0.1:5555"),
        ("MAJORDOMO_BROKER_PORT_5555_TCP_ADDR", "10.0.0.1"),
    ];
    assert_eq!(run(&[], &environment), Config::default());
    for key in KEYS {
        assert!(
            !["service_host", "service_port", "port"].iter().any(|p| key.name().starts_with(p))
        );
    }
}

#[test]
fn trace_is_a_switch_that_can_be_turned_off_again() {
    let on = [("MAJORDOMO_BROKER_TRACE", "true")];
    assert!(run(&["--trace"], &NO_ENVIRONMENT).trace());
    assert!(run(&[], &on).trace());
    assert!(!run(&["--trace=false"], &on).trace());
    // The next word is not its value.
    assert!(run(&["--trace", "--io-threads", "2"], &NO_ENVIRONMENT).trace());
}

#[test]
fn check_config_says_a_line() {
    let flags = ["--check-config", "--bind", "tcp://127.0.0.1:0", "--bind", "inproc://b"];
    assert_eq!(printed(&flags, &[]), "configuration ok, binds tcp://127.0.0.1:*, inproc://b\n");
    check_process(
        &["--check-config", "--io-threads", "65"],
        &[],
        "flag --io-threads: io_threads = 65: expected 0 to 64 threads",
    );
    let error = parse(&["--check-config", "--print-config"], &NO_ENVIRONMENT);
    let error = error.expect_err("one or the other").to_string();
    assert!(error.contains("cannot be used with"), "{error}");
}

#[test]
fn help_names_every_flag_variable_default_and_exit_code() {
    let help = printed(&["--help"], &NO_ENVIRONMENT);
    for key in KEYS {
        for said in [format!("--{}", key.flag()), key.variable(), key.heading().to_owned()] {
            assert!(help.contains(&said), "{said} in\n{help}");
        }
        assert!(help.contains(&format!("[default: {}]", key.default())), "{}", key.name());
    }
    for said in ["Example:", "SIGTERM", "  0   stopped as asked", "  1   failed", "  2   wrong"] {
        assert!(help.contains(said), "{said} in\n{help}");
    }
    assert!(printed(&["-h"], &NO_ENVIRONMENT).len() < help.len() / 2);
    let version = printed(&["--version"], &NO_ENVIRONMENT);
    assert_eq!(version, concat!("majordomo-broker ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn the_reference_has_a_row_for_every_key() {
    let reference = config::reference();
    for key in KEYS {
        let row = format!("| `{}` | `{}` | {} |", key.name(), key.default(), key.rule());
        assert_eq!(reference.matches(&row).count(), 1, "{row}");
    }
    assert!(reference.lines().all(|l| !l.starts_with('|') || l.matches('|').count() == 5));
}

#[test]
fn some_services_have_values_of_their_own() {
    let toml = r#"
        prefetch = 2
        [service.echo]
        prefetch = 3
        [service."image.*"]
        prefetch = 4
        [service."image.print"]
        prefetch = 1
    "#;
    let config = Config::builder().toml("broker.toml", toml).build().expect("valid");
    let of = |config: &Config, name| *config.prefetch().of(&ServiceName::new(name).expect("one"));
    let found = ["echo", "image.scale", "image.print", "mail"].map(|name| of(&config, name));
    assert_eq!(found, [3, 4, 1, 2]);
    // What holds for all is set anew, and what holds for some stays.
    let config = Config::builder().toml("broker.toml", toml).set("prefetch", 8);
    let config = config.set_for("echo", "prefetch", 9).build().expect("valid");
    let found = ["echo", "image.scale", "mail"].map(|name| of(&config, name));
    assert_eq!(found, [9, 4, 8]);
    let printed = config.to_toml();
    let again = Config::builder().toml("printed", &printed).build().expect("valid again");
    assert_eq!(again, config, "for\n{printed}");
}

#[test]
fn faults_in_what_is_set_for_some_services_name_the_line_and_the_rule() {
    check("[service.echo]", "ok");
    check(
        "\n[service.echo]\nprefetch = 0",
        "broker.toml:3: prefetch = 0: expected 1 to 64 requests",
    );
    check(
        "[service.echo]\nprefetch = 1\n[service.sum]\nworkers_max = 4",
        "broker.toml:4: [service.\"sum\"] takes prefetch, found workers_max (a name with dots stands \
         in quotes)",
    );
    check(
        "[service.image.scale]\nprefetch = 4",
        "broker.toml:1: [service.\"image\"] takes prefetch, found scale (a name with dots stands in \
         quotes)",
    );
    for name in ["*", "", "mmi.*", "mmi.service"] {
        let text = format!("[service.{name:?}]\nprefetch = 4");
        let error = Config::builder().toml("broker.toml", &text).build().expect_err("a fault");
        assert_eq!(error.to_string(), format!("broker.toml:1: [service.{name:?}]"));
        assert!(error.source().is_some(), "it says why");
    }
    let no_table = "invalid type: integer `4`, expected a map";
    check("service = 4", &format!("broker.toml:1: {no_table}"));
    check("\n[service]\nprefetch = 4", &format!("broker.toml:3: {no_table}"));
    check("[service.echo]\nprefetch = 1\nprefetch = 2", "broker.toml:3: duplicate key");
    let fault = |builder: config::ConfigBuilder| builder.build().expect_err("a fault").to_string();
    assert_eq!(
        fault(Config::builder().set_for("echo", "trace", true)),
        "set by the program: [service.\"echo\"] takes prefetch, found trace (a name with dots stands \
         in quotes)"
    );
}

#[test]
fn a_program_sets_values_and_hears_of_its_faults() {
    let config = Config::builder().bind("inproc://a").set("workers_max", 1).build();
    assert_eq!(config.expect("valid").workers_max(), 1);
    let fault = |builder: config::ConfigBuilder| builder.build().expect_err("a fault").to_string();
    assert_eq!(
        fault(Config::builder().set("worker_max", 1)),
        "set by the program: unknown key worker_max; did you mean workers_max?"
    );
    assert_eq!(
        fault(Config::builder().set("io_threads", -1).set("backlog", 0)),
        "set by the program: io_threads = -1: expected 0 to 64 threads"
    );
    let twice = fault(Config::builder().bind("inproc://a").bind("inproc://a"));
    assert!(twice.contains("none twice"), "{twice}");
}

#[test]
fn the_keys_of_security_go_together_or_are_refused() {
    let at = "broker.toml:1: ";
    check(
        "bind = [\"tcp://0.0.0.0:1\"]",
        &format!(
            "{at}bind: tcp://0.0.0.0:1 can be reached from other machines without \
             authentication: give it to bind_curve, bind 127.0.0.1 or ipc, or set \
             allow_insecure = true"
        ),
    );
    check("bind = [\"tcp://0.0.0.0:1\"]\nallow_insecure = true", "ok");
    check(
        "bind_curve = [\"tcp://*:1\"]",
        "default: curve_secret_key_file: is needed to listen on tcp://*:1",
    );
    check(
        "bind_curve = [\"tcp://*:1\"]\ncurve_secret_key_file = \"k\"",
        "default: rights_file: is needed to listen on tcp://*:1",
    );
    check("bind_plain = [\"ipc://x\"]", "default: rights_file: is needed to listen on ipc://x");
    check("bind_plain = [\"ipc://x\"]\nrights_file = \"r\"", "ok");
    check(
        "rights_file = \"r\"",
        &format!(
            "{at}rights_file: has no effect without bind_curve or bind_plain: whoever connects \
             to an endpoint of bind may do everything"
        ),
    );
    check(
        "bind = [\"ipc://x\"]\nbind_plain = [\"ipc://x\"]\nrights_file = \"r\"",
        &format!("{at}bind: ipc://x is given with two mechanisms"),
    );
    check(
        "bind_plain = [\"inproc://x\"]\nrights_file = \"r\"",
        "default: bind_curve: inproc://x: inproc has no handshake, use bind",
    );
    check(
        "ipc_mode = \"rw\"",
        &format!("{at}ipc_mode = \"rw\": expected an octal file mode such as 0660, or nothing"),
    );
    // The default of bind is not for a broker that says where it listens.
    let curve = ["--bind-plain=ipc://x", "--rights-file=r"];
    assert!(run(&curve, &NO_ENVIRONMENT).bind().is_empty());
}
