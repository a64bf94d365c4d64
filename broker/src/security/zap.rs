//! What libzmq asks about a connection, and what it is answered (ZAP, ZeroMQ RFC 27):
//! frames to values and back.

use majordomo_protocol::PublicKey;

use super::password::Password;
use crate::engine::Identity;

const VERSION: &[u8] = b"1.0";

/// What somebody shows of who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Nothing: the mechanism NULL, of an open endpoint.
    None,
    /// CURVE: it has the secret half of this key.
    Key(PublicKey),
    /// PLAIN.
    Password {
        /// Who it says it is.
        user: Vec<u8>,
        /// What shows it.
        password: Password,
    },
}

/// A connection that libzmq asks about.
#[derive(Debug)]
pub struct Question {
    /// The frames that go back in front of the answer: where to, an empty one, the
    /// version, the number of the question.
    envelope: [Vec<u8>; 4],
    /// Where it comes from: an address without port.
    pub address: String,
    /// What it shows; `None` when that makes no sense.
    pub proof: Option<Proof>,
}

impl Question {
    /// Reads a question as a ROUTER socket gets it; `None` for what is none, which cannot
    /// be answered.
    pub fn read(frames: Vec<Vec<u8>>) -> Option<Self> {
        let mut frames = frames.into_iter();
        let envelope = [frames.next()?, frames.next()?, frames.next()?, frames.next()?];
        if !envelope[1].is_empty() || envelope[2] != VERSION {
            return None;
        }
        let _domain = frames.next()?;
        let address = String::from_utf8_lossy(&frames.next()?).into_owned();
        let _routing_id = frames.next()?;
        let mechanism = frames.next()?;
        let credentials: Vec<_> = frames.collect();
        Some(Question { envelope, address, proof: proof(&mechanism, credentials) })
    }

    /// Lets the connection in. Its messages carry the number of `identity`.
    pub fn allow(self, identity: Identity) -> Vec<Vec<u8>> {
        self.answer(b"200", b"OK", identity.to_string())
    }

    /// Refuses the connection for good. The peer learns no more than that.
    pub fn refuse(self) -> Vec<Vec<u8>> {
        self.answer(b"400", b"refused", String::new())
    }

    fn answer(self, status: &[u8], text: &[u8], user: String) -> Vec<Vec<u8>> {
        let mut frames = Vec::from(self.envelope);
        let metadata = Vec::new();
        frames.extend([status.to_vec(), text.to_vec(), user.into_bytes(), metadata]);
        frames
    }
}

fn proof(mechanism: &[u8], credentials: Vec<Vec<u8>>) -> Option<Proof> {
    match mechanism {
        b"NULL" => credentials.is_empty().then_some(Proof::None),
        b"CURVE" => {
            let [key] = credentials.try_into().ok()?;
            Some(Proof::Key(PublicKey::new(key.try_into().ok()?)))
        }
        b"PLAIN" => {
            let [user, password] = credentials.try_into().ok()?;
            Some(Proof::Password { user, password: Password::new(password) })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(mechanism: &[u8], credentials: &[&[u8]]) -> Option<Question> {
        let frames: [&[u8]; 8] =
            [b"peer", b"", b"1.0", b"7", b"domain", b"10.0.0.1", b"", mechanism];
        let frames = frames.iter().chain(credentials).map(|frame| frame.to_vec());
        Question::read(frames.collect())
    }

    #[test]
    fn every_mechanism_shows_its_proof() {
        let proof = |mechanism: &[u8], credentials: &[&[u8]]| {
            let question = question(mechanism, credentials).expect("a question");
            assert_eq!(question.address, "10.0.0.1");
            question.proof
        };
        assert_eq!(proof(b"NULL", &[]), Some(Proof::None));
        let key = [7; 32];
        assert_eq!(proof(b"CURVE", &[&key]), Some(Proof::Key(PublicKey::new(key))));
        let password = Proof::Password { user: b"u".to_vec(), password: Password::new("p") };
        assert_eq!(proof(b"PLAIN", &[b"u", b"p"]), Some(password));
        for (mechanism, credentials) in [
            (&b"NULL"[..], &[&b"x"[..]][..]),
            (b"CURVE", &[&[7; 31]]),
            (b"CURVE", &[]),
            (b"PLAIN", &[b"u"]),
            (b"GSSAPI", &[b"u"]),
            (b"", &[]),
        ] {
            assert_eq!(proof(mechanism, credentials), None);
        }
    }

    #[test]
    fn the_answer_goes_back_where_the_question_came_from() {
        let allowed = question(b"NULL", &[]).unwrap().allow(Identity::new(12));
        assert_eq!(allowed, [&b"peer"[..], b"", b"1.0", b"7", b"200", b"OK", b"12", b""]);
        let refused = question(b"NULL", &[]).unwrap().refuse();
        assert_eq!(refused, [&b"peer"[..], b"", b"1.0", b"7", b"400", b"refused", b"", b""]);
    }

    #[test]
    fn what_is_no_question_is_none() {
        let frames = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        assert!(Question::read(frames(&[])).is_none());
        assert!(Question::read(frames(&["a", "", "1.0", "1", "d", "a", ""])).is_none());
        assert!(Question::read(frames(&["a", "", "2.0", "1", "d", "a", "", "NULL"])).is_none());
    }
}
