//! One connection: what the I/O thread keeps for it.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Receiver;
use foldhash::HashMap;
use majordomo_protocol::{Body, ClientAddress};

use crate::dialog::{Dialog, Event};
use crate::frame::Frame;
use crate::task::{Lane, Part, Task};
use crate::wire::Wire;

/// What a body frame after the first counts against the limit beside its bytes, for
/// its keeping.
const FRAME_COST: usize = 32;

/// One service's connection to one broker; in MDP/0.1 and MDP/0.2 one of several.
pub(crate) struct Connection {
    /// Where it connects to, by index.
    pub(crate) broker: usize,
    /// What it serves, by index.
    pub(crate) service: usize,
    pub(crate) dialog: Dialog,
    pub(crate) wire: Wire,
    /// The requests that came by the open socket and that others than this thread
    /// answer. Put in and taken out as the dialog does its own.
    pub(crate) running: HashMap<ClientAddress, Arc<Task>>,
    pub(crate) lane: Arc<Lane>,
    /// The other end of `lane`.
    pub(crate) parts: Receiver<(Arc<Task>, Part)>,
    /// Answers of inline handlers that the dialog was not told yet.
    pub(crate) answered: VecDeque<(ClientAddress, Part)>,
    /// The task of the last inline handler, if it is nobody else's: the next one's memory.
    pub(crate) spare: Option<Arc<Task>>,
    /// For each request that came and was not given out, in order: the size of its body,
    /// where that is over the limit.
    pub(crate) too_large: VecDeque<Option<usize>>,
    /// Its entry among the I/O thread's timers.
    pub(crate) timer: Option<Instant>,
}

impl Connection {
    /// Whoever waits for one of these answers is gone with the socket. Handlers go on,
    /// and are told; what inline ones have answered is late.
    pub(crate) fn abandon_all(&mut self, time: Instant) {
        self.running.drain().for_each(|(_, task)| task.abandon());
        for (client, part) in self.answered.drain(..) {
            if part.is_last() {
                self.lane.late(&client);
                self.dialog.handle(Event::Freed, time);
            }
        }
    }

    /// Closes the socket, see [`Wire::close`].
    pub(crate) fn close_wire(&mut self, flush: bool) {
        self.wire.close(flush).iter().for_each(|client| self.lane.late(client));
    }

    /// Parts of answers that wait, more or less.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.answered.len() + self.parts.len()
    }

    /// The next part of an answer of another thread, as the dialog is told of it.
    pub(crate) fn next_part(&mut self) -> Option<Event> {
        let (task, part) = self.parts.try_recv().ok()?;
        self.event(&task, part)
    }

    /// What a part of an answer means to the dialog. `None` for a part that nobody
    /// waits for.
    pub(crate) fn event(&mut self, task: &Arc<Task>, part: Part) -> Option<Event> {
        // By itself and not by its address: a broker that was started anew may use an
        // address again.
        if let Entry::Occupied(running) = self.running.entry(task.client.clone())
            && Arc::ptr_eq(running.get(), task)
        {
            if part.is_last() {
                running.remove();
            }
            return Some(part.into_event(task.client.clone()));
        }
        match part {
            Part::Partial(_) => None,
            Part::Unstarted => Some(Event::Freed),
            Part::Final(_) | Part::Error(..) => {
                task.late();
                Some(Event::Freed)
            }
        }
    }
}

/// A body in memory of ours. One over the limit is left behind, and its size given.
pub(crate) fn keep(body: Body<Frame>, body_bytes_max: usize) -> (Body, Option<usize>) {
    let bytes = body.size();
    let extra = body.frames().len().saturating_sub(1).saturating_mul(FRAME_COST);
    if bytes.saturating_add(extra) > body_bytes_max {
        return (Body::from_frames(Vec::new()), Some(bytes));
    }
    let mut frames = body.into_iter().map(Frame::into_bytes);
    let body = match (frames.next(), frames.len()) {
        // Most have one.
        (Some(frame), 0) => Body::from_frame(frame),
        (first, _) => Body::from_frames(first.into_iter().chain(frames)),
    };
    (body, None)
}
