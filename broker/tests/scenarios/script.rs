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
//! engine never gave out. Other lines:
//!
//! | line | meaning |
//! |---|---|
//! | `set requests_max 2` | before the first event: a field of `Settings`, times in ms |
//! | `notes` | from here on, notes are shown too |
//! | `+9000ms while w1 w2 beat` | these send a HEARTBEAT every interval; theirs are not shown |
//! | `+9000ms unread` | meanwhile nothing that came is read: `heard_until` stands still |
//! | `asleep 9000ms` | time passes, and nobody drives the engine |
//! | `w1 MALFORMED` (`FRAMES_MAX`, `MESSAGE_BYTES_MAX`) | an invalid message |
//! | `w1 unreachable as worker` (`as client`) | something could not be sent |
//! | `stop`, `stop now` | shut down |
//! | `count NAME` | shows a counter |
//! | `tables` | shows how much the engine holds |
//! | `500 times LINE` | the line so often |
//! | `// text` | a remark |
//!
//! All invariants of the engine are checked after every event.

use std::time::{Duration, Instant};

use majordomo_broker::engine::{
    Action, Caller, Engine, Event, Fault, Note, Payload, Question, Settings,
};
use majordomo_protocol::{ClientAddress, PeerId, ServiceName, Version, client, mmi, worker};

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
                shutdown: Duration::from_secs(5),
                requests_max: 1_000_000,
                requests_per_service_max: 100_000,
                requests_per_client_max: 100_000,
                bytes_max: 1 << 30,
                partial_bytes_max: 1 << 20,
                services_max: 10_000,
                services_idle_max: 1_000,
                workers_max: 10_000,
                clients_max: 10_000,
                instance: 0x5eed_5eed_5eed_5eed,
                follow_requests: false,
            },
            engine: None,
            started: now,
            now,
            ids: Vec::new(),
            notes: false,
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
        match name {
            "heartbeat_interval" => settings.heartbeat_interval = milliseconds(value)?,
            "heartbeat_liveness" => settings.heartbeat_liveness = value.parse().ok()?,
            "request_expiry" => settings.request_expiry = milliseconds(value)?,
            "attempts_max" => settings.attempts_max = value.parse().ok()?,
            "shutdown" => settings.shutdown = milliseconds(value)?,
            "requests_max" => settings.requests_max = value.parse().ok()?,
            "requests_per_service_max" => settings.requests_per_service_max = value.parse().ok()?,
            "requests_per_client_max" => settings.requests_per_client_max = value.parse().ok()?,
            "bytes_max" => settings.bytes_max = value.parse().ok()?,
            "partial_bytes_max" => settings.partial_bytes_max = value.parse().ok()?,
            "services_max" => settings.services_max = value.parse().ok()?,
            "services_idle_max" => settings.services_idle_max = value.parse().ok()?,
            "workers_max" => settings.workers_max = value.parse().ok()?,
            "clients_max" => settings.clients_max = value.parse().ok()?,
            "instance" => settings.instance = value.parse().ok()?,
            "follow_requests" => settings.follow_requests = value.parse().ok()?,
            _ => return None,
        }
        Some(())
    }

    /// What a line says happened.
    fn event(&self, line: &str) -> Option<Event<Text>> {
        let mut words = line.split(' ');
        let mut names = words.next()?.split('/');
        let peer = PeerId::new(names.next()?.as_bytes());
        let envelope = Text::new(names);
        let version = match words.next() {
            Some("0.1") => Version::V0_1,
            Some("0.2") => Version::V0_2,
            fault => {
                let event = match (line, fault) {
                    ("stop", _) => Event::Stop,
                    ("stop now", _) => Event::StopNow,
                    (_, Some("MALFORMED")) => Event::Invalid { peer, fault: Fault::Malformed },
                    (_, Some("FRAMES_MAX")) => Event::Invalid { peer, fault: Fault::FramesMax },
                    (_, Some("MESSAGE_BYTES_MAX")) => {
                        Event::Invalid { peer, fault: Fault::MessageBytesMax }
                    }
                    _ if line.ends_with(" unreachable as worker") => {
                        Event::WorkerUnreachable { worker: peer }
                    }
                    _ if line.ends_with(" unreachable as client") => {
                        Event::ClientUnreachable { client: peer }
                    }
                    _ => return None,
                };
                return Some(event);
            }
        };
        let command = words.next()?;
        if command == "REQUEST" {
            let envelope = (!envelope.0.is_empty()).then_some(envelope);
            let caller = Caller { peer, version, envelope };
            let service = ServiceName::new(words.next()?).ok()?;
            let body = Text::new(words);
            // The server tells the two apart in the same way.
            return Some(if service.is_reserved() {
                let question = Question::new(&service, body.0.concat().as_bytes());
                Event::Question { caller, service, question }
            } else {
                Event::FromClient { caller, command: client::ToBroker::Request { service, body } }
            });
        }
        let mut reply = || Some((self.address(words.next()?)?, Text::new(words.by_ref())));
        let command = match command {
            "READY" => {
                let service = ServiceName::new(words.next()?).ok()?;
                worker::ToBroker::Ready { service }
            }
            "PARTIAL" => {
                let (client, body) = reply()?;
                worker::ToBroker::Partial { client, body }
            }
            "FINAL" => {
                let (client, body) = reply()?;
                worker::ToBroker::Final { client, body }
            }
            "HEARTBEAT" => worker::ToBroker::Heartbeat,
            "DISCONNECT" => worker::ToBroker::Disconnect,
            _ => return None,
        };
        Some(Event::FromWorker { worker: peer, version, command })
    }

    fn address(&self, word: &str) -> Option<ClientAddress> {
        if let Some(number) = word.strip_prefix('#') {
            let number: usize = number.parse().ok()?;
            return self.ids.get(number.checked_sub(1)?).cloned();
        }
        word.strip_prefix('@').map(|text| ClientAddress::new(text.as_bytes()))
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

    fn show_actions(&mut self, beating: &[&str], at: &str) {
        while let Some(action) = self.engine().poll_action() {
            let text = match action {
                Action::ToClient { caller, command } => {
                    let (command, service, body) = match command {
                        client::FromBroker::Partial { service, body } => ("PARTIAL", service, body),
                        client::FromBroker::Final { service, body } => ("FINAL", service, body),
                    };
                    format!("to {} {command} {service} {}", text_of(&caller), body.0.join(" "))
                }
                Action::Answer { caller, service, mut text } => {
                    if service.as_str() == mmi::BROKER {
                        self.report = std::mem::replace(&mut text, "{…}".to_owned());
                    }
                    format!("to {} FINAL {service} {text}", text_of(&caller))
                }
                Action::ToWorker { worker, version, command } => {
                    let name = name_of(&worker);
                    let command = match command {
                        worker::FromBroker::Request { client, body } => {
                            format!("REQUEST {} {}", self.number(client), body.0.join(" "))
                        }
                        worker::FromBroker::Heartbeat if beating.contains(&&*name) => continue,
                        worker::FromBroker::Heartbeat => "HEARTBEAT".to_owned(),
                        worker::FromBroker::Disconnect => "DISCONNECT".to_owned(),
                    };
                    format!("to {name} {version} {command}")
                }
                Action::Note(_) if !self.notes => continue,
                Action::Note(note) => format!("note {}", self.text_of_note(note)),
                Action::Stopped => "stopped".to_owned(),
            };
            self.transcript.push(format!("-> {text}{at}"));
        }
    }

    fn text_of_note(&mut self, note: Note) -> String {
        match note {
            Note::WorkerRegistered { worker, version, service } => {
                format!("{} {version} registered for {service}", name_of(&worker))
            }
            Note::WorkerGone { worker, service, reason, request } => {
                let had = request.map_or(String::new(), |id| format!(" with {}", self.number(id)));
                format!("{} gone from {service}: {reason:?}{had}", name_of(&worker))
            }
            Note::WorkerRefused { worker, reason } => {
                format!("{} refused: {reason:?}", name_of(&worker))
            }
            Note::RequestDispatched { request, client, service, worker, attempt } => {
                let (client, worker) = (name_of(&client), name_of(&worker));
                let id = self.number(request);
                format!("{id} of {client} for {service} to {worker}, attempt {attempt}")
            }
            Note::RequestAnswered { request, worker } => {
                format!("{} answered by {}", self.number(request), name_of(&worker))
            }
            Note::RequestDropped { client, service, request, reason } => {
                let id = request.map_or(String::new(), |id| format!("{} ", self.number(id)));
                format!("dropped {id}of {} for {service}: {reason:?}", name_of(&client))
            }
            Note::ReplyUnsent { client } => format!("reply to {} unsent", name_of(&client)),
            Note::Late => "late".to_owned(),
        }
    }

    fn number(&mut self, id: ClientAddress) -> String {
        let position = self.ids.iter().position(|known| *known == id);
        let position = position.unwrap_or_else(|| {
            self.ids.push(id);
            self.ids.len() - 1
        });
        format!("#{}", position + 1)
    }
}

fn milliseconds(text: &str) -> Option<Duration> {
    text.strip_suffix("ms")?.parse().ok().map(Duration::from_millis)
}

fn name_of(peer: &PeerId) -> String {
    String::from_utf8_lossy(peer.as_bytes()).into_owned()
}

fn text_of(caller: &Caller<Text>) -> String {
    let envelope = caller.envelope.iter().flat_map(|envelope| &envelope.0);
    let names = [name_of(&caller.peer)].into_iter().chain(envelope.cloned());
    format!("{} {}", names.collect::<Vec<_>>().join("/"), caller.version)
}

/// Some instant: there is no other way to come by one, and no test depends on which.
#[expect(clippy::disallowed_methods, reason = "an Instant cannot be made from a number")]
fn any_instant() -> Instant {
    Instant::now()
}
