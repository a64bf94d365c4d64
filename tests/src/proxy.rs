//! A TCP proxy for the faults of a network: it cuts a connection after a number of bytes
//! drawn from a seed, wherever in a message that is, or when it is told to; it holds
//! bytes back; it closes a connection on one side alone.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Bytes after which no connection has ever been cut.
const NEVER: Range<i64> = i64::MAX - 1..i64::MAX;

/// How long a connection to the other side may take.
const CONNECT: Duration = Duration::from_secs(1);

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
    lines: Mutex<Vec<Weak<Line>>>,
    /// How late everything is.
    delay: Mutex<Duration>,
    /// That `delay` is another.
    changed: Condvar,
}

/// One connection: its two sides, and what is left of its bytes.
#[derive(Debug)]
struct Line {
    client: TcpStream,
    broker: TcpStream,
    left: AtomicI64,
    /// Whether it is closed on the broker's side alone.
    half_open: AtomicBool,
}

impl Proxy {
    /// Starts a proxy for the tcp endpoint `to`. A connection is cut after a number of
    /// bytes, both directions together, that `seed` draws from `bytes`.
    ///
    /// # Panics
    ///
    /// When there is no port to listen on.
    pub fn start(to: &str, seed: u64, bytes: Range<i64>) -> Self {
        let to: SocketAddr = to.trim_start_matches("tcp://").parse().expect("tcp://IP:PORT");
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
                let left = AtomicI64::new(rng.i64(bytes.clone()));
                let Ok(broker) = TcpStream::connect_timeout(&to, CONNECT) else { continue };
                of_thread.connections.fetch_add(1, Ordering::Relaxed);
                let line =
                    Arc::new(Line { client, broker, left, half_open: AtomicBool::new(false) });
                let mut lines = of_thread.lines();
                lines.retain(|line| line.strong_count() > 0);
                lines.push(Arc::downgrade(&line));
                drop(lines);
                for from_client in [true, false] {
                    let (line, shared) = (Arc::clone(&line), Arc::clone(&of_thread));
                    // Ends when either side does.
                    thread::spawn(move || line.pass_on(from_client, &shared));
                }
            }
        });
        Proxy { address, shared, thread: Some(thread) }
    }

    /// Starts a proxy that does nothing to connections unless it is told to.
    ///
    /// # Panics
    ///
    /// As [`Proxy::start`].
    pub fn steady(to: &str) -> Self {
        Proxy::start(to, 0, NEVER)
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

    /// Cuts every connection there is.
    pub fn cut(&self) {
        for line in self.shared.living() {
            self.shared.cuts.fetch_add(1, Ordering::Relaxed);
            line.close();
        }
    }

    /// Closes every connection on the side of the broker alone. The other side can go on
    /// sending, and nobody answers, until [`Proxy::heal`].
    pub fn half_open(&self) {
        for line in self.shared.living() {
            self.shared.cuts.fetch_add(1, Ordering::Relaxed);
            line.half_open.store(true, Ordering::Relaxed);
            let _ = line.broker.shutdown(Shutdown::Both);
        }
    }

    /// Holds back everything that passes for so long.
    pub fn delay(&self, delay: Duration) {
        *self.shared.delay() = delay;
        self.shared.changed.notify_all();
    }

    /// Ends what [`Proxy::delay`] and [`Proxy::half_open`] began.
    pub fn heal(&self) {
        self.delay(Duration::ZERO);
        for line in self.shared.living() {
            if line.half_open.load(Ordering::Relaxed) {
                line.close();
            }
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        self.delay(Duration::ZERO);
        self.shared.living().iter().for_each(|line| line.close());
        // Wakes the thread, which then finds that it is closed.
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn lines(&self) -> MutexGuard<'_, Vec<Weak<Line>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn living(&self) -> Vec<Arc<Line>> {
        self.lines().iter().filter_map(Weak::upgrade).collect()
    }

    fn delay(&self) -> MutexGuard<'_, Duration> {
        self.delay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for as long as bytes are held back.
    fn hold_back(&self) {
        let delay = self.delay();
        let held = *delay;
        if !held.is_zero() {
            let waited = self.changed.wait_timeout_while(delay, held, |now| *now == held);
            drop(waited);
        }
    }
}

impl Line {
    fn close(&self) {
        let _ = (self.client.shutdown(Shutdown::Both), self.broker.shutdown(Shutdown::Both));
    }

    fn pass_on(&self, from_client: bool, shared: &Shared) {
        let (mut from, mut to) = (&self.client, &self.broker);
        if !from_client {
            (from, to) = (to, from);
        }
        let mut buffer = [0; 65_536];
        let _ = (from.set_nodelay(true), to.set_nodelay(true));
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            shared.hold_back();
            if from_client && self.half_open.load(Ordering::Relaxed) {
                continue;
            }
            let before = self.left.fetch_sub(count as i64, Ordering::Relaxed);
            let allowed = before.clamp(0, count as i64) as usize;
            let bytes = buffer.get(..allowed).unwrap_or_default();
            if to.write_all(bytes).is_err() {
                if from_client && self.half_open.load(Ordering::Relaxed) {
                    continue;
                }
                break;
            }
            if allowed < count {
                if before >= 0 {
                    shared.cuts.fetch_add(1, Ordering::Relaxed);
                }
                break;
            }
        }
        if from_client || !self.half_open.load(Ordering::Relaxed) {
            self.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A listener, a proxy before it, and both ends of one connection through it.
    fn connected() -> (Proxy, TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let proxy = Proxy::steady(&listener.local_addr().expect("an address").to_string());
        let client = TcpStream::connect(proxy.address).expect("a connection");
        let (broker, _) = listener.accept().expect("a connection");
        (proxy, client, broker)
    }

    #[test]
    fn a_half_open_connection_is_closed_for_the_broker_alone() {
        let (proxy, mut client, mut broker) = connected();
        let mut byte = [0];
        client.write_all(b"a").expect("it is open");
        broker.read_exact(&mut byte).expect("it is open");
        proxy.half_open();
        assert!(!matches!(broker.read(&mut byte), Ok(1..)), "closed on this side");
        for _ in 0..10 {
            client.write_all(b"b").expect("open on this side");
        }
        proxy.heal();
        assert!(!matches!(client.read(&mut byte), Ok(1..)), "closed here as well");
        assert_eq!((proxy.connections(), proxy.cuts()), (1, 1));
    }

    #[test]
    fn what_is_held_back_comes_when_it_is_let_go() {
        let (proxy, mut client, mut broker) = connected();
        proxy.delay(Duration::from_secs(3_600));
        client.write_all(b"a").expect("it is open");
        proxy.heal();
        let mut byte = [0];
        broker.read_exact(&mut byte).expect("what was held back");
        assert_eq!(byte, *b"a");
        proxy.cut();
        assert!(!matches!(client.read(&mut byte), Ok(1..)), "cut");
    }
}
