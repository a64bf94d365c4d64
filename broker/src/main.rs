//! The process: flags, configuration, logging, signals, serve, exit code.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use majordomo_broker::args::{self, Command};
use majordomo_broker::config::Config;
use majordomo_broker::logging;
use majordomo_broker::server::Server;

const NAME: &str = "majordomo-broker";
const FAILED: u8 = 1;
const WRONG_USAGE: u8 = 2;

fn main() -> ExitCode {
    let command = match args::parse(std::env::args_os(), std::env::vars_os()) {
        Ok(command) => command,
        Err(error) => return fail(WRONG_USAGE, error.into()),
    };
    let done = match command {
        Command::Print(text) => print(&text).context("cannot write"),
        Command::Run(config) => run(&config),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(FAILED, error),
    }
}

fn run(config: &Config) -> anyhow::Result<()> {
    logging::init(config).context("cannot set up logging")?;
    // One that comes while the files are read for the first time has nothing to say.
    let hangup = signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::default());
    hangup.context("cannot handle signals")?;
    let mut server = Server::bind(config)?;
    server.stop_handle().stop_on_signals().context("cannot handle signals")?;
    server.reload_on_signal().context("cannot handle signals")?;
    warn_of_exposed(config);
    // Nobody who reads it is no reason not to serve.
    let _ = print(&format!("{NAME}: ready on {}\n", server.endpoints().join(" ")));
    let counters = server.run()?;
    log::info!(
        requests = counters.requests_received, answered = counters.requests_answered;
        "stopped"
    );
    Ok(())
}

/// Says which endpoints give others more than they should have.
fn warn_of_exposed(config: &Config) {
    for (endpoints, reason) in config.exposed_endpoints() {
        for endpoint in endpoints {
            log::warn!(endpoint:%, reason; "insecure endpoint");
        }
    }
}

/// Writes to standard output. A reader that has gone away is no failure.
fn print(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

fn fail(code: u8, error: anyhow::Error) -> ExitCode {
    // If nobody reads this, the exit code still says it.
    let _ = writeln!(std::io::stderr(), "{NAME}: {error:#}");
    ExitCode::from(code)
}
