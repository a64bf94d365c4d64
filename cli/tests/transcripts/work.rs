//! `majordomo work`: commands as workers, from registering to the last signal.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use majordomo_protocol::mmi::WorkerState;
use rustix::process::Signal;

use crate::place::{Place, end, noise};

#[test]
fn words_are_counted_as_wc_counts_them_many_at_once() {
    let place = Place::new();
    let work = place.work(1, &["count", "-n", "4", "--", "wc", "-w"]);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    assert!(files.len() > 4);
    let here = &place;
    thread::scope(|scope| {
        for path in files.iter().cycle().take(24) {
            scope.spawn(move || {
                let mut wc = Command::new("wc");
                let wc = wc.arg("-w").stdin(File::open(path).unwrap()).output().unwrap();
                here.run(&["call", "count", path.to_str().unwrap()]).prints(wc.stdout);
            });
        }
    });
    work.signal(Signal::TERM);
    let text = work.end().text();
    assert!(text.ends_with("majordomo: stopped: 24 received, 0 failed, 0 unfinished\n"));
}

#[test]
fn it_says_what_it_serves_and_where() {
    let place = Place::new();
    let work = place.work(1, &["echo", "-n", "2", "--", "cat"]);
    work.signal(Signal::INT);
    let text = format!(
        "majordomo: serving echo at {}, 2 at once\n\
         majordomo: stopped: 0 received, 0 failed, 0 unfinished\n",
        place.endpoint()
    );
    work.end().prints(text);
}

#[test]
fn a_command_need_not_read_what_it_is_sent() {
    let place = Place::new();
    let _deaf = place.work(1, &["deaf", "--", "echo", "hi"]);
    let file = place.file("body", &noise(6_000_000));
    place.run(&["call", "deaf", &file]).prints("hi\n");
    // Nor may it be made to read before it writes.
    let script = "head -c 6000000 /dev/zero; cat > /dev/null";
    let _first = place.work(1, &["first", "--", "sh", "-c", script]);
    place.run(&["call", "first", &file]).prints(vec![0; 6_000_000]);
}

#[test]
fn a_command_finds_service_and_request_in_its_environment() {
    let place = Place::new();
    let script = "echo $MAJORDOMO_SERVICE $MAJORDOMO_REQUEST";
    let _work = place.work(1, &["who", "--", "sh", "-c", script]);
    let replies: BTreeSet<String> = (0..3).map(|_| place.run(&["call", "who"]).text()).collect();
    assert_eq!(replies.len(), 3, "{replies:?}");
    for reply in replies {
        let id = reply.trim().strip_prefix("who ").unwrap();
        assert!(!id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    }
}

#[test]
fn the_first_signal_lets_what_runs_finish() {
    let place = Place::new();
    let (begun, go) = (place.fifo("begun"), place.fifo("go"));
    let script = "echo > begun; cat go";
    let work = place.work(1, &["slow", "-n", "2", "--", "sh", "-c", script]);
    let call = place.command(&["call", "slow"]).spawn().unwrap();
    assert_eq!(fs::read_to_string(begun).unwrap(), "\n");
    work.signal(Signal::TERM);
    place.until(|report| report.workers[0].state == WorkerState::Draining);
    fs::write(go, "finished").unwrap();
    end(call).prints("finished");
    let text = work.end().text();
    assert!(text.ends_with("majordomo: stopped: 1 received, 0 failed, 0 unfinished\n"));
    place.until(|report| report.workers.is_empty());
}

#[test]
fn the_second_signal_kills_what_runs_and_another_worker_gets_it() {
    let place = Place::new();
    let held = place.fifo("held");
    let script = "exec 3>held; echo begun >&3; sleep 1000; echo too late";
    let work = place.work(1, &["slow", "-n", "2", "--", "sh", "-c", script]);
    let call = place.command(&["call", "slow", "--timeout", "60s"]).spawn().unwrap();
    let mut held = BufReader::new(File::open(held).unwrap());
    let mut line = String::new();
    held.read_line(&mut line).unwrap();
    assert_eq!(line, "begun\n");
    work.signal(Signal::INT);
    place.until(|report| report.workers[0].state == WorkerState::Draining);
    work.signal(Signal::INT);
    let text = work.end().text();
    assert!(text.ends_with("majordomo: stopped: 1 received, 0 failed, 1 unfinished\n"));
    // Nothing of the command is left.
    held.read_to_string(&mut line).unwrap();
    assert_eq!(line, "begun\n");
    place.until(|report| report.workers.is_empty());
    let _other = place.work(1, &["slow", "--", "echo", "by another"]);
    end(call).prints("by another\n");
}

#[test]
fn it_serves_all_brokers_that_are_named() {
    let (one, two) = (Place::new(), Place::new());
    let both = ["echo", "--broker", one.endpoint(), "--broker", two.endpoint(), "--", "cat"];
    let _work = one.work(1, &both);
    two.until(|report| report.workers.len() == 1);
    one.run(&["call", "echo", "-b", "x"]).prints("x");
    two.run(&["call", "echo", "-b", "x"]).prints("x");
}

#[test]
fn it_speaks_the_older_versions() {
    let place = Place::new();
    for version in ["0.1", "0.2"] {
        let arguments = ["old", "-n", "2", "--protocol", version, "--stream", "--", "cat"];
        let work = place.work(2, &arguments);
        assert_eq!(place.report().workers[0].protocol, version);
        for client in ["0.1", "0.2", "1.0"] {
            let call = ["call", "old", "-b", "a\nb\n", "--protocol", client];
            place.run(&call).prints("a\nb\n");
        }
        work.signal(Signal::TERM);
        work.end().text();
        place.until(|report| report.workers.is_empty());
    }
}

#[test]
fn by_default_it_speaks_mdp_1_0_one_connection_for_all_its_places() {
    let place = Place::new();
    let _echo = place.work(1, &["echo", "-n", "4", "--", "cat"]);
    let worker = &place.report().workers[0];
    assert_eq!((worker.protocol.as_str(), worker.capacity), ("1.0", 4));
}
