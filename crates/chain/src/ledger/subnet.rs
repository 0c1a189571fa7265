//! State of a subnet and its slots.

use super::{Hyperparameters, reveal::WeightCommit};
use protocol::{AccountId, Block, Uid};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One subnet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Subnet {
    /// Coldkey that gets the owner's cut.
    pub(crate) owner: AccountId,
    /// The owner's own slot-holder, if the subnet was opened by a call; never pruned.
    pub(crate) owner_hotkey: Option<AccountId>,
    pub(crate) hyperparameters: Hyperparameters,
    /// Slots in order of uid.
    pub(crate) slots: Vec<Slot>,
    /// Slot of every registered hotkey.
    pub(crate) uids: BTreeMap<AccountId, Uid>,
    /// Last commitment of every hotkey that ever committed here, registered or not.
    pub(crate) commitments: BTreeMap<AccountId, Commitment>,
    /// Commits to weights that wait for their reveal, oldest first; never an empty list.
    pub(crate) weight_commits: BTreeMap<AccountId, Vec<WeightCommit>>,
    /// What a slot costs now.
    pub(crate) burn_rao: u64,
    pub(crate) registrations_this_block: u16,
    pub(crate) registrations_this_interval: u32,
    /// Emission that waits for the next epoch.
    pub(crate) pending_rao: u64,
    /// What the owner got since the last epoch.
    pub(crate) owner_rao: u64,
    /// What the owner locked to open the subnet.
    pub(crate) locked_rao: u64,
    /// Block at which it was opened; zero if it was there from the start.
    pub(crate) opened_at: Block,
    /// Block of the last epoch; zero before the first.
    pub(crate) last_epoch: Block,
}

/// One slot with what the last epoch said about it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Slot {
    pub(crate) hotkey: AccountId,
    pub(crate) block_at_registration: Block,
    pub(crate) last_update: Block,
    pub(crate) validator_permit: bool,
    pub(crate) active: bool,
    pub(crate) consensus: u16,
    pub(crate) incentive: u16,
    pub(crate) dividends: u16,
    pub(crate) validator_trust: u16,
    pub(crate) emission_rao: u64,
    pub(crate) pruning_score: u16,
    pub(crate) weights: Vec<(u16, u16)>,
    pub(crate) bonds: Vec<(u16, u16)>,
}

/// What a hotkey committed, and when: one item, so that nobody can read the content of one
/// commitment with the block of another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Commitment {
    pub(crate) block: Block,
    pub(crate) data: Vec<u8>,
}

impl Subnet {
    pub(crate) fn new(owner: AccountId, hyperparameters: Hyperparameters, locked_rao: u64) -> Self {
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
            registrations_this_block: 0,
            registrations_this_interval: 0,
            pending_rao: 0,
            owner_rao: 0,
            locked_rao,
            opened_at: Block(0),
            last_epoch: Block(0),
        }
    }

    /// Slot of a registered hotkey.
    pub(crate) fn slot(&self, hotkey: &AccountId) -> Option<(Uid, &Slot)> {
        let uid = *self.uids.get(hotkey)?;
        Some((uid, self.slots.get(usize::from(uid.0))?))
    }
}

impl Slot {
    /// A slot just bought: it inherits nothing from whoever held it before.
    pub(crate) fn new(hotkey: AccountId, block: Block) -> Self {
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
