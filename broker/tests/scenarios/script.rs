//! A conversation with the engine as text: what happens, and below each event what
//! the engine wants done.
//!
//! ```text
//! w1 0.2 READY echo                  a worker speaks, in MDP/0.2
//! c1/id 0.1 REQUEST echo hi there    a client speaks; `id` is a frame of its envelope
//! -> to w1 0.2 REQUEST #1 hi there   so the engine sends this; #1 is the first task id seen
//! +2500ms                            time passes, and the engine is driven as it asks for
//! -> to w1 0.2 HEARTBEAT @1000ms     when, in milliseconds since the beginning
//! -> to w1 0.2 HEARTBEAT @2000ms
//! ```
//!
//! Each word of a body is one frame. In place of a task id, `@text` is an address the
//! engine never gave out.
//!
//! MDP/1.0 adds a request id behind REQUEST, and terms, which begin with a colon. Terms
//! that are none of those below are metadata. Of terms and codes, the script shows those
//! that travel in the peer's version.
//!
//! ```text
//! w1 1.0 READY echo :capacity=2 :heartbeat=200ms :liveness=5 :name=adder
//! -> to w1 1.0 WELCOME 200ms 5
//! c1 1.0 REQUEST r1 echo :timeout=500ms :start-within=100ms :once :no-reply :fail-fast :trace=7 hi
//! -> to w1 1.0 REQUEST #1 :timeout=500ms :trace=7 hi      `:attempt=2` from the second on
//! c1 1.0 CANCEL r1
//! -> to c1 1.0 ERROR r1 499 cancelled                     `| word` follows: details
//! -> to w1 1.0 CANCEL #1
//! w1 1.0 ERROR #1 500 no luck | details here
//! w1 1.0 DRAIN
//! w1 1.0 DISCONNECT 503 going home
//! c1 1.0 HEARTBEAT as client
//! ```
//!
//! Other lines:
//!
//! | line | meaning |
//! |---|---|
//! | `set requests_max 2` | before the first event: a field of `Settings`, times in ms |
//! | `notes` | from here on, notes are shown too |
//! | `+9000ms while w1 w2 beat` | these send a HEARTBEAT every interval; theirs are not shown |
//! | `+9000ms unread` | meanwhile nothing that came is read: `heard_until` stands still |
//! | `asleep 9000ms` | time passes, and nobody drives the engine |
//! | `w1 MALFORMED` (`FRAMES_MAX`, `MESSAGE_BYTES_MAX`) | an invalid message |
//! | `w1 unreachable as worker #1 #2` | something could not be sent, among it these REQUESTs |
//! | `w1 connection ended` | all that it said came before |
//! | `c1 unreachable as client 3 #1` | 3 answers could not be sent, among them a PARTIAL of #1 |
//! | `stop`, `stop now` | shut down |
//! | `keep back` | from here on nothing is sent that peers are told |
//! | `send` | what was kept back is, and the rest at once again |
//! | `count NAME` | shows a counter |
//! | `tables` | shows how much the engine holds |
//! | `500 times LINE` | the line so often |
//! | `// text` | a remark |
//!
//! All invariants of the engine are checked after every event.

mod read;
mod show;

use std::time::{Duration, Instant};

use majordomo_broker::engine::{Engine, Event, Payload, Settings};
use majordomo_broker::per_service::PerService;
use majordomo_protocol::{ClientAddress, PeerId};

/// Runs a script and compares what the engine wanted done with the script's own `->`
/// lines.
#[track_caller]
pub(crate) fn check(script: &str) {
    let lines = script.lines().map(str::trim).filter(|line| !line.is_empty());
    let expected: Vec<_> = lines.collect();
    let actual = World::new().run(script);
    if actual != expected {
        let differs = actual.iter().zip(&expected).position(|(a, e)| a != e);
        let at = differs.unwrap_or(actual.len().min(expected.len()));
        panic!(
            "what happened, from the line marked on not as expected:\n\n{}\n>>> expected: {}\n{}\n",
            actual[..at].join("\n"),
            expected.get(at).unwrap_or(&"the end"),
            actual[at..].join("\n"),
        );
    }
}

