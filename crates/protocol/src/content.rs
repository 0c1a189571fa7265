//! What a model is, as hashes: the reference's, and stronger ones of our own.
//!
//! The reference's directory hash leaves out the names of files, so a renamed file changes the
//! meaning of a model but not its hash. [`file_root`] covers names and sizes; [`tensor_root`] is
//! the same for every way of writing the same model to disk. A commitment carries
//! [`bound_hash`]: a root bound to one hotkey and one competition, worthless to a copier.

use crate::{AccountId, CompetitionId, Digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{cmp::Ordering, fmt, str::FromStr};

/// Version of the definition of [`tensor_root`]: roots of two versions are never compared.
pub const TENSOR_ROOT_VERSION: u32 = 2;

/// A SHA-256 as commitments carry it: 44 characters of base64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash(pub [u8; 32]);

/// The text is not 44 characters of base64 for 32 bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a content hash: expected 44 characters of base64")]
pub struct NotAContentHash(String);

/// Root of a repo: path, size and digest of each file, in any order.
///
/// Renaming, moving, splitting or joining files changes it, even where the bytes stay the same.
pub fn file_root(files: &[(&str, u64, Digest)]) -> Digest {
    let mut sorted = files.to_vec();
    sorted.sort_unstable();
    let sizes: Vec<[u8; 8]> = sorted.iter().map(|(_, size, _)| size.to_le_bytes()).collect();
    let mut fields: Vec<&[u8]> = Vec::with_capacity(3 * sorted.len());
    for ((path, _, digest), size) in sorted.iter().zip(&sizes) {
        fields.extend([path.as_bytes(), &size[..], &digest.0[..]]);
    }
    Digest::of_fields("agon files", &fields)
}

/// Root of a model: what it computes, and the digests of the numbers that it computes with.
///
/// The description has no names and says how many digests there are, in which order, and what each
/// is for. Two models with one root give the same losses to the bit, however they are written down.
pub fn tensor_root(description: &[u8], numbers: &[Digest]) -> Digest {
    let numbers = numbers.iter().map(|digest| &digest.0[..]);
    let fields: Vec<&[u8]> = std::iter::once(description).chain(numbers).collect();
    Digest::of_fields("agon model 2", &fields)
}

/// What a miner commits to: `root` bound to its hotkey and to the competition.
pub fn bound_hash(root: &Digest, hotkey: &AccountId, competition: CompetitionId) -> ContentHash {
    let fields = [&root.0[..], &hotkey.0[..], &competition.0.to_le_bytes()[..]];
    ContentHash(Digest::of_fields("agon commitment", &fields).0)
}

/// The reference's hash of one file.
pub fn reference_file_hash(bytes: &[u8]) -> ContentHash {
    ContentHash(Digest::of(bytes).0)
}

/// The reference's hash of a directory from path (with `/`) and hash of each file, in any order.
///
/// Blind to names: see [`file_root`] for what to trust instead.
pub fn reference_directory_hash(files: &[(&str, ContentHash)]) -> ContentHash {
    let mut walked = files.to_vec();
    walked.sort_by(|(a, _), (b, _)| walk_order(a, b));
    let joined: String = walked.iter().map(|(_, hash)| hash.to_string()).collect();
    ContentHash(Digest::of(joined.as_bytes()).0)
}

/// The reference's hash of a directory, bound to a hotkey.
pub fn reference_secure_hash(directory: &ContentHash, hotkey: &AccountId) -> ContentHash {
    hash_of_joined(&directory.to_string(), &hotkey.to_string())
}

fn hash_of_joined(a: &str, b: &str) -> ContentHash {
    ContentHash(Digest::of(format!("{a}{b}").as_bytes()).0)
}

/// Order of a walk from the top: the files of a directory by name, then its directories by name.
fn walk_order(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.split('/').peekable(), b.split('/').peekable());
    loop {
        let (Some(name_a), Some(name_b)) = (a.next(), b.next()) else { return Ordering::Equal };
        let is_directory = (a.peek().is_some(), b.peek().is_some());
        let order = is_directory.0.cmp(&is_directory.1).then(name_a.cmp(name_b));
        if order != Ordering::Equal {
            return order;
        }
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for ContentHash {
    type Err = NotAContentHash;

    /// Reads the one canonical spelling.
    fn from_str(text: &str) -> Result<Self, NotAContentHash> {
        let refuse = || NotAContentHash(text.chars().take(80).collect());
        if text.len() != 44 {
            return Err(refuse());
        }
        // 44 characters are 33 bytes at most: the last of them is padding.
        let mut bytes = [0; 33];
        let n_bytes = STANDARD.decode_slice(text, &mut bytes).map_err(|_| refuse())?;
        let bytes = bytes.get(..n_bytes).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(refuse)
    }
}

impl Serialize for ContentHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContentHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
