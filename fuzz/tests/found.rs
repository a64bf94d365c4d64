//! What was found once, by its own name. A fault that has to wait gets an ignored test
//! here that says what should hold, and its target an exception that names the test.

use std::fs;
use std::path::Path;

use majordomo_broker::config::Config;
use majordomo_protocol::payload::Codec;
use serde::Deserialize;

fn regression(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    fs::read(folder.join(name)).expect("a readable input")
}

/// As deep as its body says.
#[derive(Debug, Deserialize)]
struct Tree(#[expect(dead_code, reason = "it is only read")] Vec<Tree>);

/// A field that it does not know is skipped, however deep its value is.
#[derive(Debug, Deserialize)]
struct Flat {
    #[serde(default)]
    _number: u8,
}

#[test]
fn a_fraction_in_json_is_read_as_it_was_written() {
    let json = regression("payload/json-fraction");
    let value: f64 = Codec::Json.read(&json).expect("a number");
    assert_eq!(Codec::Json.write(&value).expect("a number"), json);
}

#[test]
fn a_value_too_deep_in_messagepack_is_refused() {
    // In a thread of the usual 2 MiB, as every handler has; beyond it the process dies.
    let refused = |read: fn(&[u8]) -> bool, name| {
        let data = regression(name);
        let thread = std::thread::spawn(move || read(&data));
        assert!(thread.join().expect("no panic"), "{name}");
    };
    let value = |data: &[u8]| Codec::MsgPack.read::<serde_json::Value>(data).is_err();
    refused(value, "payload/msgpack-deep-lists");
    refused(value, "payload/msgpack-deep-lists-that-claim-much");
    let flat = |data: &[u8]| Codec::MsgPack.read::<Flat>(data).is_err();
    refused(flat, "payload/msgpack-deep-unknown-field");
}

#[test]
fn lists_that_claim_much_take_little_memory() {
    let data = regression("payload/msgpack-deep-lists-that-claim-much");
    let read = || {
        let taken = allocation_counter::measure(|| {
            assert!(Codec::MsgPack.read::<Tree>(&data).is_err());
        });
        taken.bytes_max
    };
    // So that the stack is not what ends it.
    let bytes = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(64 << 20);
        thread.spawn_scoped(scope, read).expect("a thread").join().expect("no panic")
    });
    assert!(bytes <= 200 << 20, "{bytes} bytes for a body of {}", data.len());
}

#[test]
fn an_unknown_key_is_told_on_one_line() {
    let text = regression("config/unknown-key-of-two-lines");
    let text = String::from_utf8(text).expect("UTF-8");
    let error = Config::builder().toml("a.toml", &text).build().expect_err("an unknown key");
    assert!(!error.to_string().contains(char::is_control), "{error}");
}
