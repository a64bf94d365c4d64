//! The figures as tables, and in the document between its markers.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;

use super::args::Args;
use super::chart::charts;
use super::figures::{Figures, KINDS, PER_SECOND, Row, rounded, title};
use super::goals::{Outcome, outcomes};
use super::plan::BARE;

const BEGIN: &str = "<!-- begin figures -->\n";
const END: &str = "<!-- end figures -->\n";

/// The tables of all shapes, as Markdown, which is also read as it is.
pub fn tables(figures: &Figures) -> String {
    let mut text = String::new();
    for (shape, rows) in figures.by_shape() {
        let _ = writeln!(text, "### {shape}\n\n{}", table(figures, &rows));
    }
    for line in &figures.left_out {
        let _ = writeln!(text, "Left out: {line}\n");
    }
    text
}

fn table(figures: &Figures, rows: &[&Row]) -> String {
    let kinds: Vec<&str> = KINDS
        .into_iter()
        .filter(|kind| rows.iter().any(|row| row.figures.contains_key(kind)))
        .collect();
    let bare = rows.iter().find(|row| row.subject == BARE && row.figures.contains_key(PER_SECOND));
    let mut head = vec![String::new()];
    head.extend(kinds.iter().map(|kind| title(kind).to_owned()));
    head.extend(bare.map(|_| "× the bare loop's rate".to_owned()));
    let mut lines = vec![head];
    for row in rows {
        let mut line = vec![row.subject.clone()];
        line.extend(kinds.iter().map(|kind| row.median(kind).map(rounded).unwrap_or_default()));
        if let Some(bare) = bare {
            let ratio =
                figures.ratio((&row.shape, &row.subject), (&bare.shape, &bare.subject), PER_SECOND);
            line.push(ratio.map(rounded).unwrap_or_default());
        }
        lines.push(line);
    }
    aligned(&lines, 1)
}

/// What became of the goals.
pub fn goals(outcomes: &[Outcome]) -> String {
    let mut lines = vec![["", "", "found", "a bare loop", "goal", ""].map(str::to_owned).to_vec()];
    for outcome in outcomes {
        let met = match outcome.met {
            Some(true) => "met",
            Some(false) => "missed",
            None => "not measured",
        };
        let Outcome { shape, what, found, bare, wanted, .. } = outcome;
        lines.push([*shape, what, found, bare, wanted, met].map(str::to_owned).to_vec());
    }
    aligned(&lines, 2)
}

/// A table whose columns stand below each other in a terminal too. The first ones, so
/// many, are words; figures stand at the right.
fn aligned(lines: &[Vec<String>], words: usize) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| {
        lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        text.push('|');
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let _ = match column < words {
                true => write!(text, " {cell:<width$} |"),
                false => write!(text, " {cell:>width$} |"),
            };
        }
        text.push('\n');
        if number == 0 {
            text.push('|');
            for (column, width) in widths.iter().enumerate() {
                let end = if column < words { "-" } else { ":" };
                let _ = write!(text, "-{}{end}|", "-".repeat(*width));
            }
            text.push('\n');
        }
    }
    text
}

/// What was measured, and on what.
pub fn machine(args: &Args) -> String {
    let line = |path: &str, begin: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let found = text.lines().find_map(|line| line.strip_prefix(begin));
        found.map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = line("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown CPU".to_owned());
    let kernel = line("/proc/sys/kernel/osrelease", "").unwrap_or_else(|| "unknown".to_owned());
    let (rounds, seconds) = (args.rounds, args.seconds);
    let (major, minor, patch) = zmq::version();
    format!(
        "{cores} cores of {model}, Linux {kernel}, libzmq {major}.{minor}.{patch}, TCP on loopback. \
         Medians of {rounds} rounds of {seconds} s.\n"
    )
}

/// Puts the figures between the document's markers, and the charts beside it.
///
/// # Errors
///
/// When a file cannot be read or written, or the document has no markers.
pub fn update(path: &Path, args: &Args, figures: &Figures) -> io::Result<()> {
    let document = fs::read_to_string(path)?;
    let outcomes = outcomes(figures);
    let text = format!("{}\n{}### Goals\n\n{}", machine(args), tables(figures), goals(&outcomes));
    let updated = between_markers(&document, &text).ok_or_else(|| {
        io::Error::other(format!("{} has no markers for the figures", path.display()))
    })?;
    let directory = path.parent().unwrap_or(Path::new(".")).join("charts");
    fs::create_dir_all(&directory)?;
    for chart in charts(figures) {
        fs::write(directory.join(chart.file), chart.to_svg())?;
    }
    fs::write(path, updated)
}

fn between_markers(document: &str, text: &str) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{text}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::figures::CPU_US;

    #[test]
    fn figures_stand_between_the_markers() {
        let document = format!("before\n{BEGIN}old\n{END}after\n");
        let updated = between_markers(&document, "new");
        assert_eq!(updated, Some(format!("before\n{BEGIN}\nnew\n{END}after\n")));
        assert_eq!(between_markers("none", "new"), None);
    }

    #[test]
    fn a_table_has_what_was_measured() {
        let mut figures = Figures::default();
        figures.add("shape", "ours", &[(PER_SECOND, 1_500.0), (CPU_US, 2.0)]);
        figures.add("shape", BARE, &[(PER_SECOND, 1_000.0)]);
        let text = "\
### shape

|           | requests/s | broker CPU, µs each | × the bare loop's rate |
|-----------|-----------:|--------------------:|-----------------------:|
| ours      |      1,500 |                2.00 |                   1.50 |
| bare loop |      1,000 |                     |                   1.00 |

";
        assert_eq!(tables(&figures), text);
    }
}
