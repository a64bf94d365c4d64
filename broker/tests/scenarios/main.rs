//! The engine's rules, one test each, as scripts: see [`script`] for how to read them.
//!
//! A new rule, or a bug fixed, begins with a script here. To see what the engine does
//! in some situation, write the events alone and let the test fail: it prints the rest.

mod limits;
mod liveness;
mod misbehaviour;
mod mmi;
mod redelivery;
mod routing;
mod script;
mod shutdown;
