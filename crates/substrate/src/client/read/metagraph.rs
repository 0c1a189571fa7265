//! A subnet with all its slots.

use super::{
    SUBTENSOR,
    batch::{Batch, Item, Values, keys_of},
    has_storage,
};
use crate::client::link::{At, Failure, Link};
use chain::{Mechanism, Metagraph, Neuron, Voter};
use protocol::{AccountId, Block, NetUid, Uid};
use subxt::{dynamic, ext::scale_decode::DecodeAsType, utils::AccountId32};

/// TAO behind a hotkey, on runtimes as in 2024.
const HOTKEY_STAKE: &str = "TotalHotkeyStake";

/// Values of the subnet but those of single slots, and how to find them in a batch.
struct Subnet {
    is_open: Item<bool>,
    tempo: Item<u16>,
    weights_rate_limit: Item<u64>,
    last_epoch: Item<u64>,
    validator_permit: Item<Vec<bool>>,
    active: Item<Vec<bool>>,
    last_update: Item<Vec<u64>>,
    consensus: Item<Vec<u16>>,
    incentive: Item<Vec<u16>>,
    dividends: Item<Vec<u16>>,
    validator_trust: Item<Vec<u16>>,
    emission: Item<Vec<u64>>,
}

impl Subnet {
    fn of(batch: &mut Batch<'_>, netuid: NetUid, mechanism: Mechanism) -> Result<Self, Failure> {
        let (key, place) = ((netuid.0,), (mechanism.index(netuid),));
        Ok(Self {
            is_open: batch.item("NetworksAdded", key)?,
            tempo: batch.item("Tempo", key)?,
            weights_rate_limit: batch.item("WeightsSetRateLimit", key)?,
            last_epoch: batch.item("LastMechansimStepBlock", key)?,
            validator_permit: batch.item("ValidatorPermit", key)?,
            active: batch.item("Active", key)?,
            last_update: batch.item("LastUpdate", place)?,
            consensus: batch.item("Consensus", key)?,
            incentive: batch.item("Incentive", place)?,
            dividends: batch.item("Dividends", key)?,
            validator_trust: batch.item("ValidatorTrust", key)?,
            emission: batch.item("Emission", key)?,
        })
    }

    /// What the lists of the subnet say of each slot; `slots` say the rest.
    fn fill(&self, values: &Values<'_>, neurons: &mut [Neuron]) -> Result<(), Failure> {
        let validator_permit = values.get(&self.validator_permit)?;
        let active = values.get(&self.active)?;
        let last_update = values.get(&self.last_update)?;
        let consensus = values.get(&self.consensus)?;
        let incentive = values.get(&self.incentive)?;
        let dividends = values.get(&self.dividends)?;
        let validator_trust = values.get(&self.validator_trust)?;
        let emission = values.get(&self.emission)?;
        for neuron in neurons {
            let i = usize::from(neuron.uid.0);
            neuron.validator_permit = at_index(&validator_permit, i);
            neuron.active = at_index(&active, i);
            neuron.last_update = Block(at_index(&last_update, i));
            neuron.consensus = at_index(&consensus, i);
            neuron.incentive = at_index(&incentive, i);
            neuron.dividends = at_index(&dividends, i);
            neuron.validator_trust = at_index(&validator_trust, i);
            neuron.emission_rao = at_index(&emission, i);
        }
        Ok(())
    }
}

/// Lists on the chain may lag behind a slot that was just taken.
fn at_index<T: Copy + Default>(list: &[T], i: usize) -> T {
    list.get(i).copied().unwrap_or_default()
}

/// Values of one slot that stand under its number.
struct Slot {
    uid: u16,
    hotkey: Item<AccountId32>,
    registered: Item<u64>,
    weights: Item<Vec<(u16, u16)>>,
    bonds: Item<Vec<(u16, u16)>>,
}

