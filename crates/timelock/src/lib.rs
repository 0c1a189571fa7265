//! Weights that nobody can read before a beacon's round: sealed now, opened by a later signature.
//!
//! A beacon publishes one signature a round, on time and for everybody. [`seal`] encrypts to a
//! round of which there is no signature yet; [`open`] needs nothing but that signature. The bytes
//! between the two are those that Bittensor's chain stores as a time-locked commit of weights and
//! opens by itself: Boneh–Franklin identity-based encryption (`FullIdent`) on BLS12-381 holds the
//! key of an AES-256-GCM text.
//!
//! Pure functions on values: no network, no clock, no files. Which round a commit is sealed to
//! follows from blocks, [`Beacon::reveal_round`]; what stands in it are [`Weights`].

pub mod beacon;
mod curve;
pub mod sealed;
pub mod secrets;
pub mod weights;

pub use beacon::{Beacon, BeaconKey, Forecast, PublicKey, Signature};
pub use sealed::{OVERHEAD_BYTES, OpenError, SealError, open, seal};
pub use secrets::{NoRandomness, Secrets};
pub use weights::{NotWeights, Weights};
