//! Where values come from: a file, the environment, flags, a program; and which goes before which.

use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;

use majordomo_broker::args;
use majordomo_broker::config::{Config, ConfigBuilder, KEYS};
use majordomo_protocol::Endpoint;

use crate::inputs::{NO_ENVIRONMENT, all_changed, check_process, companions, parse, run, scratch};

/// The text that a flag or a variable has for a value in TOML.
fn outside_toml(value: &str) -> String {
    value.replace(['"', '[', ']'], "").replace("tcp://::1", "tcp://[::1]").replace(", ", ",")
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
fn an_unreadable_file_is_refused_with_its_path_and_cause() {
    let error = parse(&["--config", "/nowhere/broker.toml"], &NO_ENVIRONMENT).expect_err("no file");
    assert_eq!(error.to_string(), "/nowhere/broker.toml: cannot read the configuration file");
    let cause = Error::source(&error).expect("a cause").to_string();
    assert!(cause.contains("No such file"), "{cause}");
}

#[test]
fn a_variable_that_is_not_utf_8_is_refused() {
    let value = OsString::from_vec(vec![b'5', 0xff]);
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
fn a_program_sets_values_and_hears_of_its_faults() {
    let config = Config::builder().bind("inproc://a").set("workers_max", 1).build();
    assert_eq!(config.expect("valid").workers_max(), 1);
    let fault = |builder: ConfigBuilder| builder.build().expect_err("a fault").to_string();
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
