//! Bare clients and workers of MDP/0.1 and MDP/0.2.

use std::rc::Rc;
use std::time::Duration;

use crate::clock::Deadline;
use crate::trial::{Link, Trial};
use crate::verdict::{Needed, Step};
use crate::wire::{self, Command, Frames, ToClient, ToWorker, Version, dump, frames};

const NOTHING: &str = "nothing";

/// A client on a DEALER socket.
pub(crate) struct Client<'t> {
    trial: &'t Trial<'t>,
    link: Rc<Link>,
    version: Version,
}

impl<'t> Client<'t> {
    /// Connects; says nothing yet.
    pub(crate) fn new(trial: &'t Trial<'t>) -> Step<Self> {
        Self::of(trial, trial.version)
    }

    /// As [`Client::new`], in a version of its own.
    pub(crate) fn of(trial: &'t Trial<'t>, version: Version) -> Step<Self> {
        Ok(Client { trial, link: trial.connect(zmq::DEALER)?, version })
    }

    /// Its socket.
    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// Sends a request with a body of one frame.
    pub(crate) fn ask(&self, service: &str, body: &str) {
        self.link.send(&wire::request(self.version, service, &frames([body])));
    }

    /// The next message as it came; None when there is none.
    pub(crate) fn message(&self) -> Option<Frames> {
        self.trial.receive(&self.link, Deadline::after(self.trial.setup.timeout))
    }

    /// The next message, which must be a reply of some kind.
    pub(crate) fn reply(&self) -> Step<ToClient> {
        let expected = "a reply";
        let Some(message) = self.message() else {
            return Err(self.trial.failed(expected, NOTHING));
        };
        let reply = wire::read_to_client(self.version, &message);
        reply.ok_or_else(|| self.trial.failed(expected, dump(&message)))
    }

    /// The next message, which must be a final reply that ends with this body.
    pub(crate) fn expect(&self, body: &str) -> Step {
        let expected = format!("the reply {body:?}");
        let Some(message) = self.message() else {
            return Err(self.trial.failed(expected, NOTHING));
        };
        match wire::read_to_client(self.version, &message) {
            Some(reply) if !reply.partial && reply.body == frames([body]) => Ok(()),
            _ => Err(self.trial.failed(expected, dump(&message))),
        }
    }

    /// Makes sure that nothing comes for a while.
    pub(crate) fn expect_nothing(&self) -> Step {
        let quiet = self.trial.setup.quiet;
        match self.trial.receive(&self.link, Deadline::after(quiet)) {
            None => Ok(()),
            Some(message) => Err(self.trial.failed_within(NOTHING, dump(&message), quiet)),
        }
    }

    /// The code that one of the broker's own services answers.
    pub(crate) fn mmi(&self, service: &str, body: &str) -> Step<String> {
        self.ask(service, body);
        let expected = format!("an answer from {service}");
        let Some(message) = self.message() else {
            return Err(self.trial.failed(expected, NOTHING));
        };
        match wire::read_to_client(self.version, &message) {
            Some(reply) if reply.body.len() == 1 => {
                Ok(String::from_utf8_lossy(&reply.body[0]).into_owned())
            }
            _ => Err(self.trial.failed(expected, dump(&message))),
        }
    }
}

/// A worker on a DEALER socket. It says DISCONNECT when it is dropped while registered.
pub(crate) struct Worker<'t> {
    trial: &'t Trial<'t>,
    link: Rc<Link>,
    version: Version,
}

impl<'t> Worker<'t> {
    /// Registers for a service.
    pub(crate) fn register(trial: &'t Trial<'t>, service: &str) -> Step<Self> {
        Self::register_as(trial, trial.version, service)
    }

    /// As [`Worker::register`], in a version of its own.
    pub(crate) fn register_as(trial: &'t Trial<'t>, version: Version, service: &str) -> Step<Self> {
        let worker = Worker { trial, link: trial.connect(zmq::DEALER)?, version };
        worker.link.send(&wire::ready(version, service));
        worker.link.beat(wire::heartbeat(version), trial.beat_interval());
        // A broker need not queue what comes before a worker does.
        trial.pass(trial.setup.quiet / 2)?;
        Ok(worker)
    }

    /// Connects; says nothing yet, nor beats.
    pub(crate) fn stranger(trial: &'t Trial<'t>) -> Step<Self> {
        Ok(Worker { trial, link: trial.connect(zmq::DEALER)?, version: trial.version })
    }

    /// Its socket.
    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// Beats no more.
    pub(crate) fn fall_silent(&self) {
        self.link.fall_silent();
    }

    /// Says DISCONNECT.
    pub(crate) fn leave(&self) {
        self.fall_silent();
        self.link.send(&wire::disconnect(self.version));
    }

