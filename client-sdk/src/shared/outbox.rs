//! What is ready for one broker, in few messages: what one turn of the loop produced
//! leaves together, and nothing waits for more. A message of several records is bounded,
//! so that a broker refuses no request for its company; a record beyond the bounds travels
//! alone.

use std::collections::VecDeque;

use majordomo_protocol::client::ToBroker;
use majordomo_protocol::{Batch, Body};

/// A body of one frame of up to so many bytes is copied into the batch.
const INLINE_BYTES_MAX: usize = 4 << 10;

/// Records of a message: few enough that the broker works on them while the next are
/// made.
const RECORDS_MAX: usize = 128;

/// Frames of a message of several records, at most: as many as every broker takes, since
/// Majordomo's `frames_max` is 8 or more.
const FRAMES_MAX: usize = 8;

/// What a record has beside its body, its metadata and the service's name, at most.
const RECORD_BYTES_MAX: usize = 64;

/// Messages to one broker, in order.
#[derive(Default)]
pub(super) struct Outbox {
    /// Complete messages.
    messages: VecDeque<Vec<Vec<u8>>>,
    batch: Option<Batch<Vec<u8>>>,
    /// There was no room for the first message.
    stuck: bool,
}

impl Outbox {
    /// Puts one more record behind the others; a message of several has at most
    /// `bytes_max` bytes.
    pub(super) fn push(&mut self, command: ToBroker<Body>, bytes_max: usize) {
        let (bytes, frames) = load(&command);
        let full = self.batch.as_ref().is_some_and(|batch| {
            batch.records() >= RECORDS_MAX
                || batch.frame_count() + frames > FRAMES_MAX
                || batch.bytes() + bytes > bytes_max
        });
        if full {
            self.close_batch();
        }
        let batch = self.batch.get_or_insert_with(|| Batch::of_client(INLINE_BYTES_MAX));
        // Every request of a dialog has an id; without one there is nothing to send.
        if let Err(error) = command.write(batch) {
            log::error!("a command was not sent: {error}");
        }
    }

    /// The next message, which stays until it was [sent](Outbox::sent).
    pub(super) fn first(&mut self) -> Option<&[Vec<u8>]> {
        if self.messages.is_empty() {
            self.close_batch();
        }
        self.messages.front().map(Vec::as_slice)
    }

    pub(super) fn sent(&mut self) {
        self.messages.pop_front();
        self.stuck = false;
    }

    /// There is no room for the next message.
    pub(super) fn refused(&mut self) {
        self.stuck = true;
    }

    /// Whether the next message waits for room.
    pub(super) fn is_stuck(&self) -> bool {
        self.stuck
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.batch.is_none()
    }

    fn close_batch(&mut self) {
        self.messages.extend(self.batch.take().map(Batch::into_frames));
    }
}

/// What a record adds to a message at most: bytes, and frames behind the first.
fn load(command: &ToBroker<Body>) -> (usize, usize) {
    let ToBroker::Request { service, terms, body, .. } = command else {
        return (RECORD_BYTES_MAX, 0);
    };
    let frames = match body.frames() {
        [frame] if frame.len() <= INLINE_BYTES_MAX => 0,
        frames => frames.len(),
    };
    let beside = service.as_str().len() + terms.metadata.as_bytes().len();
    (RECORD_BYTES_MAX + beside + body.size(), frames)
}

#[cfg(test)]
mod tests {
    use majordomo_protocol::{Frames, Message, RequestId, ServiceName, Terms};

    use super::*;

    const BYTES_MAX: usize = 256 << 10;

    fn request(body: impl Into<Body>) -> ToBroker<Body> {
        ToBroker::Request {
            id: Some(RequestId::new([7; 16])),
            service: ServiceName::new("echo").unwrap(),
            terms: Terms::default(),
            body: body.into(),
        }
    }

    /// Records, frames and bytes of each message.
    fn messages(outbox: &mut Outbox) -> Vec<(usize, usize, usize)> {
        let mut all = Vec::new();
        while let Some(frames) = outbox.first() {
            let records = Message::decode(Frames::new(frames.to_vec()));
            let bytes = frames.iter().map(Vec::len).sum();
            all.push((records.map(Result::unwrap).count(), frames.len(), bytes));
            outbox.sent();
        }
        all
    }

    #[test]
    fn what_is_ready_leaves_in_one_message_up_to_the_bounds() {
        let mut outbox = Outbox::default();
        assert!(outbox.is_empty() && messages(&mut outbox).is_empty());
        for _ in 0..300 {
            outbox.push(request("hello"), BYTES_MAX);
        }
        let records: Vec<_> = messages(&mut outbox).iter().map(|message| message.0).collect();
        assert_eq!(records, [128, 128, 44]);

        for _ in 0..5 {
            outbox.push(request(vec![b"x".to_vec(); 3]), BYTES_MAX);
        }
        let frames: Vec<_> = messages(&mut outbox).iter().map(|message| message.1).collect();
        assert_eq!(frames, [7, 7, 4]);

        for size in [200_000, 50_000, 60_000, 5_000_000, 10] {
            outbox.push(request(vec![0; size]), BYTES_MAX);
        }
        let records: Vec<_> = messages(&mut outbox).iter().map(|message| message.0).collect();
        assert_eq!(records, [2, 1, 1, 1]);
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_message_of_several_records_passes_no_bound() {
        // Sizes and frames in an order that meets every bound from below and above.
        let shapes = [
            (1, 100),
            (7, 0),
            (8, 0),
            (1, 4_096),
            (1, 4_097),
            (2, 100_000),
            (1, 1 << 20),
            (900, 1),
        ];
        for bytes_max in [1, 10_000, BYTES_MAX] {
            let mut outbox = Outbox::default();
            for step in 1..=shapes.len() {
                for number in 0..40 {
                    let (frames, size) = shapes[number * step % shapes.len()];
                    outbox.push(request(vec![vec![0; size]; frames]), bytes_max);
                    outbox.push(ToBroker::Heartbeat, bytes_max);
                }
            }
            for (records, frames, bytes) in messages(&mut outbox) {
                let is_bounded = frames <= 8 && bytes <= bytes_max && records <= 128;
                assert!(records == 1 || is_bounded, "{records}: {frames} frames, {bytes} bytes");
            }
        }
    }
}
