//! The file of the broker's secret key, and the rights that a file with secrets has.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use majordomo_protocol::{KeyFile, SecretKey};

use super::SecurityError;

/// Key and rights files are small: one that is larger is another file, or a device.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Group may read, nobody else may do anything: what a file with secrets may allow.
const MODE_FORBIDDEN: u32 = 0o037;

/// A file as it was when it was read.
pub(super) struct Content {
    pub(super) text: String,
    pub(super) mode: u32,
}

impl Content {
    /// That nobody but its owner and their group can read it.
    pub(super) fn must_be_private(&self, path: &Path) -> Result<(), SecurityError> {
        if self.mode & MODE_FORBIDDEN != 0 {
            return Err(SecurityError::Open { path: path.to_owned(), mode: self.mode });
        }
        Ok(())
    }
}

/// Reads a file. Blocks while it does.
pub(super) fn content(path: &Path) -> Result<Content, SecurityError> {
    let unreadable = |source| SecurityError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    // Of the open file, so that it cannot be exchanged in between.
    let mode = file.metadata().map_err(unreadable)?.mode() & 0o7777;
    let mut text = String::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    if read as u64 > FILE_BYTES_MAX {
        let fault = format!("has more than {FILE_BYTES_MAX} bytes");
        return Err(SecurityError::Invalid { path: path.to_owned(), fault });
    }
    Ok(Content { text, mode })
}

/// Reads the secret key of a key file.
pub(super) fn read(path: &Path) -> Result<SecretKey, SecurityError> {
    let content = content(path)?;
    content.must_be_private(path)?;
    let invalid = |fault: String| SecurityError::Invalid { path: path.to_owned(), fault };
    let file = KeyFile::parse(&content.text).map_err(|error| invalid(error.to_string()))?;
    file.secret_key.ok_or_else(|| invalid("has no line secret_key = \"…\"".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_key_is_read_from_a_private_file_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("broker.key");
        let key = "HelloWorld".repeat(4);
        fs::write(&path, format!("secret_key = \"{key}\"\n")).unwrap();
        for (mode, good) in [(0o600, true), (0o640, true), (0o400, true), (0o644, false)] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let read = read(&path);
            assert_eq!(read.is_ok(), good, "{mode:o}");
            let text = format!(
                "{read:?} {}",
                read.as_ref().err().map_or_else(String::new, |e| e.to_string())
            );
            assert!(!text.contains("Hello"), "{text}");
        }
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("its mode is 0644: chmod 600"), "{error}");
    }

    #[test]
    fn a_file_without_a_secret_key_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("broker.key");
        let refused = |text: &str| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            let error = read(&path).expect_err(text).to_string();
            error.trim_start_matches(&path.display().to_string()).to_owned()
        };
        assert_eq!(refused(""), ": has no line secret_key = \"…\"");
        assert_eq!(
            refused("secret_key = \"short\""),
            ": line 1: a key has 40 characters, this has 5"
        );
        fs::remove_file(&path).unwrap();
        let endless = read(Path::new("/dev/zero")).unwrap_err().to_string();
        assert_eq!(endless, "/dev/zero: has more than 16777216 bytes");
        assert!(read(&path).unwrap_err().to_string().ends_with(": cannot be read"));
    }
}
