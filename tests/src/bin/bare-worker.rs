//! A worker as a process of its own, for tests that kill one or make it stand still.
//!
//! `bare-worker ENDPOINT VERSION SERVICE echo|hang INTERVAL_MS` serves until killed,
//! and writes a line for each request it takes. VERSION is 0.1, 0.2 or 1.0, with the
//! capacity 1.

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use majordomo_tests::v1;
use majordomo_tests::wire::{Frames, Version};
use majordomo_tests::worker::{Behaviour, Request, serve};

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
    let Ok(interval_ms) = interval_ms.parse() else { return ExitCode::from(2) };
    let interval = Duration::from_millis(interval_ms);
    let never = AtomicBool::new(false);
    if version == "1.0" {
        v1::serve(endpoint, service, 1, behaviour, interval, &never, |task| tell(&task.body));
    } else if let Some(version) = Version::from_text(version) {
        let on_request = |request: &Request| tell(&request.body);
        serve(endpoint, version, service, behaviour, interval, &never, on_request);
    } else {
        return ExitCode::from(2);
    }
    ExitCode::SUCCESS
}

fn tell(body: &Frames) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "request {}", String::from_utf8_lossy(&body.concat()));
    let _ = out.flush();
}
