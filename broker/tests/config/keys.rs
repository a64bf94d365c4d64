//! Every key of the table: its default, its range, its method.

use std::path::Path;
use std::time::Duration;

use majordomo_broker::config::{Config, KEYS};
use majordomo_broker::logging::LogFormat;

use crate::inputs::{NO_ENVIRONMENT, check, companions, run};

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
