//! Who is let in, by which mechanism, and what whoever is not learns of it.

use majordomo_tests::limit::{Deadline, until};
use majordomo_tests::raw::RawPeer;
use majordomo_tests::report::Reports;
use majordomo_tests::spawn::{BrokerProcess, run};
use majordomo_tests::v1::{RawClient, RawWorker};

use super::{Key, Secured, use_curve, use_plain, write_private};

const HANDSHAKE_SUCCEEDED: u16 = 0x1000;
const FAILED_PROTOCOL: u16 = 0x2000;
const FAILED_AUTH: u16 = 0x4000;

/// How the first handshake of a socket ends: the event, and the value that comes with it.
fn end_of_handshake(endpoint: &str, set: impl FnOnce(&zmq::Socket)) -> (u16, u32) {
    let context = zmq::Context::new();
    let socket = context.socket(zmq::DEALER).expect("a socket");
    socket.set_linger(0).expect("no linger");
    set(&socket);
    socket.monitor("inproc://monitor", zmq::SocketEvent::ALL as i32).expect("a monitor");
    let monitor = context.socket(zmq::PAIR).expect("a socket");
    monitor.set_linger(0).expect("no linger");
    monitor.connect("inproc://monitor").expect("a monitor");
    socket.connect(endpoint).expect("connected");
    let ended = until("a handshake has ended", || {
        let deadline = Deadline::generous();
        while !deadline.is_over() {
            if monitor.poll(zmq::POLLIN, 100).expect("a poll") == 0 {
                continue;
            }
            let frames = monitor.recv_multipart(0).expect("an event");
            let event = u16::from_ne_bytes([frames[0][0], frames[0][1]]);
            let value = u32::from_ne_bytes(frames[0][2..6].try_into().expect("four bytes"));
            if [HANDSHAKE_SUCCEEDED, FAILED_PROTOCOL, FAILED_AUTH].contains(&event) {
                return Some((event, value));
            }
        }
        None
    });
    // libzmq waits for a monitor that has gone.
    socket.monitor("inproc://nothing", 0).expect("no monitor");
    ended
}

#[test]
fn a_key_in_the_file_is_let_in_and_served() {
    let (alice, bob) = (Key::new("alice"), Key::new("bob"));
    let rights = alice.entry("client = [\"echo\"]") + &bob.entry("worker = [\"echo\"]");
    let broker = Secured::start(&rights, &[]);
    let mut worker = broker.registered(&bob, "echo");
    let mut client = broker.client(&alice);
    let id = client.ask("echo", "hello");
    worker.echo("hello");
    client.expect_reply(id, "hello");

    // The open endpoint beside it, on the same socket of the broker.
    let mut client = RawClient::connect(broker.open());
    let id = client.ask("echo", "from here");
    worker.echo("from here");
    client.expect_reply(id, "from here");
}

#[test]
fn a_user_with_the_right_password_is_let_in_and_served() {
    let rights = "[[peer]]\nname = \"carol\"\npassword = \"s3cret\"\nclient = [\"*\"]\n";
    let broker = Secured::start(rights, &[]);
    let mut worker = RawWorker::register(broker.open(), "echo", 1);
    let carol = RawPeer::dealer_with(broker.plain(), |socket| use_plain(socket, "carol", "s3cret"));
    let mut client = RawClient::of(carol);
    let id = client.ask("echo", "hello");
    worker.echo("hello");
    client.expect_reply(id, "hello");
    assert!(!broker.broker.log().contains("s3cret"));
}

#[test]
fn whoever_shows_nothing_right_is_refused_and_told() {
    let alice = Key::new("alice");
    let rights =
        alice.entry("client = [\"*\"]") + "[[peer]]\nname = \"carol\"\npassword = \"s3cret\"\n";
    let broker = Secured::start(&rights, &[]);
    let curve = |key: &Key, server: &Key| {
        end_of_handshake(broker.curve(), |socket| use_curve(socket, server, key))
    };
    let plain = |endpoint: &str, user: &str, password: &str| {
        end_of_handshake(endpoint, |socket| use_plain(socket, user, password))
    };
    assert_eq!(curve(&alice, &broker.server).0, HANDSHAKE_SUCCEEDED);
    assert_eq!(plain(broker.plain(), "carol", "s3cret").0, HANDSHAKE_SUCCEEDED);
    assert_eq!(end_of_handshake(broker.open(), |_| {}).0, HANDSHAKE_SUCCEEDED);

    // A key or password that is not in the file: the client is told so.
    assert_eq!(curve(&Key::new("mallory"), &broker.server), (FAILED_AUTH, 400));
    assert_eq!(plain(broker.plain(), "carol", "guess"), (FAILED_AUTH, 400));
    assert_eq!(plain(broker.plain(), "mallory", "s3cret"), (FAILED_AUTH, 400));
    let log = broker.broker.process().log_until("its user is not in the rights file");
    for reason in ["its key is not in the rights file", "its password is wrong"] {
        let lines: Vec<_> = log.lines().filter(|line| line.contains(reason)).collect();
        assert_eq!(lines.len(), 1, "{log}");
        assert!(lines[0].contains("address=127.0.0.1"), "{log}");
    }
    assert!(!log.contains("guess") && !log.contains("s3cret"), "{log}");
    Reports::of(broker.open()).until_counted("handshakes_refused", 3);
}

