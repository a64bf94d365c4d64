//! A secured broker inside a program: it starts, stops and says what stands in its way.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use majordomo_broker::Broker;
use majordomo_broker::config::Config;
use majordomo_broker::server::{SecurityError, ServerError};
use majordomo_protocol::{PublicKey, SecretKey};

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("a mode");
}

/// A configuration with an endpoint of each mechanism, and the broker's public key.
fn config(directory: &Path, rights: &str) -> (Config, PublicKey) {
    let keys = zmq::CurveKeyPair::new().expect("libzmq has CURVE");
    let secret = SecretKey::new(keys.secret_key);
    let path = |name: &str| directory.join(name).to_str().expect("UTF-8").to_owned();
    write(&directory.join("broker.key"), &format!("secret_key = \"{}\"\n", secret.to_z85()));
    write(&directory.join("rights.toml"), rights);
    // A name that was used stays taken for a moment.
    static NAMES: AtomicUsize = AtomicUsize::new(0);
    let config = Config::builder()
        .bind(format!("inproc://broker-{}", NAMES.fetch_add(1, Ordering::Relaxed)))
        .set("bind_curve", vec!["tcp://127.0.0.1:*"])
        .set("bind_plain", vec!["tcp://127.0.0.1:*"])
        .set("curve_secret_key_file", path("broker.key"))
        .set("rights_file", path("rights.toml"))
        .build()
        .expect("a valid configuration");
    (config, PublicKey::new(keys.public_key))
}

/// Asks the broker for something that only it answers.
fn is_served(context: &zmq::Context, endpoint: &str, set: impl FnOnce(&zmq::Socket)) -> bool {
    let socket = context.socket(zmq::DEALER).expect("a socket");
    socket.set_linger(0).expect("no linger");
    socket.set_rcvtimeo(30_000).expect("a limit");
    set(&socket);
    socket.connect(endpoint).expect("connected");
    socket.send_multipart([&b"MDPC02"[..], b"\x01", b"mmi.x", b""], 0).expect("sent");
    socket.recv_multipart(0).is_ok_and(|frames| frames.last().is_some_and(|last| last == b"501"))
}

#[test]
fn a_broker_in_a_program_authenticates_and_can_be_started_again() {
    let directory = tempfile::tempdir().unwrap();
    let keys = zmq::CurveKeyPair::new().unwrap();
    let rights = format!(
        "[[peer]]\nname = \"a\"\npassword = \"b\"\npublic_key = \"{}\"\n",
        PublicKey::new(keys.public_key)
    );
    let context = zmq::Context::new();
    for _ in 0..3 {
        let (config, server) = config(directory.path(), &rights);
        let broker = Broker::start_in(&context, &config).unwrap();
        assert!(is_served(&context, &broker.endpoints()[0], |_| {}));
        assert!(is_served(&context, &broker.endpoints()[1], |socket| {
            socket.set_curve_serverkey(server.as_bytes()).unwrap();
            socket.set_curve_publickey(&keys.public_key).unwrap();
            socket.set_curve_secretkey(&keys.secret_key).unwrap();
        }));
        assert!(is_served(&context, &broker.endpoints()[2], |socket| {
            socket.set_plain_username(Some("a")).unwrap();
            socket.set_plain_password(Some("b")).unwrap();
        }));
        let counters = broker.stop().unwrap();
        assert_eq!((counters.mmi_requests, counters.handshakes_refused), (3, 0));
    }
}

/// The program may have other plans for them.
#[test]
#[cfg(target_os = "linux")]
fn a_broker_in_a_program_leaves_its_signals_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (secured, _) = config(directory.path(), "");
    let open = Config::builder().bind("inproc://signals").build().unwrap();
    for config in [open, secured] {
        let broker = Broker::start(&config).unwrap();
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        let caught = u64::from_str_radix(caught.trim(), 16).unwrap();
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM] {
            assert_eq!(caught >> (signal - 1) & 1, 0, "signal {signal} of {caught:x}");
        }
        broker.stop().unwrap();
    }
}

#[test]
fn one_context_has_one_broker_that_authenticates() {
    let directory = tempfile::tempdir().unwrap();
    let (config, _) = config(directory.path(), "");
    let context = zmq::Context::new();
    let first = Broker::start_in(&context, &config).unwrap();
    let second = Broker::start_in(&context, &config).unwrap_err();
    assert!(matches!(second, ServerError::Security(SecurityError::HandlerTaken(_))), "{second}");
    // Another context has room for another.
    Broker::start(&config).unwrap().stop().unwrap();
    first.stop().unwrap();
}

#[test]
fn nothing_stays_bound_when_an_endpoint_cannot_be() {
    let directory = tempfile::tempdir().unwrap();
    let (config, _) = config(directory.path(), "");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", taken.local_addr().unwrap());
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let faulty = Config::builder()
        .set("bind_plain", vec![endpoint])
        .set("rights_file", path("rights.toml"))
        .build()
        .unwrap();
    let context = zmq::Context::new();
    let error = Broker::start_in(&context, &faulty).unwrap_err().to_string();
    assert!(error.ends_with("address in use"), "{error}");
    // The place of the handler is free again.
    Broker::start_in(&context, &config).unwrap().stop().unwrap();
}
