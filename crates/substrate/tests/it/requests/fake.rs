//! An endpoint before our own node which says that it is somebody else's: it counts what it is
//! asked, tells of blocks, and refuses what a test wants refused.

use super::porter::Porter;
use chain::{Genesis, Head};
use jsonrpsee::{
    RpcModule,
    server::{PendingSubscriptionSink, ServerBuilder, ServerHandle, SubscriptionMessage},
    types::ErrorObjectOwned,
};
use serde_json::{Value, json, value::RawValue};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use substrate::{DevNode, dev};
use tokio::{runtime::Runtime, sync::broadcast};

/// What a test does with a request: nothing, or answer it.
pub(crate) type Rule = Box<dyn FnMut(&str, &Value) -> Option<Answer> + Send>;

pub(crate) type Answer = Result<Value, ErrorObjectOwned>;

const SUBSCRIBE: &str = "chain_subscribeFinalizedHeads";

/// An error of an endpoint, with what it says beside it.
pub(crate) fn error(code: i32, data: Value) -> Answer {
    Err(ErrorObjectOwned::owned(code, "no", Some(data)))
}

/// A node that makes blocks when it is told to.
pub(crate) fn node(genesis: &Genesis) -> Arc<DevNode> {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let genesis = genesis.clone();
    let config = dev::Config { listen, database: None, genesis, block_time: None };
    Arc::new(DevNode::start(&config).unwrap())
}

/// What the node answers.
pub(crate) fn ask(node: &DevNode, method: &str, params: &Value) -> Answer {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let answer: Value = serde_json::from_str(&node.answer(&request.to_string()).unwrap()).unwrap();
    match answer.get("result") {
        Some(result) => Ok(result.clone()),
        None => Err(serde_json::from_value(answer["error"].clone()).unwrap()),
    }
}

struct Shared {
    node: Arc<DevNode>,
    asked: Mutex<Vec<(Instant, String)>>,
    rule: Mutex<Rule>,
    /// How long answers to a method take.
    delays: Mutex<BTreeMap<&'static str, Duration>>,
    newest: Mutex<Box<RawValue>>,
    news: broadcast::Sender<Box<RawValue>>,
}

impl Shared {
    fn answer(&self, method: &str, params: &Value) -> Answer {
        self.asked.lock().unwrap().push((Instant::now(), method.to_owned()));
        let delay = self.delays.lock().unwrap().get(method).copied();
        std::thread::sleep(delay.unwrap_or_default());
        if let Some(answer) = (self.rule.lock().unwrap())(method, params) {
            return answer;
        }
        match method {
            "system_name" => Ok(json!("Somebody's Node")),
            _ => ask(&self.node, method, params),
        }
    }

    fn header(&self, head: Head) -> Box<RawValue> {
        let header = ask(&self.node, "chain_getHeader", &json!([head.hash.to_string()])).unwrap();
        RawValue::from_string(header.to_string()).unwrap()
    }
}

pub(crate) struct Fake {
    shared: Arc<Shared>,
    /// Where it is reached; connections pass there.
    pub(crate) porter: Porter,
    _server: ServerHandle,
    _runtime: Runtime,
}

impl Fake {
    pub(crate) fn start(node: &Arc<DevNode>) -> Self {
        let (news, _) = broadcast::channel(1_024);
        let shared = Arc::new(Shared {
            node: Arc::clone(node),
            asked: Mutex::default(),
            rule: Mutex::new(Box::new(|_, _| None)),
            delays: Mutex::default(),
            newest: Mutex::new(RawValue::from_string("null".to_owned()).unwrap()),
            news,
        });
        *shared.newest.lock().unwrap() = shared.header(node.head());
        let mut module = RpcModule::from_arc(Arc::clone(&shared));
        let methods = ask(node, "rpc_methods", &json!([])).unwrap();
        for method in methods["methods"].as_array().unwrap() {
            let name: &'static str = method.as_str().unwrap().to_owned().leak();
            if name.contains("ubscribe") || name.contains("nwatch") || name.contains("AndWatch") {
                continue;
            }
            module
                .register_blocking_method(name, move |params, shared, _| {
                    shared.answer(name, &params.parse().unwrap_or(json!([])))
                })
                .unwrap();
        }
        module
            .register_subscription(
                SUBSCRIBE,
                "chain_finalizedHead",
                "chain_unsubscribeFinalizedHeads",
                |_, pending, shared, _| tell(pending, shared),
            )
            .unwrap();
        let runtime = Runtime::new().unwrap();
        let (server, address) = runtime.block_on(async {
            let server = ServerBuilder::default().build("127.0.0.1:0").await.unwrap();
            let address = server.local_addr().unwrap();
            (server.start(module), address)
        });
        Self { shared, porter: Porter::start(address), _server: server, _runtime: runtime }
    }

    pub(crate) fn url(&self) -> String {
        self.porter.url()
    }

    /// Has requests of a kind answered by the test.
    pub(crate) fn rule(&self, rule: impl FnMut(&str, &Value) -> Option<Answer> + Send + 'static) {
        *self.shared.rule.lock().unwrap() = Box::new(rule);
    }

    /// Has answers to a method take so long from now on.
    pub(crate) fn delay(&self, method: &'static str, time: Duration) {
        self.shared.delays.lock().unwrap().insert(method, time);
    }

    /// Makes a block, and tells of it.
    pub(crate) fn produce_block(&self) -> Head {
        let head = self.shared.node.produce_block().unwrap();
        self.tell_of(head);
        head
    }

    /// Tells of a block.
    pub(crate) fn tell_of(&self, head: Head) {
        let header = self.shared.header(head);
        *self.shared.newest.lock().unwrap() = header.clone();
        // Nobody need listen.
        let _ = self.shared.news.send(header);
    }

    /// Tells of anything, as if it were a block.
    pub(crate) fn tell(&self, header: &Value) {
        let header = RawValue::from_string(header.to_string()).unwrap();
        let _ = self.shared.news.send(header);
    }

    /// Forgets what was asked so far.
    pub(crate) fn forget(&self) {
        self.shared.asked.lock().unwrap().clear();
    }

    /// What was asked since, with the time at which it came.
    pub(crate) fn asked(&self) -> Vec<(Instant, String)> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// How often each method was asked.
    pub(crate) fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for (_, method) in self.asked() {
            *counts.entry(method).or_default() += 1;
        }
        counts
    }

    /// How many requests came.
    pub(crate) fn n_asked(&self) -> usize {
        self.shared.asked.lock().unwrap().len()
    }
}

/// Sends news for as long as somebody listens.
async fn tell(pending: PendingSubscriptionSink, shared: Arc<Shared>) {
    let mut news = shared.news.subscribe();
    shared.asked.lock().unwrap().push((Instant::now(), SUBSCRIBE.to_owned()));
    let refusal = (shared.rule.lock().unwrap())(SUBSCRIBE, &Value::Null);
    if let Some(Err(refusal)) = refusal {
        return pending.reject(refusal).await;
    }
    let Ok(sink) = pending.accept().await else { return };
    let newest = shared.newest.lock().unwrap().clone();
    if sink.send(SubscriptionMessage::from(newest)).await.is_err() {
        return;
    }
    loop {
        tokio::select! {
            () = sink.closed() => return,
            header = news.recv() => {
                let Ok(header) = header else { return };
                if sink.send(SubscriptionMessage::from(header)).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Waits until something is so; panics if it never is.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(30), "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
