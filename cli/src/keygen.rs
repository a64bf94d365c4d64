//! `majordomo keygen`: a new key pair in two files, and its entry for a rights file.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use majordomo_protocol::{PublicKey, SecretKey};

use crate::args::Keygen;
use crate::{note, print};

pub(crate) fn run(keygen: &Keygen) -> anyhow::Result<()> {
    if zmq::has("curve") != Some(true) {
        bail!("this majordomo was built with a libzmq without CURVE");
    }
    let [secret_path, public_path] = ["key", "pub"].map(|end| with_end(&keygen.name, end));
    for path in [&secret_path, &public_path] {
        if path.symlink_metadata().is_err() {
            continue;
        }
        if !keygen.force {
            bail!("{} is there already: --force replaces it", path.display());
        }
        fs::remove_file(path).with_context(|| format!("cannot replace {}", path.display()))?;
    }
    let pair = zmq::CurveKeyPair::new().context("libzmq makes no key")?;
    let (public, secret) = (PublicKey::new(pair.public_key), SecretKey::new(pair.secret_key));
    let public_line = format!("public_key = \"{public}\"\n");
    let secret_line = format!("secret_key = \"{}\"\n", secret.to_z85());
    write(
        &secret_path,
        0o600,
        &format!("# Whoever reads this can pass for you.\n{public_line}{secret_line}"),
    )?;
    write(&public_path, 0o644, &public_line)?;
    note(format_args!(
        "{} is secret, {} is for others; what a broker's rights file needs follows",
        secret_path.display(),
        public_path.display()
    ));
    print(entry(keygen, &public).as_bytes())
}

/// `keys/alice` and `key` are `keys/alice.key`.
fn with_end(name: &Path, end: &str) -> PathBuf {
    let mut path = name.as_os_str().to_owned();
    path.push(".");
    path.push(end);
    PathBuf::from(path)
}

/// Makes a file that was not there, with this mode from its beginning.
fn write(path: &Path, mode: u32, text: &str) -> anyhow::Result<()> {
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// In TOML, as the broker reads it.
fn entry(keygen: &Keygen, public: &PublicKey) -> String {
    let name = keygen.name.file_name().unwrap_or_default().to_string_lossy();
    let list = |services: &[String]| {
        let quoted: Vec<_> = services.iter().map(|service| quoted(service)).collect();
        format!("[{}]", quoted.join(", "))
    };
    format!(
        "[[peer]]\nname = {}\npublic_key = \"{public}\"\nclient = {}\nworker = {}\n\
         operator = {}\n\n",
        quoted(&name),
        list(&keygen.client),
        list(&keygen.worker),
        keygen.operator
    )
}

/// A basic string of TOML, which a string of JSON is.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
