//! The chain's rules as a pure state machine: calls in, state and block hashes out.
//!
//! The pallets of the paper's time on one page each: staking in TAO, burned registration, weights,
//! commitments, Yuma Consensus at each tempo, emission. No clock, no network, no threads; the same
//! genesis and the same calls per block give the same hashes everywhere.
//!
//! Deviation: there are no transaction fees and no existential deposit, every hotkey accepts
//! stake from anybody, and all subnets get equal parts of the emission instead of what a root
//! network votes.

mod account;
mod block;
mod commitment;
mod emission;
mod genesis;
mod registration;
mod staking;
mod subnet;
mod view;
mod weights;

#[cfg(test)]
mod tests;

pub use block::Produced;
pub use commitment::COMMITMENT_BYTES_MAX;
pub use emission::{EpochSummary, SlotEarnings};
pub use genesis::{
    Genesis, GenesisError, Hyperparameters, RAO_PER_TAO, SUPPLY_RAO_MAX, SubnetGenesis,
};
pub use view::Supply;

use crate::{Call, CallError, Head, SignedCall, payload::blake2_256};
use account::Account;
use protocol::{AccountId, Block, BlockHash, NetUid};
use std::collections::BTreeMap;
use subnet::Subnet;

/// Most subnets a chain holds.
pub const SUBNETS_MAX: usize = 1_024;

/// The root network: it has no slots here.
const ROOT: NetUid = NetUid(0);

/// All that the chain knows after its newest block.
#[derive(Clone, Debug)]
pub struct Ledger {
    network_price_rao: u64,
    head: Head,
    /// Hash of every block, from genesis on.
    hashes: Vec<BlockHash>,
    accounts: BTreeMap<AccountId, Account>,
    /// Coldkey of every hotkey that was ever registered.
    owners: BTreeMap<AccountId, AccountId>,
    /// Stake by hotkey, then by the coldkey that staked; never zero.
    stakes: BTreeMap<(AccountId, AccountId), u64>,
    subnets: BTreeMap<NetUid, Subnet>,
    /// All that ever came into being, at genesis or by emission.
    issued_rao: u64,
    /// All that went out of being: prices of slots, and what rounding leaves of an emission.
    burned_rao: u64,
}

impl Ledger {
    /// The state before the first block.
    pub fn new(genesis: &Genesis) -> Result<Self, GenesisError> {
        genesis.check()?;
        let hash = genesis_hash(genesis);
        let accounts: BTreeMap<_, _> = genesis
            .accounts
            .iter()
            .map(|(account, rao)| (*account, Account { balance_rao: *rao, nonce: 0 }))
            .collect();
        let open =
            |subnet: &SubnetGenesis| Subnet::new(subnet.owner, subnet.hyperparameters.clone(), 0);
        Ok(Self {
            network_price_rao: genesis.network_price_rao,
            head: Head { block: Block(0), hash },
            hashes: vec![hash],
            issued_rao: accounts.values().map(|account| account.balance_rao).sum(),
            accounts,
            owners: BTreeMap::new(),
            stakes: BTreeMap::new(),
            subnets: (1..).map(NetUid).zip(genesis.subnets.iter().map(open)).collect(),
            burned_rao: 0,
        })
    }

    /// Number of the block being built.
    fn now(&self) -> Block {
        Block(self.head.block.0 + 1)
    }

    /// Checks and applies one call of the block being built.
    ///
    /// A call that is not its signer's, not for this chain, or not next in turn leaves no trace.
    /// Any other uses up its nonce, and changes the rest of the state wholly or not at all.
    fn apply(&mut self, signed: &SignedCall) -> Result<(), CallError> {
        if !signed.fits() {
            return Err(CallError::ExhaustsResources);
        }
        if !signed.is_authentic(self.genesis_hash()) {
            return Err(CallError::BadSignature);
        }
        self.use_nonce(signed.signer, signed.nonce)?;
        self.dispatch(signed.signer, &signed.call)
    }

    fn dispatch(&mut self, signer: AccountId, call: &Call) -> Result<(), CallError> {
        match call {
            Call::BurnedRegister { netuid, hotkey } => self.register(signer, *netuid, *hotkey),
            Call::RegisterNetwork => self.register_network(signer),
            Call::AddStake { hotkey, amount_rao } => self.add_stake(signer, *hotkey, *amount_rao),
            Call::RemoveStake { hotkey, amount_rao } => {
                self.remove_stake(signer, *hotkey, *amount_rao)
            }
            Call::Transfer { to, amount_rao } => self.transfer(signer, *to, *amount_rao),
            Call::SetCommitment { netuid, data } => self.set_commitment(signer, *netuid, data),
            Call::SetWeights { netuid, uids, weights, version_key } => {
                self.set_weights(signer, *netuid, (uids, weights), *version_key)
            }
        }
    }
}

/// The first hash, which every other depends on: all rules and balances, and the seed.
fn genesis_hash(genesis: &Genesis) -> BlockHash {
    let mut bytes = b"agon genesis".to_vec();
    // Plain structs of numbers and texts always serialize.
    bytes.extend(serde_json::to_vec(genesis).unwrap_or_default());
    BlockHash(blake2_256(&bytes))
}
