//! Rights and limits of identities in the engine alone: no socket, no key, and a clock that
//! moves when told to.

use std::sync::Arc;
use std::time::{Duration, Instant};

use majordomo_broker::engine::{
    Action, Caller, Engine, Event, Fault, Gone, Grant, Identity, Limits, Note, Question, Rights,
    ServiceSet, Settings,
};
use majordomo_broker::per_service::PerService;
use majordomo_protocol::{
    Body, ClientAddress, Offer, PeerId, RequestId, ServiceName, Terms, Version, client, worker,
};

const ALICE: u32 = 1;
const BOB: u32 = 2;
const EVE: u32 = 3;
const OPEN: u32 = 0;
const RECOVERY: Duration = Duration::from_secs(1);

/// An engine, and what it did.
struct Scene {
    engine: Engine<Body>,
    now: Instant,
}

/// What a peer was told, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Task(String, ClientAddress),
    Final(String, String),
    Error(String, u16),
    Disconnect(String, u16),
    Welcome(String),
    Cancel(String),
    Heartbeat(String),
    Closed(String),
}

impl Scene {
    /// Alice may call `a`, bob may serve `a`, eve may call and serve `e*` alone.
    fn new(limits: Limits) -> Self {
        let now = start();
        let mut scene = Scene { engine: Engine::new(settings(), now), now };
        scene.grant(&[(ALICE, "a", ""), (BOB, "", "a"), (EVE, "e*", "e*")], limits);
        scene
    }

    fn grant(&mut self, grants: &[(u32, &str, &str)], limits: Limits) -> Vec<Told> {
        let set = |pattern: &str| {
            ServiceSet::new(Some(pattern).filter(|pattern| !pattern.is_empty())).expect("a set")
        };
        let grants = grants.iter().map(|(number, client, worker)| {
            let name = Arc::from(format!("no. {number}"));
            let grant = Grant { name, client: set(client), worker: set(worker), operator: false };
            (Identity::new(*number), Arc::new(grant))
        });
        let rights = Arc::new(Rights::new(grants, limits));
        self.engine.handle(Event::Rights(rights), self.now);
        self.told()
    }

    fn told(&mut self) -> Vec<Told> {
        let mut told = Vec::new();
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::ToClient { caller, command, .. } => {
                    let peer = caller.peer;
                    let name = String::from_utf8_lossy(peer.as_bytes()).into_owned();
                    told.push(match command {
                        client::FromBroker::Final { body, .. } => {
                            Told::Final(name, String::from_utf8_lossy(&body.frames()[0]).into())
                        }
                        client::FromBroker::Error { reason, .. } => Told::Error(name, reason.code),
                        client::FromBroker::Heartbeat { .. } => Told::Heartbeat(name),
                        other => panic!("{other:?}"),
                    });
                }
                Action::ToWorker { worker, command, .. } => {
                    let name = String::from_utf8_lossy(worker.as_bytes()).into_owned();
                    told.push(match command {
                        worker::FromBroker::Request { client, .. } => Told::Task(name, client),
                        worker::FromBroker::Disconnect { reason } => {
                            Told::Disconnect(name, reason.code)
                        }
                        worker::FromBroker::Welcome(_) => Told::Welcome(name),
                        worker::FromBroker::Cancel { .. } => Told::Cancel(name),
                        other => panic!("{other:?}"),
                    });
                }
                Action::Close { peer } => {
                    told.push(Told::Closed(String::from_utf8_lossy(peer.as_bytes()).into_owned()));
                }
                Action::Note(_) => {}
                Action::Stopped => panic!("nobody stopped it"),
            }
        }
        self.engine.sent();
        self.engine.check_invariants();
        told
    }

    fn handle(&mut self, who: u32, event: Event<Body>) -> Vec<Told> {
        self.engine.handle_from(Identity::new(who), event, self.now);
        self.told()
    }

    fn caller(peer: &str) -> Caller<Body> {
        let peer = PeerId::new(peer.as_bytes());
        Caller { peer, version: Version::V1_0, envelope: None, id: None }
    }

    fn ask(&mut self, who: u32, peer: &str, service: &str, id: u8) -> Vec<Told> {
        let command = client::ToBroker::Request {
            id: Some(RequestId::new([id; 16])),
            service: name(service),
            terms: Terms::default(),
            body: Body::from("x"),
        };
        self.handle(who, Event::FromClient { caller: Scene::caller(peer), command })
    }

    fn say(&mut self, who: u32, peer: &str, command: worker::ToBroker<Body>) -> Vec<Told> {
        let worker = PeerId::new(peer.as_bytes());
        self.handle(who, Event::FromWorker { worker, version: Version::V1_0, command })
    }

    fn ready(&mut self, who: u32, peer: &str, service: &str) -> Vec<Told> {
        let ready = worker::ToBroker::Ready { service: name(service), offer: Offer::default() };
        self.say(who, peer, ready)
    }

    fn answer(&mut self, who: u32, peer: &str, task: &ClientAddress, body: &str) -> Vec<Told> {
        let (client, body) = (task.clone(), Body::from(body));
        self.say(who, peer, worker::ToBroker::Final { client, body })
    }

    fn invalid(&mut self, who: u32, peer: &str) -> Vec<Told> {
        let peer = PeerId::new(peer.as_bytes());
        self.handle(who, Event::Invalid { peer, fault: Fault::Malformed })
    }

    fn is_deaf_to(&mut self, who: u32) -> bool {
        self.engine.is_deaf_to(Identity::new(who), self.now)
    }
}

