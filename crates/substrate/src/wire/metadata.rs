//! What clients are told about the runtime: types, calls, storage, events, errors, APIs.
//!
//! Built from the types of this folder, in Substrate's format, versions 14 and 15.

use super::{
    SS58_PREFIX, api,
    call::{AdminUtilsCall, BalancesCall, CommitmentsCall, RuntimeCall, SubtensorCall, SystemCall},
    era::Era,
    error::{AdminUtilsError, CommitmentsError, SubtensorError},
    event::{BalancesEvent, CommitmentsEvent, RuntimeEvent, SubtensorEvent, SystemEvent},
    primitives::{Address, H256, MultiSignature},
    storage::items,
};
use frame_metadata::{
    META_RESERVED, RuntimeMetadata, RuntimeMetadataPrefixed, v14,
    v15::{
        CustomMetadata, ExtrinsicMetadata, OuterEnums, PalletCallMetadata, PalletConstantMetadata,
        PalletErrorMetadata, PalletEventMetadata, PalletMetadata, PalletStorageMetadata,
        RuntimeMetadataV15, SignedExtensionMetadata, StorageEntryMetadata,
    },
};
use parity_scale_codec::{Compact, Decode, Encode};
use scale_info::{
    MetaType, Path, PortableRegistry, StaticTypeInfo, Type, TypeInfo, TypeParameter,
    build::{Fields, Variants},
    meta_type,
};
use std::sync::LazyLock;

/// How many hashes of blocks an era can name.
const BLOCK_HASH_COUNT: u32 = 1 << 16;

/// Time between blocks where no clock makes them, in milliseconds: Bittensor's.
pub const BLOCK_TIME_MS: u64 = 12_000;

/// What stands between address and call of an extrinsic.
#[derive(Encode, Decode, TypeInfo)]
pub struct Extra;

/// The runtime, as a type.
#[derive(Encode, Decode, TypeInfo)]
struct Runtime;

/// Errors of all pallets.
#[derive(Encode, Decode, TypeInfo)]
enum RuntimeError {
    #[codec(index = 7)]
    SubtensorModule(SubtensorError),
    #[codec(index = 18)]
    Commitments(CommitmentsError),
    #[codec(index = 19)]
    AdminUtils(AdminUtilsError),
}

/// The metadata of a node, encoded and with its prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Version 14, for old clients: without APIs.
    pub version_14: Vec<u8>,
    /// Version 15.
    pub version_15: Vec<u8>,
}

impl Encoded {
    /// What clients are told of a chain with so much time between its blocks.
    pub fn new(block_time_ms: u64) -> Self {
        Self { version_14: encode_14(block_time_ms), version_15: encode_15(block_time_ms) }
    }

    /// The same where blocks are made by hand.
    pub fn usual() -> &'static Self {
        static USUAL: LazyLock<Encoded> = LazyLock::new(|| Encoded::new(BLOCK_TIME_MS));
        &USUAL
    }
}

fn encode_15(block_time_ms: u64) -> Vec<u8> {
    let metadata = RuntimeMetadataV15::new(
        pallets(block_time_ms),
        extrinsic(),
        meta_type::<Runtime>(),
        api::metadata(),
        OuterEnums {
            call_enum_ty: meta_type::<RuntimeCall>(),
            event_enum_ty: meta_type::<RuntimeEvent>(),
            error_enum_ty: meta_type::<RuntimeError>(),
        },
        CustomMetadata { map: std::collections::BTreeMap::new() },
    );
    let metadata = RuntimeMetadataV15 { types: renamed(metadata.types), ..metadata };
    RuntimeMetadataPrefixed(META_RESERVED, RuntimeMetadata::V15(metadata)).encode()
}

fn encode_14(block_time_ms: u64) -> Vec<u8> {
    let pallets = pallets(block_time_ms).into_iter().map(|pallet| v14::PalletMetadata {
        name: pallet.name,
        storage: pallet.storage,
        calls: pallet.calls,
        event: pallet.event,
        constants: pallet.constants,
        error: pallet.error,
        index: pallet.index,
    });
    let extensions =
        signed_extensions().into_iter().map(|extension| v14::SignedExtensionMetadata {
            identifier: extension.identifier,
            ty: extension.ty,
            additional_signed: extension.additional_signed,
        });
    let extrinsic = v14::ExtrinsicMetadata {
        ty: meta_type::<UncheckedExtrinsic>(),
        version: 4,
        signed_extensions: extensions.collect(),
    };
    let metadata =
        v14::RuntimeMetadataV14::new(pallets.collect(), extrinsic, meta_type::<Runtime>());
    let metadata = v14::RuntimeMetadataV14 { types: renamed(metadata.types), ..metadata };
    RuntimeMetadataPrefixed(META_RESERVED, RuntimeMetadata::V14(metadata)).encode()
}

