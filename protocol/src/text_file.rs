//! A small text file, and who else may read it: for files with keys, passwords and rights.
//!
//! Here, and not in each program that has such a file, since what several places check, one
//! of them checks less well. The crate reads no other files.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroize;

/// Group may read, nobody else may do anything: what a file with a secret may allow.
const MODE_FORBIDDEN: u32 = 0o037;

/// A text file as it was when it was read. Its text is wiped from memory when this is
/// dropped, and printed nowhere.
pub struct TextFile {
    text: String,
    mode: Option<u32>,
}

impl TextFile {
    /// Reads a file of at most `bytes_max` bytes of UTF-8. Blocks while it does.
    ///
    /// # Errors
    ///
    /// What the system says; and an error of its own for a file that is larger, which is
    /// another file, or a device.
    pub fn read(path: impl AsRef<Path>, bytes_max: u64) -> io::Result<Self> {
        let file = File::open(path)?;
        // Of the open file, so that it cannot be exchanged in between.
        let metadata = file.metadata()?;
        let mode = mode(&metadata);
        // At once in full: text that grows leaves copies behind.
        let room = metadata.len().min(bytes_max) + 1;
        let mut text = String::with_capacity(usize::try_from(room).unwrap_or_default());
        let read = file.take(bytes_max.saturating_add(1)).read_to_string(&mut text);
        let file = TextFile { text, mode };
        if read? as u64 > bytes_max {
            let fault = format!("has more than {bytes_max} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, fault));
        }
        Ok(file)
    }

    /// What it says.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its permissions; `None` where files have none.
    pub fn mode(&self) -> Option<u32> {
        self.mode
    }

    /// Its permissions, if anybody but its owner and, to read, their group has any: then it
    /// is no place for a secret.
    pub fn mode_if_open(&self) -> Option<u32> {
        self.mode.filter(|mode| mode & MODE_FORBIDDEN != 0)
    }
}

impl Drop for TextFile {
    fn drop(&mut self) {
        self.text.zeroize();
    }
}

impl fmt::Debug for TextFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextFile").field("mode", &self.mode).finish_non_exhaustive()
    }
}

#[cfg(unix)]
fn mode(metadata: &std::fs::Metadata) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    Some(metadata.mode() & 0o7777)
}

#[cfg(not(unix))]
fn mode(_: &std::fs::Metadata) -> Option<u32> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_is_larger_is_refused_and_what_is_read_is_not_printed() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("secret");
        std::fs::write(&path, "secret\n").expect("written");
        let file = TextFile::read(&path, 7).expect("seven bytes");
        let larger = TextFile::read(&path, 6).map(drop);
        assert_eq!(file.as_str(), "secret\n");
        assert!(!format!("{file:?}").contains("secret"));
        assert_eq!(larger.expect_err("larger").to_string(), "has more than 6 bytes");
        let device = TextFile::read("/dev/zero", 1 << 20).expect_err("it has no end");
        assert_eq!(device.to_string(), "has more than 1048576 bytes");
    }

    #[test]
    fn only_owner_and_to_read_their_group_may_have_a_secret() {
        let open = |mode| TextFile { text: String::new(), mode }.mode_if_open();
        for mode in [None, Some(0o600), Some(0o640), Some(0o400), Some(0o700)] {
            assert_eq!(open(mode), None, "{mode:?}");
        }
        for mode in [0o644, 0o660, 0o601, 0o610, 0o602].map(Some) {
            assert_eq!(open(mode), mode);
        }
    }
}
