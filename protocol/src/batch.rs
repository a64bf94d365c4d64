//! MDP/1.0 messages as they are written: records that fill a batch frame, and behind it the
//! body frames that are too large to stand in it. `record.rs` says what a record is, and
//! reads them.

use std::time::Duration;

use crate::body::Body;
use crate::error::Inexpressible;
use crate::frames::Frame;
use crate::header::{self, SubProtocol};
use crate::metadata::Metadata;
use crate::names::{ServiceName, Version};

/// As much memory is kept for the next message.
const ROOM_MAX: usize = 16 << 10;

/// A message of MDP/1.0 that is being written: records for one peer, as many as are
/// ready.
///
/// A body of one frame of up to `inline_bytes_max` bytes is copied into the batch
/// frame; any other goes behind it as it is.
///
/// ```
/// use majordomo_protocol::{Batch, Frames, Message, RequestId, client};
///
/// let mut batch = Batch::<Vec<u8>>::of_client(4096);
/// for id in [RequestId::new([1; 16]), RequestId::new([2; 16])] {
///     client::ToBroker::Cancel { id }.write(&mut batch)?;
/// }
/// let messages = Message::decode(Frames::new(batch.into_frames()));
/// assert_eq!(messages.count(), 2);
/// # Ok::<(), majordomo_protocol::Inexpressible>(())
/// ```
#[derive(Clone, Debug)]
pub struct Batch<F> {
    bytes: Vec<u8>,
    /// So many bytes stand before the records.
    magic: usize,
    bodies: Vec<F>,
    /// In all `bodies`.
    body_bytes: usize,
    records: usize,
    inline_bytes_max: usize,
}

impl<F: Frame> Batch<F> {
    /// An empty message between a client and a broker, in either direction.
    pub fn of_client(inline_bytes_max: usize) -> Self {
        Self::new(SubProtocol::Client, inline_bytes_max)
    }

    /// An empty message between a worker and a broker, in either direction.
    pub fn of_worker(inline_bytes_max: usize) -> Self {
        Self::new(SubProtocol::Worker, inline_bytes_max)
    }

    fn new(sub_protocol: SubProtocol, inline_bytes_max: usize) -> Self {
        let magic = header::text(sub_protocol, Version::V1_0);
        // Room for a few records: most batches are short, and long ones grow in large steps.
        let mut bytes = Vec::with_capacity(512);
        bytes.extend_from_slice(magic.as_bytes());
        let magic = bytes.len();
        Batch { bytes, magic, bodies: Vec::new(), body_bytes: 0, records: 0, inline_bytes_max }
    }

    /// Records written so far.
    pub fn records(&self) -> usize {
        self.records
    }

    /// Bytes of the batch frame and of all body frames so far.
    pub fn bytes(&self) -> usize {
        self.bytes.len() + self.body_bytes
    }

    /// Frames so far, the batch frame among them.
    pub fn frame_count(&self) -> usize {
        1 + self.bodies.len()
    }

    /// The message. It says nothing when no record was written.
    pub fn into_frames(mut self) -> Vec<F> {
        self.take_frames()
    }

    /// As [`Batch::into_frames`], and leaves an empty message of the same kind. That has
    /// room for as much again, up to 16 KiB.
    pub fn take_frames(&mut self) -> Vec<F> {
        let mut frames = Vec::with_capacity(self.frame_count());
        frames.push(F::from(&self.bytes));
        frames.append(&mut self.bodies);
        self.bytes.truncate(self.magic);
        self.bytes.shrink_to(ROOM_MAX);
        self.bodies.shrink_to(ROOM_MAX / size_of::<F>());
        (self.body_bytes, self.records) = (0, 0);
        frames
    }

