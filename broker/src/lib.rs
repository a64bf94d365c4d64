//! The Majordomo service broker: the library under the process `majordomo-broker`.
//!
//! Clients ask for a service by name; the broker hands each request to one of the
//! workers that registered for that name, and to another one when that worker is
//! lost. It speaks MDP/0.1 (ZeroMQ RFC 7), MDP/0.2 (RFC 18), MDP/1.0
//! (its own, docs/protocol.md) and MMI (RFC 8).
//!
//! Most people run the process. This library is for those who want a broker inside
//! their own program, most often in a test: see [`Broker`].
//!
//! # The way of one request
//!
//! Each step is one function in one file, with a type on either side.
//!
//! 1. [`server`] receives the frames of a message within limits, and is told its
//!    commands ([`Listener`](majordomo_protocol::Listener)).
//! 2. It hands each to the [`engine`].
//! 3. The engine finds the service, and an idle worker or a place in the queue.
//! 4. It tells its [`Outlet`](engine::Outlet), at once or when a worker is free.
//! 5. The server's writes the command, in the worker's version, into what that worker is sent
//!    at the end of the round, or before if it is full.
//! 6. The worker's reply takes the same way back.
//!
//! The engine decides and touches nothing; the server touches sockets and decides
//! nothing. [`config`] has every knob; [`stats`] every counter; [`security`] says who may
//! connect.

pub mod args;
pub mod config;
mod ebb;
mod embedded;
pub mod engine;
mod frame;
mod hearing;
mod ipc_file;
mod journal;
pub mod log_gate;
pub mod logging;
mod outbox;
pub mod per_service;
mod router;
pub mod security;
pub mod server;
pub mod stats;
mod stop;
pub mod trace;
mod zmq_message;

pub use embedded::Broker;
