//! What is ready for one broker, in as few messages as may be: everything that one
//! turn of the loop produced leaves together, and nothing waits for more.

use std::collections::VecDeque;

use majordomo_protocol::client::ToBroker;
use majordomo_protocol::{Batch, Body};

/// A body of one frame of up to so many bytes is copied into the batch.
const INLINE_BYTES_MAX: usize = 4 << 10;

/// Records of a message: few enough that the broker works on them while the next are
/// made.
const RECORDS_MAX: usize = 128;

/// Bounds of a message, within the `frames_max` (1,024) and `message_bytes_max` (128 MiB)
/// that a broker has by default. A record that passes one alone goes alone.
const FRAMES_MAX: usize = 1_000;
const BYTES_MAX: usize = 1 << 20;

/// About what a record has beside body and metadata.
const RECORD_BYTES: usize = 64;

/// Messages to one broker, in order.
#[derive(Default)]
pub(super) struct Outbox {
    /// Complete messages.
    messages: VecDeque<Vec<Vec<u8>>>,
    batch: Option<Batch<Vec<u8>>>,
    /// About the bytes in the batch.
    bytes: usize,
}

impl Outbox {
    /// Puts one more record behind the others.
    pub(super) fn push(&mut self, command: ToBroker<Body>) {
        let (bytes, frames) = match &command {
            ToBroker::Request { service, terms, body, .. } => {
                let metadata = terms.metadata.as_bytes().len();
                (body.size() + metadata + service.as_str().len(), body.frames().len())
            }
            ToBroker::Cancel { .. } | ToBroker::Heartbeat => (0, 0),
        };
        let bytes = bytes + RECORD_BYTES;
        let full = self.batch.as_ref().is_some_and(|batch| {
            batch.records() >= RECORDS_MAX
                || batch.frame_count() + frames > FRAMES_MAX
                || self.bytes + bytes > BYTES_MAX
        });
        if full {
            self.close_batch();
        }
        let batch = self.batch.get_or_insert_with(|| Batch::of_client(INLINE_BYTES_MAX));
        self.bytes += bytes;
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
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.batch.is_none()
    }

    fn close_batch(&mut self) {
        self.bytes = 0;
        self.messages.extend(self.batch.take().map(Batch::into_frames));
    }
}

#[cfg(test)]
mod tests {
    use majordomo_protocol::{Frames, Message, RequestId, ServiceName, Terms};

    use super::*;

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
            outbox.push(request("hello"));
        }
        let records: Vec<_> = messages(&mut outbox).iter().map(|message| message.0).collect();
        assert_eq!(records, [128, 128, 44]);

        for _ in 0..5 {
            outbox.push(request(vec![b"x".to_vec(); 400]));
        }
        let frames: Vec<_> = messages(&mut outbox).iter().map(|message| message.1).collect();
        assert_eq!(frames, [801, 801, 401]);

        for size in [600_000, 600_000, 5_000_000, 10] {
            outbox.push(request(vec![0; size]));
        }
        let all = messages(&mut outbox);
        assert_eq!(all.iter().map(|message| message.0).collect::<Vec<_>>(), [1, 1, 1, 1]);
        assert!(all.iter().all(|message| message.2 <= BYTES_MAX || message.0 == 1));
        assert!(outbox.is_empty());
    }
    #[test]
    fn no_message_is_more_than_a_broker_takes_unless_it_is_one_record() {
        // Sizes and frames in an order that meets every bound from below and above.
        let shapes = [(1, 100), (999, 0), (1, 4_097), (2, 400_000), (1, 1 << 20), (1_000, 1)];
        let mut outbox = Outbox::default();
        for step in 1..=shapes.len() {
            for number in 0..40 {
                let (frames, size) = shapes[number * step % shapes.len()];
                outbox.push(request(vec![vec![0; size]; frames]));
                outbox.push(ToBroker::Heartbeat);
            }
        }
        for (records, frames, bytes) in messages(&mut outbox) {
            assert!(frames <= 1_024, "{frames} frames");
            assert!(bytes <= BYTES_MAX || records == 1, "{bytes} bytes in {records} records");
        }
    }
}