fn name(service: &str) -> ServiceName {
    ServiceName::new(service).expect("a name")
}

fn error(peer: &str, code: u16) -> Vec<Told> {
    vec![Told::Error(peer.to_owned(), code)]
}

fn disconnect(peer: &str, code: u16) -> Vec<Told> {
    vec![Told::Disconnect(peer.to_owned(), code)]
}

fn task(told: &[Told]) -> ClientAddress {
    match told {
        [.., Told::Task(_, id)] => id.clone(),
        other => panic!("no task: {other:?}"),
    }
}

#[test]
fn every_command_goes_by_the_identity_of_the_connection() {
    let mut scene = Scene::new(Limits::default());
    assert_eq!(scene.ask(EVE, "eve", "a", 1), error("eve", 403));
    assert_eq!(scene.ready(EVE, "evil", "a"), disconnect("evil", 403));
    assert_eq!(scene.ready(ALICE, "alice", "a"), disconnect("alice", 403));
    assert_eq!(scene.ready(BOB, "bob", "a"), [Told::Welcome("bob".to_owned())]);
    let id = task(&scene.ask(ALICE, "alice", "a", 1));
    // Eve says that she is bob's worker, on a connection of her own.
    assert_eq!(scene.answer(EVE, "eve", &id, "forged"), disconnect("eve", 400));
    let done = vec![Told::Final("alice".to_owned(), "done".to_owned())];
    assert_eq!(scene.answer(BOB, "bob", &id, "done"), done);
    // Whoever is on an open endpoint may do everything.
    let id = task(&scene.ask(OPEN, "open", "a", 2));
    scene.answer(BOB, "bob", &id, "done");
    assert_eq!(scene.engine.counters().requests_dropped_forbidden, 1);
    assert_eq!(scene.engine.counters().workers_refused_forbidden, 2);
}

#[test]
fn the_name_of_a_workers_connection_is_not_its_right() {
    let mut scene = Scene::new(Limits::default());
    scene.ready(BOB, "bob", "a");
    let id = task(&scene.ask(ALICE, "alice", "a", 1));
    let second = scene.ready(BOB, "second", "a");
    assert_eq!(second, [Told::Welcome("second".to_owned())]);
    // Somebody else has that connection's name now: bob is gone, his task goes on to
    // another worker, and nothing is believed.
    let told = scene.answer(EVE, "bob", &id, "forged");
    let again = Told::Task("second".to_owned(), id.clone());
    assert_eq!(told, [again, Told::Disconnect("bob".to_owned(), 400)]);
    assert_eq!(scene.engine.counters().peers_displaced, 1);
    let done = vec![Told::Final("alice".to_owned(), "done".to_owned())];
    assert_eq!(scene.answer(BOB, "second", &id, "done"), done);
}

