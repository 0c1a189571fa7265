//! Commitments: up to 128 bytes under a hotkey, with the block in which they came.

use super::{
    Event, Ledger,
    subnet::{Commitment, Subnet},
};
use crate::{CallError, StoredCommitment};
use protocol::{AccountId, NetUid, Uid};

/// Most bytes in a commitment: the largest raw field of the pallet.
pub const COMMITMENT_BYTES_MAX: usize = 128;

impl Ledger {
    /// `set_commitment`: replaces content and block together.
    pub(super) fn set_commitment(
        &mut self,
        hotkey: AccountId,
        netuid: NetUid,
        data: Vec<u8>,
    ) -> Result<Event, CallError> {
        let now = self.now();
        if data.len() > COMMITMENT_BYTES_MAX {
            return Err(CallError::CommitmentTooLong);
        }
        let subnet = self
            .subnets
            .get_mut(&netuid)
            .filter(|subnet| subnet.uids.contains_key(&hotkey))
            .ok_or(CallError::AccountNotAllowedCommit)?;
        let limit = subnet.hyperparameters.commitment_rate_limit;
        if subnet.commitments.get(&hotkey).is_some_and(|last| now.since(last.block) < limit) {
            return Err(CallError::CommitmentSetRateLimitExceeded);
        }
        subnet.commitments.insert(hotkey, Commitment { block: now, data });
        Ok(Event::Committed { netuid, hotkey })
    }

    /// Commitments of all hotkeys that hold a slot, in order of uid; `None` without the subnet.
    ///
    /// A commitment outlives the slot: a hotkey that registers again finds its last one there,
    /// with the block of then.
    pub fn commitments(&self, netuid: NetUid) -> Option<Vec<StoredCommitment>> {
        let subnet = self.subnets.get(&netuid)?;
        let numbered = (0..).map(Uid).zip(&subnet.slots);
        Some(numbered.filter_map(|(uid, slot)| self.stored(subnet, uid, slot.hotkey)).collect())
    }

    /// The commitment of one hotkey, where it has one and holds a slot.
    pub fn commitment(&self, netuid: NetUid, hotkey: AccountId) -> Option<StoredCommitment> {
        let subnet = self.subnets.get(&netuid)?;
        self.stored(subnet, *subnet.uids.get(&hotkey)?, hotkey)
    }

    fn stored(&self, subnet: &Subnet, uid: Uid, hotkey: AccountId) -> Option<StoredCommitment> {
        let commitment = subnet.commitments.get(&hotkey)?;
        let registered = subnet.slots.get(usize::from(uid.0))?.block_at_registration;
        let (block, data) = (commitment.block, commitment.data.clone());
        let block_hash = self.block_hash(block)?;
        // Every hotkey with a slot was registered by somebody.
        let coldkey = self.owner(hotkey)?;
        Some(StoredCommitment { hotkey, coldkey, uid, registered, block, block_hash, data })
    }
}
