//! SHA-256 digests and how they are written down.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};
use sha2::{Digest as _, Sha256};
use std::{cmp::Ordering, fmt, str::FromStr};

/// A SHA-256 digest; written `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

/// Orders 32 bytes as arrays of bytes are ordered.
///
/// Digests and keys mostly differ in the first eight, which costs less to see than a call that
/// compares memory of any length; maps of them do little else.
#[inline]
pub(crate) fn in_order(a: &[u8; 32], b: &[u8; 32]) -> Ordering {
    let [a, b] =
        [a, b].map(|bytes| bytes.as_chunks::<8>().0.iter().map(|word| u64::from_be_bytes(*word)));
    a.cmp(b)
}

/// Orders types around 32 bytes by these.
macro_rules! ordered_by_bytes {
    ($($type:ty),*) => {$(
        impl Ord for $type {
            #[inline]
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                crate::digest::in_order(&self.0, &other.0)
            }
        }

        impl PartialOrd for $type {
            #[inline]
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }
    )*};
}
pub(crate) use ordered_by_bytes;
ordered_by_bytes!(Digest);

/// The text is not `sha256:` followed by 64 hexadecimal digits.
#[derive(Debug, Clone, thiserror::Error)]
#[error("`{0}` is not a digest: expected `sha256:` and 64 hexadecimal digits")]
pub struct NotADigest(String);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of several fields under a domain tag, each prefixed with its length.
    ///
    /// The length prefixes make the encoding injective: no two different lists of fields collide.
    pub fn of_fields(domain: &str, fields: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for field in std::iter::once(domain.as_bytes()).chain(fields.iter().copied()) {
            hasher.update((field.len() as u64).to_le_bytes());
            hasher.update(field);
        }
        Self(hasher.finalize().into())
    }

    /// The digest of a value of ours as canonical JSON.
    pub(crate) fn of_json(value: &impl Serialize) -> Self {
        Self::of(&canonical_json(value))
    }

    /// The 64 hexadecimal digits alone.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

/// The bytes of a value of ours as JSON: fields in the order of their declaration, no spaces,
/// numbers in the shortest form that reads back to the same bits.
pub(crate) fn canonical_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("types of this crate have text keys and write to memory")
}

impl Digest {
    const PREFIX: &str = "sha256:";

    /// Its text, in place: records have thousands of them.
    fn text(&self) -> [u8; 71] {
        in_digits(Self::PREFIX, &self.0)
    }
}

/// A prefix and 64 hexadecimal digits, which are `N` characters together.
pub(crate) fn in_digits<const N: usize>(prefix: &str, bytes: &[u8; 32]) -> [u8; N] {
    let mut text = [0; N];
    let (before, digits) = text.split_at_mut(prefix.len());
    before.copy_from_slice(prefix.as_bytes());
    hex::encode_to_slice(bytes, digits).expect("32 bytes are 64 digits");
    text
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let refuse = || NotADigest(text.chars().take(80).collect());
        let digits = text.strip_prefix(Self::PREFIX).ok_or_else(refuse)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| refuse())?;
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(&self.text()).map_err(S::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_survives_its_own_text() {
        let digest = Digest::of(b"hello");
        assert_eq!(
            digest.to_string(),
            "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
        );
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        assert!("2cf24dba".parse::<Digest>().is_err());
    }

    #[test]
    fn digests_are_ordered_as_their_bytes() {
        let of = |place: usize, byte: u8| {
            let mut bytes = [7; 32];
            bytes[place] = byte;
            bytes
        };
        let bytes: Vec<[u8; 32]> = (0..32)
            .flat_map(|place| [0, 6, 8, 127, 128, 255].map(|byte| of(place, byte)))
            .collect();
        for (a, b) in bytes.iter().flat_map(|a| bytes.iter().map(move |b| (a, b))) {
            assert_eq!(Digest(*a).cmp(&Digest(*b)), a.cmp(b), "{a:?} {b:?}");
            assert_eq!(Digest(*a) == Digest(*b), a == b);
        }
    }

    #[test]
    fn moving_a_byte_between_fields_changes_the_digest() {
        assert_ne!(Digest::of_fields("t", &[b"ab", b"c"]), Digest::of_fields("t", &[b"a", b"bc"]));
    }
}
