//! Every message of MDP/1.0 as frames: batches of records, packed by hand.
//!
//! Written from docs/protocol.md, and apart from `majordomo-protocol` on purpose, as
//! [`wire`](super) is.

use std::fmt;

use super::{Frames, dump, frames};

/// The magic between client and broker.
pub const CLIENT: &[u8; 6] = b"MDPC10";
/// The magic between worker and broker.
pub const WORKER: &[u8; 6] = b"MDPW10";

/// REQUEST: never hand it to a second worker.
pub const ONCE: u8 = 0x01;
/// REQUEST: answer nothing.
pub const NO_REPLY: u8 = 0x02;
/// REQUEST: do not queue it while no worker is registered.
pub const FAIL_FAST: u8 = 0x04;

/// A body of one frame up to this size stands in its record.
const INLINE_BYTES_MAX: usize = 4_096;

/// What a client calls a request.
pub type RequestId = [u8; 16];
/// What the broker calls a request.
pub type TaskId = [u8; 8];

/// One command.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub command: u8,
    /// Its flags.
    pub flags: u8,
    /// What stands between the head and the metadata.
    pub fields: Vec<u8>,
    /// Its metadata.
    pub metadata: Vec<(String, String)>,
    /// Its body; no frames for a command without one.
    pub body: Frames,
}

impl Record {
    fn new(command: u8, fields: &[&[u8]]) -> Self {
        Record { command, flags: 0, fields: fields.concat(), metadata: vec![], body: vec![] }
    }

    /// The same with this body.
    pub fn body<F: AsRef<[u8]>>(mut self, body: impl IntoIterator<Item = F>) -> Self {
        self.body = frames(body);
        self
    }

    /// The same with these flags.
    pub fn flags(mut self, flags: u8) -> Self {
        self.flags = flags;
        self
    }

    /// The same with one more pair of metadata.
    pub fn pair(mut self, key: &str, value: &str) -> Self {
        self.metadata.push((key.to_owned(), value.to_owned()));
        self
    }

    /// A client's REQUEST with a timeout.
    pub fn timeout(mut self, ms: u32) -> Self {
        self.fields.splice(16..20, ms.to_be_bytes());
        self
    }

    /// A client's REQUEST with the time in which it must start.
    pub fn start_within(mut self, ms: u32) -> Self {
        self.fields.splice(20..24, ms.to_be_bytes());
        self
    }

    /// The request id or task id, with which the fields begin.
    ///
    /// # Panics
    ///
    /// When the fields are shorter.
    #[track_caller]
    pub fn id<const N: usize>(&self) -> [u8; N] {
        let id = self.fields.get(..N).and_then(|bytes| bytes.try_into().ok());
        id.unwrap_or_else(|| panic!("no id in {self:?}"))
    }

    /// A number in the fields.
    ///
    /// # Panics
    ///
    /// When the fields are shorter.
    #[track_caller]
    pub fn number(&self, at: usize, length: usize) -> u64 {
        number(&self.fields, at, length).unwrap_or_else(|| panic!("no number in {self:?}"))
    }

    /// Code and text of an ERROR or DISCONNECT, which stand behind so many bytes.
    #[track_caller]
    pub fn code_and_text(&self, behind: usize) -> (u16, String) {
        let text = self.fields.get(behind + 4..).unwrap_or_default();
        (self.number(behind, 2) as u16, String::from_utf8_lossy(text).into_owned())
    }

    /// Its bytes in a batch frame, and the frames that stand behind that.
    pub fn pack(&self) -> (Vec<u8>, Frames) {
        let mut metadata = vec![];
        for (key, value) in &self.metadata {
            metadata.push(key.len() as u8);
            metadata.extend(key.as_bytes());
            metadata.extend((value.len() as u16).to_be_bytes());
            metadata.extend(value.as_bytes());
        }
        let (inline, behind) = match &self.body[..] {
            [one] if one.len() <= INLINE_BYTES_MAX => (one.clone(), vec![]),
            body => (vec![], body.to_vec()),
        };
        let mut content = vec![self.command, self.flags];
        content.extend((behind.len() as u16).to_be_bytes());
        content.extend(&self.fields);
        content.extend((metadata.len() as u16).to_be_bytes());
        content.extend(metadata);
        content.extend(inline);
        let length = (content.len() as u32).to_be_bytes();
        ([&length[..], &content].concat(), behind)
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "command {:02x} flags {:02x} {:?}", self.command, self.flags, self.metadata)?;
        f.write_str(&dump(&[vec![self.fields.clone()], self.body.clone()].concat()))
    }
}

fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + length)?;
    Some(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// A message of these records.
pub fn message<'a>(magic: &[u8; 6], records: impl IntoIterator<Item = &'a Record>) -> Frames {
    let mut message = vec![magic.to_vec()];
    for record in records {
        let (bytes, behind) = record.pack();
        message[0].extend(bytes);
        message.extend(behind);
    }
    message
}

/// The records of a message from a broker; `None` when it is not exactly such.
pub fn read(magic: &[u8; 6], message: &Frames) -> Option<Vec<Record>> {
    let (batch, bodies) = message.split_first()?;
    let mut rest = batch.strip_prefix(magic)?;
    let mut bodies = bodies.iter();
    let mut records = vec![];
    while !rest.is_empty() {
        let length = number(rest, 0, 4)? as usize;
        let content = rest.get(4..4 + length)?;
        rest = rest.get(4 + length..)?;
        let [command, flags, ..] = *content else { return None };
        let count = number(content, 2, 2)? as usize;
        let content = content.get(4..)?;
        let (fields, has_body) = broker_fields(magic, command, content)?;
        let (fields, content) = content.split_at_checked(fields)?;
        let length = number(content, 0, 2)? as usize;
        let (pairs, inline) = content.get(2..)?.split_at_checked(length)?;
        let behind: Frames = bodies.by_ref().take(count).cloned().collect();
        let body = match (has_body, count) {
            (true, 0) => vec![inline.to_vec()],
            _ if behind.len() == count && inline.is_empty() => behind,
            _ => return None,
        };
        let (fields, metadata) = (fields.to_vec(), read_pairs(pairs)?);
        records.push(Record { command, flags, fields, metadata, body });
    }
    bodies.next().is_none().then_some(records)
}

/// How long the fields of a broker's command are, and whether it has a body.
fn broker_fields(magic: &[u8; 6], command: u8, content: &[u8]) -> Option<(usize, bool)> {
    let text = |behind: usize| Some(behind + 4 + number(content, behind + 2, 2)? as usize);
    Some(match (magic, command) {
        (CLIENT, 0x03) => (8, false),
        (CLIENT, 0x04 | 0x05) => (16, true),
        (CLIENT, 0x06) => (text(16)?, true),
        (WORKER, 0x02) => (13, false),
        (WORKER, 0x03) => (13, true),
        (WORKER, 0x07) => (8, false),
        (WORKER, 0x08) => (0, false),
        (WORKER, 0x0A) => (text(0)?, false),
        _ => return None,
    })
}

fn read_pairs(mut rest: &[u8]) -> Option<Vec<(String, String)>> {
    let mut pairs = vec![];
    while !rest.is_empty() {
        let length = number(rest, 0, 1)? as usize;
        let (key, behind) = rest.get(1..)?.split_at_checked(length)?;
        let length = number(behind, 0, 2)? as usize;
        let (value, behind) = behind.get(2..)?.split_at_checked(length)?;
        rest = behind;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        pairs.push((text(key)?, text(value)?));
    }
    Some(pairs)
}

/// Client to broker: REQUEST without a body; see the methods of [`Record`].
pub fn request(id: RequestId, service: &str) -> Record {
    Record::new(0x01, &[&id, &[0; 8], &[service.len() as u8], service.as_bytes()])
}

/// Client to broker: CANCEL.
pub fn cancel(id: RequestId) -> Record {
    Record::new(0x02, &[&id])
}

/// Client to broker: HEARTBEAT.
pub fn client_heartbeat() -> Record {
    Record::new(0x03, &[])
}

/// Broker to client: PARTIAL.
pub fn partial<F: AsRef<[u8]>>(id: RequestId, body: impl IntoIterator<Item = F>) -> Record {
    Record::new(0x04, &[&id]).body(body)
}

