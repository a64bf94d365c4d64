//! What callers and workers write down of each call, in files of fixed records. Each
//! record is one write(2) to a file opened to append, so what was written before a
//! process was killed is there, and records of several processes do not mix.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use majordomo_client::CallError;
use rustix::time::{ClockId, clock_gettime};

/// A moment in microseconds of the machine's monotonic clock, which all processes of a
/// run share.
pub type Moment = u64;

/// Now.
pub fn moment() -> Moment {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000 + now.tv_nsec.unsigned_abs() / 1_000
}

/// A call: who made it, and which of its calls it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(u64);

impl CallId {
    /// The call of this number, of the client of this number.
    pub const fn new(client: u32, number: u64) -> Self {
        CallId((client as u64) << 40 | number & 0xff_ffff_ffff)
    }

    /// The client that made it.
    pub fn client(self) -> u32 {
        (self.0 >> 40) as u32
    }
}

/// What a call carries: its id, and how long its handler shall take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errand {
    /// The call.
    pub call: CallId,
    /// How long its handler takes, in microseconds.
    pub work_us: u32,
}

impl Errand {
    /// As the body of a request.
    pub fn to_bytes(self) -> Vec<u8> {
        [&self.call.0.to_be_bytes()[..], &self.work_us.to_be_bytes()].concat()
    }

    /// The errand in this body.
    pub fn read(body: &[u8]) -> Option<Self> {
        let (call, work) = body.split_first_chunk::<8>()?;
        let call = CallId(u64::from_be_bytes(*call));
        Some(Errand { call, work_us: u32::from_be_bytes(work.try_into().ok()?) })
    }

    /// The body of the reply, which names the call.
    pub fn reply(self) -> Vec<u8> {
        [b"done ", &self.call.0.to_be_bytes()[..]].concat()
    }
}

/// A handler began to work on a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Execution {
    /// The call.
    pub call: CallId,
    /// When.
    pub at: Moment,
    /// The number of the worker's process.
    pub worker: u32,
    /// How often the broker had handed it out; 0 where the version does not say.
    pub attempt: u8,
}

/// How a call ended at its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ending {
    /// With its own reply.
    Answered,
    /// With the reply of another call.
    Misanswered,
    /// Not at all: nothing came long after its deadline.
    Silent,
    /// With an error.
    Failed {
        /// Which, as an index of [`REASONS`].
        reason: u8,
        /// Whether the error says that it may have run.
        may_have_run: bool,
    },
}

/// Why a call failed, in words; the last four are those of 0.1 and 0.2.
pub const REASONS: [&str; 16] = [
    "another",
    "full",
    "no worker",
    "not started",
    "busy",
    "stopping",
    "deadline",
    "cancelled",
    "worker lost",
    "remote",
    "disconnected",
    "cut off in the handshake",
    "timed out (0.2)",
    "unreachable (0.2)",
    "lost (0.2)",
    "cut off in the handshake (0.2)",
];

impl From<&CallError> for Ending {
    fn from(error: &CallError) -> Self {
        let reason = match error {
            CallError::Full { .. } => 1,
            CallError::NoWorker { .. } => 2,
            CallError::NotStarted { .. } => 3,
            CallError::Busy { .. } => 4,
            CallError::Stopping { .. } => 5,
            CallError::Deadline { .. } => 6,
            CallError::Cancelled { .. } => 7,
            CallError::WorkerLost { .. } => 8,
            CallError::Remote { .. } => 9,
            CallError::Disconnected { .. } => 10,
            CallError::Unauthorized { .. } => 11,
            _ => 0,
        };
        Ending::Failed { reason, may_have_run: error.may_have_run() }
    }
}

impl From<&majordomo_client::Error> for Ending {
    fn from(error: &majordomo_client::Error) -> Self {
        use majordomo_client::Error;
        let reason = match error {
            Error::TimedOut { .. } => 12,
            Error::Unreachable { .. } => 13,
            Error::Lost { .. } => 14,
            Error::Unauthorized { .. } => 15,
            _ => 0,
        };
        Ending::Failed { reason, may_have_run: error.may_have_run() }
    }
}

/// A call ended, as its caller saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The call.
    pub call: CallId,
    /// When it was made.
    pub began: Moment,
    /// When it ended.
    pub ended: Moment,
    /// How long its handler was to take, in microseconds.
    pub work_us: u32,
    /// How it ended.
    pub ending: Ending,
}

/// What stands in a file, record by record.
pub trait Record: Sized {
    /// As it stands there.
    fn to_bytes(&self) -> [u8; 32];
    /// What these bytes say; `None` when they are no such record.
    fn read(bytes: &[u8; 32]) -> Option<Self>;
}

