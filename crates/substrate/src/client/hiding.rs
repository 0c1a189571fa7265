//! How a subnet of a chain hides weights, from the chain's own items.

use super::{
    SubstrateChain,
    link::{At, Failure, Link},
    origin::Origin,
    read::{self, Batch, Item},
};
use chain::{
    Chain as _, Epochs, Error, HidingRules,
    ledger::{BEACON_BLOCK_MS, COMMIT_REVEAL_VERSION},
};
use protocol::{Block, NetUid};
use std::{num::NonZeroU64, time::Duration};
use subxt::{dynamic, ext::scale_decode::DecodeAsType};
use timelock::{Beacon, PublicKey};

/// What our clock may differ from the chain's, in blocks: a round that is reckoned by a clock that
/// is further off opens the weights early, or after their epoch is over.
pub(super) const CLOCK_BLOCKS_MAX: u64 = 2;

/// Milliseconds of a block on Bittensor's networks, and where the runtime does not say.
const BLOCK_MS: u64 = 12_000;

/// The same as time.
pub(super) const BITTENSOR_BLOCK: Duration = Duration::from_millis(BLOCK_MS);

/// Shortest tempo that owners of subnets may set on Bittensor's networks.
const TEMPO_MIN: u16 = 360;

/// What is asked for here.
const RULES: &str = "rules of a subnet";

/// Which beacon a chain follows; runtimes before 2025 follow none.
const BEACON: (&str, &str) = ("Drand", "BeaconConfig");

/// A beacon as a runtime keeps it.
#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct Config {
    public_key: Vec<u8>,
    period: u32,
    genesis_time: u32,
}

/// What a chain says of its time.
pub(super) struct Time {
    /// Of the newest block.
    pub(super) head_ms: u64,
    pub(super) block_ms: u64,
}

impl SubstrateChain {
    /// How the subnet hides weights after the newest block, final or not: the next one may take a
    /// call that is signed now.
    pub(super) fn hiding_rules(&self, netuid: NetUid) -> Result<Option<HidingRules>, Error> {
        let head = self.head()?;
        let clock = self.links.config().clock;
        let (read, seen_ms) = self.links.ask(RULES, async |link: &Link| {
            let (best, seen_ms) = link.best(clock).await?;
            let best = best.filter(|best| best.block >= head.block).unwrap_or(head);
            Ok((rules(link, &link.at(best).await?, netuid).await?, seen_ms))
        })?;
        let Some((mut rules, time)) = read.ok_or(Error::NoSubnet(netuid))? else { return Ok(None) };
        let origin = self.origin()?;
        if let Origin::Bittensor(_) = origin {
            check_bittensor(&rules, &time)?;
        }
        (rules.now_ms, rules.block_ms) = match origin {
            // The beacon of our own node goes by its blocks, however long they take.
            Origin::Agon => (rules.head.0.saturating_mul(BEACON_BLOCK_MS), BEACON_BLOCK_MS),
            Origin::Bittensor(_) | Origin::Unknown => (checked(seen_ms, &time)?, time.block_ms),
        };
        Ok(Some(rules))
    }
}

/// What our clock said when the block was the newest, if the chain's agrees.
fn checked(seen_ms: u64, time: &Time) -> Result<u64, Error> {
    // The newest block is up to one block old.
    let off_ms = match seen_ms.checked_sub(time.head_ms) {
        Some(ahead) => ahead.saturating_sub(time.block_ms),
        None => time.head_ms - seen_ms,
    };
    if off_ms > CLOCK_BLOCKS_MAX.saturating_mul(time.block_ms) {
        let (ours, chains) = (Duration::from_millis(seen_ms), Duration::from_millis(time.head_ms));
        return Err(Error::Clock { ours, chains, block: Duration::from_millis(time.block_ms) });
    }
    Ok(seen_ms)
}

/// What is so on all of Bittensor's networks. An endpoint that says something else would have
/// weights encrypted to a beacon of its own, or to a round long before they are opened.
fn check_bittensor(rules: &HidingRules, time: &Time) -> Result<(), Error> {
    if rules.beacon != Beacon::QUICKNET {
        return Err(Error::Incompatible { what: "beacon `quicknet` of drand".to_owned() });
    }
    let text = match (time.block_ms, rules.epochs.tempo) {
        (BLOCK_MS, TEMPO_MIN..) => return Ok(()),
        (BLOCK_MS, tempo) => format!("an epoch of {tempo} blocks, which has at least {TEMPO_MIN}"),
        (block_ms, _) => format!("a block takes {block_ms} ms, which is {BLOCK_MS} there"),
    };
    Err(Error::Answer { request: RULES, text })
}

