//! The broker that a script is played by: one ROUTER socket on a thread of its own.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use majordomo_io::wake::{self, Bell, Ear};
use majordomo_protocol::client::{Answered, FromBroker, ToBroker};
use majordomo_protocol::{
    Batch, Body, Frames, InstanceId, Message, Reason, RequestId, ServiceName, Terms, dump,
};

use super::{Answer, Step};
use crate::client::Client;

/// How long the end of a script waits for a request that is still to come: one that
/// wanted no reply may be on its way.
const LATE_MAX: Duration = Duration::from_secs(5);

/// Unexpected requests that are told about; the others are counted.
const TOLD_MAX: usize = 10;

/// A broker that answers from a [`Script`](super::Script). Speaks MDP/1.0.
///
/// # Panics
///
/// When dropped, and by that fails the test, if not everything was asked that the script
/// expects, or if something else was; not while the thread panics already. Waits at most
/// two seconds for what is missing.
#[must_use = "when dropped, it checks that everything was asked"]
pub struct ScriptedBroker {
    endpoint: String,
    bell: Bell,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Vec<String>>>,
}

struct Shared {
    progress: Mutex<Progress>,
    changed: Condvar,
    stop: AtomicBool,
}

#[derive(Default)]
struct Progress {
    steps_left: usize,
    unexpected: usize,
    /// The first of them.
    told: Vec<String>,
}

impl Shared {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.progress());
        self.changed.notify_all();
    }
}

impl ScriptedBroker {
    pub(super) fn start(steps: Vec<Step>) -> Self {
        let context = zmq::Context::new();
        let socket = context.socket(zmq::ROUTER).expect("a socket for the scripted broker");
        let bound = || -> zmq::Result<_> {
            socket.set_linger(0)?;
            // A router drops what is above its high-water mark.
            socket.set_sndhwm(0)?;
            socket.bind("tcp://127.0.0.1:*")?;
            socket.get_last_endpoint()
        };
        let bound = bound().expect("a free port for the scripted broker");
        let endpoint = bound.expect("the port of the scripted broker as text");
        let (bell, ear) = wake::pair().expect("a socket pair for the scripted broker");
        let shared = Arc::new(Shared {
            progress: Mutex::new(Progress { steps_left: steps.len(), ..Progress::default() }),
            changed: Condvar::new(),
            stop: AtomicBool::new(false),
        });
        let steps = steps.into_iter().map(|step| (step, None)).collect();
        let run = Run { socket, ear, steps, known: HashMap::new(), shared: shared.clone() };
        let thread = thread::Builder::new().name("majordomo-script".to_owned());
        let thread = thread.spawn(move || run.run()).expect("a thread for the scripted broker");
        ScriptedBroker { endpoint, bell, shared, thread: Some(thread) }
    }

    /// Where it listens, for a [`ClientBuilder`](crate::ClientBuilder).
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// A new client of this broker, with the default settings.
    ///
    /// # Panics
    ///
    /// When the system gives no thread.
    pub fn client(&self) -> Client {
        Client::connect(&self.endpoint).expect("a client of the scripted broker")
    }

    /// Whether everything was asked that the script expects, by now.
    pub fn is_done(&self) -> bool {
        self.shared.progress().steps_left == 0
    }

    /// Stops the thread; gives the steps that nobody asked for.
    fn stop(&mut self) -> Vec<String> {
        self.shared.stop.store(true, Ordering::Release);
        self.bell.ring();
        let ended = self.thread.take().map(JoinHandle::join);
        ended.and_then(Result::ok).unwrap_or_default()
    }
}

impl Drop for ScriptedBroker {
    fn drop(&mut self) {
        if thread::panicking() {
            self.stop();
            return;
        }
        let waiting = |progress: &mut Progress| progress.steps_left > 0;
        drop(self.shared.changed.wait_timeout_while(self.shared.progress(), LATE_MAX, waiting));
        let missing = self.stop();
        let progress = self.shared.progress();
        if missing.is_empty() && progress.unexpected == 0 {
            return;
        }
        let (unexpected, told) = (progress.unexpected, progress.told.join("\n  "));
        drop(progress);
        panic!(
            "the script was not followed\n\
             expected and not asked ({}):\n  {}\n\
             asked and not expected ({unexpected}):\n  {told}",
            missing.len(),
            missing.join("\n  "),
        );
    }
}

impl fmt::Debug for ScriptedBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = &self.endpoint;
        f.debug_struct("ScriptedBroker").field("endpoint", endpoint).finish_non_exhaustive()
    }
}

/// What the thread has.
struct Run {
    socket: zmq::Socket,
    ear: Ear,
    /// With the request that a step has answered.
    steps: Vec<(Step, Option<RequestId>)>,
    /// The step of each request that one answered; a request tried again is answered again.
    known: HashMap<RequestId, usize>,
    shared: Arc<Shared>,
}

