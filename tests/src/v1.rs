//! Bare peers of MDP/1.0: a client and a worker that a test drives record by record,
//! and a worker that serves by itself.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::limit::{Deadline, LIMIT};
use crate::raw::RawPeer;
use crate::wire::v1::{self, CLIENT, Record, RequestId, TaskId, WORKER};
use crate::wire::{self, Frames};
use crate::worker::Behaviour;

/// A request id that no other request of any test has.
pub fn new_id() -> RequestId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut id = [0; 16];
    id[..8].copy_from_slice(&u64::from(std::process::id()).to_be_bytes());
    id[8..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    id
}

/// Records that come over one socket, one by one.
#[derive(Debug)]
struct Records {
    peer: RawPeer,
    magic: &'static [u8; 6],
    inbox: VecDeque<Record>,
    messages: u64,
}

impl Records {
    fn connect(endpoint: &str, magic: &'static [u8; 6]) -> Self {
        Records::of(RawPeer::dealer(endpoint), magic)
    }

    fn of(peer: RawPeer, magic: &'static [u8; 6]) -> Self {
        Records { peer, magic, inbox: VecDeque::new(), messages: 0 }
    }

    fn send<'a>(&self, records: impl IntoIterator<Item = &'a Record>) {
        self.peer.send(&v1::message(self.magic, records));
    }

    fn record_before(&mut self, deadline: Deadline) -> Option<Record> {
        loop {
            if let Some(record) = self.inbox.pop_front() {
                return Some(record);
            }
            let message = self.peer.receive_before(deadline)?;
            self.read(&message);
        }
    }

    fn read(&mut self, message: &Frames) {
        let records = v1::read(self.magic, message);
        let records = records.unwrap_or_else(|| panic!("not records:\n{}", wire::dump(message)));
        self.messages += 1;
        self.inbox.extend(records);
    }

    #[track_caller]
    fn record(&mut self) -> Record {
        let record = self.record_before(Deadline::generous());
        record.unwrap_or_else(|| panic!("no record came within {LIMIT:?}"))
    }
}

/// A client on a bare DEALER socket.
#[derive(Debug)]
pub struct RawClient(Records);

impl RawClient {
    /// Connects; says nothing yet.
    pub fn connect(endpoint: &str) -> Self {
        RawClient(Records::connect(endpoint, CLIENT))
    }

    /// A client on this socket.
    pub fn of(peer: RawPeer) -> Self {
        RawClient(Records::of(peer, CLIENT))
    }

    /// Its socket.
    pub fn peer(&mut self) -> &mut RawPeer {
        &mut self.0.peer
    }

    /// How many messages it has received.
    pub fn messages(&self) -> u64 {
        self.0.messages
    }

    /// Sends these records in one message.
    pub fn send<'a>(&self, records: impl IntoIterator<Item = &'a Record>) {
        self.0.send(records);
    }

    /// Sends a request with this body, and gives its id.
    pub fn ask(&self, service: &str, body: &str) -> RequestId {
        self.ask_with(service, body, |request| request)
    }

    /// As [`RawClient::ask`], with something more in the request.
    pub fn ask_with(
        &self,
        service: &str,
        body: &str,
        with: impl FnOnce(Record) -> Record,
    ) -> RequestId {
        let id = new_id();
        self.send([&with(v1::request(id, service).body([body]))]);
        id
    }

    /// The next record, if one comes before `deadline`.
    pub fn record_before(&mut self, deadline: Deadline) -> Option<Record> {
        self.0.record_before(deadline)
    }

    /// The next record.
    ///
    /// # Panics
    ///
    /// When none comes within [`LIMIT`].
    #[track_caller]
    pub fn record(&mut self) -> Record {
        self.0.record()
    }

    /// The next record, which must be this one.
    ///
    /// # Panics
    ///
    /// When it is another, or none comes.
    #[track_caller]
    pub fn expect(&mut self, expected: &Record) {
        let found = self.record();
        assert!(found == *expected, "expected\n{expected:?}found\n{found:?}");
    }

    /// The next record, which must be a FINAL with this body.
    ///
    /// # Panics
    ///
    /// As [`RawClient::expect`].
    #[track_caller]
    pub fn expect_reply(&mut self, id: RequestId, body: &str) {
        self.expect(&v1::reply(id, [body]));
    }

    /// The next record, which must be an ERROR with this code. Gives its text.
    ///
    /// # Panics
    ///
    /// As [`RawClient::expect`].
    #[track_caller]
    pub fn expect_error(&mut self, id: RequestId, code: u16) -> String {
        let found = self.record();
        assert_eq!((found.command, found.id()), (0x06, id), "not an ERROR for it:\n{found:?}");
        let (found_code, text) = found.code_and_text(16);
        assert_eq!(found_code, code, "{text}");
        text
    }

    /// Waits until the broker has handled all that was sent so far, by a HEARTBEAT,
    /// which it answers at once. Gives its instance id.
    ///
    /// # Panics
    ///
    /// When no answer comes.
    #[track_caller]
    pub fn sync(&mut self) -> [u8; 8] {
        self.send([&v1::client_heartbeat()]);
        let mut before = VecDeque::new();
        loop {
            let record = self.record();
            if record.command == 0x03 {
                before.append(&mut self.0.inbox);
                self.0.inbox = before;
                return record.id();
            }
            before.push_back(record);
        }
    }

    /// Makes sure that the broker has handled all that was sent, and that nothing came
    /// that was not taken.
    ///
    /// # Panics
    ///
    /// When something has.
    #[track_caller]
    pub fn expect_nothing(&mut self) {
        self.sync();
        assert!(self.0.inbox.is_empty(), "nothing was expected, but:\n{:?}", self.0.inbox);
    }
}

