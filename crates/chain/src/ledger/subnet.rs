//! State of a subnet and its slots.

use super::{Hyperparameters, SubnetIdentity};
use crate::epoch::Epochs;
use protocol::{AccountId, Block, Uid};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One subnet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Subnet {
    /// Coldkey that gets the owner's cut.
    pub owner: AccountId,
    /// The owner's own slot-holder, if the subnet was opened by a call; never pruned.
    pub owner_hotkey: Option<AccountId>,
    /// Rules that its owner chose.
    pub hyperparameters: Hyperparameters,
    /// Slots in order of uid.
    pub slots: Vec<Slot>,
    /// Slot of every registered hotkey.
    pub uids: BTreeMap<AccountId, Uid>,
    /// Last commitment of every hotkey that ever committed here, registered or not.
    pub commitments: BTreeMap<AccountId, Commitment>,
    /// Commits to weights that wait for their reveal, oldest first; never an empty list.
    pub weight_commits: BTreeMap<AccountId, Vec<WeightCommit>>,
    /// Time-locked commits by the epoch in which they came, in the order in which they did; never
    /// an empty list.
    pub timelocked: BTreeMap<u64, Vec<TimelockedCommit>>,
    /// What a slot costs now.
    pub burn_rao: u64,
    /// Slots bought in this block.
    pub registrations_this_block: u16,
    /// Slots bought since the price was last adjusted.
    pub registrations_this_interval: u32,
    /// Emission that waits for the next epoch.
    pub pending_rao: u64,
    /// What the owner got since the last epoch.
    pub owner_rao: u64,
    /// What the owner locked to open the subnet.
    pub locked_rao: u64,
    /// Block at which it was opened; zero if it was there from the start.
    pub opened_at: Block,
    /// Block of the last epoch that paid; zero before the first.
    pub last_epoch: Block,
    /// Where the subnet is in its epochs.
    pub cycle: Cycle,
    /// What its owner says of it.
    pub identity: Option<SubnetIdentity>,
    /// Block of the last swap of a hotkey here, by the coldkey that swapped.
    pub swaps: BTreeMap<AccountId, Block>,
}

/// Where a subnet is in its epochs, which come every `tempo` blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cycle {
    /// Block of the last epoch, or of what began its count anew.
    pub last_epoch_block: Block,
    /// Epochs so far.
    pub index: u64,
    /// Blocks since the last epoch.
    pub blocks_since_step: u64,
}

/// One slot with what the last epoch said about it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Slot {
    /// Key in the slot.
    pub hotkey: AccountId,
    /// Block at which the slot was taken.
    pub block_at_registration: Block,
    /// Block at which it last set weights, or committed to some, or registered.
    pub last_update: Block,
    /// Whether it may weigh others.
    pub validator_permit: bool,
    /// Whether it set weights recently enough.
    pub active: bool,
    /// Consensus of the last epoch, of 65,535.
    pub consensus: u16,
    /// Share in what miners earn, of 65,535.
    pub incentive: u16,
    /// Share in what validators earn, of 65,535.
    pub dividends: u16,
    /// Validator trust of the last epoch, of 65,535.
    pub validator_trust: u16,
    /// Rao paid by the last epoch, miner and validator part together.
    pub emission_rao: u64,
    /// The lowest loses its slot first.
    pub pruning_score: u16,
    /// Weights it set: target and value.
    pub weights: Vec<(u16, u16)>,
    /// Bonds it holds: target and value.
    pub bonds: Vec<(u16, u16)>,
}

/// What a hotkey committed, and when: one item, so that nobody can read the content of one
/// commitment with the block of another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Commitment {
    /// Block in which it came.
    pub block: Block,
    /// What was committed.
    pub data: Vec<u8>,
}

/// A commit to weights that waits for its reveal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightCommit {
    /// Hash of the weights and the salt.
    pub hash: [u8; 32],
    /// Block of the commit.
    pub block: Block,
    /// Epoch of that block.
    pub epoch: u64,
}

/// Weights that nobody can read before a round of the beacon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelockedCommit {
    /// The validator.
    pub hotkey: AccountId,
    /// Block of the commit.
    pub block: Block,
    /// The weights, encrypted.
    pub sealed: Vec<u8>,
    /// Round of the beacon whose pulse opens them.
    pub round: u64,
}

impl Subnet {
    pub(super) fn new(owner: AccountId, hyperparameters: Hyperparameters, locked_rao: u64) -> Self {
        let (low, high) = (hyperparameters.min_burn_rao, hyperparameters.max_burn_rao);
        Self {
            owner,
            owner_hotkey: None,
            burn_rao: hyperparameters.burn_rao.clamp(low, high),
            hyperparameters,
            slots: Vec::new(),
            uids: BTreeMap::new(),
            commitments: BTreeMap::new(),
            weight_commits: BTreeMap::new(),
            timelocked: BTreeMap::new(),
            registrations_this_block: 0,
            registrations_this_interval: 0,
            pending_rao: 0,
            owner_rao: 0,
            locked_rao,
            opened_at: Block(0),
            last_epoch: Block(0),
            cycle: Cycle::default(),
            identity: None,
            swaps: BTreeMap::new(),
        }
    }

    /// Its epochs as they stand; owners cannot ask for one here.
    pub fn epochs(&self) -> Epochs {
        let Cycle { last_epoch_block, index, blocks_since_step } = self.cycle;
        Epochs {
            tempo: self.hyperparameters.tempo,
            last_epoch_block,
            pending_epoch_at: None,
            index,
            blocks_since_step,
        }
    }

    /// Goes on by a block; whether an epoch is due in it.
    pub(super) fn step(&mut self, now: Block) -> bool {
        let mut epochs = self.epochs();
        let is_due = epochs.step(now);
        let Epochs { last_epoch_block, index, blocks_since_step, .. } = epochs;
        self.cycle = Cycle { last_epoch_block, index, blocks_since_step };
        is_due
    }

    /// Slot of a registered hotkey.
    pub fn slot(&self, hotkey: &AccountId) -> Option<(Uid, &Slot)> {
        let uid = *self.uids.get(hotkey)?;
        Some((uid, self.slots.get(usize::from(uid.0))?))
    }
}

impl Slot {
    /// A slot just bought: it inherits nothing from whoever held it before.
    pub(super) fn new(hotkey: AccountId, block: Block) -> Self {
        Self {
            hotkey,
            block_at_registration: block,
            last_update: block,
            validator_permit: false,
            active: true,
            consensus: 0,
            incentive: 0,
            dividends: 0,
            validator_trust: 0,
            emission_rao: 0,
            pruning_score: 0,
            weights: Vec::new(),
            bonds: Vec::new(),
        }
    }
}
