//! What an input says to the engine: settings, and then one thing after the other.
//!
//! Few peers, services and ids, so that they meet; low limits, so that they are reached.
//! Most steps take a byte for what happens and few for its details, so that a fuzzer can
//! put one in, take one out, or change one.

use std::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};
use majordomo_broker::engine::{Fault, Settings};
use majordomo_broker::per_service::PerService;
use majordomo_protocol::{Metadata, Offer, Terms, Version};

/// Beyond it nothing new happens, only more of it.
const STEPS_MAX: usize = 250;

/// A whole input.
#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) settings: Settings,
    pub(crate) steps: Vec<Step>,
}

/// Something that happens. Peers, services and request ids go by small numbers.
#[derive(Debug)]
pub(crate) enum Step {
    Request {
        client: u8,
        version: Version,
        id: u8,
        service: u8,
        terms: Terms,
        envelope: bool,
        bytes: usize,
    },
    Cancel {
        client: u8,
        id: u8,
    },
    ClientHeartbeat {
        client: u8,
    },
    Question {
        client: u8,
        version: Version,
        service: Option<u8>,
    },
    Ready {
        worker: u8,
        version: Version,
        service: u8,
        offer: Offer,
    },
    /// One of the tasks that are with workers, by the worker that has it.
    Answer {
        task: u8,
        answer: Answer,
        bytes: usize,
    },
    /// A task that was handed out some time, or never, by any peer.
    WrongAnswer {
        worker: u8,
        task: Option<u8>,
        answer: Answer,
    },
    WorkerHeartbeat {
        worker: u8,
    },
    Drain {
        worker: u8,
    },
    Disconnect {
        worker: u8,
    },
    Invalid {
        peer: u8,
        fault: Fault,
    },
    WorkerUnreachable {
        worker: u8,
    },
    ClientUnreachable {
        client: u8,
    },
    /// Unless it has a connection.
    Connects {
        peer: u8,
    },
    /// If it has one.
    ConnectionEnds {
        peer: u8,
    },
    /// Time passes, and the engine is driven whenever it asks to be.
    Pass(Duration),
    /// Time passes, and nobody drives the engine.
    Sleep(Duration),
    /// Time passes, and not all messages that came have been read.
    Behind(Duration),
    Stop,
    StopNow,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Partial,
    Final,
    Error(u16),
}

impl<'a> Arbitrary<'a> for Story {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        let settings = settings(input)?;
        let mut steps = Vec::new();
        while !input.is_empty() && steps.len() < STEPS_MAX {
            steps.push(step(input)?);
        }
        Ok(Story { settings, steps })
    }
}

/// Within what a configuration may say, but for byte counts, which it has higher.
fn settings(input: &mut Unstructured<'_>) -> Result<Settings> {
    let mut count = |min: u8, max: u8| Ok(usize::from(input.int_in_range(min..=max)?));
    let mut settings = Settings {
        heartbeat_interval: Duration::from_millis(50 * count(1, 4)? as u64),
        heartbeat_liveness: 2,
        request_expiry: Duration::from_millis(100 * count(1, 20)? as u64),
        attempts_max: 1,
        prefetch: PerService::new(1),
        shutdown: Duration::from_millis(100 * count(0, 5)? as u64),
        requests_max: count(1, 20)?,
        requests_per_service_max: count(1, 8)?,
        requests_per_client_max: count(1, 8)?,
        bytes_max: 4 * count(5, 100)?,
        partial_bytes_max: count(0, 60)?,
        services_max: count(1, 4)?,
        services_idle_max: count(0, 3)?,
        workers_max: count(1, 6)?,
        worker_metadata_bytes_max: 64,
        clients_max: count(1, 6)?,
        heartbeat_interval_min: Duration::from_millis(50),
        heartbeat_interval_max: Duration::from_millis(400),
        answers_max: count(0, 6)?,
        answers_bytes_max: 4 * count(0, 50)?,
        answers_kept: Duration::from_millis(100 * count(0, 10)? as u64),
        dead_max: count(0, 2)?,
        error_replies: false,
        instance: 0x0123_4567_89ab_cdef,
        follow_requests: false,
    };
    settings.heartbeat_liveness = input.int_in_range(2..=4)?;
    settings.attempts_max = input.int_in_range(1..=3)?;
    settings.error_replies = input.arbitrary()?;
    settings.follow_requests = input.arbitrary()?;
    Ok(settings)
}

