//! Our own clients and workers with keys and passwords: what they reach with the right ones,
//! and the error that each wrong one gives.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::{LazyLock, Mutex, Once};
use std::time::Duration;

use majordomo_client::{
    BlockingClient, Body, CallError, Client, Error, HandshakeFailure, KeyPair, PublicKey,
    SecretKey, Security,
};
use majordomo_tests::limit::{LIMIT, until};
use majordomo_tests::process::Signal;
use majordomo_tests::report::Reports;
use majordomo_worker::{Request, RunningWorker, Worker};

use super::{Key, Secured, write_private};

const PASSWORD: &str = "s3cret";

fn pair(key: &Key) -> KeyPair {
    KeyPair {
        public_key: PublicKey::new(key.pair.public_key),
        secret_key: SecretKey::new(key.pair.secret_key),
    }
}

fn curve(server: &Key, key: &Key) -> Security {
    Security::curve(PublicKey::new(server.pair.public_key), pair(key))
}

fn plain(user: &str, password: &str) -> Security {
    Security::plain(user, password).expect("a login")
}

fn client(endpoint: &str, security: Security) -> Client {
    Client::builder().broker(endpoint).security(security).timeout(LIMIT).build().expect("a client")
}

fn blocking(endpoint: &str, security: Security) -> BlockingClient {
    let builder = BlockingClient::builder().broker(endpoint).security(security);
    builder.timeout(LIMIT).build().expect("a client")
}

fn echo(endpoint: &str, security: Security) -> RunningWorker {
    Worker::builder()
        .broker(endpoint)
        .security(security)
        .reconnect_max(Duration::from_millis(500))
        .service("echo", |request: Request| Ok(request.into_body()))
        .start()
        .expect("a worker")
}

/// Rights for alice, who calls, bob, who serves, and carol and dan, who do so by PLAIN.
fn rights(alice: &Key, bob: &Key) -> String {
    alice.entry("client = [\"*\"]\noperator = true")
        + &bob.entry("worker = [\"*\"]")
        + &format!(
            "[[peer]]\nname = \"carol\"\npassword = \"{PASSWORD}\"\nclient = [\"*\"]\n\
             [[peer]]\nname = \"dan\"\npassword = \"{PASSWORD}\"\nworker = [\"*\"]\n"
        )
}

/// What this process logs, by whomever; each test looks for its own endpoints.
static LOG: LazyLock<Mutex<Vec<String>>> = LazyLock::new(Mutex::default);

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.level() <= log::Level::Warn && record.target().starts_with("majordomo_worker") {
            let broker = record.key_values().get("broker".into());
            let broker = broker.map(|broker| broker.to_string()).unwrap_or_default();
            LOG.lock().expect("no panic while held").push(format!("{broker} {}", record.args()));
        }
    }

    fn flush(&self) {}
}

fn record_log() {
    static SET: Once = Once::new();
    SET.call_once(|| {
        log::set_logger(&Logger).expect("the only one");
        log::set_max_level(log::LevelFilter::Warn);
    });
}

/// What a worker has warned of about this broker, once it has said `reason`.
fn warned(endpoint: &str, reasons: &[HandshakeFailure]) -> Vec<String> {
    until(&format!("the log has {reasons:?} of {endpoint}"), || {
        let log = LOG.lock().expect("no panic while held");
        let lines: Vec<_> = log.iter().filter(|line| line.contains(endpoint)).cloned().collect();
        let is_told = |line: &String| reasons.iter().any(|reason| line.contains(reason.as_str()));
        lines.iter().any(is_told).then_some(lines)
    })
}

#[track_caller]
fn assert_unauthorized(found: Result<Body, CallError>, reason: HandshakeFailure) {
    let error = found.expect_err("nobody was to be let in");
    let text = error.to_string();
    let CallError::Unauthorized { reason: why, may_have_run: false, .. } = error else {
        panic!("{reason:?}: {error:?}");
    };
    assert!(told_as(reason).contains(&why), "{reason:?}: {text}");
    assert!(text.contains(why.as_str()), "{text}");
}

/// It is chance which side finds first that the other has another mechanism.
fn told_as(reason: HandshakeFailure) -> Vec<HandshakeFailure> {
    match reason {
        HandshakeFailure::Mechanism => vec![reason, HandshakeFailure::Closed],
        reason => vec![reason],
    }
}

