//! Requesters and responders of NATS: its text protocol, as much of it as they need.
//! Responders share the requests of a subject as a queue group.

use super::peer::{ClientLink, Tag, WorkerLink, add_body};
use super::stream::Stream;

const SUBJECT: &str = "load";

/// A message that came: where its reply goes, and its payload.
struct Message<'a> {
    reply: &'a [u8],
    payload: &'a [u8],
}

/// What stands at the beginning of the bytes, and how long it is.
enum Piece<'a> {
    Message(Message<'a>),
    Ping,
    Other,
}

fn read_piece(bytes: &[u8]) -> Option<(Piece<'_>, usize)> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let (line, behind) = (&bytes[..end], end + 2);
    if line.starts_with(b"-ERR") {
        panic!("nats-server says {}", String::from_utf8_lossy(line));
    }
    let Some(head) = line.strip_prefix(b"MSG ") else {
        return Some((if line == b"PING" { Piece::Ping } else { Piece::Other }, behind));
    };
    // Subject, subscription, then the reply's subject where there is one, and the size.
    let mut words = head.split(|byte| *byte == b' ').skip(2);
    let first = words.next().expect("MSG has a size");
    let (reply, size) = words.next().map_or((&b""[..], first), |size| (first, size));
    let size: usize =
        std::str::from_utf8(size).ok().and_then(|text| text.parse().ok()).expect("a size");
    let payload = bytes.get(behind..behind + size)?;
    bytes.get(behind + size..behind + size + 2)?;
    Some((Piece::Message(Message { reply, payload }), behind + size + 2))
}

/// Connects and subscribes; waits until the server has read that.
fn subscribed(address: &str, subscription: &str) -> Stream {
    let mut stream = Stream::connect(address);
    let hello = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n";
    stream.out.extend(format!("{hello}SUB {subscription} 1\r\nPING\r\n").into_bytes());
    stream.flush();
    let pong = b"PONG\r\n";
    while !stream.unread().windows(pong.len()).any(|bytes| bytes == pong) {
        stream.fill();
    }
    stream.take(stream.unread().len());
    stream
}

/// Hands on every message that is there as a whole, and answers pings.
fn each_message(stream: &mut Stream, mut on_message: impl FnMut(Message<'_>, &mut Vec<u8>)) {
    let mut out = std::mem::take(&mut stream.out);
    while let Some((piece, bytes)) = read_piece(stream.unread()) {
        match piece {
            Piece::Message(message) => on_message(message, &mut out),
            Piece::Ping => out.extend(b"PONG\r\n"),
            Piece::Other => {}
        }
        stream.take(bytes);
    }
    stream.out = out;
}

/// A requester with an inbox of its own.
pub struct Client {
    stream: Stream,
    head: String,
    body_bytes: usize,
}

impl Client {
    /// Connects; `number` tells its inbox from others.
    pub fn connect(address: &str, number: usize, body_bytes: usize) -> Self {
        let inbox = format!("inbox.{number}");
        let head = format!("PUB {SUBJECT} {inbox} {body_bytes}\r\n");
        Client { stream: subscribed(address, &inbox), head, body_bytes }
    }
}

impl ClientLink for Client {
    fn send(&mut self, tags: &[Tag]) {
        for &tag in tags {
            self.stream.out.extend(self.head.as_bytes());
            add_body(&mut self.stream.out, tag, self.body_bytes);
            self.stream.out.extend(b"\r\n");
        }
        self.stream.flush();
    }

    fn receive(&mut self, tags: &mut Vec<Tag>) {
        if self.stream.fill() {
            let body_bytes = self.body_bytes;
            each_message(&mut self.stream, |message, _| {
                assert_eq!(message.payload.len(), body_bytes);
                tags.push(Tag::of(message.payload));
            });
        }
    }
}

/// A responder.
pub struct Worker(Stream);

impl Worker {
    /// Connects and subscribes.
    pub fn connect(address: &str) -> Self {
        Worker(subscribed(address, &format!("{SUBJECT} group")))
    }
}

impl WorkerLink for Worker {
    fn serve(&mut self) {
        if self.0.fill() {
            each_message(&mut self.0, |message, out| {
                out.extend(b"PUB ");
                out.extend(message.reply);
                out.extend(format!(" {}\r\n", message.payload.len()).into_bytes());
                out.extend(message.payload);
                out.extend(b"\r\n");
            });
            self.0.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_once_it_is_there_as_a_whole() {
        let bytes = b"MSG load 1 inbox.3 5\r\nhe\r\no\r\nPING\r\n";
        for length in 0..29 {
            assert!(read_piece(&bytes[..length]).is_none(), "{length}");
        }
        let Some((Piece::Message(message), 29)) = read_piece(bytes) else { panic!("a message") };
        assert_eq!((message.reply, message.payload), (&b"inbox.3"[..], &b"he\r\no"[..]));
        assert!(matches!(read_piece(&bytes[29..]), Some((Piece::Ping, 6))));
    }
}
