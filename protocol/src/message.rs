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

    /// Cheaper for each command of a long message than [`Messages::next`].
    fn fold<A, G: FnMut(A, Self::Item) -> A>(self, from: A, mut fold: G) -> A {
        match self.0 {
            State::Done => from,
            State::Batch(SubProtocol::Client, records) => {
                records.fold(|record| client::ToBroker::read(record).map(of_client), from, fold)
            }
            State::Batch(SubProtocol::Worker, records) => {
                records.fold(|record| worker::ToBroker::read(record).map(of_worker), from, fold)
            }
            State::Single(frames) => fold(from, Message::decode_single(frames)),
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

    #[test]
    fn folded_or_one_by_one_the_commands_of_a_message_are_the_same() {
        let mut batch = Batch::<Vec<u8>>::of_client(0);
        for id in 0..3 {
            client::ToBroker::Cancel { id: RequestId::new([id; 16]) }.write(&mut batch).unwrap();
        }
        let whole = batch.into_frames();
        let (mut cut, mut left_over) = (whole.clone(), whole.clone());
        cut[0].pop();
        left_over.push(b"nobody's".to_vec());
        for (frames, commands) in [(whole, 3), (cut, 3), (left_over, 4)] {
            let mut messages = Message::decode(Frames::new(frames));
            let folded = messages.clone().fold(Vec::new(), |mut all, message| {
                all.push(message);
                all
            });
            let one_by_one: Vec<_> = std::iter::from_fn(|| messages.next()).collect();
            assert_eq!((folded.len(), &folded), (commands, &one_by_one));
        }
        assert_eq!(Message::decode(Frames::<Vec<u8>>::new(Vec::new())).fold(0, |n, _| n + 1), 1);
    }
}
