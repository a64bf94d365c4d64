//! Why a message could not be read or written: which frame, what was expected
//! there, what was found. Whoever sent the message is at fault, never its reader.

use std::fmt;

use crate::frames::dump;
use crate::names::Version;

/// A message that is no command of the protocol.
///
/// Nothing of it has taken effect. The RFCs ask the receiver to drop it and to
/// treat its sender as invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("frame {frame}{}: expected {expected}, found {found}", OfRecord(*.record))]
pub struct DecodeError {
    /// The place in the message, counted from 0, without the identity frame that
    /// a ROUTER socket puts in front.
    pub frame: usize,
    /// The record of an MDP/1.0 message, counted from 0; those before it took effect.
    /// `None` when the fault lies in no record, or the version has none.
    pub record: Option<usize>,
    /// What should stand there.
    pub expected: Expected,
    /// What does.
    pub found: Found,
}

/// Says which record an error is about.
struct OfRecord(Option<usize>);

impl fmt::Display for OfRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |record| write!(f, ", record {record}"))
    }
}

/// What the protocol wants in some place of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Expected {
    /// `MDPC02` or `MDPW02`; `MDPC10` or `MDPW10` and records; or an empty frame and
    /// then `MDPC01` or `MDPW01`.
    BrokerHeader,
    /// The header of one sub-protocol and version.
    Header(&'static str),
    /// One of the commands that this sender may use, as one byte.
    Command(&'static str),
    /// See [`ServiceName`](crate::ServiceName).
    ServiceName,
    /// The frame that says whose request is answered: 1 byte or more.
    ClientAddress,
    /// The empty frame that parts addresses from what follows.
    Empty,
    /// One frame or more.
    Body,
    /// Nothing more.
    End,
    /// The length of a record: at least 4, and no more bytes than follow.
    RecordLength,
    /// A field of a record, by its name.
    Field(&'static str),
    /// Metadata: pairs of a key and a value that fill their length.
    Metadata,
    /// The end of the record: its command has no body, or its body stands in frames.
    EndOfRecord,
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expected::BrokerHeader => f.write_str(
                "the header MDPC02 or MDPW02, a batch that begins MDPC10 or MDPW10, \
                 or an empty frame followed by MDPC01 or MDPW01",
            ),
            Expected::Header(header) => write!(f, "the header {header}"),
            Expected::Command(commands) => write!(f, "a command ({commands})"),
            Expected::ServiceName => write!(
                f,
                "a service name (1 to {} bytes of UTF-8 without control characters)",
                crate::SERVICE_NAME_BYTES_MAX
            ),
            Expected::ClientAddress => f.write_str("a client address (1 byte or more)"),
            Expected::Empty => f.write_str("an empty frame"),
            Expected::Body => f.write_str("a body (1 frame or more)"),
            Expected::End => f.write_str("the end of the message"),
            Expected::RecordLength => {
                f.write_str("the length of a record (4 or more, and no more bytes than follow)")
            }
            Expected::Field(field) => f.write_str(field),
            Expected::Metadata => f.write_str("metadata (pairs of a key and a value)"),
            Expected::EndOfRecord => f.write_str("the end of the record"),
        }
    }
}

/// What stood in the place that a [`DecodeError`] names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The message ended before it, or the record did.
    Nothing,
    /// This frame.
    Frame(Excerpt),
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Found::Nothing => f.write_str("nothing more"),
            Found::Frame(excerpt) => excerpt.fmt(f),
        }
    }
}

/// The length of a frame and its first bytes: enough to recognise it in a log,
/// however large it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Excerpt {
    bytes: usize,
    start: Vec<u8>,
}

impl Excerpt {
    const BYTES_KEPT: usize = 32;

    /// Keeps the start of `frame`.
    pub fn of(frame: &[u8]) -> Self {
        Excerpt { bytes: frame.len(), start: frame[..frame.len().min(Self::BYTES_KEPT)].to_vec() }
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bytes {
            0 => f.write_str("an empty frame"),
            1 => write!(f, "1 byte {}", dump(&self.start)),
            bytes => {
                let more = if bytes > self.start.len() { "…" } else { "" };
                write!(f, "{bytes} bytes {}{more}", dump(&self.start))
            }
        }
    }
}

impl fmt::Debug for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A command that a version has no frames for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("MDP/{version} cannot express {command}")]
pub struct Inexpressible {
    /// The command, by the name the RFCs give it.
    pub command: &'static str,
    /// The version that lacks it.
    pub version: Version,
}
