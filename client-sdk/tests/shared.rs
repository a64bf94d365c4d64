//! The dialog of the shared client under a virtual clock: a test for each rule of ids,
//! tries, brokers, cancelling and limits. No socket is opened and no time passes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use majordomo_client::shared::{Action, Dialog, Event, Request, Settings};
use majordomo_client::{Body, CallError, HandshakeFailure, Metadata, ServiceName};
use majordomo_protocol::client::{Answered, FromBroker, ToBroker};
use majordomo_protocol::{Batch, InstanceId, Reason, RequestId, Terms, code};

const SECOND: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(10);

/// What a broker was told.
#[derive(Clone, Debug, PartialEq)]
enum Told {
    Request(RequestId, Terms),
    Cancel(RequestId),
    Heartbeat,
}

/// A dialog, its clock, and what its owner would have done so far.
struct Table {
    dialog: Dialog<u64>,
    now: Instant,
    told: Vec<VecDeque<Told>>,
    connects: Vec<usize>,
    left: Vec<(usize, &'static str)>,
    parts: Vec<(u64, String)>,
    done: Vec<(u64, Result<String, CallError>)>,
}

fn text(body: &Body) -> String {
    String::from_utf8_lossy(&body.to_bytes()).into_owned()
}

fn request(service: &str) -> Request {
    Request {
        service: ServiceName::new(service).expect("a name"),
        body: Body::from("hello"),
        timeout: TIMEOUT,
        deadline: 3 * TIMEOUT,
        tries: 3,
        start_within: None,
        once: false,
        fail_fast: false,
        no_reply: false,
        metadata: Metadata::default(),
    }
}

impl Table {
    fn new(brokers: usize) -> Self {
        let endpoints = (0..brokers).map(|number| format!("inproc://{number}")).collect();
        let settings = Settings { endpoints, ..Settings::default() };
        #[expect(clippy::disallowed_methods, reason = "some first moment; it is not read again")]
        let now = Instant::now();
        Table {
            dialog: Dialog::new(settings, 0x0102_0304_0506_0708).expect("possible settings"),
            now,
            told: vec![VecDeque::new(); brokers],
            connects: Vec::new(),
            left: Vec::new(),
            parts: Vec::new(),
            done: Vec::new(),
        }
    }

    /// With the first broker connected and a first call sent there, which is returned.
    fn connected(brokers: usize) -> (Self, RequestId) {
        let mut table = Table::new(brokers);
        table.submit(1, request("echo"));
        table.event(0, Event::Connected);
        let id = table.asked(0);
        (table, id)
    }

    fn act(&mut self) {
        while let Some(action) = self.dialog.poll_action() {
            match action {
                Action::Connect { broker } => self.connects.push(broker),
                Action::Disconnect { broker, reason } => {
                    self.left.push((broker, reason));
                    self.told[broker].clear();
                }
                Action::Send { broker, command } => self.told[broker].push_back(match command {
                    ToBroker::Request { id, terms, .. } => Told::Request(id.expect("an id"), terms),
                    ToBroker::Cancel { id } => Told::Cancel(id),
                    ToBroker::Heartbeat => Told::Heartbeat,
                }),
                Action::Part { token, key, body } => {
                    assert_eq!(token, key);
                    self.parts.push((token, text(&body)));
                }
                Action::Done { token, result } => {
                    self.done.push((token, result.map(|body| text(&body))));
                }
            }
        }
    }

    fn submit(&mut self, key: u64, request: Request) {
        self.dialog.submit(key, request, key, self.now);
        self.act();
    }

    fn event(&mut self, broker: usize, event: Event) {
        self.dialog.handle(broker, event, self.now);
        self.act();
    }

