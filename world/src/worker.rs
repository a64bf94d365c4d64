//! A worker: the SDK's dialog, and around it what its I/O thread and its handlers do,
//! without a socket. One worker is one connection. Its socket connects again by itself
//! when the connection is cut, as ZeroMQ's does, and the dialog learns nothing of it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use majordomo_protocol::worker::{Commands, FromBroker, ToBroker};
use majordomo_protocol::{Batch, Body, ClientAddress, DecodeError, Reason, Version};
use majordomo_worker::dialog::{Action, CloseReason, Dialog, Event, Registration, Timing};

use crate::must;
use crate::nature::Nature;
use crate::net::{Frames, LinkId, Owner};
use crate::words::{self, RunId, Word};

/// How its handlers behave.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// The longest between two parts, or before the end.
    pub pause_max: Duration,
    /// The most parts before the end.
    pub parts_max: u32,
    /// One of so many fails.
    pub fails_one_in: u32,
    /// Bytes of padding in a part, at the most.
    pub padding_max: usize,
    /// Whether handlers wait to be told what to do next, see [`Worker::advance`].
    pub by_hand: bool,
}

/// A handler at work.
struct Run {
    client: ClientAddress,
    call: words::CallId,
    run: RunId,
    part: u32,
    parts: u32,
    next_at: Instant,
    cancelled: bool,
    fails: bool,
    /// It came by a socket that is closed: nobody waits for its answer.
    is_former: bool,
}

impl Run {
    /// Nobody wants its answer. Handlers look now and then; some never do.
    fn cancel(&mut self, nature: &mut Nature) {
        if nature.rng.bool() {
            self.cancelled = true;
            self.next_at = nature.now + Duration::from_millis(nature.rng.u64(..20));
        }
    }
}

/// A DEALER socket.
#[derive(Default)]
struct Socket {
    link: Option<LinkId>,
    /// When it connects again.
    again_at: Option<Instant>,
    /// What it was given while it had no connection.
    queue: VecDeque<Frames>,
}

struct Running {
    dialog: Dialog,
    socket: Option<Socket>,
    batch: Option<Batch<Vec<u8>>>,
    runs: Vec<Run>,
    /// DISCONNECT was sent on this socket.
    has_left: bool,
}

/// One place where a worker is, most of the time.
pub struct Worker {
    /// Its number.
    pub index: usize,
    /// Which broker it serves.
    pub broker: usize,
    /// What it registers for.
    pub registration: Registration,
    /// How often it beats.
    pub timing: Timing,
    /// How its handlers behave.
    pub manner: Manner,
    /// It does not run before this moment.
    pub frozen_until: Option<Instant>,
    /// When it is started again, while it is down.
    pub starts_at: Option<Instant>,
    /// Up to this size a body stands in the batch.
    pub inline_bytes_max: usize,
    running: Option<Running>,
}

impl Worker {
    /// One that is down, and starts at `now`.
    pub fn new(
        index: usize,
        broker: usize,
        registration: Registration,
        timing: Timing,
        manner: Manner,
        now: Instant,
    ) -> Self {
        Worker {
            index,
            broker,
            registration,
            timing,
            manner,
            frozen_until: None,
            starts_at: Some(now),
            inline_bytes_max: 16,
            running: None,
        }
    }

    /// Whether its process is there.
    pub fn is_up(&self) -> bool {
        self.running.is_some()
    }

    /// The connection of its socket.
    pub fn link(&self) -> Option<LinkId> {
        self.running.as_ref()?.socket.as_ref()?.link
    }

    /// Handlers at work.
    pub fn runs(&self) -> usize {
        self.running.as_ref().map_or(0, |running| running.runs.len())
    }

    /// When it has something to do.
    pub fn due(&self, nature: &Nature) -> Option<Instant> {
        let due = match &self.running {
            None => self.starts_at,
            Some(running) => {
                let socket = running.socket.as_ref();
                let link = socket.and_then(|socket| socket.link);
                let net = link.and_then(|link| nature.net.peer_due(link));
                let again = socket.and_then(|socket| socket.again_at);
                let runs = running.runs.iter().map(|run| run.next_at).min();
                let runs = runs.filter(|_| !self.manner.by_hand);
                let timeout = running.dialog.poll_timeout();
                [net, again, runs, timeout].into_iter().flatten().min()
            }
        };
        due.map(|due| self.frozen_until.map_or(due, |until| until.max(due)))
    }

