//! `majordomo call`: bodies, replies, and how waiting for one ends.

use std::fs;
use std::io::{BufRead, BufReader, Read};

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
    place.run(&["call", "echo", &file, "--protocol", "0.1"]).prints(&body);
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
fn a_service_without_worker_times_out() {
    let place = Place::new();
    let text = format!(
        "majordomo: no reply from service nobody in 50ms (tries: 2, the last at {})\n",
        place.endpoint()
    );
    let arguments = ["call", "nobody", "--timeout", "50ms", "--tries", "2"];
    place.run(&arguments).fails(1, &text);
}

#[test]
fn verbose_tells_that_it_lasts_and_of_each_try() {
    let place = Place::new();
    let arguments = ["call", "nobody", "-v", "--timeout", "1200ms", "--tries", "2"];
    let ended = place.run(&arguments);
    assert_eq!(ended.code, Some(1));
    for text in ["majordomo: waiting for nobody, 1 s so far\n", "try 1 of 2 failed"] {
        assert!(ended.err.contains(text), "{}", ended.err);
    }
}

#[test]
fn an_unreachable_broker_is_named() {
    let place = Place::new();
    let text = format!("majordomo: no broker reached at {NOBODY} (tries: 2)\n");
    let call = ["--broker", NOBODY, "call", "echo", "--timeout", "50ms", "--tries", "2"];
    place.run(&call).fails(1, &text);
    let status = ["--broker", NOBODY, "status", "--timeout", "50ms", "--tries", "2"];
    place.run(&status).fails(1, &text);
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
