//! What the mechanisms cost: the same work over an open endpoint, PLAIN and CURVE, in turn;
//! and whether a thousand workers that beat delay requests where each heartbeat is encrypted.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use majordomo_client::{Client, KeyPair, PublicKey, SecretKey, Security};
use tempfile::TempDir;
use zmq::{CurveKeyPair, DONTWAIT};

use super::args::Args;
use super::broker::{Broker, Running};
use super::drive::{Measured, Pace, Peers, Window, measure};
use super::figures::Figures;
use super::peer::{CLIENTS, PATIENCE, WORKERS, WorkerLink, dealer_with, now_ns};
use super::plan::{SERVICE, services};
use super::{mdp02, mdp10};
use crate::limit::{let_pass, until};

/// One in flight.
pub const ONE: &str = "mechanisms: 1 client, 1 in flight, 1 worker";
/// By the size of a body.
pub const BY_SIZE: [(&str, usize); 3] = [
    ("mechanisms: 16 B bodies, 1 client, 1,000 in flight, 1 worker that takes 1,000", 16),
    ("mechanisms: 1 KiB bodies, 1 client, 1,000 in flight, 1 worker that takes 1,000", 1 << 10),
    ("mechanisms: 16 KiB bodies, 1 client, 1,000 in flight, 1 worker that takes 1,000", 16 << 10),
];
/// At half of the load that the broker takes.
pub const HALF: &str = "mechanisms: half load over CURVE, 1 client, 16 workers";
/// Without other workers.
pub const ALONE: &str = "majordomo, CURVE, no others";
/// With other workers.
pub const AMONG: &str = "majordomo, CURVE, 1,000 other workers that beat";

const IN_FLIGHT: usize = 1_000;
const HALF_WORKERS: usize = 16;
const OTHERS: usize = 1_000;
/// The broker's default.
const INTERVAL: Duration = Duration::from_millis(2_500);

/// The one user of PLAIN.
const USER: &str = "load";
const PASSWORD: &str = "not secret";

/// How peers show who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// They do not, and the broker asks nobody.
    Null,
    /// By user and password.
    Plain,
    /// By their key; all is encrypted.
    Curve,
}

/// All of them, in the order in which a round takes them.
pub const MECHANISMS: [Mechanism; 3] = [Mechanism::Null, Mechanism::Plain, Mechanism::Curve];

impl Mechanism {
    /// The subject that its rows have.
    pub fn subject(self) -> &'static str {
        match self {
            Mechanism::Null => "majordomo, NULL",
            Mechanism::Plain => "majordomo, PLAIN",
            Mechanism::Curve => "majordomo, CURVE",
        }
    }
}

/// Keys, and the files that a broker reads.
struct Keys {
    directory: TempDir,
    broker: CurveKeyPair,
    peer: CurveKeyPair,
}

impl Keys {
    fn new() -> io::Result<Self> {
        let key = || CurveKeyPair::new().map_err(io::Error::from);
        let keys = Keys { directory: tempfile::tempdir()?, broker: key()?, peer: key()? };
        let z85 = |key: &[u8; 32]| zmq::z85_encode(key).map_err(io::Error::other);
        let secret = z85(&keys.broker.secret_key)?;
        keys.write("broker.key", &format!("secret_key = \"{secret}\"\n"))?;
        let public = z85(&keys.peer.public_key)?;
        let rights = format!(
            "[[peer]]\nname = \"{USER}\"\npassword = \"{PASSWORD}\"\npublic_key = \"{public}\"\n\
             client = [\"*\"]\nworker = [\"*\"]\n"
        );
        keys.write("rights.toml", &rights)?;
        Ok(keys)
    }

    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let path = self.directory.path().join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))
    }

    /// A broker that listens with this mechanism alone.
    fn start(&self, mechanism: Mechanism) -> Result<Running, String> {
        let file = |key: &str, name: &str| {
            format!("--{key}={}", self.directory.path().join(name).display())
        };
        let rights = file("rights-file", "rights.toml");
        let flags = match mechanism {
            Mechanism::Null => vec![],
            Mechanism::Plain => vec!["--bind-plain=tcp://127.0.0.1:*".to_owned(), rights],
            Mechanism::Curve => vec![
                "--bind-curve=tcp://127.0.0.1:*".to_owned(),
                file("curve-secret-key-file", "broker.key"),
                rights,
            ],
        };
        Broker::Majordomo(flags).start()
    }

    fn dealer(&self, side: &zmq::Context, endpoint: &str, mechanism: Mechanism) -> zmq::Socket {
        dealer_with(side, endpoint, |socket| match mechanism {
            Mechanism::Null => Ok(()),
            Mechanism::Plain => socket
                .set_plain_username(Some(USER))
                .and_then(|()| socket.set_plain_password(Some(PASSWORD))),
            Mechanism::Curve => socket
                .set_curve_serverkey(&self.broker.public_key)
                .and_then(|()| socket.set_curve_publickey(&self.peer.public_key))
                .and_then(|()| socket.set_curve_secretkey(&self.peer.secret_key)),
        })
    }

    fn security(&self) -> Security {
        let own = KeyPair {
            public_key: PublicKey::new(self.peer.public_key),
            secret_key: SecretKey::new(self.peer.secret_key),
        };
        Security::curve(PublicKey::new(self.broker.public_key), own)
    }
}

