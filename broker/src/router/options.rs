//! Options of a ROUTER socket that the `zmq` crate has no method for, by their numbers: the
//! published zmq-sys has no names for them.

use std::ffi::{c_int, c_void};

use majordomo_protocol::PeerId;

/// ZMQ_ZAP_ENFORCE_DOMAIN
const ZAP_ENFORCE_DOMAIN: c_int = 93;

/// Of our own libzmq alone: see `zmq-sys/patches/peers.rs`.
const TELL_OF_CONNECTIONS: c_int = 19_780;

/// Of our own libzmq alone: see `zmq-sys/patches/peers.rs`.
const END_CONNECTION: c_int = 19_781;

/// Has libzmq refuse connections when nobody answers its question about them. By default
/// it lets them in.
pub(super) fn refuse_when_nobody_answers(socket: &mut zmq::Socket) -> Result<(), zmq::Error> {
    // It fails where the option is unknown, which is no libzmq of 4.3.
    set(socket, ZAP_ENFORCE_DOMAIN, &YES)
}

/// Has libzmq tell when connections begin and end, on endpoints that are bound after this.
/// Whether it can.
pub(super) fn tell_of_connections(socket: &mut zmq::Socket) -> bool {
    set(socket, TELL_OF_CONNECTIONS, &YES).is_ok()
}

/// Has libzmq end the connection of a peer, if it can and there is one.
pub(super) fn end_connection(socket: &mut zmq::Socket, peer: &PeerId) -> Result<(), zmq::Error> {
    match set(socket, END_CONNECTION, peer.as_bytes()) {
        Ok(()) | Err(zmq::Error::EHOSTUNREACH | zmq::Error::EINVAL) => Ok(()),
        Err(error) => Err(error),
    }
}

const YES: [u8; size_of::<c_int>()] = (1 as c_int).to_ne_bytes();

fn set(socket: &mut zmq::Socket, option: c_int, value: &[u8]) -> Result<(), zmq::Error> {
    // SAFETY: the socket is alive, and libzmq reads as many bytes as it is told, which
    // live during the call. It takes an int from bytes of any alignment.
    #[expect(unsafe_code, reason = "the zmq crate has no method for these options")]
    let failed = unsafe {
        let start = value.as_ptr().cast::<c_void>();
        zmq_sys::zmq_setsockopt(socket.as_mut_ptr(), option, start, value.len())
    };
    if failed == 0 {
        return Ok(());
    }
    #[expect(unsafe_code, reason = "the zmq crate keeps its errno to itself")]
    // SAFETY: reads a number of this thread.
    Err(zmq::Error::from_raw(unsafe { zmq_sys::zmq_errno() }))
}

#[cfg(test)]
mod tests {
    use super::super::ZAP_DOMAIN;
    use super::*;

    const HANDSHAKE_SUCCEEDED: u16 = 0x1000;

    /// How the first handshake with a CURVE endpoint ends that nobody answers for; with
    /// `enforced`, libzmq was told what to do then.
    fn end_of_handshake(enforced: bool) -> u16 {
        let context = zmq::Context::new();
        let mut server = context.socket(zmq::ROUTER).unwrap();
        let keys = zmq::CurveKeyPair::new().unwrap();
        server.set_linger(0).unwrap();
        server.set_curve_server(true).unwrap();
        server.set_curve_secretkey(&keys.secret_key).unwrap();
        server.set_zap_domain(ZAP_DOMAIN).unwrap();
        if enforced {
            refuse_when_nobody_answers(&mut server).unwrap();
        }
        server.bind("tcp://127.0.0.1:*").unwrap();
        let endpoint = server.get_last_endpoint().unwrap().unwrap();

        let client = context.socket(zmq::DEALER).unwrap();
        let own = zmq::CurveKeyPair::new().unwrap();
        client.set_linger(0).unwrap();
        client.set_curve_serverkey(&keys.public_key).unwrap();
        client.set_curve_publickey(&own.public_key).unwrap();
        client.set_curve_secretkey(&own.secret_key).unwrap();
        client.monitor("inproc://monitor", zmq::SocketEvent::ALL as i32).unwrap();
        let monitor = context.socket(zmq::PAIR).unwrap();
        monitor.set_rcvtimeo(30_000).unwrap();
        monitor.connect("inproc://monitor").unwrap();
        client.connect(&endpoint).unwrap();
        let ended = loop {
            let frames = monitor.recv_multipart(0).expect("a handshake ends");
            let event = u16::from_ne_bytes([frames[0][0], frames[0][1]]);
            // Succeeded, or failed in one of three ways.
            if [HANDSHAKE_SUCCEEDED, 0x800, 0x2000, 0x4000].contains(&event) {
                break event;
            }
        };
        client.monitor("inproc://nothing", 0).unwrap();
        ended
    }

    #[test]
    fn nobody_is_let_in_when_nobody_answers() {
        // What libzmq does by itself, and what it is told to do.
        assert_eq!(end_of_handshake(false), HANDSHAKE_SUCCEEDED);
        assert_ne!(end_of_handshake(true), HANDSHAKE_SUCCEEDED);
    }
}
