//! What goes through a connection: commands of brokers to its dialog, the dialog's
//! actions to sockets and handlers, answers of handlers back.

use std::time::Instant;

use majordomo_protocol::worker::{Commands, FromBroker, ToBroker};
use majordomo_protocol::{
    Body, ClientAddress, DecodeError, Frames, HandshakeFailure, Reason, Security, Version,
};

use super::{Io, Target};
use crate::connection::keep;
use crate::context::CONNECTIONS_PER_CONTEXT;
use crate::dialog::{Action, CloseReason, Event};
use crate::frame::Frame;
use crate::handler::HandlerError;
use crate::pool::{self, Job};
use crate::request::{Request, Responder};
use crate::task::{OpenRequest, Part, Task};

/// Messages read from one socket before the others have their turn.
const READS_MAX: usize = 64;

impl Io {
    /// Reads what came, as long as the socket stays open.
    pub(super) fn read(&mut self, index: usize, time: Instant) {
        if let Some(failure) = self.connections[index].wire.refusal() {
            return self.unauthorized(index, failure, time);
        }
        for _ in 0..READS_MAX {
            let frames = match self.connections[index].wire.receive() {
                Ok(Some(frames)) => frames,
                Ok(None) => return,
                Err(error) => return self.refused(index, error, time),
            };
            self.hear_all(index, Frames::new(frames), time);
            // Those of inline handlers. With them the timer is set, for all commands at once.
            self.take_parts(index, time);
        }
    }

    /// Takes note of one message of a broker.
    fn hear_all(&mut self, index: usize, frames: Frames<Frame>, time: Instant) {
        let commands = match self.settings.version {
            Version::V1_0 => Commands::new(frames),
            version => return self.hear(index, FromBroker::decode(version, frames), time),
        };
        match commands {
            Ok(commands) => commands.for_each(|command| {
                self.hear(index, command, time);
                // One by one, so that the memory of each request serves the next.
                self.tell_answers(index, time);
            }),
            Err(error) => self.hear(index, Err(error), time),
        }
    }

    /// Takes note of one command of a broker.
    pub(super) fn hear(
        &mut self,
        index: usize,
        command: Result<FromBroker<Body<Frame>>, DecodeError>,
        time: Instant,
    ) {
        let connection = &mut self.connections[index];
        let broker = &mut self.brokers[connection.broker];
        let endpoint = broker.endpoint.as_str();
        let event = match command {
            Ok(FromBroker::Request { client, task, body }) => {
                return self.request(index, client, task, body, time);
            }
            Ok(FromBroker::Disconnect { reason }) => {
                if reason != Reason::default() {
                    let level = trouble_level(broker.troubled, CloseReason::Disconnected);
                    let Reason { code, text } = &reason;
                    log::log!(level, broker = endpoint, code; "broker sends DISCONNECT: {text}");
                }
                Event::Message(FromBroker::Disconnect { reason })
            }
            Ok(FromBroker::Welcome(agreement)) => Event::Message(FromBroker::Welcome(agreement)),
            Ok(FromBroker::Cancel { client }) => Event::Message(FromBroker::Cancel { client }),
            Ok(FromBroker::Heartbeat) => Event::Message(FromBroker::Heartbeat),
            Err(error) => {
                self.outbox.counters.message_invalid();
                let level = trouble_level(broker.troubled, CloseReason::Invalid);
                log::log!(level, broker = endpoint; "invalid message from broker: {error}");
                Event::Invalid
            }
        };
        let is_of_no_use =
            matches!(event, Event::Invalid | Event::Message(FromBroker::Disconnect { .. }));
        if broker.troubled && !is_of_no_use {
            broker.troubled = false;
            log::info!(broker = endpoint; "broker heard again");
        }
        connection.dialog.handle(event, time);
        self.carry_out(index, time);
    }

    /// Takes note of a REQUEST. Most are run at once.
    fn request(
        &mut self,
        index: usize,
        client: ClientAddress,
        task: majordomo_protocol::Task,
        body: Body<Frame>,
        time: Instant,
    ) {
        self.outbox.counters.request();
        let (body, too_large) = keep(body, self.settings.request_bytes_max);
        let connection = &mut self.connections[index];
        if connection.dialog.begin(&client, time) {
            self.give_out(index, client, task, body, too_large, time);
        } else {
            connection.too_large.push_back(too_large);
            let message = FromBroker::Request { client, task, body };
            connection.dialog.handle(Event::Message(message), time);
        }
        self.carry_out(index, time);
    }

    /// Sends what waited, and then more of the replies that were held back for it.
    pub(super) fn flush(&mut self, index: usize, time: Instant) {
        match self.connections[index].wire.flush() {
            Ok(answers) => self.outbox.counters.answers(answers),
            Err(error) => return self.refused(index, error, time),
        }
        self.take_parts(index, time);
    }

