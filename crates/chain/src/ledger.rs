//! The chain's rules as a pure state machine: calls in, state and block hashes out.
//!
//! The pallets of the paper's time on one page each: staking in TAO, burned registration, weights,
//! commitments, Yuma Consensus at each tempo, emission. No clock, no network, no threads, no
//! signatures: who calls is beyond doubt here. The same genesis and the same calls per block give
//! the same state everywhere.
//!
//! Deviation: there are no transaction fees and no existential deposit, every hotkey accepts
//! stake from anybody, and all subnets get equal parts of the emission instead of what a root
//! network votes.

mod account;
mod block;
mod commitment;
mod emission;
mod event;
mod genesis;
mod hyperparameters;
mod identity;
mod registration;
mod reveal;
mod staking;
mod subnet;
mod swap;
mod timelock;
mod view;
mod weights;

#[cfg(test)]
mod tests;

pub use account::Account;
pub use block::{OwnCall, Produced};
pub use commitment::COMMITMENT_BYTES_MAX;
pub use emission::{EpochSummary, SlotEarnings, Started};
pub use event::Event;
pub use genesis::{Genesis, GenesisError, RAO_PER_TAO, SUPPLY_RAO_MAX, SubnetGenesis};
pub use hyperparameters::{HyperparameterChange, Hyperparameters};
pub use identity::SubnetIdentity;
pub use reveal::{OPEN_COMMITS_MAX, commit_hash};
pub use subnet::{Commitment, Cycle, Slot, Subnet, TimelockedCommit, WeightCommit};
pub use timelock::{
    BEACON_BLOCK_MS, COMMIT_REVEAL_VERSION, OPENINGS_PER_BLOCK_MAX, SEALED_BYTES_MAX,
    WAITING_BYTES_MAX, last_round,
};
pub use view::Supply;
pub use weights::Weighed;

use crate::{Call, CallError, Head, Mechanism, hash::blake2_256};
use protocol::{AccountId, Block, BlockHash, NetUid};
use reveal::Reveal;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::OnceLock};
use timelock::Locked;

/// Most subnets a chain holds.
pub const SUBNETS_MAX: usize = 1_024;

/// The root network: it has no slots here.
const ROOT: NetUid = NetUid(0);

