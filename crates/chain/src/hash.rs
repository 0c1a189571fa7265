//! The one hash of the chain.

use blake2::{Blake2b, Digest as _, digest::consts::U32};

/// BLAKE2b with 32 bytes of output, the hash of Substrate.
pub fn blake2_256(bytes: &[u8]) -> [u8; 32] {
    Blake2b::<U32>::digest(bytes).into()
}
