//! How weights are handed to a subnet: openly, or hidden until a round of a beacon.
//!
//! A subnet that hides weights takes them encrypted; the chain opens them itself, in the epoch that
//! is `reveal_period` epochs after the commit. Which way a subnet wants is read each time, never
//! configured: its owner may change it at any block.

use crate::{
    Call, Error, Mechanism,
    epoch::{Epochs, Reached},
    ledger::COMMIT_REVEAL_VERSION,
};
use keys::Keypair;
use protocol::{Block, NetUid, Uid, yuma};
use serde::{Deserialize, Serialize};
use timelock::{Beacon, Forecast, Secrets};

/// Blocks after the next in which a call may still be included where all goes well. Nothing is
/// hidden where the epoch ends before them: the call would end with the epoch, and be made in vain.
const INCLUSION_BLOCKS: u64 = 4;

/// The part of an epoch in which nothing is hidden, at most: one of so many. Where epochs are short
/// no block of them can be spared.
const PART_OF_EPOCH: u64 = 16;

/// Most epochs between commit and reveal, as on the chain.
const REVEAL_PERIOD_MAX: u64 = 100;

/// Weights of a validator for a subnet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weights {
    /// Subnet.
    pub netuid: NetUid,
    /// Which of its mechanisms.
    pub mechanism: Mechanism,
    /// Miners.
    pub uids: Vec<Uid>,
    /// Their weights, same order; only the ratios count.
    pub weights: Vec<u16>,
    /// Version of the rules the validator runs.
    pub version_key: u64,
}

/// What a subnet that hides weights says of it after its newest block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HidingRules {
    /// The newest block: a call that is signed now stands in the next at the earliest.
    pub head: Block,
    /// Where the subnet is in its epochs after that block.
    pub epochs: Epochs,
    /// Epochs between commit and reveal.
    pub reveal_period: u64,
    /// Version of the scheme.
    pub version: u16,
    /// The beacon.
    pub beacon: Beacon,
    /// What the beacon's clock says now, in milliseconds.
    pub now_ms: u64,
    /// What a block takes on that clock, in milliseconds.
    pub block_ms: u64,
}

/// Weights cannot be hidden now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HidingError {
    /// The epoch ends so soon that the commit might not be included before, and be in vain.
    #[error("the epoch ends in block {begins}: hide them in {blocks} blocks, in the next epoch")]
    TooNearTheBorder {
        /// First block of the next epoch.
        begins: Block,
        /// After how many blocks to ask again.
        blocks: u64,
    },
    /// The beacon makes the round after the epoch that opens them: they would never be open.
    #[error("round {round} of the beacon comes after block {until}, when their epoch is over")]
    TooLate {
        /// The round.
        round: u64,
        /// Last block of the epoch.
        until: Block,
    },
    /// The beacon has made the round: everybody could read them at once.
    #[error("round {round} of the beacon, which would open them, has come already")]
    Published {
        /// The round.
        round: u64,
    },
    /// No chain has such a rule.
    #[error("{epochs} epochs between commit and reveal are none of 1 to 100")]
    Period {
        /// What the rule says.
        epochs: u64,
    },
    /// No chain can be in such a state.
    #[error("the last epoch, of block {last}, is said to come after the newest block, {head}")]
    EpochAhead {
        /// Block of the last epoch.
        last: Block,
        /// The newest block.
        head: Block,
    },
}

/// When hidden weights are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reveal {
    /// Number of the epoch in which they must be committed; 0 in what was noted without it.
    #[serde(default)]
    pub epoch: u64,
    /// Round of the beacon that opens them.
    pub round: u64,
    /// First block of the epoch in which the chain opens them.
    pub from: Block,
    /// Last block of it: what is not open by then never will be.
    pub until: Block,
}

/// A call with what it must wait for: weights as a subnet takes them, or any other call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed {
    /// The call that hands them over.
    pub call: Call,
    /// When they are opened, where they are hidden.
    pub reveal: Option<Reveal>,
    /// Last block that may include the call: hidden weights are readable almost an epoch before
    /// they are opened where a later epoch than was reckoned with takes them in. `None` where
    /// weights are not hidden, and any block will do.
    pub last: Option<Block>,
}

impl From<Call> for Handed {
    fn from(call: Call) -> Self {
        Self { call, reveal: None, last: None }
    }
}

impl Weights {
    /// The row that the chain keeps of them: targets and values, in order of target.
    pub fn row(&self) -> Vec<(Uid, u16)> {
        let values = yuma::max_upscale(&self.weights);
        let mut row: Vec<(Uid, u16)> = self.uids.iter().copied().zip(values).collect();
        row.sort_unstable();
        row
    }

    /// Openly.
    pub fn openly(&self) -> Handed {
        let Self { netuid, mechanism, uids, weights, version_key } = self.clone();
        // Chains without mechanisms know the plain call alone.
        let call = match mechanism {
            Mechanism::FIRST => Call::SetWeights { netuid, uids, weights, version_key },
            _ => Call::SetMechanismWeights { netuid, mechanism, uids, weights, version_key },
        };
        call.into()
    }