    /// One round of its loop.
    pub fn turn(&mut self, nature: &mut Nature, broker_is_up: bool) {
        let now = nature.now;
        let Some(mut running) = self.running.take() else {
            return self.start(nature, broker_is_up);
        };
        let planned = running.dialog.poll_timeout();
        if planned.is_some_and(|at| at + self.timing.heartbeat_interval < now) {
            running.handle(Event::Suspended, self, nature);
        }
        running.look_after_socket(self, nature, broker_is_up);
        while let Some(link) = running.socket.as_ref().and_then(|socket| socket.link) {
            let Some(frames) = nature.net.receive_down(link, now) else { break };
            for command in commands(self.registration.version, frames) {
                let event = command.map_or(Event::Invalid, Event::Message);
                nature.tell(|| match &event {
                    Event::Message(said) => {
                        format!("w{} <- {}", self.index, words::to_worker(said))
                    }
                    other => format!("w{} <- {other:?}", self.index),
                });
                running.handle(event, self, nature);
            }
        }
        if !self.manner.by_hand {
            while let Some(at) = running.runs.iter().position(|run| run.next_at <= now) {
                running.step(at, self, nature);
            }
        }
        if running.dialog.poll_timeout().is_some_and(|due| due <= now) {
            running.dialog.handle_timeout(now);
            running.perform(self, nature);
            let next = running.dialog.poll_timeout();
            must!(
                next.is_none_or(|next| next > now),
                "a dialog does what is due",
                "w{}",
                self.index
            );
        }
        running.flush(self, nature, broker_is_up);
        running.check(self);
        self.go_on(running, nature);
    }

    /// Its process ends once its dialog has left and no handler runs.
    fn go_on(&mut self, running: Running, nature: &mut Nature) {
        if running.dialog.is_closed() && running.runs.is_empty() && running.socket.is_none() {
            nature.tell(|| format!("w{} has ended", self.index));
            self.starts_at = Some(nature.now + nature.up_to(Duration::from_millis(2_000)));
        } else {
            self.running = Some(running);
        }
    }

    fn start(&mut self, nature: &mut Nature, broker_is_up: bool) {
        nature.tell(|| format!("w{} starts", self.index));
        self.starts_at = None;
        let (seed, now) = (nature.rng.u64(..), nature.now);
        let dialog = Dialog::new(self.registration.clone(), self.timing, seed, now);
        let runs = Vec::new();
        self.running = Some(Running { dialog, socket: None, batch: None, runs, has_left: false });
        self.turn(nature, broker_is_up);
    }

    /// Its user asks something of it.
    pub fn told(&mut self, event: Event, nature: &mut Nature, broker_is_up: bool) {
        if let Some(mut running) = self.running.take() {
            nature.tell(|| format!("w{} is told: {event:?}", self.index));
            running.handle(event, self, nature);
            running.flush(self, nature, broker_is_up);
            self.go_on(running, nature);
        }
    }

    /// A request that came is never begun: who would run it is gone.
    pub fn fail_to_begin(&mut self, nature: &mut Nature, broker_is_up: bool) {
        let Some(running) = &mut self.running else { return };
        let unbegun = running.runs.iter().position(|run| run.part == 0);
        let Some(at) = unbegun else { return };
        let Run { client, is_former, .. } = running.runs.remove(at);
        let event = if is_former { Event::Freed } else { Event::Unstarted { client } };
        self.told(event, nature, broker_is_up);
    }

    /// The handler of the oldest run does its next step.
    pub fn advance(&mut self, nature: &mut Nature, broker_is_up: bool) {
        if let Some(mut running) = self.running.take() {
            if !running.runs.is_empty() {
                running.step(0, self, nature);
            }
            running.flush(self, nature, broker_is_up);
            self.go_on(running, nature);
        }
    }

