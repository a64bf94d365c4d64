//! What can be wrong with a configuration, and where the fault stands.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::render::per_service;
use crate::per_service::InvalidPattern;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// The line of the key, from 1.
        line: usize,
    },
    /// An environment variable, by its name.
    Variable(String),
    /// A flag, without its dashes.
    Flag(String),
    /// The program that embeds the broker.
    Program,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Variable(name) => write!(f, "environment variable {name}"),
            Origin::Flag(name) => write!(f, "flag --{name}"),
            Origin::Program => f.write_str("set by the program"),
        }
    }
}

/// A configuration that cannot be. The fault is always the one's who wrote it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is no such key. Remove or correct it.
    #[error("{origin}: unknown key {}{}", key.escape_debug(), suggestion(*nearest))]
    UnknownKey {
        /// Where it stands.
        origin: Origin,
        /// What was written.
        key: String,
        /// The key that may have been meant.
        nearest: Option<&'static str>,
    },
    /// A key has a value that it does not take. Give it another.
    #[error("{origin}: {key} = {found}: {rule}")]
    Value {
        /// Where it stands.
        origin: Origin,
        /// The key.
        key: &'static str,
        /// What was written.
        found: String,
        /// What was expected.
        rule: String,
    },
    /// A table of a file says something of services that are none. Correct its name.
    #[error("{origin}: [service.{services:?}]")]
    Services {
        /// Where it stands.
        origin: Origin,
        /// What was written.
        services: String,
        /// What is wrong with it.
        source: InvalidPattern,
    },
    /// A key that holds for all services, or none at all, is set for some. Remove it there.
    #[error(
        "{origin}: [service.{services:?}] takes {}, found {} (a name with dots stands in quotes)",
        per_service().join(", "), key.escape_debug()
    )]
    NotPerService {
        /// Where it stands.
        origin: Origin,
        /// The services it is set for.
        services: String,
        /// What was written.
        key: String,
    },
    /// Two values, each of them possible, cannot both be. Change one.
    #[error(
        "{key} = {value} ({origin}) is more than {bound} = {bound_value} ({bound_origin}): \
         {key} must be at most {bound}"
    )]
    Contradiction {
        /// The key that is too high.
        key: &'static str,
        /// Its value.
        value: u64,
        /// Where it stands.
        origin: Origin,
        /// The key that bounds it.
        bound: &'static str,
        /// The value of that.
        bound_value: u64,
        /// Where that stands.
        bound_origin: Origin,
    },
    /// The keys of security do not go together, or an endpoint is open to other machines.
    /// Do as the reason says.
    #[error("{origin}: {key}: {reason}")]
    Insecure {
        /// Where the key stands.
        origin: Origin,
        /// The key.
        key: &'static str,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A file cannot be read. Correct its path or its rights.
    #[error("{}: cannot read the configuration file", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is no TOML. Correct it.
    #[error("{origin}: {message}")]
    Syntax {
        /// Where.
        origin: Origin,
        /// What the TOML parser said.
        message: String,
    },
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map(|key| format!("; did you mean {key}?")).unwrap_or_default()
}
