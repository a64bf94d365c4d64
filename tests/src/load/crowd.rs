//! Thousands of workers of MDP/0.2 on one thread: each is a plain TCP connection that
//! speaks as much of ZMTP 3.0 as a DEALER without security needs. libzmq would want a
//! socket, a context and a descriptor or two more for each.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use super::peer::{PATIENCE, WorkerLink, now_ns};

const GREETING_BYTES: usize = 64;
const PIECE_BYTES: usize = 64 * 1024;
const EVENTS_MAX: usize = 256;

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// Workers, each of a service of its own.
pub struct Crowd {
    epoll: OwnedFd,
    connections: Vec<Connection>,
    piece: Vec<u8>,
    beats: Option<Beats>,
}

struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// Each worker beats once in an interval; they take turns.
struct Beats {
    interval: Duration,
    begin: u64,
    sent: u64,
}

impl Crowd {
    /// Connects and registers a worker for each service. Each beats once in `interval`,
    /// if there is one.
    ///
    /// # Panics
    ///
    /// When that fails; [`raise_descriptors`](crate::process::raise_descriptors) first.
    pub fn register(endpoint: &str, services: &[String], interval: Option<Duration>) -> Self {
        let address = endpoint.strip_prefix("tcp://").expect("a TCP endpoint");
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("an epoll descriptor");
        let mut connections = vec![];
        for (number, service) in (0..).zip(services) {
            let stream = TcpStream::connect(address);
            let mut stream = stream.unwrap_or_else(|error| panic!("worker {number}: {error}"));
            stream.set_nodelay(true).expect("TCP_NODELAY");
            // libzmq wants nothing behind the greeting before it has sent its own.
            stream.write_all(&greeting()).expect("the broker reads");
            stream.read_exact(&mut greeting()).expect("the broker greets");
            let mut ready = vec![];
            add_frame(&mut ready, COMMAND, b"\x05READY\x0bSocket-Type\0\0\0\x06DEALER");
            add_message(&mut ready, &[b"MDPW02", b"\x01", service.as_bytes()]);
            stream.write_all(&ready).expect("the broker reads");
            let data = epoll::EventData::new_u64(number);
            epoll::add(&epoll, &stream, data, epoll::EventFlags::IN)
                .expect("a descriptor to watch");
            connections.push(Connection { stream, unread: vec![] });
        }
        let beats = interval.map(|interval| Beats { interval, begin: now_ns(), sent: 0 });
        Crowd { epoll, connections, piece: vec![0; PIECE_BYTES], beats }
    }

    /// Sends the heartbeats that are due; gives how long until the next.
    fn beat(&mut self) -> Duration {
        let Some(beats) = &mut self.beats else { return PATIENCE };
        let each = beats.interval.as_nanos() as u64 / self.connections.len() as u64;
        let due = (now_ns() - beats.begin) / each;
        let mut heartbeat = vec![];
        add_message(&mut heartbeat, &[b"MDPW02", b"\x05"]);
        while beats.sent < due {
            let number = beats.sent as usize % self.connections.len();
            self.connections[number].stream.write_all(&heartbeat).expect("the broker reads");
            beats.sent += 1;
        }
        // Some at a time, as processes that share nothing would not, but at little cost.
        Duration::from_nanos(each).clamp(Duration::from_millis(1), PATIENCE)
    }
}

impl WorkerLink for Crowd {
    fn serve(&mut self) {
        let wait = self.beat();
        let wait = Timespec { tv_sec: 0, tv_nsec: wait.as_nanos() as _ };
        let mut events = Vec::with_capacity(EVENTS_MAX);
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&wait)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => panic!("cannot wait: {error}"),
        }
        for event in &events {
            let number = event.data.u64() as usize;
            self.connections[number].read(&mut self.piece);
        }
    }
}

impl Connection {
    fn read(&mut self, piece: &mut [u8]) {
        let count = self.stream.read(piece).expect("the connection stands");
        assert!(count > 0, "the broker has closed a worker's connection");
        self.unread.extend(&piece[..count]);
        let mut taken = 0;
        let mut answers = vec![];
        while let Some((frames, bytes)) = read_message(&self.unread[taken..]) {
            taken += bytes;
            match frames[..] {
                // A command of ZMTP, or a heartbeat.
                [] | [b"MDPW02", b"\x05"] => {}
                [b"MDPW02", b"\x02", address, b"", body] => {
                    add_message(&mut answers, &[b"MDPW02", b"\x04", address, b"", body]);
                }
                ref other => panic!("the broker says {other:?} to a worker"),
            }
        }
        self.unread.drain(..taken);
        if !answers.is_empty() {
            self.stream.write_all(&answers).expect("the broker reads");
        }
        if self.unread.is_empty() {
            self.unread = vec![];
        }
    }
}

/// Version 3.0, no security, not the server.
fn greeting() -> Vec<u8> {
    let mut greeting = vec![0; GREETING_BYTES];
    (greeting[0], greeting[9], greeting[10]) = (0xff, 0x7f, 3);
    greeting[12..16].copy_from_slice(b"NULL");
    greeting
}

fn add_frame(out: &mut Vec<u8>, flags: u8, content: &[u8]) {
    match u8::try_from(content.len()) {
        Ok(length) => out.extend([flags, length]),
        Err(_) => {
            out.push(flags | LONG);
            out.extend((content.len() as u64).to_be_bytes());
        }
    }
    out.extend(content);
}

fn add_message(out: &mut Vec<u8>, frames: &[&[u8]]) {
    for (position, frame) in frames.iter().enumerate() {
        add_frame(out, if position + 1 < frames.len() { MORE } else { 0 }, frame);
    }
}

/// The frames of the first message, and its length in bytes, once it is there as a whole.
/// A command has no frames.
fn read_message(bytes: &[u8]) -> Option<(Vec<&[u8]>, usize)> {
    let (mut frames, mut at) = (vec![], 0);
    loop {
        let flags = *bytes.get(at)?;
        let (length, start) = if flags & LONG == 0 {
            (usize::from(*bytes.get(at + 1)?), at + 2)
        } else {
            (u64::from_be_bytes(*bytes.get(at + 1..)?.first_chunk()?) as usize, at + 9)
        };
        let content = bytes.get(start..start + length)?;
        at = start + length;
        if flags & COMMAND != 0 {
            return Some((vec![], at));
        }
        frames.push(content);
        if flags & MORE == 0 {
            return Some((frames, at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_once_it_is_there_as_a_whole() {
        let long = [b'x'; 300];
        let mut bytes = vec![];
        add_frame(&mut bytes, COMMAND, b"PING");
        let command = bytes.len();
        add_message(&mut bytes, &[b"a", b"", &long]);
        assert_eq!(read_message(&bytes), Some((vec![], command)));
        for length in command..bytes.len() {
            assert_eq!(read_message(&bytes[command..length]), None);
        }
        let read = read_message(&bytes[command..]);
        assert_eq!(read, Some((vec![&b"a"[..], b"", &long], bytes.len() - command)));
    }
}
