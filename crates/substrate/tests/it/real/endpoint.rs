//! An endpoint that serves a real runtime's metadata, and what was recorded of a block of it.

use super::metadata;
use jsonrpsee::{
    RpcModule,
    server::{ServerBuilder, ServerHandle},
    types::ErrorObjectOwned,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use substrate::wire::{
    header::{Digest, Header},
    primitives::H256,
    storage::items,
};
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
    /// How long values are waited for; the newest block is then as old as the last question for it.
    pub(crate) pause: Option<Duration>,
    best_ms: Mutex<u64>,
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
            pause: None,
            best_ms: Mutex::default(),
        }
    }

    /// The same, but for an item that the runtime does not have.
    pub(crate) fn without(mut self, item: &str) -> Self {
        // A name stands behind its length; what others begin or end with it stays.
        let length = u8::try_from(item.len() << 2).unwrap();
        let is_whole = |at: &usize| self.metadata[at - 1] == length;
        let places: Vec<usize> = self.places(item).filter(is_whole).collect();
        assert!(!places.is_empty(), "there is no `{item}`");
        // Another name, as long.
        places.into_iter().for_each(|at| self.metadata[at + item.len() - 1] = b'_');
        self
    }

    /// The same, whose blocks are said to take so long.
    pub(crate) fn with_block_ms(mut self, block_ms: u64) -> Self {
        const NAME: &str = "SlotDuration";
        let usual = 12_000_u64.to_le_bytes();
        let values: Vec<usize> = self.places(NAME).map(|at| at + NAME.len()).collect();
        let mut n_set = 0;
        for from in values {
            // Its type and the length of its value stand between.
            let near = &self.metadata[from..(from + 16).min(self.metadata.len())];
            let Some(at) = near.windows(8).position(|bytes| bytes == usual) else { continue };
            self.metadata[from + at..from + at + 8].copy_from_slice(&block_ms.to_le_bytes());
            n_set += 1;
        }
        assert_eq!(n_set, 1, "`{NAME}`");
        self
    }

    /// Where a name stands in the metadata.
    fn places(&self, name: &str) -> impl Iterator<Item = usize> {
        let all = self.metadata.windows(name.len()).enumerate();
        all.filter(move |(_, bytes)| *bytes == name.as_bytes()).map(|(at, _)| at)
    }

    /// Names the newest block by the hash of its header, as all of Bittensor's networks do.
    pub(crate) fn seal(&mut self) {
        let zeros = H256::default();
        let header = Header {
            parent_hash: zeros,
            number: u32::try_from(self.head).unwrap(),
            state_root: zeros,
            extrinsics_root: zeros,
            digest: Digest::default(),
        };
        self.hashes = [(self.head, hexed(&header.hash()))].into();
    }

    /// A value under a key.
    fn value(&self, key: &Value) -> Value {
        let key = key.as_str().unwrap_or_default();
        if self.pause.is_some() && key == hexed(&items::NOW.key(&())) {
            return json!(hexed(&self.best_ms.lock().unwrap().to_le_bytes()));
        }
        json!(self.storage.get(key))
    }

    /// Hash of the newest block, which was made just now.
    fn best(&self) -> Value {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        *self.best_ms.lock().unwrap() = now.as_millis() as u64;
        self.hash(self.head)
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
        let value = |key: &Value| self.value(key);
        Ok(match method {
            "chain_getBlockHash" if self.pause.is_some() && params[0].is_null() => self.best(),
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
                std::thread::sleep(self.pause.unwrap_or_default());
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