impl Slot {
    fn of(
        batch: &mut Batch<'_>,
        (netuid, mechanism): (NetUid, Mechanism),
        uid: u16,
    ) -> Result<Self, Failure> {
        let (key, place) = ((netuid.0, uid), (mechanism.index(netuid), uid));
        Ok(Self {
            uid,
            hotkey: batch.item("Keys", key)?,
            registered: batch.item("BlockAtRegistration", key)?,
            weights: batch.item("Weights", place)?,
            bonds: batch.item("Bonds", place)?,
        })
    }

    fn neuron(&self, values: &Values<'_>) -> Result<Neuron, Failure> {
        let cells = |row: Vec<(u16, u16)>| {
            row.into_iter().map(|(uid, value)| (Uid(uid), value)).collect::<Vec<_>>()
        };
        Ok(Neuron {
            uid: Uid(self.uid),
            hotkey: AccountId(values.get(&self.hotkey)?.0),
            coldkey: AccountId([0; 32]),
            stake_rao: 0,
            validator_permit: false,
            active: false,
            last_update: Block(0),
            block_at_registration: Block(values.get(&self.registered)?),
            consensus: 0,
            incentive: 0,
            dividends: 0,
            validator_trust: 0,
            emission_rao: 0,
            weights: cells(values.get(&self.weights)?),
            bonds: cells(values.get(&self.bonds)?),
        })
    }
}

/// Numbers of the slots of a subnet, in order.
pub(super) async fn uids(link: &Link, at: &At, netuid: NetUid) -> Result<Vec<u16>, Failure> {
    let keys: Vec<(u16, u16)> = keys_of((link, at), "Keys", (netuid.0,)).await?;
    let mut uids: Vec<u16> = keys.into_iter().map(|(_, uid)| uid).collect();
    uids.sort_unstable();
    uids.dedup();
    Ok(uids)
}

/// The subnet with all its slots and the weights of a mechanism, from storage alone; `None` if it
/// is not there.
///
/// Runtimes have moved these items little since 2024, and the runtime APIs above them much.
pub(in crate::client) async fn metagraph(
    link: &Link,
    at: &At,
    (netuid, mechanism): (NetUid, Mechanism),
) -> Result<Option<Metagraph>, Failure> {
    let uids = uids(link, at, netuid).await?;
    let mut batch = Batch::new(link, at);
    let subnet = Subnet::of(&mut batch, netuid, mechanism)?;
    let slots: Vec<Slot> = uids
        .into_iter()
        .map(|uid| Slot::of(&mut batch, (netuid, mechanism), uid))
        .collect::<Result<_, _>>()?;
    let values = batch.fetch().await?;
    if !values.get(&subnet.is_open)? {
        return Ok(None);
    }
    let mut neurons: Vec<Neuron> =
        slots.iter().map(|slot| slot.neuron(&values)).collect::<Result<_, _>>()?;
    subnet.fill(&values, &mut neurons)?;
    own(link, at, netuid, &mut neurons).await?;
    Ok(Some(Metagraph {
        netuid,
        block: Block(at.block_number()),
        tempo: values.get(&subnet.tempo)?.into(),
        weights_rate_limit: values.get(&subnet.weights_rate_limit)?,
        last_epoch: Block(values.get(&subnet.last_epoch)?),
        neurons,
    }))
}

