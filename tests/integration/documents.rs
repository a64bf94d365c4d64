//! The README is tried as a stranger would: its listings are the examples, and its
//! terminals print what it says.
//!
//! It uses the default endpoint, so nothing else may listen on port 5555.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use majordomo_tests::process::Process;
use majordomo_tests::spawn;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The contents of all code blocks of this language, in order.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let opening = format!("```{language}\n");
    text.split(opening.as_str()).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

/// A program that cargo has built beside the broker.
fn built(name: &str) -> Command {
    let path = spawn::binary().with_file_name(name);
    assert!(path.exists(), "build first: cargo build --workspace --bins --examples");
    Command::new(path)
}

/// The one line that this command of the README prints.
fn printed<'a>(readme: &'a str, command: &str) -> &'a str {
    let command = format!("$ {command}\n");
    let after = readme.split_once(command.as_str()).unwrap_or_else(|| panic!("no {command}")).1;
    after.lines().next().unwrap_or_default()
}

#[test]
fn the_listings_of_the_readme_are_the_examples() {
    let readme = read("README.md");
    let listings = blocks(&readme, "rust");
    for (listing, example) in
        listings.iter().zip(["worker-sdk/examples/echo.rs", "client-sdk/examples/request.rs"])
    {
        let source = read(example);
        let code = source.split_once("\n\n").expect("a head and code").1;
        assert_eq!(*listing, code, "{example}");
    }
    assert_eq!(listings.len(), 2);
}

#[test]
fn the_terminals_of_the_readme_print_what_it_says() {
    let readme = read("README.md");
    let broker = Process::start(&mut built("majordomo-broker"));
    let ready = broker.line();
    let ready = ready.unwrap_or_else(|| panic!("is port 5555 taken? {}", broker.log()));
    assert_eq!(ready, printed(&readme, "cargo run --release"));

    let worker = Process::start(&mut built("examples/echo"));
    let serving = worker.line().expect("the worker says that it serves");
    assert_eq!(serving, printed(&readme, "cargo run --release -p majordomo-worker --example echo"));

    let client = Process::start(&mut built("examples/request"));
    let reply = client.line().unwrap_or_else(|| panic!("no reply: {}", client.log()));
    assert_eq!(
        reply,
        printed(&readme, "cargo run --release -p majordomo-client --example request")
    );

    let counting = Process::start(built("majordomo").args(["work", "count", "--", "wc", "-w"]));
    let file = repository().join("LICENSE-MIT");
    let count = Process::start(built("majordomo").args(["call", "count"]).arg(file));
    let words = count.line().unwrap_or_else(|| panic!("no count: {}", counting.log()));
    assert_eq!(words, printed(&readme, "majordomo call count LICENSE-MIT"));
}

#[test]
fn every_document_that_is_linked_to_exists() {
    let documents = ["README.md", "CHANGELOG.md"].map(str::to_owned).into_iter().chain(
        fs::read_dir(repository().join("docs"))
            .expect("docs")
            .map(|entry| format!("docs/{}", entry.expect("an entry").file_name().display()))
            .filter(|name| name.ends_with(".md")),
    );
    for document in documents {
        let text = read(&document);
        let directory = Path::new(&document).parent().expect("a directory").to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            let here = repository().join(&directory).join(target);
            assert!(link.contains("://") || here.exists(), "{document} links to {link}");
        }
    }
}
