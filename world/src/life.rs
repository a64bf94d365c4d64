//! One history by chance: everything happens at its time, and at random times something
//! goes wrong. In the end all is healed, everybody is served once more, all leave, and
//! nothing may be left.

use std::time::{Duration, Instant};

use fastrand::Rng;
use majordomo_protocol::{ServiceName, Version};
use majordomo_worker::dialog::Event;

use crate::book::{Book, End};
use crate::broker::Broker;
use crate::client::{Client, Order};
use crate::must;
use crate::nature::{Nature, any_instant};
use crate::net::{Net, Weather};
use crate::plan::Plan;
use crate::stranger::{NOBODY, Stranger, tolerant};
use crate::worker::Worker;

/// What is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Broker(usize),
    Worker(usize),
    Client(usize),
    Act,
}

/// See the [module](self).
pub struct Life {
    /// What the seed made of it.
    pub plan: Plan,
    /// What surrounds all parts.
    pub nature: Nature,
    brokers: Vec<Broker>,
    workers: Vec<Worker>,
    clients: Vec<Client>,
    strangers: Vec<Stranger>,
    /// When something by chance happens next; never, once all is healed.
    act_at: Option<Instant>,
    is_healed: bool,
    /// Steps since the clock moved.
    at_once: u32,
}

impl Life {
    /// The one of this seed.
    pub fn new(seed: u64, trace: bool) -> Self {
        let plan = Plan::new(seed);
        let now = any_instant();
        let mut nature = Nature {
            began: now,
            now,
            rng: Rng::with_seed(seed),
            net: Net::new(plan.weather, plan.tells_of_ends),
            book: Book::new(plan.remembers, plan.settings.error_replies),
            trace,
            step: 0,
        };
        let settings = tolerant(plan.settings.clone(), plan.strangers);
        let inline = plan.inline_bytes_max;
        let broker = |index| Broker::new(index, settings.clone(), inline, plan.drain_max, now);
        let brokers = (0..plan.brokers).map(broker).collect();
        // Once the brokers are there, or a calm world would not begin so.
        let soon = now + Duration::from_millis(1);
        let workers =
            plan.workers.iter().enumerate().map(|(index, (broker, registration, timing))| {
                let mut worker =
                    Worker::new(index, *broker, registration.clone(), *timing, plan.manner, soon);
                worker.inline_bytes_max = inline;
                worker
            });
        let workers = workers.collect();
        let mut clients = Vec::new();
        for (index, version) in plan.clients.iter().enumerate() {
            let times = plan.times();
            let tries = nature.rng.u32(1..4);
            let heartbeat = Duration::from_millis(nature.rng.u64(100..1_000));
            let timeout = nature.up_to(times) + times / 4;
            let mut client =
                Client::new(index, *version, plan.brokers, tries, timeout, heartbeat, &mut nature);
            client.inline_bytes_max = inline;
            clients.push(client);
        }
        let strangers = (0..plan.strangers).map(|index| Stranger::new(index, &mut nature));
        let strangers = strangers.collect();
        Life {
            plan,
            brokers,
            workers,
            clients,
            strangers,
            act_at: Some(soon),
            is_healed: false,
            at_once: 0,
            nature,
        }
    }

    /// Runs it from beginning to end.
    pub fn run(&mut self) {
        self.nature.tell(|| format!("{:?}", self.plan));
        while self.nature.step < self.plan.steps {
            self.step();
        }
        self.heal();
        self.until("calls end", Duration::from_secs(600), |life| life.nature.book.open() == 0);
        self.probe();
        if self.plan.calm {
            self.nature.book.check_calm();
            self.brokers.iter().for_each(Broker::check_calm);
        }
        self.leave();
    }