impl Record for Execution {
    fn to_bytes(&self) -> [u8; 32] {
        pack(self.call.0, self.at, 0, self.worker, [b'x', self.attempt, 0, 0])
    }

    fn read(bytes: &[u8; 32]) -> Option<Self> {
        let (call, at, _, worker, [b'x', attempt, 0, 0]) = unpack(bytes) else { return None };
        Some(Execution { call: CallId(call), at, worker, attempt })
    }
}

impl Record for Outcome {
    fn to_bytes(&self) -> [u8; 32] {
        let ending = match self.ending {
            Ending::Answered => [b'o', 0, 0, 0],
            Ending::Misanswered => [b'o', 1, 0, 0],
            Ending::Silent => [b'o', 2, 0, 0],
            Ending::Failed { reason, may_have_run } => [b'o', 3, reason, may_have_run.into()],
        };
        pack(self.call.0, self.began, self.ended, self.work_us, ending)
    }

    fn read(bytes: &[u8; 32]) -> Option<Self> {
        let (call, began, ended, work_us, ending) = unpack(bytes);
        let ending = match ending {
            [b'o', 0, 0, 0] => Ending::Answered,
            [b'o', 1, 0, 0] => Ending::Misanswered,
            [b'o', 2, 0, 0] => Ending::Silent,
            [b'o', 3, reason, run @ 0..=1] if usize::from(reason) < REASONS.len() => {
                Ending::Failed { reason, may_have_run: run == 1 }
            }
            _ => return None,
        };
        Some(Outcome { call: CallId(call), began, ended, work_us, ending })
    }
}

fn pack(a: u64, b: u64, c: u64, d: u32, e: [u8; 4]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&a.to_be_bytes());
    bytes[8..16].copy_from_slice(&b.to_be_bytes());
    bytes[16..24].copy_from_slice(&c.to_be_bytes());
    bytes[24..28].copy_from_slice(&d.to_be_bytes());
    bytes[28..].copy_from_slice(&e);
    bytes
}

fn unpack(bytes: &[u8; 32]) -> (u64, u64, u64, u32, [u8; 4]) {
    let number = |at: usize, length: usize| {
        bytes[at..at + length].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    let ending = [bytes[28], bytes[29], bytes[30], bytes[31]];
    (number(0, 8), number(8, 8), number(16, 8), number(24, 4) as u32, ending)
}

/// Appends records to a file, from any thread.
#[derive(Debug)]
pub struct Ledger(File);

impl Ledger {
    /// Opens a file to append to; makes it if there is none.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn open(path: &Path) -> io::Result<Self> {
        OpenOptions::new().append(true).create(true).open(path).map(Ledger)
    }

    /// Appends a record.
    ///
    /// # Panics
    ///
    /// When the system does not take it whole: nothing could be accounted for then.
    pub fn write(&self, record: &impl Record) {
        let written = (&self.0).write(&record.to_bytes());
        assert!(matches!(written, Ok(32)), "cannot write to the ledger: {written:?}");
    }
}

/// All records of a file.
///
/// # Errors
///
/// Those of the system, and when it has something else in it.
pub fn read<R: Record>(path: &Path) -> io::Result<Vec<R>> {
    let mut bytes = vec![];
    File::open(path)?.read_to_end(&mut bytes)?;
    let (records, rest) = bytes.as_chunks::<32>();
    let read: Option<Vec<R>> = records.iter().map(R::read).collect();
    read.filter(|_| rest.is_empty())
        .ok_or_else(|| io::Error::other(format!("{}: not a ledger", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let call = CallId::new(7, 1 << 33);
        assert_eq!(call.client(), 7);
        let errand = Errand { call, work_us: 1_500 };
        assert_eq!(Errand::read(&errand.to_bytes()), Some(errand));
        let execution = Execution { call, at: 5, worker: 9, attempt: 2 };
        assert_eq!(Execution::read(&execution.to_bytes()), Some(execution));
        assert_eq!(Outcome::read(&execution.to_bytes()), None);
        let failed = Ending::Failed { reason: 6, may_have_run: true };
        for ending in [Ending::Answered, Ending::Misanswered, Ending::Silent, failed] {
            let outcome = Outcome { call, began: 1, ended: 2, work_us: 3, ending };
            assert_eq!(Outcome::read(&outcome.to_bytes()), Some(outcome));
            assert_eq!(Execution::read(&outcome.to_bytes()), None);
        }
    }
}