    /// Lets time pass, timer by timer.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(due) = self.dialog.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.dialog.handle_timeout(self.now);
            self.act();
        }
        self.now = until;
    }

    /// The broker says this.
    fn says(&mut self, broker: usize, commands: Vec<FromBroker<Body>>) {
        let mut batch = Batch::of_client(4096);
        for command in commands {
            command.write(&mut batch).expect("MDP/1.0 can say it");
        }
        self.event(broker, Event::Message(batch.into_frames()));
    }

    fn last(&mut self, broker: usize, id: RequestId, body: &str) {
        let request = Answered::Id(id);
        self.says(broker, vec![FromBroker::Final { request, body: Body::from(body) }]);
    }

    fn part(&mut self, broker: usize, id: RequestId, body: &str) {
        let request = Answered::Id(id);
        self.says(broker, vec![FromBroker::Partial { request, body: Body::from(body) }]);
    }

    fn error(&mut self, broker: usize, id: RequestId, code: u16) {
        let reason = Reason { code, text: "why".to_owned() };
        self.says(broker, vec![FromBroker::Error { id, reason, details: Body::from("more") }]);
    }

    fn heartbeat(&mut self, broker: usize) {
        let instance = InstanceId::new([9; 8]);
        self.says(broker, vec![FromBroker::Heartbeat { instance }]);
    }

    /// The next request a broker was sent; heartbeats before it are passed over.
    fn asked(&mut self, broker: usize) -> RequestId {
        self.terms(broker).0
    }

    fn terms(&mut self, broker: usize) -> (RequestId, Terms) {
        loop {
            match self.told[broker].pop_front().expect("a request") {
                Told::Request(id, terms) => return (id, terms),
                Told::Heartbeat => {}
                Told::Cancel(id) => panic!("a cancel of {id}"),
            }
        }
    }

    /// Lets time pass with a broker that answers every heartbeat.
    fn pass_alive(&mut self, broker: usize, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.pass(SECOND.min(until - self.now));
            if self.told[broker].contains(&Told::Heartbeat) {
                self.told[broker].retain(|told| *told != Told::Heartbeat);
                self.heartbeat(broker);
            }
        }
    }

    fn result(&mut self) -> Result<String, CallError> {
        assert_eq!(self.done.len(), 1, "{:?}", self.done);
        self.done.remove(0).1
    }

    fn error_of_call(&mut self) -> CallError {
        self.result().expect_err("a failure")
    }

    /// Nothing is left of any call.
    fn assert_empty(&mut self) {
        assert_eq!(self.dialog.counts().outstanding, 0);
        self.pass(100 * SECOND);
        assert_eq!(self.dialog.entries(), 0);
    }
}

#[test]
fn answers_find_their_calls_by_id_in_any_order() {
    let mut table = Table::new(1);
    for key in 0..3 {
        table.submit(key, request("echo"));
    }
    assert_eq!(table.connects, [0], "one connection for all");
    table.event(0, Event::Connected);
    let ids: Vec<_> = (0..3).map(|_| table.asked(0)).collect();
    for number in [2, 0, 1] {
        table.last(0, ids[number], &number.to_string());
    }
    let replies: Vec<_> =
        table.done.drain(..).map(|(key, result)| (key, result.expect("a reply"))).collect();
    assert_eq!(replies, [(2, "2".into()), (0, "0".into()), (1, "1".into())]);
    table.assert_empty();
}

#[test]
fn an_answer_twice_or_to_nobody_is_counted_and_dropped() {
    let (mut table, id) = Table::connected(1);
    table.last(0, id, "one");
    table.last(0, id, "two");
    table.part(0, id, "three");
    table.error(0, id, code::FAILED);
    table.last(0, RequestId::new([7; 16]), "of another client");
    assert_eq!(table.result().expect("a reply"), "one");
    assert_eq!(table.dialog.counts().dropped, 4);
    table.assert_empty();
}

#[test]
fn parts_come_before_the_last_and_each_gives_it_more_time() {
    let (mut table, id) = Table::connected(1);
    for part in ["a", "b", "c"] {
        table.pass_alive(0, TIMEOUT - SECOND);
        table.part(0, id, part);
    }
    table.last(0, id, "d");
    assert_eq!(table.parts, [(1, "a".into()), (1, "b".into()), (1, "c".into())]);
    assert_eq!(table.result().expect("a reply"), "d");
}

#[test]
fn a_reply_in_parts_counts_though_an_earlier_try_was_refused_late() {
    let (mut table, id) = Table::connected(1);
    table.pass_alive(0, TIMEOUT);
    assert_eq!(table.asked(0), id, "a second try");
    // To the first; the second has begun to run.
    table.error(0, id, code::BUSY);
    table.part(0, id, "a");
    table.pass_alive(0, TIMEOUT - SECOND);
    assert_eq!(table.dialog.counts().retries, 1);
    table.last(0, id, "b");
    assert_eq!(table.parts, [(1, "a".into())]);
    assert_eq!(table.result().expect("a reply"), "b");
    table.assert_empty();
}

