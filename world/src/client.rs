//! Clients: the SDK's two dialogs, and around them what their owners do, without a
//! socket. A connection that breaks is replaced as a whole, as the SDK does it.

pub mod plain;
pub mod shared;

use std::time::{Duration, Instant};

use majordomo_client::dialog::{self, Delivery};
use majordomo_client::shared as sdk;
use majordomo_client::{Body, Metadata, ServiceName, Version};

use self::plain::Plain;
use self::shared::Shared;
use crate::book::{End, Wish};
use crate::must;
use crate::nature::Nature;
use crate::net::{LinkId, Owner};
use crate::words::{CallId, Word};

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
                let settings = sdk::Settings {
                    endpoints,
                    connect_timeout,
                    heartbeat,
                    ..sdk::Settings::default()
                };
                let dialog = sdk::Dialog::new(settings, seed).expect("possible settings");
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
                let request = sdk::Request {
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
