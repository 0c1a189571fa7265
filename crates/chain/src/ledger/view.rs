//! Reading the ledger.

use super::timelock::{BEACON_BLOCK_MS, COMMIT_REVEAL_VERSION};
use super::{
    Ledger,
    account::Account,
    subnet::{Slot, Subnet},
};
use crate::{Demands, HidingRules, Metagraph, Neuron, Rewards, Voter};
use protocol::{AccountId, NetUid, Uid};

/// Where all the money is; `issued` is the sum of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Supply {
    /// All that ever came into being.
    pub issued_rao: u64,
    /// Free balances.
    pub balances_rao: u64,
    /// Stake.
    pub staked_rao: u64,
    /// Emission that waits for an epoch.
    pub pending_rao: u64,
    /// Locked by owners of subnets.
    pub locked_rao: u64,
    /// Gone: prices of slots, and what rounding left of emissions.
    pub burned_rao: u64,
}

impl Ledger {
    /// Where all the money is.
    pub fn supply(&self) -> Supply {
        let subnets = |field: fn(&Subnet) -> u64| self.subnets.values().map(field).sum();
        Supply {
            issued_rao: self.issued_rao,
            balances_rao: self.accounts.values().map(|account| account.balance_rao).sum(),
            staked_rao: self.stakes.values().sum(),
            pending_rao: subnets(|subnet| subnet.pending_rao),
            locked_rao: subnets(|subnet| subnet.locked_rao),
            burned_rao: self.burned_rao,
        }
    }

    /// All accounts, in order.
    pub fn accounts(&self) -> impl Iterator<Item = (AccountId, Account)> {
        self.accounts.iter().map(|(account, entry)| (*account, *entry))
    }

    /// All hotkeys with their coldkeys, in order.
    pub fn owners(&self) -> impl Iterator<Item = (AccountId, AccountId)> {
        self.owners.iter().map(|(hotkey, coldkey)| (*hotkey, *coldkey))
    }

    /// All stakes by hotkey and coldkey, in order.
    pub fn stakes(&self) -> impl Iterator<Item = ((AccountId, AccountId), u64)> {
        self.stakes.iter().map(|(keys, rao)| (*keys, *rao))
    }

    /// All subnets, in order.
    pub fn subnets(&self) -> impl Iterator<Item = (NetUid, &Subnet)> {
        self.subnets.iter().map(|(netuid, subnet)| (*netuid, subnet))
    }

    /// What opening a subnet costs.
    pub fn network_price_rao(&self) -> u64 {
        self.network_price_rao
    }

    /// Numbers of all subnets.
    pub fn netuids(&self) -> Vec<NetUid> {
        self.subnets.keys().copied().collect()
    }

    /// Coldkey of a hotkey that was ever registered.
    pub fn owner(&self, hotkey: AccountId) -> Option<AccountId> {
        self.owners.get(&hotkey).copied()
    }

    /// What a slot of the subnet costs now.
    pub fn burn_rao(&self, netuid: NetUid) -> Option<u64> {
        self.subnets.get(&netuid).map(|subnet| subnet.burn_rao)
    }

    /// What the subnet pays after the newest block.
    pub fn rewards(&self, netuid: NetUid) -> Option<Rewards> {
        let subnet = self.subnets.get(&netuid)?;
        Some(Rewards {
            incentives: subnet.slots.iter().map(|slot| slot.incentive).collect(),
            tempo: subnet.hyperparameters.tempo.into(),
            weights_rate_limit: subnet.hyperparameters.weights_rate_limit,
            hidden_epochs: match subnet.hyperparameters.commit_reveal {
                true => subnet.hyperparameters.reveal_period,
                false => 0,
            },
        })
    }

    /// Slots with a validator permit after the newest block, in order of uid.
    pub fn voters(&self, netuid: NetUid) -> Option<Vec<Voter>> {
        let subnet = self.subnets.get(&netuid)?;
        let permitted = |(uid, slot): (u16, &Slot)| {
            let stake_rao = || self.total_stake(slot.hotkey);
            slot.validator_permit.then(|| Voter {
                uid: Uid(uid),
                hotkey: slot.hotkey,
                stake_rao: stake_rao(),
            })
        };
        Some((0..).zip(&subnet.slots).filter_map(permitted).collect())
    }

    /// The weights of a slot after the newest block.
    pub fn weights(&self, netuid: NetUid, uid: Uid) -> Option<Vec<(Uid, u16)>> {
        let slot = self.subnets.get(&netuid)?.slots.get(usize::from(uid.0));
        let weights = slot.map(|slot| slot.weights.as_slice()).unwrap_or_default();
        Some(weights.iter().map(|(to, value)| (Uid(*to), *value)).collect())
    }

    /// How the subnet hides weights after the newest block; `Some(None)` if it does not.
    pub fn hiding(&self, netuid: NetUid) -> Option<Option<HidingRules>> {
        let subnet = self.subnets.get(&netuid)?;
        let rules = || HidingRules {
            head: self.head().block,
            epochs: subnet.epochs(),
            reveal_period: subnet.hyperparameters.reveal_period,
            version: COMMIT_REVEAL_VERSION,
            beacon: self.beacon(),
            now_ms: self.head().block.0.saturating_mul(BEACON_BLOCK_MS),
            block_ms: BEACON_BLOCK_MS,
        };
        Some(subnet.hyperparameters.commit_reveal.then(rules))
    }

    /// What a subnet demands of weights in the next block.
    pub fn demands(&self, netuid: NetUid) -> Option<Demands> {
        let rules = &self.subnets.get(&netuid)?.hyperparameters;
        let min_weights = rules.min_weights.into();
        Some(Demands { weights_version: rules.weights_version, min_weights })
    }

    /// The subnet after the newest block.
    pub fn metagraph(&self, netuid: NetUid) -> Option<Metagraph> {
        let subnet = self.subnets.get(&netuid)?;
        let neurons = (0..).map(Uid).zip(&subnet.slots);
        Some(Metagraph {
            netuid,
            block: self.head.block,
            tempo: subnet.hyperparameters.tempo.into(),
            weights_rate_limit: subnet.hyperparameters.weights_rate_limit,
            last_epoch: subnet.last_epoch,
            neurons: neurons.map(|(uid, slot)| self.neuron(uid, slot)).collect(),
        })
    }

    fn neuron(&self, uid: Uid, slot: &Slot) -> Neuron {
        let cells = |row: &[(u16, u16)]| row.iter().map(|(j, value)| (Uid(*j), *value)).collect();
        Neuron {
            uid,
            hotkey: slot.hotkey,
            coldkey: self.owners.get(&slot.hotkey).copied().unwrap_or(slot.hotkey),
            stake_rao: self.total_stake(slot.hotkey),
            validator_permit: slot.validator_permit,
            active: slot.active,
            last_update: slot.last_update,
            block_at_registration: slot.block_at_registration,
            consensus: slot.consensus,
            incentive: slot.incentive,
            dividends: slot.dividends,
            validator_trust: slot.validator_trust,
            emission_rao: slot.emission_rao,
            weights: cells(&slot.weights),
            bonds: cells(&slot.bonds),
        }
    }
}
