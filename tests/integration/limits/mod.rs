//! Every limit, reached over real sockets: what does not fit is dropped and counted,
//! what fits is served, and nobody else notices.

mod messages;
mod peers;
mod requests;

use majordomo_tests::raw::RawPeer;
use majordomo_tests::spawn::BrokerProcess;
use majordomo_tests::wire::{self, Version};
use majordomo_tests::worker::RawWorker;

const V: Version = Version::V0_2;

/// The client sends a request with each of these bodies.
fn send_all<S: AsRef<str>>(client: &RawPeer, service: &str, bodies: impl IntoIterator<Item = S>) {
    for body in bodies {
        client.send(&wire::request(V, service, [body.as_ref()]));
    }
}

/// The worker gets requests with these bodies, in this order, and echoes each.
fn echo_all<S: AsRef<str>>(worker: &mut RawWorker, bodies: impl IntoIterator<Item = S>) {
    for body in bodies {
        worker.echo(body.as_ref());
    }
}

/// The replies to these bodies come, in this order, and nothing else.
fn expect_all<S: AsRef<str>>(
    client: &mut RawPeer,
    service: &str,
    bodies: impl IntoIterator<Item = S>,
) {
    for body in bodies {
        client.expect(&wire::reply(V, service, [body.as_ref()]));
    }
    client.expect_nothing();
}

/// A call of a new client to a new worker of a new service is answered.
fn expect_others_are_served(broker: &BrokerProcess) {
    let mut worker = RawWorker::register(broker.endpoint(), V, "undisturbed");
    let mut client = RawPeer::dealer(broker.endpoint());
    client.send(&wire::request(V, "undisturbed", ["body"]));
    worker.echo("body");
    client.expect(&wire::reply(V, "undisturbed", ["body"]));
    worker.send(&wire::disconnect(V));
    worker.expect_nothing();
}
