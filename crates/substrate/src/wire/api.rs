//! Runtime APIs: what a client asks the runtime to compute from the state at a block.
//!
//! One table says the name, the arguments, the result and the function of each method, so that
//! metadata and answers cannot disagree.

mod baskets;
mod delegates;
mod economy;
pub(super) mod metagraph;
mod neurons;
mod rules;
mod stakes;
mod system;

pub use metagraph::Metagraph;

use super::{SPEC_VERSION, TRANSACTION_VERSION, primitives::RuntimeVersion, storage::State};
use frame_metadata::v15::{
    RuntimeApiMetadata, RuntimeApiMethodMetadata, RuntimeApiMethodParamMetadata,
};
use protocol::text::shown;
use scale_info::MetaType;
use std::collections::{BTreeMap, BTreeSet};

/// A method of a runtime API.
struct Method {
    api: &'static str,
    name: &'static str,
    doc: &'static str,
    inputs: Vec<(&'static str, MetaType)>,
    output: MetaType,
    answer: Answer,
}

/// Reads the arguments and gives the encoded result.
type Answer = fn(&mut &[u8], &dyn State) -> Result<Vec<u8>, parity_scale_codec::Error>;

/// Why a call of a runtime API has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// The runtime has no such method; clients know this text.
    #[error("Exported method {0} is not found")]
    NotFound(String),
    /// The arguments do not read.
    #[error("the arguments of {method} do not read: {source}")]
    Arguments {
        /// The method.
        method: String,
        /// What the decoder objects to.
        source: parity_scale_codec::Error,
    },
}

fn methods() -> Vec<Method> {
    let mut methods = system::methods();
    methods.extend(metagraph::methods());
    methods.extend(economy::methods());
    methods.extend(neurons::methods());
    methods.extend(stakes::methods());
    methods.extend(rules::methods());
    methods.extend(delegates::methods());
    methods.extend(baskets::methods());
    methods
}

/// Answers `method`, named `Api_method`, from the state at a block.
pub fn call(method: &str, arguments: &[u8], state: &dyn State) -> Result<Vec<u8>, ApiError> {
    let (api, name) = method.split_once('_').unwrap_or((method, ""));
    let known = methods().into_iter().find(|known| known.api == api && known.name == name);
    let known = known.ok_or_else(|| ApiError::NotFound(shown(method, 80)))?;
    let mut arguments = arguments;
    (known.answer)(&mut arguments, state)
        .map_err(|source| ApiError::Arguments { method: shown(method, 80), source })
}

/// What clients are told about the APIs.
pub(super) fn metadata() -> Vec<RuntimeApiMetadata> {
    let mut apis: BTreeMap<&'static str, Vec<RuntimeApiMethodMetadata>> = BTreeMap::new();
    for method in methods() {
        let inputs = method.inputs.into_iter();
        let inputs = inputs.map(|(name, ty)| RuntimeApiMethodParamMetadata { name, ty }).collect();
        apis.entry(method.api).or_default().push(RuntimeApiMethodMetadata {
            name: method.name,
            inputs,
            output: method.output,
            docs: vec![method.doc],
        });
    }
    let apis = apis.into_iter();
    apis.map(|(name, methods)| RuntimeApiMetadata { name, methods, docs: Vec::new() }).collect()
}

/// Version of the runtime, with the versions of its APIs.
pub fn runtime_version() -> RuntimeVersion {
    let names: BTreeSet<&'static str> = methods().iter().map(|method| method.api).collect();
    let version = |api| match api {
        "Core" => 5,
        "Metadata" => 2,
        "TransactionPaymentApi" => 4,
        _ => 1,
    };
    let apis =
        names.into_iter().map(|api| (sp_crypto_hashing::blake2_64(api.as_bytes()), version(api)));
    RuntimeVersion {
        spec_name: "node-subtensor".to_owned(),
        impl_name: "agon".to_owned(),
        authoring_version: 1,
        spec_version: SPEC_VERSION,
        impl_version: 1,
        apis: apis.collect(),
        transaction_version: TRANSACTION_VERSION,
        system_version: 1,
    }
}

#[cfg(test)]
mod tests;
