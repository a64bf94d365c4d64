//! What the tests share: a dialog, its clock, and the brokers as it sees them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use majordomo_client::shared::{Action, Dialog, Event, Request, Settings};
use majordomo_client::{Body, CallError, Metadata, ServiceName};
use majordomo_protocol::client::{Answered, FromBroker, ToBroker};
use majordomo_protocol::{Batch, InstanceId, Reason, RequestId, Terms};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// What a broker was told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    Request(RequestId, Terms),
    Cancel(RequestId),
    Heartbeat,
}

/// A dialog, its clock, and what its owner would have done so far.
pub(crate) struct Table {
    pub(crate) dialog: Dialog<u64>,
    pub(crate) now: Instant,
    pub(crate) told: Vec<VecDeque<Told>>,
    pub(crate) connects: Vec<usize>,
    pub(crate) left: Vec<(usize, &'static str)>,
    pub(crate) parts: Vec<(u64, String)>,
    pub(crate) done: Vec<(u64, Result<String, CallError>)>,
}

fn text(body: &Body) -> String {
    String::from_utf8_lossy(&body.to_bytes()).into_owned()
}

pub(crate) fn request(service: &str) -> Request {
    Request {
        service: ServiceName::new(service).expect("a name"),
        body: Body::from("hello"),
        timeout: TIMEOUT,
        deadline: 3 * TIMEOUT,
        tries: 3,
        start_within: None,
        once: false,
        fail_fast: false,
        no_reply: false,
        metadata: Metadata::default(),
    }
}

impl Table {
    pub(crate) fn new(brokers: usize) -> Self {
        let endpoints = (0..brokers).map(|number| format!("inproc://{number}")).collect();
        let settings = Settings { endpoints, ..Settings::default() };
        #[expect(clippy::disallowed_methods, reason = "some first moment; it is not read again")]
        let now = Instant::now();
        Table {
            dialog: Dialog::new(settings, 0x0102_0304_0506_0708).expect("possible settings"),
            now,
            told: vec![VecDeque::new(); brokers],
            connects: Vec::new(),
            left: Vec::new(),
            parts: Vec::new(),
            done: Vec::new(),
        }
    }

    /// With the first broker connected and a first call sent there, which is returned.
    pub(crate) fn connected(brokers: usize) -> (Self, RequestId) {
        let mut table = Table::new(brokers);
        table.submit(1, request("echo"));
        table.event(0, Event::Connected);
        let id = table.asked(0);
        (table, id)
    }

    pub(crate) fn act(&mut self) {
        while let Some(action) = self.dialog.poll_action() {
            match action {
                Action::Connect { broker } => self.connects.push(broker),
                Action::Disconnect { broker, reason } => {
                    self.left.push((broker, reason));
                    self.told[broker].clear();
                }
                Action::Send { broker, command } => self.told[broker].push_back(match command {
                    ToBroker::Request { id, terms, .. } => Told::Request(id.expect("an id"), terms),
                    ToBroker::Cancel { id } => Told::Cancel(id),
                    ToBroker::Heartbeat => Told::Heartbeat,
                }),
                Action::Part { token, key, body } => {
                    assert_eq!(token, key);
                    self.parts.push((token, text(&body)));
                }
                Action::Done { token, result } => {
                    self.done.push((token, result.map(|body| text(&body))));
                }
            }
        }
    }

    pub(crate) fn submit(&mut self, key: u64, request: Request) {
        self.dialog.submit(key, request, key, self.now);
        self.act();
    }

    pub(crate) fn event(&mut self, broker: usize, event: Event) {
        self.dialog.handle(broker, event, self.now);
        self.act();
    }

    /// Lets time pass, timer by timer.
    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(due) = self.dialog.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.dialog.handle_timeout(self.now);
            self.act();
        }
        self.now = until;
    }

    /// The broker says this.
    fn says(&mut self, broker: usize, commands: Vec<FromBroker<Body>>) {
        let mut batch = Batch::of_client(4096);
        for command in commands {
            command.write(&mut batch).expect("MDP/1.0 can say it");
        }
        self.event(broker, Event::Message(batch.into_frames()));
    }

    pub(crate) fn last(&mut self, broker: usize, id: RequestId, body: &str) {
        let request = Answered::Id(id);
        self.says(broker, vec![FromBroker::Final { request, body: Body::from(body) }]);
    }

    pub(crate) fn part(&mut self, broker: usize, id: RequestId, body: &str) {
        let request = Answered::Id(id);
        self.says(broker, vec![FromBroker::Partial { request, body: Body::from(body) }]);
    }

    pub(crate) fn error(&mut self, broker: usize, id: RequestId, code: u16) {
        let reason = Reason { code, text: "why".to_owned() };
        self.says(broker, vec![FromBroker::Error { id, reason, details: Body::from("more") }]);
    }

    pub(crate) fn heartbeat(&mut self, broker: usize) {
        let instance = InstanceId::new([9; 8]);
        self.says(broker, vec![FromBroker::Heartbeat { instance }]);
    }

    /// The next request a broker was sent; heartbeats before it are passed over.
    pub(crate) fn asked(&mut self, broker: usize) -> RequestId {
        self.terms(broker).0
    }

    pub(crate) fn terms(&mut self, broker: usize) -> (RequestId, Terms) {
        loop {
            match self.told[broker].pop_front().expect("a request") {
                Told::Request(id, terms) => return (id, terms),
                Told::Heartbeat => {}
                Told::Cancel(id) => panic!("a cancel of {id}"),
            }
        }
    }

    /// Lets time pass with a broker that answers every heartbeat.
    pub(crate) fn pass_alive(&mut self, broker: usize, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.pass(SECOND.min(until - self.now));
            if self.told[broker].contains(&Told::Heartbeat) {
                self.told[broker].retain(|told| *told != Told::Heartbeat);
                self.heartbeat(broker);
            }
        }
    }

    pub(crate) fn result(&mut self) -> Result<String, CallError> {
        assert_eq!(self.done.len(), 1, "{:?}", self.done);
        self.done.remove(0).1
    }

    pub(crate) fn error_of_call(&mut self) -> CallError {
        self.result().expect_err("a failure")
    }

    /// Nothing is left of any call.
    pub(crate) fn assert_empty(&mut self) {
        assert_eq!(self.dialog.counts().outstanding, 0);
        self.pass(100 * SECOND);
        assert_eq!(self.dialog.entries(), 0);
    }
}
