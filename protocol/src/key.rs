//! CURVE keys as text and bytes: what stands in key files and rights files.
//!
//! A key has 32 bytes, written as 40 characters of Z85 (ZeroMQ RFC 32). Here is no
//! cryptography, no file and no libzmq: whoever makes, reads or uses keys does that
//! elsewhere.
//! A secret key is a type of its own, so that none is printed or compared by accident.

use std::fmt;
use std::str::FromStr;

use zeroize::Zeroize;

/// The bytes of a CURVE key.
pub const KEY_BYTES: usize = 32;

/// The characters of a CURVE key in Z85.
pub const KEY_CHARS: usize = 40;

/// Z85 has these 85 digits, from 0 to 84.
const DIGITS: &[u8; 85] =
    b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/// A public CURVE key: it says who somebody is, and may be known to everybody.
///
/// ```
/// use majordomo_protocol::PublicKey;
///
/// let text = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID";
/// let key: PublicKey = text.parse()?;
/// assert_eq!(key.to_string(), text);
/// # Ok::<(), majordomo_protocol::InvalidKey>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey([u8; KEY_BYTES]);

impl PublicKey {
    /// The key of these bytes.
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        PublicKey(bytes)
    }

    /// Its bytes, as libzmq takes them.
    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl FromStr for PublicKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        decode(text).map(PublicKey)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// A secret CURVE key. It is printed nowhere: `Debug` hides it, there is no `Display`,
/// and [`SecretKey::to_z85`] is to be called only where a key file is written. It is wiped
/// from memory when this is dropped.
///
/// ```
/// use majordomo_protocol::SecretKey;
///
/// let key: SecretKey = "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6".parse()?;
/// assert_eq!(format!("{key:?}"), "SecretKey(hidden)");
/// # Ok::<(), majordomo_protocol::InvalidKey>(())
/// ```
#[derive(Clone)]
pub struct SecretKey([u8; KEY_BYTES]);

impl SecretKey {
    /// The key of these bytes.
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        SecretKey(bytes)
    }

    /// Its bytes, as libzmq takes them.
    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Its text, for a key file and nowhere else.
    pub fn to_z85(&self) -> String {
        encode(&self.0)
    }
}

impl FromStr for SecretKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        decode(text).map(SecretKey)
    }
}

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(hidden)")
    }
}

/// What a key file says: one of its keys, or both.
///
/// Lines of the form `name = "value"`; of these `public_key` and `secret_key` mean
/// something, with a hyphen too, and others are passed over. Empty lines, lines that
/// begin with `#` and lines without `=` are passed over. So the certificates that czmq
/// and pyzmq write are key files as well.
///
/// ```
/// use majordomo_protocol::KeyFile;
///
/// let file = KeyFile::parse(
///     "# made by somebody\n\
///      public_key = \"Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID\"\n",
/// )?;
/// assert!(file.public_key.is_some() && file.secret_key.is_none());
/// # Ok::<(), majordomo_protocol::InvalidKeyFile>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct KeyFile {
    /// The public key.
    pub public_key: Option<PublicKey>,
    /// The secret key.
    pub secret_key: Option<SecretKey>,
}

impl KeyFile {
    /// Reads the text of a key file.
    ///
    /// # Errors
    ///
    /// [`InvalidKeyFile`] names the line of a key that is none, or of a second one of
    /// its name. No error has a character of a key in it.
    pub fn parse(text: &str) -> Result<Self, InvalidKeyFile> {
        let mut file = KeyFile::default();
        for (line, number) in text.lines().zip(1..) {
            let Some((name, value)) = line.split_once('=').filter(|_| !is_comment(line)) else {
                continue;
            };
            let name = name.trim().replace('-', "_");
            let value = value.trim();
            let unquoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            let value = unquoted.unwrap_or(value);
            let failed = |fault| InvalidKeyFile { line: number, fault };
            let twice = match name.as_str() {
                "public_key" => file.public_key.replace(value.parse().map_err(failed)?).is_some(),
                "secret_key" => file.secret_key.replace(value.parse().map_err(failed)?).is_some(),
                _ => false,
            };
            if twice {
                return Err(failed(InvalidKey::Twice));
            }
        }
        Ok(file)
    }
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

/// A text that is no CURVE key. It does not say what was found: that may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKey {
    /// It is too short or too long.
    #[error("a key has {KEY_CHARS} characters, this has {found}")]
    Length {
        /// How many characters it has.
        found: usize,
    },
    /// It holds a character that Z85 does not have, or five that stand for no number.
    #[error("a key is written in Z85, which this is not from character {position} on")]
    Digit {
        /// Where, from 1.
        position: usize,
    },
    /// A key file has two keys of one name.
    #[error("the file has two of these keys")]
    Twice,
}

