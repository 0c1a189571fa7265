//! Reading the state at a block.

use super::link::{At, Failure};
use chain::{Metagraph, Neuron, Rewards};
use futures_util::future::try_join_all;
use protocol::{AccountId, Block, NetUid, Uid};
use std::collections::BTreeMap;
use subxt::{
    dynamic::{self, Value},
    ext::{
        frame_decode::storage::{IntoDecodableValues, IntoEncodableValues},
        scale_decode::DecodeAsType,
        scale_value::{Composite, Primitive, ValueDef},
    },
    utils::AccountId32,
};

const SUBTENSOR: &str = "SubtensorModule";
const COMMITMENTS: &str = "Commitments";

/// Keys of an item, as tuples of what the metadata says.
pub(super) trait Key: IntoEncodableValues + IntoDecodableValues + Send {}
impl<T: IntoEncodableValues + IntoDecodableValues + Send> Key for T {}

/// The value of an item under `keys`; its default where nothing is stored.
async fn value<K: Key, V: DecodeAsType>(at: &At, name: &str, keys: K) -> Result<V, Failure> {
    let address = dynamic::storage::<K, V>(SUBTENSOR, name);
    Ok(at.storage().fetch(address, keys).await?.decode()?)
}

/// The values of a map of two keys under its first.
async fn values<V: DecodeAsType>(
    at: &At,
    name: &str,
    netuid: NetUid,
) -> Result<BTreeMap<u16, V>, Failure> {
    let address = dynamic::storage::<(u16, u16), V>(SUBTENSOR, name);
    let mut entries = at.storage().iter(address, (netuid.0,)).await?;
    let mut values = BTreeMap::new();
    while let Some(entry) = entries.next().await {
        let entry = entry?;
        let (_, key) = entry.key()?.decode()?;
        values.insert(key, entry.value().decode()?);
    }
    Ok(values)
}

fn has_storage(at: &At, pallet: &str, name: &str) -> bool {
    let pallet = at.metadata_ref().pallet_by_name(pallet);
    pallet
        .and_then(|pallet| pallet.storage())
        .is_some_and(|storage| storage.entry_by_name(name).is_some())
}

