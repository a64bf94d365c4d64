//! MDP/1.0 messages as they are read: a batch frame of records, then the body frames that
//! were too large to stand in it. [`Batch`](crate::Batch) writes them.
//!
//! A record is `length u32, command u8, flags u8, body frames u16, fields, metadata
//! length u16, metadata, body`, all in network byte order. What the fields are is
//! the business of [`client`](crate::client) and [`worker`](crate::worker).

use std::time::Duration;

use crate::body::Body;
use crate::error::{DecodeError, Excerpt, Expected, Found};
use crate::frames::{Frame, Frames};
use crate::header::{self, SubProtocol};
use crate::metadata::Metadata;
use crate::names::{ServiceName, Version};

/// A message of MDP/1.0 that is being read, record by record.
#[derive(Clone)]
pub(crate) struct Records<F> {
    batch: F,
    reader: Reader<F>,
}

/// What remains from one record for the next.
#[derive(Clone)]
struct Reader<F> {
    /// Where the next record begins in the batch frame.
    at: usize,
    /// How many records were read.
    record: usize,
    /// The body frames that no record has taken yet.
    bodies: Frames<F>,
    /// The service that was named last: mostly the next record names it too.
    service: Option<ServiceName>,
}

impl<F: Frame> Records<F> {
    /// Whether these frames are a message of MDP/1.0, of this sub-protocol.
    pub(crate) fn begin(frames: &Frames<F>, sub_protocol: SubProtocol) -> bool {
        let magic = header::text(sub_protocol, Version::V1_0).as_bytes();
        frames.as_slice().first().is_some_and(|frame| frame.starts_with(magic))
    }

    /// The records of a message of this sub-protocol.
    pub(crate) fn new(
        mut frames: Frames<F>,
        sub_protocol: SubProtocol,
    ) -> Result<Self, DecodeError> {
        let magic = header::text(sub_protocol, Version::V1_0);
        let is_batch = |frame: &[u8]| frame.starts_with(magic.as_bytes());
        let batch = frames.read_frame(Expected::Header(magic), is_batch)?;
        let reader = Reader { at: magic.len(), record: 0, bodies: frames, service: None };
        Ok(Records { batch, reader })
    }

