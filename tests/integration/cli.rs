//! What the process `majordomo-broker` prints, and its exit codes: transcripts.
//! Changing a word here is a choice that somebody sees.

use std::path::Path;

use majordomo_tests::process::Signal;
use majordomo_tests::raw::RawPeer;
use majordomo_tests::report::Reports;
use majordomo_tests::spawn::{BrokerProcess, Transcript, command, run, run_command};
use majordomo_tests::wire::{self, Version};
use majordomo_tests::worker::RawWorker;
use serde_json::Value;

#[track_caller]
fn succeeds(transcript: &Transcript, stdout: &str) {
    assert_eq!((transcript.code, transcript.stderr.as_str()), (Some(0), ""));
    assert_eq!(transcript.stdout, stdout);
}

#[track_caller]
fn is_refused(transcript: &Transcript, stderr: &str) {
    assert_eq!(transcript.stderr, stderr);
    assert_eq!((transcript.code, transcript.stdout.as_str()), (Some(2), ""));
}

fn file(directory: &Path, text: &str) -> String {
    let path = directory.join("broker.toml");
    std::fs::write(&path, text).expect("a file");
    path.to_str().expect("a path of text").to_owned()
}

#[test]
fn help() {
    let help = run(["--help"]);
    assert_eq!(help.code, Some(0));
    assert_eq!(help.stderr, "");
    let first: Vec<&str> = help.stdout.lines().take(7).collect();
    assert_eq!(
        first,
        [
            "The Majordomo broker: clients ask for a service by name, and the broker hands each",
            "request to one of the workers registered for that name. Heartbeats and the ends of",
            "connections tell which workers live; the request of a worker that is lost goes to another.",
            "",
            "It speaks MDP/0.1 (RFC 7), MDP/0.2 (RFC 18), MDP/1.0 and MMI (RFC 8) on every endpoint.",
            "",
            "Usage: majordomo-broker [OPTIONS]",
        ]
    );
    for told in [
        "--bind <ENDPOINT>",
        "--heartbeat-interval-ms <N>",
        "--heartbeat-liveness <N>",
        "--request-expiry-ms <N>",
        "[default: [\"tcp://127.0.0.1:5555\"]] [env: MAJORDOMO_BROKER_BIND]",
        "\nSignals:\n",
        "\nExit codes:\n",
    ] {
        assert!(help.stdout.contains(told), "--help does not say {told:?}:\n{}", help.stdout);
    }
    let short = run(["-h"]);
    assert!(short.stdout.lines().count() < help.stdout.lines().count() / 2);
}

#[test]
fn version() {
    succeeds(&run(["--version"]), concat!("majordomo-broker ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn check_config() {
    let directory = tempfile::tempdir().expect("a directory");
    let good = file(directory.path(), "bind = [\"tcp://[::1]:5555\", \"ipc:///run/majordomo\"]\n");
    succeeds(
        &run(["--config", &good, "--check-config"]),
        "configuration ok, binds tcp://[::1]:5555, ipc:///run/majordomo\n",
    );
    let bad = file(directory.path(), "\nheartbeat_interval_ms = 5\n");
    is_refused(
        &run(["--config", &bad, "--check-config"]),
        &format!(
            "majordomo-broker: {bad}:2: heartbeat_interval_ms = 5: expected 10 to 3600000 ms\n"
        ),
    );
    let unknown = file(directory.path(), "hartbeat_interval_ms = 500\n");
    is_refused(
        &run(["--config", &unknown, "--check-config"]),
        &format!(
            "majordomo-broker: {unknown}:1: unknown key hartbeat_interval_ms; did you mean \
             heartbeat_interval_ms?\n"
        ),
    );
    let no_toml = file(directory.path(), "bind = \n");
    let refused = run(["--config", &no_toml, "--check-config"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.starts_with(&format!("majordomo-broker: {no_toml}:1: ")), "{refused:?}");
    is_refused(
        &run(["--config", "/nowhere/broker.toml", "--check-config"]),
        "majordomo-broker: /nowhere/broker.toml: cannot read the configuration file: No such file \
         or directory (os error 2)\n",
    );
}

#[test]
fn what_contradicts_itself_is_refused() {
    is_refused(
        &run(["--requests-max=3", "--requests-per-service-max=4"]),
        "majordomo-broker: requests_per_service_max = 4 (flag --requests-per-service-max) is more \
         than requests_max = 3 (flag --requests-max): requests_per_service_max must be at most \
         requests_max\n",
    );
}

#[test]
fn the_printed_configuration_can_be_fed_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let flags = ["--bind=tcp://127.0.0.1:7777", "--heartbeat-liveness=7", "--trace"];
    let printed = run(flags.iter().chain(&["--print-config"]));
    assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""));
    assert!(printed.stdout.contains("\nheartbeat_liveness = 7\n"), "{}", printed.stdout);
    let path = file(directory.path(), &printed.stdout);
    succeeds(&run(["--config", &path, "--print-config"]), &printed.stdout);
}

#[test]
fn flags_go_before_the_environment_before_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let keys = ["heartbeat_liveness", "attempts_max", "frames_max"];
    let text: String = keys.iter().map(|key| format!("{key} = 11\n")).collect();
    let path = file(directory.path(), &text);
    let mut command = command();
    command.env("MAJORDOMO_BROKER_ATTEMPTS_MAX", "22").env("MAJORDOMO_BROKER_FRAMES_MAX", "22");
    command.args(["--config", &path, "--frames-max", "33", "--print-config"]);
    let printed = run_command(&mut command).stdout;
    for line in ["heartbeat_liveness = 11", "attempts_max = 22", "frames_max = 33"] {
        assert!(printed.lines().any(|printed| printed == line), "no {line:?} in\n{printed}");
    }
}

