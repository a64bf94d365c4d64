//! What is refused: values that no key takes, keys that are none, files that are no TOML.

use majordomo_broker::config::Config;

use crate::inputs::{NO_ENVIRONMENT, check, check_process, parse};

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
