//! World: the broker's engine and the dialogs of both SDKs, joined in memory under one
//! virtual clock, with a network that delays, cuts and reorders, parts that freeze, die
//! and come back, strangers that keep to no rules, and chance from a seed.
//!
//! It is made of the real pure halves and of what every message is on the wire, encoded
//! and decoded. What the broker's server and the SDKs' I/O threads do around them is
//! written here again, without sockets: [`broker`], [`worker`], [`client`]. What must
//! hold is looked at after every step: the engine's own invariants; a [`ledger`] at each
//! broker of what it took in and gave out; a [`book`] of what users asked and got.
//!
//! Equal seeds make equal histories. [`life`] makes one by chance, [`every`] all short
//! ones.

pub mod book;
pub mod broker;
pub mod client;
pub mod every;
pub mod ledger;
pub mod life;
pub mod nature;
pub mod net;
pub mod plan;
pub mod run;
pub mod stranger;
pub mod words;
pub mod worker;