#[test]
fn no_endpoint_takes_another_mechanism_than_its_own() {
    let alice = Key::new("alice");
    let rights = alice.entry("client = [\"*\"]")
        + "[[peer]]\nname = \"carol\"\npassword = \"s3cret\"\nclient = [\"*\"]\n";
    let broker = Secured::start(&rights, &[]);
    let (open, curve, plain) = (broker.open(), broker.curve(), broker.plain());
    type Set<'a> = &'a dyn Fn(&zmq::Socket);
    let null: Set<'_> = &|_| {};
    let with_curve: Set<'_> = &|socket| use_curve(socket, &broker.server, &alice);
    let with_plain: Set<'_> = &|socket| use_plain(socket, "carol", "s3cret");
    for (endpoint, set, reached) in [
        (curve, null, false),
        (curve, with_plain, false),
        (plain, null, false),
        (plain, with_curve, false),
        (open, with_curve, false),
        (open, with_plain, false),
        (open, null, true),
        (curve, with_curve, true),
        (plain, with_plain, true),
    ] {
        let succeeded = end_of_handshake(endpoint, |socket| set(socket)).0 == HANDSHAKE_SUCCEEDED;
        assert_eq!(succeeded, reached, "{endpoint}");
    }
    // Whichever side finds it first closes the connection.
    let log = broker.broker.process().log_until("handshake failed");
    for endpoint in [open, curve, plain] {
        let lines = log.lines().filter(|line| line.contains("handshake failed"));
        assert!(lines.filter(|line| line.contains(endpoint)).count() > 0, "{log}");
    }
}

#[test]
fn a_client_with_a_wrong_key_of_the_broker_hears_nothing() {
    let alice = Key::new("alice");
    let broker = Secured::start(&alice.entry("client = [\"*\"]"), &[]);
    let reason = "the peer has another key for this broker, or a broken one";
    let _client = RawPeer::dealer_with(broker.curve(), |socket| {
        use_curve(socket, &Key::new("another"), &alice);
    });
    broker.broker.process().log_until(reason);
    Reports::of(broker.open()).until("it is counted", |report| {
        report.counters.get("handshakes_refused").is_some_and(|count| *count > 0)
    });
}

#[test]
fn a_peer_that_is_slow_to_shake_hands_is_cut_off() {
    use std::io::Read;
    let broker = Secured::start("", &["--handshake-ms=200"]);
    let address = broker.curve().trim_start_matches("tcp://").to_owned();
    let mut slow = std::net::TcpStream::connect(address).expect("connected");
    slow.set_read_timeout(Some(majordomo_tests::limit::LIMIT)).expect("a limit");
    // The broker's greeting, and then its end.
    let mut greeting = Vec::new();
    let ended = slow.read_to_end(&mut greeting);
    assert!(
        ended.is_ok()
            || ended.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
    );
    broker.broker.process().log_until("the peer left before it was let in, or was too slow");
}

#[test]
fn a_broker_without_its_files_does_not_start_and_says_why() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    let flags = |more: &[String]| {
        let mut flags = vec!["--bind-curve=tcp://127.0.0.1:*".to_owned()];
        flags.extend_from_slice(more);
        run(flags)
    };
    let key = format!("--curve-secret-key-file={}", path("broker.key").display());
    let rights = format!("--rights-file={}", path("rights.toml").display());

    let missing = flags(&[]);
    assert_eq!(missing.code, Some(2), "{}", missing.stderr);
    assert!(
        missing.stderr.contains("curve_secret_key_file: is needed to listen on"),
        "{missing:?}"
    );
    let missing = flags(std::slice::from_ref(&key));
    assert!(missing.stderr.contains("rights_file: is needed to listen on"), "{missing:?}");

    let unread = flags(&[key.clone(), rights.clone()]);
    assert_eq!(unread.code, Some(1), "{}", unread.stderr);
    assert!(unread.stderr.contains("broker.key: cannot be read: No such file"), "{unread:?}");

    let secret = Key::new("broker").secret();
    write_private(&path("broker.key"), &format!("secret_key = \"{secret}\"\n"));
    write_private(&path("rights.toml"), "[[peer]]\nname = \"a\"\n");
    let faulty = flags(&[key.clone(), rights.clone()]);
    assert_eq!(faulty.code, Some(1), "{}", faulty.stderr);
    let fault = "rights.toml: line 1: \"a\" has neither a public_key nor a password";
    assert!(faulty.stderr.contains(fault), "{faulty:?}");
    let checked = flags(&[key.clone(), rights.clone(), "--check-config".to_owned()]);
    assert_eq!(checked.code, Some(2), "{checked:?}");
    assert!(checked.stderr.contains(fault), "{checked:?}");

    write_private(&path("rights.toml"), "");
    let printed = run(["--print-config", "--bind-curve=tcp://127.0.0.1:*", &key, &rights]);
    assert_eq!(printed.code, Some(0), "{}", printed.stderr);
    assert!(printed.stdout.contains("broker.key") && !printed.stdout.contains(&secret));
    assert!(printed.stdout.contains("\nbind = []\n"), "{}", printed.stdout);
}

#[test]
fn an_open_endpoint_for_other_machines_has_to_be_asked_for() {
    let refused = run(["--bind=tcp://*:0"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("can be reached from other machines"), "{refused:?}");
    let broker = BrokerProcess::with(["--bind=tcp://*:0", "--allow-insecure"]);
    broker.process().log_until("insecure endpoint");
}

#[test]
fn the_file_of_an_ipc_endpoint_has_the_mode_asked_for() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("broker");
    let bind = format!("--bind=ipc://{}", path.display());
    let _broker = BrokerProcess::with([&bind, "--ipc-mode=0600"]);
    let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_secured_broker_stops_at_once_and_sends_its_last_answers() {
    let alice = Key::new("alice");
    let mut broker = Secured::start(&alice.entry("worker = [\"a\"]"), &[]);
    let mut worker = broker.registered(&alice, "a");
    broker.broker.signal(majordomo_tests::process::Signal::TERM);
    assert_eq!(worker.expect_disconnect().0, 503);
    assert_eq!(broker.broker.exit_code(), 0);
}