    /// The next record, read by `read`; `None` at the end of the message. After an
    /// error there is no way to find the next record.
    pub(crate) fn next<T>(
        &mut self,
        read: impl FnOnce(&mut Record<'_, F>) -> Result<T, DecodeError>,
    ) -> Option<Result<T, DecodeError>> {
        self.reader.next(&self.batch, read)
    }

    /// All records from here on, each read by `read`, until one is wrong. Looks for the bytes
    /// of the batch frame once, not for each record.
    #[inline]
    pub(crate) fn for_each<T>(
        mut self,
        read: impl Fn(&mut Record<'_, F>) -> Result<T, DecodeError>,
        mut each: impl FnMut(T),
    ) -> Result<(), DecodeError> {
        let batch: &[u8] = &self.batch;
        while self.reader.at < batch.len() {
            each(self.reader.read(batch, &read)?);
        }
        self.reader.end()
    }
}

impl<F: Frame> Reader<F> {
    fn next<T>(
        &mut self,
        batch: &[u8],
        read: impl FnOnce(&mut Record<'_, F>) -> Result<T, DecodeError>,
    ) -> Option<Result<T, DecodeError>> {
        if self.at >= batch.len() {
            return self.end().err().map(Err);
        }
        let result = self.read(batch, read);
        if result.is_err() {
            self.at = batch.len();
            self.bodies.clear();
        }
        Some(result)
    }

    /// A body frame that belongs to no record makes the message invalid, once.
    fn end(&mut self) -> Result<(), DecodeError> {
        let bodies = &mut self.bodies;
        let is_left = !bodies.as_slice().is_empty();
        let error = is_left.then(|| bodies.error(Expected::End));
        bodies.clear();
        error.map_or(Ok(()), Err)
    }

    /// Reads the next record, which is there.
    #[inline(always)]
    fn read<T>(
        &mut self,
        batch: &[u8],
        read: impl FnOnce(&mut Record<'_, F>) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let rest = batch.get(self.at..).unwrap_or_default();
        let number = self.record;
        self.record += 1;
        let (mut record, after) = Record::split(rest, number, self)?;
        record.reader.at = batch.len() - after;
        read(&mut record)
    }
}

#[cold]
fn no_record(bytes: &[u8], number: usize) -> DecodeError {
    DecodeError {
        frame: 0,
        record: Some(number),
        expected: Expected::RecordLength,
        found: Found::Frame(Excerpt::of(bytes)),
    }
}

/// One record: its fields are read in order, and then one of the ends:
/// [`Record::body`] or [`Record::end`].
pub(crate) struct Record<'a, F> {
    pub(crate) command: u8,
    pub(crate) flags: u8,
    rest: &'a [u8],
    body_frames: u16,
    number: usize,
    reader: &'a mut Reader<F>,
}

/// What every record passes is inlined always: a command is then read from where it came, and
/// its parts are not moved from function to function.
impl<'a, F: Frame> Record<'a, F> {
    /// The first record of these bytes, and how many bytes follow it.
    #[inline(always)]
    fn split(
        bytes: &'a [u8],
        number: usize,
        reader: &'a mut Reader<F>,
    ) -> Result<(Self, usize), DecodeError> {
        let error = || no_record(bytes, number);
        let (length, rest) = bytes.split_first_chunk().ok_or_else(error)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (record, rest) = rest.split_at_checked(length).ok_or_else(error)?;
        let [command, flags, frames_high, frames_low, fields @ ..] = record else {
            return Err(error());
        };
        let body_frames = u16::from_be_bytes([*frames_high, *frames_low]);
        let (command, flags) = (*command, *flags);
        Ok((Record { command, flags, rest: fields, body_frames, number, reader }, rest.len()))
    }

    /// An error about what comes next in this record.
    #[cold]
    pub(crate) fn error(&self, expected: Expected) -> DecodeError {
        let found = match self.rest {
            [] => Found::Nothing,
            rest => Found::Frame(Excerpt::of(rest)),
        };
        DecodeError { frame: 0, record: Some(self.number), expected, found }
    }

    /// An error about the command.
    pub(crate) fn unknown(&self, expected: &'static str) -> DecodeError {
        let found = Found::Frame(Excerpt::of(&[self.command]));
        let expected = Expected::Command(expected);
        DecodeError { frame: 0, record: Some(self.number), expected, found }
    }

    pub(crate) fn array<const N: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<[u8; N], DecodeError> {
        let Some((array, rest)) = self.rest.split_first_chunk() else {
            return Err(self.error(Expected::Field(field)));
        };
        self.rest = rest;
        Ok(*array)
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.array(field).map(u16::from_be_bytes)
    }

    /// Milliseconds; 0 stands for `None`.
    pub(crate) fn milliseconds(
        &mut self,
        field: &'static str,
    ) -> Result<Option<Duration>, DecodeError> {
        let ms = u32::from_be_bytes(self.array(field)?);
        Ok((ms > 0).then(|| Duration::from_millis(ms.into())))
    }

    #[inline(always)]
    pub(crate) fn service(&mut self) -> Result<ServiceName, DecodeError> {
        let start = self.rest;
        let length = usize::from(self.u8("length of the service u8")?);
        if let Some(last) = &self.reader.service
            && last.as_str().len() == length
            && let Some(rest) = self.rest.strip_prefix(last.as_str().as_bytes())
        {
            self.rest = rest;
            return Ok(last.clone());
        }
        let read = |name: &[u8]| ServiceName::from_bytes(name).ok();
        let service = self.measured(start, length, Expected::ServiceName, read)?;
        self.reader.service = Some(service.clone());
        Ok(service)
    }

    pub(crate) fn text(&mut self) -> Result<String, DecodeError> {
        let start = self.rest;
        let length = self.u16("length of the text u16")?;
        let read = |text: &[u8]| std::str::from_utf8(text).ok().map(str::to_owned);
        self.measured(start, length.into(), Expected::Field("the text, in UTF-8"), read)
    }

    #[inline(always)]
    pub(crate) fn metadata(&mut self) -> Result<Metadata, DecodeError> {
        // Mostly there is none.
        if let Some(rest) = self.rest.strip_prefix(&[0, 0]) {
            self.rest = rest;
            return Ok(Metadata::default());
        }
        let start = self.rest;
        let length = self.u16("length of the metadata u16")?;
        self.measured(start, length.into(), Expected::Metadata, Metadata::from_bytes)
    }

    /// The rest of a field that began at `start` with its length; an error shows it
    /// from there on.
    fn measured<T>(
        &mut self,
        start: &'a [u8],
        length: usize,
        expected: Expected,
        read: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<T, DecodeError> {
        let field = self.rest.split_at_checked(length);
        let Some((value, rest)) = field.and_then(|(bytes, rest)| Some((read(bytes)?, rest))) else {
            self.rest = start;
            return Err(self.error(expected));
        };
        self.rest = rest;
        Ok(value)
    }

    /// Metadata and a body.
    #[inline(always)]
    pub(crate) fn body(&mut self) -> Result<(Metadata, Body<F>), DecodeError> {
        let metadata = self.metadata()?;
        if self.body_frames == 0 {
            return Ok((metadata, Body::from_frame(F::from(self.rest))));
        }
        if !self.rest.is_empty() {
            return Err(self.error(Expected::EndOfRecord));
        }
        let body_frames = usize::from(self.body_frames);
        let bodies = &mut self.reader.bodies;
        if bodies.as_slice().len() < body_frames {
            let frame = bodies.position() + bodies.as_slice().len();
            let (expected, found) = (Expected::Body, Found::Nothing);
            return Err(DecodeError { frame, record: Some(self.number), expected, found });
        }
        Ok((metadata, Body::from_frames(bodies.take(body_frames))))
    }

    /// Metadata, and no body.
    pub(crate) fn end(&mut self) -> Result<Metadata, DecodeError> {
        let metadata = self.metadata()?;
        if self.body_frames != 0 {
            let found = Found::Frame(Excerpt::of(&self.body_frames.to_be_bytes()));
            let expected = Expected::Field("no body frames");
            return Err(DecodeError { frame: 0, record: Some(self.number), expected, found });
        }
        if self.rest.is_empty() { Ok(metadata) } else { Err(self.error(Expected::EndOfRecord)) }
    }
}
