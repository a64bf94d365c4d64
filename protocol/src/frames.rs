//! One multipart message, read front to back.

use std::fmt;
use std::ops::Deref;

use crate::error::{DecodeError, Excerpt, Expected, Found};

/// What serves as a frame: bytes that can be read, and made from bytes.
///
/// `Vec<u8>` and `zmq::Message` are frames without further ado.
pub trait Frame: Deref<Target = [u8]> + for<'a> From<&'a [u8]> {}

impl<F: Deref<Target = [u8]> + for<'a> From<&'a [u8]>> Frame for F {}

/// The frames of one message that have not been read yet.
///
/// `Debug` prints a line a frame: its length, and its text or hexadecimal bytes.
#[derive(Clone)]
pub struct Frames<F> {
    rest: std::vec::IntoIter<F>,
    position: usize,
}

impl<F: Frame> Frames<F> {
    /// All frames of a message, without the identity frame of a ROUTER socket.
    pub fn new(frames: Vec<F>) -> Self {
        Frames { rest: frames.into_iter(), position: 0 }
    }

    /// Where the next frame stands in the message, counted from 0.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// Leaves the frames that were not read unread.
    pub(crate) fn clear(&mut self) {
        self.rest = Vec::new().into_iter();
    }

    /// Reads one frame that satisfies `accept`, and gives the frame itself.
    pub(crate) fn read_frame(
        &mut self,
        expected: Expected,
        accept: impl FnOnce(&[u8]) -> bool,
    ) -> Result<F, DecodeError> {
        match self.rest.as_slice().first() {
            Some(frame) if accept(frame) => {}
            _ => return Err(self.error(expected)),
        }
        self.position += 1;
        self.rest.next().ok_or_else(|| self.error(expected))
    }

    /// The frames not read yet, in order.
    pub fn as_slice(&self) -> &[F] {
        self.rest.as_slice()
    }

    /// Reads one frame that satisfies `accept`.
    pub(crate) fn read<T>(
        &mut self,
        expected: Expected,
        accept: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<T, DecodeError> {
        let frame = self.rest.as_slice().first();
        match frame.and_then(|frame| accept(frame)) {
            Some(value) => {
                self.rest.next();
                self.position += 1;
                Ok(value)
            }
            None => Err(self.error(expected)),
        }
    }

    /// Reads one frame that equals `bytes`.
    pub(crate) fn read_exact(
        &mut self,
        expected: Expected,
        bytes: &[u8],
    ) -> Result<(), DecodeError> {
        self.read(expected, |frame| (frame == bytes).then_some(()))
    }

    /// Reads `count` frames as they are.
    pub(crate) fn take(&mut self, count: usize) -> impl Iterator<Item = F> {
        self.position += count.min(self.rest.len());
        self.rest.by_ref().take(count)
    }

    /// Reads all that is left: one frame or more.
    pub(crate) fn rest(self) -> Result<std::vec::IntoIter<F>, DecodeError> {
        if self.as_slice().is_empty() {
            return Err(self.error(Expected::Body));
        }
        Ok(self.rest)
    }

    /// Succeeds when nothing is left.
    pub(crate) fn end(self) -> Result<(), DecodeError> {
        if self.as_slice().is_empty() { Ok(()) } else { Err(self.error(Expected::End)) }
    }

    /// An error about the next frame.
    pub(crate) fn error(&self, expected: Expected) -> DecodeError {
        let found = match self.as_slice().first() {
            Some(frame) => Found::Frame(Excerpt::of(frame)),
            None => Found::Nothing,
        };
        DecodeError { frame: self.position, record: None, expected, found }
    }
}

impl<F: Frame> fmt::Debug for Frames<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (line, frame) in self.as_slice().iter().enumerate() {
            let newline = if line == 0 { "" } else { "\n" };
            write!(f, "{newline}[{:03}] {}", frame.len(), dump(frame))?;
        }
        Ok(())
    }
}

/// Prints bytes so that they fit on a line: as text when all are printable ASCII,
/// else in hexadecimal, and cut after some 70 characters.
pub fn dump(bytes: &[u8]) -> impl fmt::Display + '_ {
    Dump(bytes)
}

struct Dump<'a>(&'a [u8]);

impl Dump<'_> {
    const TEXT_MAX: usize = 70;
    const HEX_MAX: usize = 35;
}

impl fmt::Display for Dump<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0;
        let printable = bytes.iter().all(|byte| matches!(byte, b' '..=b'~'));
        let shown =
            &bytes[..bytes.len().min(if printable { Self::TEXT_MAX } else { Self::HEX_MAX })];
        if printable {
            shown.iter().try_for_each(|byte| write!(f, "{}", char::from(*byte)))?;
        } else {
            f.write_str("0x")?;
            shown.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        }
        if shown.len() < bytes.len() { f.write_str("…") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_prints_a_line_a_frame() {
        let frames = Frames::new(vec![b"".to_vec(), b"MDPW01".to_vec(), vec![1], vec![b'x'; 100]]);
        let expected = format!("[000] \n[006] MDPW01\n[001] 0x01\n[100] {}…", "x".repeat(70));
        assert_eq!(format!("{frames:?}"), expected);
    }
}
