//! Values as bodies, in every codec.
//!
//! A value that was read is written to what is read as the same value. Reading takes no
//! more memory than a multiple of the body, however long the lists that it claims to
//! have and however deep they are. A refusal has a reason.

use std::collections::BTreeMap;
use std::fmt::Debug;

use majordomo_protocol::Body;
use majordomo_protocol::payload::{Codec, Decode, Encode, Encoded};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Target, memory};

/// The codecs.
pub const TARGET: Target = Target { name: "payload", run, show };

/// One field of each kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Order {
    number: u64,
    balance: i64,
    small: i8,
    price: f64,
    ratio: f32,
    name: String,
    letter: char,
    note: Option<String>,
    paid: bool,
    lines: Vec<Line>,
    tags: BTreeMap<String, u8>,
    pair: (u16, String),
    nothing: (),
    state: State,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    item: String,
    count: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
enum State {
    #[default]
    Open,
    Shipped(u32),
    Lost {
        reason: String,
    },
}

/// As deep as its body says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Tree(Vec<Tree>);

fn run(data: &[u8]) {
    for codec in Codec::ALL {
        check::<Vec<Vec<u8>>>(*codec, data);
        check::<String>(*codec, data);
        check::<f64>(*codec, data);
        check::<Order>(*codec, data);
        check::<Tree>(*codec, data);
        check::<serde_json::Value>(*codec, data);
        assert_eq!(Codec::of(codec.content_type().as_bytes()), Some(*codec));
    }
    let body = Body::from(data);
    for codec in Codec::ALL {
        assert_eq!(Encoded::decode(*codec, body.clone()), Ok(Encoded(body.clone())));
    }
    if let Some(codec) = Codec::of(data) {
        assert_eq!(codec.content_type().as_bytes(), data);
    }
}

fn show(data: &[u8]) -> String {
    let each = |codec: &Codec| format!("{codec}: {:?}", codec.read::<serde_json::Value>(data));
    Codec::ALL.iter().map(each).collect::<Vec<_>>().join("\n")
}

fn check<T: Debug + Encode + Serialize + DeserializeOwned>(codec: Codec, data: &[u8]) {
    // Serde takes up to a megabyte for what a list claims to hold.
    let claims = if codec == Codec::MsgPack { lists(data) } else { 0 };
    let bytes_max = ((1 + claims) << 20) + 256 * data.len();
    match memory::within(bytes_max, || codec.read::<T>(data)) {
        Ok(value) => {
            let body = value.encode(codec).expect("what was read can be written");
            let bytes = body.clone().into_bytes();
            let again = T::decode(codec, body).unwrap_or_else(|error| panic!("{error}: {value:?}"));
            // As bytes, since a number that is none equals nothing.
            let bytes_again = codec.write(&again).expect("what was read can be written");
            assert!(bytes_again == bytes, "{value:?} became {again:?}");
        }
        Err(error) => assert!(!error.reason().is_empty()),
    }
}

/// The most lists and maps that these bytes can begin in MessagePack.
fn lists(data: &[u8]) -> usize {
    data.iter().filter(|byte| matches!(byte, 0x80..=0x9f | 0xdc..=0xdf)).count()
}