/// The subnets that are there, but the root network.
pub(super) async fn subnets(at: &At) -> Result<Vec<NetUid>, Failure> {
    let address = dynamic::storage::<(u16,), bool>(SUBTENSOR, "NetworksAdded");
    let mut entries = at.storage().iter(address, ()).await?;
    let mut found = Vec::new();
    while let Some(entry) = entries.next().await {
        let entry = entry?;
        let (netuid,) = entry.key()?.decode()?;
        if netuid != 0 && entry.value().decode()? {
            found.push(NetUid(netuid));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// What a slot costs, in rao; `None` if the subnet is not there.
pub(super) async fn slot_price(at: &At, netuid: NetUid) -> Result<Option<u64>, Failure> {
    if !is_open(at, netuid).await? {
        return Ok(None);
    }
    value(at, "Burn", (netuid.0,)).await.map(Some)
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

/// A number under a name, if the runtime has the item.
pub(super) async fn number<K: Key>(at: &At, name: &str, keys: K) -> Result<Option<u64>, Failure> {
    if has_storage(at, SUBTENSOR, name) { value(at, name, keys).await.map(Some) } else { Ok(None) }
}

/// A flag under a name, if the runtime has the item.
pub(super) async fn flag<K: Key>(at: &At, name: &str, keys: K) -> Result<Option<bool>, Failure> {
    if has_storage(at, SUBTENSOR, name) { value(at, name, keys).await.map(Some) } else { Ok(None) }
}

/// Coldkey of the owner of a subnet.
pub(super) async fn owner(at: &At, netuid: NetUid) -> Result<AccountId, Failure> {
    let owner: AccountId32 = value(at, "SubnetOwner", (netuid.0,)).await?;
    Ok(AccountId(owner.0))
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

/// The weights that a slot has set.
pub(super) async fn weights(
    at: &At,
    netuid: NetUid,
    uid: Uid,
) -> Result<Option<Vec<(Uid, u16)>>, Failure> {
    if !is_open(at, netuid).await? {
        return Ok(None);
    }
    let row: Vec<(u16, u16)> = value(at, "Weights", (netuid.0, uid.0)).await?;
    Ok(Some(row.into_iter().map(|(to, value)| (Uid(to), value)).collect()))
}

/// Whether the runtime has a call of this name.
pub(super) fn has_call(at: &At, pallet: &str, name: &str) -> bool {
    let pallet = at.metadata_ref().pallet_by_name(pallet);
    pallet.is_some_and(|pallet| pallet.call_variant_by_name(name).is_some())
}

/// A commitment of a hotkey with a slot: content and block from one value.
pub(super) struct Committed {
    pub(super) uid: Uid,
    pub(super) hotkey: AccountId,
    pub(super) registered: Block,
    pub(super) block: Block,
    pub(super) data: Vec<u8>,
}

/// All commitments of hotkeys with a slot, by uid.
pub(super) async fn commitments(
    at: &At,
    netuid: NetUid,
) -> Result<Option<Vec<Committed>>, Failure> {
    if !is_open(at, netuid).await? {
        return Ok(None);
    }
    let address =
        dynamic::storage::<(u16, AccountId32), Registration>("Commitments", "CommitmentOf");
    let mut entries = at.storage().iter(address, (netuid.0,)).await?;
    let mut by_hotkey = BTreeMap::new();
    while let Some(entry) = entries.next().await {
        let entry = entry?;
        let (_, hotkey) = entry.key()?.decode()?;
        by_hotkey.insert(AccountId(hotkey.0), entry.value().decode()?);
    }
    let keys: BTreeMap<u16, AccountId32> = values(at, "Keys", netuid).await?;
    let registered: BTreeMap<u16, u64> = values(at, "BlockAtRegistration", netuid).await?;
    let mut found = Vec::new();
    for (uid, hotkey) in keys {
        let hotkey = AccountId(hotkey.0);
        if let Some(registration) = by_hotkey.get(&hotkey) {
            let data = registration.info.fields.first().map(raw_bytes).unwrap_or_default();
            let registered = Block(registered.get(&uid).copied().unwrap_or(0));
            let (uid, block) = (Uid(uid), Block(registration.block));
            found.push(Committed { uid, hotkey, registered, block, data });
        }
    }
    Ok(Some(found))
}

/// What a subnet pays, from three values; `None` if it is not there.
pub(super) async fn rewards(at: &At, netuid: NetUid) -> Result<Option<Rewards>, Failure> {
    if !is_open(at, netuid).await? {
        return Ok(None);
    }
    let key = (netuid.0,);
    let (tempo, weights_rate_limit): (u16, u64) =
        (value(at, "Tempo", key).await?, value(at, "WeightsSetRateLimit", key).await?);
    let incentives = value(at, "Incentive", key).await?;
    let is_hiding = flag(at, "CommitRevealWeightsEnabled", key).await?.unwrap_or(false);
    let hidden_epochs = match is_hiding {
        true => number(at, "RevealPeriodEpochs", key).await?.unwrap_or(1),
        false => 0,
    };
    Ok(Some(Rewards { incentives, tempo: tempo.into(), weights_rate_limit, hidden_epochs }))
}

#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct Registration {
    block: u64,
    info: CommitmentInfo,
}

#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
struct CommitmentInfo {
    fields: Vec<Value>,
}

/// The bytes of a field `Raw0` to `Raw128`; nothing for other kinds of fields.
fn raw_bytes(field: &Value) -> Vec<u8> {
    match &field.value {
        ValueDef::Variant(variant) if variant.name.contains("Raw") => {
            let mut bytes = Vec::new();
            variant.values.values().for_each(|value| numbers(value, &mut bytes));
            bytes
        }
        _ => Vec::new(),
    }
}

/// All numbers in a value, as bytes, in order.
fn numbers<T>(value: &Value<T>, bytes: &mut Vec<u8>) {
    match &value.value {
        ValueDef::Primitive(Primitive::U128(number)) => {
            bytes.extend(u8::try_from(*number));
        }
        ValueDef::Composite(Composite::Unnamed(values)) => {
            values.iter().for_each(|value| numbers(value, bytes));
        }
        _ => {}
    }
}

/// Everything of a subnet but what single slots hold.
struct Subnet {
    tempo: u16,
    weights_rate_limit: u64,
    last_epoch: u64,
    validator_permit: Vec<bool>,
    active: Vec<bool>,
    last_update: Vec<u64>,
    consensus: Vec<u16>,
    incentive: Vec<u16>,
    dividends: Vec<u16>,
    validator_trust: Vec<u16>,
    emission: Vec<u64>,
}

impl Subnet {
    async fn read(at: &At, netuid: NetUid) -> Result<Self, Failure> {
        let key = (netuid.0,);
        Ok(Self {
            tempo: value(at, "Tempo", key).await?,
            weights_rate_limit: value(at, "WeightsSetRateLimit", key).await?,
            last_epoch: value(at, "LastMechansimStepBlock", key).await?,
            validator_permit: value(at, "ValidatorPermit", key).await?,
            active: value(at, "Active", key).await?,
            last_update: value(at, "LastUpdate", key).await?,
            consensus: value(at, "Consensus", key).await?,
            incentive: value(at, "Incentive", key).await?,
            dividends: value(at, "Dividends", key).await?,
            validator_trust: value(at, "ValidatorTrust", key).await?,
            emission: value(at, "Emission", key).await?,
        })
    }
}

/// The subnet with all its slots, from storage alone; `None` if it is not there.
///
/// Runtimes have moved these items little since 2024, and the runtime APIs above them much.
pub(super) async fn metagraph(at: &At, netuid: NetUid) -> Result<Option<Metagraph>, Failure> {
    if !is_open(at, netuid).await? {
        return Ok(None);
    }
    let subnet = Subnet::read(at, netuid).await?;
    let keys: BTreeMap<u16, AccountId32> = values(at, "Keys", netuid).await?;
    let registered: BTreeMap<u16, u64> = values(at, "BlockAtRegistration", netuid).await?;
    let mut weights: BTreeMap<u16, Vec<(u16, u16)>> = values(at, "Weights", netuid).await?;
    let mut bonds: BTreeMap<u16, Vec<(u16, u16)>> = values(at, "Bonds", netuid).await?;
    let hotkeys: Vec<AccountId32> = keys.values().copied().collect();
    let coldkeys: Vec<AccountId32> =
        try_join_all(hotkeys.iter().map(|hotkey| value(at, "Owner", (*hotkey,)))).await?;
    let stakes = stakes(at, netuid, &hotkeys).await?;
    let cells = |row: Option<Vec<(u16, u16)>>| {
        row.unwrap_or_default().into_iter().map(|(uid, value)| (Uid(uid), value)).collect()
    };
    let neurons = keys.into_iter().zip(coldkeys.into_iter().zip(stakes));
    let neurons = neurons.map(|((uid, hotkey), (coldkey, stake_rao))| {
        let i = usize::from(uid);
        Neuron {
            uid: Uid(uid),
            hotkey: AccountId(hotkey.0),
            coldkey: AccountId(coldkey.0),
            stake_rao,
            validator_permit: at_index(&subnet.validator_permit, i),
            active: at_index(&subnet.active, i),
            last_update: Block(at_index(&subnet.last_update, i)),
            block_at_registration: Block(registered.get(&uid).copied().unwrap_or(0)),
            consensus: at_index(&subnet.consensus, i),
            incentive: at_index(&subnet.incentive, i),
            dividends: at_index(&subnet.dividends, i),
            validator_trust: at_index(&subnet.validator_trust, i),
            emission_rao: at_index(&subnet.emission, i),
            weights: cells(weights.remove(&uid)),
            bonds: cells(bonds.remove(&uid)),
        }
    });
    Ok(Some(Metagraph {
        netuid,
        block: Block(at.block_number()),
        tempo: subnet.tempo.into(),
        weights_rate_limit: subnet.weights_rate_limit,
        last_epoch: Block(subnet.last_epoch),
        neurons: neurons.collect(),
    }))
}

/// Lists on the chain may lag behind a slot that was just taken.
fn at_index<T: Copy + Default>(list: &[T], i: usize) -> T {
    list.get(i).copied().unwrap_or_default()
}

/// Stake behind each hotkey: TAO where the runtime keeps that, as in 2024, or else what it says
/// counts on the subnet.
async fn stakes(at: &At, netuid: NetUid, hotkeys: &[AccountId32]) -> Result<Vec<u64>, Failure> {
    if has_storage(at, SUBTENSOR, "TotalHotkeyStake") {
        let stakes = hotkeys.iter().map(|hotkey| value(at, "TotalHotkeyStake", (*hotkey,)));
        return try_join_all(stakes).await;
    }
    total_stakes(at, netuid).await
}

/// Stake behind each slot, as the runtime's own metagraph says.
pub(super) async fn total_stakes(at: &At, netuid: NetUid) -> Result<Vec<u64>, Failure> {
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
