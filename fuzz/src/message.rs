//! What comes to a broker, from clients and workers of all versions.
//!
//! Beside what `records` holds of all decoders: a command of MDP/0.1 or MDP/0.2 is
//! written back to the very frames it was read from.

use majordomo_protocol::{Batch, Message, Version};

use crate::{Target, frames, records};

/// The broker's decoder.
pub const TARGET: Target =
    Target { name: "message", run: |data| check(&frames::pieces(data)), show: frames::show };

pub(crate) fn check(frames: &[Vec<u8>]) {
    let (commands, error) = records::read(frames, Message::decode);
    let Some(first) = commands.first() else { return };
    let (batch, version): (records::NewBatch, _) = match first {
        Message::Client { version, .. } => (Batch::of_client, *version),
        Message::Worker { version, .. } => (Batch::of_worker, *version),
    };
    if version < Version::V1_0 {
        assert_eq!((commands.len(), error), (1, None), "one command a message");
        assert_eq!(single(first.clone()), frames);
        return;
    }
    let write = |message, batch: &mut Batch<_>| match message {
        Message::Client { version: Version::V1_0, envelope, command } if envelope.is_empty() => {
            command.write(batch)
        }
        Message::Worker { version: Version::V1_0, command } => command.write(batch),
        other => panic!("not of MDP/1.0: {other:?}"),
    };
    records::write_and_read_again(frames, &commands, batch, write, Message::decode);
}

fn single(message: Message<Vec<u8>>) -> Vec<Vec<u8>> {
    match message {
        Message::Client { version, envelope, command } => {
            let encoded = command.encode(version).expect("it was read in this version");
            [envelope, encoded].concat()
        }
        Message::Worker { version, command } => {
            command.encode(version).expect("it was read in this version")
        }
    }
}
