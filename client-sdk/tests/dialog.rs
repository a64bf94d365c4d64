//! The dialog under a virtual clock: a test for each rule of tries, endpoints,
//! pauses, parts and limits. No socket is opened and no time passes.

use std::time::{Duration, Instant};

use majordomo_client::dialog::{Action, Delivery, Dialog, Event, Reply, Settings, Want};
use majordomo_client::{Body, Error, HandshakeFailure, ServiceName, Version, Violation};

const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(1);

/// A dialog, its clock, and what its owner would have done so far.
struct Table {
    dialog: Dialog,
    now: Instant,
    open: bool,
    error: Option<Error>,
}

fn settings(endpoints: &[&str]) -> Settings {
    Settings {
        endpoints: endpoints.iter().map(|name| format!("inproc://{name}")).collect(),
        timeout: TIMEOUT,
        connect_timeout: CONNECT,
        ..Settings::default()
    }
}

fn table(endpoints: &[&str]) -> Table {
    Table::new(settings(endpoints), 1)
}

fn name(service: &str) -> ServiceName {
    ServiceName::new(service).expect("a name")
}

fn frames(frames: &[&[u8]]) -> Vec<Vec<u8>> {
    frames.iter().map(|frame| frame.to_vec()).collect()
}

fn text(body: &Body) -> String {
    let frames = body.frames().iter().map(|frame| String::from_utf8_lossy(frame));
    frames.collect::<Vec<_>>().join("|")
}

impl Table {
    fn new(settings: Settings, seed: u64) -> Self {
        #[expect(clippy::disallowed_methods, reason = "some first moment; it is not read again")]
        let now = Instant::now();
        let dialog = Dialog::new(settings, seed).expect("possible settings");
        Table { dialog, now, open: false, error: None }
    }

    fn start(&mut self) -> &mut Self {
        self.begin(Delivery::Joined)
    }

    fn stream(&mut self) -> &mut Self {
        self.begin(Delivery::Parts)
    }

    fn begin(&mut self, delivery: Delivery) -> &mut Self {
        self.dialog.start(name("echo"), "hello".into(), delivery, self.now).expect("a start");
        self
    }

    fn after(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self
    }

    fn timeout(&mut self) -> &mut Self {
        self.dialog.handle_timeout(self.now);
        self
    }

    /// How long until the dialog is due.
    fn due(&self) -> Option<Duration> {
        self.dialog.poll_timeout().map(|due| due - self.now)
    }

    /// Lets time pass until the dialog is due.
    fn wait(&mut self) -> &mut Self {
        let due = self.due().expect("something to wait for");
        self.after(due).timeout()
    }

    fn event(&mut self, event: Event<Vec<u8>>) -> &mut Self {
        self.dialog.handle(event, self.now);
        self
    }

    fn sent(&mut self) -> &mut Self {
        assert!(matches!(self.dialog.want(), Want::Send(_)), "nothing to send");
        self.event(Event::Sent)
    }

    fn message(&mut self, message: &[&[u8]]) -> &mut Self {
        self.event(Event::Message(frames(message)))
    }

    fn partial(&mut self, body: &str) -> &mut Self {
        self.message(&[b"MDPC02", &[2], b"echo", body.as_bytes()])
    }

    fn last(&mut self, body: &str) -> &mut Self {
        self.message(&[b"MDPC02", &[3], b"echo", body.as_bytes()])
    }

    /// What was to be done since the last look, in words.
    fn actions(&mut self) -> Vec<String> {
        let mut words = Vec::new();
        while let Some(action) = self.dialog.poll_action() {
            words.push(match action {
                Action::Discard => {
                    assert!(self.open, "a socket is discarded that is not open");
                    self.open = false;
                    "discard".to_owned()
                }
                Action::Connect { endpoint } => {
                    assert!(!self.open, "a socket is opened beside another");
                    self.open = true;
                    format!("connect {}", endpoint.trim_start_matches("inproc://"))
                }
                Action::TryFailed(failed) => {
                    format!("try {}/{}: {}", failed.number, failed.tries, failed.reason)
                }
                Action::Yield(Reply::Partial(body)) => format!("partial {}", text(&body)),
                Action::Yield(Reply::Final(body)) => format!("final {}", text(&body)),
                Action::Fail(error) => {
                    let words = format!("fail: {error}");
                    self.error = Some(error);
                    words
                }
            });
        }
        words
    }
}

