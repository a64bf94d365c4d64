//! Where the broker listens: `tcp://`, `ipc://` and `inproc://` addresses.
//!
//! libzmq checks little: it takes a port modulo 65536, removes whatever file stands
//! at an ipc path, and answers an unwritable path with an error code that its Rust
//! binding panics on. So every address is checked here before libzmq sees it: its
//! form when it is parsed, and the file system in [`Endpoint::prepare`].

use std::fmt;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The most bytes of an ipc path: what a Unix socket address holds.
pub const IPC_PATH_BYTES_MAX: usize = 107;

/// The most bytes of an inproc name.
pub const INPROC_NAME_BYTES_MAX: usize = 256;

/// A checked address to listen on.
///
/// | form | meaning |
/// |---|---|
/// | `tcp://HOST:PORT` | HOST: `*` for all interfaces, an IPv4 address, an IPv6 address in brackets, the name of a host or of an interface. PORT: 1 to 65535, or `0` or `*` to let the system choose |
/// | `ipc://PATH` | a Unix socket at PATH, at most 107 bytes; `ipc://@NAME` is an abstract one (Linux) |
/// | `inproc://NAME` | within this process, 1 to 256 bytes |
///
/// Two endpoints are equal when libzmq would take them for the same.
///
/// ```
/// use majordomo_broker::endpoint::Endpoint;
///
/// let endpoint: Endpoint = "tcp://127.0.0.1:0".parse()?;
/// assert_eq!(endpoint.as_str(), "tcp://127.0.0.1:*");
/// assert!("tcp://127.0.0.1:99999".parse::<Endpoint>().is_err());
/// # Ok::<(), majordomo_broker::endpoint::InvalidEndpoint>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint(String);

impl Endpoint {
    /// The address as libzmq takes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is an IPv6 address, for which a socket needs its IPv6 option.
    pub fn is_ipv6(&self) -> bool {
        self.0.starts_with("tcp://[")
    }

    /// The file of the socket, if it has one: an ipc endpoint that is not abstract.
    pub fn ipc_path(&self) -> Option<&Path> {
        let path = self.0.strip_prefix("ipc://")?;
        (!path.starts_with('@')).then(|| Path::new(path))
    }

    /// Makes sure that an ipc endpoint can be listened on, and removes the socket
    /// file that a broker which was killed has left there. Other endpoints are
    /// always ready. Call it right before binding.
    ///
    /// Reads and writes the file system; blocks no longer than that takes.
    ///
    /// # Errors
    ///
    /// [`PrepareError`] says what stands in the way. Nothing was changed then.
    pub fn prepare(&self) -> Result<(), PrepareError> {
        let Some(path) = self.ipc_path() else { return Ok(()) };
        let failed = |source| PrepareError::Io { endpoint: self.clone(), source };
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        if !directory.is_dir() {
            return Err(PrepareError::NoDirectory {
                endpoint: self.clone(),
                directory: directory.to_owned(),
            });
        }
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(PrepareError::NotASocket { endpoint: self.clone() });
            }
            Ok(_) => match UnixStream::connect(path) {
                Ok(_) => return Err(PrepareError::InUse { endpoint: self.clone() }),
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
}

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        let checked = match text.split_once("://") {
            // The binding to libzmq panics on a NUL byte.
            _ if text.contains(char::is_control) => Err("holds a control character".to_owned()),
            Some(("tcp", address)) => tcp(address),
            Some(("ipc", path)) => ipc(path).map(|()| text.to_owned()),
            Some(("inproc", name)) => inproc(name).map(|()| text.to_owned()),
            Some((other, _)) => Err(format!("has an unknown transport, {other:?}")),
            None => Err("has no transport".to_owned()),
        };
        match checked {
            Ok(text) => Ok(Endpoint(text)),
            Err(fault) => Err(InvalidEndpoint { found: text.to_owned(), fault }),
        }
    }
}

