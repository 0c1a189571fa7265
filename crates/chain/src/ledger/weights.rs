//! Setting weights.

use super::{
    Event, Ledger, ROOT,
    subnet::{Slot, Subnet},
};
use crate::CallError;
use protocol::{AccountId, Block, NetUid, Uid, yuma};

/// Weights as a call hands them over: nothing of them is checked yet.
#[derive(Clone, Copy, Debug)]
pub struct Weighed<'a> {
    /// Miners.
    pub uids: &'a [Uid],
    /// Their weights, same order; only the ratios count.
    pub weights: &'a [u16],
    /// Version of the rules that the validator runs.
    pub version_key: u64,
}

impl Ledger {
    /// `set_weights`: the checks of the pallet in its order, then the upscaled row.
    pub(super) fn set_weights(
        &mut self,
        hotkey: AccountId,
        netuid: NetUid,
        weighed: Weighed<'_>,
    ) -> Result<Event, CallError> {
        if self.subnets.get(&netuid).is_some_and(|subnet| subnet.hyperparameters.commit_reveal) {
            return Err(CallError::CommitRevealEnabled);
        }
        self.store_weights(hotkey, netuid, weighed)
    }

    /// Checks weights and stores them, however they came.
    pub(super) fn store_weights(
        &mut self,
        hotkey: AccountId,
        netuid: NetUid,
        weighed: Weighed<'_>,
    ) -> Result<Event, CallError> {
        let Weighed { uids, weights, version_key } = weighed;
        if netuid == ROOT {
            return Err(CallError::CanNotSetRootNetworkWeights);
        }
        if uids.len() != weights.len() {
            return Err(CallError::WeightVecNotEqualSize);
        }
        let now = self.now();
        let subnet = self.subnets.get(&netuid).ok_or(CallError::SubnetNotExists)?;
        if uids.len() > subnet.slots.len() {
            return Err(CallError::UidsLengthExceedUidsInSubNet);
        }
        let (own, slot) = subnet.slot(&hotkey).ok_or(CallError::HotKeyNotRegisteredInSubNet)?;
        if self.total_stake(hotkey) < subnet.hyperparameters.stake_threshold_rao {
            return Err(CallError::NotEnoughStakeToSetWeights);
        }
        let is_self_weight = uids == [own];
        subnet.check_sender(slot, is_self_weight, version_key, now)?;
        let row = subnet.row(uids, weights, is_self_weight)?;
        // Revealed weights are as old as their commit, which was the update.
        let is_update = !subnet.hyperparameters.commit_reveal;
        let slot = self.subnets.get_mut(&netuid).and_then(|s| s.slots.get_mut(usize::from(own.0)));
        if let Some(slot) = slot {
            slot.weights = row;
            if is_update {
                slot.last_update = now;
            }
        }
        Ok(Event::WeightsSet { netuid, uid: own })
    }
}

impl Subnet {
    /// Whether who sends may set weights now; weighing only oneself needs no permit.
    fn check_sender(
        &self,
        slot: &Slot,
        is_self_weight: bool,
        version_key: u64,
        now: Block,
    ) -> Result<(), CallError> {
        let rules = &self.hyperparameters;
        if rules.weights_version != 0 && version_key < rules.weights_version {
            return Err(CallError::IncorrectWeightVersionKey);
        }
        // Where weights are revealed, the commit was what had to wait.
        let is_limited = !rules.commit_reveal && slot.last_update.0 != 0;
        if is_limited && now.since(slot.last_update) < rules.weights_rate_limit {
            return Err(CallError::SettingWeightsTooFast);
        }
        if !slot.validator_permit && !is_self_weight {
            return Err(CallError::NeuronNoValidatorPermit);
        }
        Ok(())
    }

    /// The row to store, if the weights themselves are in order.
    fn row(
        &self,
        uids: &[Uid],
        weights: &[u16],
        is_self_weight: bool,
    ) -> Result<Vec<(u16, u16)>, CallError> {
        let rules = &self.hyperparameters;
        let mut sorted = uids.to_vec();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(CallError::DuplicateUids);
        }
        if uids.iter().any(|uid| usize::from(uid.0) >= self.slots.len()) {
            return Err(CallError::UidVecContainInvalidOne);
        }
        let fewest = usize::from(rules.min_weights).min(self.slots.len());
        if uids.len() < fewest && !is_self_weight {
            return Err(CallError::WeightVecLengthIsLow);
        }
        let upscaled = yuma::max_upscale(weights);
        if !is_self_weight && !yuma::is_max_limited(&upscaled, rules.max_weight_limit) {
            return Err(CallError::MaxWeightExceeded);
        }
        Ok(uids.iter().map(|uid| uid.0).zip(upscaled).collect())
    }
}