#[test]
fn a_request_is_sent_once_the_socket_takes_it_and_its_reply_ends_it() {
    let mut table = table(&["a"]);
    assert_eq!(table.dialog.want(), Want::Nothing);
    assert_eq!(table.due(), None);
    assert_eq!(table.start().actions(), ["connect a"]);
    let request = frames(&[b"MDPC02", &[1], b"echo", b"hello"]);
    assert_eq!(table.dialog.want(), Want::Send(&request));
    assert_eq!(table.sent().dialog.want(), Want::Receive);
    assert_eq!(table.last("there").actions(), ["final there"]);
    assert_eq!(table.dialog.want(), Want::Nothing);
    assert_eq!(table.due(), None);
}

#[test]
fn a_request_of_mdp_0_1_begins_with_an_empty_frame() {
    let settings = Settings { version: Version::V0_1, ..settings(&["a"]) };
    let mut table = Table::new(settings, 1);
    table.start().actions();
    let request = frames(&[b"", b"MDPC01", b"echo", b"hello"]);
    assert_eq!(table.dialog.want(), Want::Send(&request));
    let reply = table.sent().message(&[b"", b"MDPC01", b"echo", b"there", b"you"]).actions();
    assert_eq!(reply, ["final there|you"]);
}

#[test]
fn after_a_success_the_socket_is_kept_for_the_next_request() {
    let mut table = table(&["a"]);
    table.start().sent().last("one").actions();
    assert_eq!(table.start().sent().last("two").actions(), ["final two"]);
}

#[test]
fn after_a_timeout_the_request_goes_out_again_at_once_on_a_new_socket() {
    let mut table = table(&["a"]);
    table.start().sent().actions();
    assert_eq!(table.wait().actions(), ["discard", "try 1/3: no reply in time", "connect a"]);
    let request = frames(&[b"MDPC02", &[1], b"echo", b"hello"]);
    assert_eq!(table.dialog.want(), Want::Send(&request));
    assert_eq!(table.sent().last("there").actions(), ["final there"]);
}

#[test]
fn after_the_last_try_the_error_says_how_often_how_long_whom_and_where() {
    let mut table = table(&["a"]);
    table.start().sent().wait().sent().wait().sent().wait();
    assert_eq!(
        table.actions().last().map(String::as_str),
        Some("fail: no reply from service echo in 10s (tries: 3, the last at inproc://a)")
    );
    assert!(table.error.as_ref().is_some_and(Error::may_have_run));
    assert!(!table.open, "the socket is discarded after giving up");
    assert_eq!(table.due(), None);
    assert_eq!(table.start().actions(), ["connect a"]);
}

#[test]
fn nothing_happens_before_its_time() {
    let mut table = table(&["a"]);
    table.start().sent().actions();
    assert!(table.after(TIMEOUT - Duration::from_nanos(1)).timeout().actions().is_empty());
    assert!(!table.after(Duration::from_nanos(1)).timeout().actions().is_empty());
}

#[test]
fn a_try_lasts_no_longer_than_the_timeout_connecting_included() {
    let mut table = table(&["a"]);
    assert_eq!(table.start().due(), Some(CONNECT));
    let slow = Duration::from_millis(900);
    assert_eq!(table.after(slow).sent().due(), Some(TIMEOUT - slow));
}

#[test]
fn the_wait_for_a_connection_is_no_longer_than_the_timeout() {
    let short = Duration::from_millis(300);
    let mut table = Table::new(Settings { timeout: short, ..settings(&["a"]) }, 1);
    assert_eq!(table.start().due(), Some(short));
}

