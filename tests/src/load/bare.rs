//! The simplest honest broker of MDP/0.2: one ROUTER, one thread, a list of free workers
//! and one of waiting requests for each service. No limits, no liveness, no memory of
//! what a worker has: it is what any broker of this protocol has to pay at least.
//!
//! Each worker is given up to `ahead` requests before it has answered the first: as many
//! in a row as it has places for, or, with `idle_first`, one more only when no other worker
//! has fewer. A heartbeat is answered by a heartbeat.

use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::process::Command;

use zmq::{DONTWAIT, Message, SNDMORE};

/// Client, then the body's frames.
type Waiting = (Message, Vec<Message>);

struct Service {
    name: Vec<u8>,
    /// Each worker as often as it may be given one more request; or, where idle ones go
    /// first, once, among those who have as many requests as it.
    free: Vec<VecDeque<Message>>,
    waiting: VecDeque<Waiting>,
}

/// A ROUTER that listens on a free port, which it writes to standard output as a ready
/// line. It may send and hold as much as it likes.
///
/// # Panics
///
/// When that fails.
pub fn listening(context: &zmq::Context, kind: zmq::SocketType) -> (zmq::Socket, String) {
    let socket = context.socket(kind).expect("a socket");
    let set = socket
        .set_linger(0)
        .and_then(|()| socket.set_sndhwm(0))
        .and_then(|()| socket.set_rcvhwm(0))
        .and_then(|()| socket.set_backlog(4_096))
        .and_then(|()| socket.bind("tcp://127.0.0.1:*"));
    set.expect("a socket that listens");
    let endpoint = socket.get_last_endpoint().ok().and_then(Result::ok).expect("an endpoint");
    (socket, endpoint)
}

/// Tells whoever started this process where it listens.
pub fn ready(endpoints: &[String]) {
    println!("{READY}{}", endpoints.join(" "));
    let _ = std::io::stdout().flush();
}

/// How the ready line of the programs here begins.
pub const READY: &str = "ready on ";

/// This program again, as another.
///
/// # Panics
///
/// When the system does not know its file.
pub fn this_program() -> Command {
    Command::new(std::env::current_exe().expect("this program has a path"))
}

/// Runs until killed.
///
/// # Panics
///
/// When its socket fails.
pub fn run(ahead: usize, idle_first: bool) {
    let context = zmq::Context::new();
    let (socket, endpoint) = listening(&context, zmq::ROUTER);
    ready(&[endpoint]);
    let mut broker = Bare {
        socket,
        ahead,
        idle_first,
        services: vec![],
        names: HashMap::new(),
        workers: HashMap::new(),
    };
    let mut flags = 0;
    loop {
        // It reads until there is nothing more, then waits.
        flags = match broker.socket.recv_msg(flags) {
            Ok(identity) => {
                broker.handle(identity);
                DONTWAIT
            }
            Err(zmq::Error::EAGAIN | zmq::Error::EINTR) => 0,
            Err(error) => panic!("cannot receive: {error}"),
        };
    }
}

struct Bare {
    socket: zmq::Socket,
    ahead: usize,
    idle_first: bool,
    services: Vec<Service>,
    names: HashMap<Vec<u8>, usize>,
    /// By identity: the service, and how many requests it has.
    workers: HashMap<Vec<u8>, (usize, usize)>,
}

impl Bare {
    fn handle(&mut self, identity: Message) {
        let magic = self.frame();
        let command = self.frame();
        match (&*magic, &*command) {
            (b"MDPC02", b"\x01") => {
                let name = self.frame();
                let body = self.rest(name.get_more());
                let service = self.service(&name);
                if let Some(worker) = self.take_free(service) {
                    self.dispatch(worker, (identity, body));
                } else {
                    self.services[service].waiting.push_back((identity, body));
                }
            }
            (b"MDPW02", b"\x04") => {
                let client = self.frame();
                let empty = self.frame();
                let body = self.rest(empty.get_more());
                let (service, _) = self.workers[&*identity];
                self.answer(client, service, body);
                match self.services[service].waiting.pop_front() {
                    Some(request) => self.dispatch(identity, request),
                    None => self.free(identity),
                }
            }
            (b"MDPW02", b"\x01") => {
                let name = self.frame();
                let service = self.service(&name);
                self.workers.insert(identity.to_vec(), (service, self.ahead));
                for _ in 0..self.ahead {
                    self.free(Message::from(&identity[..]));
                }
                while !self.services[service].waiting.is_empty() {
                    let Some(worker) = self.take_free(service) else { break };
                    let request = self.services[service].waiting.pop_front();
                    self.dispatch(worker, request.expect("one waits"));
                }
            }
            (b"MDPW02", b"\x05") => {
                let sent = self.socket.send(identity, SNDMORE).and_then(|()| {
                    self.socket.send(magic, SNDMORE).and_then(|()| self.socket.send(command, 0))
                });
                sent.expect("a heartbeat is sent");
            }
            other => panic!("nobody here says {other:?}"),
        }
    }

    fn frame(&self) -> Message {
        self.socket.recv_msg(0).expect("a message arrives as a whole")
    }

    fn rest(&self, mut more: bool) -> Vec<Message> {
        let mut frames = vec![];
        while more {
            let frame = self.frame();
            more = frame.get_more();
            frames.push(frame);
        }
        frames
    }

    fn service(&mut self, name: &[u8]) -> usize {
        if let Some(&service) = self.names.get(name) {
            return service;
        }
        self.names.insert(name.to_vec(), self.services.len());
        let free = (0..self.ahead).map(|_| VecDeque::new()).collect();
        self.services.push(Service { name: name.to_vec(), free, waiting: VecDeque::new() });
        self.services.len() - 1
    }

    /// The worker that is next.
    fn take_free(&mut self, service: usize) -> Option<Message> {
        let free = &mut self.services[service].free;
        let has = free.iter().position(|those| !those.is_empty())?;
        let worker = free[has].pop_front()?;
        if self.idle_first {
            self.workers.insert(worker.to_vec(), (service, has + 1));
            if let Some(more) = free.get_mut(has + 1) {
                more.push_back(Message::from(&worker[..]));
            }
        }
        Some(worker)
    }

    /// A worker has one request less than before, or than it may have.
    fn free(&mut self, worker: Message) {
        let (service, has) = self.workers.get_mut(&*worker).expect("it said READY");
        let free = &mut self.services[*service].free;
        if !self.idle_first {
            return free[0].push_back(worker);
        }
        if let Some(those) = free.get_mut(*has) {
            those.retain(|other| **other != *worker);
        }
        *has -= 1;
        free[*has].push_back(worker);
    }

    fn dispatch(&self, worker: Message, (client, body): Waiting) {
        let head = [worker, Message::from(&b"MDPW02"[..]), Message::from(&b"\x02"[..]), client];
        self.send(head.into_iter().chain([Message::new()]), body);
    }

    fn answer(&self, client: Message, service: usize, body: Vec<Message>) {
        let name = Message::from(&self.services[service].name[..]);
        let head = [client, Message::from(&b"MDPC02"[..]), Message::from(&b"\x03"[..]), name];
        self.send(head, body);
    }

    fn send(&self, head: impl IntoIterator<Item = Message>, body: Vec<Message>) {
        for frame in head {
            self.socket.send(frame, SNDMORE).expect("a frame is sent");
        }
        let last = body.len() - 1;
        for (position, frame) in body.into_iter().enumerate() {
            let flags = if position < last { SNDMORE } else { 0 };
            self.socket.send(frame, flags).expect("a frame is sent");
        }
    }
}
