//! `majordomo call`: one request, and its reply as it comes.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use majordomo_client::{Body, CallError, Client, Options, Reply, Security, failure};
use majordomo_protocol::dump;

use crate::args::{Call, Protocol, UsageError};
use crate::interrupt::{Interrupted, Interrupts};
use crate::{asking, note, print, printable};

/// How often, and in what distance, a service without worker is asked again: a worker
/// started at the same time as the call is found.
const LOOKS: u32 = 10;
const LOOK: Duration = Duration::from_millis(100);

pub(crate) fn run(
    call: &Call,
    brokers: &[String],
    security: Security,
    verbose: bool,
) -> anyhow::Result<()> {
    let service = call.service.as_str();
    let progress = || (verbose || io::stderr().is_terminal()).then(|| Progress::start(service));
    // Wrong settings are told before standard input is waited for.
    if call.asking.protocol == Protocol::V1_0 {
        let client = asking::client(brokers, security, &call.asking);
        let client = client.body_bytes_max(call.bytes_max).reply_bytes_max(call.bytes_max);
        let client = client.build()?;
        let (body, progress) = (body(call)?, progress());
        let interrupts = Interrupts::close(&client).context("cannot handle signals")?;
        let told = |error| told(error, call, &client, &interrupts, brokers);
        let replies = ask(call, &client, body).map_err(told)?;
        return show(call, progress, replies.map(|reply| reply.map_err(told)));
    }
    if call.once {
        return Err(UsageError("--once needs MDP/1.0: older versions cannot say it".into()).into());
    }
    let client = asking::blocking(brokers, security, &call.asking, call.asking.protocol.into());
    let client = client.body_bytes_max(call.bytes_max).reply_bytes_max(call.bytes_max);
    let mut client = client.build()?;
    let replies = client.stream(service, body(call)?)?;
    show(call, progress(), replies.map(|reply| Ok(reply?)))
}

/// Submits the request; a few times where there is no worker.
fn ask(
    call: &Call,
    client: &Client,
    body: Body,
) -> Result<impl Iterator<Item = Result<Reply, CallError>>, CallError> {
    let options = if call.wait { Options::new() } else { Options::new().fail_fast() };
    let options = if call.once { options.once() } else { options };
    let mut looks = LOOKS;
    loop {
        let submitted = client.submit_with(call.service.as_str(), body.clone(), &options)?;
        let mut replies = submitted.replies().peekable();
        let missing =
            |reply: &_| matches!(reply, Err(CallError::NoWorker { may_have_run: false, .. }));
        let is_missing = replies.peek().is_some_and(missing);
        if !is_missing || call.wait || looks == 0 {
            return Ok(replies);
        }
        looks -= 1;
        // Nobody unparks this thread.
        thread::park_timeout(LOOK);
    }
}

/// Prints replies as they come.
fn show(
    call: &Call,
    progress: Option<Progress>,
    replies: impl Iterator<Item = anyhow::Result<Reply>>,
) -> anyhow::Result<()> {
    for reply in replies {
        let reply = reply?;
        if let Some(progress) = &progress {
            progress.heard();
        }
        if let Reply::Final(last) = &reply
            && let Some(text) = failure(last)
            && !call.raw
        {
            bail!("service {} failed: {}", call.service, printable(text.trim_end()));
        }
        match call.frames {
            true => print(lines(&reply).as_bytes())?,
            false => {
                let (Reply::Partial(body) | Reply::Final(body)) = reply;
                print(&body.into_bytes())?;
            }
        }
    }
    Ok(())
}

/// Why there is no reply.
fn told(
    error: CallError,
    call: &Call,
    client: &Client,
    interrupts: &Interrupts,
    brokers: &[String],
) -> anyhow::Error {
    match (error, interrupts.signal()) {
        (CallError::Closed { .. }, Some(signal)) => Interrupted(signal).into(),
        (CallError::NoWorker { service, .. }, _) if !call.wait => {
            anyhow!("no worker for service {service}; with --wait the request waits for one")
        }
        (error, _) => asking::told(error, client, brokers, true),
    }
}

fn body(call: &Call) -> anyhow::Result<Body> {
    if !call.body.is_empty() {
        let frames = call.body.iter().map(|text| text.as_bytes().to_vec());
        return Ok(Body::from_frames(frames));
    }
    let bytes = match &call.file {
        Some(path) if path != Path::new("-") => File::open(path)
            .map_err(anyhow::Error::new)
            .and_then(|file| read(file, call.bytes_max))
            .with_context(|| format!("cannot read {}", path.display()))?,
        None if io::stdin().is_terminal() => {
            return Err(UsageError(
                "the body is missing: name a FILE, or give a text with --body, or send \
                 something to standard input; a FILE of - is what you type, up to Ctrl-D"
                    .to_owned(),
            )
            .into());
        }
        _ => read(io::stdin().lock(), call.bytes_max).context("cannot read standard input")?,
    };
    Ok(bytes.into())
}

/// Reads everything, unless it is more than can be sent.
fn read(source: impl Read, bytes_max: usize) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max {
        bail!("it has more than {bytes_max} bytes; --bytes-max raises the limit");
    }
    Ok(bytes)
}

/// A line for each frame; the first names the command.
fn lines(reply: &Reply) -> String {
    let (command, body) = match reply {
        Reply::Partial(body) => ("PARTIAL", body),
        Reply::Final(body) => ("FINAL", body),
    };
    let line = |(position, frame): (usize, &Vec<u8>)| {
        let command = if position == 0 { command } else { "" };
        format!("{command:7} [{:03}] {}\n", frame.len(), dump(frame))
    };
    body.frames().iter().enumerate().map(line).collect()
}

/// Says on standard error that there is no reply yet: after 1, 2, 4, 8 s and so on.
struct Progress(Sender<()>);

impl Progress {
    fn start(service: &str) -> Self {
        let (heard, receiver) = mpsc::channel();
        let service = service.to_owned();
        thread::spawn(move || {
            let first = Duration::from_secs(1);
            let (mut waited, mut step) = (Duration::ZERO, first);
            loop {
                match receiver.recv_timeout(step) {
                    Ok(()) => (waited, step) = (Duration::ZERO, first),
                    Err(RecvTimeoutError::Timeout) => {
                        waited += step;
                        step = waited;
                        note(format_args!("waiting for {service}, {} s so far", waited.as_secs()));
                    }
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        });
        Progress(heard)
    }

    /// A part has come: the waiting begins anew.
    fn heard(&self) {
        // The thread ends with this value only.
        let _ = self.0.send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_print_a_line_each_and_messages_stay_apart() {
        let part = Reply::Partial(Body::from("one"));
        assert_eq!(lines(&part), "PARTIAL [003] one\n");
        let last = Reply::Final(Body::from(vec![b"500".to_vec(), vec![0]]));
        assert_eq!(lines(&last), "FINAL   [003] 500\n        [001] 0x00\n");
    }

    #[test]
    fn no_more_is_read_than_can_be_sent() {
        assert_eq!(read(&b"1234"[..], 4).unwrap(), b"1234");
        assert!(read(&b"12345"[..], 4).is_err());
    }
}
