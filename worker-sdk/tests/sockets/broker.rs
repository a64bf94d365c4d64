//! A bare ROUTER that plays the broker: sends and expects frames, and knows no
//! rule of the protocol.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use majordomo_worker::{
    Counters, Counts, Request, RunningWorker, Service, StopHandle, StopReason, Version, Worker,
    WorkerBuilder,
};

/// How long anything may take. Only a fault takes so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) type Multipart = Vec<Vec<u8>>;

/// The identity that the ROUTER gave to a connection.
pub(crate) type Place = Vec<u8>;

pub(crate) struct Broker {
    socket: zmq::Socket,
    pub(crate) endpoint: String,
    version: Version,
}

impl Broker {
    pub(crate) fn new(version: Version) -> Self {
        Self::bind(version, "tcp://127.0.0.1:*")
    }

    pub(crate) fn bind(version: Version, endpoint: &str) -> Self {
        let socket = zmq::Context::new().socket(zmq::ROUTER).expect("a socket");
        // Little, so that a broker that does not read is noticed.
        socket.set_rcvhwm(16).expect("a limit");
        Self::bind_socket(socket, version, endpoint)
    }

    pub(crate) fn bind_socket(socket: zmq::Socket, version: Version, endpoint: &str) -> Self {
        socket.set_linger(0).expect("linger");
        socket.set_router_mandatory(true).expect("mandatory");
        let patience = i32::try_from(PATIENCE.as_millis()).expect("it fits");
        socket.set_rcvtimeo(patience).expect("a limit");
        until("bound", || socket.bind(endpoint).is_ok());
        let endpoint = socket.get_last_endpoint().expect("bound").expect("text");
        Broker { socket, endpoint, version }
    }

    /// A worker of this broker whose heartbeats never come due.
    pub(crate) fn worker(&self) -> WorkerBuilder {
        Worker::builder()
            .broker(&self.endpoint)
            .version(self.version)
            .heartbeat_interval(Duration::from_secs(3600))
            .reconnect_min(Duration::from_millis(1))
            // Longer than any test: a drain that hangs must not end by itself.
            .drain_limit(Duration::from_secs(3600))
    }

    /// The next message, whatever it is.
    pub(crate) fn receive(&self) -> (Place, Multipart) {
        let mut frames = self.socket.recv_multipart(0).expect("a message in time");
        let place = frames.remove(0);
        (place, frames)
    }

    /// The next message, which must be of `place`.
    pub(crate) fn receive_from(&self, place: &Place) -> Multipart {
        let (from, frames) = self.receive();
        assert_eq!(from, *place, "{frames:?}");
        frames
    }

    /// The next message that is no HEARTBEAT.
    pub(crate) fn receive_but_heartbeats(&self) -> (Place, Multipart) {
        loop {
            let (place, frames) = self.receive();
            if frames != self.heartbeat() {
                return (place, frames);
            }
        }
    }

    /// Expects READY and nothing else.
    pub(crate) fn ready(&self, service: &str) -> Place {
        let (place, frames) = self.receive();
        assert_eq!(frames, self.command(1, &[service.as_bytes()]));
        place
    }

    /// Sends frames as they are.
    pub(crate) fn send(&self, place: &Place, frames: &Multipart) {
        let frames = std::iter::once(place).chain(frames);
        self.socket.send_multipart(frames, 0).expect("a connected place");
    }

    pub(crate) fn request(&self, place: &Place, client: &str, body: &[&str]) {
        let mut rest = vec![client.as_bytes(), b""];
        rest.extend(body.iter().map(|frame| frame.as_bytes()));
        self.send(place, &self.command(2, &rest));
    }

    /// What a HEARTBEAT looks like, from either side.
    pub(crate) fn heartbeat(&self) -> Multipart {
        self.command(self.numbers().1, &[])
    }

    /// What a DISCONNECT looks like, from either side.
    pub(crate) fn disconnect(&self) -> Multipart {
        self.command(self.numbers().1 + 1, &[])
    }

    /// What a FINAL to `client` looks like; in MDP/0.1 a REPLY.
    pub(crate) fn final_(&self, client: &str, body: &[&str]) -> Multipart {
        let mut rest = vec![client.as_bytes(), b""];
        rest.extend(body.iter().map(|frame| frame.as_bytes()));
        self.command(self.numbers().0, &rest)
    }

