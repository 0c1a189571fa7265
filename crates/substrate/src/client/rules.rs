//! The rules of a subnet as they stand, and what they are counted against.

use super::{
    SubstrateChain,
    link::{At, Failure, Link},
    read::{self, Batch, Item},
};
use chain::{Chain as _, Error, Head};
use protocol::{AccountId, Block, NetUid, Uid};
use serde::Serialize;
use subxt::{ext::scale_decode::DecodeAsType, utils::AccountId32};

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

/// What the rules are counted against.
const COUNTS: [(&str, &str); 3] =
    [("price", "Burn"), ("slots", "SubnetworkN"), ("registrations", "RegistrationsThisInterval")];

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
        let rules = self
            .links
            .ask("rules of a subnet", async |link: &Link| rules(link, netuid, head).await)?;
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

/// The items of a list that the runtime has, in a batch.
fn items<V: DecodeAsType>(
    batch: &mut Batch<'_>,
    at: &At,
    (netuid, items): (NetUid, &[(&'static str, &str)]),
) -> Result<Vec<(&'static str, Item<V>)>, Failure> {
    let there = items.iter().filter(|(_, item)| read::has_item(at, item));
    there.map(|(name, item)| Ok((*name, batch.item(item, (netuid.0,))?))).collect()
}

async fn rules(link: &Link, netuid: NetUid, head: Head) -> Result<Option<SubnetRules>, Failure> {
    let at = &link.at(head).await?;
    let mut batch = Batch::new(link, at);
    let is_open = batch.item("NetworksAdded", (netuid.0,))?;
    let owner: Item<AccountId32> = batch.item("SubnetOwner", (netuid.0,))?;
    let numbers: Vec<(_, Item<u64>)> = items(&mut batch, at, (netuid, &NUMBERS))?;
    let flags: Vec<(_, Item<bool>)> = items(&mut batch, at, (netuid, &FLAGS))?;
    let counts: Vec<(_, Item<u64>)> = items(&mut batch, at, (netuid, &COUNTS))?;
    let values = batch.fetch().await?;
    if !values.get(&is_open)? {
        return Ok(None);
    }
    let mut rules = Vec::with_capacity(numbers.len() + flags.len() + 1);
    for (name, number) in &numbers {
        rules.push(Rule { name, value: RuleValue::Number(values.get(number)?) });
    }
    for (name, flag) in &flags {
        rules.push(Rule { name, value: RuleValue::Flag(values.get(flag)?) });
    }
    if let Some(limit) = read::commitment_rate_limit(at, netuid).await? {
        rules.push(Rule { name: "commitment_rate_limit", value: RuleValue::Number(limit) });
    }
    let count = |wanted: &str| {
        let found = counts.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, count)| values.get(count)).transpose()
    };
    Ok(Some(SubnetRules {
        netuid,
        block: head.block,
        owner: AccountId(values.get(&owner)?.0),
        slot_price_rao: count("price")?.unwrap_or(0),
        slots: count("slots")?.unwrap_or(0),
        registrations_this_interval: count("registrations")?,
        rules,
    }))
}
