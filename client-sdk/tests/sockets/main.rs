//! The client on real sockets, against a bare ROUTER that plays broker and sees
//! every frame. Nothing here measures time; limits of time are generous where
//! their end would be a failure.

mod broker;
mod contexts;
mod endpoints;
mod limits;
mod lost;
mod mmi;
mod requests;
mod streams;
