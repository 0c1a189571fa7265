//! How a subnet of a chain hides weights, from the chain's own items.

use super::{
    SubstrateChain,
    link::{At, Failure, Link},
    origin::Origin,
    read,
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
const CLOCK_BLOCKS_MAX: u64 = 2;

/// Milliseconds of a block where the runtime does not say.
const BLOCK_MS: u64 = 12_000;

/// A beacon as a runtime keeps it.
#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct Config {
    public_key: Vec<u8>,
    period: u32,
    genesis_time: u32,
}

/// What a chain says of its time.
struct Time {
    /// Of the newest block.
    head_ms: u64,
    block_ms: u64,
}

impl SubstrateChain {
    /// How the subnet hides weights after the newest block, final or not: the next one may take a
    /// call that is signed now.
    pub(super) fn hiding_rules(&self, netuid: NetUid) -> Result<Option<HidingRules>, Error> {
        let head = self.head()?;
        let read = self.links.ask("rules of a subnet", async |link: &Link| {
            let best = link.best().await?.filter(|best| best.block >= head.block).unwrap_or(head);
            rules(&link.at(best).await?, netuid).await
        })?;
        let Some((mut rules, time)) = read.ok_or(Error::NoSubnet(netuid))? else { return Ok(None) };
        (rules.now_ms, rules.block_ms) = match self.origin()? {
            // The beacon of our own node goes by its blocks, however long they take.
            Origin::Agon => (rules.head.0.saturating_mul(BEACON_BLOCK_MS), BEACON_BLOCK_MS),
            Origin::Bittensor(_) | Origin::Unknown => (self.checked_now(&time)?, time.block_ms),
        };
        if let Origin::Bittensor(_) = self.origin()?
            && rules.beacon != Beacon::QUICKNET
        {
            return Err(Error::Incompatible { what: "beacon `quicknet` of drand".to_owned() });
        }
        Ok(Some(rules))
    }

    /// What our clock says, if the chain's agrees.
    fn checked_now(&self, time: &Time) -> Result<u64, Error> {
        let now_ms = self.links.config().clock.now_ms();
        // The newest block is up to one block old.
        let off_ms = match now_ms.checked_sub(time.head_ms) {
            Some(ahead) => ahead.saturating_sub(time.block_ms),
            None => time.head_ms - now_ms,
        };
        if off_ms > CLOCK_BLOCKS_MAX.saturating_mul(time.block_ms) {
            let (ours, chains) =
                (Duration::from_millis(now_ms), Duration::from_millis(time.head_ms));
            return Err(Error::Clock { ours, chains, block: Duration::from_millis(time.block_ms) });
        }
        Ok(now_ms)
    }
}

/// What the subnet and its chain say, all but the time; `None` if the subnet is not there.
async fn rules(at: &At, netuid: NetUid) -> Result<Option<Option<(HidingRules, Time)>>, Failure> {
    if !read::is_open(at, netuid).await? {
        return Ok(None);
    }
    let key = (netuid.0,);
    if !read::flag(at, "CommitRevealWeightsEnabled", key).await?.unwrap_or(false) {
        return Ok(Some(None));
    }
    let head = Block(at.block_number());
    let version = read::number(at, "CommitRevealWeightsVersion", ()).await?;
    let version = version.map_or(Ok(COMMIT_REVEAL_VERSION), u16::try_from)?;
    let rules = HidingRules {
        head,
        epochs: epochs(at, netuid).await?,
        reveal_period: read::number(at, "RevealPeriodEpochs", key).await?.unwrap_or(1),
        version,
        beacon: beacon(at).await?,
        now_ms: 0,
        block_ms: 0,
    };
    Ok(Some(Some((rules, time(at).await?))))
}

/// Where the subnet is in its epochs.
async fn epochs(at: &At, netuid: NetUid) -> Result<Epochs, Failure> {
    let key = (netuid.0,);
    let tempo = read::number(at, "Tempo", key).await?.unwrap_or(0);
    let tempo = u16::try_from(tempo)?;
    let number = async |name| Ok::<_, Failure>(read::number(at, name, key).await?.unwrap_or(0));
    let Some(last_epoch) = read::number(at, "LastEpochBlock", key).await? else {
        return Ok(epochs_by_number(tempo, netuid, at.block_number()));
    };
    Ok(Epochs {
        tempo,
        last_epoch_block: Block(last_epoch),
        pending_epoch_at: Some(number("PendingEpochAt").await?).filter(|at| *at > 0).map(Block),
        index: number("SubnetEpochIndex").await?,
        blocks_since_step: number("BlocksSinceLastStep").await?,
    })
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

/// The beacon that the chain follows.
async fn beacon(at: &At) -> Result<Beacon, Failure> {
    let address = dynamic::storage::<(), Config>("Drand", "BeaconConfig");
    let config = at.storage().fetch(address, ()).await?.decode()?;
    let public_key = config.public_key.try_into().map_err(|_| "a beacon's key has 96 bytes")?;
    let period_ms = NonZeroU64::new(u64::from(config.period).saturating_mul(1_000));
    Ok(Beacon {
        public_key: PublicKey(public_key),
        genesis_unix: config.genesis_time.into(),
        period_ms: period_ms.ok_or("a beacon takes time from round to round")?,
    })
}

async fn time(at: &At) -> Result<Time, Failure> {
    let address = dynamic::storage::<(), u64>("Timestamp", "Now");
    let head_ms = at.storage().fetch(address, ()).await?.decode()?;
    let address = dynamic::constant::<u64>("Aura", "SlotDuration");
    let block_ms = at.constants().entry(address).unwrap_or(BLOCK_MS);
    Ok(Time { head_ms, block_ms: block_ms.max(1) })
}
