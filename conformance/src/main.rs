//! `majordomo-conformance`: points bare peers at any Majordomo broker, and says clause by
//! clause what it keeps of ZeroMQ RFC 7, RFC 18 and RFC 8, and of docs/protocol.md. Turned
//! round it is a bare broker that checks what a worker or a client sends.
//!
//! The way of one run: [`args`] says what is wanted; [`run`] finds out what the broker
//! speaks and tries the [`checks`], each a [`trial::Trial`] of its own with bare [`peers`]
//! ([`v1`] for MDP/1.0); [`report`] prints what came of it. [`subject`] is the other way
//! round.

mod args;
mod check;
mod checks;
mod clock;
mod peers;
mod report;
mod run;
mod subject;
mod trial;
mod v1;
mod verdict;
mod wire;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use args::Args;
use report::Report;
use trial::Setup;

const WRONG_USAGE: u8 = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    if args.list {
        print(&list(&args));
        return ExitCode::SUCCESS;
    }
    let report = match try_it(&args) {
        Ok(report) => report,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "majordomo-conformance: {error}");
            return ExitCode::from(WRONG_USAGE);
        }
    };
    print(&if args.json { report.json() } else { report.table() });
    ExitCode::from(report.exit_code())
}

fn try_it(args: &Args) -> Result<Report, String> {
    // Without --list it is required.
    let endpoint = args.endpoint.clone().unwrap_or_default();
    if args.worker || args.client {
        return subject::run(args, &endpoint);
    }
    majordomo_protocol::Endpoint::to_connect(&endpoint).map_err(|error| error.to_string())?;
    let setup = Setup {
        context: zmq::Context::new(),
        endpoint,
        timeout: args.timeout,
        quiet: args.quiet,
        heartbeat: args.heartbeat.map(|interval| (interval, args.liveness)),
        expiry: args.expiry,
        prefix: format!("conformance.{:08x}", fastrand::u32(..)),
    };
    let checks = check::all(&args.protocol);
    let wanted = checks.into_iter().filter(|check| args.wants(|text| check.matches(text)));
    Ok(run::run(setup, wanted.collect(), args.jobs.into()))
}

fn list(args: &Args) -> String {
    let mut text = String::new();
    if args.worker || args.client {
        for (name, level, clause) in subject::list(args) {
            text += &format!("{:8} {name}\n         {clause}\n", level.as_str());
        }
        return text;
    }
    for check in check::all(&args.protocol) {
        if args.wants(|text| check.matches(text)) {
            text +=
                &format!("{:8} {}\n         {}\n", check.level.as_str(), check.name, check.clause);
        }
    }
    text
}

/// Writes to standard output; if nobody reads it, the exit code still tells.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
