//! Hostile messages: golden ones cut, swapped, truncated and lengthened, and random
//! ones. Decoding always gives commands or an error, never a panic; and whatever
//! decodes encodes back, to the same frames in MDP/0.1 and MDP/0.2 and to the same
//! commands in MDP/1.0, so nothing is dropped in silence.

mod reader;

use majordomo_protocol::{Frames, Message, Version};
use proptest::prelude::*;
use reader::{Command, Direction, batch, decode, encode, vectors};

/// Every decoder once: a broker has one for all versions and for both kinds of peers.
const DECODERS: [(Direction, Version); 7] = [
    (Direction::ClientToBroker, Version::V0_1),
    (Direction::BrokerToClient, Version::V0_1),
    (Direction::BrokerToClient, Version::V0_2),
    (Direction::BrokerToClient, Version::V1_0),
    (Direction::BrokerToWorker, Version::V0_1),
    (Direction::BrokerToWorker, Version::V0_2),
    (Direction::BrokerToWorker, Version::V1_0),
];

/// Gives the frames to every decoder, whichever they were meant for; returns how
/// many commands they took them for.
fn try_everywhere(frames: &[Vec<u8>]) -> usize {
    let mut count = 0;
    for (direction, version) in DECODERS {
        let (commands, error) = decode(direction, version, 0, frames.to_vec());
        count += commands.len();
        if let Some(error) = &error {
            assert!(error.frame <= frames.len(), "{error} in {frames:?}");
            assert!(error.to_string().len() < 400, "an error fits on a line: {error}");
        }
        let Some(sender) = sender_of_batch(version, &commands) else {
            for command in commands {
                let encoded = encode(version, command);
                assert_eq!(encoded.as_deref(), Some(frames), "{direction:?} MDP/{version}");
                assert_eq!(error, None, "one command a message");
            }
            continue;
        };
        for inline_bytes_max in [0, 3, usize::MAX] {
            let batch = batch::write(sender, inline_bytes_max, commands.clone()).expect("frames");
            let bytes: usize = frames.iter().map(Vec::len).sum();
            assert!(batch.bytes() <= bytes, "no more is kept than came: {commands:?}");
            let encoded = batch.into_frames();
            let again = decode(direction, version, 0, encoded);
            assert_eq!(again, (commands.clone(), None), "{direction:?} inline {inline_bytes_max}");
        }
    }
    assert!(format!("{:?}", Frames::new(frames.to_vec())).lines().count() <= frames.len());
    count
}

/// Who sent the commands, if there are any and they are records of MDP/1.0.
fn sender_of_batch(decoder: Version, commands: &[Command]) -> Option<Direction> {
    let (sender, version) = match commands.first()? {
        Command::Broker(Message::Client { version, .. }) => (Direction::ClientToBroker, *version),
        Command::Broker(Message::Worker { version, .. }) => (Direction::WorkerToBroker, *version),
        Command::Client { .. } => (Direction::BrokerToClient, decoder),
        Command::Worker(_) => (Direction::BrokerToWorker, decoder),
    };
    (version == Version::V1_0).then_some(sender)
}

fn each_message(mut try_it: impl FnMut(&[Vec<u8>])) {
    let singles = vectors().into_iter().map(|vector| vector.frames);
    let batches = batch::vectors().into_iter().map(|vector| vector.frames);
    let messages: Vec<_> = singles.chain(batches).collect();
    assert!(messages.len() > 650, "only {} messages", messages.len());
    messages.iter().for_each(|frames| try_it(frames));
}

#[test]
fn golden_messages_given_to_every_decoder_decode_or_are_refused() {
    let mut commands = 0;
    each_message(|message| commands += try_everywhere(message));
    assert!(commands > 300, "only {commands} commands");
}

#[test]
fn messages_cut_at_every_frame_decode_or_are_refused() {
    each_message(|message| {
        for cut in 0..=message.len() {
            try_everywhere(&message[..cut]);
            try_everywhere(&message[cut..]);
        }
    });
}

#[test]
fn messages_with_any_two_frames_swapped_decode_or_are_refused() {
    each_message(|message| {
        for first in 0..message.len() {
            for second in first + 1..message.len() {
                let mut frames = message.to_vec();
                frames.swap(first, second);
                try_everywhere(&frames);
            }
        }
    });
}

#[test]
fn messages_with_any_frame_truncated_at_any_byte_decode_or_are_refused() {
    each_message(|message| {
        for place in 0..message.len() {
            for length in 0..message[place].len() {
                let mut frames = message.to_vec();
                frames[place].truncate(length);
                try_everywhere(&frames);
            }
        }
    });
}

#[test]
fn messages_with_a_frame_left_out_or_sent_twice_decode_or_are_refused() {
    each_message(|message| {
        for place in 0..message.len() {
            let mut fewer = message.to_vec();
            let frame = fewer.remove(place);
            try_everywhere(&fewer);
            let mut more = message.to_vec();
            more.insert(place, frame);
            try_everywhere(&more);
        }
    });
}

#[test]
fn messages_with_any_frame_put_in_anywhere_decode_or_are_refused() {
    let strange: [&[u8]; 10] = [
        b"",
        b"\0",
        b"\x01",
        b"\x04",
        b"\xff\xff",
        b"MDPC01",
        b"MDPW02",
        b"MDPC10",
        b"MDPW10\0\0\0\x06\x08\0\0\0\0\0",
        &[b'x'; 300],
    ];
    each_message(|message| {
        for place in 0..=message.len() {
            for frame in strange {
                let mut frames = message.to_vec();
                frames.insert(place, frame.to_vec());
                try_everywhere(&frames);
            }
        }
    });
}

