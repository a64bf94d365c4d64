//! The README is tried as a stranger would: its listings are the examples, and its
//! terminals print what it says.
//!
//! It uses the default endpoint, so nothing else may listen on port 5555. The terminals of
//! the guide that use keys are tried on another port.

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

/// The commands of these console blocks, and what is printed behind each.
fn commands<'a>(blocks: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    let commands = blocks.iter().flat_map(|block| block.split("$ ").skip(1));
    commands.map(|text| text.split_once('\n').expect("a line")).collect()
}

#[test]
fn the_terminals_with_keys_of_the_guide_print_what_it_says() {
    let guide = read("docs/guide.md");
    let (_, section) = guide.split_once("## With keys\n").expect("the section");
    let section = section.split_once("\n## ").expect("another section").0;
    let port = spawn::free_port().to_string();
    let section = section.replace("5555", &port);
    let commands = commands(&blocks(&section, "console"));
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("README.md"), "One two three.\n").expect("written");
    let programs = spawn::binary().parent().expect("a directory").display().to_string();
    let path = format!("{programs}:{}", std::env::var("PATH").expect("a path"));
    let shell = |line: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(&folder).env("PATH", &path);
        for name in ["SERVER_KEY", "KEY_FILE", "USER", "PASSWORD_FILE", "PASSWORD"] {
            shell.env_remove(format!("MAJORDOMO_{name}"));
        }
        shell.env("MAJORDOMO_BROKER", format!("tcp://127.0.0.1:{port}"));
        shell
    };
    let (keygens, terminals) = commands.split_at(3);
    for (line, _) in keygens {
        let made = spawn::run_command(&mut shell(line));
        assert_eq!(made.code, Some(0), "{line}: {}", made.stderr);
    }
    let [(broker, ready), (worker, _), (call, _), (refused, why)] = terminals else {
        panic!("four commands more: {terminals:?}");
    };
    let broker = Process::start(&mut shell(&format!("exec {broker}")));
    let line = broker.line().unwrap_or_else(|| panic!("{}", broker.log()));
    assert_eq!(line, ready.trim_end());
    let worker = Process::start(&mut shell(&format!("exec {worker}")));
    worker.line().unwrap_or_else(|| panic!("{}", worker.log()));
    broker.log_until("worker registered");
    let count = spawn::run_command(&mut shell(call));
    assert_eq!((count.code, count.stdout.as_str()), (Some(0), "3\n"), "{}", count.stderr);
    // It is chance which side finds first that the other has another mechanism.
    let refused = spawn::run_command(&mut shell(refused));
    let (told, mechanism) = why.trim_end().split_once(" it takes").expect("a reason");
    assert_eq!(refused.code, Some(1), "{}", refused.stdout);
    assert!(refused.stderr.starts_with(told), "{}", refused.stderr);
    assert!(refused.stderr.contains(&mechanism[.." another mechanism".len()]), "{why}");
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
