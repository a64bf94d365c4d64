//! The clauses, by what they are about. Each check is a function of a [`Trial`]; steps
//! that belong to another clause are marked `needed()`, and leave it untried.
//!
//! [`Trial`]: crate::trial::Trial

mod client;
mod heartbeats;
mod hostile;
mod mmi;
mod v1_client;
mod v1_ends;
mod v1_repeats;
mod v1_versions;
mod v1_worker;
mod worker;

use crate::check::{Part, Row};

const fn part(name: &'static str, title: &'static str, rows: &'static [Row]) -> Part {
    Part { name, title, mmi: false, hostile: false, rows }
}

/// All clauses, in the order of the table.
pub(crate) const PARTS: &[Part] = &[
    part("client", "clients", client::ROWS),
    part("client", "clients", v1_client::ROWS),
    part("ends", "how requests end", v1_ends::ROWS),
    part("repeats", "the same id again", v1_repeats::ROWS),
    part("worker", "workers", worker::ROWS),
    part("worker", "workers", v1_worker::ROWS),
    part("heartbeats", "heartbeats", heartbeats::ROWS),
    part("versions", "between the versions", v1_versions::ROWS),
    Part { mmi: true, ..part("mmi", "", mmi::ROWS) },
    Part { hostile: true, ..part("invalid", "invalid messages", hostile::ROWS) },
];

pub(crate) use mmi::ask as mmi_answer;