    /// One step: whatever is due next.
    fn step(&mut self) {
        self.nature.step += 1;
        let (mut first, mut nexts): (Option<Instant>, Vec<Next>) = (None, Vec::new());
        let mut consider = |due: Option<Instant>, next: Next| {
            let Some(due) = due.map(|due| due.max(self.nature.now)) else { return };
            if first.is_none_or(|first| due < first) {
                nexts.clear();
                first = Some(due);
            }
            if first == Some(due) {
                nexts.push(next);
            }
        };
        let nature = &self.nature;
        self.brokers.iter().for_each(|it| consider(it.due(nature), Next::Broker(it.index)));
        self.workers.iter().for_each(|it| consider(it.due(nature), Next::Worker(it.index)));
        self.clients.iter().for_each(|it| consider(it.due(nature), Next::Client(it.index)));
        consider(self.act_at, Next::Act);
        let Some(first) = first else { return };
        self.at_once = if first > self.nature.now { 0 } else { self.at_once + 1 };
        must!(self.at_once < 2_000, "time goes on", "{nexts:?} have something to do for ever");
        self.nature.now = first;
        let next = nexts[self.nature.rng.usize(..nexts.len())];
        let (now, up) = (self.nature.now, self.up());
        let nature = &mut self.nature;
        let thaw = |frozen: &mut Option<Instant>| *frozen = frozen.filter(|until| *until > now);
        match next {
            Next::Broker(index) => {
                thaw(&mut self.brokers[index].frozen_until);
                self.brokers[index].turn(nature);
            }
            Next::Worker(index) => {
                let worker = &mut self.workers[index];
                thaw(&mut worker.frozen_until);
                worker.turn(nature, up[worker.broker]);
            }
            Next::Client(index) => {
                thaw(&mut self.clients[index].frozen_until);
                self.clients[index].turn(nature, &up);
            }
            Next::Act if self.is_healed => self.act_at = None,
            Next::Act => self.act(),
        }
        if self.nature.step.is_multiple_of(16) {
            self.nature.net.sweep(now);
        }
        let (clients, nature) = (&self.clients, &self.nature);
        nature.book.check(now, |client| {
            clients.get(client).is_none_or(|it| {
                it.frozen_until.is_some() || it.due(nature).is_some_and(|due| due <= now)
            })
        });
    }

    /// Steps until something is so.
    fn until(&mut self, what: &str, longest: Duration, done: impl Fn(&Life) -> bool) {
        let end = self.nature.now + longest;
        let steps = self.nature.step + 100_000;
        while !done(self) {
            let brokers: Vec<_> = self.brokers.iter().map(Broker::describe).collect();
            must!(self.nature.now <= end, "it ends", "{what} takes too long: {brokers:?}");
            must!(self.nature.step < steps, "it ends", "{what} takes too many steps");
            let before = self.nature.now;
            self.step();
            // Nothing is due any more.
            if self.nature.now == before && self.is_idle() {
                must!(done(self), "it ends", "{what}: nothing is due, and it is not so");
            }
        }
    }

    fn is_idle(&self) -> bool {
        let nature = &self.nature;
        self.brokers.iter().all(|it| it.due(nature).is_none())
            && self.workers.iter().all(|it| it.due(nature).is_none())
            && self.clients.iter().all(|it| it.due(nature).is_none())
            && self.act_at.is_none()
    }

    fn up(&self) -> Vec<bool> {
        self.brokers.iter().map(Broker::is_up).collect()
    }

