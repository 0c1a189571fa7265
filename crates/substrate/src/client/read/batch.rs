//! Values that are asked for together: some hundred keys are one request.

use super::{Key, SUBTENSOR, has_storage};
use crate::client::link::{At, Failure, Link, is_state_gone};
use std::{
    collections::{BTreeMap, BTreeSet},
    marker::PhantomData,
};
use subxt::{
    dynamic,
    ext::{
        frame_decode::storage::{
            StorageTypeInfo as _, decode_storage_key_values, decode_storage_key_with_info,
        },
        scale_decode::DecodeAsType,
    },
    rpcs,
    storage::PrefixOf,
    utils::H256,
};

/// Keys of a map that are asked for together.
const PAGE: u32 = 1_000;

/// Entries of a map under one key, at most: slots, subnets.
const ENTRIES_MAX: usize = 16_384;

/// Code of an endpoint that does not know a method.
const NO_SUCH_METHOD: i32 = -32_601;

/// Values of a state that are to be asked for together.
pub(in crate::client) struct Batch<'a> {
    link: &'a Link,
    at: &'a At,
    keys: BTreeSet<Vec<u8>>,
}

/// One value of a batch.
pub(in crate::client) struct Item<V> {
    pallet: &'static str,
    name: String,
    key: Vec<u8>,
    value: PhantomData<V>,
}

/// The values of a batch.
pub(in crate::client) struct Values<'a> {
    at: &'a At,
    found: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl<'a> Batch<'a> {
    pub(in crate::client) fn new(link: &'a Link, at: &'a At) -> Self {
        Self { link, at, keys: BTreeSet::new() }
    }

    /// Takes in an item of the pallet of subnets.
    pub(in crate::client) fn item<K: Key, V: DecodeAsType>(
        &mut self,
        name: &str,
        keys: K,
    ) -> Result<Item<V>, Failure> {
        self.item_of(SUBTENSOR, name, keys)
    }

    /// Takes in an item of a pallet, where the runtime has it.
    pub(in crate::client) fn optional<K: Key, V: DecodeAsType>(
        &mut self,
        (pallet, name): (&'static str, &str),
        keys: K,
    ) -> Result<Option<Item<V>>, Failure> {
        match has_storage(self.at, pallet, name) {
            true => self.item_of(pallet, name, keys).map(Some),
            false => Ok(None),
        }
    }

    /// Takes in an item of a pallet.
    pub(in crate::client) fn item_of<K: Key, V: DecodeAsType>(
        &mut self,
        pallet: &'static str,
        name: &str,
        keys: K,
    ) -> Result<Item<V>, Failure> {
        let address = dynamic::storage::<K, V>(pallet, name);
        let key = self.at.storage().entry(address)?.fetch_key(keys)?;
        self.keys.insert(key.clone());
        Ok(Item { pallet, name: name.to_owned(), key, value: PhantomData })
    }

    /// Asks for all values.
    ///
    /// An endpoint that does not answer for so many keys is asked for fewer, down to one.
    pub(in crate::client) async fn fetch(self) -> Result<Values<'a>, Failure> {
        let (link, hash) = (self.link, self.at.block_hash());
        let keys: Vec<Vec<u8>> = self.keys.into_iter().collect();
        let (mut rest, mut found) = (keys.as_slice(), BTreeMap::new());
        while !rest.is_empty() {
            let (these, later) = rest.split_at(link.keys_max().min(rest.len()));
            match these {
                [key] => {
                    let value = link.rpc.state_get_storage(key, Some(hash)).await?;
                    found.insert(key.clone(), value);
                }
                _ => match values(link, these, hash).await? {
                    Some(values) => found.extend(values),
                    None => continue,
                },
            }
            rest = later;
        }
        Ok(Values { at: self.at, found })
    }
}

