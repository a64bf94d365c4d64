//! The network: connections as TCP and ZeroMQ make them. Within one, order is kept and
//! nothing is lost but its end when it is cut; between two, anything may overtake.
//!
//! What was under way when a connection is cut arrives up to a point that chance sets.
//! Each side notices the cut after that, and not at the same time; until then it sends
//! into nothing. A connection that is made anew has a new identity, unless its owner
//! has one of its own, which the broker accepts once the old connection is gone. Brokers
//! are told of the end of a connection, behind all that came on it, unless their libzmq
//! tells of none.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use fastrand::Rng;
use majordomo_protocol::PeerId;

/// A message as it is on the wire.
pub type Frames = Vec<Vec<u8>>;

/// A connection; never used for a second one.
pub type LinkId = u32;

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A worker, by index.
    Worker(usize),
    /// A client, by index.
    Client(usize),
    /// Somebody who keeps to no rules, by index.
    Stranger(usize),
}

/// How bad the network is.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// The longest a message travels.
    pub delay_max: Duration,
    /// The longest until a cut is noticed.
    pub notice_max: Duration,
    /// Messages that wait for a peer that does not read; more are refused.
    pub queue_max: usize,
}

/// One connection.
#[derive(Debug)]
pub struct Link {
    /// The broker at its one end.
    pub broker: usize,
    /// What the broker knows it by.
    pub peer: PeerId,
    /// Who is at its other end.
    pub owner: Owner,
    /// When both ends know that it is complete.
    pub open_at: Instant,
    up: Way,
    down: Way,
}

/// What a broker reads of a connection.
#[derive(Debug)]
pub enum Came {
    /// A message.
    Message(Frames),
    /// That it has ended.
    End,
}

/// One direction of a connection.
#[derive(Debug, Default)]
struct Way {
    under_way: VecDeque<(Instant, Frames)>,
    latest: Option<Instant>,
    /// When its reader notices the cut.
    ends: Option<Instant>,
    /// Whether its end is something to be read, and is not read yet.
    tells_of_end: bool,
}

impl Way {
    fn push(&mut self, frames: Frames, due: Instant) {
        if self.ends.is_none() {
            let due = self.latest.map_or(due, |latest| latest.max(due));
            self.latest = Some(due);
            self.under_way.push_back((due, frames));
        }
    }

    fn pop(&mut self, now: Instant) -> Option<Came> {
        if self.due()? > now {
            return None;
        }
        match self.under_way.pop_front() {
            Some((_, frames)) => Some(Came::Message(frames)),
            None => {
                self.tells_of_end = false;
                Some(Came::End)
            }
        }
    }

    fn due(&self) -> Option<Instant> {
        let end = self.ends.filter(|_| self.tells_of_end);
        self.under_way.front().map(|(due, _)| *due).or(end)
    }

    /// Whether nothing more comes of it, and its reader knows.
    fn is_over(&self, now: Instant) -> bool {
        self.ends.is_some_and(|ends| ends <= now) && self.due().is_none()
    }

    fn cut(&mut self, kept: usize, now: Instant, notice: Duration) {
        if self.ends.is_none() {
            self.under_way.truncate(kept);
            let last = self.under_way.back().map_or(now, |(due, _)| *due);
            self.ends = Some(last.max(now) + notice);
        }
    }
}

/// A message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// All connections.
#[derive(Debug)]
pub struct Net {
    /// How bad it is now.
    pub weather: Weather,
    links: BTreeMap<LinkId, Link>,
    routes: BTreeMap<(usize, PeerId), LinkId>,
    next: LinkId,
    /// Brokers read from this connection alone, while it is set.
    pub only: Option<LinkId>,
    /// Whether brokers are told of the end of a connection.
    tells_of_ends: bool,
}

impl Net {
    /// Without any connection.
    pub fn new(weather: Weather, tells_of_ends: bool) -> Self {
        let (links, routes) = (BTreeMap::new(), BTreeMap::new());
        Net { weather, links, routes, next: 1, only: None, tells_of_ends }
    }

    fn delay(&self, rng: &mut Rng) -> Duration {
        Duration::from_micros(rng.u64(0..=self.weather.delay_max.as_micros() as u64))
    }

    /// Connects `owner`, under an identity of its own if it has one; `None` if that is
    /// in use.
    pub fn connect(
        &mut self,
        owner: Owner,
        broker: usize,
        identity: Option<&[u8]>,
        now: Instant,
        rng: &mut Rng,
    ) -> Option<LinkId> {
        let id = self.next;
        self.next += 1;
        let mut made_up = [0; 5];
        made_up[1..].copy_from_slice(&id.to_be_bytes());
        let peer = PeerId::new(identity.unwrap_or(&made_up));
        if self.routes.contains_key(&(broker, peer.clone())) {
            return None;
        }
        let open_at = now + self.delay(rng);
        self.routes.insert((broker, peer.clone()), id);
        let up = Way { tells_of_end: self.tells_of_ends, ..Way::default() };
        let down = Way::default();
        self.links.insert(id, Link { broker, peer, owner, open_at, up, down });
        Some(id)
    }

    /// The connection of this number, as long as one of its ends may use it.
    pub fn link(&self, id: LinkId) -> Option<&Link> {
        self.links.get(&id)
    }

    /// All connections that are not cut.
    pub fn whole(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        let links = self.links.iter().map(|(id, link)| (*id, link));
        links.filter(|(_, link)| link.up.ends.is_none() && link.down.ends.is_none())
    }

    /// From the peer to its broker.
    pub fn send_up(&mut self, id: LinkId, frames: Frames, now: Instant, rng: &mut Rng) {
        let delay = self.delay(rng);
        if let Some(link) = self.links.get_mut(&id) {
            let due = link.open_at.max(now) + delay;
            link.up.push(frames, due);
        }
    }

