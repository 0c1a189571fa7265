//! The rules of Agon: types and pure mathematics, without input or output.
//!
//! Everything a verdict depends on lives here, from the loss of a batch (equation 1 of the paper)
//! to the weights a validator sets (equation 6) and the epoch that pays for them (Yuma Consensus).
//! Nothing here reads a file, a clock or the network; randomness enters only as a [`Seed`].

pub mod champion;
pub mod commitment;
pub mod competition;
pub mod content;
pub mod digest;
pub mod duel;
pub mod epsilon;
pub mod error;
pub mod files;
pub mod id;
pub mod lineage;
pub mod loss;
pub mod math;
pub mod offer;
pub mod outcome;
pub mod owner;
pub mod pool;
pub mod publication;
pub mod queue;
pub mod record;
pub mod schedule;
pub mod score;
pub mod seed;
pub mod set;
pub mod text;
pub mod unigram;
pub mod weights;
pub mod wins;
pub mod yuma;

pub use champion::champion;
pub use commitment::Commitment;
pub use competition::Competition;
pub use content::ContentHash;
pub use digest::Digest;
pub use error::Error;
pub use id::{AccountId, Block, BlockHash, CompetitionId, NetUid, Repo, Revision, Uid};
pub use loss::{Loss, SequenceLoss};
pub use offer::Offer;
pub use outcome::{Outcome, Reason, ReasonCode};
pub use record::Record;
pub use schedule::Schedule;
pub use score::{Merit, Verdict, score};
pub use seed::Seed;
pub use set::{CompetitionSet, SetCommitment};
pub use unigram::unigram;
pub use wins::{Entry, Seniority};