#[test]
fn a_reply_of_which_a_part_was_dropped_is_none() {
    let (mut table, id) = Table::connected(2);
    table.error(0, id, code::STOPPING);
    table.event(1, Event::Connected);
    assert_eq!(table.asked(1), id);
    // It runs there all the same, while the call is at another broker.
    table.part(0, id, "a");
    table.last(0, id, "b");
    assert!(table.done.is_empty() && table.parts.is_empty());
    assert_eq!(table.dialog.counts().dropped, 2);
    table.last(1, id, "whole");
    assert_eq!(table.result().expect("a reply"), "whole");
}

#[test]
fn after_a_part_there_is_no_other_try() {
    let (mut table, id) = Table::connected(2);
    table.part(0, id, "a");
    table.pass_alive(0, TIMEOUT);
    let error = table.error_of_call();
    assert!(matches!(error, CallError::Deadline { tries: 1, .. }) && error.may_have_run());
    let (mut table, id) = Table::connected(2);
    table.part(0, id, "a");
    table.event(0, Event::Lost);
    let error = table.error_of_call();
    assert!(matches!(error, CallError::Disconnected { .. }) && error.may_have_run());
    table.assert_empty();
}

#[test]
fn a_slow_reply_is_asked_for_again_under_the_same_id_at_the_same_broker() {
    let (mut table, id) = Table::connected(2);
    table.pass_alive(0, TIMEOUT);
    let (again, terms) = table.terms(0);
    assert_eq!(again, id);
    assert_eq!(terms.timeout, Some(2 * TIMEOUT), "what is left of the deadline");
    table.pass_alive(0, TIMEOUT - SECOND);
    table.last(0, id, "late");
    assert_eq!(table.result().expect("a reply"), "late");
    assert_eq!(table.dialog.counts().retries, 1);
    assert_eq!(table.left, []);
}

#[test]
fn after_the_last_try_the_call_ends_and_the_broker_is_told() {
    let (mut table, id) = Table::connected(1);
    table.pass_alive(0, 3 * TIMEOUT);
    let error = table.error_of_call();
    assert!(matches!(error, CallError::Deadline { tries: 3, may_have_run: true, .. }), "{error}");
    assert_eq!(table.told[0].back(), Some(&Told::Cancel(id)));
    table.last(0, id, "too late");
    assert_eq!(table.dialog.counts().dropped, 1);
    table.assert_empty();
}

#[test]
fn the_deadline_ends_a_call_whatever_tries_are_left() {
    let mut table = Table::new(1);
    table.submit(1, Request { deadline: 4 * SECOND, tries: 1_000, ..request("echo") });
    table.event(0, Event::Connected);
    let (_, terms) = table.terms(0);
    assert_eq!(terms.timeout, Some(4 * SECOND));
    table.pass_alive(0, 4 * SECOND);
    assert!(matches!(table.error_of_call(), CallError::Deadline { tries: 1, .. }));
    table.assert_empty();
}

#[test]
fn a_call_whose_time_passed_before_any_broker_was_there_says_so() {
    let mut table = Table::new(1);
    // Shorter than a connection may take.
    let short = Duration::from_millis(50);
    table.submit(1, Request { timeout: short, deadline: short, tries: 1, ..request("echo") });
    table.pass(short);
    let (_, result) = &table.done[0];
    let Err(error) = result else { panic!("{result:?}") };
    assert!(matches!(error, CallError::Disconnected { .. }), "{error}");
    assert!(!error.may_have_run());
}

#[test]
fn a_call_whose_time_passes_in_a_pause_ends_with_what_its_last_try_failed_of() {
    // Refused by the only broker there is, time and again.
    let mut table = Table::new(1);
    let short = Request { timeout: SECOND, deadline: SECOND * 21 / 20, ..request("echo") };
    table.submit(1, short.clone());
    table.event(0, Event::Refused);
    table.pass(2 * SECOND);
    let error = table.error_of_call();
    assert!(matches!(error, CallError::Disconnected { .. }), "{error}");
    assert!(!error.may_have_run());
    table.assert_empty();

    let mut table = Table::new(1);
    table.submit(1, Request { deadline: SECOND / 20, ..short });
    table.event(0, Event::Connected);
    let id = table.asked(0);
    table.error(0, id, code::BUSY);
    table.pass(SECOND);
    let error = table.error_of_call();
    assert!(matches!(error, CallError::Busy { .. }), "{error}");
    assert!(!error.may_have_run());
    table.assert_empty();
}

#[test]
fn what_a_broker_says_is_counted() {
    let (mut table, id) = Table::connected(1);
    assert_eq!(table.dialog.counts().heard, 0);
    table.heartbeat(0);
    table.last(0, id, "reply");
    assert_eq!(table.dialog.counts().heard, 2);
}

