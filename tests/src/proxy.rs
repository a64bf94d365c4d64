//! A TCP proxy that cuts connections: each after a number of bytes drawn from a seed,
//! wherever in a message that is.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

/// Passes bytes on between those who connect to it and one address; ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    closed: AtomicBool,
    connections: AtomicU64,
    cuts: AtomicU64,
}

impl Proxy {
    /// Starts a proxy for the tcp endpoint `to`. A connection is cut after a number of
    /// bytes, both directions together, that `seed` draws from `bytes`.
    ///
    /// # Panics
    ///
    /// When there is no port to listen on.
    pub fn start(to: &str, seed: u64, bytes: Range<i64>) -> Self {
        let to = to.trim_start_matches("tcp://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            let mut rng = fastrand::Rng::with_seed(seed);
            for client in listener.incoming().map_while(Result::ok) {
                if of_thread.closed.load(Ordering::Relaxed) {
                    return;
                }
                let left = Arc::new(AtomicI64::new(rng.i64(bytes.clone())));
                let Ok(broker) = TcpStream::connect(&to) else { continue };
                of_thread.connections.fetch_add(1, Ordering::Relaxed);
                let both = (client.try_clone(), broker.try_clone());
                let (Ok(client_too), Ok(broker_too)) = both else { continue };
                for (from, to) in [(client, broker_too), (broker, client_too)] {
                    let (left, shared) = (Arc::clone(&left), Arc::clone(&of_thread));
                    // Ends when either side does.
                    thread::spawn(move || pass_on(from, to, &left, &shared));
                }
            }
        });
        Proxy { address, shared, thread: Some(thread) }
    }

    /// Where it listens.
    pub fn endpoint(&self) -> String {
        format!("tcp://{}", self.address)
    }

    /// How many connections there were.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// How many connections it has cut.
    pub fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        // Wakes the thread, which then finds that it is closed.
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, left: &AtomicI64, shared: &Shared) {
    let mut buffer = [0; 4_096];
    let _ = (from.set_nodelay(true), to.set_nodelay(true));
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let before = left.fetch_sub(count as i64, Ordering::Relaxed);
        let allowed = before.clamp(0, count as i64) as usize;
        let bytes = buffer.get(..allowed).unwrap_or_default();
        if to.write_all(bytes).is_err() {
            break;
        }
        if allowed < count {
            if before >= 0 {
                shared.cuts.fetch_add(1, Ordering::Relaxed);
            }
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
