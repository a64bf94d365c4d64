//! How a client or worker shows a broker who it is: what both SDKs take.
//!
//! Here for the same reason as [keys](crate::KeyFile): so that the SDKs take the same thing,
//! and secrets have one type that prints nothing. Telling a socket is left to who has one.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroize;

use crate::key::{InvalidKeyFile, KeyFile, PublicKey, SecretKey};
use crate::text_file::TextFile;

/// The longest user and password of PLAIN, in bytes (ZeroMQ RFC 24).
const LOGIN_BYTES_MAX: usize = 255;

/// A key file has a few lines: what is larger is another file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What a client or worker shows a broker. The endpoint decides which of these it takes.
///
/// ```
/// use majordomo_protocol::Security;
///
/// let security = Security::plain("alice", "s3cret")?;
/// assert!(!format!("{security:?}").contains("s3cret"));
/// # Ok::<(), majordomo_protocol::InvalidLogin>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Security {
    /// Nothing (ZeroMQ's NULL): for open endpoints, and all over inproc.
    #[default]
    Null,
    /// CURVE: encrypted, and each side knows the key of the other.
    Curve {
        /// The broker's public key. Who has not its secret half is not spoken to.
        server_key: PublicKey,
        /// What this side shows.
        own: KeyPair,
    },
    /// PLAIN: user and password, readable by everybody on the way.
    Plain(Login),
}

impl Security {
    /// CURVE with keys at hand.
    pub fn curve(server_key: PublicKey, own: KeyPair) -> Self {
        Security::Curve { server_key, own }
    }

    /// CURVE with the broker's public key of one key file, and the pair of another, as
    /// `majordomo keygen` writes them. Blocks while it reads.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`] names the file and what is wrong with it.
    pub fn curve_files(
        server_key: impl AsRef<Path>,
        own: impl AsRef<Path>,
    ) -> Result<Self, KeyFileError> {
        Ok(Security::curve(PublicKey::read(server_key)?, KeyPair::read(own)?))
    }

    /// PLAIN.
    ///
    /// # Errors
    ///
    /// [`InvalidLogin`] when one of them has not 1 to 255 bytes.
    pub fn plain(
        user: impl Into<String>,
        password: impl Into<String>,
    ) -> Result<Self, InvalidLogin> {
        let login = Login { user: user.into(), password: password.into() };
        for (what, text) in [("user", &login.user), ("password", &login.password)] {
            let found = text.len();
            if !(1..=LOGIN_BYTES_MAX).contains(&found) {
                return Err(InvalidLogin { what, found });
            }
        }
        Ok(Security::Plain(login))
    }
}

/// What is shown to which broker.
///
/// ```
/// use majordomo_protocol::{Credentials, Security};
///
/// let mut credentials = Credentials::default();
/// credentials.set("tcp://broker:5555", Security::plain("alice", "s3cret")?);
/// assert!(matches!(credentials.of("tcp://broker:5555"), Security::Plain(_)));
/// assert!(matches!(credentials.of("tcp://other:5555"), Security::Null));
/// # Ok::<(), majordomo_protocol::InvalidLogin>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// To those that have nothing of their own.
    all: Security,
    own: Vec<(String, Security)>,
}

impl Credentials {
    /// Shows this to all brokers that have nothing of their own.
    pub fn set_all(&mut self, security: Security) {
        self.all = security;
    }

    /// Shows this to the broker at `endpoint`. What was said last of a broker counts.
    pub fn set(&mut self, endpoint: impl Into<String>, security: Security) {
        self.own.push((endpoint.into(), security));
    }

    /// What the broker at `endpoint` is shown.
    pub fn of(&self, endpoint: &str) -> &Security {
        let mut own = self.own.iter().rev();
        own.find(|(other, _)| other == endpoint).map_or(&self.all, |(_, security)| security)
    }

    /// Whether any broker is shown a key, which not every libzmq can do.
    pub fn need_curve(&self) -> bool {
        let mut all = self.own.iter().map(|(_, security)| security).chain([&self.all]);
        all.any(|security| matches!(security, Security::Curve { .. }))
    }
}

/// Both halves of a CURVE key.
#[derive(Clone, Debug)]
pub struct KeyPair {
    /// What others know.
    pub public_key: PublicKey,
    /// What nobody else may know.
    pub secret_key: SecretKey,
}