    /// Writes one record: `fields` writes its fields.
    ///
    /// Fails, and has written nothing, when there are more body frames than the record
    /// can say.
    #[inline]
    pub(crate) fn record(
        &mut self,
        command: u8,
        flags: u8,
        fields: impl FnOnce(&mut Fields<'_>),
        metadata: &Metadata,
        body: impl Source<F>,
    ) -> Result<(), Inexpressible> {
        self.write(command, flags, fields, metadata, Some(body))
    }

    /// Writes one record that ends with its metadata.
    pub(crate) fn record_without_body(
        &mut self,
        command: u8,
        fields: impl FnOnce(&mut Fields<'_>),
        metadata: &Metadata,
    ) -> Result<(), Inexpressible> {
        self.write(command, 0, fields, metadata, None::<Body<F>>)
    }

    #[inline]
    fn write(
        &mut self,
        command: u8,
        flags: u8,
        fields: impl FnOnce(&mut Fields<'_>),
        metadata: &Metadata,
        body: Option<impl Source<F>>,
    ) -> Result<(), Inexpressible> {
        let in_place = match body.as_ref().map(|source| source.body().frames()) {
            None => Some(&[][..]),
            Some([frame]) => {
                let bytes: &[u8] = frame;
                (bytes.len() <= self.inline_bytes_max).then_some(bytes)
            }
            Some(_) => None,
        };
        let behind = match (in_place, &body) {
            (None, Some(source)) => source.body().frames().len(),
            _ => 0,
        };
        let body_frames = u16::try_from(behind).map_err(|_| Inexpressible {
            command: "a body of more than 65535 frames",
            version: Version::V1_0,
        })?;
        let start = self.bytes.len();
        // The length is put in at the end.
        let [high, low] = body_frames.to_be_bytes();
        self.bytes.extend_from_slice(&[0, 0, 0, 0, command, flags, high, low]);
        fields(&mut Fields(&mut self.bytes));
        // Metadata was checked when it was made.
        let length = u16::try_from(metadata.as_bytes().len()).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(metadata.as_bytes());
        match in_place {
            Some(bytes) => self.bytes.extend_from_slice(bytes),
            None => {
                let body = body.map(Source::take);
                self.body_bytes += body.as_ref().map_or(0, Body::size);
                self.bodies.extend(body.into_iter().flatten());
            }
        }
        self.records += 1;
        // A limit on bytes far below this bound is the caller's business.
        let length = u32::try_from(self.bytes.len() - start - 4).unwrap_or(u32::MAX);
        if let Some(head) = self.bytes.get_mut(start..start + 4) {
            head.copy_from_slice(&length.to_be_bytes());
        }
        Ok(())
    }
}

/// Where a record gets its body from.
pub(crate) trait Source<F> {
    /// What it is.
    fn body(&self) -> &Body<F>;

    /// To travel behind the batch frame.
    fn take(self) -> Body<F>;
}

impl<F> Source<F> for Body<F> {
    #[inline]
    fn body(&self) -> &Body<F> {
        self
    }

    fn take(self) -> Body<F> {
        self
    }
}

/// One that is kept.
impl<F: Clone> Source<F> for &Body<F> {
    #[inline]
    fn body(&self) -> &Body<F> {
        self
    }

    fn take(self) -> Body<F> {
        self.clone()
    }
}

/// Writes the fields of a record.
pub(crate) struct Fields<'a>(&'a mut Vec<u8>);

impl Fields<'_> {
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Whole milliseconds, rounded up, so that no time becomes none; 0 for `None`.
    pub(crate) fn milliseconds(&mut self, duration: Option<Duration>) {
        let ms = duration.map_or(0, |duration| duration.as_nanos().div_ceil(1_000_000).max(1));
        self.put(&u32::try_from(ms).unwrap_or(u32::MAX).to_be_bytes());
    }

    pub(crate) fn service(&mut self, service: &ServiceName) {
        // A name has at most 255 bytes.
        self.put(&[u8::try_from(service.as_str().len()).unwrap_or(u8::MAX)]);
        self.put(service.as_str().as_bytes());
    }

    /// A text, cut between characters after what a length of two bytes can say.
    pub(crate) fn text(&mut self, text: &str) {
        let text = &text[..text.floor_char_boundary(u16::MAX.into())];
        self.put(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
        self.put(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::ToBroker;
    use crate::names::RequestId;

    #[test]
    fn a_batch_whose_frames_were_taken_is_as_a_new_one() {
        let mut batch = Batch::<Vec<u8>>::of_client(10);
        for size in [5, 20, 0, 100_000] {
            let write = |batch: &mut Batch<Vec<u8>>| {
                let service = ServiceName::new("echo").unwrap();
                let (id, terms) = (Some(RequestId::new([7; 16])), Default::default());
                let body = Body::from_frame(vec![1; size]);
                ToBroker::Request { id, service, terms, body }.write(batch).unwrap();
            };
            let mut other = Batch::of_client(10);
            write(&mut batch);
            write(&mut other);
            let counts = |batch: &Batch<_>| (batch.records(), batch.bytes(), batch.frame_count());
            assert_eq!(counts(&batch), counts(&other));
            let frames = batch.take_frames();
            assert_eq!(counts(&other).1, frames.iter().map(Vec::len).sum::<usize>());
            assert_eq!(frames, other.into_frames());
            assert_eq!((batch.records(), batch.bytes(), batch.frame_count()), (0, 6, 1));
        }
    }
}
