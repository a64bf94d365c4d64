//! Around the dialog of MDP/0.1 and MDP/0.2: one connection, one call at a time.

use std::time::Duration;

use majordomo_client::dialog::{self, Reply, Want};

use super::{REFUSED_PAUSE, Wire, connect, progress};
use crate::book::End;
use crate::nature::Nature;
use crate::words::CallId;

/// A client of MDP/0.1 or MDP/0.2.
pub struct Plain {
    pub(super) dialog: dialog::Dialog,
    pub(super) wire: Option<Wire>,
    pub(super) call: Option<CallId>,
    pub(super) in_parts: bool,
    pub(super) endpoints: Vec<String>,
    /// How long a call may take.
    pub(super) longest: Duration,
}

impl Plain {
    pub(super) fn turn(&mut self, index: usize, nature: &mut Nature, up: &[bool]) {
        let now = nature.now;
        self.perform(index, nature, up);
        let Some(_) = self.call else { return };
        // One event at a time, as its owner sees them; then the clock.
        while self.call.is_some() && self.event(index, nature, up) {
            self.perform(index, nature, up);
        }
        if self.call.is_some() && self.dialog.poll_timeout().is_some_and(|due| due <= now) {
            self.dialog.handle_timeout(now);
            self.perform(index, nature, up);
            while self.call.is_some() && self.event(index, nature, up) {
                self.perform(index, nature, up);
            }
        }
    }

    /// Tells the dialog of one thing that happened to its socket, if one did.
    fn event(&mut self, index: usize, nature: &mut Nature, up: &[bool]) -> bool {
        let now = nature.now;
        let Some(wire) = self.wire else { return false };
        if let Wire::Link { id, .. } = wire
            && let Some(frames) = nature.net.receive_down(id, now)
        {
            nature.tell(|| format!("k{index} <- {}", texts(&frames)));
            self.dialog.handle(dialog::Event::Message(frames), now);
            return true;
        }
        match wire {
            Wire::Link { id, told: true } if nature.net.is_lost(id, now) => {
                self.wire = None;
                nature.tell(|| format!("k{index}    has lost its connection"));
                self.dialog.handle(dialog::Event::<Vec<u8>>::Lost, now);
                true
            }
            Wire::Link { id, told } if told || progress(&wire, nature) == Some(true) => {
                self.wire = Some(Wire::Link { id, told: true });
                let Want::Send(frames) = self.dialog.want() else { return false };
                let frames = frames.to_vec();
                nature.tell(|| format!("k{index} -> {}", texts(&frames)));
                nature.net.send_up(id, frames, now, &mut nature.rng);
                self.dialog.handle(dialog::Event::<Vec<u8>>::Sent, now);
                true
            }
            wire if progress(&wire, nature) == Some(false) => {
                // It is tried again until the dialog gives up.
                let endpoint = self.dialog.endpoint();
                let broker = self.endpoints.iter().position(|known| known == endpoint);
                self.wire = Some(match broker.filter(|broker| up[*broker]) {
                    Some(broker) => connect(index, broker, nature, up),
                    None => Wire::Refused(now + REFUSED_PAUSE),
                });
                false
            }
            _ => false,
        }
    }

    fn perform(&mut self, index: usize, nature: &mut Nature, up: &[bool]) {
        while let Some(action) = self.dialog.poll_action() {
            match action {
                dialog::Action::Discard => {
                    if let Some(Wire::Link { id, .. }) = self.wire.take() {
                        nature.net.close(id, false, nature.now, &mut nature.rng);
                    }
                    self.wire = None;
                }
                dialog::Action::Connect { endpoint } => {
                    let broker = self.endpoints.iter().position(|known| *known == endpoint);
                    self.wire = broker.map(|broker| connect(index, broker, nature, up));
                }
                dialog::Action::TryFailed(failed) => {
                    nature.tell(|| format!("k{index}    a try failed: {}", failed.reason));
                    if let Some(call) = self.call.filter(|_| !self.in_parts) {
                        nature.book.begin_anew(call);
                    }
                }
                dialog::Action::Yield(Reply::Partial(body)) => {
                    if let Some(call) = self.call {
                        nature.book.hear(call, &body, false);
                    }
                }
                dialog::Action::Yield(Reply::Final(body)) => {
                    if let Some(call) = self.call.take() {
                        nature.tell(|| format!("k{index}    c{call} ends well"));
                        nature.book.hear(call, &body, true);
                        nature.book.end(call, End::Replied);
                    }
                }
                dialog::Action::Fail(error) => {
                    if let Some(call) = self.call.take() {
                        let (may_have_run, why) = (error.may_have_run(), error.to_string());
                        nature.tell(|| format!("k{index}    c{call} fails: {why}"));
                        nature.book.end(call, End::Failed { may_have_run, why });
                    }
                }
            }
        }
    }
}

fn texts(frames: &[Vec<u8>]) -> String {
    let frames = frames.iter().map(|frame| majordomo_protocol::dump(frame).to_string());
    frames.collect::<Vec<_>>().join(" | ")
}
