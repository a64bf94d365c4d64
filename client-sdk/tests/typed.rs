//! Typed calls and the scripted broker: the real client, over a real connection.

#![cfg(all(feature = "json", feature = "msgpack", feature = "testing"))]

use std::collections::BTreeMap;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use majordomo_client::testing::{Script, ScriptedBroker};
use majordomo_client::{
    Body, CallError, Client, Codec, Decode, Details, Encode, Encoded, Metadata, Options, TypedError,
};
use serde::{Deserialize, Serialize};

const CODECS: [Codec; 2] = [Codec::Json, Codec::MsgPack];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    name: String,
    items: Vec<Item>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Item {
    price: u32,
}

fn order() -> Order {
    Order { name: "Ada".to_owned(), items: vec![Item { price: 1 }, Item { price: 2 }] }
}

#[test]
fn values_travel_in_either_format() {
    for codec in CODECS {
        let broker = Script::new().method("shop", codec, "double", &order(), &order()).start();
        let shop = broker.client().typed("shop", codec);
        let reply: Order = shop.call("double", &order()).unwrap();
        assert_eq!(reply, order());
    }
}

#[test]
fn messagepack_names_the_fields() {
    let body = Item { price: 7 }.encode(Codec::MsgPack).unwrap();
    assert_eq!(body.to_bytes(), b"\x81\xa5price\x07");
}

#[test]
fn what_is_encoded_already_is_passed_through() {
    let request = Body::from_frames(vec![b"[1,".to_vec(), b"2]".to_vec()]);
    let broker = Script::new().reply("sum", request.clone(), " 3 ").start();
    let sum = broker.client().typed("sum", Codec::Json);
    let reply: Encoded = sum.call("add", &Encoded(request)).unwrap();
    assert_eq!(reply, Encoded(" 3 ".into()));
}

#[test]
fn the_method_and_the_metadata_of_the_options_go_along() {
    let mut metadata = Metadata::default();
    metadata.push("method", b"other").unwrap();
    let broker = Script::new().method("calc", Codec::Json, "one", &(), &1).start();
    let calc = broker.client().typed("calc", Codec::Json);
    let reply: u32 = calc.with(Options::new().metadata(metadata)).call("one", &()).unwrap();
    assert_eq!(reply, 1);
    assert!(matches!(calc.call::<()>(&"m".repeat(70_000), &()), Err(TypedError::Metadata(_))));
}

#[test]
fn an_error_of_the_service_has_code_kind_text_and_details() {
    #[derive(Serialize)]
    struct Shape {
        kind: &'static str,
        details: Item,
    }
    for codec in CODECS {
        let shape = Shape { kind: "overdrawn", details: Item { price: 20 } };
        let broker = Script::new()
            .method_error("bank", codec, "pay", &50, 422, "20 are missing", &shape)
            .start();
        let error = broker.client().typed("bank", codec).call::<()>("pay", &50).unwrap_err();
        assert!(error.may_have_run());
        let TypedError::Remote { code: 422, kind, text, details, .. } = error else {
            panic!("{error}");
        };
        assert_eq!((kind.as_deref(), &*text), (Some("overdrawn"), "20 are missing"));
        assert_eq!(details.decode(), Ok(Item { price: 20 }));
    }
}

#[test]
fn an_error_of_another_service_has_no_kind() {
    let broker = Script::new().error("bank", "50", 500, "broken").start();
    let error = broker.client().typed("bank", Codec::Json).call::<()>("pay", &50).unwrap_err();
    assert_eq!(error.to_string(), "bank.pay failed with 500: broken");
    let TypedError::Remote { kind: None, details, .. } = error else { panic!("{error}") };
    assert!(details.decode::<Option<u32>>().is_err(), "there are none");
}

#[test]
fn an_error_may_have_a_kind_and_no_details() {
    for body in [r#"{"kind":"k"}"#, r#"{"kind":"k","details":null}"#] {
        let details = Details::new(Codec::Json, Body::from(body));
        assert_eq!(details.kind().as_deref(), Some("k"));
        assert_eq!(details.decode::<Option<u32>>(), Ok(None));
        assert!(details.decode::<u32>().is_err());
    }
}

#[test]
fn an_error_of_the_broker_is_one_of_the_call() {
    let broker = Script::new().error("bank", "50", 404, "").start();
    let error = broker.client().typed("bank", Codec::Json).call::<()>("pay", &50).unwrap_err();
    assert!(matches!(error, TypedError::Call(CallError::NoWorker { .. })), "{error:?}");
    assert!(!error.may_have_run());
}

#[test]
fn a_reply_of_another_shape_names_the_field() {
    let item = BTreeMap::from([("price", "high")]);
    let reply = BTreeMap::from([("items", vec![item])]);
    for codec in CODECS {
        let broker = Script::new().method("shop", codec, "see", &(), &reply).start();
        let shop = broker.client().typed("shop", codec);
        let error = shop.call::<BTreeMap<String, Vec<Item>>>("see", &()).unwrap_err();
        assert!(matches!(error, TypedError::Decode { .. }), "{error:?}");
        let source = error.source().unwrap().to_string();
        assert!(source.starts_with("field items[0].price: "), "{source}");
    }
}

