//! The file of an ipc endpoint: what may stand there before, and that nothing stays
//! behind.
//!
//! libzmq removes whatever has the path, a running broker's socket too; it answers a
//! path that cannot be written with an error code that its Rust binding panics on; and
//! it leaves the file behind at the end.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use majordomo_protocol::Endpoint;

/// Makes sure that an ipc endpoint can be listened on, and removes the socket
/// file that a broker which was killed has left there. Other endpoints are
/// always ready. Call it right before binding.
///
/// Reads and writes the file system; blocks no longer than that takes.
///
/// # Errors
///
/// [`PrepareError`] says what stands in the way. Nothing was changed then.
pub(crate) fn prepare(endpoint: &Endpoint) -> Result<(), PrepareError> {
    let Some(path) = endpoint.ipc_path() else { return Ok(()) };
    let failed = |source| PrepareError::Io { endpoint: endpoint.clone(), source };
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !directory.is_dir() {
        return Err(PrepareError::NoDirectory {
            endpoint: endpoint.clone(),
            directory: directory.to_owned(),
        });
    }
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(PrepareError::NotASocket { endpoint: endpoint.clone() });
        }
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => return Err(PrepareError::InUse { endpoint: endpoint.clone() }),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    // Listening once by way of the standard library brings to light whatever
    // else is wrong (rights, a read-only file system) as a proper error.
    drop(UnixListener::bind(path).map_err(failed)?);
    fs::remove_file(path).map_err(failed)
}

/// Gives the file of an ipc endpoint its mode, if there is one to give. Other endpoints
/// have no file. Call it right after binding.
///
/// # Errors
///
/// [`PrepareError::Io`] when the system refuses.
pub(crate) fn protect(endpoint: &Endpoint, mode: Option<u32>) -> Result<(), PrepareError> {
    let (Some(path), Some(mode)) = (endpoint.ipc_path(), mode) else { return Ok(()) };
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(|source| PrepareError::Io { endpoint: endpoint.clone(), source })
}

/// Why an ipc endpoint cannot be listened on now.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// Create the directory, or choose another path.
    #[error("cannot bind {endpoint}: {} is not a directory", directory.display())]
    NoDirectory {
        /// What was to be bound.
        endpoint: Endpoint,
        /// The directory it needs.
        directory: PathBuf,
    },
    /// Something that is not a socket has this path, and libzmq would delete it.
    /// Move it away, or choose another path.
    #[error("cannot bind {endpoint}: a file that is not a socket has this path")]
    NotASocket {
        /// What was to be bound.
        endpoint: Endpoint,
    },
    /// A running process listens there. Stop it, or choose another path.
    #[error("cannot bind {endpoint}: address in use")]
    InUse {
        /// What was to be bound.
        endpoint: Endpoint,
    },
    /// The system refused, most often for missing rights.
    #[error("cannot bind {endpoint}")]
    Io {
        /// What was to be bound.
        endpoint: Endpoint,
        /// What the system said.
        source: io::Error,
    },
}

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

    /// A path of this process and this test alone; nothing is there.
    fn scratch(name: &str) -> PathBuf {
        let name = format!("majordomo-endpoint-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_file(&path);
        path
    }

    fn ipc(path: &Path) -> Endpoint {
        format!("ipc://{}", path.display()).parse().expect("an ipc endpoint")
    }

    #[test]
    fn a_free_ipc_path_is_ready_and_stays_free() {
        let path = scratch("free");
        assert!(prepare(&ipc(&path)).is_ok());
        assert!(!path.exists());
        assert_eq!(ipc(&path).ipc_path(), Some(path.as_path()));
        for other in ["tcp://127.0.0.1:1", "inproc://x", "ipc://@x"] {
            let other: Endpoint = other.parse().expect(other);
            assert!(prepare(&other).is_ok() && other.ipc_path().is_none());
        }
    }

    #[test]
    fn the_socket_that_a_killed_broker_left_is_removed() {
        let path = scratch("stale");
        drop(UnixListener::bind(&path).expect("bound"));
        assert!(path.exists());
        assert!(prepare(&ipc(&path)).is_ok());
        assert!(!path.exists());
    }

    #[test]
    fn the_socket_of_a_running_broker_is_left_alone() {
        let path = scratch("running");
        let _listener = UnixListener::bind(&path).expect("bound");
        let error = prepare(&ipc(&path)).expect_err("somebody listens");
        assert!(matches!(error, PrepareError::InUse { .. }), "{error}");
        assert_eq!(
            error.to_string(),
            format!("cannot bind ipc://{}: address in use", path.display())
        );
        assert!(path.exists());
        fs::remove_file(&path).expect("removed");
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let path = scratch("file");
        fs::write(&path, "precious").expect("written");
        let error = prepare(&ipc(&path)).expect_err("a file is there");
        assert!(matches!(error, PrepareError::NotASocket { .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).expect("still there"), "precious");

        // Nor can a file be the directory of a socket.
        let error = prepare(&ipc(&path.join("socket"))).expect_err("not a directory");
        assert!(matches!(error, PrepareError::NoDirectory { .. }), "{error}");
        fs::remove_file(&path).expect("removed");

        let error = prepare(&ipc(&path.join("socket"))).expect_err("no directory");
        assert!(matches!(error, PrepareError::NoDirectory { .. }), "{error}");
    }

    #[test]
    fn a_path_where_no_socket_can_be_is_an_error_and_no_panic() {
        let endpoint: Endpoint = "ipc:///proc/majordomo-test".parse().expect("an ipc endpoint");
        let error = prepare(&endpoint).expect_err("nobody can write there");
        assert!(
            matches!(error, PrepareError::Io { .. } | PrepareError::NoDirectory { .. }),
            "{error}"
        );
    }

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