/// All that the chain knows after its newest block.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ledger {
    network_price_rao: u64,
    /// Number and hash of the newest block; no part of the state that the hash binds.
    #[serde(skip, default = "Ledger::no_head")]
    head: Head,
    /// Hash of every block, from genesis on; likewise.
    #[serde(skip)]
    hashes: Vec<BlockHash>,
    /// The public key of the beacon once somebody has asked for it: it follows from the genesis,
    /// and is not cheap; likewise.
    #[serde(skip)]
    beacon: OnceLock<::timelock::PublicKey>,
    /// Binds state and hashes to all of the genesis, its seed included.
    genesis: [u8; 32],
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
    /// The state before the first block, whose hash is that of the genesis.
    pub fn new(genesis: &Genesis) -> Result<Self, GenesisError> {
        genesis.check()?;
        let accounts: BTreeMap<_, _> = genesis
            .accounts
            .iter()
            .map(|(account, rao)| (*account, Account { balance_rao: *rao, nonce: 0 }))
            .collect();
        let open =
            |subnet: &SubnetGenesis| Subnet::new(subnet.owner, subnet.hyperparameters.clone(), 0);
        let ledger = Self {
            network_price_rao: genesis.network_price_rao,
            head: Self::no_head(),
            hashes: Vec::new(),
            beacon: OnceLock::new(),
            genesis: digest(genesis),
            issued_rao: accounts.values().map(|account| account.balance_rao).sum(),
            accounts,
            owners: BTreeMap::new(),
            stakes: BTreeMap::new(),
            subnets: (1..).map(NetUid).zip(genesis.subnets.iter().map(open)).collect(),
            burned_rao: 0,
        };
        let hash = BlockHash(ledger.genesis);
        Ok(ledger.with_hashes(vec![hash]))
    }

    fn no_head() -> Head {
        Head { block: Block(0), hash: BlockHash([0; 32]) }
    }

    /// Number of the block being built.
    pub fn now(&self) -> Block {
        Block(self.head.block.0 + 1)
    }

    /// Applies one call of the block being built; that `signer` made it is beyond doubt.
    ///
    /// A call of nobody, or one that is not next in turn, leaves no trace. Any other uses up its
    /// nonce, and changes the rest of the state wholly or not at all.
    pub fn apply(
        &mut self,
        signer: AccountId,
        nonce: u32,
        call: Result<Call, CallError>,
    ) -> Result<Event, CallError> {
        if !self.knows(signer) {
            return Err(CallError::UnknownSigner);
        }
        self.use_nonce(signer, nonce)?;
        self.dispatch(signer, call?)
    }

    fn dispatch(&mut self, signer: AccountId, call: Call) -> Result<Event, CallError> {
        match call {
            Call::Remark { .. } => Ok(Event::Remarked { signer }),
            Call::BurnedRegister { netuid, hotkey } => {
                self.register(signer, netuid, hotkey, u64::MAX)
            }
            Call::RegisterLimit { netuid, hotkey, limit_rao } => {
                self.register(signer, netuid, hotkey, limit_rao)
            }
            Call::RegisterNetwork { hotkey } => self.register_network(signer, hotkey),
            Call::AddStake { hotkey, netuid, amount_rao } => {
                self.add_stake(signer, hotkey, netuid, amount_rao)
            }
            Call::RemoveStake { hotkey, netuid, amount_rao } => {
                self.remove_stake(signer, hotkey, netuid, amount_rao)
            }
            Call::Transfer { to, amount_rao } => self.transfer(signer, to, amount_rao),
            Call::TransferAll { to } => self.transfer(signer, to, self.balance(signer)),
            Call::UnstakeAll { hotkey } => {
                self.remove_stake(signer, hotkey, ROOT, self.stake(hotkey, signer))
            }
            Call::SwapHotkey { hotkey, new_hotkey, netuid } => {
                self.swap_hotkey(signer, hotkey, new_hotkey, netuid)
            }
            Call::SetCommitment { netuid, data } => self.set_commitment(signer, netuid, data),
            Call::SetWeights { netuid, uids, weights, version_key } => {
                let weighed = Weighed { uids: &uids, weights: &weights, version_key };
                self.set_weights(signer, netuid, weighed)
            }
            Call::CommitWeights { netuid, hash } => self.commit_weights(signer, netuid, hash),
            Call::RevealWeights { netuid, uids, weights, salt, version_key } => {
                let reveal = Reveal { uids, weights, salt, version_key };
                self.reveal_weights(signer, netuid, &reveal)
            }
            Call::CommitTimelockedWeights { netuid, sealed, round, version } => {
                self.commit_timelocked(signer, netuid, Locked { sealed, round, version })
            }
            Call::SetHyperparameter { netuid, change } => {
                self.set_hyperparameter(signer, netuid, change)
            }
            Call::StartSubnet { netuid } => self.start_subnet(signer, netuid),
            Call::SetSubnetIdentity { netuid, identity } => {
                self.set_subnet_identity(signer, netuid, identity)
            }
            Call::SetMechanismWeights { netuid, mechanism, uids, weights, version_key } => {
                check_mechanism(mechanism)?;
                let weighed = Weighed { uids: &uids, weights: &weights, version_key };
                self.set_weights(signer, netuid, weighed)
            }
            Call::CommitTimelockedMechanismWeights {
                netuid,
                mechanism,
                sealed,
                round,
                version,
            } => {
                check_mechanism(mechanism)?;
                self.commit_timelocked(signer, netuid, Locked { sealed, round, version })
            }
        }
    }
}

/// Deviation: a subnet has one mechanism here.
fn check_mechanism(mechanism: Mechanism) -> Result<(), CallError> {
    if mechanism == Mechanism::FIRST { Ok(()) } else { Err(CallError::MechanismDoesNotExist) }
}

/// All rules and balances of a genesis, and the seed, which every hash depends on.
fn digest(genesis: &Genesis) -> [u8; 32] {
    let mut bytes = b"agon genesis".to_vec();
    // Plain structs of numbers and texts always serialize.
    bytes.extend(serde_json::to_vec(genesis).unwrap_or_default());
    blake2_256(&bytes)
}
