//! A worker as a process of its own, for tests that kill one or make it stand still.
//!
//! `bare-worker ENDPOINT VERSION SERVICE echo|hang INTERVAL_MS` serves until killed,
//! and writes a line for each request it takes.

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use majordomo_tests::wire::Version;
use majordomo_tests::worker::{Behaviour, serve};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let [endpoint, version, service, behaviour, interval_ms] = args[..] else {
        eprintln!("usage: bare-worker ENDPOINT VERSION SERVICE echo|hang INTERVAL_MS");
        return ExitCode::from(2);
    };
    let behaviour = match behaviour {
        "echo" => Behaviour::Echo,
        "hang" => Behaviour::Hang,
        _ => return ExitCode::from(2),
    };
    let (Some(version), Ok(interval_ms)) = (Version::from_text(version), interval_ms.parse())
    else {
        return ExitCode::from(2);
    };
    let interval = Duration::from_millis(interval_ms);
    serve(endpoint, version, service, behaviour, interval, &AtomicBool::new(false), |request| {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "request {}", String::from_utf8_lossy(&request.body.concat()));
        let _ = out.flush();
    });
    ExitCode::SUCCESS
}
