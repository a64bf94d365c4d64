//! Every message of MDP/0.1 (RFC 7) and MDP/0.2 (RFC 18) as the frames that a DEALER
//! socket sends and receives.
//!
//! Written from the tables of the RFCs, and apart from `majordomo-protocol` on
//! purpose: what that crate gets wrong must not be wrong here in the same way.
//! MDP/1.0 is another matter, in [`v1`].

pub mod v1;

use std::fmt::Write;

/// One message, without the identity frame of a ROUTER socket.
pub type Frames = Vec<Vec<u8>>;

/// Which of the two published versions a peer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// MDP/0.1: begins with an empty frame, knows no PARTIAL.
    V0_1,
    /// MDP/0.2.
    V0_2,
}

/// Both versions, for tests of all pairings.
pub const VERSIONS: [Version; 2] = [Version::V0_1, Version::V0_2];

impl Version {
    /// As the documents write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::V0_1 => "0.1",
            Version::V0_2 => "0.2",
        }
    }

    /// The version that is written so.
    pub fn from_text(text: &str) -> Option<Self> {
        VERSIONS.into_iter().find(|version| version.as_str() == text)
    }
}

/// A message of these frames.
pub fn frames<F: AsRef<[u8]>>(frames: impl IntoIterator<Item = F>) -> Frames {
    frames.into_iter().map(|frame| frame.as_ref().to_vec()).collect()
}

fn message(head: &[&[u8]], body: Frames) -> Frames {
    let mut message = frames(head);
    message.extend(body);
    message
}

/// Client to broker: REQUEST.
pub fn request<F: AsRef<[u8]>>(
    version: Version,
    service: &str,
    body: impl IntoIterator<Item = F>,
) -> Frames {
    let (service, body) = (service.as_bytes(), frames(body));
    match version {
        Version::V0_1 => message(&[b"", b"MDPC01", service], body),
        Version::V0_2 => message(&[b"MDPC02", b"\x01", service], body),
    }
}

/// Broker to client: REPLY in 0.1, FINAL in 0.2.
pub fn reply<F: AsRef<[u8]>>(
    version: Version,
    service: &str,
    body: impl IntoIterator<Item = F>,
) -> Frames {
    let (service, body) = (service.as_bytes(), frames(body));
    match version {
        Version::V0_1 => message(&[b"", b"MDPC01", service], body),
        Version::V0_2 => message(&[b"MDPC02", b"\x03", service], body),
    }
}

/// Broker to client: PARTIAL, which only 0.2 has.
pub fn partial<F: AsRef<[u8]>>(service: &str, body: impl IntoIterator<Item = F>) -> Frames {
    message(&[b"MDPC02", b"\x02", service.as_bytes()], frames(body))
}

/// Worker to broker: READY.
pub fn ready(version: Version, service: &str) -> Frames {
    match version {
        Version::V0_1 => frames([b"", &b"MDPW01"[..], b"\x01", service.as_bytes()]),
        Version::V0_2 => frames([&b"MDPW02"[..], b"\x01", service.as_bytes()]),
    }
}

/// Broker to worker: REQUEST.
pub fn worker_request<F: AsRef<[u8]>>(
    version: Version,
    address: &[u8],
    body: impl IntoIterator<Item = F>,
) -> Frames {
    match version {
        Version::V0_1 => message(&[b"", b"MDPW01", b"\x02", address, b""], frames(body)),
        Version::V0_2 => message(&[b"MDPW02", b"\x02", address, b""], frames(body)),
    }
}

/// Worker to broker: REPLY in 0.1, FINAL in 0.2.
pub fn worker_reply<F: AsRef<[u8]>>(
    version: Version,
    address: &[u8],
    body: impl IntoIterator<Item = F>,
) -> Frames {
    match version {
        Version::V0_1 => message(&[b"", b"MDPW01", b"\x03", address, b""], frames(body)),
        Version::V0_2 => message(&[b"MDPW02", b"\x04", address, b""], frames(body)),
    }
}

/// Worker to broker: PARTIAL, which only 0.2 has.
pub fn worker_partial<F: AsRef<[u8]>>(address: &[u8], body: impl IntoIterator<Item = F>) -> Frames {
    message(&[b"MDPW02", b"\x03", address, b""], frames(body))
}

/// Either way: HEARTBEAT.
pub fn heartbeat(version: Version) -> Frames {
    match version {
        Version::V0_1 => frames([b"", &b"MDPW01"[..], b"\x04"]),
        Version::V0_2 => frames([&b"MDPW02"[..], b"\x05"]),
    }
}

/// Either way: DISCONNECT.
pub fn disconnect(version: Version) -> Frames {
    match version {
        Version::V0_1 => frames([b"", &b"MDPW01"[..], b"\x05"]),
        Version::V0_2 => frames([&b"MDPW02"[..], b"\x06"]),
    }
}

/// The address and the body of a REQUEST that came to a worker; `None` when the
/// message is anything else.
pub fn read_worker_request(version: Version, message: &Frames) -> Option<(Vec<u8>, Frames)> {
    let head = match version {
        Version::V0_1 => 3,
        Version::V0_2 => 2,
    };
    let (address, body) = (message.get(head)?, message.get(head + 2..)?);
    let again = worker_request(version, address, body);
    (!body.is_empty() && again == *message).then(|| (address.clone(), body.to_vec()))
}

/// A line for each frame: its length, then its text or its bytes.
pub fn dump(message: &Frames) -> String {
    message.iter().fold(String::new(), |text, frame| text + &line(frame) + "\n")
}

fn line(frame: &[u8]) -> String {
    let mut line = format!("[{:03}] ", frame.len());
    if frame.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        line.push_str(&String::from_utf8_lossy(frame));
    } else {
        line.push_str("0x");
        for byte in frame {
            let _ = write!(line, "{byte:02x}");
        }
    }
    if line.chars().count() > 100 { line.chars().take(100).chain(['…']).collect() } else { line }
}

/// Both messages side by side as dumps: what only the expected one has is marked
/// with `-`, what only the other one has with `+`.
pub fn diff(expected: &Frames, found: &Frames) -> String {
    let mut text = String::new();
    for position in 0..expected.len().max(found.len()) {
        match (expected.get(position), found.get(position)) {
            (Some(a), Some(b)) if a == b => {
                let _ = writeln!(text, "  {}", line(a));
            }
            (a, b) => {
                if let Some(a) = a {
                    let _ = writeln!(text, "- {}", line(a));
                }
                if let Some(b) = b {
                    let _ = writeln!(text, "+ {}", line(b));
                }
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_marks_what_differs() {
        let expected = frames(["MDPC02", "\x03", "echo", "hello"]);
        let found = frames(["MDPC02", "\x02", "echo"]);
        assert_eq!(
            diff(&expected, &found),
            "  [006] MDPC02\n- [001] 0x03\n+ [001] 0x02\n  [004] echo\n- [005] hello\n"
        );
    }

    #[test]
    fn only_a_request_is_read_as_one() {
        for version in VERSIONS {
            let request = worker_request(version, b"address", ["a", "b"]);
            let read = read_worker_request(version, &request);
            assert_eq!(read, Some((b"address".to_vec(), frames(["a", "b"]))));
            let bodiless = worker_request::<&str>(version, b"address", []);
            for other in [heartbeat(version), disconnect(version), bodiless] {
                assert_eq!(read_worker_request(version, &other), None);
            }
        }
    }
}
