//! Endpoints that say they are another chain than they are: what is signed must not be worth
//! anything where nobody was asked.

use chain::{Genesis, Keypair};
use jsonrpsee::{
    RpcModule,
    server::{ServerBuilder, ServerHandle},
    types::ErrorObjectOwned,
};
use protocol::Seed;
use serde_json::{Value, json};
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};
use substrate::{ClientConfig, DevNode, Origin, SubstrateChain, dev};
use tokio::runtime::Runtime;

const FINNEY: &str = "0x2f0555cc76fc2840a25a6ea3b9637146806f1f44b090c175ffde2a7e5ab36c03";

fn node(seed: u64) -> Arc<DevNode> {
    let accounts = vec![(Keypair::from_seed(Seed::of_number(1)).public(), 1_000_000_000)];
    let genesis = Genesis { seed, accounts, ..Genesis::default() };
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = dev::Config { listen, database: None, genesis, block_time: None };
    Arc::new(DevNode::start(&config).unwrap())
}

fn ask(node: &DevNode, method: &str, params: &Value) -> Result<Value, ErrorObjectOwned> {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let answer: Value = serde_json::from_str(&node.answer(&request.to_string()).unwrap()).unwrap();
    match answer.get("result") {
        Some(result) => Ok(result.clone()),
        None => Err(ErrorObjectOwned::owned(-32_000, answer["error"].to_string(), None::<()>)),
    }
}

/// A node whose answers are another's, but for some lies; by method and first parameter.
struct Liar {
    url: String,
    _server: ServerHandle,
    _runtime: Runtime,
}

impl Liar {
    fn start(node: &Arc<DevNode>, lies: &BTreeMap<&'static str, Value>) -> Self {
        let mut module = RpcModule::new(());
        let methods = ask(node, "rpc_methods", &json!([])).unwrap();
        for method in methods["methods"].as_array().unwrap() {
            let name: &'static str = method.as_str().unwrap().to_owned().leak();
            if name.contains("ubscribe") || name.contains("nwatch") || name.contains("AndWatch") {
                continue;
            }
            let (node, lie) = (Arc::clone(node), lies.get(name).cloned());
            module
                .register_blocking_method(name, move |params, _, _| {
                    let params: Value = params.parse().unwrap_or(json!([]));
                    let is_of_genesis = params[0] == 0 || params[0] == "0x0";
                    match &lie {
                        Some(lie) if name != "chain_getBlockHash" || is_of_genesis => {
                            Ok(lie.clone())
                        }
                        _ => ask(&node, name, &params),
                    }
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

    fn origin(&self) -> Origin {
        SubstrateChain::connect(ClientConfig::new(&self.url)).unwrap().origin().unwrap()
    }
}

#[test]
fn a_node_of_ours_proves_that_it_is_one() {
    let honest = node(7);
    let chain = SubstrateChain::connect(ClientConfig::new(honest.url())).unwrap();
    assert_eq!(chain.origin().unwrap(), Origin::Agon);
    assert_eq!(Liar::start(&honest, &BTreeMap::new()).origin(), Origin::Agon);
}

#[test]
fn attack_a_node_of_this_machine_that_names_a_public_genesis_is_taken_at_its_word() {
    let lies = BTreeMap::from([("chain_getBlockHash", json!(FINNEY))]);
    assert_eq!(Liar::start(&node(7), &lies).origin(), Origin::Bittensor("finney"));
}

#[test]
fn attack_saying_that_a_chain_is_for_development_proves_nothing() {
    let node = node(7);
    let strange = json!(format!("0x{}", "ab".repeat(32)));
    // Calls signed here are for the chain with that hash, whoever that is; all else the liar says
    // is the development chain's.
    let lies = BTreeMap::from([("chain_getBlockHash", strange)]);
    assert_eq!(Liar::start(&node, &lies).origin(), Origin::Unknown);
    let other = ask(&self::node(8), "agon_genesis", &json!([])).unwrap();
    for genesis in [other, json!("Development"), Value::Null, json!({ "seed": 7 })] {
        let lies = BTreeMap::from([("agon_genesis", genesis)]);
        assert_eq!(Liar::start(&node, &lies).origin(), Origin::Unknown);
    }
}
