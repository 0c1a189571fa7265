//! An endpoint that serves a real runtime's metadata, and what was recorded of a block of it.

use super::metadata;
use jsonrpsee::{
    RpcModule,
    server::{ServerBuilder, ServerHandle},
    types::ErrorObjectOwned,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};
use subxt::metadata::Metadata;
use tokio::runtime::Runtime;

/// What is served, as hexadecimal text where it is bytes.
pub(crate) struct Served {
    metadata: Vec<u8>,
    version: u8,
    runtime_version: String,
    pub(crate) genesis: String,
    /// Keys with their values.
    pub(crate) storage: BTreeMap<String, String>,
    /// The nonce that everybody's next call has.
    pub(crate) nonce: u64,
    /// The number of the newest block, and the hashes of blocks.
    pub(crate) head: u64,
    pub(crate) hashes: BTreeMap<u64, String>,
    /// The one block that is held, with its number.
    pub(crate) block: (u64, Value),
}

impl Served {
    /// A chain of this runtime with nothing in it.
    pub(crate) fn new(name: &str) -> Self {
        let metadata = metadata(name);
        let said = Metadata::decode_from(&metadata).unwrap();
        let system = said.pallet_by_name("System").unwrap();
        let runtime_version = system.constant_by_name("Version").unwrap().value();
        let hash = |byte: u8| format!("0x{}", hex::encode([byte; 32]));
        Self {
            version: metadata[4],
            runtime_version: hexed(runtime_version),
            metadata,
            genesis: hash(0),
            storage: BTreeMap::new(),
            nonce: 0,
            head: 1,
            hashes: BTreeMap::from([(1, hash(1))]),
            block: (0, Value::Null),
        }
    }

    fn hash(&self, number: u64) -> Value {
        match number {
            0 => json!(self.genesis),
            number => json!(self.hashes.get(&number)),
        }
    }

    fn header(&self, hash: &Value) -> Value {
        if hash == &self.hash(self.block.0) && self.block.0 != 0 {
            return self.block.1["header"].clone();
        }
        let found = self.hashes.iter().find(|(_, known)| &json!(known) == hash);
        let zeros = format!("0x{}", hex::encode([0; 32]));
        found.map_or(Value::Null, |(number, _)| {
            json!({
                "parentHash": zeros, "number": format!("{number:#x}"), "stateRoot": zeros,
                "extrinsicsRoot": zeros, "digest": { "logs": [] },
            })
        })
    }

    fn runtime_call(&self, name: &str, arguments: &str) -> Result<String, ErrorObjectOwned> {
        use parity_scale_codec::Encode as _;
        Ok(match name {
            "Core_version" => self.runtime_version.clone(),
            "Metadata_metadata_versions" => hexed(&vec![u32::from(self.version)].encode()),
            "Metadata_metadata_at_version" => {
                let is_it = arguments == hexed(&u32::from(self.version).encode());
                hexed(&is_it.then(|| self.metadata.clone()).encode())
            }
            _ => {
                let text = format!("Exported method {name} is not found");
                return Err(ErrorObjectOwned::owned(4003, text, None::<()>));
            }
        })
    }

    fn answer(&self, method: &str, params: &Value) -> Result<Value, ErrorObjectOwned> {
        let text = |i: usize| params[i].as_str().unwrap_or_default();
        let value = |key: &Value| json!(self.storage.get(key.as_str().unwrap_or_default()));
        Ok(match method {
            "chain_getBlockHash" => self.hash(params[0].as_u64().unwrap_or(0)),
            "chain_getFinalizedHead" => self.hash(self.head),
            "chain_getHeader" => self.header(&params[0]),
            "chain_getBlock" if params[0] == self.hash(self.block.0) => {
                json!({ "block": self.block.1, "justifications": null })
            }
            "chain_getBlock" => Value::Null,
            "state_call" => json!(self.runtime_call(text(0), text(1))?),
            "state_getStorage" => value(&params[0]),
            "state_getKeysPaged" => {
                let after = |key: &&String| {
                    key.starts_with(text(0))
                        && params[2].as_str().is_none_or(|start| key.as_str() > start)
                };
                let count = params[1].as_u64().unwrap_or(0) as usize;
                self.storage.keys().filter(after).take(count).cloned().collect()
            }
            "state_queryStorageAt" => {
                let keys = params[0].as_array().cloned().unwrap_or_default();
                let changes: Vec<Value> = keys.iter().map(|key| json!([key, value(key)])).collect();
                json!([{ "block": params[1], "changes": changes }])
            }
            "system_accountNextIndex" => json!(self.nonce),
            "system_chain" | "system_name" | "system_version" => json!("recorded"),
            // A call is taken, and nothing comes of it.
            _ => json!(hexed(&[0; 32])),
        })
    }
}

/// Bytes as these endpoints write them.
pub(crate) fn hexed(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

/// What is served, at an address of this machine.
pub(crate) struct Endpoint {
    pub(crate) url: String,
    _server: ServerHandle,
    _runtime: Runtime,
}

impl Endpoint {
    pub(crate) fn start(served: Served) -> Self {
        let (served, mut module) = (Arc::new(served), RpcModule::new(()));
        for method in [
            "author_submitExtrinsic",
            "chain_getBlock",
            "chain_getBlockHash",
            "chain_getFinalizedHead",
            "chain_getHeader",
            "state_call",
            "state_getKeysPaged",
            "state_getStorage",
            "state_queryStorageAt",
            "system_accountNextIndex",
            "system_chain",
            "system_name",
            "system_version",
        ] {
            let served = Arc::clone(&served);
            module
                .register_method(method, move |params, _, _| {
                    served.answer(method, &params.parse().unwrap_or(json!([])))
                })
                .unwrap();
        }
        let runtime = Runtime::new().unwrap();
        let (server, address) = runtime.block_on(async {
            let server = ServerBuilder::default().build("127.0.0.1:0").await.unwrap();
            let address = server.local_addr().unwrap();
            (server.start(module), address)
        });
        Self { url: format!("ws://{address}"), _server: server, _runtime: runtime }
    }
}
