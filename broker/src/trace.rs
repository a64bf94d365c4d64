//! Prints messages frame by frame, for the `trace` key.
//!
//! One log record a message, at level trace and under [`TARGET`]: an arrow, the
//! peer's identity in hexadecimal, then a line for each frame, its length and its
//! text or bytes cut to a line.
//!
//! ```text
//! -> 006b8b4567
//! [006] MDPC02
//! [001] 0x01
//! [004] echo
//! [005] hello
//! ```
//!
//! `->` came from the peer, `<-` goes to it. The identity frame of the ROUTER socket
//! is not among the frames. Bodies are shown too, so a trace may hold what is
//! confidential.

use std::fmt;
use std::ops::Deref;

use majordomo_protocol::{PeerId, dump};

/// The log target of traced messages.
pub const TARGET: &str = module_path!();

/// Prints a message that came from `peer`, if traces are wanted.
pub fn received<F: Deref<Target = [u8]>>(peer: &PeerId, frames: &[F]) {
    log::trace!(target: TARGET, "{}", Traced { arrow: "->", peer, frames });
}

/// Prints a message that goes to `peer`, if traces are wanted.
pub fn sent<F: Deref<Target = [u8]>>(peer: &PeerId, frames: &[F]) {
    log::trace!(target: TARGET, "{}", Traced { arrow: "<-", peer, frames });
}

/// One message on its way.
struct Traced<'a, F> {
    arrow: &'static str,
    peer: &'a PeerId,
    frames: &'a [F],
}

impl<F: Deref<Target = [u8]>> fmt::Display for Traced<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.arrow, self.peer)?;
        // As `Debug` of `Frames` has it, which cannot be had for frames that are
        // borrowed from a message about to be sent.
        self.frames.iter().try_for_each(|frame| write!(f, "\n[{:03}] {}", frame.len(), dump(frame)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use majordomo_protocol::Frames;

    #[test]
    fn a_traced_message_prints_as_its_frames_do() {
        let frames = vec![b"".to_vec(), b"MDPC01".to_vec(), b"echo".to_vec(), vec![0xff; 90]];
        let peer = PeerId::new(&[0, 0x6b, 0x8b, 0x45, 0x67]);
        let traced = Traced { arrow: "->", peer: &peer, frames: &frames }.to_string();
        assert_eq!(traced, format!("-> 006b8b4567\n{:?}", Frames::new(frames)));
    }
}