    /// Encrypted to the round by which the rules open them.
    ///
    /// The secrets of the encryption follow from the key and from all that is encrypted: they are
    /// used for the same bytes only, and nobody can guess them; a run can be repeated, and a bad
    /// random generator does no harm.
    ///
    /// An error that is transient means that the same may be tried again, in a later block.
    pub fn hidden(&self, rules: &HidingRules, signer: &Keypair) -> Result<Handed, Error> {
        rules.check_version()?;
        let last = Some(rules.last_block()?);
        let reveal = rules.reveal()?;
        let plain = timelock::Weights {
            hotkey: Some(signer.public().0),
            uids: self.uids.iter().map(|uid| uid.0).collect(),
            values: self.weights.clone(),
            version_key: self.version_key,
        };
        let plain = plain.to_bytes();
        let mut context = rules.beacon.public_key.0.to_vec();
        context.extend(reveal.round.to_le_bytes());
        context.extend(self.mechanism.index(self.netuid).to_le_bytes());
        context.extend(&plain);
        let secret = signer.secret_for("time-locked weights", &context);
        let secrets = Secrets::derive(&secret, &context);
        let sealed = timelock::seal(&rules.beacon.public_key, reveal.round, &plain, secrets)?;
        let (netuid, mechanism) = (self.netuid, self.mechanism);
        let (round, version) = (reveal.round, rules.version);
        let call = match mechanism {
            Mechanism::FIRST => Call::CommitTimelockedWeights { netuid, sealed, round, version },
            _ => {
                Call::CommitTimelockedMechanismWeights { netuid, mechanism, sealed, round, version }
            }
        };
        Ok(Handed { call, reveal: Some(reveal), last })
    }
}

impl HidingRules {
    /// When weights are opened that are committed in the next block.
    ///
    /// The round comes three blocks into the epoch, as the clients of Bittensor reckon it: the
    /// chain must have it when it looks, and looks at each block of the epoch. Rules that no chain
    /// has, and a round before now or after the epoch, are errors.
    pub fn reveal(&self) -> Result<Reveal, Error> {
        self.check_state()?;
        let Reached { epoch: opened, first_block: from } =
            self.epochs.reveal(self.head, self.reveal_period)?;
        let forecast =
            Forecast { head: self.head.0, now_ms: self.now_ms, block_time_ms: self.block_ms };
        let round = self.beacon.reveal_round(&forecast, from.0);
        let next = self.epochs.first_block_of(opened.saturating_add(1), self.next_block())?;
        let until = Block(next.0.saturating_sub(1));
        let published_ms = self.beacon.published_ms(round);
        if published_ms <= self.now_ms {
            return Err(HidingError::Published { round }.into());
        }
        if published_ms > forecast.time_ms(until.0) {
            return Err(HidingError::TooLate { round, until }.into());
        }
        let epoch = self.epochs.number_at(self.next_block());
        Ok(Reveal { epoch, round, from, until })
    }

    /// The block in which a call that is signed now stands at the earliest.
    fn next_block(&self) -> Block {
        Block(self.head.0.saturating_add(1))
    }

    /// Of another version than ours nobody knows what the chain takes it for.
    fn check_version(&self) -> Result<(), Error> {
        if self.version == COMMIT_REVEAL_VERSION {
            return Ok(());
        }
        let what = format!("version {COMMIT_REVEAL_VERSION} of hidden weights");
        Err(Error::Incompatible { what })
    }

    /// What an endpoint makes up, to have weights readable early.
    fn check_state(&self) -> Result<(), HidingError> {
        if !(1..=REVEAL_PERIOD_MAX).contains(&self.reveal_period) {
            return Err(HidingError::Period { epochs: self.reveal_period });
        }
        let (last, head) = (self.epochs.last_epoch_block, self.head);
        if last > head {
            return Err(HidingError::EpochAhead { last, head });
        }
        Ok(())
    }

    /// Last block of the epoch reckoned with; an error where a commit that is included some blocks
    /// late might stand after it.
    fn last_block(&self) -> Result<Block, Error> {
        let commit = self.next_block();
        let late = INCLUSION_BLOCKS.min(u64::from(self.epochs.tempo) / PART_OF_EPOCH);
        let next = self.epochs.number_at(commit).saturating_add(1);
        let begins = self.epochs.first_block_of(next, commit)?;
        if begins.since(commit) > late {
            return Ok(Block(begins.0.saturating_sub(1)));
        }
        let blocks = begins.since(commit);
        Err(HidingError::TooNearTheBorder { begins, blocks }.into())
    }
}

impl HidingError {
    /// Whether the same may be hidden later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::TooNearTheBorder { .. } | Self::Published { .. })
    }
}

#[cfg(test)]
mod tests;
