//! Where a broker listens and its peers connect: `tcp://`, `ipc://` and `inproc://`
//! addresses.
//!
//! libzmq checks little: it takes a port modulo 65536, and its Rust binding panics on
//! what some others come to. So an address is checked here before libzmq sees it.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::str::FromStr;

/// Where a broker listens, and its peers connect, unless they are told otherwise.
pub const ENDPOINT_DEFAULT: &str = "tcp://127.0.0.1:5555";

/// The most bytes of an ipc path: what a Unix socket address holds.
pub const IPC_PATH_BYTES_MAX: usize = 107;

/// The most bytes of an inproc name.
pub const INPROC_NAME_BYTES_MAX: usize = 256;

/// A checked address: one to listen on, or, made by [`Endpoint::to_connect`], one to
/// connect to.
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
/// use majordomo_protocol::Endpoint;
///
/// let endpoint: Endpoint = "tcp://127.0.0.1:0".parse()?;
/// assert_eq!(endpoint.as_str(), "tcp://127.0.0.1:*");
/// assert!("tcp://127.0.0.1:99999".parse::<Endpoint>().is_err());
/// # Ok::<(), majordomo_protocol::InvalidEndpoint>(())
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

    /// Checks an address to connect to: one to listen on that leaves nothing open, so
    /// neither a host nor a port of `*`, nor port 0.
    ///
    /// # Errors
    ///
    /// [`InvalidEndpoint`] says what is wrong with it.
    pub fn to_connect(text: &str) -> Result<Self, InvalidEndpoint> {
        let endpoint: Endpoint = text.parse()?;
        let open = endpoint.0.starts_with("tcp://*:") || endpoint.0.ends_with(":*");
        if endpoint.0.starts_with("tcp://") && open {
            let fault = "has a * or port 0, where one can only listen".to_owned();
            return Err(InvalidEndpoint { found: text.to_owned(), fault });
        }
        Ok(endpoint)
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

/// A text that is no endpoint. Write it in one of the three forms.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("endpoint {found:?} {fault}; expected tcp://HOST:PORT, ipc://PATH or inproc://NAME")]
pub struct InvalidEndpoint {
    found: String,
    fault: String,
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn only_an_address_that_leaves_nothing_open_is_one_to_connect_to() {
        for good in ["tcp://host:1", "tcp://[::1]:5555", "ipc://x", "inproc://x"] {
            assert!(Endpoint::to_connect(good).is_ok(), "{good}");
        }
        for bad in ["tcp://*:1", "tcp://host:*", "tcp://host:0", "host:1", "ipc://*"] {
            assert!(Endpoint::to_connect(bad).is_err(), "{bad}");
        }
        let error = Endpoint::to_connect("tcp://*:1").unwrap_err().to_string();
        assert!(error.contains("where one can only listen"), "{error}");
    }
}