/// Frames of text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text(Vec<String>);

impl Text {
    fn new<'a>(words: impl Iterator<Item = &'a str>) -> Self {
        Text(words.map(str::to_owned).collect())
    }
}

impl Payload for Text {
    fn size(&self) -> usize {
        self.0.iter().map(String::len).sum()
    }

    fn append(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    fn of_texts(texts: &[&str]) -> Self {
        Text::new(texts.iter().copied())
    }
}

/// An engine, a clock that only scripts move, and the names scripts use.
pub(crate) struct World {
    settings: Settings,
    /// Made by the first event, when all settings are set.
    engine: Option<Engine<Text>>,
    started: Instant,
    now: Instant,
    /// Task ids in the order in which they were seen.
    pub(crate) ids: Vec<ClientAddress>,
    notes: bool,
    keeps_back: bool,
    /// The JSON that `mmi.broker` answered last; the transcript shows `{…}`.
    pub(crate) report: String,
    transcript: Vec<String>,
}

impl World {
    pub(crate) fn new() -> Self {
        let now = any_instant();
        World {
            settings: Settings {
                heartbeat_interval: Duration::from_secs(1),
                heartbeat_liveness: 3,
                request_expiry: Duration::from_secs(60),
                attempts_max: 3,
                prefetch: PerService::new(1),
                shutdown: Duration::from_secs(5),
                requests_max: 1_000_000,
                requests_per_service_max: 100_000,
                requests_per_client_max: 100_000,
                bytes_max: 1 << 30,
                partial_bytes_max: 1 << 20,
                services_max: 10_000,
                services_idle_max: 1_000,
                workers_max: 10_000,
                worker_metadata_bytes_max: 8 << 10,
                clients_max: 10_000,
                heartbeat_interval_min: Duration::from_millis(100),
                heartbeat_interval_max: Duration::from_secs(10),
                answers_max: 1_000,
                answers_bytes_max: 1 << 20,
                answers_kept: Duration::from_secs(60),
                dead_max: 100,
                error_replies: false,
                instance: 0x5eed_5eed_5eed_5eed,
                follow_requests: false,
            },
            engine: None,
            started: now,
            now,
            ids: Vec::new(),
            notes: false,
            keeps_back: false,
            report: String::new(),
            transcript: Vec::new(),
        }
    }

    /// The script with the `->` lines that belong there. May be called again, to go on.
    pub(crate) fn run(&mut self, script: &str) -> Vec<String> {
        let lines = script.lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with("->")) {
            self.transcript.push(line.to_owned());
            if !line.starts_with("//") && self.step(line).is_none() {
                panic!("not a line of a script: {line}");
            }
        }
        std::mem::take(&mut self.transcript)
    }