fn extrinsic() -> ExtrinsicMetadata {
    ExtrinsicMetadata {
        version: 4,
        address_ty: meta_type::<Address>(),
        call_ty: meta_type::<RuntimeCall>(),
        signature_ty: meta_type::<MultiSignature>(),
        extra_ty: meta_type::<Extra>(),
        signed_extensions: signed_extensions(),
    }
}

/// What a signature covers beside the call, in the order of `crate::extrinsic`.
fn signed_extensions() -> Vec<SignedExtensionMetadata> {
    let extension = |identifier, ty, additional_signed| SignedExtensionMetadata {
        identifier,
        ty,
        additional_signed,
    };
    let nothing = meta_type::<()>;
    vec![
        extension("CheckNonZeroSender", nothing(), nothing()),
        extension("CheckSpecVersion", nothing(), meta_type::<u32>()),
        extension("CheckTxVersion", nothing(), meta_type::<u32>()),
        extension("CheckGenesis", nothing(), meta_type::<H256>()),
        extension("CheckMortality", meta_type::<Era>(), meta_type::<H256>()),
        extension("CheckNonce", meta_type::<Compact<u32>>(), nothing()),
        extension("CheckWeight", nothing(), nothing()),
        extension("ChargeTransactionPayment", meta_type::<Compact<u64>>(), nothing()),
    ]
}

/// A pallet that has only a name, a number and storage yet.
fn pallet(name: &'static str, index: u8, entries: Vec<StorageEntryMetadata>) -> PalletMetadata {
    let storage = PalletStorageMetadata { prefix: name, entries };
    PalletMetadata {
        name,
        storage: (!storage.entries.is_empty()).then_some(storage),
        calls: None,
        event: None,
        constants: Vec::new(),
        error: None,
        index,
        docs: Vec::new(),
    }
}

fn pallets(block_time_ms: u64) -> Vec<PalletMetadata> {
    let calls = |ty: MetaType| Some(PalletCallMetadata { ty });
    let event = |ty: MetaType| Some(PalletEventMetadata { ty });
    let error = |ty: MetaType| Some(PalletErrorMetadata { ty });
    vec![
        PalletMetadata {
            calls: calls(meta_type::<SystemCall>()),
            event: event(meta_type::<SystemEvent>()),
            constants: vec![
                constant("BlockHashCount", &BLOCK_HASH_COUNT),
                constant("SS58Prefix", &SS58_PREFIX),
                constant("Version", &api::runtime_version()),
            ],
            ..pallet("System", 0, items::system())
        },
        pallet("Timestamp", 2, items::timestamp()),
        PalletMetadata {
            constants: vec![constant("SlotDuration", &block_time_ms)],
            ..pallet("Aura", 3, Vec::new())
        },
        PalletMetadata {
            calls: calls(meta_type::<BalancesCall>()),
            event: event(meta_type::<BalancesEvent>()),
            constants: vec![constant("ExistentialDeposit", &0_u64)],
            ..pallet("Balances", 5, items::balances())
        },
        PalletMetadata {
            calls: calls(meta_type::<SubtensorCall>()),
            event: event(meta_type::<SubtensorEvent>()),
            error: error(meta_type::<SubtensorError>()),
            ..pallet("SubtensorModule", 7, items::subtensor())
        },
        PalletMetadata {
            calls: calls(meta_type::<CommitmentsCall>()),
            event: event(meta_type::<CommitmentsEvent>()),
            error: error(meta_type::<CommitmentsError>()),
            constants: vec![constant("MaxFields", &1_u32)],
            ..pallet("Commitments", 18, items::commitments())
        },
        PalletMetadata {
            calls: calls(meta_type::<AdminUtilsCall>()),
            error: error(meta_type::<AdminUtilsError>()),
            ..pallet("AdminUtils", 19, Vec::new())
        },
        pallet("Drand", 26, items::drand()),
        pallet("MevShield", 30, items::mev_shield()),
    ]
}

fn constant<T: Encode + StaticTypeInfo>(name: &'static str, value: &T) -> PalletConstantMetadata {
    PalletConstantMetadata { name, ty: meta_type::<T>(), value: value.encode(), docs: Vec::new() }
}

