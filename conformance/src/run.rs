//! A run against a broker: what it speaks is found out first, then all checks of that are
//! tried side by side, then those that send what no peer may send, one by one.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use majordomo_protocol::{Offer, Version};

use crate::check::Check;
use crate::checks;
use crate::clock::Deadline;
use crate::report::{Item, Report, Spoken};
use crate::trial::{Setup, Trial};
use crate::v1;
use crate::verdict::{Step, Stop, Verdict};
use crate::wire::{self, dump, frames};

/// Numbers of the trials that find out what is spoken; those of checks count from 0.
const PROBE: usize = 1_000_000;

/// Tries these checks, `jobs` at a time.
pub(crate) fn run(mut setup: Setup, checks: Vec<Check>, jobs: usize) -> Report {
    let mut spoken = vec![];
    let mut tried = vec![];
    for version in [Version::V0_1, Version::V0_2, Version::V1_0] {
        let of_version: Vec<Check> =
            checks.iter().filter(|check| check.version == version).cloned().collect();
        if of_version.is_empty() {
            continue;
        }
        let probed = probe(&setup, version);
        let speaks = probed.spoken;
        spoken.push(probed);
        if !speaks {
            continue;
        }
        if version == Version::V1_0 && setup.heartbeat.is_none() {
            setup.heartbeat = learn_heartbeat(&setup);
        }
        let (mmi, rest): (Vec<_>, Vec<_>) = of_version.into_iter().partition(|check| check.mmi);
        tried.extend(rest);
        if !mmi.is_empty() {
            let probed = probe_mmi(&setup, version);
            if probed.spoken {
                tried.extend(mmi);
            }
            spoken.push(probed);
        }
    }
    if spoken.iter().any(|probed| !probed.spoken)
        && let Some(check) = tried.first()
        && let again = probe(&setup, check.version)
        && !again.spoken
    {
        // It did not survive a version that it does not know.
        let seen = "it answered at first, and no longer does since it was asked in other \
                    versions; leave those out by --protocol";
        spoken.push(Spoken { seen: seen.to_owned(), ..again });
        tried.clear();
    }
    let items = try_all(&setup, tried, jobs);
    Report { spoken, items }
}

/// Whether anything of this version comes back: to a worker that registers, or to a
/// client that asks it, or the broker itself.
fn probe(setup: &Setup, version: Version) -> Spoken {
    let trial = Trial::new(setup, version, PROBE + version as usize);
    let what = format!("MDP/{version}");
    let (spoken, seen) = match hear(&trial) {
        Ok(Some(seen)) => (true, seen),
        Ok(None) => {
            let ms = setup.timeout.as_millis();
            (false, format!("neither a client nor a worker heard anything of it within {ms} ms"))
        }
        Err(stop) => (false, format!("{stop:?}")),
    };
    Spoken { what, spoken, seen }
}

fn hear(trial: &Trial<'_>) -> Step<Option<String>> {
    let version = trial.version;
    let service = trial.name();
    let worker = trial.connect(zmq::DEALER)?;
    let client = trial.connect(zmq::DEALER)?;
    if version == Version::V1_0 {
        worker.send(&v1::worker_message([v1::ready(&service, 1)?]));
        client.send(&v1::client_message([majordomo_protocol::client::ToBroker::Heartbeat]));
    } else {
        worker.send(&wire::ready(version, &service));
        client.send(&wire::request(version, &service, &frames(["hello"])));
        client.send(&wire::request(version, "mmi.service", &frames([&service])));
    }
    let end = Deadline::after(trial.setup.timeout);
    while !end.is_over() {
        for (link, who) in [(&worker, "a worker"), (&client, "a client")] {
            let slice = Deadline::after(Duration::from_millis(20));
            let Some(message) = trial.receive(link, slice) else { continue };
            let headers = [wire::client_header(version), wire::worker_header(version)];
            let of_version =
                |frame: &Vec<u8>| headers.iter().any(|header| frame.starts_with(header));
            if message.iter().any(of_version) {
                // The request that was asked must not stay behind.
                if let Some(request) = wire::read_to_worker(version, &message)
                    && version != Version::V1_0
                {
                    let reply = wire::addressed(
                        version,
                        wire::Command::Final,
                        &request.address,
                        &frames([""]),
                    );
                    if request.command == wire::Command::Request {
                        worker.send(&reply);
                    }
                    worker.send(&wire::disconnect(version));
                }
                return Ok(Some(format!("{who} received {}", dump(&message))));
            }
        }
    }
    Ok(None)
}

fn probe_mmi(setup: &Setup, version: Version) -> Spoken {
    let trial = Trial::new(setup, version, PROBE + 10 + version as usize);
    let what = format!("RFC 8 over MDP/{version}");
    match checks::mmi_answer(&trial, "mmi.service", &trial.name()) {
        Ok(answer) => Spoken { what, spoken: true, seen: format!("mmi.service answered {answer}") },
        Err(Stop::Failed(seen)) => Spoken { what, spoken: false, seen: seen.to_string() },
        Err(stop) => Spoken { what, spoken: false, seen: format!("{stop:?}") },
    }
}

/// The broker's own interval and liveness, which WELCOME tells.
fn learn_heartbeat(setup: &Setup) -> Option<(Duration, u32)> {
    let trial = Trial::new(setup, Version::V1_0, PROBE + 20);
    let service = trial.name();
    let (_worker, agreement) =
        v1::Worker::register_with(&trial, &service, Offer::default()).ok()?;
    Some((agreement.heartbeat, agreement.liveness.into()))
}

fn try_all(setup: &Setup, checks: Vec<Check>, jobs: usize) -> Vec<Item> {
    let verdicts: Mutex<Vec<Option<Verdict>>> = Mutex::new(checks.iter().map(|_| None).collect());
    let next = AtomicUsize::new(0);
    let keep = |number: usize, verdict| {
        if let Ok(mut verdicts) = verdicts.lock() {
            verdicts[number] = Some(verdict);
        }
    };
    thread::scope(|scope| {
        for _ in 0..jobs.min(checks.len()) {
            scope.spawn(|| {
                while let number = next.fetch_add(1, Ordering::Relaxed)
                    && let Some(check) = checks.get(number)
                {
                    if !check.hostile {
                        keep(number, check.run(&Trial::new(setup, check.version, number)));
                    }
                }
            });
        }
    });
    let mut gone: Option<String> = None;
    for (number, check) in checks.iter().enumerate().filter(|(_, check)| check.hostile) {
        if let Some(name) = &gone {
            let reason = format!("the broker has not answered since {name}");
            keep(number, Err(Stop::Blocked(reason)));
            continue;
        }
        keep(number, check.run(&Trial::new(setup, check.version, number)));
        let trial = Trial::new(setup, check.version, PROBE + 100 + number);
        if !matches!(hear(&trial), Ok(Some(_))) {
            gone = Some(check.name.clone());
        }
    }
    let verdicts = verdicts.into_inner().unwrap_or_default();
    let item = |(check, verdict): (Check, Option<Verdict>)| Item {
        name: check.name,
        section: check.section,
        level: check.level,
        clause: check.clause,
        verdict: verdict.unwrap_or_else(|| Err(Stop::Blocked("it was given up".to_owned()))),
    };
    checks.into_iter().zip(verdicts).map(item).collect()
}