#[test]
fn an_endpoint_without_a_connection_is_unreachable_and_the_request_has_not_run() {
    let mut table = table(&["a"]);
    table.start().actions();
    assert_eq!(table.wait().actions(), ["discard", "try 1/3: no connection"]);
    assert_eq!(table.dialog.want(), Want::Nothing);
    assert_eq!(table.wait().actions(), ["connect a"]);
    table.wait().wait().wait();
    let actions = table.actions();
    let last = actions.last().map(String::as_str);
    assert_eq!(last, Some("fail: no broker reached at inproc://a (tries: 3)"));
    assert!(table.error.is_some_and(|error| !error.may_have_run()));
}

#[test]
fn pauses_grow_to_a_second_and_are_jittered_down_to_half() {
    let mut all = Vec::new();
    for seed in 0..20 {
        let settings = Settings { tries: Some(8), ..settings(&["a"]) };
        let mut table = Table::new(settings, seed);
        table.start();
        let mut pauses = Vec::new();
        for whole in [100, 200, 400, 800, 1_000, 1_000, 1_000] {
            let pause = table.wait().due().expect("a pause");
            let whole = Duration::from_millis(whole);
            assert!(pause >= whole / 2 && pause <= whole, "{pause:?} of {whole:?}");
            pauses.push(pause);
            table.wait();
        }
        all.push(pauses);
    }
    all.dedup();
    assert_eq!(all.len(), 20, "pauses differ from client to client");
}

#[test]
fn equal_seeds_give_equal_pauses() {
    let pause = |seed| Table::new(settings(&["a"]), seed).start().wait().due();
    assert_eq!(pause(7), pause(7));
}

#[test]
fn a_failed_try_moves_on_to_the_next_endpoint_and_pauses_only_before_one_that_failed() {
    let mut table = table(&["a", "b"]);
    assert_eq!(table.start().actions(), ["connect a"]);
    assert_eq!(table.wait().actions(), ["discard", "try 1/3: no connection", "connect b"]);
    assert_eq!(table.wait().actions(), ["discard", "try 2/3: no connection"]);
    assert_eq!(table.wait().actions(), ["connect a"]);
    let last = table.wait().actions().pop();
    assert_eq!(
        last.as_deref(),
        Some("fail: no broker reached at inproc://a, inproc://b (tries: 3)")
    );
}

#[test]
fn the_endpoint_that_worked_last_is_tried_first() {
    let mut table = table(&["a", "b", "c"]);
    table.start().wait().sent().last("there").actions();
    assert!(table.start().actions().is_empty(), "the socket to b is kept");
    assert_eq!(table.sent().wait().actions()[2], "connect c");
    table.wait();
    assert_eq!(table.actions()[2], "connect a");
    table.sent().wait().actions();
    assert_eq!(table.start().actions(), ["connect b"], "no other has worked since");
}

#[test]
fn each_endpoint_is_tried_unless_the_number_of_tries_is_given() {
    let endpoints = ["a", "b", "c", "d", "e"];
    let mut table = table(&endpoints);
    table.start();
    for _ in endpoints {
        table.wait();
    }
    assert!(table.actions().last().is_some_and(|last| last.ends_with("inproc://e (tries: 5)")));

    let settings = Settings { tries: Some(2), ..settings(&endpoints) };
    let mut table = Table::new(settings, 1);
    table.start().wait().wait();
    let last = table.actions().pop();
    assert_eq!(
        last.as_deref(),
        Some("fail: no broker reached at inproc://a, inproc://b (tries: 2)")
    );
}

#[test]
fn the_error_tells_of_the_last_try_that_reached_a_broker() {
    let mut table = table(&["a", "b"]);
    table.start().sent().wait().wait().wait().wait();
    let last = table.actions().pop();
    assert_eq!(
        last.as_deref(),
        Some("fail: no reply from service echo in 10s (tries: 3, the last at inproc://a)")
    );
    assert!(table.error.is_some_and(|error| error.may_have_run()));
}

