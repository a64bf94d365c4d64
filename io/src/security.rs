//! What a socket shows to the broker that it will be connected to.

use majordomo_protocol::{Credentials, Security};

/// Whether libzmq can show all of it: not every libzmq has CURVE.
pub fn is_possible(credentials: &Credentials) -> bool {
    !credentials.need_curve() || zmq::has("curve") == Some(true)
}

/// Has a socket show this to whomever it will be connected to.
///
/// # Errors
///
/// What libzmq says of a context that has ended, or when it has no CURVE.
pub fn set(socket: &zmq::Socket, security: &Security) -> zmq::Result<()> {
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

#[cfg(test)]
mod tests {
    use majordomo_protocol::{KeyPair, PublicKey, SecretKey};

    use super::*;

    #[test]
    fn a_socket_shows_what_it_was_told_to() {
        let shown = |security: &Security| {
            let socket = zmq::Context::new().socket(zmq::DEALER).unwrap();
            set(&socket, security).unwrap();
            socket
        };
        let null = shown(&Security::Null);
        assert_eq!(null.get_mechanism(), Ok(zmq::Mechanism::ZMQ_NULL));

        let plain = shown(&Security::plain("alice", "s3cret").unwrap());
        assert_eq!(plain.get_mechanism(), Ok(zmq::Mechanism::ZMQ_PLAIN));
        assert_eq!(plain.get_plain_username(), Ok(Ok("alice".to_owned())));
        assert_eq!(plain.get_plain_password(), Ok(Ok("s3cret".to_owned())));
        assert_eq!(plain.is_plain_server(), Ok(false));

        let own =
            KeyPair { public_key: PublicKey::new([2; 32]), secret_key: SecretKey::new([3; 32]) };
        let curve = shown(&Security::curve(PublicKey::new([1; 32]), own));
        assert_eq!(curve.get_mechanism(), Ok(zmq::Mechanism::ZMQ_CURVE));
        assert_eq!(curve.get_curve_serverkey(), Ok(vec![1; 32]));
        assert_eq!(curve.get_curve_publickey(), Ok(vec![2; 32]));
        assert_eq!(curve.get_curve_secretkey(), Ok(vec![3; 32]));
        assert_eq!(curve.is_curve_server(), Ok(false));
    }

    #[test]
    fn keys_need_a_libzmq_that_has_curve() {
        let mut credentials = Credentials::default();
        credentials.set("tcp://a:1", Security::plain("alice", "s3cret").unwrap());
        assert!(is_possible(&credentials));
        let own =
            KeyPair { public_key: PublicKey::new([2; 32]), secret_key: SecretKey::new([3; 32]) };
        credentials.set_all(Security::curve(PublicKey::new([1; 32]), own));
        assert_eq!(Some(is_possible(&credentials)), zmq::has("curve"));
    }
}
