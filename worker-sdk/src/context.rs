//! The ZeroMQ contexts of a worker's sockets, and who moves their bytes.
//!
//! One context of the worker's own leaves that to the thread that uses the sockets, since
//! each message that travels alone would wake libzmq's thread first and then ours. With
//! several contexts it could wait for one of them only, and in a context that was given
//! others may have sockets: there libzmq's threads do it, as in every libzmq but ours.

use std::os::fd::AsFd;

use majordomo_io::wake::Ear;

/// libzmq allows 1023 sockets in a context: also for those that are still closing, for the
/// two that watch a broker's first connection, and for the one that I/O is run with.
pub(crate) const CONNECTIONS_PER_CONTEXT: usize = 500;

/// A context to open sockets in.
pub(crate) struct Context {
    context: zmq::Context,
    /// Nothing moves but while I/O is run.
    is_run: bool,
}

impl From<zmq::Context> for Context {
    /// One with threads of its own.
    fn from(context: zmq::Context) -> Self {
        Context { context, is_run: false }
    }
}

impl Context {
    /// A new socket, served by whoever runs I/O.
    pub(crate) fn socket(&self, kind: zmq::SocketType) -> zmq::Result<zmq::Socket> {
        let mut socket = self.context.socket(kind)?;
        if self.is_run {
            #[expect(unsafe_code, reason = "see majordomo-io")]
            // SAFETY: all sockets of this context are with the I/O thread.
            unsafe {
                majordomo_io::serve(&mut socket)?;
            }
        }
        Ok(socket)
    }
}

/// Contexts for so many connections; and if I/O is to be run, the socket to
/// [do it](majordomo_io::run) with. It is never connected: it stays, and watches the ear,
/// whatever becomes of connections.
pub(crate) fn own(
    connections: usize,
    ear: &Ear,
) -> zmq::Result<(Vec<Context>, Option<zmq::Socket>)> {
    let contexts = connections.div_ceil(CONNECTIONS_PER_CONTEXT);
    if contexts > 1 {
        return Ok(((0..contexts).map(|_| zmq::Context::new().into()).collect(), None));
    }
    let context = majordomo_io::context();
    let mut runner = context.socket(zmq::PAIR)?;
    #[expect(unsafe_code, reason = "see majordomo-io")]
    // SAFETY: all sockets of this context are with the I/O thread; the ear is a socket.
    let is_run = unsafe { majordomo_io::watch(&mut runner, ear.as_fd())? };
    Ok((vec![Context { context, is_run }], is_run.then_some(runner)))
}
