//! Around the dialog of MDP/1.0: a connection to each broker, and batches.

use majordomo_client::{Body, CallError, shared};
use majordomo_protocol::Batch;

use super::{Wire, connect, progress};
use crate::book::End;
use crate::must;
use crate::nature::Nature;
use crate::words::{self, CallId};

/// A client of MDP/1.0.
pub struct Shared {
    pub(super) dialog: shared::Dialog<CallId>,
    pub(super) wires: Vec<Option<Wire>>,
    pub(super) batches: Vec<Option<Batch<Vec<u8>>>>,
}

impl Shared {
    pub(super) fn turn(&mut self, index: usize, inline: usize, nature: &mut Nature, up: &[bool]) {
        let now = nature.now;
        for broker in 0..self.wires.len() {
            self.read(index, broker, nature);
        }
        if self.dialog.poll_timeout().is_some_and(|due| due <= now) {
            self.dialog.handle_timeout(now);
            let next = self.dialog.poll_timeout();
            must!(next.is_none_or(|next| next > now), "a dialog does what is due", "k{index}");
        }
        self.perform(index, inline, nature, up);
        for (wire, batch) in self.wires.iter().zip(&mut self.batches) {
            let batch = batch.take();
            if let (Some(Wire::Link { id, .. }), Some(batch)) = (wire, batch) {
                nature.net.send_up(*id, batch.into_frames(), now, &mut nature.rng);
            }
        }
    }

    fn read(&mut self, index: usize, broker: usize, nature: &mut Nature) {
        let now = nature.now;
        let Some(wire) = self.wires[broker] else { return };
        match wire {
            Wire::Link { id, told } => {
                if !told && progress(&wire, nature) == Some(true) {
                    self.wires[broker] = Some(Wire::Link { id, told: true });
                    nature.tell(|| format!("k{index}    is connected to b{broker}"));
                    self.dialog.handle(broker, shared::Event::Connected, now);
                }
                while let Some(frames) = nature.net.receive_down(id, now) {
                    nature.tell(|| format!("k{index} <- b{broker}: {}", incoming(&frames)));
                    self.dialog.handle(broker, shared::Event::Message(frames), now);
                }
                if nature.net.is_lost(id, now) {
                    self.wires[broker] = None;
                    self.batches[broker] = None;
                    let event = if told { shared::Event::Lost } else { shared::Event::Refused };
                    nature.tell(|| format!("k{index}    b{broker} is {event:?}"));
                    self.dialog.handle(broker, event, now);
                }
            }
            Wire::Refused(at) if at <= now => {
                self.wires[broker] = None;
                nature.tell(|| format!("k{index}    b{broker} refuses"));
                self.dialog.handle(broker, shared::Event::Refused, now);
            }
            Wire::Refused(_) => {}
        }
    }

    fn perform(&mut self, index: usize, inline: usize, nature: &mut Nature, up: &[bool]) {
        while let Some(action) = self.dialog.poll_action() {
            match action {
                shared::Action::Connect { broker } => {
                    self.drop_wire(broker, nature);
                    self.wires[broker] = Some(connect(index, broker, nature, up));
                }
                shared::Action::Disconnect { broker, reason } => {
                    nature.tell(|| format!("k{index}    leaves b{broker}: {reason}"));
                    self.drop_wire(broker, nature);
                }
                shared::Action::Send { broker, command } => {
                    nature.tell(|| {
                        format!("k{index} -> b{broker}: {}", words::from_client(&command))
                    });
                    let new = || Batch::of_client(inline);
                    let written = command.write(self.batches[broker].get_or_insert_with(new));
                    must!(written.is_ok(), "a dialog says what its version can say", "k{index}");
                }
                shared::Action::Part { token, body, .. } => nature.book.hear(token, &body, false),
                shared::Action::Done { token, result } => {
                    nature.tell(|| format!("k{index}    c{token} ends: {result:?}"));
                    finish(token, result, nature);
                }
            }
        }
    }

    fn drop_wire(&mut self, broker: usize, nature: &mut Nature) {
        self.batches[broker] = None;
        if let Some(Wire::Link { id, .. }) = self.wires[broker].take() {
            nature.net.close(id, nature.rng.bool(), nature.now, &mut nature.rng);
        }
    }
}

fn finish(call: CallId, result: Result<Body, CallError>, nature: &mut Nature) {
    let end = match result {
        Ok(body) => {
            if body.size() > 0 {
                nature.book.hear(call, &body, true);
            }
            End::Replied
        }
        Err(error) => End::Failed { may_have_run: error.may_have_run(), why: error.to_string() },
    };
    nature.book.end(call, end);
}

fn incoming(frames: &[Vec<u8>]) -> String {
    let commands =
        majordomo_protocol::client::Commands::new(majordomo_protocol::Frames::new(frames.to_vec()));
    let Ok(commands) = commands else { return "what is no batch".to_owned() };
    let commands =
        commands.map(|command| command.map_or("garbage".to_owned(), |it| words::to_client(&it)));
    commands.collect::<Vec<_>>().join(", ")
}