/// A request that a worker got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// What the broker calls it.
    pub id: TaskId,
    /// What is left of its timeout; 0 for none.
    pub timeout_left_ms: u64,
    /// How often it was handed out.
    pub attempt: u64,
    /// The client's.
    pub metadata: Vec<(String, String)>,
    /// The body.
    pub body: Frames,
}

impl Task {
    /// The request in this record; `None` when it is another command.
    pub fn read(record: Record) -> Option<Self> {
        (record.command == 0x03).then(|| Task {
            id: record.id(),
            timeout_left_ms: record.number(8, 4),
            attempt: record.number(12, 1),
            metadata: record.metadata,
            body: record.body,
        })
    }
}

/// A worker on a bare DEALER socket. It beats only when told to; the broker's
/// heartbeats are passed over.
#[derive(Debug)]
pub struct RawWorker {
    records: Records,
    heartbeats: u64,
}

impl RawWorker {
    /// Registers for a service, and waits for WELCOME.
    #[track_caller]
    pub fn register(endpoint: &str, service: &str, capacity: u16) -> Self {
        let (worker, _) = Self::register_as(endpoint, &v1::ready(capacity, service));
        worker
    }

    /// Registers with this READY; gives the WELCOME too.
    ///
    /// # Panics
    ///
    /// When something else comes.
    #[track_caller]
    pub fn register_as(endpoint: &str, ready: &Record) -> (Self, Record) {
        let mut worker = Self::connect(endpoint);
        worker.send([ready]);
        let welcome = worker.record();
        assert_eq!(welcome.command, 0x02, "not WELCOME:\n{welcome:?}");
        (worker, welcome)
    }

    /// Connects; says nothing yet.
    pub fn connect(endpoint: &str) -> Self {
        RawWorker { records: Records::connect(endpoint, WORKER), heartbeats: 0 }
    }

    /// A worker on this socket; says nothing yet.
    pub fn of(peer: RawPeer) -> Self {
        RawWorker { records: Records::of(peer, WORKER), heartbeats: 0 }
    }

    /// Its socket.
    pub fn peer(&mut self) -> &mut RawPeer {
        &mut self.records.peer
    }

    /// How many heartbeats it has received.
    pub fn heartbeats(&self) -> u64 {
        self.heartbeats
    }

    /// How many messages it has received.
    pub fn messages(&self) -> u64 {
        self.records.messages
    }

