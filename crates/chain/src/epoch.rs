//! Which epoch a block belongs to, where epochs are a state of the subnet, as on Bittensor since
//! 2026: each begins a tempo after the one before, or when the owner of the subnet says.
//!
//! The chain of 2024 reckons epochs from the number of the block alone.

use protocol::Block;
use serde::{Deserialize, Serialize};

/// Blocks without an epoch after which one is due whatever else is said: the longest tempo that the
/// chain admits, a week of blocks.
///
/// So the official clients reckon. Newer sources of the chain have the tempo itself here, which
/// makes a difference only where the last epoch was moved and the count was not: after a change
/// of the tempo, or an epoch that was skipped.
const BLOCKS_WITHOUT_STEP_MAX: u64 = 50_400;

/// Epochs of a subnet in the state after some block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epochs {
    /// Blocks between two epochs; zero for a subnet that has none.
    pub tempo: u16,
    /// Block of the last epoch.
    pub last_epoch_block: Block,
    /// Block from which one is due because the owner asked for it; the chain stores none as zero.
    pub pending_epoch_at: Option<Block>,
    /// How many epochs there were.
    pub index: u64,
    /// Blocks since the last one.
    pub blocks_since_step: u64,
}

/// When weights that are committed to in the next block are revealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Number of the epoch in which the chain opens them.
    pub epoch: u64,
    /// First block of that epoch.
    pub first_block: Block,
}

/// An epoch has no first block to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EpochError {
    /// The tempo is zero.
    #[error("a subnet of tempo 0 has no epochs")]
    NoEpochs,
    /// Its blocks were earlier, or it has none: another epoch followed in its first block.
    #[error("epoch {epoch} is over before block {}", before.0)]
    Passed {
        /// Number of the epoch.
        epoch: u64,
        /// First block that was looked at.
        before: Block,
    },
    /// It begins later than any regular epoch could.
    #[error("epoch {epoch} does not begin within {blocks} blocks")]
    TooFar {
        /// Number of the epoch.
        epoch: u64,
        /// How many blocks were looked at.
        blocks: u64,
    },
}

impl Epochs {
    /// Whether an epoch runs in `block`, of which this is the state before.
    pub fn is_due(&self, block: Block) -> bool {
        let asked = self.pending_epoch_at.is_some_and(|pending| block >= pending);
        let regular = block.since(self.last_epoch_block) >= u64::from(self.tempo);
        self.tempo != 0 && (asked || regular || self.blocks_since_step > BLOCKS_WITHOUT_STEP_MAX)
    }

    /// Number of the epoch that `block` belongs to, of which this is the state before.
    ///
    /// An epoch that is due counts from the beginning of its block: weights are committed and
    /// revealed before the block gets to it.
    pub fn number_at(&self, block: Block) -> u64 {
        self.index.saturating_add(u64::from(self.is_due(block)))
    }

    /// Number of the epoch that `block` belongs to, of which this is the state after it or a later
    /// one; an epoch before the last counts as if all since were a tempo long.
    pub fn number_of(&self, block: Block) -> u64 {
        let tempo = u64::from(self.tempo).max(1);
        self.index.saturating_sub(self.last_epoch_block.since(block).div_ceil(tempo))
    }

    /// Goes from the state before `block` to that after it; says whether an epoch ran.
    pub fn step(&mut self, block: Block) -> bool {
        self.blocks_since_step = self.blocks_since_step.saturating_add(1);
        let runs = self.is_due(block);
        if runs {
            self.last_epoch_block = block;
            self.pending_epoch_at = None;
            self.index = self.index.saturating_add(1);
            self.blocks_since_step = 0;
        }
        runs
    }

    /// The first block from `from` on that belongs to epoch `target`; this is the state before
    /// `from`. At most as many blocks are looked at as the epochs to come can last.
    ///
    /// As if every block were stepped through, which takes one step for each of the irregular
    /// epochs and a multiplication for the rest.
    pub fn first_block_of(&self, target: u64, from: Block) -> Result<Block, EpochError> {
        if self.tempo == 0 {
            return Err(EpochError::NoEpochs);
        }
        let epochs = target.saturating_sub(self.number_at(from));
        let blocks = epochs.saturating_add(1).saturating_mul(BLOCKS_WITHOUT_STEP_MAX);
        let last = Block(from.0.saturating_add(blocks));
        let too_far = EpochError::TooFar { epoch: target, blocks };
        let (mut state, mut at) = (*self, from);
        loop {
            if at >= last {
                return Err(too_far);
            }
            let number = state.number_at(at);
            if number == target {
                return Ok(at);
            }
            if number > target {
                return Err(EpochError::Passed { epoch: target, before: from });
            }
            if let Some(begins) = state.regular_first_block_of(target, at) {
                return if begins < last { Ok(begins) } else { Err(too_far) };
            }
            let next = state.next_step(at).min(last);
            // The blocks between only make the count of blocks grow.
            state.blocks_since_step = state.blocks_since_step.saturating_add(next.since(at));
            if next < last && state.number_at(next) == target {
                return Ok(next);
            }
            state.step(next);
            at = Block(next.0.saturating_add(1));
        }
    }

    /// When weights that the block after `at` takes in are revealed; this is the state after `at`,
    /// and `period` the number of epochs that they stay sealed.
    pub fn reveal(&self, at: Block, period: u64) -> Result<Reached, EpochError> {
        let commit = Block(at.0.saturating_add(1));
        let epoch = self.number_at(commit).saturating_add(period);
        Ok(Reached { epoch, first_block: self.first_block_of(epoch, commit)? })
    }

    /// The first block of epoch `target`, which is still to come, where one epoch follows the other
    /// in equal steps; `None` in any other case. This is the state before `at`.
    fn regular_first_block_of(&self, target: u64, at: Block) -> Option<Block> {
        // Beyond the longest tempo an epoch runs because none did; none of its own block foresees
        // that, so that the number grows with the next.
        let overdue = BLOCKS_WITHOUT_STEP_MAX.saturating_add(1);
        let tempo = u64::from(self.tempo);
        let (interval, delay) = if tempo <= overdue { (tempo, 0) } else { (overdue, 1) };
        let age = at.since(self.last_epoch_block);
        let is_regular = self.pending_epoch_at.is_none()
            && (1..=interval).contains(&age)
            && self.blocks_since_step == age.saturating_sub(1);
        let blocks = target.checked_sub(self.index)?.saturating_mul(interval);
        let begins = self.last_epoch_block.0.saturating_add(blocks).saturating_add(delay);
        is_regular.then_some(Block(begins))
    }

    /// The first block from `at` on in which an epoch runs; this is the state before `at`.
    fn next_step(&self, at: Block) -> Block {
        let regular = self.last_epoch_block.0.saturating_add(u64::from(self.tempo));
        let uncounted = BLOCKS_WITHOUT_STEP_MAX.saturating_sub(self.blocks_since_step);
        let overdue = at.0.saturating_add(uncounted);
        let asked = self.pending_epoch_at.map_or(u64::MAX, |pending| pending.0);
        Block(regular.min(overdue).min(asked).max(at.0))
    }
}

#[cfg(test)]
mod tests;
