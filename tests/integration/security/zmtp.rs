//! A peer that speaks ZMTP by itself, and so says and sends what libzmq would not.

use std::io::{Read, Write};
use std::net::TcpStream;

use majordomo_tests::limit::LIMIT;

/// What a frame has behind it.
pub(super) const MORE: u8 = 0x01;
const LONG: u8 = 0x02;
pub(super) const COMMAND: u8 = 0x04;

/// Asks for a sign of life; with a time to live of 0, which is none.
pub(super) const PING: &[u8] = b"\x04PING\0\0";

/// A connection of ZMTP 3.1.
pub(super) struct Zmtp(TcpStream);

impl Zmtp {
    /// Shakes hands without any security, with these properties of its own.
    pub(super) fn open(endpoint: &str, properties: &[(&str, &[u8])]) -> Self {
        let mut zmtp = Zmtp::greet(endpoint, "NULL");
        zmtp.introduce("READY", properties);
        zmtp
    }

    /// Shakes hands as this user, with these properties of its own.
    pub(super) fn plain(
        endpoint: &str,
        (user, password): (&str, &str),
        properties: &[(&str, &[u8])],
    ) -> Self {
        let mut zmtp = Zmtp::greet(endpoint, "PLAIN");
        zmtp.frame(COMMAND, &[short("HELLO"), short(user), short(password)].concat());
        assert_eq!(zmtp.command(), "WELCOME");
        zmtp.introduce("INITIATE", properties);
        zmtp
    }

    fn greet(endpoint: &str, mechanism: &str) -> Self {
        let stream = TcpStream::connect(endpoint.trim_start_matches("tcp://")).expect("connected");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_read_timeout(Some(LIMIT)).expect("a limit");
        stream.set_write_timeout(Some(LIMIT)).expect("a limit");
        let mut zmtp = Zmtp(stream);
        let mut greeting = [0; 64];
        greeting[..12].copy_from_slice(&[0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 1]);
        greeting[12..12 + mechanism.len()].copy_from_slice(mechanism.as_bytes());
        zmtp.write(&greeting);
        zmtp.read(64);
        zmtp
    }

    /// Says what it is in this command, and is let in.
    fn introduce(&mut self, command: &str, properties: &[(&str, &[u8])]) {
        let mut text = short(command);
        for (name, value) in [("Socket-Type", &b"DEALER"[..])].iter().chain(properties) {
            text.extend(short(name));
            text.extend((value.len() as u32).to_be_bytes());
            text.extend(*value);
        }
        self.frame(COMMAND, &text);
        assert_eq!(self.command(), "READY");
    }

    pub(super) fn send(&mut self, frames: &[&[u8]]) {
        let last = frames.len() - 1;
        for (n, frame) in frames.iter().enumerate() {
            self.frame(if n < last { MORE } else { 0 }, frame);
        }
    }

    /// The frames of the next message.
    pub(super) fn receive(&mut self) -> Vec<Vec<u8>> {
        let mut frames = vec![];
        loop {
            let [flags, length] = self.read(2)[..] else { unreachable!("two bytes") };
            assert_eq!(flags & !MORE, 0, "not a short frame");
            frames.push(self.read(length.into()));
            if flags & MORE == 0 {
                return frames;
            }
        }
    }

    /// Waits until the broker has read all that was written.
    pub(super) fn sync(&mut self) {
        self.frame(COMMAND, PING);
        assert_eq!(self.command(), "PONG");
    }

    /// Waits until the broker has closed the connection; what it says before is dropped.
    pub(super) fn expect_end(&mut self) {
        let mut bytes = [0; 4_096];
        loop {
            match self.0.read(&mut bytes) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return,
                Err(error) => panic!("the connection does not end: {error}"),
            }
        }
    }

    /// Writes this again and again until the connection is ended. Gives how many bytes
    /// could be written, at most `bytes_max` and one more time.
    pub(super) fn repeat(&mut self, bytes: &[u8], bytes_max: usize) -> usize {
        let mut written = 0;
        while written < bytes_max && self.0.write_all(bytes).is_ok() {
            written += bytes.len();
        }
        written
    }

    pub(super) fn frame(&mut self, flags: u8, body: &[u8]) {
        self.write(&frame(flags, body));
    }

    /// The name of the next command.
    fn command(&mut self) -> String {
        let head = self.read(2);
        assert_eq!(head[0] & (COMMAND | LONG), COMMAND, "not a short command");
        let body = self.read(head[1].into());
        String::from_utf8_lossy(&body[1..=usize::from(body[0])]).into_owned()
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("written");
    }

    fn read(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).expect("the broker says more");
        bytes
    }
}

/// A frame as it is written.
pub(super) fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = match u8::try_from(body.len()) {
        Ok(length) => vec![flags, length],
        Err(_) => [&[flags | LONG], &(body.len() as u64).to_be_bytes()[..]].concat(),
    };
    bytes.extend(body);
    bytes
}

fn short(text: &str) -> Vec<u8> {
    [&[text.len() as u8], text.as_bytes()].concat()
}
