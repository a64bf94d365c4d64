//! Nobody in who does not belong: the files that say who may connect, the thread that
//! asks them, and what it tells the loop.
//!
//! libzmq asks about every connection before its first message (ZAP, ZeroMQ RFC 27). Files
//! are read on that thread and never on the loop, which gets a new value of
//! [`Rights`] and goes on. What an identity may do is the engine's business.
//!
//! An identity is the number of one key or password. libzmq carries it on every message of
//! the connection as its `User-Id`, and takes none that a peer sends itself, since every
//! connection is asked about, those of open endpoints too.

mod handler;
mod password;
mod refusals;
mod rights_file;
pub mod rights_text;
pub mod roster;
pub mod zap;

use std::io::{self, Read};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use majordomo_protocol::{Endpoint, KeyFileError, SecretKey};

use self::handler::Handler;
pub use self::password::Password;
pub(crate) use self::rights_file::RightsFile;
use crate::config::Config;
use crate::engine::Rights;
use crate::server::ServerError;

/// Where libzmq asks (RFC 27); one in each context.
const ZAP_ENDPOINT: &str = "inproc://zeromq.zap.01";

/// What the two files say, checked: enough to know that a broker could start.
#[derive(Debug, Default)]
pub(crate) struct Credentials {
    /// The broker's own; there if an endpoint uses CURVE.
    pub(crate) secret_key: Option<SecretKey>,
    /// There if an endpoint authenticates anybody.
    pub(crate) rights: Option<RightsFile>,
}

impl Credentials {
    /// Reads the files that `config` names; none if no endpoint authenticates anybody.
    /// Blocks while it does.
    ///
    /// # Errors
    ///
    /// [`SecurityError`] names the file and what is wrong with it.
    pub(crate) fn load(config: &Config) -> Result<Self, SecurityError> {
        if !config.is_secured() {
            return Ok(Credentials::default());
        }
        if !config.bind_curve().is_empty() && zmq::has("curve") != Some(true) {
            return Err(SecurityError::NoCurve);
        }
        let secret_key = config.curve_secret_key_file().map(SecretKey::read).transpose()?;
        let path = config.rights_file().unwrap_or(Path::new(""));
        let rights = RightsFile::read(path, config.identity_limits())?;
        Ok(Credentials { secret_key, rights: Some(rights) })
    }
}

/// Why nobody can be authenticated. Nothing was started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecurityError {
    /// Build against the libzmq of this repository.
    #[error(
        "bind_curve needs CURVE, and this libzmq was built without it: put \
         [patch.crates-io] zmq-sys = {{ git = \"URL of Majordomo's repository\" }} into the \
         Cargo.toml at the root of your workspace (see its docs/guide.md). If that is there, it was \
         built with ZMQ_SYS_SYSTEM: leave that out, or install a libzmq that has CURVE"
    )]
    NoCurve,
    /// The file of the broker's key has none, or is open to others. Do as its error says.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The rights file cannot be read. Correct its path or its permissions.
    #[error("{}: cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The rights file holds passwords and is open to others. Take their permissions away.
    #[error(
        "{}: holds secrets, but its mode is {mode:04o}: chmod 600 it, or 640 for the group of \
         the service", path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The rights file does not say what it should. Correct it.
    #[error("{}: {fault}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where. Holds no secret.
        fault: String,
    },
    /// A second handler in one context: libzmq has room for one. Use another context.
    #[error("cannot authenticate in this ZeroMQ context: it has a ZAP handler already")]
    HandlerTaken(#[source] zmq::Error),
}

/// How a connection shows who it is.
#[derive(Clone, Copy)]
pub(crate) enum Mechanism<'a> {
    /// It does not; asked for nevertheless, if other endpoints do.
    Null,
    /// By user and password, in the clear.
    Plain,
    /// By its key; this is the broker's own.
    Curve(&'a SecretKey),
}

/// What the thread has for the loop. Written by it, and taken by the loop.
#[derive(Debug, Default)]
struct News {
    rights: Mutex<Option<Arc<Rights>>>,
    refused: AtomicU64,
}

impl News {
    fn put(&self, rights: Arc<Rights>) {
        *self.rights.lock().unwrap_or_else(PoisonError::into_inner) = Some(rights);
    }
}

