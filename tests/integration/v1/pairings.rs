//! Clients and workers of all three versions, exact frames, and what is lost between
//! them.

use majordomo_tests::raw::RawPeer;
use majordomo_tests::report::{Reports, counter};
use majordomo_tests::spawn::BrokerProcess;
use majordomo_tests::v1::{RawClient, RawWorker, new_id};
use majordomo_tests::wire::v1::{self, CLIENT, RequestId, WORKER};
use majordomo_tests::wire::{self, Frames, VERSIONS, Version, frames};
use majordomo_tests::worker;

const SERVICE: &str = "echo";

/// A client of any version.
enum Client {
    Old(RawPeer, Version),
    New(RawClient, RequestId),
}

impl Client {
    fn all(endpoint: &str) -> Vec<Self> {
        let mut all: Vec<Client> = VERSIONS
            .map(|version| Client::Old(RawPeer::dealer(endpoint), version))
            .into_iter()
            .collect();
        all.push(Client::New(RawClient::connect(endpoint), [0; 16]));
        all
    }

    fn ask(&mut self, body: &Frames) {
        match self {
            Client::Old(peer, version) => peer.send(&wire::request(*version, SERVICE, body)),
            Client::New(client, id) => {
                *id = new_id();
                let request = v1::request(*id, SERVICE).pair("trace", "7").timeout(100_000);
                client.send([&request.body(body)]);
            }
        }
    }

    /// Expects exactly the frames of a PARTIAL; a client of 0.1 gets none.
    fn expect_partial(&mut self, body: &Frames) {
        match self {
            Client::Old(_, Version::V0_1) => {}
            Client::Old(peer, _) => peer.expect(&wire::partial(SERVICE, body)),
            Client::New(client, id) => {
                client.peer().expect(&v1::message(CLIENT, [&v1::partial(*id, body)]));
            }
        }
    }

    /// Expects exactly the frames of the final reply; `parts` went before it.
    fn expect_reply(&mut self, parts: &Frames, body: &Frames) {
        match self {
            Client::Old(peer, Version::V0_1) => {
                let body = [&parts[..], body].concat();
                peer.expect(&wire::reply(Version::V0_1, SERVICE, body));
            }
            Client::Old(peer, version) => peer.expect(&wire::reply(*version, SERVICE, body)),
            Client::New(client, id) => {
                client.peer().expect(&v1::message(CLIENT, [&v1::reply(*id, body)]));
            }
        }
    }

    fn expect_nothing(&mut self) {
        match self {
            Client::Old(peer, _) => peer.expect_nothing(),
            Client::New(client, _) => client.expect_nothing(),
        }
    }
}

/// A worker of any version.
enum Worker {
    Old(worker::RawWorker, Version, Vec<u8>),
    New(RawWorker, [u8; 8]),
}

impl Worker {
    fn all(endpoint: &str) -> [Box<dyn Fn() -> Self + '_>; 3] {
        let old = move |version| {
            Worker::Old(worker::RawWorker::register(endpoint, version, SERVICE), version, vec![])
        };
        [
            Box::new(move || old(Version::V0_1)),
            Box::new(move || old(Version::V0_2)),
            Box::new(move || Worker::New(RawWorker::register(endpoint, SERVICE, 1), [0; 8])),
        ]
    }

    /// Expects exactly the frames of a request.
    fn expect_request(&mut self, body: &Frames, from_1_0: bool) {
        match self {
            Worker::Old(worker, _, address) => {
                let request = worker.request();
                assert_eq!(request.body, *body);
                *address = request.address;
            }
            Worker::New(worker, id) => {
                let message = worker.peer().receive();
                let [record] = &v1::read(WORKER, &message).expect("records")[..] else {
                    panic!("not one record:\n{}", wire::dump(&message))
                };
                *id = record.id();
                let left = record.number(8, 4) as u32;
                let mut expected = v1::worker_request(*id, left, 1).body(body);
                if from_1_0 {
                    assert!((1..=100_000).contains(&left), "{left} ms left of 100 s");
                    expected = expected.pair("trace", "7");
                } else {
                    assert_eq!(left, 0);
                }
                assert_eq!(message, v1::message(WORKER, [&expected]));
            }
        }
    }

    /// Sends a PARTIAL; a worker of 0.1 has none.
    fn partial(&self, body: &Frames) {
        match self {
            Worker::Old(_, Version::V0_1, _) => {}
            Worker::Old(worker, _, address) => worker.send(&wire::worker_partial(address, body)),
            Worker::New(worker, id) => worker.send([&v1::worker_partial(*id, body)]),
        }
    }

