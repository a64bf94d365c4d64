//! Typed services behind a real broker, asked by the client SDK.

#![cfg(all(feature = "json", feature = "msgpack"))]

use std::convert::Infallible;

use majordomo_broker::Broker;
use majordomo_broker::config::Config;
use majordomo_client::{Body, CallError, Client, Codec, Encoded, Metadata, Options, TypedError};
use majordomo_worker::{
    Counts, Details, Failure, Request, RunningWorker, ServiceError, TypedResponder, TypedService,
    Worker,
};
use serde::{Deserialize, Serialize};

const CODECS: [Codec; 2] = [Codec::Json, Codec::MsgPack];

#[derive(Serialize, Deserialize)]
struct Order {
    items: Vec<Item>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Item {
    price: u32,
}

enum PayError {
    Overdrawn { missing: u32 },
}

impl ServiceError for PayError {
    fn code(&self) -> u16 {
        422
    }

    fn kind(&self) -> &str {
        "overdrawn"
    }

    fn text(&self) -> String {
        let PayError::Overdrawn { missing } = self;
        format!("{missing} are missing")
    }

    fn details(&self) -> Option<Details> {
        let PayError::Overdrawn { missing } = self;
        Some(Details::new(Item { price: *missing }))
    }
}

fn shop() -> TypedService {
    let total = |order: Order| -> Result<u32, Infallible> {
        Ok(order.items.iter().map(|item| item.price).sum())
    };
    let pay = |amount: u32| match amount {
        0..=30 => Ok(30 - amount),
        _ => Err(PayError::Overdrawn { missing: amount - 30 }),
    };
    let who = |(): (), request: &Request| -> Result<String, String> {
        let who = request.metadata().value("who").ok_or("nobody")?;
        Ok(String::from_utf8_lossy(who).into_owned())
    };
    let count = |to: u32, numbers: &mut TypedResponder<u32>| -> Result<(), Failure> {
        for number in 1..=to.min(3) {
            numbers.send(&number)?;
        }
        if to > 3 { Err(Failure::new("too_many", "I count to 3")) } else { Ok(()) }
    };
    TypedService::new("shop")
        .version("1.2")
        .description("Sells.")
        .method("total", total)
        .method("pay", pay)
        .method_with("who", who)
        .streaming("count", count)
        .method("break", |(): ()| -> Result<(), Infallible> { panic!("it broke") })
        .method("same", |body: majordomo_worker::Encoded| -> Result<_, Infallible> { Ok(body) })
}

/// A broker, a worker of the shop and a client; dropped from the last to the first.
struct Place {
    client: Client,
    worker: RunningWorker,
    _broker: Broker,
}

impl Place {
    fn new() -> Self {
        let config = Config::builder().bind("tcp://127.0.0.1:*").build().expect("a config");
        let broker = Broker::start(&config).expect("a broker");
        let endpoint = &broker.endpoints()[0];
        let builder = Worker::builder().broker(endpoint).serve(shop().into_service());
        let worker = builder.start().expect("a worker");
        Place { client: Client::connect(endpoint).expect("a client"), worker, _broker: broker }
    }

