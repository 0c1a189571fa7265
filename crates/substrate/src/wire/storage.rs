//! Storage items: their keys, their values, their metadata.
//!
//! An [`Item`] says all three by its Rust types, so that what is served, what clients are told
//! about it and what they read cannot disagree. [`project`] turns a ledger into keys and values.

pub mod items;
mod project;
mod value;

pub use project::{Entries, project};
pub use value::Value;

use super::metadata::Encoded;
use frame_metadata::v14::{
    StorageEntryMetadata, StorageEntryModifier, StorageEntryType, StorageHasher,
};
use parity_scale_codec::{Decode, Encode};
use scale_info::{MetaType, StaticTypeInfo, meta_type};
use std::marker::PhantomData;

/// One item of storage: a value of type `V` under each key of type `K`.
///
/// `K` is a tuple: `()` for a single value, `(A,)`, `(A, B)` and `(A, B, C)` for maps.
pub struct Item<K, V> {
    pallet: &'static str,
    name: &'static str,
    hashers: &'static [Hasher],
    is_optional: bool,
    doc: &'static str,
    types: PhantomData<fn() -> (K, V)>,
}

/// The state at one block.
pub trait State {
    /// The value under a whole key.
    fn get(&self, key: &[u8]) -> Option<Vec<u8>>;

    /// The keys that begin with `prefix`, in order.
    fn keys(&self, prefix: &[u8]) -> Vec<Vec<u8>>;

    /// What clients are told of the chain.
    fn metadata(&self) -> &Encoded {
        Encoded::usual()
    }
}

/// How a key of a map stands in the whole key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hasher {
    /// As it is.
    Identity,
    /// BLAKE2b-128 of it, then as it is.
    Blake2,
    /// XXH64 of it, then as it is.
    Twox64,
}

/// Keys of maps.
pub trait Keys {
    /// Each key in SCALE, in order.
    fn encoded(&self) -> Vec<Vec<u8>>;
    /// Type of the key, or of the tuple of all; nothing without keys.
    fn meta() -> Option<MetaType>;
}

impl Keys for () {
    fn encoded(&self) -> Vec<Vec<u8>> {
        Vec::new()
    }

    fn meta() -> Option<MetaType> {
        None
    }
}

impl<A: Encode + StaticTypeInfo> Keys for (A,) {
    fn encoded(&self) -> Vec<Vec<u8>> {
        vec![self.0.encode()]
    }

    fn meta() -> Option<MetaType> {
        Some(meta_type::<A>())
    }
}

impl<A: Encode + StaticTypeInfo, B: Encode + StaticTypeInfo> Keys for (A, B) {
    fn encoded(&self) -> Vec<Vec<u8>> {
        vec![self.0.encode(), self.1.encode()]
    }

    fn meta() -> Option<MetaType> {
        Some(meta_type::<(A, B)>())
    }
}

impl<A, B, C> Keys for (A, B, C)
where
    A: Encode + StaticTypeInfo,
    B: Encode + StaticTypeInfo,
    C: Encode + StaticTypeInfo,
{
    fn encoded(&self) -> Vec<Vec<u8>> {
        vec![self.0.encode(), self.1.encode(), self.2.encode()]
    }

    fn meta() -> Option<MetaType> {
        Some(meta_type::<(A, B, C)>())
    }
}

impl Hasher {
    fn extend(self, key: &mut Vec<u8>, part: &[u8]) {
        match self {
            Self::Identity => {}
            Self::Blake2 => key.extend(sp_crypto_hashing::blake2_128(part)),
            Self::Twox64 => key.extend(sp_crypto_hashing::twox_64(part)),
        }
        key.extend(part);
    }

    fn metadata(self) -> StorageHasher {
        match self {
            Self::Identity => StorageHasher::Identity,
            Self::Blake2 => StorageHasher::Blake2_128Concat,
            Self::Twox64 => StorageHasher::Twox64Concat,
        }
    }
}

impl<K: Keys, V: Encode + Default + StaticTypeInfo> Item<K, V> {
    /// An item that reads as its default where nothing is stored.
    const fn new(
        (pallet, name): (&'static str, &'static str),
        hashers: &'static [Hasher],
        doc: &'static str,
    ) -> Self {
        Self { pallet, name, hashers, is_optional: false, doc, types: PhantomData }
    }

    /// The same item, reading as nothing where nothing is stored.
    const fn optional(self) -> Self {
        Self { is_optional: true, ..self }
    }

    /// What all keys of the item begin with.
    pub fn prefix(&self) -> Vec<u8> {
        let parts =
            [self.pallet, self.name].map(|part| sp_crypto_hashing::twox_128(part.as_bytes()));
        parts.concat()
    }

    /// The whole key.
    pub fn key(&self, keys: &K) -> Vec<u8> {
        let mut key = self.prefix();
        for (hasher, part) in self.hashers.iter().zip(keys.encoded()) {
            hasher.extend(&mut key, &part);
        }
        key
    }

    /// The value at `keys`; the default where nothing is stored.
    pub fn read(&self, state: &dyn State, keys: &K) -> V
    where
        V: Decode,
    {
        self.try_read(state, keys).unwrap_or_default()
    }

    /// The value at `keys`; nothing where nothing is stored.
    pub fn try_read(&self, state: &dyn State, keys: &K) -> Option<V>
    where
        V: Decode,
    {
        // What is stored was encoded from the same type.
        state.get(&self.key(keys)).and_then(|bytes| V::decode(&mut &bytes[..]).ok())
    }

    /// What clients are told about the item.
    pub fn metadata(&self) -> StorageEntryMetadata {
        let value = meta_type::<V>();
        let ty = match K::meta() {
            None => StorageEntryType::Plain(value),
            Some(key) => {
                let hashers = self.hashers.iter().map(|hasher| hasher.metadata()).collect();
                StorageEntryType::Map { hashers, key, value }
            }
        };
        let (modifier, default) = if self.is_optional {
            (StorageEntryModifier::Optional, vec![0])
        } else {
            (StorageEntryModifier::Default, V::default().encode())
        };
        let docs = vec![self.doc.trim_ascii()];
        StorageEntryMetadata { name: self.name, modifier, ty, default, docs }
    }
}

#[cfg(test)]
mod tests;
