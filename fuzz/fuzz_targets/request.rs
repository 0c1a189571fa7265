//! Any text as a request to a node: an answer, or nothing where it is no JSON-RPC.

#![no_main]

use chain::Genesis;
use substrate::{DevNode, dev};
use libfuzzer_sys::fuzz_target;
use std::{net::SocketAddr, sync::LazyLock};

static NODE: LazyLock<DevNode> = LazyLock::new(|| {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let genesis = Genesis::default();
    let config = dev::Config { listen, database: None, genesis, block_time: None };
    DevNode::start(&config).expect("a node starts")
});

fuzz_target!(|text: &str| {
    if let Some(answer) = NODE.answer(text) {
        serde_json::from_str::<serde_json::Value>(&answer).expect("answers are JSON");
    }
});
