//! What a key is: a name, the values it takes, and the field they are kept in.
//!
//! How values are read, checked and printed depends on the kind of a key alone. The
//! keys themselves are in the table.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use toml::Value;

use super::{Config, KEYS};
use crate::per_service::{PerService, ServicePattern};
use majordomo_protocol::{Endpoint, InvalidEndpoint};

/// What every environment variable of the broker begins with.
pub const VARIABLE_PREFIX: &str = "MAJORDOMO_BROKER_";

/// One knob of the broker: its name and all there is to say about it.
#[derive(Debug)]
pub struct Key {
    pub(super) name: &'static str,
    pub(super) heading: &'static str,
    pub(super) kind: Kind,
    pub(super) about: &'static str,
    pub(super) reason: &'static str,
}

/// What values a key takes, its default, and where its value is kept.
#[derive(Debug)]
pub(super) enum Kind {
    /// A whole number.
    Number {
        unit: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
        /// The key whose number this one may not exceed.
        at_most: Option<&'static str>,
        field: fn(&mut Config) -> &mut u64,
    },
    /// A whole number, which may be another for some services.
    PerService {
        unit: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
        field: fn(&mut Config) -> &mut PerService<u64>,
    },
    /// Yes or no; the default is no.
    Switch { field: fn(&mut Config) -> &mut bool },
    /// A text that `accepts` accepts.
    Text {
        default: &'static str,
        rule: &'static str,
        accepts: fn(&str) -> bool,
        field: fn(&mut Config) -> &mut String,
    },
    /// A list of endpoints.
    Endpoints { default: &'static [&'static str], field: fn(&mut Config) -> &mut Vec<Endpoint> },
}

