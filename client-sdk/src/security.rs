//! What a client shows which broker.

use majordomo_protocol::Security;

/// What is shown to which broker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Credentials {
    /// To those that have nothing of their own.
    all: Security,
    own: Vec<(String, Security)>,
}

impl Credentials {
    pub(crate) fn set_all(&mut self, security: Security) {
        self.all = security;
    }

    /// What was said last of a broker counts.
    pub(crate) fn set(&mut self, endpoint: &str, security: Security) {
        self.own.push((endpoint.to_owned(), security));
    }

    pub(crate) fn of(&self, endpoint: &str) -> &Security {
        let mut own = self.own.iter().rev();
        own.find(|(other, _)| other == endpoint).map_or(&self.all, |(_, security)| security)
    }

    /// Whether libzmq can do all of it.
    pub(crate) fn are_possible(&self) -> bool {
        let mut all = self.own.iter().map(|(_, security)| security).chain([&self.all]);
        !all.any(|security| matches!(security, Security::Curve { .. }))
            || zmq::has("curve") == Some(true)
    }
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
