//! Roots of randomness: every random choice of the network starts from a [`Seed`].

use crate::{BlockHash, Digest};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

/// Root of one stream of randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub [u8; 32]);

impl Seed {
    /// The seed of a named purpose, such as `evaluation`, in a competition at a block.
    ///
    /// Everybody who knows the block hash derives the same seed; nobody can before the block.
    pub fn of_block(block_hash: BlockHash, competition: &str, purpose: &str) -> Self {
        let fields = [&block_hash.0[..], competition.as_bytes(), purpose.as_bytes()];
        Self(Digest::of_fields("agon seed", &fields).0)
    }

    /// The seed that a person typed as a number.
    pub fn of_number(number: u64) -> Self {
        Self(Digest::of_fields("agon seed number", &[&number.to_le_bytes()]).0)
    }

    /// An independent seed for a part of the work.
    pub fn derive(&self, purpose: &str) -> Self {
        Self(Digest::of_fields("agon seed part", &[&self.0, purpose.as_bytes()]).0)
    }

    /// The stream of random numbers of this seed: ChaCha with 20 rounds, equal on every machine.
    pub fn stream(&self) -> ChaCha20Rng {
        ChaCha20Rng::from_seed(self.0)
    }
}

/// A uniform integer from zero to `bound - 1`, without bias and equal on every machine.
///
/// Takes 64 bits at a time from `rng` and rejects the incomplete last interval. `bound` must be
/// positive.
pub fn uniform_below(rng: &mut impl rand_core::RngCore, bound: u64) -> u64 {
    let rejected = (u64::MAX % bound + 1) % bound;
    loop {
        let word = rng.next_u64();
        if word <= u64::MAX - rejected {
            return word % bound;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::RngCore;

    #[test]
    fn the_stream_of_a_seed_is_frozen() {
        let seed = Seed::of_block(BlockHash([7; 32]), "tiny", "evaluation");
        let frozen = "fb21e3f0ec03fcafd41cff9a22aa53ab2d4e059e6c013cd07d1dd91a03bd8ee0";
        assert_eq!(hex::encode(seed.0), frozen);
        assert_eq!(seed.stream().next_u64(), 3_794_533_385_953_930_602);
    }
}
