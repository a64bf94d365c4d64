//! `majordomo call`: bodies, replies, and how waiting for one ends.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};

use majordomo_broker::config::Config;
use majordomo_protocol::mmi::WorkerState;
use rustix::process::Signal;

use crate::place::{NOBODY, Place, end, noise};

#[test]
fn the_body_is_a_file_or_standard_input_or_a_text() {
    let place = Place::new();
    let _work = place.work(1, &["echo", "--", "cat"]);
    let file = place.file("body", b"from a file\n");
    place.run(&["call", "echo", &file]).prints("from a file\n");
    place.run_with_input(&["call", "echo"], b"from a pipe").prints("from a pipe");
    place.run_with_input(&["call", "echo", "-"], b"from a pipe").prints("from a pipe");
    place.run(&["call", "echo", "--body", "-a text"]).prints("-a text");
    place.run(&["call", "echo", "-b", "two ", "-b", "frames"]).prints("two frames");
    place.run(&["call", "echo", "--body", ""]).prints("");
}

#[test]
fn a_body_that_cannot_be_read_is_an_error() {
    let place = Place::new();
    let missing = "majordomo: cannot read nowhere: No such file or directory (os error 2)\n";
    place.run(&["call", "echo", "nowhere"]).fails(1, missing);
    let file = place.file("body", b"12345678901");
    let text = format!(
        "majordomo: cannot read {file}: it has more than 10 bytes; --bytes-max raises the limit\n"
    );
    place.run(&["call", "echo", &file, "--bytes-max", "10"]).fails(1, &text);
}

#[test]
fn six_megabytes_go_both_ways() {
    let place = Place::new();
    let _work = place.work(1, &["echo", "--", "cat"]);
    let body = noise(6_000_000);
    let file = place.file("body", &body);
    place.run(&["call", "echo", &file]).prints(&body);
    for version in ["0.1", "0.2"] {
        place.run(&["call", "echo", &file, "--protocol", version]).prints(&body);
    }
}

#[test]
fn parts_are_printed_as_they_come() {
    let place = Place::new();
    let go = place.fifo("go");
    let _work = place.work(1, &["tail", "--stream", "--", "sh", "-c", "echo one; cat go"]);
    let mut call = place.command(&["call", "tail"]).spawn().unwrap();
    let mut out = BufReader::new(call.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "one\n");
    fs::write(go, "two\nthree").unwrap();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "two\nthree");
    end(call).prints("");
}

#[test]
fn frames_shows_the_messages_of_a_reply() {
    let place = Place::new();
    let _work = place.work(1, &["lines", "--stream", "--", "printf", r"one\ntwo"]);
    let expected = "PARTIAL [004] 0x6f6e650a\nPARTIAL [003] two\nFINAL   [000] \n";
    place.run(&["call", "lines", "--frames"]).prints(expected);
    let expected = "FINAL   [004] 0x6f6e650a\n        [003] two\n        [000] \n";
    place.run(&["call", "lines", "--frames", "--protocol", "0.1"]).prints(expected);
}

#[test]
fn a_service_without_worker_is_told_and_can_be_waited_for() {
    let place = Place::new();
    let text = "majordomo: no worker for service nobody; with --wait the request waits for one\n";
    place.run(&["call", "nobody"]).fails(1, text);
    let call = place.command(&["call", "late", "--wait", "-b", "x"]).spawn().unwrap();
    place.until(|report| report.services.iter().any(|late| late.waiting == 1));
    let _work = place.work(1, &["late", "--", "cat"]);
    end(call).prints("x");
    // Those versions have no other way.
    let text = format!(
        "majordomo: no reply from service nobody in 50ms (tries: 2, the last at {})\n",
        place.endpoint()
    );
    let older = ["call", "nobody", "--protocol", "0.2", "--timeout", "50ms", "--tries", "2"];
    place.run(&older).fails(1, &text);
}

#[test]
fn a_reply_that_does_not_come_in_time() {
    let place = Place::new();
    // A worker of MDP/1.0 is told the timeout, and its own answer may win the race.
    let work = place.work(1, &["slow", "--protocol", "0.2", "--", "sleep", "1000"]);
    let text = "majordomo: no reply from service slow in time (tries: 1)\n";
    place.run(&["call", "slow", "--timeout", "2s", "--tries", "1"]).fails(1, text);
    // It ends at once, and its command with it.
    work.signal(Signal::INT);
    work.signal(Signal::TERM);
    assert_eq!(work.end().code, Some(0));
}

#[test]
fn a_queue_that_is_full() {
    let place = Place::with(Config::builder().toml("broker.toml", "requests_per_service_max = 1"));
    let mut waits = place.start(&["call", "void", "--wait", "-b", "x"]);
    place.until(|report| report.services.iter().any(|void| void.waiting == 1));
    let text = "majordomo: service void is busy: the service's queue is full\n";
    place.run(&["call", "void", "--wait", "-b", "y"]).fails(1, text);
    waits.child().kill().unwrap();
}

