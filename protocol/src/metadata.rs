//! Key and value pairs that travel with a request or a READY, and that nothing on
//! the way reads: trace headers, a content type, a worker's description.

use std::fmt;

/// Keys and values in the order they were put, as they travel in MDP/1.0.
///
/// A key is 0 to 255 bytes of UTF-8, a value 0 to 65,535 opaque bytes; all of it
/// together at most 65,535 bytes. A key may stand more than once. Cloning copies.
///
/// ```
/// use majordomo_protocol::Metadata;
///
/// let mut metadata = Metadata::default();
/// metadata.push("content-type", b"application/json")?;
/// assert_eq!(metadata.value("content-type"), Some(&b"application/json"[..]));
/// # Ok::<(), majordomo_protocol::MetadataTooLarge>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Metadata(
    /// Repeated: key length u8, key, value length u16, value. `None` while there is no pair:
    /// mostly, and then it is to be a word to move and nothing to drop.
    #[expect(clippy::box_collection, reason = "hardly any request has metadata")]
    Option<Box<Vec<u8>>>,
);

/// A key, a value, or all pairs together are too long to travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} has {found} bytes, more than {bytes_max}")]
pub struct MetadataTooLarge {
    what: &'static str,
    found: usize,
    bytes_max: usize,
}

impl Metadata {
    const BYTES_MAX: usize = u16::MAX as usize;

    /// Puts a pair behind those there.
    ///
    /// # Errors
    ///
    /// [`MetadataTooLarge`], and nothing was put.
    pub fn push(&mut self, key: &str, value: &[u8]) -> Result<(), MetadataTooLarge> {
        let too_large = |what, found, bytes_max| MetadataTooLarge { what, found, bytes_max };
        let key_bytes = u8::try_from(key.len())
            .map_err(|_| too_large("a metadata key", key.len(), u8::MAX.into()))?;
        let value_bytes = u16::try_from(value.len())
            .map_err(|_| too_large("a metadata value", value.len(), Self::BYTES_MAX))?;
        let total = self.as_bytes().len() + 3 + key.len() + value.len();
        if total > Self::BYTES_MAX {
            return Err(too_large("metadata", total, Self::BYTES_MAX));
        }
        let bytes = self.0.get_or_insert_default();
        bytes.push(key_bytes);
        bytes.extend(key.as_bytes());
        bytes.extend(value_bytes.to_be_bytes());
        bytes.extend(value);
        Ok(())
    }

    /// The pairs in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut rest = self.as_bytes();
        std::iter::from_fn(move || {
            let (key, value, after) = split_pair(rest)?;
            rest = after;
            Some((key, value))
        })
    }

    /// The first value of `key`.
    pub fn value(&self, key: &str) -> Option<&[u8]> {
        self.iter().find(|(found, _)| *found == key).map(|(_, value)| value)
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// As it travels.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |bytes| bytes.as_slice())
    }

    /// Takes what has travelled, if it is pairs and nothing else.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        while !rest.is_empty() {
            (_, _, rest) = split_pair(rest)?;
        }
        let pairs = (!bytes.is_empty()).then(|| Box::new(bytes.to_vec()));
        (bytes.len() <= Self::BYTES_MAX).then_some(Metadata(pairs))
    }
}

/// The first pair, and what follows it.
fn split_pair(bytes: &[u8]) -> Option<(&str, &[u8], &[u8])> {
    let (key_bytes, rest) = bytes.split_first()?;
    let (key, rest) = rest.split_at_checked(usize::from(*key_bytes))?;
    let (value_bytes, rest) = rest.split_first_chunk()?;
    let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*value_bytes)))?;
    Some((std::str::from_utf8(key).ok()?, value, rest))
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs = self.iter().map(|(key, value)| (key, crate::Excerpt::of(value)));
        f.debug_map().entries(pairs).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_come_back_in_order_and_a_cut_one_is_refused() {
        let mut metadata = Metadata::default();
        metadata.push("a", b"1").unwrap();
        metadata.push("", b"").unwrap();
        metadata.push("a", b"2").unwrap();
        let pairs: Vec<_> = metadata.iter().collect();
        assert_eq!(pairs, [("a", &b"1"[..]), ("", b""), ("a", b"2")]);
        assert_eq!(Metadata::from_bytes(metadata.as_bytes()), Some(metadata.clone()));
        let whole = metadata.as_bytes();
        let cut = whole.len() - 1;
        assert_eq!(Metadata::from_bytes(&whole[..cut]), None);
        assert_eq!(Metadata::from_bytes(b"\x01\xff\x00\x00"), None, "a key that is not UTF-8");
    }

    #[test]
    fn what_cannot_travel_is_refused_and_changes_nothing() {
        let mut metadata = Metadata::default();
        assert!(metadata.push(&"k".repeat(256), b"").is_err());
        assert!(metadata.push("k", &[0; 65_536]).is_err());
        metadata.push("k", &[0; 65_000]).unwrap();
        let error = metadata.push("k", &[0; 1_000]).unwrap_err();
        assert_eq!(error.to_string(), "metadata has 66008 bytes, more than 65535");
        assert_eq!(metadata.iter().count(), 1);
    }
}
