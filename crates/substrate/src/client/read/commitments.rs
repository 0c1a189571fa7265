//! What the hotkeys of a subnet have committed to.

use super::{
    COMMITMENTS,
    batch::{Batch, Item},
    metagraph::uids,
};
use crate::client::link::{At, Failure, Link};
use protocol::{AccountId, Block, NetUid, Uid};
use subxt::{
    dynamic::Value,
    ext::{
        scale_decode::DecodeAsType,
        scale_value::{Composite, Primitive, ValueDef},
    },
    utils::AccountId32,
};

/// A commitment of a hotkey with a slot: content and block from one value.
pub(in crate::client) struct Committed {
    pub(in crate::client) uid: Uid,
    pub(in crate::client) hotkey: AccountId,
    pub(in crate::client) coldkey: AccountId,
    pub(in crate::client) registered: Block,
    pub(in crate::client) block: Block,
    pub(in crate::client) data: Vec<u8>,
}

/// A slot that is taken, and what is asked for under its hotkey.
struct Taken {
    uid: Uid,
    hotkey: AccountId,
    registered: Block,
    commitment: Item<Registration>,
    owner: Item<AccountId32>,
}

/// All commitments of hotkeys with a slot, by uid; `None` if the subnet is not there.
///
/// Those of hotkeys that lost theirs are never asked for: there may be any number of them.
pub(in crate::client) async fn commitments(
    link: &Link,
    at: &At,
    netuid: NetUid,
) -> Result<Option<Vec<Committed>>, Failure> {
    let uids = uids(link, at, netuid).await?;
    let mut batch = Batch::new(link, at);
    let is_open: Item<bool> = batch.item("NetworksAdded", (netuid.0,))?;
    let mut slots: Vec<(u16, Item<AccountId32>, Item<u64>)> = Vec::with_capacity(uids.len());
    for uid in uids {
        let key = (netuid.0, uid);
        slots.push((uid, batch.item("Keys", key)?, batch.item("BlockAtRegistration", key)?));
    }
    let values = batch.fetch().await?;
    if !values.get(&is_open)? {
        return Ok(None);
    }
    let mut batch = Batch::new(link, at);
    let mut taken: Vec<Taken> = Vec::with_capacity(slots.len());
    for (uid, hotkey, registered) in &slots {
        let hotkey = values.get(hotkey)?;
        let commitment = batch.item_of(COMMITMENTS, "CommitmentOf", (netuid.0, hotkey))?;
        let owner = batch.item("Owner", (hotkey,))?;
        let (uid, registered) = (Uid(*uid), Block(values.get(registered)?));
        taken.push(Taken { uid, hotkey: AccountId(hotkey.0), registered, commitment, owner });
    }
    let values = batch.fetch().await?;
    let mut found = Vec::new();
    for Taken { uid, hotkey, registered, commitment, owner } in taken {
        if let Some(registration) = values.try_get(&commitment)? {
            let data = registration.info.fields.first().map(raw_bytes).unwrap_or_default();
            let (coldkey, block) = (AccountId(values.get(&owner)?.0), Block(registration.block));
            found.push(Committed { uid, hotkey, coldkey, registered, block, data });
        }
    }
    Ok(Some(found))
}

/// What one hotkey has committed to, and in which block.
pub(in crate::client) async fn commitment(
    link: &Link,
    at: &At,
    (netuid, hotkey): (NetUid, AccountId),
) -> Result<Option<(Block, Vec<u8>)>, Failure> {
    let mut batch = Batch::new(link, at);
    let key = (netuid.0, AccountId32(hotkey.0));
    let item: Item<Registration> = batch.item_of(COMMITMENTS, "CommitmentOf", key)?;
    let values = batch.fetch().await?;
    let bytes = |registration: &Registration| {
        registration.info.fields.first().map(raw_bytes).unwrap_or_default()
    };
    let found = values.try_get(&item)?;
    Ok(found.map(|registration| (Block(registration.block), bytes(&registration))))
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
