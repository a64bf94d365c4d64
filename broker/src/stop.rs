//! Stopping a broker from outside its loop: from another thread, or by a signal.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// Tells a broker to stop, from any thread; clones tell the same broker.
#[derive(Clone, Debug)]
pub struct StopHandle(Arc<UnixStream>);

impl StopHandle {
    /// A handle, and where the loop reads: a byte for each request to stop.
    pub(crate) fn new() -> io::Result<(Self, UnixStream)> {
        let (requests, stop) = UnixStream::pair()?;
        requests.set_nonblocking(true)?;
        stop.set_nonblocking(true)?;
        Ok((StopHandle(Arc::new(stop)), requests))
    }

    /// Asks the broker to take no new requests, to give running ones the time that
    /// `shutdown_ms` sets, and to return from
    /// [`Server::run`](crate::server::Server::run). Asked a second time, it does not
    /// wait. Does not block; does nothing once the broker has stopped.
    pub fn stop(&self) {
        // Fails when the broker has gone, or has been asked thousands of times.
        let _ = (&*self.0).write(b".");
    }

    /// Makes SIGTERM and SIGINT call [`StopHandle::stop`] as long as the process
    /// lives.
    ///
    /// # Errors
    ///
    /// When the system has no descriptor left, or refuses to handle the signal.
    pub fn stop_on_signals(&self) -> io::Result<()> {
        for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
            signal_hook::low_level::pipe::register(signal, self.0.try_clone()?)?;
        }
        Ok(())
    }
}
