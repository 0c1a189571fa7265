//! Whether a runtime has what this program uses of it, and how an endpoint stands.

use super::{
    SubstrateChain,
    calls::NamedCall,
    config::{Rate, RateLimit},
    link::{At, Failure, Link},
};
use chain::{Call, Chain as _, Error, Head, HyperparameterChange, SubnetIdentity};
use protocol::{AccountId, Block, NetUid, Uid};
use serde::Serialize;

/// Items that are read wherever they are, by pallet; some came with later runtimes, and there are
/// others in their place before.
const ITEMS: [(&str, &[&str]); 4] = [
    ("System", &["Account"]),
    ("Timestamp", &["Now"]),
    (
        "SubtensorModule",
        &[
            "Active",
            "BlockAtRegistration",
            "Bonds",
            "Burn",
            "CommitRevealWeightsEnabled",
            "Consensus",
            "Dividends",
            "Emission",
            "Incentive",
            "Keys",
            "LastMechansimStepBlock",
            "LastUpdate",
            "NetworksAdded",
            "Owner",
            "RevealPeriodEpochs",
            "SubnetOwner",
            "SubnetworkN",
            "Tempo",
            "Uids",
            "ValidatorPermit",
            "ValidatorTrust",
            "Weights",
            "WeightsSetRateLimit",
        ],
    ),
    ("Commitments", &["CommitmentOf"]),
];

/// The beacon by which weights are hidden.
const BEACON: (&str, &str) = ("Drand", "BeaconConfig");

/// How an endpoint stands, and what of this program its runtime does not fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fit {
    /// Version of the runtime.
    pub spec_version: u32,
    /// The newest final block.
    pub finalized: Head,
    /// The newest block, final or not.
    pub best: Option<Block>,
    /// When the newest block was made, in milliseconds since 1970; 0 where blocks have no time.
    pub best_ms: u64,
    /// What our clock says, in milliseconds since 1970.
    pub clock_ms: u64,
    /// What a block takes, in milliseconds.
    pub block_ms: u64,
    /// Calls and items that the runtime should have and has not.
    pub missing: Vec<String>,
    /// How many calls and items were looked for.
    pub n_looked_for: usize,
    /// How fast the endpoint is asked at most, in requests a minute; absent for no limit.
    pub requests_per_minute: Option<u64>,
}

impl SubstrateChain {
    /// Looks at the endpoint and its runtime, and at nothing of any subnet.
    pub fn fit(&self) -> Result<Fit, Error> {
        let finalized = self.head()?;
        let (config, url) = (self.links.config(), self.url());
        let requests_per_minute = per_minute(config.rate_limit, url);
        let fit = self.links.ask("metadata", async |link: &Link| {
            let (best, clock_ms) = link.best(config.clock).await?;
            let at = link.at(best.unwrap_or(finalized)).await?;
            let time = super::hiding::time(link, &at).await?;
            let (missing, n_looked_for) = missing(&at)?;
            Ok(Fit {
                spec_version: at.spec_version(),
                finalized,
                best: best.map(|best| best.block),
                best_ms: time.head_ms,
                clock_ms,
                block_ms: time.block_ms,
                missing,
                n_looked_for,
                requests_per_minute,
            })
        })?;
        // After the newest: one that is made, and final, between two questions must not look as if
        // finality lagged. Of what was found nothing is lost where this one fails.
        match self.head() {
            Ok(finalized) => Ok(Fit { finalized, ..fit }),
            Err(error) if error.is_transient() => Ok(fit),
            Err(error) => Err(error),
        }
    }
}

fn per_minute(limit: RateLimit, url: &str) -> Option<u64> {
    let Rate { interval, .. } = limit.of(url)?;
    u64::try_from(60_000 / interval.as_millis().max(1)).ok()
}

/// What a runtime lacks, and how much was looked for.
fn missing(at: &At) -> Result<(Vec<String>, usize), Failure> {
    let (metadata, mut missing, mut n) = (at.metadata_ref(), Vec::new(), 0);
    for call in calls() {
        n += 1;
        let call = NamedCall::of(&call);
        let what = format!("{}.{}", call.pallet, call.name);
        let pallet = metadata.pallet_by_name(call.pallet);
        let variant = pallet.and_then(|p| call.names().find_map(|n| p.call_variant_by_name(n)));
        let Some(variant) = variant else {
            missing.push(what);
            continue;
        };
        let fields = variant.fields.iter().map(|field| field.name.clone().unwrap_or_default());
        if let Err(field) = call.arguments_for(&fields.collect::<Vec<String>>()) {
            missing.push(format!("{what}({field})"));
        }
    }
    let items = ITEMS.iter().flat_map(|(pallet, items)| items.iter().map(move |i| (*pallet, *i)));
    for (pallet, item) in items.chain([BEACON]) {
        n += 1;
        let storage = metadata.pallet_by_name(pallet).and_then(|pallet| pallet.storage());
        if storage.is_none_or(|storage| storage.entry_by_name(item).is_none()) {
            missing.push(format!("{pallet}.{item}"));
        }
    }
    Ok((missing, n))
}

/// A call of each kind that a miner, a validator or an owner makes; what they learn is added here.
fn calls() -> Vec<Call> {
    use HyperparameterChange as Change;
    let (netuid, hotkey, to) = (NetUid(1), AccountId([1; 32]), AccountId([2; 32]));
    let (uids, weights, version_key) = (vec![Uid(0)], vec![1], 0);
    vec![
        Call::Transfer { to, amount_rao: 1 },
        Call::BurnedRegister { netuid, hotkey },
        Call::AddStake { hotkey, netuid, amount_rao: 1 },
        Call::RemoveStake { hotkey, netuid, amount_rao: 1 },
        Call::RegisterNetwork { hotkey },
        Call::StartSubnet { netuid },
        Call::SetSubnetIdentity { netuid, identity: SubnetIdentity::default() },
        Call::SetCommitment { netuid, data: vec![1] },
        Call::SetWeights { netuid, uids, weights, version_key },
        Call::CommitTimelockedWeights { netuid, sealed: vec![1], round: 1, version: 4 },
        Call::SetHyperparameter { netuid, change: Change::Tempo(360) },
        Call::SetHyperparameter { netuid, change: Change::CommitReveal(true) },
        Call::SetHyperparameter { netuid, change: Change::ImmunityPeriod(1) },
        Call::SetHyperparameter { netuid, change: Change::MinBurn(1) },
        Call::SetHyperparameter { netuid, change: Change::MaxBurn(1) },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of items in a text of this program, as they are asked for together.
    fn items_in(text: &str) -> Vec<&str> {
        text.split(".item(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect()
    }

    #[test]
    fn every_item_that_is_read_whatever_the_runtime_is_looked_for() {
        let texts = [
            include_str!("read.rs"),
            include_str!("read/metagraph.rs"),
            include_str!("read/commitments.rs"),
            include_str!("rules.rs"),
        ];
        let (_, looked_for) =
            ITEMS.iter().find(|(pallet, _)| *pallet == "SubtensorModule").unwrap();
        for item in texts.iter().flat_map(|text| items_in(text)) {
            // Stake is read as each runtime keeps it.
            let is_optional = ["TotalHotkeyStake"].contains(&item);
            assert!(
                is_optional || looked_for.contains(&item),
                "`{item}` is read and not looked for"
            );
        }
    }
}