/// What the subnet and its chain say, all but the time of now; `None` if the subnet is not there.
async fn rules(
    link: &Link,
    at: &At,
    netuid: NetUid,
) -> Result<Option<Option<(HidingRules, Time)>>, Failure> {
    let (mut batch, key) = (Batch::new(link, at), (netuid.0,));
    let is_open: Item<bool> = batch.item("NetworksAdded", key)?;
    let is_hiding: Option<Item<bool>> = batch.optional(read::IS_HIDING, key)?;
    let reveal_period: Option<Item<u64>> = batch.optional(read::REVEAL_PERIOD, key)?;
    let tempo: Item<u16> = batch.item("Tempo", key)?;
    // Each of these came with a later runtime than those before it.
    let version: Option<Item<u16>> = match read::has_item(at, "CommitRevealWeightsVersion") {
        true => Some(batch.item("CommitRevealWeightsVersion", ())?),
        false => None,
    };
    let cycle: Option<[Item<u64>; 4]> = match read::has_item(at, "LastEpochBlock") {
        true => Some([
            batch.item("LastEpochBlock", key)?,
            batch.item("PendingEpochAt", key)?,
            batch.item("SubnetEpochIndex", key)?,
            batch.item("BlocksSinceLastStep", key)?,
        ]),
        false => None,
    };
    let beacon: Option<Item<Config>> = batch.optional(BEACON, ())?;
    let head_ms: Item<u64> = batch.item_of("Timestamp", "Now", ())?;
    let values = batch.fetch().await?;
    if !values.get(&is_open)? {
        return Ok(None);
    }
    if !is_hiding.map_or(Ok(false), |item| values.get(&item))? {
        return Ok(Some(None));
    }
    let (head, tempo) = (Block(at.block_number()), values.get(&tempo)?);
    let epochs = match &cycle {
        Some([last_epoch_block, pending_epoch_at, index, blocks_since_step]) => Epochs {
            tempo,
            last_epoch_block: Block(values.get(last_epoch_block)?),
            pending_epoch_at: Some(values.get(pending_epoch_at)?).filter(|at| *at > 0).map(Block),
            index: values.get(index)?,
            blocks_since_step: values.get(blocks_since_step)?,
        },
        None => epochs_by_number(tempo, netuid, head.0),
    };
    let version = version.map_or(Ok(COMMIT_REVEAL_VERSION), |version| values.get(&version))?;
    let reveal_period = values.demand(read::REVEAL_PERIOD, reveal_period.as_ref())?;
    let beacon = values.demand(BEACON, beacon.as_ref())?.beacon()?;
    let (now_ms, block_ms) = (0, 0);
    let rules = HidingRules { head, epochs, reveal_period, version, beacon, now_ms, block_ms };
    Ok(Some(Some((rules, Time { head_ms: values.get(&head_ms)?, block_ms: block_ms_of(at) }))))
}

/// What a chain says of its time.
pub(super) async fn time(link: &Link, at: &At) -> Result<Time, Failure> {
    let mut batch = Batch::new(link, at);
    let head_ms: Item<u64> = batch.item_of("Timestamp", "Now", ())?;
    let values = batch.fetch().await?;
    Ok(Time { head_ms: values.get(&head_ms)?, block_ms: block_ms_of(at) })
}

/// What a block takes, in milliseconds.
fn block_ms_of(at: &At) -> u64 {
    let address = dynamic::constant::<u64>("Aura", "SlotDuration");
    at.constants().entry(address).unwrap_or(BLOCK_MS).max(1)
}

impl Config {
    /// The beacon that the chain follows.
    fn beacon(self) -> Result<Beacon, Failure> {
        let public_key = self.public_key.try_into().map_err(|_| "a beacon's key has 96 bytes")?;
        let period_ms = NonZeroU64::new(u64::from(self.period).saturating_mul(1_000));
        Ok(Beacon {
            public_key: PublicKey(public_key),
            genesis_unix: self.genesis_time.into(),
            period_ms: period_ms.ok_or("a beacon takes time from round to round")?,
        })
    }
}

/// The epochs of runtimes before 2026, which follow from the number of the block: every `tempo + 1`
/// blocks, shifted by the number of the subnet.
fn epochs_by_number(tempo: u16, netuid: NetUid, block: u64) -> Epochs {
    let period = tempo.saturating_add(1);
    let shifted = block.saturating_add(u64::from(netuid.0)).saturating_add(1);
    let blocks_since_step = shifted % u64::from(period);
    Epochs {
        tempo: period,
        last_epoch_block: Block(block.saturating_sub(blocks_since_step)),
        pending_epoch_at: None,
        index: shifted / u64::from(period),
        blocks_since_step,
    }
}
