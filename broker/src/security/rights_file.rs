//! The rights file: who may connect, by key or password, and what each may do.
//!
//! docs/security.md has the format. A file is read as a whole or not at all: with a fault in
//! it, what it said before holds.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use majordomo_protocol::TextFile;

use super::SecurityError;
use super::rights_text::{Credential, Entry, entries};
use super::roster::Roster;
use crate::engine::Limits;

/// Rights files are small: one that is larger is another file, or a device.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Everybody may write.
const MODE_WRITABLE: u32 = 0o002;

/// The file, and what it said when it was last read without a fault.
#[derive(Debug)]
pub(crate) struct RightsFile {
    path: PathBuf,
    /// The version that was read last, good or not.
    version: Option<Version>,
    /// The version that was there when somebody last looked.
    looked: Option<Version>,
    roster: Roster,
}

/// When anything of a file was changed, its number, size and mode. Not when its text was:
/// that stays where a mode is corrected, and can be set.
type Version = (i64, i64, u64, u64, u32);

fn version(path: &Path) -> Option<Version> {
    let file = fs::metadata(path).ok()?;
    Some((file.ctime(), file.ctime_nsec(), file.ino(), file.size(), file.mode()))
}

impl RightsFile {
    /// Reads the file for the first time. Blocks while it does.
    pub(super) fn read(path: impl Into<PathBuf>, limits: Limits) -> Result<Self, SecurityError> {
        let (path, roster) = (path.into(), Roster::new(limits));
        let mut file = RightsFile { path, version: None, looked: None, roster };
        file.read_again()?;
        Ok(file)
    }

    /// Reads the file anew. With a fault in it, all stays as it was.
    pub(super) fn read_again(&mut self) -> Result<(), SecurityError> {
        // Before it is read: a change meanwhile is a change.
        self.version = version(&self.path);
        self.looked = self.version;
        self.roster.replace(read(&self.path)?);
        Ok(())
    }

    /// Whether the file is another one than that which was read last, and was the same when
    /// this was asked before: one that is still being written may make sense, and lock
    /// everybody out. Blocks while it looks.
    pub(super) fn has_changed(&mut self) -> bool {
        let found = version(&self.path);
        let is_settled = std::mem::replace(&mut self.looked, found) == found;
        is_settled && self.version != found
    }

    /// Who is who, as it said.
    pub(super) fn roster(&self) -> &Roster {
        &self.roster
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn read(path: &Path) -> Result<Vec<Entry>, SecurityError> {
    let file = TextFile::read(path, FILE_BYTES_MAX)
        .map_err(|source| SecurityError::Unreadable { path: path.to_owned(), source })?;
    let invalid = |fault: String| SecurityError::Invalid { path: path.to_owned(), fault };
    let entries = entries(file.as_str()).map_err(|error| invalid(error.to_string()))?;
    let mut credentials = entries.iter().flat_map(|entry| &entry.credentials);
    let has_secret = credentials.any(|shown| matches!(shown, Credential::Password { .. }));
    if let Some(mode) = file.mode_if_open().filter(|_| has_secret) {
        return Err(SecurityError::Open { path: path.to_owned(), mode });
    }
    match file.mode().filter(|mode| mode & MODE_WRITABLE != 0) {
        Some(mode) => Err(invalid(format!("everybody can write it, its mode is {mode:04o}"))),
        None => Ok(entries),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const KEY: &str = "[[peer]]\nname = \"a\"\n\
                       public_key = \"HelloWorldHelloWorldHelloWorldHelloWorld\"\n";
    const PASSWORD: &str = "[[peer]]\nname = \"a\"\npassword = \"s3cret\"\n";

    fn write(path: &Path, text: &str, mode: u32) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn who_can_read_and_write_the_file_matters() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rights.toml");
        let read = |text: &str, mode: u32| {
            write(&path, text, mode);
            read(&path).map_err(|error| error.to_string())
        };
        assert!(read(PASSWORD, 0o640).is_ok());
        let error = read(PASSWORD, 0o644).expect_err("passwords for all to read");
        assert!(error.contains("holds secrets, but its mode is 0644: chmod 600 it"), "{error}");
        assert!(read(KEY, 0o644).is_ok());
        let error = read(KEY, 0o666).expect_err("everybody can write it");
        assert!(error.ends_with("everybody can write it, its mode is 0666"), "{error}");
    }

    #[test]
    fn a_faulty_file_leaves_all_as_it_was_and_is_not_read_again_and_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rights.toml");
        write(&path, KEY, 0o600);
        let mut file = RightsFile::read(&path, Limits::default()).unwrap();
        assert_eq!(file.roster().len(), 1);
        write(&path, "nonsense", 0o600);
        // It may still be written when it is seen first.
        assert!(!file.has_changed() && file.has_changed());
        let error = file.read_again().unwrap_err().to_string();
        assert!(error.contains("rights.toml: line 1: "), "{error}");
        assert!(!file.has_changed() && file.roster().len() == 1);
        write(&path, "", 0o600);
        assert!(!file.has_changed() && file.has_changed());
        file.read_again().unwrap();
        assert_eq!(file.roster().len(), 0);
    }

    #[test]
    fn a_mode_that_is_corrected_is_a_change() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rights.toml");
        write(&path, KEY, 0o600);
        let mut file = RightsFile::read(&path, Limits::default()).unwrap();
        write(&path, PASSWORD, 0o644);
        file.read_again().expect_err("passwords for all to read");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(!file.has_changed() && file.has_changed());
        file.read_again().unwrap();
    }
}
