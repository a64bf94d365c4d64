//! Keys, rights, and those who have neither: the real broker, and bare peers with keys.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use majordomo_tests::raw::RawPeer;
use majordomo_tests::spawn::BrokerProcess;
use majordomo_tests::v1::{RawClient, RawWorker};
use majordomo_tests::wire::v1;
use tempfile::TempDir;

/// What peers with wrong intentions try, beside one with right ones.
mod attacks;
/// Messages without an end.
mod endless;
/// What peers say of themselves.
mod forged;
/// Who is let in.
mod handshakes;
/// What limits there are for each key.
mod limits;
/// Peers that are not ours.
#[cfg(feature = "pyzmq")]
mod python;
/// Rights that are withdrawn while the broker runs.
mod reload;
/// Who may do what.
mod rights;
/// Peers that choose the id of their connection.
mod routing_ids;
/// Our own clients and workers, let in and refused.
mod sdks;
/// Peers that speak ZMTP by themselves.
mod zmtp;

/// A key pair, and the name it has in the rights file.
struct Key {
    name: &'static str,
    pair: zmq::CurveKeyPair,
}

impl Key {
    fn new(name: &'static str) -> Self {
        Key { name, pair: zmq::CurveKeyPair::new().expect("libzmq has CURVE") }
    }

    fn public(&self) -> String {
        zmq::z85_encode(&self.pair.public_key).expect("32 bytes")
    }

    fn secret(&self) -> String {
        zmq::z85_encode(&self.pair.secret_key).expect("32 bytes")
    }

    /// Its entry in the rights file; `rights` are further lines.
    fn entry(&self, rights: &str) -> String {
        let Key { name, .. } = self;
        format!("[[peer]]\nname = \"{name}\"\npublic_key = \"{}\"\n{rights}\n", self.public())
    }
}

/// A broker with an endpoint of each mechanism, and the files it reads.
struct Secured {
    directory: TempDir,
    server: Key,
    /// `None` while it stands still.
    broker: BrokerProcess,
}

impl Secured {
    /// Starts it with these entries in the rights file and further flags.
    fn start(rights: &str, flags: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let server = Key::new("broker");
        let path = |name: &str| directory.path().join(name);
        write_private(&path("broker.key"), &format!("secret_key = \"{}\"\n", server.secret()));
        write_private(&path("rights.toml"), rights);
        let mut all = vec![
            format!("--bind=ipc://{}", path("open").display()),
            "--bind-curve=tcp://127.0.0.1:*".to_owned(),
            "--bind-plain=tcp://127.0.0.1:*".to_owned(),
            format!("--curve-secret-key-file={}", path("broker.key").display()),
            format!("--rights-file={}", path("rights.toml").display()),
        ];
        all.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let broker = BrokerProcess::with(all);
        Secured { directory, server, broker }
    }

    fn open(&self) -> &str {
        &self.broker.endpoints()[0]
    }

    fn curve(&self) -> &str {
        &self.broker.endpoints()[1]
    }

    fn plain(&self) -> &str {
        &self.broker.endpoints()[2]
    }

    fn rights_file(&self) -> PathBuf {
        self.directory.path().join("rights.toml")
    }

    /// A DEALER with this key.
    fn dealer(&self, key: &Key) -> RawPeer {
        self.dealer_with(key, |_| {})
    }

    fn dealer_with(&self, key: &Key, set: impl FnOnce(&zmq::Socket)) -> RawPeer {
        RawPeer::dealer_with(self.curve(), |socket| {
            use_curve(socket, &self.server, key);
            set(socket);
        })
    }

    fn client(&self, key: &Key) -> RawClient {
        RawClient::of(self.dealer(key))
    }

    /// A worker with this key that has said READY for this service.
    fn worker(&self, key: &Key, service: &str) -> RawWorker {
        let worker = RawWorker::of(self.dealer(key));
        worker.send([&v1::ready(1, service)]);
        worker
    }

    /// As [`Secured::worker`], and the broker has taken it.
    #[track_caller]
    fn registered(&self, key: &Key, service: &str) -> RawWorker {
        let mut worker = self.worker(key, service);
        let welcome = worker.record();
        assert_eq!(welcome.command, 0x02, "not WELCOME:\n{welcome:?}");
        worker
    }
}

fn use_curve(socket: &zmq::Socket, server: &Key, key: &Key) {
    socket.set_curve_serverkey(&server.pair.public_key).expect("a key");
    socket.set_curve_publickey(&key.pair.public_key).expect("a key");
    socket.set_curve_secretkey(&key.pair.secret_key).expect("a key");
}

fn use_plain(socket: &zmq::Socket, user: &str, password: &str) {
    socket.set_plain_username(Some(user)).expect("a user");
    socket.set_plain_password(Some(password)).expect("a password");
}

/// Puts a file there as a whole: nobody sees a half of it.
fn write_private(path: &std::path::Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).expect("written");
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).expect("a mode");
    fs::rename(&new, path).expect("renamed");
}