#[test]
fn a_connection_that_breaks_fails_the_try_before_its_time() {
    let mut table = table(&["a"]);
    table.start().sent().actions();
    assert_eq!(table.event(Event::Lost).actions(), ["discard", "try 1/3: connection lost"]);
    assert!(table.due().is_some_and(|pause| pause <= Duration::from_millis(100)));
    table.wait().sent().event(Event::Lost).wait().sent().event(Event::Lost);
    let last = table.actions().pop();
    assert_eq!(
        last.as_deref(),
        Some("fail: connection to inproc://a lost while waiting for service echo (tries: 3)")
    );
    assert!(table.error.is_some_and(|error| error.may_have_run()));
}

#[test]
fn a_message_that_is_no_reply_fails_the_try_and_on_the_last_one_the_request() {
    let mut table = table(&["a"]);
    table.start().sent().actions();
    let actions = table.message(&[b"MDPC02", &[9], b"echo", b"x"]).actions();
    assert_eq!(actions.len(), 2, "{actions:?}");
    assert_eq!(actions[0], "discard");
    assert!(actions[1].starts_with("try 1/3: the message is no reply: frame 1"), "{actions:?}");
    table.wait().sent().message(&[]).wait().sent().message(&[b"junk"]).actions();
    let error = table.error.expect("an error");
    assert!(error.may_have_run());
    let Error::Violation { endpoint, source: Violation::Undecodable(cause) } = error else {
        panic!("{error}")
    };
    assert_eq!(endpoint, "inproc://a");
    assert_eq!(cause.frame, 0);
}

#[test]
fn a_violation_is_made_good_by_the_next_try() {
    let mut table = table(&["a", "b"]);
    table.start().sent().message(&[b"junk"]).sent();
    assert_eq!(table.last("there").actions().last().map(String::as_str), Some("final there"));
}

#[test]
fn a_reply_of_another_service_is_a_violation() {
    let mut table = Table::new(Settings { tries: Some(1), ..settings(&["a"]) }, 1);
    table.start().sent().message(&[b"MDPC02", &[3], b"upcase", b"HELLO"]).actions();
    let Some(Error::Violation { source: Violation::OtherService { asked, found }, .. }) =
        table.error
    else {
        panic!("{:?}", table.error)
    };
    assert_eq!((asked, found), (name("echo"), name("upcase")));
}

#[test]
fn a_message_before_the_request_is_a_violation_on_a_new_socket() {
    let mut table = Table::new(Settings { tries: Some(1), ..settings(&["a"]) }, 1);
    table.start().last("early").actions();
    let error = table.error.expect("an error");
    assert!(matches!(error, Error::Violation { source: Violation::Unasked, .. }), "{error}");
}

#[test]
fn a_kept_socket_with_something_late_to_say_is_replaced_within_the_try() {
    let mut table = table(&["a"]);
    table.start().sent().last("one").actions();
    assert_eq!(table.start().last("late").actions(), ["discard", "connect a"]);
    assert_eq!(table.due(), Some(CONNECT));
    assert_eq!(table.sent().last("two").actions(), ["final two"]);
}

#[test]
fn a_kept_socket_that_lost_its_connection_is_replaced_within_the_try() {
    let mut table = table(&["a"]);
    table.start().sent().last("one").actions();
    assert_eq!(table.start().event(Event::Lost).actions(), ["discard", "connect a"]);
    assert_eq!(table.sent().last("two").actions(), ["final two"]);
}

#[test]
fn parts_are_joined_before_the_final() {
    let mut table = table(&["a"]);
    table.start().sent().actions();
    table.message(&[b"MDPC02", &[2], b"echo", b"one", b"two"]);
    table.message(&[b"MDPC02", &[2], b"echo", b"three"]);
    assert!(table.actions().is_empty());
    let reply = table.message(&[b"MDPC02", &[3], b"echo", b"", b"five"]).actions();
    assert_eq!(reply, ["final one|two|three||five"]);
}

#[test]
fn parts_of_a_failed_try_are_forgotten() {
    let mut table = table(&["a"]);
    table.start().sent().partial("old").wait().sent().partial("new").last("end");
    assert_eq!(table.actions().last().map(String::as_str), Some("final new|end"));
}