/// A key file with something that is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct InvalidKeyFile {
    /// Which line, from 1.
    line: usize,
    /// What is wrong with it.
    fault: InvalidKey,
}

/// Four bytes are a number in base 256, and five digits the same in base 85.
fn encode(bytes: &[u8; KEY_BYTES]) -> String {
    let mut text = String::with_capacity(KEY_CHARS);
    for four in bytes.chunks_exact(4) {
        let number = four.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        for power in [85_u32.pow(4), 85_u32.pow(3), 85_u32.pow(2), 85, 1] {
            text.push(char::from(DIGITS[(number / power % 85) as usize]));
        }
    }
    text
}

fn decode(text: &str) -> Result<[u8; KEY_BYTES], InvalidKey> {
    let found = text.chars().count();
    if found != KEY_CHARS {
        return Err(InvalidKey::Length { found });
    }
    let mut bytes = [0; KEY_BYTES];
    // One by one: a list of them would be a copy of what may be a secret.
    let mut digits = text.chars();
    let value = |digit: char| DIGITS.iter().position(|known| char::from(*known) == digit);
    for (n, four) in bytes.chunks_exact_mut(4).enumerate() {
        let wrong = InvalidKey::Digit { position: 5 * n + 1 };
        let mut number: u64 = 0;
        for digit in digits.by_ref().take(5) {
            number = number * 85 + value(digit).ok_or(wrong)? as u64;
        }
        four.copy_from_slice(&u32::try_from(number).map_err(|_| wrong)?.to_be_bytes());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vector of RFC 32, four times over.
    const BYTES: [u8; 8] = [0x86, 0x4F, 0xD2, 0x6F, 0xB5, 0x59, 0xF7, 0x5B];
    const TEXT: &str = "HelloWorld";

    #[test]
    fn keys_are_written_in_z85() {
        let bytes: [u8; KEY_BYTES] = BYTES.repeat(4).try_into().expect("32 bytes");
        let text = TEXT.repeat(4);
        assert_eq!(PublicKey::new(bytes).to_string(), text);
        assert_eq!(text.parse(), Ok(PublicKey::new(bytes)));
        let secret: SecretKey = text.parse().expect("a key");
        assert_eq!((secret.as_bytes(), secret.to_z85()), (&bytes, text));
        for bytes in [[0; KEY_BYTES], [0xff; KEY_BYTES]] {
            assert_eq!(PublicKey::new(bytes).to_string().parse(), Ok(PublicKey::new(bytes)));
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let refused = |text: &str| text.parse::<PublicKey>().expect_err(text);
        assert_eq!(refused(""), InvalidKey::Length { found: 0 });
        assert_eq!(refused(&"0".repeat(41)), InvalidKey::Length { found: 41 });
        assert_eq!(refused(&"ä".repeat(40)), InvalidKey::Digit { position: 1 });
        assert_eq!(refused(&("0".repeat(39) + "\"")), InvalidKey::Digit { position: 36 });
        // More than four bytes can hold.
        assert_eq!(refused(&"#".repeat(40)), InvalidKey::Digit { position: 1 });
    }

    #[test]
    fn a_key_file_may_be_a_certificate_of_czmq() {
        let text = TEXT.repeat(4);
        let file = format!(
            "#   ****  Generated  ****\nmetadata\n    name = \"x\"\ncurve\n    \
             public-key = \"{text}\"\n    secret-key = \"{text}\"\n"
        );
        let file = KeyFile::parse(&file).expect("a key file");
        assert_eq!(file.public_key.map(|key| key.to_string()), Some(text.clone()));
        assert_eq!(file.secret_key.as_ref().map(SecretKey::to_z85), Some(text.clone()));
        assert!(!format!("{file:?}").contains(&format!("secret_key: Some(SecretKey({text}")));
        assert!(KeyFile::parse("").is_ok_and(|file| file.secret_key.is_none()));
        // A key may hold # and =.
        let odd = "#=".repeat(20).replace('#', "0");
        assert!(KeyFile::parse(&format!("secret_key={odd}")).is_ok());
    }

    #[test]
    fn a_faulty_key_file_names_the_line_and_no_key() {
        let text = TEXT.repeat(4);
        let wrong = format!("\nsecret_key = \"{text}x\"");
        let error = KeyFile::parse(&wrong).expect_err("too long").to_string();
        assert_eq!(error, "line 2: a key has 40 characters, this has 41");
        let twice = format!("public_key = \"{text}\"\npublic-key = \"{text}\"");
        let error = KeyFile::parse(&twice).expect_err("twice").to_string();
        assert_eq!(error, "line 2: the file has two of these keys");
    }
}