/// The values under several keys by one request; `None` where the endpoint does not answer for so
/// many, which it then is not asked for again.
async fn values(
    link: &Link,
    keys: &[Vec<u8>],
    at: H256,
) -> Result<Option<BTreeMap<Vec<u8>, Option<Vec<u8>>>>, Failure> {
    let n_put_off = link.n_put_off();
    let asked = keys.iter().map(Vec::as_slice);
    let sets = match link.rpc.state_query_storage_at(asked, Some(at)).await {
        Ok(sets) => sets,
        Err(rpcs::Error::User(said)) => {
            // Put off is not refused, and what is gone is gone for fewer keys, too.
            if link.n_put_off() > n_put_off || is_state_gone(&said.message) {
                return Err(rpcs::Error::User(said).into());
            }
            let fewer = if said.code == NO_SUCH_METHOD { 1 } else { keys.len() / 2 };
            link.lower_keys_max(fewer);
            return Ok(None);
        }
        Err(failure) => return Err(failure.into()),
    };
    let changes = sets.into_iter().filter(|set| set.block == at).flat_map(|set| set.changes);
    let mut found: BTreeMap<Vec<u8>, Option<Vec<u8>>> =
        changes.map(|(key, value)| (key.0, value.map(|value| value.0))).collect();
    found.retain(|key, _| keys.binary_search(key).is_ok());
    if found.len() < keys.len() {
        // That nothing is stored under a key has to be said.
        return Err("the endpoint left out values that it was asked for".into());
    }
    Ok(Some(found))
}

impl Values<'_> {
    /// A value; its default where nothing is stored.
    pub(in crate::client) fn get<V: DecodeAsType>(&self, item: &Item<V>) -> Result<V, Failure> {
        let missing = || format!("nothing is stored as `{}`, and it has no default", item.name);
        self.try_get(item)?.ok_or_else(|| missing().into())
    }

    /// A value that there must be, where the runtime need not have the item.
    pub(in crate::client) fn demand<V: DecodeAsType>(
        &self,
        (pallet, name): (&str, &str),
        item: Option<&Item<V>>,
    ) -> Result<V, Failure> {
        let missing = || format!("weights are hidden, and the runtime has no `{pallet}.{name}`");
        self.get(item.ok_or_else(missing)?)
    }

    /// A value; nothing where nothing is stored and the item has no default.
    pub(in crate::client) fn try_get<V: DecodeAsType>(
        &self,
        item: &Item<V>,
    ) -> Result<Option<V>, Failure> {
        let metadata = self.at.metadata_ref();
        let storage = metadata.pallet_by_name(item.pallet).and_then(|pallet| pallet.storage());
        let entry = storage.and_then(|storage| storage.entry_by_name(&item.name));
        let entry = entry.ok_or_else(|| format!("there is no item `{}`", item.name))?;
        let stored = self.found.get(&item.key).and_then(Option::as_deref);
        let Some(mut bytes) = stored.or(entry.default_value()) else { return Ok(None) };
        let value = V::decode_as_type(&mut bytes, entry.value_ty(), metadata.types())?;
        if !bytes.is_empty() {
            return Err(format!("`{}` is followed by {} bytes", item.name, bytes.len()).into());
        }
        Ok(Some(value))
    }
}

/// The keys that a map of the pallet of subnets has under the first of them, in the chain's order.
pub(in crate::client) async fn keys_of<K: Key>(
    (link, at): (&Link, &At),
    name: &str,
    first: impl PrefixOf<K>,
) -> Result<Vec<K>, Failure> {
    // The value is never looked at.
    let entry = at.storage().entry(dynamic::storage::<K, bool>(SUBTENSOR, name))?;
    let prefix = entry.iter_key(first)?;
    let info = at.metadata_ref().storage_info(SUBTENSOR, name).map_err(|e| e.to_string())?;
    let types = at.metadata_ref().types();
    let (mut found, mut last): (Vec<K>, Option<Vec<u8>>) = (Vec::new(), None);
    loop {
        let hash = Some(at.block_hash());
        let page = link.rpc.state_get_keys_paged(&prefix, PAGE, last.as_deref(), hash).await?;
        for key in &page {
            // Each after the one before, so that this comes to an end.
            if !key.starts_with(&prefix) || last.as_ref().is_some_and(|last| last >= key) {
                return Err(format!("the endpoint gives keys that are not of `{name}`").into());
            }
            let parts = decode_storage_key_with_info(&mut key.as_slice(), &info, types);
            let parts = parts.map_err(|e| e.to_string())?;
            let values = decode_storage_key_values(key, &parts, types);
            found.push(values.map_err(|e| e.to_string())?);
            last = Some(key.clone());
        }
        if page.is_empty() {
            return Ok(found);
        }
        if found.len() > ENTRIES_MAX {
            return Err(format!("`{name}` has more than {ENTRIES_MAX} entries").into());
        }
    }
}