    fn counts(&self) -> Counts {
        self.worker.counters().counts()
    }
}

/// What an error tells: code, kind and text.
fn remote(error: TypedError) -> (u16, Option<String>, String, majordomo_client::Details) {
    match error {
        TypedError::Remote { code, kind, text, details, .. } => (code, kind, text, details),
        other => panic!("{other:?}"),
    }
}

#[test]
fn values_go_there_and_back_in_either_format() {
    let place = Place::new();
    for codec in CODECS {
        let shop = place.client.typed("shop", codec);
        let order = Order { items: vec![Item { price: 2 }, Item { price: 3 }] };
        assert_eq!(shop.call::<u32>("total", &order).unwrap(), 5);
    }
}

#[test]
fn an_error_type_of_the_service_is_told_in_full() {
    let place = Place::new();
    for codec in CODECS {
        let shop = place.client.typed("shop", codec);
        assert_eq!(shop.call::<u32>("pay", &10).unwrap(), 20);
        let (code, kind, text, details) = remote(shop.call::<u32>("pay", &50).unwrap_err());
        assert_eq!((code, kind.as_deref(), &*text), (422, Some("overdrawn"), "20 are missing"));
        assert_eq!(details.decode(), Ok(Item { price: 20 }));
    }
}

#[test]
fn a_request_that_does_not_decode_names_the_field_and_the_reason() {
    #[derive(Debug, Deserialize)]
    struct Where {
        field: Option<String>,
        reason: String,
    }
    let place = Place::new();
    let wrong = serde_json::json!({"items": [{"price": 1}, {"price": "high"}]});
    for codec in CODECS {
        let shop = place.client.typed("shop", codec);
        let (code, kind, text, details) = remote(shop.call::<u32>("total", &wrong).unwrap_err());
        assert_eq!((code, kind.as_deref()), (400, Some("invalid_request")));
        assert!(text.starts_with("field items[1].price: "), "{text}");
        let details: Where = details.decode().unwrap();
        assert_eq!(details.field.as_deref(), Some("items[1].price"));
        assert!(text.ends_with(&details.reason), "{details:?}");
        let empty = Encoded(Body::from(""));
        let (code, _, text, _) = remote(shop.call::<u32>("total", &empty).unwrap_err());
        assert_eq!((code, &*text), (400, "there is no value, the body is empty"));
    }
}

#[test]
fn an_unknown_method_is_told_which_there_are() {
    #[derive(Deserialize)]
    struct Known {
        methods: Vec<String>,
    }
    let place = Place::new();
    let shop = place.client.typed("shop", Codec::Json);
    let (code, kind, text, details) = remote(shop.call::<()>("steal", &()).unwrap_err());
    assert_eq!((code, kind.as_deref()), (501, Some("unknown_method")));
    assert_eq!(text, "shop has no method \"steal\"");
    let known: Known = details.decode().unwrap();
    assert_eq!(known.methods, ["break", "count", "pay", "same", "total", "who"]);
}

#[test]
fn a_content_type_must_be_there_and_known() {
    let place = Place::new();
    for (content_type, found) in [(None, "missing"), (Some("text/xml"), "\"text/xml\"")] {
        let mut metadata = Metadata::default();
        metadata.push("method", b"pay").unwrap();
        if let Some(content_type) = content_type {
            metadata.push("content-type", content_type.as_bytes()).unwrap();
        }
        let options = Options::new().metadata(metadata);
        let error = place.client.call_with("shop", "1", &options).unwrap_err();
        let CallError::Remote { code: 415, text, details, .. } = error else { panic!("{error}") };
        let known = "application/json or application/msgpack";
        assert_eq!(text, format!("content-type is {found}, but must be {known}"));
        assert_eq!(details.size(), 0);
    }
}

#[test]
fn a_panic_is_an_error_of_its_own_kind_and_the_worker_goes_on() {
    let place = Place::new();
    let shop = place.client.typed("shop", Codec::Json);
    let (code, kind, text, _) = remote(shop.call::<()>("break", &()).unwrap_err());
    assert_eq!((code, kind.as_deref()), (500, Some("panic")));
    assert!(text.contains("it broke"), "{text}");
    assert_eq!(place.counts().panics, 1);
    assert_eq!(shop.call::<u32>("pay", &1).unwrap(), 29);
}

#[test]
fn a_method_may_look_at_the_request() {
    let place = Place::new();
    let shop = place.client.typed("shop", Codec::Json);
    let (code, kind, text, _) = remote(shop.call::<String>("who", &()).unwrap_err());
    assert_eq!((code, kind.as_deref(), &*text), (500, Some("failed"), "nobody"));
    let mut metadata = Metadata::default();
    metadata.push("who", b"Ada").unwrap();
    let shop = shop.with(Options::new().metadata(metadata));
    assert_eq!(shop.call::<String>("who", &()).unwrap(), "Ada");
}

#[test]
fn values_stream_until_the_end_or_an_error() {
    let place = Place::new();
    for codec in CODECS {
        let shop = place.client.typed("shop", codec);
        let three = shop.stream::<u32>("count", &3).unwrap();
        assert_eq!(three.collect::<Result<Vec<_>, _>>().unwrap(), [1, 2, 3]);
        assert_eq!(shop.stream::<u32>("count", &0).unwrap().count(), 0);
        let mut four = shop.stream::<u32>("count", &4).unwrap();
        let values: Vec<_> = four.by_ref().take(3).collect::<Result<_, _>>().unwrap();
        assert_eq!(values, [1, 2, 3]);
        let (code, kind, ..) = remote(four.next().unwrap().unwrap_err());
        assert_eq!((code, kind.as_deref()), (500, Some("too_many")));
        assert!(four.next().is_none());
    }
}

#[test]
fn what_is_encoded_is_passed_through() {
    let place = Place::new();
    let body = Body::from_frames(vec![b"no ".to_vec(), b"json".to_vec()]);
    let shop = place.client.typed("shop", Codec::Json);
    let reply: Encoded = shop.call("same", &Encoded(body.clone())).unwrap();
    assert_eq!(reply.0, body);
}

#[test]
fn a_service_describes_itself() {
    let place = Place::new();
    // Once this is answered, the worker is registered.
    place.client.typed("shop", Codec::Json).call::<u32>("pay", &1).unwrap();
    let report = place.client.call("mmi.broker", "").unwrap().into_bytes();
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    let expected = serde_json::json!({
        "version": "1.2", "description": "Sells.", "methods": "break,count,pay,same,total,who",
    });
    assert_eq!(report["workers"][0]["metadata"], expected);
}