/// What stands under the hotkeys of slots: their owners, and the stake behind each, which is TAO
/// where the runtime keeps that, as in 2024, or else what it says counts on the subnet.
async fn own(link: &Link, at: &At, netuid: NetUid, neurons: &mut [Neuron]) -> Result<(), Failure> {
    fn under<V: DecodeAsType>(
        batch: &mut Batch<'_>,
        name: &str,
        neurons: &[Neuron],
    ) -> Result<Vec<Item<V>>, Failure> {
        let key = |neuron: &Neuron| (AccountId32(neuron.hotkey.0),);
        neurons.iter().map(|neuron| batch.item(name, key(neuron))).collect()
    }
    let mut batch = Batch::new(link, at);
    let owners: Vec<Item<AccountId32>> = under(&mut batch, "Owner", neurons)?;
    let stakes: Option<Vec<Item<u64>>> = if has_storage(at, SUBTENSOR, HOTKEY_STAKE) {
        Some(under(&mut batch, HOTKEY_STAKE, neurons)?)
    } else {
        None
    };
    let values = batch.fetch().await?;
    let stakes: Vec<u64> = match stakes {
        Some(stakes) => stakes.iter().map(|stake| values.get(stake)).collect::<Result<_, _>>()?,
        None => total_stakes(at, netuid).await?,
    };
    for (neuron, owner) in neurons.iter_mut().zip(&owners) {
        neuron.coldkey = AccountId(values.get(owner)?.0);
    }
    for (neuron, stake) in neurons.iter_mut().zip(stakes) {
        neuron.stake_rao = stake;
    }
    Ok(())
}

/// The slots with a validator permit; `None` if the subnet is not there.
pub(in crate::client) async fn voters(
    link: &Link,
    at: &At,
    netuid: NetUid,
) -> Result<Option<Vec<Voter>>, Failure> {
    let (mut batch, key) = (Batch::new(link, at), (netuid.0,));
    let is_open = batch.item("NetworksAdded", key)?;
    let permits: Item<Vec<bool>> = batch.item("ValidatorPermit", key)?;
    let values = batch.fetch().await?;
    if !values.get(&is_open)? {
        return Ok(None);
    }
    let permits = (0..).zip(values.get(&permits)?);
    let uids: Vec<u16> = permits.filter_map(|(uid, permit)| permit.then_some(uid)).collect();
    let mut batch = Batch::new(link, at);
    let hotkeys: Vec<Item<AccountId32>> =
        uids.iter().map(|uid| batch.item("Keys", (netuid.0, *uid))).collect::<Result<_, _>>()?;
    let values = batch.fetch().await?;
    let hotkeys: Vec<AccountId> = hotkeys
        .iter()
        .map(|hotkey| values.get(hotkey).map(|hotkey| AccountId(hotkey.0)))
        .collect::<Result<_, _>>()?;
    let stakes: Vec<u64> = if has_storage(at, SUBTENSOR, HOTKEY_STAKE) {
        let mut batch = Batch::new(link, at);
        let stakes: Vec<Item<u64>> = hotkeys
            .iter()
            .map(|hotkey| batch.item(HOTKEY_STAKE, (AccountId32(hotkey.0),)))
            .collect::<Result<_, _>>()?;
        let values = batch.fetch().await?;
        stakes.iter().map(|stake| values.get(stake)).collect::<Result<_, _>>()?
    } else {
        let all = total_stakes(at, netuid).await?;
        uids.iter().map(|uid| at_index(&all, usize::from(*uid))).collect()
    };
    let voter = |((uid, hotkey), stake_rao)| Voter { uid: Uid(uid), hotkey, stake_rao };
    Ok(Some(uids.into_iter().zip(hotkeys).zip(stakes).map(voter).collect()))
}

/// Stake behind each slot, as the runtime's own metagraph says.
pub(in crate::client) async fn total_stakes(at: &At, netuid: NetUid) -> Result<Vec<u64>, Failure> {
    #[derive(DecodeAsType)]
    #[decode_as_type(crate_path = "subxt::ext::scale_decode")]
    struct Stakes {
        total_stake: Vec<u64>,
    }
    let payload = dynamic::runtime_api_call::<_, Option<Stakes>>(
        "SubnetInfoRuntimeApi",
        "get_metagraph",
        (netuid.0,),
    );
    let stakes = at.runtime_apis().call(payload).await?;
    Ok(stakes.map(|stakes| stakes.total_stake).unwrap_or_default())
}
