//! Layers of values, each over the ones before, until a [`Config`] comes of them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use toml::{Spanned, Value};

use super::error::{ConfigError, Origin};
use super::keys::{self, Key, VARIABLE_PREFIX};
use super::{Config, KEYS, render};
use crate::per_service::ServicePattern;

/// Takes values key by key. A value replaces what was set before for that key, a list
/// as a whole. The first fault is kept and told by [`ConfigBuilder::build`].
///
/// The broker's process reads defaults, then a file, then the environment, then
/// flags. A program that embeds a broker takes what it wants of that.
#[derive(Debug, Default)]
pub struct ConfigBuilder {
    config: Config,
    /// Where each key that is not at its default was set.
    origins: BTreeMap<&'static str, Origin>,
    error: Option<ConfigError>,
}

impl ConfigBuilder {
    /// Reads a TOML file of keys and values, and below `[service."NAME"]` of keys that are
    /// another for some services. Blocks while it reads.
    #[must_use]
    pub fn file(mut self, path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        match std::fs::read_to_string(path) {
            Ok(text) => self.toml(path, &text),
            Err(source) => {
                self.fail(ConfigError::Unreadable { path: path.to_owned(), source });
                self
            }
        }
    }

    /// Reads keys and values from TOML text. Errors name `path`.
    #[must_use]
    pub fn toml(mut self, path: impl Into<PathBuf>, text: &str) -> Self {
        let path = path.into();
        let origin = |offset: usize| {
            let before = text.get(..offset).unwrap_or(text);
            Origin::File { path: path.clone(), line: before.matches('\n').count() + 1 }
        };
        match toml::from_str::<Table>(text) {
            Ok(table) => {
                for (key, value) in in_order(table).filter(|(key, _)| key.get_ref() != SERVICE) {
                    self.put(key.get_ref(), &value, origin(key.span().start));
                }
            }
            Err(error) => self.fail(syntax(&error, origin)),
        }
        match toml::from_str::<ServiceTables>(text) {
            Ok(tables) => {
                for (services, table) in in_order(tables.service) {
                    let at = origin(services.span().start);
                    let Some(services) = self.pattern(services.get_ref(), at) else { continue };
                    for (key, value) in in_order(table) {
                        let at = origin(key.span().start);
                        self.put_for(&services, key.get_ref(), &value, at);
                    }
                }
            }
            Err(error) => self.fail(syntax(&error, origin)),
        }
        self
    }

    /// Reads the environment variables that begin with [`VARIABLE_PREFIX`], and no
    /// others. Values of a list are separated by commas.
    #[must_use]
    pub fn environment<K, V>(mut self, variables: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: Into<OsString>,
        V: Into<OsString>,
    {
        for (name, value) in variables {
            let Ok(name) = name.into().into_string() else { continue };
            let Some(key) = name.strip_prefix(VARIABLE_PREFIX) else { continue };
            if is_service_link(key) {
                continue;
            }
            let key = key.to_lowercase();
            // What is not UTF-8 is no value of any key, and shows in the error.
            let value = value.into().to_string_lossy().into_owned();
            let value = Key::find(&key).map_or(Value::String(value.clone()), |k| k.read(&value));
            self.put(&key, &value, Origin::Variable(name));
        }
        self
    }

    /// Sets a key to a value of the type that a file has for it: a number, a text, a
    /// truth, a list of texts.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.put(key, &value.into(), Origin::Program);
        self
    }

