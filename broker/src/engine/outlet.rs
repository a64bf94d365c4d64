//! Where the engine says what it wants done, in order, while it handles an event.
//!
//! Whoever only looks at what comes out takes [`Action`]s from a list ([`Actions`](super::Actions)). A
//! server puts requests and answers where they leave from, as soon as they are decided:
//! then they are not moved, and the list is not there.

use majordomo_protocol::{ClientAddress, PeerId, Task, Version, client, worker};

use super::Payload;
use super::event::{Action, Caller};

/// Takes what the engine wants done.
pub trait Outlet<B: Payload> {
    /// How many things it was told in its life: the number of the next.
    fn told(&self) -> u64;

    /// How many of them whoever drives the engine has seen.
    fn seen(&self) -> u64 {
        self.told()
    }

    /// This is to be done.
    fn act(&mut self, action: Action<B>);

    /// A worker is to be sent a REQUEST; as [`Action::ToWorker`].
    fn request(
        &mut self,
        worker: &PeerId,
        version: Version,
        client: ClientAddress,
        task: Task,
        body: &B,
    ) {
        let command = worker::FromBroker::Request { client, task, body: body.clone() };
        self.act(Action::ToWorker { worker: worker.clone(), version, command });
    }

    /// A client is to be told this; as [`Action::ToClient`].
    fn tell(
        &mut self,
        caller: &Caller<B>,
        command: client::FromBroker<B>,
        part_of: Option<&ClientAddress>,
    ) {
        self.act(Action::ToClient { caller: caller.clone(), command, part_of: part_of.cloned() });
    }
}
