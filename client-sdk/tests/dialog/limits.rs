//! Bodies and replies that are too large, and settings that cannot be.

use std::time::Duration;

use majordomo_client::dialog::{Delivery, Dialog, Settings};
use majordomo_client::{Body, Error, Version};

use crate::table::{Table, name, settings};

#[test]
fn a_body_over_a_limit_is_refused_before_anything_happens() {
    let limited = Settings { body_bytes_max: 10, body_frames_max: 2, ..settings(&["a"]) };
    let mut table = Table::new(limited, 1);
    let mut refusal = |body: Body| {
        let refused = table.dialog.start(name("echo"), body, Delivery::Joined, table.now);
        let error = refused.expect_err("a refusal");
        assert!(!error.may_have_run());
        assert!(table.actions().is_empty());
        error.to_string()
    };
    assert_eq!(
        refusal(vec![vec![0; 10], vec![0; 1]].into()),
        "the body has 11 bytes, more than body_bytes_max = 10"
    );
    assert_eq!(
        refusal(vec![vec![0; 1], vec![], vec![]].into()),
        "the body has 3 frames, more than body_frames_max = 2"
    );
    let fits = Body::from(vec![vec![0; 5], vec![0; 5]]);
    assert!(table.dialog.start(name("echo"), fits, Delivery::Joined, table.now).is_ok());
}

#[test]
fn a_reply_over_the_limit_ends_the_request_without_another_try() {
    let limited = Settings { reply_bytes_max: 10, ..settings(&["a"]) };
    let mut table = Table::new(limited, 1);
    table.start().sent();
    assert_eq!(table.last("0123456789").actions().pop().as_deref(), Some("final 0123456789"));
    table.start().sent();
    let actions = table.last("0123456789a").actions();
    assert_eq!(
        actions,
        ["discard", "fail: reply of service echo is larger than reply_bytes_max = 10"]
    );
    assert!(table.error.is_some_and(|error| error.may_have_run()));
}

#[test]
fn joined_parts_have_the_limit_together_and_streamed_parts_each() {
    let limited = Settings { reply_bytes_max: 100, ..settings(&["a"]) };
    let part = "x".repeat(30);
    let mut table = Table::new(limited, 1);
    table.stream().sent();
    for _ in 0..10 {
        table.partial(&part);
    }
    assert!(table.last(&part).actions().pop().is_some_and(|last| last.starts_with("final x")));
    table.start().sent().partial(&part).partial(&part).actions();
    assert!(matches!(table.error, Some(Error::ReplyOverLimit { limit: 100, .. })));
}

#[test]
fn frames_without_bytes_count_too() {
    let limited = Settings { reply_bytes_max: 64 * 100, ..settings(&["a"]) };
    let mut table = Table::new(limited, 1);
    table.start().sent();
    for _ in 0..101 {
        table.partial("");
    }
    assert!(table.actions().iter().all(|action| !action.starts_with("fail")));
    table.partial("").actions();
    assert!(matches!(table.error, Some(Error::ReplyOverLimit { .. })));
}

#[test]
fn settings_that_cannot_be_are_refused_by_name_value_and_rule() {
    let refusal = |settings: Settings| Dialog::new(settings, 1).expect_err("a refusal").to_string();
    let zero = Duration::ZERO;
    for (settings, words) in [
        (
            Settings { version: Version::V1_0, ..settings(&["a"]) },
            "version is 1.0, but must be 0.1 or 0.2; a Client speaks 1.0",
        ),
        (
            Settings { timeout: zero, ..settings(&["a"]) },
            "timeout is 0ns, but must be 1 ms to 24 h",
        ),
        (
            Settings { timeout: Duration::MAX, ..settings(&["a"]) },
            "timeout is 18446744073709551615.999999999s, but must be 1 ms to 24 h",
        ),
        (
            Settings { connect_timeout: zero, ..settings(&["a"]) },
            "connect_timeout is 0ns, but must be 1 ms to 24 h",
        ),
        (Settings { tries: Some(0), ..settings(&["a"]) }, "tries is 0, but must be 1 to 1000"),
        (
            Settings { tries: Some(1_001), ..settings(&["a"]) },
            "tries is 1001, but must be 1 to 1000",
        ),
        (
            Settings { body_bytes_max: 0, ..settings(&["a"]) },
            "body_bytes_max is 0, but must be 1 or more",
        ),
        (
            Settings { body_frames_max: 0, ..settings(&["a"]) },
            "body_frames_max is 0, but must be 1 or more",
        ),
        (
            Settings { reply_bytes_max: 0, ..settings(&["a"]) },
            "reply_bytes_max is 0, but must be 1 or more",
        ),
        (
            Settings { endpoints: vec!["tcp://127.0.0.1:99999".to_owned()], ..settings(&[]) },
            "endpoint \"tcp://127.0.0.1:99999\" has the port \"99999\", which is not 0 to 65535 \
             or *; expected tcp://HOST:PORT, ipc://PATH or inproc://NAME",
        ),
    ] {
        assert_eq!(refusal(settings), words);
    }
}
