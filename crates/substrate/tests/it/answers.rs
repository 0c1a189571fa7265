//! Endpoints that say of a call what is not so: they pass it on, and refuse it; or pass it on
//! twice, as a balancer may that lost an answer. A payment is made once all the same.

use chain::{Call, CallStatus, Chain as _, Genesis, Keypair};
use jsonrpsee::{
    RpcModule,
    server::{ServerBuilder, ServerHandle},
    types::ErrorObjectOwned,
};
use protocol::Seed;
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use substrate::{ClientConfig, DevNode, SubstrateChain, dev};
use tokio::runtime::Runtime;

const TAO: u64 = 1_000_000_000;

fn key(number: u64) -> Keypair {
    Keypair::from_seed(Seed::of_number(number))
}

fn node() -> Arc<DevNode> {
    let accounts = (0..3).map(|i| (key(i).public(), 1_000 * TAO)).collect();
    let genesis = Genesis { accounts, ..Genesis::default() };
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = dev::Config { listen, database: None, genesis, block_time: None };
    Arc::new(DevNode::start(&config).unwrap())
}

fn ask(node: &DevNode, method: &str, params: &Value) -> Result<Value, ErrorObjectOwned> {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let answer: Value = serde_json::from_str(&node.answer(&request.to_string()).unwrap()).unwrap();
    match answer.get("result") {
        Some(result) => Ok(result.clone()),
        None => Err(serde_json::from_value(answer["error"].clone()).unwrap()),
    }
}

/// What stands between us and the node, and what it does with a call.
#[derive(Clone)]
enum Way {
    /// Passes it on, and answers this.
    Answer(Result<Value, ErrorObjectOwned>),
    /// Passes it on, has a block made, passes it on again, and gives the second answer.
    Twice,
}

struct Between {
    url: String,
    n_sent: Arc<AtomicUsize>,
    _server: ServerHandle,
    _runtime: Runtime,
}

impl Between {
    fn start(node: &Arc<DevNode>, way: &Way) -> Self {
        let (mut module, n_sent) = (RpcModule::new(()), Arc::new(AtomicUsize::new(0)));
        let methods = ask(node, "rpc_methods", &json!([])).unwrap();
        for method in methods["methods"].as_array().unwrap() {
            let name: &'static str = method.as_str().unwrap().to_owned().leak();
            if name.contains("ubscribe") || name.contains("nwatch") || name.contains("AndWatch") {
                continue;
            }
            let (node, way, n_sent) = (Arc::clone(node), way.clone(), Arc::clone(&n_sent));
            let answer = move |params: &Value| {
                if name != "author_submitExtrinsic" {
                    return ask(&node, name, params);
                }
                n_sent.fetch_add(1, Ordering::Relaxed);
                let first = ask(&node, name, params);
                match &way {
                    Way::Answer(answer) => answer.clone(),
                    Way::Twice => {
                        first?;
                        node.produce_block().unwrap();
                        ask(&node, name, params)
                    }
                }
            };
            module
                .register_blocking_method(name, move |params, _, _| {
                    answer(&params.parse().unwrap_or(json!([])))
                })
                .unwrap();
        }
        let runtime = Runtime::new().unwrap();
        let (server, address) = runtime.block_on(async {
            let server = ServerBuilder::default().build("127.0.0.1:0").await.unwrap();
            let address = server.local_addr().unwrap();
            (server.start(module), address)
        });
        Self { url: format!("ws://{address}"), n_sent, _server: server, _runtime: runtime }
    }
}

fn error(code: i32, text: &str) -> Way {
    Way::Answer(Err(ErrorObjectOwned::owned(code, text.to_owned(), None::<()>)))
}

#[test]
fn attack_an_endpoint_that_refuses_what_it_passes_on_has_a_payment_made_once() {
    let ways = [
        error(1014, "Priority is too low: (16 vs 16)"),
        error(1010, "Invalid Transaction: Transaction is outdated"),
        error(1012, "Transaction is temporarily banned"),
        error(1013, "Transaction Already Imported"),
        error(-32_000, "busy"),
        error(-32_603, "Internal error: upstream timed out"),
        Way::Answer(Ok(json!(5))),
        Way::Answer(Ok(Value::Null)),
        Way::Twice,
    ];
    for (number, way) in ways.iter().enumerate() {
        let node = node();
        let between = Between::start(&node, way);
        let chain = SubstrateChain::connect(ClientConfig::new(&between.url)).unwrap();
        let pay = Call::Transfer { to: key(1).public(), amount_rao: TAO };
        let id = chain.submit(pay, &key(0)).unwrap();
        node.produce_block().unwrap();
        let fate = chain.status(id).unwrap();
        assert!(matches!(fate, CallStatus::Applied(_)), "way {number}: {fate:?}");
        assert_eq!(between.n_sent.load(Ordering::Relaxed), 1, "way {number}");
        assert_eq!(chain.balance(key(1).public()).unwrap(), 1_001 * TAO, "way {number}");
    }
}