/// Where Substrate keeps these types; clients know some of them by their whole paths.
const PATHS: [(&str, &[&str]); 20] = [
    ("AccountId32", &["sp_core", "crypto"]),
    ("H256", &["primitive_types"]),
    ("MultiAddress", &["sp_runtime", "multiaddress"]),
    ("MultiSignature", &["sp_runtime"]),
    ("DispatchError", &["sp_runtime"]),
    ("ModuleError", &["sp_runtime"]),
    ("TokenError", &["sp_runtime"]),
    ("Era", &["sp_runtime", "generic", "era"]),
    ("Header", &["sp_runtime", "generic", "header"]),
    ("Digest", &["sp_runtime", "generic", "digest"]),
    ("DigestItem", &["sp_runtime", "generic", "digest"]),
    ("UncheckedExtrinsic", &["sp_runtime", "generic", "unchecked_extrinsic"]),
    ("Weight", &["sp_weights", "weight_v2"]),
    ("DispatchClass", &["frame_support", "dispatch"]),
    ("Pays", &["frame_support", "dispatch"]),
    ("DispatchInfo", &["frame_support", "dispatch"]),
    ("Phase", &["frame_system"]),
    ("EventRecord", &["frame_system"]),
    ("AccountInfo", &["frame_system"]),
    ("RuntimeVersion", &["sp_version"]),
];

/// Gives types the paths that clients know them by; all others those of the runtime.
fn renamed(mut types: PortableRegistry) -> PortableRegistry {
    for entry in &mut types.types {
        let segments = &mut entry.ty.path.segments;
        let Some(name) = segments.last().cloned().filter(|_| segments.len() > 1) else {
            continue;
        };
        let known = PATHS.iter().find(|(known, _)| *known == name);
        let parents = known.map_or(&["node_subtensor_runtime"][..], |(_, parents)| *parents);
        *segments = parents.iter().map(|parent| (*parent).to_owned()).chain([name]).collect();
    }
    types
}

/// The outermost envelope of an extrinsic, for whoever reads its type from the metadata.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct UncheckedExtrinsic(pub Vec<u8>);

impl TypeInfo for UncheckedExtrinsic {
    type Identity = Self;

    fn type_info() -> Type {
        let parameters = vec![
            TypeParameter::new("Address", Some(meta_type::<Address>())),
            TypeParameter::new("Call", Some(meta_type::<RuntimeCall>())),
            TypeParameter::new("Signature", Some(meta_type::<MultiSignature>())),
            TypeParameter::new("Extra", Some(meta_type::<Extra>())),
        ];
        Type::builder()
            .path(Path::new("UncheckedExtrinsic", module_path!()))
            .type_params(parameters)
            .composite(Fields::unnamed().field(|field| field.ty::<Vec<u8>>()))
    }
}

impl TypeInfo for Era {
    type Identity = Self;

    fn type_info() -> Type {
        static NAMES: LazyLock<Vec<String>> =
            LazyLock::new(|| (0..=u8::MAX).map(|first| format!("Mortal{first}")).collect());
        let immortal = Variants::new().variant("Immortal", |variant| variant.index(0));
        let variants = (1..=u8::MAX).zip(&NAMES[1..]).fold(immortal, |variants, (first, name)| {
            variants.variant(name.as_str(), |variant| {
                variant.index(first).fields(Fields::unnamed().field(|field| field.ty::<u8>()))
            })
        });
        Type::builder().path(Path::new("Era", module_path!())).variant(variants)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::SPEC_VERSION;
    use chain::hash::blake2_256;

    /// Clients keep the metadata under the spec version: raise it when these change.
    const FROZEN: (u32, [&str; 2]) = (
        4,
        [
            "d9ba82f648f541598924fb5486c10a5215ec0f1e52f47dbeaafe43ba2e9a1161",
            "93c8d458e7bbb6eec49f01907de4cf442caa66ec1f668cff32a88f3102e86b41",
        ],
    );

    #[test]
    fn the_metadata_of_a_spec_version_is_frozen() {
        let usual = Encoded::usual();
        let hashes =
            [&usual.version_14, &usual.version_15].map(|bytes| hex::encode(blake2_256(bytes)));
        assert_eq!((SPEC_VERSION, hashes), (FROZEN.0, FROZEN.1.map(str::to_owned)));
    }

    #[test]
    fn every_call_and_storage_item_is_named_once() {
        for pallet in pallets(BLOCK_TIME_MS) {
            let mut names: Vec<&str> =
                pallet.storage.iter().flat_map(|s| &s.entries).map(|entry| entry.name).collect();
            let n_names = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), n_names, "{}", pallet.name);
        }
    }
}
