//! The rights file: who may connect, by key or password, and what each may do.
//!
//! docs/security.md has the format. A file is read as a whole or not at all. Each key and
//! each password gets a number, its identity, which never stands for another. So a
//! connection that was made with a key since removed is unknown, whatever the file says of
//! its name, and known again when that very key is back: whoever made it has shown that key.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use majordomo_protocol::PublicKey;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use toml::{Spanned, Value};

use super::SecurityError;
use super::key_file::{Content, content};
use super::zap::Proof;
use crate::engine::{Grant, Identity, Limits, Rights, ServiceSet};

/// The most bytes that PLAIN can carry of a user or a password.
const PLAIN_BYTES_MAX: usize = 255;

/// So many keys and passwords that were removed keep their numbers. Of more the oldest are
/// forgotten: what comes back of these gets a new number.
const REMOVED_MAX: usize = 10_000;

/// What the rights file said when it was last read without a fault.
#[derive(Debug)]
pub(crate) struct RightsFile {
    path: PathBuf,
    /// The version that was read last, good or not.
    version: Option<Version>,
    /// The version that was there when somebody last looked.
    looked: Option<Version>,
    limits: Limits,
    /// Who is who.
    identities: HashMap<Credential, Identity>,
    /// Who was somebody once, and may be again.
    removed: HashMap<Credential, Identity>,
    /// The highest number given to an identity.
    numbers: u32,
    rights: Arc<Rights>,
}

/// When a file was changed, its number and size.
type Version = (i64, i64, u64, u64);

fn version(path: &Path) -> Option<Version> {
    let file = fs::metadata(path).ok()?;
    Some((file.mtime(), file.mtime_nsec(), file.ino(), file.size()))
}

/// By what somebody shows who it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Credential {
    Key(PublicKey),
    Password { user: String, password: Password },
}

/// A password; printed nowhere.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Password(String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(hidden)")
    }
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Refusal {
    UnknownKey,
    UnknownUser,
    WrongPassword,
    /// What libzmq asked makes no sense.
    Malformed,
}

impl Refusal {
    /// In words, for logs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Refusal::UnknownKey => "its key is not in the rights file",
            Refusal::UnknownUser => "its user is not in the rights file",
            Refusal::WrongPassword => "its password is wrong",
            Refusal::Malformed => "its credentials are malformed",
        }
    }
}

impl RightsFile {
    /// Reads the file for the first time. Blocks while it does.
    pub(super) fn read(path: impl Into<PathBuf>, limits: Limits) -> Result<Self, SecurityError> {
        let mut file = RightsFile {
            path: path.into(),
            version: None,
            looked: None,
            limits,
            identities: HashMap::new(),
            removed: HashMap::new(),
            numbers: 0,
            rights: Arc::default(),
        };
        file.read_again()?;
        Ok(file)
    }

    /// Reads the file anew. With a fault in it, all stays as it was.
    pub(super) fn read_again(&mut self) -> Result<(), SecurityError> {
        // Before it is read: a change meanwhile is a change.
        self.version = version(&self.path);
        self.looked = self.version;
        let entries = entries(&self.path, &content(&self.path)?)?;
        let mut identities = HashMap::new();
        let mut grants = Vec::new();
        for (grant, credentials) in entries {
            let grant = Arc::new(grant);
            for credential in credentials {
                let known = self.identities.get(&credential);
                let known = known.or_else(|| self.removed.get(&credential));
                let identity = known.copied().unwrap_or_else(|| {
                    self.numbers = self.numbers.saturating_add(1);
                    Identity::new(self.numbers)
                });
                grants.push((identity, Arc::clone(&grant)));
                identities.insert(credential, identity);
            }
        }
        self.removed.extend(std::mem::replace(&mut self.identities, identities));
        self.removed.retain(|credential, _| !self.identities.contains_key(credential));
        self.forget_removed(REMOVED_MAX);
        self.rights = Arc::new(Rights::new(grants, self.limits));
        Ok(())
    }

    /// Forgets the oldest of those that were removed, above `max`.
    fn forget_removed(&mut self, max: usize) {
        let too_many = self.removed.len().saturating_sub(max);
        let mut numbers: Vec<_> = self.removed.values().copied().collect();
        numbers.sort_unstable();
        let oldest = numbers.get(too_many).copied().unwrap_or(Identity::UNKNOWN);
        self.removed.retain(|_, identity| *identity >= oldest);
    }

    /// Whether the file is another one than that which was read last, and was the same when
    /// this was asked before: one that is still being written may make sense, and lock
    /// everybody out. Blocks while it looks.
    pub(super) fn has_changed(&mut self) -> bool {
        let found = version(&self.path);
        let is_settled = std::mem::replace(&mut self.looked, found) == found;
        is_settled && self.version != found
    }

