//! When things happen in a demo: which blocks seed rounds, and how many blocks there are.

use anyhow::ensure;
use protocol::Competition;

/// Blocks in which everybody registers and stakes; the network runs from the next one.
pub const N_SET_UP_BLOCKS: u64 = 10;

/// Block before which no round is seeded: by then models have learnt to say more than one word.
const N_BLOCKS_TO_LEARN: u64 = 39;

/// Epochs for which weights stay hidden.
pub const REVEAL_EPOCHS: u64 = 1;

/// Rounds that a demo can have every so many blocks: an epoch opens hidden weights three blocks
/// after its first, and a tempo is a number of 16 bits.
const BLOCKS_PER_ROUND: std::ops::RangeInclusive<u64> = 4..=10_000;

/// The rounds of a demo.
#[derive(Clone, Copy, Debug)]
pub struct Calendar {
    /// Block that seeds the first round.
    pub first_seed: u64,
    /// Blocks from one round to the next.
    pub blocks_per_round: u64,
    /// How many rounds there are.
    pub n_rounds: u64,
    /// Training steps of a miner between two rounds, as near as whole steps per block come to it.
    pub steps_per_round: u64,
}

impl Calendar {
    /// `n_rounds` rounds by the rules of a competition, `steps_per_round` of training apart.
    pub fn new(
        competition: &Competition,
        n_rounds: u64,
        steps_per_round: u64,
    ) -> anyhow::Result<Self> {
        let rules = &competition.evaluation;
        let blocks_per_round = rules.blocks_per_round;
        ensure!(
            BLOCKS_PER_ROUND.contains(&blocks_per_round),
            "`evaluation.blocks_per_round` is {blocks_per_round}: a demo needs {} to {}",
            BLOCKS_PER_ROUND.start(),
            BLOCKS_PER_ROUND.end()
        );
        let age = rules.commitment_age_min;
        ensure!(
            age <= *BLOCKS_PER_ROUND.end(),
            "`evaluation.commitment_age_min` is {age}: a demo takes at most {}",
            BLOCKS_PER_ROUND.end()
        );
        let first_seed = (N_BLOCKS_TO_LEARN + age).next_multiple_of(blocks_per_round);
        Ok(Self { first_seed, blocks_per_round, n_rounds, steps_per_round })
    }

    /// Block that seeds the last round.
    pub fn last_seed(&self) -> u64 {
        self.first_seed + self.blocks_per_round * (self.n_rounds - 1)
    }

    /// Blocks that a run makes after it was set up: until the weights of the last round are paid.
    pub fn n_blocks(&self) -> u64 {
        self.last_seed() + self.blocks_per_round * (REVEAL_EPOCHS + 1) - N_SET_UP_BLOCKS
    }

    /// Blocks in which miners train.
    pub fn n_training_blocks(&self) -> u64 {
        self.last_seed() - N_SET_UP_BLOCKS
    }

    /// Training steps of a miner at each block.
    pub fn steps_per_block(&self) -> u64 {
        (self.steps_per_round / self.blocks_per_round).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_fall_on_blocks_that_the_rules_allow() {
        let mut competition = Competition::builtin("tiny").unwrap();
        for (blocks_per_round, age, first_seed) in
            [(10, 1, 40), (15, 1, 45), (4, 0, 40), (7, 30, 70), (360, 101, 360)]
        {
            competition.evaluation.blocks_per_round = blocks_per_round;
            competition.evaluation.commitment_age_min = age;
            let calendar = Calendar::new(&competition, 3, 100).unwrap();
            assert_eq!(calendar.first_seed, first_seed);
            assert_eq!(calendar.last_seed(), first_seed + 2 * blocks_per_round);
            assert!(calendar.steps_per_block() >= 1);
        }
        for blocks_per_round in [1, 3, 10_001] {
            competition.evaluation.blocks_per_round = blocks_per_round;
            assert!(Calendar::new(&competition, 3, 100).is_err());
        }
    }
}
