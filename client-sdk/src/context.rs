//! The ZeroMQ context of a client, and who moves the bytes of its sockets.
//!
//! In a context of its own that is whoever drives the client: what waits for the sockets
//! [runs](Context::run) their I/O, and no message changes threads on its way. In a user's
//! context, which may have other sockets, and with a libzmq that cannot do it, libzmq's
//! threads do.

use std::net::IpAddr;
use std::os::fd::{AsFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use majordomo_io::wake::Ear;

/// A context whose sockets are opened here.
pub(crate) struct Context {
    /// Never connected, and open as long as the context: connections come and go. The first
    /// to be dropped, since it watches the ear. None before the first socket is opened, and
    /// where libzmq's threads move bytes.
    runner: Option<zmq::Socket>,
    context: zmq::Context,
    /// Whether there may be a runner.
    is_own: bool,
    /// What else ends a wait.
    ear: Option<Arc<Ear>>,
}

impl Context {
    /// The user's, if there is one, else one of its own, for connections to these endpoints.
    ///
    /// libzmq looks up the names of hosts where it does I/O, which takes as long as the
    /// system's resolver does. Nobody who calls should wait for that: where there are names,
    /// libzmq's thread does it.
    pub(crate) fn new(given: Option<zmq::Context>, endpoints: &[String]) -> Self {
        let is_own = given.is_none() && !endpoints.iter().any(|endpoint| has_name(endpoint));
        let context = match given {
            Some(given) => given,
            None if is_own => majordomo_io::context(),
            None => zmq::Context::new(),
        };
        Context { runner: None, context, is_own, ear: None }
    }

    /// Has a ring end each wait, too.
    pub(crate) fn listen(self, ear: Arc<Ear>) -> Self {
        Context { ear: Some(ear), ..self }
    }

    /// Puts a new context in the place of this one, if nobody moves its bytes but who drives,
    /// so that what was closed comes to its end now.
    pub(crate) fn renew(&mut self) {
        if self.runs_io() {
            let ear = self.ear.take();
            *self = Context { ear, ..Context::new(None, &[]) };
        }
    }

    /// Opens a socket.
    pub(crate) fn socket(&mut self, kind: zmq::SocketType) -> zmq::Result<zmq::Socket> {
        if self.is_own && self.runner.is_none() {
            let mut runner = self.context.socket(zmq::PAIR)?;
            self.is_own = self.serve(&mut runner)?;
            if let (true, Some(ear)) = (self.is_own, &self.ear) {
                #[expect(unsafe_code, reason = "see majordomo-io")]
                // SAFETY: as in `serve`; the ear is a socket.
                unsafe {
                    majordomo_io::watch(&mut runner, ear.as_fd())?;
                }
            }
            self.runner = self.is_own.then_some(runner);
        }
        let mut socket = self.context.socket(kind)?;
        if self.runs_io() {
            self.serve(&mut socket)?;
        }
        Ok(socket)
    }

    fn serve(&self, socket: &mut zmq::Socket) -> zmq::Result<bool> {
        #[expect(unsafe_code, reason = "see majordomo-io")]
        // SAFETY: a context of our own stays with its sockets, which have one owner, or are
        // behind one lock.
        unsafe {
            majordomo_io::serve(socket)
        }
    }

    /// Whether bytes only move by [`Context::run`].
    pub(crate) fn runs_io(&self) -> bool {
        self.runner.is_some()
    }

    /// Moves what can be moved, and waits for the first of it for at most so long. Whether
    /// the ear was rung. Any socket may have something then. Does nothing where libzmq's
    /// threads do it.
    pub(crate) fn run(&mut self, wait: Duration) -> zmq::Result<bool> {
        let Some(runner) = &mut self.runner else { return Ok(false) };
        Ok(majordomo_io::run(runner, Some(wait))?.told)
    }

    /// What is readable when there is I/O to run, for who waits without the sockets from now
    /// on. It is open as long as the context.
    pub(crate) fn descriptor(&mut self) -> zmq::Result<Option<RawFd>> {
        let Some(runner) = &mut self.runner else { return Ok(None) };
        majordomo_io::descriptor(runner)
    }
}

/// Whether the host must be looked up to connect. That of `localhost` needs nobody else.
fn has_name(endpoint: &str) -> bool {
    let Some(address) = endpoint.strip_prefix("tcp://") else { return false };
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    !host.starts_with('[') && host != "localhost" && host.parse::<IpAddr>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_moves_bytes_depends_on_the_context_and_the_endpoints() {
        let runs = |given, endpoint: &str| {
            let mut context = Context::new(given, &[endpoint.to_owned()]);
            let socket = context.socket(zmq::DEALER).expect("a socket");
            assert!(context.descriptor().is_ok_and(|fd| fd.is_some() == context.runs_io()));
            drop(socket);
            context.runs_io()
        };
        let can = majordomo_io::context().set_io_threads(-1).is_ok();
        for endpoint in ["tcp://127.0.0.1:1", "tcp://[::1]:1", "tcp://localhost:1", "ipc:///a:b"] {
            assert_eq!(runs(None, endpoint), can, "{endpoint}");
            assert!(!runs(Some(zmq::Context::new()), endpoint), "{endpoint}");
        }
        assert!(!runs(None, "tcp://broker.example:5555"));
    }
}
