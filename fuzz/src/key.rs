//! Key files, and keys as text.
//!
//! A text is a key just when its digits stand for one. A key file that is taken is read as
//! the same when its keys are written out, and each of its keys stands in it; a refusal names
//! a line of it. Nothing that is printed has a secret key in it.

use majordomo_protocol::{InvalidKey, KEY_BYTES, KeyFile, PublicKey, SecretKey};

use crate::Target;

/// Key files.
pub const TARGET: Target =
    Target { name: "key", run, show: |data| String::from_utf8_lossy(data).into_owned() };

fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    key(&text);
    text.lines().for_each(key);
    if let Some(bytes) = data.first_chunk::<KEY_BYTES>() {
        let key = PublicKey::new(*bytes);
        assert_eq!(key.to_string().parse(), Ok(key));
    }
    file(&text);
}

fn key(text: &str) {
    let found: Result<PublicKey, InvalidKey> = text.parse();
    let expected = bytes(text);
    assert_eq!(found.ok().map(|key| *key.as_bytes()), expected, "{text:?}");
    match text.parse::<SecretKey>() {
        Ok(secret) => {
            assert_eq!((Some(*secret.as_bytes()), &*secret.to_z85()), (expected, text));
            assert!(!format!("{secret:?}").contains(text));
        }
        Err(error) => assert_eq!(found, Err(error)),
    }
    if let Err(InvalidKey::Digit { position }) = found {
        assert!((1..=40).contains(&position), "{text:?}: {position}");
    }
}

/// What 40 characters of Z85 stand for, by the letter of RFC 32.
fn bytes(text: &str) -> Option<[u8; KEY_BYTES]> {
    const DIGITS: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ\
                          .-:+=^!/*?&<>()[]{}@%$#";
    let digits: Vec<u64> =
        text.chars().map(|c| DIGITS.find(c).map(|at| at as u64)).collect::<Option<_>>()?;
    let number = |five: &[u64]| u32::try_from(five.iter().fold(0, |sum, digit| sum * 85 + digit));
    let numbers: Vec<u32> =
        digits.chunks(5).map(|five| number(five).ok()).collect::<Option<_>>()?;
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
    (digits.len() == 40).then(|| bytes.try_into().ok()).flatten()
}

fn file(text: &str) {
    let file = match KeyFile::parse(text) {
        Ok(file) => file,
        Err(error) => return refused(text, &error.to_string()),
    };
    let public = file.public_key.map(|key| key.to_string());
    let secret = file.secret_key.as_ref().map(SecretKey::to_z85);
    let mut written = String::new();
    for (name, key) in [("public_key", &public), ("secret-key", &secret)] {
        if let Some(key) = key {
            assert!(text.contains(key.as_str()), "a key that is not there");
            written.push_str(&format!("{name} = \"{key}\"\n"));
        }
    }
    let again = KeyFile::parse(&written).expect("it was just written");
    assert_eq!(again.public_key, file.public_key);
    assert_eq!(again.secret_key.as_ref().map(SecretKey::to_z85), secret);
    if let Some(secret) = secret.filter(|secret| public.as_ref() != Some(secret)) {
        assert!(!format!("{file:?}").contains(&secret));
    }
}

fn refused(text: &str, error: &str) {
    let line = error.strip_prefix("line ").and_then(|rest| rest.split_once(": "));
    let (number, fault) = line.unwrap_or_else(|| panic!("{error:?} names no line"));
    let number: usize = number.parse().expect("a number");
    let line = text.lines().nth(number - 1).unwrap_or_else(|| panic!("{error:?} of {text:?}"));
    let (name, value) = line.split_once('=').expect("a line that says something");
    assert!(["public_key", "secret_key"].contains(&&*name.trim().replace('-', "_")), "{error:?}");
    let value = value.trim();
    let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    // It is no key, or the second one.
    assert_eq!(
        value.parse::<PublicKey>().is_ok(),
        fault.contains("two of these keys"),
        "{error:?}"
    );
}
