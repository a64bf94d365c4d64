//! The socket half of a client, on the thread of the caller.
//!
//! [`Io::drive`] is the loop that gives a [`Dialog`] its events and does its
//! actions. All that is decided is decided there, and the ways of ZeroMQ are in
//! [`connection`](crate::connection).
//!
//! In a [context](crate::context) of its own bytes move in these loops alone, and nothing
//! does between calls: each call begins with what has come since the last one.

use std::time::{Duration, Instant};

use majordomo_protocol::Credentials;

use crate::connection::{self, Connection, Failed, Ready};
use crate::context::Context;
use crate::dialog::{Action, Dialog, Event, Reply, Settings, Want};
use crate::error::Error;

/// Reads the clock.
#[expect(clippy::disallowed_methods, reason = "the loop that owns the socket reads the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The socket of a client, if one is open.
pub(crate) struct Io {
    context: Context,
    credentials: Credentials,
    connection: Option<Connection>,
    /// Set once the context was terminated; ZeroMQ does not allow to use it then.
    closed: bool,
}

impl Io {
    pub(crate) fn new(context: Context, credentials: Credentials) -> Self {
        Io { context, credentials, connection: None, closed: false }
    }

    fn open(&mut self, endpoint: &str, settings: &Settings) -> Result<Connection, Failed> {
        let security = self.credentials.of(endpoint);
        Connection::open(&mut self.context, endpoint, security, settings.reply_bytes_max)
    }

    /// Does what the dialog asks for until it hands out a reply or fails. Blocks at
    /// most as long as the dialog's tries last.
    pub(crate) fn drive(&mut self, dialog: &mut Dialog) -> Result<Reply, Error> {
        let driven = self.drive_until_reply(dialog);
        if driven.is_err() {
            self.abandon(dialog);
        }
        driven
    }

    /// Ends the request under way, if there is one, and closes its socket.
    pub(crate) fn abandon(&mut self, dialog: &mut Dialog) {
        dialog.abandon();
        while dialog.poll_action().is_some() {}
        self.connection = None;
        // The broker is told now that it was closed, not by the next call.
        self.context.renew();
    }

    fn drive_until_reply(&mut self, dialog: &mut Dialog) -> Result<Reply, Error> {
        if self.closed {
            return Err(Error::Closed { sent: false });
        }
        self.catch_up().map_err(|failed| self.refused(failed, dialog))?;
        loop {
            while let Some(action) = dialog.poll_action() {
                match action {
                    Action::Discard => self.connection = None,
                    Action::Connect { endpoint } => {
                        log::debug!(endpoint = endpoint.as_str(); "connecting");
                        let opened = self.open(&endpoint, dialog.settings());
                        let opened = opened.map_err(|failed| self.refused(failed, dialog))?;
                        self.connection = Some(opened);
                    }
                    Action::TryFailed(failed) => log::debug!(
                        service = failed.service.as_str(),
                        endpoint = failed.endpoint.as_str();
                        "try {} of {} failed: {}", failed.number, failed.tries, failed.reason
                    ),
                    Action::Yield(reply) => return Ok(reply),
                    Action::Fail(error) => return Err(error),
                }
            }
            self.step(dialog).map_err(|failed| self.refused(failed, dialog))?;
        }
    }

    /// Takes in what has come, so that nothing is sent over a connection that broke.
    fn catch_up(&mut self) -> Result<(), Failed> {
        match &mut self.connection {
            Some(connection) => connection.run(&mut self.context, Duration::ZERO),
            None => Ok(()),
        }
    }

    /// Waits for the next event or for the dialog's time, whichever is first. The
    /// clock is read before the socket, so that what has come counts, even when it
    /// is seen late.
    fn step(&mut self, dialog: &mut Dialog) -> Result<(), Failed> {
        let now = now();
        let due = dialog.poll_timeout().unwrap_or(now);
        let left = due.saturating_duration_since(now);
        let Some(connection) = &mut self.connection else {
            match left {
                Duration::ZERO => dialog.handle_timeout(now),
                left => connection::pause(&mut self.context, left)?,
            }
            return Ok(());
        };
        if left.is_zero() {
            connection.run(&mut self.context, Duration::ZERO)?;
        }
        let ready = connection.ready()?;
        if let Some(failure) = connection.handshake() {
            dialog.handle(Event::<zmq::Message>::Handshake(failure), now);
            if failure.is_final() {
                return Ok(());
            }
        }
        match (ready, dialog.want()) {
            (Ready::Readable, want) => {
                let is_late = matches!(want, Want::Send(_));
                dialog.handle(Event::Message(connection.receive()?), now);
                if is_late {
                    self.catch_up()?;
                }
            }
            (Ready::Lost, _) => dialog.handle(Event::<zmq::Message>::Lost, now),
            (Ready::Writable, Want::Send(frames)) => {
                let event = match connection.send(frames)? {
                    true => Event::<zmq::Message>::Sent,
                    false => Event::Lost,
                };
                dialog.handle(event, now);
            }
            _ if left.is_zero() => dialog.handle_timeout(now),
            (Ready::Refused, _) => match connection.refused_pause(now) {
                Duration::ZERO => {
                    let endpoint = connection.endpoint().to_owned();
                    self.connection = Some(self.open(&endpoint, dialog.settings())?);
                }
                pause => connection.wait(&mut self.context, left.min(pause))?,
            },
            (Ready::Writable | Ready::Nothing, _) => connection.wait(&mut self.context, left)?,
        }
        Ok(())
    }

    fn refused(&mut self, failed: Failed, dialog: &Dialog) -> Error {
        let sent = dialog.sent();
        match failed {
            Failed { source: zmq::Error::ETERM, .. } => {
                self.closed = true;
                Error::Closed { sent }
            }
            Failed { call, source } => {
                Error::Socket { call, endpoint: dialog.endpoint().to_owned(), sent, source }
            }
        }
    }
}