    /// From a broker to a peer, as a ROUTER socket does with `mandatory` set: it
    /// refuses when the peer is not there or its queue is full.
    ///
    /// # Errors
    ///
    /// [`Refused`]; then nothing was sent.
    pub fn send_down(
        &mut self,
        broker: usize,
        peer: &PeerId,
        frames: Frames,
        now: Instant,
        rng: &mut Rng,
    ) -> Result<(), Refused> {
        let delay = self.delay(rng);
        let queue_max = self.weather.queue_max;
        let id = self.routes.get(&(broker, peer.clone())).ok_or(Refused)?;
        let link = self.links.get_mut(id).ok_or(Refused)?;
        let noticed = link.up.ends.is_some_and(|ends| ends <= now);
        if noticed || link.down.under_way.len() >= queue_max {
            return Err(Refused);
        }
        link.down.push(frames, now + delay);
        Ok(())
    }

    /// Connections with something to read for this broker now.
    pub fn readable(&self, broker: usize, now: Instant) -> Vec<LinkId> {
        let links = self.links.iter().filter(|(_, link)| link.broker == broker);
        let links = links.filter(|(id, _)| self.only.is_none_or(|only| only == **id));
        links
            .filter(|(_, link)| link.up.due().is_some_and(|due| due <= now))
            .map(|l| *l.0)
            .collect()
    }

    /// When there is something to read for this broker next.
    pub fn broker_due(&self, broker: usize) -> Option<Instant> {
        let links = self.links.values().filter(|link| link.broker == broker);
        links.filter_map(|link| link.up.due()).min()
    }

    /// Whether something is unread that came to this broker from this peer until then.
    pub fn has_unread(&self, broker: usize, peer: &PeerId, until: Instant) -> bool {
        let link = self.routes.get(&(broker, peer.clone())).and_then(|id| self.links.get(id));
        link.and_then(|link| link.up.due()).is_some_and(|due| due <= until)
    }

    /// What comes next for the broker.
    pub fn receive_up(&mut self, id: LinkId, now: Instant) -> Option<(PeerId, Came)> {
        let link = self.links.get_mut(&id)?;
        let came = link.up.pop(now)?;
        Some((link.peer.clone(), came))
    }

    /// The next message for the peer.
    pub fn receive_down(&mut self, id: LinkId, now: Instant) -> Option<Frames> {
        match self.links.get_mut(&id)?.down.pop(now)? {
            Came::Message(frames) => Some(frames),
            Came::End => None,
        }
    }

    /// When the peer has something to read, or notices that the connection is cut.
    pub fn peer_due(&self, id: LinkId) -> Option<Instant> {
        let link = self.links.get(&id)?;
        link.down.due().into_iter().chain(link.down.ends).min()
    }

    /// Whether the peer knows by now that the connection is gone: everything that came
    /// has been read before.
    pub fn is_lost(&self, id: LinkId, now: Instant) -> bool {
        self.links.get(&id).is_none_or(|link| {
            link.down.ends.is_some_and(|ends| ends <= now) && link.down.under_way.is_empty()
        })
    }

    /// Cuts a connection. Of what is under way chance keeps the beginning.
    pub fn cut(&mut self, id: LinkId, now: Instant, rng: &mut Rng) {
        let notice_max = self.weather.notice_max.as_micros() as u64;
        let mut notice = || Duration::from_micros(rng.u64(0..=notice_max));
        let notices = (notice(), notice());
        if let Some(link) = self.links.get_mut(&id) {
            let kept =
                (rng.usize(0..=link.up.under_way.len()), rng.usize(0..=link.down.under_way.len()));
            link.up.cut(kept.0, now, notices.0);
            link.down.cut(kept.1, now, notices.1);
        }
    }

    /// Cuts a connection that both sides notice at once. What is under way arrives, or
    /// nothing of it.
    pub fn snap(&mut self, id: LinkId, arrives: bool, now: Instant) {
        if let Some(link) = self.links.get_mut(&id) {
            for way in [&mut link.up, &mut link.down] {
                let kept = if arrives { way.under_way.len() } else { 0 };
                way.cut(kept, now, Duration::ZERO);
            }
        }
    }

    /// The peer closes its end: with `flushes`, what it sent still arrives.
    pub fn close(&mut self, id: LinkId, flushes: bool, now: Instant, rng: &mut Rng) {
        if let Some(link) = self.links.get_mut(&id) {
            let all = link.up.under_way.len();
            let kept = if flushes { all } else { rng.usize(0..=all) };
            link.up.cut(kept, now, Duration::ZERO);
            link.down.cut(0, now, Duration::ZERO);
        }
    }

    /// The broker's process ends: all its connections are cut. With `flushes` what it
    /// sent still arrives.
    pub fn broker_ends(&mut self, broker: usize, flushes: bool, now: Instant, rng: &mut Rng) {
        for link in self.links.values_mut().filter(|link| link.broker == broker) {
            let all = link.down.under_way.len();
            link.down.cut(if flushes { all } else { rng.usize(0..=all) }, now, Duration::ZERO);
            link.up.cut(0, now, Duration::ZERO);
            link.up.under_way.clear();
            link.up.tells_of_end = false;
        }
        self.routes.retain(|(of, _), _| *of != broker);
    }

    /// Forgets what nobody uses any more.
    pub fn sweep(&mut self, now: Instant) {
        self.links.retain(|_, link| !(link.up.is_over(now) && link.down.is_over(now)));
        let links = &self.links;
        self.routes.retain(|_, id| links.get(id).is_some_and(|link| !link.up.is_over(now)));
    }
}