#[test]
fn a_silent_broker_is_left_and_its_calls_move_under_the_same_ids() {
    let mut table = Table::new(2);
    for key in 0..1_000 {
        table.submit(key, request("echo"));
    }
    table.event(0, Event::Connected);
    let ids: Vec<_> = (0..1_000).map(|_| table.asked(0)).collect();
    table.pass(4 * SECOND);
    assert_eq!(table.left, [(0, "silent")]);
    assert_eq!(table.connects, [0, 1]);
    table.event(1, Event::Connected);
    let moved: Vec<_> = (0..1_000).map(|_| table.asked(1)).collect();
    assert_eq!(ids, moved);
    for id in moved {
        table.last(1, id, "moved");
    }
    assert!(table.done.drain(..).all(|(_, result)| result.is_ok()));
    table.submit(1_000, request("echo"));
    table.asked(1);
}

#[test]
fn heartbeats_go_out_only_while_something_is_outstanding() {
    let (mut table, id) = Table::connected(1);
    table.pass(SECOND);
    assert_eq!(table.told[0], [Told::Heartbeat]);
    table.heartbeat(0);
    table.pass(SECOND);
    assert_eq!(table.told[0], [Told::Heartbeat, Told::Heartbeat]);
    table.last(0, id, "reply");
    table.told[0].clear();
    table.pass(60 * SECOND);
    assert!(table.told[0].is_empty());
    assert_eq!(table.left, []);
}

#[test]
fn a_broker_is_not_silent_because_the_process_was_stopped() {
    let (mut table, id) = Table::connected(2);
    table.now += 8 * SECOND;
    table.dialog.handle_timeout(table.now);
    table.act();
    assert_eq!(table.left, []);
    table.last(0, id, "reply");
    assert!(table.result().is_ok());
}

#[test]
fn a_stopping_broker_is_left_at_once_by_that_call_and_by_new_ones() {
    let (mut table, id) = Table::connected(2);
    table.submit(2, request("echo"));
    let staying = table.asked(0);
    table.error(0, id, code::STOPPING);
    assert_eq!(table.connects, [0, 1]);
    table.event(1, Event::Connected);
    assert_eq!(table.asked(1), id);
    table.submit(3, request("echo"));
    table.asked(1);
    table.last(0, staying, "what runs there ends there");
    assert!(table.result().is_ok());
}

#[test]
fn busy_is_tried_elsewhere_then_after_pauses_that_grow_then_given_up() {
    let (mut table, id) = Table::connected(2);
    table.error(0, id, code::BUSY);
    table.event(1, Event::Connected);
    assert_eq!(table.asked(1), id);
    table.error(1, id, code::BUSY);
    assert!(table.told[0].is_empty(), "a pause");
    table.pass(SECOND);
    assert_eq!(table.asked(0), id);
    table.error(0, id, code::BUSY);
    let error = table.error_of_call();
    assert!(matches!(&error, CallError::Busy { text, .. } if text == "why"), "{error}");
    assert!(!error.may_have_run());
    table.assert_empty();
}

#[test]
fn without_worker_the_other_brokers_are_asked_first_if_it_is_to_fail_fast() {
    let fail_fast = Request { fail_fast: true, tries: 10, ..request("echo") };
    let mut table = Table::new(2);
    table.submit(1, fail_fast.clone());
    table.event(0, Event::Connected);
    let (id, terms) = table.terms(0);
    assert!(terms.fail_fast);
    table.error(0, id, code::NO_WORKER);
    table.event(1, Event::Connected);
    assert_eq!(table.asked(1), id);
    table.error(1, id, code::NO_WORKER);
    let error = table.error_of_call();
    assert!(matches!(error, CallError::NoWorker { .. }) && !error.may_have_run());

    let (mut table, id) = Table::connected(2);
    table.error(0, id, code::NO_WORKER);
    assert!(matches!(table.error_of_call(), CallError::NoWorker { .. }), "it has waited");
    table.assert_empty();
}

