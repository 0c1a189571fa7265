//! Reading the state at a block.

mod batch;
mod commitments;
mod metagraph;

pub(super) use batch::{Batch, Item};
pub(super) use commitments::{Committed, commitment, commitments};
#[cfg(test)]
pub(super) use metagraph::total_stakes;
pub(super) use metagraph::{metagraph, voters};

use super::link::{At, Failure, Link};
use batch::keys_of;
use chain::{Mechanism, Rewards};
use protocol::{AccountId, Block, NetUid, Uid};
use subxt::{
    dynamic,
    ext::{
        frame_decode::storage::{IntoDecodableValues, IntoEncodableValues},
        scale_decode::DecodeAsType,
    },
    utils::AccountId32,
};

pub(super) const SUBTENSOR: &str = "SubtensorModule";
const COMMITMENTS: &str = "Commitments";

/// Whether a subnet hides weights; runtimes before 2025 have no such item, nor the next.
pub(super) const IS_HIDING: (&str, &str) = (SUBTENSOR, "CommitRevealWeightsEnabled");

/// For how many epochs a subnet hides weights.
pub(super) const REVEAL_PERIOD: (&str, &str) = (SUBTENSOR, "RevealPeriodEpochs");

/// Keys of an item, as tuples of what the metadata says.
pub(super) trait Key: IntoEncodableValues + IntoDecodableValues + Send {}
impl<T: IntoEncodableValues + IntoDecodableValues + Send> Key for T {}

/// The value of an item under `keys`; its default where nothing is stored.
async fn value<K: Key, V: DecodeAsType>(at: &At, name: &str, keys: K) -> Result<V, Failure> {
    let address = dynamic::storage::<K, V>(SUBTENSOR, name);
    Ok(at.storage().fetch(address, keys).await?.decode()?)
}

fn has_storage(at: &At, pallet: &str, name: &str) -> bool {
    let pallet = at.metadata_ref().pallet_by_name(pallet);
    pallet
        .and_then(|pallet| pallet.storage())
        .is_some_and(|storage| storage.entry_by_name(name).is_some())
}

