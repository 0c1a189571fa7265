//! Who takes part in a demo, with which keys and which recipes.

use chain::Keypair;
use protocol::Seed;

/// One participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Validator by number, from 1.
    Validator(u8),
    /// Pretrains from scratch; by number, from 1.
    Honest(u8),
    /// Trains on from the champion's parameters.
    Rebaser,
    /// Republishes the champion with a little noise.
    Copycat,
    /// Publishes models that break the rules, each another one.
    Broken,
}

impl Role {
    /// The validators, largest stake first.
    pub const VALIDATORS: [Self; 3] = [Self::Validator(1), Self::Validator(2), Self::Validator(3)];

    /// The miners.
    pub const MINERS: [Self; 5] =
        [Self::Honest(1), Self::Honest(2), Self::Rebaser, Self::Copycat, Self::Broken];

    /// Name in tables, JSON, folders and repos.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Validator(1) => "validator-1",
            Self::Validator(2) => "validator-2",
            Self::Validator(_) => "validator-3",
            Self::Honest(1) => "honest-1",
            Self::Honest(_) => "honest-2",
            Self::Rebaser => "rebaser",
            Self::Copycat => "copycat",
            Self::Broken => "broken",
        }
    }

    /// Everybody, validators first; the order of registration.
    pub fn all() -> Vec<Self> {
        [&Self::VALIDATORS[..], &Self::MINERS[..]].concat()
    }

    /// Stake in TAO; the three validators hold 50, 30 and 20 percent.
    pub fn stake_tao(self) -> u64 {
        match self {
            Self::Validator(1) => 5_000,
            Self::Validator(2) => 3_000,
            Self::Validator(_) => 2_000,
            _ => 0,
        }
    }

    /// The signing key of this role in the run of `seed`.
    pub fn hotkey(self, seed: Seed) -> Keypair {
        Keypair::from_seed(seed.derive("hotkey").derive(self.name()))
    }

    /// The owner of that key.
    pub fn coldkey(self, seed: Seed) -> Keypair {
        Keypair::from_seed(seed.derive("coldkey").derive(self.name()))
    }
}