#[test]
fn every_code_has_its_error_and_says_whether_it_may_have_run() {
    type Fits = fn(&CallError) -> bool;
    let codes: [(u16, bool, Fits); 9] = [
        (code::FORBIDDEN, false, |error| matches!(error, CallError::Refused { .. })),
        (code::NOT_STARTED, false, |error| matches!(error, CallError::NotStarted { .. })),
        (code::TOO_LARGE, false, |error| matches!(error, CallError::TooLarge { .. })),
        (code::CANCELLED, true, |error| matches!(error, CallError::Cancelled { .. })),
        (code::WORKER_LOST, true, |error| matches!(error, CallError::WorkerLost { .. })),
        (code::TIMED_OUT, true, |error| matches!(error, CallError::Deadline { .. })),
        (code::MALFORMED, true, |error| matches!(error, CallError::Remote { code: 400, .. })),
        (code::FAILED, true, |error| {
            matches!(error, CallError::Remote { code: 500, text, details, .. }
                if text == "why" && details.to_bytes() == b"more")
        }),
        (1_234, true, |error| matches!(error, CallError::Remote { code: 1_234, .. })),
    ];
    for (code, may_have_run, fits) in codes {
        let (mut table, id) = Table::connected(1);
        table.error(0, id, code);
        let error = table.error_of_call();
        assert!(fits(&error), "{code}: {error:?}");
        assert_eq!(error.may_have_run(), may_have_run, "{code}");
        assert!(table.told[0].is_empty(), "nothing is cancelled that has ended");
        table.assert_empty();
    }
}

#[test]
fn what_did_not_run_at_the_second_broker_may_have_run_at_the_first() {
    let (mut table, id) = Table::connected(2);
    table.event(0, Event::Lost);
    table.event(1, Event::Connected);
    assert_eq!(table.asked(1), id);
    table.error(1, id, code::NO_WORKER);
    let error = table.error_of_call();
    assert!(matches!(error, CallError::NoWorker { .. }) && error.may_have_run());
}

#[test]
fn once_is_not_sent_to_a_second_broker_when_it_may_have_run() {
    let mut table = Table::new(2);
    table.submit(1, Request { once: true, ..request("echo") });
    table.event(0, Event::Connected);
    assert!(table.terms(0).1.once);
    table.event(0, Event::Lost);
    let error = table.error_of_call();
    assert!(matches!(error, CallError::Disconnected { .. }) && error.may_have_run());
    table.assert_empty();
}

#[test]
fn once_ends_with_a_single_broker_too_when_it_is_cut_or_a_later_copy_is_refused() {
    let once = || Request { once: true, ..request("echo") };
    let mut table = Table::new(1);
    table.submit(1, once());
    table.event(0, Event::Connected);
    table.heartbeat(0);
    table.event(0, Event::Lost);
    assert!(matches!(table.error_of_call(), CallError::Disconnected { may_have_run: true, .. }));

    for code in [code::BUSY, code::STOPPING] {
        let mut table = Table::new(1);
        table.submit(1, once());
        table.event(0, Event::Connected);
        let id = table.asked(0);
        table.error(0, id, code);
        assert!(table.done.is_empty(), "the first copy did not run");
        table.pass(SECOND);
        assert_eq!(table.asked(0), id);
        table.pass_alive(0, TIMEOUT);
        assert_eq!(table.asked(0), id, "no reply in time");
        table.error(0, id, code);
        assert!(table.error_of_call().may_have_run());
    }
}

#[test]
fn a_refusing_broker_is_passed_over_at_once_and_one_that_is_all_there_is_gets_time() {
    let mut table = Table::new(2);
    table.submit(1, request("echo"));
    table.event(0, Event::Refused);
    assert_eq!(table.connects, [0, 1]);

    let mut table = Table::new(1);
    table.submit(1, request("echo"));
    table.event(0, Event::Refused);
    table.pass(SECOND / 10);
    assert_eq!(table.connects.len(), 2);
    assert!(table.done.is_empty());
    for _ in 0..200 {
        table.event(0, Event::Refused);
        table.pass(SECOND / 10);
    }
    let error = table.error_of_call();
    assert!(matches!(error, CallError::Disconnected { tries: 3, .. }), "{error:?}");
    assert!(!error.may_have_run());
    table.assert_empty();
}

