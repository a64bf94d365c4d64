//! The pure half of a [`Client`](crate::Client): any number of calls over one
//! connection for each broker, in MDP/1.0.
//!
//! A [`Dialog`] opens no socket, reads no clock and logs nothing. Whoever owns the
//! sockets tells it what happened ([`Dialog::handle`]) or that time has passed
//! ([`Dialog::handle_timeout`]), does what it asks for ([`Dialog::poll_action`], or an
//! [`Outlet`]), and
//! waits until it is due ([`Dialog::poll_timeout`]). Two equal histories give equal
//! actions: even the randomness of ids and pauses comes from a seed. Work per event
//! is O(log n) in the calls under way, except when a broker is left, which moves its
//! calls.
//!
//! A call is *queued* at a broker whose connection is not complete, *sent*, or
//! *pausing* before its next try. A try that fails is followed by another with the
//! same request id, so that a broker that still has the request does not run it twice:
//!
//! | a try failed because | the next goes |
//! |---|---|
//! | there was no reply in time, but the broker is there | to the same broker, at once |
//! | the connection broke after the broker had said something | to the same broker, at once |
//! | the broker cannot be reached | to the next, at once: it waits for the connection |
//! | the broker refused the key, the password or the mechanism | to the next, at once, unless as many tries as there are brokers were refused so |
//! | the broker is silent, violates the protocol, or was lost before it said anything | to the next |
//! | the broker is shutting down (503), or the service busy (429) | to the next |
//! | there is no worker (404, fail fast), and another broker is left | to the next |
//!
//! "The next" is one that is not known to be down, if there is one, at once as long as the
//! call has not tried them all; else after a pause that grows and is jittered, so that what
//! was of no use once is not sent all together again. A broker that refuses connections, or
//! was left otherwise, is connected to again after pauses of its own, from 10 to 320 ms,
//! until it has said something. After a part of a reply has been handed out there is no
//! other try.
//!
//! A *once* call that was sent has a next try only in the first row of the table. If its
//! connection is cut, its broker left, or a later copy of it refused, it ends, with a single
//! broker too: it may have run.
//!
//! What wants no reply ends when it is sent, and no failure to connect counts as a try of it:
//! it waits for a connection until its deadline. A refusal of the key does count.
//!
//! When a call ends, every broker that may still be at it and is connected gets a CANCEL,
//! those that it has left among them.

mod broker;
mod call;
mod dialog;
pub(crate) mod driver;
mod event;
pub(crate) mod io;
mod outbox;
mod outlet;
mod settings;
mod timers;
pub(crate) mod wanted;

pub use dialog::Dialog;
pub use event::{Action, Counts, Event, Request};
pub use outlet::Outlet;
pub use settings::Settings;