/// The text of the endpoint when `address` is HOST:PORT, else what is wrong with it.
fn tcp(address: &str) -> Result<String, String> {
    let (host, port) = address.rsplit_once(':').ok_or("has no port")?;
    let is_name = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    let host = if let Some(inner) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        let (ip, zone) = match inner.split_once('%') {
            Some((ip, zone)) => (ip, Some(zone)),
            None => (inner, None),
        };
        let ip: Ipv6Addr = ip.parse().map_err(|_| "has no IPv6 address in its brackets")?;
        match zone {
            Some(zone) if !is_name(zone) => return Err("has a bad IPv6 zone".to_owned()),
            Some(zone) => format!("[{ip}%{zone}]"),
            None => format!("[{ip}]"),
        }
    } else if host.contains(':') {
        return Err("needs brackets around an IPv6 address".to_owned());
    } else if host.chars().all(|c| c.is_ascii_digit() || c == '.') && !host.is_empty() {
        host.parse::<Ipv4Addr>().map_err(|_| "has a bad IPv4 address")?.to_string()
    } else if host == "*" || is_name(host) {
        host.to_owned()
    } else {
        return Err("has a bad host".to_owned());
    };
    let digits = !port.is_empty() && port.chars().all(|c| c.is_ascii_digit());
    match port.parse::<u16>() {
        _ if port == "*" => Ok(format!("tcp://{host}:*")),
        Ok(0) if digits => Ok(format!("tcp://{host}:*")),
        Ok(port) if digits => Ok(format!("tcp://{host}:{port}")),
        _ => Err(format!("has the port {port:?}, which is not 0 to 65535 or *")),
    }
}

fn ipc(path: &str) -> Result<(), String> {
    match path.strip_prefix('@') {
        _ if path.is_empty() => Err("has no path".to_owned()),
        _ if path.len() > IPC_PATH_BYTES_MAX => {
            Err(format!("has a path of {} bytes, more than {IPC_PATH_BYTES_MAX}", path.len()))
        }
        Some("") => Err("has no name after the @".to_owned()),
        Some(_) if !cfg!(target_os = "linux") => {
            Err("is an abstract socket, which only Linux has".to_owned())
        }
        // libzmq would choose a path of its own.
        _ if path.starts_with('*') => Err("has a path that begins with *".to_owned()),
        _ => Ok(()),
    }
}