#[test]
fn a_connection_that_was_of_use_and_breaks_is_replaced_at_once() {
    let (mut table, id) = Table::connected(1);
    table.heartbeat(0);
    let before = table.now;
    for _ in 0..2 {
        table.event(0, Event::Lost);
        table.event(0, Event::Connected);
        assert_eq!(table.asked(0), id, "under the same id");
        table.heartbeat(0);
    }
    assert_eq!((table.now, table.connects.len()), (before, 3), "no time has passed");
    table.event(0, Event::Lost);
    let error = table.error_of_call();
    assert!(matches!(error, CallError::Disconnected { tries: 3, may_have_run: true, .. }));
    table.assert_empty();

    // One that breaks before anything was heard is no sign of life.
    let (mut table, _) = Table::connected(1);
    table.event(0, Event::Lost);
    assert_eq!(table.connects, [0], "a pause");
    table.pass(SECOND);
    assert_eq!(table.connects, [0, 0]);

    // Where the broker is, the request is joined; where it is gone, another is asked.
    let (mut table, id) = Table::connected(2);
    table.heartbeat(0);
    table.event(0, Event::Lost);
    assert_eq!(table.connects, [0, 0]);
    table.event(0, Event::Refused);
    assert_eq!(table.connects, [0, 0, 1]);
    table.event(1, Event::Connected);
    assert_eq!(table.asked(1), id);
}

#[test]
fn a_call_whose_try_ends_while_its_broker_connects_goes_on_waiting_for_the_connection() {
    let mut table = Table::new(1);
    table.submit(1, Request { timeout: SECOND / 40, tries: 100, ..request("echo") });
    table.event(0, Event::Refused);
    table.pass(SECOND / 4);
    table.event(0, Event::Connected);
    table.asked(0);
}

#[test]
fn a_broker_that_nobody_waits_for_after_its_pause_is_neither_connected_to_nor_left() {
    let (mut table, _) = Table::connected(1);
    // It is shunned for a while, and the next call waits for that to end.
    table.event(0, Event::Lost);
    table.submit(2, request("echo"));
    for key in [1, 2] {
        table.dialog.cancel(key);
        table.act();
    }
    table.done.clear();
    table.assert_empty();
    assert_eq!((table.connects.as_slice(), table.left.as_slice()), (&[0][..], &[(0, "lost")][..]));
    assert_eq!(table.dialog.counts().left, 1);

    // The same after a refusal of the only broker there is.
    let mut table = Table::new(1);
    table.submit(1, request("echo"));
    table.event(0, Event::Refused);
    table.dialog.cancel(1);
    table.act();
    table.assert_empty();
    assert_eq!((table.connects.as_slice(), table.left.len()), (&[0][..], 0));

    // An attempt that is under way has its time, and its failure counts.
    let mut table = Table::new(1);
    table.submit(1, request("echo"));
    table.dialog.cancel(1);
    table.act();
    table.assert_empty();
    assert_eq!(table.left, [(0, "unreachable")]);
}

#[test]
fn a_broker_that_refuses_is_asked_again_soon_and_then_seldom() {
    let mut table = Table::new(1);
    table.submit(1, Request { tries: 1_000, ..request("echo") });
    let mut pauses = Vec::new();
    for _ in 0..40 {
        let (before, connects) = (table.now, table.connects.len());
        table.event(0, Event::Refused);
        while table.connects.len() == connects {
            table.now = table.dialog.poll_timeout().expect("something to wait for");
            table.dialog.handle_timeout(table.now);
            table.act();
        }
        pauses.push(table.now - before);
    }
    assert!(pauses[0] <= SECOND / 100, "{pauses:?}");
    assert!(pauses[0] + pauses[1] + pauses[2] <= SECOND * 7 / 100, "{pauses:?}");
    // Where a try ends in between, the next begins within its own pause.
    let late = &pauses[10..];
    assert!(late.iter().sum::<Duration>() >= late.len() as u32 * SECOND / 10, "{pauses:?}");
    table.event(0, Event::Connected);
    table.asked(0);
}

#[test]
fn every_broker_that_may_be_at_a_cancelled_call_is_told() {
    let (mut table, id) = Table::connected(2);
    table.event(0, Event::Lost);
    table.event(1, Event::Connected);
    assert_eq!(table.asked(1), id);
    // Another call brings the connection to the first back.
    table.submit(2, request("echo"));
    let other = table.asked(1);
    table.error(1, other, code::STOPPING);
    table.pass(SECOND);
    table.event(0, Event::Connected);
    assert_eq!(table.asked(0), other);
    table.dialog.cancel(1);
    table.act();
    assert!(matches!(table.error_of_call(), CallError::Cancelled { may_have_run: true, .. }));
    assert_eq!(table.told[0], [Told::Cancel(id)]);
    assert_eq!(table.told[1].back(), Some(&Told::Cancel(id)));
}