    /// Something happens by chance.
    fn act(&mut self) {
        let pause = self.nature.up_to(self.plan.act_max) + Duration::from_micros(1);
        self.act_at = Some(self.nature.now + pause);
        let faults = self.plan.faults;
        let up = self.up();
        let worker = self.nature.rng.usize(..self.workers.len());
        let client = self.nature.rng.usize(..self.clients.len());
        let broker = self.nature.rng.usize(..self.brokers.len());
        let is_up = up[self.workers[worker].broker];
        match self.nature.rng.u8(..64) {
            0..=2 if faults.cuts => self.cut(),
            3 | 4 if faults.worker_ends => self.workers[worker].crash(&mut self.nature),
            5 if faults.worker_ends => {
                self.workers[worker].told(Event::Drain, &mut self.nature, is_up);
            }
            6 if faults.worker_ends && self.nature.one_in(2) => {
                self.workers[worker].told(Event::Stop, &mut self.nature, is_up);
            }
            7 if faults.worker_ends => {
                self.workers[worker].fail_to_begin(&mut self.nature, is_up);
            }
            8 if faults.broker_ends && self.nature.one_in(2) => {
                self.brokers[broker].crash(&mut self.nature);
            }
            9 if faults.broker_ends && self.nature.one_in(2) => {
                let at_once = self.nature.one_in(3);
                self.brokers[broker].stop(at_once, &mut self.nature);
            }
            10 | 11 if faults.freezes => self.freeze(broker, worker, client),
            12 if faults.jumps && self.nature.one_in(2) => {
                let jump = self.nature.up_to(Duration::from_secs(8));
                self.nature.tell(|| format!("the machine is suspended for {jump:?}"));
                self.nature.now += jump;
                (0..self.clients.len()).for_each(|client| self.excuse(client, jump));
            }
            13..=15 if faults.cancels => {
                let calls = self.nature.book.open_of(client);
                if let Some(call) = self.nature.rng.choice(calls)
                    && self.clients[client].frozen_until.is_none()
                {
                    self.clients[client].cancel(call, &mut self.nature, &up);
                }
            }
            16..=30 if !self.strangers.is_empty() => {
                let stranger = self.nature.rng.usize(..self.strangers.len());
                let stranger = &mut self.strangers[stranger];
                if up[broker] {
                    stranger.act(&self.brokers[broker], &self.plan.services, &mut self.nature);
                }
            }
            _ => self.ask(client),
        }
    }

    fn cut(&mut self) {
        let links: Vec<_> = self.nature.net.whole().map(|(id, link)| (id, link.owner)).collect();
        if let Some((id, owner)) = self.nature.rng.choice(links) {
            self.nature.tell(|| format!("the connection of {owner:?} is cut"));
            self.nature.net.cut(id, self.nature.now, &mut self.nature.rng);
        }
    }

    fn freeze(&mut self, broker: usize, worker: usize, client: usize) {
        let until = self.nature.now + self.nature.up_to(Duration::from_secs(4));
        let (name, index, frozen) = match self.nature.rng.u8(..4) {
            0 => ("b", broker, &mut self.brokers[broker].frozen_until),
            1 => ("k", client, &mut self.clients[client].frozen_until),
            _ => ("w", worker, &mut self.workers[worker].frozen_until),
        };
        *frozen = Some(until);
        let now = self.nature.now;
        if name == "k" {
            self.excuse(client, until - now);
        }
        self.nature.tell(|| format!("{name}{index} is frozen for {:?}", until - now));
    }

    /// A client did not run. In MDP/1.0 a call ends at its deadline all the same.
    fn excuse(&mut self, client: usize, span: Duration) {
        if self.clients[client].version < Version::V1_0 {
            self.nature.book.extend(client, span);
        }
    }

    fn ask(&mut self, client: usize) {
        let calm = self.plan.calm;
        let services = &self.plan.services;
        let nature = &mut self.nature;
        let mut service = services[nature.rng.usize(..services.len())].clone();
        if nature.one_in(20)
            && let Ok(question) = ServiceName::new("mmi.service")
        {
            service = question;
        }
        let is_question = service.is_reserved();
        let times = self.plan.times();
        let timeout = nature.up_to(times) + times / 20;
        let no_reply = !calm && nature.one_in(8);
        let mut flag = |count| !is_question && nature.one_in(count);
        let order = Order {
            service,
            once: flag(5),
            no_reply,
            fail_fast: !calm && flag(6),
            start_within: (!calm && flag(6)).then_some(timeout / 2),
            timeout,
            deadline: timeout * if nature.rng.bool() { 1 } else { 3 },
            tries: nature.rng.u32(1..4),
            in_parts: nature.rng.bool(),
            padding: nature.rng.usize(..40),
        };
        let up = self.up();
        let client = &mut self.clients[client];
        if client.can_ask() && client.frozen_until.is_none() && self.nature.book.open() < 12 {
            client.ask(order, &mut self.nature, &up);
        }
    }