/// Broker to client: FINAL.
pub fn reply<F: AsRef<[u8]>>(id: RequestId, body: impl IntoIterator<Item = F>) -> Record {
    Record::new(0x05, &[&id]).body(body)
}

/// Broker to client: ERROR.
pub fn error<F: AsRef<[u8]>>(
    id: RequestId,
    code: u16,
    text: &str,
    details: impl IntoIterator<Item = F>,
) -> Record {
    Record::new(0x06, &[&id, &code_and_text(code, text)]).body(details)
}

/// Worker to broker: READY, with the broker's heartbeat.
pub fn ready(capacity: u16, service: &str) -> Record {
    ready_asking(capacity, 0, 0, service)
}

/// Worker to broker: READY, with heartbeat and liveness that it asks for.
pub fn ready_asking(capacity: u16, heartbeat_ms: u32, liveness: u8, service: &str) -> Record {
    let terms = [&capacity.to_be_bytes()[..], &heartbeat_ms.to_be_bytes(), &[liveness]].concat();
    Record::new(0x01, &[&terms, &[service.len() as u8], service.as_bytes()])
}

/// Broker to worker: REQUEST.
pub fn worker_request(task: TaskId, timeout_left_ms: u32, attempt: u8) -> Record {
    Record::new(0x03, &[&task, &timeout_left_ms.to_be_bytes(), &[attempt]])
}

/// Worker to broker: PARTIAL.
pub fn worker_partial<F: AsRef<[u8]>>(task: TaskId, body: impl IntoIterator<Item = F>) -> Record {
    Record::new(0x04, &[&task]).body(body)
}

/// Worker to broker: FINAL.
pub fn worker_reply<F: AsRef<[u8]>>(task: TaskId, body: impl IntoIterator<Item = F>) -> Record {
    Record::new(0x05, &[&task]).body(body)
}

/// Worker to broker: ERROR.
pub fn worker_error<F: AsRef<[u8]>>(
    task: TaskId,
    code: u16,
    text: &str,
    details: impl IntoIterator<Item = F>,
) -> Record {
    Record::new(0x06, &[&task, &code_and_text(code, text)]).body(details)
}

/// Broker to worker: CANCEL.
pub fn worker_cancel(task: TaskId) -> Record {
    Record::new(0x07, &[&task])
}

/// Between worker and broker: HEARTBEAT.
pub fn heartbeat() -> Record {
    Record::new(0x08, &[])
}

/// Worker to broker: DRAIN.
pub fn drain() -> Record {
    Record::new(0x09, &[])
}

/// Between worker and broker: DISCONNECT.
pub fn disconnect(code: u16, text: &str) -> Record {
    Record::new(0x0A, &[&code_and_text(code, text)])
}

fn code_and_text(code: u16, text: &str) -> Vec<u8> {
    [&code.to_be_bytes()[..], &(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_packed_as_the_document_says() {
        let record = request([7; 16], "echo").timeout(258).start_within(3).flags(FAIL_FAST);
        let packed = message(CLIENT, [&record.pair("k", "v").body(["hi"])]);
        let expected = [
            &b"MDPC10\x00\x00\x00\x2a\x01\x04\x00\x00"[..],
            &[7; 16],
            b"\x00\x00\x01\x02\x00\x00\x00\x03\x04echo\x00\x05\x01k\x00\x01vhi",
        ];
        assert_eq!(packed, [expected.concat()]);
    }

    #[test]
    fn what_is_packed_is_read_again() {
        let id = [1; 16];
        let records = [
            reply(id, ["small"]),
            partial(id, ["two", ""]),
            error(id, 500, "text", [""]),
            reply(id, ["x".repeat(5_000)]).pair("key", "value"),
        ];
        let packed = message(CLIENT, &records);
        assert_eq!(packed.len(), 4);
        assert_eq!(read(CLIENT, &packed).as_deref(), Some(&records[..]));
        assert_eq!(read(WORKER, &packed), None);
        assert_eq!(read(CLIENT, &packed[..3].to_vec()), None);
        assert_eq!(read(CLIENT, &[packed, frames(["more"])].concat()), None);
    }
}