#[test]
fn a_broker_whose_answer_ends_a_call_is_not_told_to_cancel_it_and_the_other_is() {
    let (mut table, id) = Table::connected(2);
    table.event(0, Event::Lost);
    table.event(1, Event::Connected);
    assert_eq!(table.asked(1), id);
    table.submit(2, request("echo"));
    let other = table.asked(1);
    table.error(1, other, code::STOPPING);
    table.pass(SECOND);
    table.event(0, Event::Connected);
    assert_eq!(table.asked(0), other);
    table.last(0, id, "late, but first");
    assert_eq!(table.result().expect("a reply"), "late, but first");
    assert_eq!(table.told[0], []);
    assert_eq!(table.told[1].back(), Some(&Told::Cancel(id)));
}

#[test]
fn a_cancelled_call_is_gone_and_the_broker_is_told() {
    let (mut table, id) = Table::connected(1);
    table.dialog.cancel(1);
    table.act();
    let error = table.error_of_call();
    assert!(matches!(error, CallError::Cancelled { may_have_run: true, .. }));
    assert_eq!(table.told[0], [Told::Cancel(id)]);
    table.dialog.cancel(1);
    table.act();
    assert!(table.done.is_empty());
    table.assert_empty();

    let mut table = Table::new(1);
    table.submit(1, request("echo"));
    table.dialog.cancel(1);
    table.act();
    assert!(matches!(table.error_of_call(), CallError::Cancelled { may_have_run: false, .. }));
    table.event(0, Event::Connected);
    assert!(table.told[0].is_empty());
    table.assert_empty();
}

#[test]
fn a_hundred_thousand_cancelled_calls_leave_no_entry() {
    let mut table = Table::new(1);
    for key in 0..100_000 {
        table.submit(key, request("echo"));
        if key == 50_000 {
            table.event(0, Event::Connected);
        }
    }
    for key in 0..100_000 {
        table.dialog.cancel(key);
    }
    table.act();
    assert_eq!(table.done.len(), 100_000);
    // The broker's own timer is all there is.
    assert_eq!(table.dialog.entries(), 1);
    table.assert_empty();
}

#[test]
fn what_wants_no_reply_ends_when_it_is_sent_and_makes_sure_that_somebody_was_there() {
    let mut table = Table::new(2);
    table.submit(1, Request { no_reply: true, ..request("log") });
    assert!(table.done.is_empty());
    table.event(0, Event::Connected);
    assert!(table.terms(0).1.no_reply);
    assert!(table.result().is_ok());
    table.pass(SECOND);
    assert_eq!(table.told[0], [Told::Heartbeat]);
    table.heartbeat(0);
    table.told[0].clear();
    table.assert_empty();
    assert!(table.told[0].is_empty());
}

#[test]
fn what_wants_no_reply_waits_for_a_connection_until_its_deadline() {
    for brokers in [1, 3] {
        let mut table = Table::new(brokers);
        table.submit(1, Request { no_reply: true, ..request("log") });
        let refuse = |table: &mut Table, times| {
            for _ in 0..times {
                for broker in 0..brokers {
                    table.event(broker, Event::Refused);
                }
                table.pass(SECOND / 10);
            }
        };
        refuse(&mut table, 290);
        assert!(table.done.is_empty(), "{:?}", table.done);
        assert_eq!(table.dialog.counts().retries, 0);
        let mut late = Table::new(brokers);
        late.submit(1, Request { no_reply: true, ..request("log") });
        assert_eq!(late.dialog.counts().unsent, 0);
        refuse(&mut late, 301);
        assert!(matches!(late.error_of_call(), CallError::Disconnected { .. }));
        assert_eq!(late.dialog.counts().unsent, 1);

        // One of them is being connected to; for the others this is nothing.
        (0..brokers).for_each(|broker| table.event(broker, Event::Connected));
        assert_eq!(table.told.iter().flatten().count(), 1);
        assert!(table.result().is_ok());
    }
}

#[test]
fn start_within_ends_what_was_never_sent() {
    let mut table = Table::new(1);
    table.submit(1, Request { start_within: Some(SECOND / 2), ..request("echo") });
    table.pass(SECOND / 2);
    assert!(matches!(table.error_of_call(), CallError::NotStarted { may_have_run: false, .. }));
    table.assert_empty();
}

#[test]
fn a_broker_that_says_nonsense_is_left() {
    let (mut table, id) = Table::connected(2);
    table.event(0, Event::Message(vec![b"MDPC02".to_vec(), vec![3], b"echo".to_vec()]));
    assert_eq!(table.left, [(0, "violates the protocol")]);
    table.event(1, Event::Connected);
    assert_eq!(table.asked(1), id);
}