    /// From now on nothing goes wrong.
    fn heal(&mut self) {
        self.nature.tell(|| "all is healed".to_owned());
        let now = self.nature.now;
        (self.act_at, self.is_healed) = (None, true);
        let delay_max = self.plan.weather.delay_max.min(Duration::from_millis(20));
        let notice_max = self.plan.weather.notice_max;
        self.nature.net.weather = Weather { delay_max, notice_max, queue_max: 1_000 };
        self.strangers.iter_mut().for_each(|it| it.leave(&mut self.nature));
        self.nature.book.orphan(NOBODY);
        for broker in &mut self.brokers {
            broker.frozen_until = None;
            broker.starts_at = broker.starts_at.map(|_| now);
        }
        for worker in &mut self.workers {
            worker.frozen_until = None;
            worker.starts_at = worker.starts_at.map(|_| now);
            worker.manner.fails_one_in = 0;
            worker.manner.parts_max = 0;
            worker.manner.pause_max = Duration::from_millis(10);
        }
        self.clients.iter_mut().for_each(|it| it.frozen_until = None);
    }

    /// Every client is served by every service.
    fn probe(&mut self) {
        for service in self.plan.services.clone() {
            for client in 0..self.clients.len() {
                // What was still on its way has to find out first.
                for attempt in 0.. {
                    let long = Duration::from_secs(20);
                    let order = Order {
                        service: service.clone(),
                        once: false,
                        no_reply: false,
                        fail_fast: false,
                        start_within: None,
                        timeout: long,
                        deadline: 3 * long,
                        tries: 3,
                        in_parts: false,
                        padding: 0,
                    };
                    let up = self.up();
                    let call = self.clients[client].ask(order, &mut self.nature, &up);
                    let longest = Duration::from_secs(600);
                    self.until("a call", longest, |life| !life.nature.book.is_open(call));
                    let end = self.nature.book.end_of(call).cloned();
                    if end == Some(End::Replied) && !self.plan.settings.error_replies {
                        break;
                    }
                    if end == Some(End::Replied) && self.nature.book.was_served(call) {
                        break;
                    }
                    must!(
                        attempt < 40,
                        "once all is healed, everybody is served",
                        "c{call}: {end:?}"
                    );
                    let again = self.nature.now + Duration::from_millis(200);
                    self.act_at = Some(again);
                    while self.nature.now < again {
                        self.step();
                    }
                }
            }
        }
    }

    /// All leave, and nothing is left of them.
    fn leave(&mut self) {
        self.nature.tell(|| "all leave".to_owned());
        let up = self.up();
        for client in &mut self.clients {
            client.close(&mut self.nature, &up);
        }
        for worker in &mut self.workers {
            worker.told(Event::Drain, &mut self.nature, up[worker.broker]);
        }
        let longest = Duration::from_secs(600);
        self.workers_end(longest);
        let end = self.nature.now + Duration::from_secs(8);
        while !self.is_idle() && self.nature.now < end {
            self.step();
        }
        for broker in &mut self.brokers {
            broker.check_empty();
        }
        for client in &self.clients {
            client.check_empty(self.nature.now);
            let entries = client.entries();
            must!(entries == 0, "every table empties", "k{} keeps {entries}", client.index);
        }
    }

    /// Workers end and stay away.
    fn workers_end(&mut self, longest: Duration) {
        let end = self.nature.now + longest;
        loop {
            for worker in self.workers.iter_mut().filter(|worker| !worker.is_up()) {
                worker.starts_at = None;
            }
            if self.workers.iter().all(|worker| !worker.is_up()) {
                return;
            }
            let ends = self.nature.now < end && !self.is_idle();
            must!(ends, "a worker that drains ends", "{:?}", self.nature.now);
            self.step();
        }
    }
}

impl Plan {
    /// About how long a call may take.
    fn times(&self) -> Duration {
        match (self.calm, self.faults.short_times) {
            (true, _) => Duration::from_secs(60),
            (false, true) => Duration::from_millis(1_500),
            (false, false) => Duration::from_secs(8),
        }
    }
}
