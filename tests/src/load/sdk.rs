//! Our SDKs as peers: submitted calls, blocking clients, workers with an inline handler.

use std::collections::VecDeque;

use majordomo_client::{BlockingClient, Call, Client};
use majordomo_worker::{Request, Service, Worker};

use super::peer::{ClientLink, PATIENCE, TAG_BYTES, Tag, WorkerLink};
use crate::limit::let_pass;

/// Calls of a [`Client`], which many may share.
pub struct Submitting {
    client: Client,
    service: String,
    calls: VecDeque<Call>,
}

impl Submitting {
    /// Of this client.
    pub fn with(client: Client, service: &str) -> Self {
        Submitting { client, service: service.to_owned(), calls: VecDeque::new() }
    }
}

fn tag_of(body: &majordomo_client::Body) -> Tag {
    assert_eq!(body.size(), TAG_BYTES);
    Tag::of(body.frames().first().expect("a body has a frame"))
}

impl ClientLink for Submitting {
    fn send(&mut self, tags: &[Tag]) {
        for tag in tags {
            let call = self.client.submit(&self.service, tag.to_bytes().to_vec());
            self.calls.push_back(call.expect("room for a call"));
        }
    }

    fn receive(&mut self, tags: &mut Vec<Tag>) {
        let Some(first) = self.calls.pop_front() else { return };
        tags.push(tag_of(&first.wait().expect("a reply")));
        while self.calls.front().is_some_and(Call::has_ended) {
            let call = self.calls.pop_front().expect("there is a first");
            tags.push(tag_of(&call.wait().expect("a reply")));
        }
    }
}

/// Calls of a [`Client`] that a thread makes one after the other.
pub struct Calling {
    client: Client,
    service: String,
    tag: Option<Tag>,
}

impl Calling {
    /// Of this client.
    pub fn with(client: Client, service: &str) -> Self {
        Calling { client, service: service.to_owned(), tag: None }
    }
}

impl ClientLink for Calling {
    fn send(&mut self, tags: &[Tag]) {
        let &[tag] = tags else { panic!("one call after the other") };
        self.tag = Some(tag);
    }

    fn receive(&mut self, tags: &mut Vec<Tag>) {
        let tag = self.tag.take().expect("a call to make");
        let reply = self.client.call(&self.service, tag.to_bytes().to_vec());
        tags.push(tag_of(&reply.expect("a reply")));
    }
}

/// Calls of a [`BlockingClient`].
pub struct Blocking {
    client: BlockingClient,
    service: String,
    tag: Option<Tag>,
}

impl Blocking {
    /// Connects.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub fn connect(endpoint: &str, service: &str) -> Self {
        let client = BlockingClient::connect(endpoint).expect("a client");
        Blocking { client, service: service.to_owned(), tag: None }
    }
}

impl ClientLink for Blocking {
    fn send(&mut self, tags: &[Tag]) {
        let &[tag] = tags else { panic!("one call after the other") };
        self.tag = Some(tag);
    }

    fn receive(&mut self, tags: &mut Vec<Tag>) {
        let tag = self.tag.take().expect("a call to make");
        let reply = self.client.request(&self.service, tag.to_bytes().to_vec());
        tags.push(tag_of(&reply.expect("a reply")));
    }
}

/// A [`Worker`] of MDP/1.0 whose handler runs inline on the worker's own thread.
pub struct Serving {
    _worker: majordomo_worker::RunningWorker,
}

impl Serving {
    /// Connects and registers.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub fn start(endpoint: &str, service: &str, capacity: u16) -> Self {
        let echo = |request: Request| Ok(request.into_body());
        let service = Service::new(service, echo).concurrency(capacity.into()).inline();
        let worker = Worker::builder()
            .broker(endpoint)
            .version(majordomo_client::Version::V1_0)
            .serve(service)
            .start();
        Serving { _worker: worker.expect("a worker") }
    }
}

impl WorkerLink for Serving {
    fn serve(&mut self) {
        let_pass(PATIENCE);
    }
}
