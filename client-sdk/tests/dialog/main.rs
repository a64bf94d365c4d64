//! The dialog of the blocking client under a virtual clock: a test for each rule of tries,
//! endpoints, pauses, parts and limits. No socket is opened and no time passes.

mod chance;
mod endpoints;
mod keys;
mod limits;
mod parts;
mod requests;
mod table;
mod tries;
mod violations;
