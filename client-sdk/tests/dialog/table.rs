//! What the tests share: a dialog, its clock, and the socket as it sees it.

use std::time::{Duration, Instant};

use majordomo_client::dialog::{Action, Delivery, Dialog, Event, Reply, Settings, Want};
use majordomo_client::{Body, Error, ServiceName};

pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);
pub(crate) const CONNECT: Duration = Duration::from_secs(1);

/// A dialog, its clock, and what its owner would have done so far.
pub(crate) struct Table {
    pub(crate) dialog: Dialog,
    pub(crate) now: Instant,
    pub(crate) open: bool,
    pub(crate) error: Option<Error>,
}

pub(crate) fn settings(endpoints: &[&str]) -> Settings {
    Settings {
        endpoints: endpoints.iter().map(|name| format!("inproc://{name}")).collect(),
        timeout: TIMEOUT,
        connect_timeout: CONNECT,
        ..Settings::default()
    }
}

pub(crate) fn table(endpoints: &[&str]) -> Table {
    Table::new(settings(endpoints), 1)
}

pub(crate) fn name(service: &str) -> ServiceName {
    ServiceName::new(service).expect("a name")
}

pub(crate) fn frames(frames: &[&[u8]]) -> Vec<Vec<u8>> {
    frames.iter().map(|frame| frame.to_vec()).collect()
}

fn text(body: &Body) -> String {
    let frames = body.frames().iter().map(|frame| String::from_utf8_lossy(frame));
    frames.collect::<Vec<_>>().join("|")
}

impl Table {
    pub(crate) fn new(settings: Settings, seed: u64) -> Self {
        #[expect(clippy::disallowed_methods, reason = "some first moment; it is not read again")]
        let now = Instant::now();
        let dialog = Dialog::new(settings, seed).expect("possible settings");
        Table { dialog, now, open: false, error: None }
    }

    pub(crate) fn start(&mut self) -> &mut Self {
        self.begin(Delivery::Joined)
    }

    pub(crate) fn stream(&mut self) -> &mut Self {
        self.begin(Delivery::Parts)
    }

    pub(crate) fn begin(&mut self, delivery: Delivery) -> &mut Self {
        self.dialog.start(name("echo"), "hello".into(), delivery, self.now).expect("a start");
        self
    }

    pub(crate) fn after(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self
    }

    pub(crate) fn timeout(&mut self) -> &mut Self {
        self.dialog.handle_timeout(self.now);
        self
    }

    /// How long until the dialog is due.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.dialog.poll_timeout().map(|due| due - self.now)
    }

    /// Lets time pass until the dialog is due.
    pub(crate) fn wait(&mut self) -> &mut Self {
        let due = self.due().expect("something to wait for");
        self.after(due).timeout()
    }

    pub(crate) fn event(&mut self, event: Event<Vec<u8>>) -> &mut Self {
        self.dialog.handle(event, self.now);
        self
    }

    pub(crate) fn sent(&mut self) -> &mut Self {
        assert!(matches!(self.dialog.want(), Want::Send(_)), "nothing to send");
        self.event(Event::Sent)
    }

    pub(crate) fn message(&mut self, message: &[&[u8]]) -> &mut Self {
        self.event(Event::Message(frames(message)))
    }

    pub(crate) fn partial(&mut self, body: &str) -> &mut Self {
        self.message(&[b"MDPC02", &[2], b"echo", body.as_bytes()])
    }

    pub(crate) fn last(&mut self, body: &str) -> &mut Self {
        self.message(&[b"MDPC02", &[3], b"echo", body.as_bytes()])
    }

    /// What was to be done since the last look, in words.
    pub(crate) fn actions(&mut self) -> Vec<String> {
        let mut words = Vec::new();
        while let Some(action) = self.dialog.poll_action() {
            words.push(match action {
                Action::Discard => {
                    assert!(self.open, "a socket is discarded that is not open");
                    self.open = false;
                    "discard".to_owned()
                }
                Action::Connect { endpoint } => {
                    assert!(!self.open, "a socket is opened beside another");
                    self.open = true;
                    format!("connect {}", endpoint.trim_start_matches("inproc://"))
                }
                Action::TryFailed(failed) => {
                    format!("try {}/{}: {}", failed.number, failed.tries, failed.reason)
                }
                Action::Yield(Reply::Partial(body)) => format!("partial {}", text(&body)),
                Action::Yield(Reply::Final(body)) => format!("final {}", text(&body)),
                Action::Fail(error) => {
                    let words = format!("fail: {error}");
                    self.error = Some(error);
                    words
                }
            });
        }
        words
    }
}
