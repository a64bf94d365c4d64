//! A peer that speaks ZMTP by itself, and says in its handshake that it is somebody else.
//!
//! libzmq puts what a peer says of itself beside what the broker knows of it: if the
//! peer's word counted, everybody could be anybody.

use std::io::{Read, Write};
use std::net::TcpStream;

use majordomo_tests::limit::LIMIT;
use majordomo_tests::report::{Reports, counter};
use majordomo_tests::v1::RawWorker;

use super::Secured;

/// A connection of ZMTP 3.1 with the mechanism PLAIN.
struct Zmtp(TcpStream);

impl Zmtp {
    /// Shakes hands as this user, with these properties of its own.
    fn connect(endpoint: &str, user: &str, password: &str, properties: &[(&str, &str)]) -> Self {
        let stream = TcpStream::connect(endpoint.trim_start_matches("tcp://")).expect("connected");
        stream.set_read_timeout(Some(LIMIT)).expect("a limit");
        let mut zmtp = Zmtp(stream);
        let mut greeting = [0; 64];
        greeting[..12].copy_from_slice(&[0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 1]);
        greeting[12..17].copy_from_slice(b"PLAIN");
        zmtp.write(&greeting);
        zmtp.read(64);
        let short = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
        zmtp.frame(0x04, &[short("HELLO"), short(user), short(password)].concat());
        assert_eq!(zmtp.command(), "WELCOME");
        let property = |name: &str, value: &str| {
            [&short(name)[..], &(value.len() as u32).to_be_bytes(), value.as_bytes()].concat()
        };
        let mut initiate = [short("INITIATE"), property("Socket-Type", "DEALER")].concat();
        for (name, value) in properties {
            initiate.extend(property(name, value));
        }
        zmtp.frame(0x04, &initiate);
        assert_eq!(zmtp.command(), "READY");
        zmtp
    }

    fn send(&mut self, frames: &[&[u8]]) {
        let last = frames.len() - 1;
        for (n, frame) in frames.iter().enumerate() {
            self.frame(u8::from(n < last), frame);
        }
    }

    fn frame(&mut self, flags: u8, body: &[u8]) {
        let length = u8::try_from(body.len()).expect("a short frame");
        self.write(&[&[flags, length], body].concat());
    }

    /// The name of the next command.
    fn command(&mut self) -> String {
        let head = self.read(2);
        assert_eq!(head[0] & 0x06, 0x04, "not a short command");
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

#[test]
fn what_a_peer_says_of_itself_in_the_handshake_does_not_count() {
    let rights = "[[peer]]\nname = \"carol\"\npassword = \"s3cret\"\nclient = [\"echo\"]\n";
    let broker = Secured::start(rights, &[]);
    let mut reports = Reports::of(broker.open());
    let mut workers = ["echo", "secret"].map(|name| RawWorker::register(broker.open(), name, 9));
    // 0 is who may do everything; the others are what somebody may take for it.
    let names = ["0", "", "1", "carol", "4294967295"];
    for forged in names {
        let forged = [("User-Id", forged), ("Peer-Address", ""), ("user-id", "0")];
        let mut carol = Zmtp::connect(broker.plain(), "carol", "s3cret", &forged);
        carol.send(&[b"MDPC02", b"\x01", b"secret", b"forged"]);
        carol.send(&[b"MDPC02", b"\x01", b"mmi.broker", b""]);
        carol.send(&[b"MDPC02", b"\x01", b"echo", b"hello"]);
        workers[0].expect_task("hello");
    }
    let report = reports.until_counted("mmi_requests_forbidden", names.len() as u64);
    assert_eq!(counter(&report, "requests_dropped_forbidden"), names.len() as u64);
    workers[1].expect_nothing();
}
