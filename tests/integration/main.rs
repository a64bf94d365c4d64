//! The system as a whole: the real broker as a process, bare peers around it.
//!
//! One binary, so that it links once. Build the broker first, as `.ci/check` does:
//! `cargo build --workspace --bins`.

/// That libzmq is the one this workspace builds.
mod build;
/// What the process `majordomo-broker` prints, and its exit codes.
mod cli;
/// The README, tried as a stranger would.
mod documents;
/// Our own workers and clients through the real broker.
mod end_to_end;
/// Workers and brokers that die, stand still, or come back.
mod failures;
/// That one client's many requests do not delay another's.
mod fairness;
/// Garbage from many connections.
mod hostile;
/// Every limit, reached over real sockets.
mod limits;
/// Exact frames in both versions and all pairings.
mod protocols;
/// Peers that are not ours.
#[cfg(feature = "pyzmq")]
mod python;
/// Signals, and what is left behind.
mod shutdown;
