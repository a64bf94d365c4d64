//! Clients: the SDK's two dialogs, and around them what their owners do, without a
//! socket. A connection that breaks is replaced as a whole, as the SDK does it.

use std::time::{Duration, Instant};

use majordomo_client::dialog::{self, Delivery, Reply, Want};
use majordomo_client::shared;
use majordomo_client::{Body, CallError, Metadata, ServiceName, Version};
use majordomo_protocol::Batch;

use crate::book::{End, Wish};
use crate::must;
use crate::nature::Nature;
use crate::net::{LinkId, Owner};
use crate::words::{self, CallId, Word};

/// What a user asks for.
#[derive(Clone, Debug)]
pub struct Order {
    /// Which service.
    pub service: ServiceName,
    /// The rest, where the version can say it.
    pub once: bool,
    /// Nothing is to come back.
    pub no_reply: bool,
    /// It is not to wait for a worker.
    pub fail_fast: bool,
    /// How soon it is to start.
    pub start_within: Option<Duration>,
    /// How long a try waits.
    pub timeout: Duration,
    /// How long all of it takes.
    pub deadline: Duration,
    /// How often.
    pub tries: u32,
    /// Part by part, instead of in one piece.
    pub in_parts: bool,
    /// Bytes beside the number of the call.
    pub padding: usize,
}

/// A connection, as its owner sees it.
#[derive(Clone, Copy, Debug)]
enum Wire {
    /// No broker was there; it was told so at this time.
    Refused(Instant),
    Link {
        id: LinkId,
        told: bool,
    },
}

/// A client of MDP/1.0.
pub struct Shared {
    dialog: shared::Dialog<CallId>,
    wires: Vec<Option<Wire>>,
    batches: Vec<Option<Batch<Vec<u8>>>>,
}

/// A client of MDP/0.1 or MDP/0.2.
pub struct Plain {
    dialog: dialog::Dialog,
    wire: Option<Wire>,
    call: Option<CallId>,
    in_parts: bool,
    endpoints: Vec<String>,
    /// How long a call may take.
    longest: Duration,
}

/// The dialog of a client.
pub enum Kind {
    /// Of MDP/1.0.
    Shared(Box<Shared>),
    /// Of an older version.
    Plain(Box<Plain>),
}

/// One client.
pub struct Client {
    /// Its number.
    pub index: usize,
    /// What it speaks.
    pub version: Version,
    /// It does not run before this moment.
    pub frozen_until: Option<Instant>,
    /// Up to this size a body stands in the batch.
    pub inline_bytes_max: usize,
    kind: Kind,
}

/// How long after a refusal the next connection is tried.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

impl Client {
    /// One that knows these many brokers.
    pub fn new(
        index: usize,
        version: Version,
        brokers: usize,
        tries: u32,
        timeout: Duration,
        heartbeat: Duration,
        nature: &mut Nature,
    ) -> Self {
        let endpoints: Vec<_> = (0..brokers).map(|broker| format!("inproc://{broker}")).collect();
        let seed = nature.rng.u64(..);
        let connect_timeout = Duration::from_millis(500);
        let kind = match version {
            Version::V1_0 => {
                let settings = shared::Settings {
                    endpoints,
                    connect_timeout,
                    heartbeat,
                    ..shared::Settings::default()
                };
                let dialog = shared::Dialog::new(settings, seed).expect("possible settings");
                let (wires, batches) = (vec![None; brokers], vec![None; brokers]);
                Kind::Shared(Box::new(Shared { dialog, wires, batches }))
            }
            version => {
                let settings = dialog::Settings {
                    endpoints: endpoints.clone(),
                    version,
                    timeout,
                    connect_timeout,
                    tries: Some(tries),
                    ..dialog::Settings::default()
                };
                let dialog = dialog::Dialog::new(settings, seed).expect("possible settings");
                let (wire, call, in_parts) = (None, None, false);
                let longest = (timeout * 12 + Duration::from_secs(1)) * tries;
                let plain = Plain { dialog, wire, call, in_parts, endpoints, longest };
                Kind::Plain(Box::new(plain))
            }
        };
        Client { index, version, frozen_until: None, inline_bytes_max: 16, kind }
    }

    /// Whether it can take one more call.
    pub fn can_ask(&self) -> bool {
        match &self.kind {
            Kind::Shared(_) => true,
            Kind::Plain(plain) => plain.call.is_none(),
        }
    }

