//! A TCP connection that is read in large pieces and written in one, for protocols
//! without ZeroMQ.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use super::peer::PATIENCE;

const PIECE_BYTES: usize = 64 * 1024;

/// A connection, what it has read and nobody has taken, and what is to be written.
pub struct Stream {
    stream: TcpStream,
    buffer: Vec<u8>,
    taken: usize,
    /// Leaves with the next [`Stream::flush`].
    pub out: Vec<u8>,
}

impl Stream {
    /// Connects to a server of this machine.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address);
        let stream = stream.unwrap_or_else(|error| panic!("{address}: {error}"));
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
        Stream { stream, buffer: vec![], taken: 0, out: vec![] }
    }

    /// Writes what stands in `out`.
    ///
    /// # Panics
    ///
    /// When the server has closed the connection.
    pub fn flush(&mut self) {
        self.stream.write_all(&self.out).expect("the server reads");
        self.out.clear();
    }

    /// What was read and not taken.
    pub fn unread(&self) -> &[u8] {
        &self.buffer[self.taken..]
    }

    /// Takes so many bytes.
    pub fn take(&mut self, bytes: usize) {
        self.taken += bytes;
    }

    /// Reads more; `false` when nothing came for a while.
    ///
    /// # Panics
    ///
    /// When the server has closed the connection.
    pub fn fill(&mut self) -> bool {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let held = self.buffer.len();
        self.buffer.resize(held + PIECE_BYTES, 0);
        let read = match self.stream.read(&mut self.buffer[held..]) {
            Ok(0) => panic!("the server has closed the connection"),
            Ok(read) => read,
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) =>
            {
                0
            }
            Err(error) => panic!("cannot read: {error}"),
        };
        self.buffer.truncate(held + read);
        read > 0
    }
}
