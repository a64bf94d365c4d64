//! The first frames of a message: they tell the sub-protocol and the version, and
//! hold the envelope of an MDP/0.1 client.

use crate::error::{DecodeError, Expected};
use crate::frames::{Frame, Frames};
use crate::names::Version;

/// Which of the two sub-protocols a message belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SubProtocol {
    Client,
    Worker,
}

/// The frame that opens a message of this sub-protocol and version.
pub(crate) fn text(sub_protocol: SubProtocol, version: Version) -> &'static str {
    match (sub_protocol, version) {
        (SubProtocol::Client, Version::V0_1) => "MDPC01",
        (SubProtocol::Client, Version::V0_2) => "MDPC02",
        (SubProtocol::Worker, Version::V0_1) => "MDPW01",
        (SubProtocol::Worker, Version::V0_2) => "MDPW02",
        (SubProtocol::Client, Version::V1_0) => "MDPC10",
        (SubProtocol::Worker, Version::V1_0) => "MDPW10",
    }
}

fn of_version(frame: &[u8], version: Version) -> Option<SubProtocol> {
    [SubProtocol::Client, SubProtocol::Worker]
        .into_iter()
        .find(|sub_protocol| text(*sub_protocol, version).as_bytes() == frame)
}

/// Frames that an MDP/0.1 client put before the empty frame, the sub-protocol and
/// the version of a message that comes to a broker.
///
/// RFC 7 calls the former the envelope stack. A REQ socket with
/// ZMQ_REQ_CORRELATE sends one, a request id.
pub(crate) fn read<F: Frame>(
    frames: &mut Frames<F>,
) -> Result<(Vec<F>, SubProtocol, Version), DecodeError> {
    let expected = Expected::BrokerHeader;
    if let Ok(sub_protocol) = frames.read(expected, |frame| of_version(frame, Version::V0_2)) {
        return Ok((Vec::new(), sub_protocol, Version::V0_2));
    }
    let Some(depth) = frames.as_slice().iter().position(|frame| frame.is_empty()) else {
        return Err(frames.error(expected));
    };
    let envelope = frames.take(depth).collect();
    frames.read_exact(Expected::Empty, b"")?;
    // Only a client has an envelope: nothing could go back in front of what a
    // worker is sent.
    let (expected, worker) = match depth {
        0 => ("MDPC01 or MDPW01", true),
        _ => ("MDPC01", false),
    };
    let sub_protocol = frames.read(Expected::Header(expected), |frame| {
        of_version(frame, Version::V0_1)
            .filter(|sub_protocol| worker || *sub_protocol == SubProtocol::Client)
    })?;
    Ok((envelope, sub_protocol, Version::V0_1))
}

/// Reads the header that a message to a client or to a worker must have.
pub(crate) fn read_exact<F: Frame>(
    frames: &mut Frames<F>,
    sub_protocol: SubProtocol,
    version: Version,
) -> Result<(), DecodeError> {
    if version == Version::V0_1 {
        frames.read_exact(Expected::Empty, b"")?;
    }
    let header = text(sub_protocol, version);
    frames.read_exact(Expected::Header(header), header.as_bytes())
}

/// Starts a message: its header, with the empty frame that MDP/0.1 wants before it.
pub(crate) fn write<F: Frame>(sub_protocol: SubProtocol, version: Version) -> Vec<F> {
    let mut frames = Vec::with_capacity(8);
    if version == Version::V0_1 {
        frames.push(F::from(&[]));
    }
    frames.push(F::from(text(sub_protocol, version).as_bytes()));
    frames
}
