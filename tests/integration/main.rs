//! The system as a whole: the real broker as a process, bare peers around it.
//!
//! One binary, so that it links once. Build the broker first, as `.ci/check` does:
//! `cargo build --workspace --bins`.

/// That libzmq is the one this workspace builds.
mod build;
/// Processes that are killed, stopped, drained and cut off.
mod chaos;
/// What the process `majordomo-broker` prints, and its exit codes.
mod cli;
/// The README, tried as a stranger would.
mod documents;
/// Calls that nobody waits for any more.
mod dropped;
/// Our own workers and clients of MDP/0.1 and MDP/0.2.
mod end_to_end;
/// Workers and brokers that die, stand still, or come back.
mod failures;
/// That one client's many requests do not delay another's.
mod fairness;
/// Garbage from many connections.
mod hostile;
/// Every limit, reached over real sockets.
mod limits;
/// That what is no longer needed goes back to the system.
mod memory;
/// The load test, and the document that it fills.
mod performance;
/// Requests given ahead of replies.
mod prefetch;
/// Exact frames in both versions and all pairings.
mod protocols;
/// A client whose connections are cut again and again.
mod proxy;
/// Peers that are not ours.
#[cfg(feature = "pyzmq")]
mod python;
/// Our own client and workers of MDP/1.0.
mod sdks;
/// Keys, rights, and those who have neither.
mod security;
/// Signals, and what is left behind.
mod shutdown;
/// A broker without disk or descriptors.
mod starved;
/// MDP/1.0.
mod v1;
