//! Hostile messages: golden ones cut, swapped, truncated and lengthened, and random
//! ones. Decoding always gives a command or an error, never a panic; and whatever
//! decodes encodes back to the same frames, so nothing is dropped in silence.

mod reader;

use majordomo_protocol::{Frames, Version};
use proptest::prelude::*;
use reader::{Direction, Vector, decode, encode, vectors};

const DIRECTIONS: [Direction; 4] = [
    Direction::ClientToBroker,
    Direction::BrokerToClient,
    Direction::WorkerToBroker,
    Direction::BrokerToWorker,
];

/// Gives the frames to every decoder, whichever they were meant for; returns how
/// many took them for a command.
fn try_everywhere(frames: &[Vec<u8>]) -> usize {
    let mut commands = 0;
    for direction in DIRECTIONS {
        for version in [Version::V0_1, Version::V0_2] {
            match decode(direction, version, 0, frames.to_vec()) {
                Ok(command) => {
                    let encoded = encode(version, command);
                    assert_eq!(encoded.as_deref(), Some(frames), "{direction:?} MDP/{version}");
                    commands += 1;
                }
                Err(error) => {
                    assert!(error.frame <= frames.len(), "{error} in {frames:?}");
                    assert!(error.to_string().len() < 400, "an error fits on a line: {error}");
                }
            }
        }
    }
    assert!(format!("{:?}", Frames::new(frames.to_vec())).lines().count() <= frames.len());
    commands
}

fn each_vector(mut try_it: impl FnMut(&Vector)) {
    let vectors = vectors();
    assert!(vectors.len() > 250, "only {} vectors", vectors.len());
    vectors.iter().for_each(&mut try_it);
}

#[test]
fn golden_messages_given_to_every_decoder_decode_or_are_refused() {
    let mut commands = 0;
    each_vector(|vector| commands += try_everywhere(&vector.frames));
    assert!(commands > 60, "only {commands} commands");
}

#[test]
fn messages_cut_at_every_frame_decode_or_are_refused() {
    each_vector(|vector| {
        for cut in 0..=vector.frames.len() {
            try_everywhere(&vector.frames[..cut]);
            try_everywhere(&vector.frames[cut..]);
        }
    });
}

#[test]
fn messages_with_any_two_frames_swapped_decode_or_are_refused() {
    each_vector(|vector| {
        for first in 0..vector.frames.len() {
            for second in first + 1..vector.frames.len() {
                let mut frames = vector.frames.clone();
                frames.swap(first, second);
                try_everywhere(&frames);
            }
        }
    });
}

#[test]
fn messages_with_any_frame_truncated_at_any_byte_decode_or_are_refused() {
    each_vector(|vector| {
        for place in 0..vector.frames.len() {
            for length in 0..vector.frames[place].len() {
                let mut frames = vector.frames.clone();
                frames[place].truncate(length);
                try_everywhere(&frames);
            }
        }
    });
}

#[test]
fn messages_with_a_frame_left_out_or_sent_twice_decode_or_are_refused() {
    each_vector(|vector| {
        for place in 0..vector.frames.len() {
            let mut fewer = vector.frames.clone();
            let frame = fewer.remove(place);
            try_everywhere(&fewer);
            let mut more = vector.frames.clone();
            more.insert(place, frame);
            try_everywhere(&more);
        }
    });
}

#[test]
fn messages_with_any_frame_put_in_anywhere_decode_or_are_refused() {
    let strange: [&[u8]; 8] =
        [b"", b"\0", b"\x01", b"\x04", b"\xff\xff", b"MDPC01", b"MDPW02", &[b'x'; 300]];
    each_vector(|vector| {
        for place in 0..=vector.frames.len() {
            for frame in strange {
                let mut frames = vector.frames.clone();
                frames.insert(place, frame.to_vec());
                try_everywhere(&frames);
            }
        }
    });
}

#[test]
fn a_message_of_a_hundred_thousand_frames_decodes_or_is_refused() {
    for frame in [&b""[..], b"\x01", b"MDPC01", b"MDPW02"] {
        try_everywhere(&vec![frame.to_vec(); 100_000]);
    }
}

/// Any bytes, few or some.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..40)
}

/// A frame that is right somewhere, or any bytes.
fn likely_frame() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => Just(b"".to_vec()),
        1 => Just(b"MDPC01".to_vec()),
        1 => Just(b"MDPC02".to_vec()),
        1 => Just(b"MDPW01".to_vec()),
        1 => Just(b"MDPW02".to_vec()),
        4 => (0u8..8).prop_map(|command| vec![command]),
        2 => Just(b"echo".to_vec()),
        2 => any_frame(),
    ]
}

/// The beginning of a message that some decoder goes on with.
fn beginning() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let header = prop_oneof![
        Just(vec![b"MDPC02".to_vec()]),
        Just(vec![b"MDPW02".to_vec()]),
        Just(vec![b"".to_vec(), b"MDPC01".to_vec()]),
        Just(vec![b"".to_vec(), b"MDPW01".to_vec()]),
        Just(vec![b"hop".to_vec(), b"".to_vec(), b"MDPC01".to_vec()]),
    ];
    (header, proptest::option::weighted(0.8, 0u8..8)).prop_map(|(mut frames, command)| {
        frames.extend(command.map(|command| vec![command]));
        frames
    })
}

proptest! {
    // A failure prints its frames; no file beside the tests remembers it.
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_frames_decode_or_are_refused(
        frames in proptest::collection::vec(any_frame(), 0..12),
    ) {
        try_everywhere(&frames);
    }

    #[test]
    fn random_frames_mixed_with_likely_ones_decode_or_are_refused(
        frames in proptest::collection::vec(likely_frame(), 0..12),
    ) {
        try_everywhere(&frames);
    }

    #[test]
    fn random_frames_behind_true_headers_decode_or_are_refused(
        beginning in beginning(),
        rest in proptest::collection::vec(likely_frame(), 0..8),
    ) {
        try_everywhere(&[beginning, rest].concat());
    }
}