/// Measures a round.
pub fn round(args: &Args, window: Window, figures: &mut Figures) {
    let keys = match Keys::new() {
        Ok(keys) => keys,
        Err(error) => return figures.leave_out(format!("mechanisms: {error}")),
    };
    let sizes = BY_SIZE.map(|(shape, bytes)| (shape, bytes, IN_FLIGHT));
    for (shape, bytes, in_flight) in [(ONE, 16, 1)].into_iter().chain(sizes) {
        for mechanism in MECHANISMS.into_iter().filter(|_| shape.contains(&args.only)) {
            match batches(&keys, mechanism, (bytes, in_flight), window) {
                Ok(measured) => figures.add_measured(shape, mechanism.subject(), &measured),
                Err(error) => {
                    figures.leave_out(format!("{shape}: {}: {error}", mechanism.subject()));
                }
            }
        }
    }
    if !HALF.contains(&args.only) {
        return;
    }
    match half(&keys, args, window) {
        Ok(rows) => {
            for (subject, measured) in rows {
                figures.add_measured(HALF, subject, &measured);
            }
        }
        Err(error) => figures.leave_out(format!("{HALF}: {error}")),
    }
}

/// Bare peers of MDP/1.0 that batch.
fn batches(
    keys: &Keys,
    mechanism: Mechanism,
    (bytes, in_flight): (usize, usize),
    window: Window,
) -> Result<Measured, String> {
    let broker = keys.start(mechanism)?;
    let worker = keys.dealer(&WORKERS, &broker.workers, mechanism);
    let worker = mdp10::Worker::over(worker, SERVICE, IN_FLIGHT as u16);
    let client = keys.dealer(&CLIENTS, &broker.clients, mechanism);
    let client = mdp10::Client::over(client, SERVICE, bytes);
    let peers = Peers {
        clients: vec![Box::new(client)],
        pace: Pace::InFlight(in_flight),
        workers: vec![Box::new(worker)],
    };
    Ok(measure(&broker, peers, window))
}

/// As [`beating`](super::beating), over CURVE.
fn half(keys: &Keys, args: &Args, window: Window) -> Result<[(&'static str, Measured); 2], String> {
    let run = |pace: Pace, others: usize, window: Window| {
        let broker = keys.start(Mechanism::Curve)?;
        let worker = |_| {
            let socket = keys.dealer(&WORKERS, &broker.workers, Mechanism::Curve);
            Box::new(mdp02::Worker::over(socket, SERVICE)) as Box<dyn WorkerLink>
        };
        let mut workers: Vec<_> = (0..HALF_WORKERS).map(worker).collect();
        if others > 0 {
            workers.push(Box::new(Beating::register(keys, &broker, others)));
        }
        let client = keys.dealer(&CLIENTS, &broker.clients, Mechanism::Curve);
        let mut client = mdp02::Client::over(client, vec![SERVICE.to_owned()], 16);
        client.impatient();
        Ok::<_, String>(measure(
            &broker,
            Peers { clients: vec![Box::new(client)], pace, workers },
            window,
        ))
    };
    // A tail needs many requests.
    let time = if args.quick { window.time } else { window.time.max(INTERVAL) };
    let long = Window { time, ..window };
    let others = if args.quick { OTHERS / 10 } else { OTHERS };
    let full = run(Pace::InFlight(HALF_WORKERS), 0, window)?;
    let half = Pace::PerSecond(full.per_second / 2.0);
    Ok([(ALONE, run(half, 0, long)?), (AMONG, run(half, others, long)?)])
}

/// Workers without requests, each on a socket of its own; they beat in turn, each once in
/// [`INTERVAL`].
struct Beating {
    sockets: Vec<zmq::Socket>,
    begin: u64,
    sent: u64,
    /// After the sockets. A context has room for about a thousand sockets.
    _contexts: [zmq::Context; 2],
}

impl Beating {
    fn register(keys: &Keys, broker: &Running, count: usize) -> Self {
        let contexts = [zmq::Context::new(), zmq::Context::new()];
        let services = services(count);
        let sides = contexts.iter().cycle();
        let sockets = sides.zip(&services).map(|(side, service)| {
            let socket = keys.dealer(side, &broker.workers, Mechanism::Curve);
            let ready = [b"MDPW02", &b"\x01"[..], service.as_bytes()];
            socket.send_multipart(ready, 0).expect("READY");
            socket
        });
        let sockets = sockets.collect();
        // Their handshakes are not what is measured.
        let client = Client::builder().broker(&broker.clients).security(keys.security()).build();
        let client = client.expect("a client");
        for service in services {
            let is_there = || client.lookup(&service).is_ok_and(|found| found).then_some(());
            until(&format!("{service} is registered"), is_there);
        }
        Beating { sockets, begin: now_ns(), sent: 0, _contexts: contexts }
    }
}

impl WorkerLink for Beating {
    fn serve(&mut self) {
        let each = INTERVAL.as_nanos() as u64 / self.sockets.len() as u64;
        let due = (now_ns() - self.begin) / each;
        while self.sent < due {
            let socket = &self.sockets[self.sent as usize % self.sockets.len()];
            // The broker's heartbeats; nobody asks these workers for anything.
            while socket.recv_multipart(DONTWAIT).is_ok() {}
            socket.send_multipart([&b"MDPW02"[..], b"\x05"], 0).expect("HEARTBEAT");
            self.sent += 1;
        }
        let_pass(Duration::from_nanos(each).clamp(Duration::from_millis(1), PATIENCE));
    }
}
