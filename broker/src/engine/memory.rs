//! What the engine takes in memory. Its tables shrink by themselves (`table.rs`,
//! `shrink.rs`); whoever drives it has to see that the system gets the memory.

use super::ids::Ids;
use super::request::Request;
use super::{Engine, Outlet, Payload};

impl<B: Payload, O: Outlet<B>> Engine<B, O> {
    /// About how many bytes its requests, and the answers it keeps, take in memory.
    pub fn footprint(&self) -> usize {
        self.bytes
            + self.ids.bytes()
            + self.requests.len() * size_of::<Request<B>>()
            + self.ids.answers() * Ids::<B>::ANSWER_BYTES
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::Instant;

    use majordomo_protocol::{
        Body, Offer, PeerId, Reason, RequestId, ServiceName, Terms, Version, client, worker,
    };

    use super::*;
    use crate::config::Config;
    use crate::engine::{Action, Caller, Event};
    use crate::frame::Frame;
    use crate::server::settings;

    const REQUESTS: u128 = 20_000;
    const SERVICES: u128 = 5_000;

    /// What a waiting request takes is multiplied by a hundred thousand.
    #[test]
    fn a_request_is_small() {
        let bytes = size_of::<Request<Body<Frame>>>();
        assert!(bytes <= 256, "{bytes} bytes");
    }

    struct Crowd {
        engine: Engine<Body>,
        now: Instant,
        tasks: VecDeque<(PeerId, worker::FromBroker<Body>)>,
    }

    impl Crowd {
        fn new() -> Self {
            #[expect(clippy::disallowed_methods, reason = "an Instant is not made from a number")]
            let now = Instant::now();
            let engine = Engine::new(settings(&Config::default()), now);
            Crowd { engine, now, tasks: VecDeque::new() }
        }

        fn handle(&mut self, event: Event<Body>) {
            self.engine.handle(event, self.now);
            self.act();
        }

        fn act(&mut self) {
            while let Some(action) = self.engine.poll_action() {
                if let Action::ToWorker { worker, command, .. } = action {
                    self.tasks.push_back((worker, command));
                }
            }
        }

        fn service(number: u128) -> ServiceName {
            ServiceName::new(format!("service.{}", number % SERVICES)).expect("a name")
        }

        /// Each from a client of its own.
        fn request(&mut self, number: u128) {
            let peer = PeerId::new(&number.to_be_bytes());
            let id = Some(RequestId::new(number.to_be_bytes()));
            let caller = Caller { peer, version: Version::V1_0, envelope: None, id };
            let (service, terms, body) =
                (Self::service(number), Terms::default(), Body::from("what is asked"));
            let command = client::ToBroker::Request { id, service, terms, body };
            self.handle(Event::FromClient { caller, command });
        }

        fn say(&mut self, worker: PeerId, command: worker::ToBroker<Body>) {
            self.handle(Event::FromWorker { worker, version: Version::V0_2, command });
        }

        /// The tables that grow with requests and their clients; those for ids besides.
        fn room(&self) -> ([usize; 4], usize) {
            let engine = &self.engine;
            let (requests, clients) = (engine.requests.capacity(), engine.clients.capacity());
            let tables = [requests, clients, engine.deadlines.capacity(), engine.turns.capacity()];
            (tables, engine.ids.capacity())
        }

        fn worker(number: u128) -> PeerId {
            PeerId::new(format!("worker {number}").as_bytes())
        }
    }

    #[test]
    fn what_waited_takes_no_memory_once_answered_nor_answers_once_expired() {
        let mut crowd = Crowd::new();
        let before = crowd.engine.footprint();
        (0..REQUESTS).for_each(|number| crowd.request(number));
        let (tables, ids) = crowd.room();
        let many = REQUESTS as usize;
        assert!(tables.iter().all(|room| *room >= many) && ids >= many);
        assert!(crowd.engine.footprint() > before + many * 200);

        for number in 0..SERVICES {
            let (service, offer) = (Crowd::service(number), Offer::default());
            let ready = worker::ToBroker::Ready { service, offer };
            crowd.say(Crowd::worker(number), ready);
            while let Some((worker, command)) = crowd.tasks.pop_front() {
                if let worker::FromBroker::Request { client, body, .. } = command {
                    crowd.say(worker, worker::ToBroker::Final { client, body });
                }
            }
        }
        assert_eq!(crowd.engine.counters().requests_answered, REQUESTS as u64);
        let (tables, ids) = crowd.room();
        assert!(tables[0] < 2_000 && tables[1] < 5_000 && tables[3] < 2_000, "{tables:?}");
        assert!(ids >= many, "answers are kept");

        (0..SERVICES).for_each(|number| {
            let reason = Reason { code: 0, text: String::new() };
            crowd.say(Crowd::worker(number), worker::ToBroker::Disconnect { reason });
        });
        assert!(crowd.engine.worker_keys.capacity() < 5_000);
        // Nothing happens any more: the time that passes is enough.
        let mut turns = 0;
        while let Some(due) = crowd.engine.poll_timeout() {
            crowd.now = due;
            crowd.engine.handle_timeout(due, due);
            crowd.act();
            turns += 1;
        }
        assert!(turns <= 20, "{turns} turns");
        let (tables, ids) = crowd.room();
        assert!(tables.iter().all(|room| *room < 5_000), "{tables:?}");
        assert!(ids < 10_000 && crowd.engine.ids.answers() == 0, "room for {ids} ids");
        assert_eq!(crowd.engine.footprint(), before);
    }
}
