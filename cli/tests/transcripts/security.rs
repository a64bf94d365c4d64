//! Keys and passwords: made, shown, and refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use majordomo_broker::config::Config;
use majordomo_protocol::{KeyFile, KeyPair, PublicKey};
use tempfile::TempDir;

use crate::place::{Ended, MAJORDOMO, Place, end};

/// A broker with an endpoint of each mechanism, and a folder with the keys of alice, who may
/// do everything, and of mallory, who is not in the rights file.
struct Secured {
    keys: TempDir,
    place: Place,
}

/// `majordomo` in this folder, without a broker.
fn majordomo(folder: &Path, arguments: &[&str]) -> Ended {
    let mut command = Command::new(MAJORDOMO);
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    end(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

impl Secured {
    fn new() -> Self {
        let keys = TempDir::new().unwrap();
        let folder = keys.path();
        majordomo(folder, &["keygen", "broker"]).text();
        majordomo(folder, &["keygen", "mallory"]).text();
        let all = ["keygen", "alice", "--client", "*", "--worker", "*", "--operator"];
        let rights = majordomo(folder, &all).text()
            + "[[peer]]\nname = \"bob\"\npassword = \"s3cret\"\nclient = [\"*\"]\n";
        write_private(&folder.join("rights.toml"), &rights);
        write_private(&folder.join("password"), "s3cret\n");
        write_private(&folder.join("guess"), "guess\n");
        let config = format!(
            "bind_curve = [\"tcp://127.0.0.1:*\"]\nbind_plain = [\"tcp://127.0.0.1:*\"]\n\
             curve_secret_key_file = \"{0}/broker.key\"\nrights_file = \"{0}/rights.toml\"\n",
            folder.display()
        );
        let place = Place::with(Config::builder().toml("broker.toml", &config));
        Secured { keys, place }
    }

    /// With this endpoint as the broker, in the folder of the keys.
    fn command(&self, endpoint: usize, arguments: &[&str]) -> Command {
        let mut command = self.place.command(arguments);
        command.env("MAJORDOMO_BROKER", &self.place.endpoints()[endpoint]);
        command.current_dir(&self.keys);
        command
    }

    fn run(&self, endpoint: usize, arguments: &[&str]) -> Ended {
        end(self.command(endpoint, arguments).spawn().unwrap())
    }
}

const CURVE: usize = 1;
const PLAIN: usize = 2;

fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_key_pair_is_made_once_and_the_secret_is_printed_nowhere() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mode = |name: &str| path(name).metadata().unwrap().permissions().mode() & 0o777;
    let made = majordomo(folder.path(), &["keygen", "alice", "--client", "a.*"]);
    assert_eq!(made.code, Some(0), "{}", made.err);
    assert_eq!((mode("alice.key"), mode("alice.pub") & 0o600), (0o600, 0o600));
    let pair = KeyPair::read(path("alice.key")).unwrap();
    assert_eq!(PublicKey::read(path("alice.pub")).unwrap(), pair.public_key);
    let secret = pair.secret_key.to_z85();
    let out = String::from_utf8(made.out).unwrap();
    assert!(!out.contains(&secret) && !made.err.contains(&secret));
    let entry = format!(
        "[[peer]]\nname = \"alice\"\npublic_key = \"{}\"\nclient = [\"a.*\"]\nworker = []\n\
         operator = false\n\n",
        pair.public_key
    );
    assert_eq!(out, entry);
    assert!(
        KeyFile::parse(&fs::read_to_string(path("alice.pub")).unwrap())
            .is_ok_and(|file| file.secret_key.is_none())
    );

    let text = "majordomo: alice.key is there already: --force replaces it\n";
    majordomo(folder.path(), &["keygen", "alice"]).fails(1, text);
    assert_eq!(KeyPair::read(path("alice.key")).unwrap().public_key, pair.public_key);
    majordomo(folder.path(), &["keygen", "alice", "--force"]).text();
    assert_ne!(KeyPair::read(path("alice.key")).unwrap().public_key, pair.public_key);
    assert_eq!(mode("alice.key"), 0o600);
    let nowhere = majordomo(folder.path(), &["keygen", "nowhere/alice"]);
    assert_eq!(nowhere.code, Some(1));
    assert!(nowhere.err.starts_with("majordomo: cannot write nowhere/alice.key: "));
}

#[test]
fn every_command_shows_keys_and_passwords() {
    let secured = Secured::new();
    let key = ["--server-key", "broker.pub", "--key-file", "alice.key"];
    let mut work = secured.command(CURVE, &[&["work", "count"], &key[..]].concat());
    let work = crate::place::Work(Some(work.args(["--", "wc", "-w"]).spawn().unwrap()));
    secured.place.until(|report| report.workers.len() == 1);
    let call = ["call", "count", "-b", "one two"];
    secured.run(CURVE, &[&call, &key[..]].concat()).prints("2\n");
    secured.run(CURVE, &[&key[..], &call].concat()).prints("2\n");
    let old = [&call, &key[..], &["--protocol", "0.2"]].concat();
    secured.run(CURVE, &old).prints("2\n");
    let status = secured.run(CURVE, &[&["status", "count"], &key[..]].concat()).text();
    assert!(status.contains("count"), "{status}");
    let bench = secured.run(CURVE, &[&["bench", "--seconds", "0.1"], &key[..]].concat()).text();
    assert!(bench.contains("requests per second"), "{bench}");
    let mut by_variables = secured.command(CURVE, &call);
    by_variables.env("MAJORDOMO_SERVER_KEY", "broker.pub").env("MAJORDOMO_KEY_FILE", "alice.key");
    end(by_variables.spawn().unwrap()).prints("2\n");
    let server_key = PublicKey::read(secured.keys.path().join("broker.pub")).unwrap().to_string();
    let by_value = ["--key-file", "alice.key", &format!("--server-key={server_key}")];
    secured.run(CURVE, &[&call, &by_value[..]].concat()).prints("2\n");

    let password = ["--user", "bob", "--password-file", "password"];
    secured.run(PLAIN, &[&call, &password[..]].concat()).prints("2\n");
    let mut by_variable = secured.command(PLAIN, &call);
    by_variable.env("MAJORDOMO_USER", "bob").env("MAJORDOMO_PASSWORD", "s3cret");
    end(by_variable.spawn().unwrap()).prints("2\n");
    // bob is no operator.
    let status = secured.run(PLAIN, &[&["status"], &password[..]].concat());
    assert_eq!(status.code, Some(1));
    assert!(status.err.contains("not allowed"), "{}", status.err);
    drop(work);
}

#[test]
fn whoever_is_not_let_in_is_told_why() {
    let secured = Secured::new();
    let call = |endpoint: usize, flags: &[&str]| {
        let ended = secured.run(endpoint, &[&["call", "count", "-b", "one"], flags].concat());
        assert_eq!(ended.code, Some(1), "{flags:?}: {}", ended.err);
        assert!(!ended.err.contains("s3cret") && !ended.err.contains("guess"));
        let at = &secured.place.endpoints()[endpoint];
        let text = format!("majordomo: the broker at {at} does not let this client in: ");
        let told = ended.err.strip_prefix(&text).unwrap_or_else(|| panic!("{}", ended.err));
        told.trim_end().to_owned()
    };
    let unknown = "it does not know this key, or this user and password";
    let mallory = ["--server-key", "broker.pub", "--key-file", "mallory.key"];
    assert_eq!(call(CURVE, &mallory), unknown);
    // Chance decides which side finds it first.
    assert!(call(CURVE, &[]).contains("it takes another mechanism there"));
    let wrong = ["--server-key", "mallory.pub", "--key-file", "alice.key"];
    assert!(call(CURVE, &wrong).starts_with("it ended the handshake without a word"));
    assert_eq!(call(PLAIN, &["--user", "bob", "--password-file", "guess"]), unknown);
    let old = [&mallory[..], &["--protocol", "0.2"]].concat();
    assert!(
        ["it does not know", "it did not end"]
            .iter()
            .any(|told| call(CURVE, &old).starts_with(told))
    );
}

#[test]
fn files_that_cannot_be_are_refused() {
    let secured = Secured::new();
    let fails = |flags: &[&str], code: i32, text: &str| {
        let ended = secured.run(CURVE, &[&["call", "count", "-b", "one"], flags].concat());
        assert_eq!(ended.code, Some(code), "{flags:?}: {}", ended.err);
        assert!(ended.err.contains(text), "{flags:?}: {}", ended.err);
    };
    let open = secured.keys.path().join("alice.key");
    fs::set_permissions(open, fs::Permissions::from_mode(0o644)).unwrap();
    fails(&["--server-key", "broker.pub", "--key-file", "alice.key"], 1, "its mode is 0644");
    fails(&["--server-key", "nothing", "--key-file", "mallory.key"], 1, "nothing: cannot be read");
    fails(&["--server-key", "broker.pub"], 2, "--server-key needs --key-file");
    fails(&["--user", "bob"], 2, "--user needs --password-file");
    fails(&["--user", "bob", "--server-key", "broker.pub"], 2, "cannot be used with");
    let open = secured.keys.path().join("password");
    fs::set_permissions(open, fs::Permissions::from_mode(0o604)).unwrap();
    fails(&["--user", "bob", "--password-file", "password"], 1, "its mode is 0604: chmod 600 it");
}
