//! Which weights go to the chain.

use crate::{ports::Contest, state::State};
use chain::{Metagraph, Neuron};
use protocol::{
    AccountId, Uid,
    weights::{Miner, MovingAverage, merge, quantize},
};

/// Moving averages of all competitions merged by reward share, as the chain takes them.
///
/// A slot that has changed hands since it was measured gets nothing. A competition of which nobody
/// holds the crown pays nobody: what is left of averages there belongs to models that are gone.
/// Where no competition has anybody, the validator weighs itself, which pays nobody either; the
/// weights of before would go on paying whoever left.
pub(crate) fn merged(
    contests: &[Contest],
    state: &State,
    metagraph: &Metagraph,
    own: Uid,
) -> (Vec<Uid>, Vec<u16>) {
    let miner = |neuron: &Neuron| Miner { uid: neuron.uid, hotkey: neuron.hotkey };
    let registered = metagraph.neurons.iter().map(miner).collect();
    let mut had_rounds = false;
    let mut averages: Vec<(&str, f64, &MovingAverage)> = Vec::new();
    for contest in contests {
        let competition = contest.competition();
        if averages.iter().any(|(name, ..)| *name == competition.name) {
            continue;
        }
        let Some(known) = state.contest(&competition.name) else { continue };
        had_rounds |= known.n_rounds > 0;
        if known.champion.is_some() {
            averages.push((competition.name.as_str(), competition.reward_share, &known.average));
        }
    }
    let shares: Vec<_> = averages.iter().map(|(_, share, average)| (*share, *average)).collect();
    let weights = quantize(&merge(&shares, &registered));
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
