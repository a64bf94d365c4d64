//! What the decoders of messages have in common.
//!
//! An error names a frame that is there or the one that is missing, on a short line;
//! nothing comes behind an error or the end; what is read takes little more memory than
//! the message has; and the records that were read, written again with any body inline
//! or behind, are no more bytes than came and are read as the same.

use std::fmt::Debug;

use majordomo_protocol::{Batch, DecodeError, Frames, Inexpressible};

use crate::memory;

/// Begins a batch, given the most bytes of a body that it has inline.
pub(crate) type NewBatch = fn(usize) -> Batch<Vec<u8>>;

/// Reads all commands of a message, and what is wrong behind them.
pub(crate) fn read<T, I>(
    frames: &[Vec<u8>],
    decode: impl Fn(Frames<Vec<u8>>) -> I,
) -> (Vec<T>, Option<DecodeError>)
where
    I: Iterator<Item = Result<T, DecodeError>>,
{
    let bytes: usize = frames.iter().map(Vec::len).sum();
    let message = Frames::new(frames.to_vec());
    // One after the other, as a receiver takes them: a record's own parts, a handle for
    // each frame, and an error.
    let count = memory::within(2 * bytes + 64 * frames.len() + 1_024, || decode(message).count());
    assert!(count <= bytes / 8 + 2, "{count} commands in {bytes} bytes");

    let mut results = decode(Frames::new(frames.to_vec()));
    let mut commands = Vec::new();
    let error = loop {
        match results.next() {
            Some(Ok(command)) => commands.push(command),
            Some(Err(error)) => break Some(error),
            None => break None,
        }
    };
    assert!(results.next().is_none() && results.next().is_none(), "more behind {error:?}");
    assert_eq!(count, commands.len() + usize::from(error.is_some()));
    error.iter().for_each(|error| check_error(frames, error));
    (commands, error)
}

pub(crate) fn check_error(frames: &[Vec<u8>], error: &DecodeError) {
    assert!(error.frame <= frames.len(), "no such frame: {error}");
    let text = error.to_string();
    assert!(text.len() < 400 && !text.contains(char::is_control), "no short line: {text:?}");
    assert!(text.contains("expected ") && text.contains(", found "), "{text}");
}

/// Writes the records of MDP/1.0 that were read from `frames`, and reads them again.
pub(crate) fn write_and_read_again<T: Clone + Debug + PartialEq, I>(
    frames: &[Vec<u8>],
    commands: &[T],
    batch: NewBatch,
    write: impl Fn(T, &mut Batch<Vec<u8>>) -> Result<(), Inexpressible>,
    decode: impl Fn(Frames<Vec<u8>>) -> I,
) where
    I: Iterator<Item = Result<T, DecodeError>>,
{
    let bytes: usize = frames.iter().map(Vec::len).sum();
    for inline_bytes_max in [0, 3, usize::MAX] {
        let mut batch = batch(inline_bytes_max);
        for command in commands {
            write(command.clone(), &mut batch).expect("what was read can be written");
        }
        assert_eq!(batch.records(), commands.len());
        assert!(batch.bytes() <= bytes, "{} bytes of {bytes}", batch.bytes());
        let again = batch.into_frames();
        let (commands_again, error) = read(&again, &decode);
        assert_eq!(error, None, "inline {inline_bytes_max}: {again:?}");
        assert_eq!(commands_again, commands, "inline {inline_bytes_max}");
    }
}
