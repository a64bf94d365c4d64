//! What SIGINT and SIGTERM do to a call of MDP/1.0: the first takes it back, the second
//! ends the process.

use std::io;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use majordomo_client::Client;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use signal_hook::low_level::emulate_default_handler;

/// Waits for a signal until it is dropped.
pub(crate) struct Interrupts {
    came: Arc<OnceLock<i32>>,
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Interrupts {
    /// Closes `client` at the first signal, which cancels what it has under way.
    pub(crate) fn close(client: &Client) -> io::Result<Self> {
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        let (came, handle) = (Arc::new(OnceLock::new()), signals.handle());
        let (client, found) = (client.clone(), came.clone());
        let thread = thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in signals.forever() {
                if found.set(signal).is_err() {
                    end(signal);
                }
                client.close();
            }
        })?;
        Ok(Interrupts { came, handle, thread: Some(thread) })
    }

    /// The signal that came.
    pub(crate) fn signal(&self) -> Option<i32> {
        self.came.get().copied()
    }
}

impl Drop for Interrupts {
    /// Gives its handle of the client back, so that the last one waits until the broker
    /// was told of a call that is over.
    fn drop(&mut self) {
        self.handle.close();
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            log::error!("the thread that waits for signals panicked");
        }
    }
}

/// The call was taken back because of this signal.
#[derive(Debug)]
pub(crate) struct Interrupted(pub(crate) i32);

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted: the request was cancelled")
    }
}

impl std::error::Error for Interrupted {}

/// Ends the process as the signal does by itself, so that a shell knows.
pub(crate) fn end(signal: i32) {
    // It is one of the two above, whose default is the end.
    let _ = emulate_default_handler(signal);
}
