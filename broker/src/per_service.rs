//! A setting that is another for some services: which ones, and what holds for whom.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::str::FromStr;

use majordomo_protocol::{InvalidServiceName, ServiceName};

/// What holds for every service, and what instead of it for some: those of a name, or
/// those whose names begin in some way.
///
/// ```
/// use majordomo_broker::per_service::PerService;
/// use majordomo_protocol::ServiceName;
///
/// let mut prefetch = PerService::new(1);
/// prefetch.set("image.*".parse()?, 4);
/// prefetch.set("image.print".parse()?, 2);
/// let of = |name| ServiceName::new(name).map(|name| *prefetch.of(&name));
/// assert_eq!((of("image.scale")?, of("image.print")?, of("mail")?), (4, 2, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PerService<T> {
    /// What holds where nothing else is said.
    default: T,
    /// By whole names.
    names: BTreeMap<String, T>,
    /// By the beginnings of names. What begins as another does comes after it.
    beginnings: BTreeMap<String, T>,
}

/// Some services: `image.scale` is the one of this name, `image.*` all whose names begin
/// with `image.`. There is no star but at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServicePattern {
    /// The service of this name.
    Name(ServiceName),
    /// All services whose names begin so.
    Beginning(ServiceName),
}

/// A text that stands for no services.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPattern {
    /// Neither a name nor the beginning of one; a star alone would be every service.
    #[error("expected the name of a service, or its beginning and a *")]
    Name(#[source] InvalidServiceName),
    /// A star stands elsewhere than at the end, where it would mean itself: hardly what was
    /// meant.
    #[error("expected the name of a service, or its beginning and a *: it has a * before its end")]
    Star,
    /// The services that begin with `mmi.` are the broker's own (RFC 8): no worker
    /// registers for them.
    #[error("services that begin with mmi. are the broker's own")]
    Reserved,
}

impl FromStr for ServicePattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let (name, is_whole) = match text.strip_suffix('*') {
            Some(beginning) => (beginning, false),
            None => (text, true),
        };
        let name = ServiceName::new(name).map_err(InvalidPattern::Name)?;
        match is_whole {
            _ if name.as_str().contains('*') => Err(InvalidPattern::Star),
            _ if name.is_reserved() => Err(InvalidPattern::Reserved),
            true => Ok(ServicePattern::Name(name)),
            false => Ok(ServicePattern::Beginning(name)),
        }
    }
}

impl fmt::Display for ServicePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServicePattern::Name(name) => write!(f, "{name}"),
            ServicePattern::Beginning(name) => write!(f, "{name}*"),
        }
    }
}

impl<T> PerService<T> {
    /// The same for all.
    pub fn new(default: T) -> Self {
        PerService { default, names: BTreeMap::new(), beginnings: BTreeMap::new() }
    }

    /// What holds for this service: what is said of its name; or of the longest
    /// beginning of its name; or of all.
    pub fn of(&self, service: &ServiceName) -> &T {
        let name = service.as_str();
        let beginning = || {
            let up_to = (Bound::Unbounded, Bound::Included(name));
            let mut before = self.beginnings.range::<str, _>(up_to).rev();
            before.find(|(beginning, _)| name.starts_with(*beginning))
        };
        let named = || beginning().map(|(_, value)| value);
        self.names.get(name).or_else(named).unwrap_or(&self.default)
    }

    /// What holds where nothing else is said.
    pub fn default(&self) -> &T {
        &self.default
    }

    /// Says what holds where nothing else is said.
    pub fn set_default(&mut self, value: T) {
        self.default = value;
    }

    /// Says what holds for some services, in place of what was said of the same ones.
    pub fn set(&mut self, services: ServicePattern, value: T) {
        let (values, name) = match services {
            ServicePattern::Name(name) => (&mut self.names, name),
            ServicePattern::Beginning(name) => (&mut self.beginnings, name),
        };
        values.insert(name.to_string(), value);
    }

    /// What is said of some services: their name, or its beginning and a star.
    pub fn overrides(&self) -> impl Iterator<Item = (String, &T)> {
        let names = self.names.iter().map(|(name, value)| (name.clone(), value));
        let beginnings = self.beginnings.iter().map(|(name, value)| (format!("{name}*"), value));
        names.chain(beginnings)
    }

    /// The same with other values.
    pub fn map<U>(&self, value: impl Fn(&T) -> U) -> PerService<U> {
        let values = |values: &BTreeMap<String, T>| {
            values.iter().map(|(name, of)| (name.clone(), value(of))).collect()
        };
        PerService {
            default: value(&self.default),
            names: values(&self.names),
            beginnings: values(&self.beginnings),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ServiceName {
        ServiceName::new(text).unwrap()
    }

    #[test]
    fn the_whole_name_goes_before_its_longest_beginning_and_that_before_all() {
        let mut setting = PerService::new(0);
        for (services, value) in [("a*", 1), ("ab*", 2), ("abcd*", 3), ("abc", 4), ("ax*", 5)] {
            setting.set(services.parse().unwrap(), value);
        }
        let found = ["b", "A", "a", "aa", "ab", "abb", "abc", "abcc", "abcd", "abce", "ay"]
            .map(|service| *setting.of(&name(service)));
        assert_eq!(found, [0, 0, 1, 1, 2, 2, 4, 2, 3, 2, 1]);
        setting.set("abc".parse().unwrap(), 6);
        assert_eq!(*setting.of(&name("abc")), 6);
        assert_eq!(setting.overrides().count(), 5);
    }

    #[test]
    fn a_star_stands_at_the_end_only_and_not_alone() {
        let pattern = |text: &str| text.parse::<ServicePattern>();
        assert_eq!(pattern("ab"), Ok(ServicePattern::Name(name("ab"))));
        assert_eq!(pattern("ab*"), Ok(ServicePattern::Beginning(name("ab"))));
        assert_eq!(pattern("a*b"), Err(InvalidPattern::Star));
        assert_eq!(pattern("a**"), Err(InvalidPattern::Star));
        assert_eq!(pattern("mmi.service"), Err(InvalidPattern::Reserved));
        assert_eq!(pattern("mmi.*"), Err(InvalidPattern::Reserved));
        assert!(matches!(pattern("*"), Err(InvalidPattern::Name(_))));
        assert!(matches!(pattern(""), Err(InvalidPattern::Name(_))));
    }
}
