//! The rules of a subnet as they stand, and what they are counted against.

use super::{
    SubstrateChain,
    link::{At, Failure, Link},
    read,
};
use chain::{Chain as _, Error};
use futures_util::future::try_join_all;
use protocol::{AccountId, Block, NetUid, Uid};
use serde::Serialize;

/// The rules of a subnet after a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SubnetRules {
    /// Subnet.
    pub netuid: NetUid,
    /// Block of this state.
    pub block: Block,
    /// Coldkey that may change the rules.
    pub owner: AccountId,
    /// What a slot costs now.
    pub slot_price_rao: u64,
    /// Slots taken.
    pub slots: u64,
    /// Registrations since the price was last adjusted, where the runtime counts them.
    pub registrations_this_interval: Option<u64>,
    /// Rules that the runtime has, under the names by which they are set.
    pub rules: Vec<Rule>,
}

/// One rule with its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Name, as in [`Hyperparameters`](chain::Hyperparameters).
    pub name: &'static str,
    /// Value.
    pub value: RuleValue,
}

/// The value of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum RuleValue {
    /// A number in the unit of the rule.
    Number(u64),
    /// Yes or no.
    Flag(bool),
}

impl std::fmt::Display for RuleValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
        }
    }
}

/// Rules that are numbers: our names, and the chain's.
const NUMBERS: [(&str, &str); 18] = [
    ("tempo", "Tempo"),
    ("max_uids", "MaxAllowedUids"),
    ("max_validators", "MaxAllowedValidators"),
    ("immunity_period", "ImmunityPeriod"),
    ("min_burn_rao", "MinBurn"),
    ("max_burn_rao", "MaxBurn"),
    ("adjustment_interval", "AdjustmentInterval"),
    ("target_registrations", "TargetRegistrationsPerInterval"),
    ("max_registrations_per_block", "MaxRegistrationsPerBlock"),
    ("weights_rate_limit", "WeightsSetRateLimit"),
    ("min_weights", "MinAllowedWeights"),
    ("max_weight_limit", "MaxWeightsLimit"),
    ("weights_version", "WeightsVersionKey"),
    ("kappa", "Kappa"),
    ("bonds_moving_average", "BondsMovingAverage"),
    ("bonds_penalty", "BondsPenalty"),
    ("activity_cutoff", "ActivityCutoff"),
    ("reveal_period", "RevealPeriodEpochs"),
];

/// Rules that are yes or no.
const FLAGS: [(&str, &str); 3] = [
    ("registration_allowed", "NetworkRegistrationAllowed"),
    ("commit_reveal", "CommitRevealWeightsEnabled"),
    ("yuma3", "Yuma3On"),
];

impl SubnetRules {
    /// The value of a rule that is a number, if the runtime has it.
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.rules.iter().find(|rule| rule.name == name)?.value {
            RuleValue::Number(number) => Some(number),
            RuleValue::Flag(_) => None,
        }
    }
}

impl SubstrateChain {
    /// The rules of a subnet as they stand.
    pub fn rules(&self, netuid: NetUid) -> Result<SubnetRules, Error> {
        let head = self.head()?;
        let rules = self.links.ask("rules of a subnet", async |link: &Link| {
            rules(&link.at(head).await?, netuid, head.block).await
        })?;
        rules.ok_or(Error::NoSubnet(netuid))
    }

    /// The slot of a hotkey on a subnet, if it has one.
    pub fn slot(&self, netuid: NetUid, hotkey: AccountId) -> Result<Option<Uid>, Error> {
        let head = self.head()?;
        let slot = self.links.ask("slot of a hotkey", async |link: &Link| {
            read::slot(&link.at(head).await?, netuid, hotkey).await
        })?;
        slot.ok_or(Error::NoSubnet(netuid))
    }

    /// Stake below which nobody may set weights, in rao; 0 where the runtime has no such rule.
    pub fn stake_threshold_rao(&self) -> Result<u64, Error> {
        let head = self.head()?;
        self.links.ask("stake threshold", async |link: &Link| {
            let at = link.at(head).await?;
            Ok(read::number(&at, "StakeThreshold", ()).await?.unwrap_or(0))
        })
    }
}

async fn rules(at: &At, netuid: NetUid, block: Block) -> Result<Option<SubnetRules>, Failure> {
    if !read::is_open(at, netuid).await? {
        return Ok(None);
    }
    let key = (netuid.0,);
    let numbers = NUMBERS.map(async |(name, item)| {
        let number = read::number(at, item, key).await?;
        Ok::<_, Failure>(number.map(|number| Rule { name, value: RuleValue::Number(number) }))
    });
    let flags = FLAGS.map(async |(name, item)| {
        let flag = read::flag(at, item, key).await?;
        Ok::<_, Failure>(flag.map(|flag| Rule { name, value: RuleValue::Flag(flag) }))
    });
    let (numbers, flags) = (try_join_all(numbers).await?, try_join_all(flags).await?);
    let mut rules: Vec<Rule> = numbers.into_iter().chain(flags).flatten().collect();
    if let Some(limit) = read::commitment_rate_limit(at, netuid).await? {
        rules.push(Rule { name: "commitment_rate_limit", value: RuleValue::Number(limit) });
    }
    Ok(Some(SubnetRules {
        netuid,
        block,
        owner: read::owner(at, netuid).await?,
        slot_price_rao: read::number(at, "Burn", key).await?.unwrap_or(0),
        slots: read::number(at, "SubnetworkN", key).await?.unwrap_or(0),
        registrations_this_interval: read::number(at, "RegistrationsThisInterval", key).await?,
        rules,
    }))
}
