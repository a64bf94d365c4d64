//! A broker on a thread of your process: for tests of your own workers and clients,
//! or for a program that brings its broker along.

use std::thread::{self, JoinHandle};

use crate::config::Config;
use crate::server::{Server, ServerError, StopHandle};
use crate::stats::Counters;

/// A broker that runs on its own thread, and stops when this is dropped.
///
/// ```
/// use majordomo_broker::{Broker, config::Config};
///
/// let context = zmq::Context::new();
/// let config = Config::builder().bind("inproc://broker").build()?;
/// let broker = Broker::start_in(&context, &config)?;
///
/// let client = context.socket(zmq::REQ)?;
/// client.set_linger(0)?;
/// client.connect(&broker.endpoints()[0])?;
/// client.send_multipart(["MDPC01", "mmi.service", "echo"], 0)?;
/// let reply = client.recv_multipart(0)?;
/// assert_eq!(reply, [&b"MDPC01"[..], b"mmi.service", b"404"]);
///
/// let counters = broker.stop()?;
/// assert_eq!(counters.mmi_requests, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Broker {
    endpoints: Vec<String>,
    stop: StopHandle,
    /// `None` once it was joined.
    thread: Option<JoinHandle<Result<Counters, ServerError>>>,
}

impl Broker {
    /// Binds all endpoints of `config`, and serves them on a new thread.
    ///
    /// # Errors
    ///
    /// As [`Server::bind`]; and [`ServerError::Thread`] when the system refuses a
    /// thread.
    pub fn start(config: &Config) -> Result<Self, ServerError> {
        Self::run(Server::bind(config)?)
    }

    /// As [`Broker::start`], in a context of yours, so that peers in this process can
    /// use its inproc endpoints.
    ///
    /// # Errors
    ///
    /// As [`Broker::start`].
    pub fn start_in(context: &zmq::Context, config: &Config) -> Result<Self, ServerError> {
        Self::run(Server::bind_in(context, config)?)
    }

    fn run(server: Server) -> Result<Self, ServerError> {
        let endpoints = server.endpoints().to_vec();
        let stop = server.stop_handle();
        let thread = thread::Builder::new()
            .name("majordomo".to_owned())
            .spawn(move || server.run())
            .map_err(ServerError::Thread)?;
        Ok(Broker { endpoints, stop, thread: Some(thread) })
    }

    /// Where the broker listens, with the ports that the system chose.
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// Stops the broker as [`StopHandle::stop`] does, waits until it has stopped (a
    /// little more than `shutdown_ms` at most), and gives its final counters.
    ///
    /// # Errors
    ///
    /// What [`Server::run`] returned.
    ///
    /// # Panics
    ///
    /// If the broker's thread panicked: a fault of this crate.
    pub fn stop(mut self) -> Result<Counters, ServerError> {
        self.stop.stop();
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(Counters::default()),
        }
    }
}

impl Drop for Broker {
    /// Stops without waiting for running requests.
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.stop.stop();
            self.stop.stop();
            let _ = thread.join();
        }
    }
}
