//! Where the engine says what it wants done, in order, while it handles an event.
//!
//! All of it can be said as [`Action`]s, and whoever takes these out one by one keeps them in a
//! list ([`Actions`](super::Actions)). A server writes what is for peers into the messages that
//! they will be sent. REQUESTs and answers are most of that, so they have methods of their
//! own, which are given what the engine has: nothing is put together to be taken apart.
//!
//! An outlet writes down, and no more. It is told things in the middle of a decision: nothing
//! is sent then, and what cannot be sent is told to the engine later, as an event.

use majordomo_protocol::{ClientAddress, PeerId, Task, Version, client, worker};

use super::Payload;
use super::event::{Action, Caller};

/// Takes what the engine wants done.
pub trait Outlet<B: Payload> {
    /// How many things it was told in its life: the number of the next.
    fn told(&self) -> u64;

    /// How many of them are in the hands of whoever drives the engine: all, unless they are
    /// taken out one by one. [`Engine::sent`](super::Engine::sent) is about these.
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