    /// Sets a key for some services alone: the one of this name, or those whose names begin
    /// with what stands before a `*` at its end. As `[service."NAME"]` in a file.
    ///
    /// ```
    /// use majordomo_broker::config::Config;
    /// use majordomo_protocol::ServiceName;
    ///
    /// let config = Config::builder().set_for("image.*", "prefetch", 4).build()?;
    /// let of = |name| ServiceName::new(name).map(|name| *config.prefetch().of(&name));
    /// assert_eq!((of("image.scale")?, of("mail")?), (4, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn set_for(mut self, services: &str, key: &str, value: impl Into<Value>) -> Self {
        if let Some(services) = self.pattern(services, Origin::Program) {
            self.put_for(&services, key, &value.into(), Origin::Program);
        }
        self
    }

    /// Listens on `endpoint`, and on those of earlier calls of this method; what other
    /// layers said of endpoints is replaced.
    #[must_use]
    pub fn bind(self, endpoint: impl AsRef<str>) -> Self {
        let mut endpoints: Vec<String> = Vec::new();
        if self.origins.get("bind") == Some(&Origin::Program) {
            endpoints.extend(self.config.bind.iter().map(|bound| bound.as_str().to_owned()));
        }
        endpoints.push(endpoint.as_ref().to_owned());
        self.set("bind", endpoints)
    }

    /// Takes the texts given with the flag of `key`; several only for a list.
    #[must_use]
    pub(crate) fn flag<'a>(
        mut self,
        key: &'static Key,
        texts: impl Iterator<Item = &'a str>,
    ) -> Self {
        let value = match key.is_list() {
            true => keys::list(texts),
            false => texts.last().map_or(Value::String(String::new()), |text| key.read(text)),
        };
        self.put(key.name(), &value, Origin::Flag(key.flag()));
        self
    }

    /// The configuration.
    ///
    /// # Errors
    ///
    /// The first fault of the values given, or else a contradiction between them. A
    /// default above a bound that was given is lowered to it.
    pub fn build(mut self) -> Result<Config, ConfigError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        for key in KEYS {
            let Some(bound) = key.at_most().and_then(Key::find) else { continue };
            let (value, bound_value) =
                (key.number(&mut self.config), bound.number(&mut self.config));
            if value > bound_value && !self.origins.contains_key(key.name()) {
                // A default gives way: only what somebody said can contradict.
                let lowered = Value::Integer(i64::try_from(bound_value).unwrap_or(i64::MAX));
                self.put(key.name(), &lowered, Origin::Default);
            } else if value > bound_value {
                let origin =
                    |key: &Key| self.origins.get(key.name()).cloned().unwrap_or(Origin::Default);
                return Err(ConfigError::Contradiction {
                    key: key.name(),
                    value,
                    origin: origin(key),
                    bound: bound.name(),
                    bound_value,
                    bound_origin: origin(bound),
                });
            }
        }
        if let Some(error) = self.error {
            return Err(error);
        }
        let origins = &self.origins;
        let origin = |key| origins.get(key).cloned().unwrap_or(Origin::Default);
        match self.config.check_security(!origins.contains_key("bind")) {
            Ok(()) => Ok(self.config),
            Err(refused) => Err(refused.into_error(origin)),
        }
    }

    fn put(&mut self, name: &str, value: &Value, origin: Origin) {
        let Some(key) = Key::find(name) else {
            let nearest = nearest(name);
            return self.fail(ConfigError::UnknownKey { origin, key: name.to_owned(), nearest });
        };
        match key.put(&mut self.config, value) {
            Ok(()) => {
                self.origins.insert(key.name(), origin);
            }
            Err(rule) => {
                let found = render::on_a_line(value);
                self.fail(ConfigError::Value { origin, key: key.name(), found, rule });
            }
        }
    }

    fn pattern(&mut self, services: &str, origin: Origin) -> Option<ServicePattern> {
        let fault =
            |source| ConfigError::Services { origin, services: services.to_owned(), source };
        services.parse().map_err(|error| self.fail(fault(error))).ok()
    }

    fn put_for(&mut self, services: &ServicePattern, name: &str, value: &Value, origin: Origin) {
        let Some(key) = Key::find(name).filter(|key| key.is_per_service()) else {
            let (services, key) = (services.to_string(), name.to_owned());
            return self.fail(ConfigError::NotPerService { origin, services, key });
        };
        if let Err(rule) = key.put_for(services.clone(), &mut self.config, value) {
            let found = render::on_a_line(value);
            self.fail(ConfigError::Value { origin, key: key.name(), found, rule });
        }
    }

    fn fail(&mut self, error: ConfigError) {
        self.error.get_or_insert(error);
    }
}

/// What a file holds, with the places of its keys.
type Table = BTreeMap<Spanned<String>, Value>;

/// The key of a file below which there is a table for each service with settings of its
/// own.
const SERVICE: &str = "service";

/// These tables alone. Read apart, since a [`Value`] does not know where its keys stand.
#[derive(serde::Deserialize)]
struct ServiceTables {
    #[serde(default)]
    service: BTreeMap<Spanned<String>, Table>,
}

/// The entries in the order of the file, so that its first fault is told first.
fn in_order<V>(table: BTreeMap<Spanned<String>, V>) -> impl Iterator<Item = (Spanned<String>, V)> {
    let mut entries: Vec<_> = table.into_iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries.into_iter()
}

fn syntax(error: &toml::de::Error, origin: impl Fn(usize) -> Origin) -> ConfigError {
    ConfigError::Syntax {
        origin: origin(error.span().map_or(0, |span| span.start)),
        message: error.message().trim().replace('\n', ", "),
    }
}

/// Whether Kubernetes made the variable, as it does in every pod beside a Service
/// named `majordomo-broker`: `…_SERVICE_HOST`, `…_SERVICE_PORT…`, `…_PORT…`.
fn is_service_link(key: &str) -> bool {
    key == "PORT" || ["SERVICE_HOST", "SERVICE_PORT", "PORT_"].iter().any(|p| key.starts_with(p))
}

/// The key most like `name`, unless more than half of it would have to change.
fn nearest(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase().replace('-', "_");
    let changes = |key: &Key| distance(&name, key.name());
    KEYS.iter()
        .min_by_key(|key| changes(key))
        .filter(|key| changes(key) * 2 <= key.name().len())
        .map(Key::name)
}

/// How many characters must be added, removed or replaced to make `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut left = i + 1;
        let mut next = vec![left];
        for (pair, to) in row.windows(2).zip(&b) {
            let (diagonal, above) = (pair[0], pair[1]);
            left = (diagonal + usize::from(from != *to)).min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