#[test]
fn each_part_gives_the_next_one_the_whole_timeout() {
    let mut table = table(&["a"]);
    table.start().sent().after(TIMEOUT / 2).partial("one");
    assert_eq!(table.due(), Some(TIMEOUT));
}

#[test]
fn a_stream_hands_out_each_part_and_ends_with_the_final() {
    let mut table = table(&["a"]);
    table.stream().sent().actions();
    assert_eq!(table.partial("one").actions(), ["partial one"]);
    assert_eq!(table.partial("two").actions(), ["partial two"]);
    assert_eq!(table.last("three").actions(), ["final three"]);
    assert_eq!(table.due(), None);
    assert!(table.open, "the socket is kept");
}

#[test]
fn a_stream_is_retried_only_until_a_part_was_handed_out() {
    let mut table = table(&["a"]);
    table.stream().sent().wait().sent();
    assert_eq!(table.actions().last().map(String::as_str), Some("connect a"));
    table.partial("one").wait();
    let actions = table.actions();
    let last = actions.last().map(String::as_str);
    assert_eq!(last, Some("fail: reply of service echo from inproc://a stopped after 1 parts"));
    assert!(!table.open);
    assert!(table.error.is_some_and(|error| error.may_have_run()));
}

#[test]
fn a_stream_that_loses_its_connection_or_turns_to_junk_half_way_ends() {
    let mut table = table(&["a"]);
    table.stream().sent().partial("one").event(Event::Lost).actions();
    assert!(matches!(table.error, Some(Error::Interrupted { parts: 1, .. })));
    table.stream().sent().partial("one").message(&[b"junk"]).actions();
    assert!(matches!(table.error, Some(Error::Violation { .. })));
    assert!(!table.open);
}

#[test]
fn a_slow_reader_of_a_stream_does_not_make_a_silent_service() {
    let mut table = table(&["a"]);
    table.stream().sent().partial("one").after(10 * TIMEOUT);
    table.dialog.resume(table.now);
    assert_eq!(table.due(), Some(TIMEOUT));
    assert_eq!(table.timeout().last("two").actions().last().map(String::as_str), Some("final two"));
}

#[test]
fn asking_for_the_first_part_gives_no_more_time() {
    let mut table = table(&["a"]);
    table.stream().sent().after(TIMEOUT / 2);
    table.dialog.resume(table.now);
    assert_eq!(table.due(), Some(TIMEOUT / 2));
}

#[test]
fn an_abandoned_request_discards_its_socket() {
    let mut table = table(&["a"]);
    table.stream().sent().partial("one").actions();
    table.dialog.abandon();
    assert_eq!(table.actions(), ["discard"]);
    assert_eq!(table.due(), None);
    table.dialog.abandon();
    assert!(table.actions().is_empty());
    assert_eq!(table.start().actions(), ["connect a"]);
}

#[test]
fn a_start_abandons_the_request_under_way() {
    let mut table = table(&["a"]);
    table.start().sent().actions();
    assert_eq!(table.start().actions(), ["discard", "connect a"]);
}

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

#[test]
fn without_an_endpoint_the_brokers_default_is_used() {
    let dialog = Dialog::new(Settings::default(), 1).expect("possible settings");
    assert_eq!(dialog.settings().endpoints, ["tcp://127.0.0.1:5555"]);
}

