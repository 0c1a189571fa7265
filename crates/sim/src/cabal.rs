//! Validators that do not validate: they set weights for ends of their own.

use crate::network::{NETUID, Network};
use chain::{Call, Chain as _, Metagraph};
use protocol::{AccountId, Uid};
use serde::Deserialize;
use std::fmt;

/// What validators do that do not measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cabal {
    /// They copy the weights of another, and save the work.
    CopyWeights,
    /// They give all weight to a miner of theirs.
    PayOwn,
    /// They copy the weights of another, without the miner who has most.
    Censor,
}

impl Cabal {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::CopyWeights, Self::PayOwn, Self::Censor];

    /// The name of it in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::CopyWeights => "copy-weights",
            Self::PayOwn => "pay-own",
            Self::Censor => "censor",
        }
    }

    /// The weights that it sets: what the first validator has set, or what it makes of that.
    fn weights(self, metagraph: &Metagraph, first: Uid, own_miner: Uid) -> Vec<(Uid, u16)> {
        let mut row = match metagraph.neurons.get(usize::from(first.0)) {
            Some(neuron) => neuron.weights.clone(),
            None => Vec::new(),
        };
        match self {
            Self::CopyWeights => {}
            Self::PayOwn => row = vec![(own_miner, u16::MAX)],
            Self::Censor => {
                let most = row.iter().map(|(_, weight)| *weight).max();
                row.retain(|(_, weight)| Some(*weight) != most);
                if row.is_empty() {
                    row.push((own_miner, u16::MAX));
                }
            }
        }
        row
    }
}

impl fmt::Display for Cabal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Has the validators after the first `n_honest` set the weights of their cabals, where the chain
/// takes some.
pub(crate) fn act(network: &Network, cabals: &[Cabal], n_honest: usize) -> anyhow::Result<()> {
    if cabals.is_empty() {
        return Ok(());
    }
    let metagraph = network.chain.metagraph(NETUID)?;
    let uid = |hotkey: AccountId| {
        metagraph.neurons.iter().find(|neuron| neuron.hotkey == hotkey).map(|neuron| neuron.uid)
    };
    let first = network.validators.first().and_then(|key| uid(key.public()));
    let own_miner = network.miners.last().and_then(|key| uid(key.public()));
    let (Some(first), Some(own_miner)) = (first, own_miner) else { return Ok(()) };
    for (place, cabal) in cabals.iter().enumerate() {
        let Some(key) = network.validators.get(n_honest + place) else { continue };
        let own = metagraph.neurons.iter().find(|neuron| neuron.hotkey == key.public());
        let may_set = own.is_some_and(|own| {
            own.validator_permit
                && metagraph.block.since(own.last_update) >= metagraph.weights_rate_limit
        });
        let row = cabal.weights(&metagraph, first, own_miner);
        if !may_set || row.is_empty() {
            continue;
        }
        let (uids, weights) = row.into_iter().unzip();
        let call = Call::SetWeights { netuid: NETUID, uids, weights, version_key: 0 };
        network.chain.submit(call, key)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