#[test]
fn a_worker_that_is_lost_is_told_to_whom_asked_once() {
    let place = Place::new();
    let begun = place.fifo("begun");
    let work = place.work(1, &["slow", "--", "sh", "-c", "echo >begun; sleep 1000"]);
    let call = place.command(&["call", "slow", "--once"]).spawn().unwrap();
    assert_eq!(fs::read_to_string(begun).unwrap(), "\n");
    work.signal(Signal::INT);
    place.until(|report| report.workers[0].state == WorkerState::Draining);
    work.signal(Signal::INT);
    let ended = end(call);
    let text = "majordomo: service slow: its worker was lost; the request may have run\n";
    assert_eq!(ended.err, text);
    assert_eq!((ended.code, ended.out.len()), (Some(1), 0));
    let text = "majordomo: --once needs MDP/1.0: older versions cannot say it\n";
    place.run(&["call", "slow", "--once", "--protocol", "0.2"]).fails(2, text);
}

#[test]
fn an_interrupted_call_is_cancelled_and_its_command_killed() {
    let place = Place::new();
    let held = place.fifo("held");
    let script = "exec 3>held >&-; echo begun >&3; sleep 1000";
    let _work = place.work(1, &["slow", "--", "sh", "-c", script]);
    for signal in [Signal::INT, Signal::TERM] {
        let call = place.start(&["call", "slow"]);
        let mut held = BufReader::new(File::open(&held).unwrap());
        let mut text = String::new();
        held.read_line(&mut text).unwrap();
        assert_eq!(text, "begun\n");
        call.signal(signal);
        let ended = call.end();
        assert_eq!(ended.err, "majordomo: interrupted: the request was cancelled\n");
        assert_eq!((ended.code, ended.signal), (None, Some(signal.as_raw())));
        // Ends when no process has the other end any more.
        held.read_to_string(&mut text).unwrap();
        place.until(|report| report.workers[0].state == WorkerState::Idle);
    }
    assert_eq!(place.report().counters["requests_dropped_cancelled"], 2);
}

#[test]
fn a_broker_that_does_not_speak_mdp_1_0_is_suspected() {
    let socket = zmq::Context::new().socket(zmq::ROUTER).unwrap();
    socket.bind("tcp://127.0.0.1:*").unwrap();
    let endpoint = socket.get_last_endpoint().unwrap().unwrap();
    let place = Place::new();
    let commands =
        [(&["call", "echo", "-b", "x"][..], " the request may have run;"), (&["status"], "")];
    for (command, ran) in commands {
        let asking = ["--broker", &endpoint, "--timeout", "2s", "--tries", "1"];
        let text = format!(
            "majordomo: nothing was heard from {endpoint} (tries: 1);{ran} if no MDP/1.0 is \
             spoken there, try --protocol 0.2\n"
        );
        place.run(&[command, &asking].concat()).fails(1, &text);
    }
}

#[test]
fn verbose_tells_that_it_lasts_and_of_each_try() {
    let place = Place::new();
    let arguments = ["call", "nobody", "--wait", "-v", "--timeout", "1200ms", "--tries", "1"];
    let ended = place.run(&arguments);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("majordomo: waiting for nobody, 1 s so far\n"), "{}", ended.err);
    let arguments =
        ["call", "nobody", "-v", "--protocol", "0.2", "--timeout", "50ms", "--tries", "2"];
    let ended = place.run(&arguments);
    assert!(ended.err.contains("try 1 of 2 failed"), "{}", ended.err);
}

#[test]
fn an_unreachable_broker_is_named() {
    let place = Place::new();
    let text = format!("majordomo: no broker reached at {NOBODY} (tries: 1)\n");
    for command in [&["call", "echo"][..], &["status"]] {
        for version in ["0.1", "0.2", "1.0"] {
            let asking = ["--timeout", "50ms", "--tries", "1", "--protocol", version];
            place.run(&[&["--broker", NOBODY], command, &asking].concat()).fails(1, &text);
        }
    }
    // What the client warns of when it gives a broker up is for -v.
    let long = ["--broker", NOBODY, "call", "echo", "--timeout", "60s", "--tries", "1"];
    place.run(&long).fails(1, &text);
    let ended = place.run(&[&long[..], &["-v"]].concat());
    assert!(ended.err.contains("broker left: unreachable"), "{}", ended.err);
}

#[test]
fn a_reply_over_the_limit_is_refused() {
    let place = Place::new();
    let _work = place.work(1, &["long", "--", "echo", "0123456789"]);
    let text = "majordomo: reply of service long is larger than reply_bytes_max = 10\n";
    place.run(&["call", "long", "--bytes-max", "10"]).fails(1, text);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Place::new();
    let _work = place.work(1, &["echo", "--", "cat"]);
    let file = place.file("body", &noise(6_000_000));
    for arguments in [&["call", "echo", &file][..], &["--help"], &["completions", "bash"]] {
        let mut child = place.command(arguments).spawn().unwrap();
        drop(child.stdout.take());
        end(child).prints("");
    }
}