#[test]
fn right_keys_and_passwords_reach_each_other() {
    let (alice, bob) = (Key::new("alice"), Key::new("bob"));
    let broker = Secured::start(&rights(&alice, &bob), &[]);
    let securities = |key, user| {
        [(broker.curve(), curve(&broker.server, key)), (broker.plain(), plain(user, PASSWORD))]
    };
    for (number, (endpoint, security)) in securities(&bob, "dan").into_iter().enumerate() {
        let worker = echo(endpoint, security);
        for (endpoint, security) in securities(&alice, "carol") {
            let new = client(endpoint, security.clone());
            assert_eq!(new.call("echo", "hello").expect("a reply").to_bytes(), b"hello");
            let mut old = blocking(endpoint, security);
            assert_eq!(old.request("echo", "hello").expect("a reply").to_bytes(), b"hello");
        }
        let open = client(broker.open(), Security::Null);
        assert_eq!(open.call("echo", "hello").expect("a reply").to_bytes(), b"hello");
        worker.stop_handle().stop();
        worker.join().expect("no failure");
        Reports::of(broker.open()).until_counted("requests_answered", 5 * (number as u64 + 1));
    }
}

#[test]
fn a_client_may_show_each_broker_something_else() {
    let (alice, bob) = (Key::new("alice"), Key::new("bob"));
    let (one, two) =
        (Secured::start(&rights(&alice, &bob), &[]), Secured::start(&rights(&alice, &bob), &[]));
    let _worker = echo(two.open(), Security::Null);
    let refused = curve(&one.server, &Key::new("mallory"));
    let client = Client::builder()
        .broker(one.curve())
        .security(refused.clone())
        .broker_with(two.curve(), curve(&two.server, &alice))
        .timeout(LIMIT)
        .build()
        .expect("a client");
    assert_eq!(client.call("echo", "hello").expect("a reply").to_bytes(), b"hello");
    let mut client = BlockingClient::builder()
        .broker(one.curve())
        .security(refused)
        .broker_with(two.open(), Security::Null)
        .timeout(LIMIT)
        .build()
        .expect("a client");
    assert_eq!(client.request("echo", "hello").expect("a reply").to_bytes(), b"hello");
}

/// What is shown to which endpoint, and how that goes.
fn wrong(broker: &Secured, alice: &Key) -> Vec<(String, Security, HandshakeFailure)> {
    let (at_curve, at_plain) = (broker.curve().to_owned(), broker.plain().to_owned());
    let mallory = Key::new("mallory");
    let right = || curve(&broker.server, alice);
    vec![
        (at_curve.clone(), curve(&broker.server, &mallory), HandshakeFailure::Rejected),
        (at_curve.clone(), Security::Null, HandshakeFailure::Mechanism),
        (at_curve.clone(), curve(&mallory, alice), HandshakeFailure::Closed),
        (at_plain.clone(), plain("carol", "guess"), HandshakeFailure::Rejected),
        (at_plain.clone(), plain("mallory", PASSWORD), HandshakeFailure::Rejected),
        (at_plain, Security::Null, HandshakeFailure::Mechanism),
        (broker.open().to_owned(), right(), HandshakeFailure::Mechanism),
    ]
}

#[test]
fn whoever_is_not_let_in_is_told_so_by_every_client() {
    let (alice, bob) = (Key::new("alice"), Key::new("bob"));
    // A broker for each, since one holds its answer back after refusals.
    for number in 0..7 {
        for is_blocking in [false, true] {
            let broker = Secured::start(&rights(&alice, &bob), &[]);
            let (endpoint, security, reason) = wrong(&broker, &alice).swap_remove(number);
            if is_blocking {
                let error = blocking(&endpoint, security).request("echo", "hello");
                let error = error.expect_err("nobody was to be let in");
                assert!(!error.may_have_run());
                let Error::Unauthorized { endpoint: at, reason: why } = error else {
                    panic!("{number}: {error:?}");
                };
                assert_eq!(at, endpoint, "{number}");
                assert!(told_as(reason).contains(&why), "{number}: {why:?}");
            } else {
                assert_unauthorized(client(&endpoint, security).call("echo", "hello"), reason);
            }
        }
    }
}

#[test]
fn a_refusal_that_is_held_back_is_told_as_one() {
    let (alice, bob) = (Key::new("alice"), Key::new("bob"));
    let broker = Secured::start(&rights(&alice, &bob), &[]);
    let mallory = client(broker.curve(), curve(&broker.server, &Key::new("mallory")));
    for _ in 0..8 {
        let error = mallory.call("echo", "hello").expect_err("nobody was to be let in");
        assert!(matches!(error, CallError::Unauthorized { .. }), "{error:?}");
    }
}