impl Key {
    /// The key of this name, if there is one.
    pub fn find(name: &str) -> Option<&'static Key> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// The key as a configuration file has it, such as `heartbeat_interval_ms`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The flag without its dashes, such as `heartbeat-interval-ms`.
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// The environment variable, such as `MAJORDOMO_BROKER_HEARTBEAT_INTERVAL_MS`.
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.name.to_uppercase())
    }

    /// What the key belongs to, such as `Heartbeats`.
    pub fn heading(&self) -> &'static str {
        self.heading
    }

    /// What it is, in a line.
    pub fn about(&self) -> &'static str {
        self.about
    }

    /// What happens at the bound, or why one would change it, in a line.
    pub fn reason(&self) -> &'static str {
        self.reason
    }

    /// The values it takes, in words: `10 to 3600000 ms`.
    pub fn rule(&self) -> String {
        match &self.kind {
            Kind::Number { unit, range, at_most, .. } => {
                let bound = at_most.map(|key| format!(", at most {key}")).unwrap_or_default();
                format!("{} to {} {unit}{bound}", range.start(), range.end())
            }
            Kind::PerService { unit, range, .. } => {
                format!("{} to {} {unit}", range.start(), range.end())
            }
            Kind::Switch { .. } => "true or false".to_owned(),
            Kind::Text { rule, .. } => (*rule).to_owned(),
            Kind::Endpoints { default: [], .. } => "a list of endpoints, none twice".to_owned(),
            Kind::Endpoints { .. } => "a list of endpoints, one or more, none twice".to_owned(),
        }
    }

    /// The smallest and the largest number it takes; `None` if it takes no number.
    pub fn range(&self) -> Option<RangeInclusive<u64>> {
        match &self.kind {
            Kind::Number { range, .. } | Kind::PerService { range, .. } => Some(range.clone()),
            _ => None,
        }
    }

    /// The key whose number this one may not exceed.
    pub fn at_most(&self) -> Option<&'static str> {
        match &self.kind {
            Kind::Number { at_most, .. } => *at_most,
            _ => None,
        }
    }

    /// Whether it takes several values.
    pub fn is_list(&self) -> bool {
        matches!(self.kind, Kind::Endpoints { .. })
    }

    /// Whether it can be another for some services: `[service."NAME"]` in a file.
    pub fn is_per_service(&self) -> bool {
        matches!(self.kind, Kind::PerService { .. })
    }

    /// Whether it is a switch: `true` or `false`, and `false` by default.
    pub fn is_switch(&self) -> bool {
        matches!(self.kind, Kind::Switch { .. })
    }

    /// The default, as a configuration file has it.
    pub fn default(&self) -> Value {
        self.value(&mut Config::default())
    }

    /// The value in `config`, which is left as it is.
    pub(super) fn value(&self, config: &mut Config) -> Value {
        match &self.kind {
            Kind::Number { field, .. } => integer(*field(config)),
            Kind::PerService { field, .. } => integer(*field(config).default()),
            Kind::Switch { field } => Value::Boolean(*field(config)),
            Kind::Text { field, .. } => Value::String(field(config).clone()),
            Kind::Endpoints { field, .. } => list(field(config).iter().map(Endpoint::as_str)),
        }
    }

    /// The number in `config`, which is left as it is; 0 for a key that takes none.
    pub(super) fn number(&self, config: &mut Config) -> u64 {
        match &self.kind {
            Kind::Number { field, .. } => *field(config),
            _ => 0,
        }
    }

    /// Puts the default into `config`.
    pub(super) fn reset(&self, config: &mut Config) {
        match &self.kind {
            Kind::Number { default, field, .. } => *field(config) = *default,
            Kind::PerService { default, field, .. } => *field(config) = PerService::new(*default),
            Kind::Switch { field } => *field(config) = false,
            Kind::Text { default, field, .. } => (*default).clone_into(field(config)),
            Kind::Endpoints { default, field } => {
                *field(config) = default.iter().filter_map(|text| text.parse().ok()).collect();
            }
        }
    }

    /// Puts `value` into `config`, or says what was expected instead.
    pub(super) fn put(&self, config: &mut Config, value: &Value) -> Result<(), String> {
        let expected = || format!("expected {}", self.rule());
        match (&self.kind, value) {
            (Kind::Number { range, field, .. }, value) => {
                *field(config) = self.number_in(value, range)?;
            }
            (Kind::PerService { range, field, .. }, value) => {
                field(config).set_default(self.number_in(value, range)?);
            }
            (Kind::Switch { field }, Value::Boolean(truth)) => *field(config) = *truth,
            (Kind::Text { accepts, field, .. }, Value::String(text)) if accepts(text) => {
                text.clone_into(field(config));
            }
            (Kind::Endpoints { field, .. }, Value::Array(values)) => {
                let texts = values.iter().map(|value| value.as_str().ok_or_else(expected));
                let endpoints: Vec<Endpoint> = texts
                    .map(|text| text?.parse().map_err(|error: InvalidEndpoint| error.to_string()))
                    .collect::<Result<_, String>>()?;
                let distinct: BTreeSet<&Endpoint> = endpoints.iter().collect();
                // Whether any is there at all is looked at when all keys are known.
                if distinct.len() < endpoints.len() {
                    return Err(expected());
                }
                *field(config) = endpoints;
            }
            _ => return Err(expected()),
        }
        Ok(())
    }

    /// Puts `value` into `config` for some services, or says what was expected instead.
    pub(super) fn put_for(
        &self,
        services: ServicePattern,
        config: &mut Config,
        value: &Value,
    ) -> Result<(), String> {
        let Kind::PerService { range, field, .. } = &self.kind else {
            return Err("it holds for all services".to_owned());
        };
        field(config).set(services, self.number_in(value, range)?);
        Ok(())
    }

    /// The number within `range` that a value is, or what was expected instead.
    fn number_in(&self, value: &Value, range: &RangeInclusive<u64>) -> Result<u64, String> {
        let Some(number) = value.as_integer() else {
            return Err(format!("expected a whole number, {}", self.rule()));
        };
        let number = u64::try_from(number).ok().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("expected {}", self.rule()))
    }

    /// What `config` says of some services, and of which.
    pub(super) fn overrides(&self, config: &mut Config) -> Vec<(String, Value)> {
        let Kind::PerService { field, .. } = &self.kind else { return Vec::new() };
        let overrides = field(config).overrides();
        overrides.map(|(services, value)| (services, integer(*value))).collect()
    }

    /// The value that a text outside a TOML file stands for. A text that stands for
    /// none is given as it is, for [`Key::put`] to refuse.
    pub(super) fn read(&self, text: &str) -> Value {
        let as_is = || Value::String(text.to_owned());
        match &self.kind {
            // TOML allows underscores between digits, so they are taken here too.
            Kind::Number { .. } | Kind::PerService { .. } => {
                text.replace('_', "").parse().map_or_else(|_| as_is(), Value::Integer)
            }
            Kind::Switch { .. } => text.parse().map_or_else(|_| as_is(), Value::Boolean),
            Kind::Text { .. } => as_is(),
            Kind::Endpoints { .. } if text.is_empty() => list(std::iter::empty()),
            Kind::Endpoints { .. } => list(text.split(',').map(str::trim)),
        }
    }
}

/// A number as TOML has it: all ranges end below the largest there is.
fn integer(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

/// A list as TOML has it.
pub(super) fn list<'a>(texts: impl Iterator<Item = &'a str>) -> Value {
    Value::Array(texts.map(Value::from).collect())
}
