//! The chain of a season: everybody registered, validators with stake and permits.

use crate::scenario::ChainRules;
use chain::{
    Call, Chain as _, Keypair, MemoryChain,
    ledger::{Genesis, Hyperparameters, RAO_PER_TAO, SubnetGenesis},
};
use protocol::{NetUid, Seed};
use std::sync::Arc;

/// The subnet.
pub(crate) const NETUID: NetUid = NetUid(1);
/// What everybody has at the start.
const BALANCE_RAO: u64 = 2_000 * RAO_PER_TAO;
/// What stands behind each validator.
const STAKE_RAO: u64 = 1_000 * RAO_PER_TAO;

/// The chain, and the keys of all.
pub(crate) struct Network {
    pub(crate) chain: Arc<MemoryChain>,
    /// Hotkeys of validators.
    pub(crate) validators: Vec<Keypair>,
    /// Hotkeys of miners, by slot of the season.
    pub(crate) miners: Vec<Keypair>,
}

/// A key of everybody's, by its name: nothing is at stake here.
fn key(name: &str) -> Keypair {
    Keypair::from_seed(Seed::of_number(0).derive(name))
}

impl Network {
    /// A chain of this seed up to the block at which all validators have their permits.
    ///
    /// Each of `owners` is the first of the slots that share a coldkey, in order.
    pub(crate) fn new(
        rules: ChainRules,
        n_validators: usize,
        owners: &[usize],
        seed: u64,
    ) -> anyhow::Result<Self> {
        let validators: Vec<Keypair> =
            (0..n_validators).map(|i| key(&format!("validator {i}"))).collect();
        let miners: Vec<Keypair> = (0..owners.len()).map(|i| key(&format!("miner {i}"))).collect();
        let coldkeys: Vec<Keypair> = (0..n_validators)
            .map(|i| key(&format!("coldkey of validator {i}")))
            .chain(owners.iter().map(|first| key(&format!("coldkey of miner {first}"))))
            .collect();
        let mut accounts: Vec<_> =
            coldkeys.iter().map(|coldkey| (coldkey.public(), BALANCE_RAO)).collect();
        accounts.sort_unstable();
        accounts.dedup();
        let genesis = Genesis {
            seed,
            accounts,
            subnets: vec![SubnetGenesis {
                owner: key("owner").public(),
                hyperparameters: hyperparameters(rules, n_validators),
            }],
            ..Genesis::default()
        };
        let chain = Arc::new(MemoryChain::new(&genesis)?);
        for (hotkey, coldkey) in validators.iter().chain(&miners).zip(&coldkeys) {
            let call = Call::BurnedRegister { netuid: NETUID, hotkey: hotkey.public() };
            chain.submit(call, coldkey)?;
        }
        chain.produce_block()?;
        for (hotkey, coldkey) in validators.iter().zip(&coldkeys) {
            let hotkey = hotkey.public();
            let call = Call::AddStake { hotkey, netuid: NETUID, amount_rao: STAKE_RAO };
            chain.submit(call, coldkey)?;
        }
        for _ in 0..2 * u64::from(rules.tempo) + 2 {
            chain.produce_block()?;
        }
        let network = Self { chain, validators, miners };
        network.check()?;
        Ok(network)
    }

    /// Fails unless everybody has what the season takes for granted.
    fn check(&self) -> anyhow::Result<()> {
        let metagraph = self.chain.metagraph(NETUID)?;
        let n_all = self.validators.len() + self.miners.len();
        let n_registered = metagraph.neurons.len();
        anyhow::ensure!(n_registered == n_all, "{n_registered} of {n_all} are registered");
        let permitted = metagraph.neurons.iter().filter(|neuron| neuron.validator_permit);
        let n_permitted = permitted.count();
        let n_validators = self.validators.len();
        anyhow::ensure!(
            n_permitted == n_validators,
            "{n_permitted} of {n_validators} have permits"
        );
        Ok(())
    }
}

fn hyperparameters(rules: ChainRules, n_validators: usize) -> Hyperparameters {
    Hyperparameters {
        tempo: rules.tempo,
        max_validators: u16::try_from(n_validators).unwrap_or(u16::MAX),
        target_registrations: 1_024,
        max_registrations_per_block: 1_024,
        weights_rate_limit: rules.weights_rate_limit,
        commitment_rate_limit: rules.commitment_rate_limit,
        ..Hyperparameters::default()
    }
}

#[cfg(test)]
mod tests;
