//! Runs of the program, and what they said.

use std::collections::BTreeSet;
use std::process::{Command, Output};

use serde_json::Value;

/// What a run said.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    lines: Vec<Value>,
}

/// Runs the program to its end.
pub(crate) fn run(args: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_majordomo-conformance");
    Command::new(program).args(args).output().expect("a run")
}

impl Run {
    /// Runs the program with `--json`.
    pub(crate) fn of(args: &[&str]) -> Run {
        let output = run(&[args, &["--json"]].concat());
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.is_empty(), "{error}");
        Run { code: output.status.code(), lines }
    }

    /// The names of all checks with this result.
    pub(crate) fn names(&self, result: &str) -> BTreeSet<String> {
        let with_result = self.lines.iter().filter(|line| line["result"] == result);
        with_result.filter_map(|line| line["name"].as_str().map(str::to_owned)).collect()
    }

    /// The protocols that are not spoken.
    pub(crate) fn not_spoken(&self) -> Vec<&str> {
        let of = self.lines.iter().filter(|line| line["spoken"] == false);
        of.filter_map(|line| line["protocol"].as_str()).collect()
    }

    /// All that failed or could not be tried, for a person.
    pub(crate) fn findings(&self) -> String {
        let is_bad = |line: &&Value| line["result"] == "failed" || line["result"] == "not tried";
        let bad = self.lines.iter().filter(is_bad);
        bad.map(|line| format!("{line:#}\n")).collect()
    }
}
