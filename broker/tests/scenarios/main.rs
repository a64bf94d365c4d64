//! The engine's rules, one test each, as scripts: see [`script`] for how to read them.
//!
//! A new rule, or a bug fixed, begins with a script here. To see what the engine does
//! in some situation, write the events alone and let the test fail: it prints the rest.

mod capacity;
mod deadlines;
mod limits;
mod liveness;
mod misbehaviour;
mod mmi;
mod pairings;
mod prefetch;
mod redelivery;
mod request_ids;
mod routing;
mod script;
mod shutdown;
mod terms;
mod unsent;