fn inproc(name: &str) -> Result<(), String> {
    match name.len() {
        1..=INPROC_NAME_BYTES_MAX => Ok(()),
        0 => Err("has no name".to_owned()),
        bytes => Err(format!("has a name of {bytes} bytes, more than {INPROC_NAME_BYTES_MAX}")),
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A text that is no endpoint to listen on. Write it in one of the three forms.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("endpoint {found:?} {fault}; expected tcp://HOST:PORT, ipc://PATH or inproc://NAME")]
pub struct InvalidEndpoint {
    found: String,
    fault: String,
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

    #[test]
    fn good_endpoints_are_taken_and_written_in_one_way() {
        for (text, written) in [
            ("tcp://127.0.0.1:5555", "tcp://127.0.0.1:5555"),
            ("tcp://*:*", "tcp://*:*"),
            ("tcp://*:0", "tcp://*:*"),
            ("tcp://*:00080", "tcp://*:80"),
            ("tcp://0.0.0.0:65535", "tcp://0.0.0.0:65535"),
            ("tcp://[::]:1", "tcp://[::]:1"),
            ("tcp://[0:0::1]:1", "tcp://[::1]:1"),
            ("tcp://[fe80::1%eth0]:1", "tcp://[fe80::1%eth0]:1"),
            ("tcp://localhost:5555", "tcp://localhost:5555"),
            ("tcp://eth0:5555", "tcp://eth0:5555"),
            ("tcp://broker-1.example.org:5555", "tcp://broker-1.example.org:5555"),
            ("ipc:///run/majordomo", "ipc:///run/majordomo"),
            ("ipc://relative/path", "ipc://relative/path"),
            ("ipc://@abstract", "ipc://@abstract"),
            ("inproc://a name", "inproc://a name"),
        ] {
            let endpoint: Endpoint = text.parse().expect(text);
            assert_eq!(endpoint.as_str(), written);
            assert_eq!(written.parse::<Endpoint>().as_ref(), Ok(&endpoint));
            assert_eq!(endpoint.is_ipv6(), text.contains('['));
        }
        let longest = format!("ipc:///{}", "x".repeat(106));
        assert!(longest.parse::<Endpoint>().is_ok());
        assert!(format!("inproc://{}", "x".repeat(256)).parse::<Endpoint>().is_ok());
    }

    #[test]
    fn bad_endpoints_are_refused_with_what_is_wrong() {
        for (text, fault) in [
            ("", "has no transport"),
            ("localhost", "has no transport"),
            ("TCP://*:1", "has an unknown transport, \"TCP\""),
            ("pgm://x:1", "has an unknown transport, \"pgm\""),
            ("tcp://", "has no port"),
            ("tcp://host", "has no port"),
            ("tcp://:1", "has a bad host"),
            ("tcp://a b:1", "has a bad host"),
            ("tcp://a;b:1", "has a bad host"),
            ("tcp://host:", "has the port \"\", which is not 0 to 65535 or *"),
            ("tcp://host:65536", "has the port \"65536\", which is not 0 to 65535 or *"),
            ("tcp://host:99999", "has the port \"99999\", which is not 0 to 65535 or *"),
            ("tcp://host:-1", "has the port \"-1\", which is not 0 to 65535 or *"),
            ("tcp://host:+1", "has the port \"+1\", which is not 0 to 65535 or *"),
            ("tcp://host:1/", "has the port \"1/\", which is not 0 to 65535 or *"),
            ("tcp://1.2.3:1", "has a bad IPv4 address"),
            ("tcp://1.2.3.256:1", "has a bad IPv4 address"),
            ("tcp://::1:5555", "needs brackets around an IPv6 address"),
            ("tcp://[::g]:1", "has no IPv6 address in its brackets"),
            ("tcp://[]:1", "has no IPv6 address in its brackets"),
            ("tcp://[::1%]:1", "has a bad IPv6 zone"),
            ("ipc://", "has no path"),
            ("ipc://@", "has no name after the @"),
            ("ipc://*", "has a path that begins with *"),
            ("ipc:///a\0b", "holds a control character"),
            ("inproc://", "has no name"),
            ("inproc://a\nb", "holds a control character"),
        ] {
            let error = text.parse::<Endpoint>().expect_err(text).to_string();
            let forms = "expected tcp://HOST:PORT, ipc://PATH or inproc://NAME";
            assert_eq!(error, format!("endpoint {text:?} {fault}; {forms}"));
        }
        let error = format!("ipc:///{}", "x".repeat(107)).parse::<Endpoint>().expect_err("long");
        assert!(error.to_string().contains("has a path of 108 bytes, more than 107"), "{error}");
        assert!(format!("inproc://{}", "x".repeat(257)).parse::<Endpoint>().is_err());
    }

    fn ipc(path: &Path) -> Endpoint {
        format!("ipc://{}", path.display()).parse().expect("an ipc endpoint")
    }

    #[test]
    fn a_free_ipc_path_is_ready_and_stays_free() {
        let path = scratch("free");
        assert!(ipc(&path).prepare().is_ok());
        assert!(!path.exists());
        assert_eq!(ipc(&path).ipc_path(), Some(path.as_path()));
        for other in ["tcp://127.0.0.1:1", "inproc://x", "ipc://@x"] {
            let other: Endpoint = other.parse().expect(other);
            assert!(other.prepare().is_ok() && other.ipc_path().is_none());
        }
    }

    #[test]
    fn the_socket_that_a_killed_broker_left_is_removed() {
        let path = scratch("stale");
        drop(UnixListener::bind(&path).expect("bound"));
        assert!(path.exists());
        assert!(ipc(&path).prepare().is_ok());
        assert!(!path.exists());
    }

    #[test]
    fn the_socket_of_a_running_broker_is_left_alone() {
        let path = scratch("running");
        let _listener = UnixListener::bind(&path).expect("bound");
        let error = ipc(&path).prepare().expect_err("somebody listens");
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
        let error = ipc(&path).prepare().expect_err("a file is there");
        assert!(matches!(error, PrepareError::NotASocket { .. }), "{error}");
        assert_eq!(fs::read_to_string(&path).expect("still there"), "precious");

        // Nor can a file be the directory of a socket.
        let error = ipc(&path.join("socket")).prepare().expect_err("not a directory");
        assert!(matches!(error, PrepareError::NoDirectory { .. }), "{error}");
        fs::remove_file(&path).expect("removed");

        let error = ipc(&path.join("socket")).prepare().expect_err("no directory");
        assert!(matches!(error, PrepareError::NoDirectory { .. }), "{error}");
    }

    #[test]
    fn a_path_where_no_socket_can_be_is_an_error_and_no_panic() {
        let endpoint: Endpoint = "ipc:///proc/majordomo-test".parse().expect("an ipc endpoint");
        let error = endpoint.prepare().expect_err("nobody can write there");
        assert!(
            matches!(error, PrepareError::Io { .. } | PrepareError::NoDirectory { .. }),
            "{error}"
        );
    }
}
