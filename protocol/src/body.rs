//! What a client asks and a worker answers: frames that nothing on the way reads.

use smallvec::{SmallVec, smallvec};

use crate::frames::Frame;

/// The body of a request or of a reply: one opaque frame or more.
///
/// Most bodies have one frame, so text and bytes convert into one. The protocols
/// know no body without a frame: an empty list of frames becomes one empty frame.
///
/// ```
/// use majordomo_protocol::Body;
///
/// let one = Body::from("hello");
/// assert_eq!(one.frames().len(), 1);
/// let two = Body::from(vec![b"name".to_vec(), b"value".to_vec()]);
/// assert_eq!(two.size(), 9);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body<F = Vec<u8>>(
    /// Most bodies are one frame, and need no list of their own.
    SmallVec<[F; 1]>,
);

impl<F: Frame> Body<F> {
    /// A body of these frames; of one empty frame when there are none.
    pub fn from_frames(frames: impl IntoIterator<Item = F>) -> Self {
        let mut frames = SmallVec::from_iter(frames);
        if frames.is_empty() {
            frames.push(F::from(&[]));
        }
        Body(frames)
    }

    /// A body of this one frame.
    pub fn from_frame(frame: F) -> Self {
        Body(smallvec![frame])
    }

    /// The frames, one or more.
    pub fn frames(&self) -> &[F] {
        &self.0
    }

    /// The frames, one or more, each to be changed in its place.
    pub fn frames_mut(&mut self) -> &mut [F] {
        &mut self.0
    }

    /// The frames, one or more, to keep.
    pub fn into_frames(self) -> Vec<F> {
        self.0.into_vec()
    }

    /// Puts the frames of `more` behind these.
    pub fn append(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    /// Bytes in all frames together.
    pub fn size(&self) -> usize {
        self.0.iter().map(|frame| frame.len()).sum()
    }

    /// All frames joined into one sequence of bytes: for a body of one frame, that
    /// frame.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|frame| frame.iter().copied()).collect()
    }
}

impl Body {
    /// As [`Body::to_bytes`], without a copy when the body has one frame.
    pub fn into_bytes(mut self) -> Vec<u8> {
        match self.0.len() {
            1 => self.0.swap_remove(0),
            _ => self.0.concat(),
        }
    }
}

impl<F> IntoIterator for Body<F> {
    type Item = F;
    type IntoIter = smallvec::IntoIter<[F; 1]>;

    /// The frames, one or more, in order.
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl From<Vec<u8>> for Body {
    fn from(frame: Vec<u8>) -> Self {
        Body::from_frame(frame)
    }
}

impl From<&[u8]> for Body {
    fn from(frame: &[u8]) -> Self {
        Body::from(frame.to_vec())
    }
}

impl<const N: usize> From<&[u8; N]> for Body {
    fn from(frame: &[u8; N]) -> Self {
        Body::from(frame.to_vec())
    }
}

impl From<&str> for Body {
    fn from(text: &str) -> Self {
        Body::from(text.as_bytes())
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Body::from(text.into_bytes())
    }
}

impl From<Vec<Vec<u8>>> for Body {
    fn from(frames: Vec<Vec<u8>>) -> Self {
        Body::from_frames(frames)
    }
}
