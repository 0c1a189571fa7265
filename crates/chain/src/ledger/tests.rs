//! The ledger under honest and hostile calls.

mod blocks;
mod emission;
mod flood;
mod hostile;
mod owners;
mod properties;
mod registration;
mod reveal;
mod timelock;
mod weights;

use super::{Genesis, Hyperparameters, Ledger, OwnCall, Produced, RAO_PER_TAO, SubnetGenesis};
use crate::{Call, CallError, CallId, Keypair, Neuron};
use protocol::{AccountId, NetUid, Seed, Uid};

const NETUID: NetUid = NetUid(1);
const TAO: u64 = RAO_PER_TAO;
/// Owner of the subnet.
const OWNER: u64 = 9;

fn key(number: u64) -> Keypair {
    Keypair::from_seed(Seed::of_number(number))
}

fn account(number: u64) -> AccountId {
    key(number).public()
}

/// A fast subnet: an epoch every ten blocks, no limits on rates.
fn rules() -> Hyperparameters {
    Hyperparameters {
        tempo: 10,
        max_registrations_per_block: 100,
        target_registrations: 100,
        adjustment_interval: 1_000,
        weights_rate_limit: 0,
        commitment_rate_limit: 0,
        immunity_period: 0,
        ..Hyperparameters::default()
    }
}

/// Coldkeys 0 to 9 with 1,000 TAO each.
fn genesis(hyperparameters: Hyperparameters) -> Genesis {
    Genesis {
        seed: 1,
        accounts: (0..10).map(|i| (account(i), 1_000 * TAO)).collect(),
        subnets: vec![SubnetGenesis { owner: account(OWNER), hyperparameters }],
        network_price_rao: 100 * TAO,
    }
}

fn ledger(hyperparameters: Hyperparameters) -> Ledger {
    Ledger::new(&genesis(hyperparameters)).unwrap()
}

fn register(hotkey: u64) -> Call {
    Call::BurnedRegister { netuid: NETUID, hotkey: account(hotkey) }
}

fn stake(hotkey: u64, amount_rao: u64) -> Call {
    Call::AddStake { hotkey: account(hotkey), netuid: NETUID, amount_rao }
}

fn unstake(hotkey: u64, amount_rao: u64) -> Call {
    Call::RemoveStake { hotkey: account(hotkey), netuid: NETUID, amount_rao }
}

fn transfer(to: u64, amount_rao: u64) -> Call {
    Call::Transfer { to: account(to), amount_rao }
}

fn commit(text: &str) -> Call {
    Call::SetCommitment { netuid: NETUID, data: text.into() }
}

fn weigh(weights: &[(u16, u16)]) -> Call {
    let (uids, weights) = weights.iter().map(|(uid, weight)| (Uid(*uid), *weight)).unzip();
    Call::SetWeights { netuid: NETUID, uids, weights, version_key: 0 }
}

impl Produced {
    /// Fate of the only call.
    fn result(&self) -> Result<(), CallError> {
        self.results()[0].1.clone()
    }

    /// Fates of all calls: those in the block first.
    fn results(&self) -> Vec<(CallId, Result<(), CallError>)> {
        let applied = self.applied.iter();
        let applied =
            applied.map(|(id, result)| (*id, result.as_ref().map(drop).map_err(Clone::clone)));
        let left_out = self.left_out.iter().map(|(id, error)| (*id, Err(error.clone())));
        applied.chain(left_out).collect()
    }
}

impl Ledger {
    /// A call of a signer who has no other in the same block.
    fn next(&self, signer: u64, call: Call) -> OwnCall {
        let signer = account(signer);
        OwnCall::new(signer, self.nonce(signer), call)
    }

    fn block(&mut self, calls: Vec<OwnCall>) -> Produced {
        self.produce_block(calls).unwrap()
    }

    /// One call in a block of its own.
    fn call(&mut self, signer: u64, call: Call) -> Result<(), CallError> {
        let call = self.next(signer, call);
        self.block(vec![call]).result()
    }

    fn pass(&mut self, n_blocks: u64) {
        (0..n_blocks).for_each(|_| drop(self.block(Vec::new())));
    }

    fn neurons(&self) -> Vec<Neuron> {
        self.metagraph(NETUID).unwrap().neurons
    }

    fn hotkeys(&self) -> Vec<AccountId> {
        self.neurons().iter().map(|neuron| neuron.hotkey).collect()
    }

    /// Passes blocks until one has run an epoch of the subnet.
    fn pass_epoch(&mut self) -> super::EpochSummary {
        loop {
            if let Some(epoch) = self.block(Vec::new()).epochs.pop() {
                return epoch;
            }
        }
    }
}
