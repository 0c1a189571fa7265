//! What a subnet demands of weights. What is wrong with hidden ones the chain tells nobody: it is
//! found before they are handed over, or never.

use crate::{CallError, Metagraph, Weights};
use protocol::AccountId;

/// What a subnet demands of weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// Lowest version key that is taken.
    pub weights_version: u64,
    /// Fewest weights that are taken where there are as many slots.
    pub min_weights: u64,
}

impl Demands {
    /// Why the chain would not take these weights of a hotkey, by the checks of the pallet in their
    /// order.
    pub fn refusal(
        &self,
        metagraph: &Metagraph,
        weights: &Weights,
        hotkey: AccountId,
    ) -> Option<CallError> {
        let own = metagraph.neurons.iter().find(|neuron| neuron.hotkey == hotkey);
        let Some(own) = own else { return Some(CallError::HotKeyNotRegisteredInSubNet) };
        let n_slots = metagraph.neurons.len();
        if weights.uids.len() > n_slots {
            return Some(CallError::UidsLengthExceedUidsInSubNet);
        }
        if weights.uids.iter().any(|uid| usize::from(uid.0) >= n_slots) {
            return Some(CallError::UidVecContainInvalidOne);
        }
        if weights.version_key < self.weights_version {
            return Some(CallError::IncorrectWeightVersionKey);
        }
        if weights.uids == [own.uid] {
            return None;
        }
        if !own.validator_permit {
            return Some(CallError::NeuronNoValidatorPermit);
        }
        let fewest = self.min_weights.min(n_slots as u64);
        ((weights.uids.len() as u64) < fewest).then_some(CallError::WeightVecLengthIsLow)
    }
}