#[test]
fn a_wrong_variable_is_named() {
    let mut command = command();
    command.env("MAJORDOMO_BROKER_TRACE", "maybe");
    is_refused(
        &run_command(&mut command),
        "majordomo-broker: environment variable MAJORDOMO_BROKER_TRACE: trace = \"maybe\": expected \
         true or false\n",
    );
}

#[test]
fn wrong_flags_are_refused() {
    is_refused(
        &run(["--frobnicate"]),
        "majordomo-broker: unexpected argument '--frobnicate' found\n\n\
         Usage: majordomo-broker [OPTIONS]\n\n\
         For more information, try '--help'.\n",
    );
    is_refused(
        &run(["--bind", "tcp://127.0.0.1:99999"]),
        "majordomo-broker: flag --bind: bind = [\"tcp://127.0.0.1:99999\"]: endpoint \
         \"tcp://127.0.0.1:99999\" has the port \"99999\", which is not 0 to 65535 or *; expected \
         tcp://HOST:PORT, ipc://PATH or inproc://NAME\n",
    );
    is_refused(
        &run(["--heartbeat-interval-ms", "soon"]),
        "majordomo-broker: flag --heartbeat-interval-ms: heartbeat_interval_ms = \"soon\": expected \
         a whole number, 10 to 3600000 ms\n",
    );
}

#[test]
fn what_cannot_be_bound_is_a_failure() {
    let in_use = BrokerProcess::start();
    let directory = tempfile::tempdir().expect("a directory");
    let taken = directory.path().join("taken");
    std::fs::write(&taken, "precious").expect("a file");
    for (endpoint, why) in [
        (in_use.endpoint(), "address in use"),
        ("ipc:///nowhere/broker", "/nowhere is not a directory"),
        (&format!("ipc://{}", taken.display()), "a file that is not a socket has this path"),
    ] {
        let failed = run([format!("--bind={endpoint}")]);
        assert_eq!(failed.stderr, format!("majordomo-broker: cannot bind {endpoint}: {why}\n"));
        assert_eq!((failed.code, failed.stdout.as_str()), (Some(1), ""));
    }
    assert_eq!(std::fs::read_to_string(&taken).expect("still there"), "precious");
}

#[test]
fn standard_output_is_the_ready_line_and_nothing_else() {
    let mut broker = BrokerProcess::with(["--trace"]);
    RawPeer::dealer(broker.endpoint()).call(Version::V0_2, "mmi.service", "echo", "404");
    broker.signal(Signal::TERM);
    assert_eq!(broker.exit_code(), 0);
    assert_eq!(broker.process().line(), None);
    let log = broker.log();
    let last = log.lines().last().unwrap_or_default();
    assert!(last.ends_with("stopped requests=0 answered=0"), "{last:?}");
}

#[test]
fn trace_shows_every_message_frame_by_frame() {
    let mut broker = BrokerProcess::with(["--trace"]);
    let mut client = RawPeer::dealer(broker.endpoint());
    client.send(&wire::frames(["id", "", "MDPC01", "mmi.service", "\u{1}"]));
    client.expect(&wire::frames(["id", "", "MDPC01", "mmi.service", "404"]));
    broker.signal(Signal::TERM);
    assert_eq!(broker.exit_code(), 0);
    // Further lines of one event are indented by the logger.
    let log: Vec<String> = broker.log().lines().map(|line| line.trim().to_owned()).collect();
    let shown = |arrow: &str, body: &str| {
        let frames = ["[002] id", "[000]", "[006] MDPC01", "[011] mmi.service", body];
        log.windows(6).any(|lines| lines[0].contains(arrow) && lines[1..] == frames)
    };
    assert!(shown("-> 00", "[001] 0x01"), "{}", broker.log());
    assert!(shown("<- 00", "[003] 404"), "{}", broker.log());
}

#[test]
fn json_log_lines_are_one_object_each() {
    let mut broker = BrokerProcess::with(["--log-format=json", "--log=debug", "--trace"]);
    let mut client = RawPeer::dealer(broker.endpoint());
    let mut worker = RawWorker::register(broker.endpoint(), Version::V0_1, "echo");
    client.send(&wire::request(Version::V0_1, "echo", ["a \"quoted\"\nbody"]));
    worker.echo("a \"quoted\"\nbody");
    client.receive();
    client.send(&wire::frames(["\"\n\\", "\u{0}"]));
    Reports::of(broker.endpoint()).until_counted("messages_malformed", 1);
    broker.signal(Signal::INT);
    assert_eq!(broker.exit_code(), 0);
    let log = broker.log();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for line in &lines {
        for key in ["time", "level", "target", "message"] {
            assert!(line[key].is_string(), "no {key} in {line}");
        }
    }
    let registered = lines.iter().find(|line| line["message"] == "worker registered");
    let registered = registered.unwrap_or_else(|| panic!("no worker registered in\n{log}"));
    assert_eq!(registered["service"], "echo");
    assert_eq!(registered["protocol"], "0.1");
    assert_eq!(registered["level"], "INFO");
    assert!(lines.iter().any(|line| line["message"] == "invalid message dropped"));
    assert!(lines.iter().any(|line| line["message"] == "request dispatched"));
}
