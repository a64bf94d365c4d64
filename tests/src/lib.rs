//! What the tests of the system as a whole are made of: the real broker as a
//! process, bare peers that send and expect exact frames, and the broker's own
//! report to wait for.
//!
//! Everything here panics when something is not as expected: that fails the test.
//! Nothing here but [`retries`], [`chaos`] and [`load`] uses an SDK, and nothing the codecs of
//! `majordomo-protocol`, so that a fault in those cannot hide itself.
//!
//! | module | what it is |
//! |---|---|
//! | [`spawn`] | the broker's process, and other runs of its binary |
//! | [`process`] | any child process: its lines, signals, end |
//! | [`wire`] | every message of 0.1 and 0.2 as frames, from the RFCs' tables; of 1.0 in [`wire::v1`] |
//! | [`raw`] | a bare socket that sends and expects exact frames |
//! | [`worker`] | a bare worker, and one that echoes on a thread of its own |
//! | [`v1`] | bare clients and workers of MDP/1.0 |
//! | [`proxy`] | a TCP proxy that cuts, delays and half-opens connections |
//! | [`retries`] | calls of a `Client` through the proxy, counted where they run |
//! | [`chaos`] | processes under faults drawn from a seed, and exact books of every call |
//! | [`report`] | what `mmi.broker` says, and waiting until it says something |
//! | [`garbage`] | messages that no peer may send, and the counter of each |
//! | [`load`] | what the load test is made of |
//! | [`limit`] | how long to wait for what must happen |

pub mod chaos;
pub mod garbage;
pub mod limit;
pub mod load;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod report;
pub mod retries;
pub mod spawn;
pub mod v1;
pub mod wire;
pub mod worker;

/// The listings of the guide, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide.md")]
pub struct Guide;