impl Run {
    /// Answers until it is stopped; gives the steps that nobody asked for.
    fn run(mut self) -> Vec<String> {
        while !self.shared.stop.load(Ordering::Acquire) {
            let socket = self.socket.as_poll_item(zmq::POLLIN);
            let bell = zmq::PollItem::from_fd(self.ear.fd(), zmq::POLLIN);
            match zmq::poll(&mut [socket, bell], -1) {
                Ok(_) | Err(zmq::Error::EINTR) => self.ear.clear(),
                Err(error) => {
                    self.unexpected(format!("nothing: the socket failed: {error}"));
                    break;
                }
            }
            while let Ok(mut frames) = self.socket.recv_multipart(zmq::DONTWAIT) {
                let peer = frames.remove(0);
                self.message(&peer, frames);
            }
        }
        let unasked = self.steps.iter().filter(|(_, request)| request.is_none());
        unasked.map(|(step, _)| told(&step.service, step.method.as_deref(), &step.body)).collect()
    }

    fn message(&mut self, peer: &[u8], frames: Vec<Vec<u8>>) {
        for message in Message::decode(Frames::new(frames)) {
            let answers = match message {
                Ok(Message::Client {
                    command: ToBroker::Request { id: Some(id), service, terms, body },
                    ..
                }) => self.request(id, &service, &terms, &body),
                Ok(Message::Client { command: ToBroker::Heartbeat, .. }) => {
                    vec![FromBroker::Heartbeat { instance: InstanceId::new([1; 8]) }]
                }
                // What is cancelled was answered, or never will be.
                Ok(Message::Client { command: ToBroker::Cancel { .. }, .. }) => Vec::new(),
                Ok(Message::Client { version, .. }) => {
                    self.unexpected(format!("something in MDP/{version}; the script speaks 1.0"));
                    Vec::new()
                }
                Ok(Message::Worker { .. }) => {
                    self.unexpected("something by a worker".to_owned());
                    Vec::new()
                }
                Err(error) => {
                    self.unexpected(format!("something that is no MDP: {error}"));
                    Vec::new()
                }
            };
            if !answers.is_empty() {
                self.send(peer, answers);
            }
        }
    }

    fn request(
        &mut self,
        id: RequestId,
        service: &ServiceName,
        terms: &Terms,
        body: &Body,
    ) -> Vec<FromBroker<Body>> {
        let method = terms.metadata.value("method").map(String::from_utf8_lossy);
        let index = self.known.get(&id).copied().or_else(|| {
            self.steps.iter().position(|(step, request)| {
                let named = step.method.is_none() || step.method.as_deref() == method.as_deref();
                request.is_none() && step.service == service.as_str() && named && step.body == *body
            })
        });
        let answer = index.and_then(|index| self.steps.get_mut(index)).map(|(step, request)| {
            if request.replace(id).is_none() {
                self.shared.change(|progress| progress.steps_left -= 1);
            }
            step.answer.clone()
        });
        if let Some(index) = index {
            self.known.insert(id, index);
        }
        let answer = answer.unwrap_or_else(|| {
            let told = told(service.as_str(), method.as_deref(), body);
            self.unexpected(told.clone());
            let text = format!("the script has no answer for {told}");
            Answer::Error { reason: Reason { code: 501, text }, details: Body::from("") }
        });
        let request = || Answered::Id(id);
        match answer {
            _ if terms.no_reply => Vec::new(),
            Answer::Silence => Vec::new(),
            Answer::Error { reason, details } => vec![FromBroker::Error { id, reason, details }],
            Answer::Reply { parts, last } => parts
                .into_iter()
                .map(|body| FromBroker::Partial { request: request(), body })
                .chain([FromBroker::Final { request: request(), body: last }])
                .collect(),
        }
    }

    fn unexpected(&self, what: String) {
        self.shared.change(|progress| {
            progress.unexpected += 1;
            if progress.told.len() < TOLD_MAX {
                progress.told.push(what);
            }
        });
    }

    fn send(&self, peer: &[u8], answers: Vec<FromBroker<Body>>) {
        let mut batch = Batch::of_client(4096);
        for answer in answers {
            if let Err(error) = answer.write(&mut batch) {
                self.unexpected(format!("a request whose answer cannot be sent: {error}"));
            }
        }
        let frames = std::iter::once(peer.to_vec()).chain(batch.into_frames());
        if let Err(error) = self.socket.send_multipart(frames, zmq::DONTWAIT) {
            self.unexpected(format!("a request whose answer could not be sent: {error}"));
        }
    }
}

/// A request for a person.
fn told(service: &str, method: Option<&str>, body: &Body) -> String {
    let method = method.map(|method| format!(".{method}")).unwrap_or_default();
    format!("{service}{method} {:?}", dump(&body.to_bytes()).to_string())
}