impl KeyPair {
    /// Reads both from a key file, which nobody but its owner and their group may be able
    /// to read. Blocks while it does.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self, KeyFileError> {
        let path = path.as_ref();
        let file = read(path)?;
        let missing = |key| KeyFileError::Missing { path: path.to_owned(), key };
        let secret_key = file.secret_key.ok_or_else(|| missing("secret_key"))?;
        let public_key = file.public_key.ok_or_else(|| missing("public_key"))?;
        Ok(KeyPair { public_key, secret_key })
    }
}

impl PublicKey {
    /// Reads the public key of a key file. Blocks while it does.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self, KeyFileError> {
        let path = path.as_ref();
        let missing = KeyFileError::Missing { path: path.to_owned(), key: "public_key" };
        read(path)?.public_key.ok_or(missing)
    }
}

impl SecretKey {
    /// Reads the secret key of a key file, which nobody but its owner and their group may be
    /// able to read. Blocks while it does.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self, KeyFileError> {
        let path = path.as_ref();
        let missing = KeyFileError::Missing { path: path.to_owned(), key: "secret_key" };
        read(path)?.secret_key.ok_or(missing)
    }
}

/// A user and a password of PLAIN, 1 to 255 bytes each. The password is wiped from memory
/// when this is dropped.
#[derive(Clone)]
pub struct Login {
    user: String,
    password: String,
}

impl Login {
    /// Who it is.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The secret: for the socket and nowhere else.
    pub fn password(&self) -> &str {
        &self.password
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        self.password.zeroize();
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A user or password that PLAIN cannot say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a {what} of PLAIN has 1 to {LOGIN_BYTES_MAX} bytes, this has {found}")]
pub struct InvalidLogin {
    what: &'static str,
    found: usize,
}

/// How the handshake with a broker failed. Nothing was sent over that connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeFailure {
    /// The broker does not know the key, or the user and password: wrong, or withdrawn.
    Rejected,
    /// The broker takes another mechanism at this endpoint: a key or password where there
    /// was none, or none, or another kind.
    Mechanism,
    /// The broker ended the connection without a word. It does so when its public key is
    /// another than the one given here, and may when it takes another mechanism.
    Closed,
    /// The broker was reached and did not end the handshake in time. One that has refused
    /// this address often holds its answer back.
    Unfinished,
}

impl HandshakeFailure {
    /// Whether the same would be said to every further try.
    pub fn is_final(self) -> bool {
        matches!(self, HandshakeFailure::Rejected | HandshakeFailure::Mechanism)
    }

    /// In words, as errors and logs have it.
    pub fn as_str(self) -> &'static str {
        match self {
            HandshakeFailure::Rejected => "it does not know this key, or this user and password",
            HandshakeFailure::Mechanism => {
                "it takes another mechanism there (NULL, PLAIN or CURVE) than is used here"
            }
            HandshakeFailure::Closed => {
                "it ended the handshake without a word, as when it goes away, the server key given \
                 here is not its public key, or it takes another mechanism there"
            }
            HandshakeFailure::Unfinished => {
                "it did not end the handshake in time, as when it hangs, or holds its answer back \
                 after many refusals"
            }
        }
    }
}

impl fmt::Display for HandshakeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why there is no key in a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// It cannot be read. Correct its path or its rights.
    #[error("key file {}: cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It holds a secret and is open to others. Take their rights away.
    #[error(
        "key file {}: holds a secret key, but its mode is {mode:04o}: chmod 600 it, or 640 for \
         the group of a service", path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A line of it is no key. Correct it.
    #[error("key file {}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: InvalidKeyFile,
    },
    /// It has no such key. Take the other file of the pair.
    #[error("key file {}: has no line {key} = \"…\"", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The name of the line.
        key: &'static str,
    },
}

