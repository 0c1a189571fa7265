//! What a chain starts with.

use super::Hyperparameters;
use protocol::{AccountId, NetUid};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// All the TAO there can ever be, in rao.
pub const SUPPLY_RAO_MAX: u64 = 21_000_000 * RAO_PER_TAO;

/// One TAO.
pub const RAO_PER_TAO: u64 = 1_000_000_000;

/// State of a chain before its first block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// Number of the network's seed; part of the first hash, so it sets apart all block hashes.
    pub seed: u64,
    /// Free balances.
    #[serde(default)]
    pub accounts: Vec<(AccountId, u64)>,
    /// Subnets, numbered from 1 in this order.
    #[serde(default)]
    pub subnets: Vec<SubnetGenesis>,
    /// What opening a subnet costs; locked, not burned.
    #[serde(default = "default_network_price")]
    pub network_price_rao: u64,
}

/// A subnet that is there from the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubnetGenesis {
    /// Coldkey that gets the owner's cut.
    pub owner: AccountId,
    /// Rules of the subnet.
    #[serde(default)]
    pub hyperparameters: Hyperparameters,
}

/// What makes a genesis impossible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// More money than there can be.
    #[error("the accounts hold more than 21 million TAO")]
    TooMuchBalance,
    /// An account is listed twice.
    #[error("account `{0}` is listed twice")]
    DuplicateAccount(AccountId),
    /// More subnets than the chain numbers.
    #[error("{0} subnets are more than {max}", max = super::SUBNETS_MAX)]
    TooManySubnets(usize),
    /// A rule of a subnet is out of its range.
    #[error("`{field}` of subnet `{netuid}` must be {expected}")]
    Hyperparameter {
        /// Subnet.
        netuid: NetUid,
        /// Name of the rule.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
}

fn default_network_price() -> u64 {
    1_000 * RAO_PER_TAO
}

impl Default for Genesis {
    fn default() -> Self {
        Self {
            seed: 0,
            accounts: Vec::new(),
            subnets: Vec::new(),
            network_price_rao: default_network_price(),
        }
    }
}

impl Genesis {
    /// Everything that the ledger relies on for ever after; the error says what cannot be.
    pub fn check(&self) -> Result<(), GenesisError> {
        let mut seen = BTreeSet::new();
        let mut total: u64 = 0;
        for (account, balance) in &self.accounts {
            if !seen.insert(account) {
                return Err(GenesisError::DuplicateAccount(*account));
            }
            total = total.saturating_add(*balance);
        }
        if total > SUPPLY_RAO_MAX {
            return Err(GenesisError::TooMuchBalance);
        }
        if self.subnets.len() > super::SUBNETS_MAX {
            return Err(GenesisError::TooManySubnets(self.subnets.len()));
        }
        let numbered = (1..).map(NetUid).zip(&self.subnets);
        numbered.into_iter().try_for_each(|(netuid, subnet)| subnet.hyperparameters.check(netuid))
    }
}
