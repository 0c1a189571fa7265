//! APIs that every Substrate runtime has.

use super::{Method, runtime_version};
use crate::wire::{
    metadata::UncheckedExtrinsic,
    primitives::{AccountId32, DispatchClass, RuntimeVersion, Weight},
    storage::{State, items},
};
use parity_scale_codec::{Decode, Encode, Error};
use scale_info::{TypeInfo, meta_type};

/// What a call costs.
#[derive(Clone, Copy, Debug, Encode, Decode, TypeInfo)]
struct RuntimeDispatchInfo {
    weight: Weight,
    class: DispatchClass,
    partial_fee: u64,
}

pub(super) fn methods() -> Vec<Method> {
    vec![
        Method {
            api: "Core",
            name: "version",
            doc: "Version of the runtime.",
            inputs: Vec::new(),
            output: meta_type::<RuntimeVersion>(),
            answer: |_, _| Ok(runtime_version().encode()),
        },
        Method {
            api: "Metadata",
            name: "metadata",
            doc: "The metadata, version 14.",
            inputs: Vec::new(),
            output: meta_type::<Vec<u8>>(),
            answer: |_, state| Ok(state.metadata().version_14.encode()),
        },
        Method {
            api: "Metadata",
            name: "metadata_at_version",
            doc: "The metadata of a version, if there is one.",
            inputs: vec![("version", meta_type::<u32>())],
            output: meta_type::<Option<Vec<u8>>>(),
            answer: |arguments, state| {
                let metadata = state.metadata();
                Ok(match u32::decode(arguments)? {
                    14 => Some(&metadata.version_14),
                    15 => Some(&metadata.version_15),
                    _ => None,
                }
                .encode())
            },
        },
        Method {
            api: "Metadata",
            name: "metadata_versions",
            doc: "Versions of metadata there are.",
            inputs: Vec::new(),
            output: meta_type::<Vec<u32>>(),
            answer: |_, _| Ok(vec![14_u32, 15].encode()),
        },
        Method {
            api: "AccountNonceApi",
            name: "account_nonce",
            doc: "Nonce of the account's next call.",
            inputs: vec![("account", meta_type::<AccountId32>())],
            output: meta_type::<u32>(),
            answer: account_nonce,
        },
        Method {
            api: "TransactionPaymentApi",
            name: "query_info",
            doc: "What a call costs: nothing.",
            inputs: vec![("uxt", meta_type::<UncheckedExtrinsic>()), ("len", meta_type::<u32>())],
            output: meta_type::<RuntimeDispatchInfo>(),
            answer: |_, _| {
                let (weight, class) = (Weight::default(), DispatchClass::Normal);
                Ok(RuntimeDispatchInfo { weight, class, partial_fee: 0 }.encode())
            },
        },
    ]
}

fn account_nonce(arguments: &mut &[u8], state: &dyn State) -> Result<Vec<u8>, Error> {
    let account = AccountId32::decode(arguments)?;
    Ok(items::ACCOUNT.read(state, &(account,)).nonce.encode())
}
