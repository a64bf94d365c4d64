//! What came of a run, as a table for people or as JSON for programs, and as an exit code.

use std::fmt::Write as _;

use serde_json::json;

use crate::check::Level;
use crate::verdict::{Stop, Verdict};

const LEVELS: [Level; 3] = [Level::Must, Level::Should, Level::Own];

/// A clause and what came of it.
pub(crate) struct Item {
    pub(crate) name: String,
    pub(crate) section: String,
    pub(crate) level: Level,
    pub(crate) clause: &'static str,
    pub(crate) verdict: Verdict,
}

/// What the other side speaks at all.
pub(crate) struct Spoken {
    /// `MDP/0.1`, or `RFC 8 over MDP/0.1`.
    pub(crate) what: String,
    pub(crate) spoken: bool,
    /// What was seen, in a few words.
    pub(crate) seen: String,
}

/// What came of a run.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) spoken: Vec<Spoken>,
    pub(crate) items: Vec<Item>,
}

#[derive(Default)]
struct Count {
    passed: usize,
    failed: usize,
    blocked: usize,
    left_out: usize,
}

impl Report {
    fn count(&self, level: Level) -> Count {
        let mut count = Count::default();
        for item in self.items.iter().filter(|item| item.level == level) {
            match item.verdict {
                Ok(()) => count.passed += 1,
                Err(Stop::Failed(_)) => count.failed += 1,
                Err(Stop::Blocked(_)) => count.blocked += 1,
                Err(Stop::LeftOut(_)) => count.left_out += 1,
            }
        }
        count
    }

    /// 0, 1 or 3, as `--help` tells.
    pub(crate) fn exit_code(&self) -> u8 {
        let binding = [self.count(Level::Must), self.count(Level::Own)];
        let all = LEVELS.map(|level| self.count(level));
        if all.iter().all(|count| count.passed + count.failed == 0) {
            3
        } else if binding.iter().any(|count| count.failed + count.blocked > 0) {
            1
        } else {
            0
        }
    }

    /// A table by section, each level apart, and a summary.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        for Spoken { what, spoken, seen } in &self.spoken {
            let word = if *spoken { "spoken" } else { "not spoken" };
            let _ = writeln!(text, "{what}: {word} ({seen})");
        }
        let width = self.items.iter().map(|item| item.name.len()).max().unwrap_or(0);
        let mut sections: Vec<&str> = vec![];
        for item in &self.items {
            if !sections.contains(&item.section.as_str()) {
                sections.push(&item.section);
            }
        }
        for section in sections {
            let _ = writeln!(text, "\n{section}");
            for level in LEVELS {
                let of_level = |item: &&Item| item.section == section && item.level == level;
                for item in self.items.iter().filter(of_level) {
                    line(&mut text, item, width);
                }
            }
        }
        text + &self.summary()
    }

    fn summary(&self) -> String {
        let mut text = "\n             ok  failed  not tried  left out\n".to_owned();
        for level in LEVELS {
            let Count { passed, failed, blocked, left_out } = self.count(level);
            if passed + failed + blocked + left_out > 0 {
                let level = level.as_str();
                let _ =
                    writeln!(text, "  {level:8} {passed:4} {failed:7} {blocked:10} {left_out:9}");
            }
        }
        text
    }

    /// One object a line.
    pub(crate) fn json(&self) -> String {
        let mut text = String::new();
        for Spoken { what, spoken, seen } in &self.spoken {
            let object =
                json!({"kind": "protocol", "protocol": what, "spoken": spoken, "seen": seen});
            let _ = writeln!(text, "{object}");
        }
        for Item { name, section, level, clause, verdict } in &self.items {
            let mut object = json!({
                "kind": "check", "name": name, "section": section, "level": level.as_str(),
                "clause": clause,
            });
            let more = match verdict {
                Ok(()) => json!({"result": "ok"}),
                Err(Stop::Failed(seen)) => json!({
                    "result": "failed",
                    "expected": seen.expected,
                    "received": seen.received,
                    "within_ms": u64::try_from(seen.within.as_millis()).unwrap_or(u64::MAX),
                }),
                Err(Stop::Blocked(reason)) => json!({"result": "not tried", "reason": reason}),
                Err(Stop::LeftOut(reason)) => json!({"result": "left out", "reason": reason}),
            };
            if let (Some(object), Some(more)) = (object.as_object_mut(), more.as_object()) {
                object.extend(more.clone());
            }
            let _ = writeln!(text, "{object}");
        }
        text
    }
}

fn line(text: &mut String, item: &Item, width: usize) {
    let Item { name, level, clause, verdict, .. } = item;
    let level = level.as_str();
    let (word, why) = match verdict {
        Ok(()) => ("ok", None),
        Err(Stop::Failed(seen)) => ("FAILED", Some(seen.to_string())),
        Err(Stop::Blocked(reason)) => ("not tried", Some(reason.clone())),
        Err(Stop::LeftOut(reason)) => ("left out", Some(reason.clone())),
    };
    let line = format!("  {level:8} {name:width$}  {word}");
    let _ = writeln!(text, "{}", line.trim_end());
    if let Some(why) = why {
        let _ = writeln!(text, "             {clause}\n             {why}");
    }
}
