//! State of a subnet and its slots.

use super::Hyperparameters;
use crate::payload::Hasher;
use protocol::{AccountId, Block, Uid};
use std::collections::BTreeMap;

/// One subnet.
#[derive(Clone, Debug)]
pub(super) struct Subnet {
    /// Coldkey that gets the owner's cut.
    pub(super) owner: AccountId,
    pub(super) hyperparameters: Hyperparameters,
    /// Slots in order of uid.
    pub(super) slots: Vec<Slot>,
    /// Slot of every registered hotkey.
    pub(super) uids: BTreeMap<AccountId, Uid>,
    /// Last commitment of every hotkey that ever committed here, registered or not.
    pub(super) commitments: BTreeMap<AccountId, Commitment>,
    /// What a slot costs now.
    pub(super) burn_rao: u64,
    pub(super) registrations_this_block: u16,
    pub(super) registrations_this_interval: u32,
    /// Emission that waits for the next epoch.
    pub(super) pending_rao: u64,
    /// What the owner got since the last epoch.
    pub(super) owner_rao: u64,
    /// What the owner locked to open the subnet.
    pub(super) locked_rao: u64,
    /// Block of the last epoch; zero before the first.
    pub(super) last_epoch: Block,
}

/// One slot with what the last epoch said about it.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) hotkey: AccountId,
    pub(super) block_at_registration: Block,
    pub(super) last_update: Block,
    pub(super) validator_permit: bool,
    pub(super) active: bool,
    pub(super) consensus: u16,
    pub(super) incentive: u16,
    pub(super) dividends: u16,
    pub(super) validator_trust: u16,
    pub(super) emission_rao: u64,
    pub(super) pruning_score: u16,
    pub(super) weights: Vec<(u16, u16)>,
    pub(super) bonds: Vec<(u16, u16)>,
}

/// What a hotkey committed, and when: one item, so that nobody can read the content of one
/// commitment with the block of another.
#[derive(Clone, Debug)]
pub(super) struct Commitment {
    pub(super) block: Block,
    pub(super) data: Vec<u8>,
}

impl Subnet {
    pub(super) fn new(owner: AccountId, hyperparameters: Hyperparameters, locked_rao: u64) -> Self {
        let (low, high) = (hyperparameters.min_burn_rao, hyperparameters.max_burn_rao);
        Self {
            owner,
            burn_rao: hyperparameters.burn_rao.clamp(low, high),
            hyperparameters,
            slots: Vec::new(),
            uids: BTreeMap::new(),
            commitments: BTreeMap::new(),
            registrations_this_block: 0,
            registrations_this_interval: 0,
            pending_rao: 0,
            owner_rao: 0,
            locked_rao,
            last_epoch: Block(0),
        }
    }

    /// Slot of a registered hotkey.
    pub(super) fn slot(&self, hotkey: &AccountId) -> Option<(Uid, &Slot)> {
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

// Into the hash of the state: everything but the hyper-parameters, which the hash of the genesis
// covers and no call changes.
impl Subnet {
    pub(super) fn absorb(&self, state: &mut Hasher) {
        state.bytes(&self.owner.0).numbers([
            self.burn_rao,
            self.registrations_this_block.into(),
            self.registrations_this_interval.into(),
            self.pending_rao,
            self.owner_rao,
            self.locked_rao,
            self.last_epoch.0,
        ]);
        state.count(self.slots.len());
        for slot in &self.slots {
            slot.absorb(state);
        }
        state.count(self.commitments.len());
        for (hotkey, commitment) in &self.commitments {
            state.bytes(&hotkey.0).numbers([commitment.block.0]);
            state.count(commitment.data.len()).bytes(&commitment.data);
        }
    }
}

impl Slot {
    fn absorb(&self, state: &mut Hasher) {
        state.bytes(&self.hotkey.0).numbers([
            self.block_at_registration.0,
            self.last_update.0,
            self.validator_permit.into(),
            self.active.into(),
            self.consensus.into(),
            self.incentive.into(),
            self.dividends.into(),
            self.validator_trust.into(),
            self.emission_rao,
            self.pruning_score.into(),
        ]);
        for row in [&self.weights, &self.bonds] {
            state.count(row.len());
            for (uid, value) in row {
                state.bytes(&uid.to_le_bytes()).bytes(&value.to_le_bytes());
            }
        }
    }
}