#[test]
fn the_name_of_a_clients_connection_gets_no_answer_of_another() {
    let mut scene = Scene::new(Limits::default());
    scene.ready(BOB, "bob", "a");
    let id = task(&scene.ask(ALICE, "name", "a", 1));
    // Alice has gone, and eve has her connection's name.
    assert_eq!(scene.ask(EVE, "name", "e", 2), error("name", 403));
    assert_eq!(scene.answer(BOB, "bob", &id, "for alice"), []);
    assert_eq!(scene.engine.counters().requests_dropped_other_identity, 1);
    // Now it is free.
    scene.ready(EVE, "e", "e");
    assert_eq!(scene.ask(EVE, "name", "e", 3).len(), 1);
}

#[test]
fn a_request_id_means_nothing_to_others() {
    let mut scene = Scene::new(Limits::default());
    scene.grant(&[(ALICE, "a", ""), (BOB, "", "a"), (EVE, "a", "")], Limits::default());
    scene.ready(BOB, "b1", "a");
    scene.ready(BOB, "b2", "a");
    let alices = task(&scene.ask(ALICE, "alice", "a", 7));
    let cancel = client::ToBroker::Cancel { id: RequestId::new([7; 16]) };
    let caller = Scene::caller("eve");
    assert_eq!(scene.handle(EVE, Event::FromClient { caller, command: cancel }), []);
    let eves = task(&scene.ask(EVE, "eve", "a", 7));
    assert_ne!(alices, eves);
    let done = |peer: &str, body: &str| vec![Told::Final(peer.to_owned(), body.to_owned())];
    assert_eq!(scene.answer(BOB, "b1", &alices, "alice's"), done("alice", "alice's"));
    assert_eq!(scene.answer(BOB, "b2", &eves, "eve's"), done("eve", "eve's"));
    // Remembered for each.
    assert_eq!(scene.ask(EVE, "eve", "a", 7), done("eve", "eve's"));
    assert_eq!(scene.ask(ALICE, "alice", "a", 7), done("alice", "alice's"));
    assert_eq!(scene.engine.counters().answers_repeated, 2);
}

#[test]
fn rights_that_change_end_what_they_allowed() {
    let mut scene = Scene::new(Limits::default());
    scene.ready(BOB, "bob", "a");
    scene.ready(OPEN, "open", "e");
    let running = task(&scene.ask(ALICE, "alice", "a", 1));
    scene.ask(ALICE, "alice", "a", 2);
    let kept = task(&scene.ask(EVE, "eve", "e", 1));
    // Alice's key is gone: what waits and what runs ends.
    let mut told = scene.grant(&[(BOB, "", "a"), (EVE, "e*", "")], Limits::default());
    told.sort_by_key(|told| format!("{told:?}"));
    let ended = |code| Told::Error("alice".to_owned(), code);
    assert_eq!(told, [Told::Cancel("bob".to_owned()), ended(403), ended(499)]);
    assert_eq!(scene.ask(ALICE, "alice", "a", 3), error("alice", 403));
    let heartbeat =
        Event::FromClient { caller: Scene::caller("alice"), command: client::ToBroker::Heartbeat };
    assert_eq!(scene.handle(ALICE, heartbeat), []);
    assert_eq!(scene.answer(BOB, "bob", &running, "too late"), []);
    // Bob's key is gone, too.
    let told = scene.grant(&[(EVE, "e*", "")], Limits::default());
    assert_eq!(told, disconnect("bob", 403));
    assert_eq!(scene.ready(BOB, "bob", "a"), disconnect("bob", 403));
    // Nothing of that was eve's.
    let done = vec![Told::Final("eve".to_owned(), "done".to_owned())];
    assert_eq!(scene.answer(OPEN, "open", &kept, "done"), done);
    let counters = scene.engine.counters();
    assert_eq!((counters.workers_forbidden, counters.messages_forbidden), (1, 1));
    assert_eq!(counters.requests_dropped_forbidden, 3);
}

