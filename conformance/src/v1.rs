//! Bare clients and workers of MDP/1.0. Their messages are packed and read by
//! `majordomo-protocol`, whose own tests hold it to docs/protocol.md byte by byte; what
//! must be malformed is packed by hand, in the checks.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use majordomo_protocol::{
    Agreement, Answered, Batch, Body, ClientAddress, Frames as Reader, InstanceId, Offer, Reason,
    RequestId, ServiceName, Task, Terms, client, worker,
};

use crate::clock::Deadline;
use crate::trial::{Link, Trial};
use crate::verdict::{Needed, Step, Stop};
use crate::wire::{Frames, dump, frames};

pub(crate) type FromClient = client::ToBroker<Body>;
pub(crate) type ToClient = client::FromBroker<Body>;
pub(crate) type FromWorker = worker::ToBroker<Body>;
pub(crate) type ToWorker = worker::FromBroker<Body>;

/// A body of one frame up to this size stands in its record.
const INLINE_BYTES_MAX: usize = 4_096;
const NOTHING: &str = "nothing";

/// A request id that nobody else has.
pub(crate) fn new_id() -> RequestId {
    RequestId::new(fastrand::u128(..).to_be_bytes())
}

/// A message of these commands of a client.
pub(crate) fn client_message(commands: impl IntoIterator<Item = FromClient>) -> Frames {
    let mut batch = Batch::of_client(INLINE_BYTES_MAX);
    for command in commands {
        // No check sends what a record cannot say.
        let _ = command.write(&mut batch);
    }
    batch.into_frames()
}

/// A message of these commands of a worker.
pub(crate) fn worker_message(commands: impl IntoIterator<Item = FromWorker>) -> Frames {
    let mut batch = Batch::of_worker(INLINE_BYTES_MAX);
    for command in commands {
        // As above.
        let _ = command.write(&mut batch);
    }
    batch.into_frames()
}

/// A name that has been checked; ours are all well-formed.
fn name(service: &str) -> Step<ServiceName> {
    ServiceName::new(service).map_err(|error| Stop::Blocked(error.to_string()))
}

/// REQUEST with a body of one frame.
pub(crate) fn request(id: RequestId, service: &str, body: &str, terms: Terms) -> Step<FromClient> {
    let (id, service, body) = (Some(id), name(service)?, Body::from(body));
    Ok(client::ToBroker::Request { id, service, terms, body })
}

/// CANCEL.
pub(crate) fn cancel(id: RequestId) -> FromClient {
    client::ToBroker::Cancel { id }
}

/// READY at the broker's heartbeat.
pub(crate) fn ready(service: &str, capacity: u16) -> Step<FromWorker> {
    ready_with(service, Offer { capacity, ..Offer::default() })
}

/// READY.
pub(crate) fn ready_with(service: &str, offer: Offer) -> Step<FromWorker> {
    Ok(worker::ToBroker::Ready { service: name(service)?, offer })
}

/// Commands that come over one socket, one by one.
struct Inbox<'t, T> {
    trial: &'t Trial<'t>,
    link: Rc<Link>,
    commands: RefCell<VecDeque<T>>,
    read: fn(Frames) -> Result<Vec<T>, String>,
}

impl<'t, T: std::fmt::Debug> Inbox<'t, T> {
    fn new(trial: &'t Trial<'t>, read: fn(Frames) -> Result<Vec<T>, String>) -> Step<Self> {
        let link = trial.connect(zmq::DEALER)?;
        Ok(Inbox { trial, link, commands: RefCell::default(), read })
    }

    /// The next command, if one comes before the deadline.
    fn next(&self, deadline: Deadline) -> Step<Option<T>> {
        loop {
            if let Some(command) = self.commands.borrow_mut().pop_front() {
                return Ok(Some(command));
            }
            let Some(message) = self.trial.receive(&self.link, deadline) else { return Ok(None) };
            let shown = dump(&message);
            let read = (self.read)(message);
            let commands = read.map_err(|error| {
                self.trial.failed("a message of MDP/1.0", format!("{shown}, malformed: {error}"))
            })?;
            self.commands.borrow_mut().extend(commands);
        }
    }