/// Random events at random times, by seed: every request ends, in time, once, and
/// with its socket in the right state; a failure names the seed.
#[test]
fn whatever_happens_a_request_ends_once_and_in_time() {
    for seed in 0..3_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let endpoints = &["a", "b", "c"][..random.usize(1..=3)];
        let mut table = Table::new(settings(endpoints), seed);
        for _ in 0..4 {
            let begun = table.now;
            let delivery = random.choice([Delivery::Joined, Delivery::Parts]).expect("one");
            table.begin(delivery);
            let mut parts = 0;
            let ended = loop {
                let actions = table.actions();
                let ends = actions.iter().filter(|a| a.starts_with("fai") || a.starts_with("fin"));
                match ends.count() {
                    0 => {}
                    1 => break actions,
                    _ => panic!("seed {seed}: {actions:?}"),
                }
                assert_eq!(
                    table.open,
                    table.dialog.want() != Want::Nothing,
                    "seed {seed}: a socket is open exactly while one is needed"
                );
                match (random.u8(0..10), table.dialog.want()) {
                    (0..=3, Want::Send(_)) => drop(table.sent()),
                    (4, Want::Send(_) | Want::Receive) => drop(table.event(Event::Lost)),
                    (5, Want::Send(_) | Want::Receive) => drop(table.message(&[b"junk"])),
                    (6, Want::Receive) => {
                        table.partial("part");
                        parts += 1;
                    }
                    (7, Want::Receive) => drop(table.last("end")),
                    _ => {
                        let due = table.due().expect("a request under way has a time");
                        table.after(due.mul_f64(random.f64() * 1.5)).timeout();
                    }
                }
            };
            let lasted = table.now - begun;
            // Time may pass by half as much again as was asked for.
            let longest = (3 + parts) * (TIMEOUT + Duration::from_secs(1)) * 3 / 2;
            assert!(lasted <= longest, "seed {seed}: {lasted:?}");
            let success = ended.iter().any(|action| action.starts_with("final"));
            assert_eq!(table.open, success, "seed {seed}: kept after a success only");
            assert_eq!(table.due(), None, "seed {seed}");
        }
    }
}

#[test]
fn a_broker_that_refuses_the_key_ends_the_request_and_says_so() {
    let mut table = table(&["a"]);
    table.start();
    let refused = Event::<Vec<u8>>::Handshake(HandshakeFailure::Rejected);
    table.dialog.handle(refused, table.now);
    let actions: Vec<_> = std::iter::from_fn(|| table.dialog.poll_action()).collect();
    let Some(Action::Fail(error)) = actions.last() else { panic!("{actions:?}") };
    let reason = HandshakeFailure::Rejected;
    assert!(
        matches!(error, Error::Unauthorized { endpoint, reason: found }
            if endpoint == "inproc://a" && *found == reason),
        "{error}"
    );
    assert!(!error.may_have_run());
    assert_eq!(table.due(), None);
}

#[test]
fn another_broker_is_asked_when_one_refuses_the_key() {
    let mut table = table(&["a", "b"]);
    table.start();
    let refused = |reason| Event::<Vec<u8>>::Handshake(reason);
    table.dialog.handle(refused(HandshakeFailure::Mechanism), table.now);
    let actions: Vec<_> = std::iter::from_fn(|| table.dialog.poll_action()).collect();
    let Some(Action::Connect { endpoint }) = actions.last() else { panic!("{actions:?}") };
    assert_eq!(endpoint, "inproc://b");
    // Not let in there either: it is not tried a third time.
    table.dialog.handle(refused(HandshakeFailure::Rejected), table.now);
    let last = std::iter::from_fn(|| table.dialog.poll_action()).last();
    assert!(
        matches!(&last, Some(Action::Fail(Error::Unauthorized { endpoint, .. }))
            if endpoint == "inproc://b"),
        "{last:?}"
    );
}

#[test]
fn a_handshake_that_ends_without_a_word_is_tried_until_the_last_try_and_told() {
    let mut table = table(&["a"]);
    table.start();
    for number in 1..=3 {
        let closed = Event::<Vec<u8>>::Handshake(HandshakeFailure::Closed);
        table.dialog.handle(closed, table.now);
        assert_eq!(table.due(), Some(CONNECT), "try {number}");
        table.after(CONNECT).timeout();
        let pause = table.due().unwrap_or_default();
        table.after(pause).timeout();
    }
    let last = std::iter::from_fn(|| table.dialog.poll_action()).last();
    let reason = HandshakeFailure::Closed;
    assert!(
        matches!(&last, Some(Action::Fail(Error::Unauthorized { reason: found, .. }))
            if *found == reason),
        "{last:?}"
    );
}
