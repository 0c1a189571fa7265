//! The whole state as bytes: what the state root hashes, and what a node keeps to start quickly.

use super::Ledger;
use crate::Head;
use protocol::BlockHash;

/// Bytes that are no state of the ledger.
#[derive(Debug, thiserror::Error)]
#[error("the snapshot does not read as a state")]
pub struct SnapshotError(#[from] postcard::Error);

impl Ledger {
    /// The state, field by field in the order of declaration; equal states have equal bytes.
    pub(crate) fn state_bytes(&self) -> Vec<u8> {
        // Numbers, lists and ordered maps always serialize.
        postcard::to_allocvec(self).unwrap_or_default()
    }

    /// The state that `bytes` hold, at the end of the chain with `hashes`.
    pub(crate) fn from_state_bytes(
        bytes: &[u8],
        head: Head,
        hashes: Vec<BlockHash>,
    ) -> Result<Self, SnapshotError> {
        let ledger: Self = postcard::from_bytes(bytes)?;
        Ok(Self { head, hashes, ..ledger })
    }
}
