//! The account of all calls: what was asked, which handlers ran, what each client got.
//! It sees what a user of the SDKs sees, and says what of it may not be.

use std::time::{Duration, Instant};

use majordomo_protocol::Body;

use crate::must;
use crate::words::{CallId, RunId, Word};

/// What a client asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// Who asked, by index.
    pub client: usize,
    /// Whether it is one of the broker's own services.
    pub is_question: bool,
    /// It may never run twice.
    pub once: bool,
    /// Its client wants no reply.
    pub no_reply: bool,
    /// When it must have ended.
    pub due: Instant,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With the whole reply of one run.
    Replied,
    /// Without one.
    Failed {
        /// Whether its client was told that it may have run.
        may_have_run: bool,
        /// Why.
        why: String,
    },
    /// Its client is gone.
    Orphaned,
}

#[derive(Debug)]
struct Call {
    wish: Wish,
    end: Option<End>,
    runs: u32,
    /// Parts of the reply that came, and the run that they are of.
    parts: u32,
    run: Option<RunId>,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Book {
    calls: Vec<Call>,
    /// Which call each run is for.
    runs: Vec<CallId>,
    /// Calls that have not ended.
    open: Vec<CallId>,
    /// Whether brokers have room to remember every answer.
    pub remembers: bool,
    /// Whether clients of old versions are told errors by a final reply of two frames.
    pub error_replies: bool,
}

impl Book {
    /// An empty one.
    pub fn new(remembers: bool, error_replies: bool) -> Self {
        Book { calls: Vec::new(), runs: Vec::new(), open: Vec::new(), remembers, error_replies }
    }

    /// A call begins.
    pub fn ask(&mut self, wish: Wish) -> CallId {
        let id = self.calls.len() as CallId;
        self.calls.push(Call { wish, end: None, runs: 0, parts: 0, run: None });
        self.open.push(id);
        id
    }

    /// A handler begins to work on a call.
    pub fn run(&mut self, call: CallId) -> RunId {
        let run = self.runs.len() as RunId;
        self.runs.push(call);
        let Some(call_) = self.calls.get_mut(call as usize) else {
            crate::nature::violated("runs only what was asked", format_args!("c{call}"))
        };
        call_.runs += 1;
        let remembered = self.remembers && call_.wish.once;
        must!(!remembered || call_.runs == 1, "once runs once", "c{call} runs again");
        if let Some(End::Failed { may_have_run: false, why }) = &call_.end {
            must!(false, "what did not run does not run", "c{call} ended as {why:?}, and runs now");
        }
        run
    }

    /// Reads frames of a reply that reached the client of `call`, in their order.
    pub fn hear(&mut self, call: CallId, body: &Body, is_last: bool) {
        let record = &mut self.calls[call as usize];
        must!(record.end.is_none(), "a call ends once", "c{call} gets more: {body:?}");
        let frames = body.frames();
        if record.wish.is_question {
            let is_code = matches!(frames, [code] if code.len() == 3);
            must!(is_code && is_last, "mmi answers in one frame", "c{call} gets {body:?}");
            return;
        }
        let is_code = |frame: &Vec<u8>| frame.len() == 3 && frame.iter().all(u8::is_ascii_digit);
        let told = self.error_replies && is_last && frames.len() >= 2;
        let told = told && is_code(&frames[frames.len() - 2]);
        let frames = if told { &frames[..frames.len() - 2] } else { frames };
        let mut ended = false;
        for frame in frames.iter().filter(|frame| !frame.starts_with(b".")) {
            let word = Word::read(frame);
            let Some(Word::Reply { call: of, run, part, last }) = word else {
                must!(false, "a reply is a worker's", "c{call} gets {word:?}, {frame:?}");
                return;
            };
            must!(of == call, "a reply goes to who asked", "c{call} gets a reply to c{of}");
            must!(
                self.runs[run as usize] == call,
                "a reply goes to who asked",
                "c{call}, run {run}"
            );
            must!(
                record.run.is_none_or(|known| known == run) && part == record.parts && !ended,
                "a reply is one run's, whole and in order",
                "c{call} gets part {part} of run {run} after {} of {:?}",
                record.parts,
                record.run
            );
            (record.run, record.parts, ended) = (Some(run), record.parts + 1, last);
        }
        let whole = (ended != told) == is_last && !(ended && told);
        must!(whole, "a reply is one run's, whole and in order", "c{call}: {body:?}");
    }

    /// A try of a client that hands out nothing before the end begins anew.
    pub fn begin_anew(&mut self, call: CallId) {
        let record = &mut self.calls[call as usize];
        (record.run, record.parts) = (None, 0);
    }

    /// A call ends.
    pub fn end(&mut self, call: CallId, end: End) {
        let record = &mut self.calls[call as usize];
        must!(record.end.is_none(), "a call ends once", "c{call}: {:?}, {end:?}", record.end);
        if let End::Failed { may_have_run: false, why } = &end {
            let runs = record.runs;
            must!(runs == 0, "what ran is not said not to have", "c{call}: {why}, {runs} runs");
        }
        record.end = Some(end);
        self.open.retain(|open| *open != call);
    }

    /// The client's process stood still for so long, and its open calls have that much
    /// more time: their clocks begin anew with each try.
    pub fn extend(&mut self, client: usize, span: Duration) {
        for call in self.open_of(client) {
            self.calls[call as usize].wish.due += span;
        }
    }

    /// Whether this call has not ended.
    pub fn is_open(&self, call: CallId) -> bool {
        self.calls[call as usize].end.is_none()
    }

    /// How it ended.
    pub fn end_of(&self, call: CallId) -> Option<&End> {
        self.calls[call as usize].end.as_ref()
    }

    /// Whether a worker's reply came, and not the broker's word in its place.
    pub fn was_served(&self, call: CallId) -> bool {
        self.calls[call as usize].run.is_some()
    }

    /// How many have been made.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// How many have not ended.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// The open calls of a client.
    pub fn open_of(&self, client: usize) -> Vec<CallId> {
        let of = |call: &&CallId| self.calls[**call as usize].wish.client == client;
        self.open.iter().filter(of).copied().collect()
    }

    /// The client process is gone: nobody waits for its calls.
    pub fn orphan(&mut self, client: usize) {
        for call in self.open_of(client) {
            self.end(call, End::Orphaned);
        }
    }

    /// No call is open past its time. `is_excused`: its client did not run meanwhile.
    pub fn check(&self, now: Instant, is_excused: impl Fn(usize) -> bool) {
        for call in &self.open {
            let Wish { client, due, .. } = self.calls[*call as usize].wish;
            let late = now > due && !is_excused(client);
            must!(!late, "a call ends in time", "c{call} should have ended {:?} ago", now - due);
        }
    }

    /// Nothing went wrong in this world, so every call was served, and run once.
    pub fn check_calm(&self) {
        for (call, record) in self.calls.iter().enumerate() {
            let served = record.end == Some(End::Replied);
            let runs = u32::from(!record.wish.is_question);
            must!(served, "without faults every call is answered", "c{call}: {:?}", record.end);
            must!(
                record.runs == runs,
                "without faults a call runs once",
                "c{call}: {}",
                record.runs
            );
        }
    }
}