    fn failed(&self, expected: &str, found: Option<T>, within: Duration) -> Stop {
        let received = found.map_or(NOTHING.to_owned(), |found| format!("{found:?}"));
        let received: String = received.chars().take(400).collect();
        self.trial.failed_within(expected, received, within)
    }
}

fn read_to_client(message: Frames) -> Result<Vec<ToClient>, String> {
    let commands = client::Commands::new(Reader::new(message)).map_err(|e| e.to_string())?;
    commands.collect::<Result<_, _>>().map_err(|error| error.to_string())
}

fn read_to_worker(message: Frames) -> Result<Vec<ToWorker>, String> {
    let commands = worker::Commands::new(Reader::new(message)).map_err(|e| e.to_string())?;
    commands.collect::<Result<_, _>>().map_err(|error| error.to_string())
}

/// A client on a DEALER socket.
pub(crate) struct Client<'t>(Inbox<'t, ToClient>);

impl<'t> Client<'t> {
    /// Connects; says nothing yet.
    pub(crate) fn new(trial: &'t Trial<'t>) -> Step<Self> {
        Inbox::new(trial, read_to_client).map(Client)
    }

    /// Its socket.
    pub(crate) fn link(&self) -> &Link {
        &self.0.link
    }

    /// Sends these commands in one message.
    pub(crate) fn send(&self, commands: impl IntoIterator<Item = FromClient>) {
        self.0.link.send(&client_message(commands));
    }

    /// Sends a request, and gives its id.
    pub(crate) fn ask(&self, service: &str, body: &str) -> Step<RequestId> {
        self.ask_with(service, body, Terms::default())
    }

    /// As [`Client::ask`], on these terms.
    pub(crate) fn ask_with(&self, service: &str, body: &str, terms: Terms) -> Step<RequestId> {
        let id = new_id();
        self.send([request(id, service, body, terms)?]);
        Ok(id)
    }

    /// The next command, if one comes within this time.
    pub(crate) fn next(&self, wait: Duration) -> Step<Option<ToClient>> {
        self.0.next(Deadline::after(wait))
    }

    /// The next command; `expected` says what it should be.
    fn answer(&self, expected: &str) -> Step<ToClient> {
        let wait = self.0.trial.setup.timeout;
        self.next(wait)?.ok_or_else(|| self.0.failed(expected, None, wait))
    }

    fn unlike(&self, expected: &str, found: ToClient) -> Stop {
        self.0.failed(expected, Some(found), self.0.trial.setup.timeout)
    }

    /// The next command, which must be a FINAL with this body of one frame.
    pub(crate) fn expect_final(&self, id: RequestId, body: &str) -> Step {
        self.expect_body(id, &frames([body]), "FINAL")
    }

    /// The next command, which must be a PARTIAL with this body of one frame.
    pub(crate) fn expect_partial(&self, id: RequestId, body: &str) -> Step {
        self.expect_body(id, &frames([body]), "PARTIAL")
    }

    /// As [`Client::expect_final`] or [`Client::expect_partial`], with any body.
    pub(crate) fn expect_body(&self, id: RequestId, body: &Frames, kind: &str) -> Step {
        let expected = format!("{kind} {} for the request {id}", dump(body));
        match self.answer(&expected)? {
            ToClient::Final { request: Answered::Id(found), body: bytes }
                if kind == "FINAL" && found == id && bytes.frames() == body =>
            {
                Ok(())
            }
            ToClient::Partial { request: Answered::Id(found), body: bytes }
                if kind == "PARTIAL" && found == id && bytes.frames() == body =>
            {
                Ok(())
            }
            other => Err(self.unlike(&expected, other)),
        }
    }