    /// When it has something to do.
    pub fn due(&self, nature: &Nature) -> Option<Instant> {
        let of = |wire: &Wire| match wire {
            Wire::Refused(at) => Some(*at),
            Wire::Link { id, told: false } => {
                let open = nature.net.link(*id).map(|link| link.open_at);
                open.into_iter().chain(nature.net.peer_due(*id)).min().or(Some(nature.now))
            }
            Wire::Link { id, .. } => match nature.net.link(*id) {
                Some(_) => nature.net.peer_due(*id),
                None => Some(nature.now),
            },
        };
        let due = match &self.kind {
            Kind::Shared(shared) => {
                let wires = shared.wires.iter().flatten().filter_map(of);
                wires.chain(shared.dialog.poll_timeout()).min()
            }
            Kind::Plain(plain) => {
                // Between calls nobody looks at the socket.
                let wire = plain.wire.iter().filter(|_| plain.call.is_some()).filter_map(of);
                wire.chain(plain.dialog.poll_timeout()).min()
            }
        };
        due.map(|due| self.frozen_until.map_or(due, |until| until.max(due)))
    }

    /// Its user calls a service.
    pub fn ask(&mut self, order: Order, nature: &mut Nature, up: &[bool]) -> CallId {
        let now = nature.now;
        let index = self.index;
        let due = match &self.kind {
            Kind::Shared(_) => now + order.deadline,
            // Each part begins the time anew, and there are few.
            Kind::Plain(plain) => now + plain.longest,
        };
        let is_shared = matches!(self.kind, Kind::Shared(_));
        let call = nature.book.ask(Wish {
            client: index,
            is_question: order.service.is_reserved(),
            once: order.once && is_shared,
            no_reply: order.no_reply && is_shared,
            due,
        });
        nature.tell(|| format!("k{index} calls c{call}: {order:?}"));
        let body = if order.service.is_reserved() {
            Body::from("echo")
        } else {
            Body::from(Word::Ask(call).frame(order.padding))
        };
        match &mut self.kind {
            Kind::Shared(shared) => {
                let mut metadata = Metadata::default();
                if order.padding > 20 {
                    metadata.push("trace", b"7").expect("it is short");
                }
                let request = shared::Request {
                    service: order.service,
                    body,
                    timeout: order.timeout,
                    deadline: order.deadline,
                    tries: order.tries,
                    start_within: order.start_within,
                    once: order.once,
                    fail_fast: order.fail_fast,
                    no_reply: order.no_reply,
                    metadata,
                };
                shared.dialog.submit(u64::from(call), request, call, now);
            }
            Kind::Plain(plain) => {
                plain.in_parts = order.in_parts;
                let delivery = if order.in_parts { Delivery::Parts } else { Delivery::Joined };
                plain.call = Some(call);
                let began = plain.dialog.start(order.service, body, delivery, now);
                must!(began.is_ok(), "a call begins", "{began:?}");
            }
        }
        self.turn(nature, up);
        call
    }

    /// Its user does not want an answer any more.
    pub fn cancel(&mut self, call: CallId, nature: &mut Nature, up: &[bool]) {
        nature.tell(|| format!("k{} cancels c{call}", self.index));
        match &mut self.kind {
            Kind::Shared(shared) => shared.dialog.cancel(u64::from(call)),
            Kind::Plain(plain) => {
                if plain.call.take().is_some() {
                    plain.dialog.abandon();
                    let why = "abandoned".to_owned();
                    nature.book.end(call, End::Failed { may_have_run: true, why });
                }
            }
        }
        self.turn(nature, up);
    }

    /// Its user closes it.
    pub fn close(&mut self, nature: &mut Nature, up: &[bool]) {
        if let Kind::Shared(shared) = &mut self.kind {
            shared.dialog.close();
        }
        self.turn(nature, up);
    }

    /// Nothing is under way: nothing may be left in any table.
    pub fn check_empty(&self, now: Instant) {
        if let Kind::Shared(shared) = &self.kind {
            let counts = shared.dialog.counts();
            must!(counts.outstanding == 0, "every table empties", "{counts:?}");
            // A broker that was heard last may still have its timer.
            let due = shared.dialog.poll_timeout();
            must!(due.is_none_or(|due| due > now), "every table empties", "{due:?}");
        }
    }

    /// What it keeps, all tables together.
    pub fn entries(&self) -> usize {
        match &self.kind {
            Kind::Shared(shared) => shared.dialog.entries(),
            Kind::Plain(plain) => usize::from(plain.dialog.poll_timeout().is_some()),
        }
    }

    /// One round of its loop. `up`: which brokers can be connected to.
    pub fn turn(&mut self, nature: &mut Nature, up: &[bool]) {
        let (index, inline) = (self.index, self.inline_bytes_max);
        match &mut self.kind {
            Kind::Shared(shared) => shared.turn(index, inline, nature, up),
            Kind::Plain(plain) => plain.turn(index, nature, up),
        }
    }
}