    /// Sends what has gathered since the last turn: one message for a connection.
    pub(super) fn send_gathered(&mut self, time: Instant) {
        for index in std::mem::take(&mut self.gathering) {
            if self.connections[index].wire.is_gathering() {
                match self.connections[index].wire.flush() {
                    Ok(answers) => self.outbox.counters.answers(answers),
                    Err(error) => self.refused(index, error, time),
                }
            }
        }
    }

    /// Takes what the handlers of this connection have answered; nothing while the
    /// socket does not take what it was given before, so that handlers wait.
    pub(super) fn take_parts(&mut self, index: usize, time: Instant) {
        // Bounded, since handlers go on handing over.
        for _ in 0..=self.connections[index].parts.len() {
            self.tell_answers(index, time);
            let connection = &mut self.connections[index];
            if !connection.wire.is_clear() {
                break;
            }
            if let Some(event) = connection.next_part() {
                connection.dialog.handle(event, time);
                self.carry_out(index, time);
            }
        }
        self.set_timer(index);
    }

    /// Takes what inline handlers have answered. That goes on while requests that came
    /// ahead wait, each of them begun by the answer before.
    fn tell_answers(&mut self, index: usize, time: Instant) {
        loop {
            let connection = &mut self.connections[index];
            if !connection.wire.is_clear() {
                return;
            }
            let Some((client, part)) = connection.answered.pop_front() else { return };
            match part {
                Part::Final(body) => {
                    if connection.dialog.finish(&client, time) {
                        self.send(index, ToBroker::Final { client, body }, time);
                    }
                }
                Part::Error(reason, details) => {
                    if connection.dialog.finish(&client, time) {
                        self.send(index, ToBroker::Error { client, reason, details }, time);
                    }
                }
                part => connection.dialog.handle(part.into_event(client), time),
            }
            self.carry_out(index, time);
        }
    }

    /// Carries out what a connection's dialog has decided, and sets its timer.
    pub(super) fn perform(&mut self, index: usize, time: Instant) {
        self.carry_out(index, time);
        self.set_timer(index);
    }

    fn carry_out(&mut self, index: usize, time: Instant) {
        while let Some(action) = self.connections[index].dialog.poll_action() {
            match action {
                Action::Open => self.open(index, time),
                Action::Send(command) => self.send(index, command, time),
                Action::Run { client, task, body } => {
                    let too_large = self.connections[index].too_large.pop_front().flatten();
                    self.give_out(index, client, task, body, too_large, time);
                }
                Action::Cancel { client } => {
                    if let Some(task) = self.connections[index].running.get(&client) {
                        self.outbox.counters.cancellation();
                        task.cancelled.raise();
                    }
                }
                Action::GiveBack { requests } => {
                    self.outbox.counters.requests_given_back(requests as u64);
                    let service = self.routes[self.connections[index].service].name.as_str();
                    log::debug!(service, requests; "not begun, and left to the broker's others");
                }
                Action::Close(reason) => self.close(index, reason, time),
            }
        }
    }

    fn set_timer(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        let timeout = connection.dialog.poll_timeout();
        if connection.timer != timeout {
            if let Some(at) = connection.timer {
                self.timers.remove(&(at, index));
            }
            if let Some(at) = timeout {
                self.timers.insert((at, index));
            }
            connection.timer = timeout;
        }
    }

    fn open(&mut self, index: usize, time: Instant) {
        // What is said to one connection is said to all of them.
        let broker = self.connections[index].broker;
        let is_first = index == 0 || self.connections[index - 1].broker != broker;
        let connection = &mut self.connections[index];
        let endpoint = &self.brokers[broker].endpoint;
        let security = self.settings.credentials.of(endpoint.as_str());
        let Some(context) =
            self.contexts.get(index / CONNECTIONS_PER_CONTEXT).or(self.contexts.first())
        else {
            return;
        };
        connection.too_large.clear();
        match connection.wire.open(context, endpoint, security, is_first) {
            Ok(()) => log::debug!(
                broker = endpoint.as_str(), service = self.routes[connection.service].name.as_str();
                "registering"
            ),
            Err(error) => self.refused(index, error, time),
        }
    }

    fn send(&mut self, index: usize, command: ToBroker<Body>, time: Instant) {
        let connection = &mut self.connections[index];
        if command == ToBroker::Heartbeat && !connection.wire.is_clear() {
            // The broker is not reading, and will hear more than enough when it does.
            return;
        }
        let was_gathering = connection.wire.is_gathering();
        match connection.wire.write(command) {
            Ok(answers) => self.outbox.counters.answers(answers),
            Err(error) => return self.refused(index, error, time),
        }
        if !was_gathering && self.connections[index].wire.is_gathering() {
            self.gathering.push(index);
        }
    }