fn step(input: &mut Unstructured<'_>) -> Result<Step> {
    let kind = input.int_in_range(0..=47u8)?;
    Ok(match kind {
        0..=11 => Step::Request {
            client: peer(input)?,
            version: version(input)?,
            id: input.int_in_range(0..=7)?,
            service: input.int_in_range(0..=3)?,
            terms: terms(input)?,
            envelope: input.ratio(1, 4)?,
            bytes: input.int_in_range(0..=40)?,
        },
        12..=16 => Step::Ready {
            worker: peer(input)?,
            version: version(input)?,
            // The last is the broker's own.
            service: input.int_in_range(0..=4)?,
            offer: Offer {
                capacity: *input.choose(&[1, 2, 3, 1, 0, u16::MAX])?,
                heartbeat: duration(input)?,
                liveness: *input.choose(&[0, 2, 3, 1, u8::MAX])?,
                metadata: Metadata::default(),
            },
        },
        17..=26 => Step::Answer {
            task: input.arbitrary()?,
            answer: answer(input)?,
            bytes: input.int_in_range(0..=40)?,
        },
        27 => Step::WrongAnswer {
            worker: peer(input)?,
            task: input.arbitrary()?,
            answer: answer(input)?,
        },
        28 | 29 => Step::Cancel { client: peer(input)?, id: input.int_in_range(0..=7)? },
        30 => Step::ClientHeartbeat { client: peer(input)? },
        31 => Step::Question {
            client: peer(input)?,
            version: version(input)?,
            service: input.int_in_range(0..=4).map(|service| (service < 4).then_some(service))?,
        },
        32 | 33 => Step::WorkerHeartbeat { worker: peer(input)? },
        34 => Step::Connects { peer: peer(input)? },
        35 => Step::Drain { worker: peer(input)? },
        36 => Step::Disconnect { worker: peer(input)? },
        37 => Step::Invalid {
            peer: peer(input)?,
            fault: *input.choose(&[Fault::Malformed, Fault::FramesMax, Fault::MessageBytesMax])?,
        },
        38 => Step::WorkerUnreachable { worker: peer(input)? },
        39 => Step::ConnectionEnds { peer: peer(input)? },
        40 => Step::ClientUnreachable { client: peer(input)? },
        41..=43 => Step::Pass(span(input)?),
        44 => Step::Sleep(span(input)?),
        45 => Step::Behind(span(input)?),
        // A story that stops early has little to tell.
        46 if input.ratio(1, 8)? => Step::StopNow,
        47 if input.ratio(1, 4)? => Step::Stop,
        _ => Step::Pass(Duration::from_millis(1)),
    })
}

fn peer(input: &mut Unstructured<'_>) -> Result<u8> {
    input.int_in_range(0..=5)
}

fn version(input: &mut Unstructured<'_>) -> Result<Version> {
    input.choose(&[Version::V1_0, Version::V0_2, Version::V0_1, Version::V1_0]).copied()
}

fn span(input: &mut Unstructured<'_>) -> Result<Duration> {
    input.choose(&[1, 10, 50, 100, 300, 1_000]).map(|ms| Duration::from_millis(*ms))
}

/// As a client or a worker asks for it: often none, sometimes the longest there is.
fn duration(input: &mut Unstructured<'_>) -> Result<Option<Duration>> {
    let ms = *input.choose(&[0, 0, 1, 60, 250, 800, u32::MAX])?;
    Ok((ms > 0).then(|| Duration::from_millis(ms.into())))
}

fn terms(input: &mut Unstructured<'_>) -> Result<Terms> {
    let flags: u8 = input.arbitrary()?;
    let mut terms = Terms {
        once: flags & 1 != 0,
        no_reply: flags & 6 == 6,
        fail_fast: flags & 24 == 24,
        ..Terms::default()
    };
    if flags & 32 != 0 {
        terms.timeout = duration(input)?;
        terms.start_within = duration(input)?;
    }
    if flags & 192 == 192 {
        terms.metadata.push("k", b"v").expect("short");
    }
    Ok(terms)
}

fn answer(input: &mut Unstructured<'_>) -> Result<Answer> {
    input
        .choose(&[
            Answer::Final,
            Answer::Partial,
            Answer::Final,
            Answer::Error(500),
            Answer::Error(408),
        ])
        .copied()
}