    /// What a PARTIAL to `client` looks like, in MDP/0.2.
    pub(crate) fn partial(&self, client: &str, body: &str) -> Multipart {
        assert_eq!(self.version, Version::V0_2);
        self.command(3, &[client.as_bytes(), b"", body.as_bytes()])
    }

    /// The numbers of FINAL and of HEARTBEAT; DISCONNECT follows the latter.
    fn numbers(&self) -> (u8, u8) {
        match self.version {
            Version::V0_1 => (3, 4),
            Version::V0_2 => (4, 5),
            Version::V1_0 => unreachable!("its tests have a broker of their own"),
        }
    }

    fn command(&self, number: u8, rest: &[&[u8]]) -> Multipart {
        let mut frames: Vec<&[u8]> = match self.version {
            Version::V0_1 => vec![b"", b"MDPW01"],
            Version::V0_2 => vec![b"MDPW02"],
            Version::V1_0 => unreachable!("its tests have a broker of their own"),
        };
        let number = [number];
        frames.push(&number);
        frames.extend(rest);
        frames.into_iter().map(<[u8]>::to_vec).collect()
    }
}

/// A started worker that must end in time when its test does.
pub(crate) struct Started {
    worker: Option<RunningWorker>,
    drains: bool,
}

/// It drains in the end.
pub(crate) fn start(worker: WorkerBuilder) -> Started {
    Started { worker: Some(worker.start().expect("it starts")), drains: true }
}

/// It does not drain in the end: its broker would have to let it go.
pub(crate) fn start_without_drain(worker: WorkerBuilder) -> Started {
    Started { worker: Some(worker.start().expect("it starts")), drains: false }
}

impl Started {
    fn running(&self) -> &RunningWorker {
        self.worker.as_ref().expect("not joined")
    }

    pub(crate) fn stop_handle(&self) -> StopHandle {
        self.running().stop_handle()
    }

    pub(crate) fn counters(&self) -> Counters {
        self.running().counters()
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counters().counts()
    }

    pub(crate) fn join(mut self) -> StopReason {
        join(self.worker.take().expect("not joined"))
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let Some(worker) = self.worker.take() else { return };
        if std::thread::panicking() {
            // The test has failed, perhaps with a handler that hangs.
            worker.stop_handle().stop_now();
        } else if self.drains {
            worker.stop_handle().stop();
            assert_eq!(join(worker), StopReason::Drained);
        } else {
            worker.stop_handle().stop_now();
            join(worker);
        }
    }
}

fn join(worker: RunningWorker) -> StopReason {
    let (tell, told) = unbounded();
    std::thread::spawn(move || tell.send(worker.join()));
    told.recv_timeout(PATIENCE).expect("it ends in time").expect("it ends well")
}

/// Waits until `is_so`, without a fixed sleep.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    #[expect(clippy::disallowed_methods, reason = "the limit of a wait for what must come")]
    let now = Instant::now;
    let limit = now() + PATIENCE;
    while !is_so() {
        assert!(now() < limit, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

/// An endpoint that nobody else has, before and after it is bound.
pub(crate) fn own_endpoint(name: &str) -> String {
    let file = format!("majordomo-{}-{name}", std::process::id());
    format!("ipc://{}", std::env::temp_dir().join(file).display())
}

/// Runs `test` with a broker of either version of one request.
pub(crate) fn in_both_versions(test: impl Fn(&Broker)) {
    for version in [Version::V0_1, Version::V0_2] {
        test(&Broker::new(version));
    }
}

/// A service whose handler says that it has begun and answers "done" once it is
/// released, which is never unless `release` is used.
pub(crate) struct Held {
    pub(crate) service: Service,
    begun: Receiver<()>,
    release: Sender<()>,
}

impl Held {
    pub(crate) fn new(name: &str) -> Self {
        let (begin, begun) = unbounded();
        let (release, released) = unbounded::<()>();
        let held = move |_: Request| {
            begin.send(())?;
            Ok(released.recv().map(|()| "done")?)
        };
        Held { service: Service::new(name, held), begun, release }
    }

    /// Waits until the handler has begun with one more request.
    pub(crate) fn begun(&self) {
        self.begun.recv_timeout(PATIENCE).expect("the handler begins");
    }

    /// Lets one request be answered.
    pub(crate) fn release(&self) {
        self.release.send(()).expect("the handler is there");
    }
}
