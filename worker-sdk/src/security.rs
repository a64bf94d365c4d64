//! What a worker shows which broker, on its socket.

pub(crate) use majordomo_protocol::Credentials;
use majordomo_protocol::Security;

/// Whether libzmq can do all of it.
pub(crate) fn is_possible(credentials: &Credentials) -> bool {
    !credentials.need_curve() || zmq::has("curve") == Some(true)
}

/// Has a socket show this to whomever it will be connected to.
pub(crate) fn set(socket: &zmq::Socket, security: &Security) -> zmq::Result<()> {
    match security {
        Security::Curve { server_key, own } => {
            socket.set_curve_serverkey(server_key.as_bytes())?;
            socket.set_curve_publickey(own.public_key.as_bytes())?;
            socket.set_curve_secretkey(own.secret_key.as_bytes())
        }
        Security::Plain(login) => {
            socket.set_plain_username(Some(login.user()))?;
            socket.set_plain_password(Some(login.password()))
        }
        _ => Ok(()),
    }
}
