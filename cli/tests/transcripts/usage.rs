//! The command line itself: brokers, wrong usage, help and its examples.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::place::{MAJORDOMO, NOBODY, Place, Work, end};

#[test]
fn the_broker_is_named_before_or_after_the_command_or_by_the_variable() {
    let place = Place::new();
    let _work = place.work(1, &["echo", "--", "cat"]);
    let here = place.endpoint();
    let elsewhere = |arguments: &[&str]| {
        let mut command = place.command(arguments);
        command.env("MAJORDOMO_BROKER", NOBODY);
        end(command.spawn().unwrap())
    };
    elsewhere(&["--broker", here, "call", "echo", "-b", "x"]).prints("x");
    elsewhere(&["call", "echo", "-b", "x", "--broker", here]).prints("x");
    elsewhere(&["--broker", NOBODY, "call", "echo", "-b", "x", "--broker", here]).prints("x");
    let mut command = place.command(&["call", "echo", "-b", "x"]);
    command.env("MAJORDOMO_BROKER", format!("{NOBODY}, {here}"));
    end(command.spawn().unwrap()).prints("x");
}

#[test]
fn wrong_usage_exits_with_2_and_says_what_is_wrong() {
    let place = Place::new();
    for (arguments, text) in [
        (&[][..], "requires a subcommand"),
        (&["frobnicate"], "unrecognized subcommand 'frobnicate'"),
        (&["call"], "<SERVICE>"),
        (&["call", "a\nb"], "a service name is 1 to 255 bytes"),
        (&["call", "x", "file", "--body", "y"], "cannot be used with"),
        (&["call", "x", "-b", "y", "--timeout", "soon"], "a duration is written 500ms"),
        (&["call", "x", "-b", "y", "--timeout", "0"], "timeout is 0ns, but must be 1 ms"),
        (&["call", "x", "-b", "y", "--tries", "0"], "tries is 0, but must be 1 to 1000"),
        (&["call", "x", "-b", "y", "--bytes-max", "1MB"], "a size of 1 byte or more"),
        (&["call", "x", "-b", "y", "--protocol", "2"], "[possible values: 0.1, 0.2, 1.0]"),
        (&["call", "x", "-b", "y", "--broker", "here"], "endpoint \"here\" has no transport"),
        (&["work", "x"], "<COMMAND>"),
        (&["work", "x", "cat"], "<SERVICE> -- <COMMAND>..."),
        (&["work", "x", "-n", "0", "--", "cat"], "concurrency is 0: must be between 1"),
        (&["work", "mmi.x", "--", "cat"], "must not begin with mmi."),
        (&["work", "x", "--broker", "here", "--", "cat"], "endpoint \"here\" has no transport"),
        (&["status", "x", "--json"], "cannot be used with"),
        (&["status", "--watch=0"], "--watch is 0ns: it must be 100ms or more"),
        (&["bench", "--seconds", "0"], "it is a number from 0.1 to 3600"),
        (&["bench", "--in-flight", "0"], "outstanding_max is 0, but must be 1"),
        (&["bench", "--service", ""], "a service name is 1 to 255 bytes"),
        (&["completions", "ksh"], "[possible values: bash"),
    ] {
        let ended = place.run(arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.err);
        assert!(ended.err.starts_with("majordomo: "), "{arguments:?}: {}", ended.err);
        assert!(ended.err.contains(text), "{arguments:?}: {}", ended.err);
        assert!(ended.out.is_empty(), "{arguments:?}");
    }
}

#[test]
fn version_and_completions() {
    let place = Place::new();
    place.run(&["--version"]).prints(concat!("majordomo ", env!("CARGO_PKG_VERSION"), "\n"));
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let text = place.run(&["completions", shell]).text();
        assert!(text.contains("majordomo") && text.contains("heartbeat-interval"), "{shell}");
    }
}

/// Runs what the help texts show, all in one place, and sees that it works.
#[test]
fn the_examples_of_the_help_are_true() {
    let place = Place::new();
    place.file("README.md", b"One two three,\nfour five six seven.\n");
    let mut examples = Vec::new();
    for command in [
        &["--help"][..],
        &["call", "--help"],
        &["work", "--help"],
        &["status", "--help"],
        &["keygen", "--help"],
    ] {
        let text = place.run(command).text();
        let (_, after) = text.split_once("\nExample").unwrap();
        let lines = after.lines().skip(1).map_while(|line| line.strip_prefix("  "));
        examples.extend(lines.map(str::to_owned));
    }
    assert_eq!(examples.len(), 17, "{examples:#?}");
    let path = Path::new(MAJORDOMO).parent().unwrap().display().to_string();
    let path = format!("{path}:{}", std::env::var("PATH").unwrap());
    let shell = |line: &str| {
        let mut shell = place.command(&[]);
        let mut command = Command::new("sh");
        command.args(["-c", line]).env("PATH", &path).current_dir(&place.folder);
        for (name, value) in shell.stdin(Stdio::null()).get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let is_work = |line: &&String| line.starts_with("majordomo work ");
    let mut works = vec![place.work(1, &["echo", "--", "cat"])];
    for line in examples.iter().filter(is_work) {
        let before = place.report().workers.len();
        works.push(Work(Some(shell(&format!("exec {line}")))));
        place.until(|report| report.workers.len() > before);
    }
    for line in examples.iter().filter(|line| !is_work(line)) {
        match line.as_str() {
            // It runs in this process.
            "majordomo-broker" => {}
            "majordomo status --watch=5" => {
                let mut watch = shell(&format!("exec {line}"));
                let mut first = String::new();
                let out = watch.stdout.take().unwrap();
                BufReader::new(out).read_line(&mut first).unwrap();
                assert!(first.starts_with("majordomo-broker "), "{first}");
                drop(Work(Some(watch)));
            }
            line if line.contains("majordomo call count") => end(shell(line)).prints("7\n"),
            line if line.contains("call echo") => end(shell(line)).prints("hello"),
            line if line.ends_with(">> rights.toml") => {
                assert_eq!(end(shell(line)).text(), "");
                let rights = std::fs::read_to_string(place.path("rights.toml")).unwrap();
                assert!(rights.starts_with("[[peer]]\nname = \"alice\"\n"), "{rights}");
            }
            line if line.contains("call mmi.service") => end(shell(line)).prints("200"),
            line => assert!(!end(shell(line)).text().is_empty()),
        }
    }
    place.run(&["call", "upper", "-b", "a\nb\n"]).prints("A\nB\n");
    let hello = place.run(&["call", "hello", "-b", "hi"]).text();
    assert!(hello.starts_with("request ") && hello.ends_with(" says: hi\n"), "{hello}");
}