#[test]
fn messages_with_any_byte_set_to_all_zeros_or_all_ones_decode_or_are_refused() {
    each_message(|message| {
        for place in 0..message.len() {
            for at in 0..message[place].len() {
                for byte in [0x00, 0xff] {
                    let mut frames = message.to_vec();
                    frames[place][at] = byte;
                    try_everywhere(&frames);
                }
            }
        }
    });
}

#[test]
fn a_batch_cut_at_any_byte_still_says_what_stands_before_the_cut() {
    let mut whole = 0;
    for vector in batch::vectors().into_iter().filter(|vector| vector.refusal.is_none()) {
        let mut found = 0;
        for cut in 0..vector.frames[0].len() {
            let mut frames = vector.frames.clone();
            frames[0].truncate(cut);
            let (commands, error) = decode(vector.direction, Version::V1_0, 0, frames);
            assert!(vector.commands.starts_with(&commands), "{} at {cut}", vector.name);
            assert!(commands.len() >= found, "{} at {cut}", vector.name);
            // Only a cut between records, before which no body frame is missing or left
            // over, leaves a message that is right.
            let right = error.is_none();
            let between = cut >= 6 && (commands.len() > found || cut == 6);
            assert!(between || !right, "{} at {cut}", vector.name);
            found = commands.len();
        }
        whole += found;
    }
    assert!(whole > 40, "only {whole} records stood before a cut");
}

#[test]
#[cfg(target_os = "linux")]
fn a_length_that_is_a_lie_reserves_no_memory() {
    // The most address space this process ever had, in KiB.
    let peak = || -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").expect("a status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.expect("a line VmPeak in kB").parse().expect("a number")
    };
    let before = peak();
    for vector in batch::vectors().into_iter().filter(|vector| vector.refusal.is_none()) {
        // Wherever a length stands, of a record, of a field or of the body in frames, it
        // becomes as large as can be.
        for at in 6..vector.frames[0].len().saturating_sub(3) {
            let mut frames = vector.frames.clone();
            frames[0][at..at + 4].fill(0xff);
            decode(vector.direction, Version::V1_0, 0, frames);
        }
    }
    let grown = peak() - before;
    assert!(grown < 1 << 20, "{grown} KiB more, for messages of some hundred bytes");
}

#[test]
fn a_message_of_a_hundred_thousand_frames_decodes_or_is_refused() {
    for frame in [&b""[..], b"\x01", b"MDPC01", b"MDPW02", b"MDPC10"] {
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

/// Records of golden messages, and their body frames, joined to one batch.
fn golden_records() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let parts = |sub_protocol: &[u8]| -> Vec<(Vec<u8>, Vec<Vec<u8>>)> {
        let vectors = batch::vectors().into_iter().filter(|vector| vector.refusal.is_none());
        let parts = vectors.filter_map(|vector| {
            let (batch, bodies) = vector.frames.split_first()?;
            Some((batch.strip_prefix(sub_protocol)?.to_vec(), bodies.to_vec()))
        });
        parts.collect()
    };
    let of = |magic: &'static [u8]| {
        let few = proptest::collection::vec(proptest::sample::select(parts(magic)), 1..6);
        few.prop_map(move |parts| {
            let (records, bodies): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
            let mut frames = vec![[magic, &records.concat()].concat()];
            frames.extend(bodies.concat());
            frames
        })
    };
    prop_oneof![of(b"MDPC10"), of(b"MDPW10")]
}

/// A record whose head is true, and whose fields are likely ones or any bytes.
fn record_with_true_head() -> impl Strategy<Value = Vec<u8>> {
    let field = prop_oneof![
        Just(vec![0; 2]),
        Just(vec![0; 8]),
        Just(vec![0; 16]),
        Just(b"\0\0\x03\xe8".to_vec()),
        Just(b"\x04echo".to_vec()),
        Just(b"\0\x02no".to_vec()),
        Just(b"\0\x05\x01k\0\x01v".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..20),
    ];
    let body_frames = prop_oneof![6 => Just(0u16), 3 => 0u16..4, 1 => any::<u16>()];
    let fields = proptest::collection::vec(field, 0..6);
    (0u8..12, any::<u8>(), body_frames, fields).prop_map(|(command, flags, body_frames, fields)| {
        let fields = fields.concat();
        let length = u32::try_from(4 + fields.len()).expect("a short record");
        let mut record = length.to_be_bytes().to_vec();
        record.extend([command, flags]);
        record.extend(body_frames.to_be_bytes());
        record.extend(fields);
        record
    })
}

fn magic() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(b"MDPC10".to_vec()), Just(b"MDPW10".to_vec())]
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

    #[test]
    fn random_bytes_behind_a_true_magic_decode_or_are_refused(
        magic in magic(),
        records in proptest::collection::vec(any::<u8>(), 0..200),
        bodies in proptest::collection::vec(any_frame(), 0..4),
    ) {
        let mut frames = vec![[magic, records].concat()];
        frames.extend(bodies);
        try_everywhere(&frames);
    }

    #[test]
    fn random_records_behind_true_heads_decode_or_are_refused(
        magic in magic(),
        records in proptest::collection::vec(record_with_true_head(), 0..6),
        bodies in proptest::collection::vec(any_frame(), 0..6),
    ) {
        let mut frames = vec![[magic, records.concat()].concat()];
        frames.extend(bodies);
        try_everywhere(&frames);
    }

    #[test]
    fn golden_records_in_any_order_with_any_bytes_changed_decode_or_are_refused(
        mut frames in golden_records(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
        body in proptest::option::weighted(0.1, any_frame()),
    ) {
        for (at, byte) in changes {
            let at = at.index(frames[0].len());
            frames[0][at] = byte;
        }
        frames.extend(body);
        try_everywhere(&frames);
    }
}
