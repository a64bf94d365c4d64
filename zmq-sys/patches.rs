//! What is changed in libzmq: pieces of text, each of which must be found as often as is
//! said here. libzmq's files are under the MPL 2.0, and so are these changes to them.

use std::fs;
use std::path::Path;

mod caller;
mod peers;
mod signals;

/// The changes to one source file.
pub struct Patch {
    /// Its name, in libzmq's `src`.
    pub file: &'static str,
    edits: &'static [Edit],
}

struct Edit {
    old: &'static str,
    /// How often the old text is there.
    times: usize,
    new: &'static str,
}

/// A file is here once.
pub const PATCHES: [Patch; 10] = [
    peers::ROUTER,
    peers::SESSION,
    peers::PROPERTIES,
    peers::ENGINE,
    peers::PIPE,
    caller::CONTEXT,
    caller::IO_THREAD,
    caller::SOCKET,
    signals::MAILBOX,
    signals::POLLER,
];

/// Headers, each after those that it includes. Where they are changed, every source file
/// is compiled with them.
pub const HEADERS: [Patch; 3] = [caller::MAILBOX_H, caller::POLLER_H, caller::IO_THREAD_H];

impl Patch {
    /// The text of this file of libzmq, changed.
    pub fn apply(&self, source: &Path) -> String {
        let read = fs::read_to_string(source);
        let mut text = read.unwrap_or_else(|error| panic!("{}: {error}", source.display()));
        for Edit { old, times, new } in self.edits {
            let found = text.matches(old).count();
            assert!(
                found == *times,
                "{} has {found} times, and not {times} times:\n{old}\nIt is another libzmq than \
                 zmq-sys/patches was written for: see whether it still needs the changes there",
                source.display(),
            );
            text = text.replace(old, new);
        }
        text
    }
}
