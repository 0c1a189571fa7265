//! What crosses the network, in Substrate's own encoding (SCALE).
//!
//! The types here are the wire's, not the ledger's: the codec and the metadata that clients read
//! are derived from the same Rust types, so that they cannot disagree. Names, argument names and
//! pallet numbers are those of Bittensor's runtime.

pub mod api;
pub mod call;
pub mod era;
pub mod error;
pub mod event;
pub mod header;
pub mod metadata;
pub mod primitives;
pub mod storage;

/// Version of calls, storage and rules; clients cache metadata under it and the genesis hash.
///
/// Raise it whenever the metadata or a rule of the ledger changes.
pub const SPEC_VERSION: u32 = 4;

/// Version of the bytes of an extrinsic around the call.
pub const TRANSACTION_VERSION: u32 = 1;

/// Prefix of SS58 addresses.
pub const SS58_PREFIX: u16 = 42;

/// Decimals of a TAO.
pub const TOKEN_DECIMALS: u32 = 9;

/// Symbol of the token.
pub const TOKEN_SYMBOL: &str = "TAO";

#[cfg(test)]
mod tests;