#[test]
fn a_value_must_fill_its_body() {
    for (codec, body) in [
        (Codec::Json, &b"1 2"[..]),
        (Codec::Json, b""),
        (Codec::MsgPack, b"\x01\x02"),
        (Codec::MsgPack, b"\xc1"),
        (Codec::MsgPack, &[0x91; 100_000]),
    ] {
        assert!(serde_value(codec, body).is_err(), "{codec} {} bytes", body.len());
    }
}

fn serde_value(codec: Codec, body: &[u8]) -> Result<u32, majordomo_client::PayloadError> {
    u32::decode(codec, Body::from(body))
}

#[test]
fn what_has_no_encoding_is_not_sent() {
    let broker = Script::new().start();
    let map = BTreeMap::from([((1, 2), 3)]);
    let error = broker.client().typed("any", Codec::Json).call::<()>("m", &map).unwrap_err();
    assert!(matches!(error, TypedError::Encode { .. }), "{error:?}");
    assert!(!error.may_have_run());
}

#[test]
fn a_stream_ends_with_its_last_value_or_with_an_empty_part() {
    let broker =
        Script::new().parts("s", "1", ["10", "20"], "").parts("s", "2", ["10"], "20").start();
    let s = broker.client().typed("s", Codec::Json);
    for request in [1, 2] {
        let values = s.stream::<u32>("count", &request).unwrap();
        assert_eq!(values.collect::<Result<Vec<_>, _>>().unwrap(), [10, 20]);
    }
}

#[test]
fn a_stream_ends_with_an_error() {
    let broker = Script::new().parts("s", "1", ["10", "x", "20"], "").start();
    let s = broker.client().typed("s", Codec::Json);
    let mut values = s.stream::<u32>("count", &1).unwrap();
    assert_eq!(values.next().unwrap().unwrap(), 10);
    assert!(matches!(values.next(), Some(Err(TypedError::Decode { .. }))));
    assert!(values.next().is_none());
}

#[test]
fn a_call_does_not_join_the_parts_of_a_stream() {
    let broker = Script::new().parts("s", "1", ["1"], "2").start();
    let error = broker.client().typed("s", Codec::Json).call::<u32>("count", &1).unwrap_err();
    assert!(error.source().unwrap().to_string().contains("stream()"), "{error:?}");
}

/// What the end of the broker says against what was done with it.
fn complaint(broker: ScriptedBroker) -> String {
    let panic = catch_unwind(AssertUnwindSafe(|| drop(broker))).expect_err("a complaint");
    panic.downcast_ref::<String>().expect("a text").clone()
}

#[test]
fn what_the_script_does_not_know_is_an_error_and_a_complaint() {
    let broker = Script::new().reply("echo", "a", "A").start();
    let client = broker.client();
    assert!(matches!(client.call("echo", "b"), Err(CallError::Remote { code: 501, .. })));
    client.call("echo", "a").unwrap();
    assert!(matches!(client.call("echo", "a"), Err(CallError::Remote { code: 501, .. })));
    let text = complaint(broker);
    assert!(text.contains("not asked (0)") && text.contains("not expected (2)"), "{text}");
    assert!(text.contains(r#"echo "b""#), "{text}");
}

#[test]
fn what_nobody_asked_is_a_complaint() {
    let broker = Script::new().reply("echo", "a", "A").start();
    assert!(!broker.is_done());
    let text = complaint(broker);
    assert!(text.contains("not asked (1):\n  echo \"a\""), "{text}");
}

#[test]
fn another_method_is_not_the_expected_one() {
    let broker = Script::new().method("calc", Codec::Json, "add", &1, &2).start();
    let calc = broker.client().typed("calc", Codec::Json);
    assert!(matches!(calc.call::<u32>("sub", &1), Err(TypedError::Remote { code: 501, .. })));
    assert_eq!(calc.call::<u32>("add", &1).unwrap(), 2);
    assert!(complaint(broker).contains("calc.sub \"1\""));
}

#[test]
fn a_panic_of_the_test_is_not_covered_by_a_complaint() {
    let panic = catch_unwind(|| {
        let _broker = Script::new().reply("echo", "a", "A").start();
        panic!("the test's own");
    });
    assert_eq!(panic.unwrap_err().downcast_ref::<&str>(), Some(&"the test's own"));
}

#[test]
fn equal_requests_get_the_answers_in_order() {
    let broker = Script::new().reply("next", "", "1").reply("next", "", "2").start();
    let client = broker.client();
    assert_eq!(client.call("next", "").unwrap(), "1".into());
    assert_eq!(client.call("next", "").unwrap(), "2".into());
}

#[test]
fn a_request_tried_again_is_one_request() {
    let broker = Script::new().error("busy", "", 429, "full").silence("slow", "").start();
    let client = Client::builder().broker(broker.endpoint()).tries(2).build().unwrap();
    assert!(matches!(client.call("busy", ""), Err(CallError::Busy { .. })));
    let options = Options::new().timeout(Duration::from_millis(200)).tries(3);
    let slow = client.call_with("slow", "", &options);
    assert!(matches!(slow, Err(CallError::Deadline { .. })), "{slow:?}");
}

#[test]
fn what_wants_no_reply_is_waited_for_at_the_end() {
    let broker = Script::new().method("log", Codec::Json, "note", "hello", &()).start();
    let log = broker.client().typed("log", Codec::Json);
    log.send("note", "hello").unwrap();
    drop(broker);
}
