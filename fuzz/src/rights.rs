//! Rights files.
//!
//! A text is taken just when each entry is what docs/security.md says, read here from plain
//! TOML. Then whoever shows the key or password of an entry may do what the entry says, and
//! nothing else; without the entry, nothing, and all of it when it is back. A refusal stands
//! on one line and names a line of the text, and no password.

use std::collections::BTreeSet;

use majordomo_broker::engine::{Identity, Limits, Rights, ServiceSet};
use majordomo_broker::security::Password;
use majordomo_broker::security::rights_text::entries;
use majordomo_broker::security::roster::{Refusal, Roster};
use majordomo_broker::security::zap::Proof;
use majordomo_protocol::{PublicKey, ServiceName};
use toml::{Table, Value};

use crate::Target;

/// Rights files.
pub const TARGET: Target =
    Target { name: "rights", run, show: |data| String::from_utf8_lossy(data).into_owned() };

/// What an entry says, read without the broker's types.
struct Peer<'a> {
    name: &'a str,
    keys: Vec<&'a str>,
    password: Option<&'a str>,
    client: Vec<&'a str>,
    worker: Vec<&'a str>,
    operator: bool,
}

fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let table: Option<Table> = text.parse().ok();
    let peers = table.as_ref().and_then(peers);
    let found = match entries(&text) {
        Ok(entries) => entries,
        Err(error) => {
            assert!(peers.is_none(), "{error} of\n{text}");
            return refused(&text, error.line(), &error.to_string());
        }
    };
    let peers = peers.unwrap_or_else(|| panic!("it is taken:\n{text}"));
    assert_eq!(found.len(), peers.len());
    let mut roster = Roster::new(Limits::default());
    roster.replace(found.clone());
    let numbers: Vec<Vec<Identity>> = peers.iter().map(|peer| known(&roster, peer)).collect();
    let distinct: BTreeSet<Identity> = numbers.iter().flatten().copied().collect();
    assert_eq!(distinct.len(), numbers.iter().map(Vec::len).sum::<usize>(), "two are one");
    assert!(!distinct.contains(&Identity::OPEN));
    for (peer, identities) in peers.iter().zip(&numbers) {
        for identity in identities {
            check(&roster.rights(), *identity, peer);
        }
    }
    let taken = roster.rights();
    // All are gone, and come back.
    roster.replace(Vec::new());
    assert!(distinct.iter().all(|identity| !roster.rights().knows(*identity)));
    roster.replace(found);
    assert_eq!(roster.rights(), taken);
}

/// All entries; `None` if any is wrong.
fn peers(table: &Table) -> Option<Vec<Peer<'_>>> {
    if table.keys().any(|key| key != "peer") {
        return None;
    }
    let Some(list) = table.get("peer") else { return Some(Vec::new()) };
    let peers: Vec<Peer<'_>> = list.as_array()?.iter().map(peer).collect::<Option<_>>()?;
    let names: BTreeSet<&str> = peers.iter().map(|peer| peer.name).collect();
    let keys: Vec<&str> = peers.iter().flat_map(|peer| peer.keys.iter().copied()).collect();
    let distinct: BTreeSet<&&str> = keys.iter().collect();
    (names.len() == peers.len() && distinct.len() == keys.len()).then_some(peers)
}

fn peer(value: &Value) -> Option<Peer<'_>> {
    const FIELDS: [&str; 6] = ["name", "public_key", "password", "client", "worker", "operator"];
    let table = value.as_table()?;
    if table.keys().any(|key| !FIELDS.contains(&key.as_str())) {
        return None;
    }
    let fits = |text: &&str| (1..=255).contains(&text.len());
    let patterns = |field| -> Option<Vec<&str>> {
        let Some(list) = table.get(field) else { return Some(Vec::new()) };
        let texts: Vec<&str> = list.as_array()?.iter().map(Value::as_str).collect::<Option<_>>()?;
        ServiceSet::new(&texts).is_ok().then_some(texts)
    };
    let keys = match table.get("public_key") {
        None => Vec::new(),
        Some(Value::Array(keys)) => keys.iter().map(Value::as_str).collect::<Option<_>>()?,
        Some(key) => vec![key.as_str()?],
    };
    let password = match table.get("password") {
        None => None,
        Some(password) => Some(password.as_str().filter(fits)?),
    };
    let operator = table.get("operator").map_or(Some(false), Value::as_bool)?;
    let name = table.get("name")?.as_str().filter(fits)?;
    let is_one = keys.iter().all(|key| key.parse::<PublicKey>().is_ok())
        && (password.is_some() || !keys.is_empty())
        && !name.contains(char::is_control);
    let (client, worker) = (patterns("client")?, patterns("worker")?);
    is_one.then_some(Peer { name, keys, password, client, worker, operator })
}

/// The identities of all that it may show.
fn known(roster: &Roster, peer: &Peer<'_>) -> Vec<Identity> {
    let shows = |password: &[u8]| {
        let (user, password) = (peer.name.into(), Password::new(password));
        roster.identity(&Proof::Password { user, password })
    };
    let keys = peer.keys.iter().map(|key| key.parse().expect("a key"));
    let mut identities: Vec<Identity> =
        keys.map(|key| roster.identity(&Proof::Key(key)).expect("it has this key")).collect();
    match peer.password.map(str::as_bytes) {
        Some(password) => {
            identities.push(shows(password).expect("it has this password"));
            let wrong = [[password, b"x"].concat(), password[..password.len() - 1].to_owned()];
            assert!(wrong.iter().all(|wrong| shows(wrong) == Err(Refusal::WrongPassword)));
        }
        None => assert_eq!(shows(b"x"), Err(Refusal::UnknownUser)),
    }
    identities
}

/// That it may do what the entry says, and no more.
fn check(rights: &Rights, identity: Identity, peer: &Peer<'_>) {
    assert!(rights.knows(identity) && *rights.name(identity) == *peer.name);
    assert_eq!(rights.may_operate(identity), peer.operator);
    let mut names = vec!["a".to_owned(), "echo".to_owned()];
    for pattern in peer.client.iter().chain(&peer.worker) {
        let begin = pattern.strip_suffix('*').unwrap_or(pattern);
        names.extend([begin.to_owned(), format!("{begin}x")]);
        names.extend(begin.char_indices().next_back().map(|(at, _)| begin[..at].to_owned()));
    }
    for name in names.iter().filter_map(|name| ServiceName::new(name).ok()) {
        let among = |patterns: &[&str]| {
            patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(begin) => name.as_str().starts_with(begin),
                None => name.as_str() == *pattern,
            })
        };
        assert_eq!(rights.may_call(identity, &name), among(&peer.client), "{name}");
        assert_eq!(rights.may_serve(identity, &name), among(&peer.worker), "{name}");
    }
}

fn refused(text: &str, line: usize, error: &str) {
    assert!((1..=text.matches('\n').count() + 1).contains(&line), "{error}");
    assert!(error.starts_with(&format!("line {line}: ")), "{error}");
    assert!(!error.contains('\n'), "more than a line: {error:?}");
    // Passwords of the corpus, where they are nothing but passwords.
    const PASSWORD: &str = "password = \"s3cret";
    let lines = text.lines().filter(|line| line.contains("s3cret"));
    let is_password =
        |line: &str| line.starts_with(PASSWORD) && line.matches("s3cret").count() == 1;
    if !text.contains("\"\"\"") && !text.contains("'''") && lines.into_iter().all(is_password) {
        assert!(!error.contains("s3cret"), "{error}");
    }
}
