//! docs/operating.md lists every key and every counter as the code has them.
//! `UPDATE_DOCS=1 cargo test -p majordomo-broker --test docs` writes the lists anew.

use std::fs;
use std::path::Path;

use majordomo_broker::config;
use majordomo_broker::stats::Counters;

fn counters() -> String {
    let mut table = String::from("| counter | what it counts |\n|---|---|\n");
    for (name, _, about) in Counters::default().iter() {
        table += &format!("| `{name}` | {about} |\n");
    }
    table
}

/// `text` with what stands between the marks of `name` replaced.
fn replace(text: &str, name: &str, content: &str) -> String {
    let (before, rest) = text.split_once(&format!("<!-- {name}:")).expect("a first mark");
    let (mark, rest) = rest.split_once("-->\n").expect("an end of the first mark");
    let end = format!("<!-- end of {name} -->");
    let (_, after) = rest.split_once(&end).expect("a second mark");
    format!("{before}<!-- {name}:{mark}-->\n\n{content}\n{end}{after}")
}

#[test]
fn operating_md_lists_every_key_and_every_counter() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operating.md");
    let written = fs::read_to_string(&path).unwrap();
    let right = replace(&written, "keys", &config::reference());
    let right = replace(&right, "counters", &counters());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, right).unwrap();
    } else {
        assert!(written == right, "run: UPDATE_DOCS=1 cargo test -p majordomo-broker --test docs");
    }
}