fn connect(index: usize, broker: usize, nature: &mut Nature, up: &[bool]) -> Wire {
    let now = nature.now;
    let (net, rng) = (&mut nature.net, &mut nature.rng);
    let link = up[broker].then(|| net.connect(Owner::Client(index), broker, None, now, rng));
    match link.flatten() {
        Some(id) => Wire::Link { id, told: false },
        None => Wire::Refused(now + nature.up_to(Duration::from_millis(5))),
    }
}

/// What became of a connection that is not complete yet; `None` when nothing did.
fn progress(wire: &Wire, nature: &Nature) -> Option<bool> {
    match wire {
        Wire::Refused(at) => (*at <= nature.now).then_some(false),
        Wire::Link { id, .. } if nature.net.is_lost(*id, nature.now) => Some(false),
        Wire::Link { id, .. } => {
            let link = nature.net.link(*id)?;
            (link.open_at <= nature.now).then_some(true)
        }
    }
}

impl Shared {
    fn turn(&mut self, index: usize, inline: usize, nature: &mut Nature, up: &[bool]) {
        let now = nature.now;
        for broker in 0..self.wires.len() {
            self.read(index, broker, nature);
        }
        if self.dialog.poll_timeout().is_some_and(|due| due <= now) {
            self.dialog.handle_timeout(now);
            let next = self.dialog.poll_timeout();
            must!(next.is_none_or(|next| next > now), "a dialog does what is due", "k{index}");
        }
        self.perform(index, inline, nature, up);
        for (wire, batch) in self.wires.iter().zip(&mut self.batches) {
            let batch = batch.take();
            if let (Some(Wire::Link { id, .. }), Some(batch)) = (wire, batch) {
                nature.net.send_up(*id, batch.into_frames(), now, &mut nature.rng);
            }
        }
    }

    fn read(&mut self, index: usize, broker: usize, nature: &mut Nature) {
        let now = nature.now;
        let Some(wire) = self.wires[broker] else { return };
        match wire {
            Wire::Link { id, told } => {
                if !told && progress(&wire, nature) == Some(true) {
                    self.wires[broker] = Some(Wire::Link { id, told: true });
                    nature.tell(|| format!("k{index}    is connected to b{broker}"));
                    self.dialog.handle(broker, shared::Event::Connected, now);
                }
                while let Some(frames) = nature.net.receive_down(id, now) {
                    nature.tell(|| format!("k{index} <- b{broker}: {}", incoming(&frames)));
                    self.dialog.handle(broker, shared::Event::Message(frames), now);
                }
                if nature.net.is_lost(id, now) {
                    self.wires[broker] = None;
                    self.batches[broker] = None;
                    let event = if told { shared::Event::Lost } else { shared::Event::Refused };
                    nature.tell(|| format!("k{index}    b{broker} is {event:?}"));
                    self.dialog.handle(broker, event, now);
                }
            }
            Wire::Refused(at) if at <= now => {
                self.wires[broker] = None;
                nature.tell(|| format!("k{index}    b{broker} refuses"));
                self.dialog.handle(broker, shared::Event::Refused, now);
            }
            Wire::Refused(_) => {}
        }
    }

    fn perform(&mut self, index: usize, inline: usize, nature: &mut Nature, up: &[bool]) {
        while let Some(action) = self.dialog.poll_action() {
            match action {
                shared::Action::Connect { broker } => {
                    self.drop_wire(broker, nature);
                    self.wires[broker] = Some(connect(index, broker, nature, up));
                }
                shared::Action::Disconnect { broker, reason } => {
                    nature.tell(|| format!("k{index}    leaves b{broker}: {reason}"));
                    self.drop_wire(broker, nature);
                }
                shared::Action::Send { broker, command } => {
                    nature.tell(|| {
                        format!("k{index} -> b{broker}: {}", words::from_client(&command))
                    });
                    let new = || Batch::of_client(inline);
                    let written = command.write(self.batches[broker].get_or_insert_with(new));
                    must!(written.is_ok(), "a dialog says what its version can say", "k{index}");
                }
                shared::Action::Part { token, body, .. } => nature.book.hear(token, &body, false),
                shared::Action::Done { token, result } => {
                    nature.tell(|| format!("k{index}    c{token} ends: {result:?}"));
                    finish(token, result, nature);
                }
            }
        }
    }

    fn drop_wire(&mut self, broker: usize, nature: &mut Nature) {
        self.batches[broker] = None;
        if let Some(Wire::Link { id, .. }) = self.wires[broker].take() {
            nature.net.close(id, nature.rng.bool(), nature.now, &mut nature.rng);
        }
    }
}

fn finish(call: CallId, result: Result<Body, CallError>, nature: &mut Nature) {
    let end = match result {
        Ok(body) => {
            if body.size() > 0 {
                nature.book.hear(call, &body, true);
            }
            End::Replied
        }
        Err(error) => End::Failed { may_have_run: error.may_have_run(), why: error.to_string() },
    };
    nature.book.end(call, end);
}

