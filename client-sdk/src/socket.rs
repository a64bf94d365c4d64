//! A ZeroMQ socket, and whether it must be asked for what has come.
//!
//! Something that comes to a socket makes its descriptor readable, but only until the
//! socket is used next, for whatever purpose. So after each use the socket is asked, which
//! takes a system call or two; once it has nothing, its descriptor tells what comes. ZeroMQ's
//! own poll asks each socket at least twice a turn, however little has happened to it.

use std::os::fd::RawFd;

use majordomo_io::retry;

/// A socket that is only asked when it may have something.
pub(crate) struct Socket {
    socket: zmq::Socket,
    fd: RawFd,
    /// There is nothing to receive before the descriptor is readable.
    quiet: bool,
}

impl Socket {
    pub(crate) fn new(socket: zmq::Socket) -> zmq::Result<Self> {
        let fd = socket.get_fd()?;
        Ok(Socket { socket, fd, quiet: false })
    }

    /// Itself, to set its options.
    pub(crate) fn options(&self) -> &zmq::Socket {
        &self.socket
    }

    /// What becomes readable when something comes to a socket that has nothing.
    pub(crate) fn fd(&self) -> RawFd {
        self.fd
    }

    /// Something may have come.
    pub(crate) fn disturb(&mut self) {
        self.quiet = false;
    }

    /// Whether there is something to receive.
    pub(crate) fn is_readable(&mut self) -> zmq::Result<bool> {
        Ok(!self.quiet && self.events()?.contains(zmq::POLLIN))
    }

    /// Whether there is room to send. If not, the descriptor tells of it as well.
    pub(crate) fn is_writable(&mut self) -> zmq::Result<bool> {
        Ok(self.events()?.contains(zmq::POLLOUT))
    }

    fn events(&mut self) -> zmq::Result<zmq::PollEvents> {
        let events = retry(|| self.socket.get_events())?;
        self.quiet = !events.contains(zmq::POLLIN);
        Ok(events)
    }

    /// Receives all frames of a message, or EAGAIN when none is there.
    pub(crate) fn receive(&mut self) -> zmq::Result<Vec<zmq::Message>> {
        if self.quiet {
            return Err(zmq::Error::EAGAIN);
        }
        let mut frames = Vec::with_capacity(1);
        loop {
            let frame = match retry(|| self.socket.recv_msg(zmq::DONTWAIT)) {
                Err(zmq::Error::EAGAIN) => {
                    self.quiet = true;
                    return Err(zmq::Error::EAGAIN);
                }
                frame => frame?,
            };
            let more = frame.get_more();
            frames.push(frame);
            if !more {
                return Ok(frames);
            }
        }
    }

    /// Sends all frames, or says that there is no room. What was sent of an incomplete
    /// message ZeroMQ takes back.
    pub(crate) fn send(&mut self, frames: &[Vec<u8>]) -> zmq::Result<bool> {
        self.quiet = false;
        let mut rest = frames.iter().peekable();
        while let Some(frame) = rest.next() {
            let more = if rest.peek().is_some() { zmq::SNDMORE } else { 0 };
            match retry(|| self.socket.send(&frame[..], zmq::DONTWAIT | more)) {
                Err(zmq::Error::EAGAIN) => return Ok(false),
                sent => sent?,
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes readable is told by the descriptor or by the socket, whatever was done
    /// with it before.
    #[test]
    fn nothing_comes_unnoticed() {
        let context = zmq::Context::new();
        let peer = context.socket(zmq::PAIR).unwrap();
        peer.bind("tcp://127.0.0.1:*").unwrap();
        let socket = context.socket(zmq::PAIR).unwrap();
        socket.connect(&peer.get_last_endpoint().unwrap().unwrap()).unwrap();
        let mut socket = Socket::new(socket).unwrap();
        for round in 0..2_000 {
            peer.send("news", 0).unwrap();
            // Each of these may take note of what has come.
            for _ in 0..round % 3 {
                assert!(socket.send(&[vec![0; 10]]).unwrap());
                peer.recv_msg(0).unwrap();
            }
            let mut waits = 0;
            while !socket.is_readable().unwrap() {
                assert!(matches!(socket.receive(), Err(zmq::Error::EAGAIN)));
                let mut items = [zmq::PollItem::from_fd(socket.fd(), zmq::POLLIN)];
                assert_eq!(zmq::poll(&mut items, 30_000), Ok(1), "round {round}");
                socket.disturb();
                waits += 1;
            }
            // More than one wake-up for a message is rare, many are a busy wait.
            assert!(waits < 100, "{waits}");
            assert_eq!(&socket.receive().unwrap()[0][..], b"news");
        }
    }
}
