//! Who may do what: what the rights file says, as the engine goes by it.
//!
//! A connection has an identity, which the transport vouches for, never a frame. Here is
//! nothing of keys and passwords: what the identities stand for is the business of
//! whoever authenticates them. Which rights there are changes while a broker runs; a
//! value of [`Rights`] does not.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use foldhash::{HashMap, HashSet};
use majordomo_protocol::ServiceName;

use crate::per_service::{InvalidPattern, ServicePattern};

/// Whose connection it is: the number of one key or password, and never of another. One
/// that was withdrawn is unknown, until the very same is granted something again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity(u32);

impl Identity {
    /// Somebody on an endpoint without authentication, who may do everything.
    pub const OPEN: Identity = Identity(0);

    /// Somebody whom no rights file knows.
    pub const UNKNOWN: Identity = Identity(u32::MAX);

    /// The identity of this number; 0 is [`Identity::OPEN`].
    pub fn new(number: u32) -> Self {
        Identity(number)
    }

    /// Its number.
    pub fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What one entry of the rights file grants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// Who it is, for people.
    pub name: Arc<str>,
    /// The services it may call.
    pub client: ServiceSet,
    /// The services it may serve.
    pub worker: ServiceSet,
    /// Whether it may ask for the state of the broker.
    pub operator: bool,
}

/// Services, by name or by the beginning of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceSet {
    names: HashSet<ServiceName>,
    beginnings: Vec<String>,
}

impl ServiceSet {
    /// The services that these patterns name: each a whole name, or the beginning of
    /// names with a `*` behind it. `*` alone is every service.
    ///
    /// # Errors
    ///
    /// [`InvalidServices`] for a pattern that can match no service of a worker.
    pub fn new<S: AsRef<str>>(
        patterns: impl IntoIterator<Item = S>,
    ) -> Result<Self, InvalidServices> {
        let mut set = ServiceSet::default();
        for pattern in patterns {
            match pattern.as_ref() {
                "*" => set.beginnings.push(String::new()),
                pattern => match pattern.parse() {
                    Ok(ServicePattern::Name(name)) => drop(set.names.insert(name)),
                    Ok(ServicePattern::Beginning(name)) => set.beginnings.push(name.to_string()),
                    Err(source) => {
                        return Err(InvalidServices { found: pattern.to_owned(), source });
                    }
                },
            }
        }
        Ok(set)
    }

    /// Whether this service is among them.
    pub fn contains(&self, service: &ServiceName) -> bool {
        self.names.contains(service)
            || self.beginnings.iter().any(|begin| service.as_str().starts_with(begin.as_str()))
    }
}

/// What was to stand for services stands for none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?}: {source}")]
pub struct InvalidServices {
    /// What was written.
    pub found: String,
    /// What is wrong with it.
    pub source: InvalidPattern,
}

/// How much every identity may have under way, and get wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests waiting or running.
    pub requests_max: usize,
    /// Workers, and clients with a request waiting or running.
    pub peers_max: usize,
    /// Connections, also those that say nothing.
    pub connections_max: usize,
    /// Invalid messages in a row, before nothing it says is heard.
    pub invalid_max: u32,
    /// After how long one invalid message is forgiven.
    pub invalid_recovery: Duration,
}

impl Default for Limits {
    /// No limits.
    fn default() -> Self {
        Limits {
            requests_max: usize::MAX,
            peers_max: usize::MAX,
            connections_max: usize::MAX,
            invalid_max: u32::MAX,
            invalid_recovery: Duration::ZERO,
        }
    }
}

/// What every identity may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    grants: HashMap<Identity, Arc<Grant>>,
    limits: Limits,
}

impl Rights {
    /// The rights of these identities; no other may do anything, but for
    /// [`Identity::OPEN`].
    pub fn new(grants: impl IntoIterator<Item = (Identity, Arc<Grant>)>, limits: Limits) -> Self {
        Rights { grants: grants.into_iter().collect(), limits }
    }

    /// What holds for each of them.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Whether it may do anything at all.
    pub fn knows(&self, identity: Identity) -> bool {
        identity == Identity::OPEN || self.grants.contains_key(&identity)
    }

    /// Whether it may call this service.
    pub fn may_call(&self, identity: Identity, service: &ServiceName) -> bool {
        self.grants(identity, |grant| grant.client.contains(service))
    }

    /// Whether it may serve this service.
    pub fn may_serve(&self, identity: Identity, service: &ServiceName) -> bool {
        self.grants(identity, |grant| grant.worker.contains(service))
    }

    /// Whether it may ask for the state of the broker.
    pub fn may_operate(&self, identity: Identity) -> bool {
        self.grants(identity, |grant| grant.operator)
    }

    /// Whose identity it is, for people.
    pub fn name(&self, identity: Identity) -> Arc<str> {
        match self.grants.get(&identity) {
            Some(grant) => Arc::clone(&grant.name),
            None if identity == Identity::OPEN => Arc::from("anybody"),
            None => Arc::from("somebody whose key was removed"),
        }
    }

    fn grants(&self, identity: Identity, asked: impl FnOnce(&Grant) -> bool) -> bool {
        identity == Identity::OPEN || self.grants.get(&identity).is_some_and(|grant| asked(grant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(patterns: &[&str], service: &str) -> bool {
        let service = ServiceName::new(service).expect("a name");
        ServiceSet::new(patterns).expect("patterns").contains(&service)
    }

    #[test]
    fn a_pattern_is_a_name_or_its_beginning() {
        assert!(contains(&["echo"], "echo"));
        assert!(!contains(&["echo"], "echo2") && !contains(&["echo"], "Echo"));
        assert!(contains(&["a", "invoice.*"], "invoice.print"));
        assert!(contains(&["invoice.*"], "invoice."));
        assert!(!contains(&["invoice.*"], "invoice"));
        assert!(contains(&["*"], "anything") && !contains(&[], "anything"));
    }

    #[test]
    fn what_matches_no_service_of_a_worker_is_refused() {
        for pattern in ["", "a*b", "**", "a\n", "mmi.broker", "mmi.*"] {
            let error = ServiceSet::new([pattern]).expect_err(pattern);
            assert_eq!(error.found, pattern);
            assert!(error.to_string().starts_with(&format!("{pattern:?}: ")), "{error}");
        }
    }

    #[test]
    fn only_an_open_endpoint_needs_no_grant() {
        let service = ServiceName::new("a").expect("a name");
        let grant = Grant {
            name: "x".into(),
            client: ServiceSet::new(["*"]).expect("a pattern"),
            ..Grant::default()
        };
        let (x, stranger) = (Identity::new(1), Identity::new(2));
        let rights = Rights::new([(x, Arc::new(grant))], Limits::default());
        assert!(rights.may_call(x, &service) && !rights.may_serve(x, &service));
        assert!(!rights.may_operate(x) && !rights.knows(stranger));
        assert!(!rights.may_call(stranger, &service));
        assert!(rights.may_serve(Identity::OPEN, &service) && rights.may_operate(Identity::OPEN));
    }
}
