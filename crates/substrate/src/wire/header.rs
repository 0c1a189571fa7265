//! Headers of blocks, whose BLAKE2b-256 is the hash of the block.

use super::primitives::H256;
use parity_scale_codec::{Compact, Decode, Encode};
use scale_info::TypeInfo;

/// A header as Substrate encodes it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Header {
    /// Hash of the parent; zeros before the first block.
    pub parent_hash: H256,
    /// Height.
    #[codec(compact)]
    pub number: u32,
    /// Hash of the whole state after the block.
    ///
    /// Deviation: of all its fields in order, not the root of a trie; no client looks inside.
    pub state_root: H256,
    /// Hash of the extrinsics, in order.
    pub extrinsics_root: H256,
    /// Logs of the engine that made the block; none here.
    pub digest: Digest,
}

/// Logs in a header.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Digest {
    /// The logs.
    pub logs: Vec<DigestItem>,
}

/// A log in a header.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum DigestItem {
    /// Bytes without a meaning here.
    #[codec(index = 0)]
    Other(Vec<u8>),
}

impl Header {
    /// Hash of the block.
    pub fn hash(&self) -> [u8; 32] {
        chain::hash::blake2_256(&self.encode())
    }
}

/// Hash of the extrinsics of a block, given their bytes.
pub fn extrinsics_root(extrinsics: &[&[u8]]) -> H256 {
    // The bytes carry their lengths: one list has one concatenation.
    let mut bytes = Compact(extrinsics.len() as u32).encode();
    extrinsics.iter().for_each(|extrinsic| bytes.extend_from_slice(extrinsic));
    H256(chain::hash::blake2_256(&bytes))
}

#[cfg(test)]
mod tests;
