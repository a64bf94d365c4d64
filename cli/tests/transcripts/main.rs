//! The process `majordomo` as a user has it: command line in, output and exit code
//! out, against a broker embedded in the test.
//!
//! Where a command has to be caught while it runs, it says so through a FIFO and
//! waits at another, so that nothing here depends on time.

#![expect(clippy::unwrap_used, reason = "a test ends where it finds what it does not expect")]

mod bench;
mod call;
mod failures;
mod place;
mod security;
mod status;
mod usage;
mod work;