    /// It is killed.
    pub fn crash(&mut self, nature: &mut Nature) {
        let Some(running) = self.running.take() else { return };
        nature.tell(|| format!("w{} is killed", self.index));
        if let Some(link) = running.socket.and_then(|socket| socket.link) {
            nature.net.close(link, false, nature.now, &mut nature.rng);
        }
        self.frozen_until = None;
        self.starts_at = Some(nature.now + nature.up_to(Duration::from_millis(3_000)));
    }
}

impl Running {
    fn handle(&mut self, event: Event, worker: &Worker, nature: &mut Nature) {
        self.dialog.handle(event, nature.now);
        self.perform(worker, nature);
    }

    /// Notices that the connection is cut, and makes another.
    fn look_after_socket(&mut self, worker: &Worker, nature: &mut Nature, broker_is_up: bool) {
        let now = nature.now;
        let Some(socket) = &mut self.socket else { return };
        if socket.link.is_some_and(|link| nature.net.is_lost(link, now)) {
            socket.link = None;
            socket.again_at = Some(now + nature.up_to(Duration::from_millis(200)));
        }
        if socket.again_at.is_some_and(|at| at <= now) {
            socket.again_at = None;
            if broker_is_up {
                let owner = Owner::Worker(worker.index);
                let (net, rng) = (&mut nature.net, &mut nature.rng);
                socket.link = net.connect(owner, worker.broker, None, now, rng);
            } else {
                socket.again_at = Some(
                    now + Duration::from_millis(100) + nature.up_to(Duration::from_millis(400)),
                );
            }
        }
    }

    /// The next thing that a handler does.
    fn step(&mut self, at: usize, worker: &Worker, nature: &mut Nature) {
        let manner = worker.manner;
        let run = &mut self.runs[at];
        let last = run.cancelled || run.part >= run.parts;
        let word = Word::Reply { call: run.call, run: run.run, part: run.part, last };
        let mut frames = vec![word.frame(nature.rng.usize(..=manner.padding_max))];
        if nature.one_in(8) {
            frames.push(vec![b'.'; nature.rng.usize(1..=manner.padding_max + 1)]);
        }
        let body = Body::from_frames(frames);
        let client = run.client.clone();
        if !last {
            run.part += 1;
            run.next_at = nature.now + nature.up_to(manner.pause_max);
            if run.is_former {
                return;
            }
            return self.handle(Event::Partial { client, body }, worker, nature);
        }
        let (fails, cancelled, is_former) = (run.fails, run.cancelled, run.is_former);
        self.runs.remove(at);
        let event = if is_former {
            Event::Freed
        } else if worker.registration.version >= Version::V1_0 && (fails || cancelled) {
            let code = if cancelled { 499 } else { 500 };
            let reason = Reason { code, text: "no luck".to_owned() };
            Event::Error { client, reason, details: Body::from("") }
        } else {
            Event::Final { client, body }
        };
        self.handle(event, worker, nature);
    }

    fn perform(&mut self, worker: &Worker, nature: &mut Nature) {
        while let Some(action) = self.dialog.poll_action() {
            match action {
                Action::Open => {
                    must!(self.socket.is_none(), "a worker has one socket", "w{}", worker.index);
                    self.has_left = false;
                    self.socket = Some(Socket { again_at: Some(nature.now), ..Socket::default() });
                }
                Action::Send(command) => self.send(command, worker, nature),
                Action::Run { client, body, .. } => self.begin(client, &body, worker, nature),
                Action::Cancel { client } => {
                    let of = |run: &&mut Run| run.client == client && !run.is_former;
                    if let Some(run) = self.runs.iter_mut().find(of) {
                        run.cancel(nature);
                    }
                }
                Action::GiveBack { requests } => {
                    nature.tell(|| format!("w{}    gives back {requests}", worker.index));
                }
                Action::Close(reason) => self.close(reason, worker, nature),
            }
        }
    }

