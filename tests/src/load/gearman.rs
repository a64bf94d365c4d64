//! Clients and workers of Gearman: its binary protocol, as much of it as they need. A
//! worker sleeps when there is no job, as the protocol has it, and is woken by NOOP.

use super::peer::{ClientLink, Tag, WorkerLink, add_body};
use super::stream::Stream;

const FUNCTION: &[u8] = b"load";

const CAN_DO: u32 = 1;
const PRE_SLEEP: u32 = 4;
const NOOP: u32 = 6;
const SUBMIT_JOB: u32 = 7;
const JOB_CREATED: u32 = 8;
const GRAB_JOB: u32 = 9;
const NO_JOB: u32 = 10;
const JOB_ASSIGN: u32 = 11;
const WORK_COMPLETE: u32 = 13;

/// Adds a packet: arguments with a zero byte between each two.
fn add_packet(out: &mut Vec<u8>, kind: u32, arguments: &[&[u8]]) {
    let data = arguments.join(&0);
    out.extend(b"\0REQ");
    out.extend(kind.to_be_bytes());
    out.extend((data.len() as u32).to_be_bytes());
    out.extend(data);
}

/// The kind and the data of the first packet, once it is there as a whole.
fn read_packet(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let word = |at: usize| Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
    let (kind, size) = (word(4)?, word(8)? as usize);
    assert!(bytes.starts_with(b"\0RES"), "not a packet of gearmand");
    Some((kind, bytes.get(12..12 + size)?))
}

/// So many arguments that end with a zero byte, and what stands behind them.
fn arguments<const N: usize>(mut data: &[u8]) -> ([&[u8]; N], &[u8]) {
    let arguments = [(); N].map(|()| {
        let end = data.iter().position(|byte| *byte == 0).expect("an argument ends");
        let argument = &data[..end];
        data = &data[end + 1..];
        argument
    });
    (arguments, data)
}

fn each_packet(stream: &mut Stream, mut on_packet: impl FnMut(u32, &[u8], &mut Vec<u8>)) {
    let mut out = std::mem::take(&mut stream.out);
    while let Some((kind, data)) = read_packet(stream.unread()) {
        let bytes = 12 + data.len();
        on_packet(kind, data, &mut out);
        stream.take(bytes);
    }
    stream.out = out;
}

/// A client that submits jobs and waits for their ends.
pub struct Client {
    stream: Stream,
    body_bytes: usize,
}

impl Client {
    /// Connects.
    pub fn connect(address: &str, body_bytes: usize) -> Self {
        Client { stream: Stream::connect(address), body_bytes }
    }
}

impl ClientLink for Client {
    fn send(&mut self, tags: &[Tag]) {
        for &tag in tags {
            let mut body = vec![];
            add_body(&mut body, tag, self.body_bytes);
            add_packet(&mut self.stream.out, SUBMIT_JOB, &[FUNCTION, b"", &body]);
        }
        self.stream.flush();
    }

    fn receive(&mut self, tags: &mut Vec<Tag>) {
        if self.stream.fill() {
            let body_bytes = self.body_bytes;
            each_packet(&mut self.stream, |kind, data, _| match kind {
                WORK_COMPLETE => {
                    let ([_handle], body) = arguments(data);
                    assert_eq!(body.len(), body_bytes);
                    tags.push(Tag::of(body));
                }
                JOB_CREATED => {}
                other => panic!("gearmand says {other} to a client"),
            });
        }
    }
}

/// A worker that grabs one job after the other.
pub struct Worker(Stream);

impl Worker {
    /// Connects and registers.
    pub fn connect(address: &str) -> Self {
        let mut stream = Stream::connect(address);
        add_packet(&mut stream.out, CAN_DO, &[FUNCTION]);
        add_packet(&mut stream.out, GRAB_JOB, &[]);
        stream.flush();
        Worker(stream)
    }
}

impl WorkerLink for Worker {
    fn serve(&mut self) {
        if self.0.fill() {
            each_packet(&mut self.0, |kind, data, out| match kind {
                JOB_ASSIGN => {
                    let ([handle, _function], body) = arguments(data);
                    add_packet(out, WORK_COMPLETE, &[handle, body]);
                    add_packet(out, GRAB_JOB, &[]);
                }
                NO_JOB => add_packet(out, PRE_SLEEP, &[]),
                NOOP => add_packet(out, GRAB_JOB, &[]),
                other => panic!("gearmand says {other} to a worker"),
            });
            self.0.flush();
        }
    }
}
