//! What a chain starts with.

use protocol::{AccountId, NetUid, yuma};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// All the TAO there can ever be, in rao.
pub const SUPPLY_RAO_MAX: u64 = 21_000_000 * RAO_PER_TAO;

/// One TAO.
pub const RAO_PER_TAO: u64 = 1_000_000_000;

/// State of a chain before its first block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// Rules of a subnet that its owner chooses, with the defaults of summer 2024.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hyperparameters {
    /// Blocks between two epochs, less one.
    pub tempo: u16,
    /// Most slots.
    pub max_uids: u16,
    /// Most permits.
    pub max_validators: u16,
    /// Blocks for which a new slot is not pruned.
    pub immunity_period: u64,
    /// Whether slots can be bought.
    pub registration_allowed: bool,
    /// Price of a slot at the start.
    pub burn_rao: u64,
    /// Lowest price.
    pub min_burn_rao: u64,
    /// Highest price.
    pub max_burn_rao: u64,
    /// Blocks between two adjustments of the price.
    pub adjustment_interval: u64,
    /// Share of the old price in the adjusted one, of 65,535.
    pub adjustment_alpha: u16,
    /// Registrations per interval at which the price stays; three times as many are allowed.
    pub target_registrations: u16,
    /// Most registrations in one block.
    pub max_registrations_per_block: u16,
    /// Blocks between two settings of weights of one validator.
    pub weights_rate_limit: u64,
    /// Fewest weights in one call.
    pub min_weights: u16,
    /// Largest share of one weight, of 65,535.
    pub max_weight_limit: u16,
    /// Version that validators must run at least; zero accepts all.
    pub weights_version: u64,
    /// Blocks between two commitments of one hotkey.
    pub commitment_rate_limit: u64,
    /// Share of stake that consensus needs, of 65,535.
    pub kappa: u16,
    /// Share of the old bonds, in millionths.
    pub bonds_moving_average: u64,
    /// How far clipping cuts the weights that make bonds, of 65,535.
    pub bonds_penalty: u16,
    /// Whether bonds follow Yuma3.
    pub yuma3: bool,
    /// Bond rates that depend on weight and consensus; needs `yuma3`.
    pub liquid_alpha: Option<yuma::LiquidAlpha>,
    /// Which generation of small rules consensus follows.
    ///
    /// Deviation: today's even beside the bonds of 2024, because under the rules of 2024 the bonds
    /// on a pruned miner could pass to whoever took its slot.
    pub era: yuma::Era,
    /// Blocks without new weights after which a validator has no say.
    pub activity_cutoff: u64,
    /// Stake below which nobody sets weights or counts in consensus.
    pub stake_threshold_rao: u64,
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

impl Default for Hyperparameters {
    fn default() -> Self {
        Self {
            tempo: 360,
            max_uids: 256,
            max_validators: 64,
            immunity_period: 5_000,
            registration_allowed: true,
            burn_rao: RAO_PER_TAO,
            min_burn_rao: RAO_PER_TAO,
            max_burn_rao: 100 * RAO_PER_TAO,
            adjustment_interval: 360,
            adjustment_alpha: 0,
            target_registrations: 1,
            max_registrations_per_block: 1,
            weights_rate_limit: 100,
            min_weights: 1,
            max_weight_limit: u16::MAX,
            weights_version: 0,
            commitment_rate_limit: 100,
            kappa: 32_767,
            bonds_moving_average: 900_000,
            bonds_penalty: u16::MAX,
            yuma3: false,
            liquid_alpha: None,
            era: yuma::Era::Latest,
            activity_cutoff: 5_000,
            stake_threshold_rao: 0,
        }
    }
}

impl Genesis {
    /// Everything that the ledger relies on for ever after.
    pub(crate) fn check(&self) -> Result<(), GenesisError> {
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

impl Hyperparameters {
    fn check(&self, netuid: NetUid) -> Result<(), GenesisError> {
        let uids = 1..=yuma::MAX_NEURONS;
        let liquid_fits =
            self.liquid_alpha.is_none_or(|alpha| self.yuma3 && alpha.low <= alpha.high);
        let rules = [
            ("tempo", "at least 1", self.tempo >= 1),
            ("max_uids", "from 1 to 4096", uids.contains(&usize::from(self.max_uids))),
            ("min_burn_rao", "at most `max_burn_rao`", self.min_burn_rao <= self.max_burn_rao),
            ("adjustment_interval", "at least 1", self.adjustment_interval >= 1),
            ("target_registrations", "at least 1", self.target_registrations >= 1),
            ("bonds_moving_average", "at most 1000000", self.bonds_moving_average <= 1_000_000),
            ("liquid_alpha", "`low` at most `high`, with `yuma3`", liquid_fits),
        ];
        match rules.into_iter().find(|(_, _, holds)| !holds) {
            Some((field, expected, _)) => {
                Err(GenesisError::Hyperparameter { netuid, field, expected })
            }
            None => Ok(()),
        }
    }
}
