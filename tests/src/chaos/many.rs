//! Many clients in one process, each of a service of its own, driven by one thread: a
//! client has one call under way, and rests for a while after it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use majordomo_client::{Call, Client};

use super::ledger::{CallId, Ending, Errand, Ledger, Moment, Outcome, moment};
use super::peers::{Peer, compare};
use crate::limit::pause;

/// Clients that share a ZeroMQ context, whose one thread moves their bytes.
const SHARE: usize = 50;
/// The longest that a call takes.
const DEADLINE: Duration = Duration::from_secs(60);
/// So long after its deadline a call must have ended, one way or another.
const GRACE: Duration = Duration::from_secs(10);
/// Between two calls of a client.
const REST: Duration = Duration::from_secs(2);

struct Caller {
    service: String,
    client: Client,
    number: u32,
    calls: u64,
    /// The call under way, and when it began.
    under_way: Option<(Call, Errand, Moment)>,
    /// When the next one is due.
    next: Moment,
}

/// Calls until `over`, and waits for what is under way. Gives how many calls were made.
///
/// # Panics
///
/// When a client cannot be made.
pub(super) fn call(peer: &Peer, ledger: &Ledger, over: &AtomicBool) -> u64 {
    let mut context = zmq::Context::new();
    let mut callers: Vec<Caller> = vec![];
    let start = moment();
    for service in 0..peer.services {
        if service % SHARE == 0 {
            context = zmq::Context::new();
        }
        let builder = Client::builder().context(context.clone()).deadline(DEADLINE).tries(100);
        let builder =
            peer.endpoints.iter().fold(builder, |builder, endpoint| builder.broker(endpoint));
        callers.push(Caller {
            service: peer.service(service),
            client: builder.build().expect("a client"),
            number: peer.client(service),
            calls: 0,
            under_way: None,
            // Not all at once, until something makes them.
            next: start + service as Moment * micros(REST) / peer.services as Moment,
        });
    }
    loop {
        let over = over.load(Ordering::Relaxed);
        let now = moment();
        callers.iter_mut().for_each(|caller| caller.turn(now, over, ledger));
        if over && callers.iter().all(|caller| caller.under_way.is_none()) {
            return callers.iter().map(|caller| caller.calls).sum();
        }
        pause();
    }
}

impl Caller {
    fn turn(&mut self, now: Moment, over: bool, ledger: &Ledger) {
        match self.under_way.take() {
            None if over || now < self.next => {}
            None => {
                let call = CallId::new(self.number, self.calls);
                let errand = Errand { call, work_us: 0 };
                self.calls += 1;
                match self.client.submit(&self.service, errand.to_bytes()) {
                    Ok(call) => self.under_way = Some((call, errand, now)),
                    Err(error) => self.end(errand, now, now, Ending::from(&error), ledger),
                }
            }
            Some((mut call, errand, began)) => {
                let ending = match call.try_wait() {
                    Some(Ok(reply)) => compare(&reply.to_bytes(), errand),
                    Some(Err(error)) => Ending::from(&error),
                    None if now > began + micros(DEADLINE + GRACE) => Ending::Silent,
                    None => {
                        self.under_way = Some((call, errand, began));
                        return;
                    }
                };
                self.end(errand, began, now, ending, ledger);
            }
        }
    }

    fn end(
        &mut self,
        errand: Errand,
        began: Moment,
        ended: Moment,
        ending: Ending,
        ledger: &Ledger,
    ) {
        let Errand { call, work_us } = errand;
        ledger.write(&Outcome { call, began, ended, work_us, ending });
        self.next = ended + micros(REST);
    }
}

fn micros(time: Duration) -> Moment {
    time.as_micros() as Moment
}