    fn has_partial(&self) -> bool {
        !matches!(self, Worker::Old(_, Version::V0_1, _))
    }

    fn reply(&self, body: &Frames) {
        match self {
            Worker::Old(worker, version, address) => {
                worker.send(&wire::worker_reply(*version, address, body));
            }
            Worker::New(worker, id) => worker.send([&v1::worker_reply(*id, body)]),
        }
    }

    fn expect_nothing(&mut self) {
        match self {
            Worker::Old(worker, ..) => worker.expect_nothing(),
            Worker::New(worker, _) => worker.expect_nothing(),
        }
    }

    fn leave(mut self) {
        match &mut self {
            Worker::Old(worker, version, _) => worker.send(&wire::disconnect(*version)),
            Worker::New(worker, _) => worker.send([&v1::disconnect(0, "")]),
        }
        self.expect_nothing();
    }
}

#[test]
fn all_nine_pairings_exchange_exact_frames() {
    let broker = BrokerProcess::start();
    for register in Worker::all(broker.endpoint()) {
        for mut client in Client::all(broker.endpoint()) {
            let mut worker = register();
            let large = "x".repeat(10_000);
            for body in [frames(["small"]), frames([&large]), frames([""]), frames(["1", "", "3"])]
            {
                client.ask(&body);
                worker.expect_request(&body, matches!(client, Client::New(..)));
                let part = frames(["part", ""]);
                let parts = if worker.has_partial() { part.clone() } else { vec![] };
                if worker.has_partial() {
                    worker.partial(&part);
                    client.expect_partial(&part);
                }
                worker.reply(&body);
                client.expect_reply(&parts, &body);
            }
            client.expect_nothing();
            worker.leave();
        }
    }
    let report = Reports::of(broker.endpoint()).fresh();
    assert_eq!(counter(&report, "requests_answered"), 36);
    assert_eq!(counter(&report, "messages_malformed"), 0);
    assert_eq!((report.clients, report.bytes, report.services.len()), (0, 0, 0));
}

#[test]
fn an_error_reaches_older_clients_only_if_they_are_to_be_told() {
    for told in [false, true] {
        let broker = BrokerProcess::with([format!("--error-replies={told}")]);
        let mut worker = RawWorker::register(broker.endpoint(), SERVICE, 1);
        for version in VERSIONS {
            let mut client = RawPeer::dealer(broker.endpoint());
            client.send(&wire::request(version, SERVICE, ["body"]));
            let task = worker.expect_task("body");
            worker.send([&v1::worker_error(task.id, 500, "no luck", ["details"])]);
            if told {
                client.expect(&wire::reply(version, SERVICE, ["500", "no luck"]));
            } else {
                worker.sync();
            }
            client.expect_nothing();
        }
    }
}

#[test]
fn a_cancelled_task_keeps_an_older_worker_busy_until_it_answers() {
    let broker = BrokerProcess::start();
    for version in VERSIONS {
        let mut worker = worker::RawWorker::register(broker.endpoint(), version, SERVICE);
        let mut client = RawClient::connect(broker.endpoint());
        let first = client.ask(SERVICE, "first");
        let request = worker.expect_request("first");
        client.send([&v1::cancel(first)]);
        client.expect_error(first, 499);
        let second = client.ask(SERVICE, "second");
        client.sync();
        worker.expect_nothing();
        worker.reply(&request, "nobody gets this");
        worker.echo("second");
        client.expect_reply(second, "second");
        client.expect_nothing();
        worker.send(&wire::disconnect(version));
        worker.expect_nothing();
    }
}

#[test]
fn the_brokers_own_services_answer_in_1_0() {
    let broker = BrokerProcess::start();
    let mut client = RawClient::connect(broker.endpoint());
    let ask = |client: &mut RawClient, service: &str, body: &str, reply: &str| {
        let id = client.ask(service, body);
        client.expect_reply(id, reply);
    };
    ask(&mut client, "mmi.service", SERVICE, "404");
    let _worker = RawWorker::register(broker.endpoint(), SERVICE, 1);
    ask(&mut client, "mmi.service", SERVICE, "200");
    ask(&mut client, "mmi.nothing", SERVICE, "501");
    let id = client.ask("mmi.broker", "");
    let answer = client.record();
    assert_eq!((answer.command, answer.id()), (0x05, id));
    let body = answer.body.concat();
    let report: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(report["workers"][0]["protocol"], "1.0");
    client.expect_nothing();
}