    /// Sends these records in one message.
    pub fn send<'a>(&self, records: impl IntoIterator<Item = &'a Record>) {
        self.records.send(records);
    }

    /// The next record that is no heartbeat, if one comes before `deadline`.
    pub fn record_before(&mut self, deadline: Deadline) -> Option<Record> {
        loop {
            let record = self.records.record_before(deadline)?;
            if record != v1::heartbeat() {
                return Some(record);
            }
            self.heartbeats += 1;
        }
    }

    /// The next record that is no heartbeat.
    ///
    /// # Panics
    ///
    /// When none comes within [`LIMIT`].
    #[track_caller]
    pub fn record(&mut self) -> Record {
        let record = self.record_before(Deadline::generous());
        record.unwrap_or_else(|| panic!("no record came within {LIMIT:?}"))
    }

    /// The next record, which must be a REQUEST.
    ///
    /// # Panics
    ///
    /// When it is something else, or nothing comes.
    #[track_caller]
    pub fn task(&mut self) -> Task {
        let record = self.record();
        let text = format!("not a request:\n{record:?}");
        Task::read(record).unwrap_or_else(|| panic!("{text}"))
    }

    /// As [`RawWorker::task`]; its body must be this one.
    #[track_caller]
    pub fn expect_task(&mut self, body: &str) -> Task {
        let task = self.task();
        assert!(task.body == wire::frames([body]), "expected {body:?}, found {task:?}");
        task
    }

    /// Answers a task.
    pub fn reply(&self, task: &Task, body: &str) {
        self.send([&v1::worker_reply(task.id, [body])]);
    }

    /// Takes a task with this body, and answers with the same.
    #[track_caller]
    pub fn echo(&mut self, body: &str) {
        let task = self.expect_task(body);
        self.reply(&task, body);
    }

    /// The next record, which must be this one.
    ///
    /// # Panics
    ///
    /// When it is another, or none comes.
    #[track_caller]
    pub fn expect(&mut self, expected: &Record) {
        let found = self.record();
        assert!(found == *expected, "expected\n{expected:?}found\n{found:?}");
    }

    /// The next record, which must be DISCONNECT. Gives code and text.
    ///
    /// # Panics
    ///
    /// When it is something else, or none comes.
    #[track_caller]
    pub fn expect_disconnect(&mut self) -> (u16, String) {
        let found = self.record();
        assert_eq!(found.command, 0x0A, "not DISCONNECT:\n{found:?}");
        found.code_and_text(0)
    }

    /// Waits until the broker has handled all that was sent so far.
    pub fn sync(&mut self) {
        // What one round of the broker's loop has for a worker of 1.0 leaves at the end
        // of the round, after an answer of 0.2; so only a second round makes it sure.
        self.records.peer.sync();
        self.records.peer.sync();
    }

    /// Makes sure that nothing but heartbeats has come.
    ///
    /// # Panics
    ///
    /// When something has.
    #[track_caller]
    pub fn expect_nothing(&mut self) {
        self.sync();
        if let Some(record) = self.record_before(Deadline::after(Duration::ZERO)) {
            panic!("nothing was expected, but this came:\n{record:?}");
        }
    }
}

/// Serves as docs/protocol.md asks of a worker, and answers all that came in one
/// message with one message. Calls `on_task` for each request. Beats when nothing came
/// for `interval`, which it also asks the broker for; comes back on DISCONNECT. Ends
/// when `stop` is set, which is looked at once in an interval at least, with DRAIN and
/// DISCONNECT; whoever stops it sends nothing meanwhile.
pub fn serve(
    endpoint: &str,
    service: &str,
    capacity: u16,
    behaviour: Behaviour,
    interval: Duration,
    stop: &AtomicBool,
    mut on_task: impl FnMut(&Task),
) {
    let ready = v1::ready_asking(capacity, interval.as_millis() as u32, 0, service);
    let connect = || {
        let records = Records::connect(endpoint, WORKER);
        records.send([&ready]);
        records
    };
    let mut records = connect();
    while !stop.load(Ordering::Relaxed) {
        let Some(message) = records.peer.receive_before(Deadline::after(interval)) else {
            records.send([&v1::heartbeat()]);
            continue;
        };
        records.read(&message);
        let mut answers = vec![];
        let mut disconnected = false;
        for record in std::mem::take(&mut records.inbox) {
            match record.command {
                0x03 => {
                    let Some(task) = Task::read(record) else { continue };
                    on_task(&task);
                    if behaviour == Behaviour::Echo {
                        answers.push(v1::worker_reply(task.id, &task.body));
                    }
                }
                0x08 => answers.push(v1::heartbeat()),
                0x0A => disconnected = true,
                _ => {}
            }
        }
        if disconnected {
            records = connect();
        } else if !answers.is_empty() {
            records.send(&answers);
        }
    }
    records.send([&v1::drain(), &v1::disconnect(0, "stopped")]);
}
