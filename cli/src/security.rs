//! What brokers are shown: flags, variables and files become one [`Security`].
//!
//! A password is never an argument, since everybody on the machine can see those; it stands
//! in a file or in the environment.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, ValueHint};
use majordomo_protocol::{KeyPair, PublicKey, Security, TextFile};

use crate::args::UsageError;

/// A password has up to 255 bytes, and perhaps an end of line.
const FILE_BYTES_MAX: u64 = 4096;

/// What a broker is shown.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Shown {
    /// The broker's public key for CURVE, or a file that has it. Default:
    /// MAJORDOMO_SERVER_KEY.
    #[arg(long, value_name = "KEY|FILE", value_hint = ValueHint::FilePath)]
    server_key: Option<OsString>,
    /// The file with this side's key pair, as `majordomo keygen` makes it. Default:
    /// MAJORDOMO_KEY_FILE.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    key_file: Option<OsString>,
    /// The user for PLAIN. Default: MAJORDOMO_USER.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["server_key", "key_file"])]
    user: Option<OsString>,
    /// The file with the user's password. Default: MAJORDOMO_PASSWORD_FILE, else the password
    /// itself is in MAJORDOMO_PASSWORD.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    password_file: Option<OsString>,
}

impl Shown {
    /// With the flags of `within`, which were said later.
    pub(crate) fn and(&self, within: &Shown) -> Shown {
        let of = |later: &Option<OsString>, first: &Option<OsString>| {
            later.as_ref().or(first.as_ref()).cloned()
        };
        Shown {
            server_key: of(&within.server_key, &self.server_key),
            key_file: of(&within.key_file, &self.key_file),
            user: of(&within.user, &self.user),
            password_file: of(&within.password_file, &self.password_file),
        }
    }

    /// What that comes to. Reads files. `variable` gives variables of the environment, which
    /// count where no flag speaks of the same mechanism.
    pub(crate) fn read(
        &self,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> anyhow::Result<Security> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let or = |flag: &Option<OsString>, name: &str| flag.clone().or_else(|| variable(name));
        let curve = self.server_key.is_some() || self.key_file.is_some();
        let plain = self.user.is_some() || self.password_file.is_some();
        let server_key = or(&self.server_key, "MAJORDOMO_SERVER_KEY").filter(|_| curve || !plain);
        let key_file = or(&self.key_file, "MAJORDOMO_KEY_FILE").filter(|_| curve || !plain);
        let user = or(&self.user, "MAJORDOMO_USER").filter(|_| plain || !curve);
        match (server_key, key_file, user) {
            (None, None, None) if self.password_file.is_some() => {
                usage("--password-file needs --user")
            }
            (None, None, None) => Ok(Security::Null),
            (Some(server_key), Some(key_file), None) => {
                Ok(Security::curve(public_key(&server_key)?, KeyPair::read(key_file)?))
            }
            (Some(_), None, None) => usage("--server-key needs --key-file: the key to show"),
            (None, Some(_), None) => {
                usage("--key-file needs --server-key: the public key of the broker")
            }
            (None, None, Some(user)) => {
                let user = user.into_string().ok().context("the user must be UTF-8")?;
                let file = or(&self.password_file, "MAJORDOMO_PASSWORD_FILE");
                let password = match (file, variable("MAJORDOMO_PASSWORD")) {
                    (Some(file), _) => password(Path::new(&file))?,
                    (None, Some(password)) => {
                        password.into_string().ok().context("MAJORDOMO_PASSWORD must be UTF-8")?
                    }
                    (None, None) => return usage("--user needs --password-file"),
                };
                Ok(Security::plain(user, password)?)
            }
            _ => usage("a key and a user are both given: brokers are shown one of them"),
        }
    }
}

fn usage(text: &str) -> anyhow::Result<Security> {
    Err(UsageError(text.to_owned()).into())
}

/// A key, or else the key in the file of that name.
fn public_key(text: &OsString) -> anyhow::Result<PublicKey> {
    match text.to_str().map(str::parse) {
        Some(Ok(key)) => Ok(key),
        _ => Ok(PublicKey::read(PathBuf::from(text))?),
    }
}

fn password(path: &Path) -> anyhow::Result<String> {
    let unreadable = || format!("password file {}: cannot be read", path.display());
    let file = TextFile::read(path, FILE_BYTES_MAX).with_context(unreadable)?;
    if let Some(mode) = file.mode_if_open() {
        bail!("password file {}: its mode is {mode:04o}: chmod 600 it", path.display());
    }
    Ok(file.as_str().trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `--server-key`, `--key-file`, `--user`, `--password-file`.
    fn shown(flags: [Option<&str>; 4]) -> Shown {
        let [server_key, key_file, user, password_file] =
            flags.map(|flag| flag.map(OsString::from));
        Shown { server_key, key_file, user, password_file }
    }

    fn read(shown: &Shown, variables: &[(&str, &str)]) -> Result<Security, String> {
        let find = |name: &str| {
            let found = variables.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| OsString::from(value))
        };
        shown.read(find).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn nothing_is_shown_where_nothing_is_said() {
        assert!(matches!(read(&Shown::default(), &[]), Ok(Security::Null)));
        assert!(matches!(read(&Shown::default(), &[("MAJORDOMO_USER", "")]), Ok(Security::Null)));
    }

    #[test]
    fn half_of_what_is_needed_is_refused() {
        for (flags, needed) in [
            ([Some("k"), None, None, None], "--server-key needs --key-file"),
            ([None, Some("k"), None, None], "--key-file needs --server-key"),
            ([None, None, Some("u"), None], "--user needs --password-file"),
            ([None, None, None, Some("f")], "--password-file needs --user"),
        ] {
            let error = read(&shown(flags), &[]).expect_err(needed);
            assert!(error.starts_with(needed), "{error}");
        }
        let both = [("MAJORDOMO_USER", "u"), ("MAJORDOMO_SERVER_KEY", "k")];
        assert!(read(&Shown::default(), &both).is_err());
    }

    #[test]
    fn a_flag_of_one_mechanism_puts_variables_of_the_other_aside() {
        let variables = [
            ("MAJORDOMO_USER", "u"),
            ("MAJORDOMO_PASSWORD", "p"),
            ("MAJORDOMO_SERVER_KEY", "k"),
            ("MAJORDOMO_KEY_FILE", "f"),
        ];
        let plain = read(&shown([None, None, Some("alice"), None]), &variables);
        let Ok(Security::Plain(login)) = plain else { panic!("{plain:?}") };
        assert_eq!((login.user(), login.password()), ("alice", "p"));
        let curve = read(&shown([None, Some("/nowhere/key"), None, None]), &variables);
        assert!(curve.expect_err("no file").starts_with("key file k: cannot be read"));
    }

    #[test]
    fn what_is_said_later_counts() {
        let first = shown([Some("a"), Some("b"), None, None]);
        let both = first.and(&shown([Some("c"), None, None, None]));
        assert_eq!(both.server_key, Some("c".into()));
        assert_eq!(both.key_file, Some("b".into()));
    }
}
