//! How weights are handed to a subnet: openly, or hidden until a round of a beacon.
//!
//! A subnet that hides weights takes them encrypted; the chain opens them itself, in the epoch that
//! is `reveal_period` epochs after the commit. Which way a subnet wants is read each time, never
//! configured: its owner may change it at any block.

use crate::{
    Call, Error, Mechanism,
    epoch::{Epochs, Reached},
};
use keys::Keypair;
use protocol::{Block, NetUid, Uid, yuma};
use serde::{Deserialize, Serialize};
use timelock::{Beacon, Forecast, Secrets};

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

/// When hidden weights are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reveal {
    /// Round of the beacon that opens them.
    pub round: u64,
    /// First block of the epoch in which the chain opens them.
    pub from: Block,
    /// Last block of it: what is not open by then never will be.
    pub until: Block,
}

/// Weights as a subnet takes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed {
    /// The call that hands them over.
    pub call: Call,
    /// When they are opened, where they are hidden.
    pub reveal: Option<Reveal>,
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
        Handed { call, reveal: None }
    }

    /// Encrypted to the round by which the rules open them.
    ///
    /// The secrets of the encryption follow from the key and from all that is encrypted: they are
    /// used for the same bytes only, and nobody can guess them; a run can be repeated, and a bad
    /// random generator does no harm.
    pub fn hidden(&self, rules: &HidingRules, signer: &Keypair) -> Result<Handed, Error> {
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
        Ok(Handed { call, reveal: Some(reveal) })
    }
}

impl HidingRules {
    /// When weights are opened that are committed in the next block.
    ///
    /// The round comes three blocks into the epoch, as the clients of Bittensor reckon it: the
    /// chain must have it when it looks, and looks at each block of the epoch.
    pub fn reveal(&self) -> Result<Reveal, Error> {
        let Reached { epoch, first_block: from } =
            self.epochs.reveal(self.head, self.reveal_period)?;
        let (head, now_ms, block_time_ms) = (self.head.0, self.now_ms, self.block_ms);
        let round = self.beacon.reveal_round(&Forecast { head, now_ms, block_time_ms }, from.0);
        let next = self.epochs.first_block_of(epoch.saturating_add(1), Block(self.head.0 + 1))?;
        Ok(Reveal { round, from, until: Block(next.0.saturating_sub(1)) })
    }
}
