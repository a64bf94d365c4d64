//! What comes to a worker, in all versions.
//!
//! Beside what `records` holds of all decoders: a command of MDP/0.1 or MDP/0.2 is
//! written back to the very frames it was read from.

use majordomo_protocol::worker::{Commands, FromBroker};
use majordomo_protocol::{Batch, Body, DecodeError, Frames, Version};

use crate::{Target, frames, records};

/// The worker's decoders.
pub const TARGET: Target =
    Target { name: "worker", run: |data| check(&frames::pieces(data)), show: frames::show };

pub(crate) fn check(frames: &[Vec<u8>]) {
    for version in [Version::V0_1, Version::V0_2] {
        let one = |message| std::iter::once(FromBroker::<Body>::decode(version, message));
        let (commands, _) = records::read(frames, one);
        for command in commands {
            let encoded = command.encode(version).expect("it was read in this version");
            assert_eq!(encoded, frames, "MDP/{version}");
        }
    }
    let (commands, _) = records::read(frames, decode);
    let write = |command: FromBroker<Body>, batch: &mut Batch<_>| command.write(batch);
    if !commands.is_empty() {
        records::write_and_read_again(frames, &commands, Batch::of_worker, write, decode);
    }
}

/// The commands of MDP/1.0, or why it is none of its messages.
fn decode(message: Frames<Vec<u8>>) -> impl Iterator<Item = Result<FromBroker<Body>, DecodeError>> {
    let (commands, error) = match Commands::new(message) {
        Ok(commands) => (Some(commands), None),
        Err(error) => (None, Some(Err(error))),
    };
    commands.into_iter().flatten().chain(error)
}
