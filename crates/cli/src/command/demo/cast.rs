//! Who takes part in a demo, with which keys and which recipes.

use chain::Keypair;
use protocol::Seed;
use std::path::Path;

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
    /// Publishes the model that the user brought.
    Own,
}

impl Role {
    /// The validators, largest stake first.
    pub const VALIDATORS: [Self; 3] = [Self::Validator(1), Self::Validator(2), Self::Validator(3)];

    /// The miners that every demo has.
    const MINERS: [Self; 5] =
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
            Self::Own => "yours",
        }
    }

    /// Everybody in a demo with or without a model of the user's, validators first; the order of
    /// registration.
    pub fn cast(own_model: Option<&Path>) -> Vec<Self> {
        let own = own_model.map(|_| Self::Own);
        Self::VALIDATORS.into_iter().chain(Self::MINERS).chain(own).collect()
    }

    /// Whether it trains models.
    pub fn trains(self) -> bool {
        matches!(self, Self::Honest(_) | Self::Rebaser)
    }

    /// Whether it publishes models.
    pub fn is_miner(self) -> bool {
        !matches!(self, Self::Validator(_))
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
