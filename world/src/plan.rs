//! What a seed makes of a world: how many of whom, which versions, which limits, which
//! faults.

use std::time::Duration;

use fastrand::Rng;
use majordomo_broker::engine::Settings;
use majordomo_broker::per_service::PerService;
use majordomo_protocol::{Metadata, ServiceName, Version};
use majordomo_worker::dialog::{Registration, Timing};

use crate::net::Weather;
use crate::worker::Manner;

/// Which faults there are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Connections are cut.
    pub cuts: bool,
    /// Workers are killed, drain and stop.
    pub worker_ends: bool,
    /// Brokers are killed and stop.
    pub broker_ends: bool,
    /// Single parts do not run for a while.
    pub freezes: bool,
    /// The machine is suspended.
    pub jumps: bool,
    /// Calls are taken back.
    pub cancels: bool,
    /// There are strangers.
    pub strangers: bool,
    /// Limits are reached.
    pub low_limits: bool,
    /// Times are so short that they pass.
    pub short_times: bool,
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Plan {
    /// What goes wrong.
    pub faults: Faults,
    /// Nothing does.
    pub calm: bool,
    /// Steps before everything is healed.
    pub steps: u32,
    /// The longest between two acts of chance.
    pub act_max: Duration,
    /// The network while it is bad.
    pub weather: Weather,
    /// Whether brokers are told of the end of a connection.
    pub tells_of_ends: bool,
    /// Of every broker.
    pub settings: Settings,
    /// How many brokers.
    pub brokers: usize,
    /// Messages that a broker reads in one turn.
    pub drain_max: usize,
    /// What each client speaks.
    pub clients: Vec<Version>,
    /// Which broker each worker serves, and how.
    pub workers: Vec<(usize, Registration, Timing)>,
    /// How handlers behave.
    pub manner: Manner,
    /// How many strangers.
    pub strangers: usize,
    /// The services there are.
    pub services: Vec<ServiceName>,
    /// Whether brokers remember every answer.
    pub remembers: bool,
    /// Up to this size a body stands in the batch.
    pub inline_bytes_max: usize,
}

const VERSIONS: [Version; 5] =
    [Version::V0_1, Version::V0_2, Version::V1_0, Version::V1_0, Version::V1_0];

