//! RFC 8: the broker's own services, asked in each version.

use std::time::Duration;

use crate::check::Level::Must;
use crate::check::Row;
use crate::clock::Deadline;
use crate::peers::{self, Worker};
use crate::trial::Trial;
use crate::v1;
use crate::verdict::{Needed, Step};
use crate::wire::{self, Version};

const ALL: &[Version] = &[Version::V0_1, Version::V0_2, Version::V1_0];

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "service-found",
        level: Must,
        versions: ALL,
        clause: "mmi.service answers 200 for a service with a worker.",
        run: service_found,
    },
    Row {
        name: "service-not-found",
        level: Must,
        versions: ALL,
        clause: "mmi.service answers 404 for a service that nobody registered.",
        run: service_not_found,
    },
    Row {
        name: "service-left",
        level: Must,
        versions: ALL,
        clause: "mmi.service answers 404 again when the last worker of a service has left.",
        run: service_left,
    },
    Row {
        name: "service-asked-for",
        level: Must,
        versions: ALL,
        clause: "mmi.service answers 404 for a service that has no worker but a waiting request.",
        run: service_asked_for,
    },
    Row {
        name: "not-implemented",
        level: Must,
        versions: ALL,
        clause: "A service of the namespace that the broker does not have is answered 501.",
        run: not_implemented,
    },
    Row {
        name: "worker-refused",
        level: Must,
        versions: ALL,
        clause: "A worker that registers a name beginning mmi. is told to DISCONNECT.",
        run: worker_refused,
    },
    Row {
        name: "handled-internally",
        level: Must,
        versions: ALL,
        clause: "No worker gets a request for a name beginning mmi., whatever it registered.",
        run: handled_internally,
    },
    Row {
        name: "prefix-only",
        level: Must,
        versions: ALL,
        clause: "Names that only contain mmi., or begin mmi without the dot, are ordinary services.",
        run: prefix_only,
    },
];

/// What one of the broker's own services answers.
pub(crate) fn ask(trial: &Trial<'_>, service: &str, body: &str) -> Step<String> {
    match trial.version {
        Version::V1_0 => v1::Client::new(trial)?.mmi(service, body),
        _ => peers::Client::new(trial)?.mmi(service, body),
    }
}

/// A worker of any version. Each side says DISCONNECT when it is dropped.
enum AnyWorker<'t> {
    Old(Worker<'t>),
    New(v1::Worker<'t>),
}

impl<'t> AnyWorker<'t> {
    fn register(trial: &'t Trial<'t>, service: &str) -> Step<Self> {
        match trial.version {
            Version::V1_0 => Ok(Self::New(v1::Worker::register(trial, service, 1).needed()?)),
            _ => Ok(Self::Old(Worker::register(trial, service)?)),
        }
    }

    fn say_ready(trial: &'t Trial<'t>, service: &str) -> Step<Self> {
        match trial.version {
            Version::V1_0 => {
                let worker = v1::Worker::stranger(trial)?;
                worker.send([v1::ready(service, 1)?]);
                Ok(Self::New(worker))
            }
            _ => {
                let worker = Worker::stranger(trial)?;
                worker.link().send(&wire::ready(trial.version, service));
                Ok(Self::Old(worker))
            }
        }
    }

    fn disconnected(&self) -> Step {
        match self {
            AnyWorker::Old(worker) => worker.disconnected().map(drop),
            AnyWorker::New(worker) => worker.disconnected().map(drop),
        }
    }

    /// Whether a message that ends with this body comes within this time.
    fn receives(&self, trial: &Trial<'_>, body: &str, wait: Duration) -> bool {
        let link = match self {
            AnyWorker::Old(worker) => worker.link(),
            AnyWorker::New(worker) => worker.link(),
        };
        let end = Deadline::after(wait);
        while let Some(message) = trial.receive(link, end) {
            if message.iter().any(|frame| frame.ends_with(body.as_bytes())) {
                return true;
            }
        }
        false
    }
}

/// Asks mmi.service until it answers this; a broker may take a moment to notice.
fn until(trial: &Trial<'_>, service: &str, expected: &str) -> Step {
    let end = Deadline::after(trial.setup.timeout);
    loop {
        let answer = ask(trial, "mmi.service", service)?;
        if answer == expected {
            return Ok(());
        }
        if end.is_over() {
            return Err(trial.failed(format!("{expected:?}"), format!("{answer:?}")));
        }
        trial.pass(trial.setup.quiet / 10)?;
    }
}

fn service_found(trial: &Trial<'_>) -> Step {
    let _worker = AnyWorker::register(trial, &trial.name())?;
    until(trial, &trial.name(), "200")
}

fn service_not_found(trial: &Trial<'_>) -> Step {
    trial.same("the code", "404".to_owned(), ask(trial, "mmi.service", &trial.name())?)
}

fn service_left(trial: &Trial<'_>) -> Step {
    let worker = AnyWorker::register(trial, &trial.name())?;
    until(trial, &trial.name(), "200").needed()?;
    drop(worker);
    until(trial, &trial.name(), "404")
}

fn service_asked_for(trial: &Trial<'_>) -> Step {
    let name = trial.name();
    match trial.version {
        Version::V1_0 => {
            let client = v1::Client::new(trial)?;
            let waiting = client.ask(&name, "waiting")?;
            let answer = client.mmi("mmi.service", &name)?;
            client.send([v1::cancel(waiting)]);
            trial.same("the code", "404".to_owned(), answer)
        }
        _ => {
            let client = peers::Client::new(trial)?;
            client.ask(&name, "waiting");
            trial.same("the code", "404".to_owned(), client.mmi("mmi.service", &name)?)
        }
    }
}

fn not_implemented(trial: &Trial<'_>) -> Step {
    let answer = ask(trial, "mmi.conformance-asks-for-this", "")?;
    trial.same("the code", "501".to_owned(), answer)
}

fn worker_refused(trial: &Trial<'_>) -> Step {
    let name = format!("mmi.{}", trial.name());
    AnyWorker::say_ready(trial, &name)?.disconnected()
}

fn handled_internally(trial: &Trial<'_>) -> Step {
    let name = format!("mmi.{}", trial.name());
    let worker = AnyWorker::say_ready(trial, &name)?;
    trial.pass(trial.setup.quiet / 4)?;
    let old = peers::Client::new(trial)?;
    let new = v1::Client::new(trial)?;
    match trial.version {
        Version::V1_0 => new.ask(&name, "for the broker alone").map(drop)?,
        _ => old.ask(&name, "for the broker alone"),
    }
    if worker.receives(trial, "for the broker alone", trial.setup.quiet) {
        let expected = format!("no REQUEST for {name} at a worker");
        return Err(trial.failed(expected, "the request, at the worker"));
    }
    Ok(())
}

fn prefix_only(trial: &Trial<'_>) -> Step {
    for name in [format!("a.mmi.{}", trial.name()), format!("mmi-{}", trial.name())] {
        let worker = AnyWorker::register(trial, &name)?;
        let old = peers::Client::new(trial)?;
        let new = v1::Client::new(trial)?;
        match trial.version {
            Version::V1_0 => new.ask(&name, "for the worker").map(drop)?,
            _ => old.ask(&name, "for the worker"),
        }
        if !worker.receives(trial, "for the worker", trial.setup.timeout) {
            let expected = format!("the request for {name} at its worker");
            return Err(trial.failed(expected, "nothing there"));
        }
    }
    Ok(())
}