#[test]
fn each_identity_has_its_own_limits() {
    let limits = Limits { requests_max: 2, peers_max: 3, ..Limits::default() };
    let mut scene = Scene::new(limits);
    assert_eq!(scene.ask(EVE, "e1", "e", 1), []);
    assert_eq!(scene.ask(EVE, "e2", "e", 2), []);
    assert_eq!(scene.ask(EVE, "e2", "e", 3), error("e2", 429));
    assert_eq!(scene.ready(EVE, "w1", "e1"), [Told::Welcome("w1".to_owned())]);
    assert_eq!(scene.ready(EVE, "w2", "e1"), disconnect("w2", 429));
    assert_eq!(scene.ask(ALICE, "alice", "a", 1), []);
    for n in 0..20 {
        assert_eq!(scene.ask(OPEN, &format!("open {n}"), "a", n), []);
    }
    let counters = scene.engine.counters();
    assert_eq!(counters.requests_dropped_requests_per_identity_max, 1);
    assert_eq!(counters.workers_refused_peers_per_identity_max, 1);
    // What ends makes room.
    scene.say(
        EVE,
        "w1",
        worker::ToBroker::Disconnect {
            reason: majordomo_protocol::Reason { code: 0, text: String::new() },
        },
    );
    assert_eq!(scene.ready(EVE, "w2", "e1"), [Told::Welcome("w2".to_owned())]);
}

#[test]
fn whoever_sends_too_much_that_is_invalid_is_cut_off_and_heard_again() {
    let limits = Limits { invalid_max: 4, invalid_recovery: RECOVERY, ..Limits::default() };
    let mut scene = Scene::new(limits);
    scene.ready(EVE, "w", "e");
    for _ in 0..4 {
        assert_eq!(scene.invalid(EVE, "e1"), []);
        assert!(!scene.is_deaf_to(EVE));
    }
    assert_eq!(scene.invalid(EVE, "e2"), disconnect("w", 400));
    assert!(scene.is_deaf_to(EVE) && !scene.is_deaf_to(ALICE) && !scene.is_deaf_to(OPEN));
    scene.now += 2 * RECOVERY;
    assert!(scene.is_deaf_to(EVE));
    scene.now += RECOVERY;
    assert!(!scene.is_deaf_to(EVE));
    let counters = scene.engine.counters();
    assert_eq!((counters.identities_cut_off, counters.messages_cut_off), (1, 2));
    // Now and then one is no harm.
    for _ in 0..100 {
        scene.now += RECOVERY;
        scene.invalid(EVE, "e1");
        assert!(!scene.is_deaf_to(EVE));
    }
    for _ in 0..1_000 {
        scene.invalid(OPEN, "open");
    }
    assert!(!scene.is_deaf_to(OPEN));
}

#[test]
fn what_is_forbidden_is_noted_with_the_name_of_the_file() {
    let mut scene = Scene::new(Limits::default());
    let question = Event::Question {
        caller: Scene::caller("eve"),
        service: name("mmi.broker"),
        question: Question::Broker,
        no_reply: false,
    };
    scene.engine.handle_from(Identity::new(EVE), question, scene.now);
    let note = std::iter::from_fn(|| scene.engine.poll_action()).find_map(|action| match action {
        Action::Note(Note::Forbidden { who, .. }) => Some(who),
        _ => None,
    });
    assert_eq!(note.as_deref(), Some("no. 3"));
    assert_eq!(Gone::Forbidden.as_str(), "it may no longer serve this service");
}

