//! The text of a rights file as entries: what each grants, and to whom.
//!
//! docs/security.md has the format. Here is no file, and nothing of who is connected.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use majordomo_protocol::PublicKey;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use toml::{Spanned, Value};

use super::password::Password;
use crate::engine::{Grant, ServiceSet};

/// The most bytes that PLAIN can carry of a user or a password.
const PLAIN_BYTES_MAX: usize = 255;

/// What one `[[peer]]` says.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it may do.
    pub grant: Grant,
    /// By what it shows who it is: at least one.
    pub credentials: Vec<Credential>,
}

/// By what somebody shows who it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Credential {
    /// The secret half of this key.
    Key(PublicKey),
    /// A user with a password.
    Password {
        /// The user.
        user: String,
        /// What only they know.
        password: Password,
    },
}

/// A text that is no rights file. It has no password in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct InvalidRights {
    line: usize,
    fault: String,
}

impl InvalidRights {
    /// Where it is at fault, from 1.
    pub fn line(&self) -> usize {
        self.line
    }
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
struct WrittenPassword(Password);

impl<'de> Deserialize<'de> for WrittenPassword {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(password) => Ok(WrittenPassword(Password::new(password))),
            _ => Err(D::Error::custom("expected a text in quotes")),
        }
    }
}

/// What the entries of such a text are, in its order.
///
/// # Errors
///
/// [`InvalidRights`] names the first line that is at fault.
pub fn entries(text: &str) -> Result<Vec<Entry>, InvalidRights> {
    let fault = |offset: usize, fault: String| {
        let before = text.get(..offset).unwrap_or(text);
        InvalidRights { line: before.matches('\n').count() + 1, fault }
    };
    let written: Written = toml::from_str(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        fault(offset, error.message().trim().replace('\n', ", "))
    })?;
    let mut names = BTreeSet::new();
    let mut keys = HashMap::new();
    let mut entries = Vec::new();
    for peer in written.peer {
        let at = peer.span().start;
        let Peer { name, public_key, password, client, worker, operator } = peer.into_inner();
        let (named_at, name) = (name.span().start, name.into_inner());
        if name.is_empty() || name.len() > PLAIN_BYTES_MAX || name.contains(char::is_control) {
            let rule = format!("name: expected 1 to {PLAIN_BYTES_MAX} bytes, none of control");
            return Err(fault(named_at, rule));
        }
        if !names.insert(name.clone()) {
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
            let (offset, WrittenPassword(password)) =
                (password.span().start, password.into_inner());
            if !(1..=PLAIN_BYTES_MAX).contains(&password.len()) {
                let rule = format!("password of {name:?}: expected 1 to {PLAIN_BYTES_MAX} bytes");
                return Err(fault(offset, rule));
            }
            let user = name.clone();
            credentials.push(Credential::Password { user, password });
        }
        if credentials.is_empty() {
            let rule = format!("{name:?} has neither a public_key nor a password");
            return Err(fault(at, rule));
        }
        entries.push(Entry { grant, credentials });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use majordomo_protocol::ServiceName;

    use super::*;

    const KEY_A: &str = "HelloWorldHelloWorldHelloWorldHelloWorld";
    const KEY_B: &str = "0000000000000000000000000000000000000000";

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let error = entries(text).expect_err(text).to_string();
        assert_eq!(error, expected, "for\n{text}");
    }

    #[test]
    fn an_entry_is_a_name_what_shows_it_and_what_it_may() {
        let text = format!(
            "[[peer]]\nname = \"billing\"\npublic_key = \"{KEY_A}\"\nclient = [\"invoice.*\"]\n\
             [[peer]]\nname = \"ops\"\npublic_key = [\"{KEY_B}\"]\npassword = \"s3cret\"\n\
             worker = [\"a\", \"b*\"]\noperator = true\n"
        );
        let found = entries(&text).expect("a rights file");
        let service = ServiceName::new("invoice.print").unwrap();
        assert_eq!(found.len(), 2);
        let [a, b] = [&found[0].grant, &found[1].grant];
        assert!(a.client.contains(&service) && !a.worker.contains(&service));
        assert!(!a.operator && b.operator);
        assert_eq!((found[0].credentials.len(), found[1].credentials.len()), (1, 2));
        assert!(!format!("{found:?}").contains("s3cret"));
        assert_eq!(entries("").expect("an empty file").len(), 0);
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
        assert!(!entries(faulty).expect_err("no end").to_string().contains("s3cret"));
    }
}
