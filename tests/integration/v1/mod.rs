//! MDP/1.0 over real sockets, with frames that are written anew here.

mod errors;
mod pairings;
mod requests;
mod workers;
