//! All that a [`Dialog`](super::Dialog) and the owner of its sockets ever say to each
//! other.

use std::time::Duration;

use majordomo_protocol::client::ToBroker;
use majordomo_protocol::{Body, HandshakeFailure, Metadata, ServiceName};

use crate::call_error::CallError;

/// What shall be done, and how.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who should do it.
    pub service: ServiceName,
    /// What should be done.
    pub body: Body,
    /// The longest one try waits.
    pub timeout: Duration,
    /// The longest all of it takes.
    pub deadline: Duration,
    /// Tries, 1 or more.
    pub tries: u32,
    /// How soon a worker must have it.
    pub start_within: Option<Duration>,
    /// Never to be handed to a second worker.
    pub once: bool,
    /// Not to wait for a worker.
    pub fail_fast: bool,
    /// Ends well once a broker's connection has taken it.
    pub no_reply: bool,
    /// For the worker.
    pub metadata: Metadata,
}

/// What can happen to the socket of a broker; brokers are numbered as in the settings.
#[derive(Clone, Debug)]
pub enum Event {
    /// The connection is complete.
    Connected,
    /// The connection did not come about.
    Refused,
    /// The broker is there, and the handshake has begun. To be told by whoever shows it
    /// something, as often as they like.
    Reached,
    /// The connection did not come about, since the handshake failed.
    Unauthorized(HandshakeFailure),
    /// A message came: all of its frames.
    Message(Vec<Vec<u8>>),
    /// The connection was complete and broke, and everything that came over it has
    /// been handed to the dialog.
    Lost,
}

/// What the owner of the sockets shall do, in this order. `T` is what it gave to know
/// the call by.
#[derive(Debug)]
pub enum Action<T> {
    /// Open a socket to this broker, in place of one that is open.
    Connect {
        /// The broker.
        broker: usize,
    },
    /// Close the socket to this broker; what it has not sent is forgotten.
    Disconnect {
        /// The broker.
        broker: usize,
        /// Why, for a log.
        reason: &'static str,
    },
    /// Send this to a broker that is connected.
    Send {
        /// The broker.
        broker: usize,
        /// What to say.
        command: ToBroker<Body>,
    },
    /// A part of the reply has come.
    Part {
        /// The call.
        token: T,
        /// Its number.
        key: u64,
        /// The part.
        body: Body,
    },
    /// The call has ended. Nothing follows for it.
    Done {
        /// The call.
        token: T,
        /// The reply, or why there is none.
        result: Result<Body, CallError>,
    },
}

/// What has happened since the dialog began, and what is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Calls under way.
    pub outstanding: usize,
    /// Calls begun.
    pub calls: u64,
    /// Tries after the first of a call.
    pub retries: u64,
    /// Messages that brokers sent. A broker that does not speak MDP/1.0 may take requests
    /// and say nothing.
    pub heard: u64,
    /// Answers to no call under way: late, repeated, or from a broker that the call
    /// has left. They were dropped.
    pub dropped: u64,
    /// Requests that wanted no reply and were not sent before their deadline, or before the
    /// client was closed.
    pub unsent: u64,
    /// Brokers left because they were silent, lost, unreachable, stopping, or violated the
    /// protocol.
    pub left: u64,
}
