//! Commands that fail under `majordomo work`, and what the client is told.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use crate::place::{Place, end};

#[test]
fn code_and_end_of_standard_error_reach_the_client() {
    let place = Place::new();
    let script = "echo not a reply; echo out of paper >&2; exit 3";
    let _work = place.work(1, &["print", "--", "sh", "-c", script]);
    let text = "majordomo: service print failed: exit code 3: out of paper\n";
    place.run(&["call", "print"]).fails(1, text);
    // It is no reply, raw or not.
    place.run(&["call", "print", "--raw"]).fails(1, text);
}

#[test]
fn a_worker_of_an_older_version_says_so_by_convention() {
    let place = Place::new();
    let script = "echo out of paper >&2; exit 3";
    let _work = place.work(1, &["print", "--protocol", "0.2", "--", "sh", "-c", script]);
    let text = "majordomo: service print failed: exit code 3: out of paper\n";
    let raw = "FINAL   [003] 500\n        [025] exit code 3: out of paper\n";
    for version in ["0.1", "0.2", "1.0"] {
        place.run(&["call", "print", "--protocol", version]).fails(1, text);
        let arguments = ["call", "print", "--raw", "--frames", "--protocol", version];
        place.run(&arguments).prints(raw);
    }
}

#[test]
fn a_signal_is_named() {
    let place = Place::new();
    let _work = place.work(1, &["die", "--", "sh", "-c", "kill -9 $$"]);
    let text = "majordomo: service die failed: killed by signal 9\n";
    place.run(&["call", "die"]).fails(1, text);
}

#[test]
fn only_the_end_of_much_is_told_and_nothing_that_controls_a_terminal() {
    let place = Place::new();
    // Less than a pipe holds: nobody reads the worker's own standard error here.
    let script = r"head -c 40000 /dev/zero >&2; printf '\033[2Jthe end\n' >&2; exit 1";
    let _work = place.work(1, &["noisy", "--", "sh", "-c", script]);
    let ended = place.run(&["call", "noisy"]);
    assert_eq!(ended.code, Some(1));
    let begin = "majordomo: service noisy failed: exit code 1: ";
    assert!(ended.err.starts_with(begin), "{}", ended.err);
    assert!(ended.err.ends_with("the end\n"), "{}", ended.err);
    assert!(ended.err.len() < 4000 && !ended.err.contains('\u{1b}'), "{}", ended.err);
}

#[test]
fn a_part_that_was_printed_stays() {
    let place = Place::new();
    let _work = place.work(1, &["half", "--stream", "--", "sh", "-c", "echo one; exit 9"]);
    let ended = place.run(&["call", "half"]);
    assert_eq!(ended.out, b"one\n");
    assert_eq!(ended.err, "majordomo: service half failed: exit code 9\n");
    assert_eq!(ended.code, Some(1));
}

#[test]
fn output_over_the_limit_is_a_failure() {
    let place = Place::new();
    let _whole = place.work(1, &["whole", "--bytes-max", "10", "--", "cat", "/dev/zero"]);
    let text = "majordomo: service whole failed: \
                a reply of more than 10 bytes: the command was killed\n";
    place.run(&["call", "whole"]).fails(1, text);
    let arguments = ["lines", "--stream", "--bytes-max", "10", "--", "cat", "/dev/zero"];
    let _lines = place.work(1, &arguments);
    let text = "majordomo: service lines failed: \
                a line of more than 10 bytes: the command was killed\n";
    place.run(&["call", "lines"]).fails(1, text);
}

#[test]
fn a_time_limit_ends_the_command_and_all_it_started() {
    let place = Place::new();
    let held = place.fifo("held");
    let script = "exec 3>held >&-; echo begun >&3; sleep 1000 & wait";
    let arguments = ["slow", "--time-limit", "100ms", "--", "sh", "-c", script];
    let _work = place.work(1, &arguments);
    let call = place.command(&["call", "slow"]).spawn().unwrap();
    // Ends when no process has the other end any more.
    assert_eq!(fs::read_to_string(held).unwrap(), "begun\n");
    let text = "majordomo: service slow failed: time limit passed: the command was killed\n";
    end(call).fails(1, text);
}

#[test]
fn what_a_command_leaves_behind_is_ended_with_it() {
    let place = Place::new();
    let held = place.fifo("held");
    let script = "exec 3>held; sleep 1000 >&- 2>&- & echo left >&3; echo done";
    let _work = place.work(1, &["leave", "--", "sh", "-c", script]);
    let call = place.command(&["call", "leave"]).spawn().unwrap();
    assert_eq!(fs::read_to_string(held).unwrap(), "left\n");
    end(call).prints("done\n");
}

#[test]
fn a_command_that_has_ended_is_not_waited_for_because_of_what_it_left_behind() {
    let place = Place::new();
    // Both hold the command's output open, and one of them is in no reach.
    for script in ["sleep 1000 & echo done", "setsid sleep 1000 & echo done; echo $! >left"] {
        let _work = place.work(1, &["leave", "--", "sh", "-c", script]);
        place.run(&["call", "leave"]).prints("done\n");
    }
    let left = fs::read_to_string(place.path("left")).unwrap();
    let left = Pid::from_raw(left.trim().parse().unwrap()).unwrap();
    kill_process(left, Signal::KILL).unwrap();
}

#[test]
fn a_command_that_is_not_there_is_told_at_once() {
    let place = Place::new();
    let text = "majordomo: cannot run no-such-program: no directory of PATH has it\n";
    place.run(&["work", "x", "--", "no-such-program"]).fails(1, text);
    let text = "majordomo: cannot run ./none: there is no such file\n";
    place.run(&["work", "x", "--", "./none"]).fails(1, text);
    place.file("plain", b"");
    let text = "majordomo: cannot run ./plain: ./plain is not executable\n";
    place.run(&["work", "x", "--", "./plain"]).fails(1, text);
}