/// The engine's invariants, the counts of each identity among them, are looked at after
/// every event.
#[test]
fn random_lives_with_rights_that_change() {
    let mut random = fastrand::Rng::with_seed(20_261_120);
    let names = ["p", "q", "r", "s", "t"];
    let services = ["a", "e", "e1"];
    for _ in 0..40 {
        let limits = Limits {
            requests_max: 6,
            peers_max: 3,
            invalid_max: 3,
            invalid_recovery: RECOVERY,
            ..Limits::default()
        };
        let mut scene = Scene::new(limits);
        let mut tasks: Vec<(String, ClientAddress)> = Vec::new();
        for _ in 0..300 {
            let who = random.u32(..4);
            let peer = names[random.usize(..names.len())];
            let service = services[random.usize(..services.len())];
            scene.now += Duration::from_millis(random.u64(..300));
            let told = match random.u32(..20) {
                0 => {
                    let all = [(ALICE, "a", "*"), (BOB, "*", "a"), (EVE, "e*", "e*")];
                    let some: Vec<_> = all.into_iter().filter(|_| random.u32(..3) > 0).collect();
                    scene.grant(&some, limits)
                }
                1..=4 => scene.ready(who, &format!("w{peer}"), service),
                5 => scene.invalid(who, peer),
                6 => scene.say(who, &format!("w{peer}"), worker::ToBroker::Heartbeat),
                7 => {
                    let id = RequestId::new([random.u8(..9); 16]);
                    let (caller, command) = (Scene::caller(peer), client::ToBroker::Cancel { id });
                    scene.handle(who, Event::FromClient { caller, command })
                }
                8..=12 => match tasks.get(random.usize(..tasks.len().max(1))) {
                    Some((worker, task)) => {
                        let (worker, task) = (worker.clone(), task.clone());
                        scene.answer(who, &worker, &task, "done")
                    }
                    None => Vec::new(),
                },
                _ => scene.ask(who, peer, service, random.u8(..9)),
            };
            for told in told {
                match told {
                    Told::Task(worker, id) => tasks.push((worker, id)),
                    Told::Disconnect(gone, _) => tasks.retain(|(worker, _)| *worker != gone),
                    _ => {}
                }
            }
        }
        // Nobody is known any more, and nothing that was theirs is counted wrongly.
        scene.grant(&[], limits);
        scene.engine.handle(Event::StopNow, scene.now);
        while scene.engine.poll_action().is_some() {}
        scene.engine.check_invariants();
    }
}

#[test]
fn large_answers_are_forgotten_one_by_one() {
    for answers_max in [100, 100_000] {
        for count in 2..=40 {
            let now = start();
            let settings = Settings { answers_max, answers_bytes_max: 10_000, ..settings() };
            let mut scene = Scene { engine: Engine::new(settings, now), now };
            scene.ready(OPEN, "w", "a");
            for id in 1..=count {
                let told = scene.ask(OPEN, "c", "a", id);
                scene.answer(OPEN, "w", &task(&told), &"x".repeat(1_000));
            }
            // There is room for nine or so.
            let told = scene.ask(OPEN, "c", "a", count - 1);
            assert!(matches!(told[..], [Told::Final(..)]), "{answers_max}, {count}: {told:?}");
        }
    }
}

fn settings() -> Settings {
    Settings {
        heartbeat_interval: Duration::from_secs(60),
        heartbeat_liveness: 1_000,
        request_expiry: Duration::from_secs(3_600),
        prefetch: PerService::new(1),
        attempts_max: 9,
        shutdown: Duration::from_secs(5),
        requests_max: 100,
        requests_per_service_max: 100,
        requests_per_client_max: 100,
        bytes_max: 1 << 20,
        partial_bytes_max: 1 << 20,
        services_max: 100,
        services_idle_max: 100,
        workers_max: 100,
        worker_metadata_bytes_max: 1 << 10,
        clients_max: 100,
        heartbeat_interval_min: Duration::from_secs(1),
        heartbeat_interval_max: Duration::from_secs(60),
        answers_max: 100,
        answers_bytes_max: 1 << 20,
        answers_kept: Duration::from_secs(3_600),
        dead_max: 10,
        error_replies: false,
        instance: 7,
        follow_requests: false,
    }
}

/// Some instant: there is no other way to come by one, and nothing depends on which.
#[expect(clippy::disallowed_methods, reason = "an Instant cannot be made from a number")]
fn start() -> Instant {
    Instant::now()
}

fn connected(scene: &mut Scene, who: u32, peer: &str) -> Vec<Told> {
    scene.handle(who, Event::Connected { peer: PeerId::new(peer.as_bytes()) })
}

