//! Bytes as `0x…` texts.

use super::{Answer, bad_parameter};
use protocol::BlockHash;

/// Bytes as text.
pub(super) fn show(bytes: &[u8]) -> String {
    format!("0x{}", ::hex::encode(bytes))
}

/// Text as bytes.
pub(super) fn read(text: &str) -> Answer<Vec<u8>> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    ::hex::decode(digits)
        .map_err(|_| bad_parameter("Invalid params: not an even number of hexadecimal digits"))
}

/// Text as the hash of a block.
pub(super) fn block_hash(text: Option<String>) -> Answer<Option<BlockHash>> {
    let Some(text) = text else { return Ok(None) };
    let hash = text.parse().map_err(|_| bad_parameter("Invalid params: not a block hash"))?;
    Ok(Some(hash))
}