fn incoming(frames: &[Vec<u8>]) -> String {
    let commands =
        majordomo_protocol::client::Commands::new(majordomo_protocol::Frames::new(frames.to_vec()));
    let Ok(commands) = commands else { return "what is no batch".to_owned() };
    let commands =
        commands.map(|command| command.map_or("garbage".to_owned(), |it| words::to_client(&it)));
    commands.collect::<Vec<_>>().join(", ")
}

impl Plain {
    fn turn(&mut self, index: usize, nature: &mut Nature, up: &[bool]) {
        let now = nature.now;
        self.perform(index, nature, up);
        let Some(_) = self.call else { return };
        // One event at a time, as its owner sees them; then the clock.
        while self.call.is_some() && self.event(index, nature, up) {
            self.perform(index, nature, up);
        }
        if self.call.is_some() && self.dialog.poll_timeout().is_some_and(|due| due <= now) {
            self.dialog.handle_timeout(now);
            self.perform(index, nature, up);
            while self.call.is_some() && self.event(index, nature, up) {
                self.perform(index, nature, up);
            }
        }
    }

    /// Tells the dialog of one thing that happened to its socket, if one did.
    fn event(&mut self, index: usize, nature: &mut Nature, up: &[bool]) -> bool {
        let now = nature.now;
        let Some(wire) = self.wire else { return false };
        if let Wire::Link { id, .. } = wire
            && let Some(frames) = nature.net.receive_down(id, now)
        {
            nature.tell(|| format!("k{index} <- {}", texts(&frames)));
            self.dialog.handle(dialog::Event::Message(frames), now);
            return true;
        }
        match wire {
            Wire::Link { id, told: true } if nature.net.is_lost(id, now) => {
                self.wire = None;
                nature.tell(|| format!("k{index}    has lost its connection"));
                self.dialog.handle(dialog::Event::<Vec<u8>>::Lost, now);
                true
            }
            Wire::Link { id, told } if told || progress(&wire, nature) == Some(true) => {
                self.wire = Some(Wire::Link { id, told: true });
                let Want::Send(frames) = self.dialog.want() else { return false };
                let frames = frames.to_vec();
                nature.tell(|| format!("k{index} -> {}", texts(&frames)));
                nature.net.send_up(id, frames, now, &mut nature.rng);
                self.dialog.handle(dialog::Event::<Vec<u8>>::Sent, now);
                true
            }
            wire if progress(&wire, nature) == Some(false) => {
                // It is tried again until the dialog gives up.
                let endpoint = self.dialog.endpoint();
                let broker = self.endpoints.iter().position(|known| known == endpoint);
                self.wire = Some(match broker.filter(|broker| up[*broker]) {
                    Some(broker) => connect(index, broker, nature, up),
                    None => Wire::Refused(now + REFUSED_PAUSE),
                });
                false
            }
            _ => false,
        }
    }

    fn perform(&mut self, index: usize, nature: &mut Nature, up: &[bool]) {
        while let Some(action) = self.dialog.poll_action() {
            match action {
                dialog::Action::Discard => {
                    if let Some(Wire::Link { id, .. }) = self.wire.take() {
                        nature.net.close(id, false, nature.now, &mut nature.rng);
                    }
                    self.wire = None;
                }
                dialog::Action::Connect { endpoint } => {
                    let broker = self.endpoints.iter().position(|known| *known == endpoint);
                    self.wire = broker.map(|broker| connect(index, broker, nature, up));
                }
                dialog::Action::TryFailed(failed) => {
                    nature.tell(|| format!("k{index}    a try failed: {}", failed.reason));
                    if let Some(call) = self.call.filter(|_| !self.in_parts) {
                        nature.book.begin_anew(call);
                    }
                }
                dialog::Action::Yield(Reply::Partial(body)) => {
                    if let Some(call) = self.call {
                        nature.book.hear(call, &body, false);
                    }
                }
                dialog::Action::Yield(Reply::Final(body)) => {
                    if let Some(call) = self.call.take() {
                        nature.tell(|| format!("k{index}    c{call} ends well"));
                        nature.book.hear(call, &body, true);
                        nature.book.end(call, End::Replied);
                    }
                }
                dialog::Action::Fail(error) => {
                    if let Some(call) = self.call.take() {
                        let (may_have_run, why) = (error.may_have_run(), error.to_string());
                        nature.tell(|| format!("k{index}    c{call} fails: {why}"));
                        nature.book.end(call, End::Failed { may_have_run, why });
                    }
                }
            }
        }
    }
}

fn texts(frames: &[Vec<u8>]) -> String {
    let frames = frames.iter().map(|frame| majordomo_protocol::dump(frame).to_string());
    frames.collect::<Vec<_>>().join(" | ")
}