    /// Gives a request to its service's handlers. `too_large`: how large its body was, if it
    /// was left behind.
    fn give_out(
        &mut self,
        index: usize,
        client: ClientAddress,
        terms: majordomo_protocol::Task,
        body: Body,
        too_large: Option<usize>,
        time: Instant,
    ) {
        let connection = &mut self.connections[index];
        let route = &self.routes[connection.service];
        if let Some(bytes) = too_large {
            let bytes_max = self.settings.request_bytes_max;
            let error = HandlerError::from(format!(
                "the request has {bytes} bytes; this worker takes at most {bytes_max}"
            ));
            let failure = Task::new(client.clone(), connection.lane.clone()).failure(error);
            return connection.dialog.handle(failure.into_event(client), time);
        }
        let mut task = match &route.target {
            Target::Inline(_) => Task::inline(client, &connection.lane, connection.spare.take()),
            Target::Queue(_) => Task::new(client, connection.lane.clone()),
        };
        let time_left = match (route.time_limit, terms.timeout) {
            (Some(limit), Some(timeout)) => Some(limit.min(timeout)),
            (limit, timeout) => limit.or(timeout),
        };
        let request = Request {
            body,
            deadline: time_left.and_then(|left| time.checked_add(left)),
            attempt: terms.attempt,
            metadata: terms.metadata,
            task: task.clone(),
        };
        let responder = Responder::new(task.clone());
        match &route.target {
            Target::Inline(handler) => {
                pool::serve(&**handler, &task, request, responder);
                let answered = &mut connection.answered;
                let is_free = Task::take_kept(&mut task, |client, part| {
                    answered.push_back((client.clone(), part));
                });
                connection.spare = is_free.then_some(task);
            }
            Target::Queue(jobs) => {
                connection.running.insert(task.client.clone(), task.clone());
                let open = OpenRequest::new(self.outbox.clone());
                let job = Job { request, responder, open };
                let Err(refused) = jobs.try_send(job) else { return };
                // There is room for every job that a dialog lets in: those who take
                // jobs are gone, and it will not be begun.
                if task.claim() {
                    connection.running.remove(&task.client);
                    let client = task.client.clone();
                    connection.dialog.handle(Event::Unstarted { client }, time);
                }
                drop(refused);
            }
        }
    }

    fn close(&mut self, index: usize, reason: CloseReason, time: Instant) {
        let connection = &mut self.connections[index];
        let still_running = connection.running.len();
        connection.abandon_all(time);
        if reason.flushes() {
            // It fails for a socket that is of no use any more: it is closed anyway.
            let answers = connection.wire.flush().unwrap_or(0);
            self.outbox.counters.answers(answers);
        }
        if reason == CloseReason::Stopped {
            return connection.wire.close_when_clear();
        }
        connection.close_wire(reason.flushes());
        self.outbox.counters.reconnect();
        let broker = &mut self.brokers[connection.broker];
        let service = self.routes[connection.service].name.as_str();
        let level = trouble_level(broker.troubled, reason);
        // A broker that says so is not in trouble yet; if it stays away, it will be.
        broker.troubled |= reason != CloseReason::Disconnected;
        log::log!(
            level, broker = broker.endpoint.as_str(), service, still_running;
            "connection lost, will register again: {}", reason.as_str()
        );
        if reason == CloseReason::Unexpected {
            self.outbox.counters.message_invalid();
        }
        // Parts may have been held back for the socket, and their handler blocked.
        self.take_parts(index, time);
    }

    /// The broker does not let this worker in. It may do so later: a key can be entered, or
    /// come back.
    fn unauthorized(&mut self, index: usize, failure: HandshakeFailure, time: Instant) {
        let connection = &mut self.connections[index];
        let broker = &mut self.brokers[connection.broker];
        let level = trouble_level(broker.troubled, CloseReason::Refused);
        broker.troubled = true;
        let endpoint = broker.endpoint.as_str();
        log::log!(
            level, broker = endpoint;
            "the broker does not let this worker in, will try again: {failure}"
        );
        // Where nothing is shown nothing can be wrong with it, and a broker that ends or a proxy
        // without one is more likely: ZeroMQ itself goes on.
        let is_secured = !matches!(self.settings.credentials.of(endpoint), Security::Null);
        if failure.is_final() || is_secured {
            connection.dialog.handle(Event::Refused, time);
            self.perform(index, time);
        }
    }

    pub(super) fn refused(&mut self, index: usize, error: zmq::Error, time: Instant) {
        let connection = &mut self.connections[index];
        let broker = &mut self.brokers[connection.broker];
        let level = trouble_level(broker.troubled, CloseReason::Refused);
        broker.troubled = true;
        log::log!(level, broker = broker.endpoint.as_str(); "socket failed: {error}");
        connection.dialog.handle(Event::Refused, time);
        self.perform(index, time);
    }
}

/// How loud a loss is: once for a broker, since all its connections will say the same.
fn trouble_level(is_known: bool, reason: CloseReason) -> log::Level {
    match reason {
        _ if is_known => log::Level::Debug,
        CloseReason::Disconnected => log::Level::Info,
        _ => log::Level::Warn,
    }
}
