//! The names that travel in frames, each its own type so that none is taken for
//! another: a service is not a peer, and a client's address is not an identity.

use std::fmt;
use std::hash::{Hash, Hasher};

use smol_str::SmolStr;

use crate::error::Excerpt;
use crate::opaque::Opaque;

/// A published version of the protocol that a peer speaks.
///
/// Versions differ in frames, and in what they can express; a rule of the broker
/// does not depend on one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// MDP/0.1, ZeroMQ RFC 7: an empty frame first, one reply a request.
    V0_1,
    /// MDP/0.2, ZeroMQ RFC 18: no empty frame, any number of partial replies.
    V0_2,
    /// MDP/1.0, ours: request ids, errors, deadlines, cancellation, several requests
    /// for each worker, and as many records in a message as are ready.
    V1_0,
}

impl Version {
    /// The version as its document writes it: `0.1`, `0.2` or `1.0`.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::V0_1 => "0.1",
            Version::V0_2 => "0.2",
            Version::V1_0 => "1.0",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The most bytes a [`ServiceName`] may have.
pub const SERVICE_NAME_BYTES_MAX: usize = 255;

/// The name of a service: 1 to 255 bytes of UTF-8 without control characters.
///
/// The RFCs ask for a printable string and set no length; the length is ours.
/// Names compare byte by byte, so case matters. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName(SmolStr);

impl ServiceName {
    /// Checks `name` and takes it.
    ///
    /// # Errors
    ///
    /// [`InvalidServiceName`] when it is empty, longer than
    /// [`SERVICE_NAME_BYTES_MAX`] bytes, or holds a control character.
    pub fn new(name: impl AsRef<str>) -> Result<Self, InvalidServiceName> {
        Self::from_bytes(name.as_ref().as_bytes())
    }

    /// As [`ServiceName::new`], for bytes that may not be UTF-8.
    ///
    /// # Errors
    ///
    /// As [`ServiceName::new`], and when the bytes are not UTF-8.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidServiceName> {
        let printable = |name: &&str| !name.chars().any(char::is_control);
        match std::str::from_utf8(bytes).ok().filter(printable) {
            Some(name) if (1..=SERVICE_NAME_BYTES_MAX).contains(&name.len()) => {
                Ok(ServiceName(SmolStr::new(name)))
            }
            _ => Err(InvalidServiceName { found: Excerpt::of(bytes) }),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the broker itself answers this service: the name begins with `mmi.`
    /// (RFC 8).
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with(crate::mmi::PREFIX)
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// A name that no service can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a service name is 1 to {SERVICE_NAME_BYTES_MAX} bytes of UTF-8 without control characters, found {found}"
)]
pub struct InvalidServiceName {
    found: Excerpt,
}

/// The identity under which a ROUTER socket knows a peer: 1 to 255 opaque bytes.
///
/// Unique among the peers connected to one socket, and meaningless elsewhere.
/// Prints in hexadecimal.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(Opaque);

/// The frame by which a worker says whose request it answers: opaque bytes that
/// come back unchanged.
///
/// A broker may put there what it likes; ours puts a task id. Prints in
/// hexadecimal.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientAddress(Opaque);

/// What a client calls a request by, in MDP/1.0: 16 bytes that it makes unique.
///
/// 8 random bytes for each instance of a client and 8 of a counter will do. Prints in
/// hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId([u8; 16]);

/// As one number, not byte by byte.
impl Hash for RequestId {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(u128::from_ne_bytes(self.0));
    }
}

impl RequestId {
    /// Takes the bytes.
    pub fn new(bytes: [u8; 16]) -> Self {
        RequestId(bytes)
    }

    /// The bytes as they travel.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Which of its brokers a peer talks to: 8 random bytes that a broker makes at its
/// start. Prints in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId([u8; 8]);

impl InstanceId {
    /// Takes the bytes.
    pub fn new(bytes: [u8; 8]) -> Self {
        InstanceId(bytes)
    }

    /// The bytes as they travel.
    pub fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

macro_rules! opaque_bytes {
    ($name:ident) => {
        impl $name {
            /// Takes a copy of `bytes`.
            #[inline]
            pub fn new(bytes: &[u8]) -> Self {
                Self(Opaque::new(bytes))
            }

            /// The bytes as they travel.
            #[inline]
            pub fn as_bytes(&self) -> &[u8] {
                self.0.as_bytes()
            }
        }
    };
}

macro_rules! prints_in_hexadecimal {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

opaque_bytes!(PeerId);
opaque_bytes!(ClientAddress);
prints_in_hexadecimal!(PeerId);
prints_in_hexadecimal!(ClientAddress);
prints_in_hexadecimal!(RequestId);
prints_in_hexadecimal!(InstanceId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_name_is_printable_and_has_1_to_255_bytes() {
        assert!(ServiceName::new("echo").is_ok());
        assert!(ServiceName::new("größe 2").is_ok());
        assert!(ServiceName::new("x".repeat(255)).is_ok());
        assert!(ServiceName::new("").is_err());
        assert!(ServiceName::new("x".repeat(256)).is_err());
        assert!(ServiceName::new("a\nb").is_err());
        assert!(ServiceName::from_bytes(b"\xff").is_err());
    }

    #[test]
    fn only_a_name_that_begins_with_mmi_dot_is_reserved() {
        assert!(ServiceName::new("mmi.service").is_ok_and(|name| name.is_reserved()));
        assert!(ServiceName::new("not.mmi.service").is_ok_and(|name| !name.is_reserved()));
        assert!(ServiceName::new("mmi").is_ok_and(|name| !name.is_reserved()));
    }

    #[test]
    fn an_invalid_name_says_what_was_found() {
        let error = ServiceName::new("a\nb").unwrap_err().to_string();
        assert!(error.ends_with("found 3 bytes 0x610a62"), "{error}");
    }
}
