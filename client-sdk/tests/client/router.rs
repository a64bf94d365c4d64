//! A bare ROUTER that speaks MDP/1.0, and clients of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use majordomo_client::{Body, Client, ClientBuilder};
use majordomo_protocol::client::{Answered, FromBroker, ToBroker};
use majordomo_protocol::{
    Batch, Frames, InstanceId, Message, Reason, RequestId, ServiceName, Terms,
};

/// Longer than anything takes; reached only when something is broken.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// What a request asks for.
pub(crate) struct Asked {
    from: Vec<u8>,
    pub(crate) id: RequestId,
    pub(crate) service: ServiceName,
    pub(crate) terms: Terms,
    pub(crate) body: Body,
}

pub(crate) enum Said {
    Request(Asked),
    Cancel(RequestId),
}

/// The socket of a broker. Heartbeats are answered by themselves.
pub(crate) struct Router {
    socket: zmq::Socket,
    pub(crate) endpoint: String,
    waiting: std::cell::RefCell<std::collections::VecDeque<Said>>,
    pub(crate) messages: std::cell::Cell<usize>,
}

impl Router {
    pub(crate) fn new() -> Router {
        Router::bind(&zmq::Context::new(), "tcp://127.0.0.1:*")
    }

    pub(crate) fn bind(context: &zmq::Context, endpoint: &str) -> Router {
        Router::slow(context, endpoint, 1_000)
    }

    /// One that holds so many messages that it has not read.
    pub(crate) fn slow(context: &zmq::Context, endpoint: &str, unread_max: i32) -> Router {
        let socket = context.socket(zmq::ROUTER).expect("a socket");
        socket.set_rcvhwm(unread_max).expect("an option");
        socket.set_linger(0).expect("an option");
        // A router drops what is above its high-water mark.
        socket.set_sndhwm(0).expect("an option");
        while let Err(error) = socket.bind(endpoint) {
            assert_eq!(error, zmq::Error::EADDRINUSE, "{endpoint}");
            zmq::poll(&mut [], 10).expect("a wait");
        }
        let endpoint = socket.get_last_endpoint().expect("bound").expect("UTF-8");
        Router { socket, endpoint, waiting: Default::default(), messages: Default::default() }
    }

    /// What is said next, or nothing for so long.
    pub(crate) fn hears(&self, wait: Duration) -> Option<Said> {
        while self.waiting.borrow().is_empty() {
            if self.socket.poll(zmq::POLLIN, wait.as_millis() as i64).expect("a socket") == 0 {
                return None;
            }
            let mut frames = self.socket.recv_multipart(0).expect("a message");
            let from = frames.remove(0);
            self.messages.set(self.messages.get() + 1);
            let count = frames.len();
            let records: Vec<_> = Message::decode(Frames::new(frames)).collect();
            // More than this a broker may refuse, and every request in it.
            assert!(count <= 8 || records.len() == 1, "{count} frames");
            for message in records {
                let Message::Client { command, .. } = message.expect("MDP/1.0") else {
                    panic!("not a client");
                };
                self.waiting.borrow_mut().push_back(match command {
                    ToBroker::Request { id, service, terms, body } => {
                        let (from, id) = (from.clone(), id.expect("an id"));
                        Said::Request(Asked { from, id, service, terms, body })
                    }
                    ToBroker::Cancel { id } => Said::Cancel(id),
                    ToBroker::Heartbeat => {
                        let instance = InstanceId::new([5; 8]);
                        self.say(&from, FromBroker::Heartbeat { instance });
                        continue;
                    }
                });
            }
        }
        self.waiting.borrow_mut().pop_front()
    }

    pub(crate) fn asked(&self) -> Asked {
        match self.hears(LONG) {
            Some(Said::Request(asked)) => asked,
            Some(Said::Cancel(id)) => panic!("a cancel of {id}"),
            None => panic!("no request in time"),
        }
    }

    pub(crate) fn say(&self, to: &[u8], command: FromBroker<Body>) {
        let mut batch = Batch::of_client(4096);
        command.write(&mut batch).expect("MDP/1.0 can say it");
        self.socket.send(to, zmq::SNDMORE).expect("sent");
        self.socket.send_multipart(batch.into_frames(), 0).expect("sent");
    }

    pub(crate) fn part(&self, asked: &Asked, body: impl Into<Body>) {
        let request = Answered::Id(asked.id);
        self.say(&asked.from, FromBroker::Partial { request, body: body.into() });
    }

    pub(crate) fn last(&self, asked: &Asked, body: impl Into<Body>) {
        let request = Answered::Id(asked.id);
        self.say(&asked.from, FromBroker::Final { request, body: body.into() });
    }

    pub(crate) fn error(&self, asked: &Asked, code: u16) {
        let reason = Reason { code, text: "why".to_owned() };
        let (id, details) = (asked.id, Body::from("more"));
        self.say(&asked.from, FromBroker::Error { id, reason, details });
    }
}

/// A broker that answers every request with its body, or none, until it is dropped.
pub(crate) struct Echo {
    pub(crate) endpoint: String,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    pub(crate) fn new() -> Echo {
        Echo::start(true)
    }

    pub(crate) fn start(answers: bool) -> Echo {
        let router = Router::new();
        let (endpoint, stop) = (router.endpoint.clone(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                if let Some(Said::Request(asked)) = router.hears(Duration::from_millis(20))
                    && answers
                {
                    let body = asked.body.clone();
                    router.last(&asked, body);
                }
            }
        });
        Echo { endpoint, stop, thread: Some(thread) }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let ended = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            ended.expect("a thread").expect("a broker without fault");
        }
    }
}

pub(crate) fn at(endpoint: &str) -> ClientBuilder {
    Client::builder().broker(endpoint).timeout(LONG).connect_timeout(LONG)
}

pub(crate) fn client(endpoint: &str) -> Client {
    at(endpoint).build().expect("a client")
}

pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..LONG.as_millis() / 5 {
        if is_so() {
            return;
        }
        zmq::poll(&mut [], 5).expect("a wait");
    }
    panic!("not in time: {what}");
}