#[test]
fn a_key_that_is_withdrawn_is_refused_and_one_that_comes_back_is_let_in() {
    record_log();
    let (alice, bob) = (Key::new("alice"), Key::new("bob"));
    let both = rights(&alice, &bob);
    let broker = Secured::start(&both, &[]);
    let worker = echo(broker.curve(), curve(&broker.server, &bob));
    let connected = client(broker.curve(), curve(&broker.server, &alice));
    assert_eq!(connected.call("echo", "hello").expect("a reply").to_bytes(), b"hello");

    write_private(&broker.rights_file(), "");
    broker.broker.signal(Signal::HUP);
    broker.broker.process().log_until("keys=0");
    // A new one is not let in.
    let new = client(broker.curve(), curve(&broker.server, &alice));
    assert_unauthorized(new.call("echo", "hello"), HandshakeFailure::Rejected);
    // The old connection is answered that it may not, until it is closed.
    until("the connection is closed", || {
        match connected.call("echo", "hello").expect_err("withdrawn") {
            CallError::Refused { .. } => None,
            CallError::Unauthorized { .. } => Some(()),
            error => panic!("{error:?}"),
        }
    });
    // The worker says once why it does not serve, and goes on trying.
    let lines = warned(broker.curve(), &[HandshakeFailure::Rejected]);
    let refusals = |lines: &[String]| lines.iter().filter(|line| line.contains("let")).count();
    assert_eq!(refusals(&lines), 1, "{lines:?}");

    write_private(&broker.rights_file(), &both);
    broker.broker.signal(Signal::HUP);
    broker.broker.process().log_until("keys=4");
    assert_eq!(new.call("echo", "again").expect("a reply").to_bytes(), b"again");
    // The client that never went is served again, too.
    assert_eq!(connected.call("echo", "back").expect("a reply").to_bytes(), b"back");
    assert_eq!(refusals(&warned(broker.curve(), &[HandshakeFailure::Rejected])), 1);
    worker.stop_handle().stop();
    worker.join().expect("no failure");
}

#[test]
fn a_worker_that_is_not_let_in_says_why_and_ends_when_it_is_asked_to() {
    record_log();
    let (alice, bob) = (Key::new("alice"), Key::new("bob"));
    let broker = Secured::start(&rights(&alice, &bob), &[]);
    for (endpoint, security, reason) in wrong(&broker, &alice) {
        let worker = echo(&endpoint, security);
        let lines = warned(&endpoint, &told_as(reason));
        assert!(lines.iter().all(|line| !line.contains(PASSWORD)), "{lines:?}");
        worker.stop_handle().stop();
        worker.join().expect("no failure");
        LOG.lock().expect("no panic while held").retain(|line| !line.contains(&endpoint));
    }
}

#[test]
fn a_worker_without_the_right_to_serve_is_not_registered() {
    let alice = Key::new("alice");
    let broker = Secured::start(&alice.entry("client = [\"*\"]"), &[]);
    let _worker = echo(broker.curve(), curve(&broker.server, &alice));
    Reports::of(broker.open()).until("its READY is refused", |report| {
        report.counters.get("workers_refused_forbidden").is_some_and(|count| *count > 0)
    });
    assert!(!client(broker.open(), Security::Null).lookup("echo").expect("an answer"));
}

#[test]
fn keys_are_read_from_files_that_nobody_else_can_read() {
    let (alice, bob) = (Key::new("alice"), Key::new("bob"));
    let broker = Secured::start(&rights(&alice, &bob), &[]);
    let _worker = echo(broker.open(), Security::Null);
    let path = |name: &str| broker.directory.path().join(name);
    fs::write(path("broker.pub"), format!("public_key = \"{}\"\n", broker.server.public()))
        .expect("written");
    let (public, secret) = (alice.public(), alice.secret());
    let both = format!("public_key = \"{public}\"\nsecret_key = \"{secret}\"\n");
    write_private(&path("alice.key"), &both);
    let security = Security::curve_files(path("broker.pub"), path("alice.key")).expect("keys");
    assert!(!format!("{security:?}").contains(&secret));
    let alice = client(broker.curve(), security);
    assert_eq!(alice.call("echo", "hello").expect("a reply").to_bytes(), b"hello");

    let refused = |server: &str, own: &str| {
        Security::curve_files(path(server), path(own)).expect_err("no keys").to_string()
    };
    assert!(refused("broker.pub", "broker.pub").ends_with("has no line secret_key = \"…\""));
    assert!(refused("nothing", "alice.key").ends_with("nothing: cannot be read"));
    fs::set_permissions(path("alice.key"), fs::Permissions::from_mode(0o644)).expect("a mode");
    let error = refused("broker.pub", "alice.key");
    assert!(error.contains("its mode is 0644: chmod 600 it"), "{error}");
    assert!(!error.contains(&secret));
    write_private(&path("alice.key"), &format!("secret_key = \"{secret}x\"\n"));
    let error = Security::curve_files(path("broker.pub"), path("alice.key")).expect_err("no key");
    assert!(!format!("{error:?}").contains(&secret));
}
