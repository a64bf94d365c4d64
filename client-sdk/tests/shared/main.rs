//! The dialog of the shared client under a virtual clock: a test for each rule of ids,
//! tries, brokers, cancelling and limits. No socket is opened and no time passes.

mod brokers;
mod cancelling;
mod keys;
mod no_reply;
mod replies;
mod table;
mod tries;
