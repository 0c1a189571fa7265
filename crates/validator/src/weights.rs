//! Which weights go to the chain.

use crate::state::State;
use chain::{Metagraph, Neuron};
use protocol::{
    AccountId, Schedule, Uid,
    weights::{Miner, MovingAverage, merge, quantize},
};

/// Moving averages of the competitions that are paid now merged by reward share, as the chain takes
/// them.
///
/// A slot that has changed hands since it was measured gets nothing. A competition of which nobody
/// holds the crown pays nobody: what is left of averages there belongs to models that are gone.
/// Where no competition has anybody, the validator weighs itself, which pays nobody either; the
/// weights of before would go on paying whoever left.
pub(crate) fn merged(
    schedule: &Schedule,
    state: &State,
    metagraph: &Metagraph,
    own: Uid,
) -> (Vec<Uid>, Vec<u16>) {
    let miner = |neuron: &Neuron| Miner { uid: neuron.uid, hotkey: neuron.hotkey };
    let registered = metagraph.neurons.iter().map(miner).collect();
    let mut averages: Vec<(f64, &MovingAverage)> = Vec::new();
    for rules in schedule.paid_at(metagraph.block) {
        let Some(known) = state.contest(&rules.name) else { continue };
        if known.champion.is_some() {
            averages.push((rules.reward_share, &known.average));
        }
    }
    let weights = quantize(&merge(&averages, &registered));
    let had_rounds = schedule
        .versions()
        .any(|rules| state.contest(&rules.name).is_some_and(|known| known.n_rounds > 0));
    if weights.is_empty() && had_rounds {
        return (vec![own], vec![u16::MAX]);
    }
    weights.into_iter().unzip()
}

/// The slot of a key.
pub(crate) fn slot(metagraph: &Metagraph, hotkey: AccountId) -> anyhow::Result<&Neuron> {
    let own = metagraph.neurons.iter().find(|neuron| neuron.hotkey == hotkey);
    own.ok_or_else(|| {
        anyhow::anyhow!("hotkey `{hotkey}` is not registered on subnet {}", metagraph.netuid)
    })
}
