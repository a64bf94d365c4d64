//! The configuration in print: a file that can be fed back, and a table for people.

use std::collections::BTreeMap;

use toml::Value;

use super::{Config, KEYS, Key};

/// A value on one line, as a configuration file has it.
pub(super) fn on_a_line(value: &Value) -> String {
    value.to_string().replace('\n', " ")
}

impl Config {
    /// A commented TOML file with every key. Read back, it gives the same `Config`.
    pub fn to_toml(&self) -> String {
        let mut config = self.clone();
        let mut text = format!(
            "# majordomo-broker {}: every key, with the value in effect.\n\
             # Read it with --config FILE. Environment variables and flags override it.\n",
            env!("CARGO_PKG_VERSION")
        );
        let mut heading = "";
        for key in KEYS {
            if key.heading() != heading {
                heading = key.heading();
                text += &format!("\n# ---- {heading} ----\n");
            }
            text += "\n";
            for line in wrap(&format!("{} {}", key.about(), key.reason()), 77) {
                text += &format!("# {line}\n");
            }
            for line in wrap(&format!("Values: {}.", key.rule()), 77) {
                text += &format!("# {line}\n");
            }
            text += &format!("# Default: {}\n", on_a_line(&key.default()));
            text += &format!("{} = {}\n", key.name(), on_a_line(&key.value(&mut config)));
        }
        text += "\n# ---- Single services ----\n\n";
        for line in wrap(PER_SERVICE, 77) {
            text += &format!("# {line}\n");
        }
        text += &format!("# Keys: {}.\n", per_service().join(", "));
        for (services, values) in overrides(&mut config) {
            text += &format!("\n[service.{}]\n", Value::from(services));
            for (key, value) in values {
                text += &format!("{key} = {}\n", on_a_line(&value));
            }
        }
        text
    }
}

const PER_SERVICE: &str = "Some keys can be another for some services. [service.\"NAME\"] is \
    a table of them for the service of this name, [service.\"BEGINNING*\"] for all whose names \
    begin so. What is said of a name goes before its beginnings, a longer one before a shorter.";

/// The names of the keys that can be another for some services.
pub(super) fn per_service() -> Vec<&'static str> {
    KEYS.iter().filter(|key| key.is_per_service()).map(Key::name).collect()
}

/// What holds for some services alone, key by key.
fn overrides(config: &mut Config) -> BTreeMap<String, Vec<(&'static str, Value)>> {
    let mut tables: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for key in KEYS {
        for (services, value) in key.overrides(config) {
            tables.entry(services).or_default().push((key.name(), value));
        }
    }
    tables
}

/// All keys as Markdown, a table for each heading: the reference in the operator's
/// manual.
pub fn reference() -> String {
    let mut text = String::new();
    let mut heading = "";
    for key in KEYS {
        if key.heading() != heading {
            heading = key.heading();
            let gap = if text.is_empty() { "" } else { "\n" };
            text += &format!("{gap}### {heading}\n\n");
            text += "| key | default | values | what it is, and what happens at the bound |\n";
            text += "|---|---|---|---|\n";
        }
        text += &row(key);
    }
    text
}

fn row(key: &Key) -> String {
    format!(
        "| `{}` | `{}` | {} | {} {} |\n",
        key.name(),
        on_a_line(&key.default()),
        key.rule(),
        key.about(),
        key.reason()
    )
}

/// `text` in lines of at most `width` characters, unless a word is longer.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
