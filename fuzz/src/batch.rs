//! Messages of MDP/1.0 whose records have true lengths.
//!
//! A fuzzer that has to find out the length of each record gets no further than the
//! first; here it changes what stands behind. The first byte of an input says who
//! speaks. Then come records, each ended by a mark: command, flags, number of body
//! frames, fields. What follows a piece that is empty is body frames. All decoders read
//! the message and must hold what they hold.

use majordomo_protocol::Frames;

use crate::{Target, client, frames, message, worker};

/// All decoders, with messages of MDP/1.0.
pub const TARGET: Target = Target { name: "batch", run, show };

fn run(data: &[u8]) {
    let message = message_of(data);
    message::check(&message);
    client::check(&message);
    worker::check(&message);
}

fn show(data: &[u8]) -> String {
    format!("{:?}", Frames::new(message_of(data)))
}

fn message_of(data: &[u8]) -> Vec<Vec<u8>> {
    let (who, rest) = data.split_first().unwrap_or((&0, &[]));
    let magic = if who % 2 == 0 { b"MDPC10" } else { b"MDPW10" };
    let mut message = vec![magic.to_vec()];
    let pieces = frames::pieces(rest);
    let mut pieces = pieces.into_iter();
    for piece in pieces.by_ref().take_while(|piece| !piece.is_empty()) {
        let (head, fields) = piece.split_at(piece.len().min(3));
        let field = |at: usize| head.get(at).copied().unwrap_or_default();
        let length = u32::try_from(4 + fields.len()).expect("a short input");
        message[0].extend(length.to_be_bytes());
        message[0].extend([field(0), field(1), 0, field(2)]);
        message[0].extend(fields);
    }
    message.extend(pieces);
    message
}
