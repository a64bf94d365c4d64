//! The load test answers every request of every subject, and the document that it fills
//! says truly how.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use majordomo_tests::load::args::Args;
use majordomo_tests::load::broker::Broker;
use majordomo_tests::load::chart::FILES;
use majordomo_tests::load::figures::PER_SECOND;
use majordomo_tests::load::plan::{Row, rows};
use majordomo_tests::load::secured;
use majordomo_tests::process::Process;
use majordomo_tests::spawn;

fn documents() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// Some twenty seconds on an idle machine, most of which is starting processes.
const LIMIT: Duration = Duration::from_secs(300);

#[test]
fn every_subject_answers_every_request() {
    // Builds the broker if need be, beside which the load test stands.
    spawn::binary();
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("rows.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    let mut loadtest = Process::start(command.arg("--quick").arg("--json").arg(&file));
    let status = loadtest.wait_for(LIMIT);
    let status = status.unwrap_or_else(|| panic!("it does not end; log:\n{}", loadtest.log()));
    assert!(status.success(), "{status}; log:\n{}", loadtest.log());

    let text = fs::read_to_string(&file).expect("rows");
    let measured: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect();
    let args = Args::parse(["--quick".to_owned()]).expect("valid");
    // Rows with flags of their own are left out where the broker does not know these.
    let plain = |row: &&Row| matches!(&row.broker, Broker::Majordomo(flags) if flags.is_empty());
    for row in rows(&args).iter().filter(plain) {
        let found = measured
            .iter()
            .find(|found| found["shape"] == row.shape && found["subject"] == row.subject);
        let found = found.unwrap_or_else(|| panic!("{}: {} is missing", row.shape, row.subject));
        let rate = found["medians"][PER_SECOND].as_f64();
        assert!(rate.is_some_and(|rate| rate > 0.0), "{found}");
    }
    let by_size = secured::BY_SIZE.iter().map(|(shape, _)| *shape);
    let mechanisms = by_size
        .chain([secured::ONE])
        .flat_map(|shape| secured::MECHANISMS.map(|mechanism| (shape, mechanism.subject())));
    let half = [(secured::HALF, secured::ALONE), (secured::HALF, secured::AMONG)];
    for (shape, subject) in mechanisms.chain(half) {
        let is_row = |row: &&serde_json::Value| row["shape"] == shape && row["subject"] == subject;
        assert!(measured.iter().any(|row| is_row(&row)), "{shape}: {subject} is missing");
    }
}

#[test]
fn the_command_of_the_document_is_understood() {
    let text = fs::read_to_string(documents().join("performance.md")).expect("the document");
    let command = "target/release/loadtest ";
    let commands: Vec<&str> = text.split(command).skip(1).collect();
    assert!(!commands.is_empty(), "no {command}");
    for rest in commands {
        let options = rest.split(['\n', '`', '#']).next().unwrap_or_default();
        let args = Args::parse(options.split_whitespace().map(str::to_owned));
        let args = args.unwrap_or_else(|error| panic!("{command}{options}: {error}"));
        if let Some(document) = args.document {
            assert_eq!(document, Path::new("docs/performance.md"));
        }
    }
}

#[test]
fn the_charts_of_the_document_exist() {
    let text = fs::read_to_string(documents().join("performance.md")).expect("the document");
    for file in FILES {
        assert!(text.contains(&format!("](charts/{file})")), "{file} is not shown");
        let chart = fs::read_to_string(documents().join("charts").join(file));
        let chart = chart.unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(chart.starts_with("<svg") && chart.ends_with("</svg>\n"), "{file}");
    }
    assert_eq!(text.matches("](charts/").count(), FILES.len());
}
