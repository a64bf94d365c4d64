//! Workers at real sockets, mostly against a bare ROUTER that plays the broker and looks
//! at exact frames. Rules of time are tried in `tests/dialog/` instead; here
//! intervals are either so long that they never pass or waited for by what follows
//! from them.

mod ahead;
mod answers;
mod broker;
mod ending;
mod inbox;
mod many_requests;
mod real_broker;
mod recovery;