    /// The next message as it came, if one comes within this time.
    pub(crate) fn message(&self, wait: Duration) -> Option<Frames> {
        self.trial.receive(&self.link, Deadline::after(wait))
    }

    /// The next command that is no HEARTBEAT, if one comes within this time; a message
    /// that is no command comes as it is.
    fn command(&self, wait: Duration) -> Option<Result<ToWorker, Frames>> {
        let deadline = Deadline::after(wait);
        loop {
            let message = self.trial.receive(&self.link, deadline)?;
            match wire::read_to_worker(self.version, &message) {
                Some(command) if command.command == Command::Heartbeat => {
                    if deadline.is_over() {
                        return None;
                    }
                }
                Some(command) => return Some(Ok(command)),
                None => return Some(Err(message)),
            }
        }
    }

    fn expect_command(&self, command: Command, expected: &str, wait: Duration) -> Step<ToWorker> {
        let failed = |received| Err(self.trial.failed_within(expected, received, wait));
        match self.command(wait) {
            Some(Ok(found)) if found.command == command => Ok(found),
            Some(Ok(ToWorker { message, .. }) | Err(message)) => failed(dump(&message)),
            None => failed(NOTHING.to_owned()),
        }
    }

    /// The next command but HEARTBEAT, which must be a REQUEST.
    pub(crate) fn request(&self) -> Step<ToWorker> {
        self.request_within(self.trial.setup.timeout)
    }

    /// As [`Worker::request`], within this time.
    pub(crate) fn request_within(&self, wait: Duration) -> Step<ToWorker> {
        self.expect_command(Command::Request, "a REQUEST", wait)
    }

    /// As [`Worker::request`], with this body.
    pub(crate) fn request_of(&self, body: &str) -> Step<ToWorker> {
        let request = self.request()?;
        if request.body == frames([body]) {
            return Ok(request);
        }
        let expected = format!("a REQUEST with the body {body:?}");
        Err(self.trial.failed(expected, dump(&request.message)))
    }

    /// The next HEARTBEAT, within this time.
    pub(crate) fn heartbeat(&self, wait: Duration) -> Step<Frames> {
        let failed = |received| Err(self.trial.failed_within("a HEARTBEAT", received, wait));
        match self.message(wait) {
            None => failed(NOTHING.to_owned()),
            Some(message) => match wire::read_to_worker(self.version, &message) {
                Some(found) if found.command == Command::Heartbeat => Ok(message),
                _ => failed(dump(&message)),
            },
        }
    }

    /// The next command but HEARTBEAT, which must be DISCONNECT; then it beats no more.
    pub(crate) fn disconnected(&self) -> Step<ToWorker> {
        let wait = self.trial.setup.timeout;
        let command = self.expect_command(Command::Disconnect, "DISCONNECT", wait)?;
        self.fall_silent();
        Ok(command)
    }

    /// Sends a PARTIAL.
    pub(crate) fn partial(&self, request: &ToWorker, body: &str) {
        self.answer_with(Command::Partial, request, &frames([body]));
    }

    /// Sends a final reply.
    pub(crate) fn answer(&self, request: &ToWorker, body: &str) {
        self.answer_with(Command::Final, request, &frames([body]));
    }

    /// Sends a reply with any body.
    pub(crate) fn answer_with(&self, command: Command, request: &ToWorker, body: &Frames) {
        self.link.send(&wire::addressed(self.version, command, &request.address, body));
    }

    /// Makes sure that nothing but HEARTBEAT comes for this long.
    pub(crate) fn expect_only_heartbeats(&self, wait: Duration) -> Step {
        match self.command(wait) {
            None => Ok(()),
            Some(Ok(ToWorker { message, .. }) | Err(message)) => {
                let expected = "nothing but HEARTBEAT";
                Err(self.trial.failed_within(expected, dump(&message), wait))
            }
        }
    }

    /// Makes sure that nothing at all comes for this long.
    pub(crate) fn expect_nothing(&self, wait: Duration) -> Step {
        match self.message(wait) {
            None => Ok(()),
            Some(message) => Err(self.trial.failed_within(NOTHING, dump(&message), wait)),
        }
    }
}

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        // Whoever was told to DISCONNECT or left has been silent since.
        if self.link.beats() {
            self.leave();
        }
    }
}

/// A client and a worker of one service; one request has gone through already, so that
/// both are known to be connected and the worker to be registered.
pub(crate) fn pair<'t>(trial: &'t Trial<'t>) -> Step<(Client<'t>, Worker<'t>)> {
    let worker = Worker::register(trial, &trial.name())?;
    let client = Client::new(trial)?;
    client.ask(&trial.name(), "hello");
    let request = worker.request().needed()?;
    worker.answer(&request, "hello");
    client.expect("hello").needed()?;
    Ok((client, worker))
}
