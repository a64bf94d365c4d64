//! Keys that depend on each other: those that others may not exceed, and those of security.

use majordomo_broker::config::{Config, KEYS, Key};

use crate::inputs::{NO_ENVIRONMENT, check, check_process, companions, run};

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