/// The thread that authenticates, as the loop sees it. It ends when this is dropped, which
/// must be after the broker's socket: until then libzmq asks.
#[derive(Debug)]
pub(crate) struct Authenticator {
    news: Arc<News>,
    /// A byte for every change of the news.
    wake: UnixStream,
    /// Each byte is an order to read the rights file; the end of it is one to end.
    orders: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Authenticator {
    /// Listens for libzmq's questions, and answers them from a thread of its own. To be
    /// called before any endpoint is bound; `monitor` tells of handshakes that fail before
    /// libzmq asks.
    pub(crate) fn start(
        context: &zmq::Context,
        rights: RightsFile,
        monitor: zmq::Socket,
    ) -> Result<Self, ServerError> {
        let zap = context.socket(zmq::ROUTER)?;
        zap.set_linger(0)?;
        zap.bind(ZAP_ENDPOINT).map_err(SecurityError::HandlerTaken)?;
        let (wake, waker) = UnixStream::pair().map_err(ServerError::Pipe)?;
        let (orders, order_queue) = UnixStream::pair().map_err(ServerError::Pipe)?;
        for stream in [&wake, &waker, &orders, &order_queue] {
            stream.set_nonblocking(true).map_err(ServerError::Pipe)?;
        }
        let news = Arc::new(News::default());
        news.put(rights.roster().rights());
        let handler = Handler::new(
            handler::Sockets { zap, monitor },
            rights,
            Arc::clone(&news),
            waker,
            order_queue,
        );
        let thread = thread::Builder::new().name("authenticator".to_owned());
        let thread = thread.spawn(move || handler.run()).map_err(ServerError::Thread)?;
        Ok(Authenticator { news, wake, orders, thread: Some(thread) })
    }

    /// Becomes readable when there is news.
    pub(crate) fn wake(&self) -> &UnixStream {
        &self.wake
    }

    /// The rights, if they have changed since this was asked last; and how many handshakes
    /// were refused in all.
    ///
    /// # Errors
    ///
    /// [`ServerError::AuthenticatorEnded`]
    pub(crate) fn news(&mut self) -> Result<(Option<Arc<Rights>>, u64), ServerError> {
        // First the bytes: what is put later is announced by a byte that stays.
        let mut bytes = [0; 64];
        loop {
            match self.wake.read(&mut bytes) {
                Ok(0) => return Err(ServerError::AuthenticatorEnded),
                Ok(count) if count == bytes.len() => {}
                _ => break,
            }
        }
        let rights = self.news.rights.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok((rights, self.news.refused.load(Ordering::Relaxed)))
    }

    /// Makes SIGHUP read the rights file again, as long as the process lives.
    pub(crate) fn reload_on_signal(&self) -> io::Result<()> {
        let orders = self.orders.try_clone()?;
        signal_hook::low_level::pipe::register(signal_hook::consts::SIGHUP, orders).map(drop)
    }
}

impl Drop for Authenticator {
    fn drop(&mut self) {
        let _ = self.orders.shutdown(Shutdown::Write);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Whether only this machine can reach it: what needs no authentication.
pub(crate) fn is_local(endpoint: &Endpoint) -> bool {
    let Some(address) = endpoint.as_str().strip_prefix("tcp://") else { return true };
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let ip = host.trim_start_matches('[').trim_end_matches(']');
    let ip = ip.split('%').next().unwrap_or(ip);
    match ip.parse::<std::net::IpAddr>() {
        Ok(ip) => ip.to_canonical().is_loopback(),
        Err(_) => matches!(host, "localhost" | "lo"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_and_what_is_no_network_is_local() {
        for local in [
            "tcp://127.0.0.1:1",
            "tcp://127.9.9.9:1",
            "tcp://[::1]:*",
            "tcp://[::ffff:127.0.0.1]:1",
            "tcp://localhost:1",
            "tcp://lo:1",
            "ipc:///run/x",
            "inproc://x",
        ] {
            assert!(is_local(&local.parse().expect(local)), "{local}");
        }
        for open in [
            "tcp://*:1",
            "tcp://0.0.0.0:1",
            "tcp://[::]:1",
            "tcp://10.0.0.1:1",
            "tcp://eth0:1",
            "tcp://localhost.example.org:1",
        ] {
            assert!(!is_local(&open.parse().expect(open)), "{open}");
        }
    }
}