    /// What all may do.
    pub(super) fn rights(&self) -> Arc<Rights> {
        Arc::clone(&self.rights)
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// How many keys and passwords it has.
    pub(super) fn len(&self) -> usize {
        self.identities.len()
    }

    /// Who shows this.
    pub(super) fn identity(&self, proof: &Proof) -> Result<Identity, Refusal> {
        match proof {
            Proof::None => Ok(Identity::OPEN),
            Proof::Key(key) => {
                let identity = self.identities.get(&Credential::Key(*key)).copied();
                identity.ok_or(Refusal::UnknownKey)
            }
            Proof::Password { user, password } => {
                // All are looked at, each to its end: the time tells nothing of how much
                // of a password is right.
                let mut known = Err(Refusal::UnknownUser);
                for (credential, identity) in &self.identities {
                    let Credential::Password { user: name, password: right } = credential else {
                        continue;
                    };
                    if same(name.as_bytes(), user) {
                        let right = same(right.0.as_bytes(), password);
                        known = if right { Ok(*identity) } else { Err(Refusal::WrongPassword) };
                    }
                }
                known
            }
        }
    }
}

/// Whether they are equal, in a time that depends on their lengths alone.
fn same(a: &[u8], b: &[u8]) -> bool {
    let differences = a.iter().zip(b).fold(0, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(differences) == 0 && a.len() == b.len()
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    peer: Vec<Spanned<Peer>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Peer {
    name: Spanned<String>,
    #[serde(default)]
    public_key: Keys,
    password: Option<Spanned<WrittenPassword>>,
    #[serde(default)]
    client: Vec<Spanned<String>>,
    #[serde(default)]
    worker: Vec<Spanned<String>>,
    #[serde(default)]
    operator: bool,
}

/// One key, or a list of them.
#[derive(Default)]
struct Keys(Vec<String>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = || D::Error::custom("expected a public key, or a list of them");
        match Value::deserialize(deserializer)? {
            Value::String(key) => Ok(Keys(vec![key])),
            Value::Array(keys) => {
                let keys = keys.into_iter().map(|key| key.as_str().map(str::to_owned));
                keys.map(|key| key.ok_or_else(expected)).collect::<Result<_, _>>().map(Keys)
            }
            _ => Err(expected()),
        }
    }
}

/// Its errors do not say what was found.
struct WrittenPassword(String);

impl<'de> Deserialize<'de> for WrittenPassword {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(password) => Ok(WrittenPassword(password)),
            _ => Err(D::Error::custom("expected a text in quotes")),
        }
    }
}

