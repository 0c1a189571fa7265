//! What a subnet pays, and who decides it.

use crate::{Metagraph, Neuron};
use protocol::{AccountId, Uid};

/// A slot that may set weights, with what stands behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voter {
    /// Slot.
    pub uid: Uid,
    /// Key in the slot.
    pub hotkey: AccountId,
    /// Its stake, in rao.
    pub stake_rao: u64,
}

impl Voter {
    /// The slots of a subnet with a validator permit.
    pub fn of(metagraph: &Metagraph) -> Vec<Self> {
        let permitted = metagraph.neurons.iter().filter(|neuron| neuron.validator_permit);
        let voter = |neuron: &Neuron| {
            let Neuron { uid, hotkey, stake_rao, .. } = *neuron;
            Self { uid, hotkey, stake_rao }
        };
        permitted.map(voter).collect()
    }
}

/// What a subnet pays, and how long it takes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewards {
    /// Incentive of the last epoch by uid, of 65,535.
    pub incentives: Vec<u16>,
    /// Blocks from one run of Yuma Consensus to the next.
    pub tempo: u64,
    /// Blocks that must pass between two settings of weights of one validator.
    pub weights_rate_limit: u64,
    /// Epochs for which weights stay hidden; 0 where they are set openly.
    pub hidden_epochs: u64,
}

impl Rewards {
    /// Blocks that the chain may take to pay for what a round found: two epochs, those for which
    /// weights are hidden, and the wait between two settings of weights.
    pub fn settling_blocks(&self) -> u64 {
        let n_epochs = self.hidden_epochs.saturating_add(2);
        self.tempo.saturating_mul(n_epochs).saturating_add(self.weights_rate_limit)
    }
}
