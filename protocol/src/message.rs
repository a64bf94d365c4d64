//! A message as it comes to a broker, from whichever kind of peer.

use crate::body::Body;
use crate::client;
use crate::error::DecodeError;
use crate::frames::{Frame, Frames};
use crate::header::{self, SubProtocol};
use crate::names::Version;
use crate::record::Records;
use crate::worker;

/// What a peer says to a broker, in which version.
///
/// A ROUTER socket serves clients and workers of all versions; the header tells
/// them apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<F> {
    /// MDP/Client.
    Client {
        /// The version the client speaks, and is answered in.
        version: Version,
        /// The frames that stood before the empty frame (MDP/0.1; often none).
        /// They must come back, in order, in front of every reply.
        envelope: Vec<F>,
        /// What the client wants.
        command: client::ToBroker<Body<F>>,
    },
    /// MDP/Worker.
    Worker {
        /// The version the worker speaks, and is answered in.
        version: Version,
        /// What the worker says.
        command: worker::ToBroker<Body<F>>,
    },
}

impl<F: Frame> Message<F> {
    /// Reads a message that came to a broker, without its identity frame: one command
    /// in MDP/0.1 and MDP/0.2, as many as its sender had ready in MDP/1.0.
    pub fn decode(frames: Frames<F>) -> Messages<F> {
        let mut sub_protocols = [SubProtocol::Client, SubProtocol::Worker].into_iter();
        let batch = sub_protocols.find(|sub_protocol| Records::begin(&frames, *sub_protocol));
        Messages(match batch {
            None => State::Single(frames),
            Some(sub_protocol) => match Records::new(frames, sub_protocol) {
                Ok(records) => State::Batch(sub_protocol, records),
                Err(_) => State::Done,
            },
        })
    }

    fn decode_single(mut frames: Frames<F>) -> Result<Self, DecodeError> {
        let (envelope, sub_protocol, version) = header::read(&mut frames)?;
        match sub_protocol {
            SubProtocol::Client => {
                let command = client::ToBroker::decode_after_header(version, frames)?;
                Ok(Message::Client { version, envelope, command })
            }
            SubProtocol::Worker => {
                let command = worker::ToBroker::decode_after_header(version, frames)?;
                Ok(Message::Worker { version, command })
            }
        }
    }
}

/// The commands of one message, as [`Message::decode`] finds them.
///
/// After an error there is nothing more: what stood before it counts.
#[derive(Clone)]
pub struct Messages<F>(State<F>);

#[derive(Clone)]
enum State<F> {
    Single(Frames<F>),
    Batch(SubProtocol, Records<F>),
    Done,
}

/// Whoever is [told](Messages::tell) the commands of a message, in order.
pub trait Listener<F> {
    /// A client says this; see [`Message::Client`].
    fn client(&mut self, version: Version, envelope: Vec<F>, command: client::ToBroker<Body<F>>);

    /// A worker says this; see [`Message::Worker`].
    fn worker(&mut self, version: Version, command: worker::ToBroker<Body<F>>);

    /// What comes next is no command, and nothing follows.
    fn invalid(&mut self, error: DecodeError);
}

impl<F: Frame> Messages<F> {
    /// Tells all commands that are left. For each of many it costs less than
    /// [`Messages::next`].
    pub fn tell(self, listener: &mut impl Listener<F>) {
        let told = match self.0 {
            State::Done => Ok(()),
            State::Batch(SubProtocol::Client, records) => {
                records.for_each(client::ToBroker::read, |command| {
                    listener.client(Version::V1_0, Vec::new(), command);
                })
            }
            State::Batch(SubProtocol::Worker, records) => {
                records.for_each(worker::ToBroker::read, |command| {
                    listener.worker(Version::V1_0, command);
                })
            }
            State::Single(frames) => Message::decode_single(frames).map(|message| match message {
                Message::Client { version, envelope, command } => {
                    listener.client(version, envelope, command);
                }
                Message::Worker { version, command } => listener.worker(version, command),
            }),
        };
        told.unwrap_or_else(|error| listener.invalid(error));
    }
}

impl<F: Frame> Iterator for Messages<F> {
    type Item = Result<Message<F>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            State::Done => None,
            State::Batch(SubProtocol::Client, records) => {
                records.next(|record| client::ToBroker::read(record).map(of_client))
            }
            State::Batch(SubProtocol::Worker, records) => {
                records.next(|record| worker::ToBroker::read(record).map(of_worker))
            }
            State::Single(_) => match std::mem::replace(&mut self.0, State::Done) {
                State::Single(frames) => Some(Message::decode_single(frames)),
                _ => None,
            },
        }
    }
}

#[inline]
fn of_client<F>(command: client::ToBroker<Body<F>>) -> Message<F> {
    Message::Client { version: Version::V1_0, envelope: Vec::new(), command }
}

#[inline]
fn of_worker<F>(command: worker::ToBroker<Body<F>>) -> Message<F> {
    Message::Worker { version: Version::V1_0, command }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Batch;
    use crate::names::RequestId;

    #[derive(Default)]
    struct Heard(Vec<Result<Message<Vec<u8>>, DecodeError>>);

    impl Listener<Vec<u8>> for Heard {
        fn client(
            &mut self,
            version: Version,
            envelope: Vec<Vec<u8>>,
            command: client::ToBroker<Body>,
        ) {
            self.0.push(Ok(Message::Client { version, envelope, command }));
        }

        fn worker(&mut self, version: Version, command: worker::ToBroker<Body>) {
            self.0.push(Ok(Message::Worker { version, command }));
        }

        fn invalid(&mut self, error: DecodeError) {
            self.0.push(Err(error));
        }
    }

    #[test]
    fn told_or_one_by_one_the_commands_of_a_message_are_the_same() {
        let mut asked = Batch::<Vec<u8>>::of_client(0);
        for id in 0..3 {
            client::ToBroker::Cancel { id: RequestId::new([id; 16]) }.write(&mut asked).unwrap();
        }
        let asked = asked.into_frames();
        let mut said = Batch::<Vec<u8>>::of_worker(0);
        worker::ToBroker::<Body>::Drain.write(&mut said).unwrap();
        let (mut cut, mut left_over) = (asked.clone(), asked.clone());
        cut[0].pop();
        left_over.push(b"nobody's".to_vec());
        let single = ["one", "", "MDPC01", "echo", "hi"].map(|text| text.into()).to_vec();
        let beat = ["", "MDPW02", "\x05"].map(|text| text.into()).to_vec();
        for (frames, commands) in [
            (asked, 3),
            (said.into_frames(), 1),
            (cut, 3),
            (left_over, 4),
            (single, 1),
            (beat, 1),
            (Vec::new(), 1),
        ] {
            let mut messages = Message::decode(Frames::new(frames));
            let mut heard = Heard::default();
            messages.clone().tell(&mut heard);
            let one_by_one: Vec<_> = std::iter::from_fn(|| messages.next()).collect();
            assert_eq!((heard.0.len(), heard.0), (commands, one_by_one));
        }
    }
}
