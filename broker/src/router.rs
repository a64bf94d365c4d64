//! The broker's ROUTER socket: bind, receive a message within limits, send one.

use majordomo_protocol::{Frames, PeerId};

use crate::config::Config;
use crate::engine::Fault;
use crate::frame::Frame;
use majordomo_protocol::Endpoint;

/// How long closing may take to get the last answers and DISCONNECTs out.
const LINGER_MS: i32 = 1_000;

/// A ROUTER socket that never blocks and never drops silently.
pub(crate) struct Router {
    socket: zmq::Socket,
    frames_max: usize,
    message_bytes_max: usize,
}

/// A message, and who sent it.
pub(crate) struct Received {
    pub(crate) peer: PeerId,
    /// The frames without the identity; or why they were dropped.
    pub(crate) frames: Result<Frames<Frame>, Fault>,
}

/// A message could not be sent to its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// There is no such peer any more.
    Gone,
    /// `send_queue_max` messages wait for it already.
    Full,
}

impl Router {
    pub(crate) fn open(context: &zmq::Context, config: &Config) -> Result<Self, zmq::Error> {
        let socket = context.socket(zmq::ROUTER)?;
        // Without it, a message to a peer that is gone or full vanishes unseen.
        socket.set_router_mandatory(true)?;
        socket.set_linger(LINGER_MS)?;
        socket.set_backlog(config.backlog())?;
        socket.set_rcvhwm(config.receive_queue_max())?;
        socket.set_sndhwm(config.send_queue_max())?;
        // A frame above it ends the connection unseen; up to it, it is dropped here, and
        // can be counted.
        let frame_bytes_max = config.message_bytes_max().saturating_mul(2);
        socket.set_maxmsgsize(i64::try_from(frame_bytes_max).unwrap_or(i64::MAX))?;
        socket.set_ipv6(config.bind().iter().any(Endpoint::is_ipv6))?;
        // Dead hosts are noticed by heartbeats; this frees their connections.
        socket.set_tcp_keepalive(1)?;
        socket.set_tcp_keepalive_idle(60)?;
        socket.set_tcp_keepalive_intvl(10)?;
        socket.set_tcp_keepalive_cnt(6)?;
        Ok(Router {
            socket,
            frames_max: config.frames_max(),
            message_bytes_max: config.message_bytes_max(),
        })
    }

    /// Listens on `endpoint` too, and gives its address with the port that was
    /// chosen, if it left that open.
    pub(crate) fn bind(&mut self, endpoint: &Endpoint) -> Result<String, zmq::Error> {
        self.socket.bind(endpoint.as_str())?;
        let bound = self.socket.get_last_endpoint()?;
        Ok(bound.unwrap_or_else(|_| endpoint.as_str().to_owned()))
    }

    pub(crate) fn socket(&self) -> &zmq::Socket {
        &self.socket
    }

    /// The next message; `None` when none has come.
    pub(crate) fn receive(&mut self) -> Result<Option<Received>, zmq::Error> {
        let (identity, mut more) = match Frame::receive(&mut self.socket) {
            Ok(received) => received,
            Err(zmq::Error::EAGAIN) => return Ok(None),
            Err(error) => return Err(error),
        };
        let peer = PeerId::new(&identity);
        let mut frames = Vec::new();
        let mut bytes = 0;
        let mut fault = None;
        // The frames of a message arrive together: none of these waits.
        while more {
            let frame;
            (frame, more) = Frame::receive(&mut self.socket)?;
            bytes += frame.len();
            if bytes > self.message_bytes_max {
                fault = Some(Fault::MessageBytesMax);
            } else if frames.len() == self.frames_max {
                fault = Some(Fault::FramesMax);
            }
            if fault.is_none() {
                frames.push(frame);
            }
        }
        let frames = fault.map_or_else(|| Ok(Frames::new(frames)), Err);
        Ok(Some(Received { peer, frames }))
    }

    /// Sends all frames to `peer`, or none.
    pub(crate) fn send(
        &mut self,
        peer: &PeerId,
        frames: Vec<Frame>,
    ) -> Result<Result<(), Refused>, zmq::Error> {
        match Frame::from(peer.as_bytes()).send(&mut self.socket, true) {
            Ok(()) => {}
            Err(zmq::Error::EHOSTUNREACH) => return Ok(Err(Refused::Gone)),
            Err(zmq::Error::EAGAIN) => return Ok(Err(Refused::Full)),
            Err(error) => return Err(error),
        }
        let last = frames.len().saturating_sub(1);
        for (position, frame) in frames.into_iter().enumerate() {
            frame.send(&mut self.socket, position < last)?;
        }
        Ok(Ok(()))
    }
}