    /// Does what one line says; `None` if it says nothing.
    fn step(&mut self, line: &str) -> Option<()> {
        if let Some((times, line)) = line.split_once(" times ") {
            // The sweep of all invariants costs as much as the engine holds.
            let times: usize = times.parse().ok()?;
            for n in 1..=times {
                let event = self.event(line)?;
                self.handle(event, times < 1_000 || n == times);
            }
            return Some(());
        }
        let mut words = line.split(' ');
        let first = words.next()?;
        match first {
            "set" => self.set(words.next()?, words.next()?)?,
            "notes" => self.notes = true,
            "keep" if line == "keep back" => self.keeps_back = true,
            "send" => {
                self.keeps_back = false;
                self.engine().sent();
            }
            "asleep" => self.now += milliseconds(words.next()?)?,
            "count" => {
                let name = words.next()?;
                let counters = self.engine().counters().to_map();
                let value = counters.get(name)?;
                self.transcript.push(format!("-> {name} {value}"));
            }
            "tables" => self.show_tables(),
            _ if first.starts_with('+') => {
                let span = milliseconds(first.strip_prefix('+')?)?;
                match words.next() {
                    None => self.pass(span, &[], None),
                    Some("unread") => self.pass(span, &[], Some(self.now)),
                    Some("while") => {
                        let mut beating: Vec<_> = words.collect();
                        let beat = ["beat", "beats"].contains(&beating.pop()?);
                        beat.then(|| self.pass(span, &beating, None))?;
                    }
                    Some(_) => return None,
                }
            }
            _ => {
                let event = self.event(line)?;
                self.handle(event, true);
            }
        }
        Some(())
    }

    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        assert!(self.engine.is_none(), "set {name}: too late, something has happened");
        let settings = &mut self.settings;
        match name.split_once(':') {
            None if name == "prefetch" => {
                settings.prefetch.set_default(value.parse().ok()?);
                return Some(());
            }
            Some(("prefetch", services)) => {
                settings.prefetch.set(services.parse().ok()?, value.parse().ok()?);
                return Some(());
            }
            _ => {}
        }
        macro_rules! assign {
            (milliseconds: $($time:ident)+; numbers: $($number:ident)+) => {
                match name {
                    $(stringify!($time) => settings.$time = milliseconds(value)?,)+
                    $(stringify!($number) => settings.$number = value.parse().ok()?,)+
                    _ => return None,
                }
            };
        }
        assign! {
            milliseconds: heartbeat_interval heartbeat_interval_min heartbeat_interval_max
                request_expiry answers_kept shutdown;
            numbers: heartbeat_liveness attempts_max requests_max requests_per_service_max
                requests_per_client_max bytes_max partial_bytes_max services_max
                services_idle_max workers_max worker_metadata_bytes_max clients_max answers_max
                answers_bytes_max dead_max error_replies instance follow_requests
        }
        Some(())
    }

    fn engine(&mut self) -> &mut Engine<Text> {
        self.engine.get_or_insert_with(|| Engine::new(self.settings.clone(), self.started))
    }

    fn handle(&mut self, event: Event<Text>, check: bool) {
        let now = self.now;
        self.engine().handle(event, now);
        if check {
            self.engine().check_invariants();
        }
        self.show_actions(&[], "");
    }

    /// Lets time pass, driving the engine whenever it asks for it.
    fn pass(&mut self, span: Duration, beating: &[&str], heard_until: Option<Instant>) {
        let (end, interval) = (self.now + span, self.settings.heartbeat_interval);
        let mut beat_at = self.now + interval;
        while self.now < end {
            // Who could not read yet asks again at once; a server's batch takes time.
            let soonest = self.now + Duration::from_millis(1);
            let due = self.engine().poll_timeout().map_or(end, |due| due.max(soonest));
            self.now = end.min(due);
            if !beating.is_empty() {
                self.now = self.now.min(beat_at);
            }
            let now = self.now;
            if now == beat_at {
                beat_at += interval;
                for peer in beating {
                    let version = self.version_of(peer);
                    let event = self.event(&format!("{peer} {version} HEARTBEAT"));
                    self.engine().handle(event.expect("a heartbeat"), now);
                }
            }
            self.engine().handle_timeout(now, heard_until.unwrap_or(now));
            self.engine().check_invariants();
            let at = format!(" @{}ms", now.duration_since(self.started).as_millis());
            self.show_actions(beating, &at);
        }
    }

    /// The version in which a worker registered.
    fn version_of(&mut self, peer: &str) -> String {
        let id = PeerId::new(peer.as_bytes()).to_string();
        let mut workers = self.engine().report().workers.into_iter();
        workers.find(|worker| worker.id == id).expect("only registered workers beat").protocol
    }

    fn show_tables(&mut self) {
        let report = self.engine().report();
        let waiting: u64 = report.services.iter().map(|service| service.waiting).sum();
        let running: u64 = report.services.iter().map(|service| service.running).sum();
        let line = format!(
            "-> services {}, workers {}, clients {}, waiting {waiting}, running {running}, bytes {}",
            report.services.len(),
            report.workers.len(),
            report.clients,
            report.bytes,
        );
        self.transcript.push(line);
    }
}

fn milliseconds(text: &str) -> Option<Duration> {
    text.strip_suffix("ms")?.parse().ok().map(Duration::from_millis)
}

/// Some instant: there is no other way to come by one, and no test depends on which.
#[expect(clippy::disallowed_methods, reason = "an Instant cannot be made from a number")]
fn any_instant() -> Instant {
    Instant::now()
}
