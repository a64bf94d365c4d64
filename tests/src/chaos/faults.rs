//! What is done to whom and when: a list that a seed and a few numbers decide, so that
//! the same seed does the same again. What the processes do in between it does not
//! decide.

use std::time::Duration;

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// SIGKILL, and a new one in its place later.
    WorkerKill,
    /// SIGSTOP, and SIGCONT later.
    WorkerFreeze,
    /// A new one is started, then this one gets SIGTERM.
    WorkerDrain,
    /// Its connections are cut.
    WorkerCut,
    /// What passes over its connections is late for a time.
    WorkerDelay,
    /// Its connections are closed on the side of the broker alone.
    WorkerHalfOpen,
    /// SIGKILL, and a new one at the same endpoint later.
    BrokerKill,
    /// SIGSTOP, and SIGCONT later.
    BrokerFreeze,
    /// SIGTERM, and a new one at the same endpoint later.
    BrokerDrain,
    /// A caller's connections are cut.
    ClientCut,
    /// What passes over its connections is late for a time.
    ClientDelay,
    /// Its connections are closed on the side of the broker alone.
    ClientHalfOpen,
    /// Hundreds of peers connect to every broker at once, ask something and leave.
    Crowd,
}

/// To whom it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A broker.
    Broker,
    /// A worker.
    Worker,
    /// A process of callers.
    Client,
    /// The machine.
    All,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 13] = [
        Kind::WorkerKill,
        Kind::WorkerFreeze,
        Kind::WorkerDrain,
        Kind::WorkerCut,
        Kind::WorkerDelay,
        Kind::WorkerHalfOpen,
        Kind::BrokerKill,
        Kind::BrokerFreeze,
        Kind::BrokerDrain,
        Kind::ClientCut,
        Kind::ClientDelay,
        Kind::ClientHalfOpen,
        Kind::Crowd,
    ];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::WorkerKill => "worker-kill",
            Kind::WorkerFreeze => "worker-freeze",
            Kind::WorkerDrain => "worker-drain",
            Kind::WorkerCut => "worker-cut",
            Kind::WorkerDelay => "worker-delay",
            Kind::WorkerHalfOpen => "worker-half-open",
            Kind::BrokerKill => "broker-kill",
            Kind::BrokerFreeze => "broker-freeze",
            Kind::BrokerDrain => "broker-drain",
            Kind::ClientCut => "client-cut",
            Kind::ClientDelay => "client-delay",
            Kind::ClientHalfOpen => "client-half-open",
            Kind::Crowd => "crowd",
        }
    }

    /// The kind that is written so.
    pub fn from_text(text: &str) -> Option<Self> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// To whom it happens.
    pub fn role(self) -> Role {
        match self {
            Kind::WorkerKill
            | Kind::WorkerFreeze
            | Kind::WorkerDrain
            | Kind::WorkerCut
            | Kind::WorkerDelay
            | Kind::WorkerHalfOpen => Role::Worker,
            Kind::BrokerKill | Kind::BrokerFreeze | Kind::BrokerDrain => Role::Broker,
            Kind::ClientCut | Kind::ClientDelay | Kind::ClientHalfOpen => Role::Client,
            Kind::Crowd => Role::All,
        }
    }

    /// How long it lasts, in milliseconds. What is drained gets the time to end.
    fn lasts_ms(self) -> std::ops::RangeInclusive<u64> {
        match self {
            Kind::WorkerDrain | Kind::WorkerCut | Kind::ClientCut | Kind::Crowd => 0..=0,
            Kind::WorkerKill | Kind::BrokerKill => 100..=1_500,
            // Some of them long enough to count as lost.
            Kind::WorkerFreeze | Kind::BrokerFreeze => 300..=5_000,
            Kind::BrokerDrain => 500..=1_500,
            Kind::WorkerDelay | Kind::ClientDelay => 500..=2_000,
            Kind::WorkerHalfOpen | Kind::ClientHalfOpen => 1_000..=5_000,
        }
    }
}

/// How many there are of each.
#[derive(Clone, Copy, Debug)]
pub struct Crew {
    /// Brokers.
    pub brokers: usize,
    /// Workers at a time.
    pub workers: usize,
    /// Processes of callers.
    pub clients: usize,
}

impl Crew {
    fn of(&self, role: Role) -> usize {
        match role {
            Role::Broker => self.brokers,
            Role::Worker => self.workers,
            Role::Client => self.clients,
            Role::All => 1,
        }
    }
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub kind: Kind,
    /// To which of its [role](Kind::role).
    pub target: usize,
    /// When it begins, from the start of the run.
    pub begins: Duration,
    /// When it is over.
    pub ends: Duration,
}

/// So long after a fault is over its target is left alone.
const REST: Duration = Duration::from_millis(1_500);

/// The faults of one run: one every `pause`, from `from` until `until`. None begins
/// while its target is still in trouble, and only one broker is at a time.
pub fn draw(
    seed: u64,
    kinds: &[Kind],
    crew: Crew,
    from: Duration,
    until: Duration,
    pause: Duration,
) -> Vec<Fault> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut faults: Vec<Fault> = vec![];
    let mut begins = from;
    while begins < until && !kinds.is_empty() {
        // So many draws that hardly ever a time passes without a fault.
        for _ in 0..20 {
            let kind = kinds[random.usize(..kinds.len())];
            let (role, count) = (kind.role(), crew.of(kind.role()));
            let target = random.usize(..count.max(1));
            let ends = begins + Duration::from_millis(random.u64(kind.lasts_ms()));
            let in_trouble = |fault: &Fault| {
                fault.kind.role() == role
                    && (fault.target == target || role == Role::Broker)
                    && fault.ends + REST > begins
            };
            if count > 0 && !faults.iter().any(in_trouble) {
                faults.push(Fault { kind, target, begins, ends });
                break;
            }
        }
        begins += pause;
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREW: Crew = Crew { brokers: 2, workers: 5, clients: 3 };

    fn of(seed: u64, kinds: &[Kind]) -> Vec<Fault> {
        let [from, until, pause] = [1, 601, 1].map(Duration::from_secs);
        draw(seed, kinds, CREW, from, until, pause)
    }

    #[test]
    fn a_seed_decides() {
        assert_eq!(of(1, &Kind::ALL), of(1, &Kind::ALL));
        assert_ne!(of(1, &Kind::ALL), of(2, &Kind::ALL));
    }

    #[test]
    fn every_kind_happens_and_hardly_a_second_passes_without() {
        let faults = of(3, &Kind::ALL);
        assert!(faults.len() > 570, "{}", faults.len());
        for kind in Kind::ALL {
            assert!(faults.iter().any(|fault| fault.kind == kind), "{kind:?}");
            assert_eq!(Kind::from_text(kind.as_str()), Some(kind));
        }
    }

    #[test]
    fn only_one_broker_is_in_trouble_at_a_time() {
        let mut last = Duration::ZERO;
        for fault in of(4, &[Kind::BrokerKill, Kind::BrokerFreeze, Kind::BrokerDrain]) {
            assert!(fault.begins >= last && fault.target < 2, "{fault:?}");
            last = fault.ends;
        }
    }
}
