//! What a check is, and the list of all.

use majordomo_protocol::Version;

use crate::trial::Trial;
use crate::verdict::Verdict;
use crate::{checks, verdict::Step};

/// How binding a clause is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// A MUST or SHALL of an RFC, or what its frames and dialogs define.
    Must,
    /// A SHOULD of an RFC, or a goal that it states.
    Should,
    /// A clause of docs/protocol.md on MDP/1.0.
    Own,
}

impl Level {
    /// As the table prints it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Level::Must => "MUST",
            Level::Should => "SHOULD",
            Level::Own => "MDP/1.0",
        }
    }
}

/// The versions with the frames of the RFCs.
pub(crate) const RFCS: &[Version] = &[Version::V0_1, Version::V0_2];
/// RFC 7 alone.
pub(crate) const RFC_7: &[Version] = &[Version::V0_1];
/// RFC 18 alone.
pub(crate) const RFC_18: &[Version] = &[Version::V0_2];
/// Ours.
pub(crate) const OURS: &[Version] = &[Version::V1_0];

/// A clause as the files of checks list it: once for all versions that share it.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) level: Level,
    pub(crate) versions: &'static [Version],
    pub(crate) clause: &'static str,
    pub(crate) run: fn(&Trial<'_>) -> Step,
}

/// A clause of one version, and how it is tried.
#[derive(Clone)]
pub(crate) struct Check {
    /// The document and the clause, as `18/client/reply-frames`.
    pub(crate) name: String,
    pub(crate) section: String,
    pub(crate) level: Level,
    pub(crate) version: Version,
    /// What must hold, in our words.
    pub(crate) clause: &'static str,
    /// Part of RFC 8, which a broker may leave out altogether.
    pub(crate) mmi: bool,
    /// Sends what no peer may send: such are tried last, one after the other.
    pub(crate) hostile: bool,
    run: fn(&Trial<'_>) -> Step,
}

impl Check {
    fn new(part: &Part, row: &Row, version: Version) -> Self {
        let document = match version {
            Version::V0_1 => "7",
            Version::V0_2 => "18",
            Version::V1_0 => "1.0",
        };
        let title = match version {
            Version::V1_0 => "MDP/1.0".to_owned(),
            _ => format!("RFC {document}"),
        };
        let (name, section) = if part.mmi {
            (format!("8/{version}/{}", row.name), format!("RFC 8 over MDP/{version}"))
        } else {
            (format!("{document}/{}/{}", part.name, row.name), format!("{title}, {}", part.title))
        };
        let Row { level, clause, run, .. } = *row;
        Check { name, section, level, version, clause, mmi: part.mmi, hostile: part.hostile, run }
    }

    /// Tries it.
    pub(crate) fn run(&self, trial: &Trial<'_>) -> Verdict {
        (self.run)(trial)
    }

    /// Whether name, section or level contain this text.
    pub(crate) fn matches(&self, text: &str) -> bool {
        self.name.contains(text) || self.section.contains(text) || self.level.as_str() == text
    }
}

/// Clauses that belong together.
pub(crate) struct Part {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) mmi: bool,
    pub(crate) hostile: bool,
    pub(crate) rows: &'static [Row],
}

/// All checks of these versions, by version and section.
pub(crate) fn all(versions: &[Version]) -> Vec<Check> {
    let mut list = vec![];
    for version in versions {
        for part in checks::PARTS {
            let rows = part.rows.iter().filter(|row| row.versions.contains(version));
            list.extend(rows.map(|row| Check::new(part, row, *version)));
        }
    }
    list
}
