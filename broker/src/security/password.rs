//! A password: compared and wiped with care, and printed nowhere.

use std::fmt;

use zeroize::Zeroize;

/// A password, as a file or a peer has it. It is wiped from memory when this is dropped.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Password(Vec<u8>);

impl Password {
    /// A password of these bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Password(bytes.into())
    }

    /// How many bytes it has.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the other one is the same, in a time that depends on their lengths alone.
    pub fn is(&self, other: &Password) -> bool {
        same(&self.0, &other.0)
    }
}

impl Drop for Password {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(hidden)")
    }
}

/// Whether they are equal, in a time that depends on their lengths alone.
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    let differences = a.iter().zip(b).fold(0, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(differences) == 0 && a.len() == b.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_the_same_as_a_whole_and_is_not_printed() {
        let right = Password::new("right");
        assert!(right.is(&Password::new("right")));
        for wrong in ["", "righ", "right2", "Right"] {
            assert!(!right.is(&Password::new(wrong)), "{wrong:?}");
        }
        assert_eq!(format!("{right:?}"), "Password(hidden)");
        assert!(std::mem::needs_drop::<Password>());
    }
}
