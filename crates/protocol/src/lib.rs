//! The rules of Agon: types and pure mathematics, without input or output.
//!
//! Everything a verdict depends on lives here, from the loss of a batch (equation 1 of the paper)
//! to the weights a validator sets (equation 6) and the epoch that pays for them (Yuma Consensus).
//! Nothing here reads a file, a clock or the network; randomness enters only as a [`Seed`].

pub mod competition;
pub mod digest;
pub mod id;
pub mod loss;
pub mod outcome;
pub mod seed;
pub mod yuma;

pub use competition::Competition;
pub use digest::Digest;
pub use id::{AccountId, Block, BlockHash, CompetitionId, NetUid, Repo, Revision, Uid};
pub use loss::Loss;
pub use outcome::{Outcome, Reason, ReasonCode};
pub use seed::Seed;