    /// The next command, which must be an ERROR with this code; its text and details.
    pub(crate) fn expect_error(&self, id: RequestId, code: u16) -> Step<(String, Body)> {
        let expected = format!("ERROR {code} for the request {id}");
        match self.answer(&expected)? {
            ToClient::Error { id: found, reason, details }
                if found == id && reason.code == code =>
            {
                Ok((reason.text, details))
            }
            other => Err(self.unlike(&expected, other)),
        }
    }

    /// Asks for a sign of life; the broker's instance id.
    pub(crate) fn heartbeat(&self) -> Step<InstanceId> {
        self.send([client::ToBroker::Heartbeat]);
        match self.answer("HEARTBEAT")? {
            ToClient::Heartbeat { instance } => Ok(instance),
            other => Err(self.unlike("HEARTBEAT", other)),
        }
    }

    /// Makes sure that nothing comes for a while.
    pub(crate) fn expect_nothing(&self) -> Step {
        let quiet = self.0.trial.setup.quiet;
        match self.next(quiet)? {
            None => Ok(()),
            found => Err(self.0.failed(NOTHING, found, quiet)),
        }
    }

    /// The code that one of the broker's own services answers.
    pub(crate) fn mmi(&self, service: &str, body: &str) -> Step<String> {
        let asked = self.ask(service, body)?;
        let expected = format!("FINAL from {service}");
        match self.answer(&expected)? {
            ToClient::Final { request: Answered::Id(id), body } if id == asked => {
                Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
            }
            other => Err(self.unlike(&expected, other)),
        }
    }
}

/// A request that a worker got.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) id: ClientAddress,
    pub(crate) task: Task,
    pub(crate) body: Body,
}

/// A worker on a DEALER socket. It says DISCONNECT when it is dropped while registered.
pub(crate) struct Worker<'t>(Inbox<'t, ToWorker>);

impl<'t> Worker<'t> {
    /// Registers at the broker's heartbeat, and waits for WELCOME.
    pub(crate) fn register(trial: &'t Trial<'t>, service: &str, capacity: u16) -> Step<Self> {
        let offer = Offer { capacity, ..Offer::default() };
        Self::register_with(trial, service, offer).needed().map(|(worker, _)| worker)
    }

    /// Registers on these terms; gives what WELCOME says.
    pub(crate) fn register_with(
        trial: &'t Trial<'t>,
        service: &str,
        offer: Offer,
    ) -> Step<(Self, Agreement)> {
        let worker = Self::stranger(trial)?;
        worker.send([ready_with(service, offer)?]);
        let wait = trial.setup.timeout;
        match worker.0.next(Deadline::after(wait))? {
            Some(ToWorker::Welcome(agreement)) => {
                let beat = worker_message([FromWorker::Heartbeat]);
                worker.0.link.beat(beat, agreement.heartbeat / 2);
                Ok((worker, agreement))
            }
            found => Err(worker.0.failed("WELCOME", found, wait)),
        }
    }

    /// Connects; says nothing yet, nor beats.
    pub(crate) fn stranger(trial: &'t Trial<'t>) -> Step<Self> {
        Inbox::new(trial, read_to_worker).map(Worker)
    }

    /// Its socket.
    pub(crate) fn link(&self) -> &Link {
        &self.0.link
    }

    /// Sends these commands in one message.
    pub(crate) fn send(&self, commands: impl IntoIterator<Item = FromWorker>) {
        self.0.link.send(&worker_message(commands));
    }

    /// Says DISCONNECT.
    pub(crate) fn leave(&self) {
        self.0.link.fall_silent();
        self.send([FromWorker::Disconnect { reason: Reason::default() }]);
    }

    /// The next command, if one comes within this time.
    pub(crate) fn next(&self, wait: Duration) -> Step<Option<ToWorker>> {
        self.0.next(Deadline::after(wait))
    }