    fn begin(&mut self, client: ClientAddress, body: &Body, worker: &Worker, nature: &mut Nature) {
        let Some(call) = Word::asked(body) else {
            return self.handle(Event::Final { client, body: Body::from("what?") }, worker, nature);
        };
        let run = nature.book.run(call);
        nature.tell(|| format!("w{}    runs c{call} as run {run}", worker.index));
        let manner = worker.manner;
        self.runs.push(Run {
            client,
            call,
            run,
            part: 0,
            parts: match worker.registration.version {
                Version::V0_1 => 0,
                _ if manner.by_hand => manner.parts_max,
                _ if nature.rng.bool() => 0,
                _ => nature.rng.u32(0..=manner.parts_max),
            },
            next_at: nature.now + nature.up_to(manner.pause_max),
            cancelled: false,
            fails: manner.fails_one_in > 0 && nature.one_in(manner.fails_one_in),
            is_former: false,
        });
    }

    fn send(&mut self, command: ToBroker<Body>, worker: &Worker, nature: &mut Nature) {
        nature.tell(|| format!("w{} -> {}", worker.index, words::from_worker(&command)));
        must!(
            !self.has_left,
            "nothing follows a worker's DISCONNECT",
            "w{} {command:?}",
            worker.index
        );
        must!(
            self.socket.is_some(),
            "a worker sends on an open socket",
            "w{} {command:?}",
            worker.index
        );
        self.has_left = matches!(command, ToBroker::Disconnect { .. });
        let written = match worker.registration.version {
            Version::V1_0 => {
                let new = || Batch::of_worker(worker.inline_bytes_max);
                command.write(self.batch.get_or_insert_with(new))
            }
            version => command.encode(version).map(|frames| {
                if let Some(socket) = &mut self.socket {
                    socket.queue.push_back(frames);
                }
            }),
        };
        must!(written.is_ok(), "a dialog says what its version can say", "w{}", worker.index);
    }

    /// Gives the socket what is ready, and the connection what the socket has.
    fn flush(&mut self, worker: &Worker, nature: &mut Nature, broker_is_up: bool) {
        self.look_after_socket(worker, nature, broker_is_up);
        let Some(socket) = &mut self.socket else {
            self.batch = None;
            return;
        };
        let batch = self.batch.take().map(Batch::into_frames);
        socket.queue.extend(batch);
        if let Some(link) = socket.link {
            for frames in socket.queue.drain(..) {
                nature.net.send_up(link, frames, nature.now, &mut nature.rng);
            }
        }
    }

    fn close(&mut self, reason: CloseReason, worker: &Worker, nature: &mut Nature) {
        nature.tell(|| format!("w{}    closes its socket: {}", worker.index, reason.as_str()));
        for run in self.runs.iter_mut().filter(|run| !run.is_former) {
            run.is_former = true;
            run.cancel(nature);
        }
        if reason.flushes() {
            self.flush(worker, nature, false);
        }
        self.batch = None;
        if let Some(link) = self.socket.take().and_then(|socket| socket.link) {
            nature.net.close(link, reason.flushes(), nature.now, &mut nature.rng);
        }
    }

    fn check(&self, worker: &Worker) {
        let (index, capacity) = (worker.index, usize::from(worker.registration.capacity));
        let runs = self.runs.iter().filter(|run| !run.is_former).count();
        must!(runs <= capacity, "a worker has at most its capacity", "w{index} runs {runs}");
        let (all, counted) = (self.runs.len(), self.dialog.requests());
        must!(all == counted, "a dialog counts what runs", "w{index} runs {all}, {counted}");
    }
}

/// The commands of one message, as its I/O thread reads them.
fn commands(version: Version, frames: Frames) -> Vec<Result<FromBroker<Body>, DecodeError>> {
    let frames = majordomo_protocol::Frames::new(frames);
    match version {
        Version::V0_1 | Version::V0_2 => vec![FromBroker::decode(version, frames)],
        Version::V1_0 => match Commands::new(frames) {
            Ok(batch) => batch.collect(),
            Err(error) => vec![Err(error)],
        },
    }
}
