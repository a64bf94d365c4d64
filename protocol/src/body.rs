//! What a client asks and a worker answers: frames that nothing on the way reads.

use std::{slice, vec};

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
pub struct Body<F = Vec<u8>>(Content<F>);

/// Most bodies are one frame, and need no list of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Content<F> {
    One(F),
    /// Two or more.
    Many(Vec<F>),
}

impl<F: Frame> Body<F> {
    /// A body of these frames; of one empty frame when there are none.
    pub fn from_frames(frames: impl IntoIterator<Item = F>) -> Self {
        let mut frames = frames.into_iter();
        let first = frames.next().unwrap_or_else(|| F::from(&[]));
        let Some(second) = frames.next() else { return Body::from_frame(first) };
        let mut many = vec![first, second];
        many.extend(frames);
        Body(Content::Many(many))
    }

    /// A body of this one frame.
    #[inline]
    pub fn from_frame(frame: F) -> Self {
        Body(Content::One(frame))
    }

    /// The frames, one or more.
    #[inline]
    pub fn frames(&self) -> &[F] {
        match &self.0 {
            Content::One(frame) => slice::from_ref(frame),
            Content::Many(frames) => frames,
        }
    }

    /// The frames, one or more, each to be changed in its place.
    pub fn frames_mut(&mut self) -> &mut [F] {
        match &mut self.0 {
            Content::One(frame) => slice::from_mut(frame),
            Content::Many(frames) => frames,
        }
    }

    /// The frames, one or more, to keep.
    pub fn into_frames(self) -> Vec<F> {
        match self.0 {
            Content::One(frame) => vec![frame],
            Content::Many(frames) => frames,
        }
    }

    /// Puts the frames of `more` behind these.
    pub fn append(&mut self, more: Self) {
        let these = std::mem::replace(&mut self.0, Content::Many(Vec::new()));
        let mut frames = Body(these).into_frames();
        frames.extend(more);
        self.0 = Content::Many(frames);
    }

    /// Bytes in all frames together.
    pub fn size(&self) -> usize {
        self.frames().iter().map(|frame| frame.len()).sum()
    }

    /// All frames joined into one sequence of bytes: for a body of one frame, that
    /// frame.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.frames().iter().flat_map(|frame| frame.iter().copied()).collect()
    }
}

impl Body {
    /// As [`Body::to_bytes`], without a copy when the body has one frame.
    pub fn into_bytes(self) -> Vec<u8> {
        match self.0 {
            Content::One(frame) => frame,
            Content::Many(frames) => frames.concat(),
        }
    }
}

impl<F> IntoIterator for Body<F> {
    type Item = F;
    type IntoIter = BodyFrames<F>;

    /// The frames, one or more, in order.
    fn into_iter(self) -> Self::IntoIter {
        match self.0 {
            Content::One(frame) => BodyFrames { one: Some(frame), many: Vec::new().into_iter() },
            Content::Many(frames) => BodyFrames { one: None, many: frames.into_iter() },
        }
    }
}

/// The frames of a [`Body`], to keep, in order.
#[derive(Clone, Debug)]
pub struct BodyFrames<F> {
    one: Option<F>,
    many: vec::IntoIter<F>,
}

impl<F> Iterator for BodyFrames<F> {
    type Item = F;

    fn next(&mut self) -> Option<F> {
        self.one.take().or_else(|| self.many.next())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::from(self.one.is_some()) + self.many.len();
        (left, Some(left))
    }
}

impl<F> ExactSizeIterator for BodyFrames<F> {}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_were_put_in_whether_one_or_many() {
        let frame = |n: usize| vec![n as u8; n];
        for count in 0..4 {
            let body = Body::from_frames((1..=count).map(frame));
            // No frame at all is one that is empty.
            let expected =
                if count == 0 { vec![frame(0)] } else { (1..=count).map(frame).collect() };
            assert_eq!(body.frames(), expected);
            assert_eq!(body.clone().into_iter().len(), expected.len());
            assert_eq!(body.clone().into_iter().collect::<Vec<_>>(), expected);
            let mut longer = body.clone();
            longer.append(body.clone());
            assert_eq!(longer.into_frames(), [expected.clone(), expected].concat());
        }
    }
}