    /// The next command but HEARTBEAT, if one comes within this time.
    fn command(&self, wait: Duration) -> Step<Option<ToWorker>> {
        let deadline = Deadline::after(wait);
        loop {
            match self.0.next(deadline)? {
                Some(ToWorker::Heartbeat) if deadline.is_over() => return Ok(None),
                Some(ToWorker::Heartbeat) => {}
                other => return Ok(other),
            }
        }
    }

    /// The next command but HEARTBEAT, which must be a REQUEST.
    pub(crate) fn request(&self) -> Step<Held> {
        self.request_within(self.0.trial.setup.timeout)
    }

    /// As [`Worker::request`], within this time.
    pub(crate) fn request_within(&self, wait: Duration) -> Step<Held> {
        match self.command(wait)? {
            Some(ToWorker::Request { client, task, body }) => Ok(Held { id: client, task, body }),
            found => Err(self.0.failed("REQUEST", found, wait)),
        }
    }

    /// As [`Worker::request`], with this body.
    pub(crate) fn request_of(&self, body: &str) -> Step<Held> {
        let held = self.request()?;
        if held.body == Body::from(body) {
            return Ok(held);
        }
        let expected = format!("REQUEST with the body {body:?}");
        Err(self.0.trial.failed(expected, dump(&held.body.frames().to_vec())))
    }

    /// The next HEARTBEAT, within this time.
    pub(crate) fn heartbeat(&self, wait: Duration) -> Step {
        match self.next(wait)? {
            Some(ToWorker::Heartbeat) => Ok(()),
            found => Err(self.0.failed("HEARTBEAT", found, wait)),
        }
    }

    /// The next command but HEARTBEAT, which must be CANCEL for this request.
    pub(crate) fn cancelled(&self, held: &Held) -> Step {
        let wait = self.0.trial.setup.timeout;
        match self.command(wait)? {
            Some(ToWorker::Cancel { client }) if client == held.id => Ok(()),
            found => Err(self.0.failed(&format!("CANCEL for the task {}", held.id), found, wait)),
        }
    }

    /// The next command but HEARTBEAT, which must be DISCONNECT; then it beats no more.
    pub(crate) fn disconnected(&self) -> Step<Reason> {
        self.disconnected_within(self.0.trial.setup.timeout)
    }

    /// As [`Worker::disconnected`], within this time.
    pub(crate) fn disconnected_within(&self, wait: Duration) -> Step<Reason> {
        match self.command(wait)? {
            Some(ToWorker::Disconnect { reason }) => {
                self.0.link.fall_silent();
                Ok(reason)
            }
            found => Err(self.0.failed("DISCONNECT", found, wait)),
        }
    }

    /// Sends a PARTIAL.
    pub(crate) fn partial(&self, held: &Held, body: &str) {
        self.send([FromWorker::Partial { client: held.id.clone(), body: Body::from(body) }]);
    }

    /// Sends a FINAL.
    pub(crate) fn answer(&self, held: &Held, body: &str) {
        self.send([FromWorker::Final { client: held.id.clone(), body: Body::from(body) }]);
    }

    /// Sends an ERROR.
    pub(crate) fn error(&self, held: &Held, code: u16, text: &str, details: &str) {
        let (client, details) = (held.id.clone(), Body::from(details));
        let reason = Reason { code, text: text.to_owned() };
        self.send([FromWorker::Error { client, reason, details }]);
    }

    /// Makes sure that nothing but HEARTBEAT comes for a while.
    pub(crate) fn expect_only_heartbeats(&self) -> Step {
        let quiet = self.0.trial.setup.quiet;
        match self.command(quiet)? {
            None => Ok(()),
            found => Err(self.0.failed("nothing but HEARTBEAT", found, quiet)),
        }
    }

    /// Makes sure that nothing at all comes for this long.
    pub(crate) fn expect_nothing(&self, wait: Duration) -> Step {
        match self.next(wait)? {
            None => Ok(()),
            found => Err(self.0.failed(NOTHING, found, wait)),
        }
    }
}

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        if self.0.link.beats() {
            self.leave();
        }
    }
}
