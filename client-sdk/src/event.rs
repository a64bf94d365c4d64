//! All that a [`Dialog`](crate::dialog::Dialog) and the owner of its socket ever say
//! to each other.

use majordomo_protocol::{Body, HandshakeFailure, ServiceName};

use crate::error::Error;

/// What a service answers, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A part; more will come. MDP/0.2 only.
    Partial(Body),
    /// The reply, or its last part.
    Final(Body),
}

/// How a reply of many parts is handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// In one piece: the frames of the parts, in order, before those of the final.
    Joined,
    /// Part by part, as they come.
    Parts,
}

/// What can happen to the socket.
#[derive(Clone, Debug)]
pub enum Event<F> {
    /// The request was given to a completed connection.
    Sent,
    /// A message came: all of its frames.
    Message(Vec<F>),
    /// The connection was complete and broke, and everything that came over it has
    /// been handed to the dialog.
    Lost,
    /// The handshake failed, or has not ended yet. Where this is not final the owner of the
    /// socket goes on connecting.
    Handshake(HandshakeFailure),
}

/// What the owner of the socket shall do, in this order.
#[derive(Debug)]
pub enum Action {
    /// Close the socket, if one is open; what it has not sent or not yet handed
    /// out is forgotten.
    Discard,
    /// Open a socket to this endpoint.
    Connect {
        /// The endpoint.
        endpoint: String,
    },
    /// A try failed; another may follow. For a log.
    TryFailed(FailedTry),
    /// Hand this to the caller. The request has ended when it is a
    /// [`Reply::Final`].
    Yield(Reply),
    /// The request has ended without a reply.
    Fail(Error),
}

/// What became of a try that gave no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedTry {
    /// The service asked.
    pub service: ServiceName,
    /// The endpoint tried.
    pub endpoint: String,
    /// Which try it was, counted from 1.
    pub number: u32,
    /// How many there may be.
    pub tries: u32,
    /// Why it failed.
    pub reason: String,
}

/// What the dialog waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want<'a> {
    /// To send these frames as soon as the connection is complete, not before.
    Send(&'a [Vec<u8>]),
    /// A message.
    Receive,
    /// Time to pass.
    Nothing,
}
