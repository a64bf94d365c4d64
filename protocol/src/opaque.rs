//! Opaque bytes, mostly few: a peer's identity or a task id is copied, compared and hashed
//! several times for every message, so none of that may take more than a few instructions.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Bytes in place: as many as make it three words.
const IN_PLACE_MAX: usize = 22;

/// Bytes that do not change. Equal bytes are always kept in the same way, and those that
/// are not used are 0, so whole words can be compared and hashed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Opaque {
    InPlace { length: u8, bytes: [u8; IN_PLACE_MAX] },
    Shared(Arc<[u8]>),
}

impl Opaque {
    #[inline]
    pub(crate) fn new(content: &[u8]) -> Self {
        let mut bytes = [0; IN_PLACE_MAX];
        match (u8::try_from(content.len()), bytes.get_mut(..content.len())) {
            (Ok(length), Some(start)) => {
                start.copy_from_slice(content);
                Opaque::InPlace { length, bytes }
            }
            _ => Opaque::Shared(Arc::from(content)),
        }
    }

    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Opaque::InPlace { length, bytes } => &bytes[..usize::from(*length)],
            Opaque::Shared(bytes) => bytes,
        }
    }
}

impl Hash for Opaque {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Opaque::InPlace { length, bytes } => {
                let (first, rest) = bytes.split_at(16);
                let (mut words, mut last) = ([0; 16], [*length; 8]);
                words.copy_from_slice(first);
                last[..rest.len()].copy_from_slice(rest);
                state.write_u128(u128::from_ne_bytes(words));
                state.write_u64(u64::from_ne_bytes(last));
            }
            Opaque::Shared(bytes) => bytes.hash(state),
        }
    }
}

impl Ord for Opaque {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl PartialOrd for Opaque {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn bytes_of_any_length_come_back_and_are_told_apart() {
        assert_eq!(size_of::<Opaque>(), 24);
        let all: Vec<Vec<u8>> =
            (0..60).flat_map(|length| [vec![0; length], vec![1; length]]).collect();
        let kept: HashSet<Opaque> = all.iter().map(|bytes| Opaque::new(bytes)).collect();
        // Of length 0 there is one.
        assert_eq!(kept.len(), all.len() - 1);
        for bytes in &all {
            let opaque = Opaque::new(bytes);
            assert_eq!(opaque.as_bytes(), bytes);
            assert!(kept.contains(&opaque.clone()));
            assert_eq!(Opaque::new(&[1, 2]).cmp(&opaque), [1, 2][..].cmp(bytes));
        }
    }
}
