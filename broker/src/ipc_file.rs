//! The file of an ipc endpoint, which libzmq leaves behind.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Removes the file of a bound ipc endpoint when dropped, unless another broker has
/// put its own there meanwhile.
#[derive(Debug)]
pub(crate) struct IpcFile {
    path: PathBuf,
    /// Device and number of the file.
    identity: (u64, u64),
}

impl IpcFile {
    /// The file at `path`, right after it was bound; `None` if there is none.
    pub(crate) fn bound(path: &Path) -> Option<Self> {
        Some(IpcFile { path: path.to_owned(), identity: identity(path)? })
    }
}

impl Drop for IpcFile {
    fn drop(&mut self) {
        if identity(&self.path) == Some(self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            log::warn!(path:% = self.path.display(), error:%; "cannot remove the ipc file");
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_file_that_was_bound_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("broker");
        fs::write(&path, "").unwrap();
        drop(IpcFile::bound(&path));
        assert!(!path.exists());

        fs::write(&path, "").unwrap();
        let ours = IpcFile::bound(&path);
        fs::rename(&path, directory.path().join("moved")).unwrap();
        fs::write(&path, "another's").unwrap();
        drop(ours);
        assert!(path.exists());
    }
}