/// The subnets that are there, but the root network.
pub(super) async fn subnets(link: &Link, at: &At) -> Result<Vec<NetUid>, Failure> {
    let keys: Vec<(u16,)> = keys_of((link, at), "NetworksAdded", ()).await?;
    let mut batch = Batch::new(link, at);
    let mut added: Vec<(NetUid, Item<bool>)> = Vec::with_capacity(keys.len());
    for (netuid,) in keys.into_iter().filter(|(netuid,)| *netuid != 0) {
        added.push((NetUid(netuid), batch.item("NetworksAdded", (netuid,))?));
    }
    let values = batch.fetch().await?;
    let mut found = Vec::new();
    for (netuid, is_there) in added {
        if values.get(&is_there)? {
            found.push(netuid);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// What a slot costs, in rao; `None` if the subnet is not there.
pub(super) async fn slot_price(
    link: &Link,
    at: &At,
    netuid: NetUid,
) -> Result<Option<u64>, Failure> {
    let mut batch = Batch::new(link, at);
    let is_open = batch.item("NetworksAdded", (netuid.0,))?;
    let price = batch.item("Burn", (netuid.0,))?;
    let values = batch.fetch().await?;
    if values.get(&is_open)? { values.get(&price).map(Some) } else { Ok(None) }
}

/// What opening a subnet costs, in rao.
pub(super) async fn network_price(at: &At) -> Result<u64, Failure> {
    let payload = dynamic::runtime_api_call::<_, u64>(
        "SubnetRegistrationRuntimeApi",
        "get_network_registration_cost",
        (),
    );
    Ok(at.runtime_apis().call(payload).await?)
}

/// Whether the subnet is there.
pub(super) async fn is_open(at: &At, netuid: NetUid) -> Result<bool, Failure> {
    value(at, "NetworksAdded", (netuid.0,)).await
}

/// What the chain keeps of an account; a new one where it has never seen it.
#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub(super) struct Account {
    /// The nonce that its next call has.
    pub(super) nonce: u32,
    /// What it holds.
    pub(super) data: AccountData,
}

/// What an account holds.
#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub(super) struct AccountData {
    /// What it can spend, in rao.
    pub(super) free: u64,
}

/// An account as it stands.
pub(super) async fn account(at: &At, account: AccountId) -> Result<Account, Failure> {
    let address = dynamic::storage::<(AccountId32,), Account>("System", "Account");
    Ok(at.storage().fetch(address, (AccountId32(account.0),)).await?.decode()?)
}

/// The first block that can take another commitment of a hotkey; 0 for any. `None` if the subnet
/// is not there.
///
/// Runtimes since 2025 count bytes per epoch instead, for some thirty commitments: that is never
/// what an honest hotkey waits for, and 0 here.
pub(super) async fn next_commitment(
    at: &At,
    netuid: NetUid,
    hotkey: AccountId,
) -> Result<Option<Block>, Failure> {
    if !is_open(at, netuid).await? {
        return Ok(None);
    }
    let Some(limit) = commitment_rate_limit(at, netuid).await? else {
        return Ok(Some(Block(0)));
    };
    let address = dynamic::storage::<(u16, AccountId32), u32>(COMMITMENTS, "LastCommitment");
    let last = at.storage().try_fetch(address, (netuid.0, AccountId32(hotkey.0))).await?;
    let last = last.map(|last| last.decode()).transpose()?;
    Ok(Some(Block(last.map_or(0, |last| u64::from(last).saturating_add(limit)))))
}

/// Blocks between two commitments of a hotkey, where the runtime counts blocks.
pub(super) async fn commitment_rate_limit(at: &At, netuid: NetUid) -> Result<Option<u64>, Failure> {
    if has_storage(at, COMMITMENTS, "CommitmentRateLimit") {
        let address = dynamic::storage::<(u16,), u64>(COMMITMENTS, "CommitmentRateLimit");
        return Ok(Some(at.storage().fetch(address, (netuid.0,)).await?.decode()?));
    }
    if has_storage(at, COMMITMENTS, "RateLimit") {
        let address = dynamic::storage::<(), u64>(COMMITMENTS, "RateLimit");
        return Ok(Some(at.storage().fetch(address, ()).await?.decode()?));
    }
    Ok(None)
}

/// Whether the runtime has an item in the pallet of subnets.
pub(super) fn has_item(at: &At, name: &str) -> bool {
    has_storage(at, SUBTENSOR, name)
}

/// A number under a name, if the runtime has the item.
pub(super) async fn number<K: Key>(at: &At, name: &str, keys: K) -> Result<Option<u64>, Failure> {
    if has_storage(at, SUBTENSOR, name) { value(at, name, keys).await.map(Some) } else { Ok(None) }
}

/// The slot of a hotkey, if it has one; `None` if the subnet is not there.
pub(super) async fn slot(
    at: &At,
    netuid: NetUid,
    hotkey: AccountId,
) -> Result<Option<Option<Uid>>, Failure> {
    if !is_open(at, netuid).await? {
        return Ok(None);
    }
    let address = dynamic::storage::<(u16, AccountId32), u16>(SUBTENSOR, "Uids");
    let uid = at.storage().try_fetch(address, (netuid.0, AccountId32(hotkey.0))).await?;
    Ok(Some(uid.map(|uid| uid.decode()).transpose()?.map(Uid)))
}

/// The weights that a slot has set for a mechanism; `None` if the subnet is not there.
pub(super) async fn weights(
    link: &Link,
    at: &At,
    (netuid, mechanism): (NetUid, Mechanism),
    uid: Uid,
) -> Result<Option<Vec<(Uid, u16)>>, Failure> {
    let mut batch = Batch::new(link, at);
    let is_open = batch.item("NetworksAdded", (netuid.0,))?;
    let row: Item<Vec<(u16, u16)>> = batch.item("Weights", (mechanism.index(netuid), uid.0))?;
    let values = batch.fetch().await?;
    if !values.get(&is_open)? {
        return Ok(None);
    }
    Ok(Some(values.get(&row)?.into_iter().map(|(to, value)| (Uid(to), value)).collect()))
}

/// Whether the runtime has a call of this name.
pub(super) fn has_call(at: &At, pallet: &str, name: &str) -> bool {
    let pallet = at.metadata_ref().pallet_by_name(pallet);
    pallet.is_some_and(|pallet| pallet.call_variant_by_name(name).is_some())
}

/// What a subnet pays; `None` if it is not there.
pub(super) async fn rewards(
    link: &Link,
    at: &At,
    netuid: NetUid,
) -> Result<Option<Rewards>, Failure> {
    let (mut batch, key) = (Batch::new(link, at), (netuid.0,));
    let is_open = batch.item("NetworksAdded", key)?;
    let tempo: Item<u16> = batch.item("Tempo", key)?;
    let weights_rate_limit = batch.item("WeightsSetRateLimit", key)?;
    let incentives = batch.item("Incentive", key)?;
    let is_hiding: Option<Item<bool>> = batch.optional(IS_HIDING, key)?;
    let reveal_period: Option<Item<u64>> = batch.optional(REVEAL_PERIOD, key)?;
    let values = batch.fetch().await?;
    if !values.get(&is_open)? {
        return Ok(None);
    }
    let is_hiding = is_hiding.map_or(Ok(false), |item| values.get(&item))?;
    Ok(Some(Rewards {
        incentives: values.get(&incentives)?,
        tempo: values.get(&tempo)?.into(),
        weights_rate_limit: values.get(&weights_rate_limit)?,
        hidden_epochs: match is_hiding {
            true => values.demand(REVEAL_PERIOD, reveal_period.as_ref())?,
            false => 0,
        },
    }))
}
