//! Metadata, read from a record and put together pair by pair.
//!
//! A reader of our own says which bytes are pairs; the decoder must agree, and the pairs
//! put together again must be the same bytes. A pair that does not fit must change
//! nothing.

use majordomo_protocol::{Frames, Message, Metadata, Version, client};

use crate::{Target, frames};

/// The decoder and the builder of metadata.
pub const TARGET: Target = Target { name: "metadata", run, show };

const BYTES_MAX: usize = 65_535;

fn run(data: &[u8]) {
    read(&data[..data.len().min(BYTES_MAX)]);
    put(&frames::pieces(data));
}

fn show(data: &[u8]) -> String {
    format!("{:?}", pairs(data))
}

/// The pairs, if that is what these bytes are.
fn pairs(mut bytes: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let mut take = |count: usize| {
        let (taken, rest) = bytes.split_at_checked(count)?;
        bytes = rest;
        Some((taken.to_vec(), rest.is_empty()))
    };
    let mut pairs = Vec::new();
    let mut ended = take(0)?.1;
    while !ended {
        let key_bytes = take(1)?.0;
        let key = take(key_bytes[0].into())?.0;
        let value_bytes = take(2)?.0;
        let length = usize::from(value_bytes[0]) << 8 | usize::from(value_bytes[1]);
        let value = take(length)?;
        pairs.push((String::from_utf8(key).ok()?, value.0));
        ended = value.1;
    }
    Some(pairs)
}

fn read(bytes: &[u8]) {
    let mut record = vec![1, 0, 0, 0];
    record.extend([7; 24]);
    record.extend(b"\x04echo");
    record.extend(u16::try_from(bytes.len()).expect("cut to fit").to_be_bytes());
    record.extend(bytes);
    let mut batch = b"MDPC10".to_vec();
    batch.extend(u32::try_from(record.len()).expect("short").to_be_bytes());
    batch.extend(record);
    let command = Message::decode(Frames::new(vec![batch])).next().expect("a record");
    let metadata = match command {
        Ok(Message::Client {
            version: Version::V1_0,
            command: client::ToBroker::Request { terms, .. },
            ..
        }) => Some(terms.metadata),
        Ok(other) => panic!("no request: {other:?}"),
        Err(error) => {
            assert!(error.to_string().contains("expected metadata"), "{error}");
            None
        }
    };
    let pairs = pairs(bytes);
    assert_eq!(metadata.is_some(), pairs.is_some(), "{metadata:?}, {pairs:?}");
    let (Some(metadata), Some(pairs)) = (metadata, pairs) else { return };
    assert_eq!(metadata.as_bytes(), bytes);
    assert_eq!(metadata.is_empty(), pairs.is_empty());
    assert!(metadata.iter().eq(pairs.iter().map(|(key, value)| (&**key, &**value))));
    let mut again = Metadata::default();
    for (key, value) in &pairs {
        let first = pairs.iter().find(|(other, _)| other == key).map(|(_, value)| &**value);
        assert_eq!(metadata.value(key), first);
        again.push(key, value).expect("it stood there");
    }
    assert_eq!(again, metadata);
}

/// Puts each two pieces as a pair, the second of them often enough to reach the bound.
fn put(pieces: &[Vec<u8>]) {
    let mut metadata = Metadata::default();
    for pair in pieces.chunks(2) {
        let key = String::from_utf8_lossy(&pair[0]).into_owned();
        let value = pair.get(1).map(Vec::as_slice).unwrap_or_default();
        let value = if value.ends_with(b"*") { value.repeat(300) } else { value.to_vec() };
        let before = metadata.clone();
        let total = before.as_bytes().len() + 3 + key.len() + value.len();
        let fits = key.len() <= 255 && value.len() <= BYTES_MAX && total <= BYTES_MAX;
        let result = metadata.push(&key, &value);
        assert_eq!(result.is_ok(), fits, "{result:?}, {total} bytes");
        match result {
            Ok(()) => assert_eq!(metadata.as_bytes().len(), total),
            Err(error) => {
                assert_eq!(metadata, before, "{error}");
                assert!(error.to_string().contains(", more than "), "{error}");
            }
        }
    }
}
