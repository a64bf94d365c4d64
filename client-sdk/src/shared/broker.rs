//! What is known of one broker: its connection, and the calls that are there.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use majordomo_protocol::HandshakeFailure;

use super::call::Failure;

/// One of the brokers of a client.
#[derive(Debug, Default)]
pub(super) struct Broker {
    pub(super) link: Link,
    /// Whether it was last seen to be of no use; a new connection clears it.
    pub(super) down: bool,
    /// How the last handshake failed, or that it has not ended.
    pub(super) handshake: Option<HandshakeFailure>,
    /// Calls that wait for the connection to be complete.
    pub(super) queued: BTreeSet<u64>,
    /// How many calls wait for an answer.
    pub(super) sent: usize,
    /// Connections since it was last heard that were refused, or broke or were given up.
    fruitless: u32,
    /// When it may be connected to again.
    pub(super) not_before: Option<Instant>,
    /// When its timer is due, if it is set.
    pub(super) due: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Link {
    #[default]
    Closed,
    /// To be connected until this time: by an attempt that is under way, or else by one
    /// that begins when the timer is due, after a pause.
    Connecting { until: Instant, attempting: bool },
    /// Connected. `heard` is the last message, `said` the last request, `asked` how
    /// many heartbeats went out since; `of_use`, whether any message came.
    Up { heard: Instant, said: Instant, asked: u32, of_use: bool },
}

/// What the timer of a broker that is connected asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    /// Nothing is outstanding: no timer.
    Rest,
    /// It was heard not long ago: look again then.
    Look(Instant),
    /// It should be asked.
    Ask,
    /// It did not answer.
    Silent,
}

/// The pauses before a broker of no use is connected to again double from the first to the
/// last of these: one that is back is found soon, and one that stays away is not hammered.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(320);

impl Broker {
    /// It was of no use. The pause is jittered down to half, so that many clients do not
    /// come together.
    pub(super) fn shun(&mut self, random: &mut fastrand::Rng, now: Instant) {
        let pause = PAUSE_MIN.saturating_mul(1 << self.fruitless.min(16)).min(PAUSE_MAX);
        self.fruitless = self.fruitless.saturating_add(1);
        self.not_before = Some(now + pause.mul_f64(0.5 + random.f64() / 2.0));
        self.down = true;
    }

    /// Why there is no connection.
    pub(super) fn unconnected(&self) -> Failure {
        self.handshake.map_or(Failure::Unreachable, Failure::Unauthorized)
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.link, Link::Up { .. })
    }

    /// A message came.
    pub(super) fn hear(&mut self, now: Instant) {
        if let Link::Up { heard, asked, of_use, .. } = &mut self.link {
            (*heard, *asked, *of_use) = (now, 0, true);
        }
        (self.fruitless, self.not_before) = (0, None);
    }

    /// A request went out.
    pub(super) fn say(&mut self, now: Instant) {
        if let Link::Up { said, .. } = &mut self.link {
            *said = now;
        }
    }

    /// The timer of a connected broker is due. Questions are counted, not time: after
    /// the process was stopped for a while a broker gets its time to answer.
    pub(super) fn beat(&mut self, heartbeat: Duration, liveness: u32, now: Instant) -> Beat {
        let Link::Up { heard, said, asked, .. } = &mut self.link else { return Beat::Rest };
        // What wants no answer is outstanding until something was heard after it.
        if self.sent == 0 && *heard > *said {
            return Beat::Rest;
        }
        if *asked >= liveness {
            return Beat::Silent;
        }
        if *asked == 0 && now < *heard + heartbeat {
            return Beat::Look(*heard + heartbeat);
        }
        *asked += 1;
        Beat::Ask
    }
}