/// What each entry grants, and to whom.
fn entries(path: &Path, content: &Content) -> Result<Vec<(Grant, Vec<Credential>)>, SecurityError> {
    let text = &content.text;
    let fault = |offset: usize, fault: String| {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        SecurityError::Invalid { path: path.to_owned(), fault: format!("line {line}: {fault}") }
    };
    let written: Written = toml::from_str(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        fault(offset, error.message().trim().replace('\n', ", "))
    })?;
    let mut names = BTreeMap::new();
    let mut keys = BTreeMap::new();
    let mut entries = Vec::new();
    for peer in written.peer {
        let at = peer.span().start;
        let Peer { name, public_key, password, client, worker, operator } = peer.into_inner();
        let (named_at, name) = (name.span().start, name.into_inner());
        if name.is_empty() || name.len() > PLAIN_BYTES_MAX || name.contains(char::is_control) {
            let rule = format!("name: expected 1 to {PLAIN_BYTES_MAX} bytes, none of control");
            return Err(fault(named_at, rule));
        }
        if names.insert(name.clone(), ()).is_some() {
            return Err(fault(named_at, format!("name: a second entry named {name:?}")));
        }
        let set = |field: &str, patterns: Vec<Spanned<String>>| {
            let mut set = Vec::new();
            for pattern in patterns {
                let offset = pattern.span().start;
                ServiceSet::new([pattern.get_ref()])
                    .map_err(|error| fault(offset, format!("{field} of {name:?}: {error}")))?;
                set.push(pattern.into_inner());
            }
            ServiceSet::new(set).map_err(|error| fault(at, format!("{field}: {error}")))
        };
        let grant = Grant {
            name: Arc::from(name.as_str()),
            client: set("client", client)?,
            worker: set("worker", worker)?,
            operator,
        };
        let mut credentials = Vec::new();
        for key in public_key.0 {
            let key: PublicKey = key
                .parse()
                .map_err(|error| fault(at, format!("public_key of {name:?}: {error}")))?;
            if let Some(other) = keys.insert(key, name.clone()) {
                let twice = format!("public_key of {name:?}: it is a key of {other:?} already");
                return Err(fault(at, twice));
            }
            credentials.push(Credential::Key(key));
        }
        if let Some(password) = password {
            content.must_be_private(path)?;
            let (offset, WrittenPassword(password)) =
                (password.span().start, password.into_inner());
            if password.is_empty() || password.len() > PLAIN_BYTES_MAX {
                let rule = format!("password of {name:?}: expected 1 to {PLAIN_BYTES_MAX} bytes");
                return Err(fault(offset, rule));
            }
            let (user, password) = (name.clone(), Password(password));
            credentials.push(Credential::Password { user, password });
        }
        if credentials.is_empty() {
            let rule = format!("{name:?} has neither a public_key nor a password");
            return Err(fault(at, rule));
        }
        entries.push((grant, credentials));
    }
    if content.mode & 0o002 != 0 {
        return Err(SecurityError::Invalid {
            path: path.to_owned(),
            fault: format!("everybody can write it, its mode is {:04o}", content.mode),
        });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use majordomo_protocol::ServiceName;

    use super::*;

    const KEY_A: &str = "HelloWorldHelloWorldHelloWorldHelloWorld";
    const KEY_B: &str = "0000000000000000000000000000000000000000";

    fn parse(text: &str, mode: u32) -> Result<Vec<(Grant, Vec<Credential>)>, String> {
        let content = Content { text: text.to_owned(), mode };
        entries(Path::new("rights.toml"), &content).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let error = parse(text, 0o600).expect_err(text);
        assert_eq!(error.trim_start_matches("rights.toml: "), expected, "for\n{text}");
    }

    #[test]
    fn an_entry_is_a_name_what_shows_it_and_what_it_may() {
        let text = format!(
            "[[peer]]\nname = \"billing\"\npublic_key = \"{KEY_A}\"\nclient = [\"invoice.*\"]\n\
             [[peer]]\nname = \"ops\"\npublic_key = [\"{KEY_B}\"]\npassword = \"s3cret\"\n\
             worker = [\"a\", \"b*\"]\noperator = true\n"
        );
        let entries = parse(&text, 0o600).expect("a rights file");
        let service = ServiceName::new("invoice.print").unwrap();
        assert_eq!(entries.len(), 2);
        assert!(entries[0].0.client.contains(&service) && !entries[0].0.worker.contains(&service));
        assert!(!entries[0].0.operator && entries[1].0.operator);
        assert_eq!((entries[0].1.len(), entries[1].1.len()), (1, 2));
        assert!(!format!("{entries:?}").contains("s3cret"));
        assert_eq!(parse("", 0o644).expect("an empty file").len(), 0);
    }

    #[test]
    fn faults_name_the_line_and_the_field_and_no_password() {
        let key = format!("public_key = \"{KEY_A}\"");
        check("peers = 1", "line 1: unknown field `peers`, expected `peer`");
        check("[[peer]]\nname = \"a\"\nx = 1", &{
            let fields = "`name`, `public_key`, `password`, `client`, `worker`, `operator`";
            format!("line 3: unknown field `x`, expected one of {fields}")
        });
        check("\n[[peer]]\npassword = \"x\"", "line 2: missing field `name`");
        check("[[peer]]\nname = \"a\"", "line 1: \"a\" has neither a public_key nor a password");
        check("[[peer]]\nname = \"\"\n", "line 2: name: expected 1 to 255 bytes, none of control");
        check(
            "[[peer]]\nname = \"a\"\npublic_key = \"x\"",
            "line 1: public_key of \"a\": a key has 40 characters, this has 1",
        );
        check(
            &format!("[[peer]]\nname = \"a\"\n{key}\n[[peer]]\nname = \"b\"\n{key}\n"),
            "line 4: public_key of \"b\": it is a key of \"a\" already",
        );
        check(
            &format!("[[peer]]\nname = \"a\"\n{key}\n[[peer]]\nname = \"a\"\npassword = \"x\"\n"),
            "line 5: name: a second entry named \"a\"",
        );
        check(
            &format!("[[peer]]\nname = \"a\"\n{key}\nclient = [\"b\",\n\"a*b\"]\n"),
            "line 5: client of \"a\": \"a*b\": expected the name of a service, or its beginning \
             and a *: it has a * before its end",
        );
        check("[[peer]]\nname = \"a\"\npassword = 12345", "line 3: expected a text in quotes");
        let faulty = "[[peer]]\nname = \"a\"\npassword = \"s3cret";
        assert!(!parse(faulty, 0o600).expect_err("no end").contains("s3cret"));
    }

    #[test]
    fn who_can_read_and_write_the_file_matters() {
        let password = "[[peer]]\nname = \"a\"\npassword = \"x\"";
        assert!(parse(password, 0o640).is_ok());
        let error = parse(password, 0o644).expect_err("passwords for all to read");
        assert!(error.contains("holds secrets, but its mode is 0644"), "{error}");
        let keys = format!("[[peer]]\nname = \"a\"\npublic_key = \"{KEY_A}\"");
        assert!(parse(&keys, 0o644).is_ok());
        let error = parse(&keys, 0o666).expect_err("everybody can write it");
        assert!(error.contains("everybody can write it, its mode is 0666"), "{error}");
    }

    fn private(path: &Path, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    #[test]
    fn a_key_keeps_its_number_when_it_is_removed_and_comes_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rights.toml");
        let entry = |name: &str, key: &str| {
            format!("[[peer]]\nname = \"{name}\"\npublic_key = \"{key}\"\nclient = [\"*\"]\n")
        };
        private(&path, &(entry("a", KEY_A) + &entry("b", KEY_B)));
        let mut file = RightsFile::read(&path, Limits::default()).unwrap();
        let show = |file: &RightsFile, key: &str| file.identity(&Proof::Key(key.parse().unwrap()));
        let (a, b) = (show(&file, KEY_A).unwrap(), show(&file, KEY_B).unwrap());
        assert!(a != b && a != Identity::OPEN && file.len() == 2);

        private(&path, &entry("renamed", KEY_A));
        file.read_again().unwrap();
        assert_eq!(show(&file, KEY_A), Ok(a));
        assert_eq!(&*file.rights().name(a), "renamed");
        assert_eq!(show(&file, KEY_B), Err(Refusal::UnknownKey));
        assert!(!file.rights().knows(b));

        // A bad file leaves all as it was, and is not read again and again.
        private(&path, "nonsense");
        // It may still be written when it is seen first.
        assert!(!file.has_changed() && file.has_changed());
        assert!(file.read_again().is_err() && !file.has_changed());
        assert_eq!(show(&file, KEY_A), Ok(a));

        private(&path, &(entry("b", KEY_B) + &entry("a", KEY_A)));
        file.read_again().unwrap();
        assert_eq!(show(&file, KEY_A), Ok(a));
        assert_eq!(show(&file, KEY_B), Ok(b));

        // Another key of the same name is somebody else.
        private(&path, &entry("a", KEY_B));
        file.read_again().unwrap();
        assert!(!file.rights().knows(a) && file.rights().knows(b));

        // What is forgotten is new when it comes back, and no number is given twice.
        file.forget_removed(0);
        private(&path, &(entry("b", KEY_B) + &entry("a", KEY_A)));
        file.read_again().unwrap();
        assert_eq!(show(&file, KEY_B), Ok(b));
        assert!(show(&file, KEY_A).is_ok_and(|again| again != a && again != b));
    }

    #[test]
    fn of_what_was_removed_the_oldest_is_forgotten_first() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rights.toml");
        let with = |passwords: &[&str]| {
            let entry = |word: &&str| format!("[[peer]]\nname = {word:?}\npassword = {word:?}\n");
            private(&path, &passwords.iter().map(entry).collect::<String>());
        };
        let number = |file: &RightsFile, word: &str| {
            let proof = Proof::Password { user: word.into(), password: word.into() };
            file.identity(&proof).unwrap().number()
        };
        with(&["one", "two", "three"]);
        let mut file = RightsFile::read(&path, Limits::default()).unwrap();
        let numbers = ["one", "two", "three"].map(|word| number(&file, word));
        assert_eq!(numbers, [1, 2, 3]);
        with(&[]);
        file.read_again().unwrap();
        assert_eq!(file.removed.len(), 3);
        file.forget_removed(3);
        assert_eq!(file.removed.len(), 3);
        file.forget_removed(2);
        with(&["one", "two", "three"]);
        file.read_again().unwrap();
        assert_eq!(["one", "two", "three"].map(|word| number(&file, word)), [4, 2, 3]);
        assert!(file.removed.is_empty());
    }

    #[test]
    fn a_password_is_right_or_wrong_as_a_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rights.toml");
        private(&path, "[[peer]]\nname = \"a\"\npassword = \"right\"\n");
        let file = RightsFile::read(&path, Limits::default()).unwrap();
        let show = |user: &str, password: &str| {
            let (user, password) = (user.into(), password.into());
            file.identity(&Proof::Password { user, password })
        };
        assert!(show("a", "right").is_ok());
        for wrong in ["", "righ", "right2", "Right"] {
            assert_eq!(show("a", wrong), Err(Refusal::WrongPassword), "{wrong:?}");
        }
        assert_eq!(show("b", "right"), Err(Refusal::UnknownUser));
        assert_eq!(file.identity(&Proof::None), Ok(Identity::OPEN));
    }
}
