//! What a client and a worker do for the load, and the tag by which a client knows each
//! of its requests again.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// The first sixteen bytes of a body. A worker answers with the body it got.
pub const TAG_BYTES: usize = 16;

/// When the request was sent, by whom, and which of theirs it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// [`now_ns`] when it was sent.
    pub sent_ns: u64,
    /// The number of its client.
    pub client: u32,
    /// The number of the request, from 0 for each client.
    pub number: u32,
}

impl Tag {
    /// As the body has it.
    pub fn to_bytes(self) -> [u8; TAG_BYTES] {
        let both = u64::from(self.client) << 32 | u64::from(self.number);
        (u128::from(self.sent_ns) << 64 | u128::from(both)).to_be_bytes()
    }

    /// The tag with which this body begins.
    ///
    /// # Panics
    ///
    /// When the body is shorter than a tag.
    pub fn of(body: &[u8]) -> Self {
        let bytes = body.first_chunk().unwrap_or_else(|| panic!("not a reply: {body:?}"));
        let number = u128::from_be_bytes(*bytes);
        Tag { sent_ns: (number >> 64) as u64, client: (number >> 32) as u32, number: number as u32 }
    }
}

/// A client's end of a broker's connection.
pub trait ClientLink: Send {
    /// Sends a request for each tag, all it can in one go.
    fn send(&mut self, tags: &[Tag]);

    /// Waits for replies, and adds the tag of each. None come when it has waited a while
    /// in vain.
    fn receive(&mut self, tags: &mut Vec<Tag>);
}

/// A worker's end of a broker's connection.
pub trait WorkerLink: Send {
    /// Answers what comes, or waits a while in vain.
    fn serve(&mut self);
}

/// The longest that a link waits in vain: so long a run takes to end at most.
pub const PATIENCE: Duration = Duration::from_millis(100);

/// Adds a body of `bytes` bytes that begins with `tag`.
pub fn add_body(out: &mut Vec<u8>, tag: Tag, bytes: usize) {
    let end = out.len() + bytes.max(TAG_BYTES);
    out.extend(tag.to_bytes());
    out.resize(end, b'.');
}

/// Nanoseconds since this program first asked.
#[expect(clippy::disallowed_methods, reason = "latency is what is measured")]
pub fn now_ns() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let start = *START;
    Instant::now().saturating_duration_since(start).as_nanos() as u64
}

/// A socket of one side, connected. All clients of this process share a context, and
/// all workers another, each with one thread that moves bytes.
///
/// # Panics
///
/// When it cannot be made or connected.
pub fn dealer(side: &zmq::Context, endpoint: &str) -> zmq::Socket {
    dealer_with(side, endpoint, |_| Ok(()))
}

/// As [`dealer`], with further options.
///
/// # Panics
///
/// When it cannot be made or connected.
pub fn dealer_with(
    side: &zmq::Context,
    endpoint: &str,
    set: impl FnOnce(&zmq::Socket) -> zmq::Result<()>,
) -> zmq::Socket {
    let socket = side.socket(zmq::DEALER).expect("a socket");
    let set = set(&socket)
        .and_then(|()| socket.set_linger(0))
        .and_then(|()| socket.set_sndhwm(0))
        .and_then(|()| socket.set_rcvhwm(0))
        .and_then(|()| socket.set_rcvtimeo(PATIENCE.as_millis() as i32));
    set.expect("options of a socket");
    socket.connect(endpoint).unwrap_or_else(|error| panic!("{endpoint}: {error}"));
    socket
}

/// Where clients have their sockets.
pub static CLIENTS: LazyLock<zmq::Context> = LazyLock::new(zmq::Context::new);
/// Where workers have theirs.
pub static WORKERS: LazyLock<zmq::Context> = LazyLock::new(zmq::Context::new);

/// The next frame, or `None` when there is none: at once with [`zmq::DONTWAIT`], else
/// after [`PATIENCE`].
///
/// # Panics
///
/// When the socket fails.
pub fn next_frame(socket: &zmq::Socket, flags: i32) -> Option<zmq::Message> {
    match socket.recv_msg(flags) {
        Ok(frame) => Some(frame),
        Err(zmq::Error::EAGAIN | zmq::Error::EINTR) => None,
        Err(error) => panic!("cannot receive: {error}"),
    }
}

/// The last frame of a message whose first is `frame`.
pub fn last_frame(socket: &zmq::Socket, mut frame: zmq::Message) -> zmq::Message {
    while frame.get_more() {
        frame = socket.recv_msg(0).expect("a message arrives as a whole");
    }
    frame
}
