//! The frames of a message as one sequence of bytes, which is what fuzzers change.
//!
//! A mark ends each frame; lengths before the frames would make nonsense of all that
//! follows a byte added or lost.

use majordomo_protocol::Frames;

/// What ends a piece of an input.
const MARK: &[u8] = b"\n--\n";

/// The pieces of an input; one not ended by a mark counts unless it is empty.
pub(crate) fn pieces(data: &[u8]) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let mut rest = data;
    while let Some(at) = rest.windows(MARK.len()).position(|window| window == MARK) {
        pieces.push(rest[..at].to_vec());
        rest = &rest[at + MARK.len()..];
    }
    if !rest.is_empty() {
        pieces.push(rest.to_vec());
    }
    pieces
}

pub(crate) fn show(data: &[u8]) -> String {
    format!("{:?}", Frames::new(pieces(data)))
}