fn disconnected(scene: &mut Scene, who: u32, peer: &str) -> Vec<Told> {
    scene.handle(who, Event::Disconnected { peer: PeerId::new(peer.as_bytes()) })
}

/// What is done when this much time has passed.
fn passed(scene: &mut Scene, time: Duration) -> Vec<Told> {
    scene.now += time;
    scene.engine.handle_timeout(scene.now, scene.now);
    scene.told()
}

#[test]
fn an_identity_has_so_many_connections_and_the_newest_is_closed() {
    let limits = Limits { connections_max: 2, ..Limits::default() };
    let mut scene = Scene::new(limits);
    let closed = |peer: &str| vec![Told::Closed(peer.to_owned())];
    for peer in ["1", "2"] {
        assert_eq!(connected(&mut scene, EVE, peer), []);
    }
    assert_eq!(connected(&mut scene, EVE, "3"), closed("3"));
    // Others have their own, and an open endpoint has no limit.
    for peer in ["a", "b"] {
        assert_eq!(connected(&mut scene, ALICE, peer), []);
    }
    for peer in ["x", "y", "z"] {
        assert_eq!(connected(&mut scene, OPEN, peer), []);
        assert_eq!(disconnected(&mut scene, OPEN, peer), []);
    }
    // One that was closed leaves no room; one that has ended does, once.
    disconnected(&mut scene, EVE, "3");
    assert_eq!(connected(&mut scene, EVE, "4"), closed("4"));
    disconnected(&mut scene, EVE, "1");
    disconnected(&mut scene, EVE, "1");
    assert_eq!(connected(&mut scene, EVE, "5"), []);
    assert_eq!(connected(&mut scene, EVE, "6"), closed("6"));
    let counters = scene.engine.counters();
    assert_eq!(counters.connections_closed_connections_per_identity_max, 3);
}

#[test]
fn connections_of_a_key_that_is_removed_are_closed_once_they_were_told() {
    let limits = Limits::default();
    let mut scene = Scene::new(limits);
    connected(&mut scene, EVE, "stays");
    connected(&mut scene, EVE, "left");
    connected(&mut scene, ALICE, "a");
    let without_eve = [(ALICE, "a", "")];
    assert_eq!(scene.grant(&without_eve, limits), []);
    // It has a second to read why.
    assert_eq!(passed(&mut scene, Duration::from_millis(999)), []);
    disconnected(&mut scene, EVE, "left");
    let due = scene.engine.poll_timeout().expect("something is due");
    assert!(due <= scene.now + Duration::from_millis(1));
    assert_eq!(passed(&mut scene, Duration::from_millis(1)), [Told::Closed("stays".to_owned())]);
    assert_eq!(passed(&mut scene, Duration::from_secs(9)), []);
    // One that was let in when the key was removed is closed at once.
    assert_eq!(connected(&mut scene, EVE, "late"), [Told::Closed("late".to_owned())]);
    assert_eq!(scene.engine.counters().connections_closed_forbidden, 2);
    // A key that is back within the second keeps its connections.
    scene.grant(&[(ALICE, "a", ""), (EVE, "e*", "e*")], limits);
    connected(&mut scene, EVE, "again");
    scene.grant(&without_eve, limits);
    scene.grant(&[(ALICE, "a", ""), (EVE, "e*", "e*")], limits);
    assert_eq!(passed(&mut scene, Duration::from_secs(9)), []);
}

#[test]
fn a_worker_goes_with_its_own_connection_alone() {
    let mut scene = Scene::new(Limits::default());
    scene.ready(BOB, "w", "a");
    scene.ask(ALICE, "c", "a", 1);
    assert_eq!(disconnected(&mut scene, EVE, "w"), []);
    assert!(scene.engine.is_registered(&PeerId::new(b"w")));
    assert_eq!(disconnected(&mut scene, BOB, "w"), []);
    assert!(!scene.engine.is_registered(&PeerId::new(b"w")));
    assert!(matches!(scene.ready(BOB, "v", "a")[..], [Told::Welcome(_), Told::Task(..)]));
}