fn read(path: &Path) -> Result<KeyFile, KeyFileError> {
    let unreadable = |source| KeyFileError::Unreadable { path: path.to_owned(), source };
    let file = TextFile::read(path, FILE_BYTES_MAX).map_err(unreadable)?;
    let invalid = |source| KeyFileError::Invalid { path: path.to_owned(), source };
    let keys = KeyFile::parse(file.as_str()).map_err(invalid)?;
    match file.mode_if_open() {
        Some(mode) if keys.secret_key.is_some() => {
            Err(KeyFileError::Open { path: path.to_owned(), mode })
        }
        _ => Ok(keys),
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn a_login_has_up_to_255_bytes_of_each_and_prints_no_password() {
        let long = "x".repeat(256);
        for (user, password, refused) in [
            ("", "x", "a user of PLAIN has 1 to 255 bytes, this has 0"),
            ("x", "", "a password of PLAIN has 1 to 255 bytes, this has 0"),
            ("x", &long, "a password of PLAIN has 1 to 255 bytes, this has 256"),
        ] {
            let error = Security::plain(user, password).expect_err(refused);
            assert_eq!(error.to_string(), refused);
        }
        let login = Security::plain("alice", &long[1..]).expect("a login");
        assert_eq!(format!("{login:?}"), "Plain(Login { user: \"alice\", .. })");
    }

    #[test]
    fn what_was_said_last_of_a_broker_counts() {
        let mut credentials = Credentials::default();
        let user = |credentials: &Credentials, endpoint| match credentials.of(endpoint) {
            Security::Plain(login) => login.user().to_owned(),
            other => format!("{other:?}"),
        };
        assert_eq!(user(&credentials, "a"), "Null");
        for (endpoint, name) in [("a", "first"), ("b", "other"), ("a", "last")] {
            credentials.set(endpoint, Security::plain(name, "x").expect("a login"));
        }
        credentials.set_all(Security::plain("all", "x").expect("a login"));
        assert_eq!(["a", "b", "c"].map(|at| user(&credentials, at)), ["last", "other", "all"]);
        assert!(!credentials.need_curve());
        let key = [1; crate::KEY_BYTES];
        let own = KeyPair { public_key: PublicKey::new(key), secret_key: SecretKey::new(key) };
        credentials.set("d", Security::curve(PublicKey::new(key), own));
        assert!(credentials.need_curve());
    }

    /// What has nothing to do when it is dropped wipes nothing.
    #[test]
    fn secrets_are_wiped_when_they_are_dropped() {
        assert!(std::mem::needs_drop::<SecretKey>());
        let mut login = Login { user: "alice".to_owned(), password: "s3cret".to_owned() };
        login.password.zeroize();
        assert_eq!(login.password, "");
    }

    #[test]
    #[cfg(unix)]
    fn a_secret_key_is_read_from_a_private_file_alone() {
        use std::fs::{self, Permissions};
        use std::os::unix::fs::PermissionsExt;

        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("broker.key");
        let write = |text: &str, mode| {
            fs::write(&path, text).expect("written");
            fs::set_permissions(&path, Permissions::from_mode(mode)).expect("a mode");
        };
        let key = "HelloWorld".repeat(4);
        for (mode, good) in [(0o600, true), (0o640, true), (0o400, true), (0o644, false)] {
            write(&format!("secret_key = \"{key}\"\n"), mode);
            let read = SecretKey::read(&path);
            assert_eq!(read.is_ok(), good, "{mode:o}");
            let text = read.as_ref().map_or_else(KeyFileError::to_string, |_| String::new());
            assert!(!format!("{read:?} {text}").contains("Hello"), "{text}");
            // So that it can be written again.
            fs::remove_file(&path).expect("removed");
        }
        write(&format!("public_key = \"{key}\"\n"), 0o644);
        assert!(PublicKey::read(&path).is_ok());
        let refused = |text: &str, mode| {
            write(text, mode);
            let error = SecretKey::read(&path).expect_err(text);
            let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
            format!("{error}{source}").replace(&path.display().to_string(), "FILE")
        };
        assert_eq!(refused("", 0o600), "key file FILE: has no line secret_key = \"…\"");
        assert_eq!(
            refused("secret_key = \"short\"", 0o600),
            "key file FILE: line 1: a key has 40 characters, this has 5"
        );
        assert_eq!(
            refused(&format!("secret_key = \"{key}\""), 0o644),
            "key file FILE: holds a secret key, but its mode is 0644: chmod 600 it, or 640 for \
             the group of a service"
        );
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = KeyPair::read("/nowhere/client.key").expect_err("no file");
        assert_eq!(error.to_string(), "key file /nowhere/client.key: cannot be read");
        assert!(error.source().is_some());
    }
}