#[test]
fn closing_ends_calls_but_still_sends_what_wants_no_reply() {
    let mut table = Table::new(1);
    table.submit(1, request("echo"));
    table.submit(2, Request { no_reply: true, ..request("log") });
    table.dialog.close();
    table.act();
    assert!(matches!(table.error_of_call(), CallError::Closed { may_have_run: false }));
    table.event(0, Event::Connected);
    assert!(table.terms(0).1.no_reply);
    assert!(table.result().is_ok());
    table.submit(3, request("echo"));
    assert!(matches!(table.error_of_call(), CallError::Closed { .. }));
}

#[test]
fn equal_histories_give_equal_actions() {
    let run = || {
        let mut table = Table::new(3);
        for key in 0..50 {
            table.submit(key, request("echo"));
        }
        for _ in 0..100 {
            table.event(table.connects.last().copied().unwrap_or(0), Event::Refused);
            table.pass(SECOND / 20);
        }
        (table.connects, table.left, format!("{:?}", table.done))
    };
    assert_eq!(run(), run());
}

fn unauthorized(error: &CallError, endpoint: &str, reason: HandshakeFailure) -> bool {
    matches!(error, CallError::Unauthorized { endpoint: found, reason: why, .. }
        if found == endpoint && *why == reason)
}

#[test]
fn a_broker_that_refuses_the_key_ends_its_calls_at_once() {
    let mut table = Table::new(1);
    table.submit(1, request("echo"));
    table.event(0, Event::Reached);
    table.event(0, Event::Unauthorized(HandshakeFailure::Rejected));
    let error = table.error_of_call();
    assert!(unauthorized(&error, "inproc://0", HandshakeFailure::Rejected), "{error}");
    assert!(!error.may_have_run());
    assert_eq!(table.left.len(), 1);
    // A later call tries it again.
    table.submit(2, request("echo"));
    table.pass(SECOND / 2);
    assert_eq!(table.connects, [0, 0]);
    table.event(0, Event::Connected);
    let id = table.asked(0);
    table.last(0, id, "let in");
    assert_eq!(table.result().expect("a reply"), "let in");
    table.assert_empty();
}

#[test]
fn another_broker_is_asked_when_one_refuses_the_key() {
    let mut table = Table::new(2);
    table.submit(1, request("echo"));
    table.event(0, Event::Unauthorized(HandshakeFailure::Mechanism));
    assert_eq!(table.connects, [0, 1]);
    table.event(1, Event::Unauthorized(HandshakeFailure::Rejected));
    let error = table.error_of_call();
    assert!(unauthorized(&error, "inproc://1", HandshakeFailure::Rejected), "{error}");
    table.assert_empty();
}

#[test]
fn a_handshake_that_did_not_succeed_in_time_is_told_instead_of_no_broker() {
    for (event, reason) in [
        (Event::Unauthorized(HandshakeFailure::Closed), HandshakeFailure::Closed),
        (Event::Reached, HandshakeFailure::Unfinished),
    ] {
        let mut table = Table::new(1);
        table.submit(1, request("echo"));
        for _ in 0..3 {
            table.event(0, event.clone());
            table.pass(2 * SECOND);
        }
        let error = table.error_of_call();
        assert!(unauthorized(&error, "inproc://0", reason), "{error}");
        table.assert_empty();
    }
    // Nobody is there any more.
    let mut table = Table::new(1);
    table.submit(1, request("echo"));
    table.event(0, Event::Unauthorized(HandshakeFailure::Closed));
    for _ in 0..100 {
        table.event(0, Event::Refused);
        table.pass(SECOND / 10);
    }
    let error = table.error_of_call();
    assert!(matches!(error, CallError::Disconnected { .. }), "{error}");
}

#[test]
fn what_wants_no_reply_does_not_wait_for_a_broker_that_refuses_the_key() {
    let mut table = Table::new(1);
    table.submit(1, Request { no_reply: true, ..request("echo") });
    table.event(0, Event::Unauthorized(HandshakeFailure::Closed));
    table.pass(5 * SECOND);
    assert!(table.done.is_empty());
    table.event(0, Event::Unauthorized(HandshakeFailure::Rejected));
    let error = table.error_of_call();
    assert!(unauthorized(&error, "inproc://0", HandshakeFailure::Rejected), "{error}");
    table.assert_empty();
}