impl Plan {
    /// The one of this seed.
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0x9e37_79b9_7f4a_7c15);
        let rng = &mut rng;
        let calm = rng.u8(..7) == 0;
        let mut some = || !calm && rng.bool();
        let faults = Faults {
            cuts: some(),
            worker_ends: some(),
            broker_ends: some(),
            freezes: some(),
            jumps: some() && some(),
            cancels: some(),
            strangers: some(),
            low_limits: some(),
            short_times: some(),
        };
        let services: Vec<_> = ["echo", "sum"][..rng.usize(1..=2)]
            .iter()
            .filter_map(|name| ServiceName::new(name).ok())
            .collect();
        let remembers = !faults.low_limits || rng.bool();
        let mut settings = settings(faults, remembers, calm, rng);
        settings.prefetch = prefetch(&mut Rng::with_seed(seed ^ 0x7fb5_d329_728e_a185));
        let brokers = if rng.u8(..4) == 0 { 2 } else { 1 };
        let ms = |ms: u64| Duration::from_millis(ms);
        let weather = Weather {
            delay_max: ms(if calm { rng.u64(..15) } else { [0, 2, 20, 90][rng.usize(..4)] }),
            notice_max: ms([0, 20, 3_000][rng.usize(..3)]),
            queue_max: if faults.low_limits { rng.usize(1..8) } else { 1_000 },
        };
        let timing = Timing {
            heartbeat_interval: settings.heartbeat_interval,
            heartbeat_liveness: settings.heartbeat_liveness,
            reconnect_min: ms(rng.u64(1..100)),
            reconnect_max: ms(rng.u64(100..1_500)),
        };
        let mut workers = Vec::new();
        for broker in 0..brokers {
            for service in &services {
                for _ in 0..rng.usize(1..=2) {
                    let version = VERSIONS[rng.usize(..VERSIONS.len())];
                    let mut registration = Registration::new(service.clone(), version);
                    let mut timing = timing;
                    if version == Version::V1_0 {
                        // It asks for what it likes, and is told what holds.
                        timing.heartbeat_interval = ms(rng.u64(10..1_500));
                        if calm {
                            // Longer than a message is under way.
                            timing.heartbeat_interval = timing.heartbeat_interval.max(ms(50));
                        }
                        registration.capacity = rng.u16(1..=3);
                        let mut metadata = Metadata::default();
                        if rng.bool() && metadata.push("name", b"w").is_ok() {
                            registration.metadata = metadata;
                        }
                    }
                    workers.push((broker, registration, timing));
                }
            }
        }
        let clients = (0..rng.usize(1..=3)).map(|_| VERSIONS[rng.usize(..VERSIONS.len())]);
        let clients = clients.collect();
        let manner = Manner {
            pause_max: ms(if faults.short_times { 800 } else { rng.u64(1..150) }),
            parts_max: rng.u32(..3),
            fails_one_in: if calm { 0 } else { 10 },
            padding_max: rng.usize(..40),
            by_hand: false,
        };
        let strangers = if faults.strangers { rng.usize(1..=2) } else { 0 };
        Plan {
            faults,
            calm,
            steps: 260,
            act_max: ms([20, 60, 200][rng.usize(..3)]),
            weather,
            brokers,
            drain_max: if rng.bool() { 1_000 } else { rng.usize(1..3) },
            clients,
            workers,
            manner,
            strangers,
            services,
            remembers,
            inline_bytes_max: [0, 16, 4_096][rng.usize(..3)],
            tells_of_ends: rng.u8(..4) > 0,
            settings,
        }
    }
}

fn settings(faults: Faults, remembers: bool, calm: bool, rng: &mut Rng) -> Settings {
    let ms = |ms: u64| Duration::from_millis(ms);
    let interval = ms(rng.u64(150..600));
    let low = faults.low_limits;
    let mut limit = |low_max: usize, ample: usize| if low { rng.usize(1..=low_max) } else { ample };
    Settings {
        requests_max: 4 + limit(10, 1_000),
        requests_per_service_max: limit(4, 1_000),
        requests_per_client_max: limit(4, 1_000),
        bytes_max: 400 + 100 * limit(8, 10_000),
        partial_bytes_max: 20 + 20 * limit(4, 10_000),
        services_max: 2 + limit(2, 100),
        services_idle_max: 1 + limit(2, 100),
        workers_max: 8 + limit(2, 100),
        worker_metadata_bytes_max: 4_096,
        clients_max: 3 + limit(2, 100),
        answers_max: if remembers { 100_000 } else { limit(4, 10) - 1 },
        answers_bytes_max: if remembers { 1 << 30 } else { 60 * limit(4, 10) },
        answers_kept: if remembers { ms(100_000_000) } else { ms(rng.u64(..2_000)) },
        heartbeat_interval: interval,
        heartbeat_liveness: rng.u32(2..=4),
        heartbeat_interval_min: ms(rng.u64(20..150)),
        heartbeat_interval_max: ms(rng.u64(300..900)),
        request_expiry: ms(if calm { 60_000 } else { rng.u64(500..3_000) }),
        attempts_max: rng.u32(1..=3),
        prefetch: PerService::new(1),
        shutdown: ms(rng.u64(..1_000)),
        dead_max: rng.usize(..3),
        error_replies: !calm && rng.bool(),
        instance: 0,
        follow_requests: true,
    }
}

/// One at a time in half of all worlds; in the others some ahead, or another number for
/// a service.
fn prefetch(rng: &mut Rng) -> PerService<usize> {
    let mut prefetch = PerService::new(if rng.bool() { 1 } else { rng.usize(2..=4) });
    if rng.u8(..4) == 0
        && let Ok(services) = "ec*".parse()
    {
        prefetch.set(services, rng.usize(1..=3));
    }
    prefetch
}
